"""§7.2.5 A value of any decoder from one uniform a cell: its quantile, or the value at that place of its own order."""

from typing import Any

import numpy as np
from scipy import special

from ..types import Array
from .bernoulli import Bernoulli
from .discrete import Poisson
from .levels import DiscretisedLogistic, LogisticMixture, mixed
from .normal import Normal
from .shared import counted, quiet, wide


def poisson(u: Array, log_rate: Array) -> Array:
    """The least x with P(≤ x) ≥ u."""
    u, rate = np.broadcast_arrays(u, np.exp(log_rate))
    return counted(u, lambda x: special.pdtr(x, rate))


# what is left of u when the component is chosen, (u − Σ_(j < m) π_j) / π_m, is uniform again
def mixture(u: Array, p: LogisticMixture) -> Array:
    """The chosen component's quantile."""
    pi = mixed(np.zeros(p.mu.shape), *wide(p.logits))[2]
    sums = np.cumsum(pi, axis=-1)
    m = (sums[..., :-1] <= u[..., None]).sum(axis=-1)[..., None]
    chosen, upper = (np.take_along_axis(np.broadcast_to(a, (*m.shape[:-1], a.shape[-1])), m, -1) for a in (pi, sums))
    left = np.clip(1 - (upper - u[..., None]) / chosen, 2.0**-60, 1 - 2.0**-53)
    each: Any = DiscretisedLogistic(p.mu, p.log_s, levels=p.levels)
    return np.asarray(np.take_along_axis(each.sample(left), m, -1)[..., 0])


@quiet
def draw(p: Any, u: Array) -> Array:
    """x (..., D) of any decoder from u (..., D), uniform in (0, 1)."""
    (u,) = wide(u)
    if isinstance(p[0], tuple):  # mixed columns draw each part by itself
        return np.asarray(p.sample(u))
    like = p[0].dtype
    if isinstance(p, Normal):
        return p.sample(special.ndtri(u).astype(like))
    if isinstance(p, LogisticMixture):
        return mixture(u, p)
    if isinstance(p, Poisson):
        return poisson(u, *wide(p.log_rate)).astype(like)
    return np.asarray(p.sample(u.astype(like) if isinstance(p, Bernoulli) else u)).astype(like)
