"""log p(x) by every estimator: the exact value, an honest standard error, and bounds that lie on their own side."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from scratchvae import kernels
from scratchvae.conditional import Family, Net
from scratchvae.distributions import Normal
from scratchvae.errors import UsageError
from scratchvae.models import linear_gaussian as lg
from scratchvae.models.decoded import Decoded
from scratchvae.models.joint import Joint
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.networks import Dense
from scratchvae.noise import Noise
from scratchvae.tasks import ais, appendix_d, evidence, quadrature
from scratchvae.tasks.ais import Annealing, schedule
from scratchvae.tasks.evidence import Evidence, LogMean
from scratchvae.tasks.hmc import ChainPlan
from scratchvae.tasks.proposals import resampled
from scratchvae.types import Array

B, K, D = 20, 2, 6
ESTIMATORS: dict[str, Callable[..., Evidence]] = {
    "importance": evidence.importance,
    "ais": ais.annealed,
    "appendix-d": appendix_d.appendix_d,
    "quadrature": evidence.quadrature,
}
SHORT: dict[str, dict[str, Any]] = {
    "importance": {"samples": 1000},
    "ais": {"samples": 16, "plan": Annealing(schedule(25), leapfrog=4)},
    "appendix-d": {"samples": 800, "plan": ChainPlan(warm_up=150)},
    "quadrature": {},
}


def make(seed: int = 0, K: int = K, B: int = B) -> tuple[LinearGaussian, Array, Array]:
    """theta, x and the z that x came from: an exact posterior sample."""
    rng = np.random.default_rng(seed)
    theta = LinearGaussian(rng.normal(size=(K, D)), rng.normal(size=D), np.array([-0.5]))
    return theta, *theta.sample(rng.normal(size=(B, K)), rng.normal(size=(B, D)))


def near(theta: LinearGaussian, x: Array) -> Normal:
    """A q that is off in mean, too wide, and blind to correlation."""
    mean, cov = theta.posterior(x)
    return Normal(mean + 0.1, np.log(cov.diagonal()) * np.ones_like(mean) + 0.3)


def assert_calibrated(found: Evidence, exact: Array) -> None:
    """Every row within 4 standard errors, and the errors neither too small nor too large."""
    z = (found.value - exact) / found.standard_error
    assert abs(z).max() < 4, found.report()
    assert 0.4 < np.sqrt((z * z).mean()) < 1.6, found.report()


@pytest.mark.parametrize("name", ["importance", "ais", "appendix-d"])
def test_estimators_meet_the_exact_evidence(name: str) -> None:
    theta, x, _ = make()
    found = ESTIMATORS[name](theta, x, near(theta, x), Noise(1), **SHORT[name])
    assert_calibrated(found, theta.log_marginal(x))
    assert found.standard_error.max() < 0.3
    assert found.doubts() == ""
    assert found.value.shape == found.standard_error.shape == found.ess.shape == (B,)


def test_resampled_draws_are_draws_of_the_posterior() -> None:
    """Mean and covariance of many of them, though q is off in mean, too wide and blind to correlation."""
    theta, x, _ = make(B=8)
    mean, cov = theta.posterior(x)
    z = resampled(theta, x, near(theta, x), Noise(3), 40_000, 2_000)
    assert z.shape == (2_000, 8, K)
    deviations = np.sqrt(cov.diagonal())
    assert np.abs((z.mean(axis=0) - mean) / deviations).max() < 0.1
    found = np.einsum("sbk,sbl->bkl", z - mean, z - mean) / len(z)
    np.testing.assert_allclose(found, np.broadcast_to(cov, found.shape), atol=0.1 * cov.diagonal().max())
    some = resampled(theta, x[3:5], Normal(*(a[3:5] for a in near(theta, x))), Noise(3), 40_000, 2_000, 3)
    np.testing.assert_array_equal(some, z[:, 3:5])  # named by the row


def test_a_start_near_q() -> None:
    q = Normal(np.array([[0.5, -1.0]]), np.array([[-3.0, -0.5]]))
    start = ais.near(q, 2)
    np.testing.assert_array_equal(start.mu, q.mu)
    np.testing.assert_allclose(start.log_var, [[-3 + np.log(4), 0.0]])  # twice as wide, but no wider than the prior


def test_gaussian_density_in_appendix_d() -> None:
    theta, x, _ = make(2)
    q = near(theta, x)
    found = appendix_d.appendix_d(theta, x, q, Noise(2), samples=800, density="gaussian", plan=ChainPlan(warm_up=150))
    assert_calibrated(found, theta.log_marginal(x))
    assert found.standard_error.max() < 0.03


class Bent(NamedTuple):
    """Two latents under a banana: x = z1, x2 = z2 + z1² with noise; the posterior is no Gaussian."""

    sd: float = 0.3

    def log_joint(self, x: Array, z: Array) -> Array:
        r = (x - self.mean(z)) / self.sd
        return np.asarray(-0.5 * ((z * z).sum(-1) + (r * r).sum(-1)) - 2 * np.log(2 * np.pi * self.sd))

    def log_joint_vjp(self, w: Array, x: Array, z: Array, dtheta: Any = None) -> Array:
        dmean = (x - self.mean(z)) / self.sd**2
        return np.asarray(w[..., None] * (-z + np.stack([dmean[..., 1] * (2 * z[..., 0]), dmean[..., 1]], -1)))

    def mean(self, z: Array) -> Array:
        return np.stack([0 * z[..., 0], z[..., 1] + z[..., 0] ** 2], -1)


def test_estimators_agree_on_a_bent_posterior() -> None:
    model, x = Bent(), np.array([[0.1, 0.5], [-0.2, -1.0], [0.3, 2.0]])
    exact = evidence.quadrature(model, x, Normal(np.zeros((3, 2)), np.zeros((3, 2))))
    assert (exact.standard_error < 1e-8).all()
    moments = quadrature.posterior(model.log_joint, x, 2)
    q = Normal(moments.mean, np.log(np.diagonal(moments.cov, axis1=1, axis2=2)))
    for name, options in SHORT.items():
        found = ESTIMATORS[name](model, x, q, Noise(3), **options)
        assert (abs(found.value - exact.value) < 4 * found.standard_error + 1e-8).all(), found.report()
        assert (found.standard_error < 0.5).all()


def test_an_analytic_kl_inside_the_weights_overstates() -> None:
    # the mistake of published code: "importance sampling" with log p(x|z) − KL(q ‖ p) for a log weight
    theta, x, _ = make(4)
    mean, cov = theta.posterior(x)
    q = Normal(mean, np.log(cov.diagonal()) * np.ones_like(mean) + 2.0)
    eps = evidence.normals(Noise(4), 0, 2000, q.mu, 0)
    z = q.sample(eps)
    standard = Normal(np.zeros(K), np.zeros(K))
    wrong = LogMean.empty(B).add(theta.log_joint(x, z) - standard.log_prob(z) - q.kl())
    assert (wrong.value > theta.log_marginal(x) + 4 * wrong.standard_error).any()


def test_more_samples_raise_the_bound_to_log_p() -> None:
    theta, x, _ = make(5, B=400)
    gaps = []
    for samples in 1, 4, 16, 64:
        found = evidence.importance(theta, x, near(theta, x), Noise(5), samples=samples)
        gaps.append((theta.log_marginal(x) - found.value).mean())
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert abs(gaps[3]) < 0.02
    q = near(theta, x)
    elbo_gap = theta.log_marginal(x) - lg.elbo_diag(x, q.mu, q.log_var, theta)
    assert abs(gaps[0] - elbo_gap.mean()) < 4 * elbo_gap.std() / 20 + 0.1


def test_zero_variance_at_the_exact_posterior() -> None:
    theta, x, _ = make(6, K=1)
    mean, cov = theta.posterior(x)
    q = Normal(mean, np.log(cov.diagonal()) * np.ones_like(mean))
    found = evidence.importance(theta, x, q, Noise(6), samples=50)
    np.testing.assert_allclose(found.value, theta.log_marginal(x), rtol=1e-12)
    np.testing.assert_allclose(found.ess, 50)
    assert found.standard_error.max() < 1e-7


def test_log_mean_streams() -> None:
    log_w = np.random.default_rng(7).normal(size=(30, 3)) * 5 - 900  # exp of these underflows
    whole = LogMean.empty(3).add(log_w)
    parts = LogMean.empty(3).add(log_w[:7]).add(log_w[7:8]).add(log_w[8:])
    shifted = np.exp(log_w + 900)
    np.testing.assert_allclose(whole.value, np.log(shifted.mean(0)) - 900, rtol=1e-13)
    np.testing.assert_allclose(whole.ess, shifted.sum(0) ** 2 / (shifted**2).sum(0), rtol=1e-12)
    np.testing.assert_allclose(whole.standard_error, shifted.std(0, ddof=1) / np.sqrt(30) / shifted.mean(0), rtol=1e-10)
    for a, b in zip((parts.value, parts.ess), (whole.value, whole.ess), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    nothing = LogMean.empty(2).add(np.array([[-np.inf, -np.inf], [-np.inf, 0.0]]))
    np.testing.assert_allclose(nothing.value, [-np.inf, np.log(0.5)])
    assert np.isnan(LogMean.empty(1).add(np.array([[0.0], [np.nan]])).value).all()
    assert np.isnan(LogMean.empty(1).add(np.array([[0.0]])).standard_error).all()


def test_rows_know_nothing_of_one_another() -> None:
    theta, x, _ = make(8)
    q = near(theta, x)
    part = slice(12, 17)
    for name in "importance", "ais":
        f = ESTIMATORS[name]
        whole = f(theta, x, q, Noise(8), **SHORT[name])
        some = f(theta, x[part], Normal(q.mu[part], q.log_var[part]), Noise(8), **SHORT[name], first_row=12)
        np.testing.assert_allclose(some.value, whole.value[part], atol=1e-8)


def test_annealing_in_one_step_is_importance_sampling() -> None:
    theta, x, _ = make(9)
    q = near(theta, x)
    one = ais.annealed(theta, x, q, Noise(9), samples=32, plan=Annealing(schedule(1)))
    np.testing.assert_allclose(one.value, evidence.importance(theta, x, q, Noise(9), samples=32).value, rtol=1e-12)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_slope_along_the_path(beta: float) -> None:
    # a wrong slope would not show in the weights, only in the acceptance: so by complex step
    theta, x, z = make(17)
    log_f, slope = ais.path(theta, x, near(theta, x), beta)
    for k in range(K):
        step = 1e-30j * np.eye(K)[k]
        np.testing.assert_allclose(slope(z[None])[..., k], log_f(z[None] + step).imag / 1e-30, rtol=1e-12)


def test_kernel_density_is_one_with_the_moments_of_its_draws() -> None:
    fitted = 3 + 0.5 * np.random.default_rng(18).normal(size=(20, 4, 1, 1))
    line = np.linspace(-5, 11, 2001)
    p = np.exp(appendix_d.kernel(fitted, line[:, None, None, None])[:, 0, 0]) * (line[1] - line[0])
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-9)
    np.testing.assert_allclose(p @ line, fitted.mean(), rtol=1e-9)
    np.testing.assert_allclose(p @ line**2 - (p @ line) ** 2, fitted.var(ddof=1), rtol=0.02)


def test_kernel_density_has_every_chain() -> None:
    """Eight chains in eight places and more draws than centres: density at each place, whatever the order of draws."""
    rng, places = np.random.default_rng(19), 10.0 * np.arange(8)
    fitted = places[None, :, None, None] + rng.normal(size=(250, 8, 1, 1))
    log_p = appendix_d.kernel(fitted, places[None, :, None, None])
    assert log_p.min() > np.log(1 / 80) - 1  # of a uniform over them all


def test_the_sandwich_closes_around_the_truth() -> None:
    theta, x, z = make(10, K=5)
    exact, q, gaps = theta.log_marginal(x), ais.prior(Normal(z, z)), []
    for steps in 5, 80:
        found = ais.sandwich(theta, x, z, q, Noise(10), samples=8, plan=Annealing(schedule(steps), leapfrog=5))
        assert found.lower.value.mean() < exact.mean() < found.upper.value.mean()
        gaps.append(found.gap.mean())
    assert gaps[0] > 2
    assert gaps[1] < 0.5
    assert (found.lower.value < exact + 4 * found.lower.standard_error).all()
    assert (found.upper.value > exact - 4 * found.upper.standard_error).all()


def test_reverse_weights_are_unbiased() -> None:
    # independent posterior samples for each chain: E[1/w] = 1/p(x) even on a short path with a coarse step
    theta, x, _ = make(11)
    z = theta.sample_posterior(x, np.random.default_rng(11).normal(size=(400, B, K)))
    q = near(theta, x)
    plan = Annealing(schedule(6), leapfrog=2, step_size=1.0)
    found = ais.sandwich(theta, x, z, Normal(q.mu + 0.3, q.log_var + 0.3), Noise(11), samples=400, plan=plan)
    for side in found:
        assert_calibrated(side, theta.log_marginal(x))
        assert side.standard_error.max() < 0.15


def test_doubts_are_said() -> None:
    theta, x, z = make(12, K=8)
    far = Normal(np.zeros_like(z) + 5, np.zeros_like(z))
    found = evidence.importance(theta, x, far, Noise(12), samples=64)
    assert "do not trust 20 of 20 rows" in found.doubts()
    assert "nats a row (20 rows, importance sampling, 64 samples, cost 1280)" in found.report()
    uneven = Evidence(np.zeros(3), np.array([1e-9, 2.0, 1e-9]), np.full(3, np.inf), 1, "quadrature")
    assert "1 of 3 rows (worst, row 1:" in uneven.doubts()
    unsure = Evidence(np.zeros(2), np.array([0.1, 0.9]), np.array([6.0, 50.0]), 1, "few samples, and yet sure")
    assert "1 of 2 rows (worst, row 1:" in unsure.doubts()
    broken = Evidence(np.array([np.nan]), np.zeros(1), np.full(1, 100.0), 1, "broken")
    assert "1 of 1 rows" in broken.doubts()


def test_bad_input_is_one_clear_line() -> None:
    theta, x, z = make(13, K=5)
    q = Normal(z, z)
    with pytest.raises(UsageError, match="5 latents: it reaches 4"):
        appendix_d.appendix_d(theta, x, q, Noise(0))
    with pytest.raises(UsageError, match="density='box'"):
        appendix_d.appendix_d(theta, x, Normal(z[:, :2], z[:, :2]), Noise(0), density="box")
    with pytest.raises(UsageError, match="one or two latents, not 5"):
        evidence.quadrature(theta, x, q)
    for f in evidence.importance, ais.annealed, appendix_d.appendix_d:
        with pytest.raises(UsageError, match="samples=0"):
            f(theta, x, q, Noise(0), samples=0)
    with pytest.raises(UsageError, match="rise strictly from 0 to 1"):
        ais.annealed(theta, x, q, Noise(0), plan=Annealing(np.array([0, 0.5, 0.5, 1])))
    with pytest.raises(UsageError, match="steps=0"):
        schedule(0)


# --- the VAE's own joint ---------------------------------------------------------------------------


def decoder(family: str, dtype: Any = np.float64) -> Net:
    rng = np.random.default_rng(14)

    def layer(i: int, o: int) -> Dense:
        return Dense(rng.normal(size=(i, o)).astype(dtype), rng.normal(size=o).astype(dtype))

    heads = tuple(layer(4, D) for _ in Family(family, 0.1).heads)
    return Net((layer(K, 7), layer(7, 4)), heads, "tanh", Family(family, 0.1))


def zeros(net: Net) -> Net:
    hidden, heads = (tuple(Dense(np.zeros_like(p.W), np.zeros_like(p.b)) for p in ps) for ps in (net.hidden, net.heads))
    return Net(hidden, heads, net.activation, net.family)


@pytest.mark.parametrize("family", ["bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-fixed"])
@pytest.mark.parametrize("shape", [(3,), (5, 3)])
def test_slope_in_z_alone_is_the_whole_slope(family: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(15)
    theta = decoder(family)
    x, z, w = rng.uniform(size=(3, D)), rng.normal(size=(*shape, K)), rng.normal(size=shape)
    want = Decoded().log_joint_vjp(w, x, z, theta, zeros(theta))
    np.testing.assert_allclose(Joint(theta).log_joint_vjp(w, x, z), want, rtol=1e-12)
    np.testing.assert_allclose(Joint(theta).log_joint_vjp(w, x, z, zeros(theta)), want, rtol=1e-12)
    np.testing.assert_array_equal(Joint(theta).log_joint(x, z), Decoded().log_joint(x, z, theta))


@pytest.mark.parametrize("table", ["numpy", "numba"])
def test_quadrature_of_a_density_keeps_its_precision(table: str) -> None:
    """Rows stored in float32 and nodes in float64: the sum is taken in float64 by either table of kernels."""
    theta, x = decoder("gaussian", np.float32), np.random.default_rng(20).normal(size=(3, D)).astype(np.float32)
    q = ais.prior(Normal(*(np.zeros((3, K), np.float32),) * 2))
    found = evidence.quadrature(Joint(theta, kernels.table(table)), x, q)
    wide = evidence.quadrature(Joint(theta), x.astype(np.float64), Normal(*(np.zeros((3, K)),) * 2))
    np.testing.assert_allclose(found.value, wide.value, rtol=1e-11)


def test_evidence_of_a_small_vae_in_float32() -> None:
    theta, rng = decoder("bernoulli", np.float32), np.random.default_rng(16)
    x = (rng.uniform(size=(6, D)) < 0.5).astype(np.float32)
    model, q = Joint(theta), ais.prior(Normal(*(np.zeros((6, K), np.float32),) * 2))
    exact = evidence.quadrature(model, x, q, resolution=65)
    options = {**SHORT, "ais": {"plan": Annealing(schedule(50), leapfrog=5)}}
    for name in "importance", "ais", "appendix-d":
        found = ESTIMATORS[name](model, x, q, Noise(16), **options[name])
        assert (abs(found.value - exact.value) < 4 * found.standard_error + 1e-5).all(), found.report()
