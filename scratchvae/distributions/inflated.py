"""§7.2.5 Fractions with exact zeros and ones: a beta, which has none, between two masses of their own."""

from typing import NamedTuple

import numpy as np

from ..kernels import NUMPY, Kernels
from ..types import Array
from .continuous import Beta
from .observed import Observed
from .positive import beta, beta_vjp
from .shared import column, fitted, log_softmax, quiet, summed, times, wide


class GateShapes(NamedTuple):
    """The heads of a zero-one-inflated beta."""

    gate: Array
    log_a: Array
    log_b: Array


# π = softmax(gate) of 0, of 1, of between:    log p = log π₀, log π₁, or log π₂ + log Beta(x)
#   ∂/∂gate_c = [c is where x is] − π_c     Beta's own slopes where x is between, else 0
class InflatedBeta(Observed, GateShapes):
    """x in [0, 1]: exactly 0, exactly 1, or a beta; gate (..., D, 3) logits, log_a and log_b (..., D) as Beta's.

    log p is a log mass at 0 and 1 and a log density between."""

    __slots__ = ()
    vectors = ("gate",)

    @property
    def mean(self) -> Array:
        """π₁ + π₂ a / (a + b)."""
        pi = log_softmax(*wide(self.gate))[1]
        return (pi[..., 1] + pi[..., 2] * Beta(*wide(self.log_a, self.log_b)).mean).astype(self.log_a.dtype)

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """The least x with P(≤ x) ≥ u; u uniform in (0, 1)."""
        pi, (u,) = log_softmax(*wide(self.gate))[1], wide(u)
        inside = np.clip((u - pi[..., 0]) / pi[..., 2], 2.0**-60, 1 - 2.0**-53)
        x = Beta(self.log_a, self.log_b).sample(np.where(pi[..., 2] > 0, inside, 0.5))
        return np.where(u <= pi[..., 0], 0, np.where(u > 1 - pi[..., 1], 1, x)).astype(self.log_a.dtype)

    def where(self, x: Array) -> Array:
        """Is x 0, 1, or between, (..., D, 3)."""
        return np.stack([x == 0, x == 1, (x != 0) & (x != 1)], axis=-1)

    @quiet
    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log p(x), nats, without the last axis."""
        x, gate, log_a, log_b = wide(x, *self)
        at = self.where(x)
        between = np.where(at[..., 2], beta(np.where(at[..., 2], x, 0.5), log_a, log_b), 0)
        return summed(np.where(at, log_softmax(gate)[0], 0).sum(axis=-1) + between, *self)

    @quiet
    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[None, "InflatedBeta"]:
        """(None, cotangents of gate, log_a and log_b), for w the cotangent of log_prob."""
        x, gate, log_a, log_b = wide(x, *self)
        at, pi = self.where(x), log_softmax(gate)[1]
        slope = at - pi
        between = np.broadcast_to(at[..., 2], np.broadcast_shapes(slope.shape[:-1], log_a.shape, log_b.shape))
        dy = column(w, between.shape)
        _, *shapes = beta_vjp(np.ones(()), np.where(at[..., 2], x, 0.5), log_a, log_b)
        by = (times(np.where(between, d, 0), dy) for d in shapes)
        gates = np.where(slope == 0, 0, dy[..., None] * slope)
        return None, InflatedBeta(*(fitted(d, p) for d, p in zip((gates, *by), self, strict=True)))
