"""§7.3 The training step of AEVB as one compiled composition, many steps a call (Kingma & Welling 2014, Algorithm 1).

`train_step` reads like `training.state.Steps.one`: minibatch, encode, decode, bound, the same in reverse, update. A
minibatch is walked in micro-batches that fit the cache; only the last one's update touches the weights.
"""

import math
from typing import Any

from scratchvae.engine.jit import inline, internal, without_refcounts
from scratchvae.engine.linkable import in_place_of, separate
from scratchvae.engine.threads import barrier, flush_to_zero, restore
from scratchvae.engine.tiles import panel_of
from scratchvae.fast.layout import convert
from scratchvae.fast.sparse import FEWEST, is_sparse, list_rows, sparse_hidden, sparse_update
from scratchvae.fast.step_backward import LATENT, NOBODY, through, through_latent, through_row, update
from scratchvae.fast.step_forward import bound_rows, decode, heads_of, hidden, latent, minibatch, strip_data, weigh
from scratchvae.fast.workspace import Options, Program
from scratchvae.types import Array


@separate
def gather(s: Program, t: int, threads: int, step: int, index: Array, start: int, first: int, rows: int) -> None:
    """`rows` rows of a minibatch, from its row `first` on: index[start …] of the data into x, with ε and the lists."""
    minibatch(s, t, threads, step, index, start, first, rows)
    list_rows(s, t, threads, rows)
    barrier(s.counters, t, threads)


@separate
def bounds(s: Program, t: int, threads: int, rows: int, w: float) -> None:
    """Encode, sample, decode; leaves log p(x | z), KL and the cotangents of the decoder's heads."""
    lay, sparse = s.layout, is_sparse(s, rows)
    if not sparse:
        strip_data(s, t, threads, rows)
        barrier(s.counters, t, threads)
    for l in range(lay.encoder):
        if l == 0 and sparse:
            sparse_hidden(s, t, threads, lay.layers[l], rows)
        else:
            hidden(s, t, threads, lay.layers[l], rows)
        barrier(s.counters, t, threads)
    latent(s, t, threads, lay.layers[lay.encoder], lay.layers[lay.encoder + 1], rows)
    barrier(s.counters, t, threads)
    decode(s, t, threads, rows * s.options.samples, w, s.options.samples)
    bound_rows(s, t, threads, rows)
    barrier(s.counters, t, threads)
    if s.options.samples > 1:
        weigh(s, t, threads, heads_of(s), rows)
        barrier(s.counters, t, threads)


@inline
def bounds_vjp(s: Program, t: int, threads: int, rows: int, w: float, k: Any, back: Any) -> None:
    """The same, walked in reverse: leaves the cotangent of every layer's output; back = `through` or `through_row`."""
    lay = s.layout
    first, count = lay.heads, lay.layers.size - lay.heads
    while first > lay.encoder:  # p's heads, p's hidden layers, z
        below = first - 1 if first > lay.decoder else LATENT
        back(s, t, threads, (first, count, below), rows * s.options.samples, k)
        barrier(s.counters, t, threads)
        first, count = (first - 1, 1) if first > lay.decoder else (lay.encoder, 2)
    through_latent(s, t, threads, rows, w)
    barrier(s.counters, t, threads)
    while first > 0:  # q's heads, then q's hidden layers; the first asks for no dx
        back(s, t, threads, (first, count, first - 1), rows, k)
        barrier(s.counters, t, threads)
        first, count = first - 1, 1


@inline
def adam_constants(o: Options, number: int, rate: float) -> Any:
    """What `adam` needs at step number 1, 2, …, and AdamW's α λ.

    The corrections of bias are in α and ε: with fix₁ = 1 / (1 − β₁ᵗ) and root₂ = √(1 − β₂ᵗ),
    α (m fix₁) / (√v / root₂ + ε) = (α fix₁ root₂) m / (√v + ε root₂).
    """
    fix1, root2 = 1.0 / (1.0 - math.pow(o.beta1, number)), math.sqrt(1.0 - math.pow(o.beta2, number))
    return (1.0 - o.beta1, 1.0 - o.beta2, rate * fix1 * root2, o.epsilon * root2), rate * o.decay


@separate
def backward(s: Program, t: int, threads: int, step: int, batch: int, first: int, rows: int, rate: float) -> None:
    """The micro-batch's bounds in reverse, and what it gives to the update; with the last one the weights move."""
    k = adam_constants(s.options, step + 1, rate)
    bounds_vjp(s, t, threads, rows, 1.0 / batch, k, through)
    phase, listed = (first == 0, first + rows == batch), is_sparse(s, rows) and rows >= FEWEST
    update(s, t, threads, int(listed), rows, phase, k)
    if listed:
        sparse_update(s, t, threads, s.layout.layers[0], phase, k)
    barrier(s.counters, t, threads)


@in_place_of(backward)
def backward_row(s: Program, t: int, threads: int, step: int, batch: int, first: int, rows: int, rate: float) -> None:
    """The same where every minibatch is one row with one sample, and neither prior nor decay wants the weights too."""
    k = adam_constants(s.options, step + 1, rate)
    bounds_vjp(s, t, threads, 1, 1.0, k, through_row)
    count = 2 if s.layout.encoder == 0 else 1  # without hidden layers q's heads read the data
    through_row(s, t, threads, (0, count, NOBODY), 1, k)
    barrier(s.counters, t, threads)


@inline
def train_step(s: Program, t: int, threads: int, step: int, index: Array, start: int, batch: int, rate: float) -> float:
    """One minibatch, index[start : start + batch]; returns Σ_b L_b. Not finite: the weights are as before."""
    sum_of_bounds = 0.0
    for first in range(0, batch, s.options.micro):
        rows = min(s.options.micro, batch - first)
        gather(s, t, threads, step, index, start + first, first, rows)
        bounds(s, t, threads, rows, 1.0 / batch)
        for r in range(rows):
            sum_of_bounds += s.bound[r]
        if not math.isfinite(sum_of_bounds):
            return sum_of_bounds
        backward(s, t, threads, step, batch, first, rows, rate)
    return sum_of_bounds


@without_refcounts
def run(
    s: Program, t: int, threads: int, flats: Any, step: int, index: Array, batches: Array, rates: Array, sums: Array
) -> int:
    """Thread t's part of len(batches) steps from `step` on; sums[i] = Σ_b L_b of the i-th. Returns the steps taken.

    flats = (θ, m, v), the state's flat arrays: packed into panels first, unpacked in the end.
    """
    if batches.size == 0:
        return 0
    before = flush_to_zero()
    convert_all(s, t, threads, flats, True)
    barrier(s.counters, t, threads)
    start, done = 0, 0
    for i in range(batches.size):
        total = train_step(s, t, threads, step + i, index, start, batches[i], rates[i])
        if t == 0:
            sums[i] = total
        if not math.isfinite(total):
            break
        start, done = start + batches[i], done + 1
    convert_all(s, t, threads, flats, False)
    restore(before)
    return done


@internal
def convert_all(s: Program, t: int, threads: int, flats: Any, pack: bool) -> None:
    """Parameters and moments into panels, or back."""
    layers, P = s.layout.layers, panel_of(s.w)
    convert(layers, P, flats[0], s.w, pack, t, threads)
    convert(layers, P, flats[1], s.m, pack, t, threads)
    convert(layers, P, flats[2], s.v, pack, t, threads)


# To link them: compiling `run` puts jumps under the names above, and these keep the functions. The first two take about
# as long to compile as the others and `run`.
DECODE: Any = decode
SEPARATE: tuple[Any, ...] = (gather, backward, DECODE, bounds)
ROW: Any = backward_row
