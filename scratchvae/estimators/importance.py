"""§7.2.4 The importance-weighted bound and its plain gradient (Burda, Grosse & Salakhutdinov 2016).

    L_S = E[ log (1/S) Σ_s e^{r_s} ] ≤ log p(x),  rising with S;   w̃_s = e^{r_s} / Σ_t e^{r_t}
    ∂L_S/∂r_s = w̃_s     so     dL = Σ_s w̃_s dr_s,   both ways of dr: θ gets w̃, the path w̃, the score −w̃

Its signal-to-noise for φ falls as S^(−½) (Rainforth et al. 2018): `dreg` mends that.
Tests: test_replayed_noise; test_in_expectation against the exact gradient of L_2, not of the ELBO.
"""

import numpy as np

from ..types import Array
from .frame import Cotangents, Draw, Estimator


def log_mean_exp(r: Array) -> tuple[Array, Array]:
    """(log mean e^r over the first axis, softmax of r over it); a complex step passes (the shift is a constant)."""
    shift = r.real.max(axis=0)
    e = np.exp(r - shift)
    total = e.sum(axis=0)
    return shift + np.log(total / r.shape[0]), e / total


def rule(d: Draw) -> Cotangents:
    """Each sample weighted with its share of the evidence."""
    L, weights = log_mean_exp(d.r)
    return Cotangents(L, theta=weights, path=np.ones_like(d.r), score=-weights)


iw = Estimator("iw", rule, pathwise=True)
