"""§7.3 The fast way to take training steps: the schedule of the run's model and estimator (`fast.schedule`), executed.

    take = steps(state, x)          # Compiled(state, x); with the NumPy kernels, and for score_rb, Steps(state, x)
    means = take.advance(600)       # mean bound of each step, nats per datapoint; state is as after 600 × one()

`Compiled` takes the same steps as `Steps` (equal to rounding): the state's flat arrays are laid out in micropanels when
`advance` begins and taken back, exactly, when it ends, so ask for many steps a call.
"""

import contextlib
import copy
import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data.shards import room
from ..engine.cold_start import assistant
from ..engine.jit import memoised_typing
from ..estimators.baselines import NET
from ..kernels import NUMPY
from ..types import Array
from .config import Config
from .labels import LabelSteps
from .objective import Diverged
from .state import State, Steps
from .workspaces import kinds_of, memory_of, workspace

MICRO = 512  # samples of a micro-batch once a batch has more than twice as many (measured at 20 × 50, 512, 4096)
PACKED = ("mnist", "fashion-mnist")  # data whose unpacking takes time, and leaves Python's lock to others
ROWS_READ = 20_000  # rows of a memory map, or of another kind of array, that are read at once


def steps(state: State, x: Array, threads: int | None = None, weights: Array | None = None) -> Steps:
    """What takes training steps of `state` over x (N, D). A schedule has one weight for each sample and none for the
    KL or a row, Gaussian q and its formulas compiled: what weights latent by latent or row by row, other families and
    other algorithms are composed."""
    config = state.config
    plain = config.beta == 1 and not config.warm_up and not state.estimator.by_factor and weights is None
    plain = plain and state.rule is None
    if config.kernels == "numba" and state.architecture.scheduled and plain:
        return Compiled(state, x, threads)
    if config.model == "m2":  # composed of compiled pairs, as …
        return LabelSteps(state, x, threads)
    if config.model == "sequence":  # … this is
        return Steps(state, x, threads, weights)
    in_numpy(state)
    return Steps(state, x, threads, weights)


def in_numpy(state: State) -> None:
    """Let the composition do without compiled twins: nobody waits for kernels that one estimator wants."""
    state.k, state.noise = NUMPY, state.noise._replace(k=NUMPY)


class Compiled(Steps):
    """`Steps` by the schedule, on `threads` threads (None: see `jit.threads`)."""

    def __init__(self, state: State, x: Array, threads: int | None = None) -> None:
        super().__init__(state, x, threads)
        self.data = resident(state, x)  # None: read, and checked, as the steps want it
        batch, config = min(state.config.batch, self.rows), state.config
        micro = batch if batch * config.samples <= 2 * MICRO or state.memory else max(1, MICRO // config.samples)
        held = np.zeros((0, state.reading.width), config.dtype) if self.data is None else self.data
        self.ready = False  # nothing compiled yet
        self.workspace = workspace(state, config.estimator, micro, config.samples, self.threads, held, self.rows)

    def advance(self, count: int) -> Array:
        """Take `count` steps; see `Steps.advance`. Raises Diverged with the state before the step that broke."""
        most = count if self.data is not None else max(1, room(self.x, ROWS_READ) // self.state.config.batch)
        parts = [self.advance_at_once(min(most, count - done)) for done in range(0, count, most)]
        return np.concatenate([np.zeros(0), *parts])

    def advance_at_once(self, count: int) -> Array:
        """The same for steps whose rows are in memory at once."""
        state = self.state
        if not self.ready:
            self.compile()
        sums = np.full(count, math.nan)  # as far as the threads have come
        index, batches, rates = ahead(self, count)
        try:
            self.run(index, batches, rates, sums)
        finally:  # also on Ctrl-C, which is heard when the steps are done: the step is where the parameters are
            done = int(np.append(np.isfinite(sums), False).argmin())
            state.step += done
        if done < count:
            self.explain()
            raise Diverged(f"the compiled step {state.step} gave {sums[done]}, and the composition a number")
        means: Array = sums / batches
        return means

    def explain(self) -> None:
        """Raises what the composition says of the step at hand: which row, which term. The state is left alone."""
        twin = copy.copy(self.state)
        in_numpy(twin)
        again = Steps(twin, self.x, self.threads)
        again.first = self.first
        again.one()

    def run(self, index: Array, batches: Array, rates: Array, sums: Array) -> None:
        """Take steps, compiled by now, on all threads; sums[i] becomes Σ_b L_b of step i. No number: they stop."""
        from ..fast import step

        state, s, places = self.state, self.workspace, index
        if self.data is None:
            s = s._replace(
                **dict(zip(("data", "numbers"), kinds_of(state.rows(self.x, index), state.config.dtype), strict=True))
            )
            places = np.arange(len(index))
        flats = flats_of(state)
        s.counters[:], s.memory[:] = 0, memory_of(state)
        args = (flats, state.step, (places, index), batches, rates, sums)
        try:
            together(self.threads, lambda t: step.run(s, t, self.threads, *args))
        finally:  # Ctrl-C is heard here, and the steps are done
            take_back(state, flats, s.memory)

    def compile(self) -> None:
        """Compile the step or load it, here and not in a race of threads.

        Where it is not cached two processes do it, unless it is for one thread: who asks for one wants one at work.
        """
        from ..fast import step
        from ..fast.schedule import RARE_JOBS

        cold = self.threads > 1 and not step.GATHER.load(self.workspace)  # kept last
        call = f"{compile_the_rest.__name__}({self.state.config.dtype!r})"
        with assistant(call, __name__) if cold else contextlib.nullcontext(), memoised_typing():
            step.BACKWARD.link(self.workspace)
            step.EPSILON.link(self.workspace)
            if np.isin(self.workspace.forward["what"], RARE_JOBS).any():
                step.RARE.link(self.workspace)
            if self.state.config.optimizer.clip:
                step.CLIPPED.link(self.workspace)
            none = np.zeros(0, np.int64)
            step.run(self.workspace, 0, 1, flats_of(self.state), 0, (none, none), none, np.zeros(0), np.zeros(0))
        with memoised_typing():
            self.finish()
        self.ready = True

    def finish(self) -> None:
        """What takes about as long as the rest in `compile`: the way forward and the minibatch."""
        from ..fast import step

        step.BOUNDS.link(self.workspace)
        step.GATHER.link(self.workspace)


def ahead(take: Steps, count: int) -> tuple[Array, Array, Array]:
    """Of the next `count` steps: the rows of all, one after the other, how many each has, the optimizer's rates."""
    numbers = range(take.state.step, take.state.step + count)
    indices = [take.index(step) for step in numbers]
    index = np.concatenate([np.zeros(0, np.int64), *indices])
    return index, np.array([len(i) for i in indices], np.int64), np.array([take.rate(step) for step in numbers])


def resident(state: State, x: Array) -> Array | None:
    """The training data as the step reads them, where they are in memory and checked: bytes and bits as they stand,
    numbers in the parameters' type, standardised columns as a copy. None for maps of numbers, for sparse rows, shards,
    and for what else has to be read bit by bit."""
    if not isinstance(x, np.ndarray):
        return None
    plain = x.dtype in (np.uint8, np.bool_, np.float32, np.float64) and x.flags.c_contiguous
    if not plain or (isinstance(x, np.memmap) and x.dtype != np.uint8):
        return None
    if state.reading.scale is None:
        return x
    made = np.empty((len(x), state.reading.width), state.config.dtype)
    for i in range(0, len(x), 4096):
        made[i : i + 4096] = state.rows(x, slice(i, i + 4096))
    return made


@contextlib.contextmanager
def prepared(config: Config) -> Iterator[None]:
    """Import Numba, and load the step where it is cached, on a thread while the caller unpacks images, which imports
    nothing and asks for no filters of warnings. Whatever fails here is met, and said, where it is wanted."""

    def work() -> None:
        from ..fast import step

        with contextlib.suppress(Exception):
            small = tiny(config.dtype)
            if step.GATHER.load(small.workspace):
                small.compile()

    thread = threading.Thread(target=work)
    if config.kernels == "numba" and config.data in PACKED and config.test is None:
        thread.start()
    try:
        yield
    finally:
        if thread.ident:
            thread.join()


def tiny(dtype: str) -> Compiled:
    """The smallest run: all runs of a dtype share their code."""
    return Compiled(State(Config(latent=1, hidden=(1,), dtype=dtype), 1), np.zeros((1, 1), np.uint8), 1)


def compile_the_rest(dtype: str) -> None:
    """What `cold_start.assistant` does in a process of its own."""
    with memoised_typing():
        tiny(dtype).finish()


def together(threads: int, work: Any) -> None:
    """work(t) for each t < threads at the same time; returns when all have ended. All start, or none does."""
    go = threading.Event()
    all_here = False

    def wait_and_work(t: int) -> None:
        go.wait()
        if all_here:
            work(t)

    others = [threading.Thread(target=wait_and_work, args=(t,), daemon=True) for t in range(1, threads)]
    try:
        for other in others:
            other.start()
        all_here = True
    finally:
        go.set()
    try:
        work(0)
    finally:
        for other in others:
            other.join()


# ── what the optimizer and a learned baseline remember, flat ──────────────────────────────────────────────────────────


def flats_of(state: State) -> tuple[Array, Array, Array]:
    """(θ, m, v): the state's own arrays where it has two slots and no learned network, else copies with room."""
    theta, slots = state.arena.flat, state.slots
    if len(slots) == 2 and "out.W" not in state.memory:
        return theta, slots[0], slots[1]
    found = [theta, *slots, *(np.zeros_like(theta) for _ in range(2 - len(slots)))]
    if "out.W" in state.memory:
        for i, end in enumerate(("", ".m", ".v")):
            found[i] = np.concatenate([found[i], *(state.memory[name + end].reshape(-1) for name in NET)])
    return found[0], found[1], found[2]


def take_back(state: State, flats: tuple[Array, Array, Array], memory: Array) -> None:
    """What `flats_of` copied, and the baseline's three numbers, back into the state."""
    size = state.arena.flat.size
    for array, flat in zip((state.arena.flat, *state.slots), flats, strict=False):
        if flat is not array:
            array[...] = flat[:size]
    if "steps" in state.memory:
        for name, value in zip(("mean", "variance", "steps"), memory, strict=True):
            state.memory[name][0] = value
    if "out.W" in state.memory:
        for flat, end in zip(flats, ("", ".m", ".v"), strict=True):
            start = size
            for name in NET:
                array = state.memory[name + end]
                array[...] = flat[start : start + array.size].reshape(array.shape)
                start += array.size
