"""§7.3 The jobs of the way back: cotangents layer by layer, those of q from dz, then dW = xᵀ dy and the update."""

from typing import Any

from scratchvae.engine.jit import internal
from scratchvae.engine.products import tile_at, tile_count
from scratchvae.engine.threads import out_of_line, static_share, steal
from scratchvae.engine.tiles import DOT_COLS, DOT_ROWS, MR, dots, panel_of, product_t, transpose, unsigned_divmod
from scratchvae.engine.vectors import columns, lane_count, load, store, where, zeros
from scratchvae.fast.epilogues import activate_vjp
from scratchvae.fast.optimizer import Constants, update_tile
from scratchvae.fast.workspace import (
    FEW_ROWS,
    SAMPLES,
    Now,
    Workspace,
    at,
    pack_tile,
    packed_at,
    rows_of,
    scratch_of,
    tile_product,
)


@internal
def weigh(s: Workspace, t: int, threads: int, job: Any, now: Now) -> None:
    """The input of p's heads, its column of ones too, times each sample's weight: dW = xᵀ (θ ∘ dy) = (θ ∘ x)ᵀ dy, and
    x is narrower than dy."""
    out_of_line()
    layer, to, P = s.layers[job.layer], s.layers[job.below].x, panel_of(s.work)
    rows = rows_of(SAMPLES, now)
    begin, end = static_share((layer.inputs // P + 1) * rows, t, threads)
    for unit in range(begin, end):
        p, n = unsigned_divmod(unit, rows)
        for j in range(0, P, lane_count(s.work)):
            store(s.work, at(s, to, p, n) + j, load(s.work, at(s, layer.x, p, n) + j) * s.theta[n])


# ── dx = dy Wᵀ, and through the layer that made x ─────────────────────────────────────────────────────────────────────


@internal
def through(s: Workspace, t: int, threads: int, job: Any, rows: int) -> None:
    """dx of some layers that read the same x, and through the activation that made x; nothing is updated yet."""
    out_of_line()
    if rows < FEW_ROWS:
        through_dots(s, t, threads, job, rows)
    else:
        through_transposed(s, t, threads, job, rows)


@internal
def transpose_panel(s: Workspace, t: int, layer: Any, p: int, head: int) -> int:
    """The P rows of W behind micropanel p of dx, transposed: that of Wᵀ, (outputs, P); returns where it lies."""
    P, lanes = panel_of(s.work), lane_count(s.w)
    to = (2 * t + head) * s.options.transposed_room
    for o in range(0, layer.panels * P, lanes):
        for i in range(0, P, lanes):
            W = layer.weights + (o // P * layer.rows + p * P + i) * P + o % P
            transpose(s.w, W, s.transposed, to + o * P + i)
    return to


@internal
def through_transposed(s: Workspace, t: int, threads: int, job: Any, rows: int) -> None:
    """`through` by micropanels of dx, each from its micropanel of Wᵀ."""
    one, P, done = s.layers[job.layer], panel_of(s.work), -1
    tiles, c, panels = tile_count(rows), scratch_of(s, t), (one.inputs + P - 1) // P  # beyond the inputs dx is junk
    while True:
        begin, end = steal(s.counters, job.loop, panels * tiles, tiles, t, threads)
        if begin == end:
            return
        for unit in range(begin, end):
            p, i = unsigned_divmod(unit, tiles)
            r, height = tile_at(i, rows)
            for head in range(job.count):
                layer = s.layers[job.layer + head]
                W = transpose_panel(s, t, layer, p, head) if p != done else (2 * t + head) * s.options.transposed_room
                dy = packed_at(layer.packed_dy, layer.outputs, r, P)
                tile_product(s.scratch, c + head * MR * P, s.work, dy, s.transposed, W, layer.outputs, height)
            done = p
            for j in range(0, height * P, lane_count(s.work)):
                made_by(s, c, j, job, at(s, 0, p, r) + j, p * P + j % P, r + j // P)
            if job.below >= 0:
                made = s.layers[job.below]
                pack_tile(s, made.dy, made.packed_dy, made.outputs, p, r)


@internal
def through_dots(s: Workspace, t: int, threads: int, job: Any, rows: int) -> None:
    """`through` by vectors of dx, finer units than micropanels: with few rows there are few of those."""
    one, P, lanes = s.layers[job.layer], panel_of(s.work), lane_count(s.work)
    tiles, c = tile_count(rows), scratch_of(s, t)
    while True:
        begin, end = steal(s.counters, job.loop, (one.inputs + lanes - 1) // lanes * tiles, 1, t, threads)
        if begin == end:
            return
        for unit in range(begin, end):
            v, i = unsigned_divmod(unit, tiles)
            r, height = tile_at(i, rows)
            for head in range(job.count):
                dots_tile(s, c + head * MR * P, s.layers[job.layer + head], v * lanes, r, height)
            for q in range(height):
                made_by(s, c, q * P, job, at(s, 0, v * lanes // P, r + q) + v * lanes % P, v * lanes, r + q)


@internal
def dots_tile(s: Workspace, c: int, layer: Any, column: int, r: int, height: int) -> None:
    """One vector wide (or DOT_COLS, whose surplus nobody reads), rows r … and columns from `column` on of dx = dy Wᵀ,
    straight from W."""
    P, stride = panel_of(s.work), s.options.capacity * panel_of(s.work)
    for i in range(column, min(column + lane_count(s.work), layer.inputs), DOT_COLS):
        for q in range(0, height, DOT_ROWS):
            dy, W = layer.dy + (r + q) * P, layer.weights + i * P
            to = c + q * P + i - column
            dots(s.scratch, to, s.work, dy, s.w, W, layer.panels, stride, layer.rows * P)


@internal
def made_by(s: Workspace, c: int, j: int, job: Any, where_to: int, column: int, row: int) -> None:
    """One vector of dx, the sum over the heads in the scratch, to the cotangent of the layer below, or as it is."""
    dx = load(s.scratch, c + j)
    if job.count == 2:
        dx += load(s.scratch, c + MR * panel_of(s.work) + j)
    if job.weighed:
        dx *= zeros(s.work) + s.theta[row]
    if job.below >= 0:
        layer = s.layers[job.below]
        da = activate_vjp(dx, load(s.work, layer.y + where_to), layer.activation)
        store(s.work, layer.dy + where_to, where(columns(s.work, column) < layer.outputs, da, 0.0))
    else:
        store(s.work, job.dx + where_to, dx)


# ── dW = xᵀ dy ────────────────────────────────────────────────────────────────────────────────────────────────────────


@internal
def update(s: Workspace, t: int, threads: int, job: Any, rows: int, ends: Any, k: Constants) -> None:
    """dW = xᵀ dy a tile at a time, and the optimizer on it at once; `ends` as in `update_tile`.

    A layer is shared as on the way forward, by micropanels: a thread reads next the weights that it wrote now, and they
    need not travel from core to core.
    """
    out_of_line()
    layer, P = s.layers[job.layer], panel_of(s.work)
    across = layer.inputs // P + 1  # micropanels of x, with its column of ones
    while True:
        begin, end = steal(s.counters, job.loop, layer.panels * across, 1, t, threads)
        if begin == end:
            break
        for unit in range(begin, end):
            p, a = unsigned_divmod(unit, across)
            update_panel(s, scratch_of(s, t), layer, p, a, rows, ends, k)


@internal
def update_panel(s: Workspace, c: int, layer: Any, p: int, across: int, rows: int, ends: Any, k: Constants) -> None:
    """The weights that join one micropanel of x to one of dy. Padding of the last tile is their own, since the tiles
    fill P rows exactly (12 + 12 + 8, 6 + 6 + 4, 12 + 4, 6 + 2, 4, 2): no two threads write the same weights."""
    P = panel_of(s.work)
    inputs = min(P, layer.inputs + 1 - across * P)
    for tile in range(tile_count(inputs)):
        i, height = tile_at(tile, inputs)
        x, dy = at(s, layer.x, across, 0) + i, at(s, layer.dy, p, 0)
        W = layer.weights + (p * layer.rows + across * P + i) * P
        product_t(s.scratch, c, s.work, x, s.work, dy, rows, height)
        update_tile(s, c, layer, W, height * P, ends, k)
