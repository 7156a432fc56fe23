"""§7.2.3 The bound over a data set, with the units said: nats per datapoint, mean over rows, constants kept.

A test set under dynamic binarisation is binarised once, by the run's seed, so that two evaluations see the same bits.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..types import Array
from .data import binarise, rows
from .noise import Purpose
from .objective import bound, encode, log_weights
from .sampler import sampler
from .state import State, latent_noise

WORTH_COMPILING = 20_000  # decoded samples


class Bound(NamedTuple):
    """Means over the rows, nats per datapoint: elbo = reconstruction − kl."""

    elbo: float
    reconstruction: float
    kl: float
    rows: int


def evaluation_rows(state: State, x: Array, first: int, count: int) -> Array:
    """Rows first … first + count − 1 as the model sees them in evaluation: binarised by noise named by the row."""
    config = state.config
    batch = rows(x, np.arange(first, first + count), config.dtype, config.likelihood, config.missing == "nan")
    how = state.config.binarisation
    if how in ("dynamic", "fixed"):
        u = state.noise.uniforms(Purpose.FIXED_BINARISATION, 1, count, x.shape[1], state.config.dtype, first)
        return binarise(batch, how, u)
    return binarise(batch, how) if how == "threshold" else batch


def blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """(first, count) of consecutive blocks that cover n rows."""
    for first in range(0, n, size):
        yield first, min(size, n - first)


def elbo_over(state: State, x: Array, block: int = 500) -> Bound:
    """The bound with one ε a row, named by the row."""
    totals = np.zeros(3)
    for first, count in blocks(len(x), block):
        batch = evaluation_rows(state, x, first, count)
        eps = latent_noise(state, Purpose.EVALUATE, 0, count, 1, first)
        totals += [term.sum(dtype=np.float64) for term in bound(state, batch, eps)]
    L, reconstruction, kl = (float(total) for total in totals / len(x))
    return Bound(L, reconstruction, kl, len(x))


def active_units(state: State, x: Array, block: int = 500, threshold: float = 0.01) -> tuple[int, Array]:
    """Latents in use: Var_x[E[z | x]] > 0.01 (Burda et al. 2015, §5.2). Returns their number and the variances (K,)."""
    means = [encode(state, evaluation_rows(state, x, first, count)).mu for first, count in blocks(len(x), block)]
    variance = np.concatenate(means).astype(np.float64).var(axis=0)
    return int((variance > threshold).sum()), variance


def log_likelihood(state: State, x: Array, samples: int, block: int = 100, first_row: int = 0) -> Array:
    """log p(x) of rows x (B, D) by importance sampling, (B,) float64 nats: log-sum-exp over `samples` draws from q."""
    if samples < 1:
        raise UsageError(f"samples={samples}: log p(x) needs at least one draw a row")
    found, compiled = np.empty(len(x)), sampler(state) if samples * len(x) >= WORTH_COMPILING else None
    for first, count in blocks(len(x), block):
        if compiled:
            each = max(1, 5000 // count)
            found[first : first + count] = compiled(x[first : first + count], samples, each, first_row + first)
            continue
        total = np.full(count, -np.inf)
        for s, size in blocks(samples, max(1, 5000 // count)):
            eps = latent_noise(state, Purpose.EVALUATE, 1 + s, count, size, first_row + first)
            log_w = log_weights(state, x[first : first + count], eps).astype(np.float64)
            total = np.logaddexp(total, np.logaddexp.reduce(log_w, axis=0))
        found[first : first + count] = total - math.log(samples)
    return found
