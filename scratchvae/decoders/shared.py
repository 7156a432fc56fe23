"""§7.2.5 What all decoders share: float64 inside, sums over the last axis, cotangents in the parameters' shapes."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..distributions import per_row, unbroadcast
from ..types import Array

P = TypeVar("P", bound=tuple[Any, ...])

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
