"""§7.2.5 Draws, types and shapes of the families: each draw is the quantile at its u, by a sum that knows no search."""

from typing import Any, cast

import numpy as np
import pytest
from oracles import close, slopes
from scipy import special, stats

from scratchvae.distributions import Bernoulli, exponential
from scratchvae.distributions.continuous import Beta, ContinuousBernoulli, Dirichlet, Exponential, Gamma, VonMises
from scratchvae.distributions.counts import Binomial, Multinomial, NegativeBinomial, ZeroInflated
from scratchvae.distributions.discrete import Classes, Poisson, one_hots
from scratchvae.distributions.exponential import ExponentialFamily, inner
from scratchvae.distributions.levels import DiscretisedLogistic, LogisticMixture, Ordinal, mixed
from scratchvae.distributions.positive import LogNormal
from scratchvae.distributions.shared import counted, dot
from scratchvae.distributions.student import StudentT
from scratchvae.types import Array

Logistic: Any = DiscretisedLogistic  # mypy takes `*heads, levels` for levels twice
RNG = np.random.default_rng(21)
U = (np.arange(24.0)[:, None] + 0.37) / 24


def at(*v: float) -> list[Array]:
    """v as rows of one entry."""
    return [np.array([a], "float64") for a in v]


# --- counts -----------------------------------------------------------------------------------------------------------

NB = ((1, 0.3), (-2, 3), (3, -2), (0, 0), (2, 40), (-1, 32.5), (-3, 31), (7, 38.5), (1.5, 800), (0.4, 0), (28, 33))
GATED = ((-1, 1, 0.3), (2, 3, 1), (-30, 0.5, 2), (0, 1, 0))
TRIES = ((0.3, 6), (-2, 1), (2, 40), (-1, 3), (1.5, np.array([2, 9])))


def below(m: float, t: float, x: Array) -> Array:
    """P(≤ x) of a negative binomial by SciPy; Poisson's where θ is beyond its reach."""
    law = stats.nbinom(np.exp(t), special.expit(t - m)) if t - m < 30 else stats.poisson(np.exp(m))
    return np.asarray(law.cdf(x))


LAWS: list[tuple[Any, Any]] = [
    *((NegativeBinomial(*at(m, t)), lambda x, m=m, t=t: below(m, t, x)) for m, t in NB),
    *((ZeroInflated(*at(l, m, t)),
       lambda x, l=l, m=m, t=t: (x >= 0) * (special.expit(l) + special.expit(-l) * below(m, t, x)))
      for l, m, t in GATED),
    *((Binomial(np.array([l]), n), stats.binom(n, special.expit(l)).cdf) for l, n in TRIES),
]  # fmt: skip


@pytest.mark.parametrize(("p", "cdf"), LAWS, ids=lambda v: type(v).__name__)
def test_a_count_is_the_least_that_reaches_u(p: Any, cdf: Any) -> None:
    """P(≤ x − 1) < u ≤ P(≤ x): catches one too many, a switch to Poisson too early, parameters exchanged."""
    x = p.sample(U)
    close(x, np.floor(x), 0)
    assert (cdf(x - 1) < U).all()
    assert (cdf(x) >= U).all()


def test_the_end_of_the_search() -> None:
    """Catches a count beyond 2⁶² that is not ∞, and one below it that is."""
    found = counted(np.full(3, 0.5), lambda k: (k >= [0, 4e18, 5e18]) * 1.0)
    close(found, np.array([0, 4e18, np.inf]))


def test_a_multinomial_of_one_word_and_of_many() -> None:
    """One word is a class, two columns are a binomial, at 10¹² too: catches a total of 1 taken for 0, and the digits
    that logs of large counts have not."""
    l = RNG.standard_normal((5, 4))
    close(
        Multinomial(l).log_prob(np.eye(4)[[0, 1, 2, 3, 0]]), special.log_softmax(l, axis=-1)[range(5), [0, 1, 2, 3, 0]]
    )
    many = Multinomial(np.array([1e-6, 0])).log_prob(np.array([5e11, 5e11]))
    np.testing.assert_allclose(many, -14.166301910609246, rtol=1e-11)


def test_a_multinomial_is_a_chain_of_binomials() -> None:
    """Column by column among what is left: catches a sum over what came before, and a last column that is drawn."""
    l, u, total = RNG.standard_normal((3, 5)), RNG.random((6, 3, 5)), np.array([[3], [20], [0]])
    x = Multinomial(l, total).sample(u)
    p, left = special.softmax(l, axis=-1), np.broadcast_to(total, (6, 3, 1))[..., 0]
    for d in range(4):
        law = stats.binom(left, p[:, d] / p[:, d:].sum(axis=-1))
        assert (law.cdf(x[..., d] - 1) < u[..., d]).all()
        assert (law.cdf(x[..., d]) >= u[..., d]).all()
        left = left - x[..., d]
    close(x[..., 4], left, 0)


# --- classes and levels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_of_classes(dtype: str) -> None:
    """By partial sums, one by one: catches the wrong axis, a group that draws by another's u, and another type."""
    l = RNG.standard_normal((4, 3, 5)).astype(dtype)
    u, v, groups = RNG.random((2, 4, 3)), RNG.random((2, 4, 3, 3)), one_hots(1, 3, 1)(l)
    p = special.softmax(l.astype("float64"), axis=-1)
    codes = Classes(l).sample(u)
    x = groups.sample(v)
    assert codes.dtype == x.dtype == np.dtype(dtype)
    assert x.shape == (2, 4, 3, 5)
    close(Classes(l).mean, np.argmax(l, axis=-1) * 1.0, 0)
    for i in np.ndindex(u.shape):
        assert codes[i] == np.searchsorted(np.cumsum(p[i[1:]]), u[i], side="right")
    for i in np.ndindex(2, 4, 3):
        for g, part in enumerate((slice(0, 1), slice(1, 4), slice(4, 5))):
            q = special.softmax(l[*i[1:], part].astype("float64"))
            right = np.eye(len(q))[np.searchsorted(np.cumsum(q), v[i][g], side="right")]
            close(x[i][part], right, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_of_levels(dtype: str) -> None:
    """The bin that u falls into: catches a component that draws its own value by its own u, and another type."""
    l, mu, log_s = RNG.standard_normal((3, 4, 3, 3)).astype(dtype)
    mu, u = 3 + mu, RNG.random((2, 5, 4, 3))
    q = LogisticMixture(l, mu, log_s, 7)
    x, pi = q.sample(u), special.softmax(l, axis=-1)
    m = 0 + (u[0] >= pi[..., 0]) + (u[0] >= pi[..., 0] + pi[..., 1])  # of three components
    a, b = (np.choose(m, np.moveaxis(h, -1, 0)) for h in (mu, log_s))
    close(x, DiscretisedLogistic(a, b, 7).sample(u[1]), 0)
    eta, cuts = l[..., 0], log_s[..., :2]
    y = Ordinal(eta, cuts).sample(u[0])
    t = np.stack([cuts[..., 0], cuts[..., 0] + np.exp(cuts[..., 1])], axis=-1) - eta[..., None]
    close(y, (u[0][..., None] > special.expit(t)).sum(axis=-1) * 1.0, 0)
    assert x.dtype == y.dtype == q.mean.dtype == np.dtype(dtype)


def test_levels_at_the_ends_of_the_range() -> None:
    """Catches 0 · ∞ of a scale of 0 or ∞, of a bound that is infinite, and of a row of weight 0."""
    q, x = Logistic(*at(2.5, -800), 7), np.array([2.0])
    close(q.mean, np.array([2.5]), 0)
    close(Logistic(*at(3, 800), 7).sample(np.array([0.5])), np.array([3.0]), 0)
    mixture = LogisticMixture(np.zeros((1, 2)), np.array([[2.5, 0.3]]), np.array([[-800.0, 1]]), 7)
    for d in (q.log_prob_vjp(np.zeros(()), x)[1][:2], mixture.log_prob_vjp(np.zeros(()), x)[1][:3]):
        assert not np.any([np.any(part) for part in d])
    _, d = Ordinal(np.array([0.3]), np.array([[0, 800.0]])).log_prob_vjp(np.ones(()), np.zeros(1))
    close(d.cuts, np.array([[special.expit(0.3), 0]]))


def test_shares_of_components_far_apart() -> None:
    """log p and both shares of rows whose logits, or whose log p, e^ cannot hold: catches the largest of another row,
    and the shares before x is seen where one component has all of it, or none has any."""
    l = np.array([[2000, 1990], [-2000, -2010], [0, 1], [0, 1], [0, 1.0]])
    log_p = np.array([[-1, -2], [-3, -1], [-2000, -2003], [-1, -900], [-np.inf, -np.inf]])
    found, gamma, pi = mixed(log_p, l)
    log_pi = special.log_softmax(l, axis=-1)
    both = (log_pi + log_p)[:4]
    close(pi, np.exp(log_pi))
    close(found, np.array([*special.logsumexp(both, axis=-1), -np.inf]), 1e-14)
    close(gamma, np.array([*special.softmax(both, axis=-1), pi[4]]))


def test_an_ordinal_broadcasts() -> None:
    """One x for all rows, one row of cuts, and the reverse: catches a shape that only fits when all are alike."""
    x, eta, cuts, w = np.array([0, 2, 1]), RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2)), np.arange(4.0)
    p, whole = Ordinal(eta, cuts), Ordinal(eta, np.tile(cuts, (4, 1, 1)))
    close(p.log_prob(x), whole.log_prob(np.tile(x, (4, 1))))
    (_, d), (_, right) = p.log_prob_vjp(w, x), whole.log_prob_vjp(w, np.tile(x, (4, 1)))
    close(d.eta, right.eta)
    close(d.cuts, right.cuts.sum(axis=0))
    close(Ordinal(eta[0], cuts).log_prob(np.tile(x, (4, 1))), np.full(4, Ordinal(eta[0], cuts).log_prob(x)))


# --- densities --------------------------------------------------------------------------------------------------------


def test_draws_at_the_ends_of_the_range() -> None:
    """Catches 0 · ∞ in a draw and in its slope: the median of an endless scale, and a row of weight 0."""
    wide, still = LogNormal(*at(0.3, 2000)), StudentT(*at(0.3, 800, 1))
    close(wide.sample(np.array([0.5])), np.exp([0.3]))
    close(still.sample(np.array([0.5])), np.array([0.3]))
    for d in (wide.sample_vjp(np.ones(1), np.array([0.1])), wide.sample_vjp(np.zeros(1), np.array([0.9]))):
        close(np.array(d), np.zeros((2, 1)), 0)
    close(np.array(still.sample_vjp(np.ones(1), np.array([0.5]))), np.array([[1], [0], [0]]), 0)
    far, end = StudentT(*at(0, 0, 25)), np.zeros(1)
    close(np.array(far.sample_vjp(np.ones(1), end)), np.array([[1], [-np.inf], [np.inf]]), 0)
    close(np.array(far.sample_vjp(end, end)), np.zeros((3, 1)), 0)
    for log_nu in (25, 800):
        close(StudentT(*at(0, 0, log_nu)).sample(U), special.ndtri(U), 1e-9)


def test_one_row_of_no_class() -> None:
    """Catches −∞ in the rows beside it."""
    l = RNG.standard_normal((3, 2, 4))
    found = Classes(l).log_prob(np.array([[0, 4], [1, 2], [3, 0]]))
    close(found, np.array([-np.inf, *Classes(l[1:]).log_prob(np.array([[1, 2], [3, 0]]))]))


@pytest.mark.parametrize("kind", [Gamma, Beta, ContinuousBernoulli, Exponential, VonMises])
def test_float32_is_worked_in_float64(kind: Any) -> None:
    """To the last bit what float64 makes of the same numbers: catches 1 − u in float32, which has no digit near 1."""
    u = (np.arange(1, 400) / 2**24).astype("float32")
    u = np.concatenate([u, 1 - u, u / 1e6])[:, None]
    p = kind(*(RNG.standard_normal(u.shape).astype("float32") for _ in kind._fields))
    wide, v, w = kind(*(h.astype("float64") for h in p)), u.astype("float64"), np.ones(len(u), "float32")
    pairs = [(p.sample(u), wide.sample(v)), (p.log_prob(u), wide.log_prob(v)), (p.mean, wide.mean)]
    pairs += zip(p.sample_vjp(u, u), wide.sample_vjp(v, v), strict=True)
    pairs += zip(p.log_prob_vjp(w, u)[1], wide.log_prob_vjp(w, v)[1], strict=True)
    for got, right in pairs:
        assert got.dtype == np.float32
        close(got, right.astype("float32"), 0)


# --- one pair for all -------------------------------------------------------------------------------------------------


def test_the_general_curvature_is_that_of_groups() -> None:
    """Catches vᵀ∇²A v that is not summed over its group."""
    for p in (one_hots(2, 3)(RNG.standard_normal((4, 5))), Dirichlet(RNG.standard_normal((4, 5)))):
        eta, v = p.eta(), (RNG.standard_normal((4, 5)),)
        close(ExponentialFamily.curvature(p, eta, v), p.curvature(eta, v))


def test_a_statistic_of_weight_0() -> None:
    """Catches 0 · ∞, and a warning about what is meant: a product beyond the range, a head whose e^ is, ln 0."""
    zero, end, large = np.zeros(1), np.array([np.inf]), np.array([1e300])
    close(inner((zero, large), (end, large)), end)
    close(Exponential(*at(800)).eta()[0], end)
    close(np.array(Beta(zero, zero).T(np.array([0.0, 1]))), np.array([[-np.inf, 0], [0, -np.inf]]))
    _, d = Gamma(*at(0.3, -0.2)).log_prob_vjp(np.zeros(()), zero)
    assert not np.any(d)
    for heads in ((-400, 0), (0, -400)):
        assert not np.any(Beta(*at(*heads)).sample_vjp(np.ones(1), np.array([0.3])))


def test_one_head_for_all_columns() -> None:
    """Catches a cotangent of x that has the shape of the heads."""
    x, w = RNG.random((4, 3)), RNG.standard_normal(4)
    dx, d = ContinuousBernoulli(*at(0.3)).log_prob_vjp(w, x)
    assert dx is not None
    close(dx, 0.3 * np.repeat(w[:, None], 3, axis=1))
    close(d.logits, np.array([w @ (x - ContinuousBernoulli(*at(0.3)).mean).sum(axis=1)]))


def test_what_they_say_of_themselves() -> None:
    """A mean and an entropy by SciPy, and a sum over a row: catches what only long tests see, and a plain number
    that has no log p."""
    a, b, c = RNG.standard_normal((3, 4, 3))
    close(Beta(a, b).mean, stats.beta(np.exp(a), np.exp(b)).mean())
    close(StudentT(a, b, c).entropy(), stats.t(np.exp(c), a, np.exp(b)).entropy().sum(axis=-1))
    q, half = StudentT(a, b, c), cast(Any, 0.5)
    close(q.log_prob(half), q.log_prob(np.full(3, 0.5)))
    close(dot(a, b), np.array([[u @ v] for u, v in zip(a, b, strict=True)]))


def test_kl_of_large_shapes() -> None:
    """40 digits: catches the plain difference where A is 10⁹ times KL, though KL is not small."""
    p, q = Gamma(*at(20, 0)), Gamma(*at(20.0001, 0.00005))
    np.testing.assert_allclose(p.kl_to(q), 0.6065070369457841, rtol=1e-10)


OWN: list[tuple[Any, Array]] = [
    (Bernoulli(*RNG.standard_normal((1, 4, 3))), (RNG.random((4, 3)) < 0.5) * 1.0),
    (Poisson(*RNG.standard_normal((1, 4, 3))), np.floor(9 * RNG.random((4, 3)))),
    (Gamma(*RNG.standard_normal((2, 4, 3))), 4 * RNG.random((4, 3))),
    (Beta(*RNG.standard_normal((2, 4, 3))), RNG.random((4, 3))),
]


@pytest.mark.parametrize(("p", "x"), OWN, ids=lambda v: type(v).__name__)
def test_the_one_pair_is_the_familys_own(p: Any, x: Array) -> None:
    """Where a family has a form of more digits: catches T, A, h of another parametrisation, which KL does not see."""
    w = RNG.standard_normal(4)
    close(ExponentialFamily.log_prob(p, x), p.log_prob(x), 1e-13)
    (dx, d), (own_dx, own) = ExponentialFamily.log_prob_vjp(p, w, x), p.log_prob_vjp(w, x)
    for got, right in zip(d, own, strict=True):
        close(got, right)
    if own_dx is not None:
        assert dx is not None
        close(dx, own_dx)


POISSON = np.array([  # λ, the entropy and its slope by log λ: 40 digits
    (0.03, 0.13550736429208327, 0.10581670849290978), (1, 1.3048422422562516, 0.5734028091226202),
    (12, 2.654119759193954, 0.5076504056869909), (150, 3.923698756980677, 0.5005593070850247),
    (399, 4.4132101236186, 0.5002093814298442), (400.5, 4.4150870826242805, 0.5002085952578312),
    (520, 4.545692528112549, 0.5001605657279229), (1e6, 8.326693728853435, 0.5000000833334166),
    (1e15, 18.688326730660016, 0.5000000000000001),
])  # fmt: skip


@pytest.mark.parametrize("rows", [POISSON, *POISSON[:, None]], ids=lambda rows: f"{rows[:, 0]}")
def test_the_entropy_of_a_poisson_where_the_sum_ends(rows: Array) -> None:
    """Each λ alone, and all at once: catches a sum that ends too early, and a series used where it has no digits."""
    p = Poisson(np.log(rows[:, :1]))
    close(p.entropy(), rows[:, 1], 1e-12 if rows[0, 0] < 400 else 1e-13)
    close(p.entropy_vjp(np.ones(len(rows))).log_rate[:, 0], rows[:, 2], 1e-12)


class Series(Poisson):
    """The series at any λ."""

    __slots__ = ()
    summed = 1e-9


def test_the_series_and_its_slope() -> None:
    """At λ of about 1, where all terms count: catches a coefficient that is not the other's multiple; and no rows."""
    l, w = np.array([[0.0, 0.7, -0.3]]), np.ones(1)
    close(Series(l).entropy_vjp(w).log_rate, slopes(lambda v: Series(v).entropy(), l, w))
    assert Poisson(np.zeros((0, 3))).entropy().shape == (0,)


# --- the integrals that take a difference's place ---------------------------------------------------------------------

S = 3.0**-16
KL: dict[str, tuple[Any, Any, list[tuple[float, float]]]] = {  # a family of one η, its KL, pairs of η
    "exponential": (Exponential, lambda a, b: b / a - 1 - np.log(b / a),
                    [(1, 0.6), (S, 1), (50 * S, 1), (1, 0.3), (1, S)]),
    "poisson": (Poisson, lambda a, b: np.exp(b) - np.exp(a) * (1 + b - a),
                [(-8, -8.6), (-40, -8), (-8, -40), (-9, -7), (8e-8, 40)]),
}  # fmt: skip


@pytest.mark.parametrize("name", KL)
def test_kl_by_its_integral(name: str) -> None:
    """Where A bends alike at both ends and where it bends up to 10¹⁵ times more, 300 rows of each: catches too few
    panels, those of one row used for all, and rows that no block takes."""
    kind, kl, pairs = KL[name]
    one, two = np.repeat(pairs, 300, axis=0).T[..., None]
    got = exponential.integral(kind(np.zeros((1, 1))), (one,), (two,), (two - one,))
    off = np.abs(got / kl(one, two) - 1).reshape(len(pairs), 300)
    assert off[:4].max() <= 5e-14
    assert off.max() <= 2e-11


@pytest.mark.parametrize("pair", [(5e3, 5e5), (5e5, 5e3), (5e3, 5e3 * (1 + 1e-9)), (5e3 * (1 + 1e-9), 5e3)])
def test_a_difference_of_means(pair: tuple[float, float]) -> None:
    """1/l₁ − 1/l₂ of two boxes on a slope: catches the integral where it bends too much, and the difference where it
    has no digits."""
    one, two = (np.array([[l]]) for l in pair)
    found = exponential.mean_difference(ContinuousBernoulli(one), (one,), (two,), (two - one,))[0]
    np.testing.assert_allclose(found, (two - one) / one / two, rtol=5e-13)


def test_means_apart_are_subtracted_though_both_ends_bend_alike() -> None:
    """Catches a way across the middle that is integrated on its ends' word: there A bends as it does at neither. Means
    by SciPy's Bessel functions, each way round."""
    ends = np.array([[7.6, 4.389], [-9.493, -5.119], [5.662, -3.086], [-5.257, 3.111]])
    size = np.hypot(*ends.T)[:, None]
    mean = special.i1e(size) / special.i0e(size) * ends / size
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        one, two = at(*ends[i]), at(*ends[j])
        found = exponential.mean_difference(VonMises(*one), tuple(one), tuple(two), (two[0] - one[0], two[1] - one[1]))
        np.testing.assert_allclose(np.ravel(found), mean[j] - mean[i], rtol=1e-13)


def test_means_that_nearly_meet_are_integrated_whatever_their_size_and_sign() -> None:
    """Catches a plain difference that has lost its digits: of a million, and of means below 0."""
    one, step = at(np.log(1e6)), at(1e-7)
    found = exponential.mean_difference(Poisson(*one), tuple(one), (one[0] + step[0],), tuple(step))[0]
    np.testing.assert_allclose(found, 1e6 * np.expm1(step[0]), rtol=1e-13)
    two, step = at(-3, -2), at(1e-9, -2e-9)
    pair = exponential.mean_difference(
        VonMises(*two), tuple(two), tuple(a + d for a, d in zip(two, step, strict=True)), tuple(step)
    )
    np.testing.assert_allclose(pair, VonMises(*two).ddA(tuple(two), tuple(step)), rtol=1e-8)
