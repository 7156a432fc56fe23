"""§7.2.4 `kernels.noise` for vectors: the same counters, the same words, a lane for each block of four columns.

`words` gives the bits of `words_np`; `normals` is within 4 ulp of `normals_np`. A row takes whole blocks: column c of
row r lies at `(r * blocks + c // 4) * 4 + c % 4`, and the buffers have room for one vector of blocks beyond the last
(`normals`) or two (`words`).
"""

from typing import Any

import numpy as np

from scratchvae.engine.jit import inline, internal, jit
from scratchvae.engine.vector_math import log_normal, sin_cos
from scratchvae.engine.vector_words import block_numbers, long_product, store_four
from scratchvae.engine.vectors import (
    columns,
    fma,
    lane_count,
    signed_to_float,
    sqrt,
    unsigned_to_float,
    where,
    zeros,
)
from scratchvae.kernels.noise import LOW, MULTIPLIER_0, MULTIPLIER_1, ROUNDS, TURN, WEYL_0, WEYL_1
from scratchvae.types import Array

TURN_HIGH = float(np.float32(TURN))
TURN_LOW = TURN - TURN_HIGH


@internal
def philox(c0: Any, c1: Any, c2: Any, c3: Any, seed: Any) -> Any:
    """Ten rounds on four vectors of counter words; the four output words."""
    k0, k1 = np.uint32(np.uint64(seed) & np.uint64(LOW)), np.uint32(np.uint64(seed) >> np.uint64(32))
    for _ in range(ROUNDS):
        high0, low0 = long_product(c0, np.uint32(MULTIPLIER_0))
        high1, low1 = long_product(c2, np.uint32(MULTIPLIER_1))
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = np.uint32(k0 + np.uint32(WEYL_0)), np.uint32(k1 + np.uint32(WEYL_1))
    return c0, c1, c2, c3


@inline
def angle(f: Any, like: Any) -> Any:
    """2π f 2⁻³² for a signed 30-bit f, rounded about once: f is cut into two halves that float32 holds exactly."""
    low = f & np.uint32(0x7FFF)
    high = signed_to_float(f - low, like)
    return fma(high, TURN_HIGH, fma(high, TURN_LOW, signed_to_float(low, like) * TURN))


@inline
def box_muller(v: Any, w: Any, like: Any) -> Any:
    """`box_muller_np` for two vectors of words, in the element type of `like`."""
    below, rest = (
        unsigned_to_float(v + np.uint32(1), like) * 2.0**-32,
        unsigned_to_float(v ^ np.uint32(LOW), like) * -(2.0**-32),
    )
    u = rest + 1.0
    small = v < np.uint32(1 << 31)
    log_u = log_normal(where(small, below, u)) + where(small, u * 0.0, (rest - (u - 1.0)) / u)
    q = (w + np.uint32(1 << 29)) >> np.uint32(30)
    sine, cosine = sin_cos(angle(w - (q << np.uint32(30)), like))
    odd = (q & np.uint32(1)) == np.uint32(1)
    x, y = where(odd, sine, cosine), where(odd, cosine, sine)
    r = sqrt(log_u * -2.0)
    x = where(((q + np.uint32(1)) & np.uint32(2)) == np.uint32(2), -x, x)
    return r * x, r * where((q & np.uint32(2)) == np.uint32(2), -y, y)


@inline
def wrapped(row: Any, block: Any, blocks: int, lanes: int) -> Any:
    """(row, block) with 0 ≤ block < blocks, for blocks that ran at most `lanes` too far."""
    for _ in range((lanes + blocks - 1) // blocks):
        beyond = block >= np.uint32(blocks)
        row, block = where(beyond, row + np.uint32(1), row), where(beyond, block - np.uint32(blocks), block)
    return row, block


@jit
def words(out: Array, at: int, address: Any, blocks: int, like: Array) -> None:
    """uint32 out[at:] as (blocks, 4): one row; address = (seed, purpose, step, row). Two vectors are drawn at a time:
    a round waits for its products, and the other vector's fill the gap."""
    seed, purpose, step, row = address
    block = block_numbers(like)
    none = block ^ block
    for first in range(0, blocks, 2 * lane_count(like)):
        words = philox(block, none + np.uint32(row), none + np.uint32(step), none + np.uint32(purpose), seed)
        store_four(out, at + 4 * first, *words)
        block += np.uint32(2 * lane_count(like))


@jit
def normals(out: Array, at: int, address: Any, rows: int, blocks: int) -> None:
    """Standard normals out[at:] as (rows, blocks, 4); address = (seed, purpose, step, first_row)."""
    seed, purpose, step, first_row = address
    lanes, block, like = lane_count(out), columns(out, 0), zeros(out)
    none = block ^ block
    row, block = wrapped(none, block, blocks, lanes)
    for first in range(0, rows * blocks, lanes):
        a, b, c, d = philox(block, row + np.uint32(first_row), none + np.uint32(step), none + np.uint32(purpose), seed)
        x0, y0 = box_muller(a, b, like)
        x1, y1 = box_muller(c, d, like)
        store_four(out, at + 4 * first, x0, y0, x1, y1)
        row, block = wrapped(row, block + np.uint32(lanes), blocks, lanes)
