"""§7.3 The way back of the compiled step: cotangents layer by layer, then dW = xᵀ dy with Adam on each tile of it.

In a batch of one row both are done at once (`through_row`).
"""

from typing import Any

import numpy as np

from scratchvae.engine.jit import inline, internal
from scratchvae.engine.products import tile_at, tile_count
from scratchvae.engine.shuffles import total
from scratchvae.engine.threads import out_of_line, static_share, steal
from scratchvae.engine.tiles import (
    DOT_COLS,
    DOT_ROWS,
    MR,
    dots,
    panel_of,
    product_t,
    transpose,
    unsigned_divmod,
)
from scratchvae.engine.vectors import columns, lane_count, load, store, where, zeros
from scratchvae.fast.epilogues import activate_vjp, adam, adam_tile, add_tile, sample_row_vjp, shrink_tile
from scratchvae.fast.workspace import FEW_ROWS, TILES_IN_FLIGHT, Program, scratch_of, strip, strip_tile, tile_product

LATENT, NOBODY = -1, -2  # in the place of the layer below: x is z; x is the data, and nobody asks for dx


@internal
def turn(s: Program, t: int, layer: Any, p: int, head: int) -> int:
    """The P rows of W behind panel p of dx, transposed: panel p of Wᵀ as (outputs, P); returns where it lies."""
    P, lanes = panel_of(s.work), lane_count(s.w)
    to = (2 * t + head) * s.layout.turned_room
    for o in range(0, layer.panels * P, lanes):
        for i in range(0, P, lanes):
            W = layer.weights + (o // P * layer.rows + p * P + i) * P + o % P
            transpose(s.w, W, s.turned, to + o * P + i)
    return to


@inline
def turned_tile(s: Program, c: int, layer: Any, to: int, r: int, height: int) -> None:
    """Rows r … of a panel of dx = dy Wᵀ into the scratch at c, with Wᵀ from `turn`."""
    P = panel_of(s.work)
    dy = strip(layer.dy_strips, layer.outputs, r, P)
    tile_product(s.scratch, c, s.work, dy, s.turned, to, layer.outputs, height)


@inline
def through_turned(s: Program, t: int, threads: int, first: int, count: int, below: int, rows: int) -> None:
    """`through` by panels of dx, each from its panel of Wᵀ."""
    one, P, capacity = s.layout.layers[first], panel_of(s.work), s.layout.capacity
    tiles, c, panels, turned = tile_count(rows), scratch_of(s, t), (one.inputs + P - 1) // P, -1
    while True:
        begin, end = steal(s.counters, 0, panels * tiles, tiles, t, threads)
        if begin == end:
            return
        for unit in range(begin, end):
            p, i = unsigned_divmod(unit, tiles)
            r, height = tile_at(i, rows)
            for head in range(count):
                layer, tile = s.layout.layers[first + head], c + head * MR * P
                to = turn(s, t, layer, p, head) if p != turned else (2 * t + head) * s.layout.turned_room
                turned_tile(s, tile, layer, to, r, height)
            turned = p
            for j in range(0, height * P, lane_count(s.work)):
                dx = load(s.scratch, c + j)
                if count == 2:
                    dx += load(s.scratch, c + MR * P + j)
                made_by(s, dx, below, (p * capacity + r) * P + j, p * P + j % P)
            if below > 0:  # the first layer asks for no dx
                made = s.layout.layers[below]
                strip_tile(s.work, s.layout.capacity, made.dy, made.dy_strips, made.outputs, p, r)


@inline
def dots_tile(s: Program, c: int, layer: Any, column: int, r: int, height: int) -> None:
    """One vector wide (or DOT_COLS, whose surplus nobody reads), rows r … and columns from `column` on of dx = dy Wᵀ,
    straight from W."""
    P, capacity = panel_of(s.work), s.layout.capacity
    for i in range(column, min(column + lane_count(s.work), layer.inputs), DOT_COLS):
        for q in range(0, height, DOT_ROWS):
            dy, W = layer.dy + (r + q) * P, layer.weights + i * P
            to = c + q * P + i - column
            dots(s.scratch, to, s.work, dy, s.w, W, layer.panels, capacity * P, layer.rows * P)


@inline
def through_dots(s: Program, t: int, threads: int, first: int, count: int, below: int, rows: int) -> None:
    """`through` by vectors of dx, finer units than panels: with few rows there are few."""
    one, P, lanes = s.layout.layers[first], panel_of(s.work), lane_count(s.work)
    tiles, c = tile_count(rows), scratch_of(s, t)
    while True:
        begin, end = steal(s.counters, 0, (one.inputs + lanes - 1) // lanes * tiles, 1, t, threads)
        if begin == end:
            return
        for unit in range(begin, end):
            v, i = unsigned_divmod(unit, tiles)
            r, height = tile_at(i, rows)
            for head in range(count):
                dots_tile(s, c + head * MR * P, s.layout.layers[first + head], v * lanes, r, height)
            for q in range(height):
                dx = load(s.scratch, c + q * P)
                if count == 2:
                    dx += load(s.scratch, c + (MR + q) * P)
                at = (v * lanes // P * s.layout.capacity + r + q) * P + v * lanes % P
                made_by(s, dx, below, at, v * lanes)


@internal
def through(s: Program, t: int, threads: int, which: Any, rows: int, k: Any) -> None:
    """dx of some layers that read the same x, and through the layer that made x; nothing is updated yet.

    which = (first, how many, the layer below or LATENT).
    """
    out_of_line()
    first, count, below = which
    if rows < FEW_ROWS:
        through_dots(s, t, threads, first, count, below, rows)
    else:
        through_turned(s, t, threads, first, count, below, rows)


@inline
def made_by(s: Program, dx: Any, below: int, at: int, column: int) -> None:
    """From dx of one vector to the cotangent of the layer that x came from; dz is kept as it is."""
    if below >= 0:
        layer = s.layout.layers[below]
        da = activate_vjp(dx, load(s.work, layer.y + at), layer.activation)
        store(s.work, layer.dy + at, where(columns(s.work, column) < layer.outputs, da, 0.0))
    else:
        store(s.work, s.layout.dz + at, dx)


@internal
def through_latent(s: Program, t: int, threads: int, rows: int, w: float) -> None:
    """From dz of the samples to the cotangents of q's heads."""
    lay, P, S, tiles = s.layout, panel_of(s.work), s.options.samples, tile_count(rows)
    mu, log_var = lay.layers[lay.encoder], lay.layers[lay.encoder + 1]
    begin, end = static_share(mu.panels * tiles, t, threads)
    for unit in range(begin, end):
        p, i = unsigned_divmod(unit, tiles)
        r, height = tile_at(i, rows)
        for b in range(r, min(r + height, rows)):
            for j in range(0, P, lane_count(s.work)):
                at, on = (p * lay.capacity + b) * P + j, p * lay.capacity * P + j
                ats = (mu.y + at, log_var.y + at, mu.dy + at, log_var.dy + at)
                samples = (b * S, (b + 1) * S, P, lay.eps + on, lay.z + on, lay.dz + on)
                real = columns(s.work, p * P + j) < mu.outputs
                sample_row_vjp(s.work, s.share, ats, samples, real, w, s.options.weighted)
        if rows >= FEW_ROWS:
            strip_tile(s.work, s.layout.capacity, mu.dy, mu.dy_strips, mu.outputs, p, r)
            strip_tile(s.work, s.layout.capacity, log_var.dy, log_var.dy_strips, log_var.outputs, p, r)


@internal
def update(s: Program, t: int, threads: int, bottom: int, rows: int, phase: Any, k: Any) -> None:
    """dW = xᵀ dy for the layers from `bottom` on, a tile at a time, and Adam on it at once.

    phase = (first, last) micro-batch; k = (what `adam` needs, α λ).
    """
    out_of_line()
    # Each layer is shared as on the way forward, by panels: a thread reads next the weights that it wrote now, and
    # they need not travel from core to core. From the top down: the decoder's heads, read last, may still be near.
    P, layers = panel_of(s.work), s.layout.layers
    for l in range(layers.size - 1, bottom - 1, -1):
        layer, many = layers[l], rows if l < s.layout.decoder else rows * s.options.samples
        across = layer.inputs // P + 1  # panels of x, with its column of ones
        while True:
            begin, end = steal(s.counters, l, layer.panels * across, 1, t, threads)
            if begin == end:
                break
            for unit in range(begin, end):
                p, a = unsigned_divmod(unit, across)
                update_panel(s, scratch_of(s, t), layer, p, a, many, phase, k)


@inline
def update_panel(s: Program, c: int, layer: Any, p: int, across: int, rows: int, phase: Any, k: Any) -> None:
    """The weights that join one panel of x to one panel of dy. Padding of the last tile is this panel's own, since the
    tiles fill P rows exactly (12 + 12 + 8, 6 + 6 + 4, 12 + 4, 6 + 2, 4, 2): no two threads write the same weights."""
    P, capacity = panel_of(s.work), s.layout.capacity
    inputs = min(P, layer.inputs + 1 - across * P)
    for tile in range(tile_count(inputs)):
        i, height = tile_at(tile, inputs)
        x, dy = layer.x + across * capacity * P + i, layer.dy + p * capacity * P
        at = layer.weights + (p * layer.rows + across * P + i) * P
        product_t(s.scratch, c, s.work, x, s.work, dy, rows, height)
        update_tile(s, c, layer, at, height * P, phase, k)


@inline
def update_tile(s: Program, c: int, layer: Any, at: int, size: int, phase: Any, k: Any) -> None:
    """Gather the tile of dW in the scratch at c, and with the last micro-batch update the weights from `at` on."""
    first, last = phase
    if not (first and last):
        add_tile(s.g, at, s.scratch, c, size, first, last)
    if last:
        plain, shrink = k
        pull = s.options.pull * layer.prior
        if pull != 0.0 or shrink != 0.0:
            shrink_tile(s.w, at, s.scratch, c, size, pull, shrink)
        adam_tile(s.w, s.m, s.v, at, s.scratch, c, size, plain)


# ── a batch of one row: dW = x dyᵀ is an outer product, so a weight takes part in three products and no more ──────────


@internal
def through_row(s: Program, t: int, threads: int, which: Any, rows: int, k: Any) -> None:
    """`through` for a single row (but for NOBODY), and the update of the same layers: their weights are read once.

    Each thread has its own rows of W, since an element of dx needs a whole one; the bias is the last, and its sum is
    dropped. k as in `update`.
    """
    out_of_line()
    first, count, below = which
    one, P, c, lanes = s.layout.layers[first], panel_of(s.work), scratch_of(s, t), lane_count(s.work)
    most = TILES_IN_FLIGHT * MR * P // lanes // lanes * lanes  # rows whose sums by lanes fit the scratch
    while True:
        begin, end = steal(s.counters, 0, one.inputs // lanes + 1, most // lanes, t, threads)
        if begin == end:
            return
        for i in range(begin * lanes, min(end * lanes, one.inputs + 1), most):
            stop = min(i + most, end * lanes, one.inputs + 1)
            for j in range(0, (stop - i) * lanes, lanes):
                store(s.scratch, c + j, zeros(s.work))
            for head in range(count):
                layer = s.layout.layers[first + head]
                for p in range(layer.panels):
                    row_panel(s, c, layer, p, i, stop, below != NOBODY, k[0])
            if below != NOBODY:
                for j in range(stop - i):  # the sums by lanes become dx, in place
                    s.scratch[np.uintp(c + j)] = total(load(s.scratch, c + j * lanes))
                for j in range(i, min(stop, one.inputs), lanes):
                    made_by(s, load(s.scratch, c + j - i), below, j // P * s.layout.capacity * P + j % P, j)


@inline
def row_panel(s: Program, c: int, layer: Any, p: int, i: int, stop: int, dx: bool, k: Any) -> None:
    """Rows i … stop of panel p of W: w · dy by lanes added to the sums at c if dx is wanted, then w ← Adam(w, x dy)."""
    P, capacity, lanes = panel_of(s.work), s.layout.capacity, lane_count(s.work)
    dy = layer.dy + p * capacity * P
    left, right = load(s.work, dy), load(s.work, dy + lanes)
    for j in range(i, stop):
        x = s.work[np.uintp(layer.x + j // P * capacity * P + j % P)]
        at, sums = layer.weights + (p * layer.rows + j) * P, c + (j - i) * lanes
        W_left, W_right = load(s.w, at), load(s.w, at + lanes)
        if dx:
            store(s.scratch, sums, load(s.scratch, sums) + W_left * left + W_right * right)
        adam(s.w, s.m, s.v, at, W_left, left * x, k)
        adam(s.w, s.m, s.v, at + lanes, W_right, right * x, k)
