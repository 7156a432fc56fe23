"""§7.1.2 Sampling the true posterior: Hamiltonian Monte Carlo and random-walk Metropolis-Hastings, row by row.

Neal, "MCMC using Hamiltonian dynamics", 2011; Kingma & Welling 2014, App. E (10 leapfrog steps, 90 % acceptance).
z is (C, B, K): C chains for each of B rows. A log density maps z to (C, B) nats, unnormalised; its slope maps z to z's
shape. Step sizes are (B,): each row has a posterior of its own width. Mathematics draws nothing: noise is an argument.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import CheckFailed, DataError, UsageError
from ..gradcheck import check as gradcheck
from ..gradcheck.contract import untouched
from ..gradcheck.report import WRONG
from ..noise import Noise, Purpose, Rows, place
from ..types import Array

Density = Callable[[Array], Array]
DIVERGED = 1000.0  # nats of energy: no sound trajectory gains so much, the integrator has blown up


class ChainPlan(NamedTuple):
    """How to run chains: `draws` kept after `warm_up`, in which the step size is tuned to the `target` acceptance.

    `scale` (…, B, K) stretches the step by latent (a standard deviation, say that of q(z|x)); `jitter` shortens each
    trajectory's step by a random fraction up to that, for on a Gaussian every trajectory of one full period returns to
    its start. first_step and first_row name the noise.
    """

    draws: int = 1000
    warm_up: int = 500
    leapfrog: int = 10
    target: float = 0.9
    step_size: float = 0.1
    scale: Array | float = 1.0
    jitter: float = 0.5
    first_step: int = 0
    first_row: Rows = 0


Plan = ChainPlan  # its old name


class ChainState(NamedTuple):
    """Where the chains stand: z (C, B, K), log density (C, B), its gradient (C, B, K)."""

    z: Array
    log_p: Array
    gradient: Array


class Move(NamedTuple):
    """What one transition did, each (C, B): probability of acceptance, decision, whether the proposal broke down."""

    probability: Array
    accepted: Array
    divergent: Array


class Chains(NamedTuple):
    """The outcome of a run, without the warm-up.

    draws (T, C, B, K); log_p (T, C, B), unnormalised nats; acceptance (C, B), the fraction of proposals accepted;
    divergent (C, B), the number of proposals refused because the trajectory blew up or was no number; step_size (B,);
    cost, how often the density or its slope was evaluated for one z, warm-up included.
    """

    draws: Array
    log_p: Array
    acceptance: Array
    divergent: Array
    step_size: Array
    cost: int


Transition = Callable[[ChainState, Array, Array, Array], tuple[ChainState, Move]]


# H(z, v) = −log p(z) + ½‖v‖².  The leapfrog is a composition of shears (so it keeps volume) and runs backwards when
# v is negated (so it is reversible); accepting with probability min(1, e^−ΔH) then leaves p(z) N(v; 0, I) invariant.
#   v += ½ε ∇log p(z);   (z += ε v;   v += ε ∇log p(z)) × steps, the last kick halved              Neal 2011, §5.2.3.3
def leapfrog(
    z: Array, v: Array, gradient: Array, step: Array, steps: int, slope: Density
) -> tuple[Array, Array, Array]:
    """`steps` leapfrog steps of size `step` (broadcast over z) from (z, v); returns z, v and the gradient there."""
    v = v + 0.5 * step * gradient
    for i in range(steps):
        z = z + step * v
        gradient = slope(z)
        v = v + (step if i + 1 < steps else 0.5 * step) * gradient
    return z, v, gradient


def hmc_step(
    state: ChainState, v: Array, u: Array, step: Array, log_density: Density, slope: Density, steps: int = 10
) -> tuple[ChainState, Move]:
    """One transition that leaves exp(log_density) invariant: momentum v ~ N(0, I) (C, B, K), u ~ U[0, 1) (C, B)."""
    with np.errstate(over="ignore", invalid="ignore"):  # a trajectory may blow up: it is refused and counted
        z, v_end, gradient = leapfrog(state.z, v, state.gradient, step, steps, slope)
        log_p = log_density(z)
        gain = log_p - state.log_p - 0.5 * ((v_end * v_end).sum(-1) - (v * v).sum(-1))  # −ΔH
    divergent = ~np.isfinite(gain) | (gain < -DIVERGED)  # a slope that is no number has spoilt v_end and so the gain
    return choose(state, ChainState(z, log_p, gradient), gain, u, divergent)


def metropolis_step(
    state: ChainState, eps: Array, u: Array, step: Array, log_density: Density
) -> tuple[ChainState, Move]:
    """One random-walk transition z' = z + step ε, ε ~ N(0, I): symmetric, so Hastings' ratio is p(z')/p(z) alone."""
    z = state.z + step * eps
    log_p = log_density(z)
    gain = log_p - state.log_p
    return choose(state, ChainState(z, log_p, state.gradient), gain, u, np.isnan(gain) | np.isposinf(gain))


def choose(old: ChainState, new: ChainState, gain: Array, u: Array, divergent: Array) -> tuple[ChainState, Move]:
    """Accept `new` with probability min(1, e^gain), u ~ U[0, 1) deciding; never where `divergent`."""
    probability = np.where(divergent, 0, np.exp(np.minimum(np.where(divergent, 0, gain), 0)))
    accepted = u < probability
    pairs = zip(new, old, strict=True)
    state = ChainState(
        *(np.where(accepted if a.ndim == accepted.ndim else accepted[..., None], a, b) for a, b in pairs)
    )
    return state, Move(probability, accepted, divergent)


class Tuner(NamedTuple):
    """Dual averaging of the log step, one a row (Hoffman & Gelman 2014, §3.2: their γ = 0.05, t₀ = 10, κ = 0.75)."""

    centre: Array
    error: Array
    average: Array
    time: int = 0

    def update(self, probability: Array, target: float) -> tuple["Tuner", Array]:
        """From the mean acceptance (B,) just seen: the next tuner and the next log step."""
        t = self.time + 1
        error = self.error + (target - probability - self.error) / (t + 10)
        log_step = self.centre - t**0.5 / 0.05 * error
        average = self.average + t**-0.75 * (log_step - self.average)
        return Tuner(self.centre, error, average, t), log_step


def begin(start: Array, log_density: Density, slope: Density) -> ChainState:
    """The state at `start`; UsageError for a function that writes into z. Copies, for it may reuse what it returns."""
    log_p, gradient = untouched("log_density", log_density, z=start), untouched("slope", slope, z=start)
    return ChainState(start, np.array(log_p), np.array(gradient))


def agree(log_density: Density, slope: Density, start: Array) -> None:
    """Raises CheckFailed where the slope is not that of the log density along a direction, in z's own type."""

    def f(z: Array) -> Array:
        return log_density(z.astype(start.dtype))

    def f_vjp(w: Array, z: Array) -> Array:
        return w[..., None] * slope(z.astype(start.dtype))

    found = gradcheck(f, f_vjp, (start,), methods=("direction",), tolerance={"direction": 1e-5, "central": 1e-5})
    if found.verdict == WRONG:  # of what nobody can tell, nobody is accused
        raise CheckFailed(f"slope disagrees with log_density: {found.first_failure}")


def hmc(
    log_density: Density,
    slope: Density,
    start: Array,
    noise: Noise,
    plan: ChainPlan = ChainPlan(),  # noqa: B008
    checked: bool = True,
) -> Chains:
    """Hamiltonian Monte Carlo from `start` (C, B, K), which is left as it is.

    Raises DataError if the density is not finite there, UsageError if a function writes into its z, and, if `checked`,
    CheckFailed if the slope is not that of the density at the start."""

    def transition(state: ChainState, v: Array, u: Array, step: Array) -> tuple[ChainState, Move]:
        return hmc_step(state, v, u, step, log_density, slope, plan.leapfrog)

    state = begin(start, log_density, slope)
    check(state, plan)
    if checked:
        agree(log_density, slope, start)
    return run(transition, state, noise, plan, (plan.leapfrog + 1) * start[..., 0].size)


def metropolis(log_density: Density, start: Array, noise: Noise, plan: ChainPlan = ChainPlan(target=0.3)) -> Chains:  # noqa: B008
    """Random-walk Metropolis-Hastings from `start` (C, B, K): needs no slope and mixes slowly (0.234 is best in many
    dimensions, 0.44 in one: Roberts, Gelman & Gilks 1997)."""

    def transition(state: ChainState, eps: Array, u: Array, step: Array) -> tuple[ChainState, Move]:
        return metropolis_step(state, eps, u, step, log_density)

    state = begin(start, log_density, np.zeros_like)
    return run(transition, state, noise, plan, start[..., 0].size)


def run(transition: Transition, state: ChainState, noise: Noise, plan: ChainPlan, cost: int) -> Chains:
    """Warm-up, in which the step is tuned and the draws are dropped; then `plan.draws` transitions with it fixed."""
    check(state, plan)
    log_step = np.full(state.z.shape[1], np.log(plan.step_size))
    tuner = Tuner(log_step + np.log(10.0), 0 * log_step, log_step)
    for t in range(plan.warm_up):
        state, move = advance(transition, state, noise, plan, t, log_step)
        tuner, log_step = tuner.update(move.probability.mean(0), plan.target)
    draws, log_p = (np.empty((plan.draws, *a.shape), a.dtype) for a in state[:2])
    accepted, divergent = np.zeros(state.log_p.shape), np.zeros(state.log_p.shape, int)
    for t in range(plan.draws):
        state, move = advance(transition, state, noise, plan, plan.warm_up + t, tuner.average)
        draws[t], log_p[t] = state.z, state.log_p
        accepted += move.accepted
        divergent += move.divergent
    total = cost * (plan.warm_up + plan.draws)
    return Chains(draws, log_p, accepted / plan.draws, divergent, np.exp(tuner.average), total)


def advance(
    transition: Transition, state: ChainState, noise: Noise, plan: ChainPlan, t: int, log_step: Array
) -> tuple[ChainState, Move]:
    """One transition with the noise of step t and the step size exp(log_step) (B,), jittered and scaled."""
    v, u = chain_noise(noise, state.z, plan.first_step + t, plan.first_row)
    step = (np.exp(log_step) * (1 - plan.jitter * u[1]))[..., None] * plan.scale
    return transition(state, v, u[0], step.astype(state.z.dtype))


def chain_noise(noise: Noise, z: Array, step: int, first_row: Rows = 0) -> tuple[Array, Array]:
    """Normals shaped like z (C, B, K) and uniforms (2, C, B), by row, then chain: more chains keep the old ones."""
    C, B, K = z.shape
    normals = noise.normals(Purpose.CHAIN, step, B, C * K, z.dtype, first_row).reshape(B, C, K)
    uniforms = noise.uniforms(Purpose.ACCEPT, step, B, C * 2, z.dtype, first_row).reshape(B, C, 2)
    return np.ascontiguousarray(normals.transpose(1, 0, 2)), uniforms.transpose(2, 1, 0)


def check(state: ChainState, plan: ChainPlan) -> None:
    """One clear line for a start or a plan that cannot run."""
    if state.z.ndim != 3 or state.log_p.shape != state.z.shape[:2] or state.gradient.shape != state.z.shape:
        shapes = f"start {state.z.shape}, log density {state.log_p.shape}, slope {state.gradient.shape}"
        raise UsageError(f"expected start (C, B, K), log density (C, B) and slope (C, B, K), got {shapes}")
    if plan.draws < 1 or plan.warm_up < 0 or plan.leapfrog < 1 or not 0 < plan.target < 1 or not plan.step_size > 0:
        raise UsageError(f"{plan} cannot run: draws, leapfrog >= 1, warm_up >= 0, 0 < target < 1, step_size > 0")
    bad = ~(np.isfinite(state.log_p) & np.isfinite(state.gradient).all(-1))
    if bad.any():
        chain, row = np.argwhere(bad)[0]
        at = f"chain {chain} of row {place(plan.first_row, int(row))}"
        raise DataError(f"the log density or its slope is not finite at the start of {at}")
