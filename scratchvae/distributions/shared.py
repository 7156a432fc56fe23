"""§7.2.5 What all families share: rows, broadcasting, and float64 where a formula needs it.

Parameters and values are (..., K) and broadcast against each other, so z may be (S, B, K) under a mu of (B, K).
Densities sum over the last axis and return (S, B) or (B,), in nats.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UsageError
from ..types import Array

LOG_2PI, LOG_2 = math.log(2 * math.pi), math.log(2)
quiet = np.errstate(all="ignore")  # branches that are not taken overflow; what is taken is tested over the whole range


def wide(*arrays: Any) -> list[Array]:
    """The arrays in float64; complex ones stay."""
    return [a if np.iscomplexobj(a) else np.asarray(a, np.float64) for a in map(np.asarray, arrays)]


@quiet
def summed(terms: Array, *inexact: Array) -> Array:
    """Terms (..., D) summed over the last axis, in the type of the parameters (and of values that are no integers)."""
    kept = [a for a in inexact if np.asarray(a).dtype.kind in "fc"]
    return np.asarray(terms.sum(axis=-1)).astype(np.result_type(*kept))


def widened(a: Any) -> Array:
    """a in float64, or complex: what is formed from float32 keeps all its digits until it is returned."""
    return np.asarray(a, np.result_type(a, np.float64))


def narrow(a: Array, *like: Array) -> Array:
    """a in the dtype of `like`; what is beyond that dtype's range is ±∞."""
    with np.errstate(over="ignore"):
        return np.asarray(a).astype(np.result_type(*like))


def column(w: Array, shape: tuple[int, ...]) -> Array:
    """w (...,) as (..., 1), in float64; refused unless it is one number for each row of `shape`."""
    return widened(per_row(w, shape).reshape(shape[:-1])[..., None])


@quiet
def fitted(d: Array, like: Array) -> Array:
    """A cotangent in the shape and type of what it belongs to."""
    return unbroadcast(d, like.shape).astype(like.dtype)


def sigmoid(a: Array) -> Array:
    """1 / (1 + e^−a) to full relative accuracy at either end, unlike ½ (1 + tanh ½a)."""
    e = np.exp(np.where(a.real > 0, -a, a))
    return np.where(a.real > 0, 1, e) / (1 + e)


# log p_c = l_c − top − log (1 + Σ_{j ≠ top} e^(l_j − top))
def log_softmax(l: Array) -> tuple[Array, Array]:
    """log p and p over the last axis of logits l: to the last digit also where p is nearly 1."""
    first = l.real.argmax(axis=-1)[..., None]
    top = np.take_along_axis(l.real, first, axis=-1)
    e = np.exp(l - top)
    rest = e.copy()
    np.put_along_axis(rest, first, np.take_along_axis(e, first, axis=-1) - 1, axis=-1)
    rest = np.add.reduceat(rest, [0], axis=-1)
    return l - top - np.log1p(rest), e / (1 + rest)


def dot(a: Array, b: Array) -> Array:
    """Σ_k a_k b_k as a column (..., 1)."""
    return np.asarray((a * b).sum(axis=-1, keepdims=True))


def times(p: Array, slope: Array) -> Array:
    """p · slope, 0 where p is 0 even if the slope is infinite."""
    return np.where(p == 0, 0, p * slope)


def counted(u: Array, cdf: Callable[[Array], Array]) -> Array:
    """The least whole k ≥ 0 with cdf(k) ≥ u, every element by doubling and halving; inf if there is none below 2⁶²."""
    low, high = np.full(u.shape, -1.0), np.zeros(u.shape)
    for _ in range(63):
        short = cdf(high) < u
        if not short.any():
            break
        low, high = np.where(short, high, low), np.where(short, 2 * high + 1, high)
    for _ in range(63):  # above 2⁵³ there may be no number left between
        if (high - low <= 1).all():
            break
        middle = np.where(high - low > 1, (low + high) / 2, high)  # whole: they are a power of 2 apart
        short = cdf(middle) < u
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(high >= 2.0**62, np.inf, high)


def as_rows(*arrays: Array) -> tuple[tuple[int, ...], list[Array]]:
    """Arrays broadcast to one shape, then laid out as (rows, K) in C order; returns that shape and the arrays."""
    shape = arrays[0].shape
    if any(a.shape != shape for a in arrays):
        shape = np.broadcast(*arrays).shape
        arrays = tuple(a if a.shape == shape else np.broadcast_to(a, shape) for a in arrays)
    return shape, [np.ascontiguousarray(a).reshape(-1, shape[-1]) for a in arrays]


def unbroadcast(d: Array, shape: tuple[int, ...]) -> Array:
    """The cotangent of an array of `shape` that was broadcast to d's: the sum over the axes it was repeated along."""
    extra = d.ndim - len(shape)
    axes = tuple(i for i in range(d.ndim) if i < extra or (shape[i - extra] == 1 and d.shape[i] > 1))
    summed: Array = d.sum(axis=axes).reshape(shape) if axes else d
    return summed


def per_row(w: Array, shape: tuple[int, ...]) -> Array:
    """w flat, one number for each row of `shape`: a compiled kernel would read past the end of a shorter one."""
    if w.shape != shape[:-1]:
        raise UsageError(f"w has shape {w.shape}, expected {shape[:-1]}: the cotangent of one number a row")
    return w.reshape(-1)
