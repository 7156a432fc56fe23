"""§7.2 Each compiled intrinsic of the engine is what `mutants/plain_engine.py` says it is."""

import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutants import plain_engine as plain

from scratchvae.engine.jit import jit, vector_width
from scratchvae.engine.shuffles import compress, total
from scratchvae.engine.threads import atomic_add, atomic_load
from scratchvae.engine.tiles import (
    MR,
    MR_MIDDLE,
    MR_SHORT,
    dots,
    listed_1,
    listed_2,
    multiply_rows,
    pack_rows,
    panel_of,
    product,
    product_t,
    sum_rows,
    transpose,
    unsigned_divmod,
)
from scratchvae.engine.vector_math import (
    exp,
    exp_below,
    expm1,
    expm1_below,
    log_normal,
    sigmoid,
    softplus,
    softplus_parts,
    tanh,
)
from scratchvae.engine.vector_words import load_words
from scratchvae.engine.vectors import (
    absolute,
    columns,
    copysign,
    lane_count,
    load,
    load_as,
    movemask,
    popcount,
    sqrt,
    store,
    store_lanes,
    unsigned_to_float,
    where,
    zeros,
)
from scratchvae.gradcheck.numeric import spread
from scratchvae.types import Array


def vectors(a: Array, b: Array, ints: Array, levels: Array, out: Array, sums: Array) -> None:
    n = lane_count(a)
    x, y = load(a, 3), load(b, 5)
    mask = x < y
    store(out, 0, where(mask, x, 0.5))
    store(out, n, copysign(x, y) + absolute(x))
    store(out, 2 * n, sqrt(y * y + 1.0) + zeros(a))
    store(out, 3 * n, load_as(levels, 2, a) / 255.0)
    store(out, 4 * n, unsigned_to_float(load_words(levels.view(np.uint32), 1, a) >> 8, x))
    store(out, 6 * n, where(columns(a, 6) < 7, x, y))
    store_lanes(ints, 0, columns(a, 9) * np.uint32(3))
    store_lanes(sums, 0, x)
    count = popcount(movemask(mask))
    store_lanes(sums, n, where(columns(a, 0) < count, compress(mask, x), 0.0))
    store_lanes(ints, n, where(columns(a, 0) < count, compress(mask, columns(a, 40)), columns(a, 0)))
    sums[3 * n], sums[3 * n + 1] = total(x), unsigned_divmod(29, 6)[1]
    counts = ints[80:84].view(np.int64)
    sums[3 * n + 2], sums[3 * n + 3] = atomic_add(counts, 1, 5), atomic_load(counts, 1)


def functions(a: Array, b: Array, ints: Array, levels: Array, out: Array, sums: Array) -> None:
    n = lane_count(a)
    for i in range(0, 8 * n, n):
        x = load(a, i)
        x = x * absolute(x) * 9.0
        store(out, i, exp(x) + expm1(x) + sigmoid(x))
        store(out, i + 8 * n, tanh(x) + softplus(x))
        linear, u, p, rest = softplus_parts(x)
        store(out, i + 24 * n, linear + u * 3.0 + p * 5.0 + rest * 7.0)
        below = -absolute(x)
        store(out, i + 16 * n, exp_below(below) + expm1_below(below) + log_normal(absolute(x)))


def tiles(a: Array, b: Array, ints: Array, levels: Array, out: Array, sums: Array) -> None:
    P, at = panel_of(a), 0
    for height in (MR, MR_MIDDLE, MR_SHORT):
        product(out, at, a, 7, b, 3, 5, height)
        product_t(out, at + MR * P, a, 7, b, 3, 5, height)
        at += 2 * MR * P
    dots(out, at, a, 2, b, 1, 3, 4 * P, 5 * P)
    at += MR * P
    listed_1(out, at, 0, a, 1, 0, ints, b, 4, 3)
    listed_2(out, at + P, 2 * P, a, 1, 9 * P, ints, b, 4, 3)
    at += 4 * P
    transpose(a, 3, out, at)
    pack_rows(a, 5, out, at + P * P)
    store_lanes(sums, 0, sum_rows(a, 1))
    store_lanes(sums, MR, multiply_rows(a, 1))


def at_width(width: int) -> dict[str, Any]:
    """The statements, for vectors of this machine."""
    scope: dict[str, Any] = {"__name__": "plain"}
    source = Path(inspect.getsourcefile(plain) or "").read_text(encoding="utf-8")
    assert source.count("\nWIDTH = 8 ") == 1
    exec(source.replace("\nWIDTH = 8 ", f"\nWIDTH = {width} "), scope)
    return scope


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f", [vectors, functions, tiles])
def test_compiled_intrinsics_are_their_statements(f: Callable[..., None], dtype: str) -> None:
    """Catches a lane, a row or a pitch out of place, here or there."""
    made = types.FunctionType(f.__code__, {**at_width(vector_width()), "np": np}), jit(f)
    found = []
    for g in made:
        a, b = (spread(i, (4000,)).astype(dtype) for i in (1, 2))
        ints, levels = np.arange(0, 800, 8, dtype=np.int32), (spread(3, (400,)) * 90).astype(np.int64).astype(np.uint8)
        out, sums = np.zeros(5000, dtype), np.zeros(100)  # 4224 are written at 16 lanes
        g(a, b, ints, levels, out, sums)
        found.append((ints, out, sums))
    limit = 2e-6 if dtype == "float32" else 1e-14
    for plainly, compiled in zip(*found, strict=True):
        np.testing.assert_allclose(compiled, plainly, 10 * limit, limit)
