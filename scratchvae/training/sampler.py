"""§7.2.3 log p(x) with thousands of samples a row, by the compiled forward pass of `kernels.importance`.

    sample = sampler(state)             # None for what is not covered: a ladder, the NumPy kernels
    sample(x, 5000, names)              # log p(x) of each row, (B,) float64 nats; names as of `State.numbers`

The same noise and the same weights as the composition in `training.evaluate`, to rounding.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..engine.cold_start import patience
from ..engine.jit import memoised_typing
from ..noise import Purpose
from ..types import Array
from .compiled import jacobian, program
from .objective import encode
from .state import State

DRAW = 50  # samples of a row whose noise has one name: the noise of a row is the same however many rows are asked for
ROWS = 200  # samples that are decoded together: the hidden layer of so many stays in the second-level cache


def sampler(state: State) -> Callable[[Array, int, Array], Array] | None:
    """A function (x (B, D), samples, names (B,)) → log p(x) (B,), or None where it is not covered.

    It works on the thread that calls it, and any number may call it at the same time.
    """
    if state.config.deep or state.config.missing or state.config.kernels != "numba":
        return None
    workspaces = Workspaces(state)

    def sample(x: Array, samples: int, names: Array) -> Array:
        with workspaces.one() as workspace:
            return log_likelihood(state, workspace, x, samples, names)

    return sample


class Workspaces:
    """One for each thread that is at work, all with the same weights, packed once."""

    def __init__(self, state: State) -> None:
        self.state, self.lock = state, threading.Lock()
        self.first: Any = None
        self.free: list[Any] = []

    @contextlib.contextmanager
    def one(self) -> Iterator[Any]:
        """A workspace that nobody else has."""
        with self.lock:
            workspace = self.free.pop() if self.free else self.another()
        try:
            yield workspace
        finally:
            self.free.append(workspace)

    def another(self) -> Any:
        """A new one; the first compiles, or loads what is compiled."""
        from ..fast import layout
        from ..fast.step import DECODE

        state = self.state
        columns, dtype = state.architecture.columns, state.config.dtype
        no_data = np.zeros((1, columns), np.uint8)  # of bytes, as mostly in training, which shares the code
        made = program(state, no_data, ROWS, 1, 1, trains=False)
        if self.first:
            return made._replace(w=self.first.w, entries=self.first.entries)
        layout.convert(made.layout.layers, made.layout.panel, state.arena.flat, made.w, True, 0, 1)
        with patience(), memoised_typing():
            DECODE.link(made)
            log_likelihood(state, made, np.zeros((0, columns), dtype), 1, np.zeros(0, np.uint32))
        self.first = made
        return made


def log_likelihood(state: State, workspace: Any, x: Array, samples: int, names: Array) -> Array:
    """log p(x) of rows x (B, D)."""
    from ..fast import importance

    q, found, x = encode(state, x), np.empty(len(x)), x.view()
    x.flags.writeable = False  # as in `program`
    address = (np.uint64(state.config.seed), int(Purpose.EVALUATE), names)
    log_sigmas = 0.5 * q.log_var.sum(axis=1, dtype=np.float64)  # from its logarithm: σ may be too small for a float
    draws_from = q.mu, np.exp(0.5 * q.log_var), log_sigmas
    importance.log_likelihood(workspace, x, draws_from, address, samples, DRAW, found)
    return found + jacobian(state)
