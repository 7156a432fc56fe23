"""§7.2.4 The concrete distribution, or Gumbel-softmax: a categorical whose corners are rounded, so that z has a slope.

Maddison, Mnih & Teh 2017; Jang, Gu & Poole 2017. z = softmax((l + G) / λ), G Gumbel. As λ → 0 z becomes one-hot with
the probabilities softmax(l), and its slopes' variance grows; at any λ > 0 they are another objective's: biased.
"""

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..errors import UsageError
from ..kernels import NUMPY, Kernels
from ..reparam import inverse_cdf
from ..types import Array
from .shared import column, fitted, narrow, quiet, wide
from .simplex import softmax


class LogitsOfClasses(NamedTuple):
    """The head of a Gumbel-softmax."""

    logits: Array


# log p = ln Γ(C) + (C − 1) ln λ + Σ (l − (λ + 1) ln z) − C ln Σ e^y,   y = l − λ ln z,  s = softmax(y)         eq. 10
#   ∂/∂l = 1 − C s,    ∂/∂z = (C λ s − λ − 1)/z
class GumbelSoftmax(LogitsOfClasses):
    """z (..., C) on the simplex by logits (..., C), at a constant temperature λ: `gumbel_softmax` gives it another."""

    __slots__ = ()
    noise: ClassVar[str] = "uniforms"
    separate: ClassVar[bool] = False
    temperature: ClassVar[float] = 2 / 3

    @property
    def mean(self) -> Array:
        """softmax(l), the probabilities at λ → 0; at λ > 0 E[z] is no formula."""
        return softmax(self.logits)

    def standard(self) -> Any:
        """All logits 0, at the same temperature."""
        return type(self)(np.zeros_like(self.logits))

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z = softmax((l + G)/λ), G = −ln(−ln u); u (..., C) uniform in (0, 1)."""
        return narrow(self._relaxed(u), self.logits)

    @quiet
    def sample_vjp(self, dz: Array, u: Array, k: Kernels = NUMPY) -> Any:
        """Cotangent of the logits, summed over the samples."""
        z, dz = self._relaxed(u), wide(dz)[0]
        dl = z * (dz - (z * dz).sum(axis=-1, keepdims=True)) / self.temperature
        return type(self)(fitted(dl, self.logits))

    @quiet
    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log p(z), nats, without the last axis; where z is 0 its value at the least positive number of its type."""
        logits, log_z = wide(self.logits, log_of(z))
        C, top = logits.shape[-1], self._scores(logits, log_z)
        largest = top.real.max(axis=-1, keepdims=True)
        total = largest[..., 0] + np.log(np.exp(top - largest).sum(axis=-1))
        constant = math.lgamma(C) + (C - 1) * math.log(self.temperature)
        return narrow(constant + (top - log_z).sum(axis=-1) - C * total, z, self.logits)

    @quiet
    def log_prob_vjp(self, w: Array, z: Array, k: Kernels = NUMPY) -> tuple[Array, Any]:
        """Cotangents of z and of the logits, for w the cotangent of log_prob."""
        logits, log_z = wide(self.logits, log_of(z))
        share = logits.shape[-1] * softmax(self._scores(logits, log_z))
        rows = column(w, share.shape)
        dz = rows * (self.temperature * (share - 1) - 1) * np.exp(-log_z)
        return fitted(dz, z), type(self)(fitted(rows * (1 - share), self.logits))

    def _relaxed(self, u: Array) -> Array:
        logits, u = wide(self.logits, u)
        return softmax((logits + inverse_cdf.standard_gumbel(u)) / self.temperature)

    def _scores(self, logits: Array, log_z: Array) -> Array:
        """y."""
        return np.asarray(logits - self.temperature * log_z)


def log_of(z: Array) -> Array:
    """ln z in float64, finite at 0."""
    least = np.finfo(z.dtype).tiny
    value = wide(z)[0]
    return np.asarray(np.log(np.where(value.real < least, least, value)))


def gumbel_softmax(temperature: float) -> type[GumbelSoftmax]:
    """The type at another temperature λ; UsageError unless λ > 0."""
    if not temperature > 0:
        raise UsageError(f"temperature={temperature}: expected a number above 0, such as 0.5")
    return type("GumbelSoftmax", (GumbelSoftmax,), {"__slots__": (), "temperature": float(temperature)})
