"""§7.2.5 The families that a network may give as q(z | x), by name: their support does not move, and a standard member
(all heads 0) is their prior.
"""

from typing import Any

from .circle import VonMises
from .continuous import Beta, ContinuousBernoulli, Exponential, Gamma
from .half_line import ChiSquare, F, Gompertz, InverseGamma, Rayleigh, Weibull
from .interval import Kumaraswamy, LogitNormal
from .location import Cauchy, Gumbel, Laplace, Logistic
from .normal import Normal
from .positive import LogNormal
from .simplex import Dirichlet
from .student import StudentT

POSTERIORS: dict[str, type[Any]] = {
    # on the real line
    "normal": Normal,
    "laplace": Laplace,
    "logistic": Logistic,
    "student-t": StudentT,
    "gumbel": Gumbel,
    "cauchy": Cauchy,
    # positive
    "log-normal": LogNormal,
    "gamma": Gamma,
    "inverse-gamma": InverseGamma,
    "weibull": Weibull,
    "exponential": Exponential,
    "rayleigh": Rayleigh,
    "gompertz": Gompertz,
    "chi-square": ChiSquare,
    "f": F,
    # in (0, 1), on the simplex, on the circle
    "beta": Beta,
    "kumaraswamy": Kumaraswamy,
    "logit-normal": LogitNormal,
    "continuous-bernoulli": ContinuousBernoulli,
    "dirichlet": Dirichlet,
    "von-mises": VonMises,
}
