"""§7.1 Exercise 1: the density of a Gaussian, its way back, and its entropy.

Write `log_normal`, `log_normal_vjp` and `entropy`. The Gaussian has independent components: N(z; μ, diag σ²), and the
variance is given by its log, λ = log σ². Everything is in nats, constants kept, one number a row.

    scratchvae exercise 1 --check          --hint where you are stuck
"""

import numpy as np

LOG_2PI = np.log(2 * np.pi)


def log_normal(z, mu, log_var):
    """log N(z; μ, e^λ) summed over the last axis, (B,) nats; z, mu, log_var (B, K)."""
    return -0.5 * (LOG_2PI + log_var + (z - mu) ** 2 * np.exp(-log_var)).sum(axis=-1)


def log_normal_vjp(w, z, mu, log_var):
    """The cotangents of (z, mu, log_var), each (B, K), for w (B,) = ∂L/∂ of each row's log density."""
    w = w[:, None]
    r = (z - mu) * np.exp(-log_var)
    dlog_var = 0.5 * w * (r * (z - mu) - 1)
    return -w * r, w * r, dlog_var


def entropy(log_var):
    """−E[log N], (B,) nats; log_var (B, K). It does not depend on μ."""
    return 0.5 * (LOG_2PI + 1 + log_var).sum(axis=-1)


def entropy_vjp(w, log_var):
    """The cotangent of log_var (B, K), for w (B,); given."""
    return 0.5 * w[:, None] * np.ones_like(log_var)
