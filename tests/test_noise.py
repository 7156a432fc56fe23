"""§7.2.4 The noise is Philox, the twin equals the statement, and a draw depends on its name alone."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from scratchvae.errors import UsageError
from scratchvae.kernels import NUMPY, Kernels, noise, table
from scratchvae.noise import Noise, Purpose
from scratchvae.types import Array

SEED = 0x9D2C_5680_1234_ABCD
BIG = 2**32 - 1
NUMBA = table("numba")


# ---- the generator is the published one, and its layout is the documented one


def philox_literal(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10 as the paper's figure has it, in Python integers."""
    (l0, r0, l1, r1), (k0, k1) = counter, key
    for _ in range(10):
        a, b = 0xD2511F53 * l0, 0xCD9E8D57 * l1
        l0, r0, l1, r1 = (b >> 32) ^ r0 ^ k0, b % 2**32, (a >> 32) ^ r1 ^ k1, a % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return l0, r0, l1, r1


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [  # the philox4x32 10 lines of Random123's kat_vectors
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((BIG,) * 4, (BIG,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]) -> None:
    arrays = [np.array([c], np.uint64) for c in counter]
    assert tuple(int(w[0]) for w in noise.philox_np(arrays[0], arrays[1], arrays[2], arrays[3], *key)) == answer
    assert tuple(int(w) for w in noise.philox_nb(*map(np.uint32, counter), *map(np.uint32, key))) == answer
    assert philox_literal(counter, key) == answer


@pytest.mark.parametrize("k", [NUMPY, NUMBA], ids=["numpy", "numba"])
def test_layout(k: Kernels) -> None:
    seed, purpose, step, first, columns = 0xFEDC_BA98_7654_3210, BIG - 2, BIG - 1, BIG - 1, 11
    key = np.uint64(seed)  # as `Noise` passes it: one compiled version serves every seed
    rows = np.arange(first, first + 2, dtype=np.uint64).astype(np.uint32)
    words = k.words(key, purpose, step, rows, columns)
    for i, j in itertools.product(range(2), range(columns)):
        assert words[i, j] == philox_literal((j // 4, first + i, step, purpose), (seed % 2**32, seed >> 32))[j % 4]
    u = k.uniforms(key, purpose, step, rows, columns, np.dtype("f8"))
    assert (u == (words // 256) / 2**24).all()
    v, w = words[:, 0:10:2].astype(float), words[:, 1:10:2].astype(float)
    r, a = np.sqrt(-2 * np.log((v + 1) / 2**32)), 2 * np.pi * w / 2**32
    x = k.normals(key, purpose, step, rows, columns, np.dtype("f8"))
    np.testing.assert_allclose(x[:, 0:10:2], r * np.cos(a), rtol=0, atol=1e-14)
    np.testing.assert_allclose(x[:, 1:10:2], r * np.sin(a), rtol=0, atol=1e-14)


# ---- twin = statement; a draw depends on its name alone

SHAPES = [(0, 5), (3, 0), (0, 0), (1, 1), (1, 2), (2, 3), (5, 4), (7, 13), (3, 785)]
ADDRESSES = [(0, 0, 0, 0), (SEED, 1, 2, 3), (2**64 - 1, BIG, BIG, BIG - 10), (2**63, 5, 2**31, 2**31 - 2)]
DTYPES = [np.dtype("f4"), np.dtype("f8")]


def ulps(found: Array, expected: Array) -> float:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    return float((np.abs(found - expected) / np.spacing(np.abs(expected))).max(initial=0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("address", ADDRESSES)
def test_twin_equals_statement(address: tuple[int, int, int, int], shape: tuple[int, int]) -> None:
    *name, first = address
    rows = np.arange(first, first + shape[0], dtype=np.uint64).astype(np.uint32)
    at = (np.uint64(name[0]), *name[1:], rows, shape[1])
    assert NUMPY.words(*at).shape == shape
    np.testing.assert_array_equal(NUMBA.words(*at), NUMPY.words(*at), strict=True)
    for dtype in DTYPES:
        np.testing.assert_array_equal(NUMBA.uniforms(*at, dtype), NUMPY.uniforms(*at, dtype), strict=True)
        assert NUMPY.normals(*at, dtype).dtype == dtype
        assert ulps(NUMBA.normals(*at, dtype), NUMPY.normals(*at, dtype)) <= 4


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_twin_within_four_ulp_over_many(dtype: np.dtype[np.floating]) -> None:
    at = (np.uint64(SEED), 1, 0, np.arange(500, dtype=np.uint32), 1000, dtype)
    assert ulps(NUMBA.normals(*at), NUMPY.normals(*at)) <= 4


def test_float32_and_float64_are_the_same_noise() -> None:
    at = (SEED, 1, 0, np.arange(40, dtype=np.uint32), 999)
    np.testing.assert_array_equal(NUMPY.uniforms(*at, "f4"), NUMPY.uniforms(*at, "f8"))
    np.testing.assert_array_equal(NUMPY.normals(*at, "f4"), NUMPY.normals(*at, "f8").astype("f4"), strict=True)


@pytest.mark.parametrize("k", [NUMPY, NUMBA], ids=["numpy", "numba"])
def test_micro_batches_and_narrow_columns_are_slices(k: Kernels) -> None:
    draws = Noise(SEED, k)
    for draw in (draws.normals, draws.uniforms):
        whole = draw(Purpose.LATENT, 9, 11, 10)
        for start, stop, columns in [(0, 4, 10), (4, 11, 9), (10, 11, 7), (5, 5, 1), (3, 8, 2)]:
            part = draw(Purpose.LATENT, 9, stop - start, columns, first_row=start)
            np.testing.assert_array_equal(part, whole[start:stop, :columns], strict=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_box_muller_at_its_edges(dtype: np.dtype[np.floating]) -> None:
    """Radii near 0 and at the most, angles one unit from the axes: relative accuracy, in float32 too."""
    tiny, eps = 2 * math.pi / 2**32, float(np.finfo(dtype).eps)  # sin = angle and cos = 1 to every digit
    for v, r in [(0, math.sqrt(64 * math.log(2))), (BIG, 0.0), (BIG - 1, math.sqrt(-2 * math.log1p(-(2.0**-32))))]:
        for quarter, d in itertools.product(range(4), (-1, 0, 1)):
            c, s = [(r, r * d * tiny), (-r * d * tiny, r), (-r, -r * d * tiny), (r * d * tiny, -r)][quarter]
            words = np.uint32(v), np.uint32((quarter * 2**30 + d) % 2**32)
            v1, w1 = (np.array([word]) for word in words)
            stated = [x[0] for x in noise.box_muller_np(v1, w1, dtype.type)]
            for found in (stated, noise.box_muller_nb(*words, dtype.type)):
                assert abs(found[0] - c) <= 4 * eps * abs(c)
                assert abs(found[1] - s) <= 4 * eps * abs(s)


def test_every_name_has_its_own_numbers() -> None:
    """All 64-bit pairs on a grid of names differ: a counter that adds row and step, say, would repeat itself."""
    grid = itertools.product((0, 1, 2, 2**32, 2**32 + 1), range(6), range(6))
    rows = np.arange(6, dtype=np.uint32)
    pairs = np.concatenate([NUMPY.words(*name, rows, 24).ravel().view(np.uint64) for name in grid])
    assert np.unique(pairs).size == pairs.size


# ---- order and bad input


def test_order_is_a_permutation_of_its_name() -> None:
    for n in (0, 1, 2, 7, 1000):
        order = Noise(SEED).order(3, n)
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
        np.testing.assert_array_equal(order, Noise(SEED, NUMBA).order(3, n), strict=True)
        words = NUMPY.words(SEED, Purpose.ORDER, 3, np.zeros(1, np.uint32), 2 * n)[0].tolist()
        assert order.tolist() == sorted(range(n), key=lambda i: words[2 * i : 2 * i + 2])
    assert (Noise(SEED).order(3, 1000) != Noise(SEED).order(4, 1000)).any()
    assert (Noise(SEED).order(3, 1000) != Noise(SEED + 2**32).order(3, 1000)).any()


def test_bad_input_is_a_usage_error() -> None:
    good = Noise(SEED)
    calls: dict[str, Callable[[], object]] = {
        "seed": lambda: Noise(-1).normals(1, 0, 1, 1),
        "seed is 18446744073709551616": lambda: Noise(2**64).order(0, 3),
        "step is 4294967296": lambda: good.normals(1, 2**32, 1, 1),
        "step is 0.5": lambda: good.uniforms(1, 0.5, 1, 1),  # type: ignore[arg-type]
        "rows is 2": lambda: good.normals(1, 0, 2, 1, first_row=BIG),
        "first_row": lambda: good.normals(1, 0, 0, 1, first_row=-1),
        "columns": lambda: good.normals(1, 0, 0, 2**34 + 1),
        "purpose": lambda: good.normals(-1, 0, 1, 1),
        "n is -1": lambda: good.order(0, -1),
        r"are uint32 \(2,\), expected": lambda: good.normals(1, 0, 3, 1, first_row=np.zeros(2, np.uint32)),
        r"are int64 \(3,\)": lambda: good.uniforms(1, 0, 3, 1, first_row=np.zeros(3, np.int64)),
        "dtype is complex128": lambda: good.normals(1, 0, 1, 1, np.complex128),
        "dtype is int64": lambda: good.uniforms(1, 0, 1, 1, np.int64),
    }
    for message, call in calls.items():
        with pytest.raises(UsageError, match=message):
            call()
    assert good.normals(1, BIG, 1, 1, first_row=BIG).shape == (1, 1)


def test_purposes_keep_their_numbers() -> None:
    """A saved run resumes by these."""
    names = [purpose.name for purpose in sorted(Purpose)]
    assert names[:6] == ["ORDER", "LATENT", "BINARISE", "INITIAL", "EVALUATE", "SAMPLE"]
    assert names[6:10] == ["FIXED_BINARISATION", "CHAIN", "ACCEPT", "MASK"]
    assert sorted(Purpose) == list(range(len(Purpose)))
