"""§7.1, §7.2.4 Every estimator that needs no closed form but the top KL, on a ladder of latent layers.

A rule (see `frame`) says what each way from φ to r is multiplied with; `models.ladder.backward` walks those ways
through all layers: with one layer these are the estimators of the VAE (test_one_layer_is_the_vae).
"""

from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from ..kernels import NUMPY, Kernels
from ..models import ladder
from ..models.ladder import Nets, Weights
from ..types import Array
from .frame import Draw, Estimator, Memory

SEES_R_ALONE = ("score", "score_loo", "score_mean", "score_constant", "sgvb_a", "stl", "iw", "dreg", "vr", "vr_max")


def gradient(
    e: Estimator,
    x: Array,
    eps: Sequence[Array],
    phi: Nets,
    theta: Nets,
    dphi: Nets,
    dtheta: Nets,
    state: Memory | None = None,
    k: Kernels = NUMPY,
) -> Array:
    """Adds an estimate of ∂(mean_b L_b) into dphi and dtheta, returns L (B,) nats.

    x (B, D), eps[l] (S, B, K_l). Raises UsageError for an estimator whose rule needs more than r, or its state.
    """
    w = np.full(x.shape[0], 1 / x.shape[0], x.dtype)
    if e.analytic_kl and e.pathwise:
        L, f = ladder.elbo(x, eps, phi, theta, k)
        ladder.elbo_vjp(w, f, phi, theta, dphi, dtheta, k)
        return L
    if e.name.split(":")[0] not in SEES_R_ALONE:
        raise UsageError(f"estimator {e.name!r} is not defined on several latent layers: {', '.join(SEES_R_ALONE)} are")
    if e.initial is not None and not state:
        raise UsageError(f"estimator {e.name!r} remembers its baseline: pass state=estimator.state(columns, normals)")
    f = ladder.forward(x, eps, phi, theta, k)
    r = ladder.log_ratio(f, k)
    d = Draw(None, None, x, np.empty(0), f.z[0], theta, lambda z: r, r, state if state is not None else {}, k)
    c = e.rule(d)
    none = np.zeros_like(r)
    path, score = none if c.path is None else c.path, none if c.score is None else c.score
    total = np.array_equal(score, -c.theta * path)  # the total derivative: one walk serves φ and z
    ladder.backward(Weights(w * c.theta, path, None if total else w * score), f, phi, theta, dphi, dtheta, k)
    if e.update is not None and state is not None:
        e.update(d)
    return c.L
