"""§7.2.5 Location and scale on the real line: Laplace, logistic, Gumbel, Cauchy. t = (z − μ)/s, s = e^log_s."""

from typing import NamedTuple

import numpy as np
from scipy import special

from ..reparam import inverse_cdf
from ..types import Array
from .elementwise import ClosedEntropy, ClosedKL, Elementwise, Slopes
from .saddle import excess, log_gamma, series
from .shared import LOG_2, times

EULER = float(np.euler_gamma)
LOG_PI = float(np.log(np.pi))
NEAR = 0.25  # |β − 1| up to which ln Γ is taken from its series about 1
ZETAS = tuple(float((-1) ** k * special.zeta(k) / k) for k in range(2, 30))


class MuLogS(NamedTuple):
    """Location and log scale."""

    mu: Array
    log_s: Array


# log p = f(t) − log s        so      ∂/∂z = f′/s = −∂/∂μ,    ∂/∂log s = −t f′ − 1
class LocationScale(ClosedEntropy, Elementwise, MuLogS):
    """A family by its standard member: the variate g(u), f = log of its density, and its entropy H: ln s + H."""

    __slots__ = ()
    disorder = 0.0

    def variate(self, u: Array) -> Array:
        """g(u)."""
        raise NotImplementedError

    def shape(self, t: Array) -> Array:
        """f(t)."""
        raise NotImplementedError

    def slope(self, t: Array) -> Array:
        """f′(t)."""
        raise NotImplementedError

    @property
    def mean(self) -> Array:
        """μ, where it is the mean (a Cauchy has its median there)."""
        return self.mu

    def draw(self, u: Array) -> Array:
        return inverse_cdf.location_scale_sample(self.mu, np.exp(self.log_s), self.variate(u))

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        dmu, ds = inverse_cdf.location_scale_sample_vjp(dz, self.variate(u))
        return dmu, ds * np.exp(self.log_s)

    def standardised(self, z: Array) -> Array:
        """t."""
        return (z - self.mu) * np.exp(-self.log_s)

    def density(self, z: Array) -> Array:
        return self.shape(self.standardised(z)) - self.log_s

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads."""
        t = self.standardised(z)
        slope = self.slope(t)
        dz = dy * slope * np.exp(-self.log_s)
        return dz, -dz, dy * (-times(t, slope) - 1)

    def entropies(self) -> Array:
        return self.log_s + self.disorder

    def entropies_vjp(self, dy: Array) -> Slopes:
        return np.zeros_like(dy), dy


def size(t: Array) -> Array:
    """|t|, that a complex step may pass."""
    return np.where(t.real < 0, -t, t)


# KL(Laplace(μ, b) ‖ Laplace(0, 1)) = b (e^{−m} − 1 + m) + (b − 1 − ln b),  m = |μ|/b: two terms ≥ 0
#   ∂/∂μ = ±(1 − e^{−m}),    ∂/∂ln b = b e^{−m} (1 + m) − 1
class Laplace(ClosedKL, LocationScale):
    """Density e^{−|t|}/2s by mu and log_s (..., K)."""

    __slots__ = ()
    disorder = 1 + LOG_2

    def variate(self, u: Array) -> Array:
        return inverse_cdf.standard_laplace(u)

    def shape(self, t: Array) -> Array:
        return -size(t) - LOG_2

    def slope(self, t: Array) -> Array:
        return -np.sign(t)

    def divergences(self) -> Array:
        """KL of each number."""
        m = size(self.mu) * np.exp(-self.log_s)
        return excess(self.log_s, -m) + excess(np.zeros_like(m), self.log_s)

    def divergences_vjp(self, dy: Array) -> Slopes:
        """Cotangents of the heads."""
        m = np.abs(self.mu) * np.exp(-self.log_s)
        return -dy * np.sign(self.mu) * np.expm1(-m), dy * (np.exp(self.log_s - m) * (1 + m) - 1)


class Logistic(LocationScale):
    """Density e^{−t}/(s (1 + e^{−t})²) by mu and log_s (..., K)."""

    __slots__ = ()
    disorder = 2.0

    def variate(self, u: Array) -> Array:
        return inverse_cdf.standard_logistic(u)

    def shape(self, t: Array) -> Array:
        return -size(t) - 2 * np.log1p(np.exp(-size(t)))

    def slope(self, t: Array) -> Array:
        return -np.tanh(t / 2)


def above_tangent(log_b: Array) -> Array:
    """ln Γ(β) + γ (β − 1) ≥ 0: what ln Γ is above its tangent at β = 1."""
    x = np.expm1(log_b)
    near = np.abs(x.real) < NEAR
    s = np.where(near, x, 0)
    return np.where(near, s * s * series(ZETAS, s), log_gamma(1 + np.exp(log_b)) - log_b + EULER * x)


# KL(Gumbel(μ, β) ‖ Gumbel(0, 1)) = (e^g − 1 − g) + ln Γ(β) + γ (β − 1),  g = ln Γ(1 + β) − μ: two terms ≥ 0
#   ∂/∂μ = 1 − e^g,    ∂/∂β = (e^g − 1) ψ(1 + β) + ψ(β) + γ
def gumbel_kl(mu: Array, log_s: Array) -> Array:
    """Of each number."""
    g = log_gamma(1 + np.exp(log_s)) - mu
    return excess(np.zeros_like(g), g) + above_tangent(log_s)


def gumbel_kl_vjp(dy: Array, mu: Array, log_s: Array) -> tuple[Array, Array]:
    """Cotangents of μ and ln β."""
    beta = np.exp(log_s)
    rise = np.expm1(special.gammaln(1 + beta) - mu)
    return -dy * rise, dy * (times(rise, beta * special.psi(1 + beta)) + beta * (special.psi(1 + beta) + EULER) - 1)


class Gumbel(ClosedKL, LocationScale):
    """Density e^{−t − e^{−t}}/s by mu and log_s (..., K)."""

    __slots__ = ()
    disorder = 1 + EULER

    def variate(self, u: Array) -> Array:
        return inverse_cdf.standard_gumbel(u)

    def shape(self, t: Array) -> Array:
        return -t - np.exp(-t)

    def slope(self, t: Array) -> Array:
        return np.expm1(-t)

    @property
    def mean(self) -> Array:
        """μ + γ s."""
        return self.mu + np.asarray(EULER, self.mu.dtype) * np.exp(self.log_s)

    def divergences(self) -> Array:
        return gumbel_kl(self.mu, self.log_s)

    def divergences_vjp(self, dy: Array) -> Slopes:
        return gumbel_kl_vjp(dy, self.mu, self.log_s)


# KL(Cauchy(μ, s) ‖ Cauchy(0, 1)) = ln [1 + ((s − 1)² + μ²)/4s]
#   with D = (s + 1)² + μ²:    ∂/∂μ = 2μ/D,    ∂/∂ln s = ((s − 1)(s + 1) − μ²)/D
class Cauchy(ClosedKL, LocationScale):
    """Density 1/(π s (1 + t²)) by mu and log_s (..., K); it has no mean."""

    __slots__ = ()
    disorder = 2 * LOG_2 + LOG_PI

    def variate(self, u: Array) -> Array:
        return inverse_cdf.standard_cauchy(u)

    def shape(self, t: Array) -> Array:
        return -np.log1p(t * t) - LOG_PI

    def slope(self, t: Array) -> Array:
        return -2 * t / (1 + t * t)

    def divergences(self) -> Array:
        return np.log1p((np.expm1(self.log_s) ** 2 + self.mu**2) * np.exp(-self.log_s) / 4)

    def divergences_vjp(self, dy: Array) -> Slopes:
        """Cotangents of the heads."""
        s, off = np.exp(self.log_s), np.expm1(self.log_s)
        D = (s + 1) ** 2 + self.mu**2
        return dy * 2 * self.mu / D, dy * (off * (s + 1) - self.mu**2) / D
