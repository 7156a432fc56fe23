"""§7.3 What the threads of a step share, and the few things that every job does with it.

Every job of a step is cut into *units*, tiles of one output matrix; thread t of T takes a consecutive share of them and
what others are late with, and between phases the threads meet at a barrier (`engine.threads`). A unit is computed by
one thread in a fixed order, so any T gives the same bits.
"""

from typing import Any, NamedTuple

import numpy as np

from scratchvae.engine.jit import inline, internal
from scratchvae.engine.threads import out_of_line
from scratchvae.engine.tiles import MR, pack_rows, panel_of, product, unsigned_divmod
from scratchvae.types import Array

FEW_ROWS = 48  # fewer rows than this do not repay the transposing of W for dx, and dy need not be packed
IN_FLIGHT = 2  # tiles that a thread has in hand at once: of two heads, or two micropanels of a walk along a list
LINKED = ("epsilon", "gather", "backward", "bounds", "rare", "clipped")  # each compiled by itself: the jump table
ROWS, SAMPLES, MOVED = range(3)  # whose rows a matrix has: x's; one for each sample; three for each sample (`measure`)


class Options(NamedTuple):
    """What stays the same for a whole run."""

    seed: Any  # np.uint64
    latent_purpose: int
    binarise_purpose: int  # 0: bits are not drawn
    by_name: bool  # ε is named by what a row holds: in evaluation
    samples_per_name: int  # of a row: so many samples' ε have one name
    by_source: bool  # the uniforms of binarisation are named by the row of the data set, the same in every epoch
    threshold: bool  # bits are x > ½
    divisor: float  # 255 for uint8 grey levels
    missing: bool  # NaN marks what is not there
    hidden_share: float  # of the values, which "random:P" hides, by uniforms of …
    mask_purpose: int
    micro: int  # rows of a micro-batch
    samples: int  # of z for each row, in training
    weighed: bool  # θ's weight hangs on r: the cotangents of the heads are multiplied with it afterwards
    columns: int  # of the data
    noise_columns: int  # of one sample
    capacity: int  # rows of a micropanel of activations
    x: int  # the micropanels of what q reads …
    target: int  # … and of what p(x | z) is asked for: the same, but where values are missing
    transposed_room: int  # floats of a micropanel of the largest Wᵀ
    noise_room: int  # normals that one thread draws at once, with room for a vector of blocks beyond
    word_room: int  # words of one row of the data, with room for two


class Lists(NamedTuple):
    """The entries of the data that are not zero, by row (CSR) and by column (CSC): see `fast.sparse`."""

    row_indices: Array  # int32, (rows, row_room): where a row of a micropanel of W begins: at most 2³¹ / P columns
    row_data: Array
    row_nnz: Array  # int64 (rows,)
    row_room: int
    column_indices: Array  # int32, (columns + 1, column_room): where a row of a micropanel of dy begins
    column_data: Array
    column_nnz: Array
    column_room: int


class Workspace(NamedTuple):
    """Everything that the threads share. Floats of one dtype except where said.

    In compiled code every `s: Workspace` is an address, `engine.shared.Shared(Workspace(…))`, which
    `training.workspaces` builds.
    """

    options: Options
    rule: Any  # `rules.Rule`
    optimizer: Any  # `optimizer.Optimizer`
    layers: Array  # layout.LAYER …
    owners: Array  # … without shadows
    latents: Array  # layout.LATENT
    draws: Array  # schedule.DRAW: where ε goes
    forward: Array  # schedule.JOB …
    backward: Array
    w: Array  # micropanels of the weights …
    m: Array  # … of what the optimizer remembers …
    v: Array
    g: Array  # … and of cotangents, gathered over micro-batches, or to be clipped
    squares: Array  # float64, Σ g² of each micropanel of weights, where g is clipped
    work: Array  # micropanels of activations and their cotangents
    transposed: Array  # (threads, heads, outputs, P): a micropanel of Wᵀ
    scratch: Array  # (threads, IN_FLIGHT, MR, P): the tiles in hand
    noise: Array  # (threads, noise_room): normals by row, sample and latent, each row padded to blocks of four
    words: Array  # uint32, (threads, word_room): blocks of four for one row of the data
    parts: Array  # float64, (parts, capacity): what each micropanel adds to a sample's r
    value: Array  # float64, a sample's r …
    signal: Array  # … and what the score is weighted by: the same without KL where that is in closed form
    theta: Array  # float64, a sample's weights (`estimators.frame`): of ∂ log p/∂θ, with the 1/B of the mean …
    path: Array  # … the path's factor …
    score: Array  # … and of ∂ log q/∂φ, where the rule has a score
    bound: Array  # float64, L of each row …
    reconstruction: Array  # … and its mean log p(x | z)
    memory: Array  # float64 (3,): a learned baseline's mean, variance, steps
    data: Array  # (N D,) uint8, grey levels or bits, or none …
    numbers: Array  # … but these: so that one version serves data of every kind
    by_column: Any  # `epilogues.Columns`
    lists: Lists
    counters: Array  # int64, see `engine.threads`
    jump_table: Array  # int64, see `engine.linkable`


class Now(NamedTuple):
    """The micro-batch at hand."""

    step: int
    first: int  # its first row's place in the minibatch
    rows: int
    samples: int  # of z for each row: row b's lie in rows b · samples … of everything that hangs on z
    batch: int  # rows of the whole minibatch; 0 where no cotangents are wanted, as in evaluation


@internal
def rows_of(kind: int, now: Now) -> int:
    """How many rows a matrix has."""
    return now.rows if kind == ROWS else now.rows * now.samples * (1 if kind == SAMPLES else 3)


@inline
def at(s: Workspace, place: int, p: int, r: int) -> int:
    """Where row r of micropanel p begins, of the matrix at `place`."""
    return place + (p * s.options.capacity + r) * panel_of(s.work)


@internal
def packed_at(packed: int, columns: int, r: int, P: int) -> int:
    """Where the packed tile with first row r begins: (columns and room for ones, whole micropanels) × MR."""
    return packed + r * (columns // P + 1) * P


@internal
def pack_tile(s: Workspace, place: int, packed: int, columns: int, p: int, r: int) -> None:
    """Pack the tall tile (rows r …, micropanel p) of a matrix, for the next product to read."""
    P = panel_of(s.work)
    pack_rows(s.work, at(s, place, p, r), s.work, packed_at(packed, columns, r, P) + p * P * MR)


@internal
def pack_row(s: Workspace, place: int, packed: int, columns: int, p: int, r: int) -> None:
    """The same for row r alone, where the rows of a tile have several owners."""
    P, (tile, q) = panel_of(s.work), unsigned_divmod(r, MR)
    a, to = at(s, place, p, r), packed_at(packed, columns, tile * MR, P) + p * P * MR + q
    for j in range(P):
        s.work[np.uintp(to + j * MR)] = s.work[np.uintp(a + j)]


@internal
def tile_product(C: Array, c: int, A: Array, a: int, B: Array, b: int, depth: int, height: int) -> None:
    """C[c:] = A B for a tile: the one copy of the tiles that the way forward and dx share."""
    out_of_line()
    product(C, c, A, a, B, b, depth, height)


@internal
def affine(s: Workspace, c: int, layer: Any, p: int, r: int, height: int) -> None:
    """Tile (rows r …, micropanel p) of x W + b into the scratch at c."""
    P = panel_of(s.work)
    W, x = layer.weights + p * layer.rows * P, packed_at(layer.packed_x, layer.inputs, r, P)
    tile_product(s.scratch, c, s.work, x, s.w, W, layer.inputs + 1, height)


@inline
def scratch_of(s: Workspace, t: int) -> int:
    """Where thread t's tiles in hand lie."""
    return t * IN_FLIGHT * MR * panel_of(s.work)
