"""§7.1.2 Monte Carlo EM (Wei & Tanner 1990), as Kingma & Welling 2014 compare with it (section 5 and App. E).

    E    z_i ← Hamiltonian Monte Carlo from where row i's chain stood: 10 leapfrog steps, accepted at 90 %
    M    θ += ∇θ log p(x_i, z_i), five updates at these z

E_{p(z | x)} ∇θ log p(x, z) = ∇θ log p(x) (Fisher): with exact draws this is maximum likelihood, and no q is in the way.
The price is the chapter's: every row needs a chain of its own for the whole of the run, N · K numbers, for a chain that
began afresh each time would still be on its way to the posterior; so the algorithm is no online one ("Monte Carlo EM is
not an on-line algorithm, and (unlike AEVB and wake-sleep) can't be applied efficiently for the full MNIST", fig. 3).

Traps: θ has moved since the chain stood there, so its density and slope are taken anew; the authors' own code takes 20
leapfrog steps where the paper says 10. A step that goes on being tuned makes a chain that is only nearly right: one
step size for all rows, moved a little by each minibatch's mean acceptance, sees no single row.
Tests: test_mcem.py.
"""

from typing import Any

import numpy as np

from ..tasks.hmc import ChainState, hmc_step
from ..types import Array
from .wake_sleep import shares

LEAPFROG, TARGET, UPDATES = 10, 0.9, 5  # App. E
FIRST_STEP, RATE = 0.1, 0.5  # the step size at the start; how fast its log follows the acceptance
JITTER = 0.5  # of the step is drawn: on a Gaussian every trajectory of one full period returns to its start


def e_step(
    model: Any, x: Array, z: Array, v: Array, u: Array, log_step: float, theta: Any, leapfrog: int = LEAPFROG
) -> tuple[Array, Array]:
    """One transition of each chain z (C, B, K) that leaves p(z | x; θ) invariant; returns z and the acceptance
    probabilities (C, B). Momenta v (C, B, K) are normals; u (2, C, B) uniforms that accept, and shorten the step."""
    ones = np.ones(z.shape[:2], z.dtype)

    def log_density(z: Array) -> Array:
        found: Array = model.log_joint(x, z, theta)
        return found

    def slope(z: Array) -> Array:
        found: Array = model.log_joint_vjp(ones, x, z, theta, None)
        return found

    step = (np.exp(log_step) * (1 - JITTER * u[1]))[..., None].astype(z.dtype)
    state = ChainState(z, log_density(z), slope(z))
    state, move = hmc_step(state, v, u[0], step, log_density, slope, leapfrog)
    return state.z, move.probability


def tuned(log_step: float, probability: Array) -> float:
    """The next log step: longer where more than TARGET of the proposals would be accepted."""
    return log_step + RATE * (float(probability.mean()) - TARGET)


def m_step(model: Any, x: Array, z: Array, theta: Any, dtheta: Any, w: Array | None = None) -> None:
    """Adds ∂(Σ_b w_b mean_c log p(x_b, z_cb))/∂θ into dtheta; w (B,) is 1/B unless given."""
    model.log_joint_vjp(shares(w, x) * np.full(z.shape[:2], 1 / len(z), x.dtype), x, z, theta, dtheta)
