"""§7.2.4 Derivatives without a formula, and how sure they are.

For F of one variable t, with F taken along a direction u from x and F_k = F(x + k h u):

    complex step        Im F(x + i h u) / h                     error O(h²), no subtraction: h = 1e-100 leaves rounding
    central, 4th order  (8 (F₁ − F₋₁) − (F₂ − F₋₂)) / 12 h      error O(h⁴) + O(noise / h)
    to the right        (−25 F₀ + 48 F₁ − 36 F₂ + 16 F₃ − 3 F₄) / 12 h      the same, of one side alone

The complex step needs a path that is analytic: no abs, no conj, no .real except in a comparison. Differences need only
real arithmetic. Where F is smooth within 4h the three agree to O(h⁴), so their disagreement is the error of the central
one, a kink within reach included; at a kink at x itself each side converges to its own slope. The noise of F is read
from 6th differences of nine near points, in which nothing smooth is left (Moré and Wild 2011, SIAM J. Sci. Comput. 33).
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
    """J u by four evaluations; outputs that do not depend on x cancel exactly, whatever their size."""
    near = f(x + h * u) - f(x - h * u)
    far = f(x + 2 * h * u) - f(x - 2 * h * u)
    ju: Array = (8 * near - far) / (12 * h)
    return ju


def size(x: Array) -> float:
    """The block's root mean square, 1 for a block of zeros: the length against which a step is small."""
    return float(np.sqrt(np.mean(x * x))) or 1.0


def steps(x: Array, step: float) -> Array:
    """One h per element, step times its own size or the block's, whichever is larger."""
    return step * np.maximum(np.abs(x), size(x))


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
    exact = out.imag / H
    real = central(f, x, u, h)  # mostly enough
    noise = 1e-5 * np.max(np.abs(real), initial=0) + 1e-14 * np.max(np.abs(out.real), initial=0) / h
    if np.max(np.abs(exact - real), initial=0) <= noise:
        return ""
    found = slopes(f, x, u, ladder(size(x), size(x)))
    if (np.abs(exact - found.middle) <= 1e-5 * np.max(np.abs(exact), initial=0) + 3 * found.error).all():
        return ""
    if not np.any(exact):
        return "the code dropped the imaginary part of a complex argument"
    return "it disagrees with central differences: the code is not analytic here (abs, .real, or a kink)"


# ── one line through x, at many steps ─────────────────────────────────────────────────────────────────────────────────

RIGHT = np.array([-25, 48, -36, 16, -3]) / 12
MIDDLE = np.array([8, -1]) / 12
NEAR = 2.0**-20  # the distance of points that tell F's noise, in sizes of x


class Slopes(NamedTuple):
    """What differences say of each output along one line, each (m,): a slope and its error; of either side too."""

    middle: Array
    error: Array
    left: Array
    right: Array
    side_error: Array  # of left and right, which need not agree
    noise: Array  # of the output itself

    @property
    def kinked(self) -> Array:
        """Where the sides disagree by more than they can be off, (m,) bool: a kink at x itself."""
        gap = np.abs(self.right - self.left)
        return (gap > 8 * self.side_error) & (self.error > 0.1 * gap)


def ladder(large: float, small: float) -> list[float]:
    """Steps to try, the likeliest first: from a tenth of `large`, the block's size, down to 1e-9 of `small`, the
    element's."""
    decades = np.arange(-1.0, math.log10(small / large) - 9.5, -0.5)
    likely = sorted(decades, key=lambda d: (abs(d + 3), d))
    return [large * 10.0**d for d in likely]


def slopes(
    f: Function, x: Array, u: Array, steps: Sequence[float], enough: float = 0.0, c: Array | None = None
) -> Slopes:
    """The slopes along u at x, of each output by the step that suits it; steps are tried until Σ|c| error <= enough."""
    at = tolerant(f, x, u)
    zero = at(0.0)
    sigma, tried = noise(at, max(steps) * 10), list[tuple[float, Array]]()
    for step in steps:
        points = np.array([at(k * step) for k in range(-4, 5)])
        tried.append((step, points))
        found = best(tried, zero, sigma)
        if c is not None and np.abs(c) @ found.error <= enough:
            break
    return found


def best(tried: list[tuple[float, Array]], zero: Array, sigma: Array) -> Slopes:
    """Of all steps tried each output takes the one whose three slopes agree best, and each side the one that moves
    least from a step to the next."""
    tried = sorted(tried, key=lambda one: -one[0])
    h = np.array([step for step, _ in tried])[:, None]
    points = np.array([p for _, p in tried])
    points[:, 4] = zero
    with np.errstate(all="ignore"):
        right = np.tensordot(RIGHT, points[:, 4:], (0, 1)) / h
        left = -np.tensordot(RIGHT, points[:, 4::-1], (0, 1)) / h
        middle = np.tensordot(MIDDLE, points[:, 5:7] - points[:, 3:1:-1], (0, 1)) / h
        constant = (points == zero).all(axis=(0, 1))  # does not depend on x: no noise either
        floor = np.where(constant, 0, 2 * sigma / h)
        error = wild(np.maximum(np.abs(right - middle), np.abs(left - middle)) + floor)
        moves = wild(np.abs(np.diff(np.stack([left, right]), axis=1)).max(axis=0) + 3 * floor[1:])
    k = np.argmin(error, axis=0)[None]
    if len(h) == 1:
        return Slopes(middle[0], error[0], left[0], right[0], error[0], sigma)
    side = np.argmin(moves, axis=0)[None]
    wanted = ((middle, k), (error, k), (left, side + 1), (right, side + 1), (moves, side))
    return Slopes._make([*(np.take_along_axis(a, i, axis=0)[0] for a, i in wanted), sigma])


def wild(error: Array) -> Array:
    """An error that is no number is without bound."""
    return np.nan_to_num(error, nan=np.inf)


def tolerant(f: Function, x: Array, u: Array) -> Callable[[float], Array]:
    """t -> f(x + t u), NaN where f fails, as it may beyond its domain."""
    many = f(x).size

    def at(t: float) -> Array:
        try:
            with np.errstate(all="ignore"):
                out = np.asarray(f(x + t * u), dtype=np.float64)
        except Exception:
            return np.full(many, np.nan)
        return out if out.size == many else np.full(many, np.nan)

    return at


def noise(at: Callable[[float], Array], scale: float) -> Array:
    """The standard deviation σ of each output's rounding, (m,): from 6th differences T of points `scale` · NEAR apart,
    σ² = mean T² (6!)² / 12!, at two places, for one may have a kink in it; at least a part of the last digit."""
    apart = scale * NEAR
    found = []
    for centre in (-40, 40):
        values = np.array([at((centre + k) * apart) for k in range(-4, 5)])
        table = np.diff(values, n=6, axis=0)
        found.append(np.sqrt(np.mean(table**2, axis=0) / 924))
        digit = 0.3 * np.finfo(float).eps * np.abs(values).max(axis=0)
        found[-1] = np.maximum(found[-1], digit)
    return wild(np.fmin(*found))
