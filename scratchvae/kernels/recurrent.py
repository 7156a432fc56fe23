"""§7.2.4 What a sequence costs beside its products: the gates of a gated recurrent unit, and one token's log p.

a, s (B, 3H) hold the shares of the input and of the state in the columns r, u, n; h (B, H); H units.
"""

from typing import Any

import numpy as np

from ..engine.jit import inline, internal, jit, lazy_import
from ..types import Array
from .activations import sigmoid_np

columns, lane_count, where = lazy_import("engine.vectors", "columns", "lane_count", "where")
(total,) = lazy_import("engine.shuffles", "total")
read, write = lazy_import("engine.edges", "read", "write")
exp_below, sigmoid, tanh = lazy_import("engine.vector_math", "exp_below", "sigmoid", "tanh")

# "reset after", as cuDNN and torch have it, not Cho et al. 2014, where U is applied to r ⊙ h:
#   r = σ(a_r + s_r)     u = σ(a_u + s_u)     n = tanh(a_n + r s_n)     h' = (1 − u) n + u h = n + u (h − n)
#   so     dn = (1 − u) dh'     du = (h − n) dh'     dh = u dh'     and, with δ = (1 − n²) dn,     dr = s_n δ
#   a_n has δ, s_n has r δ; r and u have one slope for both shares, y (1 − y) of the gate y that came out


def gru_gates_np(a: Array, s: Array, h: Array) -> tuple[Array, Array]:
    """h' (B, H), and r, u, n, s_n side by side, (B, 4H), for the way back."""
    H = h.shape[1]
    r, u = sigmoid_np(a[:, :H] + s[:, :H]), sigmoid_np(a[:, H : 2 * H] + s[:, H : 2 * H])
    n = np.tanh(a[:, 2 * H :] + r * s[:, 2 * H :])
    return n + u * (h - n), np.concatenate([r, u, n, s[:, 2 * H :]], axis=1)


def gru_gates_vjp_np(dh: Array, gates: Array, h: Array) -> tuple[Array, Array, Array]:
    """da, ds (B, 3H) and dh of the state before, (B, H), by the gate alone: `ds` has yet to go through U."""
    r, u, n, s_n = np.split(gates, 4, axis=1)
    delta = dh * (1 - u) * (1 - n * n)
    dr, du = delta * s_n * (r * (1 - r)), dh * (h - n) * (u * (1 - u))
    return np.concatenate([dr, du, delta], axis=1), np.concatenate([dr, du, delta * r], axis=1), dh * u


@jit
def gru_gates_nb(a: Array, s: Array, h: Array) -> tuple[Array, Array]:
    """Twin of `gru_gates_np`."""
    a, s, h = np.ascontiguousarray(a), np.ascontiguousarray(s), np.ascontiguousarray(h)
    B, H = h.shape
    out, gates = np.empty((B, H), h.dtype), np.empty((B, 4 * H), h.dtype)
    for b in range(B):
        for j in range(0, H, lane_count(out)):
            i, stop, at, end = b * H + j, b * H + H, 3 * b * H + j, 3 * b * H + H
            s_n = read(s, at + 2 * H, end + 2 * H, out)
            r = sigmoid(read(a, at, end, out) + read(s, at, end, out))
            u = sigmoid(read(a, at + H, end + H, out) + read(s, at + H, end + H, out))
            n = tanh(read(a, at + 2 * H, end + 2 * H, out) + r * s_n)
            write(out, i, stop, n + u * (read(h, i, stop, out) - n))
            at, end = 4 * b * H + j, 4 * b * H + H
            write(gates, at, end, r)
            write(gates, at + H, end + H, u)
            write(gates, at + 2 * H, end + 2 * H, n)
            write(gates, at + 3 * H, end + 3 * H, s_n)
    return out, gates


@jit
def gru_gates_vjp_nb(dh: Array, gates: Array, h: Array) -> tuple[Array, Array, Array]:
    """Twin of `gru_gates_vjp_np`."""
    dh, gates, h = np.ascontiguousarray(dh), np.ascontiguousarray(gates), np.ascontiguousarray(h)
    B, H = h.shape
    da, ds, before = np.empty((B, 3 * H), h.dtype), np.empty((B, 3 * H), h.dtype), np.empty((B, H), h.dtype)
    for b in range(B):
        for j in range(0, H, lane_count(before)):
            i, stop, at, end = b * H + j, b * H + H, 4 * b * H + j, 4 * b * H + H
            r, u = read(gates, at, end, before), read(gates, at + H, end + H, before)
            n, s_n = read(gates, at + 2 * H, end + 2 * H, before), read(gates, at + 3 * H, end + 3 * H, before)
            d = read(dh, i, stop, before)
            delta = d * (1.0 - u) * (1.0 - n * n)
            dr, du = delta * s_n * (r * (1.0 - r)), d * (read(h, i, stop, before) - n) * (u * (1.0 - u))
            write(before, i, stop, d * u)
            at, end = 3 * b * H + j, 3 * b * H + H
            write(da, at, end, dr)
            write(da, at + H, end + H, du)
            write(da, at + 2 * H, end + 2 * H, delta)
            write(ds, at, end, dr)
            write(ds, at + H, end + H, du)
            write(ds, at + 2 * H, end + 2 * H, delta * r)
    return da, ds, before


# log p(y) = l_y − log Σ_v e^l_v      with the largest logit taken off first, nothing overflows
#   ∂/∂l_v = [v = y] − e^(l_v − log Σ)


def token_log_prob_np(logits: Array, y: Array) -> Array:
    """log p(y) of tokens y (B,) by logits (B, V): (B,) nats."""
    l = logits - logits.real.max(axis=1, keepdims=True)
    return l[np.arange(len(y)), y] - np.log(np.exp(l).sum(axis=1))


def token_log_prob_vjp_np(w: Array, logits: Array, y: Array) -> Array:
    """dl (B, V), for w (B,) the cotangent of log p(y)."""
    e = np.exp(logits - logits.real.max(axis=1, keepdims=True))
    dlogits = -e * (w / e.sum(axis=1))[:, None]
    dlogits[np.arange(len(y)), y] += w
    return dlogits


@internal
def largest(logits: Array, b: int) -> Any:
    """The largest logit of row b; a NaN among them is met in the sum."""
    found = logits[b, 0]
    for v in range(1, logits.shape[1]):
        if logits[b, v] > found:
            found = logits[b, v]
    return found


@inline
def above_zero(logits: Array, b: int, v: int, top: Any) -> Any:
    """e^(l − top) of a vector of row b from column v on."""
    V = logits.shape[1]
    return exp_below(read(logits, b * V + v, b * V + V, logits) - top)


@internal
def mass(logits: Array, b: int, top: Any) -> float:
    """Σ_v e^(l_v − top) of row b, in float64."""
    summed = 0.0
    for v in range(0, logits.shape[1], lane_count(logits)):
        summed += total(where(columns(logits, v) < logits.shape[1], above_zero(logits, b, v, top), 0.0))
    return summed


@jit
def token_log_prob_nb(logits: Array, y: Array) -> Array:
    """Twin of `token_log_prob_np`."""
    logits = np.ascontiguousarray(logits)
    found = np.empty(logits.shape[0], logits.dtype)
    for b in range(logits.shape[0]):
        top = largest(logits, b)
        found[b] = logits[b, y[b]] - top - np.log(mass(logits, b, top))
    return found


@jit
def token_log_prob_vjp_nb(w: Array, logits: Array, y: Array) -> Array:
    """Twin of `token_log_prob_vjp_np`."""
    logits = np.ascontiguousarray(logits)
    dlogits, V = np.empty_like(logits), logits.shape[1]
    for b in range(logits.shape[0]):
        top = largest(logits, b)
        scale = w[b] / mass(logits, b, top)
        for v in range(0, V, lane_count(logits)):
            write(dlogits, b * V + v, b * V + V, above_zero(logits, b, v, top) * -scale)
        dlogits[b, y[b]] += w[b]
    return dlogits
