"""§7.1.1 Inferring z: the refined q is the best Gaussian there is, chains meet the posterior, the gap adds up."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import said

from scratchvae.cli.posterior import picture
from scratchvae.conditional import Family, Net
from scratchvae.distributions import Normal
from scratchvae.errors import UsageError
from scratchvae.models import linear_gaussian as lg
from scratchvae.models.joint import Joint
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.networks import Dense
from scratchvae.noise import Noise
from scratchvae.tasks import diagnostics, evidence, posterior, quadrature
from scratchvae.tasks.hmc import ChainPlan
from scratchvae.tasks.proposals import Defensive
from scratchvae.types import Array

B, K, D = 4, 2, 6


def linear(K: int = K) -> tuple[LinearGaussian, Array]:
    rng = np.random.default_rng(0)
    theta = LinearGaussian(rng.normal(size=(K, D)), rng.normal(size=D), np.array([-0.5]))
    return theta, theta.sample(rng.normal(size=(B, K)), rng.normal(size=(B, D)))[0]


def off(theta: LinearGaussian, x: Array) -> Normal:
    """An encoder's q: misplaced and too wide."""
    mean, cov = theta.posterior(x)
    return Normal(mean + 0.4, np.log(np.diagonal(cov)) * np.ones_like(mean) + 0.7)


def best(theta: LinearGaussian, x: Array) -> Normal:
    """argmin KL(N(mu, diag) ‖ N(m, C)): mu = m, variances 1/(C⁻¹)ₖₖ."""
    mean, cov = theta.posterior(x)
    return Normal(mean, -np.log(np.diagonal(np.linalg.inv(cov))) * np.ones_like(mean))


def bent(seed: int = 1) -> tuple[Joint, Array]:
    """A 2-latent VAE with a curved posterior, and bits drawn from it."""
    rng = np.random.default_rng(seed)
    hidden = Dense(rng.normal(size=(2, 8)) * 1.5, rng.normal(size=8))
    theta = Net((hidden,), (Dense(rng.normal(size=(8, 10)), rng.normal(size=10)),), "tanh", Family("bernoulli"))
    return Joint(theta), (rng.random((B, 10)) < 0.5) * 1.0


def test_refined_q_is_the_best_gaussian() -> None:
    """Catches a slope of the wrong way (score counted twice, σ for σ²): against the optimum in closed form."""
    theta, x = linear()
    found, aim = posterior.refine(theta, x, off(theta, x), Noise(1), steps=400), best(theta, x)
    np.testing.assert_allclose(found.mu, aim.mu, atol=0.02)
    np.testing.assert_allclose(found.log_var, aim.log_var, atol=0.03)


def test_refining_keeps_rows_apart() -> None:
    theta, x = linear()
    q = off(theta, x)
    whole = posterior.refine(theta, x, q, Noise(1), steps=5)
    part = posterior.refine(theta, x[2:], Normal(q.mu[2:], q.log_var[2:]), Noise(1), steps=5, first_row=2)
    np.testing.assert_allclose(whole.mu[2:], part.mu, rtol=1e-12)


@pytest.mark.parametrize("latents", [2, 3])
def test_the_gap_in_its_two_parts(latents: int) -> None:
    """Both parts against closed forms, by quadrature (two latents) and by importance sampling (three)."""
    theta, x = linear(latents)
    q, refined = off(theta, x), best(theta, x)
    found = posterior.gap(theta, x, q, refined, Noise(2), samples=2000)
    bounds = [lg.elbo_diag(x, one.mu, one.log_var, theta) for one in (q, refined)]
    assert (abs(found.amortisation - (bounds[1] - bounds[0])) < 4 * found.difference_error).all()
    error = np.hypot(found.refined_error, found.evidence.standard_error)
    assert (abs(found.approximation - (theta.log_marginal(x) - bounds[1])) < 4 * error).all()
    assert error.max() < 0.1
    assert found.amortisation.min() > 5 * found.difference_error.max()  # the test could have failed


def test_chains_meet_quadrature_on_a_curved_posterior() -> None:
    """HMC's mean and covariance within 4 standard errors of the grid's, and the posterior is no Gaussian's."""
    model, x = bent()
    truth = quadrature.posterior(model.log_joint, x, 2)
    q = Normal(np.zeros((B, 2)), np.zeros((B, 2)))
    chains = posterior.sample(model, x, q, Noise(3), 4, ChainPlan(draws=1500, warm_up=300))
    got, error = diagnostics.mean_with_error(chains.draws)
    assert (abs(got - truth.mean) < 4 * error).all()
    away = chains.draws - truth.mean
    got, error = diagnostics.mean_with_error(away[..., :, None] * away[..., None, :])
    assert (abs(got - truth.cov) < 4 * error).all()
    found, exact = posterior.of_chains(chains), posterior.exact(model, x, 2)
    assert found.r_hat.max() < 1.01
    np.testing.assert_allclose(found.sd, exact.sd, rtol=0.1)
    assert posterior.doubts("hmc", found) == ""


def test_metropolis_meets_quadrature() -> None:
    model, x = bent(2)
    truth = posterior.exact(model, x, 2)
    q = Normal(np.zeros((B, 2)), np.zeros((B, 2)))
    chains = posterior.sample(model, x, q, Noise(3), 8, ChainPlan(draws=150, warm_up=30, target=0.3), "metropolis")
    got, error = diagnostics.mean_with_error(chains.draws)
    assert (abs(got - truth.mean) < 4 * error).all()


def test_chains_too_short_are_doubted() -> None:
    model, x = bent()
    q = Normal(np.zeros((B, 2)), np.zeros((B, 2)))
    found = posterior.of_chains(posterior.sample(model, x, q, Noise(3), 2, ChainPlan(draws=8, warm_up=2)))
    assert "do not trust these chains" in posterior.doubts("hmc", found)


def test_the_random_walk_may_cost_what_hmc_costs(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It had as many steps, at an eleventh of the cost: worth 400 draws, whose R-hat is above 1.01 by chance alone, so
    that four of eight sound rows were warned of. And of 20 latents the advice was to take more draws."""
    words = f"posterior {run} --draws 8 --warm-up 4 --steps 3 --samples 20 --out {tmp_path / 'x.csv'}".split()
    methods = said(capsys, *words)["posterior"]
    assert methods["metropolis"]["cost"] == methods["hmc"]["cost"]
    assert len(np.loadtxt(tmp_path / "x.csv", delimiter=",")) == 4 * 8
    few, wide = (posterior.Summary(one, one, 1.3 * one, 9 * one) for one in (np.ones((1, 2)), np.ones((1, 20))))
    assert "take more draws" in posterior.doubts("metropolis", few)
    for r_hat, ess, trusted in ((1.03, 199, True), (1.06, 4000, False), (1.001, 90, False), (np.nan, 4000, False)):
        found = few._replace(r_hat=np.full((1, 2), r_hat), ess=np.full((1, 2), ess))
        assert (posterior.doubts("hmc", found) == "") is trusted
    assert "a random walk is slow in 20 latents: trust hmc" in posterior.doubts("metropolis", wide)


@pytest.mark.parametrize("latents", [1, 2, 3])
def test_the_picture_of_a_posterior(latents: int) -> None:
    """For one and two latents the density is the exact one: that of the linear-Gaussian model, and whole."""
    pytest.importorskip("matplotlib")
    theta, x = linear(latents)
    mean, cov = theta.posterior(x[:1])
    q = off(theta, x[:1])
    draws = {"HMC": mean + np.random.default_rng(1).normal(size=(50, latents))}
    ax = picture(theta, x[:1], {"q": q, "refined": best(theta, x[:1])}, draws)
    if latents == 1:
        z, p = ax.get_lines()[0].get_data()
        sd = float(np.sqrt(cov.reshape(-1)[0]))
        np.testing.assert_allclose(p, np.exp(-0.5 * ((z - mean[0, 0]) / sd) ** 2) / sd / np.sqrt(2 * np.pi), rtol=1e-6)
    else:
        kl = Normal(q.mu[..., None], q.log_var[..., None]).kl()[0]
        two = np.sort(np.argsort(-kl)[:2])
        np.testing.assert_allclose(ax.patches[0].center, q.mu[0, two])
        assert f"latent {two[0]}" in ax.get_xlabel()
        assert bool(ax.collections) == (latents == 2)


def test_bad_settings_are_refused() -> None:
    theta, x = linear()
    with pytest.raises(UsageError, match="steps=0"):
        posterior.refine(theta, x, off(theta, x), Noise(0), steps=0)
    with pytest.raises(UsageError, match="samples=1: a bound"):
        posterior.gap(theta, x, off(theta, x), off(theta, x), Noise(0), samples=1)


def test_a_defensive_proposal_finds_the_mode_that_q_misses() -> None:
    """Two modes, q on one of them: the estimate from q is log 2 low and does not notice, that of the mixture right."""

    class Twin:
        def log_joint(self, x: Array, z: Array) -> Array:
            modes = [Normal(np.array([m, 0.0]), np.full(2, -3.0)).log_prob(z) for m in (-1.5, 1.5)]
            return np.asarray(np.logaddexp(*modes) - np.log(2) + x[:, 0])

        def log_joint_vjp(self, w: Array, x: Array, z: Array, dtheta: object = None) -> Array:
            raise NotImplementedError

    x, q = np.arange(6.0).reshape(3, 2), Normal(np.tile([1.5, 0.0], (3, 1)), np.full((3, 2), -3.0))
    alone = evidence.importance(Twin(), x, q, Noise(1), 4000)
    proposal: Any = Defensive(q)
    mixed = evidence.importance(Twin(), x, proposal, Noise(1), 4000)
    assert (abs(mixed.value - x[:, 0]) < 4 * mixed.standard_error).all()
    assert mixed.standard_error.max() < 0.1
    np.testing.assert_allclose(alone.value, x[:, 0] - np.log(2), atol=1e-3)
    assert alone.standard_error.max() < 1e-3


def test_the_defensive_density_is_that_of_its_samples() -> None:
    """E_Q[h/Q] = 1 for a density h within Q: catches shares that are not those of the samples."""
    q = Normal(np.array([[0.3]]), np.array([[-1.0]]))
    z = Defensive(q).sample(np.random.default_rng(0).normal(size=(40_000, 1, 1)))
    w = np.exp(Normal(np.array([0.5]), np.array([-0.5])).log_prob(z) - Defensive(q).log_prob(z))
    assert abs(w.mean() - 1) < 4 * w.std() / 200


def test_the_gap_takes_its_evidence_from_the_refined_q() -> None:
    """Latents that are independent given x: q* is the posterior, so its weights are all log p(x), and q's are not."""
    theta = LinearGaussian(np.diag([1.0, 2.0, 0.5]) @ np.eye(3, D), np.arange(float(D)), np.array([-0.5]))
    x = np.random.default_rng(0).normal(size=(B, D))
    found = posterior.gap(theta, x, off(theta, x), best(theta, x), Noise(2), samples=50)
    np.testing.assert_allclose(found.evidence.value, theta.log_marginal(x), rtol=1e-10)
    assert found.evidence.standard_error.max() < 1e-10


@pytest.mark.parametrize("latents", [1, 2])
def test_an_even_resolution_is_the_odd_one_above_it(latents: int) -> None:
    theta, x = linear(latents)
    even, odd = (quadrature.posterior(theta.log_joint, x, latents, resolution=n) for n in (64, 65))
    for a, b in zip(even, odd, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(even.log_marginal, theta.log_marginal(x), rtol=1e-8)
