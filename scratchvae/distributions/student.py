"""§7.2.5 Student-t by location, scale and degrees of freedom: heavy tails, and the Gaussian as ν → ∞."""

from typing import NamedTuple

import numpy as np
from scipy import special

from ..kernels.activations import softplus_np
from ..reparam import student_t
from ..types import Array
from .curves import trigamma
from .elementwise import ClosedEntropy, Elementwise, Slopes
from .saddle import SMALL, excess, log_gamma, series, soft, soft_vjp
from .shared import LOG_2, LOG_2PI, quiet, sigmoid, times

HALF = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432, 691 / 180224, -5461 / 425984)

# log Γ(a + ½) − log Γ(a) − ½ log a, by w = log a
#   small a:   log Γ(a + ½) − log Γ(1 + a) + ½ w         ∂/∂w:   a (ψ(a + ½) − ψ(1 + a)) + ½
#   large a:   −1/8 a⁻¹ + 1/192 a⁻³ − 1/640 a⁻⁵ + …


def half_step(w: Array) -> Array:
    """log Γ(a + ½) − log Γ(a) − ½ log a → 0 for large a = e^w."""
    large = w.real > np.log(SMALL)
    a, r = np.exp(np.where(large, 0, w)), np.exp(-np.where(large, w, 3))
    return np.where(large, r * series(HALF, r * r), log_gamma(a + 0.5) - log_gamma(1 + a) + 0.5 * w)


def half_step_slope(w: Array) -> Array:
    """∂/∂w."""
    large = w.real > np.log(SMALL)
    a, r = np.exp(np.where(large, 0, w)), np.exp(-np.where(large, w, 3))
    slopes = tuple(-c * (2 * k + 1) for k, c in enumerate(HALF))
    return np.where(large, r * series(slopes, r * r), a * (special.digamma(a + 0.5) - special.digamma(1 + a)) + 0.5)


def half_step_bend(w: Array) -> Array:
    """∂²/∂w²."""
    large = w > np.log(SMALL)
    a, r = np.exp(np.where(large, 0, w)), np.exp(-np.where(large, w, 3))
    bends = tuple(c * (2 * k + 1) ** 2 for k, c in enumerate(HALF))
    first, second = special.digamma(a + 0.5) - special.digamma(1 + a), trigamma(a + 0.5) - trigamma(1 + a)
    return np.where(large, r * series(bends, r * r), a * first + a * a * second)


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
    by_x = -pull / np.where(x == mu, 1, x - mu)  # at μ the pull is 0
    by_nu = half_step_slope(w) + 0.5 * sigmoid(e) - excess(w, -softplus_np(e))
    return times(dy, by_x), times(dy, -by_x), times(dy, pull - 1), times(dy, by_nu)


class Location(NamedTuple):
    """The heads of a Student-t."""

    mu: Array
    log_s: Array
    log_nu: Array


# H = (a + ½)(ψ(a + ½) − ψ(a)) − h(a) + ½ ln 2π + ln s,   h the half step, and with h′ = a (ψ(a + ½) − ψ(a)) − ½ by ln a
#   = (1 + 1/2a)(h′ + ½) − h + …        ∂/∂ln ν = (1 + 1/2a) h″ − h′ − (h′ + ½)/2a
class StudentT(ClosedEntropy, Elementwise, Location):
    """Location mu, scale e^log_s and e^log_nu degrees of freedom, each (..., K)."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """mu: the mean where ν > 1, below that the median (there is no mean)."""
        return self.mu

    def variate(self, u: Array) -> Array:
        """The quantile at u of the standard t, the normal's from ν = 1e9 on."""
        many = self.log_nu > np.log(1e9)
        return np.where(many, special.ndtri(u), special.stdtrit(np.exp(np.where(many, 0, self.log_nu)), u))

    def draw(self, u: Array) -> Array:
        return self.mu + times(self.variate(u), np.exp(self.log_s))

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        t, nu, s = self.variate(u), np.exp(self.log_nu), np.exp(self.log_s)
        by_nu = np.where(np.isinf(t), -t, nu * student_t.slope(nu, t))
        return dz, times(dz, times(t, s)), times(dz, times(by_nu, s))

    def density(self, z: Array) -> Array:
        return student(z, *self)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        return student_vjp(dy, z, *self)

    def entropies(self) -> Array:
        """−E[log p] of each number."""
        w = self.log_nu - LOG_2
        return (1 + 0.5 * np.exp(-w)) * (half_step_slope(w) + 0.5) - half_step(w) + 0.5 * LOG_2PI + self.log_s

    def entropies_vjp(self, dy: Array) -> Slopes:
        """Cotangents of the heads."""
        w = self.log_nu - LOG_2
        less, slope = 0.5 * np.exp(-w), half_step_slope(w)
        return np.zeros_like(dy), dy, dy * ((1 + less) * half_step_bend(w) - slope - less * (slope + 0.5))
