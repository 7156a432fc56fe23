"""§7.1.1 Missing values: the corrected chain and importance sampling meet the exact conditional, Rezende's does not."""

from collections.abc import Callable

import numpy as np
import pytest
from oracles import close
from test_hmc import Recorder

from scratchvae.conditional import Family, Net
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.errors import DataError, UsageError
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.networks import Dense
from scratchvae.noise import Noise
from scratchvae.tasks import diagnostics, imputation, missing
from scratchvae.tasks.missing import Coder, FillPlan, Imputations
from scratchvae.types import Array

K, D = 2, 6
PLAN = FillPlan(draws=250, chains=4, thin=4, warm_up=60, gibbs=20)


def make(rows: int, seed: int = 0) -> tuple[LinearGaussian, Array, Array]:
    """theta, whole rows x drawn from it, and a mask that hides half of each."""
    rng = np.random.default_rng(seed)
    theta = LinearGaussian(rng.normal(size=(K, D)), rng.normal(size=D), np.array([-0.5]))
    x, _ = theta.sample(rng.normal(size=(rows, K)), rng.normal(size=(rows, D)))
    observed = rng.permuted(np.tile([True] * (D // 2) + [False] * (D // 2), (rows, 1)), axis=1)
    return theta, x, observed


def coder(theta: LinearGaussian, shift: float = 0.3, widen: float = 0.5) -> Coder:
    """Its decoder exactly; an encoder with the posterior's mean, off by `shift`, and variances e^widen as large."""
    M = theta.W @ theta.W.T + np.exp(theta.log_var) * np.eye(K)
    to_mean = np.linalg.solve(M, theta.W).T  # E[z|x] = (x − m) Wᵀ M⁻¹
    log_var = np.log(np.diagonal(np.linalg.inv(M))) + theta.log_var + widen
    heads = (Dense(to_mean, shift - theta.m @ to_mean), Dense(np.zeros((D, K)), log_var))
    decoder = Family("gaussian-fixed", float(np.exp(theta.log_var[0])))
    return Coder(Net((), heads, "identity", Family("normal")), Net((), (Dense(theta.W, theta.m),), "identity", decoder))


def errors(found: Imputations, theta: LinearGaussian, x: Array, observed: Array) -> tuple[float, float]:
    """The worst |z-score| of the missing entries' mean, and of their covariance, against the exact conditional."""
    mean, cov = theta.conditional(x, observed)
    away = found.draws - mean
    got, error = diagnostics.mean_with_error(away)
    hidden = ~observed
    first = abs(got / error)[hidden].max()
    got, error = diagnostics.mean_with_error(away[..., :, None] * away[..., None, :])
    both = hidden[:, :, None] & hidden[:, None, :]
    return float(first), float(abs((got - cov) / error)[both].max())


def importance(coder: Coder, x: Array, observed: Array, fill: Array, noise: Noise, plan: FillPlan) -> Imputations:
    """With as many codes as the chain takes steps."""
    return missing.importance(coder, x, observed, fill, noise, plan, samples=20_000)


METHODS: dict[str, Callable[..., Imputations]] = {"metropolis": missing.chain, "importance": importance}


@pytest.mark.parametrize("method", METHODS)
def test_imputations_meet_the_exact_conditional(method: str) -> None:
    """Mean and every covariance within 4 standard errors: catches a ratio upside down or with the old x in it."""
    theta, x, observed = make(4)
    hidden_x = np.where(observed, x, np.nan)
    found = METHODS[method](coder(theta), hidden_x, observed, theta.m, Noise(1), PLAN)
    mean_error, cov_error = errors(found, theta, x, observed)
    assert mean_error < 4
    assert cov_error < 4
    exact, _ = theta.conditional(x, observed)
    assert abs(found.mean - exact).max() < 0.1  # E[x|z] averaged: less noise than the draws
    np.testing.assert_array_equal(found.draws[..., observed], np.broadcast_to(x[observed], (250, 4, observed.sum())))


def test_rezendes_chain_is_biased() -> None:
    """The same q without the correction: its mean is off by many standard errors, so the test above could fail."""
    theta, x, observed = make(4)
    found = missing.chain(coder(theta), x, observed, theta.m, Noise(1), PLAN, corrected=False)
    mean_error, cov_error = errors(found, theta, x, observed)
    assert mean_error > 8
    assert cov_error > 4
    assert (found.acceptance == 1).all()


def test_rezendes_chain_is_right_at_the_exact_posterior() -> None:
    """With one latent q can be the posterior: then the correction accepts everything and both chains are one."""
    rng = np.random.default_rng(2)
    W = rng.normal(size=(1, 4))
    theta = LinearGaussian(W, rng.normal(size=4), np.array([0.0]))
    M = float((W @ W.T)[0, 0]) + 1
    heads = (Dense(W.T / M, -theta.m @ W.T / M), Dense(np.zeros((4, 1)), np.log([1 / M])))
    exact = Coder(
        Net((), heads, "identity", Family("normal")),
        Net((), (Dense(W, theta.m),), "identity", Family("gaussian-fixed", 1.0)),
    )
    x, observed = rng.normal(size=(3, 4)), np.array([[True, False, True, False]] * 3)
    plan = FillPlan(draws=5, chains=2)
    both = [missing.chain(exact, x, observed, theta.m, Noise(3), plan, corrected) for corrected in (True, False)]
    assert both[0].acceptance.min() == 1
    np.testing.assert_array_equal(both[0].draws, both[1].draws)


def test_intervals_cover() -> None:
    """90 % intervals hold 88 to 92 % of 6000 true values; Rezende's, from a q too narrow, do not."""
    theta, x, observed = make(2000, 5)
    plan = FillPlan(draws=99, chains=1, thin=3, warm_up=30, gibbs=10)
    right = missing.chain(coder(theta, 0.1, 0.3), x, observed, theta.m, Noise(1), plan)
    assert 0.88 < imputation.coverage(x, right.draws, observed) < 0.92
    wrong = missing.chain(coder(theta, 0.8, -2.0), x, observed, theta.m, Noise(1), plan, corrected=False)
    assert imputation.coverage(x, wrong.draws, observed) < 0.88


def test_importance_sampling_knows_the_evidence_of_what_was_seen() -> None:
    theta, x, observed = make(8, 3)
    found = missing.importance(coder(theta), x, observed, theta.m, Noise(2), FillPlan(draws=2), samples=4000)
    evidence = found.observed_evidence
    assert evidence is not None
    z = (evidence.value - theta.log_marginal(x, observed)) / evidence.standard_error
    assert abs(z).max() < 4
    assert evidence.standard_error.max() < 0.2


def test_log_score_is_the_conditional_density() -> None:
    """log p(x_mis|x_obs) = log p(x) − log p(x_obs): catches a mask upside down, a sum over samples for a mean."""
    theta, x, observed = make(5, 4)
    found = missing.chain(coder(theta, 0.0, 0.2), x, observed, theta.m, Noise(1), FillPlan(500, 8, 2, 40, 10))
    score = imputation.log_score(coder(theta), x, observed, found.codes)
    np.testing.assert_allclose(score, theta.log_marginal(x) - theta.log_marginal(x, observed), atol=0.1)


def test_rows_and_chains_keep_their_noise() -> None:
    """Any split into blocks of rows gives the same draws; more chains keep the old ones."""
    theta, x, observed = make(5, 6)
    args = (theta.m, Noise(1))
    whole = missing.chain(coder(theta), x, observed, *args, FillPlan(draws=3))
    part = missing.chain(coder(theta), x[2:], observed[2:], *args, FillPlan(draws=3, first_row=2))
    np.testing.assert_allclose(whole.draws[:, :, 2:], part.draws, rtol=1e-12)
    fewer = missing.chain(coder(theta), x, observed, *args, FillPlan(draws=3, chains=2))
    np.testing.assert_allclose(whole.draws[:, :2], fewer.draws, rtol=1e-12)


@pytest.mark.parametrize("p", [Bernoulli(np.linspace(-2, 2, 12).reshape(3, 4)), Normal(*np.ones((2, 3, 4)) * 0.3)])
def test_observed_log_prob_is_that_of_the_entries_alone(p: Normal | Bernoulli) -> None:
    """A law, not a slope: the masked density equals the density of the arrays cut to what was seen."""
    x, keep = (np.arange(12).reshape(3, 4) % 3 == 0) * 1.0, np.array([0, 2])
    m = np.zeros((3, 4))
    m[:, keep] = 1
    cut = type(p)(*(a[:, keep] for a in p)).log_prob(x[:, keep])
    close(p.log_prob_observed(x, m), cut)
    close(p.log_prob_observed(np.where(m == 1, x, 7.0), m), cut)
    close(p.log_prob_observed(x, np.ones_like(m)), p.log_prob(x))


def test_bits_are_filled_with_bits() -> None:
    """A Bernoulli decoder: draws are 0 and 1 with the frequencies of the mean."""
    rng = np.random.default_rng(0)
    phi = Net((), (Dense(rng.normal(size=(4, 1)), np.zeros(1)), Dense(np.zeros((4, 1)), np.zeros(1))), "identity",
              Family("normal"))  # fmt: skip
    theta = Net((), (Dense(rng.normal(size=(1, 4)) * 2, np.zeros(4)),), "identity", Family("bernoulli"))
    x, observed = np.ones((2, 4)), np.array([[True, True, False, False]] * 2)
    found = missing.chain(Coder(phi, theta), x, observed, np.full(4, 0.5), Noise(1), FillPlan(400, 4, 1))
    assert set(np.unique(found.draws)) == {0.0, 1.0}
    got, error = diagnostics.mean_with_error(found.draws[..., 2:])
    assert (abs(got - found.mean[:, 2:]) < 4 * error).all()


def test_nearest_row_in_what_was_seen() -> None:
    """By the literal distance; across blocks; a row that is near only in what is hidden does not win."""
    rng = np.random.default_rng(0)
    train, x, observed = rng.normal(size=(50, 4)), rng.normal(size=(6, 4)), rng.random((6, 4)) < 0.6
    literal = [
        int((((t - row) ** 2) * seen).sum(1).argmin()) for row, seen, t in zip(x, observed, [train] * 6, strict=True)
    ]
    hidden = np.where(observed, x, np.nan)
    for block in (7, 50):
        blocks = (train[first : first + block] for first in range(0, 50, block))
        np.testing.assert_array_equal(imputation.nearest(hidden, observed, blocks), train[literal])


def test_nearest_row_far_from_zero() -> None:
    """Around 1000, float32 has lost the squares' last digits: nearly every row once was somebody else's nearest."""
    x = (1000 + np.random.default_rng(0).random((200, 10))).astype(np.float32)
    observed = np.random.default_rng(1).random(x.shape) < 0.7
    observed[:, 3] = False
    np.testing.assert_array_equal(imputation.nearest(x, observed, [x[:150], x[150:]]), x)


def test_rows_with_gaps_are_nobody_s_nearest() -> None:
    x, train = np.ones((1, 3)), np.array([[0.0, 0.0, 0.0], [1.0, 1.0, np.nan], [1.0, 1.0, 0.9]])
    seen = np.ones((1, 3), bool)
    np.testing.assert_array_equal(imputation.nearest(x, seen, [train]), train[2:])
    assert np.isnan(imputation.nearest(x, seen, [train[1:2]])).all()


def test_rmse_by_hand() -> None:
    truth, observed = np.array([[1.0, 2.0, 3.0]]), np.array([[True, False, False]])
    assert imputation.rmse(truth, np.array([[9.0, 5.0, 7.0]]), observed) == pytest.approx(np.sqrt((9 + 16) / 2))


def refused(x: Array, observed: Array, error: type[Exception], words: str, plan: FillPlan | None = None) -> None:
    theta, _, _ = make(1)
    with pytest.raises(error, match=words):
        missing.chain(coder(theta), x, observed, theta.m, Noise(0), plan)


def test_bad_masks_and_plans_are_refused() -> None:
    x, half = np.zeros((2, D)), np.arange(D) % 2 == 0
    observed = np.stack([half, half])
    refused(x, observed[:, :3], DataError, r"the mask is bool \(2, 3\), expected bool \(2, 6\)")
    refused(x, observed * 1.0, DataError, "the mask is float64")
    refused(x, np.stack([half, half & False]), DataError, "row 1 has all its 6 entries missing")
    refused(x * np.nan, observed, DataError, "x holds nan at row 0, column 0 .from 0., which the mask calls observed")
    refused(x, observed, UsageError, "cannot run", FillPlan(thin=0))


@pytest.mark.parametrize("plan", [FillPlan(draws=3, thin=2, warm_up=4, gibbs=2), FillPlan(draws=3, warm_up=0, gibbs=5)])
@pytest.mark.parametrize("method", [missing.chain, missing.importance])
def test_no_noise_is_used_twice(method: Callable[..., Imputations], plan: FillPlan) -> None:
    """Catches a chain that goes on after its warm-up with the warm-up's noise."""
    (theta, x, observed), recorder = make(2), Recorder()
    method(coder(theta), x, observed, theta.m, recorder, plan)
    assert len(set(recorder.asked)) == len(recorder.asked)
    if method is missing.chain:
        assert len(recorder.asked) == 1 + 3 * (plan.warm_up + plan.draws * plan.thin)
