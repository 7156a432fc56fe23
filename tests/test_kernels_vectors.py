"""Vector functions in ulp over the whole range, the vector noise against its statement, products, and the cache."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchvae.kernels import dense, noise
from scratchvae.types import Array

FUNCTIONS: dict[str, tuple[Callable[[Array], Array], float]] = {  # longdouble reference, ulp allowed
    "exp": (np.exp, 2),
    "expm1": (np.expm1, 3),
    "tanh": (np.tanh, 3.5),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 3.5),
    "softplus": (lambda x: np.logaddexp(np.zeros_like(x), x), 4),
    "log": (np.log, 3.5),
    "log1p": (np.log1p, 4),
}
SOURCE = """
from scratchvae.engine.jit import jit
from scratchvae.engine.shuffles import compress
from scratchvae.engine.vectors import columns, movemask, lane_count, load, popcount, store, store_lanes
from scratchvae.engine.vector_math import {names}

@jit
def run_squeeze(x, y, at):
    n = 0
    for i in range(0, x.size, lane_count(x)):
        kept = load(x, i) != 0.0
        store_lanes(y, n, compress(kept, load(x, i)))
        store_lanes(at, n, compress(kept, columns(x, i)))
        n += popcount(movemask(kept))
    return n
"""
LOOP = """
@jit
def run_{name}(x, y):
    for i in range(0, x.size, lane_count(x)):
        store(y, i, {name}(load(x, i)))
"""


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A module with one loop over an array for each vector function."""
    path = tmp_path_factory.mktemp("loops") / "vector_loops.py"
    path.write_text(SOURCE.format(names=", ".join(FUNCTIONS)) + "".join(LOOP.format(name=n) for n in FUNCTIONS))
    spec = importlib.util.spec_from_file_location("vector_loops", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(dtype: type) -> Array:
    """Every bit pattern alike, ordinary sizes, small ones, and the edges."""
    rng, n = np.random.default_rng(1), 1 << 17
    single = dtype is np.float32
    raw = rng.integers(0, 2**32 if single else 2**64, n, dtype=np.uint64).astype(np.uint32 if single else np.uint64)
    edges = [0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 88.7, 88.8, -87.3, -103.9, -104.1, 709.7, 709.8, -745, -746]
    scaled: list[Array] = [(rng.standard_normal(n) * scale).astype(dtype) for scale in (1e-6, 1e-3, 1, 10, 100)]
    return np.concatenate([raw.view(dtype), *scaled, np.array(edges * 64, dtype)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_ulp_over_the_whole_range(loops: Any, name: str, dtype: type) -> None:
    reference, limit = FUNCTIONS[name]
    x = arguments(dtype)
    x = np.abs(x) if name == "log1p" else x
    y = np.empty_like(x)
    getattr(loops, f"run_{name}")(x, y)
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.longdouble))
        rounded: Array = exact.astype(dtype)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(y[~finite], rounded[~finite])  # inf and NaN where libm has them
    least = np.finfo(dtype).tiny
    spacing = np.spacing(np.maximum(np.abs(rounded[finite]), least)).astype(np.longdouble)
    assert float(np.max(np.abs(y[finite] - exact[finite]) / spacing)) < limit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squeeze_keeps_what_the_mask_has_set(loops: Any, dtype: type) -> None:
    """Every mask of eight lanes, and at other widths as many: the order of lanes and the table of masks."""
    masks = np.unpackbits(np.arange(256, dtype=np.uint8), bitorder="little")
    x: Array = (masks * np.arange(1, masks.size + 1)).astype(dtype)
    y: Array = np.zeros(x.size + 16, dtype)
    at = np.zeros(x.size + 16, np.int32)
    n = loops.run_squeeze(x, y, at)
    np.testing.assert_array_equal(y[:n], x[x != 0])
    np.testing.assert_array_equal(at[:n], np.flatnonzero(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 20), (7, 5), (2, 784), (100, 33)])
def test_vector_noise_is_the_statement(dtype: type, rows: int, columns: int) -> None:
    from scratchvae.kernels import noise_vectors

    seed, blocks = 2**40 + 12345, (columns + 3) // 4
    room = 4 * blocks * rows + 128
    words, address = np.zeros(room, np.uint32), (np.uint64(seed), 3, 77, 5)
    normals: Array = np.zeros(room, dtype)
    for row in range(rows):
        noise_vectors.words(words, 4 * blocks * row, (*address[:3], address[3] + row), blocks, normals)
    noise_vectors.normals(normals, 0, address, rows, blocks)
    cut = (slice(4 * blocks * rows), (rows, 4 * blocks), (slice(None), slice(columns)))
    found = [a[cut[0]].reshape(cut[1])[cut[2]] for a in (words, normals)]
    numbers = np.arange(5, 5 + rows, dtype=np.uint32)
    np.testing.assert_array_equal(found[0], noise.words_np(seed, 3, 77, numbers, columns))
    exact = noise.normals_np(seed, 3, 77, numbers, columns, np.float64)
    ulp = np.spacing(np.abs(exact.astype(dtype))).astype(np.float64)
    assert np.max(np.abs(found[1].astype(np.float64) - exact) / ulp) <= 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 4, 3), (1, 1, 1), (3, 5, 7), (12, 32, 32), (13, 37, 65), (100, 784, 500)])
def test_products_of_any_shape(dtype: type, shape: tuple[int, int, int]) -> None:
    B, I, O = shape
    rng = np.random.default_rng(B + I + O)
    arrays: list[Array] = [rng.standard_normal(s).astype(dtype) for s in ((B, I), (I, O), (O,), (B, O))]
    x, W, b, dy = arrays
    grads = [[np.ones_like(W), np.ones_like(b)] for _ in range(2)]
    dense.dense_vjp_params_nb(dy, x, *grads[0])
    dense.dense_vjp_params_np(dy, x, *grads[1])
    pairs = [(dense.dense_nb(x, W, b), dense.dense_np(x, W, b)), *zip(*grads, strict=True)]
    pairs.append((dense.dense_vjp_x_nb(dy, W), dense.dense_vjp_x_np(dy, W)))
    for fast, slow in pairs:
        assert fast.shape == slow.shape
        assert fast.dtype == slow.dtype
        scale = np.abs(slow).max(initial=1)
        np.testing.assert_allclose(fast, slow, atol=scale * (1e-5 if dtype is np.float32 else 1e-12), rtol=0)


PROGRAM = """
import sys, numpy as np
from scratchvae.engine import jit
from scratchvae.kernels import optimizers
theta, g, u = np.ones(1), np.ones(1), np.zeros(1)
optimizers.momentum_nb(theta, g, u, 2.0, 0.5)
print(jit.cache_folder(), theta[0])
"""


def in_a_process(**environment: str) -> tuple[str, str]:
    """(cache folder, 1 + 2 · 1) as a fresh process sees them."""
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    folder, result = done.stdout.split()
    return folder, result


def test_a_width_has_its_own_cache_and_a_broken_one_heals(tmp_path: Path) -> None:
    cache = {"SCRATCHVAE_CACHE": str(tmp_path)}
    wide, result = in_a_process(**cache, SCRATCHVAE_VECTOR_WIDTH="8")
    narrow, same = in_a_process(**cache, SCRATCHVAE_VECTOR_WIDTH="4")
    assert result == same == "3.0"
    assert wide != narrow
    files = [p for p in Path(wide).rglob("*") if p.suffix in (".nbi", ".nbc")]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert in_a_process(**cache, SCRATCHVAE_VECTOR_WIDTH="8") == (wide, "3.0")


def test_no_writable_folder_means_no_cache(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    assert in_a_process(SCRATCHVAE_CACHE=str(blocked)) == ("None", "3.0")
    assert in_a_process(SCRATCHVAE_CACHE="off") == ("None", "3.0")


def test_caches_that_nobody_uses_are_forgotten(tmp_path: Path) -> None:
    """After 30 days; catches one that is in use, or whatever else lies there, taken for old."""
    used, _ = in_a_process(SCRATCHVAE_CACHE=str(tmp_path))
    old, recent, other = (tmp_path / f"numba-{name}" for name in ("0" * 16, "1" * 16, "of-somebody-else"))
    for folder, days in {Path(used): 31, old: 31, recent: 29, other: 31}.items():
        folder.mkdir(exist_ok=True)
        (folder / "file").touch()
        then = time.time() - days * 86_400
        os.utime(folder, (then, then))
    in_a_process(SCRATCHVAE_CACHE=str(tmp_path))
    assert set(tmp_path.iterdir()) == {Path(used), recent, other}
    assert (Path(used) / "file").exists()
    assert time.time() - Path(used).stat().st_mtime < 3600  # so that a process with another cache keeps it, too
