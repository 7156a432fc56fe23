"""§7.2.3 The bound over a data set, with the units said: nats per datapoint, mean over rows, constants kept.

A test set under dynamic binarisation is binarised once, by the run's seed, so that two evaluations see the same bits.
Noise is named by what a row holds, not by where it stands: one row, one score, whatever its neighbours.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Iterator
from multiprocessing import TimeoutError
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..conditional import mean_of
from ..data import binarise
from ..engine.jit import threads as default_threads
from ..errors import UsageError
from ..noise import Purpose
from ..types import Array
from .objective import bound, decode, encode, log_weights
from .sampler import Evaluator
from .state import State, latent_noise
from .workspaces import SAMPLES_PER_NAME

T = TypeVar("T")
BLOCK = 100  # rows of which SAMPLES_PER_NAME samples each are decoded at a time, by all threads


class Bound(NamedTuple):
    """Means over the rows, nats per datapoint: elbo = reconstruction − kl."""

    elbo: float
    reconstruction: float
    kl: float
    rows: int


def evaluation_rows(state: State, x: Array, first: int, count: int, gaps: bool = False) -> Array:
    """Rows first … first + count − 1 as the model sees them in evaluation: binarised by noise named by the grey row.
    They may have NaN where the config says so, or `gaps`."""
    batch = state.rows(x, np.arange(first, first + count), True if gaps else None)
    how = state.config.binarisation
    if how in ("dynamic", "fixed"):
        names = state.numbers(batch, first)
        u = state.noise.uniforms(Purpose.FIXED_BINARISATION, 1, count, batch.shape[1], state.config.dtype, names)
        return binarise(batch, how, u)
    return binarise(batch, how) if how == "threshold" else batch


def blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """(first, count) of consecutive blocks that cover n rows."""
    for first in range(0, n, size):
        yield first, min(size, n - first)


def over(state: State, n: int, size: int, work: Callable[[int, int], T], threads: int | None = None) -> Iterator[T]:
    """work(first, count) of each of `blocks(n, size)`, in their order, as many at a time as there are threads.

    The work sees the caller's context, NumPy's errstate among it. Ctrl-C, an error, or a caller that wants no more
    leave what is at work to itself: nobody waits for it.
    """
    context = contextvars.copy_context()
    with ThreadPool(at_a_time(state, threads)) as pool:
        found = pool.imap(lambda block: context.copy().run(work, *block), blocks(n, size))
        for _ in blocks(n, size):
            yield next_of(found)


def next_of(found: Any) -> Any:
    """The next result, looking up now and then: a wait without an end may not hear Ctrl-C."""
    while True:
        with contextlib.suppress(TimeoutError):
            return found.next(timeout=0.1)


def at_a_time(state: State, threads: int | None = None) -> int:
    """Blocks at work at the same time. With the NumPy kernels one: BLAS, which has nearly all the work there, has
    threads of its own."""
    return (threads or default_threads()) if compiles(state) else 1


def compiles(state: State) -> bool:
    """Whether the run's way forward has a schedule."""
    return state.config.kernels == "numba" and state.architecture.scheduled


def elbo_over(
    state: State, x: Array, block: int = 500, threads: int | None = None, weights: Array | None = None
) -> Bound:
    """The bound with one ε a row, named by what the row holds (`State.numbers`); means by the rows' `weights` (N,)."""
    weights = np.ones(len(x)) if weights is None else weights
    of_rows, totals = bound_of_rows(state), np.zeros(2)

    def terms(first: int, count: int) -> Array:
        batch = evaluation_rows(state, x, first, count)
        return of_rows(batch, 1, state.numbers(batch, first)) * weights[first : first + count]

    for found in over(state, len(x), block, terms, threads):
        totals += found.sum(axis=1)
    L, reconstruction = (float(total) for total in totals / weights.sum())
    return Bound(L, reconstruction, reconstruction - L, len(x))


def bound_of_rows(state: State) -> Callable[[Array, int, Array], Array]:
    """A function (x (B, D), samples, names (B,)) → L and mean log p(x | z) of each row, (2, B) float64 nats."""
    if compiles(state):
        evaluator = Evaluator(state)
        return lambda x, samples, names: evaluator.bound(x, samples, 0, names)

    def composed(x: Array, samples: int, names: Array) -> Array:
        L, reconstruction, _ = bound(state, x, latent_noise(state, Purpose.EVALUATE, 0, len(x), samples, names))
        return np.array([L, reconstruction], np.float64)

    return composed


def active_units(state: State, x: Array, block: int = 500, threshold: float = 0.01) -> tuple[int, Array]:
    """Latents in use: Var_x[E[z | x]] > 0.01 (Burda et al. 2015, §5.2). Returns their number and the variances (K,)."""
    means = over(state, len(x), block, lambda *some: mean_of(encode(state, evaluation_rows(state, x, *some))))
    variance = np.concatenate([*means]).astype(np.float64).var(axis=0)
    return int((variance > threshold).sum()), variance


def log_p_of_columns(state: State, x: Array, block: int = 500) -> Array:
    """log p(x_d | z) of each column that the model sees, at the mean of q(z | x), (N, D) float64 nats; NaN where a cell
    is missing."""

    def work(first: int, count: int) -> Array:
        batch = evaluation_rows(state, x, first, count)
        p, seen = decode(state, mean_of(encode(state, batch))), ~np.isnan(batch)
        whole, one = np.where(seen, batch, 0).astype(batch.dtype), np.eye(batch.shape[1], dtype=batch.dtype)
        cells = np.stack([p.log_prob_observed(whole, m) for m in one], axis=1)
        return np.where(seen, cells, np.nan)

    return np.concatenate([*over(state, len(x), block, work)])


def log_likelihood(state: State, x: Array, samples: int, first_row: int = 0) -> Array:
    """log p(x) of rows x (B, D) by importance sampling, (B,) float64 nats: log-sum-exp over `samples` draws from q.

    The noise is named by `state.numbers`, for which `first_row` is the place of the first.
    """
    found = log_likelihoods(state, len(x), lambda first, count: x[first : first + count], samples, first_row)
    return np.concatenate([np.empty(0), *found])


def log_likelihood_over(
    state: State, x: Array, samples: int, report: Callable[[int], None] = lambda done: None
) -> Array:
    """The same of a data set (N, D), as the model sees it in evaluation; tells `report` how many rows are done."""
    found, done = np.empty(len(x)), 0
    for part in log_likelihoods(state, len(x), functools.partial(evaluation_rows, state, x), samples):
        first, done = done, done + len(part)
        found[first:done] = part
        report(done)
    return found


def log_likelihoods(
    state: State, n: int, rows_of: Callable[[int, int], Array], samples: int, first_row: int = 0
) -> Iterator[Array]:
    """log p(x) of n rows, block after block."""
    if samples < 1:
        raise UsageError(f"samples={samples}: log p(x) needs at least one draw a row")
    if compiles(state):  # a row is a batch of its own, and a block is worth a call
        most = max(SAMPLES_PER_NAME, samples)
        block, estimate = max(1, BLOCK * SAMPLES_PER_NAME // most), Evaluator(state).log_likelihood
    else:  # a block is a batch
        block, estimate = BLOCK, functools.partial(composed, state)

    def work(first: int, count: int) -> Array:
        x = rows_of(first, count)
        return estimate(x, samples, state.numbers(x, first_row + first))

    return over(state, n, block, work)


def composed(state: State, x: Array, samples: int, names: Array) -> Array:
    """log p(x) (B,) by `objective.log_weights`."""
    total = np.full(len(x), -np.inf)
    for s, size in blocks(samples, SAMPLES_PER_NAME):
        eps = latent_noise(state, Purpose.EVALUATE, 1 + s, len(x), size, names)
        log_w = log_weights(state, x, eps).astype(np.float64)
        total = np.logaddexp(total, np.logaddexp.reduce(log_w, axis=0))
    return total - math.log(samples)
