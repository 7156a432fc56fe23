"""§7.2 Exercise 2: the divergence of q from the prior, and its way back.

Write `kl` and `kl_vjp`. q = N(μ, diag e^λ), the prior is N(0, I), and KL(q ‖ prior) = E_q[log q − log prior]. In nats,
one number a row: the latents are summed, the rows of the batch are not.

    scratchvae exercise 2 --check          --hint where you are stuck
"""

import numpy as np


def kl(mu, log_var):
    """KL(N(μ, e^λ) ‖ N(0, I)), (B,) nats; mu, log_var (B, K)."""
    return 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).sum(axis=-1)


def kl_vjp(w, mu, log_var):
    """The cotangents of (mu, log_var), each (B, K), for w (B,) = ∂L/∂ of each row's KL."""
    w = w[:, None]
    return w * mu, 0.5 * w * (np.exp(log_var) - 1)
