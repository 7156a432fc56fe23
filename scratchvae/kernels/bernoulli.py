"""§7.2.5 The Bernoulli by logits l = log p/(1 − p): no probability is formed, so none can be rounded to 0 or 1.

x and logits are (B, D), a per-row scalar and its cotangent w are (B,); sums run over the D components, in nats.
"""

from typing import Any

import numpy as np

from ..engine.jit import inline, internal, jit, lazy_import
from ..types import Array
from .activations import sigmoid_np, softplus_np

absolute, columns, lane_count, where = lazy_import("engine.vectors", "absolute", "columns", "lane_count", "where")
(total,) = lazy_import("engine.shuffles", "total")
read, write = lazy_import("engine.edges", "read", "write")
exp_below, log_normal, sigmoid, softplus, tanh = lazy_import(
    "engine.vector_math", "exp_below", "log_normal", "sigmoid", "softplus", "tanh"
)

# log p(x) = Σ_d x log p + (1 − x) log(1 − p) = Σ_d x l − log(1 + e^l)      Kingma & Welling 2014, App. C.1
#   ∂/∂l = x − sigmoid(l)      x in [0, 1]: grey x make it a cross-entropy, no longer a log-likelihood
#   with e = e^−|l| ≤ 1, u = 1 + e:    log(1 + e^l) = max(l, 0) + log u,    sigmoid(l) = (1, or e where l < 0) / u


def bernoulli_log_prob_np(x: Array, logits: Array) -> Array:
    """log p(x), (B,) nats."""
    return (x * logits - softplus_np(logits)).sum(axis=-1)


def bernoulli_log_prob_vjp_np(w: Array, x: Array, logits: Array) -> Array:
    """dl = w (x − sigmoid(l)), (B, D)."""
    return w[:, None] * (x - sigmoid_np(logits))


@inline
def bernoulli_parts(x: Any, l: Any) -> Any:
    """(x l − max(l, 0), e, u, p): log p(x) = first − log u, its slope is x − p."""
    e = exp_below(-absolute(l))
    u = e + 1.0
    return x * l - where(l > 0.0, l, 0.0), e, u, where(l < 0.0, e, 1.0) / u


@internal
def log_prob_rows(log_prob: Array, x: Array, m: Any, logits: Array) -> None:
    """log p of every row, of all entries (m None) or of those with m = 1; a row is summed by one owner, in float64."""
    D = x.shape[1]
    for b in range(x.shape[0]):
        summed = 0.0
        for d in range(0, D, lane_count(logits)):
            i, stop = b * D + d, b * D + D
            linear, e, u, _ = bernoulli_parts(read(x, i, stop, logits), read(logits, i, stop, logits))
            term = linear - log_normal(u) - (e - (u - 1.0)) / u  # the last is what rounding u lost
            if m is not None:
                term *= read(m, i, stop, logits)
            summed += total(where(columns(logits, d) < D, term, 0.0))
        log_prob[b] = summed


@internal
def slope_rows(dlogits: Array, w: Array, x: Array, m: Any, logits: Array) -> None:
    """w (x − p), times m unless that is None."""
    D = x.shape[1]
    for b in range(x.shape[0]):
        for d in range(0, D, lane_count(logits)):
            i, stop = b * D + d, b * D + D
            xs = read(x, i, stop, logits)
            _, _, _, p = bernoulli_parts(xs, read(logits, i, stop, logits))
            pull = (xs - p) * w[b]
            if m is not None:
                pull *= read(m, i, stop, logits)
            write(dlogits, i, stop, pull)


@jit
def bernoulli_log_prob_nb(x: Array, logits: Array) -> Array:
    """Twin of `bernoulli_log_prob_np`."""
    log_prob = np.empty(x.shape[0], logits.dtype)
    log_prob_rows(log_prob, np.ascontiguousarray(x), None, np.ascontiguousarray(logits))
    return log_prob


@jit
def bernoulli_log_prob_vjp_nb(w: Array, x: Array, logits: Array) -> Array:
    """Twin of `bernoulli_log_prob_vjp_np`."""
    dlogits = np.empty(logits.shape, logits.dtype)
    slope_rows(dlogits, w, np.ascontiguousarray(x), None, np.ascontiguousarray(logits))
    return dlogits


# Of the entries with m_d = 1 alone, m in {0, 1}:    log p(x_obs) = Σ_d m_d (x l − log(1 + e^l))      §7.1.1, task 3
#   ∂/∂l = m (x − sigmoid(l))      a missing entry adds nothing and pulls at nothing, but its x must be a number


def bernoulli_masked_log_prob_np(x: Array, m: Array, logits: Array) -> Array:
    """log p(x_obs), (B,) nats; m (B, D) is 1 where x was observed."""
    return (m * (x * logits - softplus_np(logits))).sum(axis=-1)


def bernoulli_masked_log_prob_vjp_np(w: Array, x: Array, m: Array, logits: Array) -> Array:
    """dl = w m (x − sigmoid(l)), (B, D)."""
    return w[:, None] * m * (x - sigmoid_np(logits))


@jit
def bernoulli_masked_log_prob_nb(x: Array, m: Array, logits: Array) -> Array:
    """Twin of `bernoulli_masked_log_prob_np`."""
    log_prob = np.empty(x.shape[0], logits.dtype)
    log_prob_rows(log_prob, np.ascontiguousarray(x), np.ascontiguousarray(m), np.ascontiguousarray(logits))
    return log_prob


@jit
def bernoulli_masked_log_prob_vjp_nb(w: Array, x: Array, m: Array, logits: Array) -> Array:
    """Twin of `bernoulli_masked_log_prob_vjp_np`."""
    dlogits = np.empty(logits.shape, logits.dtype)
    slope_rows(dlogits, w, np.ascontiguousarray(x), np.ascontiguousarray(m), np.ascontiguousarray(logits))
    return dlogits


# z = 1 where u < sigmoid(l), u uniform: an exact sample, but a step in l, so no slope passes (§7.2.2 is for these).


def bernoulli_sample_np(logits: Array, u: Array) -> Array:
    """z in {0, 1}, of the logits' dtype; u (B, D) uniform in [0, 1)."""
    return (u < sigmoid_np(logits)).astype(logits.dtype)


@jit
def bernoulli_sample_nb(logits: Array, u: Array) -> Array:
    """Twin of `bernoulli_sample_np`."""
    logits, u = np.ascontiguousarray(logits), np.ascontiguousarray(u)
    z = np.empty_like(logits)
    for i in range(0, z.size, lane_count(z)):
        p = (tanh(read(logits, i, z.size, z) * 0.5) + 1.0) * 0.5
        v = read(u, i, z.size, z)
        write(z, i, z.size, where(v < p, v * 0.0 + 1.0, 0.0))
    return z


# H = Σ_d log(1 + e^l) − l sigmoid(l)      so    ∂/∂l = −l s (1 − s),   s = sigmoid(l)


def bernoulli_entropy_np(logits: Array) -> Array:
    """Entropy, (B,) nats."""
    return (softplus_np(logits) - logits * sigmoid_np(logits)).sum(axis=-1)


def bernoulli_entropy_vjp_np(w: Array, logits: Array) -> Array:
    """dl = −w l s (1 − s)."""
    s = sigmoid_np(logits)
    return -w[:, None] * logits * s * (1 - s)


@jit
def bernoulli_entropy_nb(logits: Array) -> Array:
    """Twin of `bernoulli_entropy_np`."""
    logits = np.ascontiguousarray(logits)
    entropy, (rows, D) = np.empty(logits.shape[0], logits.dtype), logits.shape
    for b in range(rows):
        summed = 0.0
        for d in range(0, D, lane_count(logits)):
            l = read(logits, b * D + d, b * D + D, logits)
            summed += total(where(columns(logits, d) < D, softplus(l) - l * sigmoid(l), 0.0))
        entropy[b] = summed
    return entropy


@jit
def bernoulli_entropy_vjp_nb(w: Array, logits: Array) -> Array:
    """Twin of `bernoulli_entropy_vjp_np`."""
    logits = np.ascontiguousarray(logits)
    dlogits, D = np.empty_like(logits), logits.shape[1]
    for b in range(logits.shape[0]):
        for d in range(0, D, lane_count(logits)):
            l = read(logits, b * D + d, b * D + D, logits)
            s = sigmoid(l)
            write(dlogits, b * D + d, b * D + D, l * s * (1.0 - s) * -w[b])
    return dlogits
