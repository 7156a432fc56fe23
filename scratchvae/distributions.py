"""§7.2.5 The distributions that networks speak in: Normal with diagonal covariance, Bernoulli by logits.

Parameters and values are (..., K) and broadcast against each other, so z may be (S, B, K) under a mu of (B, K).
Densities sum over the last axis and return (S, B) or (B,), in nats. Formulas: `kernels.normal`, `.bernoulli`.
"""

from typing import NamedTuple

import numpy as np

from .errors import UsageError
from .kernels import NUMPY, Kernels
from .types import Array


def as_rows(*arrays: Array) -> tuple[tuple[int, ...], list[Array]]:
    """Arrays broadcast to one shape, then laid out as (rows, K) in C order; returns that shape and the arrays."""
    shape = arrays[0].shape
    if any(a.shape != shape for a in arrays):
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        arrays = tuple(np.broadcast_to(a, shape) for a in arrays)
    return shape, [np.ascontiguousarray(a).reshape(-1, shape[-1]) for a in arrays]


def unbroadcast(d: Array, shape: tuple[int, ...]) -> Array:
    """The cotangent of an array of `shape` that was broadcast to d's: the sum over the axes it was repeated along."""
    extra = d.ndim - len(shape)
    axes = tuple(i for i in range(d.ndim) if i < extra or (shape[i - extra] == 1 and d.shape[i] > 1))
    summed: Array = d.sum(axis=axes).reshape(shape) if axes else d
    return summed


def per_row(w: Array, shape: tuple[int, ...]) -> Array:
    """w flat, one number for each row of `shape`: a compiled kernel would read past the end of a shorter one."""
    if w.shape != shape[:-1]:
        raise UsageError(f"w has shape {w.shape}, expected {shape[:-1]}: the cotangent of one number a row")
    return w.reshape(-1)


class Normal(NamedTuple):
    """N(z; μ, diag σ²) by mu and log_var = log σ², both (..., K); also their cotangents."""

    mu: Array
    log_var: Array

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


class Bernoulli(NamedTuple):
    """Independent bits by their logits (..., D); also the cotangent of those."""

    logits: Array

    @property
    def mean(self) -> Array:
        """P(x = 1) = sigmoid(logits)."""
        return NUMPY.sigmoid(self.logits)

    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """x = [u < sigmoid(logits)]; u uniform in [0, 1). A step: no slope passes through (§7.2.2)."""
        shape, rows = as_rows(self.logits, u)
        x: Array = k.bernoulli_sample(*rows)
        return x.reshape(shape)

    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log p(x), nats, without the last axis. For grey x in [0, 1] it is a cross-entropy, not a likelihood."""
        shape, rows = as_rows(x, self.logits)
        log_prob: Array = k.bernoulli_log_prob(*rows)
        return log_prob.reshape(shape[:-1])

    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[None, "Bernoulli"]:
        """(None, cotangent of the logits), for w the cotangent of log_prob; x is discrete and gets none."""
        shape, rows = as_rows(x, self.logits)
        dlogits: Array = k.bernoulli_log_prob_vjp(per_row(w, shape), *rows)
        return None, Bernoulli(unbroadcast(dlogits.reshape(shape), self.logits.shape))

    def log_prob_observed(self, x: Array, m: Array, k: Kernels = NUMPY) -> Array:
        """§7.1.1  log p of the entries with m = 1, m (..., D) in {0, 1}; the others may be any finite numbers."""
        shape, rows = as_rows(x, m, self.logits)
        log_prob: Array = k.bernoulli_masked_log_prob(*rows)
        return log_prob.reshape(shape[:-1])

    def log_prob_observed_vjp(self, w: Array, x: Array, m: Array, k: Kernels = NUMPY) -> tuple[None, "Bernoulli"]:
        """(None, cotangent of the logits, 0 where m = 0), for w the cotangent of log_prob_observed."""
        shape, rows = as_rows(x, m, self.logits)
        dlogits: Array = k.bernoulli_masked_log_prob_vjp(per_row(w, shape), *rows)
        return None, Bernoulli(unbroadcast(dlogits.reshape(shape), self.logits.shape))

    def entropy(self, k: Kernels = NUMPY) -> Array:
        """−E[log p], nats."""
        shape, rows = as_rows(self.logits)
        entropy: Array = k.bernoulli_entropy(*rows)
        return entropy.reshape(shape[:-1])

    def entropy_vjp(self, w: Array, k: Kernels = NUMPY) -> "Bernoulli":
        """Cotangent of the logits, for w the cotangent of entropy."""
        shape, rows = as_rows(self.logits)
        dlogits: Array = k.bernoulli_entropy_vjp(per_row(w, shape), *rows)
        return Bernoulli(dlogits.reshape(shape))
