"""§7.2 The engine in plain NumPy: what every intrinsic means. A vector is an array of lanes, a tile a matrix product.

The readable definition of what `scratchvae.engine` emits as LLVM: a test holds each compiled intrinsic to the statement
here. With these in their place `fast` runs as ordinary Python (`plain_schedule`): a thousand times slower, and any line
of it can be changed without compiling.

Beyond the compiled ones, these refuse memory that is not theirs: IndexError or ValueError. What is undefined there is
NaN here, or a number that no index may be.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from scratchvae.types import Array

F = TypeVar("F", bound=Callable[..., Any])

WIDTH = 8  # float32 lanes of a vector
MR = 12 if WIDTH == 16 else 6
MR_SHORT = MR // 3
MR_MIDDLE = 2 * MR_SHORT
DOT_ROWS, DOT_COLS = MR_SHORT, 4 if WIDTH > 1 else 2


# ── engine.jit, linkable, shared: Python needs no compiling, and no addresses


def jit(fn: F) -> F:
    return fn


inline = internal = without_refcounts = jit


def linkable(table: tuple[str, ...]) -> Callable[[F], F]:
    return jit


def Shared(fields: Any) -> Any:
    return fields


def lazy_import(module: str, *names: str) -> tuple[Any, ...]:
    return tuple(globals().get(name) for name in names)


# ── engine.vectors, vector_words


def lanes(dtype: Any) -> int:
    return max(1, WIDTH * 4 // int(dtype.itemsize))


def lane_count(array: Array) -> int:
    return lanes(array.dtype)


def span(array: Array, index: int, size: int) -> Array:
    """A view of array[index : index + size], the array seen flat."""
    flat = array.reshape(-1)
    if not 0 <= index <= flat.size - size:
        raise IndexError(f"{size} numbers from {index} on, of {flat.size}")
    return flat[index : index + size]


def load(array: Array, index: int) -> Array:
    return span(array, index, lane_count(array)).copy()


def load_as(array: Array, index: int, like: Array) -> Array:
    return span(array, index, lane_count(like)).astype(like.dtype)


def load_words(array: Array, index: int, like: Array) -> Array:
    return span(array, index, lane_count(like)).copy()


def store(array: Array, index: int, value: Any) -> None:
    span(array, index, lane_count(array))[:] = value


def store_lanes(array: Array, index: int, value: Array) -> None:
    span(array, index, value.size)[:] = value


def zeros(array: Array) -> Array:
    return np.zeros(lane_count(array), array.dtype)


def columns(array: Array, first: int) -> Array:
    return np.arange(first, first + lane_count(array)).astype(np.uint32)


def unsigned_to_float(a: Array, like: Array) -> Array:
    return a.astype(like.dtype)


def movemask(mask: Array) -> int:
    return sum(1 << lane for lane in range(mask.size) if mask[lane])


def popcount(bits: int) -> int:
    return bits.bit_count()


where, absolute, sqrt, copysign = np.where, np.abs, np.sqrt, np.copysign


# ── engine.vector_math ────────────────────────────────────────────────────────────────────────────────────────────────

exp, expm1, tanh, log_normal = np.exp, np.expm1, np.tanh, np.log
exp_below, expm1_below = np.exp, np.expm1  # for x ≤ 0


def sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def softplus(x: Array) -> Array:
    return np.logaddexp(x, 0 * x)


def softplus_parts(x: Array) -> tuple[Array, Array, Array, Array]:
    """(max(x, 0), 1 + e^−|x|, sigmoid(x), sigmoid(−x))."""
    return np.maximum(x, 0), 1 + np.exp(-np.abs(x)), sigmoid(x), sigmoid(-x)


# ── engine.shuffles


def total(a: Array) -> Any:
    return a.sum()


def compress(mask: Array, a: Array) -> Array:
    """The lanes whose mask is set, then what is undefined."""
    found = np.full(a.size, np.nan if a.dtype.kind == "f" else 2**31 - 1, a.dtype)
    kept = a[mask]
    found[: kept.size] = kept
    return found


# ── engine.tiles


def panel(dtype: Any) -> int:
    return 2 * lanes(dtype)


def panel_of(array: Array) -> int:
    return panel(array.dtype)


def unsigned_divmod(a: int, b: int) -> tuple[int, int]:
    """(a // b, a % b)."""
    if a < 0 or b <= 0:
        raise ValueError(f"{a} divided by {b}: a ≥ 0, b > 0")
    return divmod(a, b)


def matrix(array: Array, index: int, rows: int, pitch: int, width: int) -> Array:
    """A view (rows, width) of numbers from array[index] on, each row `pitch` numbers after the one above."""
    size = array.itemsize
    return np.ndarray((rows, width), array.dtype, array.data, index * size, (pitch * size, size))


def product(C: Array, c: int, A: Array, a: int, B: Array, b: int, depth: int, height: int) -> None:
    """C (height, P) = A B, A (height, depth) packed, MR rows column by column, B (depth, P)."""
    multiply(C, c, matrix(A, a, depth, MR, MR), B, b, height)


def product_t(C: Array, c: int, A: Array, a: int, B: Array, b: int, depth: int, height: int) -> None:
    """C (height, P) = Aᵀ B, A (depth, height) within a micropanel, B (depth, P)."""
    rows = height if height in (MR, MR_MIDDLE) else MR_SHORT
    multiply(C, c, matrix(A, a, depth, panel_of(A), rows), B, b, height)


def multiply(C: Array, c: int, At: Array, B: Array, b: int, height: int) -> None:
    """The tile of that height, or of the short one."""
    P, rows = panel_of(C), height if height in (MR, MR_MIDDLE) else MR_SHORT
    matrix(C, c, rows, P, P)[...] = At[:, :rows].T @ matrix(B, b, len(At), P, P)


def dots(C: Array, c: int, A: Array, a: int, B: Array, b: int, panels: int, hop_a: int, hop_b: int) -> None:
    """C (DOT_ROWS, DOT_COLS) = A Bᵀ, rows of both micropanel after micropanel."""
    P, sums = panel_of(C), np.zeros((DOT_ROWS, DOT_COLS), C.dtype)
    for p in range(panels):
        sums += matrix(A, a + p * hop_a, DOT_ROWS, P, P) @ matrix(B, b + p * hop_b, DOT_COLS, P, P).T
    matrix(C, c, DOT_ROWS, P, DOT_COLS)[...] = sums


def listed_1(
    C: Array, c: int, step: int, A: Array, a: int, hop: int, at: Array, x: Array, first: int, count: int
) -> None:
    """C[c:][:P] = Σ over the list's entries n of x[n] A[a + at[n] :][:P]."""
    P = panel_of(C)
    rows = [span(A, a + int(n), P) for n in span(at, first, count)]
    span(C, c, P)[:] = span(x, first, count) @ np.reshape(rows, (count, P))


def listed_2(
    C: Array, c: int, step: int, A: Array, a: int, hop: int, at: Array, x: Array, first: int, count: int
) -> None:
    """The same for two micropanels of A, `hop` apart, to two tiles, `step` apart."""
    for g in (0, 1):
        listed_1(C, c + g * step, step, A, a + g * hop, hop, at, x, first, count)


def transpose(A: Array, a: int, B: Array, b: int) -> None:
    """A square block, lanes wide, of a micropanel of A turned into one of B."""
    P, n = panel_of(A), lane_count(A)
    matrix(B, b, n, P, n)[...] = matrix(A, a, n, P, n).T


def pack_rows(A: Array, a: int, B: Array, b: int) -> None:
    """MR rows of a micropanel, packed."""
    P = panel_of(A)
    matrix(B, b, P, MR, MR)[...] = matrix(A, a, MR, P, P).T


def sum_rows(C: Array, c: int) -> Array:
    """Σ over the first vector of each row of a tall tile."""
    return np.asarray(matrix(C, c, MR, panel_of(C), lane_count(C)).sum(axis=1))


def multiply_rows(C: Array, c: int) -> Array:
    """Π over the first vector of each row of a tall tile."""
    return np.asarray(matrix(C, c, MR, panel_of(C), lane_count(C)).prod(axis=1))


# ── engine.threads


def atomic_add(array: Array, index: int, value: int) -> int:
    """array[index] += value; returns the old value."""
    span(array, index, 1)[0] += value
    return int(array[index]) - value


def atomic_load(array: Array, index: int) -> int:
    return int(span(array, index, 1)[0])


def pause() -> None:
    """Waiting costs nothing."""


give_way = out_of_line = pause


def exchange_control(value: int) -> int:
    return value
