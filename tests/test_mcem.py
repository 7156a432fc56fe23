"""§7.1.2 Monte Carlo EM: chains that have the posterior's moments, a step size that finds its acceptance, and θ at the
maximum of the likelihood."""

import numpy as np
import pytest
from command_line import Call, bits
from oracles import data, small_vae

from scratchvae.classical.mcem import FIRST_STEP, TARGET, e_step, m_step, tuned
from scratchvae.errors import DataError, UsageError
from scratchvae.models.decoded import Decoded
from scratchvae.models.linear_gaussian import LinearGaussian, maximum_likelihood
from scratchvae.noise import Noise
from scratchvae.tasks import quadrature
from scratchvae.tasks.hmc import ChainState, chain_noise, hmc_step
from scratchvae.training.config import from_dict
from scratchvae.training.objective import Diverged
from scratchvae.training.reading import Reading
from scratchvae.training.state import State, Steps, load_state, save_state
from scratchvae.types import Array


def test_at_a_fixed_theta_chains_have_the_posterior_s_moments() -> None:
    """Catches a density of another θ or row, a slope that is not its own, momenta left out of the acceptance: 1000
    chains of each of three rows, from p(z), against quadrature, |t| ≤ 4; acceptance is what was asked for."""
    arch, arena = small_vae(4)
    arena.flat *= 3  # far from Gaussian
    theta, x, noise, C = arch.nets(arena.views)[1], data(3, 5), Noise(3), 1000
    z, log_step, acceptance = np.random.default_rng(0).standard_normal((C, 3, 2)), np.log(FIRST_STEP), 0.0
    for t in range(65):
        v, u = chain_noise(noise, z, t)
        z, probability = e_step(Decoded(), x, z, v, u, log_step, theta)
        log_step = tuned(log_step, probability) if t < 50 else log_step
        acceptance += probability.mean() / 15 if t >= 50 else 0
    exact = quadrature.posterior(lambda x, z: Decoded().log_joint(x, z, theta), x, 2)
    second = exact.cov + exact.mean[:, :, None] * exact.mean[:, None, :]
    for found, expected in ((z, exact.mean), (z[..., None] * z[..., None, :], second)):
        assert (abs(found.mean(axis=0) - expected) <= 4 * found.std(axis=0) / np.sqrt(C)).all()
    assert acceptance == pytest.approx(TARGET, abs=0.02)
    assert log_step > np.log(FIRST_STEP) + 0.5


def test_one_transition_is_hmc_s_with_a_step_that_is_drawn() -> None:
    """Catches a gradient kept from another place, uniforms exchanged, a step that is never or always shortened, or is
    longer, and numbers of another type: `tasks.hmc.hmc_step` at exp(log_step) (1 − u/2)."""
    arch, arena = small_vae(4)
    theta, x = arch.nets(arena.views)[1], data(3, 5)
    z = np.random.default_rng(0).standard_normal((20, 3, 2))
    v, u = chain_noise(Noise(3), z, 0)

    def density(z: Array) -> Array:
        return Decoded().log_joint(x, z, theta)

    def slope(z: Array) -> Array:
        return Decoded().log_joint_vjp(np.ones(z.shape[:2]), x, z, theta, None)

    step = (1.3 * (1 - u[1] / 2))[..., None]
    expected, move = hmc_step(ChainState(z, density(z), slope(z)), v, u[0], step, density, slope, 10)
    found, probability = e_step(Decoded(), x, z, v, u, np.log(1.3), theta)
    np.testing.assert_allclose(found, expected.z, rtol=1e-9)
    np.testing.assert_allclose(probability, move.probability, rtol=1e-9)
    assert 0 < move.accepted.sum() < 60
    small_theta = arch.nets({name: view.astype("float32") for name, view in arena.views.items()})[1]
    x, z, v, u = (a.astype("float32") for a in (x, z, v, u))
    assert e_step(Decoded(), x, z, v, u, np.log(1.3), small_theta)[0].dtype == np.float32


def test_the_step_follows_the_acceptance() -> None:
    """Catches a step that shrinks where it should grow, or jumps: half of what the acceptance is off, in the log."""
    assert tuned(-1.0, np.array([[1.0, 0.9], [0.7, 0.6]])) == pytest.approx(-1.05)


def test_the_m_step_is_a_mean_over_chains_by_row() -> None:
    """Catches a sum over chains, and rows that all count alike."""
    theta = LinearGaussian(np.eye(2, 3), np.zeros(3), np.zeros(1))
    x, z, w = data(2, 3), np.random.default_rng(1).standard_normal((4, 2, 2)), np.array([0.3, 2.0])
    found, expected = (LinearGaussian(*map(np.zeros_like, theta)) for _ in range(2))
    m_step(Fixed(), x, z, theta, found, w)
    for b in range(2):
        for c in range(4):
            theta.log_joint_vjp(np.array([w[b] / 4]), x[b : b + 1], z[c, b : b + 1], expected)
    for got, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-12)
    m_step(Fixed(), x, z, theta, found := LinearGaussian(*map(np.zeros_like, theta)))
    np.testing.assert_allclose(found.m, (x - z @ theta.W).mean(axis=(0, 1)), rtol=1e-12)


class Fixed:
    """A linear-Gaussian model under the protocol, its θ an argument."""

    def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: LinearGaussian, dtheta: LinearGaussian) -> Array:
        return theta.log_joint_vjp(w, x, z, dtheta)


def run(x: Array, epochs: float = 5, **options: object) -> Steps:
    """A small run by Monte Carlo EM, not yet begun."""
    small = {"latent": 2, "hidden": (), "batch": 50, "kernels": "numpy", "binarisation": "none", "dtype": "float64"}
    config = from_dict({**small, "algorithm": "mcem", "standardise": False, "epochs": epochs, **options})
    return Steps(State.begun(config, Reading(x.shape[1]), x), x)


def test_theta_goes_to_maximum_likelihood() -> None:
    """Catches chains that are not those of the step's rows, begin afresh, or move once θ has moved; an M-step with
    weights; more or fewer updates than were told: the linear-Gaussian likelihood ends within 0.01 nats of its top."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 2)) @ rng.standard_normal((2, 5)) + 0.5 * rng.standard_normal((200, 5)) + 1
    best = maximum_likelihood(x, 2)
    optimizer = {"name": "adam", "learning_rate": 0.02, "schedule": "cosine"}
    steps = run(x, 60, likelihood="gaussian-fixed", variance=float(np.exp(best.log_var[0])), optimizer=optimizer)
    steps.advance(240)
    views = steps.state.arena.views
    found = LinearGaussian(views["p.mu.W"], views["p.mu.b"], best.log_var)
    assert best.log_marginal(x).mean() - 0.01 <= found.log_marginal(x).mean() <= best.log_marginal(x).mean()
    mean, cov = found.posterior(x)
    z = steps.state.kept["z"]
    whole = np.linalg.solve(np.linalg.cholesky(cov), (z - mean).T)  # white, if the chains are where they should be
    np.testing.assert_allclose(whole @ whole.T / 200, np.eye(2), atol=0.4)


def test_each_row_has_its_own_chain_and_noise() -> None:
    """Catches chains of rows that were not in the minibatch, noise by the place in it, E after M, a step size that
    stays as it was."""
    one, other = (run(bits(n).astype(np.float64), batch=20) for n in (120, 120))
    before = one.state.kept["z"].copy()
    index, theta = one.index(0), one.state.theta
    v, u = chain_noise(one.state.noise, before[None, index], 0, index.astype(np.uint32))
    z, probability = e_step(Decoded(), one.x[index], before[None, index], v, u, np.log(FIRST_STEP), theta)
    one.advance(1)
    np.testing.assert_allclose(one.state.kept["z"][index], z[0], rtol=1e-9)
    assert one.state.kept["log_step"] == pytest.approx(tuned(np.log(FIRST_STEP), probability))
    moved = np.flatnonzero((one.state.kept["z"] != before).any(axis=1))
    assert set(moved) <= set(one.index(0))
    assert len(moved) > 10
    other.index = lambda step: one.index(step)[::-1]  # type: ignore[method-assign]
    other.advance(1)
    np.testing.assert_allclose(other.state.kept["z"], one.state.kept["z"], rtol=1e-12)


def test_the_optimizer_counts_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches five updates of one number: Adam's first steps would be too long."""
    steps, numbers = run(bits().astype(np.float64)), list[int]()
    whole = steps.update

    def update(x: Array, eps: Array, number: int) -> Array:
        numbers.append(number)
        return whole(x, eps, number)

    monkeypatch.setattr(steps, "update", update)
    steps.advance(2)
    assert numbers == list(range(10))


def test_a_step_that_breaks_is_taken_back_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a third update that breaks and leaves the first two, the moved chains or the new step size behind."""
    steps, numbers = run(bits().astype(np.float64)), list[int]()
    steps.advance(1)
    before, whole = {name: tensor.copy() for name, tensor in steps.state.tensors().items()}, steps.update

    def update(x: Array, eps: Array, number: int) -> Array:
        numbers.append(number)
        if len(numbers) == 3:
            steps.state.arena.flat[0] = np.nan
        return whole(x, eps, number)

    monkeypatch.setattr(steps, "update", update)
    with pytest.raises(Diverged, match="at step 1"):
        steps.advance(1)
    assert (numbers, steps.state.step) == ([5, 6, 7], 1)
    for name, tensor in steps.state.tensors().items():
        np.testing.assert_array_equal(tensor, before[name], err_msg=name)


def test_chains_are_in_the_checkpoint(tmp_path: object) -> None:
    """Catches chains that are lost, that begin afresh with each resume, and a file whose chains are of another size."""
    steps = run(bits().astype(np.float64), batch=20)
    steps.advance(3)
    save_state(f"{tmp_path}/half", steps.state, {})
    again = Steps(load_state(f"{tmp_path}/half")[0], steps.x)
    for one in (steps, again):
        one.advance(4)
    for name, tensor in steps.state.tensors().items():
        np.testing.assert_array_equal(again.state.tensors()[name], tensor)
    with pytest.raises(UsageError, match="the run has chains of 120 rows, and there are 100"):
        Steps(steps.state, steps.x[:100])
    steps.state.kept["z"] = steps.state.kept["z"][:, :1]
    save_state(f"{tmp_path}/odd", steps.state, {})
    with pytest.raises(DataError, match=r"algorithm.z has shape \(120, 1\), expected \(120, 2\)"):
        load_state(f"{tmp_path}/odd")


def test_what_it_will_cost_is_said_first(call: Call) -> None:
    """Catches an N · K that comes as a surprise; and a q that is never fitted: its bound rises too."""
    options = "--algorithm mcem --kernels numpy --latent 2 --hidden 6 --batch 20 --epochs 3 --no-pictures"
    done = call("train", "rows.npy", "--out", "run", "--binarisation", "none", *options.split())
    assert done.code == 0, done.words
    line = next(line for line in done.words.splitlines() if "Monte Carlo EM" in line)
    assert "a z for each of the 108 rows in memory and in every checkpoint, 0.000864 MB" in line
