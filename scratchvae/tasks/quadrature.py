"""§7.1.1 The exact posterior and evidence for one or two latents: the trapezoid rule on a grid that finds its place.

On a smooth integrand that vanishes at the ends, the trapezoid rule converges faster than any power of the step h: for a
Gaussian of width s the error is about 2 exp(−2 π² s²/h²), 5e-9 at h = s (Trefethen & Weideman, SIAM Review 56, 2014).
The error is estimated by doubling: every other node is the grid of half the resolution, so one table gives both.
"""

from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ..types import Array
from .exact import LogJoint, Points, log_sum_exp, summarise, table

NEGLIGIBLE = 32.0  # nats below the peak: e^−32 = 1e-14
ROWS = 2**22  # nodes times rows in one table


class Grid(NamedTuple):
    """log_marginal (B,) nats, mean (B, K), cov (B, K, K) of p(z|x); error (B,), the change of log_marginal by the last
    doubling; cost, evaluations of log p(x, z) for one z."""

    log_marginal: Array
    mean: Array
    cov: Array
    error: Array
    cost: int


def check_latents(latents: int) -> None:
    """Refuse what a grid cannot reach."""
    if latents not in (1, 2):
        raise UsageError(f"quadrature reaches one or two latents, not {latents}: use importance sampling or AIS")


# ∫ f ≈ Σ wᵢ f(zᵢ), wᵢ = h inside and h/2 at the ends, for each latent; h = 2 half_width / (n − 1)
def grid(centre: Array, half_width: Array, resolution: int) -> Points:
    """resolution^K nodes on the box centre ± half_width, both (B, K), of each row; resolution must be odd."""
    K = centre.shape[1]
    check_latents(K)
    line = np.linspace(-1, 1, resolution)
    weight = np.full(resolution, 2 / (resolution - 1))
    weight[[0, -1]] /= 2
    unit = np.stack(np.meshgrid(*[line] * K, indexing="ij"), axis=-1).reshape(-1, K)
    log_weight = np.sum(np.meshgrid(*[np.log(weight)] * K, indexing="ij"), axis=0).reshape(-1, 1)
    return Points(unit, centre, half_width, log_weight + np.log(half_width).sum(1))


def every_other(log_p: Array, points: Points, resolution: int) -> Array:
    """log p(x) by the grid of half the resolution, from the values on the full one."""
    K, B = points.unit.shape[1], log_p.shape[1]
    coarse = grid(points.centre, points.half_width, resolution // 2 + 1)
    picked = log_p.reshape(*[resolution] * K, B)[(slice(None, None, 2),) * K].reshape(len(coarse.unit), B)
    return log_sum_exp(picked + coarse.log_weight)


def posterior(
    log_joint: LogJoint,
    x: Array,
    latents: int,
    box: float = 10.0,
    resolution: int = 129,
    tolerance: float = 1e-8,
    index: Array | None = None,
) -> Grid:
    """p(z|x) and log p(x) for x (B, D), any log_joint with one or two latents whose mass lies within ± `box`.

    First a grid over the whole box, then one on the part of it that holds each row's mass, doubled until `error` is
    below `tolerance` or the grid has 1025 (two latents) or 16385 (one) nodes a line; the error left is returned, never
    hidden. A mode much narrower than the first grid's cell (0.16) can be missed beside another: raise `resolution`.
    Raises DataError, with rows numbered as in `index` (B,), if the mass reaches the edge of the box or a value is NaN,
    UsageError beyond two latents.
    """
    check_latents(latents)
    resolution += 1 - resolution % 2
    block = max(1, ROWS // resolution**latents)
    number = np.arange(len(x)) if index is None else index
    blocks = [slice(i, i + block) for i in range(0, max(1, len(x)), block)]
    parts = [_posterior(log_joint, x[some], latents, box, resolution, tolerance, number[some]) for some in blocks]
    log_marginal, mean, cov, error = (np.concatenate([part[i] for part in parts]) for i in range(4))
    return Grid(log_marginal, mean, cov, error, sum(part.cost for part in parts))


def _posterior(
    log_joint: LogJoint, x: Array, latents: int, box: float, resolution: int, tolerance: float, index: Array
) -> Grid:
    whole = grid(np.zeros((len(x), latents)), np.full((len(x), latents), box), resolution)
    log_p = table(log_joint, x, whole, index)
    centre, half_width = zoom(log_p, whole, 2 * box / (resolution - 1), index)
    cost = log_p.size
    while True:
        points = grid(centre, half_width, resolution)
        log_p = table(log_joint, x, points, index)
        found = summarise(log_p, points)
        error = abs(found.log_marginal - every_other(log_p, points, resolution))
        cost += log_p.size
        if (error <= tolerance).all() or 2 * resolution - 1 > (16385 if latents == 1 else 1025):
            return Grid(found.log_marginal, found.mean, found.cov, error, cost)
        resolution = 2 * resolution - 1


def zoom(log_p: Array, points: Points, cell: float, index: Array) -> tuple[Array, Array]:
    """Centre and half width (B, K) of the least box around each row's nodes near its peak, a cell to spare."""
    alive = log_p > log_p.max(0) - NEGLIGIBLE
    low, high = (np.empty_like(points.centre) for _ in range(2))
    for row, mask in enumerate(alive.T):
        low[row], high[row] = points.unit[mask].min(0), points.unit[mask].max(0)
    edge = (low <= -1) | (high >= 1)
    if edge.any():
        row = index[np.argwhere(edge)[0, 0]]
        raise DataError(f"the posterior of row {row} reaches the edge of the box ±{points.half_width[0, 0]}: raise box")
    low, high = low * points.half_width - cell, high * points.half_width + cell
    return (low + high) / 2, (high - low) / 2


# --- the exact bound -------------------------------------------------------------------------------


def around(q: Any, resolution: int = 81, width: float = 10.0) -> Points:
    """The grid for expectations under a diagonal Gaussian q: its mean ± `width` standard deviations, h = σ/4.

    Give it to `exact.elbo` and `exact.elbo_vjp`; it moves with q, but as a device: gradients treat it as fixed.
    """
    return grid(q.mu, width * np.exp(q.log_var / 2), resolution)
