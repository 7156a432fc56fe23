"""§7.3 The generative half of a VAE as a model of the protocol: p(z) = N(0, I), p(x | z) by a network.

theta is a `Net`. Every estimator of §7.2 works on it; training by SGVB B has its own, fused pair in `vae`.
"""

from typing import NamedTuple

import numpy as np

from ..conditional import Net, net, net_vjp
from ..distributions import Normal
from ..kernels import NUMPY, Kernels
from ..types import Array


class Decoded(NamedTuple):
    """log p(x, z) = log N(z; 0, I) + log p(x | z); x (B, D), z (S, B, K), results (S, B) nats."""

    k: Kernels = NUMPY

    def log_likelihood(self, x: Array, z: Array, theta: Net) -> Array:
        """log p(x | z)."""
        p, _ = net(z, theta, self.k)
        return p.log_prob(x, self.k)

    def log_likelihood_vjp(self, w: Array, x: Array, z: Array, theta: Net, dtheta: Net | None) -> Array:
        """Adds into dtheta unless it is None, returns dz."""
        p, layers = net(z, theta, self.k)
        _, dp = p.log_prob_vjp(w, x, self.k)
        dz = net_vjp(dp, p, layers, theta, dtheta, self.k)
        assert dz is not None
        return dz

    def log_joint(self, x: Array, z: Array, theta: Net) -> Array:
        """log p(z) + log p(x | z)."""
        return standard(z).log_prob(z, self.k) + self.log_likelihood(x, z, theta)

    def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: Net, dtheta: Net | None) -> Array:
        """Adds into dtheta unless it is None, returns dz."""
        return self.log_likelihood_vjp(w, x, z, theta, dtheta) - w[..., None] * z  # ∂ log N(z; 0, I)/∂z = −z

    # A code z_k stands in the whole likelihood and in its own prior, not in the others' priors.
    def log_factors(self, x: Array, z: Array, theta: Net) -> Array:
        """(S, B, 1 + K): log p(x | z), log p(z_1), …, log p(z_K)."""
        priors = standard(z[..., None]).log_prob(z[..., None], self.k)
        return np.concatenate([self.log_likelihood(x, z, theta)[..., None], priors], axis=-1)

    def blankets(self, latents: int) -> Array:
        """bool (K, 1 + K): which factors hold z_k."""
        return np.hstack([np.ones((latents, 1), bool), np.eye(latents, dtype=bool)])


def standard(z: Array) -> Normal:
    """N(0, I) over the last axis of z."""
    zero = np.zeros(z.shape[-1:], z.dtype)
    return Normal(zero, zero)
