"""§7.2.2 The leave-one-out baseline: a row's other samples say what was to be expected.

    b_s = (1/(S − 1)) Σ_{t ≠ s} r_t        is independent of z_s, knows x and θ, and needs no state

Mnih & Rezende 2016 for the importance-weighted bound, Kool et al. 2019 for a mean as here.

Test: test_in_expectation.
"""

from .frame import Cotangents, Draw, Estimator
from .score import with_baseline


def rule(d: Draw) -> Cotangents:
    """S ≥ 2 samples."""
    S = d.r.shape[0]
    others = (d.r.sum(axis=0) - d.r) / (S - 1)
    return with_baseline(d.r, others)


score_loo = Estimator("score_loo", rule, samples=2)
