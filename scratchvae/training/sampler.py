"""§7.2.3 log p(x) with thousands of samples a row, by the compiled forward pass of `kernels.importance`.

    sample = sampler(state)             # None for what is not covered: a ladder, the NumPy kernels
    sample(x, 5000, 50, first_row)      # log p(x) of each row, (B,) float64 nats

The same noise and the same weights as the composition in `training.evaluate`, to rounding.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.jit import threads as default_threads
from ..types import Array
from .cold_start import uncollected
from .compiled import program, together
from .noise import Purpose
from .objective import encode
from .state import State

ROWS = 200  # samples that are decoded together: the hidden layer of so many stays in the second-level cache


def sampler(state: State, threads: int | None = None) -> Callable[[Array, int, int, int], Array] | None:
    """A function (x (B, D), samples, samples a draw, first row) → log p(x) (B,), or None where it is not covered."""
    if state.config.deep or state.config.missing or state.config.kernels != "numba":
        return None
    at_once = functools.cache(lambda rows: own_programs(state, rows, threads or default_threads()))

    def sample(x: Array, samples: int, size: int, first_row: int) -> Array:
        return log_likelihood(state, at_once(max(ROWS, size)), x, samples, size, first_row)

    return sample


def own_programs(state: State, rows: int, threads: int) -> list[Any]:
    """One workspace a thread, all with the same weights, packed once."""
    from ..kernels import layout
    from ..kernels.step import DECODE

    nothing = np.zeros((1, state.architecture.columns), np.uint8)  # in place of data: of bytes, as mostly in training
    first = program(state, nothing, rows, 1, 1, trains=False)
    layout.convert(first.layout.layers, first.layout.panel, state.arena.flat, first.w, True, 0, 1)
    with uncollected():
        DECODE.link(first)
    others = (program(state, nothing, rows, 1, 1, trains=False) for _ in range(threads - 1))
    return [first, *(one._replace(w=first.w, entries=first.entries) for one in others)]


def log_likelihood(state: State, programs: list[Any], x: Array, samples: int, size: int, first_row: int) -> Array:
    """log p(x) of rows x (B, D): thread t takes every T-th row."""
    from ..kernels import importance

    q, found, x = encode(state, x), np.empty(len(x)), x.view()
    x.flags.writeable = False  # as in `program`
    address = (np.uint64(state.config.seed), int(Purpose.EVALUATE), first_row)
    every, sigma = np.arange(len(x)), np.exp(0.5 * q.log_var)

    def rows(t: int, index: Array) -> None:
        args = (x, q.mu, sigma, index, address, samples, size, found)
        importance.log_likelihood(programs[t], *args)

    with uncollected():
        rows(0, every[:0])  # compile here, not in a race of threads
    together(len(programs), lambda t: rows(t, every[t :: len(programs)].copy()))  # a stride would be another type
    return found
