"""§7.2.5 The Dirichlet, on the simplex, and what it shares with the beta: A = Σ ln Γ(αᵢ) − ln Γ(Σ αᵢ)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from .. import reparam
from ..kernels import NUMPY, Kernels
from ..types import Array
from .curves import rest_bend, trigamma
from .exponential import Blocks, ExponentialFamily
from .observed import Place
from .saddle import log_gamma
from .shared import fitted, narrow, quiet, times, widened


class LogAlpha(NamedTuple):
    """The head of a Dirichlet."""

    log_alpha: Array


def log(x: Array) -> Array:
    """ln x, −∞ at 0 without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(x)


def over(a: Array, x: Array) -> Array:
    """a / x, and 0 where a is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(a == 0, 0.0, a / x)


# A = Σ ln Γ(αᵢ) − ln Γ(S), S = Σ αᵢ: the chain Σ ln B(α₁ + … + αᵢ₋₁, αᵢ) does not subtract what is large
#   vᵀ∇²A v = Σ ψ′(αᵢ) vᵢ² − ψ′(S) V² = Σ αᵢ (vᵢ/αᵢ − V/S)² + Σ g″(αᵢ) vᵢ² − g″(S) V²,     V = Σ vᵢ


def log_beta(alphas: Blocks) -> Array:
    """Σ ln Γ(αᵢ) − ln Γ(Σ αᵢ)."""
    total, out = alphas[0], 0.0 * alphas[0]
    for alpha in alphas[1:]:
        if np.iscomplexobj(alpha) or np.iscomplexobj(total):
            out = out + log_gamma(total) + log_gamma(alpha) - log_gamma(total + alpha)
        else:
            out = out + special.betaln(total, alpha)
        total = total + alpha
    return out


def beta_slopes(alphas: Blocks) -> Blocks:
    """ψ(αᵢ) − ψ(S)."""
    psi = special.psi(sum(alphas))
    return tuple(special.psi(a) - psi for a in alphas)


def beta_bends(alphas: Blocks, v: Blocks) -> Blocks:
    """ψ′(αᵢ) vᵢ − ψ′(S) V."""
    shared = trigamma(np.asarray(sum(alphas))) * sum(v)
    return tuple(trigamma(a) * d - shared for a, d in zip(alphas, v, strict=True))


def beta_curvature(alphas: Blocks, v: Blocks) -> Array:
    """The quadratic form, by terms ≥ 0."""
    S, V = np.asarray(sum(alphas)), np.asarray(sum(v))
    squares = sum(a * (d / a - V / S) ** 2 + rest_bend(a) * d * d for a, d in zip(alphas, v, strict=True))
    return np.asarray(squares - rest_bend(S) * V * V)


class Dirichlet(ExponentialFamily, LogAlpha):
    """x on the simplex, x (..., C) ≥ 0 of sum 1, by log α (..., C)."""

    __slots__ = ()
    log_heads = True
    shift = (1.0,)
    separate = False

    def pieces(self, columns: int) -> Iterator[tuple[Any, Place]]:
        yield Dirichlet, (..., None, slice(None))

    def per_group(self, v: Array) -> Array:
        return v.sum(axis=-1, keepdims=True)

    def spread(self, g: Array, columns: int) -> Array:
        return np.repeat(g, columns, axis=-1)

    def T(self, x: Array) -> Blocks:
        return (log(x),)

    def A(self, eta: Blocks) -> Array:
        return log_beta(unstacked(eta[0]))[..., None]

    def dA(self, eta: Blocks) -> Blocks:
        return (np.stack(beta_slopes(unstacked(eta[0])), axis=-1),)

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        return (np.stack(beta_bends(unstacked(eta[0]), unstacked(v[0])), axis=-1),)

    def curvature(self, eta: Blocks, v: Blocks) -> Array:
        return beta_curvature(unstacked(eta[0]), unstacked(v[0]))[..., None]

    def dx(self, eta: Blocks, x: Array) -> Array:
        return over(eta[0] - 1, x)

    # z = softmax(y),  yᵢ = ln P⁻¹(αᵢ, uᵢ): y never underflows, so z is never 0/0
    #   dyᵢ = zᵢ (dzᵢ − Σ zⱼ dzⱼ),    ∂yᵢ/∂ln αᵢ = αᵢ ∂yᵢ/∂αᵢ

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z (..., C) from gammas by the inverse CDF; u (..., C) uniform in (0, 1)."""
        return narrow(softmax(self.log_gammas(u)), self.log_alpha)

    @quiet
    def sample_vjp(self, dz: Array, u: Array, k: Kernels = NUMPY) -> "Dirichlet":
        """Cotangent of the head, summed over the samples."""
        alpha, y = self.eta()[0], self.log_gammas(u)
        z, dz = softmax(y), widened(dz)
        dy = z * (dz - (z * dz).sum(axis=-1, keepdims=True))
        return Dirichlet(fitted(times(dy, alpha * reparam.gamma.log_slope(alpha, y)), self.log_alpha))

    def log_gammas(self, u: Array) -> Array:
        """y."""
        return reparam.gamma.log_sample(*np.broadcast_arrays(self.eta()[0], widened(u)))

    @property
    def mean(self) -> Array:
        """α / Σ α."""
        return softmax(self.log_alpha)


def unstacked(a: Array) -> Blocks:
    """The columns of (..., C)."""
    return tuple(np.moveaxis(a, -1, 0))


def softmax(y: Array) -> Array:
    """e^y / Σ e^y over the last axis."""
    e = np.exp(y - y.real.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))
