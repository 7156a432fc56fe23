"""§7.2.2 The score function estimator: ∇_φ E_q[f] without a derivative of f in z.

The half page that the chapter leaves to the reader (Mnih & Gregor 2014, App. B); f(z) = log p(x, z; θ) − log q(z; φ):

    ∇ log q = ∇q / q                                                       the log-derivative identity       (1)
    E_q[∇ log q] = ∫ q ∇q/q dz = ∇ ∫ q dz = ∇1 = 0                         the score has mean zero           (2)

    ∇_φ E_q[f] = ∫ ∇(q f) dz                                               q and f are smooth in φ; for discrete z, Σ
               = ∫ f ∇q dz + ∫ q ∇f dz                                     product rule
               = E_q[f ∇ log q] − E_q[∇ log q]                             (1), and ∇_φ f = −∇ log q
               = E_q[(log p − log q) ∇ log q]                              (2)
               = E_q[(log p − log q − b) ∇ log q]    for any b without z   (2) again: a baseline costs no bias

Tests: test_estimators.py::test_the_score_has_mean_zero for (2), test_in_expectation for the whole.
The variance is that of f ∇ log q: |f| is hundreds of nats on MNIST, so almost all of it is about b, not about φ.
"""

import numpy as np

from ..types import Array
from .frame import Cotangents, Draw, Estimator


def with_baseline(r: Array, baseline: Array | float) -> Cotangents:
    """Each sample's score weighted with how much better it was than expected; r (S, B)."""
    S = r.shape[0]
    return Cotangents(r.mean(axis=0), np.full_like(r, 1 / S), score=(r - baseline) / S)


def raw(d: Draw) -> Cotangents:
    """b = 0."""
    return with_baseline(d.r, 0.0)


def constant(b: float) -> Estimator:
    """A baseline known beforehand, nats."""
    return Estimator(f"score_constant:{b:g}", lambda d: with_baseline(d.r, b))


score = Estimator("score", raw)
# log p(z) − log q(z) has a mean known in closed form, −KL: only log p(x | z) is left to the score.
score_kl = Estimator("score_kl", raw, analytic_kl=True)
