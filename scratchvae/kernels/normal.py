"""§7.2.4, §7.2.5 The Gaussian N(z; μ, diag σ²) by mu and log_var = log σ² (a variance, never a standard deviation).

All arrays are (B, K), a per-row scalar and its cotangent w are (B,); sums run over the K components, in nats.
"""

import math
from typing import Any

import numpy as np

from ..engine.jit import inline, internal, jit, lazy_import
from ..types import Array

columns, lane_count, where = lazy_import("engine.vectors", "columns", "lane_count", "where")
(total,) = lazy_import("engine.shuffles", "total")
read, write = lazy_import("engine.edges", "read", "write")
exp, expm1 = lazy_import("engine.vector_math", "exp", "expm1")

LOG_2PI = math.log(2 * math.pi)
LOG_2PIE = LOG_2PI + 1

# z = μ + σ ⊙ ε                                                            §7.2.4, Kingma & Welling 2014 §2.4
#   σ = e^{½ log σ²}    so    ∂z/∂μ = 1,    ∂z/∂log σ² = ½ σ ε


def normal_sample_np(mu: Array, log_var: Array, eps: Array) -> Array:
    """z = μ + σ ε."""
    return mu + np.exp(0.5 * log_var) * eps


def normal_sample_vjp_np(dz: Array, log_var: Array, eps: Array) -> tuple[Array, Array]:
    """dμ = dz,  dlog σ² = ½ dz σ ε."""
    return dz.copy(), 0.5 * dz * np.exp(0.5 * log_var) * eps


@inline
def sample(mu: Any, log_var: Any, eps: Any) -> Any:
    return mu + exp(log_var * 0.5) * eps


@inline
def sample_slope(log_var: Any, eps: Any) -> Any:
    """½ σ ε; linear in ε, so that for Σ dz ε it is the dlog σ² of all the samples."""
    return exp(log_var * 0.5) * eps * 0.5


@jit
def normal_sample_nb(mu: Array, log_var: Array, eps: Array) -> Array:
    """Twin of `normal_sample_np`."""
    mu, log_var, eps = np.ascontiguousarray(mu), np.ascontiguousarray(log_var), np.ascontiguousarray(eps)
    z = np.empty_like(mu)
    for i in range(0, z.size, lane_count(z)):
        write(z, i, z.size, sample(read(mu, i, z.size, z), read(log_var, i, z.size, z), read(eps, i, z.size, z)))
    return z


@jit
def normal_sample_vjp_nb(dz: Array, log_var: Array, eps: Array) -> tuple[Array, Array]:
    """Twin of `normal_sample_vjp_np`."""
    dz, log_var, eps = np.ascontiguousarray(dz), np.ascontiguousarray(log_var), np.ascontiguousarray(eps)
    dlog_var = np.empty_like(dz)
    for i in range(0, dz.size, lane_count(dz)):
        slope = sample_slope(read(log_var, i, dz.size, dz), read(eps, i, dz.size, dz))
        write(dlog_var, i, dz.size, read(dz, i, dz.size, dz) * slope)
    return dz.copy(), dlog_var


# log N(z; μ, σ²) = −½ Σₖ (log 2π + log σₖ² + (zₖ − μₖ)² / σₖ²)
#   with r = (z − μ) / σ²:    ∂/∂z = −r,    ∂/∂μ = r,    ∂/∂log σ² = ½ (r (z − μ) − 1)


def normal_log_prob_np(z: Array, mu: Array, log_var: Array) -> Array:
    """log N(z; μ, σ²), (B,) nats."""
    return -0.5 * (LOG_2PI + log_var + (z - mu) ** 2 * np.exp(-log_var)).sum(axis=-1)


def normal_log_prob_vjp_np(w: Array, z: Array, mu: Array, log_var: Array) -> tuple[Array, Array, Array]:
    """Cotangents (dz, dμ, dlog σ²) of Σ_b w_b log N(z_b; μ_b, σ_b²)."""
    r = (z - mu) * np.exp(-log_var)
    w = w[:, None]
    return -w * r, w * r, 0.5 * w * (r * (z - mu) - 1)


@inline
def normal_terms(d: Any, log_var: Any, precision: Any) -> Any:
    """(log N, r, ½ (r d − 1)) of one component, d = z − μ, precision 1 / σ²: the slopes by z, μ and log σ² are −r, r
    and the last."""
    r = d * precision
    return (log_var + d * r + LOG_2PI) * -0.5, r, (r * d - 1.0) * 0.5


@internal
def log_prob_rows(log_prob: Array, z: Array, m: Any, mu: Array, log_var: Array) -> None:
    """log N of every row, of all entries (m None) or of those with m = 1; a row is summed by one owner, in float64."""
    K = z.shape[1]
    for b in range(z.shape[0]):
        summed = 0.0
        for k in range(0, K, lane_count(z)):
            i, stop = b * K + k, b * K + K
            d, log_s2 = read(z, i, stop, z) - read(mu, i, stop, z), read(log_var, i, stop, z)
            term, _, _ = normal_terms(d, log_s2, exp(-log_s2))
            if m is not None:
                term *= read(m, i, stop, z)
            summed += total(where(columns(z, k) < K, term, 0.0))
        log_prob[b] = summed


@internal
def slope_rows(slopes: Any, w: Array, z: Array, m: Any, mu: Array, log_var: Array) -> None:
    """w (−r, r, ½ (r (z − μ) − 1)), times m unless that is None."""
    K = z.shape[1]
    for b in range(z.shape[0]):
        for k in range(0, K, lane_count(z)):
            i, stop = b * K + k, b * K + K
            d, log_s2 = read(z, i, stop, z) - read(mu, i, stop, z), read(log_var, i, stop, z)
            _, r, half = normal_terms(d, log_s2, exp(-log_s2))
            if m is not None:
                seen = read(m, i, stop, z)
                r, half = r * seen, half * seen
            write(slopes[0], i, stop, r * -w[b])
            write(slopes[1], i, stop, r * w[b])
            write(slopes[2], i, stop, half * w[b])


@jit
def normal_log_prob_nb(z: Array, mu: Array, log_var: Array) -> Array:
    """Twin of `normal_log_prob_np`; each row is summed by one owner, in float64."""
    log_prob = np.empty(z.shape[0], z.dtype)
    log_prob_rows(log_prob, np.ascontiguousarray(z), None, np.ascontiguousarray(mu), np.ascontiguousarray(log_var))
    return log_prob


@jit
def normal_log_prob_vjp_nb(w: Array, z: Array, mu: Array, log_var: Array) -> tuple[Array, Array, Array]:
    """Twin of `normal_log_prob_vjp_np`."""
    z = np.ascontiguousarray(z)
    slopes = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    slope_rows(slopes, w, z, None, np.ascontiguousarray(mu), np.ascontiguousarray(log_var))
    return slopes


# Of the entries with m_k = 1 alone, m in {0, 1}: each term of the sum and each of its slopes times m_k     §7.1.1


def normal_masked_log_prob_np(z: Array, m: Array, mu: Array, log_var: Array) -> Array:
    """log N(z_obs; μ, σ²), (B,) nats; m (B, K) is 1 where z was observed."""
    return -0.5 * (m * (LOG_2PI + log_var + (z - mu) ** 2 * np.exp(-log_var))).sum(axis=-1)


def normal_masked_log_prob_vjp_np(
    w: Array, z: Array, m: Array, mu: Array, log_var: Array
) -> tuple[Array, Array, Array]:
    """Cotangents (dz, dμ, dlog σ²) of Σ_b w_b log N(z_obs; μ, σ²): those of the whole, with w m for w."""
    r = (z - mu) * np.exp(-log_var)
    v = w[:, None] * m
    return -v * r, v * r, 0.5 * v * (r * (z - mu) - 1)


@jit
def normal_masked_log_prob_nb(z: Array, m: Array, mu: Array, log_var: Array) -> Array:
    """Twin of `normal_masked_log_prob_np`."""
    log_prob = np.empty(z.shape[0], z.dtype)
    z, m = np.ascontiguousarray(z), np.ascontiguousarray(m)
    log_prob_rows(log_prob, z, m, np.ascontiguousarray(mu), np.ascontiguousarray(log_var))
    return log_prob


@jit
def normal_masked_log_prob_vjp_nb(
    w: Array, z: Array, m: Array, mu: Array, log_var: Array
) -> tuple[Array, Array, Array]:
    """Twin of `normal_masked_log_prob_vjp_np`."""
    z, m = np.ascontiguousarray(z), np.ascontiguousarray(m)
    slopes = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    slope_rows(slopes, w, z, m, np.ascontiguousarray(mu), np.ascontiguousarray(log_var))
    return slopes


# KL(q ‖ N(0, I))                                                          Kingma & Welling 2014, App. B
#   E_q[log q − log p] = −½ Σₖ (log 2π + log σₖ² + 1) + ½ Σₖ (log 2π + μₖ² + σₖ²)
#   forward:  ½ Σₖ (μₖ² + σₖ² − 1 − log σₖ²)
#   so:       ∂/∂μ = μ,   ∂/∂log σ² = ½ (σ² − 1)


def normal_kl_np(mu: Array, log_var: Array) -> Array:
    """KL(N(μ, σ²) ‖ N(0, I)), (B,) nats."""
    return 0.5 * (mu**2 + np.expm1(log_var) - log_var).sum(axis=-1)


def normal_kl_vjp_np(w: Array, mu: Array, log_var: Array) -> tuple[Array, Array]:
    """Cotangents (dμ, dlog σ²) of Σ_b w_b KL_b."""
    w = w[:, None]
    return w * mu, 0.5 * w * np.expm1(log_var)


@inline
def kl_term(mu: Any, log_var: Any) -> Any:
    return (mu * mu + expm1(log_var) - log_var) * 0.5


@inline
def kl_slopes(mu: Any, log_var: Any) -> Any:
    return mu, expm1(log_var) * 0.5


@jit
def normal_kl_nb(mu: Array, log_var: Array) -> Array:
    """Twin of `normal_kl_np`."""
    mu, log_var = np.ascontiguousarray(mu), np.ascontiguousarray(log_var)
    kl, K = np.empty(mu.shape[0], mu.dtype), mu.shape[1]
    for b in range(mu.shape[0]):
        summed = 0.0
        for k in range(0, K, lane_count(mu)):
            i, stop = b * K + k, b * K + K
            summed += total(kl_term(read(mu, i, stop, mu), read(log_var, i, stop, mu)))  # 0 where the row has ended
        kl[b] = summed
    return kl


@jit
def normal_kl_vjp_nb(w: Array, mu: Array, log_var: Array) -> tuple[Array, Array]:
    """Twin of `normal_kl_vjp_np`."""
    mu, log_var = np.ascontiguousarray(mu), np.ascontiguousarray(log_var)
    dmu, dlog_var, K = np.empty_like(mu), np.empty_like(mu), mu.shape[1]
    for b in range(mu.shape[0]):
        for k in range(0, K, lane_count(mu)):
            i, stop = b * K + k, b * K + K
            by_mu, by_log_var = kl_slopes(read(mu, i, stop, mu), read(log_var, i, stop, mu))
            write(dmu, i, stop, by_mu * w[b])
            write(dlog_var, i, stop, by_log_var * w[b])
    return dmu, dlog_var


# H(q) = −E_q[log q] = ½ Σₖ (log 2πe + log σₖ²)        so    ∂/∂log σ² = ½


def normal_entropy_np(log_var: Array) -> Array:
    """Entropy of N(·, σ²), (B,) nats."""
    return 0.5 * (LOG_2PIE + log_var).sum(axis=-1)


def normal_entropy_vjp_np(w: Array, log_var: Array) -> Array:
    """dlog σ² = ½ w."""
    return 0.5 * w[:, None] * np.ones_like(log_var)


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


@jit
def normal_entropy_vjp_nb(w: Array, log_var: Array) -> Array:
    """Twin of `normal_entropy_vjp_np`."""
    half, dlog_var = log_var.dtype.type(0.5), np.empty_like(log_var)
    for b in range(log_var.shape[0]):
        dlog_var[b] = half * w[b]
    return dlog_var
