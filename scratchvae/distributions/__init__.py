"""§7.2.5 The distributions that networks speak in: as decoder p(x | z), as q(z | x), as prior.

    normal, bernoulli      with compiled twins: what most of the chapter uses
    exponential            log_prob, KL and entropy of any exponential family, once; its members in
      discrete               categorical and groups of one-hots, Poisson
      continuous             exponential, gamma, beta, continuous Bernoulli
      simplex, circle        Dirichlet; von Mises
    elementwise            sums, shapes and types of families that are one formula a number, once; its members in
      location, student      Laplace, logistic, Gumbel, Cauchy; Student-t
      positive, half_line    log-normal; Weibull, Rayleigh, Gompertz, inverse gamma, χ², F
      interval, edges        Kumaraswamy, logit-normal; uniform, triangular, reciprocal, Pareto, whose support moves
    counts, levels         negative binomial, with more zeros, binomial, multinomial; discretised logistic, its mixture,
                           ordinal
    concrete               Gumbel-softmax: one-hots relaxed, at a constant temperature
    inflated               beta with exact zeros and ones
    gaussians, planar      full covariance, precision of diagonal plus rank one; planar flow
    mixtures               mixture of normals, as prior
    latent, likelihoods    every q(z | x) by its name; every p(x | z): heads, settings, support, mass or density
    columns, kinds         mixed columns, a decoder for each; all of these by name, as networks speak in them
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
