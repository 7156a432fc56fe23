"""§7.2.5 "Any exponential family": one pair of log_prob, KL and entropy, and what nine families supply to it."""

from .continuous import Beta, ContinuousBernoulli, Dirichlet, Exponential, Gamma, VonMises
from .discrete import Bernoulli, Categorical, Poisson, one_hots
from .pair import ExponentialFamily

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "ContinuousBernoulli",
    "Dirichlet",
    "Exponential",
    "ExponentialFamily",
    "Gamma",
    "Poisson",
    "VonMises",
    "one_hots",
]
