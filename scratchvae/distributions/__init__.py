"""§7.2.5 The distributions that networks speak in: as decoder p(x | z), as q(z | x), as prior.

    normal, bernoulli      with compiled twins: what most of the chapter uses
    exponential            log_prob, KL and entropy of any exponential family, once; its members in
      discrete               Bernoulli, categorical and groups of one-hots, Poisson
      continuous             exponential, gamma, beta, Dirichlet, continuous Bernoulli, von Mises
    concrete               Gumbel-softmax: one-hots relaxed, at a constant temperature
    counts                 negative binomial, with more zeros, binomial, multinomial
    levels                 discretised logistic and its mixture, ordinal
    positive, student      log-normal; Student-t
    gaussians              full covariance; precision of diagonal plus rank one
    planar                 planar flow: a normal folded along planes, and unfolded by its density
    mixtures               mixture of normals, as prior
    inflated               beta with exact zeros and ones
    likelihoods            all decoders by their names: heads, settings, support, mass or density
    columns                mixed columns, a decoder for each
    observed, quantiles    log p of what was observed; a value from a uniform, for every decoder
    curves, saddle         the functions they are made of, to the last digit; shared: rows and broadcasting

A family is a named tuple of its parameters, unconstrained wherever a network gives them, and is its own cotangent.
Only Normal and Bernoulli are imported here: the others need scipy.special, and come from their own modules.
"""

from .bernoulli import Bernoulli as Bernoulli
from .normal import Normal as Normal
from .shared import as_rows as as_rows
from .shared import per_row as per_row
from .shared import unbroadcast as unbroadcast
