"""§7.2.4 Points to check a pair at, drawn by hypothesis: general ones, where nothing is zero and no two are equal.

Zeros and ties are where kinks are, so they are not drawn: give them yourself. Each array comes from a seed through the
hash of `numeric.spread`, which shrinks to seed 0 and needs no time, however large the array.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ..types import Array
from .numeric import spread

SEEDS = st.integers(0, 2**32)
Shape = Sequence[int]


def arrays_like(shape: Shape, scales: Sequence[float] = (1.0, 1e-3, 1e3)) -> SearchStrategy[Array]:
    """Floats of either sign with 0.5 <= |value| < 1.5 times one of `scales`."""
    return st.builds(lambda seed, scale: scale * spread(seed, tuple(shape)), SEEDS, st.sampled_from(tuple(scales)))


def mixed(shape: Shape, lowest: float = 1e-6, highest: float = 1e6) -> SearchStrategy[Array]:
    """The same, each element with a scale of its own between the two, evenly in the logarithm."""
    low, high = math.log(lowest), math.log(highest)

    def scaled(seed: int) -> Array:
        share = np.abs(spread(seed + 1, tuple(shape))) - 0.5
        return np.exp(low + (high - low) * share) * np.sign(spread(seed, tuple(shape)))

    return SEEDS.map(scaled)


def positive(shape: Shape, scales: Sequence[float] = (1.0, 1e-3, 1e3)) -> SearchStrategy[Array]:
    """The same, all positive: variances, rates."""
    return arrays_like(shape, scales).map(np.abs)


def probabilities(shape: Shape) -> SearchStrategy[Array]:
    """Positive, of sum 1 along the last axis, down to 0.05 of the largest."""

    def share(u: Array) -> Array:
        p = np.exp(u)
        return np.asarray(p / p.sum(axis=-1, keepdims=True))

    return arrays_like(shape, (1.0,)).map(share)


def positive_definite(n: int, scales: Sequence[float] = (1.0,)) -> SearchStrategy[Array]:
    """Symmetric n x n, no eigenvalue under half the scale: A Aᵀ / n + ½, exactly symmetric."""

    def gram(A: Array, scale: float) -> Array:
        S = A @ A.T / n
        return np.asarray(scale * ((S + S.T) / 2 + np.eye(n) / 2))

    return st.builds(gram, arrays_like((n, n), (1.0,)), st.sampled_from(tuple(scales)))


def arguments(*spec: Any) -> SearchStrategy[tuple[Any, ...]]:
    """A tuple of arguments: a tuple of sizes stands for `arrays_like` it, a strategy for itself, anything else is a
    constant: arguments((3, 4), positive((4,)), "relu")."""

    def one(item: Any) -> SearchStrategy[Any]:
        if isinstance(item, SearchStrategy):
            return item
        is_shape = type(item) is tuple and all(type(n) is int for n in item)
        return arrays_like(item) if is_shape else st.just(item)

    return st.tuples(*map(one, spec))
