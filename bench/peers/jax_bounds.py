"""§7.2.5 What JAX differentiates: the bounds, and for each estimator a surrogate whose slope is that estimator.

x (B, D) with 0 for what is missing, m (B, D) its mask or None, eps (S, B, latents); r and log densities are (S, B), and
bounds (B,), nats. Weights w are (arrows of q, arrows of p).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient as held

from bench.work import PIXELS, VARIANCE, StepWork

LOG_FLOOR, LOG_2PI = math.log(VARIANCE), math.log(2 * math.pi)


def dense(P: list[Any], x: Any) -> Any:
    """As a matrix of all rows: of (S, B, ...) XLA would make a transposed copy for each dW."""
    h = x.reshape(-1, x.shape[-1])
    for i in range(0, len(P) - 2, 2):
        h = jnp.tanh(h @ P[i] + P[i + 1])
    return (h @ P[-2] + P[-1]).reshape(*x.shape[:-1], -1)


def heads(P: list[Any], x: Any) -> Any:
    """μ and log σ², both heads in one product."""
    return jnp.split(dense(P, x), 2, axis=-1)


@jax.custom_jvp  # type: ignore[untyped-decorator]
def softplus(a: Any) -> Any:
    """log(1 + e^a), with a slope that is one function: faster than jax.nn.softplus, which also looks after infinities.

    Best of six forms at 50 samples; with one sample all are alike.
    """
    return jnp.maximum(a, 0) + jnp.log1p(jnp.exp(-jnp.abs(a)))


@softplus.defjvp  # type: ignore[untyped-decorator]
def softplus_jvp(primals: Any, tangents: Any) -> Any:
    (a,), (da,) = primals, tangents
    return softplus(a), jax.lax.logistic(a) * da


def log_normal(z: Any, mu: Any, log_var: Any) -> Any:
    """Without its constant, which the same of another density takes away again."""
    return -0.5 * ((z - mu) ** 2 * jnp.exp(-log_var) + log_var).sum(axis=-1)


def log_p(work: StepWork, P: list[Any], z: Any, x: Any, m: Any) -> Any:
    """log p(x | z) of what is observed."""
    if work.likelihood == "gaussian":
        mu, a = heads(P, z)
        log_var = LOG_FLOOR + softplus(a - LOG_FLOOR)
        each = -0.5 * ((x - mu) ** 2 * jnp.exp(-log_var) + log_var + LOG_2PI)
    else:
        logits = dense(P, z)
        each = x * logits - softplus(logits)
    return (each if m is None else jnp.where(m, each, 0)).sum(axis=-1)


def rescaled(x: Any, m: Any) -> Any:
    """What the encoder sees: x · D / (number observed)."""
    return x if m is None else x * (PIXELS / jnp.maximum(m.sum(axis=1, keepdims=True), 1))


def log_ratio(work: StepWork, w: Any, first: Any, x: Any, m: Any, eps: Any, landing: bool = False) -> Any:
    """r = log p(x, z) − log q(z | x) at z = μ + σ ε, where `first` is (μ, log σ²) of the arrow from x.

    With `landing` (one arrow) the φ of log q is held fast. Else log q(z) = −½ Σ (ε² + log σ²): of z and φ nothing else
    is left in it.
    """
    q, p = w
    ends = [int(end) for end in np.cumsum(work.latents)[:-1]]
    r: Any = 0.0
    zs: list[Any] = []
    for l, e in enumerate(jnp.split(eps, ends, axis=-1)):
        mu, log_var = heads(q[l], zs[-1]) if l else first
        zs.append(mu + jnp.exp(0.5 * log_var) * e)
        r -= log_normal(zs[-1], held(mu), held(log_var)) if landing else -0.5 * (e * e + log_var).sum(axis=-1)
    r += log_p(work, p[0], zs[0], x, m) - 0.5 * (zs[-1] ** 2).sum(axis=-1)
    for l in range(1, len(zs)):
        r += log_normal(zs[l - 1], *heads(p[l], zs[l]))
    return r


def log_mean_exp(r: Any) -> Any:
    return jax.nn.logsumexp(r, axis=0) - math.log(r.shape[0])


# Each gives (what is differentiated, the bound), (B,) both.


def sgvb_b(work: StepWork, w: Any, x: Any, m: Any, eps: Any) -> Any:
    """The KL in closed form."""
    (q,), (p,) = w
    mu, log_var = heads(q, rescaled(x, m))
    sigma = jnp.exp(0.5 * log_var)
    kl = 0.5 * (mu * mu + sigma * sigma - 1.0 - log_var).sum(axis=-1)
    L = log_p(work, p, mu + sigma * eps, x, m).mean(axis=0) - kl
    return L, L


def stl(work: StepWork, w: Any, x: Any, m: Any, eps: Any) -> Any:
    """Sticking the landing (Roeder, Wu & Duvenaud 2017)."""
    L = log_ratio(work, w, heads(w[0][0], x), x, m, eps, landing=True).mean(axis=0)
    return L, L


def iw(work: StepWork, w: Any, x: Any, m: Any, eps: Any) -> Any:
    """Importance weighted (Burda et al. 2016)."""
    L = log_mean_exp(log_ratio(work, w, heads(w[0][0], x), x, m, eps))
    return L, L


def score_loo(work: StepWork, w: Any, x: Any, m: Any, eps: Any) -> Any:
    """The score function, its baseline the mean of a row's other samples."""
    (q,), (p,) = w
    mu, log_var = heads(q, x)
    z = held(mu + jnp.exp(0.5 * log_var) * eps)
    log_q = log_normal(z, mu, log_var)
    log_joint = log_p(work, p, z, x, m) - 0.5 * (z * z).sum(axis=-1)
    r = held(log_joint - log_q)
    signal = r - (r.sum(axis=0) - r) / (len(r) - 1)
    return (log_joint + signal * log_q).mean(axis=0), r.mean(axis=0)


SURROGATES = {"sgvb_b": sgvb_b, "stl": stl, "iw": iw, "score_loo": score_loo}


def dreg(work: StepWork, w: Any, x: Any, m: Any, eps: Any) -> Any:
    """The mean bound and its doubly reparametrised gradient (Tucker et al. 2019): θ gets w̃, the path w̃².

    By hand at z, so that one way back through p serves both; two surrogates would take two.
    """
    (q,), (p,) = w

    def sample(q: Any) -> Any:
        mu, log_var = heads(q, x)
        return mu + jnp.exp(0.5 * log_var) * eps, (mu, log_var)

    def ratio(p: Any, z: Any) -> Any:
        return log_p(work, p, z, x, m) - 0.5 * (z * z).sum(axis=-1) - log_normal(z, mu, log_var)

    z, back_q, (mu, log_var) = jax.vjp(sample, q, has_aux=True)
    r, back = jax.vjp(ratio, p, z)
    share = jax.nn.softmax(r, axis=0)
    dp, dz = back(share / len(x))
    (dq,) = back_q(share[..., None] * dz)
    return log_mean_exp(r).mean(), ([dq], [dp])


def gradient(work: StepWork) -> Callable[..., Any]:
    """(w, x, m, eps) → (mean bound, its gradient as the estimator has it)."""
    if work.estimator == "dreg":
        return lambda *args: dreg(work, *args)
    surrogate = SURROGATES[work.estimator]

    def of_means(*args: Any) -> Any:
        return tuple(rows.mean() for rows in surrogate(work, *args))

    def both(*args: Any) -> Any:
        (_, L), g = jax.value_and_grad(of_means, has_aux=True)(*args)
        return L, g

    return both
