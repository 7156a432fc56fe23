"""§7.1.2 EM: log p(x) never falls, ends where the closed form says, and is the bound; all by sums over blocks."""

import functools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchvae.classical import em
from scratchvae.errors import DataError, UsageError
from scratchvae.models import linear_gaussian
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.models.mixture import Mixture, Theta
from scratchvae.types import Array

N, D, K, C = 60, 5, 2, 3


def gaussian_rows(seed: int = 0, rows: int = N, away: float = 3.0) -> tuple[Array, LinearGaussian]:
    """Rows of a linear-Gaussian model, and a start that is none."""
    rng = np.random.default_rng(seed)
    made = LinearGaussian(2 * rng.normal(size=(K, D)), away + rng.normal(size=D), np.array([-1.0]))
    x = made.sample(rng.normal(size=(rows, K)), rng.normal(size=(rows, D)))[0]
    return x, LinearGaussian(rng.normal(size=(K, D)), rng.normal(size=D), np.array([0.5]))


def mixed_rows(seed: int = 0, rows: int = N) -> tuple[Array, Theta]:
    """Rows of three clouds, and a start that is none."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(C, D))
    x = centres[rng.integers(C, size=rows)] + rng.normal(size=(rows, D)) * rng.choice([0.5, 1.0], size=(rows, 1))
    return x, Theta(rng.normal(size=C), 2 * rng.normal(size=(C, D)), rng.normal(size=C))


def log_p_of(x: Array, theta: Any) -> float:
    """Mean log p(x) by the models' own formulas."""
    if isinstance(theta, LinearGaussian):
        return float(theta.log_marginal(x).mean())
    return float(Mixture().log_marginal(x, theta).mean())


CASES: dict[str, tuple[Any, Any]] = {"pca": (gaussian_rows, em.pca_step), "mixture": (mixed_rows, em.mixture_step)}
each = pytest.mark.parametrize("case", CASES)


@each
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_log_p_never_falls(case: str, seed: int) -> None:
    """Catches an M-step that is not the maximum, and a number that is not the log p(x) of the theta before the step."""
    rows, step = CASES[case]
    x, theta = rows(seed)
    thetas: list[Any] = [theta]
    for _ in range(6):
        after, log_p = step(x, thetas[-1])
        assert log_p == pytest.approx(log_p_of(x, thetas[-1]), abs=1e-12)
        thetas.append(after)
    found = [log_p_of(x, t) for t in thetas]
    assert (np.diff(found) > -1e-10).all()
    assert found[1] > found[0]


@each
def test_the_m_step_is_the_maximum_of_the_expected_log_joint(case: str) -> None:
    """Catches a formula that gains and is not the best one: 1/D forgotten, σ² about the old mean, a mean that is not
    moved. At the new theta no slope of E_q[log p(x, z)] is left, q being the posterior at the old one."""
    rows, step = CASES[case]
    x, old = rows(1)
    new, _ = step(x, old)
    dtheta = type(new)(*(np.zeros_like(a) for a in new))
    if isinstance(old, LinearGaussian):
        mean, cov = old.posterior(x)
        linear_gaussian.elbo_vjp(np.ones(N), x, mean, np.broadcast_to(cov, (N, K, K)), new, dtheta)
    else:
        Mixture().log_joint_vjp(np.ones((1, N)), x, Mixture().posterior(x, old).mean[None], new, dtheta)
    for slope in dtheta:
        np.testing.assert_allclose(slope, 0, atol=1e-9)


def test_the_fixed_point_is_the_closed_form_of_pca() -> None:
    """Catches a bias that EM's own laws forgive, N − 1 for N, say: W up to a rotation, m and σ² as T&B's eq. 14, 15."""
    x, start = gaussian_rows(2)
    x = 3 + (x - x.mean(axis=0)) @ np.diag([4, 2, 1, 1, 1])
    found = em.fit(em.pca_step, x, start, steps=3000, tolerance=-1.0)
    best = linear_gaussian.maximum_likelihood(x, K)
    np.testing.assert_allclose(found.theta.W.T @ found.theta.W, best.W.T @ best.W, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.theta.m, best.m, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.theta.log_var, best.log_var, rtol=0, atol=1e-8)
    assert found.log_p[-1] == pytest.approx(log_p_of(x, best), abs=1e-10)


def test_the_bound_after_the_e_step_is_log_p() -> None:
    """Catches a posterior that is not the model's: EM is AEVB with the exact q, whose bound is log p(x), row by row."""
    x, old = gaussian_rows(3)
    for theta in (old, em.pca_step(x, old)[0]):
        mean, cov = theta.posterior(x)
        L = linear_gaussian.elbo(x, mean, np.broadcast_to(cov, (N, K, K)), theta)
        np.testing.assert_allclose(L, theta.log_marginal(x), rtol=0, atol=1e-10)
    x, first = mixed_rows(3)
    for mixture in (first, em.mixture_step(x, first)[0]):
        q, t = Mixture().posterior(x, mixture), Mixture().table(x, mixture)
        L = (q.mean * t).sum(axis=-1) + q.entropy()
        np.testing.assert_allclose(L, Mixture().log_marginal(x, mixture), rtol=0, atol=1e-10)


class Read:
    """Rows that note how often each was read."""

    def __init__(self, x: Array) -> None:
        self.x, self.times = x, np.zeros(len(x), int)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, some: slice) -> Array:
        self.times[some] += 1
        return self.x[some]


@each
def test_blocks_do_not_show_and_every_row_is_read_once(case: str) -> None:
    """Catches a last block that is left out or weighs as much as a full one, and a second pass over the rows."""
    rows, step = CASES[case]
    x, theta = rows(4)
    whole, log_p = step(x, theta, rows=N)
    for size in (1, 7, 59):
        read: Any = Read(x)
        found, other = step(read, theta, rows=size)
        assert (read.times == 1).all()
        assert other == pytest.approx(log_p, abs=1e-12)
        for a, b in zip(found, whole, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@each
def test_rows_are_counted_in_float64(case: str) -> None:
    """Catches sums in the type of the file; and shares of a mixture that do not sum to one."""
    rows, step = CASES[case]
    x, theta = rows(10)
    narrow, few = x.astype(np.float32), type(theta)(*(a.astype(np.float32) for a in theta))
    found, other = step(narrow, few), step(narrow.astype(np.float64), few)
    assert found[1] == other[1]
    for a, b in zip(found[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)
    if case == "mixture":
        assert np.exp(found[0].a).sum() == pytest.approx(1, abs=1e-12)


@each
def test_a_memory_map_stays_on_disk(case: str, tmp_path: Path) -> None:
    """Catches a step that reads the whole map into memory: what it allocates is a block's, whatever N is."""
    rows, step = CASES[case]
    x, theta = rows(5, 20_000)
    x.astype(np.float32).tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape)
    step(mapped[:64], theta, rows=64)
    tracemalloc.start()
    found, _ = step(mapped, theta, rows=64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.size  # a quarter of the map's bytes
    assert log_p_of(x, found) > log_p_of(x, theta)


@each
def test_a_large_mean_costs_no_digits(case: str) -> None:
    """Catches sums of squares about 0: rows moved by 1e6 have the same θ, moved."""
    rows, step = CASES[case]
    x, theta = rows(6)
    (W, m, _), log_p = step(x, theta)
    names = ("m",) if case == "pca" else ("mu",)
    far = theta._replace(**{name: getattr(theta, name) + 1e6 for name in names})
    (W_far, m_far, _), log_p_far = step(x + 1e6, far)
    np.testing.assert_allclose(W_far, W, atol=1e-6)
    np.testing.assert_allclose(m_far - 1e6, m, atol=1e-6)
    assert log_p_far == pytest.approx(log_p, abs=1e-6)


def test_a_class_that_closes_on_a_row_stops_at_the_floor() -> None:
    """Catches a σ² that falls to 0 and log p(x) that goes to infinity; with the floor in force, it does not fall
    either."""
    x, theta = mixed_rows(7)
    theta = theta._replace(mu=np.stack([x[0], x[1:].mean(axis=0), theta.mu[2]]), log_var=np.array([-9.0, 1.0, 1.0]))
    found = em.fit(functools.partial(em.mixture_step, floor=1e-3), x, theta, steps=40, tolerance=-1.0)
    assert found.theta.log_var.min() == np.log(1e-3)
    np.testing.assert_allclose(found.theta.mu[0], x[0])
    assert (np.diff(found.log_p) > -1e-10).all()
    smaller = em.fit(em.mixture_step, x, theta, steps=40)
    assert smaller.log_p[-1] > found.log_p[-1] + 0.1  # what a class that closes on a row gains: nothing but the floor


def test_fit_ends_when_little_is_gained() -> None:
    """Catches a fit that goes on for ever, that ends at its first step, or that returns the theta before it ended."""
    x, theta = gaussian_rows(8)
    full = em.fit(em.pca_step, x, theta, steps=50, tolerance=-1.0)
    assert len(full.log_p) == 50
    early = em.fit(em.pca_step, x, theta, steps=500, tolerance=1e-3)
    gains = np.diff(early.log_p)
    assert (gains[:-1] >= 1e-3).all()
    assert gains[-1] < 1e-3
    assert log_p_of(x, early.theta) >= early.log_p[-1]
    assert len(em.fit(em.pca_step, x, theta, tolerance=1e9).log_p) == 2  # a gain takes two
    one = em.fit(em.pca_step, x, theta, steps=1)
    np.testing.assert_array_equal(one.theta.W, em.pca_step(x, theta)[0].W)
    assert em.fit(em.pca_step, x, theta, steps=0) == (theta, [])


def test_what_it_refuses() -> None:
    """Catches a traceback of linear algebra where the data are at fault, and a NaN that spoils θ in silence."""
    x, theta = gaussian_rows(9)
    step: Any
    other: Any
    for step, other in ((em.pca_step, theta), (em.mixture_step, mixed_rows(9)[1])):
        with pytest.raises(DataError, match="x has 4 columns but theta was built for D=5"):
            step(x[:, :4], other)
    x[50, 3] = np.nan
    with pytest.raises(DataError, match=r"x holds nan at row 50, column 3"):
        em.pca_step(x, theta, rows=16)
    with pytest.raises(DataError, match="no rows"):
        em.pca_step(x[:0], theta)
    flat = np.outer(np.arange(6.0), np.ones(D))
    with pytest.raises(DataError, match="rank 2 or less"):
        em.fit(em.pca_step, flat, theta, steps=5000, tolerance=-1.0)
    clouds, mixture = mixed_rows(9)
    with pytest.raises(UsageError, match="floor=0"):
        em.mixture_step(clouds, mixture, floor=0)
    mu = mixture.mu.copy()
    mu[1] = 1e6
    with pytest.raises(DataError, match="class 1 has lost every row"):
        em.mixture_step(clouds, mixture._replace(mu=mu))
