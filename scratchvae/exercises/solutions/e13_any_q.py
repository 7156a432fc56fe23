"""§7.2.4 Exercise 13: a gamma latent, and one backward for every exponential family.

Write `sample`, `sample_vjp`, `log_prob` and `log_prob_vjp`. A gamma latent z > 0 has a shape α and a rate β. One
uniform u makes it, z is where its CDF reaches u, and no formula says z by α: the slope comes from the CDF itself.

    scratchvae exercise 13 --check          --hint where you are stuck
"""

from typing import NamedTuple

import numpy as np
from scipy import special


def quantile(alpha, u):
    """The y with F(y; α) = u, F the CDF of a gamma of shape α and rate 1. Given: it has no slope that you could ask."""
    return special.gammaincinv(alpha, u)


def cdf_by_alpha(alpha, y, terms=80):
    """∂F(y; α)/∂α, y held: of F = Σ_n y^(α+n) e^−y / Γ(α+n+1), term by term. Given."""
    alpha, y = np.broadcast_arrays(alpha, y)
    a = alpha[..., None] + np.arange(terms) + 1
    p = np.exp((a - 1) * np.log(y[..., None]) - y[..., None] - special.loggamma(a))
    return (p * (np.log(y[..., None]) - special.digamma(a))).sum(axis=-1)


def density(alpha, y):
    """f(y; α) = ∂F/∂y. Given."""
    return np.exp((alpha - 1) * np.log(y) - y - special.loggamma(alpha))


def sample(alpha, beta, u):
    """z (B, K) of shape alpha and rate beta, both (B, K), from u (B, K) uniform in (0, 1). The mean of z is α/β."""
    return quantile(alpha, u) / beta


def sample_vjp(dz, alpha, beta, u):
    """The cotangents of (alpha, beta, u), (B, K) each; None for u, which is noise. dz (B, K) is that of z."""
    y = quantile(alpha, u)
    dy = dz / beta
    dalpha = -dy * cdf_by_alpha(alpha, y) / density(alpha, y)
    return dalpha, -dy * y / beta, None


class Family(NamedTuple):
    """log p(x; η) = Σ_i η_i T_i(x) − A(η) + log h(x), number by number. Given."""

    T: object  # x -> (T_1, T_2, …), arrays like x
    A: object  # η_1, η_2, … -> array
    mean_T: object  # η_1, η_2, … -> E[T_1], E[T_2], …: the slopes of A
    log_h: object  # x -> array


GAMMA = Family(  # η = (α, β)
    lambda x: (np.log(x), -x),
    lambda alpha, beta: special.loggamma(alpha) - alpha * np.log(beta),
    lambda alpha, beta: (special.digamma(alpha) - np.log(beta), -alpha / beta),
    lambda x: -np.log(x),
)
POISSON = Family(  # η = log rate
    lambda x: (x,), lambda eta: np.exp(eta), lambda eta: (np.exp(eta),), lambda x: -special.loggamma(x + 1.0)
)


def log_prob(x, eta, family):
    """log p(x) of each row, (B,) nats: x (B, K), eta a tuple of arrays (B, K), one for each T."""
    linear = sum(e * t for e, t in zip(eta, family.T(x), strict=True))
    return (linear - family.A(*eta) + family.log_h(x)).sum(axis=-1)


def log_prob_vjp(w, x, eta, family):
    """The cotangents of (x, eta): None for x, which is held, and a tuple like eta. w (B,) is the weight of each row."""
    pairs = zip(family.T(x), family.mean_T(*eta), strict=True)
    return None, tuple(w[:, None] * (t - mean) for t, mean in pairs)
