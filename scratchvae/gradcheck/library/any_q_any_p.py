"""§7.2.5 Whole bounds with any q, any p and learned priors: heads, samples, densities, and both uses of one net."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...conditional import Net
from ...distributions.kinds import GAUSSIAN, posterior
from ...distributions.latent import POSTERIORS
from ...estimators import amortised, get
from ...models.decoded import Decoded, Generative
from ...models.prior import vamp, vamp_vjp
from ...models.vae import Architecture, elbo, elbo_vjp, encode
from ...tree import zeros_like
from ...types import Array
from .. import accumulating
from . import Case, at
from .latents import QUANTILES, SCIPYS
from .vae import DATA, ROWS, bound, bound_vjp, parameters

VALUES: dict[str, Any] = {  # what a decoder can have made, (ROWS, 4)
    "poisson": [0, 1, 5], "negative-binomial": [0, 2, 9], "zero-inflated": [0, 3, 0], "binomial:6": [0, 6, 2],
    "categorical:3": [0, 2, 1], "ordinal:4": [3, 0, 1], "discretised-logistic:7": [0, 6, 3],
    "logistic-mixture:7:2": [6, 0, 2], "multinomial": [1, 0, 4], "gamma": [0.3, 2, 5], "log-normal": [0.2, 1, 4],
    "exponential": [0.1, 1, 3], "beta": [0.1, 0.9, 0.5], "zero-one-inflated-beta": [0, 1, 0.3],
    "continuous-bernoulli": [0, 0.7, 1], "student-t": [-2, 0.3, 8], "von-mises": [-3, 0.2, 2],
}  # fmt: skip
MIXED = "0=gaussian,1=categorical:3,2=negative-binomial,3=categorical:2"


def noise_of(family: Any, S: int, K: int) -> Array:
    """Normals, or uniforms, (S, ROWS, K)."""
    eps = at(62, S, ROWS, K)
    return eps if family.noise == "normals" else 1 / (1 + np.exp(-eps))


def by_posterior(name: str) -> Case:
    """The bound, KL in closed form where there is one, else sampled."""
    q = posterior(name)
    a = Architecture(3, 2, (3,), "tanh", "bernoulli", posterior=name)
    phi, theta = parameters(a, 100)
    x, eps = (at(61, ROWS, 3) > 0) * 1.0, noise_of(q.family, 2, 2)
    title, real = f"vae.elbo[q {name}]", QUANTILES if name in SCIPYS else ""
    if hasattr(q.family, "kl"):
        return Case(title, bound, accumulating(bound_vjp, into=(2, 3)), (x, eps, phi, theta), {}, real, DATA)
    model = Decoded(kind=q.prior)

    def f(x: Array, eps: Array, phi: Net, theta: Net) -> Array:
        found = encode(x, phi)[0]
        z = found.sample(eps)
        return np.asarray((model.log_joint(x, z, theta) - found.log_prob(z)).mean(axis=0))

    def f_vjp(w: Array, x: Array, eps: Array, phi: Net, theta: Net, dphi: Net, dtheta: Net) -> None:
        amortised.gradient(get("sgvb_a"), model, x, eps, phi, theta, dphi, dtheta, w)

    return Case(title, f, accumulating(f_vjp, into=(2, 3)), (x, eps, phi, theta), {}, real, DATA)


def by_likelihood(name: str, values: Any) -> Case:
    """The bound under a decoder for real data; data enter the encoder as their kind says."""
    a = Architecture(4, 2, (3,), "tanh", name, 0.3)
    phi, theta = parameters(a, 200)
    x = np.array([np.roll(values, i) for i in range(4)], float).T
    eps = at(62, 2, ROWS, 2)
    return Case(
        f"vae.elbo[p {name}]", bound, accumulating(bound_vjp, into=(2, 3)), (x, eps, phi, theta), constants=DATA
    )


def mixed_with_gaps() -> Case:
    """Mixed columns, some missing."""
    a = Architecture(4, 2, (3,), "tanh", MIXED, 0.3)
    phi, theta = parameters(a, 300)
    x = np.array([[0.4, 2, 5, 0], [-1.1, 0, 0, 1], [0.2, 1, 2, 1]])
    m = np.array([[1, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]], float)
    eps = at(62, 2, ROWS, 2)

    def f(x: Array, m: Array, eps: Array, phi: Net, theta: Net) -> Array:
        return elbo(x, eps, phi, theta, m=m)[0]

    def f_vjp(w: Array, x: Array, m: Array, eps: Array, phi: Net, theta: Net, dphi: Net, dtheta: Net) -> None:
        elbo_vjp(w, elbo(x, eps, phi, theta, m=m)[1], x, eps, phi, theta, dphi, dtheta, m=m)

    pair, args = (f, accumulating(f_vjp, into=(3, 4))), (x * m, m, eps, phi, theta)
    return Case("vae.elbo[p of mixed columns, missing]", *pair, args, constants=("m", *DATA))


def with_vamp() -> Case:
    """φ is used twice, by the rows and by the pseudo-inputs; both cotangents add."""
    a = Architecture(3, 2, (3,), "tanh", "bernoulli", prior="vamp:4")
    phi, theta = parameters(a, 400)
    x, eps, u, model, e = (at(61, ROWS, 3) > 0) * 1.0, at(62, 2, ROWS, 2), at(63, 4, 3), Decoded(), get("sgvb_a")

    def f(x: Array, eps: Array, phi: Net, theta: Net, u: Array) -> Array:
        q, whole = encode(x, phi)[0], Generative(theta, vamp(u, phi)[0])
        z = q.sample(eps)
        return np.asarray((model.log_joint(x, z, whole) - q.log_prob(z)).mean(axis=0))

    def f_vjp(w: Array, x: Array, eps: Array, phi: Net, theta: Net, u: Array, *into: Any) -> None:
        (dphi, dtheta, du), (prior, cache) = into, vamp(u, phi)
        dprior = zeros_like(prior)
        whole, dwhole = Generative(theta, prior), Generative(dtheta, dprior)
        amortised.gradient(e, model, x, eps, phi, whole, dphi, dwhole, w)
        vamp_vjp(dprior, cache, u, phi, dphi, du)

    return Case("vae.elbo[VampPrior]", f, accumulating(f_vjp, into=(2, 3, 4)), (x, eps, phi, theta, u), constants=DATA)


def cases() -> Iterator[Case]:
    """Every q, every p, and the prior that is made of the encoder."""
    yield from (by_posterior(name) for name in (*POSTERIORS, *GAUSSIAN, "planar:2"))
    yield from (by_likelihood(name, values) for name, values in VALUES.items())
    yield mixed_with_gaps()
    yield with_vamp()
