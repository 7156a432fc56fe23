"""§7.2.5 Families for q beyond independent latents: the full-covariance Gaussian.

Parameters are unconstrained, so that any gradient step stays inside. Values are (S, B, K) under parameters of (B, …).
"""

import math
from typing import NamedTuple

import numpy as np

from ..distributions import unbroadcast
from ..distributions.discrete import Categorical as Categorical  # its place until 2026-11
from ..kernels import NUMPY, Kernels
from ..types import Array

LOG_2PI = math.log(2 * math.pi)


# z = μ + L ε,  q = N(μ, L Lᵀ).  With y = L⁻¹ (z − μ):
#   log q = −½ (K log 2π + ‖y‖²) − Σ log L_kk
#   ∂/∂z = −L⁻ᵀ y =: −a      ∂/∂μ = a      ∂/∂L = a yᵀ − diag(1/L_kk), lower triangle
# L's diagonal is e^(its parameter): positive, and ∂/∂parameter = L_kk ∂/∂L_kk.
class FullNormal(NamedTuple):
    """N(μ, L Lᵀ); mu (B, K), and raw (B, K, K): below the diagonal L itself, on it log L_kk, above it nothing."""

    mu: Array
    raw: Array

    @property
    def L(self) -> Array:
        """The lower triangular factor, (B, K, K)."""
        eye = np.eye(self.mu.shape[-1], dtype=bool)
        return np.where(eye, np.exp(np.where(eye, self.raw, 0)), np.tril(self.raw))

    def sample(self, eps: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z = μ + L ε; eps (S, B, K) standard normal."""
        return self.mu + np.asarray((self.L @ eps[..., None])[..., 0])

    def sample_vjp(self, dz: Array, eps: Array, k: Kernels = NUMPY) -> "FullNormal":
        """dμ = dz, dL = dz εᵀ, summed over samples."""
        return self._pull(dz, dz[..., :, None] * eps[..., None, :])

    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log q(z), nats."""
        y = np.linalg.solve(self.L, (z - self.mu)[..., None])[..., 0]
        log_det = np.diagonal(self.raw, axis1=-2, axis2=-1).sum(axis=-1)
        return np.asarray(-0.5 * (y.shape[-1] * LOG_2PI + (y * y).sum(axis=-1)) - log_det)

    def log_prob_vjp(self, w: Array, z: Array, k: Kernels = NUMPY) -> tuple[Array, "FullNormal"]:
        """Cotangents of z and of the parameters."""
        L = self.L
        y = np.linalg.solve(L, (z - self.mu)[..., None])
        a = w[..., None, None] * np.linalg.solve(np.swapaxes(L, -2, -1), y)
        dL = a * np.swapaxes(y, -2, -1) - w[..., None, None] * self._inverse_diagonal(L)
        return -a[..., 0], self._pull(a[..., 0], dL)

    # KL(q ‖ N(0, I)) = ½ (‖μ‖² + ‖L‖² − K) − Σ log L_kk      so      ∂/∂μ = μ,   ∂/∂L = L − diag(1/L_kk)
    def kl(self, k: Kernels = NUMPY) -> Array:
        """KL(q ‖ N(0, I)), nats."""
        squares = (self.mu**2).sum(axis=-1) + (self.L**2).sum(axis=(-2, -1)) - self.mu.shape[-1]
        return np.asarray(0.5 * squares - np.diagonal(self.raw, axis1=-2, axis2=-1).sum(axis=-1))

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> "FullNormal":
        """Cotangents of the parameters."""
        L = self.L
        return self._pull(w[..., None] * self.mu, w[..., None, None] * (L - self._inverse_diagonal(L)))

    def _inverse_diagonal(self, L: Array) -> Array:
        eye = np.eye(L.shape[-1], dtype=bool)
        return np.where(eye, 1 / np.where(eye, L, 1), 0)

    def _pull(self, dmu: Array, dL: Array) -> "FullNormal":
        """From L to its parameters, and sums over what was broadcast."""
        eye = np.eye(self.mu.shape[-1], dtype=bool)
        draw = np.where(eye, dL * self.L, np.tril(dL))
        return FullNormal(unbroadcast(dmu, self.mu.shape), unbroadcast(draw, self.raw.shape))
