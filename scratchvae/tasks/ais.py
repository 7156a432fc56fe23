"""§7.1.1 Annealed importance sampling and its reverse: log p(x) caught between a lower and an upper bound.

Neal, "Annealed importance sampling", Statistics and Computing 11 (2001), below N; Grosse, Ghahramani & Adams,
"Sandwiching the marginal likelihood using bidirectional Monte Carlo", 2015, below G; Wu, Burda, Salakhutdinov & Grosse,
"On the quantitative analysis of decoder-based generative models", 2017, for the schedule on a VAE.

The path from a density q₀ that can be sampled (the prior, or the encoder's q(z|x)) to the posterior:
    log f_β(z) = (1 − β) log q₀(z) + β log p(x, z),     f₀ normalised,     ∫ f₁ = p(x)
"""

from typing import NamedTuple

import numpy as np

from ..distributions import Normal
from ..errors import UsageError
from ..noise import Noise, Rows
from ..types import Array
from .evidence import Evidence, LogMean, Model, Proposal, check_model, check_samples, normals
from .hmc import ChainState, Density, chain_noise, hmc_step

GAIN, JITTER = 0.3, 0.5  # of the step-size pilot; how far a trajectory's step may be shortened, against periodicity


class Annealing(NamedTuple):
    """How to anneal: the `temperatures` 0 = β₀ < … < β_T = 1, leapfrog steps a move, the pilot's target acceptance."""

    temperatures: Array
    leapfrog: int = 10
    target: float = 0.65
    step_size: float = 0.5


class Sandwich(NamedTuple):
    """lower ≤ log p(x) ≤ upper, each in expectation; `gap` (B,) nats bounds the error of both."""

    lower: Evidence
    upper: Evidence

    @property
    def gap(self) -> Array:
        """upper − lower; the sum of both methods' KL divergences (G, eq. 7), so near 0 only if both have converged."""
        return np.asarray(self.upper.value - self.lower.value)


def schedule(steps: int, steepness: float = 4.0) -> Array:
    """β₀ … β_steps, a sigmoid stretched to [0, 1]: small steps at both ends, where f_β changes most (Wu et al.)."""
    if steps < 1:
        raise UsageError(f"steps={steps}: annealing needs at least one step from β = 0 to β = 1")
    s = 1 / (1 + np.exp(-steepness * np.linspace(-1, 1, steps + 1)))
    return np.asarray((s - s[0]) / (s[-1] - s[0]))


def prior(like: Proposal) -> Normal:
    """N(0, I) with the shape of q: the classical start of the path."""
    return Normal(np.zeros_like(like.mu), np.zeros_like(like.mu))


# From N(0, I), 12 chains of 50 temperatures were 0.74 nat low on a 2-latent VAE: most of the path is spent on the way
# to where q already is. q itself may be too narrow to see all of the posterior; a multiple of its width is in between.
def near(q: Proposal, times: float = 2.0) -> Normal:
    """q with so many times its standard deviations, but none above the prior's: a start close to the posterior."""
    return Normal(q.mu, np.minimum(q.log_var + q.log_var.dtype.type(2 * np.log(times)), 0))


# Forward (N, eq. 11): z₀ ~ f₀;  for t = 1 … T:  log w += (β_t − β_{t−1}) u(z),  u = log p(x, z) − log q₀(z);  then,
# unless t = T, z moves by a transition that leaves f_{β_t} invariant.  E[w] = p(x), so E log w ≤ log p(x): a lower one.
def annealed(
    model: Model, x: Array, q: Proposal, noise: Noise, samples: int = 16, plan: Annealing | None = None,
    first_row: Rows = 0,
) -> Evidence:  # fmt: skip
    """Forward AIS from q (`prior(q)` for the classical path) with `samples` chains a row."""
    check_samples(samples)
    plan = plan or Annealing(schedule(200))
    check_plan(plan)
    check_model(model, x, q, slope=True)
    log_steps = pilot(model, x, q, noise, min(samples, 8), plan, first_row)
    z = q.sample(normals(noise, 0, samples, q.mu, first_row))
    log_w = forward(model, x, q, z, noise, plan, log_steps, first_row)
    return evidence(log_w, 1, plan, "AIS")


# Reverse (G, §3): the same chain run backwards from an exact posterior sample z ~ f₁ = f_{β_T}. HMC is reversible, so
# each transition is its own reverse; the path that comes out has the weight w of a forward path, and E[1/w] = 1/p(x).
# Hence −log mean(1/w) ≥ log p(x) in expectation: an upper bound, provided that z is a posterior sample.
def sandwich(
    model: Model, x: Array, z: Array, q: Proposal, noise: Noise, samples: int = 16, plan: Annealing | None = None,
    first_row: Rows = 0,
) -> Sandwich:  # fmt: skip
    """Forward and reverse AIS. z (B, K) or (samples, B, K): exact samples of p(z|x), as when (x, z) come from the
    model; for real x there are none, and what chains give instead makes the upper bound approximate. Where all reverse
    chains begin at one z (B, K), the upper side's standard error is that given z, and so too small."""
    check_samples(samples)
    plan = plan or Annealing(schedule(200))
    check_plan(plan)
    check_model(model, x, q, slope=True)
    log_steps = pilot(model, x, q, noise, min(samples, 8), plan, first_row)
    start = q.sample(normals(noise, 0, samples, q.mu, first_row))
    log_w = forward(model, x, q, start, noise, plan, log_steps, first_row)
    z = np.ascontiguousarray(np.broadcast_to(z, (samples, *q.mu.shape)))
    log_w_reverse = reverse(model, x, q, z, noise, plan, log_steps, first_row)
    return Sandwich(evidence(log_w, 1, plan, "AIS"), evidence(log_w_reverse, -1, plan, "reverse AIS"))


def forward(
    model: Model, x: Array, q: Proposal, z: Array, noise: Noise, plan: Annealing, log_steps: Array, first_row: Rows
) -> Array:
    """log w (C, B) of forward paths from z ~ q (C, B, K); log_steps (T, B) fixed beforehand by `pilot`."""
    betas, T = plan.temperatures, len(plan.temperatures) - 1
    log_w = np.zeros(z.shape[:2])
    for t in range(1, T + 1):
        log_w += (betas[t] - betas[t - 1]) * (model.log_joint(x, z) - q.log_prob(z))
        if t < T:
            z, _ = transition(model, x, q, z, noise, plan, betas[t], log_steps[t], T + t, first_row)
    return log_w


def reverse(
    model: Model, x: Array, q: Proposal, z: Array, noise: Noise, plan: Annealing, log_steps: Array, first_row: Rows
) -> Array:
    """log w (C, B) of paths run backwards from posterior samples z (C, B, K)."""
    betas, T = plan.temperatures, len(plan.temperatures) - 1
    log_w = np.zeros(z.shape[:2])
    for t in range(T, 0, -1):
        log_w += (betas[t] - betas[t - 1]) * (model.log_joint(x, z) - q.log_prob(z))
        if t > 1:
            z, _ = transition(model, x, q, z, noise, plan, betas[t - 1], log_steps[t - 1], 2 * T + t, first_row)
    return log_w


# A step size that looked at the chain it moves would break the invariance both bounds rest on. So a pilot with noise of
# its own tunes it along the path, and the real chains, forward and reverse, find it fixed.
def pilot(model: Model, x: Array, q: Proposal, noise: Noise, chains: int, plan: Annealing, first_row: Rows) -> Array:
    """The log step size of each temperature and row, (T + 1, B): chased along one throw-away annealing."""
    z = q.sample(normals(noise, 1, chains, q.mu, first_row))
    T = len(plan.temperatures) - 1
    log_steps = np.full((T + 1, len(x)), np.log(plan.step_size))
    for t in range(1, T):
        z, probability = transition(model, x, q, z, noise, plan, plan.temperatures[t], log_steps[t], t, first_row)
        log_steps[t + 1] = log_steps[t] + GAIN * (probability.mean(0) - plan.target)
    return log_steps


def transition(
    model: Model, x: Array, q: Proposal, z: Array, noise: Noise, plan: Annealing, beta: float, log_step: Array,
    time: int, first_row: Rows,
) -> tuple[Array, Array]:  # fmt: skip
    """One HMC transition of z (C, B, K) that leaves f_β invariant; returns z and the acceptance probability (C, B)."""
    log_f, slope = path(model, x, q, float(beta))
    v, u = chain_noise(noise, z, time, first_row)
    step = (np.exp(log_step) * (1 - JITTER * u[1]))[..., None] * np.exp(q.log_var / 2)
    state, move = hmc_step(
        ChainState(z, log_f(z), slope(z)), v, u[0], step.astype(z.dtype), log_f, slope, plan.leapfrog
    )
    return state.z, move.probability


def path(model: Model, x: Array, q: Proposal, beta: float) -> tuple[Density, Density]:
    """log f_β(z) (C, B) and its slope (C, B, K), as functions of z."""

    def log_f(z: Array) -> Array:
        return np.asarray((1 - beta) * q.log_prob(z) + beta * model.log_joint(x, z))

    def slope(z: Array) -> Array:
        ones = np.ones(z.shape[:2], z.dtype)
        return np.asarray((1 - beta) * q.log_prob_vjp(ones, z)[0] + beta * model.log_joint_vjp(ones, x, z))

    return log_f, slope


def evidence(log_w: Array, sign: int, plan: Annealing, name: str) -> Evidence:
    """±log mean exp(±log w): +1 for forward paths, −1 for reverse ones; cost with the pilot."""
    C, B = log_w.shape
    mean = LogMean.empty(B).add(sign * log_w)
    T = len(plan.temperatures) - 1
    cost = (C + min(C, 8)) * B * T * (plan.leapfrog + 4)
    return Evidence(sign * mean.value, mean.standard_error, mean.ess, cost, f"{name}, {C} chains of {T} temperatures")


def check_plan(plan: Annealing) -> None:
    """One clear line for temperatures that do not lead from q to the posterior."""
    betas = plan.temperatures
    if betas.ndim != 1 or len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or (np.diff(betas) <= 0).any():
        raise UsageError("temperatures must rise strictly from 0 to 1: use schedule(steps)")
