"""§7.3 The generative half of a VAE as a model of the protocol: p(z), N(0, I) unless said, and p(x | z) by a network.

theta is a `Net`, or a `Generative` with a prior of its own to learn. Every estimator of §7.2 works on it; training by
SGVB B has its own, fused pair in `vae`.
"""

from typing import Any, NamedTuple

import numpy as np

from ..conditional import Net, net, net_vjp
from ..distributions import Normal
from ..kernels import NUMPY, Kernels
from ..types import Array


class Generative(NamedTuple):
    """θ of a model whose prior is learned too, or its cotangent: the decoder's net, and p(z) as a distribution."""

    decoder: Net
    prior: Any


class Decoded(NamedTuple):
    """log p(x, z) = log p(z) + log p(x | z); x (B, D), z (S, B, K), results (S, B) nats.

    p(z) is the standard member of `kind`, or what theta brings. With m (B, D) as in `vae.elbo`, of what was observed.
    The likelihood is taken to `power`: with 1/β, β times the bound is log p(x | z) − β KL.
    """

    k: Kernels = NUMPY
    kind: Any = Normal
    m: Array | None = None
    power: float = 1.0

    def log_likelihood(self, x: Array, z: Array, theta: Net | Generative) -> Array:
        """log p(x | z), times the power."""
        p, _ = net(z, decoder_of(theta), self.k)
        found: Array = p.log_prob(x, self.k) if self.m is None else p.log_prob_observed(x, self.m, self.k)
        return self.power * found

    def log_likelihood_vjp(
        self, w: Array, x: Array, z: Array, theta: Net | Generative, dtheta: Net | Generative | None
    ) -> Array:
        """Adds into dtheta unless it is None, returns dz."""
        decoder, k = decoder_of(theta), self.k
        p, layers = net(z, decoder, k)
        w = self.power * w
        _, dp = p.log_prob_vjp(w, x, k) if self.m is None else p.log_prob_observed_vjp(w, x, self.m, k)
        dz = net_vjp(dp, p, layers, decoder, decoder_of(dtheta), k)
        assert dz is not None
        return dz

    def prior(self, z: Array, theta: Net | Generative) -> Any:
        """p(z) as a distribution."""
        return theta.prior if isinstance(theta, Generative) else standard(z, self.kind)

    def log_joint(self, x: Array, z: Array, theta: Net | Generative) -> Array:
        """log p(z) + log p(x | z)."""
        found: Array = self.prior(z, theta).log_prob(z, self.k) + self.log_likelihood(x, z, theta)
        return found

    def log_joint_vjp(
        self, w: Array, x: Array, z: Array, theta: Net | Generative, dtheta: Net | Generative | None
    ) -> Array:
        """Adds into dtheta unless it is None, returns dz."""
        dz = self.log_likelihood_vjp(w, x, z, theta, dtheta)
        if self.kind is Normal and not isinstance(theta, Generative):
            return dz - w[..., None] * z  # ∂ log N(z; 0, I)/∂z = −z
        through_prior, dprior = self.prior(z, theta).log_prob_vjp(w, z, self.k)
        if isinstance(dtheta, Generative):
            for total, share in zip(dtheta.prior, dprior, strict=True):
                total += share
        return np.asarray(dz + through_prior)

    # A code z_k stands in the whole likelihood and in its own prior, not in the others' priors.
    def log_factors(self, x: Array, z: Array, theta: Net) -> Array:
        """(S, B, 1 + K): log p(x | z), log p(z_1), …, log p(z_K)."""
        priors = standard(z[..., None], self.kind).log_prob(z[..., None], self.k)
        return np.concatenate([self.log_likelihood(x, z, theta)[..., None], priors], axis=-1)

    def blankets(self, latents: int) -> Array:
        """bool (K, 1 + K): which factors hold z_k."""
        return np.hstack([np.ones((latents, 1), bool), np.eye(latents, dtype=bool)])


def decoder_of(theta: Any) -> Any:
    """The net of p(x | z), or its cotangent; None of None."""
    return theta.decoder if isinstance(theta, Generative) else theta


def standard(z: Array, kind: Any = Normal) -> Any:
    """The family's standard member over the last axis of z, its heads all 0: N(0, I)."""
    zero = np.zeros(z.shape[-1:], z.dtype)
    return kind(*(zero,) * len(kind._fields))
