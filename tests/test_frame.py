"""§7.2.2-7.2.4 The frame that the rules hang in: what a rule is shown, and one clear line for what is missing."""

from typing import Any

import numpy as np
import pytest

from scratchvae.conditional import Family, Net
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.distributions.gaussians import FullNormal
from scratchvae.errors import UsageError
from scratchvae.estimators import Estimator, estimate, get, gradient
from scratchvae.estimators.frame import Draw
from scratchvae.gradcheck.library import at
from scratchvae.gradcheck.library.estimators import point
from scratchvae.models.protocol import Functions
from scratchvae.networks import Dense
from scratchvae.types import Array

B, K = 2, 2


def log_joint(x: Any, z: Array, theta: Any) -> Array:
    return np.asarray(-0.5 * (z * z).sum(axis=-1))


GAUSSIAN = Normal(np.zeros((B, K)), np.zeros((B, K)))
FULL = FullNormal(np.zeros((B, K)), np.zeros((B, K, K)))


class Likelihood:
    """log p(x | z) of a wrong shape, and no slope."""

    def log_likelihood(self, x: Any, z: Array, theta: Any) -> Array:
        return np.asarray(z.sum(axis=-1))


class Shapeless(Likelihood):
    def log_likelihood(self, x: Any, z: Array, theta: Any) -> Array:
        return np.asarray(z[..., 0, 0])


class Factors:
    """Factors that nobody knows the blankets of."""

    log_joint = staticmethod(log_joint)

    def log_factors(self, x: Any, z: Array, theta: Any) -> Array:
        return z


def half(x: Any, z: Array, theta: Any) -> Any:
    """No array."""
    return 0.5


SLOPED = Functions(log_joint, lambda w, x, z, theta, dtheta: -w[..., None] * z)


@pytest.mark.parametrize(("name", "model", "q", "words"), [
    ("sgvb_a", Functions(log_joint), GAUSSIAN, "'sgvb_a' needs d log p(x, z)/dz: give the model log_joint_vjp, or use"),
    ("sgvb_b", Functions(log_joint), GAUSSIAN,
     "'sgvb_b' needs log p(x | z) apart from the prior, for its analytic KL: give the model log_likelihood"),
    ("sgvb_b", Likelihood(), GAUSSIAN, "'sgvb_b' needs d log p/dz: give the model log_likelihood_vjp"),
    ("score_kl", Shapeless(), GAUSSIAN, "log_likelihood returned shape (2,) for z of shape (2, 2, 2)"),
    ("score_rb", Functions(log_joint), GAUSSIAN, "needs log p(x, z) factor by factor: give the model log_factors"),
    ("score_rb", Factors(), GAUSSIAN, "'score_rb' needs to know which factors hold z_k: give the model blankets"),
    ("score_mean", SLOPED, GAUSSIAN, "'score_mean' remembers its baseline: pass state=estimator.state"),
    ("vr:0.5", SLOPED, Bernoulli(GAUSSIAN.mu), "'vr:0.5' differentiates through z, but a Bernoulli sample is discrete"),
    ("score", Functions(lambda x, z, t: z[..., 0, 0]), GAUSSIAN, "log_joint returned shape (2,) for z of shape (2,"),
    ("score", Functions(half), GAUSSIAN, "log_joint returned float for z"),
    ("score", Functions(lambda x, z, t: log_joint(x, z, t) / [[1, 1], [0.0, 1]]), GAUSSIAN, "at sample 1 of row 0"),
])  # fmt: skip
def test_refusals(name: str, model: Any, q: Any, words: str) -> None:
    with pytest.raises(UsageError) as error, np.errstate(divide="ignore"):
        estimate(get(name), model, q, None, np.full((2, B, K), 0.5))
    assert words in str(error.value)


def test_what_a_rule_sees() -> None:
    """Its own state, or an empty one; it learns after its gradient was taken, where there is a state, and only then."""
    seen: list[Any] = []
    learned: list[Any] = []

    def rule(d: Draw) -> Any:
        seen.append(d)
        return get("score").rule(d)

    probe, noise = Estimator("probe", rule, update=learned.append), at(30, 1, B, K)
    estimate(probe, SLOPED, GAUSSIAN, None, noise)
    assert seen[0].state == {}
    assert learned == []
    state = {"steps": np.zeros(1)}
    estimate(probe, SLOPED, GAUSSIAN, None, noise, state=state)
    assert seen[1].state is state
    assert learned[0] is seen[1]
    estimate(Estimator("probe", rule), SLOPED, GAUSSIAN, None, noise, state=state)
    p = point(get("sgvb_b"), "bernoulli", 1)
    heads = (Dense(np.zeros((3, K)), np.zeros(K)),) * 2
    encoder = Net((), heads, "tanh", Family("normal"))
    with pytest.raises(UsageError, match="remembers its baseline"):
        gradient(get("score_mean"), p.model, p.x, p.noise, encoder, p.theta, encoder, None)


def test_theta_is_learned_only_where_it_is_asked_for() -> None:
    """The score function alone needs no vjp; with dtheta it does."""
    _, dq = estimate(get("score"), Functions(log_joint), FULL, None, at(30, 1, B, K))
    assert np.isfinite(dq.raw).all()
    with pytest.raises(UsageError, match=r"needs d log p/dtheta: give the model log_joint_vjp, or pass dtheta=None"):
        estimate(get("score"), Functions(log_joint), GAUSSIAN, None, at(30, 1, B, K), None, dtheta=())
