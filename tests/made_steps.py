"""Training steps taken twice: by the run's schedule, and by the composition of the pairs in NumPy."""

from typing import Any

import numpy as np

from scratchvae.training import compiled
from scratchvae.training.compiled import Compiled, in_numpy
from scratchvae.training.config import Config
from scratchvae.training.state import State, Steps
from scratchvae.types import Array

compiled.MICRO = 256  # so that batches of a few hundred rows are micro-batches here
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}


def grey(rows: int, columns: int) -> Array:
    return np.random.default_rng(rows * columns).integers(0, 256, (rows, columns)).astype(np.uint8)


def blank(rows: int, columns: int) -> Array:
    """A tenth of the pixels are not zero; some rows and every seventh column have none."""
    rng = np.random.default_rng(rows + columns)
    x = np.where(rng.random((rows, columns)) < 0.1, grey(rows, columns), 0).astype(np.uint8)
    x[:, ::7], x[::9] = 0, 0
    return x


def mixed(rows: int, columns: int) -> Array:
    """Blank, but a third of the rows is too full for lists."""
    x = blank(rows, columns)
    x[::3] = grey(rows, columns)[::3]
    return x


def start(x: Array, **options: Any) -> State:
    state = State(Config(**options), x.shape[1])
    state.initialise(np.full(x.shape[1], 0.3))
    for name, array in state.memory.items():  # a learned baseline that has learned something
        if name.endswith((".v", "out.W")):
            array[...] = 0.01  # its Adam's ε is 1e-8: with v = 0 its first step would be the sign of rounding
    return state


def composed(x: Array, **options: Any) -> State:
    """The same state with the NumPy statements, noise included."""
    state = start(x, **options)
    in_numpy(state)
    return state


def relative(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-300))


def same_steps(x: Array, count: int = 3, threads: int = 2, **options: Any) -> None:
    """`count` steps by both: bounds, parameters and what is remembered agree to the dtype's tolerance.

    With Adam's usual ε its first step is α sign(g), which makes a whole step of the rounding of a cotangent near zero.
    """
    options.setdefault("optimizer", {"epsilon": 1e-2})
    fast, slow = start(x, **options), composed(x, **options)
    take, expected = Compiled(fast, x, threads), Steps(slow, x).advance(count)
    means = np.concatenate([take.advance(1), take.advance(count - 1)])  # the second finds what the first one left
    limit = TOLERANCE[options.get("dtype", "float32")]
    assert fast.step == slow.step == count
    assert relative(means, expected) < limit
    assert relative(fast.arena.flat, slow.arena.flat) < limit
    for found, wanted in zip(fast.slots, slow.slots, strict=True):
        assert relative(found, wanted) < 10 * limit  # of squares, and of what has cancelled
    for name in fast.memory:
        found, wanted = (np.asarray(state.memory[name], "float64") for state in (fast, slow))
        assert relative(found, wanted) < 10 * limit
