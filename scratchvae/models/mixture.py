"""§7.2.1 A mixture of spherical Gaussians with its class as a discrete latent: black-box inference where EM is exact.

    p(z = c) = softmax(a)_c      p(x | z = c) = N(x; μ_c, σ_c² I)      z one-hot (S, B, C), x (B, D)

log p(x, z) = Σ_c z_c t_c(x) is linear in z, with t_c = log p(x, z = c): the posterior is softmax(t), log p(x) its
normaliser, so that what the score function finds can be held against the truth.
"""

import math
from typing import NamedTuple

import numpy as np

from ..distributions.discrete import Categorical
from ..types import Array

LOG_2PI = math.log(2 * math.pi)


class Theta(NamedTuple):
    """Parameters or their cotangents."""

    a: Array  # (C,) logits of the classes
    mu: Array  # (C, D)
    log_var: Array  # (C,) log σ²


class Mixture(NamedTuple):
    """The model; it has no parameters but theta."""

    def table(self, x: Array, theta: Theta) -> Array:
        """t_c(x) = log p(x, z = c), (B, C)."""
        square = ((x[:, None, :] - theta.mu) ** 2).sum(axis=-1)
        D, log_prior = x.shape[1], Categorical(theta.a).log_prob(np.eye(len(theta.a)))
        return np.asarray(log_prior - 0.5 * (D * (LOG_2PI + theta.log_var) + square * np.exp(-theta.log_var)))

    def log_joint(self, x: Array, z: Array, theta: Theta) -> Array:
        """log p(x, z)."""
        return np.asarray((z * self.table(x, theta)).sum(axis=-1))

    # With the weight n_bc = Σ_s w z_c:  ∂/∂a = Σ_b n_bc − softmax(a) Σ n,   ∂/∂μ_c = Σ_b n_bc (x − μ_c)/σ_c²,
    #   ∂/∂log σ_c² = ½ Σ_b n_bc (‖x − μ_c‖²/σ_c² − D)
    def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: Theta, dtheta: Theta | None) -> None:
        """Adds into dtheta; z is discrete and gets no cotangent."""
        if dtheta is None:
            return
        n, precision = (w[..., None] * z).sum(axis=0), np.exp(-theta.log_var)
        da, dmu, dlog_var = dtheta
        da += n.sum(axis=0) - Categorical(theta.a).mean * n.sum()
        dmu += precision[:, None] * (n.T @ x - n.sum(axis=0)[:, None] * theta.mu)
        square = ((x[:, None, :] - theta.mu) ** 2).sum(axis=-1)
        dlog_var += 0.5 * (n * (square * precision - x.shape[1])).sum(axis=0)

    def posterior(self, x: Array, theta: Theta) -> Categorical:
        """The exact p(z | x)."""
        return Categorical(self.table(x, theta))

    def log_marginal(self, x: Array, theta: Theta) -> Array:
        """log p(x), (B,) nats."""
        t = self.table(x, theta)
        shift = t.real.max(axis=-1, keepdims=True)
        return np.asarray(shift[:, 0] + np.log(np.exp(t - shift).sum(axis=-1)))
