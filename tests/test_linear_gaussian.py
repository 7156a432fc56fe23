"""The linear-Gaussian oracle against scipy, scikit-learn, Gaussian conditioning, complex steps: none trusts itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from scratchvae.errors import DataError, UsageError
from scratchvae.models import linear_gaussian as lg
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.types import Array

B, K, D = 5, 3, 6


def make(seed: int = 0, K: int = K, D: int = D) -> tuple[LinearGaussian, Array]:
    rng = np.random.default_rng(seed)
    theta = LinearGaussian(rng.normal(size=(K, D)), rng.normal(size=D), np.array([-0.7]))
    return theta, theta.sample(rng.normal(size=(B, K)), rng.normal(size=(B, D)))[0]


def zeros(theta: LinearGaussian) -> LinearGaussian:
    return LinearGaussian(*(np.zeros_like(p) for p in theta))


def slope(f: Callable[[Array], Any], at: Array) -> Array:
    """∂f/∂at by complex step, every element: exact to rounding."""
    g = np.zeros(at.shape)
    for i in np.ndindex(at.shape):
        a = at.astype(complex)
        a[i] += 1e-30j
        g[i] = f(a).imag / 1e-30
    return g


def close(a: Any, b: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def covariance(theta: LinearGaussian) -> Array:
    C: Array = theta.W.T @ theta.W + np.exp(theta.log_var) * np.eye(theta.W.shape[1])
    return C


def test_log_densities_are_scipys() -> None:
    theta, x = make()
    close(theta.log_marginal(x), multivariate_normal(theta.m, covariance(theta)).logpdf(x))
    z = np.random.default_rng(1).normal(size=(4, B, K))
    joint = np.array(multivariate_normal(np.zeros(K), np.eye(K)).logpdf(z))
    for s, b in np.ndindex(4, B):
        mean = theta.m + z[s, b] @ theta.W
        joint[s, b] += multivariate_normal(mean, np.exp(theta.log_var[0]) * np.eye(D)).logpdf(x[b])
    close(theta.log_joint(x, z), joint)
    close(theta.log_joint(x, z[0]), joint[0])


def test_bayes_rule_holds_at_any_z() -> None:
    theta, x = make(2)
    mean, cov = theta.posterior(x)
    z = np.random.default_rng(3).normal(size=(B, K))
    posterior = [multivariate_normal(m, cov).logpdf(v) for m, v in zip(mean, z, strict=True)]
    close(theta.log_joint(x, z) - posterior, theta.log_marginal(x))


def test_more_latents_than_columns() -> None:
    theta, x = make(4, K=5, D=2)
    close(theta.log_marginal(x), multivariate_normal(theta.m, covariance(theta)).logpdf(x))


def test_sampling_follows_the_noise() -> None:
    theta, _ = make()
    rng = np.random.default_rng(5)
    x, z = theta.sample(rng.normal(size=(20000, K)), rng.normal(size=(20000, D)))
    error = (np.cov(x.T) - covariance(theta)) / np.sqrt(2 / 20000) / covariance(theta).diagonal().max()
    assert abs(error).max() < 4
    assert np.array_equal(theta.sample(z[:1], np.zeros((1, D)))[0], z[:1] @ theta.W + theta.m)
    draws = theta.sample_posterior(x[:1], rng.normal(size=(20000, 1, K)))[:, 0]
    mean, cov = theta.posterior(x[:1])
    assert (abs(draws.mean(0) - mean[0]) < 4 * np.sqrt(cov.diagonal() / 20000)).all()
    assert abs(np.cov(draws.T) - cov).max() < 4 * np.sqrt(2 / 20000) * cov.diagonal().max()


def test_samples_are_their_formulas() -> None:
    """Draw by draw, since a distribution does not see the noise's sign: catches −ε, which replayed noise would."""
    theta, x = make(8)
    rng = np.random.default_rng(9)
    eps_z, eps_x = rng.normal(size=(B, K)), rng.normal(size=(B, D))
    close(theta.sample(eps_z, eps_x)[0], eps_z @ theta.W + theta.m + np.sqrt(np.exp(theta.log_var)) * eps_x)
    mean, cov = theta.posterior(x)
    close(theta.sample_posterior(x, eps_z), mean + np.einsum("kl,bl->bk", np.linalg.cholesky(cov), eps_z))


def test_cotangents_of_theta_are_added() -> None:
    """Catches = for +=."""
    theta, x = make(14)
    once, twice = zeros(theta), zeros(theta)
    for dtheta in (once, twice, twice):
        lg.elbo_diag_vjp(np.ones(B), x, np.ones((B, K)), np.zeros((B, K)), theta, dtheta)
    for d1, d2 in zip(once, twice, strict=True):
        close(d2, 2 * d1)


def test_the_bound_is_tight_at_the_posterior_and_only_there() -> None:
    theta, x = make(6)
    mean, cov = theta.posterior(x)
    covs = np.broadcast_to(cov, (B, K, K))
    close(lg.elbo(x, mean, covs, theta), theta.log_marginal(x), 1e-10)
    dmu, dcov = lg.elbo_vjp(np.ones(B), x, mean, covs, theta)
    close(dmu, 0 * dmu, 1e-10)
    close(dcov, 0 * dcov, 1e-10)
    rng = np.random.default_rng(7)
    for scale in 0.01, 0.3, 2.0:
        off = lg.elbo_diag(x, mean + scale * rng.normal(size=(B, K)), scale * rng.normal(size=(B, K)), theta)
        assert (off < theta.log_marginal(x)).all()
    close(lg.elbo_tril(x, mean, np.linalg.cholesky(covs), theta), theta.log_marginal(x), 1e-10)


def test_the_gap_is_the_kl_to_the_posterior() -> None:
    theta, x = make(8)
    rng = np.random.default_rng(9)
    mu, L = rng.normal(size=(B, K)), np.tril(rng.normal(size=(B, K, K)))
    mean, cov = theta.posterior(x)
    precision, q_cov = np.linalg.inv(cov), L @ L.swapaxes(1, 2)
    square = np.einsum("bk,kl,bl->b", mu - mean, precision, mu - mean)
    log_det = np.linalg.slogdet(cov)[1] - np.linalg.slogdet(q_cov)[1]
    kl = 0.5 * (np.einsum("kl,blk->b", precision, q_cov) + square - K + log_det)
    close(theta.log_marginal(x) - lg.elbo_tril(x, mu, L, theta), kl, 1e-10)


def theta_slopes(f: Callable[[LinearGaussian], Any], theta: LinearGaussian) -> LinearGaussian:
    return LinearGaussian(*(slope(lambda a, n=n: f(theta._replace(**{n: a})), p) for n, p in theta._asdict().items()))  # type: ignore[misc]


def check_theta(dtheta: LinearGaussian, f: Callable[[LinearGaussian], Any], theta: LinearGaussian) -> None:
    for got, want in zip(dtheta, theta_slopes(f, theta), strict=True):
        close(got, want)


@pytest.mark.parametrize("shape", [(B,), (4, B)])
def test_log_joint_vjp(shape: tuple[int, ...]) -> None:
    theta, x = make(10)
    rng = np.random.default_rng(11)
    w, z, dtheta = rng.normal(size=shape), rng.normal(size=(*shape, K)), zeros(theta)
    dz = theta.log_joint_vjp(w, x, z, dtheta)
    close(dz, slope(lambda a: (w * theta.log_joint(x, a)).sum(), z))
    check_theta(dtheta, lambda t: (w * t.log_joint(x, z)).sum(), theta)
    close(theta.log_joint_vjp(w, x, z), dz)
    theta.log_joint_vjp(w, x, z, dtheta)  # added, not assigned
    check_theta(dtheta, lambda t: 2 * (w * t.log_joint(x, z)).sum(), theta)


def test_log_marginal_vjp() -> None:
    theta, x = make(12)
    w, dtheta = np.random.default_rng(13).normal(size=B), zeros(theta)
    dx = theta.log_marginal_vjp(w, x, dtheta)
    close(dx, slope(lambda a: (w * theta.log_marginal(a)).sum(), x))
    check_theta(dtheta, lambda t: (w * t.log_marginal(x)).sum(), theta)


def test_elbo_vjps() -> None:
    theta, x = make(14)
    rng = np.random.default_rng(15)
    w, mu, log_var, L = rng.normal(size=B), rng.normal(size=(B, K)), rng.normal(size=(B, K)), rng.normal(size=(B, K, K))
    L = np.tril(L) + 2 * np.eye(K)
    dtheta = zeros(theta)
    dmu, dlog_var = lg.elbo_diag_vjp(w, x, mu, log_var, theta, dtheta)
    close(dmu, slope(lambda a: (w * lg.elbo_diag(x, a, log_var, theta)).sum(), mu))
    close(dlog_var, slope(lambda a: (w * lg.elbo_diag(x, mu, a, theta)).sum(), log_var))
    check_theta(dtheta, lambda t: (w * lg.elbo_diag(x, mu, log_var, t)).sum(), theta)
    dtheta = zeros(theta)
    dmu, dL = lg.elbo_tril_vjp(w, x, mu, L, theta, dtheta)
    close(dmu, slope(lambda a: (w * lg.elbo_tril(x, a, L, theta)).sum(), mu))
    close(dL, np.tril(slope(lambda a: (w * lg.elbo_tril(x, mu, a, theta)).sum(), L)))
    check_theta(dtheta, lambda t: (w * lg.elbo_tril(x, mu, L, t)).sum(), theta)
    dcov = lg.elbo_vjp(w, x, mu, L @ L.swapaxes(1, 2), theta)[1]
    close(dcov, slope(lambda a: (w * lg.elbo(x, mu, a, theta)).sum(), L @ L.swapaxes(1, 2)), 1e-10)


def test_the_optimum_is_the_optimum() -> None:
    x = np.random.default_rng(16).normal(size=(200, D)) @ np.random.default_rng(17).normal(size=(D, D))
    theta, dtheta = lg.maximum_likelihood(x, 2), zeros(lg.maximum_likelihood(x, 2))
    theta.log_marginal_vjp(np.ones(200), x, dtheta)
    assert max(abs(d).max() for d in dtheta) < 1e-9
    best = theta.log_marginal(x).mean()
    rng = np.random.default_rng(18)
    for _ in range(20):
        other = LinearGaussian(*(p + 0.05 * rng.normal(size=p.shape) for p in theta))
        assert other.log_marginal(x).mean() < best


def test_the_optimum_of_the_digits_is_scikit_learns() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = pytest.importorskip("sklearn.datasets").load_digits().data
    want = decomposition.PCA(10, svd_solver="full").fit(x).score(x)
    assert abs(lg.maximum_likelihood(x, 10, ddof=1).log_marginal(x).mean() - want) < 1e-9
    assert want < lg.maximum_likelihood(x, 10).log_marginal(x).mean() < want + 1e-3  # N, not N − 1: the true maximum


def test_missing_entries_by_plain_gaussian_conditioning() -> None:
    theta, x = make(19)
    observed = np.random.default_rng(20).uniform(size=x.shape) < 0.5
    observed[0], observed[1] = True, False  # all observed, all missing
    C = covariance(theta)
    mean, cov = theta.conditional(np.where(observed, x, np.nan), observed)
    for b in range(B):
        o, u = observed[b], ~observed[b]
        gain = C[np.ix_(u, o)] @ np.linalg.inv(C[np.ix_(o, o)])
        close(mean[b, o], x[b, o], 0)
        close(mean[b, u], theta.m[u] + gain @ (x[b, o] - theta.m[o]))
        close(cov[b][np.ix_(u, u)], C[np.ix_(u, u)] - gain @ C[np.ix_(o, u)])
        assert (cov[b][o] == 0).all()
        assert (cov[b][:, o] == 0).all()
        want = multivariate_normal(theta.m[o], C[np.ix_(o, o)]).logpdf(x[b, o]) if o.any() else 0.0
        close(theta.log_marginal(x, observed)[b], want)
    close(theta.posterior(x, observed)[0][1], np.zeros(K))  # nothing seen: the prior
    close(theta.posterior(x, observed)[1][1], np.eye(K))
    close(theta.posterior(x, observed)[0][0], theta.posterior(x)[0][0])


def test_float32_stays_float32() -> None:
    theta, x = make(21)
    small, x32 = LinearGaussian(*(p.astype(np.float32) for p in theta)), x.astype(np.float32)
    z = np.zeros((B, K), np.float32)
    assert small.log_joint(x32, z).dtype == small.log_marginal(x32).dtype == np.float32
    assert small.log_joint_vjp(np.ones(B, np.float32), x32, z).dtype == np.float32
    assert all(a.dtype == np.float32 for a in small.posterior(x32))


def test_bad_input_is_one_clear_line() -> None:
    theta, x = make(22)
    with pytest.raises(DataError, match="x has 5 columns but theta was built for D=6"):
        theta.log_marginal(x[:, 1:])
    with pytest.raises(DataError, match=r"observed must be bool of shape \(5, 6\)"):
        theta.conditional(x, np.ones((B, D - 1), bool))
    with pytest.raises(UsageError, match="latents=6"):
        lg.maximum_likelihood(x, D)
    with pytest.raises(DataError, match="rank 2 or less"):
        lg.maximum_likelihood(np.random.default_rng(0).normal(size=(50, 2)) @ np.ones((2, 5)), 2)
