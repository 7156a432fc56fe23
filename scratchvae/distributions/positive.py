"""§7.2.5 Positive values and fractions: gamma by (mean, shape), log-normal, and beta, which has no exact 0 and 1."""

import numpy as np
from scipy import special

from ..kernels.activations import softplus_np
from ..types import Array
from .elementwise import ClosedEntropy, ClosedKL, Elementwise, Slopes
from .normal import MuLogVar
from .saddle import excess, excess_vjp, log_add, stirling, stirling_vjp, weighed
from .shared import LOG_2PI, quiet, times, wide


def at_edge(power: Array, finite: Array) -> Array:
    """lim x → 0 of x^power, as a log: ∓inf by the sign of the power, else what stays finite."""
    return np.where(power == 0, finite, np.where(power > 0, -np.inf, np.inf))


def steep(log_power: Array, finite: Array) -> Array:
    """The slope by x of (e^log_power − 1) log x at x = 0: ±inf, or what is left where the power is 0."""
    return np.where(log_power == 0, finite, np.where(log_power > 0, np.inf, -np.inf))


# Gamma(x; mean m, shape α):   α log(α / m) + (α − 1) log x − α x / m − log Γ(α)
#   with y = log x / m:        c(α) − log x − α (e^y − 1 − y)
#   ∂/∂log m = α (e^y − 1)     ∂/∂log α = c'(α) − α (e^y − 1 − y)     ∂/∂x = −(1 + α (e^y − 1)) / x
@quiet
def gamma(x: Array, log_mean: Array, log_shape: Array) -> Array:
    """log density of each entry; at x = 0 its limit."""
    log_x = np.log(np.where(x == 0, 1, x))
    inside = stirling(log_shape) - log_x - excess(log_shape, log_x - log_mean)
    return np.where(x == 0, at_edge(log_shape.real, -log_mean), inside)


@quiet
def gamma_vjp(dy: Array, x: Array, log_mean: Array, log_shape: Array) -> tuple[Array, Array, Array]:
    """Cotangents (dx, dlog m, dlog α)."""
    lost, rise = excess_vjp(np.ones(()), log_shape, np.log(x) - log_mean)
    return (
        times(dy, np.where(x == 0, steep(log_shape, -np.exp(log_shape - log_mean)), -(1 + rise) / x)),
        times(dy, rise),
        times(dy, stirling_vjp(np.ones(()), log_shape) - lost),
    )


def by_log_shape(log_x: Array, log_mean: Array, log_shape: Array) -> Array:
    """∂/∂log α at fixed rate α/m, where gamma_vjp's is at fixed mean: c'(α) + α log x/m."""
    return stirling_vjp(np.ones(()), log_shape) + weighed(log_x - log_mean, np.exp(log_shape))


# log x ~ N(μ, σ²):   −log x − ½ (log 2π + log σ² + d r),   d = log x − μ,  r = d / σ²      − log x is the Jacobian
#   ∂/∂x = −(1 + r) / x     ∂/∂μ = r     ∂/∂log σ² = ½ (d r − 1)
@quiet
def log_normal(x: Array, mu: Array, log_var: Array) -> Array:
    """log density of each entry; −inf at x = 0."""
    log_x = np.log(np.where(x == 0, 1, x))
    inside = -log_x - 0.5 * (LOG_2PI + log_var + times(log_x - mu, (log_x - mu) * np.exp(-log_var)))
    return np.where(x == 0, -np.inf, inside)


@quiet
def log_normal_vjp(dy: Array, x: Array, mu: Array, log_var: Array) -> tuple[Array, Array, Array]:
    """Cotangents (dx, dμ, dlog σ²)."""
    d = np.log(x) - mu
    r = np.where(x == 0, d, times(d, np.exp(-log_var)))
    return times(dy, -(1 + r) / x), times(dy, r), times(dy, 0.5 * (times(d, r) - 1))


# z = e^(μ + σ Φ⁻¹(u));   KL is that of the logs, ½ (μ² + σ² − 1 − ln σ²), and H = μ + ½ ln 2πeσ²
class LogNormal(ClosedKL, ClosedEntropy, Elementwise, MuLogVar):
    """Positive values whose logs are N(mu, e^log_var); both (..., K)."""

    __slots__ = ()

    @property
    @quiet
    def mean(self) -> Array:
        """e^(μ + ½ σ²)."""
        mu, log_var = wide(*self)
        return np.exp(mu + 0.5 * np.exp(log_var)).astype(self.mu.dtype)

    def log_deviation(self, u: Array) -> Array:
        """σ Φ⁻¹(u)."""
        return times(special.ndtri(u), np.exp(0.5 * self.log_var))

    def draw(self, u: Array) -> Array:
        return np.exp(self.mu + self.log_deviation(u))

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        dmu = times(dz, self.draw(u))
        return dmu, times(dmu, 0.5 * self.log_deviation(u))

    def density(self, z: Array) -> Array:
        return log_normal(z, *self)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        return log_normal_vjp(dy, z, *self)

    def divergences(self) -> Array:
        return 0.5 * (self.mu * self.mu + excess(np.zeros_like(self.mu), self.log_var))

    def divergences_vjp(self, dy: Array) -> Slopes:
        return dy * self.mu, 0.5 * dy * np.expm1(self.log_var)

    def entropies(self) -> Array:
        return self.mu + 0.5 * (LOG_2PI + 1 + self.log_var)

    def entropies_vjp(self, dy: Array) -> Slopes:
        return dy, 0.5 * dy


# Beta(x; α, β),  n = α + β,  m = α / n,  y₁ = log x / m,  y₂ = log (1 − x) / (1 − m):
#   c(α) + c(β) − c(n) − log x − log(1 − x) − α k(y₁) − β k(y₂),     k(y) = e^y − 1 − y
#   ∂/∂log α = α y₁ + c'(α) − m c'(n)     ∂/∂log β = β y₂ + c'(β) − (1 − m) c'(n)
#   ∂/∂x = (α − 1) / x − (β − 1) / (1 − x) = n (m − x) / (x (1 − x)) − 1 / x + 1 / (1 − x)
def fractions(x: Array, log_a: Array, log_b: Array) -> tuple[Array, ...]:
    """(log x, log(1 − x), log m, log(1 − m), log n); where x is 0 or 1 as if it were ½."""
    inner = np.where((x == 0) | (x == 1), 0.5, x)
    log_m, log_rest = -softplus_np(log_b - log_a), -softplus_np(log_a - log_b)
    return np.log(inner), np.log1p(-inner), log_m, log_rest, log_add(log_a, log_b)


@quiet
def beta(x: Array, log_a: Array, log_b: Array) -> Array:
    """log density of each entry; at x = 0 and 1 its limit."""
    log_x, log_1x, log_m, log_rest, log_n = fractions(x, log_a, log_b)
    inside = stirling(log_a) + stirling(log_b) - stirling(log_n) - log_x - log_1x
    inside = inside - excess(log_a, log_x - log_m) - excess(log_b, log_1x - log_rest)
    left, right = at_edge(log_a.real, log_b), at_edge(log_b.real, log_a)
    return np.where(x == 0, left, np.where(x == 1, right, inside))


@quiet
def beta_vjp(dy: Array, x: Array, log_a: Array, log_b: Array) -> tuple[Array, Array, Array]:
    """Cotangents (dx, dlog α, dlog β)."""
    _, _, log_m, log_rest, log_n = fractions(x, log_a, log_b)
    one = np.ones(())
    g, m = stirling_vjp(one, log_n), np.exp(log_m)
    by_a = weighed(np.log(x) - log_m, np.exp(log_a)) + stirling_vjp(one, log_a) - m * g
    by_b = weighed(np.log1p(-x) - log_rest, np.exp(log_b)) + stirling_vjp(one, log_b) - np.exp(log_rest) * g
    at_0, at_1 = steep(log_a, -np.expm1(log_b)), -steep(log_b, -np.expm1(log_a))
    inside = times(m - x, np.exp(log_n)) / (x * (1 - x)) - 1 / x + 1 / (1 - x)
    return times(dy, np.where(x == 0, at_0, np.where(x == 1, at_1, inside))), times(dy, by_a), times(dy, by_b)
