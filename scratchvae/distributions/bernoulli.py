"""§7.2.5 Bernoulli by logits. Formulas: `kernels.bernoulli`."""

from typing import NamedTuple

from ..kernels import NUMPY, Kernels
from ..kernels.activations import softplus_np
from ..types import Array
from .exponential import Blocks, ExponentialFamily
from .shared import as_rows, per_row, sigmoid, unbroadcast


class Logits(NamedTuple):
    """The head of a Bernoulli, a categorical or a continuous Bernoulli."""

    logits: Array


class Bernoulli(ExponentialFamily, Logits):
    """Independent bits by their logits (..., D): T = x, A = softplus(l); densities and entropy by their own kernels."""

    __slots__ = ()

    def T(self, x: Array) -> Blocks:
        return (x,)

    def A(self, eta: Blocks) -> Array:
        return softplus_np(eta[0])

    def dA(self, eta: Blocks) -> Blocks:
        return (sigmoid(eta[0]),)

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        return (sigmoid(eta[0]) * sigmoid(-eta[0]) * v[0],)

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
