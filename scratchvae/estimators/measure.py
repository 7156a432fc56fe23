"""§7.2.2 The measure-valued estimator for Gaussians: no derivative of f, and no score (Mohamed et al. 2020, §6).

∂q/∂φᵢ integrates to zero, so it is a difference of two densities times a constant (Pflug's weak derivative):

    ∂N(z; μ, σ²)/∂μ = ((z − μ)/σ²) N = c (q⁺ − q⁻),   c = 1/(σ √2π),   z = μ ± σ R,  R ~ Rayleigh: density R e^{−R²/2}
    ∂N/∂σ = (1/σ) (q⁺ − N),      z = μ + σ M under q⁺,      M double-sided Maxwell: density M² e^{−M²/2}/√2π

so that ∂/∂μ E[f] = c E[f(μ + σR) − f(μ − σR)] and ∂/∂log σ² E[f] = ½ E[f(μ + σM) − f(z)], one latent at a time, the
others as sampled: 1 + 3K evaluations. All is made of three normals (ε, n₁, n₂) a latent: R = |(n₁, n₂)|, and
M = ±|(ε, n₁, n₂)| with the sign of ε. Then ε = M u with u uniform on (0, 1): M and ε are a coupled pair, so where f is
smooth f(μ + σM) − f(z) stays small. (Any coupling will do, for the mean asks for the margins only.)
Test: test_measure_valued_couplings, test_in_expectation.
"""

import math

import numpy as np

from ..distributions import Normal
from ..errors import UsageError
from ..types import Array
from .frame import Cotangents, Draw, Estimator
from .score import with_baseline


def couplings(noise: Array) -> tuple[Array, Array]:
    """(R, M), each (S, B, K), of noise (S, B, 3K)."""
    eps, n1, n2 = np.split(noise, 3, axis=-1)
    square = n1 * n1 + n2 * n2
    return np.sqrt(square), np.copysign(np.sqrt(eps * eps + square), eps)


def moved(z: Array, values: Array) -> Array:
    """(K, S, B, K): copy j has latent j replaced by values[..., j]."""
    eye = np.eye(z.shape[-1], dtype=bool)[:, None, None, :]
    return np.where(eye, values, z)


def rule(d: Draw) -> Cotangents:
    """f = r, its own φ held fast: E[∂f/∂φ] = 0 by eq. (2) of `score`."""
    if not isinstance(d.q, Normal):
        raise UsageError(f"estimator 'measure' needs a diagonal Gaussian q, not {type(d.q).__name__}: use 'score'")
    sigma = np.exp(d.q.log_var / 2)
    R, M = couplings(d.noise)
    at = [moved(d.z, d.q.mu + sigma * step) for step in (R, -R, M)]
    K, S, B = at[0].shape[:3]
    plus, minus, maxwell = (d.signal(z.reshape(K * S, B, K)).reshape(K, S, B) for z in at)
    dmu = np.moveaxis((plus - minus).mean(axis=1), 0, -1) / (sigma * math.sqrt(2 * math.pi))
    dlog_var = np.moveaxis(0.5 * (maxwell - d.r).mean(axis=1), 0, -1)
    return with_baseline(d.r, 0.0)._replace(score=None, direct=Normal(dmu, dlog_var))


measure = Estimator("measure", rule, noise=3)
