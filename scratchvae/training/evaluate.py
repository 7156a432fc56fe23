"""§7.2.3 The bound over a data set, with the units said: nats per datapoint, mean over rows, constants kept.

A test set under dynamic binarisation is binarised once, by the run's seed, so that two evaluations see the same bits.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..models.vae import decode, elbo, encode
from ..types import Array
from .data import binarise, rows
from .noise import Purpose
from .state import State, latent_noise


class Bound(NamedTuple):
    """Means over the rows, nats per datapoint: elbo = reconstruction − kl."""

    elbo: float
    reconstruction: float
    kl: float
    rows: int


def evaluation_rows(state: State, x: Array, first: int, count: int) -> Array:
    """Rows first … first + count − 1 as the model sees them in evaluation: binarised by noise named by the row."""
    batch = rows(x, np.arange(first, first + count), state.config.dtype)
    how = state.config.binarisation
    if how in ("dynamic", "fixed"):
        u = state.noise.uniforms(Purpose.FIXED_BINARISATION, 1, count, x.shape[1], state.config.dtype, first)
        return binarise(batch, how, u)
    return binarise(batch, how) if how == "threshold" else batch


def blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """(first, count) of consecutive blocks that cover n rows."""
    for first in range(0, n, size):
        yield first, min(size, n - first)


def elbo_over(state: State, x: Array, block: int = 500) -> Bound:
    """The bound with one ε a row, named by the row."""
    totals = np.zeros(3)
    for first, count in blocks(len(x), block):
        batch = evaluation_rows(state, x, first, count)
        eps = state.noise.normals(Purpose.EVALUATE, 0, count, state.config.latent, state.config.dtype, first)
        L, cache = elbo(batch, eps, state.phi, state.theta, state.k)
        totals += [term.sum(dtype=np.float64) for term in (L, cache.reconstruction, cache.kl)]
    bound, reconstruction, kl = (float(total) for total in totals / len(x))
    return Bound(bound, reconstruction, kl, len(x))


def active_units(state: State, x: Array, block: int = 500, threshold: float = 0.01) -> tuple[int, Array]:
    """Latents in use: Var_x[E[z | x]] > 0.01 (Burda et al. 2015, §5.2). Returns their number and the variances (K,)."""
    means = [
        encode(evaluation_rows(state, x, first, count), state.phi, state.k)[0].mu
        for first, count in blocks(len(x), block)
    ]
    variance = np.concatenate(means).astype(np.float64).var(axis=0)
    return int((variance > threshold).sum()), variance


# log p(x) = log E_q[p(x, z) / q(z | x)] ≈ log (1/S) Σ_s p(x, z_s) / q(z_s | x)          Burda et al. 2015, eq. 7–8
#   with log w_s = log p(x | z_s) + log p(z_s) − log q(z_s | x): the log-density ratio at the sample, never its mean
#   (the analytic KL): weights must average to p(x), and exp(−KL) does not.
#   With z = μ + σ ε:   log p(z) − log q(z) = −½ Σₖ (zₖ² − εₖ² − log σₖ²)


def log_weights(x: Array, eps: Array, state: State) -> Array:
    """log w (S, B) for x (B, D) and eps (S, B, K)."""
    q, _ = encode(x, state.phi, state.k)
    z = q.sample(eps, state.k)
    p, _ = decode(z, state.theta, state.k)
    ratio = -0.5 * (z * z - eps * eps - q.log_var).sum(axis=-1)
    weights: Array = p.log_prob(x, state.k) + ratio
    return weights


def log_likelihood(state: State, x: Array, samples: int, block: int = 100, first_row: int = 0) -> Array:
    """log p(x) of rows x (B, D) by importance sampling, (B,) float64 nats: log-sum-exp over `samples` draws from q."""
    found = np.empty(len(x))
    for first, count in blocks(len(x), block):
        total = np.full(count, -np.inf)
        for s, size in blocks(samples, max(1, 5000 // count)):
            eps = latent_noise(state, Purpose.EVALUATE, 1 + s, count, size, first_row + first)
            log_w = log_weights(x[first : first + count], eps, state).astype(np.float64)
            total = np.logaddexp(total, np.logaddexp.reduce(log_w, axis=0))
        found[first : first + count] = total - math.log(samples)
    return found
