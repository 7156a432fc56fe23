"""§7.2 AEVB: encoder forward, estimator, encoder backward, for any model of the protocol and any estimator."""

from typing import Any

import numpy as np

from ..conditional import Net, net_vjp
from ..kernels import NUMPY, Kernels
from ..models.vae import encode
from ..types import Array
from .frame import Estimator, Memory, estimate


def gradient(
    e: Estimator,
    model: Any,
    x: Array,
    noise: Array,
    phi: Net,
    theta: Any,
    dphi: Net,
    dtheta: Any,
    w: Array | None = None,
    state: Memory | None = None,
    k: Kernels = NUMPY,
    m: Array | None = None,
) -> Array:
    """Adds an estimate of ∂(Σ_b w_b L_b) into dphi and dtheta, returns L (B,) nats.

    x (B, D); noise (S, B, e.noise · K): normals for a Gaussian q, uniforms for a Bernoulli one; w (B,) is 1/B unless
    given, so that the gradient is that of the minibatch mean; `state` is what `e.state` made, updated in place;
    m (B, D) says what of x was observed, as in `models.vae.elbo`, and the model knows it too.
    """
    q, layers = encode(x, phi, k, m)
    w = np.full(x.shape[0], 1 / x.shape[0], x.dtype) if w is None else w
    L, dq = estimate(e, model, q, x, noise, theta, dtheta, w, state, k)
    net_vjp(dq, q, layers, phi, dphi, k, need_dx=False)
    return L
