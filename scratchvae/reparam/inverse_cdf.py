"""§7.2.4 The inverse CDFs and locations and scales of Kingma & Welling 2014 §2.4, as pairs: z = g(u), and its slopes.

Numbers, u in (0, 1) and parameters alike, elementwise: all of one shape, or broadcast. ln(1 − u) is ln1p(−u).
"""

import numpy as np

from ..types import Array

# z = μ + s g(u)                          so    ∂z/∂μ = 1,    ∂z/∂s = g


def location_scale_sample(loc: Array, scale: Array, g: Array) -> Array:
    """z = μ + s g, g a standard variate: one of the four below, or any noise."""
    return loc + scale * g


def location_scale_sample_vjp(dz: Array, g: Array) -> tuple[Array, Array]:
    """(dμ, ds) = (dz, dz g)."""
    return dz.copy(), dz * g


def standard_cauchy(u: Array) -> Array:
    """tan π(u − ½), from the nearer end: near a pole of tan, π rounds."""
    p = np.minimum(u, 1 - u)
    size = np.where(p < 0.25, 1 / np.tan(np.pi * p), np.tan(np.pi * (0.5 - p)))
    return np.where(u < 0.5, -size, size)


def standard_logistic(u: Array) -> Array:
    """ln u/(1 − u)."""
    return np.log(u) - np.log1p(-u)


def standard_gumbel(u: Array) -> Array:
    """−ln(−ln u)."""
    return -np.log(-np.log(u))


def standard_laplace(u: Array) -> Array:
    """ln 2u below the median, −ln 2(1 − u) above."""
    log_2p = np.log(2 * np.minimum(u, 1 - u))
    return np.where(u < 0.5, log_2p, -log_2p)


# z = a + (b − a) u                       so    ∂z/∂a = 1 − u,    ∂z/∂b = u


def uniform_sample(a: Array, b: Array, u: Array) -> Array:
    """Uniform on (a, b)."""
    return a + (b - a) * u


def uniform_sample_vjp(dz: Array, u: Array) -> tuple[Array, Array]:
    """(da, db)."""
    return dz * (1 - u), dz * u


# Triangular on (a, b), mode c: F = (z−a)²/((b−a)(c−a)) below c, 1 − (b−z)²/((b−a)(b−c)) above. With r = √(v (b−a) w):
#   u < (c−a)/(b−a):  z = a + r,  v = u,      w = c − a         else:  z = b − r,  v = 1 − u,  w = b − c
#   ∂r/∂(b−a) = v w/2r = r/2(b−a),     ∂r/∂w = r/2w


def triangular_sample(a: Array, b: Array, c: Array, u: Array) -> Array:
    """Triangular on (a, b) with mode c, a ≤ c ≤ b."""
    left = u * (b - a) < c - a
    r = np.sqrt(np.where(left, u * (c - a), (1 - u) * (b - c)) * (b - a))
    return np.where(left, a + r, b - r)


def triangular_sample_vjp(dz: Array, a: Array, b: Array, c: Array, u: Array) -> tuple[Array, Array, Array]:
    """(da, db, dc)."""
    left = u * (b - a) < c - a
    v, w = np.where(left, u, 1 - u), np.where(left, c - a, b - c)
    by_length, by_w = 0.5 * np.sqrt(v * w / (b - a)), 0.5 * np.sqrt(v * (b - a) / w)
    da = np.where(left, 1 - by_length - by_w, by_length)
    db = np.where(left, by_length, 1 - by_length - by_w)
    return dz * da, dz * db, dz * by_w


# z = E/λ,  E = −ln(1 − u)                so    ∂z/∂λ = −z/λ


def exponential_sample(rate: Array, u: Array) -> Array:
    """Exponential of rate λ."""
    return -np.log1p(-u) / rate


def exponential_sample_vjp(dz: Array, rate: Array, u: Array) -> Array:
    """dλ."""
    return dz * np.log1p(-u) / rate**2


# z = σ √(2E)                             so    ∂z/∂σ = z/σ


def rayleigh_sample(scale: Array, u: Array) -> Array:
    """Rayleigh: the length of two Gaussians of standard deviation σ."""
    return scale * np.sqrt(-2 * np.log1p(-u))


def rayleigh_sample_vjp(dz: Array, u: Array) -> Array:
    """dσ."""
    return dz * np.sqrt(-2 * np.log1p(-u))


# z = λ E^{1/k}                           so    ∂z/∂k = −z ln E/k²,    ∂z/∂λ = z/λ


def weibull_sample(shape: Array, scale: Array, u: Array) -> Array:
    """Weibull of shape k and scale λ."""
    return scale * (-np.log1p(-u)) ** (1 / shape)


def weibull_sample_vjp(dz: Array, shape: Array, scale: Array, u: Array) -> tuple[Array, Array]:
    """(dk, dλ)."""
    E = -np.log1p(-u)
    z = E ** (1 / shape)
    return -dz * scale * z * np.log(E) / shape**2, dz * z


# z = m e^{E/a}                           so    ∂z/∂m = z/m,    ∂z/∂a = −z E/a²


def pareto_sample(minimum: Array, shape: Array, u: Array) -> Array:
    """Pareto above m, shape a."""
    return minimum * np.exp(-np.log1p(-u) / shape)


def pareto_sample_vjp(dz: Array, minimum: Array, shape: Array, u: Array) -> tuple[Array, Array]:
    """(dm, da)."""
    E = -np.log1p(-u)
    grown = np.exp(E / shape)
    return dz * grown, -dz * minimum * grown * E / shape**2


# z = a (b/a)^u                           so    ∂z/∂a = (1 − u) z/a,    ∂z/∂b = u z/b


def reciprocal_sample(a: Array, b: Array, u: Array) -> Array:
    """Density ∝ 1/z on (a, b), 0 < a < b."""
    return np.exp((1 - u) * np.log(a) + u * np.log(b))


def reciprocal_sample_vjp(dz: Array, a: Array, b: Array, u: Array) -> tuple[Array, Array]:
    """(da, db)."""
    dlog_z = dz * np.exp((1 - u) * np.log(a) + u * np.log(b))
    return dlog_z * (1 - u) / a, dlog_z * u / b


# z = ln(1 + E/η)/b                       so    ∂z/∂η = −E/(η (η+E) b),    ∂z/∂b = −z/b


def gompertz_sample(eta: Array, rate: Array, u: Array) -> Array:
    """Gompertz: 1 − F = exp(−η (e^{bz} − 1)), b the rate."""
    return np.log1p(-np.log1p(-u) / eta) / rate


def gompertz_sample_vjp(dz: Array, eta: Array, rate: Array, u: Array) -> tuple[Array, Array]:
    """(dη, db)."""
    E = -np.log1p(-u)
    return -dz * E / (eta * (eta + E) * rate), -dz * np.log1p(E / eta) / rate**2


# F = 1 − (1 − z^a)^b:   ln z = ln(1 − e^{−E/b})/a
#   ∂ln z/∂a = −ln z/a,    ∂ln z/∂b = −(E/b²)/(a (e^{E/b} − 1))


def kumaraswamy_log_sample(a: Array, b: Array, u: Array) -> Array:
    """ln z, z ~ Kumaraswamy(a, b) on (0, 1): for small a, z itself underflows."""
    return np.log(-np.expm1(np.log1p(-u) / b)) / a


def kumaraswamy_log_sample_vjp(dlog_z: Array, a: Array, b: Array, u: Array) -> tuple[Array, Array]:
    """(da, db)."""
    v = -np.log1p(-u) / b
    return -dlog_z * np.log(-np.expm1(-v)) / a**2, dlog_z * v / (b * a) * np.exp(-v) / np.expm1(-v)
