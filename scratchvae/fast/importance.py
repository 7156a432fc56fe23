"""§7.2.3 log p(x) by importance sampling, compiled: thousands of samples of z for one row of x as one batch.

    log p(x) ≈ log (1/S) Σ_s p(x | z_s) p(z_s) / q(z_s | x)                          Burda et al. 2015, eq. 7–8
    z = μ + σ ε:   log p(z) − log q(z) = −½ Σₖ (zₖ² − εₖ²) + Σₖ log σₖ

One thread's work: whole rows of x, with a workspace of its own, so threads never wait. The noise of a row is drawn in
blocks of `size` samples, the block from sample s on under step number 1 + s, as `training.evaluate` does.
"""

import math
from typing import Any

import numpy as np

from scratchvae.engine.jit import inline, without_refcounts
from scratchvae.engine.tiles import MR, panel_of, unsigned_divmod
from scratchvae.fast.step_forward import decode
from scratchvae.fast.workspace import Program, strip
from scratchvae.kernels.noise_vectors import normals
from scratchvae.types import Array


@inline
def set_data(s: Program, x: Array, b: int) -> None:
    """Row b of x into the first row of the panels of the data."""
    P = panel_of(s.work)
    for c in range(x.shape[1]):
        s.work[s.layout.x + c // P * s.layout.capacity * P + c % P] = x[b, c]


@inline
def draw(s: Program, mu: Array, sigma: Array, log_sigmas: float, b: int, address: Any, r: int, count: int) -> None:
    """`count` samples z from row r on, and log p(z) − log q(z) into the bounds."""
    P, K, strips = panel_of(s.work), mu.shape[1], s.layout.layers[s.layout.decoder].x_strips
    normals(s.noise, 0, address, 1, (count * K + 3) // 4)
    for i in range(count):
        tile, q = unsigned_divmod(r + i, MR)
        to, ratio = strip(strips, K, tile * MR, P) + q, -2.0 * log_sigmas
        for k in range(K):
            eps = s.noise[i * K + k]
            z = mu[b, k] + sigma[b, k] * eps
            s.work[to + k * MR] = z
            ratio += z * z - eps * eps
        s.bound[r + i] = -0.5 * ratio


@inline
def value(s: Program, rows: int) -> None:
    """Adds log p(x | z) to the bounds of `rows` samples, which belong to one row of x."""
    decode(s, 0, 1, rows, 0.0, s.layout.capacity)
    for r in range(rows):
        for p in range(s.layout.layers[s.layout.heads].panels):
            s.bound[r] += s.parts[p * s.layout.capacity + r]


@without_refcounts
def log_likelihood(s: Program, x: Array, q: Any, address: Any, samples: int, size: int, found: Array) -> None:
    """found[b] = log p(x_b) for each row of x (B, D).

    q = (μ (B, K), σ (B, K), Σₖ log σₖ (B,)); address = (seed, purpose, the rows' numbers (B,)).
    """
    mu, sigma, log_sigmas = q
    seed, purpose, numbers = address
    chunk = s.options.micro // size * size
    for b in range(x.shape[0]):
        set_data(s, x, b)
        most, total = -math.inf, 0.0
        for first in range(0, samples, chunk):
            many = min(chunk, samples - first)
            for sample in range(first, first + many, size):
                here = (seed, purpose, 1 + sample, numbers[b])
                draw(s, mu, sigma, log_sigmas[b], b, here, sample - first, min(size, samples - sample))
            value(s, many)
            for r in range(many):  # log-sum-exp, one at a time: total counts in units of e^most
                log_w = s.bound[r]
                if log_w > most:
                    total, most = total * math.exp(most - log_w) + 1.0, log_w
                elif log_w != -math.inf:
                    total += math.exp(log_w - most)
        found[b] = np.nan if math.isnan(total) else most + math.log(total / samples)
