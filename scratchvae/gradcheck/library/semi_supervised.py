"""§7.1 Few labels: the bound of a conditional VAE, the classifier, and the exact sum over classes."""

from collections.abc import Iterator

import numpy as np

from ...conditional import Net
from ...models.semi_supervised import (
    Recognition,
    SemiSupervised,
    classify,
    classify_vjp,
    elbo,
    elbo_vjp,
    every,
    marginal,
    marginal_vjp,
)
from ...models.vae import LIKELIHOODS
from ...types import Array
from .. import accumulating
from . import Case, at

ROWS, CLASSES, LATENT = 3, 4, 2
DATA = ("x", "eps", "phi.z.family", "theta.family")


def parameters(a: SemiSupervised) -> tuple[Recognition, Net]:
    """(phi, theta) of fixed numbers."""
    shapes = a.shapes().items()
    return a.nets({name: at(700 + i, *s) / (s[0] ** 0.5 if len(s) == 2 else 10) for i, (name, s) in enumerate(shapes)})


def labelled(x: Array, y: Array, eps: Array, phi: Recognition, theta: Net) -> Array:
    """−L(x, y)."""
    return elbo(x, y, eps, phi, theta)[0]


def labelled_vjp(
    w: Array, x: Array, y: Array, eps: Array, phi: Recognition, theta: Net, dphi: Recognition, dtheta: Net
) -> None:
    """Adds into dphi.z and dtheta."""
    elbo_vjp(w, elbo(x, y, eps, phi, theta)[1], x, y, eps, phi, theta, dphi, dtheta)


def unlabelled(x: Array, eps: Array, phi: Recognition, theta: Net) -> Array:
    """−U(x)."""
    return marginal(x, eps, phi, theta)[0]


def unlabelled_vjp(
    w: Array, x: Array, eps: Array, phi: Recognition, theta: Net, dphi: Recognition, dtheta: Net
) -> None:
    """Adds into dphi and dtheta."""
    marginal_vjp(w, marginal(x, eps, phi, theta)[1], x, eps, phi, theta, dphi, dtheta)


def log_q(x: Array, phi: Recognition) -> Array:
    """log q(y | x)."""
    return classify(x, phi)[0]


def log_q_vjp(w: Array, x: Array, phi: Recognition, dphi: Recognition) -> None:
    """Adds into dphi.y."""
    classify_vjp(w, *classify(x, phi), phi, dphi)


def cases() -> Iterator[Case]:
    """Of the model with every decoder, one and two hidden layers."""
    y, all_classes = np.array([2, 0, 2]), every(CLASSES)
    for likelihood, hidden in [*((name, (3,)) for name in LIKELIHOODS), ("bernoulli", (4, 3))]:
        a = SemiSupervised(5, CLASSES, LATENT, hidden, "tanh", likelihood, 0.1)
        x, (phi, theta) = np.abs(at(61, ROWS, a.columns)) - 0.5, parameters(a)
        name = f"[{likelihood}, {len(hidden)} hidden]"
        eps = at(62, CLASSES, ROWS, LATENT)
        one, both = accumulating(labelled_vjp, into=(3, 4)), accumulating(unlabelled_vjp, into=(2, 3))
        yield Case(f"semi_supervised.elbo{name}", labelled, one, (x, y, eps[0], phi, theta), constants=("y", *DATA))
        args = (x, all_classes, eps, phi, theta)
        yield Case(f"semi_supervised.elbo{name[:-1]}, every class]", labelled, one, args, constants=("y", *DATA))
        yield Case(f"semi_supervised.marginal{name}", unlabelled, both, (x, eps, phi, theta), constants=DATA)
        classifier = accumulating(log_q_vjp, into=(1,))
        yield Case(f"semi_supervised.classify{name}", log_q, classifier, (x, phi), constants=("x", "phi.z.family"))
