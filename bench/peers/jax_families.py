"""§7.2.5 JAX: a VAE with other q and p, jitted, with JAX's own samplers and their implicit slopes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import betaln, digamma, gammaln

from scratchvae.types import Array


def normal(key: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """z by mean and log variance, and KL to the standard member; so do the others."""
    return a + jnp.exp(b / 2) * jax.random.normal(key, a.shape), 0.5 * (a**2 + jnp.exp(b) - 1 - b)


def gamma(key: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """By log shape and log rate."""
    shape, rate = jnp.exp(a), jnp.exp(b)
    kl = (shape - 1) * digamma(shape) - gammaln(shape) + b + shape * (1 - rate) / rate
    return jax.random.gamma(key, shape) / rate, kl


def beta(key: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """By the logs of its shapes."""
    s, t = jnp.exp(a), jnp.exp(b)
    kl = -betaln(s, t) + (s - 1) * digamma(s) + (t - 1) * digamma(t) + (2 - s - t) * digamma(s + t)
    return jax.random.beta(key, s, t), kl


def laplace(key: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """By location and log scale."""
    kl = -b + jnp.abs(a) + jnp.exp(b - jnp.abs(a) * jnp.exp(-b)) - 1
    return a + jnp.exp(b) * jax.random.laplace(key, a.shape), kl


def bernoulli(x: Any, l: Any) -> Any:
    return x * l - jax.nn.softplus(l)


def poisson(x: Any, l: Any) -> Any:
    return x * l - jnp.exp(l) - gammaln(x + 1)


def negative_binomial(x: Any, l: Any, t: Any) -> Any:
    theta, mixed = jnp.exp(t), jnp.logaddexp(l, t)
    return gammaln(x + theta) - gammaln(theta) - gammaln(x + 1) + x * (l - mixed) + theta * (t - mixed)


def continuous_bernoulli(x: Any, l: Any) -> Any:
    near = jnp.abs(l) < 1e-2
    m = jnp.abs(jnp.where(near, 1.0, l))
    return x * l - jnp.where(near, l / 2 + l**2 / 24, jnp.maximum(l, 0) + jnp.log(-jnp.expm1(-m) / m))


POSTERIORS = {"normal": normal, "gamma": gamma, "beta": beta, "laplace": laplace}
LIKELIHOODS: dict[str, tuple[Callable[..., Any], int]] = {
    "bernoulli": (bernoulli, 1),
    "poisson": (poisson, 1),
    "negative-binomial": (negative_binomial, 2),
    "continuous-bernoulli": (continuous_bernoulli, 1),
}


def steps(rows: Array, options: dict[str, Any], sizes: tuple[int, int, int]) -> Callable[[int], None]:
    """A function that takes so many Adam steps on the rows (B, D), D-H-K."""
    (D, H, K), x = sizes, jnp.asarray(rows, jnp.float32)
    sampled = POSTERIORS[options.get("posterior", "normal")]
    log_p, heads = LIKELIHOODS[options.get("likelihood", "bernoulli")]
    g = np.random.default_rng(1)
    shapes = [(D, H), (H, K), (H, K), (K, H), *[(H, D)] * heads]
    w = [(jnp.asarray(g.normal(0, 0.05, s), jnp.float32), jnp.zeros(s[1])) for s in shapes]

    def bound(w: Any, key: Any) -> Any:
        h = jnp.tanh(x @ w[0][0] + w[0][1])
        z, kl = sampled(key, h @ w[1][0] + w[1][1], h @ w[2][0] + w[2][1])
        h = jnp.tanh(z @ w[3][0] + w[3][1])
        return (log_p(x, *(h @ W + b for W, b in w[4:])).sum(1) - kl.sum(1)).mean()

    def step(w: Any, m: Any, v: Any, t: Any, key: Any) -> Any:
        key, now = jax.random.split(key)
        slopes = jax.grad(bound)(w, now)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, slopes)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, slopes)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return jax.tree.map(lambda w, m, v: w + rate * m / (jnp.sqrt(v) + 1e-8), w, m, v), m, v, t + 1, key

    zeros, jitted = jax.tree.map(jnp.zeros_like, w), jax.jit(step)
    state: Any = (w, zeros, zeros, 1.0, jax.random.PRNGKey(0))

    def advance(n: int) -> None:
        nonlocal state
        for _ in range(n):
            state = jitted(*state)
        jax.block_until_ready(state)

    return advance
