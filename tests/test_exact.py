"""Sums over z against closed forms and brute force: quadrature on the linear-Gaussian oracle, enumeration by hand."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest

from scratchvae.distributions import Bernoulli, Normal
from scratchvae.errors import DataError, UsageError
from scratchvae.models import linear_gaussian as lg
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.tasks import exact, quadrature
from scratchvae.types import Array

B, D = 4, 6


def make(K: int, log_var: float, seed: int = 0) -> tuple[LinearGaussian, Array]:
    rng = np.random.default_rng(seed)
    theta = LinearGaussian(rng.normal(size=(K, D)), rng.normal(size=D), np.array([log_var]))
    return theta, theta.sample(rng.normal(size=(B, K)), rng.normal(size=(B, D)))[0]


@pytest.mark.parametrize("latents", [1, 2])
@pytest.mark.parametrize("log_var", [2.0, -1.0, -6.0])
def test_quadrature_is_exact(latents: int, log_var: float) -> None:
    theta, x = make(latents, log_var)
    found = quadrature.posterior(theta.log_joint, x, latents)
    mean, cov = theta.posterior(x)
    np.testing.assert_allclose(found.log_marginal, theta.log_marginal(x), atol=1e-9)
    np.testing.assert_allclose(found.mean, mean, atol=1e-9)
    np.testing.assert_allclose(found.cov, np.broadcast_to(cov, found.cov.shape), atol=1e-9 * cov.max())
    assert (found.error < 1e-8).all()


def test_weights_sum_to_the_box() -> None:
    for latents in 1, 2:
        points = quadrature.grid(np.zeros((2, latents)), np.array([[0.5], [3.0]]) * np.ones((2, latents)), 9)
        np.testing.assert_allclose(np.exp(points.log_weight).sum(0), np.array([1.0, 6.0]) ** latents)


def test_the_error_that_is_reported_is_the_error() -> None:
    theta, x = make(1, -6.0)
    centre, half_width = theta.posterior(x)[0], np.full((B, 1), 3.0)
    points = quadrature.grid(centre, half_width, 81)  # a step of 0.075, too coarse for the half of it
    log_p = exact.table(theta.log_joint, x, points)
    coarse = quadrature.every_other(log_p, points, 81)
    direct = exact.posterior(theta.log_joint, x, quadrature.grid(centre, half_width, 41)).log_marginal
    np.testing.assert_allclose(coarse, direct, rtol=1e-13)
    assert abs(coarse - theta.log_marginal(x)).max() > 1e-3
    clipped = quadrature.posterior(theta.log_joint, x, 1, tolerance=0.0)  # never reached: stops at the finest grid
    assert (abs(clipped.log_marginal - theta.log_marginal(x)) < 1e-9).all()


def test_two_modes_and_their_weights() -> None:
    def log_joint(x: Array, z: Array) -> Array:  # 0.3 N(-4, 0.1²) + 0.7 N(5, 0.4²), times e²
        modes = (0.3, -4, 0.1), (0.7, 5, 0.4)
        parts = [np.log(p) - 0.5 * ((z[..., 0] - m) / s) ** 2 - np.log(s) for p, m, s in modes]
        return np.asarray(np.logaddexp(*parts) - 0.5 * np.log(2 * np.pi) + 2)

    found = quadrature.posterior(log_joint, np.zeros((2, 1)), 1)
    np.testing.assert_allclose(found.log_marginal, 2, atol=1e-9)
    np.testing.assert_allclose(found.mean, 0.3 * -4 + 0.7 * 5, atol=1e-9)
    np.testing.assert_allclose(found.cov[:, 0, 0], 0.3 * 0.7 * 81 + 0.3 * 0.01 + 0.7 * 0.16, atol=1e-8)


@pytest.mark.parametrize("latents", [1, 2])
def test_the_exact_bound_and_its_gradients(latents: int) -> None:
    theta, x = make(latents, -1.0, seed=1)
    rng = np.random.default_rng(2)
    q, w = Normal(rng.normal(size=(B, latents)), rng.normal(size=(B, latents))), rng.normal(size=B)
    L, coarse = (exact.elbo(theta.log_joint, x, q, quadrature.around(q, n)) for n in (81, 41))
    np.testing.assert_allclose(L, lg.elbo_diag(x, q.mu, q.log_var, theta), rtol=1e-10)
    np.testing.assert_allclose(L, coarse, rtol=0, atol=1e-9)
    got, want = (LinearGaussian(*(np.zeros_like(p) for p in theta)) for _ in range(2))
    points = quadrature.around(q)
    dq = exact.elbo_vjp(w, theta.log_joint, x, q, points, theta.log_joint_vjp, got)
    dmu, dlog_var = lg.elbo_diag_vjp(w, x, q.mu, q.log_var, theta, want)
    for a, b in zip((*dq, *got), (dmu, dlog_var, *want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("latents", [1, 2])
def test_quadrature_of_no_rows(latents: int) -> None:
    theta, x = make(latents, 0.0)
    found = quadrature.posterior(theta.log_joint, x[:0], latents)
    assert [a.shape for a in found[:4]] == [(0,), (0, latents), (0, latents, latents), (0,)]


def test_quadrature_refuses_what_it_cannot_reach() -> None:
    theta, x = make(3, 0.0)
    with pytest.raises(UsageError, match="one or two latents, not 3"):
        quadrature.posterior(theta.log_joint, x, 3)
    theta, x = make(1, 0.0)
    with pytest.raises(DataError, match="row 1 reaches the edge of the box"):
        quadrature.posterior(lambda x, z: -0.5 * (z[..., 0] - 12.0 * np.array([0, 1, 0, 0])) ** 2, x, 1)
    with pytest.raises(DataError, match="NaN in row 2"):
        quadrature.posterior(lambda x, z: theta.log_joint(x, z) * np.array([1, 1, np.nan, 1]), x, 1)
    with pytest.raises(DataError, match=r"log_joint gave shape"):
        quadrature.posterior(lambda x, z: theta.log_joint(x, z).sum(-1), x, 1)
    with pytest.raises(DataError, match=r"log p.x. is -inf in row 0"):
        exact.posterior(lambda x, z: np.full(z.shape[:2], -np.inf), x, exact.bits(3, B))


# --- discrete latents ------------------------------------------------------------------------------


class Sigmoid(NamedTuple):
    """A sigmoid belief network of one layer: z bits with logits a, x bits with logits zW + b."""

    a: Array
    W: Array
    b: Array

    def log_joint(self, x: Array, z: Array) -> Array:
        return Bernoulli(self.a).log_prob(z) + Bernoulli(z @ self.W + self.b).log_prob(x)

    def log_joint_vjp(self, w: Array, x: Array, z: Array, dtheta: Any) -> None:
        dtheta.a[...] += Bernoulli(self.a).log_prob_vjp(w, z)[1].logits
        dlogits = Bernoulli(z @ self.W + self.b).log_prob_vjp(w, np.broadcast_to(x, (*w.shape, D)))[1].logits
        dtheta.W[...] += np.einsum("sbk,sbd->kd", z, dlogits)
        dtheta.b[...] += dlogits.sum((0, 1))


def sigmoid_model(K: int) -> tuple[Sigmoid, Array]:
    rng = np.random.default_rng(K)
    model = Sigmoid(rng.normal(size=K), 2 * rng.normal(size=(K, D)), rng.normal(size=D))
    return model, rng.integers(0, 2, (B, D)).astype(float)


def test_enumeration_is_brute_force() -> None:
    model, x = sigmoid_model(5)
    found = exact.posterior(model.log_joint, x, exact.bits(5, B))
    for row in range(B):
        total, mean, second = 0.0, np.zeros(5), np.zeros((5, 5))
        for state in itertools.product((0.0, 1.0), repeat=5):
            z = np.array(state)
            p_z = np.prod(np.where(z == 1, 1, np.exp(-model.a)) / (1 + np.exp(-model.a)))
            logits = z @ model.W + model.b
            p = p_z * np.prod(np.where(x[row] == 1, 1, np.exp(-logits)) / (1 + np.exp(-logits)))
            total, mean, second = total + p, mean + p * z, second + p * np.outer(z, z)
        np.testing.assert_allclose(found.log_marginal[row], np.log(total), rtol=1e-12)
        np.testing.assert_allclose(found.mean[row], mean / total, rtol=1e-12)
        np.testing.assert_allclose(found.cov[row], second / total - np.outer(mean, mean) / total**2, atol=1e-13)
    np.testing.assert_allclose(np.exp(found.log_posterior).sum(0), 1)


def test_probabilities_of_all_images_sum_to_one() -> None:
    model, _ = sigmoid_model(4)
    images = np.array(list(itertools.product((0.0, 1.0), repeat=D)))
    log_p = exact.posterior(model.log_joint, images, exact.bits(4, len(images))).log_marginal
    np.testing.assert_allclose(np.exp(log_p).sum(), 1)


def test_the_discrete_bound_its_gradient_and_its_gap() -> None:
    model, x = sigmoid_model(3)
    rng = np.random.default_rng(9)
    logits, w, points = rng.normal(size=(B, 3)), rng.normal(size=B), exact.bits(3, B)
    dtheta = Sigmoid(*(np.zeros_like(p) for p in model))
    dq = exact.elbo_vjp(w, model.log_joint, x, Bernoulli(logits), points, model.log_joint_vjp, dtheta)

    def bound(logits: Array, model: Sigmoid) -> float:
        return float((w * exact.elbo(model.log_joint, x, Bernoulli(logits), points)).sum())

    for i in np.ndindex(logits.shape):
        e = np.zeros_like(logits)
        e[i] = 1e-5
        slope = (bound(logits + e, model) - bound(logits - e, model)) / 2e-5
        assert abs(dq.logits[i] - slope) < 1e-8
    for name, value in model._asdict().items():
        e = 1e-5 * rng.normal(size=value.shape)
        up, down = (bound(logits, model._replace(**{name: value + s * e})) for s in (1, -1))
        assert abs((getattr(dtheta, name) * e).sum() - (up - down) / 2) < 1e-12
    found = exact.posterior(model.log_joint, x, points)
    L = exact.elbo(model.log_joint, x, Bernoulli(logits), points)
    log_q = Bernoulli(logits).log_prob(points.z())
    kl = (np.exp(log_q) * (log_q - found.log_posterior)).sum(0)
    np.testing.assert_allclose(found.log_marginal - L, kl, rtol=1e-12)
    assert (kl > 0).all()


def test_bits_and_their_limit() -> None:
    z = exact.bits(3, 2).z()
    assert z.shape == (8, 2, 3)
    assert len({tuple(row) for row in z[:, 0]}) == 8
    assert exact.bits(16, 1).unit.shape == (65536, 16)
    for latents in 0, 17:
        with pytest.raises(UsageError, match=f"latents={latents}"):
            exact.bits(latents, 1)
    one_hot = exact.listed(np.eye(3), 2)  # a categorical latent: a mixture of three
    found = exact.posterior(lambda x, z: np.log(z @ np.array([0.2, 0.3, 0.5])), np.zeros((2, 1)), one_hot)
    np.testing.assert_allclose(found.mean, [[0.2, 0.3, 0.5]] * 2)
