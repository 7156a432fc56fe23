"""§7.3 The one loop that executes every schedule, many training steps a call (Kingma & Welling 2014, Algorithm 1).

A step is three calls: the minibatch, the jobs of the way forward, and those of the way back, the update among them;
four where gradients are clipped (`fast.clipping`).
What the jobs are `fast.schedule` says; here is only which function does which. A minibatch is walked in micro-batches
that fit the cache; only the last one's update touches the weights.
"""

import math
from typing import Any

import numpy as np

from scratchvae.engine.jit import internal, without_refcounts
from scratchvae.engine.linkable import linkable
from scratchvae.engine.threads import barrier, flush_to_zero, restore
from scratchvae.engine.tiles import panel_of
from scratchvae.fast.backward import through, update, weigh
from scratchvae.fast.clipping import clipped
from scratchvae.fast.forward import density, hidden, latent, move, pack_data
from scratchvae.fast.layout import convert
from scratchvae.fast.minibatch import epsilon, minibatch
from scratchvae.fast.optimizer import constants
from scratchvae.fast.rules import learned, rule
from scratchvae.fast.schedule import (
    BASELINE,
    COLLECT,
    DENSITY,
    HIDDEN,
    LATENT,
    MOVE,
    PACK_DATA,
    RULE,
    THROUGH,
    THROUGH_LATENT,
    UPDATE,
    WEIGH,
)
from scratchvae.fast.sparse import FEWEST, is_sparse, sparse_hidden, sparse_update
from scratchvae.fast.through_latent import collect, control, through_latent
from scratchvae.fast.workspace import LINKED, Now, Workspace, rows_of
from scratchvae.types import Array


@linkable(LINKED)
def gather(
    s: Workspace, t: int, threads: int, step: int, first: int, rows: int, samples: int, places: Array, names: Array,
    start: int,
) -> None:  # fmt: skip
    """`rows` rows of a minibatch, from its row `first` on: places[start …] of the data, with ε and the lists."""
    minibatch(s, t, threads, Now(step, first, rows, samples, 0), places, names, start)
    barrier(s.counters, t, threads)


@linkable(LINKED)
def rare(s: Workspace, j: int, t: int, threads: int, rows: int, samples: int, batch: int) -> None:
    """Job j of the way forward where few estimators want it: compiled by itself, when the first of those is trained."""
    job, now = s.forward[j], Now(0, 0, rows, samples, batch)
    if job.what == BASELINE:
        if t == 0:
            learned(s, now)
    elif job.what == MOVE:
        move(s, t, threads, job, now)
    elif job.what == COLLECT:
        collect(s, t, threads, job, now)
    else:
        control(s, t, threads, job, now)


@linkable(LINKED)
def bounds(s: Workspace, t: int, threads: int, rows: int, samples: int, batch: int) -> None:
    """The jobs of the way forward: L of each row, and for a minibatch of `batch` rows what the way back needs."""
    now = Now(0, 0, rows, samples, batch)
    # where L is a mean a sample weighs 1 / (B S); else its weight hangs on what is found here, and comes later
    w = 0.0 if batch == 0 else 1.0 if s.options.weighed else 1.0 / (batch * samples)
    sparse = is_sparse(s, rows)
    for j in range(s.forward.size):
        job = s.forward[j]
        if job.what == PACK_DATA:
            if job.always or not sparse:
                pack_data(s, t, threads, s.layers[job.layer], rows)
        elif job.what == HIDDEN:
            if job.listed and sparse:
                sparse_hidden(s, t, threads, s.layers[job.layer], job.loop, rows)
            else:
                hidden(s, t, threads, s.layers[job.layer], job.loop, rows_of(job.rows, now))
        elif job.what == LATENT:
            latent(s, t, threads, job, now)
        elif job.what == DENSITY:
            density(s, t, threads, job, now, 0.0 if job.silent else w)
        elif job.what == RULE:
            rule(s, t, threads, now)
        else:
            rare(s, j, t, threads, rows, samples, batch)
        if job.last:
            barrier(s.counters, t, threads)


@linkable(LINKED)
def backward(
    s: Workspace, t: int, threads: int, step: int, first: int, rows: int, samples: int, batch: int, rate: float
) -> None:
    """The jobs of the way back; with the last micro-batch the weights move, unless their cotangents are to be clipped
    first: then all wait in `g`."""
    now, ends = Now(step, first, rows, samples, batch), (first == 0, first + rows == batch and s.optimizer.clip == 0.0)
    listed = is_sparse(s, rows) and rows >= FEWEST
    for j in range(s.backward.size):
        job = s.backward[j]
        if job.what == WEIGH:
            weigh(s, t, threads, job, now)
        elif job.what == THROUGH:
            through(s, t, threads, job, rows_of(job.rows, now))
        elif job.what == THROUGH_LATENT:
            through_latent(s, t, threads, job, now)
        elif job.what == UPDATE:
            k = constants(s, s.layers[job.layer].baseline, step, rate)
            if job.listed and listed:
                sparse_update(s, t, threads, s.layers[job.layer], job.loop, ends, k)
            else:
                update(s, t, threads, job, rows_of(job.rows, now), ends, k)
        if job.last:
            barrier(s.counters, t, threads)


@internal
def train_step(
    s: Workspace, t: int, threads: int, step: int, places: Array, names: Array, start: int, batch: int, rate: float
) -> float:
    """One minibatch, from `start` on; returns Σ_b L_b. Not finite: the weights are as before."""
    sum_of_bounds = 0.0
    for first in range(0, batch, s.options.micro):
        rows = min(s.options.micro, batch - first)
        gather(s, t, threads, step, first, rows, s.options.samples, places, names, start + first)
        bounds(s, t, threads, rows, s.options.samples, batch)
        for r in range(rows):
            sum_of_bounds += s.bound[r]
        if not math.isfinite(sum_of_bounds):
            return sum_of_bounds
        backward(s, t, threads, step, first, rows, s.options.samples, batch, rate)
    if s.optimizer.clip > 0.0:
        clipped(s, t, threads, step, rate)
    return sum_of_bounds


@without_refcounts
def run(
    s: Workspace, t: int, threads: int, flats: Any, step: int, index: Any, batches: Array, rates: Array, sums: Array
) -> int:
    """Thread t's part of len(batches) steps from `step` on; sums[i] = Σ_b L_b of the i-th. Returns the steps taken.

    flats = (θ, m, v), flat arrays: laid out in micropanels first, taken back in the end. index = (places, names) of the
    rows: where they lie in the data, and what the noise calls them.
    """
    if batches.size == 0:
        return 0
    before = flush_to_zero()
    convert_all(s, t, threads, flats, True)
    barrier(s.counters, t, threads)
    start, done = 0, 0
    for i in range(batches.size):
        total = train_step(s, t, threads, step + i, index[0], index[1], start, batches[i], rates[i])
        if t == 0:
            sums[i] = total
        if not math.isfinite(total):
            break
        start, done = start + batches[i], done + 1
    convert_all(s, t, threads, flats, False)
    restore(before)
    return done


@internal
def convert_all(s: Workspace, t: int, threads: int, flats: Any, to_panels: bool) -> None:
    """Parameters and what the optimizer remembers into micropanels, or back."""
    P = panel_of(s.w)
    convert(s.owners, P, flats[0], s.w, to_panels, t, threads)
    convert(s.owners, P, flats[1], s.m, to_panels, t, threads)
    convert(s.owners, P, flats[2], s.v, to_panels, t, threads)


# ── evaluation, one thread's work: a workspace of its own, so threads never wait ──────────────────────────────────────


@without_refcounts
def evaluate(s: Workspace, places: Array, names: Array, step: int, found: Array) -> None:
    """found[0][b] = L of row b of the data, with samples named by (step, names[b]); found[1][b] log p(x | z)."""
    for first in range(0, places.size, s.options.micro):
        rows = min(s.options.micro, places.size - first)
        gather(s, 0, 1, step, 0, rows, s.options.samples, places, names, first)
        bounds(s, 0, 1, rows, s.options.samples, 0)
        for r in range(rows):
            found[0, first + r], found[1, first + r] = s.bound[r], s.reconstruction[r]


@without_refcounts
def log_likelihood(s: Workspace, places: Array, names: Array, samples: int, found: Array) -> None:
    """found[b] = log p(x_b) ≈ log (1/S) Σ_s e^{r_s} (Burda et al. 2015, eq. 7–8), a row's samples by chunks."""
    for b in range(places.size):
        most, total = -math.inf, 0.0
        for first in range(0, samples, s.options.samples):
            many = min(s.options.samples, samples - first)
            gather(s, 0, 1, 1 + first, 0, 1, many, places, names, b)
            bounds(s, 0, 1, 1, many, 0)
            for n in range(many):  # log-sum-exp, one at a time: total counts in units of e^most
                r = s.value[n]
                if r > most:
                    total, most = total * math.exp(most - r) + 1.0, r
                elif r != -math.inf:
                    total += math.exp(r - most)
        found[b] = np.nan if math.isnan(total) else most + math.log(total / samples)


# To link them: compiling what calls them puts jumps under the names above, and these keep the functions.
EPSILON: Any = epsilon
GATHER: Any = gather
BACKWARD: Any = backward
BOUNDS: Any = bounds
RARE: Any = rare
CLIPPED: Any = clipped
