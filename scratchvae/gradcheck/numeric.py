"""§7.2.4 Derivatives without a formula, and how sure they are.

For F of one variable t, with F taken along a direction u from x and F_k = F(x + k h u):

    complex step        Im F(x + i h u) / h                     error O(h²), no subtraction: h = 1e-100 leaves rounding
    central, 4th order  (8 (F₁ − F₋₁) − (F₂ − F₋₂)) / 12 h      error O(h⁴) + O(noise / h)
    to the right        (−25 F₀ + 48 F₁ − 36 F₂ + 16 F₃ − 3 F₄) / 12 h      the same, of one side alone

The complex step needs a path that is analytic: no abs, no conj, no .real except in a comparison. Differences need only
real arithmetic. Where F is smooth within 4h the three agree to O(h⁴), so their disagreement is the error of the central
one, a kink within reach included; at a kink at x itself each side converges to its own slope. The noise of F is what
near points leave beside a polynomial (after Moré and Wild 2011, SIAM J. Sci. Comput. 33, who take differences).
Squire and Trapp 1998, SIAM Review 40 (1).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..types import Array

H = 1e-100  # H² = 1e-200 still is a normal number, so no product of two imaginary parts lands in the denormals

Function = Callable[[Array], Array]  # one block, any shape -> all outputs, flat


def complex_step(f: Function, x: Array, u: Array) -> Array:
    """J u, exact to rounding where f is analytic; a real output counts as derivative zero (see `analytic`)."""
    ju: Array = np.imag(f(x + 1j * H * u)) / H
    return ju


def central(f: Function, x: Array, u: Array, h: float) -> Array:
    """J u by four evaluations, NaN where f fails; outputs without x cancel exactly, whatever their size."""
    at = tolerant(f, x, u)
    ju: Array = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    return ju


def size(x: Array) -> float:
    """The block's root mean square, 1 for a block of zeros: the length against which a step is small."""
    return float(np.sqrt(np.mean(x * x))) or 1.0


def sizes(x: Array) -> Array:
    """The length against which a step is small, of each element: its own or the block's, whichever is larger, and its
    own where the block holds numbers of all scales."""
    there, whole = np.abs(x[x != 0]), size(x)
    if there.min(initial=whole) < 0.01 * whole and np.median(there) < 0.01 * whole:
        return np.where(x == 0, there.min(), np.abs(x))
    return np.maximum(np.abs(x), whole)


def direction(seed: int, x: Array) -> Array:
    """A fixed direction that moves every element, those of a block of all scales each by its own."""
    own, whole = sizes(x), size(x)
    return spread(seed, x.shape) * (np.minimum(own, whole) / whole if own.min(initial=whole) < whole else 1)


def vjp(derivative: Callable[[Array, float], Array], x: Array, c: Array, h: Array) -> Array:
    """Σⱼ cⱼ ∂fⱼ/∂xᵢ for every element i, one at a time; derivative(u, h) is J u."""
    out = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        out[i] = c @ derivative(axis(x.shape, i), float(h[i]))
    return out


def axis(shape: tuple[int, ...], i: tuple[int, ...]) -> Array:
    """The direction of element i alone."""
    u = np.zeros(shape)
    u[i] = 1.0
    return u


def spread(seed: int, shape: tuple[int, ...]) -> Array:
    """Fixed numbers of either sign with 0.5 <= |value| < 1.5, from a hash of (seed, index): the same on every call.

    Bounded away from zero, so no output is weighted away; not on a lattice, so no error pattern such as a swapped
    pair cancels by symmetry. The hash is the finaliser of splitmix64 (Steele, Lea and Flood 2014).
    """
    index = np.arange(int(np.prod(shape)), dtype=np.uint64)
    key = np.uint64((seed + 1) * 0xD1342543DE82EF95 % 2**64)  # in Python: a NumPy scalar warns where an array wraps
    bits = (index + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + key
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = bits ^ (bits >> np.uint64(31))
    magnitude = 0.5 + (bits >> np.uint64(11)) * 2.0**-53
    return np.where(bits & np.uint64(1), magnitude, -magnitude).reshape(shape)


def analytic(f: Function, x: Array, u: Array, h: float) -> str:
    """Why the complex step cannot be used for this block, or "" if it agrees with differences along u."""
    try:
        out = f(x + 1j * H * u)
    except Exception as error:  # whatever the code says to a complex array, it is a reason not to use one
        return f"the code refused a complex argument ({type(error).__name__}: {str(error).splitlines()[0][:90]})"
    with np.errstate(all="ignore"):  # float32 cannot hold H
        exact = out.imag / H
    real = central(f, x, u, h)  # mostly enough
    if not exact.any() and real.any() and drops(f, x, u, out):
        return "the code dropped the imaginary part of a complex argument"
    noise = 1e-5 * np.max(np.abs(real), initial=0) + 1e-14 * np.max(np.abs(out.real), initial=0) / h
    if np.max(np.abs(exact - real), initial=0) <= noise:
        return ""
    found = slopes(f, x, u, ladder(size(x), size(x)))
    if (np.abs(exact - found.middle) <= 1e-5 * np.max(np.abs(exact), initial=0) + 3 * found.error).all():
        return ""
    return "it disagrees with central differences: the code is not analytic here (abs, .real, or a kink)"


def drops(f: Function, x: Array, u: Array, out: Array) -> bool:
    """Whether the complex step, which found no slope at x, finds none anywhere: real numbers come out, or it sees none
    near by. At an optimum, or on the flat side of a kink, it does."""
    try:
        there = [bool(f(x + t * size(x) * u + 1j * H * u).imag.any()) for t in (0.1, -0.1)]
    except Exception:  # beyond its domain
        there = [True]
    return not (np.iscomplexobj(out) and any(there))


# ── one line through x, at many steps ─────────────────────────────────────────────────────────────────────────────────

RIGHT = np.array([-25, 48, -36, 16, -3]) / 12
MIDDLE = np.array([8, -1]) / 12
SETTLED = 1e-5  # a relative error
NEAR = 2.0**-20  # the distance of points that tell F's noise, in sizes of x


class Slopes(NamedTuple):
    """What differences say of each output along one line, each (m,): a slope and its error; of either side too."""

    middle: Array
    error: Array
    left: Array
    left_error: Array
    right: Array
    right_error: Array

    @property
    def kinked(self) -> Array:
        """Where the sides disagree by more than they can be off, (m,) bool: a kink at x itself, if the middle is
        unsure: beside the gap, or beside itself, as over steps that are far too long for a bounded function."""
        gap = np.abs(self.right - self.left)
        return (gap > 8 * (self.left_error + self.right_error)) & (self.error > 0.1 * np.fmin(gap, np.abs(self.middle)))


def ladder(block: float, element: float, digits: float = 9) -> list[float]:
    """Steps to try, the likeliest first: two a decade, from a tenth of the block's size, or of 1, down to `digits`
    decades below the element's."""
    low, high = math.log10(element) - digits, math.log10(max(block, 1.0)) - 1
    likely = math.log10(block) - 3
    return [10.0**d for d in sorted(np.arange(high, low, -0.5), key=lambda d: (abs(d - likely), d))]


def slopes(
    f: Function, x: Array, u: Array, steps: Sequence[float], enough: float = 0.0, c: Array | None = None
) -> Slopes:
    """The slopes along u at x, of each output by the step that suits it; steps are tried until Σ|c| error <= enough."""
    at, tried = tolerant(f, x, u), list[tuple[float, Array]]()
    zero = at(0.0)
    for step in steps:
        points = (at(k * step) if k else zero for k in range(-4, 5))
        tried.append((step, np.array([p if p.size == zero.size else zero * np.nan for p in points])))
        if len(tried) < 3:
            continue
        found = settled(sorted(tried, key=lambda one: -one[0]))
        if c is not None and np.abs(c) @ found.error <= enough:
            break
    return found


def settled(tried: list[tuple[float, Array]]) -> Slopes:
    """Of steps tried, the largest first, each output and each side takes its own."""
    h = np.array([step for step, _ in tried])[:, None]
    points = np.array([p for _, p in tried])
    rise = points - points[:, 4:5]
    with np.errstate(all="ignore"):
        right = np.tensordot(rise[:, 4:], RIGHT, (1, 0)) / h
        left = -np.tensordot(rise[:, 4::-1], RIGHT, (1, 0)) / h
        middle = np.tensordot(rise[:, 5:7] - rise[:, 3:1:-1], MIDDLE, (1, 0)) / h
        constant = (rise == 0).all(axis=(0, 1))  # it does not depend on x, and has no rounding either
        digit = np.where(constant, 0, 4 * np.finfo(float).eps * np.abs(points).max(axis=1) / h)
        digit = np.nan_to_num(digit, nan=np.inf)
        apart = np.maximum(np.abs(right - middle), np.abs(left - middle))
        moves = [np.abs(np.diff(side, axis=0, prepend=np.nan)) for side in (left, right)]
    error = cautious(apart) + digit
    found = [
        chosen(middle, error),
        *(chosen(a, cautious(e) + digit) for a, e in zip((left, right), moves, strict=True)),
    ]
    return Slopes(*(array for pair in found for array in pair))


def cautious(apart: Array) -> Array:
    """Of how far numbers are apart, step by step, the larger of a step's and of the next larger one's: two may agree by
    chance. What is no number is without bound."""
    apart = np.nan_to_num(apart, nan=np.inf)
    return np.maximum(apart, np.concatenate([np.full((1, *apart.shape[1:]), np.inf), apart[:-1]]))


def chosen(slope: Array, error: Array) -> tuple[Array, Array]:
    """The surest slope of each output, from the largest step on: by the relative error, for over a step that is far too
    long all slopes of a bounded function are small; by the error itself where a slope is no more than that.

    A step over which all is flat is not to be trusted where a larger one is sure: (x + 1e10) − 1e10 has lost all digits
    there; and what is sure to SETTLED is contradicted by none.
    """
    best, least = slope[0], error[0]
    for new, its in zip(slope[1:], error[1:], strict=True):
        with np.errstate(all="ignore"):
            before, now = np.nan_to_num([least / np.abs(best), its / np.abs(new)], nan=np.inf, posinf=np.inf)
            apart = np.abs(new - best) > 3 * (its + least)
        better = np.where((before > 0.1) & (now > 0.1), its < least, now < before)
        better = np.where(new == 0, (before > 1e-3) & (its < least), better)
        better = np.isinf(least) | (better & ~(apart & (before < SETTLED)))
        best, least = np.where(better, new, best), np.where(better, its, least)
    return best, least


def tolerant(f: Function, x: Array, u: Array) -> Callable[[float], Array]:
    """t -> f(x + t u), (m,), or (1,) of NaN where f fails, as it may beyond its domain."""
    return attempt(lambda t: f(x + t * u))


def attempt(at: Callable[[float], Array]) -> Callable[[float], Array]:
    """The same function of t, but (1,) of NaN where it fails."""

    def tried(t: float) -> Array:
        try:
            return np.asarray(at(t), dtype=np.float64)
        except Exception:  # whatever somebody's code says beyond its domain
            return np.full(1, np.nan)

    return tried


def noise(at: Callable[[float], Array], scale: float) -> Array:
    """The standard deviation σ of each output's rounding, (m,): what is left of 14 values near by beside their best
    polynomial of degree 5, at two places, for one may have a kink in it; 0 where no number is found.

    The points are irregular: of equally spaced ones each may be whole roundings from the last, and all round alike.
    """
    t = np.arange(-7, 7) + 0.3 * spread(14, (14,))
    smooth, _ = np.linalg.qr(np.vander(t / 7, 6))
    found = []
    for centre in (-40, 40):
        values = np.array(np.broadcast_arrays(*map(at, (centre + t) * scale * NEAR)))
        values = values - values[7]
        found.append(np.sqrt(np.sum((values - smooth @ (smooth.T @ values)) ** 2, axis=0) / 8))
    return np.nan_to_num(np.fmin(*found))
