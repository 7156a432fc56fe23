"""§7.2.4 Exercise 8: the two ways by which φ = (μ, λ) reaches r, the log of an importance weight.

    r = log p(x, z) − log q(z; μ, λ)        at z = μ + σ ε

Write `log_weight`, `by_sample` and `by_density`. The model: one latent z ~ N(0, 1), and x ~ N(2z, 1). Each of B rows
has S draws; z and eps are (S, B), x, mu and log_var (B,). w (S, B) is the cotangent of r.

    scratchvae exercise 8 --check          --hint where you are stuck
"""

import numpy as np

LOG_2PI = np.log(2 * np.pi)


def log_joint(x, z):
    """log p(x, z), (S, B) nats. Given."""
    return -LOG_2PI - 0.5 * z**2 - 0.5 * (x - 2 * z) ** 2


def log_joint_slope(x, z):
    """∂ log p(x, z)/∂z, (S, B). Given."""
    return 2 * (x - 2 * z) - z


def log_weight(x, z, mu, log_var):
    """r = log p(x, z) − log q(z) of each draw, (S, B) nats."""
    log_q = -0.5 * (LOG_2PI + log_var + (z - mu) ** 2 * np.exp(-log_var))
    return log_joint(x, z) - log_q


def by_sample(w, x, eps, mu, log_var):
    """The way through the sample: Σ_s w_s (∂r/∂z)(∂z/∂φ) for φ = μ and λ, (B,) each.

    ∂/∂z with μ and λ held: both log p(x, z) and log q(z) move with z. Used alone it is called sticking the landing.
    """
    sigma = np.exp(0.5 * log_var)
    dz = w * (log_joint_slope(x, mu + sigma * eps) + eps / sigma)
    return dz.sum(axis=0), (0.5 * dz * sigma * eps).sum(axis=0)


def by_density(w, eps, mu, log_var):
    """The way through the density: Σ_s w_s ∂(−log q(z_s))/∂φ with z held, (B,) each; z − μ is σ ε."""
    return (-w * eps / np.exp(0.5 * log_var)).sum(axis=0), (-0.5 * w * (eps**2 - 1)).sum(axis=0)


def bound(x, eps, mu, log_var):
    """r at the draws z = μ + σ ε, (S, B): its mean is the bound. Given."""
    return log_weight(x, mu + np.exp(0.5 * log_var) * eps, mu, log_var)


def bound_vjp(w, x, eps, mu, log_var):
    """The cotangents of (x, eps, mu, log_var): the sum of both ways, None for data and noise. Given."""
    ways = by_sample(w, x, eps, mu, log_var), by_density(w, eps, mu, log_var)
    return None, None, ways[0][0] + ways[1][0], ways[0][1] + ways[1][1]
