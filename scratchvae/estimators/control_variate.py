"""§7.2.2 The score as its own control variate, a coefficient for each parameter (Ranganath, Gerrish & Blei 2014, §3.2).

With h = ∂ log q/∂φᵢ, E[h] = 0, the estimator (r − a) h has the same mean for every a, and its variance is least at

    a = Cov(r h, h) / Var(h) = E[r h²] / E[h²]          the best baseline for that one parameter

Estimated on the same sample it would be correlated with h, and biased; so a_s comes from the other samples of the row.
Test: test_in_expectation, test_the_control_variate_finds_the_best_coefficient.
"""

import numpy as np

from ..types import Array
from .frame import Cotangents, Draw, Estimator, scores, widened
from .score import with_baseline


def coefficient(r: Array, h: Array) -> Array:
    """a for each sample from the others: r (S, B), h (S, B, …), returns (S, B, …)."""
    squares = h * h
    top, bottom = of_others(widened(r, h) * squares), of_others(squares)
    # The others' score may be zero (always, above the diagonal of a full covariance): no baseline then, a = 0.
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def of_others(a: Array) -> Array:
    """Σ_{t ≠ s} a_t for each s: those before and those after, so that nothing large is taken off again."""
    found = np.zeros_like(a)
    found[1:] += np.cumsum(a[:-1], axis=0)
    found[:-1] += np.cumsum(a[:0:-1], axis=0)[::-1]
    return found


def rule(d: Draw) -> Cotangents:
    """S ≥ 2 samples; more make a better coefficient."""
    h = scores(d.q, d.z, d.k)
    weights = [(widened(d.r, f) - coefficient(d.r, f)) / len(d.r) for f in h]
    return with_baseline(d.r, 0.0)._replace(score=type(d.q)(*weights))


def best(r: Array, h: Array) -> Array:
    """The coefficient over many draws of one row: r (N,), h (N, P), returns (P,)."""
    return np.asarray((r[:, None] * h * h).sum(axis=0) / (h * h).sum(axis=0))


score_cv = Estimator("score_cv", rule, samples=2)
