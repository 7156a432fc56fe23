"""Engine. The products of a dense layer for plain (rows, columns) arrays: laid out, multiplied in tiles.

y = x W + b,  dW += xᵀ dy,  dx = dy Wᵀ, each as in `engine.tiles`. The bias is one more row of W against a column of
ones. Laying operands out in micropanels costs a pass over each; the compiled step, where they always lie so, has its
own loops.
"""

from typing import Any

import numpy as np

from scratchvae.engine.edges import read
from scratchvae.engine.jit import inline, internal, jit
from scratchvae.engine.tiles import (
    DOT_COLS,
    DOT_ROWS,
    MR,
    MR_MIDDLE,
    MR_SHORT,
    dots,
    product,
    product_t,
    unsigned_divmod,
)
from scratchvae.engine.vectors import lane_count, store
from scratchvae.types import Array


@internal
def tile_count(rows: int) -> Any:
    """How many tiles cover `rows` rows; the last may be padding in part."""
    return unsigned_divmod(rows + MR - 1, MR)[0]


@internal
def tile_at(i: int, rows: int) -> Any:
    """First row and height of tile i: tall ones, and one for what is left."""
    rest = rows - i * MR
    return i * MR, MR if rest > MR_MIDDLE else MR_MIDDLE if rest > MR_SHORT else MR_SHORT


@internal
def padded(rows: int) -> int:
    """Rows of a micropanel: whole short tiles, and an odd number, so that no two share sets of the cache."""
    return ((rows + MR_SHORT - 1) // MR_SHORT * MR_SHORT) | 1


@internal
def fill_panels(out: Array, a: Array, row: int, capacity: int, P: int) -> None:
    """a (R, N) into the rows from `row` on of micropanels [N / P][capacity][P], zeros right of its last column."""
    rows, N, lanes = a.shape[0], a.shape[1], lane_count(a)
    for c in range(0, N, P):
        for r in range(rows):
            for n in range(0, P, lanes):
                at, stop = r * N + c + n, r * N + N
                store(out, (c // P * capacity + row + r) * P + n, read(a, min(at, stop), stop, a))


@internal
def aligned(size: int, like: Array) -> Array:
    """Memory that begins with a cache line, so that no vector straddles two: `dots` is bound by its loads."""
    found = np.empty(size + 64 // like.itemsize, like.dtype)
    return found[-found.ctypes.data % 64 // like.itemsize :]


@internal
def panels_of(a: Array, below: Array, P: int) -> Array:
    """a (R, N) and the rows `below` it as micropanels [N / P][padded R][P], flat, zeros elsewhere."""
    rows = a.shape[0] + below.shape[0]
    capacity, panels = padded(rows), (a.shape[1] + P - 1) // P
    out = aligned(panels * capacity * P + 4 * P, a)
    fill_panels(out, a, 0, capacity, P)
    fill_panels(out, below, a.shape[0], capacity, P)
    for p in range(panels):
        out[(p * capacity + rows) * P : (p + 1) * capacity * P] = 0
    out[panels * capacity * P :] = 0
    return out


@internal
def alone(a: Array, P: int) -> Array:
    """The micropanels of one array."""
    return panels_of(np.ascontiguousarray(a), np.empty((0, a.shape[1]), a.dtype), P)


@internal
def packed_rows(a: Array) -> Array:
    """a (R, N) and a column of ones packed, [R / MR][N + 1][MR], flat; zeros in the rows beyond R."""
    depth, tiles = a.shape[1] + 1, tile_count(a.shape[0])
    out = np.empty(tiles * depth * MR, a.dtype)
    out[(tiles - 1) * depth * MR :] = 0
    for r in range(a.shape[0]):
        at = r // MR * MR * depth + r % MR
        for i in range(a.shape[1]):
            out[np.uintp(at + i * MR)] = a[np.uintp(r), np.uintp(i)]
        out[np.uintp(at + a.shape[1] * MR)] = 1
    return out


@internal
def weight_panels(W: Array, b: Array, P: int) -> Array:
    """W (I, O) and b (O,) as micropanels of I + 1 rows."""
    return panels_of(np.ascontiguousarray(W), np.ascontiguousarray(b).reshape(1, b.size), P)


@inline
def put(C: Array, y: Array, r: int, c: int, height: int, P: int, add: bool) -> None:
    """The tile C into y[r : r + height, c : c + P], cut to y's size."""
    n = min(P, y.shape[1] - c)
    for q in range(min(height, y.shape[0] - r)):
        for j in range(n):
            at = np.uintp(r + q), np.uintp(c + j)
            y[at] = y[at] + C[np.uintp(q * P + j)] if add else C[np.uintp(q * P + j)]


@jit
def dense(x: Array, W: Array, b: Array) -> Array:
    """y = x W + b."""
    P, rows, depth = 2 * lane_count(x), x.shape[0], x.shape[1] + 1
    X, panels, C = packed_rows(x), weight_panels(W, b, P), np.empty(MR * P, x.dtype)
    y = np.empty((rows, W.shape[1]), x.dtype)
    for c in range(0, W.shape[1], P):
        for tile in range(tile_count(rows)):
            r, height = tile_at(tile, rows)
            B = c * padded(depth)
            product(C, 0, X, r * depth, panels, B, depth, height)
            put(C, y, r, c, height, P, False)
    return y


@jit
def dense_vjp_params(dy: Array, x: Array, dW: Array, db: Array) -> None:
    """dW += xᵀ dy, db += 1ᵀ dy."""
    P, rows, hop = 2 * lane_count(x), x.shape[0], padded(x.shape[0])
    X, D, C = alone(x, P), alone(dy, P), np.empty(MR * P, x.dtype)
    for c in range(0, dy.shape[1], P):
        for a in range(0, x.shape[1], P):
            inputs = min(P, x.shape[1] - a)
            for tile in range(tile_count(inputs)):
                i, height = tile_at(tile, inputs)
                product_t(C, 0, X, a * hop + i, D, c * hop, rows, height)
                put(C, dW, a + i, c, height, P, True)
    for r in range(rows):
        for c in range(dy.shape[1]):
            db[np.uintp(c)] += dy[np.uintp(r), np.uintp(c)]


@jit
def dense_vjp_x(dy: Array, W: Array) -> Array:
    """dx = dy Wᵀ."""
    P, rows, inputs = 2 * lane_count(dy), dy.shape[0], W.shape[0]
    D, panels, C = alone(dy, P), alone(W, P), np.empty(MR * P, dy.dtype)
    count, hop_dy, hop_W = (dy.shape[1] + P - 1) // P, padded(rows) * P, padded(inputs) * P
    dx = np.empty((rows, inputs), dy.dtype)
    for c in range(0, inputs, P):
        for i in range(0, min(P, inputs - c), DOT_COLS):
            for r in range(0, rows, DOT_ROWS):
                dots(C, 0, D, r * P, panels, (c + i) * P, count, hop_dy, hop_W)
                put_dots(C, dx, r, c + i, P)
    return dx


@inline
def put_dots(C: Array, dx: Array, r: int, c: int, P: int) -> None:
    """The tile of `dots` into dx[r:, c:], cut to dx's size."""
    for q in range(min(DOT_ROWS, dx.shape[0] - r)):
        for j in range(min(DOT_COLS, dx.shape[1] - c)):
            dx[r + q, c + j] = C[q * P + j]
