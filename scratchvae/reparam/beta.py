"""§7.2.4 Beta(a, b) by its logit ln x/(1 − x), and the slopes of that by hand: x rounds to 0 or 1, its logit does not.

x = expit(logit), ln x = log_expit(logit), ln(1 − x) = log_expit(−logit): scipy.special has all three.
"""

import numpy as np
from scipy import special

from ..types import Array
from . import gamma

SLOW = 1e-3  # of −ln x: below it the series needs 36/−ln x terms, and a gamma is right to (ln x)²/24
HUGE = 1e7  # of both shapes: from there on the logit is normal, to 1/shape
FAR = 1e9
SMALL = np.log(1e-8)  # of ln x, ln bx: below it two terms of the series of I are all of it
ENOUGH = 2.0**-54
STEPS, ORDERS = 12, [(1, 0.5), *((n, special.bernoulli(14)[n] / n) for n in range(2, 15, 2))]  # of ψ

# At fixed u = I_x(a, b), density f:
#   I = x^a (1−x)^b/(a B) S,   S = Σₙ tₙ,   tₙ = xⁿ (a+b)ₙ/(a+1)ₙ,        I/f = x (1−x) S/a
#   ∂ ln I/∂a = ln x − ψ(a+1) + ψ(a+b) + Σ tₙ gₙ/S,                       gₙ = Σ_{k<n} 1/(a+b+k) − 1/(a+1+k)
#   ∂ ln I/∂b = ln(1−x) − ψ(b) + ψ(a+b) + Σ tₙ hₙ/S,                      hₙ = Σ_{k<n} 1/(a+b+k)
# and d logit = dx/(x (1−x)), which takes the front factor away:
#   ∂logit/∂a = −[(ln x − ψ(a+1) + ψ(a+b)) S + Σ tₙ gₙ]/a
#   ∂logit/∂b = −[(ln(1−x) − ψ(b) + ψ(a+b)) S + Σ tₙ hₙ]/a
# S is quick for x ≤ (a+1)/(a+b+2). Above, 1 − x ~ Beta(b, a) at 1 − u: exchange a and b, and turn the logit's sign.

# ψ(p+d) − ψ(p), which their difference would lose for small d: up 12 steps of ψ(p) = ψ(p+1) − 1/p, then by
#   ψ(p) = ln p − 1/(2p) − Σₙ B₂ₙ/(2n p²ⁿ),   where with L = ln(1 + d/p)   p⁻ᵐ − (p+d)⁻ᵐ = −p⁻ᵐ (e^{−mL} − 1)


def _digamma_rise(p: Array, d: Array) -> Array:
    """ψ(p+d) − ψ(p); p, p + d > 0."""
    steps = np.zeros_like(p)
    for _ in range(STEPS):
        steps, p = steps + d / (p * (p + d)), p + 1
    L = np.log1p(d / p)
    rest = sum(c * np.expm1(-m * L) / p**m for m, c in ORDERS)
    return steps + L - rest


def _series(a: Array, b: Array, logit: Array) -> tuple[Array, Array]:
    log_x, log_y = special.log_expit(logit), special.log_expit(-logit)
    x, n = np.exp(log_x), 0
    t, S = np.ones_like(x), np.ones_like(x)
    g, h, Tg, Th = (np.zeros_like(x) for _ in range(4))
    while ((t > ENOUGH * S) | (t * h > ENOUGH * Th) | (t * np.abs(g) > ENOUGH * np.abs(Tg))).any():
        t = t * x * ((a + b + n) / (a + 1 + n))
        g, h = g + (1 - b) / ((a + b + n) * (a + 1 + n)), h + 1 / (a + b + n)
        S, Tg, Th, n = S + t, Tg + t * g, Th + t * h, n + 1
    by_a = (log_x + _digamma_rise(a + 1, b - 1)) * S + Tg
    by_b = (log_y + _digamma_rise(b, a)) * S + Th
    return -by_a / a, -by_b / a


# x near 1 and below its mean, so b ≪ a:   E = −ln x ~ Gamma(b, rate r) to second order in E, r = a + (b−1)/2
#   dlogit = −q d ln E,  q = E/(1 − e^−E):    ∂logit/∂a = q/r,    ∂logit/∂b = −q (∂ ln G/∂b − 1/2r),   G = rE
# both shapes huge:   logit ~ N(ln a/b, 1/a + 1/b):    ∂logit/∂a = 1/a − d b/(2a (a+b)),   d = logit − ln a/b


def _near_one(a: Array, b: Array, logit: Array) -> tuple[Array, Array]:
    E, r = -special.log_expit(logit), a + (b - 1) / 2
    q = np.where(E == 0, 1.0, E / -np.expm1(-np.where(E == 0, 1.0, E)))
    return q / r, -q * (gamma.log_slope(b, np.log(r) - np.where(E == 0, logit, -np.log(E))) - 1 / (2 * r))


def _normal(a: Array, b: Array, logit: Array) -> tuple[Array, Array]:
    d = (logit - np.log(a) + np.log(b)) / (2 * (a + b))
    return 1 / a - d * (b / a), -1 / b - d * (a / b)


def _below_mean(a: Array, b: Array, logit: Array) -> tuple[Array, Array]:
    huge = (a > HUGE) & (b > HUGE)
    slow = ~huge & (special.log_expit(logit) > -SLOW)
    slopes = np.empty((2, *a.shape))
    for where, form in ((huge, _normal), (slow, _near_one), (~huge & ~slow, _series)):
        slopes[:, where] = form(a[where], b[where], logit[where])
    return slopes[0], slopes[1]


def logit_slopes(a: Array, b: Array, logit: Array) -> tuple[Array, Array]:
    """(∂logit/∂a, ∂logit/∂b) at fixed u; dx is x (1 − x) times these. a, b > 0; any shapes that broadcast."""
    a, b, logit = np.broadcast_arrays(*(np.asarray(v, float) for v in (a, b, logit)))
    swap = logit > np.log((a + 1) / (b + 1))
    first, second = _below_mean(np.where(swap, b, a), np.where(swap, a, b), np.where(swap, -logit, logit))
    return np.where(swap, -second, first), np.where(swap, -first, second)


# logit I⁻¹(u).  Near 0,  I = x^a/(a B) (1 + a(1−b) x/(a+1) + …),  so  ln x = (ln u + ln a B)/a − (1−b) x/(a+1)


def _log_lower(a: Array, b: Array, u: Array, x: Array) -> Array:
    """ln x where x is small, from u; the given ln x elsewhere."""
    small = (np.log(u) + np.log(a) + special.betaln(a, b)) / a
    tiny = small + np.log1p(b) < SMALL
    return np.where(tiny, small - (1 - b) * np.exp(np.minimum(small, 0)) / (a + 1), np.log(np.where(tiny, 1.0, x)))


# SciPy's inverse takes seconds where a shape is above 1e9: there, by the larger as a, E or the logit is drawn (above)


def _far_sample(a: Array, b: Array, u: Array) -> Array:
    swap = a < b
    a, b, u = np.where(swap, b, a), np.where(swap, a, b), np.where(swap, 1 - u, u)
    log_E = gamma.log_sample(b, 1 - u) - np.log(a + (b - 1) / 2)
    E = np.exp(np.minimum(log_E, 0))
    near = np.where(E == 0, -log_E, -np.log(np.expm1(np.where(E == 0, 1.0, E))))
    logit = np.where(b < SLOW * a, near, np.log(a) - np.log(b) + np.sqrt(1 / a + 1 / b) * special.ndtri(u))
    return np.where(swap, -logit, logit)


def logit_sample(a: Array, b: Array, u: Array) -> Array:
    """ln x − ln(1 − x), x ~ Beta(a, b), by the inverse CDF; each half of (0, 1) from its own end."""
    a, b, u = np.broadcast_arrays(*(np.asarray(v, float) for v in (a, b, u)))
    far = np.maximum(a, b) > FAR
    if far.any():
        logit = np.empty(a.shape)
        logit[far], logit[~far] = _far_sample(a[far], b[far], u[far]), logit_sample(a[~far], b[~far], u[~far])
        return logit
    upper = special.betaincinv(a, b, u) > 0.5
    a, b, u = np.where(upper, b, a), np.where(upper, a, b), np.where(upper, 1 - u, u)
    x = special.betaincinv(a, b, u)
    return np.where(upper, -1, 1) * (_log_lower(a, b, u, x) - np.log1p(-x))


def logit_sample_vjp(dlogit: Array, a: Array, b: Array, logit: Array) -> tuple[Array, Array]:
    """(da, db) = dlogit · slopes, elementwise; logit is what `logit_sample` gave."""
    by_a, by_b = logit_slopes(a, b, logit)
    return dlogit * by_a, dlogit * by_b
