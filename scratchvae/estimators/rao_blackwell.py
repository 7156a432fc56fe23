"""§7.2.2 Rao-Blackwellisation: z_k answers only for the factors it touches (Ranganath, Gerrish & Blei 2014, §3.1).

For mean field q = Π_k q_k and log p(x, z) = Σ_f log p_f, split r = r_k + (terms without z_k), where r_k holds the
factors in z_k's Markov blanket and −log q_k. The rest is constant for ∂ log q_k/∂φ_k, mean 0 given the other z:

    E[r ∂ log q_k/∂φ_k] = E[r_k ∂ log q_k/∂φ_k]           one mean, and the variance of the rest is gone

Test: test_in_expectation.
"""

import numpy as np

from ..errors import UsageError
from ..models.protocol import need
from ..types import Array
from .frame import Cotangents, Draw, Estimator
from .score import with_baseline


def signals(d: Draw) -> Array:
    """r_k, (S, B, K)."""
    why = "log p(x, z) factor by factor"
    factors = need(d.model, "log_factors", "score_rb", why)(d.x, d.z, d.theta)
    blankets = need(d.model, "blankets", "score_rb", "to know which factors hold z_k")(d.z.shape[-1])
    if any(f.shape[-1] != d.z.shape[-1] or f.ndim != 2 for f in d.q):
        raise UsageError(f"estimator 'score_rb' needs independent latents; q is a {type(d.q).__name__}: use 'score'")
    each = type(d.q)(*(f[..., None] for f in d.q)).log_prob(d.z[..., None], d.k)
    if not np.allclose(each.sum(axis=-1), d.q.log_prob(d.z, d.k), rtol=1e-3, atol=1e-3, equal_nan=True):
        raise UsageError(f"estimator 'score_rb' needs independent latents; those of {type(d.q).__name__} are not")
    found: Array = factors @ blankets.T.astype(factors.dtype) - each
    return found


def rule(d: Draw) -> Cotangents:
    """The score of each latent weighted with its own signal."""
    r = signals(d)
    return with_baseline(d.r, 0.0)._replace(score=r / r.shape[0])


score_rb = Estimator("score_rb", rule, by_factor=True)
