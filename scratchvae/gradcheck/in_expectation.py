"""§7.2.2-7.2.4 Every estimator in expectation: its mean over many draws against the gradient of the exact bound.

The gradient check on replayed noise proves that an estimator differentiates what its paper says. It cannot see that the
paper's surrogate has the right mean, or that ours does: that takes an oracle and a z-score,

    z = (mean of the draws − exact) / standard error        per component, |z| ≤ 4 where the estimator is unbiased

Exact gradients: the ELBO's in closed form (probabilistic PCA) or by a sum over a grid of z (a VAE with two latents);
that of a multi-sample bound by Gauss-Hermite quadrature over the noise of all its samples (one latent, two samples).
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..distributions import Normal
from ..errors import UsageError
from ..estimators import ESTIMATORS, get
from ..estimators.frame import Estimator, estimate
from ..kernels import table
from ..models.decoded import Decoded
from ..models.linear_gaussian import LinearGaussian, elbo_diag_vjp
from ..models.pca import Oracle
from ..models.vae import Architecture
from ..tasks.bbvi import leave_alone
from ..tasks.exact import elbo_vjp
from ..tasks.quadrature import around
from ..tree import flat, leaves, zeros_like
from ..types import Array
from .expectation import FEWEST, check_expectation
from .numeric import spread
from .report import Report

ROWS = 20_000  # draws in one call at most: their mean is one observation
OBSERVATIONS = 300  # so many means show how heavy their tails are
UNBIASED = tuple(name for name in ESTIMATORS if name not in ("nvil", "iw", "dreg", "vr_max"))  # of the ELBO, any S
MULTISAMPLE = ("iw", "dreg", "vr:0.5", "vr:-1")  # of their own bound


class Problem(NamedTuple):
    """One row x, a q for it, a model, and the exact gradient of its ELBO: (dq, dtheta) flat."""

    name: str
    model: Any
    x: Array  # (1, D)
    q: Normal  # (1, K)
    theta: Any
    exact: Callable[["Problem"], Array]


def linear_gaussian(latents: int = 2) -> Problem:
    """Probabilistic PCA with q away from the posterior."""
    theta = LinearGaussian(0.7 * spread(1, (latents, 3)), 0.3 * spread(2, (3,)), np.array([-0.4]))
    q = Normal(0.4 * spread(4, (1, latents)), -0.8 + 0.3 * spread(5, (1, latents)))

    def exact(p: Problem) -> Array:
        dtheta = zeros_like(p.theta)
        dq = elbo_diag_vjp(np.ones(1), p.x, *p.q, p.theta, dtheta)
        return np.concatenate([flat(dq), flat(dtheta)])

    return Problem(f"linear-Gaussian, {latents} latent", Oracle(), spread(3, (1, 3)), q, theta, exact)


def small_vae(likelihood: str, latents: int = 2) -> Problem:
    """A VAE with a tanh layer, whose ELBO is summed over a grid of z."""
    a = Architecture(3, latents, (3,), "tanh", likelihood, variance=0.3)
    views = {name: 0.8 * spread(20 + i, shape) for i, (name, shape) in enumerate(a.shapes().items())}
    q = Normal(0.4 * spread(6, (1, latents)), -0.8 + 0.3 * spread(7, (1, latents)))

    def exact(p: Problem) -> Array:
        dtheta, m = zeros_like(p.theta), p.model
        vjp = lambda w, x, z, d: m.log_joint_vjp(w, x, z, p.theta, d)  # noqa: E731
        log_joint = lambda x, z: m.log_joint(x, z, p.theta)  # noqa: E731
        dq = elbo_vjp(np.ones(1), log_joint, p.x, p.q, around(p.q), vjp, dtheta)
        return np.concatenate([flat(dq), flat(dtheta)])

    x = (spread(8, (1, 3)) > 0) * 1.0 if likelihood == "bernoulli" else spread(8, (1, 3))
    return Problem(f"VAE, {likelihood}, {latents} latent", Decoded(), x, q, a.nets(views)[1], exact)


# --- means of many draws, and their standard errors -------------------------------------------------


class Estimates(NamedTuple):
    """What many draws of an estimator gave: chunk means (n, P) over q and theta, the variance of a row (2K,)."""

    chunks: Array
    variance: Array


def repeated(p: Problem, rows: int) -> tuple[Array, Normal]:
    """x and q, once for each draw."""
    return np.repeat(p.x, rows, axis=0), Normal(*(np.repeat(f, rows, axis=0) for f in p.q))


def draws(e: Estimator, p: Problem, samples: int, seed: int, chunks: int, rows: int = ROWS) -> Estimates:
    """`chunks` times `rows` independent estimates at one point."""
    k, K, state = table("numpy"), p.q.mu.shape[1], e.state(p.x.shape[1], lambda *s: 0.1 * spread(9, s))
    x, q = repeated(p, rows)
    means, squares = [], []
    numbers = np.arange(rows * samples, dtype=np.uint32)
    for chunk in range(chunks):
        noise = k.normals(seed, 4, chunk, numbers, K * e.noise, np.float64).reshape(samples, rows, -1)
        dtheta = zeros_like(p.theta)
        _, dq = estimate(e, p.model, q, x, noise, p.theta, dtheta, state=state)
        per_row = np.concatenate([f.reshape(rows, -1) for f in dq], axis=1)
        means.append(np.concatenate([per_row.mean(axis=0), flat(dtheta) / rows]))
        squares.append((per_row**2).mean(axis=0))
    found = np.array(means)
    return Estimates(found, np.mean(squares, axis=0) - found[:, : 2 * K].mean(axis=0) ** 2)


def exact_multisample(e: Estimator, p: Problem, samples: int = 2, nodes: int = 100) -> Array:
    """The gradient of E[L_S] by Gauss-Hermite quadrature over all the noise; `e` must differentiate its own bound
    ("iw", "vr"): each node's gradient is then exact, by the check on replayed noise, and so is their weighted sum."""
    line, weight = np.polynomial.hermite_e.hermegauss(nodes)
    K = p.q.mu.shape[1]
    noise = np.array(list(itertools.product(line, repeat=samples * K)))
    w = np.prod(list(itertools.product(weight / weight.sum(), repeat=samples * K)), axis=1)
    x, q = repeated(p, len(w))
    dtheta = zeros_like(p.theta)
    stacked = np.ascontiguousarray(noise.reshape(len(w), samples, K).swapaxes(0, 1))
    _, dq = estimate(e, p.model, q, x, stacked, p.theta, dtheta, w)
    return np.concatenate([*(f.sum(axis=0) for f in dq), flat(dtheta)])


def target(e: Estimator, p: Problem, samples: int) -> Array:
    """The exact gradient of what the estimator estimates."""
    if e.name in ("iw", "dreg"):
        return exact_multisample(get("iw"), p, samples)
    return exact_multisample(e, p, samples) if e.name.startswith("vr") else p.exact(p)


def compare(name: str, p: Problem, samples: int, seeds: int, draws_each: int) -> Report:
    """One estimator at one point: z-scores, worst component of each block, pooled over `seeds` runs.

    Raises UsageError if there are fewer draws than observations, or the model writes into its arguments.
    """
    e = get(name)
    leave_alone(e, p.model, p.q, p.x, np.zeros((1, *p.q.mu.shape)), p.theta)
    if seeds * draws_each < FEWEST:
        raise UsageError(f"seeds={seeds} of {draws_each} draws are too few for a z-score: ask for more draws")
    chunks = min(draws_each, max(-(-draws_each // ROWS), -(-OBSERVATIONS // seeds)))
    rows = draws_each // chunks
    report = check_expectation(
        lambda seed, chunks: named(p, draws(e, p, samples, seed, chunks, rows).chunks),
        named(p, target(e, p, samples)),
        draws=chunks,
        seeds=seeds,
        name=f"in expectation: {name} on {p.name}, {samples} samples",
    )
    return replace(report, notes=(f"{seeds} seeds of {draws_each} draws", *report.notes[1:]))


def named(p: Problem, found: Array) -> dict[str, Array]:
    """Cut flat results, along the last axis, into named blocks."""
    blocks, start = {}, 0
    for path, leaf in [*leaves(p.q, ("q",)), *leaves(p.theta, ("theta",))]:
        if isinstance(leaf, np.ndarray):
            cut = slice(start, start + leaf.size)
            blocks[".".join(path)] = found[..., cut].reshape(*found.shape[:-1], *leaf.shape)
            start += leaf.size
    return blocks


def run(seeds: int = 20, draws_each: int = 100_000) -> Iterator[Report]:
    """Every estimator on every oracle; the multi-sample bounds against their own targets."""
    for p in (linear_gaussian(), small_vae("bernoulli"), small_vae("gaussian")):
        for name in UNBIASED:
            yield compare(name, p, max(2, get(name).samples), seeds, draws_each)
    for p in (linear_gaussian(1), small_vae("bernoulli", 1), small_vae("gaussian", 1)):
        for name in MULTISAMPLE:
            yield compare(name, p, 2, seeds, draws_each)
