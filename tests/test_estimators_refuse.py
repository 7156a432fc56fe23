"""§7.2.2-7.2.4 What each estimator refuses, in one clear line, and the names they go by."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from scratchvae.distributions import Bernoulli, Normal
from scratchvae.distributions.discrete import Categorical
from scratchvae.distributions.gaussians import FullNormal
from scratchvae.errors import UsageError
from scratchvae.estimators import ESTIMATORS, estimate, get
from scratchvae.models.protocol import Functions
from scratchvae.types import Array


def normals(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def log_joint(x: Array, z: Array, theta: None) -> Array:
    return np.asarray(-0.5 * (z * z).sum(axis=-1))


class Factors(NamedTuple):
    """As many factors as latents, each of one latent: for Rao-Blackwellisation."""

    def log_joint(self, x: Array, z: Array, theta: None) -> Array:
        return np.asarray(-z.sum(axis=-1))

    def log_factors(self, x: Array, z: Array, theta: None) -> Array:
        return -z

    def blankets(self, latents: int) -> Array:
        return np.eye(latents, dtype=bool)


Q = Normal(np.zeros((2, 1)), np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("name", "model", "q", "S", "words"),
    [
        ("sgvb_a", Functions(log_joint), Q, 1, "needs d log p(x, z)/dz: give the model log_joint_vjp, or use"),
        ("sgvb_b", Functions(log_joint), Q, 1, "give the model log_likelihood, or use estimator='score'"),
        ("score_rb", Functions(log_joint), Q, 1, "give the model log_factors"),
        (
            "sgvb_a",
            Functions(log_joint, log_joint),
            Bernoulli(Q.mu),
            1,
            "a Bernoulli sample is discrete: use estimator=",
        ),
        ("measure", Functions(log_joint), Bernoulli(np.zeros((2, 3))), 1, "diagonal Gaussian q, not Bernoulli"),
        ("score_rb", Factors(), Categorical(np.zeros((2, 3))), 1, "independent latents; those of Categorical are not"),
        ("score_loo", Functions(log_joint), Q, 1, "at least 2 samples a row, noise has 1"),
        ("score_mean", Functions(log_joint), Q, 1, "pass state=estimator.state"),
        ("score", Functions(lambda x, z, t: log_joint(x, z, t).sum()), Q, 1, "log_joint returned float64"),
        ("score", Functions(lambda x, z, t: z), Q, 2, "log_joint returned shape (2, 2, 1)"),
        ("score", Functions(lambda x, z, t: log_joint(x, z, t) * [1, np.nan]), Q, 1, "nan at sample 0 of row 1"),
    ],
)
def test_refusals_are_one_clear_line(name: str, model: Functions, q: Normal, S: int, words: str) -> None:
    noise = np.full((S, 2, q[0].shape[1] * get(name).noise), 0.5)
    with pytest.raises(UsageError) as error:
        estimate(get(name), model, q, None, noise)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_vjp_matters_only_where_it_is_used() -> None:
    """The score function needs log_joint alone, but learning θ needs its vjp."""
    _, dq = estimate(get("score"), Functions(log_joint), Q, None, normals(1, 2, 1))
    assert np.isfinite(dq.mu).all()
    with pytest.raises(UsageError, match="dtheta: give the model log_joint_vjp, or pass dtheta=None"):
        estimate(get("score"), Functions(log_joint), Q, None, normals(1, 2, 1), None, dtheta=())
    with pytest.raises(UsageError, match=r"noise has shape \(2, 1\); expected \(S, B, columns\)"):
        estimate(get("score"), Functions(log_joint), Q, None, normals(2, 1))


def test_names() -> None:
    """Every estimator is found by its name, and a wrong name lists them."""
    assert all(get(name).name == name for name in [*ESTIMATORS, "vr:0.5", "score_constant:-3"])
    for wrong in ("sgvb", "vr", "vr:x", "iw:2"):
        with pytest.raises(UsageError, match=f"estimator '{wrong}' is unknown: give one of score, "):
            get(wrong)
    assert replace(get("score"), analytic_kl=True).rule is get("score_kl").rule


@pytest.mark.parametrize("name", ["vr:nan", "vr:inf", "score_constant:-inf", "vr:", "vr"])
def test_a_number_that_is_none_is_refused(name: str) -> None:
    """Catches vr:nan, whose every gradient is NaN."""
    with pytest.raises(UsageError, match="is unknown: give one of"):
        get(name)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_coefficient_for_each_entry_of_a_matrix(rows: int) -> None:
    """Catches weights of rows that are laid along the columns of L (refused, or silently wrong where B = K), and 0/0
    above the diagonal, where nothing is learned."""
    q = FullNormal(normals(rows, 2, seed=3), normals(rows, 2, 2, seed=4))
    noise, w, model = normals(4, rows, 2, seed=5), normals(rows, seed=6), Functions(log_joint)
    _, dq = estimate(get("score_cv"), model, q, None, noise, w=w)
    for b in range(rows):
        one = FullNormal(*(f[b : b + 1] for f in q))
        _, alone = estimate(get("score_cv"), model, one, None, noise[:, b : b + 1], w=w[b : b + 1])
        np.testing.assert_allclose(dq.raw[b], alone.raw[0], rtol=1e-10)
        np.testing.assert_allclose(dq.mu[b], alone.mu[0], rtol=1e-10)
    assert (dq.raw[:, 0, 1] == 0).all()
