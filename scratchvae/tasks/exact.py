"""§7.1.1 Exact answers by summing over z: all states of discrete latents, or (see `quadrature`) all nodes of a grid.

Where the sum has few enough terms, log p(x), the posterior, the bound and its gradients need no estimator, and every
estimator can be held against them. log_joint maps x (B, D) and z (M, B, K) to log p(x, z), (M, B) nats.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, UsageError
from ..gradcheck.contract import untouched
from ..types import Array

LogJoint = Callable[[Array, Array], Array]
MOST_BITS = 16
CHUNK = 2**21  # numbers x or z may take in one call of log_joint


class Points(NamedTuple):
    """M values of z for each of B rows, centre + half_width ⊙ unit, and the log of what each weighs in the sum.

    unit (M, K), centre and half_width (B, K), log_weight (M, 1) or (M, B): 0 for a state, log of its volume for a node.
    """

    unit: Array
    centre: Array
    half_width: Array
    log_weight: Array

    def z(self, part: slice = slice(None)) -> Array:
        """The values themselves, (M, B, K), or a part of them."""
        return np.asarray(self.centre + self.half_width * self.unit[part, None, :])


class Posterior(NamedTuple):
    """log_marginal = log p(x) (B,) nats; mean (B, K) and cov (B, K, K) of p(z|x); log_posterior (M, B), sum 1."""

    log_marginal: Array
    mean: Array
    cov: Array
    log_posterior: Array


def bits(latents: int, rows: int) -> Points:
    """All 2^K states of K binary latents: z[m, b, k] is bit k of m. UsageError beyond 16 latents."""
    if not 1 <= latents <= MOST_BITS:
        raise UsageError(f"latents={latents}: enumeration sums 2^K states and takes 1 to {MOST_BITS} binary latents")
    states = (np.arange(2**latents)[:, None] >> np.arange(latents) & 1).astype(np.float64)
    return listed(states, rows)


def listed(states: Array, rows: int) -> Points:
    """Any finite list of states (M, K), the same for all rows: one-hot vectors for a categorical z, say."""
    K = states.shape[1]
    return Points(states, np.zeros((rows, K)), np.ones((rows, K)), np.zeros((len(states), 1)))


def table(log_joint: LogJoint, x: Array, points: Points, index: Array | None = None) -> Array:
    """log p(x, z) at every point, (M, B) float64, by chunks. DataError where the model gives NaN, in a row numbered as
    in `index` (B,), or a wrong shape, UsageError where it writes into x or z."""
    M, K = points.unit.shape
    B, D = x.shape
    found = np.empty((M, B))
    chunk = max(1, CHUNK // max(1, B * max(D, K)))
    for start in range(0, M, chunk):
        z = points.z(slice(start, start + chunk))
        rows = x.astype(z.dtype, copy=False)  # in the nodes' precision, whatever x is stored in
        log_p = log_joint(rows, z) if start else untouched("log_joint", log_joint, x=rows, z=z)
        if log_p.shape != z.shape[:2]:
            raise DataError(f"log_joint gave shape {log_p.shape} for z {z.shape}: expected {z.shape[:2]}")
        found[start : start + chunk] = log_p
    if (bad := np.isnan(found).any(axis=0)).any():
        row = (np.arange(B) if index is None else index)[np.argmax(bad)]
        raise DataError(f"log_joint is NaN in row {row}: no sum over z can be taken")
    return found


def log_sum_exp(a: Array) -> Array:
    """log Σ exp(a) over the first axis, in float64; −inf for a sum of nothing."""
    a = a.astype(np.float64)
    peak = np.where(np.isneginf(top := a.max(axis=0)), 0, top)
    with np.errstate(divide="ignore"):
        return np.asarray(peak + np.log(np.exp(a - peak).sum(axis=0)))


# p(x) = Σ_m weight_m p(x, z_m)        p(z_m|x) = weight_m p(x, z_m) / p(x)
def posterior(log_joint: LogJoint, x: Array, points: Points) -> Posterior:
    """Evidence and posterior moments by the sum over `points`."""
    return summarise(table(log_joint, x, points), points)


def summarise(log_p: Array, points: Points) -> Posterior:
    """`posterior` from the values log_p (M, B) of log p(x, z); moments about the centre, against cancellation."""
    log_terms = log_p + points.log_weight
    log_marginal = log_sum_exp(log_terms)
    if not np.isfinite(log_marginal).all():
        row = int(np.argwhere(~np.isfinite(log_marginal))[0, 0])
        raise DataError(f"log p(x) is {log_marginal[row]} in row {row}: there is no posterior over the points summed")
    p = np.exp(log_terms - log_marginal).T
    u = points.unit
    first = p @ u  # (B, K)
    second = (p @ (u[:, :, None] * u[:, None, :]).reshape(len(u), -1)).reshape(*first.shape, first.shape[1])
    scale = points.half_width
    cov = (second - first[:, :, None] * first[:, None, :]) * scale[:, :, None] * scale[:, None, :]
    return Posterior(log_marginal, points.centre + scale * first, cov, log_terms - log_marginal)


# --- the exact bound -------------------------------------------------------------------------------


# ELBO = Σ_m weight_m q(z_m) r(z_m),   r = log p(x, z) − log q(z)                                       §7.2
def elbo(log_joint: LogJoint, x: Array, q: Any, points: Points) -> Array:
    """The exact bound (B,) nats for any q with log_prob(z)."""
    q_mass, r = mass_and_ratio(log_joint, x, q, points)
    return np.asarray((q_mass * r).sum(0))


# §7.2.2 taken literally, the sum in place of the expectation:  ∂ELBO/∂φ = Σ weight q(z) r(z) ∂ log q(z)/∂φ,
# for the term that is left, Σ weight q ∂ log q/∂φ = ∂(Σ weight q)/∂φ = 0.  So no slope of log p is asked for.
# θ enters by log p(x, z) alone:                          ∂ELBO/∂θ = Σ weight q(z) ∂ log p(x, z)/∂θ
def elbo_vjp(
    w: Array, log_joint: LogJoint, x: Array, q: Any, points: Points, log_joint_vjp: Any = None, dtheta: Any = None
) -> Any:
    """Σ w · `elbo`: returns dq as q.log_prob_vjp shapes it; adds into `dtheta`, if given, by `log_joint_vjp`."""
    q_mass, r = mass_and_ratio(log_joint, x, q, points)
    if dtheta is not None:
        untouched("log_joint_vjp", lambda *args: log_joint_vjp(*args, dtheta), w=w * q_mass, x=x, z=points.z())
    return q.log_prob_vjp(w * q_mass * r, points.z())[1]


def mass_and_ratio(log_joint: LogJoint, x: Array, q: Any, points: Points) -> tuple[Array, Array]:
    """weight q(z) and r = log p(x, z) − log q(z), both (M, B)."""
    log_q = q.log_prob(points.z())
    return np.exp(log_q + points.log_weight), table(log_joint, x, points) - log_q
