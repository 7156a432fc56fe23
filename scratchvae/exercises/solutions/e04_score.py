"""§7.2.2 Exercise 4: the score, ∂log q/∂φ of a draw that is held fast.

Write `score`, `log_q_vjp` and `gradient`. q is a Gaussian with mean μ and log-variance λ, one number for each of K
latents; z holds S draws from it. A draw z is a number here: it does not move with μ and λ.

    scratchvae exercise 4 --check          --hint where you are stuck
"""

import numpy as np


def score(z, mu, log_var):
    """∂log q(z_s)/∂μ and ∂log q(z_s)/∂λ of each draw by itself: two arrays (S, K). z (S, K), mu and log_var (K,)."""
    d = z - mu
    precision = np.exp(-log_var)
    return d * precision, 0.5 * (d * d * precision - 1)


def log_q(z, mu, log_var):
    """log q(z_s) of each draw, (S,) nats. Given."""
    return -0.5 * (np.log(2 * np.pi) + log_var + (z - mu) ** 2 * np.exp(-log_var)).sum(axis=-1)


def log_q_vjp(w, z, mu, log_var):
    """The cotangents of (z, mu, log_var) for a weight w (S,) on each draw: Σ_s w_s times its score, (K,) each; None for
    z."""
    by_mu, by_log_var = score(z, mu, log_var)
    return None, w @ by_mu, w @ by_log_var


def gradient(f, mu, log_var, eps):
    """∂E[f(z)]/∂μ and ∂E[f(z)]/∂λ, estimated: the mean of f · score over the draws z = μ + σ ε, two arrays (K,).

    f takes draws (S, K) to their values (S,), and has no slope that you could ask for; eps (S, K).
    """
    z = mu + np.exp(0.5 * log_var) * eps
    values = f(z)
    _, by_mu, by_log_var = log_q_vjp(values / len(values), z, mu, log_var)
    return by_mu, by_log_var
