"""§7.1.2 Exercise 3: the slope of log p(x, z) in z, all that a Markov chain asks of a model.

Write `log_joint_vjp`. The model is a decoder in miniature: p(z) = N(0, I), p(x|z) = N(x; h V + c, VARIANCE · I) with
h = tanh(z W + b). z is many points (S, K), x is one row (D,); W (K, H), b (H,), V (H, D), c (D,).

    scratchvae exercise 3 --check          --hint where you are stuck
"""

import numpy as np

LOG_2PI = np.log(2 * np.pi)
VARIANCE = 0.1  # σ² of x given z


def log_joint(z, x, W, b, V, c):
    """log p(z) + log p(x|z) at each point, (S,) nats."""
    mean = np.tanh(z @ W + b) @ V + c
    log_prior = -0.5 * (LOG_2PI + z**2).sum(axis=-1)
    return log_prior - 0.5 * (np.log(2 * np.pi * VARIANCE) + (x - mean) ** 2 / VARIANCE).sum(axis=-1)


def log_joint_vjp(w, z, x, W, b, V, c):
    """dz (S, K) alone, for w (S,) = ∂L/∂ of each point's log p(x, z); x and the parameters are held."""
    w = w[..., None]
    h = np.tanh(z @ W + b)
    dmean = w * (x - h @ V - c) / VARIANCE
    da = (dmean @ V.T) * (1 - h * h)
    return da @ W.T - w * z
