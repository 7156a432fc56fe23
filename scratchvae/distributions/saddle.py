"""§7.2.5 The saddle-point form of a density (Loader 2000): no difference of log-gammas, so no digits lost at any size.

    log Γ(a) = a log a − a − c(a)         c(a) → ½ log(a / 2π) for large a, → log a for small a
    e^w (e^y − 1 − y)                     what the density loses by x being e^y-fold off its mean, e^w its weight

Gamma, beta, F, binomial, multinomial and negative binomial are sums of these two. All arguments are logs, so nothing
overflows before the result does; the functions take complex numbers, their slopes real ones.
"""

import math

import numpy as np
from scipy import special

from ..types import Array
from .shared import sigmoid

SMALL = 10.0  # below, by log Γ itself; above, by Stirling's series, whose first term left out is 3e-17 here
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)  # B₂ₖ / (2k (2k − 1))
ALTERNATING = tuple((-1) ** k / (k + 1) for k in range(11))  # of log(1 + e) / e
TAYLOR = tuple(1 / math.factorial(n) for n in range(2, 22))


def series(coefficients: tuple[float, ...], r: Array) -> Array:
    """Σ_k c_k r^k, by Horner."""
    total = np.zeros_like(r)
    for c in reversed(coefficients):
        total = total * r + c
    return total


def weighed(p: Array, weight: Array) -> Array:
    """p · weight, weight ≥ 0; p itself where p is 0 or infinite, though the weight may have become inf or 0."""
    return np.where((p == 0) | np.isinf(p), p, p * weight)


def log_gamma(a: Array) -> Array:
    """log Γ(a), complex too."""
    return np.asarray(special.loggamma(a) if np.iscomplexobj(a) else special.gammaln(a))


# c(a) = a log a − a − log Γ(a), by w = log a
#   small a, by Γ(a) = Γ(1 + a) / a:     (a + 1) w − a − log Γ(1 + a)
#   large a, by Stirling:                ½ (w − log 2π) − Σ B₂ₖ / (2k (2k − 1)) a^(1 − 2k)
#   dc/dw = a (log a − ψ(a)):            a w − a ψ(1 + a) + 1,     ½ + Σ B₂ₖ / 2k a^(1 − 2k)
def stirling(w: Array) -> Array:
    """c(e^w)."""
    large = w.real > math.log(SMALL)
    a, r = np.exp(np.where(large, 0, w)), np.exp(-np.where(large, w, 3))
    return np.where(
        large, 0.5 * (w - math.log(2 * math.pi)) - r * series(STIRLING, r * r), (a + 1) * w - a - log_gamma(1 + a)
    )


def stirling_vjp(dy: Array, w: Array) -> Array:
    """dw = dy a (log a − ψ(a)), a = e^w: 1 for small a, ½ for large."""
    large = w > math.log(SMALL)
    a, r = np.exp(np.where(large, 0, w)), np.exp(-np.where(large, w, 3))
    slopes = tuple(c * (2 * k + 1) for k, c in enumerate(STIRLING))
    return dy * np.where(large, 0.5 + r * series(slopes, r * r), a * w - a * special.digamma(1 + a) + 1)


# e^w (e^y − 1 − y):     |y| < 1   (e^(w/2) y)² (1/2! + y/3! + …)
#                        y ≥ 1     e^(w + y) (1 − (1 + y) e^−y): the product may be finite where e^y is not
#   ∂/∂w = itself,   ∂/∂y = e^w (e^y − 1)
def excess(w: Array, y: Array) -> Array:
    """e^w (e^y − 1 − y) ≥ 0, and 0 at y = 0 whatever w."""
    near, above = np.abs(y.real) < 1, y.real >= 1
    small, up, down = np.where(near, y, 0), np.where(above, y, 1), np.where(near | above, -1, y)
    close = np.where(small == 0, 0, (np.exp(0.5 * w) * small) ** 2 * series(TAYLOR, small))
    high = np.exp(w + up) * (1 - (1 + up) * np.exp(-up))
    return np.where(near, close, np.where(above, high, weighed(np.expm1(down) - down, np.exp(w))))


def excess_vjp(dz: Array, w: Array, y: Array) -> tuple[Array, Array]:
    """dw = dz e^w (e^y − 1 − y),  dy = dz e^w (e^y − 1)."""
    up = np.where(y > 0, y, 0)
    rise = np.where(y > 0, -np.exp(w + up) * np.expm1(-up), np.exp(w) * np.expm1(np.where(y > 0, 0, y)))
    return dz * excess(w, y), dz * np.where(y == 0, 0, rise)


# e^w log(1 + e^d):     d < 0   e^(w + d) · log(1 + e^d) / e^d,  → e^(w + d), also where e^w is infinite
#   ∂/∂d = e^w sigmoid(d) = e^(w + d) / (1 + e^d)
def soft(w: Array, d: Array) -> Array:
    """e^w softplus(d)."""
    low = d.real < 0
    e = np.exp(np.where(low, d, -d))
    tiny = e.real < 0.02  # there by its series: NumPy's complex log1p rounds to 1e-16 of 1, not of e
    ratio = np.where(tiny, series(ALTERNATING, e), np.log1p(e) / np.where(tiny, 1, e))
    return np.where(low, np.exp(w + np.where(low, d, 0)) * ratio, np.exp(w) * (np.where(low, 0, d) + np.log1p(e)))


def soft_vjp(dy: Array, w: Array, d: Array) -> tuple[Array, Array]:
    """dw = dy e^w softplus(d),  dd = dy e^w sigmoid(d)."""
    low = d < 0
    slope = np.where(low, np.exp(w + np.where(low, d, 0)) / (1 + np.exp(np.where(low, d, 0))), np.exp(w) * sigmoid(d))
    return dy * soft(w, d), dy * slope


def log_near(u: Array, far: Array) -> Array:
    """log(1 + u) where |u| < ½, which is exact there; elsewhere `far`, the same as a difference of logs."""
    near = np.abs(u.real) < 0.5
    return np.where(near, np.log1p(np.where(near, u, 0)), far)


def log_add(a: Array, b: Array) -> Array:
    """log(e^a + e^b)."""
    over = a.real > b.real
    high = np.where(over, a, b)
    return high + np.log1p(np.exp(np.where(over, b, a) - high))
