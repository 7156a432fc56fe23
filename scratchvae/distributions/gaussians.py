"""§7.2.5 Gaussians whose latents depend on each other: full covariance, and precision of diagonal plus rank one.

Parameters are unconstrained, so that any gradient step stays inside. Values are (S, B, K) under parameters of (B, …);
results are in nats, in the dtype of heads and values. Noise is standard normal.
"""

from typing import ClassVar, NamedTuple

import numpy as np

from ..errors import UsageError
from ..kernels import NUMPY, Kernels
from ..types import Array
from .shared import LOG_2PI, column, dot, fitted, narrow, wide


def solve_lower(L: Array, d: Array) -> Array:
    """y with L y = d, entry by entry from the first: one L (..., K, K) serves any samples d (..., K)."""
    y = np.zeros(np.broadcast_shapes(L.shape[:-1], d.shape), np.result_type(L, d))
    for i in range(d.shape[-1]):
        y[..., i] = (d[..., i] - (L[..., i, :i] * y[..., :i]).sum(axis=-1)) / L[..., i, i]
    return y


def solve_upper(L: Array, y: Array) -> Array:
    """a with Lᵀ a = y, entry by entry from the last."""
    return solve_lower(np.swapaxes(L, -2, -1)[..., ::-1, ::-1], y[..., ::-1])[..., ::-1]


class FullHeads(NamedTuple):
    """mu (..., K), and raw (..., K, K): below the diagonal L itself, on it log L_kk, above it nothing."""

    mu: Array
    raw: Array


# z = μ + L ε,  q = N(μ, L Lᵀ).  With y = L⁻¹ (z − μ):
#   log q = −½ (K log 2π + ‖y‖²) − Σ log L_kk
#   ∂/∂z = −L⁻ᵀ y =: −a      ∂/∂μ = a      ∂/∂L = a yᵀ − diag(1/L_kk), lower triangle
# L's diagonal is e^(its parameter): positive, and ∂/∂parameter = L_kk ∂/∂L_kk.
class FullNormal(FullHeads):
    """N(μ, L Lᵀ) by mu (..., K) and raw (..., K, K); also their cotangents. A network gives it by `full_normal`."""

    __slots__ = ()
    noise: ClassVar[str] = "normals"
    separate: ClassVar[bool] = False

    @property
    def L(self) -> Array:
        """The lower triangular factor, (..., K, K)."""
        eye = np.eye(self.mu.shape[-1], dtype=bool)
        return np.where(eye, np.exp(np.where(eye, self.raw, 0)), np.tril(self.raw))

    @property
    def mean(self) -> Array:
        """μ."""
        return self.mu

    def standard(self) -> "FullNormal":
        """N(0, I): all heads 0."""
        return FullNormal(np.zeros_like(self.mu), np.zeros_like(self.raw))

    def sample(self, eps: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z = μ + L ε; eps (S, B, K) standard normal."""
        mu, raw, eps = wide(*self, eps)
        return narrow(mu + (FullNormal(mu, raw).L @ eps[..., None])[..., 0], *self)

    def sample_vjp(self, dz: Array, eps: Array, k: Kernels = NUMPY) -> "FullNormal":
        """dμ = dz, dL = dz εᵀ, summed over samples."""
        dz, eps = wide(dz, eps)
        return self._pull(dz, dz[..., :, None] * eps[..., None, :])

    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log q(z), nats."""
        value, mu, raw = wide(z, *self)
        y = solve_lower(FullNormal(mu, raw).L, value - mu)
        return narrow(-0.5 * (y.shape[-1] * LOG_2PI + (y * y).sum(axis=-1)) - self._log_det(raw), z, *self)

    def log_prob_vjp(self, w: Array, z: Array, k: Kernels = NUMPY) -> tuple[Array, "FullNormal"]:
        """Cotangents of z and of the parameters."""
        value, mu, raw = wide(z, *self)
        L = FullNormal(mu, raw).L
        y = solve_lower(L, value - mu)
        rows = column(w, y.shape)
        a = rows * solve_upper(L, y)
        dL = a[..., :, None] * y[..., None, :] - rows[..., None] * self._inverse_diagonal(L)
        return fitted(-a, z), self._pull(a, dL)

    # KL(q ‖ N(0, I)) = ½ (‖μ‖² + ‖L‖² − K) − Σ log L_kk      so      ∂/∂μ = μ,   ∂/∂L = L − diag(1/L_kk)
    def kl(self, k: Kernels = NUMPY) -> Array:
        """KL(q ‖ N(0, I)), nats; the diagonal as ½ (e^2a − 1) − a, which keeps its digits near N(0, I)."""
        mu, raw = wide(*self)
        a = np.diagonal(raw, axis1=-2, axis2=-1)
        squares = (mu**2).sum(axis=-1) + (np.tril(raw, -1) ** 2).sum(axis=(-2, -1))
        return narrow(0.5 * squares + (0.5 * np.expm1(2 * a) - a).sum(axis=-1), *self)

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> "FullNormal":
        """Cotangents of the parameters."""
        mu, raw = wide(*self)
        L = FullNormal(mu, raw).L
        rows = column(w, self._shape())
        return self._pull(rows * mu, rows[..., None] * (L - self._inverse_diagonal(L)))

    # H = ½ K (1 + log 2π) + Σ log L_kk
    def entropy(self, k: Kernels = NUMPY) -> Array:
        """−E[log q], nats."""
        mu, raw = wide(*self)
        constant = 0.5 * mu.shape[-1] * (1 + LOG_2PI)
        return narrow(np.broadcast_to(constant + self._log_det(raw), self._shape()[:-1]), *self)

    def entropy_vjp(self, w: Array, k: Kernels = NUMPY) -> "FullNormal":
        """Cotangents of the parameters: w for each log L_kk; the entropy does not see μ."""
        rows = column(w, self._shape())
        draw = rows[..., None] * np.eye(self.mu.shape[-1])
        return FullNormal(np.zeros_like(self.mu), fitted(draw, self.raw))

    def _shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(self.mu.shape, self.raw.shape[:-1])

    def _log_det(self, raw: Array) -> Array:
        return np.asarray(np.diagonal(raw, axis1=-2, axis2=-1).sum(axis=-1))

    def _inverse_diagonal(self, L: Array) -> Array:
        eye = np.eye(L.shape[-1], dtype=bool)
        return np.where(eye, 1 / np.where(eye, L, 1), 0)

    def _pull(self, dmu: Array, dL: Array) -> "FullNormal":
        """From L to its parameters, and sums over what was broadcast."""
        eye = np.eye(self.mu.shape[-1], dtype=bool)
        draw = np.where(eye, dL * self.L, np.tril(dL))
        return FullNormal(fitted(dmu, self.mu), fitted(draw, self.raw))


def full_normal(mu: Array, lower: Array) -> FullNormal:
    """What flat heads describe: mu (..., K) and lower (..., K (K + 1) / 2), raw's lower triangle row by row."""
    K = mu.shape[-1]
    if lower.shape[-1] != K * (K + 1) // 2:
        raise UsageError(
            f"lower has {lower.shape[-1]} columns, expected K (K + 1) / 2 = {K * (K + 1) // 2} for K = {K}"
        )
    raw = np.zeros((*lower.shape[:-1], K, K), lower.dtype)
    raw[..., *np.tril_indices(K)] = lower
    return FullNormal(mu, raw)


def full_normal_vjp(dq: FullNormal) -> tuple[Array, Array]:
    """Cotangents of the flat heads (mu, lower)."""
    return dq.mu, dq.raw[..., *np.tril_indices(dq.mu.shape[-1])]


class RankOneHeads(NamedTuple):
    """mu, log_d and u, each (..., K)."""

    mu: Array
    log_d: Array
    u: Array


# C⁻¹ = D + u uᵀ,  D = diag e^log_d                                        Rezende, Mohamed & Wierstra 2014, App. B
#   with t = D^−½,  v = t u,  s = vᵀv,  η = 1 / (1 + s),  c = (1 − √η) / s = η / (1 + √η), which has no limit to take:
#   z = μ + t (ε − c v vᵀε)      log |C⁻¹| = Σ log_d + log(1 + s)
# What depends on D and u does so by t² = e^−log_d and v:   ∂v/∂log_d = −½ v,   ∂v/∂u = t
class RankOne(RankOneHeads):
    """N(μ, (D + u uᵀ)⁻¹) by mu, log_d and u, each (..., K); also their cotangents.

    u and −u are one distribution: at u = 0 every slope by u is 0, so a network must not start with all of u there.
    """

    __slots__ = ()
    noise: ClassVar[str] = "normals"
    separate: ClassVar[bool] = False

    @property
    def mean(self) -> Array:
        """μ."""
        return self.mu

    def standard(self) -> "RankOne":
        """N(0, I): all heads 0."""
        return RankOne(*(np.zeros_like(h) for h in self))

    def sample(self, eps: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z = μ + t (ε − c v vᵀε); eps (..., K) standard normal."""
        mu, log_d, u, eps = wide(*self, eps)
        t, v, eta = self._scales(log_d, u)
        return narrow(mu + t * (eps - eta / (1 + np.sqrt(eta)) * dot(v, eps) * v), *self)

    def sample_vjp(self, dz: Array, eps: Array, k: Kernels = NUMPY) -> "RankOne":
        """Cotangents of the heads, summed over samples."""
        dz, _, log_d, u, eps = wide(dz, *self, eps)
        t, v, eta = self._scales(log_d, u)
        root = np.sqrt(eta)
        c, a = eta / (1 + root), dot(v, eps)
        g = t * dz  # of ε − c a v
        h = dot(g, v)
        slope = -(eta**2) * (1 + 0.5 * root) / (1 + root) ** 2  # dc/ds
        dv = -c * (a * g + h * eps) - 2 * a * h * slope * v
        return self._pull(dz, -0.5 * g * (eps - c * a * v), dv, t, v)

    # With d = z − μ and a = uᵀd:   log q = ½ (Σ log_d + log(1 + s) − Σ D d² − a² − K log 2π)
    #   ∂/∂z = −(D d + a u)   ∂/∂log_d = ½ (1 − η v² − D d²)   ∂/∂u = η t v − a d
    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log q(z), nats."""
        value, mu, log_d, u = wide(z, *self)
        d = value - mu
        terms = log_d - np.exp(log_d) * d * d - LOG_2PI
        return narrow(0.5 * (terms.sum(axis=-1) + self._log_rank(log_d, u) - dot(u, d)[..., 0] ** 2), z, *self)

    def log_prob_vjp(self, w: Array, z: Array, k: Kernels = NUMPY) -> tuple[Array, "RankOne"]:
        """Cotangents of z and of the heads, for w the cotangent of log_prob."""
        value, mu, log_d, u = wide(z, *self)
        t, v, eta = self._scales(log_d, u)
        d = value - mu
        rows, a, scaled = column(w, np.broadcast_shapes(d.shape, v.shape)), dot(u, d), np.exp(log_d) * d
        dmu = rows * (scaled + a * u)
        dlog_d, du = rows * 0.5 * (1 - eta * v**2 - scaled * d), rows * (eta * t * v - a * d)
        return fitted(-dmu, z), self._like(dmu, dlog_d, du)

    # KL(q ‖ N(0, I)) = ½ (‖μ‖² + Σ (t² − 1 + log_d) + log(1 + s) − η p),   p = Σ t² v²:   tr C = Σ t² − η p
    #   ∂/∂v = η (1 + η p − t²) v        ∂/∂log_d, v held fast = ½ (1 − t² + η t² v²)
    def kl(self, k: Kernels = NUMPY) -> Array:
        """KL(q ‖ N(0, I)), nats."""
        mu, log_d, u = wide(*self)
        t, v, eta = self._scales(log_d, u)
        terms = mu**2 + (np.expm1(-log_d) + log_d) - eta * (t * v) ** 2
        return narrow(0.5 * (terms.sum(axis=-1) + self._log_rank(log_d, u)), *self)

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> "RankOne":
        """Cotangents of the heads, for w the cotangent of kl."""
        mu, log_d, u = wide(*self)
        t, v, eta = self._scales(log_d, u)
        rows, p = column(w, np.broadcast_shapes(mu.shape, v.shape)), dot(t * v, t * v)
        held = -0.5 * np.expm1(-log_d) + 0.5 * eta * (t * v) ** 2
        return self._pull(rows * mu, rows * held, rows * eta * (1 + eta * p - t**2) * v, t, v)

    # H = ½ (K (1 + log 2π) − Σ log_d − log(1 + s))
    def entropy(self, k: Kernels = NUMPY) -> Array:
        """−E[log q], nats."""
        _, log_d, u = wide(*self)
        terms = (1 + LOG_2PI) - np.broadcast_to(log_d, np.broadcast_shapes(*(h.shape for h in self)))
        return narrow(0.5 * (terms.sum(axis=-1) - self._log_rank(log_d, u)), *self)

    def entropy_vjp(self, w: Array, k: Kernels = NUMPY) -> "RankOne":
        """Cotangents of the heads, for w the cotangent of entropy."""
        mu, log_d, u = wide(*self)
        t, v, eta = self._scales(log_d, u)
        rows = column(w, np.broadcast_shapes(mu.shape, v.shape))
        return self._pull(np.zeros_like(mu), -0.5 * rows, -rows * eta * v, t, v)

    def _scales(self, log_d: Array, u: Array) -> tuple[Array, Array, Array]:
        """t and v (..., K), η (..., 1)."""
        t = np.exp(-0.5 * log_d)
        v = t * u
        return t, v, 1 / (1 + dot(v, v))

    def _log_rank(self, log_d: Array, u: Array) -> Array:
        """log(1 + s)."""
        v = np.exp(-0.5 * log_d) * u
        return np.log1p(dot(v, v)[..., 0])

    def _pull(self, dmu: Array, dlog_d: Array, dv: Array, t: Array, v: Array) -> "RankOne":
        """The heads' cotangents from those of μ, of log_d with v held fast, and of v = t u."""
        return self._like(dmu, dlog_d - 0.5 * dv * v, dv * t)

    def _like(self, *slopes: Array) -> "RankOne":
        return RankOne(*(fitted(d, h) for d, h in zip(slopes, self, strict=True)))
