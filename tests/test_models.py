"""§7.2.1, §7.2.5 The worked models and wider families: values by hand, slopes by complex step, factors that add up."""

import numpy as np
import pytest
from oracles import close
from scipy import special, stats

from scratchvae.distributions.discrete import Categorical
from scratchvae.distributions.gaussians import FullNormal
from scratchvae.gradcheck.library import at, bbvi
from scratchvae.gradcheck.library.estimators import oracle
from scratchvae.models import mixture, sigmoid_belief
from scratchvae.models.decoded import Decoded
from scratchvae.models.joint import Joint
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.models.logistic_regression import LogisticRegression, Table, with_ones
from scratchvae.models.mixture import Mixture
from scratchvae.models.pca import Oracle
from scratchvae.models.sigmoid_belief import SigmoidBelief
from scratchvae.models.vae import Architecture
from scratchvae.networks import Dense
from scratchvae.types import Array

B, D, K = 3, 4, 2
X, Z = at(1, B, D), at(2, 5, B, K)
BITS, CODES = (X > 0) * 1.0, (Z > 0) * 1.0


def log_normal(z: Array) -> Array:
    """log N(z; 0, 1), elementwise."""
    return np.asarray(stats.norm.logpdf(z))


def log_bits(x: Array, logits: Array) -> Array:
    """log Bernoulli, elementwise."""
    p = special.expit(logits)
    return np.asarray(np.log(np.where(x == 1, p, 1 - p)))


@pytest.mark.parametrize("name", [case.name for case in bbvi.cases()])
def test_slopes(name: str) -> None:
    """Every vjp by complex step, and its +=."""
    (case,) = (case for case in bbvi.cases() if case.name == name)
    report = case._replace(options={"methods": ("complex",)}).run()
    assert report.ok, str(report)


@pytest.mark.parametrize("name", ["log_joint", "log_likelihood"])
def test_slopes_of_the_oracle(name: str) -> None:
    """Probabilistic PCA through the protocol."""
    report = oracle(name)._replace(options={"methods": ("complex",)}).run()
    assert report.ok, str(report)


# --- families ---------------------------------------------------------------------------------------


def test_full_normal_by_hand() -> None:
    """L, z = mu + L eps, scipy's density, and the KL of the textbook; catches raw read above the diagonal."""
    q, eps = FullNormal(at(3, B, K), at(4, B, K, K)), at(5, 4, B, K)
    for b in range(B):
        L = np.tril(q.raw[b], -1) + np.diag(np.exp(np.diag(q.raw[b])))
        cov, mu = L @ L.T, q.mu[b]
        close(q.L[b], L)
        close(q.sample(eps)[:, b], mu + eps[:, b] @ L.T)
        close(q.log_prob(eps)[:, b], stats.multivariate_normal(mu, cov).logpdf(eps[:, b]), 1e-9)
        close(q.kl()[b], 0.5 * (mu @ mu + np.trace(cov) - K - np.linalg.slogdet(cov)[1]))
    w = at(6, B)  # z without an axis of samples
    for one, other in zip(q.log_prob_vjp(w, eps[0])[1], q.log_prob_vjp(w[None], eps[:1])[1], strict=True):
        close(one, other)


def test_full_normal_shares_parameters() -> None:
    """One row of parameters under many samples: cotangents are sums; catches a mean, and slopes above the diagonal."""
    q, eps, dz = FullNormal(at(3, 1, 3), at(4, 1, 3, 3)), at(5, 4, B, 3), at(6, 4, B, 3)
    dq, outer = q.sample_vjp(dz, eps), np.einsum("sbi,sbj->ij", dz, eps)
    close(dq.mu[0], dz.sum(axis=(0, 1)))
    close(dq.raw[0], np.tril(outer, -1) + np.diag(np.diag(outer) * np.exp(np.diag(q.raw[0]))))
    again = FullNormal(q.mu, q.raw + 5 * np.triu(np.ones((3, 3)), 1))  # what stands above the diagonal is not read
    for one, other in zip(q.log_prob_vjp(dz[..., 0], eps)[1], again.log_prob_vjp(dz[..., 0], eps)[1], strict=True):
        close(one, other, 0)


def test_categorical_by_hand() -> None:
    """Frequencies, u on each side of the steps, log-probabilities; logits of 1000 overflow nothing."""
    q = Categorical(np.log(np.array([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]])) + np.array([[1000], [-1000]]))
    close(q.mean, np.array([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]]), 1e-9)
    u = np.array([0.0, 0.2, 0.3, 0.7, 0.8, 0.99])
    z = q.sample(np.broadcast_to(u[:, None, None], (6, 2, 1)))
    assert z.argmax(axis=-1).T.tolist() == [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 2, 2]]
    assert (z.sum(axis=-1) == 1).all()
    assert q.sample(np.stack([u[:2, None], 0 * u[:2, None] + 0.99], axis=-1)).argmax(axis=-1).tolist() == [[0, 0]] * 2
    close(q.log_prob(np.eye(3)[:, None, :]).T, np.log(q.mean), 1e-9)
    assert Categorical(q.logits.astype("float32")).sample(u[:2, None, None]).dtype == np.float32
    close(Categorical(q.logits[0]).sample(u[:, None]), z[:, 0], 0)
    certain = Categorical(np.array([[-800.0, 0.0]]))  # u = 0 may not draw what has probability 0
    assert certain.sample(np.zeros((1, 1, 1))).tolist() == [[[0.0, 1.0]]]


# --- models -----------------------------------------------------------------------------------------


def test_mixture_by_hand() -> None:
    """Class by class; the posterior and the evidence by the plain sum, also where every density underflows."""
    theta = mixture.Theta(at(7, 3), at(8, 3, D), at(9, 3))
    prior = np.exp(theta.a) / np.exp(theta.a).sum()
    joint = np.stack([
        np.log(prior[c]) + stats.norm(theta.mu[c], np.exp(theta.log_var[c] / 2)).logpdf(X).sum(axis=1) for c in range(3)
    ], axis=1)  # fmt: skip
    model, one_hot = Mixture(), np.eye(3)[[[0, 1, 2], [2, 2, 0]]]
    close(model.table(X, theta), joint)
    close(model.log_joint(X, one_hot, theta), np.stack([joint[[0, 1, 2], c] for c in ([0, 1, 2], [2, 2, 0])]))
    close(model.log_marginal(X, theta), np.log(np.exp(joint).sum(axis=1)))
    close(model.posterior(X, theta).mean, np.exp(joint) / np.exp(joint).sum(axis=1, keepdims=True))
    far = model.log_marginal(X + np.array([[0], [100], [200]]), theta)
    assert np.isfinite(far).all()
    close(far[0], model.log_marginal(X, theta)[0])
    assert model.log_joint_vjp(np.ones((2, B)), X, one_hot, theta, None) is None


def test_sigmoid_belief_by_hand() -> None:
    """log p(z) + log p(x | z), and the factors that add up to it."""
    theta, model = sigmoid_belief.Theta(at(10, K), Dense(at(11, K, D), at(12, D))), SigmoidBelief()
    prior = log_bits(CODES, theta.prior)
    likelihood = log_bits(BITS, CODES @ theta.decoder.W + theta.decoder.b).sum(axis=-1)
    close(model.log_joint(BITS, CODES, theta), prior.sum(axis=-1) + likelihood)
    close(model.log_factors(BITS, CODES, theta), np.concatenate([likelihood[..., None], prior], axis=-1))
    assert model.blankets(K).tolist() == [[True, True, False], [True, False, True]]
    assert model.blankets(K).dtype == bool
    assert model.log_joint_vjp(Z[..., 0], BITS, CODES, theta, None) is None


def test_logistic_regression_by_hand() -> None:
    """Labels given the weights, and their prior; features scaled column by column."""
    data, z, model = Table(at(13, 6, K), (at(14, 6) > 0) * 1.0), at(15, 5, 1, K), LogisticRegression()
    likelihood = np.stack([log_bits(data.y, data.X @ weights[0]).sum() for weights in z])[:, None]
    close(model.log_likelihood(data, z), likelihood)
    close(model.log_joint(data, z), likelihood + log_normal(z).sum(axis=-1))
    scaled, spread = with_ones(data.X), np.sqrt(((data.X - data.X.mean(axis=0)) ** 2).sum(axis=0) / 6)
    close(scaled, np.column_stack([(data.X - data.X.sum(axis=0) / 6) / spread, np.ones(6)]))


def test_oracle_by_hand() -> None:
    """Probabilistic PCA as densities of scipy; factors that add up; the likelihood's slope is the joint's plus z."""
    theta, model = LinearGaussian(at(16, K, D), at(17, D), at(18, 1)), Oracle()
    noise, prior = np.exp(theta.log_var / 2), log_normal(Z)
    likelihood = stats.norm(Z @ theta.W + theta.m, noise).logpdf(X).sum(axis=-1)
    close(model.log_likelihood(X, Z, theta), likelihood)
    close(model.log_joint(X, Z, theta), likelihood + prior.sum(axis=-1))
    close(model.log_factors(X, Z, theta), np.concatenate([likelihood[..., None], prior], axis=-1))
    assert model.blankets(K).tolist() == Decoded().blankets(K).tolist() == [[True, True, False], [True, False, True]]


def test_joint_is_the_decoder_with_its_theta() -> None:
    """Values, slopes in z, and θ's cotangent only where a buffer is given."""
    a = Architecture(D, K, (3,))
    views = {n: at(20 + i, *s) for i, (n, s) in enumerate(a.shapes().items())}
    theta, zero = a.nets(views)[1], {n: np.zeros(s) for n, s in a.shapes().items()}
    one, other = a.nets(zero)[1], a.nets({n: v.copy() for n, v in zero.items()})[1]
    joint, w = Joint(theta), Z[..., 0]
    close(joint.log_joint(BITS, Z), Decoded().log_joint(BITS, Z, theta), 0)
    dz = Decoded().log_joint_vjp(w, BITS, Z, theta, other)
    close(joint.log_joint_vjp(w, BITS, Z), dz, 0)
    close(joint.log_joint_vjp(w, BITS, Z, one), dz, 0)
    close(one.heads[0].W, other.heads[0].W, 0)
    assert np.abs(one.heads[0].W).max() > 0
