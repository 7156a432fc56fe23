"""§7.1.1 log p of what was observed: every family, by its own log_prob of the entries with m = 1 alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from oracles import close

from scratchvae.distributions import Bernoulli, Normal
from scratchvae.distributions.continuous import Beta, ContinuousBernoulli, Dirichlet, Exponential, Gamma, VonMises
from scratchvae.distributions.counts import Binomial, Multinomial, NegativeBinomial, ZeroInflated
from scratchvae.distributions.discrete import Categorical, Poisson, one_hots
from scratchvae.distributions.levels import DiscretisedLogistic, LogisticMixture, Ordinal
from scratchvae.distributions.positive import LogNormal
from scratchvae.distributions.student import StudentT
from scratchvae.errors import UsageError
from scratchvae.types import Array

OneHots = one_hots(2, 3)
RNG = np.random.default_rng(11)
FREE, WHOLE = RNG.standard_normal((2, 4, 5)), RNG.integers(0, 4, (2, 4, 5)).astype(float)
HOT = np.concatenate([np.eye(2)[RNG.integers(0, 2, (2, 4))], np.eye(3)[RNG.integers(0, 3, (2, 4))]], axis=-1)
SQUARE, POSITIVE = 1 / (1 + np.exp(-FREE)), np.exp(FREE)
Logistic: Any = DiscretisedLogistic
Mixture: Any = LogisticMixture


def families() -> Iterator[tuple[str, Any, Array]]:
    """A name, the family by (4, 5) of parameters, values (2, 4, 5)."""
    a, b, c = np.random.default_rng(12).standard_normal((3, 4, 5))
    deep = np.random.default_rng(13).standard_normal((3, 4, 5, 3))
    yield "normal", Normal(a, b), FREE
    yield "bernoulli", Bernoulli(a), (FREE > 0) * 1.0
    yield "poisson", Poisson(a), WHOLE
    yield "negative binomial", NegativeBinomial(a, b), WHOLE
    yield "zero-inflated", ZeroInflated(a, b, c), WHOLE
    yield "binomial", Binomial(a, 3), WHOLE
    yield "binomial by column", Binomial(a, np.array([3, 4, 5, 6, 7])), WHOLE
    yield "discretised logistic", Logistic(a, b, 4), WHOLE
    yield "mixture", Mixture(*deep, levels=4), WHOLE
    yield "ordinal", Ordinal(a, deep[0]), WHOLE
    yield "one cut for all", Ordinal(a, deep[0, 0]), WHOLE
    yield "exponential", Exponential(a), POSITIVE
    yield "gamma", Gamma(a, b), POSITIVE
    yield "beta", Beta(a, b), SQUARE
    yield "continuous bernoulli", ContinuousBernoulli(a), SQUARE
    yield "von mises", VonMises(a, b), FREE
    yield "log-normal", LogNormal(a, b), POSITIVE
    yield "student", StudentT(a, b, c), FREE
    yield "one-hots", OneHots(a), HOT
    yield "multinomial", Multinomial(a), WHOLE
    yield "categorical", Categorical(a), np.eye(5)[WHOLE[..., 0].astype(int)]
    yield "dirichlet", Dirichlet(a), SQUARE / SQUARE.sum(axis=-1, keepdims=True)


GROUPED = {"one-hots": (0, 0, 1, 1, 1), "categorical": (0,) * 5, "multinomial": (0,) * 5, "dirichlet": (0,) * 5}
each_family = pytest.mark.parametrize(("name", "p", "x"), [pytest.param(*f, id=f[0]) for f in families()])


def mask(name: str) -> Array:
    """Which entries (4, 5) are observed; groups as a whole."""
    some = (np.random.default_rng(14).random((4, 5)) < 0.6) * 1.0
    some[0], some[1] = 0, 1  # a row of which nothing is known, and one of which everything is
    return some[:, list(GROUPED.get(name, range(5)))]


def slopes_of(p: Any, d: Any) -> list[Array]:
    """The cotangent's arrays, without settings."""
    return [v for name, v in d._asdict().items() if name not in getattr(p, "settings", ())]


@each_family
def test_all_observed_is_log_prob(name: str, p: Any, x: Array) -> None:
    """Catches an entry that is left out, a parameter at another's place, a cotangent not summed over the samples."""
    m, w = np.ones((4, 5)), RNG.standard_normal((2, 4))
    close(p.log_prob_observed(x, m), p.log_prob(x), 1e-14)
    (dx, d), (dx_all, d_all) = p.log_prob_observed_vjp(w, x, m), p.log_prob_vjp(w, x)
    assert (dx is None) == (dx_all is None)
    for one, other in zip([dx, *slopes_of(p, d)], [dx_all, *slopes_of(p, d_all)], strict=True):
        if one is not None:
            close(one, other, 1e-13)


@each_family
def test_observed_and_missing_add_up(name: str, p: Any, x: Array) -> None:
    """log p of a part and of the rest: catches a share that is counted twice, and a row of nothing that is not 0."""
    m, w = mask(name), RNG.standard_normal((2, 4))
    close(p.log_prob_observed(x, m) + p.log_prob_observed(x, 1 - m), p.log_prob(x), 1e-13)
    assert (p.log_prob_observed(x, m)[:, 0] == 0).all()
    parts = [slopes_of(p, p.log_prob_observed_vjp(w, x, mask)[1]) for mask in (m, 1 - m)]
    for one, rest, whole in zip(*parts, slopes_of(p, p.log_prob_vjp(w, x)[1]), strict=True):
        close(one + rest, whole, 1e-13)


@each_family
@pytest.mark.parametrize("filler", [0.0, -1e100, np.nan])
def test_what_is_missing_is_never_looked_at(name: str, p: Any, x: Array, filler: float) -> None:
    """Catches m · log p, which is NaN or −inf where the family cannot take the filler (0 for a density on (0, 1)),
    and a cotangent there that is not exactly 0."""
    if np.isnan(filler) and name in ("normal", "bernoulli"):
        pytest.skip("their compiled kernels promise it of finite numbers")
    m, w = mask(name), RNG.standard_normal((2, 4))
    filled = np.where(m == 1, x, filler)
    assert (p.log_prob_observed(filled, m) == p.log_prob_observed(x, m)).all()
    dx, d = p.log_prob_observed_vjp(w, filled, m)
    assert dx is None or (dx[:, m == 0] == 0).all()
    for got, right in zip(slopes_of(p, d), slopes_of(p, p.log_prob_observed_vjp(w, x, m)[1]), strict=True):
        assert (got == right).all()
        assert got.shape[:2] != m.shape or (got[m == 0] == 0).all()


@each_family
def test_types_and_w(name: str, p: Any, x: Array) -> None:
    """Catches float32 that becomes float64, sums in float32, and w of another shape than the rows."""
    small = p._replace(
        **{n: v.astype("float32") for n, v in p._asdict().items() if n not in getattr(p, "settings", ())}
    )
    m, w, x32 = mask(name).astype("float32"), np.ones((2, 4), "float32"), x.astype("float32")
    log_p, (_, d) = small.log_prob_observed(x32, m), small.log_prob_observed_vjp(w, x32, m)
    assert {log_p.dtype, *(v.dtype for v in slopes_of(p, d))} == {np.dtype("float32")}
    np.testing.assert_allclose(log_p, p.log_prob_observed(x, m), rtol=2e-5, atol=2e-5)
    with pytest.raises(UsageError, match="w has shape"):
        p.log_prob_observed_vjp(np.ones(4), x, m)


def test_the_first_column_speaks_for_its_group() -> None:
    """Catches a mask that cuts a one-hot in two: log p of half a one-hot is none."""
    p, x = OneHots(FREE[0]), HOT[0]
    cut = np.broadcast_to([1.0, 0, 0, 1, 1], (4, 5))
    close(p.log_prob_observed(x, cut), Categorical(FREE[0, :, :2]).log_prob(x[:, :2]))
