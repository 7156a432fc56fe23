"""§7.1.1 Task 2, inferring z: q(z|x) refined row by row, chains on the true posterior, and the gap between them.

Cremer, Li & Duvenaud, "Inference suboptimality in variational autoencoders", 2018, below C:
    log p(x) − L[q]  =  log p(x) − L[q*]  +  L[q*] − L[q]        q* the best Gaussian for this row, q the encoder's
    inference gap       approximation gap    amortisation gap
The model is as for `evidence`: log_joint and its slope in z. Rows are independent of one another.
"""

from typing import NamedTuple

import numpy as np

from ..distributions import Normal
from ..errors import UsageError
from ..kernels import NUMPY, Kernels
from ..noise import Noise, Purpose, Rows
from ..types import Array
from . import quadrature
from .diagnostics import effective_sample_size, r_hat
from .evidence import Evidence, Model, check_model, importance, normals
from .evidence import quadrature as on_grid
from .hmc import ChainPlan, Chains, hmc, metropolis

MET = 1.05  # R-hat of chains that have met
FEW = 4  # latents in which a random walk gets about
MEASURE = 1_000_000  # the noise's steps from here on measure bounds: not those that evidence takes


class Summary(NamedTuple):
    """What one method says of p(z|x): mean and sd (B, K); r_hat, the split R-hat by ranks, and ess of the mean, (B, K),
    for chains (NaN for the others); its cost, evaluations of the joint or its slope for one z."""

    mean: Array
    sd: Array
    r_hat: Array
    ess: Array
    cost: int = 0


class Gap(NamedTuple):
    """log p(x) (an Evidence), and the bounds of q and of q* with the standard errors of their estimates, (B,) nats;
    difference_error is that of L[q*] − L[q], from the same noise."""

    evidence: Evidence
    amortised: Array
    refined: Array
    amortised_error: Array
    refined_error: Array
    difference_error: Array

    @property
    def approximation(self) -> Array:
        """log p(x) − L[q*] = KL(q* ‖ p(z|x)): what no diagonal Gaussian can do."""
        return np.asarray(self.evidence.value - self.refined)

    @property
    def amortisation(self) -> Array:
        """L[q*] − L[q]: what the encoder loses by serving all rows."""
        return np.asarray(self.refined - self.amortised)


# --- the best Gaussian for one row ----------------------------------------------------------------


# L[q] = E_q[log p(x, z) − log q(z)], z = μ + σ ε.  Of the two ways to φ, the one through z alone (E ∂ log q/∂φ = 0):
#     ∂L/∂z → (∂/∂z)(log p(x, z) − log q(z)),  then through z = μ + σ ε          Roeder et al. 2017
# Its variance falls to 0 as q meets the posterior, so that Adam with a falling rate settles.
def refine(
    model: Model,
    x: Array,
    q: Normal,
    noise: Noise,
    steps: int = 500,
    samples: int = 16,
    rate: float = 0.05,
    first_row: Rows = 0,
    k: Kernels = NUMPY,
) -> Normal:
    """q* (B, K): `steps` of Adam on (mu, log_var) from q, `samples` draws a row each; the rate falls as a cosine."""
    if min(steps, samples) < 1 or not rate > 0:
        raise UsageError(f"steps={steps}, samples={samples}, rate={rate} must be above 0 to refine q")
    check_model(model, x, q, slope=True)
    B, K = q.mu.shape
    at = np.ascontiguousarray([q.mu, q.log_var])
    m, v = np.zeros_like(at).reshape(-1), np.zeros_like(at).reshape(-1)
    w = np.full((samples, B), 1 / samples, at.dtype)
    for t in range(steps):
        eps = noise.normals(Purpose.LATENT, t, B, samples * K, at.dtype, first_row)
        dq = bound_slope(model, x, Normal(at[0], at[1]), eps.reshape(B, samples, K).transpose(1, 0, 2), w)
        hyper = (rate * 0.5 * (1 + float(np.cos(np.pi * t / steps))), 0.9, 0.99, 1e-8, 0.0)
        k.adam(at.reshape(-1), np.concatenate([dq.mu.reshape(-1), dq.log_var.reshape(-1)]), m, v, t + 1, hyper)
    return Normal(at[0], at[1])


def bound_slope(model: Model, x: Array, q: Normal, eps: Array, w: Array) -> Normal:
    """The path's share of ∂(Σ w r)/∂(mu, log_var), (B, K); eps (S, B, K), w (S, B)."""
    z = q.sample(eps)
    dz = model.log_joint_vjp(w, x, z) - q.log_prob_vjp(w, z)[0]
    return q.sample_vjp(dz, eps)


def bound(model: Model, x: Array, q: Normal, noise: Noise, samples: int = 1000, first_row: Rows = 0) -> Array:
    """r = log p(x, z) − log q(z) at z ~ q, (S, B) nats, whose mean is L[q]; the same noise for every q of a row."""
    check_model(model, x, q)
    found = []
    for start in range(0, samples, 32):
        eps = normals(noise, MEASURE + start, min(32, samples - start), q.mu, first_row)
        z = q.sample(eps)
        found.append(model.log_joint(x, z) - q.log_prob(z))
    return np.concatenate(found).astype(np.float64)


def gap(
    model: Model, x: Array, q: Normal, refined: Normal, noise: Noise, samples: int = 1000, first_row: Rows = 0
) -> Gap:
    """The inference gap in its two parts. log p(x) by quadrature for one or two latents, else by importance sampling
    from q*, 5 · samples draws; those are low on average by as much as their weights vary, and say so."""
    if samples < 2:
        raise UsageError(f"samples={samples}: a bound with its standard error needs at least 2")
    rows = [bound(model, x, one, noise, samples, first_row) for one in (q, refined)]
    evidence = (
        on_grid(model, x, q)
        if q.mu.shape[1] <= 2
        else importance(model, x, refined, noise, 5 * samples, first_row=first_row)
    )
    errors = [r.std(axis=0, ddof=1) / samples**0.5 for r in (*rows, rows[1] - rows[0])]
    return Gap(evidence, rows[0].mean(axis=0), rows[1].mean(axis=0), *errors)


# --- summaries ------------------------------------------------------------------------------------


def sample(
    model: Model, x: Array, q: Normal, noise: Noise, chains: int, plan: ChainPlan, method: str = "hmc"
) -> Chains:
    """Chains on p(z|x) by "hmc" (Kingma & Welling 2014, App. E) or, at the same cost, "metropolis" (§7.1.2), from twice
    as wide as q, in steps that q's standard deviations scale."""
    check_model(model, x, q, slope=method != "metropolis")
    wide = Normal(q.mu, q.log_var + np.log(4.0).astype(q.log_var.dtype))
    start = wide.sample(normals(noise, 0, chains, q.mu, plan.first_row))
    ones = np.ones(start.shape[:2], start.dtype)
    plan = plan._replace(scale=np.exp(q.log_var / 2))
    if method == "metropolis":
        each = plan.leapfrog + 1  # steps to one of HMC's, for as many evaluations
        longer = plan._replace(draws=each * plan.draws, warm_up=each * plan.warm_up)
        walk = metropolis(lambda z: model.log_joint(x, z), start, noise, longer)
        return walk._replace(draws=walk.draws[each - 1 :: each], log_p=walk.log_p[each - 1 :: each])
    return hmc(lambda z: model.log_joint(x, z), lambda z: model.log_joint_vjp(ones, x, z), start, noise, plan)


def of_chains(chains: Chains) -> Summary:
    """Moments and diagnostics of draws (T, C, B, K)."""
    draws = chains.draws.astype(np.float64)
    ranked, ess = r_hat(draws, ranked=True), effective_sample_size(draws)
    return Summary(draws.mean(axis=(0, 1)), draws.std(axis=(0, 1)), ranked, ess, chains.cost)


def of_normal(q: Normal) -> Summary:
    """Moments of a Gaussian."""
    none = np.full(q.mu.shape, np.nan)
    return Summary(q.mu, np.exp(q.log_var / 2), none, none)


def exact(model: Model, x: Array, latents: int, index: Array | None = None) -> Summary:
    """Moments by quadrature, one or two latents. Errors number rows as in `index` (B,)."""
    found = quadrature.posterior(model.log_joint, x, latents, index=index)
    none = np.full(found.mean.shape, np.nan)
    return Summary(found.mean, np.sqrt(np.einsum("bkk->bk", found.cov)), none, none, found.cost)


def doubts(name: str, found: Summary) -> str:
    """One line if the chains have not met or are worth too little to be trusted, "" otherwise.

    Halves of sound chains that are worth ESS draws together have R-hat near √(1 + halves / ESS): 1.04 for the 100 that
    know a mean to a tenth of its standard deviation, and the worst of many latents is above that.
    """
    worst, least = np.max(found.r_hat), np.min(found.ess)
    if worst < MET and least >= 100:  # False for NaN: a chain that never moved is doubtful too
        return ""
    walk = name == "metropolis" and found.mean.shape[1] > FEW
    cure = f"a random walk is slow in {found.mean.shape[1]} latents: trust hmc" if walk else "take more draws"
    return f"{name}: do not trust these chains (worst R-hat {worst:.3f}, least ESS {least:.0f}); {cure}"
