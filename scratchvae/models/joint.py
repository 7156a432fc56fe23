"""§7.3 The generative half of a VAE with its θ put in: log p(x, z) and the slope in z alone, as samplers want them.

Chains and evidence ask thousands of times for ∂ log p(x, z)/∂z at a fixed θ: sparing θ's cotangents saves a third.
"""

from typing import NamedTuple

from ..conditional import Net
from ..kernels import NUMPY, Kernels
from ..types import Array
from .decoded import Decoded, Generative


class Joint(NamedTuple):
    """log p(x, z) = log p(z) + log p(x|z; θ), p(z) = N(0, I) or θ's own.

    x (B, D), z (B, K) or (S, B, K) give (B,) or (S, B) nats.
    """

    theta: Net | Generative
    k: Kernels = NUMPY

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x, z)."""
        return Decoded(self.k).log_joint(x, z, self.theta)

    def log_joint_vjp(self, w: Array, x: Array, z: Array, dtheta: Net | None = None) -> Array:
        """Σ w · log p(x, z): returns dz; adds into `dtheta` unless it is None, which spares that work."""
        return Decoded(self.k).log_joint_vjp(w, x, z, self.theta, dtheta)
