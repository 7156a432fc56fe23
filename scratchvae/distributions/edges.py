"""§7.2.5 Families whose support their parameters move: uniform, triangular, reciprocal, Pareto.

Within the support slopes are as ever; at its edges a density that falls from p > 0 to 0 has none, so that E[score] ≠ 0
and the score function's gradient is wrong. z = g(u) is right: take these for what you sample, not as q beside a prior.
"""

from typing import NamedTuple

import numpy as np

from ..reparam import inverse_cdf
from ..types import Array
from .elementwise import ClosedEntropy, Elementwise, Slopes
from .shared import LOG_2, times


class LowWidth(NamedTuple):
    """The heads of a uniform."""

    low: Array
    log_width: Array


class LowWidths(NamedTuple):
    """The heads of a triangular."""

    low: Array
    log_left: Array
    log_right: Array


class LogLowWidth(NamedTuple):
    """The heads of a reciprocal: of ln z."""

    log_low: Array
    log_width: Array


class MinimumShape(NamedTuple):
    """The heads of a Pareto."""

    log_min: Array
    log_shape: Array


def within(inside: Array, log_p: Array) -> Array:
    """log p, −inf outside."""
    return np.where(inside, log_p, -np.inf)


class Uniform(ClosedEntropy, Elementwise, LowWidth):
    """Uniform on (low, low + e^log_width), both (..., K)."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        return self.low + 0.5 * np.exp(self.log_width)

    def draw(self, u: Array) -> Array:
        return self.low + inverse_cdf.uniform_sample(np.zeros(()), np.exp(self.log_width), u)

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        return dz, inverse_cdf.uniform_sample_vjp(dz, u)[1] * np.exp(self.log_width)

    def inside(self, z: Array) -> Array:
        return (z.real >= self.low.real) & ((z - self.low).real <= np.exp(self.log_width).real)

    def density(self, z: Array) -> Array:
        return within(self.inside(z), -self.log_width)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        return 0 * dy, 0 * dy, np.where(self.inside(z), -dy, 0)

    def entropies(self) -> Array:
        return self.log_width

    def entropies_vjp(self, dy: Array) -> Slopes:
        return 0 * dy, dy


# on (a, c, b), c = a + w₁, b = c + w₂, r = z − a left of c, b − z right:   log p = ln 2 r − ln(w₁ + w₂) − ln wᵢ
class Triangular(Elementwise, LowWidths):
    """From low up along e^log_left, down along e^log_right; all (..., K)."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """a + (2w₁ + w₂)/3."""
        return self.low + (2 * np.exp(self.log_left) + np.exp(self.log_right)) / 3

    def corners(self) -> tuple[Array, Array, Array]:
        """0, b − a and c − a."""
        left = np.exp(self.log_left)
        return np.zeros_like(left), left + np.exp(self.log_right), left

    def draw(self, u: Array) -> Array:
        return self.low + inverse_cdf.triangular_sample(*self.corners(), u)

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        _, db, dc = inverse_cdf.triangular_sample_vjp(dz, *self.corners(), u)
        return dz, np.exp(self.log_left) * (db + dc), np.exp(self.log_right) * db

    def side(self, z: Array) -> tuple[Array, Array]:
        """Left of the mode?, and the distance from that side's end."""
        _, b, c = self.corners()
        d = z - self.low
        left = d.real < c.real
        return left, np.where(left, d, b - d)

    def density(self, z: Array) -> Array:
        """log p of each number; −inf outside."""
        left, r = self.side(z)
        log_w = np.where(left, self.log_left, self.log_right)
        total = np.log(np.exp(self.log_left) + np.exp(self.log_right))
        return within(r.real > 0, np.log(np.where(r.real > 0, r, 1)) + LOG_2 - total - log_w)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads; 0 outside."""
        left, r = self.side(z)
        dy = np.where(r > 0, dy, 0)
        w1, w2, pull = np.exp(self.log_left), np.exp(self.log_right), 1 / np.where(r > 0, r, 1)
        by_z = np.where(left, pull, -pull)
        by_left = np.where(left, -1, w1 * pull) - w1 / (w1 + w2)
        by_right = np.where(left, 0, w2 * pull - 1) - w2 / (w1 + w2)
        return times(dy, by_z), times(dy, -by_z), times(dy, by_left), times(dy, by_right)


class Reciprocal(ClosedEntropy, Elementwise, LogLowWidth):
    """ln z uniform on (log_low, log_low + e^log_width), both (..., K): density ∝ 1/z."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """(b − a)/ln(b/a)."""
        return np.exp(self.log_low) * np.expm1(np.exp(self.log_width)) / np.exp(self.log_width)

    def log_draw(self, u: Array) -> Array:
        return self.log_low + inverse_cdf.uniform_sample(np.zeros(()), np.exp(self.log_width), u)

    def draw(self, u: Array) -> Array:
        return np.exp(self.log_draw(u))

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        d = dz * np.exp(self.log_draw(u))
        return d, inverse_cdf.uniform_sample_vjp(d, u)[1] * np.exp(self.log_width)

    def inside(self, z: Array) -> Array:
        """Whether the density is more than 0."""
        up = np.log(np.where(z.real > 0, z.real, 1)) - self.log_low.real
        return (z.real > 0) & (up >= 0) & (up <= np.exp(self.log_width.real))

    def density(self, z: Array) -> Array:
        """log p of each number; −inf outside."""
        inside = self.inside(z)
        return within(inside, -np.log(np.where(inside, z, 1)) - self.log_width)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads; 0 outside."""
        dy = np.where(self.inside(z), dy, 0)
        return times(dy, -1 / z), 0 * dy, -dy

    def entropies(self) -> Array:
        return self.log_low + 0.5 * np.exp(self.log_width) + self.log_width

    def entropies_vjp(self, dy: Array) -> Slopes:
        return dy, dy * (0.5 * np.exp(self.log_width) + 1)


# E = a ln z/m ≥ 0:   log p = ln a − ln z − E      ∂/∂z = −(a + 1)/z,    ∂/∂ln m = a,    ∂/∂ln a = 1 − E
class Pareto(ClosedEntropy, Elementwise, MinimumShape):
    """z ≥ m by log m and log a (..., K)."""

    __slots__ = ()

    @property
    def mean(self) -> Array:
        """a m/(a − 1), infinite for a ≤ 1."""
        grown = 1 - np.exp(-np.maximum(self.log_shape, 1e-30))
        return np.where(self.log_shape > 0, np.exp(self.log_min) / grown, np.inf)

    def draw(self, u: Array) -> Array:
        return inverse_cdf.pareto_sample(np.exp(self.log_min), np.exp(self.log_shape), u)

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        m, a = np.exp(self.log_min), np.exp(self.log_shape)
        dm, da = inverse_cdf.pareto_sample_vjp(dz, m, a, u)
        return dm * m, da * a

    def above(self, z: Array) -> tuple[Array, Array, Array]:
        """Whether z ≥ m, ln z, and E."""
        log_z = np.log(np.where(z.real > 0, z, 1))
        inside = (z.real > 0) & (log_z.real >= self.log_min.real)
        return inside, log_z, np.exp(self.log_shape) * np.where(inside, log_z - self.log_min, 0)

    def density(self, z: Array) -> Array:
        """log p of each number; −inf outside."""
        inside, log_z, E = self.above(z)
        return within(inside, self.log_shape - log_z - E)

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads; 0 outside."""
        inside, _, E = self.above(z)
        dy, a = np.where(inside, dy, 0), np.exp(self.log_shape)
        return times(dy, -(a + 1) / z), dy * a, dy * (1 - E)

    def entropies(self) -> Array:
        return self.log_min - self.log_shape + np.exp(-self.log_shape) + 1

    def entropies_vjp(self, dy: Array) -> Slopes:
        return dy, dy * (-1 - np.exp(-self.log_shape))
