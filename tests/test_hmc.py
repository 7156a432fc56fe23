"""Chains: exact moments, the integrator's two laws, refused proposals counted, diagnostics with known answers."""

import numpy as np
import pytest

from scratchvae.errors import DataError, UsageError
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.noise import Noise
from scratchvae.tasks import diagnostics
from scratchvae.tasks.hmc import ChainPlan, Chains, ChainState, chain_noise, choose, hmc, leapfrog, metropolis
from scratchvae.types import Array

C, B, K, D = 4, 3, 2, 5


def make(seed: int = 0) -> tuple[LinearGaussian, Array]:
    """Rows with posteriors of one covariance, correlated, on different means."""
    rng = np.random.default_rng(seed)
    theta = LinearGaussian(rng.normal(size=(K, D)), rng.normal(size=D), np.array([0.5]))
    return theta, theta.sample(rng.normal(size=(B, K)), rng.normal(size=(B, D)))[0]


def sample(theta: LinearGaussian, x: Array, plan: ChainPlan, start: Array | None = None) -> Chains:
    start = np.zeros((C, len(x), K)) if start is None else start
    ones = np.ones(start.shape[:2])
    return hmc(lambda z: theta.log_joint(x, z), lambda z: theta.log_joint_vjp(ones, x, z), start, Noise(1), plan)


def assert_moments(chains: Chains, theta: LinearGaussian, x: Array) -> None:
    """Mean and every entry of the covariance within 4 standard errors of the exact posterior."""
    mean, cov = theta.posterior(x)
    got, error = diagnostics.mean_with_error(chains.draws)
    assert (abs(got - mean) < 4 * error).all()
    away = chains.draws - mean
    products = away[..., :, None] * away[..., None, :]
    got, error = diagnostics.mean_with_error(products)
    assert (abs(got - cov) < 4 * error).all()
    assert (error < 0.2 * cov.diagonal().max()).all()  # the test could have failed


def test_hmc_meets_the_exact_posterior() -> None:
    theta, x = make()
    chains = sample(theta, x, ChainPlan(draws=500, warm_up=200))
    assert_moments(chains, theta, x)
    assert chains.draws.shape == (500, C, B, K)
    assert (chains.divergent == 0).all()
    assert (abs(chains.acceptance.mean(0) - 0.9) < 0.06).all()
    assert (diagnostics.r_hat(chains.draws) < 1.01).all()
    assert (diagnostics.r_hat(chains.draws, ranked=True) < 1.01).all()
    assert (diagnostics.effective_sample_size(chains.draws) > 500).all()
    assert chains.cost == 700 * 11 * C * B
    np.testing.assert_allclose(chains.log_p[-1], theta.log_joint(x, chains.draws[-1]), rtol=1e-12)


def test_metropolis_meets_the_exact_posterior() -> None:
    theta, x = make(1)

    def log_density(z: Array) -> Array:
        return theta.log_joint(x, z)

    chains = metropolis(log_density, np.zeros((C, B, K)), Noise(2), ChainPlan(draws=5000, warm_up=500, target=0.3))
    assert_moments(chains, theta, x)
    assert (abs(chains.acceptance.mean(0) - 0.3) < 0.05).all()


def test_a_coarse_step_is_corrected_by_acceptance() -> None:
    # 55 % acceptance: without the Metropolis choice the leapfrog's own stationary law is visibly wider
    theta, x = make(2)
    chains = sample(theta, x, ChainPlan(draws=3000, warm_up=200, leapfrog=2, target=0.55))
    assert chains.acceptance.mean() < 0.65
    assert_moments(chains, theta, x)


def test_scale_stretches_each_latent() -> None:
    narrow = np.array([1.0, 1e-3])

    def log_density(z: Array) -> Array:
        return np.asarray(-0.5 * ((z / narrow) ** 2).sum(-1))

    def run(scale: Array | float) -> Array:
        plan = ChainPlan(draws=200, warm_up=150, scale=scale)
        return hmc(log_density, lambda z: -z / narrow**2, np.full((C, 1, 2), 1e-3), Noise(3), plan).draws

    ess_plain, ess_scaled = (diagnostics.effective_sample_size(run(s)).min() for s in (1.0, narrow))
    assert ess_scaled > 300
    assert not ess_plain > 50  # a thousand times longer than wide: ten steps of the plain integrator go nowhere
    assert abs(run(narrow).std((0, 1, 2)) / narrow - 1).max() < 0.15


def test_leapfrog_is_reversible_and_keeps_volume() -> None:
    rng = np.random.default_rng(4)

    def slope(z: Array) -> Array:
        return np.asarray(-(z**3) - z[..., ::-1])

    def flow(z: Array, v: Array) -> tuple[Array, Array, Array]:
        return leapfrog(z, v, slope(z), np.array(0.1), 7, slope)

    z, v = rng.normal(size=(2, 1, 2)), rng.normal(size=(2, 1, 2))
    z_end, v_end, gradient = flow(z, v)
    np.testing.assert_allclose(gradient, slope(z_end))
    back, v_back, _ = flow(z_end, -v_end)
    np.testing.assert_allclose(back, z, atol=1e-13)
    np.testing.assert_allclose(v_back, -v, atol=1e-13)
    columns = []  # of the Jacobian of (z, v) -> (z_end, v_end), by complex step
    for i in range(4):
        tiny = 1e-30j * np.eye(4)[i]
        end = flow(z[0, 0] + tiny[:2], v[0, 0] + tiny[2:])
        columns.append(np.concatenate([end[0], end[1]]).imag / 1e-30)
    assert abs(np.linalg.det(columns) - 1) < 1e-12


def test_leapfrog_keeps_the_energy_to_second_order() -> None:
    rng = np.random.default_rng(12)
    z, v = rng.normal(size=(2, 5, 1, 2))

    def energy(z: Array, v: Array) -> Array:  # z1 z2 + quartic walls
        return np.asarray((z**4 / 4 + z * z[..., ::-1] / 2 + v**2 / 2).sum(-1))

    def slope(z: Array) -> Array:
        return np.asarray(-(z**3) - z[..., ::-1])

    errors = []
    for n in 1, 2:
        z_end, v_end, _ = leapfrog(z, v, slope(z), np.array(0.02 / n), 20 * n, slope)
        errors.append(energy(z_end, v_end) - energy(z, v))
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.02)


def test_divergent_proposals_are_refused_and_counted() -> None:
    def log_density(z: Array) -> Array:  # NaN beyond 1: a broken model
        with np.errstate(invalid="ignore"):
            return np.asarray(np.log(1 - z[..., 0] ** 2))

    def slope(z: Array) -> Array:
        return -2 * z / (1 - z**2)

    plan = ChainPlan(draws=300, warm_up=0, step_size=0.5, leapfrog=3)
    chains = hmc(log_density, slope, np.zeros((C, B, 1)), Noise(5), plan)
    assert (chains.divergent > 10).all()
    assert (abs(chains.draws) < 1).all()
    assert np.isfinite(chains.log_p).all()
    assert (chains.divergent / 300 + chains.acceptance <= 1).all()
    walk = metropolis(log_density, np.zeros((C, B, 1)), Noise(5), ChainPlan(draws=300, warm_up=0, step_size=2.0))
    assert (walk.divergent > 10).all()
    assert (abs(walk.draws) < 1).all()


def test_a_blown_up_trajectory_is_refused() -> None:
    # quartic walls: a step far too long sends z to infinity
    plan = ChainPlan(draws=20, warm_up=0, step_size=5.0)
    chains = hmc(lambda z: -(z**4).sum(-1), lambda z: -4 * z**3, np.ones((C, B, K)), Noise(6), plan)
    assert (chains.divergent == 20).all()
    assert (chains.draws == 1).all()
    plan = ChainPlan(draws=20, warm_up=0, step_size=5.0, leapfrog=1, jitter=0)  # one step: far out, but still a number
    chains = hmc(lambda z: -(z**4).sum(-1), lambda z: -4 * z**3, np.ones((C, B, K)), Noise(6), plan)
    assert (chains.divergent > 15).all()


def test_each_row_gets_its_own_step() -> None:
    width = np.array([[0.01], [1.0], [30.0]])
    start = np.zeros((C, B, 1))
    chains = hmc(
        lambda z: -0.5 * ((z / width) ** 2).sum(-1), lambda z: -z / width**2, start, Noise(9), ChainPlan(300, 300)
    )
    assert (abs(chains.acceptance.mean(0) - 0.9) < 0.1).all()
    np.testing.assert_allclose(chains.draws.std((0, 1)), width, rtol=0.2)


class Recorder:
    """A noise that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def normals(self, purpose: int, step: int, rows: int, columns: int, dtype: object, first_row: int = 0) -> Array:
        self.asked.append((purpose, step))
        return np.ones((rows, columns))

    uniforms = normals


def test_no_noise_is_used_twice() -> None:
    recorder = Recorder()
    plan = ChainPlan(draws=6, warm_up=4, first_step=10)
    hmc(lambda z: -(z**2).sum(-1), lambda z: -2 * z, np.zeros((C, B, K)), recorder, plan)  # type: ignore[arg-type]
    assert len(set(recorder.asked)) == len(recorder.asked) == 20
    assert {step for _, step in recorder.asked} == set(range(10, 20))


def test_choice() -> None:
    old = ChainState(np.zeros((1, 4, 1)), np.zeros((1, 4)), np.zeros((1, 4, 1)))
    new = ChainState(np.ones((1, 4, 1)), np.full((1, 4), 2.0), np.full((1, 4, 1), 3.0))
    gain, u = np.log([[0.5, 0.5, 7.0, 0.5]]), np.array([[0.49, 0.51, 0.99, 0.0]])
    state, move = choose(old, new, gain, u, np.array([[False, False, False, True]]))
    assert state.z.ravel().tolist() == [1, 0, 1, 0]
    assert state.log_p.ravel().tolist() == [2, 0, 2, 0]
    assert state.gradient.ravel().tolist() == [3, 0, 3, 0]
    np.testing.assert_allclose(move.probability, [[0.5, 0.5, 1, 0]])


def test_rows_and_chains_know_nothing_of_one_another() -> None:
    theta, x = make(7)
    all_rows = sample(theta, x, ChainPlan(draws=20, warm_up=0, step_size=0.3))
    last = sample(theta, x[2:], ChainPlan(draws=20, warm_up=0, step_size=0.3, first_row=2))
    np.testing.assert_allclose(all_rows.draws[:, :, 2:], last.draws, atol=1e-10)
    (v, u), (v_more, u_more) = (chain_noise(Noise(1), np.zeros((c, B, K)), 5) for c in (1, C))
    np.testing.assert_array_equal(v, v_more[:1])
    np.testing.assert_array_equal(u, u_more[:, :1])
    assert len(np.unique(v_more)) == v_more.size
    assert len(np.unique(u_more)) == u_more.size


def test_r_hat_sees_chains_apart_and_drifts() -> None:
    rng = np.random.default_rng(8)
    good = rng.normal(size=(400, 4))
    assert diagnostics.r_hat(good) < 1.01
    apart = good + np.array([0, 0, 0, 2.0])
    assert diagnostics.r_hat(apart) > 1.1
    drift = good + np.linspace(0, 3, 400)[:, None]  # all chains alike: only the split shows it
    assert diagnostics.r_hat(drift) > 1.1
    assert np.isnan(diagnostics.r_hat(np.ones((100, 2))))
    # by hand: halves (0, 2), (1, 3) and (0, 2), (1, 3): means 1, 2, 1, 2; W = 2, B/N = 1/3; var+ = 1 + 1/3
    by_hand = np.array([[0, 0], [2, 2], [1, 1], [3, 3.0]])
    assert abs(diagnostics.r_hat(by_hand) - np.sqrt((1 + 1 / 3) / 2)) < 1e-14
    cauchy = np.array(np.tan(np.pi * (rng.uniform(size=(400, 4)) - 0.5)))
    assert diagnostics.r_hat(cauchy, ranked=True) < 1.01
    unequal = good * np.array([1, 1, 1, 3.0])  # about one mean: folding alone shows it
    assert diagnostics.r_hat(unequal) < 1.02
    assert diagnostics.r_hat(unequal, ranked=True) > 1.1


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.6, 0.9])
def test_effective_sample_size_of_an_autoregression(rho: float) -> None:
    # x_t = rho x_{t-1} + noise has correlations rho^t: tau = (1 + rho) / (1 - rho), known exactly
    rng = np.random.default_rng(9)
    x = np.zeros((4000, 4, 8))
    x[0] = rng.normal(size=x[0].shape)
    for t in range(1, len(x)):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=x[0].shape)
    worth = diagnostics.effective_sample_size(x) / (4000 * 4)
    assert abs(worth.mean() * (1 + rho) / (1 - rho) - 1) < 0.08


def test_effective_sample_size_is_geyers_by_the_book() -> None:
    draws = np.cumsum(np.random.default_rng(13).normal(size=(60, 3)), axis=0) * 0.2
    draws += np.random.default_rng(14).normal(size=(60, 3))
    chains = np.concatenate([draws[:30], draws[30:]], axis=1)
    N, M = chains.shape
    within = np.mean([chains[:, c].var(ddof=1) for c in range(M)])
    total = within * (N - 1) / N + chains.mean(0).var(ddof=1)
    rho = [1.0]
    for lag in range(1, N):
        product = [((c[lag:] - c.mean()) * (c[: N - lag] - c.mean())).sum() / (N - 1) for c in chains.T]
        rho.append(1 - (within - np.mean(product)) / total)
    tau, least = -1.0, np.inf
    for k in range(N // 2):
        pair = rho[2 * k] + rho[2 * k + 1]
        if pair <= 0:
            break
        least = min(least, pair)
        tau += 2 * least
    np.testing.assert_allclose(diagnostics.effective_sample_size(draws), N * M / tau, rtol=1e-12)
    assert tau > 3  # correlated enough to try the rule


def test_autocovariance_is_the_sum() -> None:
    x = np.random.default_rng(10).normal(size=(9, 2, 3))
    away = x - x.mean(0)
    want = [(away[: 9 - l] * away[l:]).sum(0) / 9 for l in range(9)]
    np.testing.assert_allclose(diagnostics.autocovariance(x), want, atol=1e-14)


def test_float32_stays_float32() -> None:
    chains = hmc(
        lambda z: -(z * z).sum(-1), lambda z: -2 * z, np.zeros((C, B, K), np.float32), Noise(11), ChainPlan(5, 5)
    )
    assert chains.draws.dtype == chains.log_p.dtype == np.float32


def test_bad_input_is_one_clear_line() -> None:
    def slope(z: Array) -> Array:
        return -z

    start = np.zeros((C, B, K))
    with pytest.raises(DataError, match="not finite at the start of chain 0 of row 1"):
        hmc(lambda z: np.where(np.arange(B) == 1, np.nan, 0) * z.sum(-1), slope, start, Noise(0))
    with pytest.raises(UsageError, match=r"expected start \(C, B, K\)"):
        hmc(lambda z: z, slope, start, Noise(0))
    with pytest.raises(UsageError, match="target=2"):
        hmc(lambda z: z.sum(-1), slope, start, Noise(0), ChainPlan(target=2))
    with pytest.raises(UsageError, match="T >= 4"):
        diagnostics.r_hat(np.zeros((3, 4)))


def test_the_step_size_said_is_that_of_the_draws() -> None:
    """Without jitter every accepted move is that step times its noise; the last step of the warm-up is another."""
    plan = ChainPlan(draws=40, warm_up=20, target=0.4, jitter=0.0)
    found = metropolis(lambda z: -0.5 * (z**2).sum(-1), np.zeros((C, B, K)), Noise(5), plan)
    moves = np.diff(found.draws, axis=0)
    eps = np.stack([chain_noise(Noise(5), found.draws[0], t)[0] for t in range(21, 60)])
    assert moves.any(axis=(0, 1, 3)).all()
    np.testing.assert_allclose(moves, np.where(moves, found.step_size[:, None] * eps, 0), rtol=1e-9)
