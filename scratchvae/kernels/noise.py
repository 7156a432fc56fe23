"""§7.2.4 The noise ε ~ p(ε) as a pure function of (seed, purpose, step, row, column): Philox, uniforms, normals.

Philox4x32-10: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Random123). A keyed
bijection of a 128-bit counter: no state, so a resumed run, another split into micro-batches or another number of
threads sees the same noise. The layout, which every faster version must keep:

    key      = (seed mod 2^32, seed div 2^32)
    counter  = (block, row, step, purpose)              block b holds the columns 4b, 4b + 1, 4b + 2, 4b + 3
    words    : column 4b + j is output word j of block b
    uniforms : column 4b + j is (word j >> 8) 2^-24
    normals  : columns 4b, 4b + 1 are the cosine and the sine of words (0, 1), columns 4b + 2, 4b + 3 those of (2, 3)

A last block that is not full is cut, never shifted: fewer columns are a prefix of more columns. Rows know nothing of
one another: `rows` are their numbers, uint32, in any order. Indices are below 2^32 and columns at most 2^34
(`training.noise` checks).

float32 and float64 get the same noise up to rounding, because both are made of the same 32-bit words.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..engine.jit import jit
from ..types import Array

ROUNDS = 10
MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1, in units of 2^-32
LOW = 0xFFFFFFFF
TURN = 2 * math.pi / 2**32  # radians in one unit of a word


# One round: a Feistel network on two pairs.            hi, lo = the halves of the 64-bit product
#   (c0, c1, c2, c3)  ->  (hi(M1 c2) ^ c1 ^ k0,  lo(M1 c2),  hi(M0 c0) ^ c3 ^ k1,  lo(M0 c0))
#   (k0, k1)          ->  (k0 + W0,  k1 + W1)           between rounds, mod 2^32
def philox_np(c0: Array, c1: Array, c2: Array, c3: Array, k0: int, k1: int) -> tuple[Array, Array, Array, Array]:
    """Philox4x32-10 of four counter words, uint64 arrays that hold values below 2^32; returns the same kind."""
    m0, m1, low, half = np.uint64(MULTIPLIER_0), np.uint64(MULTIPLIER_1), np.uint64(LOW), np.uint64(32)
    for r in range(ROUNDS):
        key_0, key_1 = np.uint64((k0 + r * WEYL_0) & LOW), np.uint64((k1 + r * WEYL_1) & LOW)
        p0, p1 = m0 * c0, m1 * c2
        c0, c1, c2, c3 = (p1 >> half) ^ c1 ^ key_0, p1 & low, (p0 >> half) ^ c3 ^ key_1, p0 & low
    return c0, c1, c2, c3


# Numba widens every uint32 operation to 64 bits: each result is cast back, or the carries would stay.
@jit
def philox_nb(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """`philox_np` for four scalars of type uint32 (a key of two uint32); returns four uint32."""
    m0, m1, half = np.uint64(MULTIPLIER_0), np.uint64(MULTIPLIER_1), np.uint64(32)
    for _ in range(ROUNDS):
        p0, p1 = m0 * np.uint64(c0), m1 * np.uint64(c2)
        c0, c1 = np.uint32(np.uint32(p1 >> half) ^ c1 ^ k0), np.uint32(p1)
        c2, c3 = np.uint32(np.uint32(p0 >> half) ^ c3 ^ k1), np.uint32(p0)
        k0, k1 = np.uint32(k0 + np.uint32(WEYL_0)), np.uint32(k1 + np.uint32(WEYL_1))
    return c0, c1, c2, c3


def words_np(seed: int, purpose: int, step: int, rows: Array, columns: int) -> Array:
    """The raw words, uint32 (len(rows), columns), of the rows with these numbers."""
    block = np.arange((columns + 3) // 4, dtype=np.uint64)[None, :]
    row = rows.astype(np.uint64)[:, None]
    zero = np.zeros((rows.size, block.size), np.uint64)
    counter = block + zero, row + zero, zero + np.uint64(step), zero + np.uint64(purpose)
    words = np.stack(philox_np(*counter, int(seed) & LOW, int(seed) >> 32), axis=2)
    return words.astype(np.uint32).reshape(rows.size, 4 * block.size)[:, :columns].copy()


@jit
def words_nb(seed: int, purpose: int, step: int, rows: Array, columns: int) -> Array:
    """Twin of `words_np`."""
    out = np.empty((rows.size, columns), np.uint32)
    k0, k1 = np.uint32(np.uint64(seed) & np.uint64(LOW)), np.uint32(np.uint64(seed) >> np.uint64(32))
    for i in range(rows.size):
        for b in range((columns + 3) // 4):
            w = philox_nb(np.uint32(b), rows[i], np.uint32(step), np.uint32(purpose), k0, k1)
            for j in range(min(4, columns - 4 * b)):
                out[i, 4 * b + j] = w[j]
    return out


def uniforms_np(seed: int, purpose: int, step: int, rows: Array, columns: int, dtype: DTypeLike) -> Array:
    """u ~ U[0, 1), (len(rows), columns): each word's top 24 bits, which float32 holds exactly and never rounds to 1."""
    words = words_np(seed, purpose, step, rows, columns)
    return (words >> np.uint32(8)).astype(dtype) * 2.0**-24


@jit
def uniforms_nb(seed: int, purpose: int, step: int, rows: Array, columns: int, dtype: DTypeLike) -> Array:
    """Twin of `uniforms_np`; `dtype` is a numpy.dtype."""
    out = np.empty((rows.size, columns), dtype)
    real = out.dtype.type
    k0, k1 = np.uint32(np.uint64(seed) & np.uint64(LOW)), np.uint32(np.uint64(seed) >> np.uint64(32))
    for i in range(rows.size):
        for b in range((columns + 3) // 4):
            w = philox_nb(np.uint32(b), rows[i], np.uint32(step), np.uint32(purpose), k0, k1)
            for j in range(min(4, columns - 4 * b)):
                out[i, 4 * b + j] = real(np.uint32(w[j] >> np.uint32(8))) * real(2.0**-24)
    return out


# Box-Muller: two words (v, w) give two independent normals.                                      Box & Muller 1958
#   u = (v + 1) 2⁻³² in (0, 1],   r = √(−2 log u) ≤ √(64 log 2) = 6.66,   (r cos a, r sin a) with a = 2π w 2⁻³²
#   The angle is reduced in integers: w = q 2³⁰ + f with −2²⁹ ≤ f < 2²⁹, so a = q π/2 + f TURN with |f TURN| ≤ π/4,
#   and sin(f TURN) keeps its relative accuracy near its zero, which a float32 angle in [0, 2π) would lose.
#   quadrant q       0       1       2       3
#   cos a          cos f  −sin f  −cos f   sin f        swapped when q is odd, negative when (q + 1) & 2
#   sin a          sin f   cos f  −sin f  −cos f        swapped when q is odd, negative when q & 2
def box_muller_np(v: Array, w: Array, real: Any) -> tuple[Array, Array]:
    """Two independent N(0, 1) arrays from two uint32 arrays of one shape: float64, rounded once to the type `real`."""
    r = np.sqrt(-2 * np.log((v.astype(np.float64) + 1) * 2.0**-32))
    q = (w + np.uint32(1 << 29)) >> np.uint32(30)
    f = (w - (q << np.uint32(30))).view(np.int32) * TURN
    sine, cosine, odd = np.sin(f), np.cos(f), (q & 1) == 1
    x, y = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    return (r * np.where((q + 1) & 2, -x, x)).astype(real), (r * np.where(q & 2, -y, y)).astype(real)


# In float32, u near 1 would round to 1 and log u to 0. So above one half: log u = log1p(−(1 − u)) with the integer
# 2³² (1 − u) = 2³² − 1 − v = ~v, rounded only after the subtraction. Either way the rounding of the argument is
# amplified by at most 1/log 2, and halved by the root. The angle f has 30 bits: its product with TURN is taken in
# float64 and rounded once, since three roundings in float32 would cost one more ulp. In all ≤ 4 ulp (measured: 3).
@jit
def box_muller_nb(v: Any, w: Any, real: Any) -> tuple[Any, Any]:
    """`box_muller_np` for two uint32 scalars, computed in the type `real` (np.float32 or np.float64)."""
    if v < np.uint32(1 << 31):
        log_u = math.log(real(np.uint32(v + np.uint32(1))) * real(2.0**-32))
    else:
        log_u = math.log1p(-real(np.uint32(~v)) * real(2.0**-32))
    r = math.sqrt(real(-2.0) * log_u)
    q = np.uint32(np.uint32(w + np.uint32(1 << 29)) >> np.uint32(30))
    f = real(np.int32(np.uint32(w - np.uint32(q << np.uint32(30)))) * TURN)
    x, y = math.cos(f), math.sin(f)
    if q & np.uint32(1):
        x, y = y, x
    return (-r * x if (q + np.uint32(1)) & np.uint32(2) else r * x), (-r * y if q & np.uint32(2) else r * y)


def normals_np(seed: int, purpose: int, step: int, rows: Array, columns: int, dtype: DTypeLike) -> Array:
    """eps ~ N(0, 1), (len(rows), columns): made in float64 and rounded once to `dtype`. |eps| <= 6.66."""
    words = words_np(seed, purpose, step, rows, columns + columns % 2)
    out = np.empty(words.shape, dtype)
    out[:, 0::2], out[:, 1::2] = box_muller_np(words[:, 0::2].copy(), words[:, 1::2].copy(), out.dtype)
    return out[:, :columns].copy()


@jit
def normals_nb(seed: int, purpose: int, step: int, rows: Array, columns: int, dtype: DTypeLike) -> Array:
    """Twin of `normals_np`; `dtype` is a numpy.dtype."""
    out = np.empty((rows.size, columns), dtype)
    real = out.dtype.type
    k0, k1 = np.uint32(np.uint64(seed) & np.uint64(LOW)), np.uint32(np.uint64(seed) >> np.uint64(32))
    for i in range(rows.size):
        for b in range((columns + 3) // 4):
            w = philox_nb(np.uint32(b), rows[i], np.uint32(step), np.uint32(purpose), k0, k1)
            x = box_muller_nb(w[0], w[1], real) + box_muller_nb(w[2], w[3], real)
            for j in range(min(4, columns - 4 * b)):
                out[i, 4 * b + j] = x[j]
    return out
