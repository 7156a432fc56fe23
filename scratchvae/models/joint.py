"""§7.3 The generative half of a VAE with its θ put in: log p(x, z) and the slope in z alone, as samplers want them.

Chains and evidence ask thousands of times for ∂ log p(x, z)/∂z at a fixed θ. `Decoded` would compute θ's cotangents
as well, a third of the work; here the way back is walked without them.
"""

from typing import NamedTuple

import numpy as np

from ..conditional import Net, from_heads_vjp, net
from ..kernels import NUMPY, Kernels
from ..networks import Dense, activate_vjp
from ..types import Array
from .decoded import Decoded


class Joint(NamedTuple):
    """log p(x, z) = log N(z; 0, I) + log p(x|z; θ): x (B, D), z (B, K) or (S, B, K) give (B,) or (S, B) nats."""

    theta: Net
    k: Kernels = NUMPY

    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x, z)."""
        return Decoded(self.k).log_joint(x, z, self.theta)

    # Of `net` (conditional) without the parameters: y = h W + b in each head and layer gives dh = dy Wᵀ
    def log_joint_vjp(self, w: Array, x: Array, z: Array, dtheta: Net | None = None) -> Array:
        """Σ w · log p(x, z): returns dz; adds into `dtheta` unless it is None, which spares that work."""
        if dtheta is not None:
            return Decoded(self.k).log_joint_vjp(w, x, z, self.theta, dtheta)
        p, hs = net(z, self.theta, self.k)
        _, dp = p.log_prob_vjp(w, x, self.k)
        douts = from_heads_vjp(dp, p, self.theta.family, self.k)
        dh = np.sum([self._back(dout, head) for dout, head in zip(douts, self.theta.heads, strict=True)], axis=0)
        for l in reversed(range(len(self.theta.hidden))):
            da = activate_vjp(dh, hs[l + 1], self.theta.activation, self.k)  # h_l = f(a_l)
            dh = self._back(da, self.theta.hidden[l])  # a_l = h_{l−1} W_l + b_l
        dz: Array = dh - w[..., None] * z  # ∂ log N(z; 0, I)/∂z = −z
        return dz

    def _back(self, dy: Array, layer: Dense) -> Array:
        dx: Array = self.k.dense_vjp_x(dy.reshape(-1, dy.shape[-1]), layer.W)
        return dx.reshape(*dy.shape[:-1], -1)
