"""§7.2.4 Student's t with ν degrees of freedom, and dz/dν by hand; location and scale go around it."""

import numpy as np
from scipy import special

from ..types import Array
from . import beta

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
SMALL = 6.0  # ν up to which the slope is made of the beta's; above, the two parts of that would cancel
STEPS = 12  # of ν → ν + 2, after which c is taken from its series in 1/ν²
SPENT = 100.0  # a tail ends where (1 + z²/ν)^{(ν+1)/2} has fallen by e^{−SPENT/2}

N = np.arange(1, 8)
CONSTANT = np.array([0.0, *((4.0**N - 1) * special.bernoulli(14)[2::2] / N)])

# P(|t| > z) = I_x(ν/2, ½),   x = ν/(ν + z²),   so   z² = ν e^{−logit x},   and with u held fixed
#   ∂z/∂ν = (z/2) [1/ν − ½ ∂logit/∂a]                                                        (ν small)
# The bracket is O(z²/ν²): for larger ν, ∂z/∂ν = −(∂F/∂ν)/f is integrated, without cancellation: for z > 0
#   ∂z/∂ν = −∫₀ᶻ s(t) f(t)/f(z) dt = ∫_z^∞ s(t) f(t)/f(z) dt,     s = ∂ ln f/∂ν,   E[s] = 0
#   s(t) = ½ [c(ν) + y/ν − r(y)],   y = t²/(ν + t²),   r = −ln(1−y) − y = y²/2 + y³/3 + …
#   c(ν) = ψ((ν+1)/2) − ψ(ν/2) − 1/ν = c(ν+2) + 2/(ν(ν+1)(ν+2)) = Σₙ (4ⁿ − 1) B₂ₙ/(n ν²ⁿ)
# s falls through zero once: the first form where s(z) > 0, the second elsewhere. A tail is walked by t = z eʷ.


def _constant(nu: Array) -> Array:
    """c(ν)."""
    steps, m = np.zeros_like(nu), nu
    for _ in range(STEPS):
        steps, m = steps + 2 / (m * (m + 1) * (m + 2)), m + 2
    return steps + np.polynomial.polynomial.polyval(1 / m**2, CONSTANT)


def _score(nu: Array, t: Array) -> Array:
    """s(t) = ∂ ln f(t)/∂ν."""
    y = t**2 / (nu + t**2)
    series = np.zeros_like(y)
    for n in range(28, 1, -1):
        series = series * y + 1 / n
    r = np.where(y < 0.25, series * y**2, np.log1p(t**2 / nu) - y)
    return 0.5 * (_constant(nu) + y / nu - r)


def _slope_by_integral(nu: Array, z: Array) -> Array:
    tail = _score(nu, z) <= 0
    safe = np.where(tail, z, 1)
    end = np.where(tail, 0.5 * np.log1p((1 + nu / safe**2) * np.expm1(SPENT / (nu + 1))), z)
    v = end[..., None] / 2 * (NODES + 1)  # w in a tail, t in the middle
    tail, safe, z, nu = (a[..., None] for a in (tail, safe, z, nu))
    t = np.where(tail, safe * np.exp(np.where(tail, v, 0)), v)
    ratio = np.exp(-0.5 * (nu + 1) * np.log1p((t - z) * (t + z) / (nu + z**2)))
    terms = _score(nu, t) * ratio * np.where(tail, t, -1)
    return end / 2 * (terms * WEIGHTS).sum(axis=-1)


def slope(nu: Array, z: Array) -> Array:
    """dz/dν at fixed u; ν > 0, any shapes that broadcast."""
    nu, z = np.broadcast_arrays(np.asarray(nu, float), np.asarray(z, float))
    out, size, low = np.zeros(nu.shape), np.abs(z), (nu <= SMALL) & (z != 0)
    n, s = nu[low], size[low]
    by_a, _ = beta.logit_slopes(n / 2, np.full_like(n, 0.5), np.log(n) - 2 * np.log(s))
    out[low] = s / 2 * (1 / n - by_a / 2)
    high = ~(nu <= SMALL)  # a NaN too
    out[high] = _slope_by_integral(nu[high], size[high])
    return np.sign(z) * out


def sample(nu: Array, u: Array) -> Array:
    """z by the inverse CDF; ±inf where |z| is above all floats (tiny ν)."""
    nu, u = np.broadcast_arrays(np.asarray(nu, float), u)
    p = np.where(u == 0.5, 0.5, 2 * np.minimum(u, 1 - u))  # of both tails; the median is 0 by its sign
    logit = beta.logit_sample(nu / 2, np.full(nu.shape, 0.5), p)
    with np.errstate(over="ignore"):
        return np.sign(u - 0.5) * np.exp(0.5 * (np.log(nu) - logit))


def sample_vjp(dz: Array, nu: Array, z: Array) -> Array:
    """dν = dz · dz/dν, elementwise; z is what `sample` gave."""
    return dz * slope(nu, z)
