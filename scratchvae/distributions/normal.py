"""§7.2.5 Normal with diagonal covariance, by mean and log-variance: the q and the p of most networks.

Formulas: `kernels.normal`.
"""

from typing import ClassVar, NamedTuple

import numpy as np

from ..kernels import NUMPY, Kernels
from ..types import Array
from .shared import as_rows, per_row, unbroadcast


class MuLogVar(NamedTuple):
    """The heads of a normal, a log-normal and a logit-normal: mean and log variance."""

    mu: Array
    log_var: Array


class Normal(MuLogVar):
    """N(z; μ, diag σ²) by mu and log_var = log σ², both (..., K); also their cotangents."""

    __slots__ = ()
    noise: ClassVar[str] = "normals"

    @property
    def mean(self) -> Array:
        return self.mu

    def standard(self) -> "Normal":
        """N(0, I), of the same shape."""
        return Normal(np.zeros_like(self.mu), np.zeros_like(self.log_var))

    def sample(self, eps: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4  z = μ + σ ⊙ ε; eps (..., K) standard normal noise."""
        shape, rows = as_rows(self.mu, self.log_var, eps)
        z: Array = k.normal_sample(*rows)
        return z.reshape(shape)

    def sample_vjp(self, dz: Array, eps: Array, k: Kernels = NUMPY) -> "Normal":
        """Cotangents of (mu, log_var): dμ = dz, dlog σ² = ½ dz σ ε, summed over the samples."""
        shape, rows = as_rows(dz, self.log_var, eps)
        dmu, dlog_var = k.normal_sample_vjp(*rows)
        return self._like(dmu.reshape(shape), dlog_var.reshape(shape))

    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log N(z; μ, σ²), nats, without the last axis."""
        shape, rows = as_rows(z, self.mu, self.log_var)
        log_prob: Array = k.normal_log_prob(*rows)
        return log_prob.reshape(shape[:-1])

    def log_prob_vjp(self, w: Array, z: Array, k: Kernels = NUMPY) -> tuple[Array, "Normal"]:
        """Cotangents of z and of (mu, log_var), for w the cotangent of log_prob."""
        shape, rows = as_rows(z, self.mu, self.log_var)
        dz, dmu, dlog_var = (d.reshape(shape) for d in k.normal_log_prob_vjp(per_row(w, shape), *rows))
        return unbroadcast(dz, z.shape), self._like(dmu, dlog_var)

    def log_prob_observed(self, z: Array, m: Array, k: Kernels = NUMPY) -> Array:
        """§7.1.1  log N of the entries with m = 1, m (..., K) in {0, 1}; the others may be any finite numbers."""
        shape, rows = as_rows(z, m, self.mu, self.log_var)
        log_prob: Array = k.normal_masked_log_prob(*rows)
        return log_prob.reshape(shape[:-1])

    def log_prob_observed_vjp(self, w: Array, z: Array, m: Array, k: Kernels = NUMPY) -> tuple[Array, "Normal"]:
        """Cotangents of z and of (mu, log_var), 0 where m = 0, for w the cotangent of log_prob_observed."""
        shape, rows = as_rows(z, m, self.mu, self.log_var)
        dz, dmu, dlog_var = (d.reshape(shape) for d in k.normal_masked_log_prob_vjp(per_row(w, shape), *rows))
        return unbroadcast(dz, z.shape), self._like(dmu, dlog_var)

    def kl(self, k: Kernels = NUMPY) -> Array:
        """KL(q ‖ N(0, I)) = ½ Σ (μ² + σ² − 1 − log σ²), nats (Kingma & Welling 2014, App. B): `kernels.normal`."""
        shape, rows = as_rows(self.mu, self.log_var)
        kl: Array = k.normal_kl(*rows)
        return kl.reshape(shape[:-1])

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> "Normal":
        """Cotangents of (mu, log_var): w μ and ½ w (σ² − 1), for w the cotangent of kl."""
        shape, rows = as_rows(self.mu, self.log_var)
        dmu, dlog_var = k.normal_kl_vjp(per_row(w, shape), *rows)
        return self._like(dmu.reshape(shape), dlog_var.reshape(shape))

    def entropy(self, k: Kernels = NUMPY) -> Array:
        """−E[log q], nats."""
        shape, rows = as_rows(self.log_var)
        entropy: Array = k.normal_entropy(*rows)
        return entropy.reshape(shape[:-1])

    def entropy_vjp(self, w: Array, k: Kernels = NUMPY) -> "Normal":
        """Cotangents of (mu, log_var); the entropy does not see μ."""
        shape, rows = as_rows(self.log_var)
        dlog_var = k.normal_entropy_vjp(per_row(w, shape), *rows)
        return Normal(np.zeros_like(self.mu), dlog_var.reshape(shape))

    def _like(self, dmu: Array, dlog_var: Array) -> "Normal":
        return Normal(unbroadcast(dmu, self.mu.shape), unbroadcast(dlog_var, self.log_var.shape))
