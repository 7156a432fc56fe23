"""§7.2.5 The curves that A is made of, right from the smallest argument to the largest, and analytic where NumPy is.

Comparisons look at the real part, so that a complex step passes through; trigamma alone is real.
"""

import math
from functools import cache

import numpy as np
from scipy import special

from ..types import Array
from .saddle import log_gamma, series

FAR = 20.0  # from here on Stirling's series has all digits
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


def trigamma(a: Array) -> Array:
    """ψ′(a), a > 0; a complex a keeps its real part alone."""
    return special.zeta(2.0, a.real)


# g(a) = ln Γ(a) − a ln a + a: what is left of ln Γ when its large part is taken off          Stirling
#   a → ∞:  ½ ln 2π − ½ ln a + Σ B₂ₖ / (2k (2k−1) a²ᵏ⁻¹)
#   so:     g′ = ψ(a) − ln a = −1/(2a) − Σ B₂ₖ / (2k a²ᵏ),      g″ = ψ′(a) − 1/a = 1/(2a²) + Σ B₂ₖ / a²ᵏ⁺¹


def rest(a: Array) -> Array:
    """g(a) = ln Γ(a) − a ln a + a."""
    far = np.where(a.real < FAR, FAR, a)
    tail = sum(b / (2 * k * (2 * k - 1)) * far ** (1.0 - 2 * k) for k, b in enumerate(BERNOULLI[:7], 1))
    near = np.where(a.real < FAR, a, 1.0)
    direct = log_gamma(near) - near * np.log(near) + near
    return np.where(a.real < FAR, direct, HALF_LOG_2PI - 0.5 * np.log(far) + tail)


def rest_slope(a: Array) -> Array:
    """g′(a) = ψ(a) − ln a."""
    far = np.where(a.real < FAR, FAR, a)
    tail = sum(b / (2 * k) * far ** (-2.0 * k) for k, b in enumerate(BERNOULLI[:7], 1))
    near = np.where(a.real < FAR, a, 1.0)
    return np.where(a.real < FAR, special.psi(near) - np.log(near), -0.5 / far - tail)


def rest_bend(a: Array) -> Array:
    """g″(a) = ψ′(a) − 1/a, of the real part."""
    a = a.real
    far, near = np.where(a < FAR, FAR, a), np.where(a < FAR, a, 1.0)
    tail = sum(b * far ** (-1.0 - 2 * k) for k, b in enumerate(BERNOULLI[:7], 1))
    return np.where(a < FAR, trigamma(near) - 1 / near, 0.5 / far / far + tail)


# c(l) = ln((e^l − 1) / l), what normalises e^{l x} on [0, 1]
#   with m = |l|:  max(l, 0) + ln(−expm1(−m) / m)               |l| < 1:  l/2 + Σ B₂ₖ l²ᵏ / (2k (2k)!)
#   so:  c′ = (1 or −e^−m) / (1 − e^−m) − 1/l,      c″ = 1/l² − e^−m / (1 − e^−m)²
BOX_SLOPE = tuple(b / math.factorial(2 * k) for k, b in enumerate(BERNOULLI, 1))
BOX = tuple(c / (2 * k) for k, c in enumerate(BOX_SLOPE, 1))
BOX_BEND = tuple(c * (2 * k - 1) for k, c in enumerate(BOX_SLOPE, 1))


def box(l: Array) -> Array:
    """c(l) = ln((e^l − 1) / l)."""
    small = np.abs(l.real) < 1
    m = np.where(small, 1.0, np.where(l.real < 0, -l, l))
    s = np.where(small, l, 0.0)
    far = np.where(l.real > 0, l, 0.0) + np.log(-np.expm1(-m) / m)
    return np.where(small, 0.5 * s + s * s * series(BOX, s * s), far)


def box_slope(l: Array) -> Array:
    """c′(l): the mean, in [0, 1]."""
    small = np.abs(l.real) < 1
    m = np.where(small, 1.0, np.where(l.real < 0, -l, l))
    s = np.where(small, l, 0.0)
    direct = np.where(l.real < 0, -np.exp(-m), 1.0) / -np.expm1(-m) - np.where(l.real < 0, -1 / m, 1 / m)
    return np.where(small, 0.5 + s * series(BOX_SLOPE, s * s), direct)


def box_bend(l: Array) -> Array:
    """c″(l): the variance."""
    small = np.abs(l.real) < 1
    m = np.where(small, 1.0, np.where(l.real < 0, -l, l))
    s = np.where(small, l, 0.0)
    return np.where(small, series(BOX_BEND, s * s), 1 / m / m - np.exp(-m) / np.expm1(-m) ** 2)


# b(κ) = ln I₀(κ);   κ < 2, by y = κ²/4:   I₀ = S₀ = Σ yᵏ/k!²,   I₁ = κ/2 S₁,  S₁ = Σ yᵏ/(k! (k+1)!)
#   ρ = b′ = I₁/I₀ solves  ρ′ = 1 − ρ/κ − ρ²:  so, for κ → ∞, ρ = Σ cₙ κ⁻ⁿ with 2cₙ = (n−2) cₙ₋₁ − Σ cᵢ cₙ₋ᵢ
#   R = ρ/κ → ½,       R′/κ = (ρ′ − R)/κ² → −1/8

LARGE = 30.0


@cache
def ratio_series() -> tuple[float, ...]:
    """c₀ … c₁₆ of ρ for large κ."""
    c = [1.0]
    for n in range(1, 17):
        c.append(((n - 2) * c[-1] - sum(c[i] * c[n - i] for i in range(1, n))) / 2)
    return tuple(c)


def power_series(kappa: Array, terms: int = 16) -> tuple[Array, Array, Array]:
    """(S₀ − 1, S₁/S₀, (S₀ − S₁)/(y S₀)) by y = κ²/4; 16 terms serve κ < 2, 80 serve κ < 30."""
    y = kappa * kappa / 4
    zero = gap = np.zeros_like(y)
    one = term = np.ones_like(y)
    for k in range(1, terms):
        gap = gap + term / (k * (k + 1.0))
        term = term * y / (k * k)
        zero, one = zero + term, one + term / (k + 1)
    return zero, one / (1 + zero), gap / (1 + zero)


def log_i0(kappa: Array) -> Array:
    """ln I₀(κ), κ ≥ 0: beyond the series ∫ρ = κ − ½ ln 2πκ + Σ cₙ κ¹⁻ⁿ / (1 − n) for complex κ, which SciPy's lacks."""
    if np.iscomplexobj(kappa):
        small = kappa.real < LARGE
        far = np.where(small, LARGE, kappa)
        tail = sum(c / (1 - n) * far ** (1.0 - n) for n, c in enumerate(ratio_series()) if n > 1)
        near, _, _ = power_series(np.where(small, kappa, 0.0), 80)
        return np.where(small, np.log(1 + near), far - HALF_LOG_2PI - 0.5 * np.log(far) + tail)
    small = kappa < 2
    near, _, _ = power_series(np.where(small, kappa, 0.0))
    far = np.where(small, 2.0, kappa)
    return np.where(small, np.log1p(near), np.log(special.i0e(far)) + far)


def bessel_ratio(kappa: Array) -> tuple[Array, Array]:
    """R = ρ/κ and ρ′, for κ ≥ 0."""
    edge, terms = (LARGE, 80) if np.iscomplexobj(kappa) else (2.0, 16)
    small, large = kappa.real < edge, kappa.real >= LARGE
    _, one, gap = power_series(np.where(small, kappa, 0.0), terms)
    middle = np.where(small | large, LARGE, kappa)
    rho = special.i1e(middle.real) / special.i0e(middle.real)
    far, c = np.where(large, kappa, LARGE), ratio_series()
    rho = np.where(large, sum(a * far**-n for n, a in enumerate(c)), rho)
    bend = np.where(large, sum(-n * a * far ** (-1.0 - n) for n, a in enumerate(c)), 1 - rho / middle - rho * rho)
    big = np.where(large, kappa, middle)
    r, twist = np.where(small, one / 2, rho / big), gap / 4 - one * one / 4  # of small κ, R′/κ
    return r, np.where(small, r + kappa * kappa * twist, bend)
