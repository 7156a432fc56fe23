"""§7.2.5 Draws, types and shapes of the families: each draw is the quantile at its u, by a sum that knows no search."""

from typing import Any

import numpy as np
import pytest
from oracles import close
from scipy import special, stats

from scratchvae.distributions import Bernoulli
from scratchvae.distributions.continuous import Beta, ContinuousBernoulli, Gamma
from scratchvae.distributions.counts import Binomial, Multinomial, NegativeBinomial, ZeroInflated
from scratchvae.distributions.discrete import Classes, Poisson, one_hots
from scratchvae.distributions.exponential import ExponentialFamily
from scratchvae.distributions.levels import DiscretisedLogistic, LogisticMixture, Ordinal
from scratchvae.distributions.positive import LogNormal
from scratchvae.distributions.student import StudentT
from scratchvae.types import Array

RNG = np.random.default_rng(21)
U = (np.arange(24.0)[:, None] + 0.37) / 24


def at(*v: float) -> list[Array]:
    """v as rows of one entry."""
    return [np.array([a], "float64") for a in v]


# --- counts -----------------------------------------------------------------------------------------------------------

NB = ((1, 0.3), (-2, 3), (3, -2), (0, 0), (2, 40), (-1, 32.5), (-3, 31), (7, 38.5), (1.5, 800), (0.4, 0))
GATED = ((-1, 1, 0.3), (2, 3, 1), (-30, 0.5, 2), (0, 1, 0))
TRIES = ((0.3, 6), (-2, 1), (2, 40), (-1, 3), (1.5, np.array([2, 9])))


def below(m: float, t: float, x: Array) -> Array:
    """P(≤ x) of a negative binomial by SciPy; Poisson's where θ is beyond its reach."""
    law = stats.nbinom(np.exp(t), special.expit(t - m)) if t < 30 else stats.poisson(np.exp(m))
    return np.asarray(law.cdf(x))


LAWS: list[tuple[Any, Any]] = [
    *((NegativeBinomial(*at(m, t)), lambda x, m=m, t=t: below(m, t, x)) for m, t in NB),
    *((ZeroInflated(*at(l, m, t)),
       lambda x, l=l, m=m, t=t: (x >= 0) * (special.expit(l) + special.expit(-l) * below(m, t, x))) for l, m, t in GATED),
    *((Binomial(np.array([l]), n), stats.binom(n, special.expit(l)).cdf) for l, n in TRIES),
]  # fmt: skip


@pytest.mark.parametrize(("p", "cdf"), LAWS, ids=lambda v: type(v).__name__)
def test_a_count_is_the_least_that_reaches_u(p: Any, cdf: Any) -> None:
    """P(≤ x − 1) < u ≤ P(≤ x): catches one too many, a switch to Poisson too early, parameters exchanged."""
    x = p.sample(U)
    assert (cdf(x - 1) < U).all()
    assert (cdf(x) >= U).all()


def test_a_multinomial_is_a_chain_of_binomials() -> None:
    """Column by column among what is left: catches a sum over what came before, and a last column that is drawn."""
    l, u, total = RNG.standard_normal((3, 4)), RNG.random((5, 3, 4)), np.array([[3], [20], [0]])
    x = Multinomial(l, total).sample(u)
    p, left = special.softmax(l, axis=-1), np.broadcast_to(total, (5, 3, 1))[..., 0]
    for d in range(3):
        law = stats.binom(left, p[:, d] / p[:, d:].sum(axis=-1))
        assert (law.cdf(x[..., d] - 1) < u[..., d]).all()
        assert (law.cdf(x[..., d]) >= u[..., d]).all()
        left = left - x[..., d]
    close(x[..., 3], left, 0)


# --- classes and levels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_of_classes(dtype: str) -> None:
    """By partial sums, one by one: catches the wrong axis, a group that draws by another's u, and another type."""
    l = RNG.standard_normal((4, 3, 5)).astype(dtype)
    u, groups = RNG.random((2, 4, 3)), one_hots(3, 2)(l[:, 0])
    p = special.softmax(l.astype("float64"), axis=-1)
    codes = Classes(l).sample(u)
    x = groups.sample(u)
    assert codes.dtype == x.dtype == np.dtype(dtype)
    assert x.shape == (2, 4, 5)
    for i in np.ndindex(u.shape):
        assert codes[i] == np.searchsorted(np.cumsum(p[i[1:]]), u[i], side="right")
    for i in np.ndindex(2, 4):
        for g, part in enumerate((slice(0, 3), slice(3, 5))):
            q = special.softmax(l[i[1], 0, part].astype("float64"))
            right = np.eye(len(q))[np.searchsorted(np.cumsum(q), u[i][g], side="right")]
            close(x[i][part], right, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_of_levels(dtype: str) -> None:
    """The bin that u falls into: catches a component that draws its own value by its own u, and another type."""
    l, mu, log_s = RNG.standard_normal((3, 4, 3, 2)).astype(dtype)
    mu, u = 3 + mu, RNG.random((2, 5, 4, 3))
    q = LogisticMixture(l, mu, log_s, 7)
    x, pi = q.sample(u), special.softmax(l, axis=-1)
    m = (u[0] >= pi[..., 0])[..., None].astype(int)  # of two components
    each = DiscretisedLogistic(*(np.take_along_axis(np.broadcast_to(a, (5, *a.shape)), m, -1)[..., 0] for a in q[1:3]), 7)
    close(x, each.sample(u[1]), 0)
    eta, cuts = l[..., 0], mu[..., None, 0] - 3 + log_s
    y = Ordinal(eta, cuts).sample(u[0])
    t = np.stack([cuts[..., 0], cuts[..., 0] + np.exp(cuts[..., 1])], axis=-1) - eta[..., None]
    close(y, (u[0][..., None] > special.expit(t)).sum(axis=-1) * 1.0, 0)
    assert x.dtype == y.dtype == q.mean.dtype == np.dtype(dtype)


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


@pytest.mark.parametrize("kind", [Gamma, Beta, ContinuousBernoulli])
def test_draws_by_u_of_float32(kind: Any) -> None:
    """The same as by the same u in float64: catches 1 − u in float32, which has no digit left near 1."""
    u, n = (np.arange(1, 400) / 2**24).astype("float32")[:, None], len(kind._fields)
    u, p = np.concatenate([u, 1 - u]), kind(*(np.array([v], "float32") for v in (0.7, -0.4)[:n]))
    close(p.sample(u), p.sample(u.astype("float64")), 0)
    for got, right in zip(p.sample_vjp(u, u), p.sample_vjp(u, u.astype("float64")), strict=True):
        assert got.dtype == np.float32
        close(got, right, 0)


# --- one pair for all -------------------------------------------------------------------------------------------------

OWN: list[tuple[Any, Array]] = [
    (Bernoulli(*RNG.standard_normal((1, 4, 3))), (RNG.random((4, 3)) < 0.5) * 1.0),
    (Poisson(*RNG.standard_normal((1, 4, 3))), np.floor(9 * RNG.random((4, 3)))),
    (Gamma(*RNG.standard_normal((2, 4, 3))), 4 * RNG.random((4, 3))),
    (Beta(*RNG.standard_normal((2, 4, 3))), RNG.random((4, 3))),
]


@pytest.mark.parametrize(("p", "x"), OWN, ids=lambda v: type(v).__name__)
def test_the_one_pair_is_the_familys_own(p: Any, x: Array) -> None:
    """Where a family has a form of more digits: catches T, A and h of another parametrisation, which KL does not see."""
    w = RNG.standard_normal(4)
    close(ExponentialFamily.log_prob(p, x), p.log_prob(x), 1e-13)
    (dx, d), (own_dx, own) = ExponentialFamily.log_prob_vjp(p, w, x), p.log_prob_vjp(w, x)
    for got, right in zip(d, own, strict=True):
        close(got, right)
    if own_dx is not None:
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
    close(p.entropy(), rows[:, 1], 1e-12)
    close(p.entropy_vjp(np.ones(len(rows))).log_rate[:, 0], rows[:, 2], 1e-12)
