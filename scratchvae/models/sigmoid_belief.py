"""§7.2.2 A sigmoid belief network (Neal 1992): binary latents, so only the score function reaches the encoder.

    p(z) = Π_k Bernoulli(z_k; σ(a_k))      p(x | z) = Π_d Bernoulli(x_d; σ((z W + b)_d))

The setting of Mnih & Gregor 2014 ("NVIL") with one layer. For a few units `tasks.exact` sums over all z.
"""

from typing import NamedTuple

import numpy as np

from ..distributions import Bernoulli
from ..kernels import NUMPY, Kernels
from ..networks import Dense, dense, dense_vjp_params
from ..types import Array


class Theta(NamedTuple):
    """Parameters or their cotangents."""

    prior: Array  # a (K,), logits
    decoder: Dense  # W (K, D), b (D,)


class SigmoidBelief(NamedTuple):
    """log p(x, z); x (B, D) bits, z (S, B, K) bits, results (S, B) nats."""

    k: Kernels = NUMPY

    def log_joint(self, x: Array, z: Array, theta: Theta) -> Array:
        """log p(z) + log p(x | z)."""
        logits = dense(z, theta.decoder, self.k)
        return Bernoulli(theta.prior).log_prob(z, self.k) + Bernoulli(logits).log_prob(x, self.k)

    def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: Theta, dtheta: Theta | None) -> None:
        """Adds into dtheta; z is discrete and gets no cotangent."""
        if dtheta is None:
            return
        da = dtheta.prior
        da += Bernoulli(theta.prior).log_prob_vjp(w, z, self.k)[1].logits
        dlogits = Bernoulli(dense(z, theta.decoder, self.k)).log_prob_vjp(w, x, self.k)[1].logits
        dense_vjp_params(dlogits, z, dtheta.decoder, self.k)

    # z_k stands in every pixel's factor and in its own prior: Rao-Blackwellisation frees it of the other priors only.
    def log_factors(self, x: Array, z: Array, theta: Theta) -> Array:
        """(S, B, 1 + K): log p(x | z), log p(z_1), …, log p(z_K)."""
        likelihood = Bernoulli(dense(z, theta.decoder, self.k)).log_prob(x, self.k)
        priors = Bernoulli(theta.prior[:, None]).log_prob(z[..., None], self.k)
        return np.concatenate([likelihood[..., None], priors], axis=-1)

    def blankets(self, latents: int) -> Array:
        """bool (K, 1 + K): which factors hold z_k."""
        return np.hstack([np.ones((latents, 1), bool), np.eye(latents, dtype=bool)])
