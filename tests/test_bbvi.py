"""§7.2.1 Black-box inference: families, three worked models against exact answers, and clear refusals."""

import math
from typing import Any

import numpy as np
import pytest

from scratchvae.conditional import Family, Net
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.distributions.continuous import Beta, Gamma
from scratchvae.distributions.discrete import Categorical
from scratchvae.distributions.gaussians import FullNormal
from scratchvae.errors import CheckFailed, UsageError
from scratchvae.estimators import estimate, get
from scratchvae.estimators.frame import scores
from scratchvae.models import mixture, sigmoid_belief
from scratchvae.models.linear_gaussian import LinearGaussian, elbo_diag, elbo_tril, maximum_likelihood
from scratchvae.models.logistic_regression import LogisticRegression, Table, with_ones
from scratchvae.models.mixture import Mixture
from scratchvae.models.pca import Oracle
from scratchvae.models.protocol import Functions
from scratchvae.models.sigmoid_belief import SigmoidBelief
from scratchvae.networks import Dense
from scratchvae.noise import Noise
from scratchvae.tasks import exact
from scratchvae.tasks.bbvi import fit, minibatch
from scratchvae.tree import flat
from scratchvae.types import Array


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- families ---------------------------------------------------------------------------------------


def full(seed: int, rows: int = 1, latents: int = 2) -> FullNormal:
    g = rng(seed)
    return FullNormal(g.standard_normal((rows, latents)), 0.5 * g.standard_normal((rows, latents, latents)))


def test_full_normal_is_the_multivariate_normal() -> None:
    """Against scipy's density; draws have its mean and covariance; a diagonal one is `Normal`."""
    from scipy.stats import multivariate_normal

    q, z = full(0), rng(1).standard_normal((7, 1, 2))
    cov = (q.L @ np.swapaxes(q.L, -2, -1))[0]
    np.testing.assert_allclose(q.log_prob(z)[:, 0], multivariate_normal(q.mu[0], cov).logpdf(z[:, 0]), rtol=1e-12)
    draws = q.sample(rng(2).standard_normal((200_000, 1, 2)))[:, 0]
    assert (np.abs(draws.mean(axis=0) - q.mu[0]) < 4 * np.sqrt(np.diag(cov) / 200_000)).all()
    np.testing.assert_allclose(np.cov(draws.T), cov, atol=0.03)
    log_var = rng(3).standard_normal((1, 2))
    diagonal, plain = FullNormal(q.mu, np.eye(2) * log_var[:, None] / 2), Normal(q.mu, log_var)
    np.testing.assert_allclose(diagonal.log_prob(z), plain.log_prob(z), rtol=1e-12)
    np.testing.assert_allclose(diagonal.kl(), plain.kl(), rtol=1e-12)


def test_full_normal_kl_is_the_mean_log_ratio() -> None:
    """The closed form against its definition."""
    q, n = full(4), 200_000
    z = q.sample(rng(5).standard_normal((n, 1, 2)))
    ratio = q.log_prob(z) - Normal(np.zeros(2), np.zeros(2)).log_prob(z)
    assert abs(ratio.mean() - q.kl()[0]) < 4 * ratio.std() / math.sqrt(n)


def test_categorical_draws_what_it_says() -> None:
    """Frequencies are softmax(logits), log_prob its logarithm, the score has mean zero; u = 0 is safe."""
    q, n = Categorical(np.array([[0.5, -1.0, 2.0]])), 200_000
    z = q.sample(rng(6).random((n, 1, 3)))
    p = np.exp(q.logits[0]) / np.exp(q.logits[0]).sum()
    assert set(z.sum(axis=-1).ravel()) == {1.0}
    assert (np.abs(z.mean(axis=0)[0] - p) < 4 * np.sqrt(p * (1 - p) / n)).all()
    np.testing.assert_allclose(q.log_prob(np.eye(3)[:, None, :])[:, 0], np.log(p), rtol=1e-12)
    h = scores(q, z).logits
    assert (np.abs(h.mean(axis=0)) < 4 * h.std(axis=0) / math.sqrt(n)).all()
    assert Categorical(np.array([[-800.0, 0.0]])).sample(np.zeros((1, 1, 1))).tolist() == [[[0.0, 1.0]]]


@pytest.mark.parametrize("name", ["score", "score_loo", "sgvb_a", "sgvb_b", "stl", "iw", "dreg"])
def test_full_covariance_under_every_estimator(name: str) -> None:
    """A correlated q on probabilistic PCA: the mean of many draws is the exact gradient (or, for S = 2, that of iw)."""
    theta = LinearGaussian(rng(7).standard_normal((2, 3)), np.zeros(3), np.zeros(1))
    q, x, n, S = full(8), np.ones((1, 3)), 100_000, 1 if name not in ("score_loo", "iw", "dreg") else 2
    many = FullNormal(*(np.repeat(f, n, axis=0) for f in q))
    noise = rng(9).standard_normal((S, n, 2))
    got = estimate(get(name), Oracle(), many, np.repeat(x, n, axis=0), noise, theta)[1]
    if name in ("iw", "dreg"):
        other = estimate(get("iw"), Oracle(), many, np.repeat(x, n, axis=0), rng(10).standard_normal((S, n, 2)), theta)[
            1
        ]
        wanted, extra = [f.mean(axis=0) for f in other], [f.std(axis=0) for f in other]
    else:

        def value(mu: Array, raw: Array) -> Any:
            return elbo_tril(x, mu, FullNormal(mu, raw).L, theta)[0]

        wanted = [slope(lambda a: value(a, q.raw), q.mu), slope(lambda a: value(q.mu, a), q.raw)]
        extra = [np.zeros(())] * 2
    for g, w, e in zip(got, wanted, extra, strict=True):
        error = np.sqrt((g.var(axis=0) + e**2) / n) + 1e-9
        assert (np.abs(g.mean(axis=0) - w) < 4.5 * error).all()


def slope(f: Any, at: Array) -> Array:
    """Complex step, element by element."""
    found = np.zeros(at.shape)
    for i in np.ndindex(at.shape):
        moved = at.astype(complex)
        moved[i] += 1e-30j
        found[i] = f(moved).imag / 1e-30
    return found[0]


# --- three worked models ----------------------------------------------------------------------------


def test_logistic_regression_on_breast_cancer() -> None:
    """A correlated q gets a higher bound than independent latents, and both classify; the bound is below the evidence
    that importance sampling from the better q finds."""
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_breast_cancer()
    X, y = with_ones(data.data), data.target.astype(float)
    x, K, model = Table(X[::2], y[::2]), X.shape[1], LogisticRegression()
    options: dict[str, Any] = {"estimator": "stl", "samples": 8, "steps": 400, "rate": 0.05}
    plain = fit(model, x, Normal(np.zeros((1, K)), np.full((1, K), -2.0)), **options)
    rich = fit(model, x, FullNormal(np.zeros((1, K)), -np.eye(K)[None]), **options)
    noise = rng(0).standard_normal((2000, 1, K))
    bound = [float(estimate(get("stl"), model, f.q, x, noise)[0][0]) for f in (plain, rich)]
    evidence = float(estimate(get("iw"), model, rich.q, x, noise)[0][0])
    assert bound[0] + 1 < bound[1] < evidence
    assert evidence - bound[1] < 3
    assert (((X[1::2] @ rich.q.mu[0]) > 0) == y[1::2]).mean() > 0.95


def test_mixture_on_iris() -> None:
    """Discrete latents and θ by the score function: the bound meets log p(x), q the exact posterior, θ a fixed point of
    EM, all within the noise that is left."""
    datasets = pytest.importorskip("sklearn.datasets")
    x = datasets.load_iris().data
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    start = mixture.Theta(np.zeros(3), x[[0, 60, 120]].copy(), np.zeros(3))
    found = fit(Mixture(), x, Categorical(np.zeros((150, 3))), start, samples=10, steps=600, rate=0.1)
    evidence = Mixture().log_marginal(x, found.theta)
    q = found.q.mean
    bound = (q * (Mixture().table(x, found.theta) - np.log(q))).sum(axis=1)
    assert (bound <= evidence + 1e-12).all()
    assert (evidence - bound).mean() < 0.02
    posterior = Mixture().posterior(x, found.theta).mean
    em = (posterior.T @ x) / posterior.sum(axis=0)[:, None]
    np.testing.assert_allclose(found.theta.mu, em, atol=0.05)
    assert start.mu[0, 0] == x[0, 0]  # what was given is left alone


def test_a_linear_vae_reaches_probabilistic_pca() -> None:
    """Lucas et al. 2019: its optimum is the maximum likelihood of probabilistic PCA, with the bound tight. Digits, from
    random weights, within 0.01 nat a row of the closed form, which is scikit-learn's score."""
    datasets, decomposition = pytest.importorskip("sklearn.datasets"), pytest.importorskip("sklearn.decomposition")
    x = datasets.load_digits().data / 16
    x = x - x.mean(axis=0)
    D, K, g = x.shape[1], 5, rng(0)
    theta = LinearGaussian(0.1 * g.standard_normal((K, D)), np.zeros(D), np.zeros(1))
    heads = Dense(0.1 * g.standard_normal((D, K)), np.zeros(K)), Dense(np.zeros((D, K)), np.zeros(K))
    found = fit(Oracle(), x, Net((), heads, "tanh", Family("normal")), theta, estimator="stl", samples=1, rate=0.1)
    q = found.posterior(x)
    elbo, evidence = elbo_diag(x, q.mu, q.log_var, found.theta), found.theta.log_marginal(x)
    best = maximum_likelihood(x, K).log_marginal(x).mean()
    assert (elbo <= evidence + 1e-12).all()
    assert best - 0.01 < elbo.mean() < evidence.mean() < best
    assert best == pytest.approx(decomposition.PCA(K).fit(x).score(x), abs=1e-3)


def tiny_network(seed: int) -> tuple[Array, Net, sigmoid_belief.Theta]:
    """Four units, six pixels."""
    g = rng(seed)
    x = (g.random((40, 6)) < g.random((40, 1))).astype(float)
    decoder = Dense(g.standard_normal((4, 6)), np.zeros(6))
    phi = Net((), (Dense(0.1 * g.standard_normal((6, 4)), np.zeros(4)),), "tanh", Family("bernoulli"))
    return x, phi, sigmoid_belief.Theta(np.zeros(4), decoder)


@pytest.mark.parametrize("name", ["score", "score_loo", "score_rb", "score_mean", "score_input", "score_cv"])
def test_discrete_latents_in_expectation(name: str) -> None:
    """Binary latents, where nothing but the score function goes: mean against the sum over all 16 states."""
    x, _, theta = tiny_network(1)
    model, n, S = SigmoidBelief(), 30_000, 2
    q = Bernoulli(np.array([[0.4, -0.3, 0.8, -1.0]]))
    joint = lambda x, z: model.log_joint(x, z, theta)  # noqa: E731
    wanted = exact.elbo_vjp(np.ones(1), joint, x[:1], q, exact.bits(4, 1)).logits[0]
    many, e = Bernoulli(np.repeat(q.logits, n, axis=0)), get(name)
    state = e.state(6, lambda *s: rng(2).standard_normal(s))
    for seed in (3, 4):
        u = rng(seed).random((S, n, 4))
        L, dq = estimate(e, model, many, np.repeat(x[:1], n, axis=0), u, theta, state=state)
    assert (np.abs(dq.logits.mean(axis=0) - wanted) < 4 * dq.logits.std(axis=0) / math.sqrt(n)).all()
    elbo = exact.elbo(joint, x[:1], q, exact.bits(4, 1))[0]
    assert abs(L.mean() - elbo) < 4 * L.std() / math.sqrt(n)


def test_sigmoid_belief_network_learns_under_enumeration() -> None:
    """NVIL in small: the exact bound and log p(x), by the sum over states, rise together; minibatches, amortised."""
    x, phi, theta = tiny_network(2)
    model, points = SigmoidBelief(), exact.bits(4, len(x))

    def exactly(phi: Net, theta: sigmoid_belief.Theta) -> tuple[float, float]:
        joint = lambda x, z: model.log_joint(x, z, theta)  # noqa: E731
        q = Bernoulli(x @ phi.heads[0].W + phi.heads[0].b)
        evidence = exact.posterior(joint, x, points).log_marginal
        return float(exact.elbo(joint, x, q, points).mean()), float(evidence.mean())

    found = fit(model, x, phi, theta, estimator="nvil", samples=1, steps=600, rate=0.05, batch=20)
    before, after = exactly(phi, theta), exactly(found.phi, found.theta)
    assert after[0] > before[0] + 1
    assert after[1] > before[1]
    assert after[1] - 0.3 < after[0] < after[1]
    assert abs(found.history[-100:].mean() - after[0]) < 0.1
    assert found.posterior(x)[0].shape == (40, 4)


def test_equal_seeds_give_equal_fits() -> None:
    """The noise is named by the step: nothing is remembered elsewhere."""
    x, phi, theta = tiny_network(3)
    a, b, c = (
        fit(SigmoidBelief(), x, phi, theta, estimator="score_input", samples=2, steps=20, batch=7, seed=s)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(flat((a.phi, a.theta)), flat((b.phi, b.theta)))
    assert not np.array_equal(a.history, c.history)


@pytest.mark.parametrize("name", ["nvil", "score_input"])
def test_a_baseline_reads_rows_of_any_type(name: str) -> None:
    """Bits as bytes once gave the baseline's weights the type of bytes; what is no array of rows has no columns."""
    x, phi, theta = tiny_network(3)
    a, b = (fit(SigmoidBelief(), kind, phi, theta, estimator=name, samples=2, steps=5) for kind in (x, x.astype("u1")))
    np.testing.assert_allclose(flat((a.phi, a.theta)), flat((b.phi, b.theta)), rtol=1e-12)
    q = Normal(np.zeros((1, 2)), np.zeros((1, 2)))
    with pytest.raises(UsageError, match=r"reads x: give it as an array .B, D., not Table"):
        fit(LogisticRegression(), Table(np.ones((5, 2)), np.ones(5)), q, estimator=name, samples=2, steps=2)


def test_what_a_report_is_given_stays_as_it_was() -> None:
    """Catches a Fit whose arrays train on: the best that a user kept was the last."""
    kept: list[Any] = []
    x, phi, theta = tiny_network(3)
    options: dict[str, Any] = {"estimator": "score_input", "samples": 2, "batch": 7}
    found = fit(SigmoidBelief(), x, phi, theta, steps=3, report=lambda step, bound, f: kept.append(f), **options)
    seen = [flat((f.phi, f.theta, f.state)) for f in kept]
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])
    np.testing.assert_array_equal(seen[2], flat((found.phi, found.theta, found.state)))
    np.testing.assert_array_equal(kept[1].history, found.history[:2])


# --- refusals ---------------------------------------------------------------------------------------


def quadratic(x: None, z: Array, theta: None) -> Array:
    return np.asarray(-0.5 * ((z - 1) ** 2).sum(axis=-1))


def right(w: Array, x: None, z: Array, theta: None, dtheta: None) -> Array:
    return np.asarray(-w[..., None] * (z - 1))


Q = Normal(np.zeros((2, 3)), np.zeros((2, 3)))


def test_a_wrong_vjp_is_found_before_the_first_step() -> None:
    """One line, with the element that differs and both numbers."""

    def wrong(w: Array, x: None, z: Array, theta: None, dtheta: None) -> Array:
        dz = right(w, x, z, theta, dtheta)
        dz[0, 1, 2] *= 1.5
        return dz

    calls: list[int] = []
    with pytest.raises(CheckFailed, match=r"log_joint_vjp disagrees with log_joint: z at \[0, 1, 2\] is ") as error:
        fit(Functions(quadratic, wrong), None, Q, estimator="stl", report=lambda *a: calls.append(1))
    assert "\n" not in str(error.value)
    assert calls == []
    assert (
        fit(Functions(quadratic, right), None, Q, estimator="stl", steps=300).q.mu.round(1).tolist() == [[1.0] * 3] * 2
    )


def test_a_wrong_slope_in_theta_is_found() -> None:
    """The parameters' vjp is checked too."""

    class Wrong(Mixture):
        def log_joint_vjp(self, w: Array, x: Array, z: Array, theta: Any, dtheta: Any) -> None:
            super().log_joint_vjp(w, x, z, theta, dtheta)
            dtheta.mu[1] += 1

    theta = mixture.Theta(np.zeros(2), np.array([[0.0], [1.0]]), np.zeros(2))
    with pytest.raises(CheckFailed, match=r"log_joint_vjp disagrees with log_joint: theta\.mu at \[1, 0\]"):
        fit(Wrong(), np.ones((3, 1)), Categorical(np.zeros((3, 2))), theta)


@pytest.mark.parametrize(
    ("model", "q", "options", "words"),
    [
        (Functions(quadratic), Q, {"estimator": "stl"}, "give the model log_joint_vjp"),
        (Functions(quadratic, right), Bernoulli(Q.mu), {"estimator": "stl"}, "a Bernoulli sample is discrete"),
        (
            Functions(lambda x, z, t: quadratic(x, z, t)[0]),
            Q,
            {},
            "log_joint returned shape (2,) for z of shape (10, 2, 3)",
        ),
        (Functions(lambda x, z, t: quadratic(x, z, t) * np.nan), Q, {}, "log_joint is nan at sample 0 of row 0"),
        (Functions(quadratic), Q, {"batch": 1}, "batch goes with an amortised q"),
        (Functions(quadratic), Q, {"estimator": "sgvb"}, "estimator 'sgvb' is unknown"),
        (Functions(quadratic), FullNormal(Q.mu, np.zeros((2, 3, 3))), {"estimator": "measure"}, "not FullNormal"),
        (Functions(quadratic), Categorical(Q.mu), {"estimator": "score_rb"}, "give the model log_factors"),
    ],
)
def test_refusals(model: Functions, q: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        fit(model, None, q, **options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_every_row_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    """Also where the last minibatch is smaller: 3 of 7 rows, 3, and 1."""
    first, second, again = (
        np.concatenate([minibatch(Noise(seed), step, 7, 3) for step in range(3 * epoch, 3 * epoch + 3)])
        for seed, epoch in ((0, 0), (0, 1), (0, 0))
    )
    assert sorted(first) == sorted(second) == list(range(7))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    assert [len(minibatch(Noise(0), step, 7, 3)) for step in range(4)] == [3, 3, 1, 3]


# Conjugate pairs, whose posterior is of q's family:
#   λ ~ Gamma(2, 1), x ~ Poisson(λ):            λ | x ~ Gamma(2 + Σx, 1 + n)
#   p ~ Beta(1, 2), x ~ Bernoulli(p):           p | x ~ Beta(1 + Σx, 2 + n − Σx)
CONJUGATE: dict[str, tuple[Any, Any, list[float], list[float]]] = {
    "gamma": (Gamma(np.log([2.0]), np.zeros(1)), lambda z, x: x * np.log(z) - z, [3, 5, 2, 4], [16, 5]),
    "beta": (
        Beta(np.zeros(1), np.log([2.0])),
        lambda z, x: x * np.log(z) + (1 - x) * np.log1p(-z),
        [1, 0, 1, 1],
        [4, 3],
    ),
}


@pytest.mark.parametrize("name", CONJUGATE)
def test_at_a_conjugate_posterior_the_bound_is_tight(name: str) -> None:
    """At q = p(z | x) every draw's r is log p(x), and sticking the landing moves nothing: catches noise of the wrong
    kind, a density and a sampler of two laws, and a lost prior. From near by, the fit goes there."""
    prior, log_likelihood, data, right = CONJUGATE[name]
    x, posterior = np.array([data]), type(prior)(*(np.log([[v]]) for v in right))

    def log_joint(x: Array, z: Array, theta: Any) -> Array:
        return np.asarray(prior.log_prob(z) + log_likelihood(z, x).sum(axis=-1))

    def log_joint_vjp(w: Array, x: Array, z: Array, theta: Any, dtheta: Any) -> Array:
        slope = x.sum() / z - len(data) if name == "gamma" else x.sum() / z - (len(data) - x.sum()) / (1 - z)
        return np.asarray(prior.log_prob_vjp(w, z)[0] + w[..., None] * slope)

    model = Functions(log_joint, log_joint_vjp)
    bounds, slopes = [], []
    for u in (0.01, 0.5, 0.99):
        L, dq = estimate(get("stl"), model, posterior, x, np.full((1, 1, 1), u))
        bounds.append(L[0])
        slopes.append(flat(dq))
    np.testing.assert_allclose(bounds, bounds[0], rtol=1e-12)
    np.testing.assert_allclose(slopes, 0, atol=1e-11)
    found = fit(
        model,
        x,
        type(prior)(*(h - 0.3 * i for i, h in enumerate(posterior))),
        estimator="stl",
        samples=5,
        steps=60,
        rate=0.05,
    )
    np.testing.assert_allclose(found.history[-10:].mean(), bounds[0], atol=0.02)
    np.testing.assert_allclose(found.q.mean, posterior.mean, rtol=0.05)
