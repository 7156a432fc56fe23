"""§7.2.5 Student-t by location, scale and degrees of freedom: heavy tails, and the Gaussian as ν → ∞."""

from typing import NamedTuple

import numpy as np
from scipy import special

from ..kernels import NUMPY, Kernels
from ..kernels.activations import softplus_np
from ..types import Array
from .observed import Observed
from .saddle import SMALL, excess, log_gamma, series, sigmoid, soft, soft_vjp
from .shared import fitted, quiet, row_weights, summed, times, wide

LOG_2PI, LOG_2 = float(np.log(2 * np.pi)), float(np.log(2))
HALF = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224, -5461 / 425984)

# log Γ(a + ½) − log Γ(a) − ½ log a, by w = log a
#   small a:   log Γ(a + ½) − log Γ(1 + a) + ½ w         ∂/∂w:   a (ψ(a + ½) − ψ(1 + a)) + ½
#   large a:   −1/8 a⁻¹ + 1/192 a⁻³ − 1/640 a⁻⁵ + …


def half_step(w: Array) -> Array:
    """log Γ(a + ½) − log Γ(a) − ½ log a → 0 for large a = e^w."""
    large = w.real > np.log(SMALL)
    a, r = np.exp(np.where(large, 0, w)), np.exp(-np.where(large, w, 3))
    return np.where(large, r * series(HALF, r * r), log_gamma(a + 0.5) - log_gamma(1 + a) + 0.5 * w)


def half_step_vjp(dy: Array, w: Array) -> Array:
    """dw."""
    large = w > np.log(SMALL)
    a, r = np.exp(np.where(large, 0, w)), np.exp(-np.where(large, w, 3))
    slopes = tuple(-c * (2 * k + 1) for k, c in enumerate(HALF))
    return dy * np.where(
        large, r * series(slopes, r * r), a * (special.digamma(a + 0.5) - special.digamma(1 + a)) + 0.5
    )


# z = (x − μ) / s,  a = ν / 2,  e = log z² / ν:
#   log p = half_step(a) − ½ log 2π − log s − (a + ½) log(1 + e^e)
#   ∂/∂x = −(ν + 1) σ(e) / (x − μ) = −∂/∂μ     ∂/∂log s = (ν + 1) σ(e) − 1
#   ∂/∂log ν = half_step' + ½ σ(e) − a (e^−y − 1 + y),   y = log(1 + e^e):   of order 1 / ν each, so nothing cancels
def squared(x: Array, mu: Array, log_s: Array, log_nu: Array) -> Array:
    """e = log z² / ν, from logs, so that z² may overflow."""
    d = x - mu
    return 2 * (np.log(np.where(d.real < 0, -d, d)) - log_s) - log_nu


@quiet
def student(x: Array, mu: Array, log_s: Array, log_nu: Array) -> Array:
    """log density of each entry."""
    e, w = squared(x, mu, log_s, log_nu), log_nu - LOG_2
    return half_step(w) - 0.5 * LOG_2PI - log_s - soft(w, e) - 0.5 * softplus_np(e)


@quiet
def student_vjp(dy: Array, x: Array, mu: Array, log_s: Array, log_nu: Array) -> tuple[Array, ...]:
    """Cotangents (dx, dμ, dlog s, dlog ν)."""
    e, w = squared(x, mu, log_s, log_nu), log_nu - LOG_2
    pull = 2 * soft_vjp(np.ones(()), w, e)[1] + sigmoid(e)
    by_x = np.where(x == mu, 0, -pull / np.where(x == mu, 1, x - mu))
    by_nu = half_step_vjp(np.ones(()), w) + 0.5 * sigmoid(e) - excess(w, -softplus_np(e))
    return times(by_x, dy), times(-by_x, dy), times(pull - 1, dy), times(by_nu, dy)


class LocationScaleNu(NamedTuple):
    """The heads of a Student-t."""

    mu: Array
    log_s: Array
    log_nu: Array


class StudentT(Observed, LocationScaleNu):
    """Location mu, scale e^log_s and e^log_nu degrees of freedom, each (..., D)."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """mu: the mean where ν > 1, below that the median (there is no mean)."""
        return self.mu

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """μ + s times the quantile at u, uniform in (0, 1); the normal's from ν = 1e9 on."""
        u, mu, log_s, log_nu = wide(u, *self)
        many = log_nu > np.log(1e9)
        z = np.where(many, special.ndtri(u), special.stdtrit(np.exp(np.where(many, 0, log_nu)), u))
        return (mu + times(z, np.exp(log_s))).astype(self.mu.dtype)

    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log density, nats, without the last axis."""
        return summed(student(*wide(x, *self)), x, *self)

    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[Array, "StudentT"]:
        """Cotangents of x and of (mu, log_s, log_nu), for w the cotangent of log_prob."""
        args = wide(x, *self)
        dx, *slopes = student_vjp(row_weights(w, np.broadcast_arrays(*args)[0]), *args)
        return fitted(dx, x), StudentT(*(fitted(d, p) for d, p in zip(slopes, self, strict=True)))
