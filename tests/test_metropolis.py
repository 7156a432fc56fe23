"""§7.1.2 Metropolis-Hastings: detailed balance exactly, moments against quadrature, and what a bad proposal costs."""

from fractions import Fraction

import numpy as np
import pytest

from scratchvae.classical.metropolis import independence, transition_matrix
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.errors import DataError
from scratchvae.noise import Noise
from scratchvae.tasks import diagnostics, quadrature
from scratchvae.tasks.exact import LogJoint
from scratchvae.tasks.hmc import ChainPlan, ChainState, chain_noise, choose, metropolis, metropolis_step
from scratchvae.types import Array

C, B, D = 32, 3, 6
P = [Fraction(n, 8) for n in (4, 3, 1)]
Q = [[Fraction(n, 4) for n in row] for row in ((1, 2, 1), (3, 0, 1), (2, 2, 0))]  # not symmetric


def test_detailed_balance_on_three_states_exactly() -> None:
    """Catches Metropolis' ratio where Hastings' is due, and what is refused counted nowhere: in fractions."""
    p, q = np.array(P), np.array(Q)
    P_ = transition_matrix(p, q)
    flow = p[:, None] * P_
    assert (flow == flow.T).all()
    assert (P_.sum(axis=1) == 1).all()
    assert (p @ P_ == p).all()
    assert (P_ >= 0).all()
    assert P_[0, 1] == Q[0][1]  # 3/8 · 3/4 comes back, more than 4/8 · 2/4 goes: every such proposal is taken
    assert P_[1, 0] == Q[1][0] * Fraction(4 * 2, 3 * 3)
    assert (transition_matrix(3 * p, q) == P_).all()  # the shares need not sum to 1


def test_the_rule_of_all_chains_is_that_matrix() -> None:
    """Catches a rule that takes with another probability, or that is turned over: `choose`, asked with every uniform of
    a fine grid, against the fractions."""
    u = (np.arange(7200) + 0.5) / 7200
    exact = transition_matrix(np.array(P), np.array(Q)).astype(float)
    for a in range(3):
        found = np.zeros(3)
        for b in range(3):
            if not Q[a][b]:
                continue
            old, new = (
                ChainState(np.full((7200, 1, 1), s), np.zeros((7200, 1)), np.zeros((7200, 1, 1))) for s in (a, b)
            )
            gain = np.log(float(P[b] * Q[b][a])) - np.log(float(P[a] * Q[a][b])) if Q[b][a] else -np.inf
            state, _ = choose(old, new, np.full((7200, 1), gain), u[:, None], np.zeros((7200, 1), bool))
            share = (state.z == b).mean()
            found[b] += float(Q[a][b]) * share
            found[a] += float(Q[a][b]) * (1 - share) if a != b else 0
        np.testing.assert_allclose(found, exact[a], atol=1e-4)


def curved(latents: int) -> tuple[Array, LogJoint]:
    """Bits whose posterior is no Gaussian."""
    rng = np.random.default_rng(latents)
    W, b = 2 * rng.normal(size=(latents, D)), rng.normal(size=D)
    x = (rng.random((B, D)) < 0.5) * 1.0

    def log_joint(x: Array, z: Array) -> Array:
        prior = Normal(np.zeros(latents), np.zeros(latents)).log_prob(z)
        return np.asarray(prior + Bernoulli(z @ W + b).log_prob(x))

    return x, log_joint


@pytest.mark.parametrize("latents", [1, 2])
@pytest.mark.parametrize("way", ["random walk", "independence"])
def test_moments_meet_quadrature(latents: int, way: str) -> None:
    """Catches proposals that are all taken, the ratio of densities without q's, and refused states left out: means and
    second moments within 4 standard errors of the integrals."""
    x, log_joint = curved(latents)
    exact = quadrature.posterior(log_joint, x, latents)
    q = Normal(exact.mean + 0.3, np.zeros((B, latents)))  # not in its place, and of the prior's width
    plan = ChainPlan(draws=500, warm_up=100, target=0.4)
    start = np.zeros((C, B, latents))

    def log_density(z: Array) -> Array:
        return log_joint(x, z)

    walk = metropolis(log_density, start, Noise(1), plan) if way == "random walk" else None
    chains = walk or independence(log_density, q, start, Noise(2), plan)
    away = chains.draws - exact.mean
    for draws, truth in ((away, 0 * exact.mean), (away[..., :, None] * away[..., None, :], exact.cov)):
        found, error = diagnostics.mean_with_error(draws)
        assert (abs(found - truth) <= 4 * error).all()
        assert (error < 0.1).all()  # the test could have failed
    assert 0.1 < chains.acceptance.mean() < 0.9
    np.testing.assert_allclose(chains.log_p[-1], log_density(chains.draws[-1]), rtol=1e-12)


@pytest.mark.parametrize(("latents", "best"), [(1, 0.44), (100, 0.234)])
def test_the_longest_jumps_are_taken_at_the_known_acceptance(latents: int, best: float) -> None:
    """Catches an acceptance that is not the walk's: of N(0, I) the mean squared jump is greatest at 0.44 in one
    dimension and at 0.234 in many (Roberts, Gelman & Gilks 1997); in one it is (2/π) arctan(2/s) for step s."""
    rng = np.random.default_rng(0)
    z, eps = rng.normal(size=(2, 2000 if latents > 1 else 40_000, 1, latents))
    zero = np.zeros(z.shape[:2])

    def log_density(z: Array) -> Array:
        return np.asarray(-0.5 * (z * z).sum(axis=-1))

    begin, scales, found = ChainState(z, log_density(z), 0 * z), np.linspace(0.5, 5, 31), []
    for s in scales / np.sqrt(latents):
        move = metropolis_step(begin, eps, zero, np.array(s), log_density)[1].probability
        found.append((move.mean(), (move * (s * s * (eps * eps).sum(axis=-1))).mean()))
        if latents == 1:
            assert abs(move.mean() - 2 / np.pi * np.arctan(2 / s)) < 4 * move.std() / 200
    acceptance, jump = np.array(found).T
    near = jump > 0.95 * jump.max()  # the top is flat: its middle, by a parabola
    a, b, _ = np.polyfit(acceptance[near], jump[near], 2)
    assert -b / (2 * a) == pytest.approx(best, abs=0.03)


def test_a_right_q_is_never_refused() -> None:
    """Catches a ratio that is not that of importance weights: where q is the posterior they are all one, and the draws
    are q's own, one after the other."""
    rng = np.random.default_rng(0)
    q = Normal(rng.normal(size=(B, 2)), rng.normal(size=(B, 2)))
    plan = ChainPlan(draws=20, warm_up=3)
    chains = independence(lambda z: q.log_prob(z) + 7, q, np.zeros((C, B, 2)), Noise(3), plan)
    assert (chains.acceptance == 1).all()
    for t in (0, 19):
        eps, _ = chain_noise(Noise(3), np.zeros((C, B, 2)), 3 + t)
        np.testing.assert_array_equal(chains.draws[t], q.sample(eps))
    assert chains.cost == 23 * C * B


def test_a_refused_proposal_counts_its_old_state_again() -> None:
    """Catches a chain that waits for the next acceptance: the draws would be of min(p, q), not of p."""
    q = Normal(np.zeros((1, 1)), np.zeros((1, 1)))

    def log_density(z: Array) -> Array:  # N(0, ¼)
        return np.asarray(-2 * z[..., 0] ** 2)

    chains = independence(log_density, q, np.zeros((C, 1, 1)), Noise(4), ChainPlan(draws=800, warm_up=10))
    again = (chains.draws[1:] == chains.draws[:-1])[..., 0, 0]
    np.testing.assert_allclose(again.mean(), 1 - chains.acceptance.mean(), atol=1e-3)
    assert 0.3 < again.mean() < 0.5
    found, error = diagnostics.mean_with_error(chains.draws**2)
    assert abs(found - 0.25) < 4 * error < 0.02


def test_what_is_no_number_is_refused_and_counted() -> None:
    """Catches a NaN, or a density of ∞, that is taken, or that stops a chain; and a start with no density, told by its
    chain and row."""

    def log_density(z: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.log(1 - z[..., 0] ** 2))

    q = Normal(np.zeros((B, 1)), np.zeros((B, 1)))
    chains = independence(log_density, q, np.zeros((C, B, 1)), Noise(5), ChainPlan(draws=300, warm_up=0))
    assert (abs(chains.draws) < 1).all()
    assert (chains.divergent > 50).all()
    pole = independence(
        lambda z: np.where(z[..., 0] > 1, np.inf, 0.0), q, np.zeros((C, B, 1)), Noise(5), ChainPlan(50, 0)
    )
    assert (pole.draws <= 1).all()
    assert pole.divergent.sum() > 50
    z, beyond = np.zeros((3, 1, 1)), np.array([[[2.0]], [[0.5]], [[np.nan]]])  # a walk, into the pole too
    state, move = metropolis_step(
        ChainState(z, np.zeros((3, 1)), z), beyond, np.zeros((3, 1)), np.array(1.0),
        lambda z: np.where(z[..., 0] > 1, np.inf, 0 * z[..., 0]),
    )  # fmt: skip
    assert state.z[:, 0, 0].tolist() == [0, 0.5, 0]
    assert move.divergent[:, 0].tolist() == [True, False, True]
    with pytest.raises(DataError, match="not finite at the start of chain 0 of row 0"):
        independence(log_density, q, np.full((C, B, 1), 2.0), Noise(5), ChainPlan(draws=1))
