"""§7.3 The training step of AEVB as one compiled composition, many steps a call (Kingma & Welling 2014, Algorithm 1).

`train_step` reads like `training.state.Steps.one`: minibatch, encode, decode, bound, the same in reverse, update. Every
phase is cut into *units*, tiles of one output matrix; thread t of T takes a consecutive share of them, and between
phases the threads meet at a barrier. A unit is computed by one owner in a fixed order, so any T gives the same bits.

A minibatch is walked in micro-batches that fit the cache; only the last one's update touches the weights.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from scratchvae.kernels.epilogues import (
    BERNOULLI,
    activate,
    activate_vjp,
    adam_tile,
    add_tile,
    bernoulli_row,
    gaussian_row,
    latent_row,
    latent_row_vjp,
    with_ones,
)
from scratchvae.kernels.jit import inline, jit, part
from scratchvae.kernels.layout import Layout
from scratchvae.kernels.noise_vectors import normals, words
from scratchvae.kernels.sync import barrier, flush_to_zero, out_of_line, restore
from scratchvae.kernels.tiles import (
    DOT_COLS,
    DOT_ROWS,
    SHORT,
    TALL,
    dots,
    product_short,
    product_t_short,
    product_t_tall,
    product_tall,
    transpose,
)
from scratchvae.kernels.vectors import columns, counts, lane_count, load, load_as, load_words, store, where
from scratchvae.types import Array

GREY, DYNAMIC, FIXED, THRESHOLD = range(4)
FEW_ROWS = 48  # fewer rows than this do not repay the turning of W


class Options(NamedTuple):
    """What stays the same for a whole run."""

    family: int
    log_floor: float  # log of the variance floor (or of the fixed variance)
    binarise: int
    divisor: float  # 255 for uint8 grey levels
    seed: Any  # np.uint64
    latent_purpose: int
    binarise_purpose: int
    micro: int  # rows of a micro-batch
    beta1: float
    beta2: float
    epsilon: float
    decay: float
    pull: float  # 1 / N with a prior on θ, else 0
    data_columns: int
    latent: int


class Program(NamedTuple):
    """Everything that the threads share. Floats of one dtype except where said."""

    layout: Layout
    options: Options
    w: Array  # panels of the weights …
    m: Array  # … and of Adam's two moments
    v: Array
    g: Array  # cotangents, gathered over micro-batches
    work: Array  # panels of activations and their cotangents
    turned: Array  # (threads, heads, outputs, panel): a panel of Wᵀ
    scratch: Array  # (threads, heads, TALL, panel): the tiles in hand
    noise: Array  # (threads, capacity, blocks, 4)
    words: Array  # uint32, (threads, blocks of a data row, 4)
    parts: Array  # float64, (panels, capacity): log p(x | z) and KL by panel and row
    bound: Array  # float64 (capacity,)
    data: Array  # (N D,), uint8 or real
    gate: Array  # int64 (1,)


@inline
def share(units: int, t: int, threads: int) -> Any:
    """First and last + 1 of thread t's units."""
    return units * t // threads, units * (t + 1) // threads


@inline
def tile_count(rows: int) -> int:
    """Tiles of `rows` rows: as many tall ones as fit, then short ones (the last may be padding in part)."""
    return rows // TALL + (rows % TALL + SHORT - 1) // SHORT


@inline
def tile_at(i: int, rows: int) -> Any:
    """First row and height of tile i."""
    tall = rows // TALL
    return (i * TALL, TALL) if i < tall else (tall * TALL + (i - tall) * SHORT, SHORT)


@inline
def product(s: Program, c: int, layer: Any, p: int, r: int, height: int) -> None:
    """Tile (rows r …, panel p) of x W + b into the scratch at c."""
    P, capacity = s.layout.panel, s.layout.capacity
    W = layer.weights + p * layer.rows * P
    if height == TALL:
        product_tall(s.scratch, c, s.work, layer.x + r * P, s.w, W, layer.inputs + 1, P, capacity * P)
    else:
        product_short(s.scratch, c, s.work, layer.x + r * P, s.w, W, layer.inputs + 1, P, capacity * P)


@inline
def scratch_of(s: Program, t: int) -> int:
    return t * 2 * TALL * s.layout.panel


# ── the minibatch ─────────────────────────────────────────────────────────────────────────────────────────────────────


@part
def minibatch(s: Program, t: int, threads: int, step: int, index: Array, start: int, first: int, rows: int) -> None:
    """x: rows index[start …] of the data, binarised; ε. Noise is named by the row of the minibatch."""
    out_of_line()
    begin, end = share(rows, t, threads)
    for r in range(begin, end):
        data_row(s, t, step, index[start + r], first + r, r)
    blocks, P = (s.options.latent + 3) // 4, s.layout.panel
    buffer = t * s.layout.noise_room
    address = (s.options.seed, s.options.latent_purpose, step, first + begin)
    normals(s.noise, buffer, address, end - begin, blocks)
    for r in range(begin, end):
        for k in range(s.options.latent):
            at = s.layout.eps + (k // P * s.layout.capacity + r) * P + k % P
            s.work[at] = s.noise[buffer + (r - begin) * 4 * blocks + k]


@inline
def data_row(s: Program, t: int, step: int, source: int, noise_row: int, r: int) -> None:
    """One row of the data into row r of the panels of x."""
    o, P, lanes = s.options, s.layout.panel, lane_count(s.work)
    u = t * s.layout.word_room
    if o.binarise == DYNAMIC:
        words(s.words, u, (o.seed, o.binarise_purpose, step, noise_row), 1, (o.data_columns + 3) // 4, s.work)
    elif o.binarise == FIXED:
        words(s.words, u, (o.seed, o.binarise_purpose, 0, source), 1, (o.data_columns + 3) // 4, s.work)
    whole = o.data_columns - o.data_columns % lanes
    for c in range(0, whole, lanes):
        x = load_as(s.data, source * o.data_columns + c, s.work) / o.divisor
        if o.binarise == DYNAMIC or o.binarise == FIXED:
            uniform = counts(load_words(s.words, u + c, s.work) >> 8, x) * 2.0**-24
            x = where(uniform < x, x * 0.0 + 1.0, x * 0.0)
        elif o.binarise == THRESHOLD:
            x = where(x > 0.5, x * 0.0 + 1.0, x * 0.0)
        store(s.work, s.layout.x + (c // P * s.layout.capacity + r) * P + c % P, x)
    for c in range(whole, o.data_columns):
        s.work[s.layout.x + (c // P * s.layout.capacity + r) * P + c % P] = data_value(s, source, c, u)


@inline
def data_value(s: Program, source: int, c: int, u: int) -> Any:
    """The same for one value: columns beyond the last whole vector."""
    real, o = s.work.dtype.type, s.options
    x = real(s.data[source * o.data_columns + c]) / real(o.divisor)
    if o.binarise == DYNAMIC or o.binarise == FIXED:
        return real(1) if real(s.words[u + c] >> np.uint32(8)) * real(2.0**-24) < x else real(0)
    if o.binarise == THRESHOLD:
        return real(1) if x > real(0.5) else real(0)
    return x


# ── forward ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@part
def hidden(s: Program, t: int, threads: int, layer: Any, rows: int) -> None:
    """y = f(x W + b)."""
    out_of_line()
    P, capacity, tiles, c = s.layout.panel, s.layout.capacity, tile_count(rows), scratch_of(s, t)
    begin, end = share(layer.panels * tiles, t, threads)
    for unit in range(begin, end):
        p = unit // tiles
        r, height = tile_at(unit % tiles, rows)
        product(s, c, layer, p, r, height)
        for j in range(0, height * P, lane_count(s.work)):
            y = with_ones(activate(load(s.scratch, c + j), layer.activation), s.work, p * P + j % P, layer.outputs)
            store(s.work, layer.y + (p * capacity + r) * P + j, y)


@part
def latent(s: Program, t: int, threads: int, mu: Any, log_var: Any, rows: int) -> None:
    """q = N(μ, σ²) from the encoder's heads, z = μ + σ ε, KL(q ‖ p)."""
    out_of_line()
    P, capacity, tiles, c = s.layout.panel, s.layout.capacity, tile_count(rows), scratch_of(s, t)
    begin, end = share(mu.panels * tiles, t, threads)
    for unit in range(begin, end):
        p = unit // tiles
        r, height = tile_at(unit % tiles, rows)
        product(s, c, mu, p, r, height)
        product(s, c + TALL * P, log_var, p, r, height)
        for q in range(height):
            at = (p * capacity + r + q) * P
            ats = (mu.y + at, log_var.y + at, s.layout.eps + at, s.layout.z + at)
            kl = latent_row(s.work, s.scratch, c + q * P, TALL * P, ats, p * P, mu.outputs)
            s.parts[(s.layout.parts - mu.panels + p) * capacity + r + q] = -kl


@part
def likelihood(s: Program, t: int, threads: int, heads: Any, rows: int, w: float) -> None:
    """log p(x | z) by panel and row, and the cotangents of the decoder's heads for the cotangent w of each row."""
    out_of_line()
    one, two = heads
    P, capacity, tiles, c = s.layout.panel, s.layout.capacity, tile_count(rows), scratch_of(s, t)
    begin, end = share(one.panels * tiles, t, threads)
    shape = (s.options.family, s.options.log_floor)
    for unit in range(begin, end):
        p = unit // tiles
        r, height = tile_at(unit % tiles, rows)
        product(s, c, one, p, r, height)
        if two.weights != one.weights:
            product(s, c + TALL * P, two, p, r, height)
        for q in range(height):
            at, C = (p * capacity + r + q) * P, c + q * P
            if s.options.family == BERNOULLI:
                value = bernoulli_row(s.work, s.layout.x + at, s.scratch, C, one.dy + at, p * P, one.outputs, w)
            else:
                dys = (one.dy + at, two.dy + at)
                value = gaussian_row(
                    s.work, s.layout.x + at, s.scratch, C, TALL * P, dys, p * P, one.outputs, w, shape
                )
            s.parts[p * capacity + r + q] = value


@inline
def bound_rows(s: Program, t: int, threads: int, rows: int) -> None:
    """L = log p(x | z) − KL for each row: its panels summed in order, in float64."""
    begin, end = share(rows, t, threads)
    for r in range(begin, end):
        L = 0.0
        for p in range(s.layout.parts):
            L += s.parts[p * s.layout.capacity + r]
        s.bound[r] = L


# ── backward ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@part
def turn(s: Program, t: int, layer: Any, p: int, head: int) -> int:
    """The P rows of W behind panel p of dx, transposed: panel p of Wᵀ as (outputs, P); returns where it lies."""
    P, lanes = s.layout.panel, lane_count(s.w)
    to = (2 * t + head) * s.layout.turned_room
    for o in range(0, layer.panels * P, lanes):
        for i in range(0, P, lanes):
            W = layer.weights + (o // P * layer.rows + p * P + i) * P + o % P
            transpose(s.w, W, s.turned, to + o * P + i)
    return to


@inline
def turned_tile(s: Program, c: int, layer: Any, to: int, r: int, height: int) -> None:
    """Rows r … of a panel of dx = dy Wᵀ into the scratch at c, with Wᵀ from `turn`."""
    P, hop = s.layout.panel, s.layout.capacity * s.layout.panel
    if height == TALL:
        product_tall(s.scratch, c, s.work, layer.dy + r * P, s.turned, to, layer.outputs, P, hop)
    else:
        product_short(s.scratch, c, s.work, layer.dy + r * P, s.turned, to, layer.outputs, P, hop)


@inline
def dots_tile(s: Program, c: int, layer: Any, p: int, r: int, height: int) -> None:
    """The same straight from W: for few rows, which do not repay the turning."""
    P, capacity = s.layout.panel, s.layout.capacity
    for i in range(0, min(P, layer.inputs - p * P), DOT_COLS):
        W = layer.weights + (p * P + i) * P
        for q in range(0, height, DOT_ROWS):
            dy = layer.dy + (r + q) * P
            dots(s.scratch, c + q * P + i, s.work, dy, s.w, W, layer.panels, capacity * P, layer.rows * P)


@part
def through(s: Program, t: int, threads: int, first: int, count: int, below: int, rows: int, w: float) -> None:
    """dx of the `count` layers that read the same x, and through what made x: layer `below`, or z where below < 0."""
    out_of_line()
    one, P, capacity = s.layout.layers[first], s.layout.panel, s.layout.capacity
    tiles, c, panels, turned = tile_count(rows), scratch_of(s, t), (one.inputs + P - 1) // P, -1
    begin, end = share(panels * tiles, t, threads)
    for unit in range(begin, end):
        p = unit // tiles
        r, height = tile_at(unit % tiles, rows)
        for head in range(count):
            layer, tile = s.layout.layers[first + head], c + head * TALL * P
            if rows < FEW_ROWS:
                dots_tile(s, tile, layer, p, r, height)
            else:
                to = turn(s, t, layer, p, head) if p != turned else (2 * t + head) * s.layout.turned_room
                turned_tile(s, tile, layer, to, r, height)
        turned = p
        for j in range(0, height * P, lane_count(s.work)):
            dx = load(s.scratch, c + j)
            if count == 2:
                dx += load(s.scratch, c + TALL * P + j)
            made_by(s, dx, below, (p * capacity + r) * P + j, p * P + j % P, w)


@inline
def made_by(s: Program, dx: Any, below: int, at: int, column: int, w: float) -> None:
    """From dx of one vector to the cotangent of the layer, or of the heads of q, that x came from."""
    if below >= 0:
        layer = s.layout.layers[below]
        da = activate_vjp(dx, load(s.work, layer.y + at), layer.activation)
        store(s.work, layer.dy + at, where(columns(s.work, column) < layer.outputs, da, 0.0))
    else:
        mu, log_var = s.layout.layers[s.layout.encoder], s.layout.layers[s.layout.encoder + 1]
        ats = (mu.y + at, log_var.y + at, s.layout.eps + at, mu.dy + at, log_var.dy + at)
        latent_row_vjp(s.work, dx, ats, 0, columns(s.work, column) < mu.outputs, w)


@part
def update(s: Program, t: int, threads: int, rows: int, phase: Any, k: Any) -> None:
    """dW = xᵀ dy for every layer, a tile at a time, and Adam on it at once; phase = (first, last) micro-batch."""
    out_of_line()
    P, layers, units = s.layout.panel, s.layout.layers, 0
    for l in range(layers.size):
        units += layers[l].panels * (layers[l].inputs // P + 1)
    begin, end = share(units, t, threads)
    for l in range(layers.size):
        layer = layers[l]
        across = layer.inputs // P + 1  # panels of x, with its column of ones
        here = layer.panels * across
        for unit in range(max(begin, 0), min(end, here)):
            update_panel(s, scratch_of(s, t), layer, unit // across, unit % across, rows, phase, k)
        begin, end = begin - here, end - here


@inline
def update_panel(s: Program, c: int, layer: Any, p: int, across: int, rows: int, phase: Any, k: Any) -> None:
    """The weights that join one panel of x to one panel of dy."""
    P, capacity = s.layout.panel, s.layout.capacity
    inputs = min(P, layer.inputs + 1 - across * P)
    pull = s.options.pull * layer.prior
    first, last = phase
    for tile in range(tile_count(inputs)):
        i, height = tile_at(tile, inputs)
        x, dy = layer.x + across * capacity * P + i, layer.dy + p * capacity * P
        at = layer.weights + (p * layer.rows + across * P + i) * P
        if height == TALL:
            product_t_tall(s.scratch, c, s.work, x, s.work, dy, rows, rows, 0)
        else:
            product_t_short(s.scratch, c, s.work, x, s.work, dy, rows, rows, 0)
        if not (first and last):
            add_tile(s.g, at, s.scratch, c, height * P, first, last)
        if last:
            adam_tile(s.w, s.m, s.v, at, s.scratch, c, height * P, k, pull)


# ── the step ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@inline
def bounds(s: Program, t: int, threads: int, rows: int, w: float) -> None:
    """Encode, sample, decode; leaves log p(x | z), KL and the cotangents of the decoder's heads."""
    lay = s.layout
    for l in range(lay.encoder):
        hidden(s, t, threads, lay.layers[l], rows)
        barrier(s.gate, threads)
    latent(s, t, threads, lay.layers[lay.encoder], lay.layers[lay.encoder + 1], rows)
    barrier(s.gate, threads)
    for l in range(lay.decoder, lay.heads):
        hidden(s, t, threads, lay.layers[l], rows)
        barrier(s.gate, threads)
    heads = (lay.layers[lay.heads], lay.layers[lay.layers.size - 1])
    likelihood(s, t, threads, heads, rows, w)
    barrier(s.gate, threads)


@inline
def bounds_vjp(s: Program, t: int, threads: int, rows: int, w: float) -> None:
    """The same, walked in reverse: leaves the cotangent of every layer's output."""
    lay = s.layout
    first, count = lay.heads, lay.layers.size - lay.heads
    while first > lay.encoder:  # p's heads, p's hidden layers; the layer above z goes through z = μ + σ ε
        below = first - 1 if first > lay.decoder else -1
        through(s, t, threads, first, count, below, rows, w)
        barrier(s.gate, threads)
        first, count = (first - 1, 1) if first > lay.decoder else (lay.encoder, 2)
    while first > 0:  # q's heads, then q's hidden layers; the first asks for no dx
        through(s, t, threads, first, count, first - 1, rows, w)
        barrier(s.gate, threads)
        first, count = first - 1, 1


@inline
def adam_constants(o: Options, t: int, rate: float) -> Any:
    """What `adam_tile` needs at step number t ≥ 1."""
    fix1, fix2 = 1.0 / (1.0 - o.beta1**t), 1.0 / (1.0 - o.beta2**t)
    return (o.beta1, 1.0 - o.beta1, o.beta2, 1.0 - o.beta2, rate * fix1, fix2, o.epsilon, rate * o.decay)


@inline
def train_step(s: Program, t: int, threads: int, step: int, index: Array, start: int, batch: int, rate: float) -> float:
    """One minibatch, index[start : start + batch]; returns Σ_b L_b. Not finite: the weights are as before."""
    w, sum_of_bounds, k = 1.0 / batch, 0.0, adam_constants(s.options, step + 1, rate)
    for first in range(0, batch, s.options.micro):
        rows = min(s.options.micro, batch - first)
        minibatch(s, t, threads, step, index, start + first, first, rows)
        barrier(s.gate, threads)
        bounds(s, t, threads, rows, w)
        bound_rows(s, t, threads, rows)
        bounds_vjp(s, t, threads, rows, w)
        for r in range(rows):
            sum_of_bounds += s.bound[r]
        if not math.isfinite(sum_of_bounds):
            return sum_of_bounds
        update(s, t, threads, rows, (first == 0, first + rows == batch), k)
        barrier(s.gate, threads)
    return sum_of_bounds


@jit
def run(
    s: Program, t: int, threads: int, first_step: int, index: Array, batches: Array, rates: Array, sums: Array
) -> int:
    """Thread t's part of len(batches) steps; sums[i] = Σ_b L_b of step i. Returns the steps taken."""
    before = flush_to_zero()
    start, done = 0, 0
    for i in range(batches.size):
        total = train_step(s, t, threads, first_step + i, index, start, batches[i], rates[i])
        if t == 0:
            sums[i] = total
        if not math.isfinite(total):
            break
        start, done = start + batches[i], done + 1
    restore(before)
    return done
