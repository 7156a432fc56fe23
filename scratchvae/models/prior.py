"""§7.3 A prior made of the encoder: the variational mixture of posteriors (VampPrior, Tomczak & Welling 2018).

    p(z) = 1/C Σ_c q_φ(z | u_c),      u_c a pseudo-input a component: free parameters, through a sigmoid for [0, 1]

The encoder runs twice, on the data and on the u_c, and φ's cotangent is the sum of both uses.
"""

from typing import NamedTuple

import numpy as np

from ..conditional import Net, net, net_vjp
from ..distributions import Normal
from ..distributions.mixtures import MixtureNormal
from ..kernels import NUMPY, Kernels
from ..networks import activate, activate_vjp
from ..types import Array


class Cache(NamedTuple):
    """What `vamp` computed and `vamp_vjp` needs."""

    u: Array  # (C, D)
    q: Normal
    layers: list[Array]
    inputs: str


def vamp(pseudo: Array, phi: Net, k: Kernels = NUMPY, inputs: str = "sigmoid") -> tuple[MixtureNormal, Cache]:
    """The prior of C pseudo-inputs, free parameters (C, D) as the encoder's first layer sees rows, and the cache for
    the way back. `inputs` maps them to numbers like the data's: "sigmoid" for values in [0, 1], "identity" for
    real columns."""
    u = activate(pseudo, inputs, k)
    q, layers = net(u, phi, k)
    assert isinstance(q, Normal)
    return MixtureNormal(q.mu, q.log_var, np.zeros(len(u), u.dtype)), Cache(u, q, layers, inputs)


def vamp_vjp(
    dprior: MixtureNormal, cache: Cache, pseudo: Array, phi: Net, dphi: Net, dpseudo: Array, k: Kernels = NUMPY
) -> None:
    """Of `vamp`: *adds* into dphi, on top of what the encoder of the data has put there, and into dpseudo (C, D). The
    weights 1/C are fixed: dprior.logits is not used."""
    du = net_vjp(Normal(dprior.mu, dprior.log_var), cache.q, cache.layers, phi, dphi, k)  # q = encoder(u)
    assert du is not None
    dpseudo += activate_vjp(du, cache.u, cache.inputs, k)  # u = inputs(pseudo)
