"""§7.1 Probabilistic PCA as a model of the protocol, so that every estimator can be held against its exact answers."""

from typing import Any, NamedTuple

import numpy as np

from ..types import Array
from .decoded import Decoded, standard
from .linear_gaussian import LinearGaussian


class Oracle(NamedTuple):
    """log p(x, z) of `linear_gaussian`; theta is a LinearGaussian."""

    def log_joint(self, x: Array, z: Array, theta: LinearGaussian) -> Array:
        """log p(x, z)."""
        return theta.log_joint(x, z)

    def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: LinearGaussian, dtheta: Any) -> Array:
        """Adds into dtheta, returns dz."""
        return theta.log_joint_vjp(w, x, z, dtheta)

    def log_likelihood(self, x: Array, z: Array, theta: LinearGaussian) -> Array:
        """log p(x | z)."""
        return theta.log_joint(x, z) - standard(z).log_prob(z)

    def log_likelihood_vjp(self, w: Array, x: Array, z: Array, theta: LinearGaussian, dtheta: Any) -> Array:
        """Adds into dtheta, returns dz."""
        return theta.log_joint_vjp(w, x, z, dtheta) + w[..., None] * z

    def log_factors(self, x: Array, z: Array, theta: LinearGaussian) -> Array:
        """As for any model with the prior N(0, I)."""
        priors = standard(z[..., None]).log_prob(z[..., None])
        return np.concatenate([self.log_likelihood(x, z, theta)[..., None], priors], axis=-1)

    def blankets(self, latents: int) -> Array:
        """The likelihood and its own prior."""
        return Decoded().blankets(latents)
