"""§7.2.4 A statistical battery for the noise as it is used: words, uniforms, normals, orders; no pattern on any axis.

Every test is deterministic (fixed seeds). A family of m p-values passes when m · min p > ALPHA (Bonferroni), p
two-sided: counts that are too even fail like counts that are too uneven. There are about 200 families at 1e-5 each: a
sound generator with another seed would fail this file once in 500 times. The battery runs along columns, rows, steps,
purposes and neighbouring seeds, by unit steps and by steps of 2^14.
"""

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from scratchvae.kernels import NUMPY, noise, table
from scratchvae.noise import Noise, Purpose
from scratchvae.types import Array

ALPHA = 1e-5
SEED = 0x9D2C_5680_1234_ABCD
BIG = 2**32 - 1
NUMBA = table("numba")
AXES = ("column", "row", "step", "purpose", "seed", "seed_high")


def accept(p: Array | float) -> None:
    """The family of p-values p holds no surprise."""
    p = np.atleast_1d(p)
    assert np.isfinite(p).all()
    assert p.min() * p.size > ALPHA, (p.min(), int(p.argmin()), p.size)


def p_normal(z: Array) -> Array:
    """Two-sided p of standard scores."""
    return np.asarray(2 * stats.norm.sf(np.abs(z)))


def p_chi2(counts: Array, expected: Array | float, lost: int = 1) -> float:
    """Two-sided p of Pearson's statistic with counts.size - lost degrees of freedom."""
    upper = stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - lost)
    return float(2 * min(upper, 1 - upper))


def p_poisson(count: int, mean: float) -> float:
    return float(min(1.0, 2 * min(stats.poisson.sf(count - 1, mean), stats.poisson.cdf(count, mean))))


def philox(c: Array) -> Array:
    """The four output words, uint32 (n, 4), of n counters and keys, uint64 (6, n): a key for each is fine too."""
    key: Any = c[4:]
    return np.stack(noise.philox_np(c[0], c[1], c[2], c[3], *key), axis=1).astype(np.uint32)


@functools.cache
def stream(axis: str, shift: int, n: int = 2**17) -> Array:
    """n blocks, uint32 (n, 4), along one axis: the index i << shift there, small constants on the others."""
    c = np.repeat(np.array([[3], [5], [7], [1], [SEED & BIG], [SEED >> 32]], np.uint64), n, axis=1)
    c[AXES.index(axis)] += np.arange(n, dtype=np.uint64) << np.uint64(shift)
    return philox(c & np.uint64(BIG))


def pm_bits(words: Array) -> Array:
    """The bits of (n, m) words as float32 ±1, (n, 32 m)."""
    bits = (words[:, :, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    return (2 * bits.astype(np.float32) - 1).reshape(len(words), -1)


along_every_axis = pytest.mark.parametrize(("axis", "shift"), list(itertools.product(AXES, (0, 14))))


# ---- battery, words


@along_every_axis
def test_bytes_are_uniform(axis: str, shift: int) -> None:
    words = stream(axis, shift)
    pieces = [(words[:, j] >> s) & 255 for j in range(4) for s in (0, 4, 8, 12, 16, 20, 24)]
    accept(np.array([p_chi2(np.bincount(b, minlength=256), b.size / 256) for b in pieces]))


@along_every_axis
def test_bits_are_uncorrelated(axis: str, shift: int) -> None:
    """Each of 128 output bits against each, in one block and at lags along the axis; also every bit's mean."""
    bits = pm_bits(stream(axis, shift)[: 2**15])
    accept(p_normal(bits.sum(axis=0) / math.sqrt(len(bits))))
    for lag in (0, 1, 2, 4):
        a, b = bits[: len(bits) - lag], bits[lag:]
        z = (a.T @ b) / np.float32(math.sqrt(len(a)))
        z = z[np.triu_indices(128, 1)] if lag == 0 else z.ravel()
        accept(p_normal(z.astype(float)))
        accept(p_normal((np.square(z.astype(float)) - 1).sum() / math.sqrt(2 * z.size)))


@along_every_axis
def test_lagged_correlations(axis: str, shift: int) -> None:
    u = stream(axis, shift) / 2.0**32 - 0.5
    z = [12 * (u[:-lag].T @ u[lag:]) / math.sqrt(len(u) - lag) for lag in (1, 2, 3, 4, 8, 16, 64, 256, 1024)]
    accept(p_normal(np.array(z)))


@along_every_axis
def test_runs_and_orderings(axis: str, shift: int) -> None:
    """Turning points (runs up and down): mean 2(n-2)/3, variance (16 n - 29)/90. Orders of five: 120 alike."""
    words = stream(axis, shift)[:, 0].astype(np.int64)
    up = np.diff(words) > 0
    n = len(words)
    accept(p_normal(((up[1:] != up[:-1]).sum() - 2 * (n - 2) / 3) / math.sqrt((16 * n - 29) / 90)))
    order = np.argsort(words[: n // 5 * 5].reshape(-1, 5), axis=1) @ 5 ** np.arange(5)
    counts = np.unique(order, return_counts=True)[1]
    assert counts.size == 120
    accept(p_chi2(counts, counts.sum() / 120))


@along_every_axis
def test_collisions_and_birthday_spacings(axis: str, shift: int) -> None:
    words = stream(axis, shift)
    m = 2**12  # birthdays in a year of 2^32 days: equal spacings are Poisson with mean m^3 / (4 · 2^32) = 4
    days = np.sort(words.reshape(-1, m).astype(np.int64), axis=1)
    gaps = np.sort(np.diff(days, axis=1), axis=1)
    n = len(words)
    collisions = [n - np.unique(words[:, j]).size for j in range(4)]  # Poisson with mean n^2 / 2^33 = 8
    p = [p_poisson(int((np.diff(gaps, axis=1) == 0).sum()), len(days) * m**3 / 2**34)]
    accept(np.array(p + [p_poisson(c, n * n / 2**33) for c in collisions]))


@pytest.mark.parametrize("top", [8, 2**32], ids=["small", "any"])
def test_avalanche(top: int) -> None:
    """One bit flipped in any counter or key word flips each output bit half of the time: 16 ± 0.25 of 32."""
    n = 1024
    c = np.random.default_rng(1).integers(0, top, (6, n), dtype=np.uint64)
    before, z = philox(c), np.empty((6, 32, 128))
    for word, bit in itertools.product(range(6), range(32)):
        flipped = c.copy()
        flipped[word] ^= np.uint64(1 << bit)
        z[word, bit] = pm_bits(philox(flipped) ^ before).sum(axis=0) / math.sqrt(n)
    accept(p_normal(z))
    assert np.abs(16 * z.reshape(192, 4, 32).mean(axis=2) / math.sqrt(n)).max() < 0.5
    accept(p_normal((np.square(z) - 1).sum() / math.sqrt(2 * z.size)))


# ---- battery, uniforms and normals


@functools.cache
def normals(rows: int = 4096, columns: int = 1024) -> Array:
    """Float64 normals of one step, 4 million; substream = row. Drawn by the twin, which equals the statement."""
    return Noise(SEED, NUMBA).normals(Purpose.LATENT, 3, rows, columns, np.float64)


def moments_p(x: Array) -> Array:
    """p of the sample moments 1 … 6 of N(0, 1); E x^k = (k - 1)!! for even k."""
    exact = [float(special.factorial2(k - 1)) if k % 2 == 0 else 0.0 for k in range(13)]
    exact[0] = 1.0
    powers = itertools.accumulate(itertools.repeat(x, 6), np.multiply)
    means = [float(power.mean()) for power in powers]
    z = [(m - exact[k]) / math.sqrt((exact[2 * k] - exact[k] ** 2) / x.size) for k, m in enumerate(means, 1)]
    return p_normal(np.array(z))


def test_uniforms_fill_the_unit_interval() -> None:
    u = NUMPY.uniforms(SEED, Purpose.BINARISE, 3, np.arange(1024, dtype=np.uint32), 1024, "f4")
    assert u.dtype == np.float32
    assert 0 <= u.min() < 1e-5
    assert 1 - 1e-5 < u.max() < 1
    accept(p_chi2(np.bincount((u * 4096).astype(int).ravel(), minlength=4096), u.size / 4096))
    accept(stats.kstest(u.ravel()[: 2**17].astype(float), "uniform").pvalue)
    # as they are used: x = [u < p] has mean p, and no more variance between columns than chance
    z = (np.float32(0.3) > u).sum(axis=0) - 0.3 * 1024
    accept(p_normal(z / math.sqrt(0.21 * 1024)))


def test_moments() -> None:
    x = normals()
    accept(np.concatenate([moments_p(x), *(moments_p(x[:1024, j::4]) for j in range(4))]))
    accept(p_normal(x.mean(axis=0) * math.sqrt(len(x))))
    accept(p_normal(x.mean(axis=1) * math.sqrt(x.shape[1])))


def test_cells_and_tails() -> None:
    """Counts of 4 million between -5, -4.8 … 5 and beyond: each one Poisson, all together chi-squared."""
    x = normals()
    edges = np.concatenate([[-np.inf, -5], np.arange(-4.8, 4.9, 0.2), [5, np.inf]])
    expected = np.diff(stats.norm.cdf(edges)) * x.size
    counts = np.histogram(x, edges)[0]
    accept(np.array([p_poisson(int(c), e) for c, e in zip(counts, expected, strict=True)]))
    full = expected > 20
    accept(p_chi2(counts[full], expected[full], lost=0))


def test_far_tails() -> None:
    """16 million float32: 1063 expected beyond 4 sigma, 34 beyond 4.75, 10 beyond 5; a radius of few bits has none."""
    far = Noise(SEED, NUMBA).normals(Purpose.LATENT, 5, 16384, 1024)
    n, far = far.size, far[np.abs(far) > 4]
    for t in (4, 4.25, 4.5, 4.75, 5):
        mean = n * float(stats.norm.sf(t))
        accept(np.array([p_poisson(int((far > t).sum()), mean), p_poisson(int((far < -t).sum()), mean)]))
    assert np.abs(far).max() < 6.661  # the construction's limit, sqrt(64 log 2)


def test_kolmogorov_and_anderson_over_substreams() -> None:
    """Second level: the KS p-values of 1024 rows are uniform; the mean A^2 is 1 (variance near 2(pi^2 - 9)/3)."""
    u = np.sort(stats.norm.cdf(normals()[:1024]), axis=1)
    n, i = u.shape[1], np.arange(1, u.shape[1] + 1)
    d = np.maximum((i / n - u).max(axis=1), (u - (i - 1) / n).max(axis=1))
    p = stats.kstwo.sf(d, n)
    accept(stats.kstest(p, "uniform").pvalue)
    accept(p)
    a2 = -n - ((2 * i - 1) * (np.log(u) + np.log1p(-u[:, ::-1]))).mean(axis=1)
    variance = 2 * (math.pi**2 - 9) / 3 + (10 - math.pi**2) / n
    accept(p_normal((a2.mean() - 1) / math.sqrt(variance / len(a2))))


def pair_p(x: Array, y: Array) -> Array:
    """p of the correlations of x, y, |x|, |y|, x², y², x³, y³, all sixteen: zero when independent."""
    f, g = ([s, np.abs(s), s * s, s * s * s] for s in (x, y))
    z = [np.corrcoef(a.ravel(), b.ravel())[0, 1] * math.sqrt(x.size) for a, b in itertools.product(f, g)]
    return p_normal(np.array(z))


def test_mates_are_independent() -> None:
    """The two normals of one pair: uncorrelated powers, uniform angle, exponential squared radius, both unrelated."""
    x, y = normals()[:1024, 0::2], normals()[:1024, 1::2]
    accept(pair_p(x, y))
    angle = np.arctan2(y, x) / (2 * math.pi) + 0.5
    radius = np.exp(-(x * x + y * y) / 2)  # uniform
    table_ = np.histogram2d(angle.ravel(), radius.ravel(), 32, [[0, 1], [0, 1]])[0]
    accept(p_chi2(table_, x.size / 1024))
    accept(stats.kstest(angle.ravel()[: 2**17], "uniform").pvalue)
    accept(stats.kstest(radius.ravel()[: 2**17], "uniform").pvalue)


def test_neighbours_are_independent() -> None:
    """Normals beside each other in columns, blocks, rows, steps, purposes and seeds."""
    x = normals()[:256]
    accept(np.concatenate([pair_p(x[:, :-lag], x[:, lag:]) for lag in (1, 2, 3, 4, 8)]))
    accept(np.concatenate([pair_p(x[:-lag], x[lag:]) for lag in (1, 2, 4)]))
    others = [
        Noise(SEED, NUMBA).normals(Purpose.LATENT, 4, 256, 1024, np.float64),
        Noise(SEED, NUMBA).normals(Purpose.EVALUATE, 3, 256, 1024, np.float64),
        Noise(SEED + 1, NUMBA).normals(Purpose.LATENT, 3, 256, 1024, np.float64),
        Noise(SEED ^ 1 << 63, NUMBA).normals(Purpose.LATENT, 3, 256, 1024, np.float64),
    ]
    accept(np.concatenate([pair_p(x, y) for y in others]))


def test_orders_are_uniform() -> None:
    draws, n, epochs = Noise(SEED, NUMBA), 10, 6000
    orders = np.stack([draws.order(epoch, n) for epoch in range(epochs)])
    counts = np.stack([np.bincount(orders[:, j], minlength=n) for j in range(n)])
    # Rows and columns of the table are both fixed: (n - 1)/n times the statistic has (n - 1)^2 degrees of freedom.
    statistic = ((counts - epochs / n) ** 2).sum() / (epochs / n) * (n - 1) / n
    accept(2 * min(stats.chi2.sf(statistic, (n - 1) ** 2), stats.chi2.cdf(statistic, (n - 1) ** 2)))
    four = np.stack([draws.order(epoch, 4) for epoch in range(epochs)])
    every = np.unique(four @ 4 ** np.arange(4), return_counts=True)[1]
    assert every.size == 24
    accept(p_chi2(every, epochs / 24))
    again = (orders[1:] == orders[:-1]).sum(axis=0)  # what one epoch had in a place, the next has with chance 1/n
    accept(p_normal((again - (epochs - 1) / n) / math.sqrt((epochs - 1) * (1 / n) * (1 - 1 / n))))
