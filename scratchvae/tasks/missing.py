"""§7.1.1 Task 3, filling in what is missing: x_mis given x_obs by two Markov chains and by importance sampling.

Rezende, Mohamed & Wierstra 2014, App. F: the chain z ~ q(z|x), x_mis ~ p(x_mis|z), which would be Gibbs if q were the
posterior. Mattei & Frellsen, "Leveraging the exact likelihood of deep latent variable models", 2018, below MF: accept
or reject z by Metropolis and Hastings, and the chain's law is p(z, x_mis|x_obs) whatever q is.

x (B, D) may hold anything, NaN too, where `observed` (B, D) bool is False. C chains a row, each fills x for itself.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..conditional import Distribution, Net, kind, mean_of, net, sample_of
from ..distributions import Bernoulli, Normal
from ..errors import DataError, UsageError
from ..kernels import NUMPY, Kernels
from ..models.decoded import Decoded, Generative, decoder_of
from ..noise import Noise, Purpose, Rows
from ..types import Array
from .evidence import Evidence, LogMean


class Coder(NamedTuple):
    """A VAE for chains: q(z|x) by phi, p(x|z) by theta, p(z) the `kind`'s standard member, N(0, I), unless theta is a
    `Generative`; x (C, B, D), z (C, B, K)."""

    phi: Net
    theta: Net | Generative
    k: Kernels = NUMPY
    kind: Any = Normal

    def encode(self, x: Array) -> Distribution:
        """q(z|x)."""
        return net(x, self.phi, self.k)[0]

    def decode(self, z: Array) -> Distribution:
        """p(x|z)."""
        return net(z, decoder_of(self.theta), self.k)[0]

    def log_weight(self, x: Array, z: Array, q: Distribution, p: Distribution) -> Array:
        """log p(x|z) + log p(z) − log q(z|x), (C, B) nats, for q = encode(x) and p = decode(z)."""
        log_ratio: Array = self.prior(z).log_prob(z, self.k) - q.log_prob(z, self.k)
        return log_ratio + p.log_prob(x, self.k)

    def prior(self, z: Array) -> Distribution:
        """p(z) as a distribution."""
        return Decoded(self.k, self.kind).prior(z, self.theta)


class FillPlan(NamedTuple):
    """How to run the chains: `draws` kept of each of `chains`, one in `thin` steps, after `warm_up`, whose first
    `gibbs` steps are Rezende's (they find the place fast, as MF advise). first_row names the noise."""

    draws: int = 20
    chains: int = 5
    thin: int = 5
    warm_up: int = 50
    gibbs: int = 25
    first_row: Rows = 0


Plan = FillPlan  # its old name


class Filled(NamedTuple):
    """Where the chains stand: x (C, B, D) filled in, z (C, B, K), and p = p(x|z)."""

    x: Array
    z: Array
    p: Distribution


class Imputations(NamedTuple):
    """Multiple imputations: draws (T, C, B, D) of x, equal to x where observed, and the codes (T, C, B, K) they came
    from; mean (B, D), the average of E[x|z] over all steps after the warm-up; acceptance (B,); cost, codes decoded;
    observed_evidence, log p(x_obs), where the method gives it."""

    draws: Array
    codes: Array
    mean: Array
    acceptance: Array
    cost: int
    observed_evidence: Evidence | None = None


# Target p(z, x_mis|x_obs).  Given z, x_mis is drawn exactly: p(x_mis|z) has independent entries.  Given x, z* ~ q(z|x)
# is an independence proposal for p(z|x) ∝ p(x|z) p(z), so Hastings' ratio is                            MF, Algorithm 2
#     p(x|z*) p(z*) / q(z*|x)  :  p(x|z) p(z) / q(z|x)              with the same x, and the same q, on both sides
# Rezende's chain takes every z*; its law is then another one, as far as q(z|x) is from p(z|x).
def advance(
    coder: Coder, state: Filled, observed: Array, eps: Array, u: Array, noise: Array, corrected: bool
) -> tuple[Filled, Array]:
    """One step of all chains, and which accepted (C, B): eps (C, B, K) normals, u (C, B) uniforms, noise (C, B, D)."""
    q = coder.encode(state.x)
    z = q.sample(eps, coder.k)
    p, accepted = coder.decode(z), np.ones(z.shape[:2], bool)
    if corrected:
        gain = coder.log_weight(state.x, z, q, p) - coder.log_weight(state.x, state.z, q, state.p)
        accepted = u < np.exp(np.minimum(gain, 0))  # a NaN is not accepted
        z = np.where(accepted[..., None], z, state.z)
        if isinstance(p, Normal | Bernoulli):  # cheaper than to decode again
            both = {name: (getattr(p, name), getattr(state.p, name)) for name in p._fields}
            p = p._replace(**{name: np.where(accepted[..., None], *pair) for name, pair in both.items()})
        else:
            p = coder.decode(z)
    x = np.where(observed, state.x, sample_of(p, noise, coder.k))
    return Filled(x, z, p), accepted


def chain(
    coder: Coder,
    x: Array,
    observed: Array,
    fill: Array,
    noise: Noise,
    plan: FillPlan | None = None,
    corrected: bool = True,
) -> Imputations:
    """Metropolis-within-Gibbs, or with corrected=False Rezende's chain. fill (D,) or (B, D): the first guess of x_mis.

    Raises DataError for masks that leave nothing to do, UsageError for a plan that cannot run.
    """
    plan = plan or FillPlan()
    check_plan(plan)
    state = first_state(coder, x, observed, fill, noise, plan)
    for t in range(1, plan.warm_up + 1):
        state, _ = advance(coder, state, observed, *draw(coder, noise, state, t, plan), corrected and t > plan.gibbs)
    draws, codes = (np.empty((plan.draws, *a.shape), a.dtype) for a in state[:2])
    total, taken, steps = np.zeros(x.shape), np.zeros(len(x)), plan.draws * plan.thin
    for t in range(steps):
        state, accepted = advance(
            coder, state, observed, *draw(coder, noise, state, plan.warm_up + t + 1, plan), corrected
        )
        total += mean_of(state.p).mean(axis=0, dtype=np.float64)
        taken += accepted.mean(axis=0)
        if (t + 1) % plan.thin == 0:
            draws[t // plan.thin], codes[t // plan.thin] = state.x, state.z
    mean = np.where(observed, state.x[0], total / steps)
    return Imputations(draws, codes, mean, taken / steps, (plan.warm_up + steps) * plan.chains * len(x))


def first_state(coder: Coder, x: Array, observed: Array, fill: Array, noise: Noise, plan: FillPlan) -> Filled:
    """x filled with the first guess, z ~ q(z|x)."""
    check_mask(x, observed)
    filled = np.where(observed, x, fill).astype(x.dtype)
    filled = np.ascontiguousarray(np.broadcast_to(filled, (plan.chains, *x.shape)))
    q = coder.encode(filled)
    shape = mean_of(q).shape
    eps = noise_for(q, noise, Purpose.CHAIN, 0, len(x), shape[0] * shape[2], x.dtype, plan.first_row)
    z = q.sample(by_chain(eps, shape), coder.k).astype(x.dtype, copy=False)
    return Filled(filled, z, coder.decode(z))


def noise_for(
    family: Any, noise: Noise, purpose: Purpose, step: int, B: int, columns: int, dtype: DTypeLike, first_row: Rows
) -> Array:
    """What the family's `sample` takes, (B, columns): normals, or uniforms, of which bits take those that may be 0."""
    if getattr(family, "noise", "uniforms") == "normals":
        return noise.normals(purpose, step, B, columns, dtype, first_row)
    if isinstance(family, Bernoulli):
        return noise.uniforms(purpose, step, B, columns, dtype, first_row)
    return noise.inner_uniforms(purpose, step, B, columns, first_row)


def draw(coder: Coder, noise: Noise, state: Filled, t: int, plan: FillPlan) -> tuple[Array, Array, Array]:
    """The noise of step t ≥ 1: for z, for the decision, and for x."""
    (C, B, D), K, dtype = state.x.shape, state.z.shape[2], state.x.dtype
    q = coder.phi.family.name
    eps = noise_for(
        Normal if q == "normal" else kind(q).family, noise, Purpose.CHAIN, 2 * t, B, C * K, dtype, plan.first_row
    )
    u = noise.uniforms(Purpose.ACCEPT, t, B, C, dtype, plan.first_row)
    pixels = noise_for(state.p, noise, Purpose.CHAIN, 2 * t + 1, B, C * D, dtype, plan.first_row)
    return by_chain(eps, (C, B, K)), u.T, by_chain(pixels, (C, B, D))


def by_chain(rows: Array, shape: tuple[int, ...]) -> Array:
    """Noise by row, then chain, (B, C · n), as (C, B, n): more chains keep the old ones."""
    C, B, n = shape
    return np.ascontiguousarray(rows.reshape(B, C, n).transpose(1, 0, 2))


# --- importance sampling of the conditional -------------------------------------------------------


# p(x_mis|x_obs) = E_{p(z|x_obs)} p(x_mis|z), and p(z|x_obs) ∝ p(x_obs|z) p(z).  No encoder takes x_obs alone, but the C
# fillings x_c of Rezende's chain each give a q(z|x_c); together with the prior, against light tails, they propose:
#     z ~ Q(z) = (1/(C+1)) [ Σ_c q(z|x_c) + p(z) ],     w = p(x_obs|z) p(z) / Q(z),     E w = p(x_obs)
# The same number of z from each part (stratified); then draws by weight, each of which fills in x_mis ~ p(x_mis|z).
def importance(
    coder: Coder,
    x: Array,
    observed: Array,
    fill: Array,
    noise: Noise,
    plan: FillPlan | None = None,
    samples: int = 1000,
) -> Imputations:
    """Imputations by sampling-importance-resampling, `samples` codes a row, and log p(x_obs) as evidence."""
    plan = plan or FillPlan()
    check_plan(plan)
    if coder.phi.family.name != "normal" or isinstance(coder.theta, Generative):
        raise UsageError("importance sampling of what is missing is for a Gaussian q under N(0, I): take metropolis")
    state = first_state(coder, x, observed, fill, noise, plan)
    for t in range(1, plan.gibbs + 1):
        state, _ = advance(coder, state, observed, *draw(coder, noise, state, t, plan), False)
    z, log_w = weighted(coder, state.x, observed, noise, plan, samples)
    weights = LogMean.empty(len(x)).add(log_w)
    name = f"importance sampling of p(x_obs), {len(z)} samples"
    evidence = Evidence(weights.value, weights.standard_error, weights.ess, z[..., 0].size, name)
    w = np.exp(log_w - weights.value) / len(z)
    mean = sum(w[s, :, None] * mean_of(coder.decode(z[s])) for s in range(len(z)))
    drawn, codes = resampled(coder, state, observed, noise, plan, z, w)
    cost = (plan.gibbs * plan.chains + 2 * len(z)) * len(x)
    accepted = np.ones(len(x))
    return Imputations(drawn, codes, np.where(observed, state.x[0], mean), accepted, cost, evidence)


def weighted(
    coder: Coder, x: Array, observed: Array, noise: Noise, plan: FillPlan, samples: int
) -> tuple[Array, Array]:
    """Codes z (S, B, K) from Q and their log weights (S, B); x (C, B, D) are the fillings, S ≥ samples."""
    q = coder.encode(x)
    zero = np.zeros((1, *q.mu.shape[1:]), q.mu.dtype)
    mu, log_var = (np.concatenate([part, zero]) for part in q)
    parts, m = len(mu), observed.astype(x.dtype)
    z = []
    for s in range(-(-samples // parts)):
        eps = noise.normals(Purpose.EVALUATE, s, mu.shape[1], mu[:, 0].size, mu.dtype, plan.first_row)
        z.append(Normal(mu, log_var).sample(by_chain(eps, mu.shape), coder.k))
    codes = np.concatenate(z)
    log_q = np.logaddexp.reduce([Normal(mu[c], log_var[c]).log_prob(codes, coder.k) for c in range(parts)], axis=0)
    log_p = np.concatenate([coder.decode(part).log_prob_observed(x[0], m, coder.k) for part in z])
    return codes, log_p + coder.prior(codes).log_prob(codes, coder.k) - log_q + np.log(parts)


def resampled(
    coder: Coder, state: Filled, observed: Array, noise: Noise, plan: FillPlan, z: Array, w: Array
) -> tuple[Array, Array]:
    """T · C codes a row in proportion to w (S, B), systematically (one uniform a row), and x drawn from each."""
    M, B = plan.draws * plan.chains, z.shape[1]
    u = noise.uniforms(Purpose.ACCEPT, 0, B, 1, np.float64, plan.first_row)
    at = (np.arange(M) + u) / M  # (B, M)
    ends = np.cumsum(w, axis=0)
    picked = np.stack([np.searchsorted(ends[:, b] / ends[-1, b], at[b], side="right") for b in range(B)], axis=1)
    codes = z[np.minimum(picked, len(z) - 1), np.arange(B)].reshape(plan.draws, plan.chains, B, -1)
    drawn = np.empty((*codes.shape[:3], state.x.shape[2]), state.x.dtype)
    used = max(plan.warm_up, plan.gibbs)  # steps whose noise the proposal has seen
    for t, code in enumerate(codes):
        _, _, pixels = draw(coder, noise, state, used + 1 + t, plan)
        drawn[t] = np.where(observed, state.x, sample_of(coder.decode(code), pixels, coder.k))
    return drawn, codes


def check_mask(x: Array, observed: Array, index: Array | None = None, row: str = "row") -> None:
    """One clear line for a mask that does not fit x, hides all of a row, or calls observed what is not. Rows are called
    `row`, and numbered as in `index` (B,)."""
    number = np.arange(len(x)) if index is None else index
    if observed.shape != x.shape or observed.dtype != np.bool_:
        raise DataError(f"the mask is {observed.dtype} {observed.shape}, expected bool {x.shape} like x")
    if (empty := ~observed.any(axis=1)).any():
        raise DataError(f"{row} {number[np.argmax(empty)]} has all its {x.shape[1]} entries missing: "
                        "there is nothing to fill it from; sample instead")  # fmt: skip
    if not np.isfinite(x[observed]).all():
        b, d = np.argwhere(observed & ~np.isfinite(x))[0]
        raise DataError(f"x holds {x[b, d]} at {row} {number[b]}, column {d} (from 0), which the mask calls observed")


def check_gaps(observed: Array) -> None:
    """One clear line for a mask that hides nothing of any row, where the caller must have meant another."""
    if observed.all():
        raise DataError("nothing is missing under this mask: every entry of every row was observed")


def check_plan(plan: FillPlan) -> None:
    """One clear line for a plan that cannot run."""
    if min(plan.draws, plan.chains, plan.thin) < 1 or min(plan.warm_up, plan.gibbs) < 0:
        raise UsageError(f"{plan} cannot run: draws, chains, thin >= 1 and warm_up, gibbs >= 0")
