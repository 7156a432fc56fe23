"""§7.1.2 Metropolis-Hastings with q(z | x) as the proposal, and the rule itself on a table of states.

"Techniques such as Metropolis-Hastings require a hand-crafted proposal distribution, which might be difficult to
choose" (the chapter). Of a random walk (`tasks.hmc.metropolis`) the hand-crafted part is the step, and a warm-up finds
it. The encoder of a VAE is a proposal that nobody crafted: q(z | x) proposes afresh each time, whatever z is, and
the ratio of importance weights p(x, z) / q(z | x) decides. (`tasks.missing` fills gaps by the same step.) It is as good
as q: where q is narrower than the posterior, the weights have no bound, and a chain in q's tail stays there for long.

Metropolis et al., J. Chem. Phys. 21 (1953); Hastings, Biometrika 57 (1970). Traps: a refused proposal counts its old
state once more (leave that out, and the draws are q's, not p's); a step that goes on being tuned is no chain.
"""

import numpy as np

from ..distributions import Normal
from ..noise import Noise
from ..tasks.hmc import ChainPlan, Chains, ChainState, Density, Move, begin, choose, run
from ..types import Array


# Hastings: z' ~ q(· | z) is taken with probability min(1, p(z') q(z | z') / (p(z) q(z' | z))).  Where q does not look
# at the old z, this is min(1, w(z') / w(z)),    w = p(x, z) / q(z | x)
def independence_step(
    state: ChainState, eps: Array, u: Array, log_density: Density, q: Normal
) -> tuple[ChainState, Move]:
    """One transition that leaves exp(log_density) invariant: eps (C, B, K) normals, u (C, B) uniforms, q (B, K)."""
    z = q.sample(eps)
    log_p = log_density(z)
    gain = (log_p - q.log_prob(z)) - (state.log_p - q.log_prob(state.z))
    return choose(state, ChainState(z, log_p, state.gradient), gain, u, np.isnan(gain) | np.isposinf(gain))


def independence(log_density: Density, q: Normal, start: Array, noise: Noise, plan: ChainPlan = ChainPlan()) -> Chains:  # noqa: B008
    """Chains from `start` (C, B, K), every proposal a fresh draw of q (B, K): there is no step to tune, the warm-up is
    only dropped. Raises DataError where the density is not finite at the start."""

    def transition(state: ChainState, eps: Array, u: Array, _: Array) -> tuple[ChainState, Move]:
        return independence_step(state, eps, u, log_density, q)

    return run(transition, begin(start, log_density, np.zeros_like), noise, plan, start[..., 0].size)


# Flow from a to b:  p_a Q_ab min(1, p_b Q_ba / (p_a Q_ab)) = min(p_a Q_ab, p_b Q_ba), and so from b to a: p stays p.
def transition_matrix(p: Array, proposal: Array) -> Array:
    """P (S, S), P_ab the probability to go from a to b, for shares p (S,) > 0, of any sum, and Q = proposal (S, S), its
    rows of sum 1; what is refused stays where it is. Fractions, as arrays of objects, stay exact."""
    flow = p[:, None] * proposal
    moves = np.minimum(flow, flow.T) / p[:, None]
    return np.asarray(moves + np.diag(1 - moves.sum(axis=1)))
