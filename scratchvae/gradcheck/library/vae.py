"""§7.3 Whole bounds: every decoder, one and two hidden layers, every activation; and 784-500-20 at full size."""

from collections.abc import Iterator
from itertools import count

import numpy as np

from ...conditional import Net
from ...models.vae import LIKELIHOODS, Architecture, Cache, elbo, elbo_vjp
from ...networks import ACTIVATIONS, affine
from ...types import Array
from .. import accumulating
from . import Case, at

ROWS = 3
DATA = ("x", "eps", "phi.family", "theta.family")
KINKED = ("relu", "leaky_relu", "elu")
CLEAR = 0.05  # every unit's input is this far from 0; a step of central differences moves it by some 0.01


def bound(x: Array, eps: Array, phi: Net, theta: Net) -> Array:
    """L (B,) of x, the noise, and both nets."""
    return elbo(x, eps, phi, theta)[0]


def bound_vjp(w: Array, x: Array, eps: Array, phi: Net, theta: Net, dphi: Net, dtheta: Net) -> None:
    """Adds into dphi and dtheta; x and eps are constants of the bound."""
    elbo_vjp(w, elbo(x, eps, phi, theta)[1], x, eps, phi, theta, dphi, dtheta)


def parameters(a: Architecture, seed: int) -> tuple[Net, Net]:
    """(phi, theta) of fixed numbers, weights ±[0.5, 1.5) / sqrt(fan-in), biases a tenth of that."""
    shapes = a.shapes().items()
    views = {name: at(seed + i, *s) / (s[0] ** 0.5 if len(s) == 2 else 10) for i, (name, s) in enumerate(shapes)}
    return a.nets(views)


def clearance(cache: Cache, phi: Net, theta: Net) -> float:
    """The distance to 0 of the input nearest to it, over all hidden units and rows."""
    nets = ((cache.q_layers, phi), (cache.p_layers, theta))
    inputs = [affine(h, layer) for hs, p in nets for h, layer in zip(hs, p.hidden, strict=False)]
    return min(float(np.min(np.abs(a))) for a in inputs)


def whole(a: Architecture, samples: int = 0) -> Case:
    """The bound of a small VAE; where the activation has a kink, at the first parameters that keep clear of it."""
    x = np.abs(at(61, ROWS, a.columns)) - 0.5
    eps = at(62, *((samples,) if samples else ()), ROWS, a.latent)
    for seed in count(100, 100):
        phi, theta = parameters(a, seed)
        if a.activation not in KINKED or clearance(elbo(x, eps, phi, theta)[1], phi, theta) > CLEAR:
            break
    label = f"vae.elbo[{a.likelihood}, {len(a.hidden)} hidden, {a.activation}{f', {samples} samples' * bool(samples)}]"
    return Case(label, bound, accumulating(bound_vjp, into=(2, 3)), (x, eps, phi, theta), constants=DATA)


def with_missing(likelihood: str) -> Case:
    """The bound over observed entries, of rows with some missing; the mask is data too."""
    a = Architecture(4, 2, (3,), "tanh", likelihood, 0.1)
    m = (at(63, ROWS, a.columns) > 0) * 1.0
    x, eps = m * (np.abs(at(61, ROWS, a.columns)) - 0.5), at(62, 2, ROWS, a.latent)
    phi, theta = parameters(a, 100)

    def vjp(w: Array, x: Array, m: Array, eps: Array, phi: Net, theta: Net, dphi: Net, dtheta: Net) -> None:
        elbo_vjp(w, elbo(x, eps, phi, theta, m=m)[1], x, eps, phi, theta, dphi, dtheta, m=m)

    f = lambda x, m, eps, phi, theta: elbo(x, eps, phi, theta, m=m)[0]  # noqa: E731
    name, args = f"vae.elbo[{likelihood}, missing]", (x, m, eps, phi, theta)
    return Case(name, f, accumulating(vjp, into=(3, 4)), args, constants=("m", *DATA))


def full() -> Case:
    """784-500-20 with tanh and Bernoulli pixels, 100 rows: one direction through each of its arrays."""
    a = Architecture(784)
    x, eps = (at(63, 100, 784) > 0) * 1.0, at(64, 100, a.latent)
    phi, theta = parameters(a, 100)
    pair, args = (bound, accumulating(bound_vjp, into=(2, 3))), (x, eps, phi, theta)
    return Case("vae.elbo[784-500-20]", *pair, args, {"methods": ("direction",)}, constants=DATA)


def cases() -> Iterator[Case]:
    """Small bounds element by element, several samples a row, linear nets, and the full one."""
    for likelihood in LIKELIHOODS:
        for hidden in ((3,), (3, 2)):
            for activation in ACTIVATIONS:
                yield whole(Architecture(4, 2, hidden, activation, likelihood, variance=0.3))
        yield whole(Architecture(4, 2, (3,), "tanh", likelihood, variance=0.3), samples=2)
        yield whole(Architecture(4, 2, (), "tanh", likelihood, variance=0.3))
        yield with_missing(likelihood)
    yield full()
