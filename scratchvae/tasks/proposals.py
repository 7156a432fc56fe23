"""§7.1.1 A proposal for importance sampling that forgives the encoder: q(z|x), q twice as wide, and the prior, mixed.

Weights p(x, z)/q(z|x) are unbounded where q is narrower than the posterior, or blind to one of its modes: the estimate
then looks sure and is too low. In a mixture with the prior, w ≤ p(x|z) / (1/4), which no mode escapes for ever
(Hesterberg, "Weighted average importance sampling and defensive mixture distributions", 1995).
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..distributions import Normal
from ..models.decoded import standard
from ..noise import Noise, Rows
from ..types import Array
from . import evidence
from .evidence import BLOCK, Evidence, Model, check_model, normals

PARTS = 4  # of four samples one is from the prior, one from the wide q, two from q
WIDER = 2 * math.log(2.0)  # log σ² of twice the width


# Q(z) = ½ q(z) + ¼ q_wide(z) + ¼ N(z; 0, I), stratified: sample s is from part s mod 4, weights are those of Q
class Defensive(NamedTuple):
    """Q for a Gaussian q (B, K); exact for a number of samples that is a multiple of 4."""

    q: Normal

    @property
    def mu(self) -> Array:
        """Where q is, (B, K)."""
        return self.q.mu

    @property
    def log_var(self) -> Array:
        """How wide q is, (B, K)."""
        return self.q.log_var

    @property
    def wide(self) -> Normal:
        """q at twice its width."""
        return Normal(self.q.mu, self.q.log_var + WIDER)

    def sample(self, eps: Array) -> Array:
        """z (S, B, K) from eps (S, B, K), S a multiple of 4."""
        z = self.q.sample(eps)
        z[0::PARTS] = eps[0::PARTS]
        z[1::PARTS] = self.wide.sample(eps[1::PARTS])
        return z

    def log_prob(self, z: Array) -> Array:
        """log Q(z), (S, B) nats."""
        parts = (self.q.log_prob(z) + math.log(2.0), self.wide.log_prob(z), standard(z).log_prob(z))
        return np.asarray(np.logaddexp.reduce(parts, axis=0) - math.log(PARTS))


def importance(model: Model, x: Array, q: Normal, noise: Noise, samples: int, first_row: Rows = 0) -> Evidence:
    """Importance sampling of log p(x) from the mixture around q; `samples` is rounded up to a multiple of its parts."""
    mixed: Any = Defensive(q)  # no slope of it is needed
    found = evidence.importance(model, x, mixed, noise, -(-samples // PARTS) * PARTS, first_row)
    return found._replace(estimator=f"{found.estimator} from q, wide q and prior")


# Draws of Q, each with probability as its weight p(x, z)/Q(z), are draws of p(z|x) as their number grows (Rubin's
# sampling importance resampling, 1987); systematic: the c-th where the running share of weight passes (c + ½)/chains.
# Chains do not cross between far modes, and chains that begin at draws of q may all sit in a minor one: then appendix D
# was 28 nats low on one of 100 images. Begun here, the modes have their shares.
def resampled(model: Model, x: Array, q: Normal, noise: Noise, samples: int, chains: int, first_row: Rows = 0) -> Array:
    """(chains, B, K): where chains on p(z|x) should begin, drawn from `samples` draws of the mixture around q."""
    check_model(model, x, q)
    mixed, steps = Defensive(q), range(-(-samples // BLOCK))
    parts = [mixed.sample(normals(noise, step, BLOCK, q.mu, first_row)) for step in steps]
    log_w = np.concatenate([model.log_joint(x, z) - mixed.log_prob(z) for z in parts])
    z = np.concatenate(parts)
    share = np.cumsum(np.exp(log_w - log_w.max(axis=0)), axis=0, dtype=np.float64)
    u = (np.arange(chains) + 0.5) / chains
    index = np.stack([np.searchsorted(share[:, b] / share[-1, b], u) for b in range(len(x))], axis=1)
    return np.ascontiguousarray(np.take_along_axis(z, index[..., None], axis=0))
