"""§7.3 The fast way to take training steps: the compiled composition of `kernels.step`, where it covers the run.

    take = steps(state, x)          # Compiled(state, x), or Steps(state, x) for what is not covered
    means = take.advance(600)       # mean bound of each step, nats per datapoint; state is as after 600 × one()

`Compiled` takes the same steps as `Steps` (equal to rounding): the state's flat arrays are packed into panels when
`advance` begins and unpacked, exactly, when it ends, so ask for many steps a call.
"""

import contextlib
import math
import threading
from typing import Any, cast

import numpy as np

from ..engine.cold_start import assistant
from ..engine.jit import memoised_typing
from ..models.vae import Architecture
from ..noise import Purpose
from ..types import Array
from .config import Config
from .objective import Diverged
from .state import State, Steps
from .stopping import held_out

FAMILIES = ("bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-fixed")
LEAST_BETA2 = 0.1  # v + (1 − β₂)(g² − v), as the compiled Adam has it, cancels where v is hardly remembered
MICRO = 256  # rows of a micro-batch once a batch has more than twice as many (measured at 512 and 4096)


def covers(config: Config, x: Array) -> bool:
    """Whether the compiled step knows this run: one latent layer, Adam with a memory, data checked once."""
    plain = not isinstance(x, np.memmap) or x.dtype == np.uint8
    return (
        config.kernels == "numba"
        and not config.deep
        and not config.missing
        and config.estimator in ("sgvb_b", "iw")
        and config.optimizer.name in ("adam", "adamw")
        and config.optimizer.beta2 >= LEAST_BETA2
        and plain
        and x.dtype in (np.uint8, np.bool_, np.float32, np.float64)
        and x.flags.c_contiguous
    )


def steps(state: State, x: Array, threads: int | None = None) -> Steps:
    """What takes training steps of `state` over x (N, D): compiled where covered, else the composed pairs."""
    copied = state.reading.scale is not None and not isinstance(x, np.memmap)
    read = x[:0].astype(state.config.dtype) if copied else x  # of the kind that the compiled step would read
    return (Compiled if covers(state.config, read) else Steps)(state, x, threads)


class Compiled(Steps):
    """`Steps` by the compiled step, on `threads` threads (None: see `jit.threads`)."""

    def __init__(self, state: State, x: Array, threads: int | None = None) -> None:
        super().__init__(state, x, threads)
        batch, samples = min(state.config.batch, self.rows), state.config.samples
        micro = batch if batch * samples <= 2 * MICRO else max(1, MICRO // samples)
        self.program = program(state, standardised(state, x), micro, samples, self.threads)

    def advance(self, count: int) -> Array:
        """Take `count` steps; see `Steps.advance`. Raises Diverged with the state before the step that broke."""
        state, config = self.state, self.state.config
        if count < 1:
            return np.zeros(0)
        if not self.program.entries.all():
            self.compile()
        sums = np.full(count, math.nan)  # as far as the threads have come
        indices = [self.index(step) for step in range(state.step, state.step + count)]
        batches = np.array([len(i) for i in indices])
        epochs = [step / self.per_epoch for step in range(state.step, state.step + count)]
        rates = np.array([config.optimizer.rate(epoch, config.epochs) for epoch in epochs])
        try:
            self.run(np.concatenate(indices).astype(np.int64), batches, rates, sums)
        finally:  # also on Ctrl-C, which is heard when the steps are done: the step is where the parameters are
            done = int(np.append(np.isfinite(sums), False).argmin())
            state.step += done
        if done < count:
            self.one()  # the composition says which row and which term broke
            raise Diverged(f"the compiled step {state.step - 1} gave {sums[done]}, and the composition a number")
        means: Array = sums / batches + jacobian(state)
        return means

    def run(self, index: Array, batches: Array, rates: Array, sums: Array) -> None:
        """Take steps, compiled by now, on all threads; sums[i] becomes Σ_b L_b of step i. No number: they stop."""
        from ..fast import step

        state, program = self.state, self.program
        flats = (state.arena.flat, state.slots[0], state.slots[1])
        program.counters[:] = 0
        args = (flats, state.step, index, batches, rates, sums)
        together(self.threads, lambda t: step.run(program, t, self.threads, *args))

    def compile(self) -> None:
        """Compile the step or load it, here and not in a race of threads.

        Where it is not cached two processes do it, unless it is for one thread: who asks for one wants one at work.
        """
        from ..fast import step

        gather, backward, *theirs = step.SEPARATE
        cold = self.threads > 1 and not theirs[-1].load(self.program)  # kept last, so the others are there if it is
        call = f"{compile_the_rest.__name__}({self.state.config.dtype!r})"
        with assistant(call, __name__) if cold else contextlib.nullcontext(), memoised_typing():
            self.index(self.state.step)  # the order of the rows is drawn by a kernel as well
            gather.link(self.program)
            (step.ROW if alone(self.program.options) else backward).link(self.program)
        with memoised_typing():
            self.finish()

    def finish(self) -> None:
        """What takes about as long as `gather` and `backward`: the rest of the step, and what composes it."""
        from ..fast import step

        for one in step.SEPARATE[2:]:
            one.link(self.program)
        flats, none = (self.state.arena.flat, *self.state.slots[:2]), np.zeros(0, np.int64)
        step.run(self.program, 0, 1, flats, 0, none, none, np.zeros(0), np.zeros(0))


def standardised(state: State, x: Array) -> Array:
    """The training data as the compiled step reads them: a copy, where the model sees standardised columns."""
    if state.reading.scale is None:
        return x
    made = np.empty((len(x), state.reading.width), state.config.dtype)
    for i in range(0, len(x), 4096):
        made[i : i + 4096] = state.rows(x, slice(i, i + 4096))
    return made


def jacobian(state: State) -> float:
    """−Σ log s, which makes densities of standardised columns those of the raw ones, nats a row."""
    log_scale = state.reading.log_scale
    return 0.0 if log_scale is None else -float(log_scale.sum())


def alone(o: Any) -> bool:
    """One row, one sample, no prior and no decay: weights are wanted by dx and by plain Adam, and by nothing else."""
    return bool(o.micro * o.samples == 1 and o.pull == 0 and o.decay == 0)


def compile_the_rest(dtype: str) -> None:
    """What `cold_start.assistant` does in a process of its own."""
    with memoised_typing():
        state = State(Config(latent=1, hidden=(1,), dtype=dtype), 1)
        Compiled(state, np.zeros((1, 1), np.uint8), 1).finish()


def warmup(dtype: str = "float32") -> None:
    """Compile the training step and log p(x) for parameters of this type, or load them: for all sizes and all data."""
    from .sampler import sampler

    for batch in (2, 1):  # a row alone has a way back of its own
        state = State(Config(latent=1, hidden=(1,), dtype=dtype, batch=batch), 1)
        Compiled(state, np.zeros((batch, 1), np.uint8)).compile()
    if estimate := sampler(state):
        estimate(np.zeros((1, 1), dtype), 1, np.zeros(1, np.uint32))


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


def aligned(sizes: list[int], dtype: str) -> list[Array]:
    """Arrays of zeros, each beginning at a multiple of 64 bytes so that no vector straddles two cache lines.

    They share one allocation, large enough for NumPy to ask the system for large pages.
    """
    line = 64 // np.dtype(dtype).itemsize
    starts = np.cumsum([0] + [-(-size // line) * line for size in sizes])
    block: Array = np.empty(int(starts[-1]) + line, dtype)
    block[...] = 0
    block = block[-block.ctypes.data % 64 // block.itemsize :]
    return [block[start : start + size] for start, size in zip(starts, sizes, strict=False)]


def program(state: State, x: Array, rows: int, samples: int, threads: int, trains: bool = True) -> Any:
    """Everything that `threads` threads share to work on at most `rows` rows of x, `samples` of z for each."""
    from ..engine import tiles
    from ..engine.linkable import NAMES
    from ..engine.threads import counters_size
    from ..fast import layout
    from ..fast.workspace import TILES_IN_FLIGHT, Program

    config, a = state.config, cast(Architecture, state.architecture)
    heads = len(state.theta.heads)
    lay = layout.layout(a.columns, a.latent, a.hidden, a.activation, heads, config.prior, rows * samples, config.dtype)
    moments = lay.weights if trains else 0
    gathered = moments if min(config.batch, len(x)) > rows else 0  # dW of several micro-batches
    hands = [threads * 2 * lay.turned_room, threads * TILES_IN_FLIGHT * tiles.MR * lay.panel]
    sizes = [lay.weights, moments, moments, gathered, lay.work, *hands]
    w, m, v, g, work, turned, scratch = aligned(sizes, config.dtype)
    layout.set_ones(lay, work)
    noise, words = np.zeros(threads * lay.noise_room, config.dtype), np.zeros(threads * lay.word_room, np.uint32)
    parts, value, bound = np.zeros(lay.parts * lay.capacity), np.zeros(lay.capacity), np.zeros(lay.capacity)
    shares = np.zeros(lay.capacity, config.dtype)
    arrays = (w, m, v, g, work, turned, scratch, noise, words, parts, value, shares, bound, *kinds_of(x, config.dtype))
    log_floor = np.zeros(-(-a.columns // lay.panel) * lay.panel, config.dtype)
    log_floor[: a.columns] = np.log(a.variance)
    inked = lists(rows, lay.panel, a.columns, config.dtype)
    counters = np.zeros(counters_size(threads, lay.layers.size), np.int64)
    entries = np.zeros(len(NAMES), np.int64)
    return Program(lay, options(config, x, rows, samples), *arrays, log_floor, inked, counters, entries)


def kinds_of(x: Array, dtype: str) -> tuple[Array, Array]:
    """x (N, D) as bytes and none, or as none and numbers of the parameters' dtype, flat: one version serves both."""
    flat, none = np.asarray(x).reshape(-1), np.zeros(0, np.uint8)
    if x.dtype.itemsize == 1:
        found = flat.view(np.uint8), none.astype(dtype)
    else:
        found = none, flat.astype(dtype, copy=False)
    for part in found:
        part.flags.writeable = False  # of this view, not of x: one type for arrays and read-only maps
    return found


def lists(rows: int, panel: int, columns: int, dtype: str) -> Any:
    """Room for the entries of a minibatch that are not zero; what is never touched takes no memory."""
    from ..fast.workspace import Lists

    row_room = columns + 1 + panel  # a row is written by whole vectors
    by_row, by_column = rows * row_room, (columns + 1) * rows
    of_rows = (np.zeros(by_row, np.int32), np.zeros(by_row, dtype), np.zeros(rows, np.int64), row_room)
    of_columns = (np.zeros(by_column, np.int32), np.zeros(by_column, dtype), np.zeros(columns + 1, np.int64), rows)
    return Lists(*of_rows, *of_columns)


def options(config: Config, x: Array, rows: int, samples: int) -> Any:
    """The numbers of a run that never change."""
    from ..fast.workspace import Options

    fixed = config.binarisation == "fixed"
    return Options(
        family=FAMILIES.index(config.likelihood),
        binarise=("none", "dynamic", "fixed", "threshold").index(config.binarisation),
        divisor=255.0 if x.dtype == np.uint8 else 1.0,
        seed=np.uint64(config.seed),
        latent_purpose=int(Purpose.LATENT),
        binarise_purpose=int(Purpose.FIXED_BINARISATION if fixed else Purpose.BINARISE),
        micro=rows,
        samples=samples,
        weighted=config.estimator == "iw",
        beta1=float(config.optimizer.beta1),
        beta2=float(config.optimizer.beta2),
        epsilon=float(config.optimizer.epsilon),
        decay=float(config.optimizer.decay) if config.optimizer.name == "adamw" else 0.0,
        pull=1 / (len(x) - held_out(len(x), config.validation)) if config.prior else 0.0,
        data_columns=x.shape[1],
        latent=config.codes,
    )
