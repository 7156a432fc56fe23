"""§7.2.5 What all families share: rows, broadcasting, and float64 where a formula needs it.

Parameters and values are (..., K) and broadcast against each other, so z may be (S, B, K) under a mu of (B, K).
Densities sum over the last axis and return (S, B) or (B,), in nats.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UsageError
from ..types import Array

quiet = np.errstate(all="ignore")  # branches that are not taken overflow; what is taken is tested over the whole range


def wide(*arrays: Any) -> list[Array]:
    """The arrays in float64; complex ones stay."""
    return [a if np.iscomplexobj(a) else np.asarray(a, np.float64) for a in map(np.asarray, arrays)]


@quiet
def summed(terms: Array, *inexact: Array) -> Array:
    """Terms (..., D) summed over the last axis, in the type of the parameters (and of values that are no integers)."""
    kept = [a for a in inexact if np.asarray(a).dtype.kind in "fc"]
    return np.asarray(terms.sum(axis=-1)).astype(np.result_type(*kept))


def row_weights(w: Array, terms: Array) -> Array:
    """w as a column beside terms (..., D); refused unless it is one number for each row."""
    return np.asarray(per_row(w, terms.shape).reshape(*terms.shape[:-1], 1), np.float64)


@quiet
def fitted(d: Array, like: Array) -> Array:
    """A cotangent in the shape and type of what it belongs to."""
    return unbroadcast(d, like.shape).astype(like.dtype)


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
    while (high - low > 1).any():
        middle = np.where(high - low > 1, np.floor((low + high) / 2), high)
        if (middle == low).all() or ((middle == high) & (high - low > 1)).any():
            break
        short = cdf(middle) < u
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(high >= 2.0**62, np.inf, high)


def as_rows(*arrays: Array) -> tuple[tuple[int, ...], list[Array]]:
    """Arrays broadcast to one shape, then laid out as (rows, K) in C order; returns that shape and the arrays."""
    shape = arrays[0].shape
    if any(a.shape != shape for a in arrays):
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        arrays = tuple(np.broadcast_to(a, shape) for a in arrays)
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
