"""§7.2.4 Samples of gamma, beta, von Mises and Student-t, and their slopes by the shapes: figures, mpmath, and laws.

The figures are of 50-digit arithmetic, and know nothing of the formulas under test.
"""

import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from bench import reparam as side_by_side
from bench.exact import beta_right, gamma_right, points, student_right, von_mises_right
from scratchvae.reparam import beta, gamma, student_t, von_mises
from scratchvae.types import Array

Function = Callable[..., Any]
GRID = (np.arange(20_000) + 0.5) / 20_000  # u by its quantiles


def gamma_slope(alpha: Any, z: Any) -> Array:
    """dz/dα."""
    return np.asarray(z) * gamma.log_slope(np.asarray(alpha), np.log(z))


def beta_slopes(a: Any, b: Any, x: Any) -> Array:
    """(dx/da, dx/db) along the first axis."""
    x = np.asarray(x)
    return np.stack([s * x * (1 - x) for s in beta.logit_slopes(np.asarray(a), np.asarray(b), special.logit(x))])


def off(got: Any, right: Any) -> float:
    """The worst relative error."""
    return float(np.max(np.abs(np.asarray(got) / np.asarray(right) - 1)))


# --- figures ----------------------------------------------------------------------------------------------------------

GAMMA = [
    (0.001, 1e-300, 6.901999559664034e-295), (0.001, 13.5, 938.08959329379121), (0.01, 1e-30, 6.8516667331952696e-27),
    (0.5, 3, 2.9129424164403646), (5, 40, 2.4480486867429159), (3, 0.79999, 0.50586574940281739),
    (3, 0.80001, 0.50587349187192629), (8, 8, 1.021074394151715), (8.0001, 8, 1.0210677445929761),
    (9, 8.1, 0.96596952671658565), (1000, 1100, 1.0485866785616168), (1e4, 1e4, 1.0000166668333238),
    (1e6, 1001000, 1.0005000001666001),
]  # fmt: skip
BETA = [
    (2, 3, 0.4, 0.13939200005066932, -0.090477046535647438),
    (0.01, 0.01, 1e-30, 1.1906145664240888e-26, -5.0016096147412495e-27),
    (0.5, 0.5, 0.999, 0.0027709974227853679, -0.015037461059376413),
    (1000, 1000, 0.51, 0.00024751652655435473, -0.00025251677608743018),
    (0.1, 20, 0.2, 0.41502648595050958, -0.0091214327660074361),
    (50, 80, 0.3, 0.004770635995257352, -0.0024712040414025428),
]
VON_MISES = [
    (1e-8, 1, -0.84147098253465293), (1, 2, -0.95981686978119323), (10, 0.5, -0.026300725085726475),
    (1000, 0.05, -2.5011471114795041e-5), (5, 3.1, -0.078512231778167206),
]  # fmt: skip
STUDENT = [
    (0.5, 10, -51.785771974198607), (3, -2, 0.22597479198727924), (30, 1.5, -0.0013412061385668592),
    (1000, 4, -1.692063076003539e-5),
]  # fmt: skip


@pytest.mark.parametrize(("alpha", "z", "right"), GAMMA)
def test_gamma_slope_at_nasty_points(alpha: float, z: float, right: float) -> None:
    """Catches torch's jumps at z = 0.8 and α = 8, its 6 % at (0.001, 13.5); the fraction in the series' place."""
    assert off(gamma_slope(alpha, z), right) <= 1e-13


@pytest.mark.parametrize(("a", "b", "x", "by_a", "by_b"), BETA)
def test_beta_slopes_at_nasty_points(a: float, b: float, x: float, by_a: float, by_b: float) -> None:
    """Catches a and b exchanged without the sign, and a sum hₙ that is one term off."""
    assert off(beta_slopes(a, b, x), [by_a, by_b]) <= 1e-13


@pytest.mark.parametrize(("kappa", "z", "right"), VON_MISES)
def test_von_mises_slope_at_nasty_points(kappa: float, z: float, right: float) -> None:
    """Catches the tail's integral taken with the middle's sign, and 1 − A(κ) by subtraction."""
    assert off(von_mises.slope(np.array(kappa), np.array(z)), right) <= 1e-13


@pytest.mark.parametrize(("nu", "z", "right"), STUDENT)
def test_student_slope_at_nasty_points(nu: float, z: float, right: float) -> None:
    """Catches a slope that cancels for large ν, and one that is even in z."""
    assert off(student_t.slope(np.array(nu), np.array(z)), right) <= 1e-13


# --- mpmath -----------------------------------------------------------------------------------------------------------


SWEEPS: dict[str, tuple[float, int, Function, Function, Function, dict[str, float], float]] = {
    "gamma": (1e-13, 1, gamma.log_sample, gamma.log_slope, gamma_right, {"low": 1e-3, "high": 3e3}, 80),
    "beta": (1e-13, 2, beta.logit_sample, beta.logit_slopes, beta_right, {"low": 1e-3, "high": 3e3}, 80),
    "von Mises": (1e-11, 1, von_mises.sample, von_mises.slope, von_mises_right, {"low": 1e-3, "high": 1e4}, 30),
    "Student": (1e-11, 1, student_t.sample, student_t.slope, student_right, {"low": 0.05, "high": 1e5}, 80),
}


def worst_of_sweep(name: str, n: int, seed: int) -> tuple[float, tuple[float, ...]]:
    """The worst relative error over n points against mpmath, and where it is."""
    mp: Any = importlib.import_module("mpmath").mp  # an Any: it has no types
    _, shapes, sample, slope, right, box, digits = SWEEPS[name]
    parameters, u = points(n, low=box["low"], high=box["high"], shapes=shapes, seed=seed)
    z = sample(*parameters, u)
    got = np.reshape(slope(*parameters, z), (-1, n))
    with mp.workdps(int(digits)):
        at = list(zip(*(a.tolist() for a in (*parameters, z)), strict=True))
        exact = np.array([np.atleast_1d(np.array(right(mp, *point), float)) for point in at]).T
    errors = np.abs(got / exact - 1).max(axis=0)
    return float(errors.max()), at[int(errors.argmax())]


POINTS = {"gamma": (60, 1500), "beta": (60, 500), "von Mises": (12, 300), "Student": (60, 300)}  # short, and --long


@pytest.mark.parametrize("name", SWEEPS)
def test_slopes_are_mpmaths(name: str, request: pytest.FixtureRequest) -> None:
    """Catches a switch between two forms that stands where one of them has lost its digits."""
    pytest.importorskip("mpmath")
    worst, where = worst_of_sweep(name, POINTS[name][request.config.getoption("--long", False)], seed=3)
    assert worst <= SWEEPS[name][0], where


FLOAT32: list[tuple[str, Function, Function, list[tuple[float, ...]]]] = [  # what float32 holds of the figures above
    ("gamma", gamma.log_slope, gamma_right, [(a, np.log(z)) for a, z, _ in GAMMA if z > 1e-38 and a < 1e6]),
    ("beta", beta.logit_slopes, beta_right, [(a, b, special.logit(x)) for a, b, x, *_ in BETA]),
    ("von Mises", von_mises.slope, von_mises_right, [(k, z) for k, z, _ in VON_MISES]),
    ("Student", student_t.slope, student_right, [(n, z) for n, z, _ in STUDENT]),
]


@pytest.mark.parametrize(("name", "slope", "right", "rows"), FLOAT32, ids=[row[0] for row in FLOAT32])
def test_slopes_of_float32(name: str, slope: Function, right: Function, rows: list[tuple[float, ...]]) -> None:
    """≤ 2e-6 at the rounded inputs: catches float32 that is worked in float32."""
    mp: Any = pytest.importorskip("mpmath").mp
    for row in rows:
        at = [np.float32(v) for v in row]
        with mp.workdps(80):
            exact = np.array([float(v) for v in np.atleast_1d(right(mp, *map(float, at)))])
        assert off(np.array(slope(*at), "float32").reshape(-1), exact) <= 2e-6, (name, row)
    if name == "gamma":  # beyond mpmath's reach, and smooth
        assert (
            off(1001000 * np.float32(gamma.log_slope(np.array(1e6, "float32"), np.log(np.float32(1001000)))), 1.0005)
            <= 2e-6
        )


def test_the_table_beside_others() -> None:
    """Catches a committed table in which ours is not the best or has lost its digits, and a peer asked at another z."""
    found = json.loads(side_by_side.RESULTS.read_text())
    for row in found["slopes"].values():
        assert row["ours"]["worst"] <= 2e-13
        assert all(row["ours"]["worst"] < row[name]["worst"] for name in ("torch", "jax", "scipy") if name in row)
    for row in found["log densities"].values():
        assert row["ours"]["worst"] <= 2e-6
        assert row["ours"]["not finite"] == 0
    assert "| gamma | 1500 |" in side_by_side.table(found)
    pytest.importorskip("mpmath")
    few = side_by_side.slopes("beta", side_by_side.parser().parse_args(["--points", "0.03"]), {})
    assert few["ours"]["worst"] <= 1e-13
    assert few["scipy"]["median"] <= 1e-8


@pytest.mark.parametrize("ratio", [0.3, 0.76, 0.8, 1.2, 1.3, 2.2])
def test_gamma_slope_far_from_any_sample(ratio: float) -> None:
    """Catches the expansion in 1/α where its power series has ended."""
    mp: Any = pytest.importorskip("mpmath").mp
    for alpha in (1001.0, 2e4):
        log_z = float(np.log(alpha * ratio))
        with mp.workdps(80):
            right = float(gamma_right(mp, alpha, log_z))
        assert off(gamma.log_slope(np.array(alpha), np.array(log_z)), right) <= 1e-12


# --- laws -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0, 60.0, 2e3])
def test_gamma_moments_move_as_they_must(alpha: float) -> None:
    """E[z] = α, E[z²] = α² + α and E[ln z] = ψ(α) by their slopes: catches any error that is the same at every z."""
    log_z = gamma.log_sample(np.full(GRID.shape, alpha), GRID)
    slope, z = gamma.log_slope(np.array(alpha), log_z), np.exp(log_z)
    assert np.mean(z * slope) == pytest.approx(1, rel=2e-5)
    assert np.mean(2 * z * z * slope) == pytest.approx(2 * alpha + 1, rel=1e-3)
    assert np.mean(slope) == pytest.approx(special.polygamma(1, alpha), rel=1e-3)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.4), (2, 5), (40, 1.0), (300, 700)])
def test_beta_moments_move_as_they_must(a: float, b: float) -> None:
    """E[x] = a/(a+b) and E[ln x − ln(1−x)] = ψ(a) − ψ(b): catches a swap of a and b that loses a sign."""
    logit = beta.logit_sample(np.full(GRID.shape, a), np.full(GRID.shape, b), GRID)
    by_a, by_b = beta.logit_slopes(np.array(a), np.array(b), logit)
    spread = special.expit(logit) * special.expit(-logit)
    assert np.mean(spread * by_a) == pytest.approx(b / (a + b) ** 2, rel=1e-5)
    assert np.mean(spread * by_b) == pytest.approx(-a / (a + b) ** 2, rel=1e-5)
    assert np.mean(by_a) == pytest.approx(special.polygamma(1, a), rel=1e-3)
    assert np.mean(by_b) == pytest.approx(-special.polygamma(1, b), rel=1e-3)


@pytest.mark.parametrize("kappa", [1e-6, 0.5, 3.0, 60.0, 1e5])
def test_von_mises_mean_moves_as_it_must(kappa: float) -> None:
    """E[cos z] = A(κ), A′ = 1 − A/κ − A²: catches an A(κ) that is not the samples'."""
    z = von_mises.sample(np.full(GRID.shape, kappa), GRID)
    far = von_mises.spread(np.array(kappa))
    assert np.mean(2 * np.sin(z / 2) ** 2) == pytest.approx(float(far), rel=2e-4)
    right = 0.5 if kappa < 1e-3 else far * (2 - far) - (1 - far) / kappa
    right = 0.5 / kappa**2 if kappa == 1e5 else right  # where Riccati's difference is spent
    assert np.mean(-np.sin(z) * von_mises.slope(np.array(kappa), z)) == pytest.approx(right, rel=1e-3)


@pytest.mark.parametrize("nu", [7.0, 30.0, 1e4])
def test_student_variance_moves_as_it_must(nu: float) -> None:
    """E[z²] = ν/(ν−2): its slope is −2/(ν−2)²; catches a slope that belongs to a scaled t."""
    z = student_t.sample(np.full(GRID.shape, nu), GRID)
    assert np.mean(2 * z * student_t.slope(np.array(nu), z)) == pytest.approx(-2 / (nu - 2) ** 2, rel=2e-2)


def central(f: Function, x: Array) -> Array:
    """f′(x), elementwise, by a five-point difference: no knowledge of any chain rule."""
    h = 2e-4 * x
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h)


U = (np.arange(41) + 0.5) / 41


@pytest.mark.parametrize("shape", [0.02, 0.7, 1.5, 9.0, 400.0])
def test_slopes_are_the_samplers_own(shape: float) -> None:
    """sample_vjp against differences of sample at fixed u: catches a slope that is right for another z, and a sampler
    that leaves its own curve where it changes its formula."""
    s, dz, other = np.full(U.shape, shape), np.linspace(-1, 2, 41), np.full(U.shape, 1.7)
    log_z = gamma.log_sample(s, U)
    np.testing.assert_allclose(
        gamma.log_sample_vjp(dz, s, log_z), dz * central(lambda v: gamma.log_sample(v, U), s), rtol=2e-8, atol=1e-9
    )
    for a, b in ((s, other), (other, s), (s, s[::-1])):
        da, db = beta.logit_sample_vjp(dz, a, b, beta.logit_sample(a, b, U))
        np.testing.assert_allclose(da, dz * central(lambda v, b=b: beta.logit_sample(v, b, U), a), rtol=2e-8, atol=1e-9)
        np.testing.assert_allclose(db, dz * central(lambda v, a=a: beta.logit_sample(a, v, U), b), rtol=2e-8, atol=1e-9)
    got = von_mises.sample_vjp(dz, s, von_mises.sample(s, U))
    np.testing.assert_allclose(got, dz * central(lambda v: von_mises.sample(v, U), s), rtol=2e-8, atol=1e-9)
    nu = s + 0.5
    got = student_t.sample_vjp(dz, nu, student_t.sample(nu, U))
    np.testing.assert_allclose(got, dz * central(lambda v: student_t.sample(v, U), nu), rtol=2e-8, atol=1e-9)


def test_samples_are_their_quantiles() -> None:
    """F(z) = u by scipy's CDFs: catches a tail that is mirrored, and a scale that is not 1."""
    for shape in (0.05, 0.8, 3.0, 40.0):  # from κ = 50 scipy takes the Gaussian: off by 3e−6
        s = np.full(U.shape, shape)
        np.testing.assert_allclose(special.gammainc(s, np.exp(gamma.log_sample(s, U))), U, rtol=1e-12)
        logit = beta.logit_sample(s, 2 * s, U)
        low = special.betainc(s, 2 * s, special.expit(logit)), special.betaincc(2 * s, s, special.expit(-logit))
        np.testing.assert_allclose(np.where(logit < 0, *low), U, rtol=1e-11)
        np.testing.assert_allclose(stats.vonmises.cdf(von_mises.sample(s, U), shape), U, rtol=1e-9)
        np.testing.assert_allclose(stats.t.cdf(student_t.sample(s + 1, U), shape + 1), U, rtol=1e-11)


def test_small_shapes_stay_finite() -> None:
    """Catches 0/0 where z underflows: α = 1e−3 has its median at 5e−302, and its 1 % far below all floats."""
    u = np.array([1e-12, 0.01, 0.5, 0.99, 1 - 1e-12])
    for shape in (1e-4, 1e-3, 0.01):
        s = np.full(u.shape, shape)
        log_z, logit = gamma.log_sample(s, u), beta.logit_sample(s, s, u)
        for found in (log_z, logit, gamma.log_slope(s, log_z), *beta.logit_slopes(s, s, logit)):
            assert np.isfinite(found).all()
        np.testing.assert_allclose(logit[2], 0, atol=1e-12)
        np.testing.assert_allclose(logit, -logit[::-1], rtol=1e-4, atol=1e-12)
    assert gamma.log_sample(np.array(1e-3), np.array(0.01)) == pytest.approx(np.log(0.01) * 1e3, rel=1e-3)


def test_beta_slopes_over_float32s_range() -> None:
    """Catches inf · 0 at the ends, a series of 10¹⁰ terms, and a + b + 1 − 1 = 0; nothing NaN, signs as they must."""
    rng, n = np.random.default_rng(2), 2000
    a, b = np.exp(rng.uniform(-87, 88, (2, n)))
    with np.errstate(all="ignore"):
        logit = np.log(a / b) + np.sqrt(1 / a + 1 / b) * rng.standard_normal(n)
        by_a, by_b = beta.logit_slopes(a, b, logit)
        some = beta.logit_sample(a[:200], b[:200], rng.random(200))
    assert not np.isnan([logit, by_a, by_b]).any()
    assert not np.isnan(some).any()
    assert (by_a >= 0).all()
    assert (by_b <= 0).all()


def test_beta_slopes_for_large_shapes() -> None:
    """Both sides of the switch to the expansion: catches a lost 1/6 of its second term, and m for 1 − m."""
    u = np.array([1e-10, 0.1, 0.5, 0.9, 1 - 1e-10])
    for a, b in np.array([(2e7, 2e7), (1.1e7, 1e12), (3e9, 2e7)])[..., None]:
        logit = beta.logit_sample(a, b, u)
        far = beta.logit_slopes(a, b, logit)
        swap = logit > np.log((a + 1) / (b + 1))
        first, second = beta._lower(np.where(swap, b, a), np.where(swap, a, b), np.where(swap, -logit, logit))
        np.testing.assert_allclose(far[0], np.where(swap, -second, first), rtol=2e-11)
        np.testing.assert_allclose(far[1], np.where(swap, -first, second), rtol=2e-11)


def test_beta_slopes_take_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches the series, 6·10⁴ terms at (3000, 0.05), and a number whose bits hang on its neighbours'."""
    calls, terms = [], beta._terms

    def counting(m: int, *args: Array) -> tuple[Array, ...]:
        calls.append(m)
        return terms(m, *args)

    monkeypatch.setattr(beta, "_terms", counting)
    rng = np.random.default_rng(4)
    a, b = np.exp(rng.uniform(-7, 8, (2, 400)))
    logit = beta.logit_sample(a, b, rng.random(400))
    together = np.array(beta.logit_slopes(a, b, logit))
    assert len(calls) < 300
    alone = [beta.logit_slopes(*(v[i : i + 1] for v in (a, b, logit))) for i in range(50)]
    np.testing.assert_array_equal(together[:, :50], np.concatenate(alone, axis=1))


def test_von_mises_slope_far_out_at_any_concentration() -> None:
    """Where nothing is ever drawn the slope is −tan(z/2)/κ, and may be lost to rounding: catches one that is ∞, since
    κ times a difference that rounds above 0 is anything."""
    z = np.linspace(0.01, 3.1, 500)
    for kappa in 10.0 ** np.arange(18, 38):
        assert (np.abs(von_mises.slope(np.full(500, kappa), z)) < 1e-14).all()


def test_a_nan_stays_a_nan() -> None:
    """Catches a series that waits for a NaN to become small, and one that makes a number of it."""
    nan = np.array([np.nan])
    one = np.ones(1)
    assert np.isnan(gamma.log_slope(nan, one)).all()
    assert np.isnan(gamma.log_slope(one, nan)).all()
    assert np.isnan(beta.logit_slopes(one, nan, one)).all()
    assert np.isnan(von_mises.slope(one, nan)).all()
    assert np.isnan(student_t.slope(nan, one)).all()
