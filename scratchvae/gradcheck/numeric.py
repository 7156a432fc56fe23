"""§7.2.4 Derivatives without a formula: the complex step, central differences, and a fixed spread of directions.

For smooth F of one variable t, with F taken along a direction u from x:

    complex step        Im F(x + i h u) / h                  error O(h²), no subtraction: h = 1e-100 leaves rounding
    central, 4th order  (8 (F₁ − F₋₁) − (F₂ − F₋₂)) / 12 h   error O(h⁴) + O(ulp(F) / h), F_k = F(x + k h u)

The complex step needs a path that is analytic: no abs, no conj, no .real except in a comparison. Central differences
need only real arithmetic, and a point farther than 2h from any kink: where they are in doubt, smaller h are tried
(`settled`). Squire and Trapp 1998, SIAM Review 40 (1).
"""

from collections.abc import Callable

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


# A kink within 2h spoils an output's differences at h and above, rounding those at h far below: between the two lie
# steps that agree. Each output picks its own, for each has its own kinks; the derivative under test has no say in it.
# The slope at x is among the slopes within 2h. Where the smaller steps found another, it is that of the stair of lost
# digits, flat nearly everywhere ((x + 1e10) − 1e10), and the difference at h stands.
def settled(f: Function, x: Array, u: Array, h: float) -> Array:
    """J u by the two neighbouring steps, of h, h/10, …, h/10⁵, that agree best: kinks nearer than 2h do not matter."""
    steps = h / 10.0 ** np.arange(6)
    found = np.array([central(f, x, u, step) for step in steps])
    line = np.array([f(x + t * u) for t in h * np.arange(-8, 9) / 4])
    rounding = np.finfo(float).eps * np.abs(line[8]) / steps[1:, None]
    gaps = np.nan_to_num(np.abs(np.diff(found, axis=0)) + rounding, nan=np.inf)
    ju = np.take_along_axis(found, np.argmin(gaps, axis=0)[None], axis=0)[0]
    slopes = np.diff(line, axis=0) / (h / 4)
    middle, reach = (slopes.max(axis=0) + slopes.min(axis=0)) / 2, np.ptp(slopes, axis=0)
    return np.where(np.abs(ju - middle) > reach, found[0], ju)


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
    """Why the complex step cannot be used for this block, or "" if it agrees with central differences along u."""
    try:
        out = f(x + 1j * H * u)
    except Exception as error:  # whatever the code says to a complex array, it is a reason not to use one
        return f"the code refused a complex argument ({type(error).__name__}: {str(error).splitlines()[0][:90]})"
    exact = out.imag / H
    for derivative in (central, settled):  # the cheaper one mostly is enough
        real = derivative(f, x, u, h)
        noise = 1e-5 * np.max(np.abs(real), initial=0) + 1e-14 * np.max(np.abs(out.real), initial=0) / h
        if np.max(np.abs(exact - real), initial=0) <= noise:
            return ""
    if not np.any(exact):
        return "the code dropped the imaginary part of a complex argument"
    return "it disagrees with central differences: the code is not analytic here (abs, .real, or a kink)"
