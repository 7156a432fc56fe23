"""§7.2.5 Families on (0, 1): Kumaraswamy, a beta whose inverse CDF is a formula, and the logit-normal."""

from typing import NamedTuple

import numpy as np
from scipy import special

from ..reparam import inverse_cdf
from ..types import Array
from .curves import trigamma
from .elementwise import ClosedEntropy, ClosedKL, Elementwise, Slopes
from .normal import MuLogVar
from .positive import at_edge, steep
from .saddle import excess
from .shared import LOG_2PI, times


class LogAB(NamedTuple):
    """The heads of a Kumaraswamy."""

    log_a: Array
    log_b: Array


# F = 1 − (1 − z^a)^b,   v = a ln z,   ln(1 − z^a) = ln(−expm1 v),   r = −v/expm1(−v) (1 at v = 0)
#   log p = ln a + ln b + (a − 1) ln z + (b − 1) ln(1 − z^a)
#   ∂/∂ln a = 1 + v + (b − 1) r,    ∂/∂ln b = 1 + b ln(1 − z^a),    ∂/∂z = (a − 1 + (b − 1) a r/v)/z
# −H = KL to the uniform, h = ψ(b + 1) + γ:   (1/a − 1 + ln a) + (1/b − 1 + ln b) + (1 − 1/a)(1 − h)
class Kumaraswamy(ClosedKL, ClosedEntropy, Elementwise, LogAB):
    """z in (0, 1) by log a and log b (..., K); at 0 and 1 the density is 0, ∞ or, where a or b is 1, finite."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """b B(1 + 1/a, b)."""
        inverse, b = np.exp(-self.log_a), np.exp(self.log_b)
        return np.exp(self.log_b + special.betaln(1 + inverse, b)).astype(self.log_a.dtype)

    def draw(self, u: Array) -> Array:
        return np.exp(inverse_cdf.kumaraswamy_log_sample(np.exp(self.log_a), np.exp(self.log_b), u))

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        a, b = np.exp(self.log_a), np.exp(self.log_b)
        da, db = inverse_cdf.kumaraswamy_log_sample_vjp(dz * self.draw(u), a, b, u)
        return a * da, b * db

    def density(self, z: Array) -> Array:
        """log p of each number; at 0 and 1 its limit."""
        edge = (z == 0) | (z == 1)
        log_z = np.log(np.where(edge, 0.5, z))
        a, b = np.exp(self.log_a), np.exp(self.log_b)
        inside = self.log_a + self.log_b + (a - 1) * log_z + (b - 1) * np.log(-np.expm1(a * log_z))
        left, right = at_edge(self.log_a.real, self.log_b), at_edge(self.log_b.real, self.log_a)
        return np.where(z == 0, left, np.where(z == 1, right, inside))

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads."""
        a, b = np.exp(self.log_a), np.exp(self.log_b)
        v = a * np.log(z)
        safe = np.where((v == 0) | np.isinf(v), -1.0, v)
        r = np.where(v == 0, 1.0, np.where(np.isinf(v), 0.0, -safe / np.expm1(-safe)))
        inside = (np.expm1(self.log_a) + np.expm1(self.log_b) * a * r / v) / z
        at_0, at_1 = steep(self.log_a, -np.expm1(self.log_b)), -steep(self.log_b, -np.expm1(self.log_a))
        by_z = np.where(z == 0, at_0, np.where(z == 1, at_1, inside))
        by_b = 1 + times(np.log(-np.expm1(v)), b)
        return times(dy, by_z), times(dy, 1 + v + np.expm1(self.log_b) * r), times(dy, by_b)

    def divergences(self) -> Array:
        """KL of each number."""
        excesses = excess(np.zeros_like(self.log_a), -self.log_a) + excess(np.zeros_like(self.log_b), -self.log_b)
        return excesses - np.expm1(-self.log_a) * self.short()

    def divergences_vjp(self, dy: Array) -> Slopes:
        """Cotangents of the heads."""
        inverse, b = np.exp(-self.log_a), np.exp(self.log_b)
        by_a = -np.expm1(-self.log_a) + inverse * self.short()
        by_b = -np.expm1(-self.log_b) + np.expm1(-self.log_a) * b * trigamma(b + 1)
        return dy * by_a, dy * by_b

    def short(self) -> Array:
        """1 − h."""
        return special.psi(2.0) - special.psi(np.exp(self.log_b) + 1)

    def entropies(self) -> Array:
        return -self.divergences()

    def entropies_vjp(self, dy: Array) -> Slopes:
        return self.divergences_vjp(-dy)


# logit z ~ N(μ, σ²):   −½ (ln 2π + ln σ² + d r) − ln z(1 − z),   d = logit z − μ,  r = d/σ²
#   ∂/∂z = (2z − 1 − r)/(z (1 − z)),    ∂/∂μ = r,    ∂/∂ln σ² = ½ (d r − 1);    KL is that of the logits
class LogitNormal(ClosedKL, Elementwise, MuLogVar):
    """z in (0, 1) whose logits are N(mu, e^log_var), both (..., K); the density is 0 at 0 and 1."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """Its median, sigmoid(μ): the mean is no formula."""
        return special.expit(self.mu)

    def logits(self, u: Array) -> Array:
        return self.mu + np.exp(0.5 * self.log_var) * special.ndtri(u)

    def draw(self, u: Array) -> Array:
        return special.expit(self.logits(u))

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        logits = self.logits(u)
        d = dz * special.expit(logits) * special.expit(-logits)
        return d, times(d, 0.5 * np.exp(0.5 * self.log_var) * special.ndtri(u))

    def density(self, z: Array) -> Array:
        """log p of each number; −inf at 0 and 1."""
        edge = (z == 0) | (z == 1)
        log_z, log_1z = np.log(np.where(edge, 0.5, z)), np.log1p(-np.where(edge, 0.5, z))
        d = log_z - log_1z - self.mu
        inside = -0.5 * (LOG_2PI + self.log_var + times(d, d * np.exp(-self.log_var))) - log_z - log_1z
        return np.where(edge, -np.inf, inside)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads."""
        d = special.logit(z) - self.mu
        r = times(d, np.exp(-self.log_var))
        by_z = np.where(z == 0, np.inf, np.where(z == 1, -np.inf, (2 * z - 1 - r) / (z * (1 - z))))
        return times(dy, by_z), times(dy, r), times(dy, 0.5 * (times(d, r) - 1))

    def divergences(self) -> Array:
        return 0.5 * (self.mu * self.mu + excess(np.zeros_like(self.mu), self.log_var))

    def divergences_vjp(self, dy: Array) -> Slopes:
        return dy * self.mu, 0.5 * dy * np.expm1(self.log_var)
