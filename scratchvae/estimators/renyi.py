"""§7.2.4 The variational Rényi bound, VR-α and VR-max (Li & Turner 2016).

    L_α = 1/(1 − α) log (1/S) Σ_s e^{(1−α) r_s}          ∂L_α/∂r_s = softmax((1 − α) r)_s
    α → 1: the ELBO      α = 0: the importance-weighted bound      α → −∞: VR-max, the best sample alone

At finite S it is a biased estimate of the Rényi bound; its gradient is the exact one of its own mean.
Test: test_replayed_noise, test_renyi_has_the_others_as_limits.
"""

import numpy as np

from ..types import Array
from . import sgvb_a
from .frame import Cotangents, Draw, Estimator
from .importance import log_mean_exp


def weighted(L: Array, weights: Array) -> Cotangents:
    """dL = Σ_s weights_s dr_s, both ways of dr."""
    return Cotangents(L, theta=weights, path=np.ones_like(weights), score=-weights)


def vr(alpha: float) -> Estimator:
    """VR-α; α = 1 is the ELBO by SGVB A."""

    def rule(d: Draw) -> Cotangents:
        if alpha == 1:
            return sgvb_a.rule(d)
        L, weights = log_mean_exp((1 - alpha) * d.r)
        return weighted(L / (1 - alpha), weights)

    return Estimator(f"vr:{alpha:g}", rule, pathwise=True)


def best(d: Draw) -> Cotangents:
    """The largest r gets it all (the first of equals)."""
    chosen = np.arange(d.r.shape[0])[:, None] == d.r.real.argmax(axis=0)
    return weighted((d.r * chosen).sum(axis=0), chosen.astype(d.r.dtype))


vr_max = Estimator("vr_max", best, pathwise=True)
