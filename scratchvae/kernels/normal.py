"""§7.2.4, §7.2.5 The Gaussian N(z; μ, diag σ²) by mu and log_var = log σ² (a variance, never a standard deviation).

All arrays are (B, K), a per-row scalar and its cotangent w are (B,); sums run over the K components, in nats.
"""

import math

import numpy as np

from ..types import Array
from .jit import jit

LOG_2PI = math.log(2 * math.pi)
LOG_2PIE = LOG_2PI + 1

# z = μ + σ ⊙ ε                                                            §7.2.4, Kingma & Welling 2014 §2.4
#   σ = e^{½ log σ²}    so    ∂z/∂μ = 1,    ∂z/∂log σ² = ½ σ ε


def normal_sample_np(mu: Array, log_var: Array, eps: Array) -> Array:
    """z = μ + σ ε."""
    return mu + np.exp(0.5 * log_var) * eps


@jit
def normal_sample_nb(mu: Array, log_var: Array, eps: Array) -> Array:
    """Twin of `normal_sample_np`."""
    half, z = mu.dtype.type(0.5), np.empty_like(mu)
    for i in range(mu.size):
        z.flat[i] = mu.flat[i] + math.exp(half * log_var.flat[i]) * eps.flat[i]
    return z


def normal_sample_vjp_np(dz: Array, log_var: Array, eps: Array) -> tuple[Array, Array]:
    """dμ = dz,  dlog σ² = ½ dz σ ε."""
    return dz.copy(), 0.5 * dz * np.exp(0.5 * log_var) * eps


@jit
def normal_sample_vjp_nb(dz: Array, log_var: Array, eps: Array) -> tuple[Array, Array]:
    """Twin of `normal_sample_vjp_np`."""
    half, dlog_var = dz.dtype.type(0.5), np.empty_like(dz)
    for i in range(dz.size):
        dlog_var.flat[i] = half * dz.flat[i] * math.exp(half * log_var.flat[i]) * eps.flat[i]
    return dz.copy(), dlog_var


# log N(z; μ, σ²) = −½ Σₖ (log 2π + log σₖ² + (zₖ − μₖ)² / σₖ²)
#   with r = (z − μ) / σ²:    ∂/∂z = −r,    ∂/∂μ = r,    ∂/∂log σ² = ½ (r (z − μ) − 1)


def normal_log_prob_np(z: Array, mu: Array, log_var: Array) -> Array:
    """log N(z; μ, σ²), (B,) nats."""
    return -0.5 * (LOG_2PI + log_var + (z - mu) ** 2 * np.exp(-log_var)).sum(axis=-1)


@jit
def normal_log_prob_nb(z: Array, mu: Array, log_var: Array) -> Array:
    """Twin of `normal_log_prob_np`; each row is summed by one owner, in float64."""
    log_prob = np.empty(z.shape[0], z.dtype)
    for b in range(z.shape[0]):
        total = 0.0
        for k in range(z.shape[1]):
            d = z[b, k] - mu[b, k]
            total += LOG_2PI + log_var[b, k] + d * d * math.exp(-log_var[b, k])
        log_prob[b] = -0.5 * total
    return log_prob


def normal_log_prob_vjp_np(w: Array, z: Array, mu: Array, log_var: Array) -> tuple[Array, Array, Array]:
    """Cotangents (dz, dμ, dlog σ²) of Σ_b w_b log N(z_b; μ_b, σ_b²)."""
    r = (z - mu) * np.exp(-log_var)
    w = w[:, None]
    return -w * r, w * r, 0.5 * w * (r * (z - mu) - 1)


@jit
def normal_log_prob_vjp_nb(w: Array, z: Array, mu: Array, log_var: Array) -> tuple[Array, Array, Array]:
    """Twin of `normal_log_prob_vjp_np`."""
    half, one = z.dtype.type(0.5), z.dtype.type(1)
    dz, dmu, dlog_var = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    for b in range(z.shape[0]):
        for k in range(z.shape[1]):
            d = z[b, k] - mu[b, k]
            r = d * math.exp(-log_var[b, k])
            dz[b, k] = -w[b] * r
            dmu[b, k] = w[b] * r
            dlog_var[b, k] = half * w[b] * (r * d - one)
    return dz, dmu, dlog_var


# Of the entries with m_k = 1 alone, m in {0, 1}: each term of the sum and each of its slopes times m_k     §7.1.1


def normal_masked_log_prob_np(z: Array, m: Array, mu: Array, log_var: Array) -> Array:
    """log N(z_obs; μ, σ²), (B,) nats; m (B, K) is 1 where z was observed."""
    return -0.5 * (m * (LOG_2PI + log_var + (z - mu) ** 2 * np.exp(-log_var))).sum(axis=-1)


@jit
def normal_masked_log_prob_nb(z: Array, m: Array, mu: Array, log_var: Array) -> Array:
    """Twin of `normal_masked_log_prob_np`."""
    log_prob = np.empty(z.shape[0], z.dtype)
    for b in range(z.shape[0]):
        total = 0.0
        for k in range(z.shape[1]):
            d = z[b, k] - mu[b, k]
            total += m[b, k] * (LOG_2PI + log_var[b, k] + d * d * math.exp(-log_var[b, k]))
        log_prob[b] = -0.5 * total
    return log_prob


def normal_masked_log_prob_vjp_np(
    w: Array, z: Array, m: Array, mu: Array, log_var: Array
) -> tuple[Array, Array, Array]:
    """Cotangents (dz, dμ, dlog σ²) of Σ_b w_b log N(z_obs; μ, σ²): those of the whole, with w m for w."""
    r = (z - mu) * np.exp(-log_var)
    v = w[:, None] * m
    return -v * r, v * r, 0.5 * v * (r * (z - mu) - 1)


@jit
def normal_masked_log_prob_vjp_nb(
    w: Array, z: Array, m: Array, mu: Array, log_var: Array
) -> tuple[Array, Array, Array]:
    """Twin of `normal_masked_log_prob_vjp_np`."""
    half, one = z.dtype.type(0.5), z.dtype.type(1)
    dz, dmu, dlog_var = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    for b in range(z.shape[0]):
        for k in range(z.shape[1]):
            d = z[b, k] - mu[b, k]
            r, v = d * math.exp(-log_var[b, k]), w[b] * m[b, k]
            dz[b, k] = -v * r
            dmu[b, k] = v * r
            dlog_var[b, k] = half * v * (r * d - one)
    return dz, dmu, dlog_var


# KL(q ‖ N(0, I))                                                          Kingma & Welling 2014, App. B
#   E_q[log q − log p] = −½ Σₖ (log 2π + log σₖ² + 1) + ½ Σₖ (log 2π + μₖ² + σₖ²)
#   forward:  ½ Σₖ (μₖ² + σₖ² − 1 − log σₖ²)
#   so:       ∂/∂μ = μ,   ∂/∂log σ² = ½ (σ² − 1)


def normal_kl_np(mu: Array, log_var: Array) -> Array:
    """KL(N(μ, σ²) ‖ N(0, I)), (B,) nats."""
    return 0.5 * (mu**2 + np.expm1(log_var) - log_var).sum(axis=-1)


@jit
def normal_kl_nb(mu: Array, log_var: Array) -> Array:
    """Twin of `normal_kl_np`."""
    kl = np.empty(mu.shape[0], mu.dtype)
    for b in range(mu.shape[0]):
        total = 0.0
        for k in range(mu.shape[1]):
            total += mu[b, k] * mu[b, k] + math.expm1(log_var[b, k]) - log_var[b, k]
        kl[b] = 0.5 * total
    return kl


def normal_kl_vjp_np(w: Array, mu: Array, log_var: Array) -> tuple[Array, Array]:
    """Cotangents (dμ, dlog σ²) of Σ_b w_b KL_b."""
    w = w[:, None]
    return w * mu, 0.5 * w * np.expm1(log_var)


@jit
def normal_kl_vjp_nb(w: Array, mu: Array, log_var: Array) -> tuple[Array, Array]:
    """Twin of `normal_kl_vjp_np`."""
    half = mu.dtype.type(0.5)
    dmu, dlog_var = np.empty_like(mu), np.empty_like(mu)
    for b in range(mu.shape[0]):
        for k in range(mu.shape[1]):
            dmu[b, k] = w[b] * mu[b, k]
            dlog_var[b, k] = half * w[b] * math.expm1(log_var[b, k])
    return dmu, dlog_var


# H(q) = −E_q[log q] = ½ Σₖ (log 2πe + log σₖ²)        so    ∂/∂log σ² = ½


def normal_entropy_np(log_var: Array) -> Array:
    """Entropy of N(·, σ²), (B,) nats."""
    return 0.5 * (LOG_2PIE + log_var).sum(axis=-1)


@jit
def normal_entropy_nb(log_var: Array) -> Array:
    """Twin of `normal_entropy_np`."""
    entropy = np.empty(log_var.shape[0], log_var.dtype)
    for b in range(log_var.shape[0]):
        total = 0.0
        for k in range(log_var.shape[1]):
            total += LOG_2PIE + log_var[b, k]
        entropy[b] = 0.5 * total
    return entropy


def normal_entropy_vjp_np(w: Array, log_var: Array) -> Array:
    """dlog σ² = ½ w."""
    return 0.5 * w[:, None] * np.ones_like(log_var)


@jit
def normal_entropy_vjp_nb(w: Array, log_var: Array) -> Array:
    """Twin of `normal_entropy_vjp_np`."""
    half, dlog_var = log_var.dtype.type(0.5), np.empty_like(log_var)
    for b in range(log_var.shape[0]):
        dlog_var[b] = half * w[b]
    return dlog_var
