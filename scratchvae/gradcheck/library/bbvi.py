"""§7.2.1, §7.2.5 The worked models of black-box inference, and the families beyond independent latents."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...distributions.discrete import Categorical
from ...kernels import NUMPY
from ...models import mixture, sigmoid_belief
from ...models.logistic_regression import LogisticRegression, Table
from ...models.mixture import Mixture
from ...models.sigmoid_belief import SigmoidBelief
from ...networks import Dense
from ...types import Array
from .. import accumulating
from . import Case, at


def categorical() -> Case:
    """The logits; z is discrete."""
    z, q = one_hot(404, 4, 2, 3), Categorical(at(405, 2, 3))
    return Case("families.Categorical.log_prob", lambda q: q.log_prob(z), lambda w, q: q.log_prob_vjp(w, z)[1], (q,))


def one_hot(seed: int, *shape: int) -> Array:
    """Fixed one-hot rows."""
    return np.eye(shape[-1])[np.argmax(at(seed, *shape), axis=-1)]


def by_theta(name: str, model: Any, x: Any, z: Array, theta: Any) -> Case:
    """log p(x, z) by its parameters; z is discrete."""

    def f_vjp(w: Array, theta: Any, dtheta: Any) -> None:
        model.log_joint_vjp(w, x, z, theta, dtheta)

    return Case(
        f"{name}.log_joint", lambda theta: model.log_joint(x, z, theta), accumulating(f_vjp, into=(0,)), (theta,)
    )


def logistic() -> Iterator[Case]:
    """By the weights, which are the latent."""
    x, z, m = Table(at(406, 5, 3), (at(407, 5) > 0) * 1.0), at(408, 2, 1, 3), LogisticRegression()
    title = "logistic_regression"
    yield Case(f"{title}.log_joint", lambda z: m.log_joint(x, z), lambda w, z: m.log_joint_vjp(w, x, z), (z,))
    yield Case(
        f"{title}.log_likelihood", lambda z: m.log_likelihood(x, z), lambda w, z: m.log_likelihood_vjp(w, x, z), (z,)
    )


def cases() -> Iterator[Case]:
    """Families and models."""
    yield categorical()
    yield from logistic()
    gaussians = mixture.Theta(at(409, 3), at(410, 3, 2), at(411, 3))
    yield by_theta("mixture", Mixture(), at(412, 4, 2), one_hot(413, 2, 4, 3), gaussians)
    bits, z = (at(414, 4, 5) > 0) * 1.0, (at(415, 2, 4, 3) > 0) * 1.0
    network = sigmoid_belief.Theta(at(416, 3), Dense(at(417, 3, 5), at(418, 5)))
    yield by_theta("sigmoid_belief", SigmoidBelief(NUMPY), bits, z, network)
