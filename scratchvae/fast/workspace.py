"""§7.3 What the threads of a compiled step share, and how they share the work.

Every phase of a step is cut into *units*, tiles of one output matrix; thread t of T takes a consecutive share of them
and what others are late with, and between phases the threads meet at a barrier (`engine.threads`). A unit is computed
by one thread in a fixed order, so any T gives the same bits.
"""

from typing import Any, NamedTuple

import numpy as np

from scratchvae.engine.jit import inline, internal
from scratchvae.engine.threads import out_of_line
from scratchvae.engine.tiles import MR, pack_rows, panel_of, product, unsigned_divmod
from scratchvae.fast.layout import Layout
from scratchvae.types import Array

GREY, DYNAMIC, FIXED, THRESHOLD = range(4)  # in the order of `training.compiled.options`
FEW_ROWS = 48  # fewer rows than this do not repay the turning of W for dx, and dy needs no strips
TILES_IN_FLIGHT = 4  # tiles that a thread has in hand at once (or, of a row alone, sums by lanes)


class Options(NamedTuple):
    """What stays the same for a whole run."""

    family: int
    binarise: int
    divisor: float  # 255 for uint8 grey levels
    seed: Any  # np.uint64
    latent_purpose: int
    binarise_purpose: int
    micro: int  # rows of a micro-batch
    samples: int  # of z for each row: row b's lie in rows b · samples … of everything that hangs on z
    weighted: bool  # the importance-weighted bound, else the ELBO with its analytic KL
    beta1: float
    beta2: float
    epsilon: float
    decay: float
    pull: float  # 1 / N with a prior on θ, else 0
    data_columns: int
    latent: int


class Lists(NamedTuple):
    """The entries of the data that are not zero, by row and by column (`kernels.sparse`)."""

    row_at: Array  # int32, (rows, row_room): where a row of a panel of W begins, so at most 2³¹ / P columns
    row_x: Array
    row_count: Array  # int64 (rows,)
    row_room: int
    column_at: Array  # int32, (columns + 1, column_room): where a row of a panel of dy begins
    column_x: Array
    column_count: Array
    column_room: int


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
    scratch: Array  # (threads, TILES_IN_FLIGHT, MR, panel): the tiles in hand
    noise: Array  # (threads, noise_room): normals by row, sample and latent, each row padded to blocks of four
    words: Array  # uint32, (threads, word_room): blocks of four for one row of the data
    parts: Array  # float64, (panels, capacity): log p(x | z) and −KL, or log p(z) − log q(z), by panel and sample
    value: Array  # float64 (capacity,): their sum for each sample
    share: Array  # (capacity,): the share of each sample in its row's bound, adding to 1
    bound: Array  # float64 (capacity,): L of each row
    data: Array  # (N D,) uint8, grey levels or bits, or none …
    numbers: Array  # … but these: so that one version serves data of every kind
    log_floor: Array  # of σ² by column (or of the fixed variance), padded to whole panels
    lists: Lists
    counters: Array  # int64, see `engine.threads`
    entries: Array  # int64, see `kernels.separate`


@internal
def tile_product(C: Array, c: int, A: Array, a: int, B: Array, b: int, depth: int, height: int) -> None:
    """C[c:] = A B for a tile: the one copy of the tiles that the way forward and dx share."""
    out_of_line()
    product(C, c, A, a, B, b, depth, height)


@inline
def affine(s: Program, c: int, layer: Any, p: int, r: int, height: int) -> None:
    """Tile (rows r …, panel p) of x W + b into the scratch at c."""
    P = panel_of(s.work)
    W, x = layer.weights + p * layer.rows * P, strip(layer.x_strips, layer.inputs, r, P)
    tile_product(s.scratch, c, s.work, x, s.w, W, layer.inputs + 1, height)


@internal
def strip(strips: int, columns: int, r: int, P: int) -> int:
    """Where the strip of the tile with first row r begins: (columns and room for ones, whole panels) × MR."""
    return strips + r * (columns // P + 1) * P


@internal
def strip_tile(work: Array, capacity: int, panels: int, strips: int, columns: int, p: int, r: int) -> None:
    """The tall tile (rows r …, panel p) of a matrix in panels into its strips, where the next product reads it."""
    P = panel_of(work)
    pack_rows(work, panels + (p * capacity + r) * P, work, strip(strips, columns, r, P) + p * P * MR)


@internal
def strip_row(work: Array, capacity: int, panels: int, strips: int, columns: int, p: int, r: int) -> None:
    """The same for row r alone, where the rows of a tile have several owners."""
    P, (tile, q) = panel_of(work), unsigned_divmod(r, MR)
    at, to = panels + (p * capacity + r) * P, strip(strips, columns, tile * MR, P) + p * P * MR + q
    for j in range(P):
        work[np.uintp(to + j * MR)] = work[np.uintp(at + j)]


@inline
def scratch_of(s: Program, t: int) -> Any:
    return t * TILES_IN_FLIGHT * MR * panel_of(s.work)
