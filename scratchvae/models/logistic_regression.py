"""§7.2.1 Bayesian logistic regression: the weights are the latent, all data are one row.

p(z) = N(0, I)      p(y | X, z) = Π_n Bernoulli(y_n; σ(X_n · z))      X (N, K) with a column of ones, y (N,) bits
"""

from typing import NamedTuple

import numpy as np

from ..kernels import NUMPY
from ..types import Array
from .decoded import standard


class Table(NamedTuple):
    """The data: features (N, K) and labels (N,)."""

    X: Array
    y: Array


class LogisticRegression(NamedTuple):
    """log p(y, z | X); x is a Table, z (S, 1, K), results (S, 1) nats. theta is None: nothing is learned but q."""

    # log σ for y = 1 and log (1 − σ) for y = 0 are both y l − softplus(l)       ∂/∂l = y − σ(l)
    def log_likelihood(self, x: Table, z: Array, theta: None = None) -> Array:
        """log p(y | X, z)."""
        logits = z @ x.X.T
        return np.asarray((x.y * logits - NUMPY.softplus(logits)).sum(axis=-1))

    def log_likelihood_vjp(self, w: Array, x: Table, z: Array, theta: None = None, dtheta: None = None) -> Array:
        """dz."""
        return np.asarray((w[..., None] * (x.y - NUMPY.sigmoid(z @ x.X.T))) @ x.X)

    def log_joint(self, x: Table, z: Array, theta: None = None) -> Array:
        """log p(z) + log p(y | X, z)."""
        return standard(z).log_prob(z) + self.log_likelihood(x, z)

    def log_joint_vjp(self, w: Array, x: Table, z: Array, theta: None = None, dtheta: None = None) -> Array:
        """dz."""
        return self.log_likelihood_vjp(w, x, z) - w[..., None] * z


def with_ones(features: Array) -> Array:
    """Columns of mean 0 and variance 1, and a column of ones."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    return np.hstack([scaled, np.ones((len(scaled), 1))])
