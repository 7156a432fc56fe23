"""§7.2.4 Exercise 7: how a slope passes a sample.

Write `sample` and `sample_vjp`. The network speaks λ = log σ², because any real number is a legal λ. Noise is an
argument: the same ε goes in on the way forward and on the way back.

    scratchvae exercise 7 --check          --hint where you are stuck
"""

import numpy as np


def sample(mu, log_var, eps):
    """z = μ + σ ε, all of shape (B, K)."""
    return mu + np.exp(0.5 * log_var) * eps


def sample_vjp(dz, mu, log_var, eps):
    """The cotangents of (mu, log_var, eps); None for the noise. dz = ∂L/∂z, of z's shape."""
    dmu = dz
    dlog_var = 0.5 * dz * np.exp(0.5 * log_var) * eps
    return dmu, dlog_var, None
