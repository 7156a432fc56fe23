"""§7.2.4 The von Mises distribution about 0, f(z) = e^{κ cos z}/(2π I₀(κ)) on (−π, π], and dz/dκ by hand.

About μ take z + μ: a shift, and dμ = dz.
"""

import numpy as np
from scipy import special

from ..types import Array

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
REST_OF_PI = 1.2246467991473532e-16  # π is this much above its float
SPENT = 40.0  # e^−40 is below rounding: where an integral over a tail ends
LARGE, ORDERS = 40.0, 16  # κ from which, and to how many terms, 1 − A(κ) is taken from its series in 1/κ

NORMAL = 1e14  # κ from which z is a normal's of variance 1/κ, to rounding

# ∂z/∂κ = −(∂F/∂κ)/f,   F(z) = ½ + ∫₀ᶻ f,   ∂ ln f/∂κ = cos t − A(κ),   A = I₁/I₀ = E[cos t]:
#   ∂z/∂κ = −∫₀ᶻ (cos t − A) e^{κ (cos t − cos z)} dt = ∫_z^π (cos t − A) e^{κ (cos t − cos z)} dt
# since cos t − A has mean zero. The first where cos z > A, the second elsewhere: no integrand changes sign, nothing
# cancels, at any κ. Odd in z. For the same reason
#   cos t − cos z = 2 (sin²(z/2) − sin²(t/2)),     cos t − A = (1 − A) − 2 sin²(t/2),
# and a tail ends at T with κ (cos z − cos T) = SPENT. 1 − A, with A = Σ aⱼ/κʲ in Riccati's A′ = 1 − A/κ − A²:
#   2aⱼ = (j − 2) aⱼ₋₁ − Σ_{0<i<j} aᵢ aⱼ₋ᵢ,      a₀ = 1


def _spread_series() -> Array:
    a = [1.0]
    for j in range(1, ORDERS):
        a.append(0.5 * ((j - 2) * a[j - 1] - sum(a[i] * a[j - i] for i in range(1, j))))
    return -np.array([0.0, *a[1:]])


SPREAD_SERIES = _spread_series()


def spread(kappa: Array) -> Array:
    """1 − A(κ) = 1 − E[cos z], without cancellation for large κ."""
    direct = 1 - special.i1e(kappa) / special.i0e(kappa)
    far = np.polynomial.polynomial.polyval(1 / np.maximum(kappa, LARGE), SPREAD_SERIES)
    return np.where(kappa < LARGE, direct, far)


def _nodes(kappa: Array, z: Array, tail: Array) -> tuple[Array, Array, Array]:
    """Half the length of [0, z], or of what counts of [z, π]; there 1 − cos t, and e^{κ (cos t − cos z)}. z ≥ 0."""
    end = 2 * np.arcsin(np.sqrt(np.minimum(np.sin(z / 2) ** 2 + SPENT / (2 * np.maximum(kappa, 1)), 1)))
    start, end = np.where(tail, z, 0), np.where(tail, end, z)
    half = (end - start + np.where(end == np.pi, REST_OF_PI, 0)) / 2
    t = start[..., None] + half[..., None] * (NODES + 1)
    off = 2 * np.sin(t / 2) ** 2
    rise = 2 * np.sin(z[..., None] / 2) ** 2 - off  # ≤ 0 in a tail; rounded above 0, κ would make it anything
    return half, off, np.exp(kappa[..., None] * np.where(tail[..., None], np.minimum(rise, 0), rise))


def slope(kappa: Array, z: Array) -> Array:
    """dz/dκ at fixed u; κ ≥ 0, −π ≤ z ≤ π, any shapes that broadcast."""
    kappa, z = np.broadcast_arrays(np.asarray(kappa, float), np.asarray(z, float))
    far, size = spread(kappa), np.abs(z)
    tail = 2 * np.sin(size / 2) ** 2 >= far
    half, off, weight = _nodes(kappa, size, tail)
    integral = half * ((far[..., None] - off) * weight * WEIGHTS).sum(axis=-1)
    return np.sign(z) * np.where(tail, integral, -integral)


# z = F⁻¹(u): of the smaller tail p = min(u, 1 − u) by Newton on ln ∫_z^π f = ln p, slope −f/∫_z^π f, inside a bracket.


def _log_tail(kappa: Array, z: Array) -> tuple[Array, Array]:
    """(ln ∫_z^π f, ln f(z)) for z ≥ 0."""
    tail = z > 1 / np.sqrt(1 + kappa)
    half, _, weight = _nodes(kappa, z, tail)
    log_f = -2 * kappa * np.sin(z / 2) ** 2 - np.log(2 * np.pi * special.i0e(kappa))
    part = half * (weight * WEIGHTS).sum(axis=-1)
    log_tail = np.log(np.where(tail, part, 1)) + log_f
    return np.where(tail, log_tail, np.log(0.5 - part * np.exp(log_f))), log_f


def tail(kappa: Array, z: Array) -> Array:
    """1 − F(z), 0 ≤ z ≤ π: what is above z."""
    near = np.exp(_log_tail(np.minimum(kappa, NORMAL), z)[0])
    return np.where(kappa > NORMAL, special.ndtr(-np.sqrt(kappa) * z), near)


def sample(kappa: Array, u: Array) -> Array:
    """z in (−π, π) by the inverse CDF, κ ≥ 0."""
    kappa, u = np.broadcast_arrays(np.asarray(kappa, float), np.asarray(u, float))
    p = np.minimum(u, 1 - u)
    low, high = np.zeros_like(p), np.full_like(p, np.pi)
    z = normal = np.minimum(-special.ndtri(p) / np.sqrt(np.maximum(kappa, 1e-3)), np.pi * (1 - 2 * p))
    for _ in range(60):
        log_tail, log_f = _log_tail(kappa, z)
        miss = log_tail - np.log(p)
        low, high = np.where(miss > 0, z, low), np.where(miss < 0, z, high)
        step = miss * np.exp(log_tail - log_f)
        inside = (z + step >= low) & (z + step <= high)
        last, z = z, np.where(inside, z + step, (low + high) / 2)
        if (np.abs(z - last) <= 1e-8 * np.minimum(z, np.pi - z)).all():  # the error is this one's square
            break
    z = np.where(kappa > NORMAL, normal, z)
    return np.where(u < 0.5, -z, z)


def sample_vjp(dz: Array, kappa: Array, z: Array) -> Array:
    """dκ = dz · dz/dκ, elementwise; z is what `sample` gave."""
    return dz * slope(kappa, z)
