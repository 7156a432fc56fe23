"""§7.2.4 Beta(a, b) by its logit ln x/(1 − x), and the slopes of that by hand: x rounds to 0 or 1, its logit does not.

x = expit(logit), ln x = log_expit(logit), ln(1 − x) = log_expit(−logit): scipy.special has all three.
"""

import numpy as np
from scipy import special

from ..types import Array
from . import gamma

FAR = 1e9  # a shape above which SciPy's inverse takes seconds, or gives NaN …
SLOW = 1e-3  # … there the smaller, as a share of the larger, below which −ln x is gamma to (ln x)²/24
SMALL = np.log(1e-8)  # of ln x, ln bx: below it two terms of the series of I are all of it
ENOUGH = 2.0**-51
STEPS, LARGE = 2000, 1e7  # of the fraction, enough for a = b = LARGE; above, two terms of the expansion in 1/a and 1/b
RISES, ORDERS = 12, [(1, 0.5), *((n, special.bernoulli(14)[n] / n) for n in range(2, 15, 2))]  # of ψ

# At fixed u = I_x(a, b), density f:
#   I = x^a (1−x)^b/(a B) S,                              so   I/f = x (1−x) S/a
#   ∂ ln I/∂a = ln x − ψ(a+1) + ψ(a+b) + ∂ ln S/∂a,       ∂ ln I/∂b = ln(1−x) − ψ(b) + ψ(a+b) + ∂ ln S/∂b
# and d logit = dx/(x (1−x)), which takes the front factor away:
#   ∂logit/∂a = −[(ln x − ψ(a+1) + ψ(a+b)) S + ∂S/∂a]/a
#   ∂logit/∂b = −[(ln(1−x) − ψ(b) + ψ(a+b)) S + ∂S/∂b]/a
# S = ₂F₁(a+b, 1; a+1; x), as a series, needs 37/(1−x) terms: 6·10⁴ at (3000, 0.05). As a continued fraction, the even
# part of Gauss's (DiDonato & Morris 1992, Algorithm 708), it needs some √max(a, b) steps for x ≤ (a+1)/(a+b+2):
#   1/S = β₀ + α₁/(β₁ + α₂/(β₂ + …)),   λₘ = 1 + a(1−x) − bx + m(2−x),   q = a+2m+1
#   αₘ = m (b−m) x² (a+b+m−1) (a+m−1)/(a+2m−1)²,     without a+m−1 for m = 1
#   βₘ = m + m (b−m) x/(a+2m−1) + (a+m) λₘ/q,        over a for m = 0
# Above, 1 − x ~ Beta(b, a) at 1 − u: exchange a and b, and turn the logit's sign.
# a, b → ∞:   v = ∂logit/∂a solves v′ + v (a(1−x) − bx) = ψ(a) − ψ(a+b) − ln x, of which v′ is the small part. With
#   m = a/(a+b), t = logit − ln a/b:     a v → −ln(1 + (1−m)(e^{−t} − 1)) (1 + m(e^t − 1))/((1−m)(e^t − 1)),
#   and v′ turns 1/a into (1 + (1/a + 2/(a+b))/6)/a

# ψ(p+d) − ψ(p), which their difference would lose for small d: up 12 steps of ψ(p) = ψ(p+1) − 1/p, then by
#   ψ(p) = ln p − 1/(2p) − Σₙ B₂ₙ/(2n p²ⁿ),   where with L = ln(1 + d/p)   p⁻ᵐ − (p+d)⁻ᵐ = −p⁻ᵐ (e^{−mL} − 1)


def _digamma_rise(p: Array, d: Array) -> Array:
    """ψ(p+d) − ψ(p); p, p + d > 0."""
    steps = np.zeros_like(p)
    for _ in range(RISES):
        steps, p = steps + d / (p * (p + d)), p + 1
    L = np.log1p(d / p)
    rest = sum(c * np.expm1(-m * L) / p**m for m, c in ORDERS)
    return steps + L - rest


def _terms(m: int, a: Array, b: Array, x: Array, y: Array) -> tuple[Array, Array, Array, Array]:
    """αₘ, its derivatives by a and b (2, …), βₘ, and its own."""
    p, q, lam = a + 2 * m - 1, a + 2 * m + 1, 1 + a * y - b * x + m * (1 + y)
    front = m * (x / p) ** 2 * (a + (m - 1) if m > 1 else 1)
    log_by_a = 1 / (a + b + (m - 1)) - 2 / p + (1 / (a + (m - 1)) if m > 1 else 0)
    alpha = front * (b - m) * (a + b + (m - 1))
    dalpha = np.array([alpha * log_by_a, front * (a + 2 * b - 1)])
    beta = m + m * (b - m) * x / p + (a + m) * lam / q
    dbeta = np.array([(m + 1) * lam / q**2 + (a + m) * y / q - m * (b - m) * x / p**2, m * x / p - (a + m) * x / q])
    return alpha, dalpha, beta, dbeta


def _fraction(a: Array, b: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """S, ∂S/∂(a, b) (2, …): modified Lentz; dF, dC, … are derivatives, carried along. Each number stops by itself."""
    F = (1 + a * y - b * x) / (a + 1)
    dF = np.array([y - F, -x]) / (a + 1)
    C, dC, e, de, on = F, dF, np.zeros_like(F), np.zeros_like(dF), np.ones(F.shape, bool)
    for m in range(1, STEPS):
        alpha, dalpha, beta, dbeta = _terms(m, a, b, x, y)
        e, de = 1 / (alpha * e + beta), dalpha * e + alpha * de + dbeta
        de = -(e**2) * de
        C, dC = beta + alpha / C, dbeta + dalpha / C - alpha * (dC / C) / C
        step, dstep = C * e, dC * e + C * de
        F, dF = np.where(on, F * step, F), np.where(on, dF * step + F * dstep, dF)
        on &= (np.abs(step - 1) > ENOUGH) | (np.abs(dstep) > ENOUGH * np.abs(dC * e)).any(axis=0)  # else at rounding
        if not on.any():
            break
    return 1 / F, -dF / F**2


def _lower(a: Array, b: Array, logit: Array) -> tuple[Array, Array]:
    """The slopes where x ≤ (a+1)/(a+b+2)."""
    S, dS = _fraction(a, b, special.expit(logit), special.expit(-logit))
    rise = np.where(b < 0.5, _digamma_rise(a + 1, b) - 1 / (a + b), _digamma_rise(a + 1, np.maximum(b, 0.5) - 1))
    by_a = (special.log_expit(logit) + rise) * S + dS[0]
    by_b = (special.log_expit(-logit) + _digamma_rise(b, a)) * S + dS[1]
    return -by_a / a, -by_b / a


def _large(a: Array, b: Array, logit: Array) -> Array:
    """∂logit/∂a where a and b are large; ∂logit/∂b is this one of (b, a, −logit), turned."""
    t, rest = logit - np.log(a) + np.log(b), 1 / (1 + a / b)
    E = np.where(t == 0, 1, np.expm1(t))
    slope = -np.log1p(rest * np.expm1(-t)) * (1 + (1 - rest) * E) / (rest * E)
    return np.where(t == 0, 1, slope) * (1 + (1 / a + 2 / (a + b)) / 6) / a


def logit_slopes(a: Array, b: Array, logit: Array) -> tuple[Array, Array]:
    """(∂logit/∂a, ∂logit/∂b) at fixed u; dx is x (1 − x) times these. a, b > 0; any shapes that broadcast."""
    a, b, logit = np.broadcast_arrays(*(np.asarray(v, float) for v in (a, b, logit)))
    large = (a > LARGE) & (b > LARGE)
    p, q = np.where(large, 1, a), np.where(large, 1, b)
    swap = logit > np.log((p + 1) / (q + 1))
    first, second = _lower(np.where(swap, q, p), np.where(swap, p, q), np.where(swap, -logit, logit))
    by_a, by_b = np.where(swap, -second, first), np.where(swap, -first, second)
    by_a[large], by_b[large] = _large(a[large], b[large], logit[large]), -_large(b[large], a[large], -logit[large])
    return by_a, by_b


# logit I⁻¹(u).  Near 0,  I = x^a/(a B) (1 + a(1−b) x/(a+1) + …),  so  ln x = (ln u + ln a B)/a − (1−b) x/(a+1)


def _log_lower(a: Array, b: Array, u: Array, x: Array) -> Array:
    """ln x where x is small, from u; the given ln x elsewhere."""
    small = (np.log(u) + np.log(a) + special.betaln(a, b)) / a
    tiny = small + np.log1p(b) < SMALL
    return np.where(tiny, small - (1 - b) * np.exp(np.minimum(small, 0)) / (a + 1), np.log(np.where(tiny, 1.0, x)))


# With a shape a above FAR, the larger:   b ≪ a:   E = −ln x ~ Gamma(b, rate a + (b−1)/2) to second order in E
#                                        else:    logit ~ N(ln a/b, 1/a + 1/b)


def _far_sample(a: Array, b: Array, u: Array) -> Array:
    swap = a < b
    a, b, u = np.where(swap, b, a), np.where(swap, a, b), np.where(swap, 1 - u, u)
    log_E = gamma.log_sample(b, 1 - u) - np.log(a + (b - 1) / 2)
    near = -log_E - np.log(special.exprel(np.exp(log_E)))
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
