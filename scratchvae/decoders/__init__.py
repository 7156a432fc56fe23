"""§7.2.5 Decoders p(x | z) for real data, with no clamp and no ε inside a log: one NamedTuple a family.

Parameters are unconstrained heads (..., D) and values (..., D) broadcast against them, as with `distributions.Normal`.
Densities sum over the last axis, in nats; they are worked out in float64 and come back in the parameters' own type.
Masses (counts, levels, classes) and densities (beta, gamma, log-normal, Student-t) are different units.
"""

from .counts import Binomial, NegativeBinomial, ZeroInflated
from .levels import DiscretisedLogistic, LogisticMixture, Ordinal
from .positive import Beta, Gamma, LogNormal
from .student import StudentT

__all__ = [
    "Beta",
    "Binomial",
    "DiscretisedLogistic",
    "Gamma",
    "LogNormal",
    "LogisticMixture",
    "NegativeBinomial",
    "Ordinal",
    "StudentT",
    "ZeroInflated",
]
