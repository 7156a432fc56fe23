"""§7.2.4 What the sweeps of `test_reparam` leave out: tables, far tails, huge and tiny shapes, and when a sum stops.

The figures are of mpmath, 60 digits (`bench.exact`), so that its absence hides nothing.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import special

from scratchvae.reparam import beta, gamma, inverse_cdf, student_t, von_mises
from scratchvae.types import Array

Function = Callable[..., Any]


def near(got: Any, right: Any, tolerance: float) -> None:
    """Relative."""
    np.testing.assert_allclose(got, right, rtol=tolerance, atol=0)


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_expansion_of_gamma_by_fractions() -> None:
    """d wₖ = (1 + d) w′ₖ₋₁ + cₖ as it stands: catches a table that is one power off, or too short at its end."""
    found, w = gamma._expansion(), [Fraction((-1) ** n, n + 1) for n in range(40)]
    np.testing.assert_array_equal(found, gamma.EXPANSION)
    assert found.shape == (gamma.ORDERS, gamma.DEGREE)
    for row in found:
        slope = [n * c for n, c in enumerate(w)][1:]
        w = [a + b for a, b in zip(slope[1:], slope, strict=False)]  # over d, which takes away the constant and c
        off = [abs(float(c) - g) * gamma.NEAR**n for n, (c, g) in enumerate(zip(w, row, strict=False))]
        assert max(off) <= 1e-14


def test_the_series_of_the_spread_solves_riccatis_equation() -> None:
    """A′ = 1 − A/κ − A², power by power, without rounding: catches a sum that is one term off."""
    found = von_mises._spread_series()
    np.testing.assert_array_equal(found, von_mises.SPREAD_SERIES)
    assert found.shape == (von_mises.ORDERS,)
    assert found[0] == 0
    a = [Fraction(1), *(-Fraction(float(c)) for c in found[1:])]
    for j in range(1, len(a)):
        assert -(j - 1) * a[j - 1] == -a[j - 1] - sum(a[i] * a[j - i] for i in range(j + 1))


# --- figures ----------------------------------------------------------------------------------------------------------

GAMMA = [  # α, ln z, d ln z/dα
    (0.001335, -4.285, 2827.896838520097), (18.85, 0.6722, 0.13506302411731588), (0.3, 0.2, 2.4297615111530426),
    (1.7, 0.4, 0.6910026958346867), (1001.0, 5.7047819749892845, 0.001718515861414232),
    (1001.0, 6.673032445794151, 0.0011215523153576957), (1001.0, 7.091076336109175, 0.000910848566743831),
    (1001.0, 7.601901959875166, 0.0006925682191584689), (20000.0, 9.740968623038354, 5.41734275457155e-05),
    (900.0, 6.807934943699926, 0.001108241289626619), (5.0, 3.6888794541139363, 0.0612012171685729),
]  # fmt: skip
BETA = [  # a, b, logit, and its slopes
    (1e-10, 1e4, -9.0, 5157453036.335594, -0.00010001117060872348),
    (1e4, 1e-10, 9.0, 0.00010001117060872348, -5157453036.335594),
    (30.0, 0.002, 1.0, 0.039444718379839566, -57.60613742080013),
    (0.01, 100.0, -6.0, 136.4732711229024, -0.010062086051207446),
    (0.1, 20.0, -3.0, 7.15849668326072, -0.05238254404670138),
    (0.3, 3000.0, -8.5, 3.5951051357516683, -0.0003334061356824199),
    (0.001, 1000.0, -8.0, 1154.676136888427, -0.0010006674345730711),
]
STUDENT = [  # ν, z, dz/dν
    (6.033, 374.9, -286.121358818539), (234300.0, -7.647, 2.0710844543008855e-09), (6.1, 1.5, -0.03120847780429121),
    (9e5, 1.3, -1.079320814365345e-12), (20.0, 0.9, -0.0010186431179517081), (50.0, 11.0, -0.08267644797505909),
]  # fmt: skip
VON_MISES = [  # κ, z, dz/dκ
    (0.01, 3.1, -0.04178838214267337), (0.3, 1.4, -0.9466499125259162), (0.3, 1.6, -0.9891223558908766),
    (2.0, 0.7, -0.22380502467510816), (2.0, 2.5, -0.8062039278982247), (2.0, 3.1, -0.07052160058355691),
    (20.0, 0.1, -0.002535148162275132), (20.0, 0.6, -0.01569106773815534), (20.0, 1.5, -0.04777120111466632),
    (20.0, 3.0, -0.24468865516217736), (60.0, 0.2, -0.0016794037592939588), (60.0, 1.0, -0.00915533941830046),
    (60.0, 2.8, -0.11947092360553885), (500.0, 0.3, -0.0003024253390171948), (500.0, 0.6, -0.0006190121644729938),
    (1e5, 0.004, -2.0000076667476013e-08), (1e5, 0.03, -1.5001162612886555e-07),
    (0.001, 3.1415, -9.269991644933066e-05), (0.0, 3.1415, -np.sin(3.1415)),
    (17750.0, 1.193e-5, -3.360610714866965e-10), (1.7e6, 3.388e-6, -9.964707347761259e-13),
    (5e7, 0.001082, -1.0820001109702953e-11), (21.04, 1.94, -0.07233952970198358), (28.94, 1.517, -0.03331469546649848),
    (1e13, 1.2e-6, -6.00000000000087e-20), (35.89, 0.1433, -0.0020142127885791885),
]  # fmt: skip
TAIL = [  # κ, z, 1 − F(z)
    (0.0, 1.0, 0.3408450569081047), (0.3, 0.4, 0.4166289161680767), (0.3, 3.0, 0.016341442468895094),
    (2.0, 0.3, 0.3497350668930129), (2.0, 0.7, 0.18909720281282016), (2.0, 2.5, 0.0069850056945382445),
    (20.0, 0.1, 0.3284616271891558), (20.0, 0.6, 0.004326053810650402), (20.0, 3.0, 1.142030627237744e-18),
    (500.0, 0.02, 0.3274035100095887), (1e5, 0.001, 0.3759149720286342), (1e5, 0.03, 1.1950054620593776e-21),
    (1e13, 1e-7, 0.3759148170229262), (1e13, 2e-6, 1.2698142947447525e-10),
    (5.674e4, 0.032, 1.2478204272688538e-14), (3.849e-6, 3.1415, 1.4746220052409097e-05),
    (21.04, 1.94, 3.486812444611475e-14), (28.94, 1.517, 9.460671935746676e-14), (5e7, 0.001082, 9.979264801404428e-15),
]  # fmt: skip
FIGURES: dict[str, tuple[Function, int, Sequence[tuple[float, ...]]]] = {
    "gamma": (gamma.log_slope, 2, GAMMA), "beta": (beta.logit_slopes, 3, BETA),
    "Student": (student_t.slope, 2, STUDENT),
    "von Mises": (von_mises.slope, 2, VON_MISES), "von Mises' tail": (von_mises.tail, 2, TAIL),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_figures(name: str) -> None:
    """Catches a form that is used where it has lost its digits, an integral that ends too early or too late, and
    1 − F where F is meant. Each figure alone: one that stops early is not kept going by its neighbours."""
    f, arguments, rows = FIGURES[name]
    for row in rows:
        got = f(*(np.array([v]) for v in row[:arguments]))
        near(np.reshape(got, -1), row[arguments:], 4e-14)


# --- samples ----------------------------------------------------------------------------------------------------------

FAR = [  # a, b, u, logit
    (2e9, 3.0, 0.01, 19.287473594487558), (2e9, 3.0, 0.9, 21.31922702722424), (2e9, 0.5, 0.2, 21.61341718885649),
    (1e30, 0.001, 0.3, 426.3288903268371), (1e30, 0.001, 0.7, 1273.6267507140406),
    (1e12, 700.0, 0.03, 21.01014823080975),
]  # fmt: skip
SOME = np.array([0.001, 0.1, 0.3, 0.5, 0.9, 0.999])


def test_beta_samples_of_huge_and_small_shapes() -> None:
    """By figures, from either side, and among numbers of ordinary shapes: catches a lost (b − 1)/2, u for 1 − u, and
    numbers that change places."""
    a, b, u, right = np.array([*FAR, (2.0, 0.7, 0.3, special.logit(special.betaincinv(2.0, 0.7, 0.3)))]).T
    near(beta.logit_sample(a, b, u), right, 1e-14)
    near(beta.logit_sample(b, a, 1 - u), -right, 1e-13)


@pytest.mark.parametrize(
    ("a", "b", "tolerance"), [(2e9, 2e9, 1e-9), (6e9, 2e9, 1e-5), (5e9, 4e6, 1e-4), (1e12, 3.0, 1e-9)]
)
def test_beta_samples_of_huge_shapes_are_their_quantiles(a: float, b: float, tolerance: float) -> None:
    """F(x) = u by SciPy's CDF, whose inverse takes seconds here: catches a spread of 1/a alone, and the gamma where
    b is not small beside a. The tolerances are what is left out of the two forms: (ln x)²/24, and the skewness."""
    for p, q in ((a, b), (b, a)):
        logit = beta.logit_sample(np.full(SOME.shape, p), np.full(SOME.shape, q), SOME)
        found = special.betainc(p, q, special.expit(logit)), special.betaincc(q, p, special.expit(-logit))
        np.testing.assert_allclose(np.where(logit < 0, *found), SOME, rtol=0, atol=tolerance)


def test_beta_samples_near_0_are_their_quantiles() -> None:
    """I = x^a/(a B) Σₙ (1−b)ₙ xⁿ a/((a+n) n!), as far as it goes, from ln x (below all floats too): catches the two
    terms of it where the third counts, and x itself where it has underflowed."""
    rng, n = np.random.default_rng(5), 3000
    a, b = np.exp(rng.uniform(np.log(1e-3), np.log(50), n)), np.exp(rng.uniform(np.log(1e-8), np.log(1e6), n))
    log_x = -np.exp(rng.uniform(1, np.where(np.arange(n) % 3, 3.5, 9))) - np.log1p(b)
    log_front = np.log(a) + special.betaln(a, b)

    def log_cdf(log_x: Array) -> Array:
        term, total = np.ones(n), np.zeros(n)
        for k in range(1, 40):
            term = term * (k - b) / k * np.exp(log_x)
            total = total + term * a / (a + k)
        return a * log_x - log_front + np.log1p(total)

    u = np.exp(log_cdf(log_x))
    kept = (u > 2.0**-53) & (u < 0.5) & (b * np.exp(log_x) < 0.1)
    logit = beta.logit_sample(a[kept], b[kept], u[kept])
    right = log_x[kept] - np.log1p(-np.exp(log_x[kept]))
    rounding = (2 - np.log(u[kept]) + np.abs(special.gammaln(b[kept]))) / a[kept]  # betaln is SciPy's
    assert (np.abs(logit - right) / (rounding + np.abs(right))).max() <= 1e-14


@pytest.mark.parametrize("kappa", [0.0, 0.3, 3.0, 200.0, 1e13])
def test_von_mises_samples_are_their_quantiles(kappa: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 − F(z) = 1 − u, each number by itself, in few steps: catches Newton's method that stops too early or never.
    Near π the float nearest to z is all that can be asked for."""
    calls, log_tail = [], von_mises._log_tail

    def counting(kappa: Array, z: Array) -> tuple[Array, Array]:
        calls.append(z)
        return log_tail(kappa, z)

    monkeypatch.setattr(von_mises, "_log_tail", counting)
    for p in np.concatenate([10.0 ** -np.arange(1, 15), np.linspace(0.013, 0.493, 49)]):
        calls.clear()
        z = von_mises.sample(np.array([kappa]), np.array([p]))
        assert len(calls) <= 20
        resolution = 1e-13 + 4e-16 / (np.pi + z)
        assert np.abs(von_mises.tail(np.array([kappa]), -z) / p - 1) <= resolution, p


@pytest.mark.parametrize("kappa", [3e14, 1e16, 1e38])
def test_von_mises_of_huge_concentrations_is_normal(kappa: float) -> None:
    """Φ, without a warning: catches a width that is not 1/√κ, and what only smaller κ can bear."""
    x = np.array([0.1, 1.0, 5.0])
    near(von_mises.tail(np.array(kappa), x / np.sqrt(kappa)), special.ndtr(-x), 1e-14)
    near(von_mises.sample(np.array(kappa), special.ndtr(-x)) * np.sqrt(kappa), -x, 1e-14)
    assert not von_mises.tail(np.array(kappa), np.array([0.001, 0.1, 3.0])).any()


def test_student_samples_of_tiny_degrees() -> None:
    """±∞ where |z| is above all floats: catches a warning there, which is an error to whoever asks for one."""
    assert student_t.sample(np.array(1e-3), np.array([0.2, 0.5, 0.8])).tolist() == [-np.inf, 0, np.inf]


# --- what all promise -------------------------------------------------------------------------------------------------

CALLS: list[tuple[Function, tuple[float, ...]]] = [
    (gamma.log_slope, (0.3, 0.7)), (gamma.log_sample, (0.003, 0.2)), (beta.logit_slopes, (0.3, 1.7, 0.4)),
    (beta.logit_sample, (0.3, 1.7, 0.4)), (student_t.slope, (7.3, 0.7)), (student_t.slope, (0.7, 0.3)),
    (student_t.sample, (0.7, 0.3)), (von_mises.slope, (0.7, 0.3)), (von_mises.sample, (0.7, 0.3)),
]  # fmt: skip


@pytest.mark.parametrize(("f", "at"), CALLS)
def test_float32_is_widened(f: Function, at: tuple[float, ...]) -> None:
    """One argument of float32, or all, give what their float64 give, to the bit: catches what is worked as it came."""
    for i in range(len(at) + 1):
        mixed = [np.array([v], "float32" if i in (j, len(at)) else "float64") for j, v in enumerate(at)]
        np.testing.assert_array_equal(f(*mixed), f(*(v.astype("float64") for v in mixed)))


def test_a_slope_of_gamma_takes_few_steps_and_sees_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits alone, among others, and by 200 steps at the most: catches a fraction that goes on until all of its
    numbers rest at the same step, which is hardly ever, and gathers what each of a thousand steps rounds."""
    rng, n = np.random.default_rng(4), 1000
    alpha = np.exp(rng.uniform(np.log(1e-3), np.log(3e3), n))
    log_z = gamma.log_sample(alpha, rng.random(n))
    together = gamma.log_slope(alpha, log_z)
    monkeypatch.setattr(gamma, "STEPS", 200)
    np.testing.assert_array_equal(gamma.log_slope(alpha, log_z), together)
    alone = [float(gamma.log_slope(alpha[i], log_z[i])) for i in range(60)]
    np.testing.assert_array_equal(alone, together[:60])


def test_beta_of_tiny_shapes_says_nothing() -> None:
    """Catches 0/0 in digamma's step where a + b is nothing beside 1, e^x that overflows where x is made of rounding
    alone, and a and b exchanged too soon, from where the smaller slope loses all its digits."""
    a = np.array([1e-20, 1e-18, 1e-16])
    by_a, by_b = beta.logit_slopes(a, a[::-1], np.array([-40.0, 3.0, 40.0]))
    assert np.isfinite([by_a, by_b]).all()
    assert (by_a > 0).all()
    assert (by_b < 0).all()
    a, ratio = np.geomspace(1e-30, 1e-16, 99), np.linspace(1.0, 3.0, 99)
    assert (np.abs(beta.logit_sample(a, a * ratio, ratio / (1 + ratio))) <= 1e-12 / a).all()
    slopes = beta.logit_slopes(np.array(1e-10), np.array(1e4), np.array(-17.0))
    near(slopes, [72158946321.34161, -0.000100005002236704], 1e-8)


def test_cauchy_beside_its_median() -> None:
    """Catches 1/tan where tan has its pole: its digits go with the distance from ½."""
    h = 2.0 ** -np.arange(3, 50)
    near(inverse_cdf.standard_cauchy(0.5 + h), np.tan(np.pi * h), 4e-16)
    near(inverse_cdf.standard_cauchy(0.5 - h), -np.tan(np.pi * h), 4e-16)
