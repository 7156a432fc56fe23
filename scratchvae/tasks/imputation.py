"""§7.1.1 How good are the fillings: error, log score and coverage over the missing entries, beside two plain rivals.

truth (B, D) is x before the mask; `observed` (B, D) bool; draws (T, C, B, D) are multiple imputations of it.
"""

from collections.abc import Iterable

import numpy as np

from ..errors import DataError
from ..types import Array
from .evidence import LogMean
from .missing import Coder


def rmse(truth: Array, filled: Array, observed: Array) -> float:
    """Root mean square error over the missing entries, in units of x."""
    error = (truth - filled)[~observed]
    return float(np.sqrt(np.mean(error * error, dtype=np.float64)))


# With M exchangeable draws and the truth, the truth falls between the i-th smallest and the i-th largest draw with
# probability (M + 1 − 2i)/(M + 1) exactly; quantiles at (M + 1) p ("weibull") are those, also for small M.
def interval(draws: Array, level: float = 0.9) -> tuple[Array, Array]:
    """The central interval (low, high), each (B, D), that holds `level` of the imputations."""
    flat = draws.reshape(-1, *draws.shape[2:])
    low, high = np.quantile(flat, [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
    return low, high


def coverage(truth: Array, draws: Array, observed: Array, level: float = 0.9) -> float:
    """How many of the missing entries lie within their interval: `level` if the draws are right. Bits have intervals
    {0}, {1} or {0, 1}, which hold at least `level` by their nature: there only too low a number speaks."""
    low, high = interval(draws, level)
    inside = (low <= truth) & (truth <= high)
    return float(inside[~observed].mean())


# The draws describe x_mis by the mixture (1/M) Σ_s p(x_mis|z_s): its log density at the truth is a proper score, and
# estimates log p(x_mis|x_obs), low on average (Jensen), where the z_s are draws of p(z|x_obs).
def log_score(coder: Coder, truth: Array, observed: Array, codes: Array) -> Array:
    """log of the mean density of the missing entries over codes (T, C, B, K), (B,) nats a row."""
    missing, mean = (~observed).astype(truth.dtype), LogMean.empty(len(truth))
    for z in codes:
        mean = mean.add(coder.decode(z).log_prob_observed(truth, missing, coder.k))
    return mean.value


def mean_filling(x: Array, observed: Array, mean: Array) -> Array:
    """x with its missing entries replaced by the training data's mean (D,)."""
    return np.where(observed, x, mean)


def centre_of(x: Array, observed: Array) -> Array:
    """The mean of what is observed in each column, 0 where nothing is: (D,)."""
    total = np.where(observed, x, 0).sum(axis=0, dtype=np.float64)
    mean: Array = (total / np.maximum(observed.sum(axis=0), 1)).astype(x.dtype)
    return mean


# Σ_d m (x − t)² = Σ_d m x² − 2 (m x)·t + m·t²: two products of matrices for all pairs of a block. All are measured from
# the centre of the x: far from 0 the terms are much larger than the distance, and float32 would lose it.
def nearest(x: Array, observed: Array, blocks: Iterable[Array]) -> Array:
    """Of the rows t (D,) in `blocks` of (n, D), for each row of x the one at the least distance in what is observed.

    The first of several at the same distance, NaN where no distance is finite: (B, D). Rows with a NaN are passed over.
    DataError where D is not x's.
    """
    m, centre = observed.astype(x.dtype), centre_of(x, observed)
    known = np.where(observed, x - centre, 0)
    best, found = np.full(len(x), np.inf), np.full_like(x, np.nan)
    for t in blocks:
        if t.shape[1] != x.shape[1]:
            raise DataError(f"the training rows have {t.shape[1]} columns, x has {x.shape[1]}")
        near = t - centre
        distance = m @ (near * near).T - 2 * known @ near.T
        distance[np.isnan(distance)] = np.inf
        here = distance.argmin(axis=1)
        value = distance[np.arange(len(x)), here]
        closer = value < best
        best[closer], found[closer] = value[closer], t[here[closer]]
    return found
