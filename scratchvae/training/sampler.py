"""§7.2.3 The bound, and log p(x) with thousands of samples a row, by the schedules of `fast`, way forward alone.

    e = Evaluator(state)
    e.bound(x, 1, 0, names)             # L and mean log p(x | z) of each row, (2, B) float64 nats
    e.log_likelihood(x, 5000, names)    # log p(x) of each row, (B,) float64 nats; names as of `State.numbers`

The same noise and the same weights as the composition in `training.evaluate`, to rounding.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..engine.cold_start import patience
from ..engine.jit import memoised_typing
from ..types import Array
from .state import State
from .workspaces import SAMPLES_PER_NAME, kinds_of, workspace

TOGETHER = 4 * SAMPLES_PER_NAME  # are decoded at once: the hidden layer of so many stays in the second-level cache


class Evaluator:
    """What evaluates rows on the thread that calls it, by the weights at its first use; any number may call."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.bounds = Workspaces(state, "sgvb_b")  # with KL in closed form …
        self.weights = Workspaces(state, "iw")  # … and without

    def bound(self, x: Array, samples: int, step: int, names: Array) -> Array:
        """(L, mean log p(x | z)) of rows x (B, D), the noise named by (step, names)."""
        from ..fast import step as compiled

        found = np.empty((2, len(x)))
        with self.bounds.one(samples) as s:
            compiled.evaluate(with_rows(s, x), np.arange(len(x)), names.astype(np.int64), step, found)
        return found

    def log_likelihood(self, x: Array, samples: int, names: Array) -> Array:
        """log p(x) of rows x (B, D)."""
        from ..fast import step as compiled

        found = np.empty(len(x))
        with self.weights.one(TOGETHER) as s:
            compiled.log_likelihood(with_rows(s, x), np.arange(len(x)), names.astype(np.int64), samples, found)
        return found


def with_rows(s: Any, x: Array) -> Any:
    """The workspace with rows x (B, D), as the model sees them, for its data."""
    data, numbers = kinds_of(np.ascontiguousarray(x, s.w.dtype), s.w.dtype.name)
    return s._replace(data=data, numbers=numbers)


class Workspaces:
    """One for each thread that is at work, all with the same weights, laid out in micropanels once."""

    def __init__(self, state: State, estimator: str) -> None:
        self.state, self.estimator, self.lock = state, estimator, threading.Lock()
        self.first: Any = None
        self.free: dict[int, list[Any]] = {}

    @contextlib.contextmanager
    def one(self, samples: int) -> Iterator[Any]:
        """A workspace that nobody else has, for so many samples a row."""
        with self.lock:
            free = self.free.setdefault(samples, [])
            s = free.pop() if free else self.another(samples)
        try:
            yield s
        finally:
            free.append(s)

    def another(self, samples: int) -> Any:
        """A new one; the first compiles, or loads what is compiled."""
        from ..engine import tiles
        from ..fast import layout, step

        state = self.state
        no_data = np.zeros((0, state.architecture.columns), state.config.dtype)
        s = workspace(state, self.estimator, max(1, TOGETHER // samples), samples, 1, no_data)
        if self.first:
            return s._replace(w=self.first.w, jump_table=self.first.jump_table)
        layout.convert(s.owners, tiles.panel(s.w.dtype), state.arena.flat, s.w, True, 0, 1)
        with patience(), memoised_typing():
            step.EPSILON.link(s)
            step.GATHER.link(s)
            step.BOUNDS.link(s)
            none = np.zeros(0, np.int64)
            step.evaluate(s, none, none, 0, np.zeros((2, 0)))
            step.log_likelihood(s, none, none, 1, np.zeros(0))
        self.first = s
        return s
