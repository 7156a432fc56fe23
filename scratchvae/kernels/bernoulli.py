"""§7.2.5 The Bernoulli by logits l = log p/(1 − p): no probability is formed, so none can be rounded to 0 or 1.

x and logits are (B, D), a per-row scalar and its cotangent w are (B,); sums run over the D components, in nats.
"""

import math

import numpy as np

from ..types import Array
from .activations import sigmoid_np, softplus_np
from .jit import jit

# log p(x) = Σ_d x log p + (1 − x) log(1 − p) = Σ_d x l − log(1 + e^l)      Kingma & Welling 2014, App. C.1
#   ∂/∂l = x − sigmoid(l)      x in [0, 1]: grey x make it a cross-entropy, no longer a log-likelihood


def bernoulli_log_prob_np(x: Array, logits: Array) -> Array:
    """log p(x), (B,) nats."""
    return (x * logits - softplus_np(logits)).sum(axis=-1)


@jit
def bernoulli_log_prob_nb(x: Array, logits: Array) -> Array:
    """Twin of `bernoulli_log_prob_np`; each row is summed by one owner, in float64."""
    log_prob = np.empty(x.shape[0], logits.dtype)
    for b in range(x.shape[0]):
        total = 0.0
        for d in range(x.shape[1]):
            l = logits[b, d]
            total += x[b, d] * l - ((l if l > 0 else 0 * l) + math.log1p(math.exp(-l if l > 0 else l)))
        log_prob[b] = total
    return log_prob


def bernoulli_log_prob_vjp_np(w: Array, x: Array, logits: Array) -> Array:
    """dl = w (x − sigmoid(l)), (B, D)."""
    return w[:, None] * (x - sigmoid_np(logits))


@jit
def bernoulli_log_prob_vjp_nb(w: Array, x: Array, logits: Array) -> Array:
    """Twin of `bernoulli_log_prob_vjp_np`."""
    half, one, dlogits = logits.dtype.type(0.5), logits.dtype.type(1), np.empty_like(logits)
    for b in range(x.shape[0]):
        for d in range(x.shape[1]):
            dlogits[b, d] = w[b] * (x[b, d] - half * (one + math.tanh(half * logits[b, d])))
    return dlogits


# Of the entries with m_d = 1 alone, m in {0, 1}:    log p(x_obs) = Σ_d m_d (x l − log(1 + e^l))      §7.1.1, task 3
#   ∂/∂l = m (x − sigmoid(l))      a missing entry adds nothing and pulls at nothing, but its x must be a number


def bernoulli_masked_log_prob_np(x: Array, m: Array, logits: Array) -> Array:
    """log p(x_obs), (B,) nats; m (B, D) is 1 where x was observed."""
    return (m * (x * logits - softplus_np(logits))).sum(axis=-1)


@jit
def bernoulli_masked_log_prob_nb(x: Array, m: Array, logits: Array) -> Array:
    """Twin of `bernoulli_masked_log_prob_np`."""
    log_prob = np.empty(x.shape[0], logits.dtype)
    for b in range(x.shape[0]):
        total = 0.0
        for d in range(x.shape[1]):
            l = logits[b, d]
            total += m[b, d] * (x[b, d] * l - ((l if l > 0 else 0 * l) + math.log1p(math.exp(-l if l > 0 else l))))
        log_prob[b] = total
    return log_prob


def bernoulli_masked_log_prob_vjp_np(w: Array, x: Array, m: Array, logits: Array) -> Array:
    """dl = w m (x − sigmoid(l)), (B, D)."""
    return w[:, None] * m * (x - sigmoid_np(logits))


@jit
def bernoulli_masked_log_prob_vjp_nb(w: Array, x: Array, m: Array, logits: Array) -> Array:
    """Twin of `bernoulli_masked_log_prob_vjp_np`."""
    half, one, dlogits = logits.dtype.type(0.5), logits.dtype.type(1), np.empty_like(logits)
    for b in range(x.shape[0]):
        for d in range(x.shape[1]):
            dlogits[b, d] = w[b] * m[b, d] * (x[b, d] - half * (one + math.tanh(half * logits[b, d])))
    return dlogits


# z = 1 where u < sigmoid(l), u uniform: an exact sample, but a step in l, so no slope passes (§7.2.2 is for these).


def bernoulli_sample_np(logits: Array, u: Array) -> Array:
    """z in {0, 1}, of the logits' dtype; u (B, D) uniform in [0, 1)."""
    return (u < sigmoid_np(logits)).astype(logits.dtype)


@jit
def bernoulli_sample_nb(logits: Array, u: Array) -> Array:
    """Twin of `bernoulli_sample_np`."""
    half, one, zero, z = logits.dtype.type(0.5), logits.dtype.type(1), logits.dtype.type(0), np.empty_like(logits)
    for i in range(logits.size):
        z.flat[i] = one if u.flat[i] < half * (one + math.tanh(half * logits.flat[i])) else zero
    return z


# H = Σ_d log(1 + e^l) − l sigmoid(l)      so    ∂/∂l = −l s (1 − s),   s = sigmoid(l)


def bernoulli_entropy_np(logits: Array) -> Array:
    """Entropy, (B,) nats."""
    return (softplus_np(logits) - logits * sigmoid_np(logits)).sum(axis=-1)


@jit
def bernoulli_entropy_nb(logits: Array) -> Array:
    """Twin of `bernoulli_entropy_np`."""
    entropy = np.empty(logits.shape[0], logits.dtype)
    for b in range(logits.shape[0]):
        total = 0.0
        for d in range(logits.shape[1]):
            l = logits[b, d]
            softplus = (l if l > 0 else 0 * l) + math.log1p(math.exp(-l if l > 0 else l))
            total += softplus - l * 0.5 * (1 + math.tanh(0.5 * l))
        entropy[b] = total
    return entropy


def bernoulli_entropy_vjp_np(w: Array, logits: Array) -> Array:
    """dl = −w l s (1 − s)."""
    s = sigmoid_np(logits)
    return -w[:, None] * logits * s * (1 - s)


@jit
def bernoulli_entropy_vjp_nb(w: Array, logits: Array) -> Array:
    """Twin of `bernoulli_entropy_vjp_np`."""
    half, one, dlogits = logits.dtype.type(0.5), logits.dtype.type(1), np.empty_like(logits)
    for b in range(logits.shape[0]):
        for d in range(logits.shape[1]):
            s = half * (one + math.tanh(half * logits[b, d]))
            dlogits[b, d] = -w[b] * logits[b, d] * s * (one - s)
    return dlogits
