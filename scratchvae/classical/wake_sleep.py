"""§7.1.2 Wake-sleep (Hinton, Dayan, Frey & Neal 1995) and reweighted wake-sleep (Bornschein & Bengio 2015).

    wake    z ~ q(z | x), x from the data         θ += ∇θ log p(x, z)         which is AEVB's θ, draw for draw
    sleep   z̃ ~ p(z), x̃ ~ p(x | z̃): a dream       φ += ∇φ log q(z̃ | x̃)        whatever z is: nothing passes through it

There is no one function of which these are the slopes. Wake raises the bound, sleep lowers E_p(x) KL(p(z | x) ‖ q): the
other way round, on rows that the model dreams. Where q is rich enough both have one optimum. Where it is not, as a
diagonal q of a correlated posterior N(m, Λ⁻¹), the bound's has variances 1/Λᵢᵢ and sleep's (Λ⁻¹)ᵢᵢ, which are wider.

Reweighted, K draws from q stand for the posterior, each with its share w̃ = softmax_k [log p(x, z_k) − log q(z_k | x)]:

    wake-θ  Σ w̃_k ∇θ log p(x, z_k)        that of the importance-weighted bound (Burda et al. 2016), draw for draw
    wake-φ  Σ w̃_k ∇φ log q(z_k | x)       sleep's KL, on rows of the data; for K → ∞ exact

Traps: a dream's x̃ is a draw and not the mean of p(x | z̃), or q learns to read rows that nobody sees. Where the data are
grey levels under a Bernoulli decoder, though, draws are bits, which q never meets either: then means are nearer (Kingma
& Welling's code draws bits all the same). Each half trains on what the *other* net made: on its own states (as one
public code does it) wake and sleep both learn what they know. θ and φ move at once, so that the old θ dreams; in Kingma
& Welling's code the new one does.
Tests: test_wake_sleep.py, by enumeration, by quadrature and in closed form.
"""

from typing import Any, NamedTuple

import numpy as np

from ..conditional import Net, net_vjp
from ..errors import UsageError
from ..estimators.importance import log_mean_exp
from ..kernels import NUMPY, Kernels
from ..models.vae import encode
from ..types import Array


class Dream(NamedTuple):
    """What sleep learns from: z (B, K) of p(z), and x (B, D) of p(x | z), drawn by whoever has the noise."""

    x: Array
    z: Array


def log_q(x: Array, z: Array, phi: Net, k: Kernels = NUMPY) -> Array:
    """log q(z | x), (B,) or (S, B) nats, for x (B, D) and z (B, K) or (S, B, K)."""
    found: Array = encode(x, phi, k)[0].log_prob(z, k)
    return found


def log_q_vjp(w: Array, x: Array, z: Array, phi: Net, dphi: Net, k: Kernels = NUMPY) -> None:
    """Adds ∂(Σ w log q(z | x))/∂φ into dphi, z and x held fast: the whole of sleep, at a dream."""
    q, layers = encode(x, phi, k)
    net_vjp(q.log_prob_vjp(w, z, k)[1], q, layers, phi, dphi, k, need_dx=False)


def wake_sleep(
    model: Any,
    x: Array,
    noise: Array,
    dreamt: Dream,
    phi: Net,
    theta: Any,
    dphi: Net,
    dtheta: Any,
    w: Array | None = None,
    k: Kernels = NUMPY,
) -> Array:
    """Adds wake's direction into dtheta and sleep's into dphi; returns the sampled bound (B,) nats, which is neither's
    objective.

    x (B, D); noise (S, B, K) for q's draws, normals or, of a Bernoulli q, uniforms; w (B,) is 1/B unless given, and a
    dream's is always that; `model` as in `models.protocol`.
    """
    q, _ = encode(x, phi, k)
    z = q.sample(noise, k)
    r = model.log_joint(x, z, theta) - q.log_prob(z, k)
    mean = np.full(r.shape, 1 / len(r), r.dtype)
    model.log_joint_vjp(shares(w, x) * mean, x, z, theta, dtheta)
    log_q_vjp(shares(None, dreamt.x), *dreamt, phi, dphi, k)
    bound: Array = r.mean(axis=0)
    return bound


def reweighted(
    model: Any,
    x: Array,
    noise: Array,
    dreamt: Dream | None,
    phi: Net,
    theta: Any,
    dphi: Net,
    dtheta: Any,
    share: float = 0.5,
    w: Array | None = None,
    k: Kernels = NUMPY,
) -> Array:
    """As `wake_sleep` with importance weights over the K = len(noise) draws; φ gets `share` of wake-φ and the rest of
    sleep-φ, for which alone `dreamt` is needed.

    Raises UsageError for wake-φ with one draw, and for sleep-φ without a dream.
    """
    check_reweighted(len(noise), share)
    q, layers = encode(x, phi, k)
    z = q.sample(noise, k)
    r = model.log_joint(x, z, theta) - q.log_prob(z, k)
    weights = shares(w, x) * log_mean_exp(r)[1]
    model.log_joint_vjp(weights, x, z, theta, dtheta)
    if share:
        net_vjp(q.log_prob_vjp(share * weights, z, k)[1], q, layers, phi, dphi, k, need_dx=False)
    if share < 1:
        if dreamt is None:
            raise UsageError(f"share={share} leaves {1 - share} of φ's direction to sleep: give a dream")
        log_q_vjp((1 - share) * shares(None, dreamt.x), *dreamt, phi, dphi, k)
    bound: Array = r.mean(axis=0)
    return bound


# E_q[∇φ log q(z | x)] = 0 (§7.2.2): a lone draw's weight is 1, whatever p says of it
def check_reweighted(samples: int, share: float) -> None:
    """Refuse what has no direction."""
    if samples < 1:
        raise UsageError("K=0: a posterior of no draws")
    if not 0 <= share <= 1:
        raise UsageError(f"share={share}: expected wake-φ's part of φ's direction, 0 (sleep alone) to 1")
    if share and samples < 2:
        raise UsageError(
            "wake-φ weighs draws against one another, and with K=1 the only weight is 1 whatever p says: ∇φ log q has "
            "mean zero and φ would wander; take K=5, as reweighted-wake-sleep:5"
        )


def shares(w: Array | None, x: Array) -> Array:
    """(B,): w, or that of a mean over rows."""
    return np.full(len(x), 1 / len(x), x.dtype) if w is None else w
