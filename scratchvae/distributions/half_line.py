"""§7.2.5 Families of positive values, their heads logs: Weibull, Rayleigh, Gompertz, inverse gamma, χ², F."""

from typing import NamedTuple

import numpy as np
from scipy import special

from .. import reparam
from ..kernels import NUMPY, Kernels
from ..reparam import inverse_cdf
from ..types import Array
from .continuous import Gamma
from .elementwise import ClosedEntropy, ClosedKL, Elementwise, Slopes
from .location import EULER, gumbel_kl, gumbel_kl_vjp
from .positive import at_edge, by_log_shape, gamma, gamma_vjp, steep
from .saddle import excess, log_add, stirling, stirling_vjp, weighed
from .shared import LOG_2, times

LOG_PI_OVER_2 = float(np.log(np.pi / 2))


class ShapeScale(NamedTuple):
    """The heads of a Weibull and of an inverse gamma."""

    log_shape: Array
    log_scale: Array


class LogScale(NamedTuple):
    """The head of a Rayleigh."""

    log_scale: Array


class EtaRate(NamedTuple):
    """The heads of a Gompertz."""

    log_eta: Array
    log_rate: Array


class LogDegrees(NamedTuple):
    """The head of a χ²."""

    log_nu: Array


class TwoDegrees(NamedTuple):
    """The heads of an F."""

    log_d1: Array
    log_d2: Array


# t = k ln z/λ:   log p = ln k − ln z + t − e^t       ∂/∂z = −(1 + k (e^t − 1))/z
#   ∂/∂ln k = 1 − t (e^t − 1),    ∂/∂ln λ = k (e^t − 1);     −ln z is Gumbel(−ln λ, 1/k), and so is the KL
class Weibull(ClosedKL, ClosedEntropy, Elementwise, ShapeScale):
    """z ≥ 0 by log k and log λ (..., K); the standard member is the exponential."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """λ Γ(1 + 1/k)."""
        return np.exp(self.log_scale + special.gammaln(1 + np.exp(-self.log_shape))).astype(self.log_scale.dtype)

    def draw(self, u: Array) -> Array:
        return inverse_cdf.weibull_sample(np.exp(self.log_shape), np.exp(self.log_scale), u)

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        k, scale = np.exp(self.log_shape), np.exp(self.log_scale)
        dk, dscale = inverse_cdf.weibull_sample_vjp(dz, k, scale, u)
        return dk * k, dscale * scale

    def density(self, z: Array) -> Array:
        """log p of each number; at z = 0 its limit."""
        log_z = np.log(np.where(z == 0, 1, z))
        t = np.exp(self.log_shape) * (log_z - self.log_scale)
        at_0 = at_edge(self.log_shape.real, -self.log_scale)
        return np.where(z == 0, at_0, self.log_shape - log_z - 1 - excess(np.zeros_like(t), t))

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads."""
        k = np.exp(self.log_shape)
        t = k * (np.log(z) - self.log_scale)
        rise = np.expm1(t)
        by_z = np.where(z == 0, steep(self.log_shape, -np.exp(-self.log_scale)), -(1 + k * rise) / z)
        return times(dy, by_z), times(dy, 1 - times(t, rise)), times(dy, k * rise)

    def entropies(self) -> Array:
        return EULER * -np.expm1(-self.log_shape) + self.log_scale - self.log_shape + 1

    def entropies_vjp(self, dy: Array) -> Slopes:
        return dy * (EULER * np.exp(-self.log_shape) - 1), dy

    def divergences(self) -> Array:
        return gumbel_kl(-self.log_scale, -self.log_shape)

    def divergences_vjp(self, dy: Array) -> Slopes:
        """Cotangents of the heads."""
        by_scale, by_shape = gumbel_kl_vjp(-dy, -self.log_scale, -self.log_shape)
        return by_shape, by_scale


# r = (z/σ)²:   log p = ln z − 2 ln σ − r/2      ∂/∂z = (1 − r)/z,    ∂/∂ln σ = r − 2;     KL = σ² − 1 − ln σ²
class Rayleigh(ClosedKL, ClosedEntropy, Elementwise, LogScale):
    """The length of two Gaussians of standard deviation σ, by log σ (..., K)."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """σ √(π/2)."""
        return np.exp(self.log_scale + np.asarray(LOG_PI_OVER_2 / 2, self.log_scale.dtype))

    def draw(self, u: Array) -> Array:
        return inverse_cdf.rayleigh_sample(np.exp(self.log_scale), u)

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        return (inverse_cdf.rayleigh_sample_vjp(dz, u) * np.exp(self.log_scale),)

    def density(self, z: Array) -> Array:
        return np.log(z) - 2 * self.log_scale - 0.5 * (z * np.exp(-self.log_scale)) ** 2

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the head."""
        r = (z * np.exp(-self.log_scale)) ** 2
        return times(dy, (1 - r) / z), dy * (r - 2)

    def entropies(self) -> Array:
        return 1 + self.log_scale - 0.5 * LOG_2 + 0.5 * EULER

    def entropies_vjp(self, dy: Array) -> Slopes:
        return (dy,)

    def divergences(self) -> Array:
        return excess(np.zeros_like(self.log_scale), 2 * self.log_scale)

    def divergences_vjp(self, dy: Array) -> Slopes:
        return (2 * dy * np.expm1(2 * self.log_scale),)


# 1 − F = exp(−η (e^{bz} − 1)):   log p = ln b + ln η + bz − η (e^{bz} − 1)
#   g = 1 − η e^{bz}:    ∂/∂z = b g,    ∂/∂ln η = 1 − η (e^{bz} − 1),    ∂/∂ln b = 1 + bz g
class Gompertz(Elementwise, EtaRate):
    """z ≥ 0 by log η and the log of the rate b (..., K)."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """Its median, ln(1 + ln 2/η)/b: the mean is an exponential integral."""
        return inverse_cdf.gompertz_sample(np.exp(self.log_eta), np.exp(self.log_rate), np.asarray(0.5)).astype(
            self.log_eta.dtype
        )

    def draw(self, u: Array) -> Array:
        return inverse_cdf.gompertz_sample(np.exp(self.log_eta), np.exp(self.log_rate), u)

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        eta, rate = np.exp(self.log_eta), np.exp(self.log_rate)
        deta, drate = inverse_cdf.gompertz_sample_vjp(dz, eta, rate, u)
        return deta * eta, drate * rate

    def density(self, z: Array) -> Array:
        """log p of each number, z ≥ 0."""
        x = np.exp(self.log_rate) * z
        return self.log_rate + self.log_eta + x - np.exp(self.log_eta) * np.expm1(x)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads."""
        b = np.exp(self.log_rate)
        g = 1 - np.exp(self.log_eta + b * z)
        return dy * b * g, dy * (1 - np.exp(self.log_eta) * np.expm1(b * z)), dy * (1 + times(b * z, g))


# 1/z is Gamma(α, β):   log p(z) = log p(1/z) − 2 ln z;    the KL is that of the gammas
class InverseGamma(Elementwise, ShapeScale):
    """z > 0 by log α and log β (..., K): shape and scale."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """β/(α − 1), infinite for α ≤ 1."""
        return np.where(
            self.log_shape > 0, np.exp(self.log_scale) / np.expm1(np.maximum(self.log_shape, 1e-30)), np.inf
        )

    def inverse(self) -> Gamma:
        """The distribution of 1/z."""
        return Gamma(*self)

    def log_inverse(self, u: Array) -> Array:
        """ln 1/z at scale 1; z rises with u."""
        return reparam.gamma.log_sample(np.exp(self.log_shape), 1 - u)

    def draw(self, u: Array) -> Array:
        return np.exp(self.log_scale - self.log_inverse(u))

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        y, alpha = self.log_inverse(u), np.exp(self.log_shape)
        dlog_z = dz * np.exp(self.log_scale - y)
        return times(-dlog_z, alpha * reparam.gamma.log_slope(alpha, y)), dlog_z

    def density(self, z: Array) -> Array:
        """log p of each number; −inf at z = 0."""
        inner = np.where(z == 0, 1, z)
        inside = gamma(1 / inner, self.log_shape - self.log_scale, self.log_shape) - 2 * np.log(inner)
        return np.where(z == 0, -np.inf, inside)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads."""
        one, log_mean = np.ones(()), self.log_shape - self.log_scale
        lost, dlog_mean, _ = gamma_vjp(one, 1 / z, log_mean, self.log_shape)
        by_z = np.where(z == 0, np.inf, -(lost / z + 2) / z)
        by_shape = by_log_shape(-np.log(z), log_mean, self.log_shape)
        return times(dy, by_z), times(dy, by_shape), times(dy, -dlog_mean)

    def kl(self, k: Kernels = NUMPY) -> Array:
        return self.inverse().kl(k)

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> "InverseGamma":
        return InverseGamma(*self.inverse().kl_vjp(w, k))


# χ²(ν) = Gamma(ν/2, rate ½)
class ChiSquare(Elementwise, LogDegrees):
    """z > 0 by log ν (..., K), the degrees of freedom."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """ν."""
        return np.exp(self.log_nu)

    def gamma(self) -> Gamma:
        """The same, by shape and rate."""
        half = np.asarray(LOG_2, self.log_nu.dtype)
        return Gamma(self.log_nu - half, np.full_like(self.log_nu, -half))

    def draw(self, u: Array) -> Array:
        return 2 * np.exp(reparam.gamma.log_sample(np.exp(self.log_nu) / 2, u))

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the head."""
        alpha = np.exp(self.log_nu) / 2
        y = reparam.gamma.log_sample(alpha, u)
        return (times(2 * dz * np.exp(y), alpha * reparam.gamma.log_slope(alpha, y)),)

    def density(self, z: Array) -> Array:
        return gamma(z, self.log_nu, self.log_nu - LOG_2)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the head."""
        dz, _, _ = gamma_vjp(dy, z, self.log_nu, self.log_nu - LOG_2)
        return dz, times(dy, by_log_shape(np.log(z), self.log_nu, self.log_nu - LOG_2))

    def entropy(self, k: Kernels = NUMPY) -> Array:
        return self.gamma().entropy(k)

    def entropy_vjp(self, w: Array, k: Kernels = NUMPY) -> "ChiSquare":
        return ChiSquare(self.gamma().entropy_vjp(w, k).log_shape)

    def kl(self, k: Kernels = NUMPY) -> Array:
        return self.gamma().kl_to(self.standard().gamma())

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> "ChiSquare":
        return ChiSquare(self.gamma().kl_to_vjp(w, self.standard().gamma())[0].log_shape)


# z = y d₂/((1 − y) d₁),  y ~ Beta(a, b),  a = d₁/2,  b = d₂/2:   logit y = ln z + ln a/b,   m = a/n,  n = a + b
#   log p = c(a) + c(b) − c(n) − a k(ln y/m) − b k(ln (1 − y)/(1 − m)) − ln z,   k(x) = e^x − 1 − x      (`saddle`)
#   with δ = a (1 − y) − b y:   ∂/∂ln z = δ − 1,    ∂/∂ln d₁ = a ln y/m + c′(a) − m c′(n) + δ,    ∂/∂ln d₂ alike, − δ
class F(Elementwise, TwoDegrees):
    """z > 0 by log d₁ and log d₂ (..., K), the degrees of freedom."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """d₂/(d₂ − 2), infinite for d₂ ≤ 2."""
        d2 = np.exp(self.log_d2 + 0 * self.log_d1)
        return np.where(d2 > 2, d2 / np.where(d2 > 2, d2 - 2, 1), np.inf)

    def logit(self, u: Array) -> Array:
        return reparam.beta.logit_sample(np.exp(self.log_d1) / 2, np.exp(self.log_d2) / 2, u)

    def draw(self, u: Array) -> Array:
        return np.exp(self.logit(u) + self.log_d2 - self.log_d1)

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        a, b, y = np.exp(self.log_d1) / 2, np.exp(self.log_d2) / 2, self.logit(u)
        by_a, by_b = reparam.beta.logit_slopes(a, b, y)
        dlog_z = dz * np.exp(y + self.log_d2 - self.log_d1)
        first, second = a * by_a - 1, b * by_b + 1
        return tuple(np.where(s == 0, 0, times(dlog_z, s)) for s in (first, second))

    def parts(self, log_z: Array) -> tuple[Array, ...]:
        """ln a, ln b, ln m, ln(1 − m), ln y/m and ln (1 − y)/(1 − m)."""
        log_a, log_b = self.log_d1 - LOG_2, self.log_d2 - LOG_2
        logit = log_z + log_a - log_b
        log_m, log_rest = -log_add(0 * log_a, log_b - log_a), -log_add(0 * log_a, log_a - log_b)
        return log_a, log_b, log_m, log_rest, -log_add(0 * logit, -logit) - log_m, -log_add(0 * logit, logit) - log_rest

    def density(self, z: Array) -> Array:
        """log p of each number; at z = 0 its limit."""
        log_z = np.log(np.where(z == 0, 1, z))
        log_a, log_b, _, _, up, down = self.parts(log_z)
        constant = stirling(log_a) + stirling(log_b) - stirling(log_add(log_a, log_b))
        inside = constant - excess(log_a, up) - excess(log_b, down) - log_z
        return np.where(z == 0, at_edge(log_a.real, np.zeros_like(log_a)), inside)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads."""
        log_z, one = np.log(z), np.ones(())
        log_a, log_b, log_m, log_rest, up, down = self.parts(log_z)
        shared = stirling_vjp(one, log_add(log_a, log_b))
        pull = np.exp(log_a + log_rest + down) - np.exp(log_b + log_m + up)
        by_a = weighed(up, np.exp(log_a)) + stirling_vjp(one, log_a) - np.exp(log_m) * shared + pull
        by_b = weighed(down, np.exp(log_b)) + stirling_vjp(one, log_b) - np.exp(log_rest) * shared - pull
        by_z = np.where(z == 0, steep(log_a, -(1 + np.exp(-log_b))), (pull - 1) / z)
        return times(dy, by_z), times(dy, by_a), times(dy, by_b)
