"""§7.2.4 check_expectation: no right estimator is condemned, a biased one is seen, what nobody can tell is not ok."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchvae.errors import UsageError
from scratchvae.gradcheck import check_expectation, expectation_gradient, singly
from scratchvae.types import Array

Integrand = tuple[Callable[[Any], Any], Callable[[Any], Any]]  # h and its derivative
SQUARE: Integrand = (np.square, lambda z: 2 * z)
COSINE: Integrand = (np.cos, lambda z: -np.sin(z))
LOG_2PI = np.log(2 * np.pi)


def gaussian(z: Array, t: Any) -> Any:
    """log N(z; mu, sigma²) of one z, or of pairs of them with one mu and sigma."""
    log_q = -(((z - t["mu"]) / np.exp(t["s"])) ** 2 + LOG_2PI) / 2 - t["s"]
    return log_q if z.ndim == 1 else log_q.sum(axis=-1)


def score(h: Integrand, mu: float, s: float, first: int = 0, bias: float = 0.0) -> Any:
    """h(z) ∇log q(z) of E[h(z)], z ~ N(mu, exp(2 s)); `bias` is a factor on s alone."""

    def sample(seed: int, draws: int) -> Any:
        e = np.random.default_rng(first + seed).standard_normal(draws)
        r = h[0](mu + np.exp(s) * e)
        return {"mu": r * e / np.exp(s), "s": (1 + bias) * r * (e * e - 1)}

    return sample


def pathwise(h: Integrand, mu: float, s: float, first: int = 0, bias: float = 0.0) -> Any:
    """h'(z) ∇z of the same."""

    def sample(seed: int, draws: int) -> Any:
        e = np.random.default_rng(first + seed).standard_normal(draws)
        slope = h[1](mu + np.exp(s) * e)
        return {"mu": slope, "s": (1 + bias) * slope * np.exp(s) * e}

    return sample


def exact(h: Integrand, mu: float, s: float) -> dict[str, float]:
    """In closed form."""
    v = np.exp(2 * s)
    if h is SQUARE:
        return {"mu": 2 * mu, "s": 2 * v}
    return {"mu": -np.sin(mu) * np.exp(-v / 2), "s": -v * np.cos(mu) * np.exp(-v / 2)}


# --- right ones, and biased ones --------------------------------------------------------------------


@pytest.mark.parametrize("h", [SQUARE, COSINE], ids=["square", "cosine"])
@pytest.mark.parametrize("estimator", [score, pathwise])
def test_of_two_hundred_runs_of_a_right_one_none_is_condemned(h: Integrand, estimator: Any) -> None:
    """Catches a standard error that is too small (of one seed's draws for that of all, say): 800 runs in the four
    cases, 1600 components, no false alarm, and |z| as large as chance makes it, not larger."""
    draws = 2000 if h is SQUARE and estimator is score else 400  # z² e² has a kurtosis of a hundred
    found = [
        check_expectation(estimator(h, 0.5, -0.3, first=1000 * i), exact(h, 0.5, -0.3), draws=draws, seeds=5)
        for i in range(200)
    ]
    assert [report.verdict for report in found if report.verdict == "wrong"] == []
    assert sum(report.verdict == "cannot tell" for report in found) <= 10
    z = np.array([row.worst.error for report in found for row in report.rows])
    assert 0.85 < np.sqrt(np.mean(z**2)) < 1.15


@settings(max_examples=15)
@given(st.floats(-1.2, 1.2), st.floats(-0.8, 0.3), st.integers(0, 10**6), st.sampled_from([SQUARE, COSINE]))
def test_a_right_one_is_not_condemned_anywhere(mu: float, s: float, first: int, h: Integrand) -> None:
    """Catches a verdict that leans on one point, on a gradient of zero, or on one sign."""
    for estimator in (score, pathwise):
        report = check_expectation(estimator(h, mu, s, first), exact(h, mu, s), draws=2000, seeds=5)
        assert report.verdict != "wrong", report


@settings(max_examples=10)
@given(st.floats(0.3, 1.2), st.floats(-0.6, 0.2), st.integers(0, 10**6), st.sampled_from([-0.01, 0.01]))
def test_one_percent_of_bias_in_one_component_is_seen(mu: float, s: float, first: int, bias: float) -> None:
    """Catches a z-score without power: the note says from which bias on it would be seen, and there it is."""

    def quiet(seed: int, draws: int) -> Any:  # most of the variance taken out by a control variate
        e = np.random.default_rng(first + seed).standard_normal(draws)
        v = np.exp(2 * s)
        return {"mu": 2 * (mu + 0.1 * np.exp(s) * e), "s": (1 + bias) * 2 * v * (1 + 0.1 * (e * e - 1))}

    report = check_expectation(quiet, exact(SQUARE, mu, s), draws=20_000, seeds=5)
    assert [row.block for row in report.rows if row.verdict == "wrong"] == ["s"], report
    assert not report
    assert report.notes[1].startswith("a bias would have been seen from: mu ")


def test_what_the_note_promises_is_kept() -> None:
    """Catches a power that is stated a factor too well: three times the bias of the note is seen in each of 20 runs."""
    right = check_expectation(score(SQUARE, 0.5, 0.0), exact(SQUARE, 0.5, 0.0), draws=2000, seeds=10)
    promised = float(right.notes[1].split(" s ")[1].split()[0]) / 100
    assert 0.02 < promised < 0.3
    for first in range(0, 2000, 100):
        biased = score(SQUARE, 0.5, 0.0, first, bias=3 * promised)
        assert check_expectation(biased, exact(SQUARE, 0.5, 0.0), draws=2000, seeds=10).verdict == "wrong"


def test_chance_is_asked_again_before_a_right_one_is_condemned() -> None:
    """Catches one unlucky set of seeds that condemns: the first five are moved off by hand, the next five are sound."""

    def unlucky(seed: int, draws: int) -> Array:
        e = np.random.default_rng(seed).standard_normal(draws)
        return e + (4.5 / np.sqrt(5 * draws) - np.mean(e)) * (seed < 5)

    report = check_expectation(unlucky, 0.0, draws=1000, seeds=5)
    assert report, report
    assert report.rows[0].worst.why.startswith("|z| 4.")
    assert report.rows[0].worst.why.endswith("with as many fresh seeds")


# --- what nobody can tell ---------------------------------------------------------------------------


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (lambda s, n: np.random.default_rng(s).standard_cauchy(n), "carry the standard error"),
        (lambda s, n: 1.0 * (np.random.default_rng(s).random(n) < 1e-3), "carry the standard error"),
        (lambda s, n: np.where(normal(s, n) > 3, np.nan, 1.0), "not finite"),
        (lambda s, n: np.where(normal(s, n) > 3, np.inf, 1.0), "not finite"),
        (lambda s, n: normal(7, n), "two seeds gave the same draws"),
        (lambda s, n: normal(s, n) + 0.2 * normal(s + 99, 1), "the seeds disagree"),
        (lambda s, n: np.repeat(normal(s, n // 20), 20), "the seeds disagree"),
        (lambda s, n: 100 * normal(s, n) + 0.1, "twice the gradient would look the same: take "),
    ],
)
def test_what_cannot_be_told_is_not_ok(sample: Any, words: str) -> None:
    """Catches an "ok" (or a "wrong") out of a standard error that means nothing."""
    report = check_expectation(sample, 0.1, draws=1000, seeds=10)
    assert report.verdict == "cannot tell", report
    assert words in report.rows[0].worst.why
    assert not report


def test_too_few_draws_say_how_many() -> None:
    """Catches a z-score of five draws."""
    report = check_expectation(lambda s, n: normal(s, n), 0.0, draws=5, seeds=4)
    assert report.verdict == "cannot tell"
    assert report.doubts == ("20 draws are too few for a standard error: draws × seeds must be 100 at least",)
    assert check_expectation(lambda s, n: 1 + normal(s, n), 1.0, draws=1, seeds=400).verdict == "ok"


def test_a_bad_block_does_not_hide_a_wrong_one() -> None:
    """Catches a worst component chosen by |z| alone, where another's |z| means nothing."""

    def sample(seed: int, draws: int) -> Array:
        g = normal(seed, draws, 3) + np.array([0, 1, 0])
        g[:, 0] = np.where(g[:, 0] > 2, np.inf, g[:, 0])
        return g

    report = check_expectation(sample, np.zeros(3), draws=200)
    assert report.verdict == "wrong"
    assert report.rows[0].worst.at == (1,)


def test_heavy_tails_seldom_condemn() -> None:
    """Catches a mean that misses its rare large draws, called wrong: log-normal with σ = 2, infinite Pareto."""
    for name, mean, parameters in (("lognormal", np.exp(2), (0.0, 2.0)), ("pareto", 2.0, (1.5,))):

        def sample(seed: int, draws: int, name: str = name, parameters: tuple[float, ...] = parameters) -> Array:
            rare: Array = getattr(np.random.default_rng(seed), name)(*parameters, draws)
            return rare

        found = []
        for first in range(0, 3000, 50):
            moved = lambda seed, draws, first=first, sample=sample: sample(first + seed, draws)  # noqa: E731
            found.append(check_expectation(moved, mean, draws=100, seeds=10).verdict)
        assert found.count("wrong") <= 1
        assert found.count("ok") < 10


# --- no variance, rounding, shapes ------------------------------------------------------------------


def test_an_estimator_without_variance_is_judged_by_rounding() -> None:
    """Sticking the landing at q = posterior: every draw is zero but for rounding. Catches 0/0, and z = 50 of 1e-17."""

    def landed(seed: int, draws: int, slip: float = 0.0) -> Any:  # h'(z) with h = log p − log q, q = p = N(0.3, 0.7²)
        z = 0.3 + 0.7 * normal(seed, draws)
        slope = -(z - 0.3) / 0.49 + (z / 0.7 - 0.3 / 0.7) / 0.7 + slip
        return {"mu": slope, "s": slope * (z - 0.3)}

    assert check_expectation(landed, {"mu": 0, "s": 0}), check_expectation(landed, {"mu": 0, "s": 0})
    assert check_expectation(lambda s, n: np.full(n, 0.1), 0.3 - 0.2)  # 5.6e-17 apart
    wrong = check_expectation(lambda s, n: landed(s, n, 1e-9), {"mu": 0, "s": 0})
    assert [row.verdict for row in wrong.rows] == ["wrong", "ok"]
    zero = check_expectation(lambda s, n: np.zeros(n), 0.5, draws=100, seeds=2)
    assert zero.rows[0].worst.why == "all 400 draws agree"
    tiny = check_expectation(lambda s, n: np.full(n, 2e-15), 1e-15, rounding=1e-28)
    assert tiny.verdict == "wrong"


def test_structure_and_shapes_are_those_of_exact() -> None:
    """Catches a leading axis that was broadcast, a block that is missing or left over, and complex draws."""
    tree = {"a": np.zeros((2, 3)), "b": (0.0, np.zeros(0))}

    def right(seed: int, draws: int) -> Any:
        return {"a": normal(seed, draws, 2, 3), "b": (normal(seed + 50, draws), np.zeros((draws, 0)))}

    report = check_expectation(right, tree, draws=500)
    assert report, report
    assert [(row.block, row.size) for row in report.rows] == [("a", 6), ("b.0", 1)]
    assert check_expectation(right, lambda: tree, draws=500).rows == report.rows
    for sample, words in (
        (lambda s, n: {"a": normal(s, n, 2, 3)}, "returned no b.0"),
        (lambda s, n: {**right(s, n), "c": normal(s, n)}, "returned more than exact has: c"),
        (lambda s, n: {**right(s, n), "a": normal(s, 2, 3)}, "a has shape (2, 3), expected (500, 2, 3): draws first"),
        (lambda s, n: {**right(s, n), "a": 1j * normal(s, n, 2, 3)}, "a is no plain array of real numbers"),
        (lambda s, n: right(s, n)["lost"], "sample_gradient(0, 500) raised KeyError: 'lost'"),
    ):
        report = check_expectation(sample, tree, draws=500)
        assert report.verdict == "wrong"
        assert words in report.problems[0]
    nothings: tuple[Any, ...] = ({}, None, "a", np.nan, 1j)
    for nothing in nothings:
        with pytest.raises(UsageError, match="exact "):
            check_expectation(right, nothing)
    with pytest.raises(UsageError, match="draws is 0"):
        check_expectation(right, tree, draws=0)


def test_one_draw_at_a_time() -> None:
    """Catches draws that share a seed: the seeds would then give the same draws."""

    def one(seed: int) -> Any:
        return {"m": 1 + normal(seed, 2), "s": float(normal(seed + 10**6, 1)[0])}

    report = check_expectation(singly(one), {"m": np.ones(2), "s": 0.0}, draws=50, seeds=8)
    assert report, report
    assert report.name == "one"
    taken: list[int] = []

    def noted(seed: int) -> float:
        taken.append(seed)
        return 0.0

    for seed in (0, 1):
        singly(noted)(seed, 3)
    assert taken == [0, 1, 2, 3, 4, 5]


# --- the exact gradient -----------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.floats(-2, 2), st.floats(-1, 1), st.floats(0.3, 4), st.sampled_from([SQUARE, COSINE]))
def test_the_integral_is_exact(mu: float, s: float, width: float, h: Integrand) -> None:
    """Catches a weight of the grid or of its half, a lost term of ∇q, and a width that has to be known."""
    t = {"mu": mu, "s": s}
    found = expectation_gradient(lambda z, _: h[0](z), gaussian, t, around=(mu, width))
    for name, value in exact(h, mu, s).items():
        assert found[name] == pytest.approx(value, rel=1e-10, abs=1e-12)


def test_the_integral_in_other_shapes() -> None:
    """Pairs of z, discrete z, h that depends on θ or is not analytic, tails as heavy as Cauchy's."""
    t = {"mu": np.array([0.3, -0.2]), "s": np.array([-0.1, 0.2]), "n": 3}
    found = expectation_gradient(lambda z, _: z[:, 0] * z[:, 1] ** 2, gaussian, t, around=((0, 0), 1))
    np.testing.assert_allclose(found["mu"], [0.04 + np.exp(0.4), 2 * 0.3 * -0.2], rtol=1e-9)
    np.testing.assert_allclose(found["s"], [0, 0.6 * np.exp(0.4)], rtol=1e-9, atol=1e-12)
    assert found["n"] == 3
    kl = expectation_gradient(
        lambda z, u: gaussian(z, {"mu": 0.0, "s": 0.0}) - gaussian(z, u),
        gaussian,
        {"mu": 0.5, "s": -0.3},
        around=(0, 1),
    )
    assert kl == pytest.approx({"mu": -0.5, "s": 1 - np.exp(-0.6)}, rel=1e-10)
    for mu in (0.0, 0.7):
        size = expectation_gradient(
            lambda z, u: np.abs(z + 0 * u["mu"].real), gaussian, {"mu": mu, "s": 0.0}, around=(mu, 1)
        )
        assert size["s"] == pytest.approx(np.sqrt(2 / np.pi) * np.exp(-(mu**2) / 2), rel=1e-4)
    tail = expectation_gradient(
        lambda z, b: 1 / (1 + z * z), lambda z, b: np.log(b / np.pi) - np.log(b * b + z * z), 2.0, around=(0, 1)
    )
    assert tail == pytest.approx(-1 / 9, rel=1e-7)  # E = 1 / (1 + b)
    bits = np.array([[i, j] for i in (0, 1) for j in (0, 1)])

    def bernoulli(z: Array, p: Array) -> Any:
        return (z * np.log(p) + (1 - z) * np.log(1 - p)).sum(axis=1)

    p = np.array([0.3, 0.6])
    found = expectation_gradient(lambda z, _: z[:, 0] * (1 + z[:, 1]), bernoulli, p, support=bits)
    np.testing.assert_allclose(found, [1.6, 0.3], rtol=1e-12)


def test_an_integral_that_is_none_is_refused() -> None:
    """Catches an exact gradient that is not: q unnormalised or beside the grid, h that jumps, three dimensions."""
    t = {"mu": 0.0, "s": 0.0}

    def square(z: Array, _: Any) -> Any:
        return z * z

    for h, log_q, theta, options, words in (
        (square, lambda z, u: gaussian(z, u) + 0.1, t, {"around": (0, 1)}, "sums to 1.10517: it must be normalised"),
        (square, gaussian, {"mu": 1e12, "s": 0.0}, {"around": (0, 1)}, "sums to 0: "),
        (lambda z, _: 1.0 * (z > 0.1), gaussian, t, {"around": (0, 1)}, "has not converged for "),
        (lambda z, _: np.exp(0.6 * z * z), gaussian, t, {"around": (0, 1)}, "has not converged for "),
        (square, gaussian, t, {"around": (np.zeros(3), 1)}, "around has 3 dimensions"),
        (square, gaussian, t, {}, "give around="),
    ):
        with pytest.raises(UsageError, match=words):
            expectation_gradient(h, log_q, theta, **options)


def test_an_importance_weighted_bound_against_its_own_target() -> None:
    """The documented way with a biased estimator: two samples of L_2 have the mean ∇E[log ½ Σ w], which is not ∇ELBO.
    Catches a check that condemns what is biased only for another target."""
    t, S = {"mu": 0.1, "s": 0.2}, 2

    def log_w(z: Array, u: Any) -> Any:  # of one z each: log p(x = 0.5, z) − log q, z ~ N(0, 1), x ~ N(z, 0.5²)
        prior, noise = {"mu": 0.0, "s": 0.0}, {"mu": 0.5, "s": np.log(0.5)}
        return gaussian(z.ravel(), prior).reshape(z.shape) + gaussian(z.ravel(), noise).reshape(z.shape) - one(z, u)

    def one(z: Array, u: Any) -> Any:
        return gaussian(z.ravel(), u).reshape(z.shape)

    def bound(z: Array, u: Any) -> Any:
        return np.log(np.exp(log_w(z, u)).mean(axis=-1))

    def multisample(seed: int, draws: int) -> Any:  # reparametrised: Σ w̃ ∂(log w)/∂z ∂z, and −∂ log q/∂θ
        e = normal(seed, draws, S)
        sigma = np.exp(t["s"])
        z = t["mu"] + sigma * e
        w = np.exp(log_w(z, t))
        w /= w.sum(axis=1, keepdims=True)
        slope = -z - (z - 0.5) / 0.25
        return {"mu": (w * slope).sum(axis=1), "s": (w * (slope * sigma * e + 1)).sum(axis=1)}

    target = expectation_gradient(bound, gaussian, t, around=((0.1, 0.1), 1.2))
    report = check_expectation(multisample, target, draws=10_000, seeds=5)
    assert report, report
    elbo = expectation_gradient(log_w, gaussian, t, around=(0.1, 1.2))
    assert check_expectation(multisample, elbo, draws=10_000, seeds=5).verdict == "wrong"


def test_the_standard_error_is_that_of_the_draws_about_their_own_mean() -> None:
    """Catches moments about the first draw, where it lies far out, and a variance over N for one over N - 1."""
    values = 100 + np.array([4.0, *(-1.0, 1.0) * 49, 1.0])
    error = values.std(ddof=1) / 10
    report = check_expectation(singly(lambda seed: values[seed]), values.mean() - 2 * error, draws=1, seeds=100)
    assert report, report
    assert report.rows[0].worst.error == pytest.approx(2, rel=1e-9)


def test_the_note_names_the_component_that_is_known_best() -> None:
    """Catches a note of the bias that would have been seen in the component that is known worst."""
    noise = np.arange(100) % 2 - 0.5
    both = np.array([1.0, 10.0, 1.0])
    report = check_expectation(lambda seed, draws: both + noise[:, None], both, draws=100, seeds=1)
    assert report.notes[1] == "a bias would have been seen from: gradient 2 %"


def test_seeds_that_differ_by_rounding_alone_are_no_doubt() -> None:
    """Catches "the seeds disagree" of an exact mean that each seed rounds in its own way."""
    assert check_expectation(lambda seed, draws: np.full(draws, 1 + seed * 2.0**-52), 1.0, draws=50, seeds=4)


def test_the_draws_that_are_asked_for_are_enough() -> None:
    """Catches a number of draws that grows with the noise, for one that grows with its square; and "all draws agree"
    beside a right estimator, where nobody asked."""

    def flat(seed: int, draws: int) -> Array:
        return 0.1 + (np.arange(draws) % 2 - 0.5)

    found = check_expectation(flat, 0.1, draws=100, seeds=1)
    assert found.rows[0].worst.why == "twice the gradient would look the same: take 5 times the draws"
    assert check_expectation(flat, 0.1, draws=600, seeds=1)
    assert check_expectation(lambda seed, draws: np.ones(draws), 1.0, draws=100, seeds=1).rows[0].worst.why == ""
