"""§7.2.5 Mixed columns, and every likelihood by its name: masses that sum to one, masks, samples, refusals."""

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from oracles import close, slopes
from scipy import integrate, special, stats

from scratchvae.data import check
from scratchvae.distributions.columns import Columns, Spec, spec
from scratchvae.distributions.continuous import Beta
from scratchvae.distributions.counts import Binomial, Multinomial
from scratchvae.distributions.discrete import Categorical, Classes
from scratchvae.distributions.inflated import InflatedBeta
from scratchvae.distributions.likelihoods import LIKELIHOODS, Settings
from scratchvae.errors import DataError, UsageError
from scratchvae.types import Array

inflated: Any = InflatedBeta  # mypy counts what a star gives
SETTINGS = Settings(levels=7, trials=6, classes=4, components=3, total=9)
DISCRETE = spec([("categorical", (2,), {"classes": 3}), ("binomial", (0,), {"trials": 2}), ("bernoulli", (1,)),
                 ("ordinal", (3,), {"classes": 4})])  # fmt: skip
MIXED = spec([("gaussian", (0, 3)), ("categorical", (1,), {"classes": 3}), ("negative-binomial", (4,)), ("beta", (2,)),
              ("student-t", (5,))])  # fmt: skip
each_likelihood = pytest.mark.parametrize("name", LIKELIHOODS)


def outs(of: Spec, *shape: int, seed: int = 0, dtype: str = "float64") -> list[Array]:
    """Outputs of all heads."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((*shape, n)).astype(dtype) for _, n in of.widths]


def rows(seed: int = 1, n: int = 4) -> Array:
    """Rows of MIXED, (n, 6)."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.standard_normal((3, n))
    return np.stack([a, rng.integers(0, 3, n), special.expit(b), b, rng.poisson(3, n), c], axis=-1)


# --- sums to one ------------------------------------------------------------------------------------------------------

EVERY = np.array(list(product(range(3), range(2), range(3), range(4))), float)


def test_discrete_columns_sum_to_one() -> None:
    """By enumeration of all 72 rows: catches a column read by two parts or by none, and a term that is left out."""
    p = DISCRETE.of(outs(DISCRETE))
    every = np.exp(p.log_prob(EVERY))
    assert every.sum() == pytest.approx(1, abs=1e-13)
    averages = every @ EVERY
    close(p.mean[[0, 1, 3]], averages[[0, 1, 3]])
    assert p.mean[2] == np.argmax([every[EVERY[:, 2] == c].sum() for c in range(3)])


@pytest.mark.parametrize("m", list(product([0.0, 1.0], repeat=4)))
def test_the_observed_columns_have_their_marginal(m: Any) -> None:
    """Σ over what is missing of p(whole row): catches a mask that is put to the columns of another part."""
    p, mask = DISCRETE.of(outs(DISCRETE)), np.array(m)
    log_p = p.log_prob_observed(EVERY, mask)
    for row, got in zip(EVERY[::7], log_p[::7], strict=True):
        agrees = ((row == EVERY) | (mask == 0)).all(axis=1)
        assert got == pytest.approx(float(special.logsumexp(p.log_prob(EVERY)[agrees])), abs=1e-13)


# --- mixed columns ----------------------------------------------------------------------------------------------------


def test_terms_are_scipys() -> None:
    """Catches a head given to another column, and densities and masses mixed up in `terms`."""
    o, x = outs(MIXED, 4), rows()
    mu, a, logits, log_mean, log_theta, log_a, log_b, loc, log_s, log_nu = o
    terms = MIXED.of(o).terms(x)
    sd = np.sqrt(np.exp(a) + (1 / 255) ** 2)
    close(terms[0], stats.norm.logpdf(x[:, [0, 3]], mu, sd).sum(axis=1))
    close(terms[1], np.take_along_axis(special.log_softmax(logits, axis=1), x[:, 1:2].astype(int), 1)[:, 0])
    q = special.expit(log_theta - log_mean)
    close(terms[2], stats.nbinom.logpmf(x[:, 4:5], np.exp(log_theta), q)[:, 0])
    close(terms[3], stats.beta.logpdf(x[:, 2:3], np.exp(log_a), np.exp(log_b))[:, 0])
    close(terms[4], stats.t.logpdf(x[:, 5:], np.exp(log_nu), loc, np.exp(log_s))[:, 0])
    close(MIXED.of(o).log_prob(x), np.sum(terms, axis=0))
    assert [part.kind.mass for part in MIXED.parts] == [False, True, True, False, False]


def test_masks() -> None:
    """All observed is log_prob; what stands under m = 0, even a value that no part takes, changes nothing."""
    o, x, w = outs(MIXED, 2, 4), rows(), np.random.default_rng(2).standard_normal((2, 4))
    p, m = MIXED.of(o), (np.random.default_rng(3).random((4, 6)) < 0.5) * 1.0
    assert (p.log_prob_observed(x, np.ones(6)) == p.log_prob(x)).all()
    close(p.log_prob_observed(x, m) + p.log_prob_observed(x, 1 - m), p.log_prob(x), 1e-14)
    filled = np.where(m == 1, x, 0)  # a fraction of 0 has no density
    filled[m[:, 1] == 0, 1] = -7  # no class
    assert (p.log_prob_observed(filled, m) == p.log_prob_observed(x, m)).all()
    (dx, d), (dx2, d2) = p.log_prob_observed_vjp(w, filled, m), p.log_prob_observed_vjp(w, x, m)
    assert dx is not None
    assert (dx == dx2).all()
    assert (dx[m == 0] == 0).all()
    for one, two in zip(MIXED.of_vjp(d, MIXED.of(o)), MIXED.of_vjp(d2, MIXED.of(o)), strict=True):
        assert (one == two).all()
    assert (MIXED.of_vjp(d, MIXED.of(o))[2][:, m[:, 1] == 0] == 0).all()


def test_standardised_columns_have_the_density_of_the_raw() -> None:
    """log p(x) = log p((x − m) / s) − log s of the observed columns: catches a scale counted for another's column, for
    what is missing, or not at all."""
    scaled = Spec((MIXED.parts[0]._replace(log_scale=(0.7, -2.0)), *MIXED.parts[1:]))
    o, x = outs(MIXED, 4), rows()
    gap = MIXED.of(o).log_prob(x) - scaled.of(o).log_prob(x)
    close(gap, np.full(4, 0.7 - 2))
    m = np.array([[1, 1, 1, 0, 1, 1], [0, 0, 0, 1, 0, 0], [1, 0, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0.0]])
    gap = MIXED.of(o).log_prob_observed(x, m) - scaled.of(o).log_prob_observed(x, m)
    close(gap, np.array([0.7, -2, 0.7 - 2, 0]))


def test_slopes_of_mixed_columns() -> None:
    """Every head's and x's, by complex step: catches a cotangent put to another head, or scattered to other columns."""
    o, x, w = outs(MIXED, 4), rows(), np.random.default_rng(2).standard_normal(4)
    dx, d = MIXED.of(o).log_prob_vjp(w, x)
    for i, got in enumerate(MIXED.of_vjp(d, MIXED.of(o))):
        f = lambda v: MIXED.of([*o[:i], v, *o[i + 1 :]]).log_prob(x)  # noqa: B023, E731
        close(got, slopes(f, o[i], w), 1e-11)
    assert dx is not None
    assert (dx[:, [1, 4]] == 0).all()
    close(dx[:, 0], w * (o[0][:, 0] - x[:, 0]) / (np.exp(o[1][:, 0]) + (1 / 255) ** 2))


def test_samples_and_means_stand_in_their_columns() -> None:
    """By quantiles of u, a column at a time: catches a sample put to another column, and one uniform used for two."""
    of, u = spec([("poisson", (2,)), ("gaussian", (0,)), ("gamma", (1,))]), (np.arange(20_000) + 0.5) / 20_000
    p = of.of(outs(of))
    for column in range(3):
        x = p.sample(np.where(np.arange(3) == column, u[:, None], 0.5))
        assert x[:, column].mean() == pytest.approx(p.mean[column], rel=2e-3)
        assert (np.diff(x[:, column]) >= 0).all()
        assert (np.delete(x, column, axis=1) == np.delete(x[0], column)).all()


def test_a_spec_is_refused_unless_every_column_is_in_one_part() -> None:
    """Catches a column that no part explains (its p would be 1), one explained twice, a name or setting misspelt."""
    for parts in ([("poisson", (0, 2))], [("poisson", (0, 1)), ("gaussian", (1,))], [], [("poisson", ())]):
        with pytest.raises(UsageError, match="give each of 0"):
            spec(parts)
    with pytest.raises(UsageError, match="did you mean 'poisson'"):
        spec([("poison", (0,))])
    with pytest.raises(UsageError, match="poisson has no setting 'levels'"):
        spec([("poisson", (0,), {"levels": 3})])


def test_data_that_no_part_takes_is_counted() -> None:
    """Catches class 3 of 3, a negative count, a fraction of 1: seen before training, unless they are missing."""
    named, x = "0=gaussian,1=categorical:3,2=beta,3=gaussian,4=negative-binomial,5=student-t", rows()
    check(x, named)
    for column, value, words in [
        (1, 3, "whole numbers 0 … 2"),
        (4, -1, "whole numbers ≥ 0"),
        (4, 1.5, "whole numbers ≥ 0"),
        (2, 1, r"numbers in \(0, 1\)"),
        (3, np.nan, "numbers"),
    ]:
        bad = x.copy()
        bad[0, column] = value
        with pytest.raises(DataError, match=f"a cell that .* at row 0, column {column} .* it takes {words}$"):
            check(bad, named)
        bad[0, column] = np.nan
        check(bad, named, missing=True)


# --- the registry -----------------------------------------------------------------------------------------------------


@each_likelihood
def test_every_likelihood_by_its_name(name: str) -> None:
    """Sizes, types and slopes of `of` and `of_vjp`; samples lie in the support; the bias that `start` gives has its
    head's size: catches gamma's shape and rate exchanged, and a wrong reshape of classes or components."""
    kind, rng = LIKELIHOODS[name], np.random.default_rng(4)
    whole = Spec((type(MIXED.parts[0])(name, (0, 1, 2), SETTINGS),))
    o = outs(whole, 4, seed=5)
    p, u = kind.of(tuple(o), SETTINGS), rng.random((5, 4, 3))
    x = Columns((p,), whole).sample(u)
    assert x.shape == u.shape
    assert kind.support(SETTINGS).holds(x).all()
    w = rng.standard_normal((5, 4))
    back = kind.of_vjp(p.log_prob_vjp(w, x)[1], p, SETTINGS)
    for i, got in enumerate(back):
        f = lambda v: kind.of((*o[:i], v, *o[i + 1 :]), SETTINGS).log_prob(x)  # noqa: B023, E731
        close(got, slopes(f, o[i], w), 1e-11)
    small = kind.of(tuple(v.astype("float32") for v in o), SETTINGS)
    assert small.log_prob(x.astype("float32")).dtype == np.float32
    assert {Columns((small,), whole).sample(u).dtype, Columns((small,), whole).mean.dtype} == {np.dtype("float32")}
    biases = whole.start(x.reshape(-1, 3).mean(axis=0))
    assert [b.shape for b in biases] == [(n,) for _, n in whole.widths]
    assert all(np.isfinite(b).all() for b in whole.start(np.zeros(3, "float32")))


MEANS = ("bernoulli", "gaussian", "poisson", "negative-binomial", "zero-inflated", "binomial", "beta", "gamma",
         "log-normal", "exponential", "student-t", "multinomial")  # fmt: skip


@pytest.mark.parametrize("name", MEANS)
def test_a_network_that_says_nothing_starts_at_the_means(name: str) -> None:
    """With the biases alone: catches a log or a logit left out, and a rate for a mean."""
    whole = Spec((type(MIXED.parts[0])(name, (0, 1), SETTINGS),))
    mean = np.array([0.25, 0.75]) * {"binomial": 6, "multinomial": 9}.get(name, 1)
    close(whole.of(whole.start(mean)).mean, mean)


SUMMED = ("bernoulli", "categorical", "ordinal", "poisson", "negative-binomial", "zero-inflated", "binomial",
          "discretised-logistic", "logistic-mixture")  # fmt: skip


@pytest.mark.parametrize("name", SUMMED)
def test_a_sample_is_the_quantile_of_its_mass(name: str) -> None:
    """Shares of samples at 50 000 quantiles are the masses: catches a sampler of another parameter, one class too high,
    and a mixture that uses the same uniform for the component and for its value."""
    whole = Spec((type(MIXED.parts[0])(name, (0,), SETTINGS),))
    p, n = whole.of(outs(whole, seed=6)), 50_000
    x = p.sample((np.arange(n)[:, None] + 0.5) / n)
    top = int(x.max()) + 1
    shares = np.bincount(x[:, 0].astype(int), minlength=top) / n
    np.testing.assert_allclose(shares, np.exp(p.log_prob(np.arange(float(top))[:, None])), atol=8 / n)


@pytest.mark.parametrize(("name", "low", "high"), [
    ("continuous-bernoulli", 0, 1), ("von-mises", -np.pi, np.pi), ("exponential", 0, np.inf), ("gaussian", -9, 9),
])  # fmt: skip
def test_a_sample_is_the_quantile_of_its_density(name: str, low: float, high: float) -> None:
    """P(≤ x(u)) by quadrature is u, for slopes and directions of either sign: catches a tail taken for the other."""
    whole = Spec((type(MIXED.parts[0])(name, (0,), SETTINGS),))
    for heads in ([1.3, 0.4], [-2.0, -0.2], [0.0, 0.0]):
        p = whole.of([np.array([h]) for h in heads[: len(whole.widths)]])
        x = p.sample(np.array([[0.02], [0.3], [0.9]]))[:, 0]
        f = lambda v: float(np.exp(p.log_prob(np.array([v]))))  # noqa: B023, E731
        between = [integrate.quad(f, a, b)[0] for a, b in pairwise(x)]
        if name == "von-mises":  # quantiles about the mean direction may have passed π
            between = [b if b > 0 else 1 + b for b in between]
        np.testing.assert_allclose(between, [0.28, 0.6], atol=1e-8)
        assert integrate.quad(f, low, high)[0] == pytest.approx(1, abs=1e-8)


# --- classes, multinomial, a beta with exact zeros and ones -----------------------------------------------------------


def test_classes_are_a_categorical_of_codes() -> None:
    """Catches a code that is one off; −inf where x is no class; and the digits of a p that is nearly 1."""
    rng = np.random.default_rng(7)
    l, x, w = rng.standard_normal((4, 3, 5)), rng.integers(0, 5, (2, 4, 3)), rng.standard_normal((2, 4))
    close(Classes(l).log_prob(x), Categorical(l).log_prob(np.eye(5)[x]).sum(axis=-1))
    close(Classes(l).log_prob_vjp(w, x)[1].logits, slopes(lambda v: Classes(v).log_prob(x), l, w))
    assert Classes(l).log_prob(np.full((4, 3), 5)).tolist() == [-np.inf] * 4
    sure = Classes(np.array([[1e4, 1e4 - 40]]))
    assert sure.log_prob(np.array([0])) == pytest.approx(-np.exp(-40), rel=1e-14, abs=0)


def test_a_multinomial() -> None:
    """scipy's log p, the sum over all rows of a total, a row of nothing, slopes: catches a lost log n! or log x!."""
    rng = np.random.default_rng(8)
    l, w = rng.standard_normal((5, 4)), rng.standard_normal(5)
    x = rng.multinomial(30, [0.7, 0.1, 0.15, 0.05], 5).astype(float)
    right = stats.multinomial.logpmf(x, 30, special.softmax(l, axis=1))
    close(Multinomial(l).log_prob(x), right, 1e-12)
    _, d = Multinomial(l).log_prob_vjp(w, x)
    close(d.logits, slopes(lambda v: Multinomial(v).log_prob(x), l, w))
    every = np.array([row for row in product(range(6), repeat=4) if sum(row) == 5], float)
    assert np.exp(Multinomial(l[0]).log_prob(every)).sum() == pytest.approx(1, abs=1e-13)
    assert Multinomial(l[0]).log_prob(np.zeros(4)) == 0
    two = np.array([0.4, 0.0])
    close(Multinomial(two).log_prob(np.array([[3.0, 4.0]])), Binomial(two[:1], 7).log_prob(np.array([[3.0]])))


def test_a_multinomial_of_many_words() -> None:
    """10⁹ words against 50 digits: catches log n! − Σ log x!, which has lost eight of sixteen there."""
    mp = pytest.importorskip("mpmath")
    x, l = np.array([6e8, 3e8, 1e8, 2.0, 0]), np.log([0.6, 0.3, 0.1, 1e-9, 1e-10])
    with mp.workdps(50):
        p = [mp.e ** mp.mpf(float(v)) for v in l]
        right = mp.loggamma(mp.mpf(float(x.sum())) + 1)
        right += sum(mp.mpf(a) * mp.log(b / sum(p)) - mp.loggamma(mp.mpf(a) + 1) for a, b in zip(x, p, strict=True))
    assert Multinomial(l).log_prob(x) == pytest.approx(float(right), rel=1e-13)


def test_samples_of_a_multinomial() -> None:
    """Each row has its total, and means are n p: catches a last column that is not what is left."""
    rng = np.random.default_rng(9)
    p = Multinomial(rng.standard_normal(4), np.array([[5], [12]]))
    x = p.sample(rng.random((4000, 2, 4)))
    assert (x.sum(axis=-1) == [5, 12]).all()
    np.testing.assert_allclose(x.mean(axis=0), p.mean, atol=0.15)


def test_exact_zeros_and_ones_have_their_own_mass() -> None:
    """∫ density + two masses = 1, E[x], slopes with cells of all three kinds: catches a density counted at 0 and 1."""
    rng = np.random.default_rng(10)
    gate, (a, b) = rng.standard_normal((4, 3, 3)), rng.standard_normal((2, 4, 3)) + 1
    p, w = InflatedBeta(gate, a, b), rng.standard_normal(4)
    one = InflatedBeta(gate[0, :1], a[0, :1], b[0, :1])

    def f(x: float) -> float:
        return float(np.exp(one.log_prob(np.array([x]))))

    assert f(0) + f(1) + integrate.quad(f, 0, 1)[0] == pytest.approx(1, abs=1e-8)
    assert f(1) + integrate.quad(lambda x: x * f(x), 0, 1)[0] == pytest.approx(float(one.mean[0]), abs=1e-8)
    x = np.array([[0, 0.3, 1], [0.5, 0.6, 0.7], [1, 1, 0], [0, 0, 0.01]])
    inside = (x > 0) & (x < 1)
    close(p.log_prob_observed(x, inside), Beta(a, b).log_prob_observed(x, inside)
          + (special.log_softmax(gate, axis=-1)[..., 2] * inside).sum(axis=1))  # fmt: skip
    _, d = p.log_prob_vjp(w, x)
    for i, got in enumerate(d):
        close(got, slopes(lambda v: inflated(*p[:i], v, *p[i + 1 :]).log_prob(x), p[i], w))  # noqa: B023
    u = (np.arange(20_000)[:, None] + 0.5) / 20_000
    s = one.sample(u)[:, 0]
    assert (np.diff(s) >= 0).all()
    assert [(s == 0).mean(), (s == 1).mean(), s.mean()] == pytest.approx([f(0), f(1), float(one.mean[0])], abs=1e-4)


# --- the whole range --------------------------------------------------------------------------------------------------


def anything(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers over float32's whole range, either sign, half of them of moderate size, with zeros."""
    wide = rng.random(shape) < 0.5
    size = np.exp(np.where(wide, rng.uniform(-87, 88, shape), rng.uniform(-8, 8, shape)))
    return np.where(rng.random(shape) < 0.02, 0, size * rng.choice([-1, 1], shape)).astype("float32")


@pytest.mark.parametrize("name", ["classes", "multinomial", "inflated"])
def test_nothing_is_nan(name: str) -> None:
    """30 000 parameters and values a family: catches 0 · inf where a class is impossible, and inf − inf."""
    rng, n = np.random.default_rng(11), 30_000
    a, b, c = anything(rng, n, 1, 3), anything(rng, n, 1), anything(rng, n, 1)
    made: dict[str, tuple[Any, Array]] = {
        "classes": (Classes(a), rng.integers(0, 3, (n, 1))),
        "multinomial": (Multinomial(a[:, 0]), np.rint(np.abs(anything(rng, n, 3)) % 1e6)),
        "inflated": (InflatedBeta(a, b, c), np.clip(np.abs(anything(rng, n, 1)), 0, 1)),
    }
    p, x = made[name]
    for dtype in ("float32", "float64"):
        q: Any = p._replace(**{f: v.astype(dtype) for f, v in p._asdict().items() if f not in p.settings})
        for got in (q.log_prob(x), *(v for v in q.log_prob_vjp(np.ones(n, dtype), x)[1] if np.ndim(v))):
            bad = np.isnan(got).reshape(n, -1).any(axis=1)
            assert not bad.any(), (int(bad.sum()), x[bad.argmax()], [v[bad.argmax()] for v in p if np.ndim(v)])
