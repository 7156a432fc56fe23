"""§7.2.4 Gamma(α, rate 1) by ln z, and d ln z/dα by hand: z itself underflows for small α, its logarithm never does.

For Gamma(α, β) take ln z − ln β. χ², F, Student's t, the inverse gamma and the Dirichlet are made of it.
"""

import numpy as np
from scipy import special

from ..types import Array

SMALL = np.log(1e-8)  # of ln z: below it two terms of the series of P are all of it
LARGE, NEAR = 1000.0, 0.25  # α from which, and |z/α − 1| up to which, the expansion in 1/α is exact to rounding
ORDERS, DEGREE = 4, 24  # of that expansion, and of its polynomials
ENOUGH = 2.0**-60  # a term of the series that is less, as a share of their sum, is lost in rounding
STEPS, SETTLED = 1000, 2.0**-51  # of the fraction; what its steps differ from 1 by when they do no more than round

# ∂z/∂α = −(∂P/∂α)/f at fixed u = P(α, z), f = z^{α−1} e^{−z}/Γ(α). Three forms, each where its terms have one sign.
#
# (1) z ≤ max(α, 1):   P = z^α e^{−z}/Γ(α+1) S,   S = Σₙ tₙ,   tₙ = zⁿ/((α+1) … (α+n))
#       ∂ ln P/∂α = ln z − ψ(α+1) + S′/S,   S′ = −Σ tₙ hₙ,   hₙ = Σ_{1≤k≤n} 1/(α+k);   P/(z f) = S/α,   so
#       d ln z/dα = [(ψ(α+1) − ln z) S + Σ tₙ hₙ]/α
# (2) z > max(α, 1):   1 − P = z^α e^{−z}/Γ(α) C,   C = 1/(z+1−α − 1(1−α)/(z+3−α − 2(2−α)/(z+5−α − …)))    (Legendre)
#       d ln z/dα = (ln z − ψ(α)) C + ∂C/∂α
# (3) α large:   v = ∂z/∂α solves ∂(v f)/∂z = −∂f/∂α. With z = α(1+d), v = (1+d) Σₖ wₖ(d)/αᵏ, and
#       ψ(α) = ln α − Σₖ cₖ/αᵏ, order by order:   w₀ = ln(1+d)/d,   d wₖ = (1+d) w′ₖ₋₁ + cₖ.   As power series
#       w₀[n] = (−1)ⁿ/(n+1),   wₖ[n] = (n+2) wₖ₋₁[n+2] + (n+1) wₖ₋₁[n+1]           (cₖ cancels w′ₖ₋₁(0))
#       d ln z/dα = Σₖ wₖ(d)/αᵏ⁺¹


def _expansion() -> Array:
    n = np.arange(DEGREE + 2 * ORDERS)
    rows = [(-1.0) ** n / (n + 1)]
    for _ in range(ORDERS):
        m, w = n[: len(rows[-1]) - 2], rows[-1]
        rows.append((m + 2) * w[2:] + (m + 1) * w[1:-1])
    return np.array([w[:DEGREE] for w in rows[1:]])


EXPANSION = _expansion()  # w₁ … : (ORDERS, DEGREE)


def _series(alpha: Array, log_z: Array) -> Array:
    z, n = np.exp(log_z), 0
    t, S = np.ones_like(z), np.ones_like(z)
    h, Th = np.zeros_like(z), np.zeros_like(z)
    while (t > ENOUGH * S).any():
        n += 1
        t, h = t * z / (alpha + n), h + 1 / (alpha + n)
        S, Th = S + t, Th + t * h
    return ((special.digamma(alpha + 1) - log_z) * S + Th) / alpha


def _fraction(alpha: Array, log_z: Array) -> Array:
    """Modified Lentz; da, dc, … are the derivatives by α, carried along. Each number stops by itself."""
    b = np.exp(log_z) + 1 - alpha
    c, dc = np.full_like(b, np.inf), np.zeros_like(b)
    e, de = 1 / b, 1 / b**2
    C, dC, on = e, de, np.ones_like(b, bool)
    for n in range(1, STEPS):
        a, da, b = n * (alpha - n), n, b + 2
        e, de = 1 / (a * e + b), da * e + a * de - 1
        de = -(e**2) * de
        c, dc = b + a / c, da / c - a * (dc / c) / c - 1
        step, dstep = c * e, dc * e + c * de
        C, dC = np.where(on, C * step, C), np.where(on, dC * step + C * dstep, dC)
        on &= (np.abs(step - 1) > SETTLED) | (np.abs(C * dstep) > SETTLED * np.abs(dC))
        if not on.any():
            break
    return (log_z - special.digamma(alpha)) * C + dC


def _near_mode(alpha: Array, log_z: Array) -> Array:
    d = np.expm1(log_z - np.log(alpha))
    total = np.zeros_like(d)
    for w in EXPANSION[::-1]:
        total = (total + np.polynomial.polynomial.polyval(d, w)) / alpha
    w0 = np.where(d == 0, 1.0, np.log1p(d) / np.where(d == 0, 1.0, d))
    return (w0 + total) / alpha


def log_slope(alpha: Array, log_z: Array) -> Array:
    """d ln z/dα at fixed u; dz/dα is z times this. α > 0; any shapes that broadcast."""
    alpha, log_z = np.broadcast_arrays(np.asarray(alpha, float), np.asarray(log_z, float))
    near = (alpha > LARGE) & (np.abs(log_z - np.log(alpha)) < NEAR)
    low = ~near & (log_z <= np.log(np.maximum(alpha, 1)))
    slope = np.empty(alpha.shape)
    for where, form in ((near, _near_mode), (low, _series), (~near & ~low, _fraction)):
        slope[where] = form(alpha[where], log_z[where])
    return slope


# ln z = ln P⁻¹(α, u).  Near 0,  P = z^α/Γ(α+1) (1 − αz/(α+1) + O(z²)),  so  ln z = (ln u + ln Γ(α+1))/α + z/(α+1)


def log_sample(alpha: Array, u: Array) -> Array:
    """ln z, z ~ Gamma(α, rate 1), by the inverse CDF."""
    alpha, u = np.broadcast_arrays(np.asarray(alpha, float), np.asarray(u, float))
    small = (np.log(u) + special.gammaln(alpha + 1)) / alpha
    tiny = small < SMALL
    z = np.where(tiny, 1.0, special.gammaincinv(alpha, u))
    return np.where(tiny, small + np.exp(small) / (alpha + 1), np.log(z))


def log_sample_vjp(dlog_z: Array, alpha: Array, log_z: Array) -> Array:
    """dα = dlog_z · d ln z/dα, elementwise; log_z is what `log_sample` gave."""
    return dlog_z * log_slope(alpha, log_z)
