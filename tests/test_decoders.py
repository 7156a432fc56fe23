"""§7.2.5 Decoders for real data: right numbers where others lose them, laws, slopes, and nothing NaN anywhere."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from oracles import close, slopes
from scipy import integrate, special, stats

from scratchvae.data import check
from scratchvae.distributions.continuous import Beta, Gamma
from scratchvae.distributions.counts import Binomial, NegativeBinomial, ZeroInflated
from scratchvae.distributions.levels import DiscretisedLogistic, LogisticMixture, Ordinal
from scratchvae.distributions.positive import LogNormal
from scratchvae.distributions.student import StudentT
from scratchvae.errors import DataError, UsageError
from scratchvae.types import Array

ONE = np.ones(())
Logistic: Any = DiscretisedLogistic  # mypy takes `*parts, levels` for levels twice
Mixture: Any = LogisticMixture
FAMILIES: dict[str, tuple[Any, int]] = {  # how to make one from its parameters, and how many it has
    "discretised logistic": (lambda m, s: Logistic(m, s, 7), 2),
    "negative binomial": (NegativeBinomial, 2),
    "zero-inflated": (ZeroInflated, 3),
    "binomial": (lambda l: Binomial(l, 6), 1),
    "gamma": (Gamma, 2),
    "log-normal": (LogNormal, 2),
    "beta": (Beta, 2),
    "student": (StudentT, 3),
}
DENSITIES = ("gamma", "log-normal", "beta", "student")
each_family = pytest.mark.parametrize("name", FAMILIES)


def logs(*v: float, dtype: str = "float64") -> list[Array]:
    """log v as rows of one entry."""
    return [np.log(np.array([a], "float64")).astype(dtype) for a in v]


def at(*v: float) -> list[Array]:
    """v as rows of one entry."""
    return [np.array([a], "float64") for a in v]


def values(name: str, rng: np.random.Generator, *shape: int) -> Array:
    """Values that the family can take."""
    if name in DENSITIES:
        z = rng.standard_normal(shape)
        return {"student": z, "beta": special.expit(z)}.get(name, np.exp(z))
    return rng.integers(0, 7, shape).astype(float)


# --- numbers ----------------------------------------------------------------------------------------------------------

ROWS: list[tuple[Any, float, float]] = [  # 50-digit arithmetic: the family at its parameters, the value, log p
    (Logistic(*at(3), *logs(0.5)), 128, -249.14541345786886),
    (Logistic(*at(10), *logs(0.3)), 200, -631.70299252703357),
    (Logistic(*at(127.6), *logs(1000)), 128, -8.2940497009353579),
    (Logistic(*at(300), *logs(2)), 1, -150.18275212956719),
    (Logistic(*at(128, 100)), 128, -100 - 2 * np.log(2)),
    (NegativeBinomial(*logs(2.5, 1e10)), 3, -1.5428872737430898),
    (NegativeBinomial(*logs(2.5, 1e-6)), 0, -1.4731801689838349e-5),
    (NegativeBinomial(*logs(2.5, 1e-6)), 5, -15.424963118867043),
    (NegativeBinomial(*logs(1, 0.1)), 1000, -104.01970674042215),
    (NegativeBinomial(*logs(1e-8, 2)), 3, -55.955189437417042),
    (ZeroInflated(*at(-800), *logs(1e6, 50)), 0, -495.17687756430849),
    (Beta(*logs(1, 8)), 0, 2.0794415416798359),
    (Beta(*logs(1, 1)), 0, 0.0),
    (Beta(*logs(1, 1)), 1, 0.0),
    (Beta(*logs(2, 2)), 0, -np.inf),
    (StudentT(*at(0, 0), *logs(1e12)), 3, -5.4189385331891727),
    (StudentT(*at(0, 0), *logs(0.01)), 1e200, -470.45042264889506),
]


@pytest.mark.parametrize(("p", "x", "right"), ROWS, ids=lambda v: type(v).__name__ if isinstance(v, tuple) else None)
def test_nasty_numbers(p: Any, x: float, right: float) -> None:
    """Catches an ε inside a log, a clamp, a difference of log-gammas or of CDFs: each is off here by 1e-6 to inf."""
    np.testing.assert_allclose(p.log_prob(np.array([x])), right, rtol=1e-13, atol=0)


def test_nasty_slopes() -> None:
    """∂/∂log θ of the negative binomial: catches ψ(x + θ) − ψ(θ), which has no digit left at θ = 1e10."""
    for (x, mean, theta), right in [
        ((3, 2.5, 1e10), 1.3749999996666667e-10),
        ((0, 2.5, 1e-6), -1.3731802089838189e-5),
        ((5, 2.5, 1e-6), 0.99998635153061988),
        ((1000, 1, 0.1), -89.324860327354467),
        ((3, 1e-8, 2), -0.83333331833333343),
    ]:
        _, d = NegativeBinomial(*logs(mean, theta)).log_prob_vjp(ONE, np.array([x]))
        np.testing.assert_allclose(d.log_theta, right, rtol=1e-13)


def between(x: Array, m: Array, s: Array, side: int) -> Array:
    """P of the bin from the left (1) or the right (−1) tail, so that the difference keeps its digits."""
    a, b = (side * (np.where(x == end, np.inf * (end - 1), x + h) - m) for end, h in ((6, 0.5), (0, -0.5)))
    return side * (stats.logistic.cdf(a, 0, np.exp(s)) - stats.logistic.cdf(b, 0, np.exp(s)))


SCIPY: dict[str, Callable[..., Any]] = {
    "negative binomial": lambda x, m, t: stats.nbinom.logpmf(x, np.exp(t), special.expit(t - m)),
    "binomial": lambda x, l: stats.binom.logpmf(x, 6, special.expit(l)),
    "gamma": lambda x, a, r: stats.gamma.logpdf(x, np.exp(a), scale=np.exp(-r)),
    "log-normal": lambda x, m, v: stats.lognorm.logpdf(x, np.exp(v / 2), scale=np.exp(m)),
    "beta": lambda x, a, b: stats.beta.logpdf(x, np.exp(a), np.exp(b)),
    "student": lambda x, m, s, n: stats.t.logpdf(x, np.exp(n), m, np.exp(s)),
    "discretised logistic": lambda x, m, s: np.log(np.where(x < m, between(x, m, s, 1), between(x, m, s, -1))),
    "zero-inflated": lambda x, l, m, t: np.log(
        special.expit(l) * (x == 0)
        + special.expit(-l) * stats.nbinom.pmf(x, np.exp(t), special.expit(t - m))
    ),
}  # fmt: skip


@each_family
def test_log_prob_is_scipys(name: str) -> None:
    """Catches a lost constant or Jacobian, a rate for a scale, mean for mode, θ and μ exchanged."""
    rng = np.random.default_rng(1)
    family, n = FAMILIES[name]
    p, x = rng.standard_normal((n, 200, 3)), values(name, rng, 200, 3)
    close(family(*p).log_prob(x), np.sum(SCIPY[name](x, *p), axis=-1), 1e-12)


# --- laws -------------------------------------------------------------------------------------------------------------


def expectation(name: str, p: Any, f: Callable[[Array], Array]) -> float:
    """Σ or ∫ f(x) p(x) for one entry: sums to 4000, integrals between the density's own quantiles 1e-13 … 1 − 1e-13."""
    if name not in DENSITIES:
        x = np.arange(4000 if name in ("negative binomial", "zero-inflated") else 7.0)[:, None]
        return float(np.sum(np.exp(p.log_prob(x)) * f(x)))
    cuts = [float(p.sample(np.array([u]))[0]) for u in (1e-13, 1e-4, 0.01, 0.3, 0.7, 0.99, 1 - 1e-4, 1 - 1e-13)]

    def integrand(x: float) -> float:
        return float(np.exp(p.log_prob(np.array([[x]]))[0]) * f(np.array([[x]]))[0])

    return sum(integrate.quad(integrand, a, b, epsabs=1e-12, limit=200)[0] for a, b in pairwise(cuts))


LAWS: dict[str, list[tuple[float, ...]]] = {
    "log-normal": [(0.7, 0.3), (0.2, -1.5)],
    "student": [(0.3, -0.2, 1.5), (0.0, 0.5, 3.0)],
    "zero-inflated": [(-0.5, 1.0, 0.3), (1.0, 0.0, 3.0)],
    "binomial": [(0.3,), (-2.0,)],
}


def scores(family: Any, point: tuple[float, ...], x: Array) -> Any:
    """∂ log p by the parameters at each x."""
    return family(*(np.full((len(x), 1), v) for v in point)).log_prob_vjp(np.ones(len(x)), x)[1]


@each_family
def test_it_sums_to_one_and_its_scores_to_zero(name: str) -> None:
    """Catches any wrong constant and any slope that is scaled, without a formula to copy it from."""
    family, n = FAMILIES[name]
    for point in LAWS.get(name, [(0.7, 0.3), (0.2, 1.5)]):
        p = family(*at(*point))
        assert expectation(name, p, lambda x: np.ones(len(x))) == pytest.approx(1, abs=1e-9)
        if name != "student":
            assert expectation(name, p, lambda x: x[:, 0]) == pytest.approx(float(p.mean[0]), abs=1e-8)
        for i in range(n):
            score = expectation(name, p, lambda x: scores(family, point, x)[i][:, 0])  # noqa: B023
            assert abs(score) < 1e-8, (name, point, i, score)


def test_a_mixture_and_an_ordinal_sum_to_one() -> None:
    """Catches log p summed over the mixture's axis before the logsumexp, and a last class without its tail."""
    rng = np.random.default_rng(3)
    q, x = Mixture(*rng.standard_normal((3, 2, 4)), levels=9), np.arange(9.0)
    one_by_one = Mixture(*(a[:, None] for a in q[:3]), levels=9)  # rows of one entry
    each = np.exp(np.stack([one_by_one.log_prob(np.full((2, 1), v)) for v in x]))
    close(each.sum(axis=0), np.ones(2))
    close(x @ each, q.mean)
    eta, cuts = rng.standard_normal((2, 3)), rng.standard_normal((2, 3, 4))
    p = Ordinal(eta, cuts)
    each = np.stack(
        [np.exp(Ordinal(eta[..., None], cuts[..., None, :]).log_prob(np.full((2, 3, 1), v))) for v in range(5)]
    )
    close(each.sum(axis=0), np.ones((2, 3)))
    close(np.tensordot(np.arange(5.0), each, 1), p.mean)
    bounds = np.cumsum(np.concatenate([cuts[..., :1], np.exp(cuts[..., 1:])], axis=-1), axis=-1)
    close(np.cumsum(each, axis=0)[:4], np.moveaxis(special.expit(bounds - eta[..., None]), -1, 0))


@each_family
def test_a_sample_is_the_quantile(name: str) -> None:
    """By quantiles of u the samples' mean is E[x]: catches a scale for a rate in the sampler, or x one too high."""
    family, _ = FAMILIES[name]
    point = {
        "binomial": (0.3,),
        "log-normal": (0.2, -1.0),
        "student": (0.3, -0.2, 3.0),
        "zero-inflated": (-0.5, 1.0, 0.3),
    }.get(name, (0.2, 1.0))
    u = (np.arange(20_000)[:, None] + 0.5) / 20_000
    p = family(*at(*point))
    x = p.sample(u)
    assert x.shape == u.shape
    assert float(x.mean()) == pytest.approx(float(p.mean[0]), rel=2e-3)
    assert (np.diff(x[:, 0]) >= 0).all()


def test_exact_zeros_and_ones_are_refused_with_their_count() -> None:
    """Catches data that a density has no value for, which others train on until a NaN."""
    check(np.array([[0.2, 0.9]]), "beta")
    with pytest.raises(DataError, match=r"3 of 5 cells that a beta .* 0.0 at .* it takes numbers in \(0, 1\)"):
        check(np.array([[0, 0.5, 1, 0, 0.1]]), "beta")
    with pytest.raises(DataError, match=r"a cell that a gamma .* it takes numbers > 0"):
        check(np.array([[0.0, 3.0]]), "gamma")


# --- slopes -----------------------------------------------------------------------------------------------------------


@each_family
@pytest.mark.parametrize("shift", [0.0, 4.0, 9.0])
def test_slopes_by_complex_step(name: str, shift: float) -> None:
    """Catches a lost path and a cotangent not summed over what was repeated; on both sides of every switch."""
    rng = np.random.default_rng(2)
    family, n = FAMILIES[name]
    p = [rng.standard_normal((4, 3)) for _ in range(n)]
    p[-1] = rng.standard_normal(3) + (shift if name != "binomial" else 0)
    x, w = values(name, rng, 2, 4, 3), rng.standard_normal((2, 4))
    dx, d = family(*p).log_prob_vjp(w, x)
    for i in range(n):
        f = lambda v: family(*p[:i], v, *p[i + 1 :]).log_prob(x)  # noqa: B023, E731
        expected = slopes(f, p[i], w)
        np.testing.assert_allclose(d[i], expected, rtol=1e-12, atol=1e-12 * float(np.abs(expected).max()))
    if name in DENSITIES:
        expected = slopes(lambda v: family(*p).log_prob(v), x, w)
        np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-12 * float(np.abs(expected).max()))
    else:
        assert dx is None


def test_slopes_of_a_mixture_and_of_an_ordinal() -> None:
    """Catches responsibilities that are not normalised, and a cut that moves only its own bound."""
    rng = np.random.default_rng(4)
    x, w = rng.integers(0, 5, (4, 3)), rng.standard_normal(4)
    parts = list(rng.standard_normal((3, 4, 3, 2)))
    _, d = Mixture(*parts, levels=5).log_prob_vjp(w, x)
    for i in range(3):
        f = lambda v: Mixture(*parts[:i], v, *parts[i + 1 :], levels=5).log_prob(x)  # noqa: B023, E731
        close(d[i], slopes(f, parts[i], w))
    eta, cuts = rng.standard_normal((4, 3)), rng.standard_normal((3, 4))
    _, o = Ordinal(eta, cuts).log_prob_vjp(w, x)
    close(o.eta, slopes(lambda v: Ordinal(v, cuts).log_prob(x), eta, w))
    close(o.cuts, slopes(lambda v: Ordinal(eta, v).log_prob(x), cuts, w))


@each_family
def test_types_shapes_and_w(name: str) -> None:
    """Catches float32 that becomes float64, and w of another shape than the rows."""
    rng = np.random.default_rng(5)
    family, n = FAMILIES[name]
    p = family(*(rng.standard_normal((4, 3)).astype("float32") for _ in range(n)))
    x = values(name, rng, 4, 3).astype("float32")
    assert p.log_prob(x).dtype == p.mean.dtype == p.sample(x * 0 + 0.5).dtype == np.float32
    assert {d.dtype for d in p.log_prob_vjp(np.ones(4, "float32"), x)[1][:n]} == {np.dtype("float32")}
    with pytest.raises(UsageError, match="w has shape"):
        p.log_prob_vjp(np.ones(3), x)


# --- the whole range --------------------------------------------------------------------------------------------------


def anything(rng: np.random.Generator, n: int) -> Array:
    """Numbers over float32's whole range: half of moderate size, half of any exponent, either sign, with zeros."""
    size = np.exp(np.where(rng.random(n) < 0.5, rng.uniform(-8, 8, n), rng.uniform(-87, 88, n)))
    return np.where(rng.random(n) < 0.02, 0, size * rng.choice([-1, 1], n)).astype("float32")


@each_family
def test_nothing_is_nan(name: str) -> None:
    """Catches inf − inf, 0 · inf and 0 / 0: 10⁵ parameters and values over float32's whole range, in both types."""
    rng, n = np.random.default_rng(6), 100_000
    family, k = FAMILIES[name]
    p = [anything(rng, n)[:, None] for _ in range(k)]
    x = anything(rng, n)[:, None]
    if name == "beta":
        x = np.where(rng.random((n, 1)) < 0.5, special.expit(x), np.minimum(np.abs(x), 1)).astype("float32")
    elif name in DENSITIES:
        x = x if name == "student" else np.abs(x)
    else:
        x = np.abs(np.rint(x)) if name in ("negative binomial", "zero-inflated") else rng.integers(0, 7, (n, 1))
    for dtype in ("float32", "float64"):
        q = family(*(a.astype(dtype) for a in p))
        log_p, (dx, d) = q.log_prob(x), q.log_prob_vjp(np.ones(n, dtype), x)
        for what, got in [("log p", log_p), ("dx", dx), *zip(q._fields, d[:k], strict=False)]:
            bad = np.isnan(got).reshape(n) if got is not None else np.zeros(n, bool)
            i = int(bad.argmax())
            assert not bad.any(), (what, int(bad.sum()), "x", x[i], "at", [a[i] for a in p])


@pytest.mark.parametrize("make", [
    lambda a, b, c: (Ordinal(a[:, :1], b[:, None, :]), 5, 2),
    lambda a, b, c: (Mixture(a[:, None, :], b[:, None, :], c[:, None, :], 7), 7, 3),
], ids=["ordinal", "mixture"])  # fmt: skip
def test_nothing_is_nan_with_an_axis_more(make: Callable[..., Any]) -> None:
    """Catches a component that is impossible (0 · inf in its share of the slope), and cuts that overflow."""
    rng, n = np.random.default_rng(8), 30_000
    p, classes, k = make(*(anything(rng, 4 * n).reshape(n, 4).astype("float64") for _ in range(3)))
    x = rng.integers(0, classes, (n, 1))
    for got in (p.log_prob(x), *p.log_prob_vjp(np.ones(n), x)[1][:k]):
        bad = np.isnan(got).reshape(n, -1).any(axis=1)
        assert not bad.any(), (int(bad.sum()), x[bad.argmax()], [a[bad.argmax()] for a in p[:k]])


# --- 60 digits --------------------------------------------------------------------------------------------------------


def exactly(mp: Any) -> dict[str, Callable[..., Any]]:
    """log p of one entry by the textbook's formula, in mpmath's digits."""
    e, log, lg, half = mp.exp, mp.log, mp.loggamma, mp.mpf(1) / 2

    def nb(x: Any, m: Any, t: Any) -> Any:
        n, u = e(t), e(m)
        return lg(x + n) - lg(n) - lg(x + 1) + n * log(n / (n + u)) + x * log(u / (n + u))

    def beta(x: Any, a: Any, b: Any) -> Any:
        return (e(a) - 1) * log(x) + (e(b) - 1) * log(1 - x) - lg(e(a)) - lg(e(b)) + lg(e(a) + e(b))

    def student(x: Any, m: Any, s: Any, n: Any) -> Any:
        n, z = e(n), (x - m) / e(s)
        return lg((n + 1) * half) - lg(n * half) - half * log(n * mp.pi) - s - (n + 1) * half * mp.log1p(z * z / n)

    def logistic(x: Any, m: Any, s: Any) -> Any:
        a, b = ((x + h - m) / e(s) for h in (half, -half))
        return log(1 / (1 + e(-a)) - 1 / (1 + e(-b)))

    return {
        "discretised logistic": logistic,
        "negative binomial": nb,
        "zero-inflated": lambda x, l, m, t: (log(e(l) + e(nb(x, m, t))) if x == 0 else nb(x, m, t)) - mp.log1p(e(l)),
        "gamma": lambda x, a, r: e(a) * r + (e(a) - 1) * log(x) - x * e(r) - lg(e(a)),
        "beta": beta,
        "student": student,
    }


@pytest.mark.parametrize("name", ["negative binomial", "zero-inflated", "gamma", "beta", "student"])
def test_against_sixty_digits(name: str) -> None:
    """100 points, θ, shapes and ν from 6e-6 to 7e10: log p ≤ 1e-13 and slopes ≤ 1e-12, float32 ≤ 2e-6 at its own
    inputs: catches the digits that a difference of log-gammas or of digammas loses."""
    mp = pytest.importorskip("mpmath")
    rng, (family, n), N = np.random.default_rng(9), FAMILIES[name], 100
    p = rng.uniform(-8, 10, (n, N, 1))
    p[-1] = rng.uniform(-12, 25, (N, 1))
    x = np.floor(np.exp(rng.uniform(-1, 12, (N, 1)))) if name not in DENSITIES else 4 * values(name, rng, N, 1)
    x = x / 4.5 if name == "beta" else x * (rng.random((N, 1)) < 0.6) if name == "zero-inflated" else x
    with mp.workdps(60):
        for dtype, limit in (("float64", 1e-13), ("float32", 2e-6)):
            v, *q = (a.astype(dtype) for a in (x, *p))
            got, slope = family(*q).log_prob(v), family(*q).log_prob_vjp(np.ones(N, dtype), v)[1]
            for i in range(N):
                args = [mp.mpf(float(a[i, 0])) for a in (v, *q)]
                f = exactly(mp)[name]
                right = f(*args)
                assert abs(got[i] - right) <= limit * max(1, abs(right)), (name, dtype, args)
                for j in range(n if dtype == "float64" else 0):
                    up, down = (
                        [a + h * (k == j + 1) for k, a in enumerate(args)] for h in (mp.mpf("1e-20"), -mp.mpf("1e-20"))
                    )
                    d = (f(*up) - f(*down)) / mp.mpf("2e-20")
                    assert abs(slope[j][i, 0] - d) <= 1e-12 * abs(d) + 1e-15, (name, j, args)


NAMES = {Logistic: "discretised logistic", NegativeBinomial: "negative binomial", ZeroInflated: "zero-inflated",
         StudentT: "student"}  # fmt: skip


def test_nasty_numbers_in_float32() -> None:
    """≤ 2e-6 at the rounded heads and values, where float32 holds them: catches float32 that is worked in float32."""
    mp = pytest.importorskip("mpmath")
    for p, x, right in ROWS:
        if x > 3e38:
            continue
        heads, v = [a.astype("float32") for a in p if isinstance(a, np.ndarray)], np.array([x], "float32")
        got = type(p)(*heads).log_prob(v)
        with mp.workdps(700 if type(p) is Logistic else 60):
            if type(p) in NAMES:
                right = float(exactly(mp)[NAMES[type(p)]](*(mp.mpf(float(a[0])) for a in (v, *heads))))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, right, rtol=2e-6, atol=0)
    f, h = exactly(mp)["negative binomial"], mp.mpf("1e-30")
    for x, mean, theta in ((3, 2.5, 1e10), (0, 2.5, 1e-6), (5, 2.5, 1e-6), (1000, 1, 0.1), (3, 1e-8, 2)):
        heads = logs(mean, theta, dtype="float32")
        _, d = NegativeBinomial(*heads).log_prob_vjp(np.ones((), "float32"), np.array([x], "float32"))
        with mp.workdps(80):
            m, t = (mp.mpf(float(a[0])) for a in heads)
            right = float((f(x, m, t + h) - f(x, m, t - h)) / (2 * h))
        assert d.log_theta.dtype == np.float32
        np.testing.assert_allclose(d.log_theta, right, rtol=2e-6)
