"""§7.3 Mostly blank data: the first layer as sums over the pixels that are not zero.

A binarised digit has 13 ones in a hundred pixels, so seven of eight terms of the two products with x are zeros:

    y  = x W + b    y[b, :]  = Σ over the i with x[b, i] ≠ 0 of x[b, i] W[i, :]     rows of W, named by row b's list
    dW = xᵀ dy      dW[i, :] = Σ over the b with x[b, i] ≠ 0 of x[b, i] dy[b, :]    rows of dy, named by column i's list

The bias is row I of W; it ends every row's list with x = 1, as the column of ones does in the dense product. The terms
are those of the dense product in the same order, for finite W and dy: 0 · NaN is left out with the zeros, so a NaN in
the row of W of a blank pixel shows when that pixel is first inked. Lists are made once a minibatch; a minibatch with
more ink than `MOST` takes the dense tiles.
"""

from typing import Any

import numpy as np

from scratchvae.engine.jit import internal
from scratchvae.engine.products import tile_at, tile_count
from scratchvae.engine.shuffles import compress
from scratchvae.engine.threads import out_of_line, static_share, steal
from scratchvae.engine.tiles import MR, listed_1, listed_2, panel_of, unsigned_divmod
from scratchvae.engine.vectors import columns, lane_count, load, movemask, popcount, store_lanes
from scratchvae.fast.forward import hidden_tile
from scratchvae.fast.optimizer import Constants, update_tile
from scratchvae.fast.workspace import Workspace, at, scratch_of
from scratchvae.types import Array

MOST = 0.4  # share of pixels that are not zero, beyond which the tiles are faster
FEWEST = 8  # rows, below which dW takes them, too: a sum of one or two terms is all overhead


@internal
def list_row(s: Workspace, r: int) -> None:
    """The list of row r: where in a micropanel of W its rows begin, and x; last the column of ones, for the bias."""
    P, lists, first = panel_of(s.work), s.lists, r * s.lists.row_room
    n = first
    for c in range(0, s.options.columns + 1, lane_count(s.work)):
        x = load(s.work, at(s, s.options.x, c // P, r) + c % P)
        inked = x != 0.0
        store_lanes(lists.row_indices, n, compress(inked, columns(s.work, c) * np.uint32(P)))
        store_lanes(lists.row_data, n, compress(inked, x))
        n += popcount(movemask(inked))
    lists.row_nnz[r] = n - first


@internal
def is_sparse(s: Workspace, rows: int) -> bool:
    """Whether the lists are short enough to be worth it; every thread agrees."""
    listed = 0
    for r in range(rows):
        listed += s.lists.row_nnz[r]
    return listed <= MOST * rows * s.options.columns


@internal
def list_columns(s: Workspace, t: int, threads: int, rows: int) -> None:
    """The lists of thread t's columns, from those of the rows: where in a micropanel of dy the rows begin, and x."""
    P, lists = panel_of(s.work), s.lists
    begin, end = static_share(s.options.columns + 1, t, threads)
    lists.column_nnz[begin:end] = 0
    for r in range(rows):
        first = r * lists.row_room
        for n in range(first, first + lists.row_nnz[r]):
            i = unsigned_divmod(lists.row_indices[np.uintp(n)], P)[0]
            if begin <= i < end:
                count = lists.column_nnz[np.uintp(i)]
                to = np.uintp(i * lists.column_room + count)
                lists.column_indices[to], lists.column_data[to] = r * P, lists.row_data[np.uintp(n)]
                lists.column_nnz[np.uintp(i)] = count + 1


@internal
def listed_sums(C: Array, c: int, A: Array, a: int, stride: int, the_list: Any, panels: int) -> None:
    """C[c + g MR P:][:P] = Σ over the list's entries n of x[n] A[a + g stride + indices[n]:][:P] for one or two
    micropanels g; the_list = (indices, x, the first entry's number, how many)."""
    indices, x, first, count = the_list
    step = MR * panel_of(C)
    if panels == 2:
        listed_2(C, c, step, A, a, stride, indices, x, first, count)
    else:
        listed_1(C, c, step, A, a, stride, indices, x, first, count)


@internal
def stretch(begin: int, end: int, tiles: int) -> Any:
    """Of the units from `begin` on those that are walked together: (micropanels, tiles of each).

    Two whole micropanels or one, or a part of one.
    """
    i = unsigned_divmod(begin, tiles)[1]
    if i > 0 or end - begin < tiles:
        return 1, min(tiles - i, end - begin)
    return min(2, unsigned_divmod(end - begin, tiles)[0]), tiles


@internal
def sparse_hidden(s: Workspace, t: int, threads: int, layer: Any, loop: int, rows: int) -> None:
    """`forward.hidden` for the first layer, by rows' lists; makes the columns' lists if dW is to have them."""
    out_of_line()
    P, tiles, c, lists = panel_of(s.work), tile_count(rows), scratch_of(s, t), s.lists
    while True:
        begin, end = steal(s.counters, loop, layer.panels * tiles, 2 * tiles, t, threads)
        if begin == end:
            break
        while begin < end:
            panels, run = stretch(begin, end, tiles)
            p, first = unsigned_divmod(begin, tiles)
            for i in range(first, first + run):
                r, height = tile_at(i, rows)
                for q in range(min(height, rows - r)):
                    the_list = (lists.row_indices, lists.row_data, (r + q) * lists.row_room, lists.row_nnz[r + q])
                    W = layer.weights + p * layer.rows * P
                    listed_sums(s.scratch, c + q * P, s.w, W, layer.rows * P, the_list, panels)
                for g in range(panels):
                    hidden_tile(s, c + g * MR * P, layer, p + g, r, height)
            begin += panels * run
    if rows >= FEWEST:
        list_columns(s, t, threads, rows)


@internal
def sparse_update(s: Workspace, t: int, threads: int, layer: Any, loop: int, ends: Any, k: Constants) -> None:
    """`backward.update` for the first layer, by columns' lists."""
    out_of_line()
    P, tiles, c, lists = panel_of(s.work), tile_count(layer.inputs + 1), scratch_of(s, t), s.lists
    stride = s.options.capacity * P
    while True:
        begin, end = steal(s.counters, loop, layer.panels * tiles, 2 * tiles, t, threads)
        if begin == end:
            break
        while begin < end:
            panels, run = stretch(begin, end, tiles)
            p, first = unsigned_divmod(begin, tiles)
            for tile in range(first, first + run):
                i, height = tile_at(tile, layer.inputs + 1)
                for q in range(height):
                    count = lists.column_nnz[i + q] if i + q <= layer.inputs else 0  # beyond lies padding
                    the_list = (lists.column_indices, lists.column_data, (i + q) * lists.column_room, count)
                    listed_sums(s.scratch, c + q * P, s.work, layer.dy + p * stride, stride, the_list, panels)
                for g in range(panels):
                    W = layer.weights + ((p + g) * layer.rows + i) * P
                    update_tile(s, c + g * MR * P, layer, W, height * P, ends, k)
            begin += panels * run
