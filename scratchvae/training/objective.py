"""§7.2, §7.3 What a run maximises, chosen by its config: model (VAE or ladder) × estimator. One place, two callers:
training takes `gradient`, evaluation `bound` and `log_weights`."""

from typing import TYPE_CHECKING

import numpy as np

from ..conditional import Distribution
from ..distributions import Bernoulli, Normal
from ..errors import CheckFailed, UsageError
from ..estimators import amortised, deep
from ..models import ladder, vae
from ..models.decoded import Decoded
from ..models.ladder import LadderArchitecture
from ..noise import Noise, Purpose
from ..types import Array
from . import missing

if TYPE_CHECKING:
    from .state import State


ADVICE = "the last checkpoint is intact: lower the learning rate or raise the variance floor"


class Diverged(CheckFailed):
    """The bound, or a parameter, is no longer a number."""


def gradient(state: "State", x: Array, eps: Array) -> Array:
    """Adds the estimator's ∂(mean_b L_b) into the state's gradient; returns L (B,) nats. eps (S, B, columns).

    Raises Diverged where the bound is no number; the parameters are then untouched.
    """
    e, k, dphi, dtheta = state.estimator, state.k, state.dphi, state.dtheta
    with np.errstate(over="ignore", invalid="ignore"):  # a broken bound is found below, with row and term
        if isinstance(state.architecture, LadderArchitecture):
            layers = by_layer(eps, state.architecture.latent)
            L = deep.gradient(e, x, layers, state.phi, state.theta, dphi, dtheta, state.memory, k)
        elif e.name == "sgvb_b":  # the same as below by the fused pair
            noise = eps[0] if len(eps) == 1 else eps
            x, m = observed(state, x)
            L, cache = vae.elbo(x, noise, state.phi, state.theta, k, m)
            check_rows(state.step, L, cache.reconstruction, cache.kl)
            w = np.full(len(L), 1 / len(L), L.dtype)
            vae.elbo_vjp(w, cache, x, noise, state.phi, state.theta, dphi, dtheta, k, m)
        else:
            try:
                L = amortised.gradient(
                    e, Decoded(k), x, eps, state.phi, state.theta, dphi, dtheta, None, state.memory, k
                )
            except UsageError:  # the frame refuses a density that is no number; here the row and the term are known
                check_finite(state, x, eps)
                raise
        if not np.isfinite(L).all():
            check_finite(state, x, eps)
            check_estimate(state.step, e.name, L)
        return L


def bound(state: "State", x: Array, eps: Array) -> tuple[Array, Array, Array]:
    """(L, reconstruction, kl) of each row, (B,) nats: the ELBO with one sample or the mean of S, whatever the
    estimator. A ladder's kl is all that is not log p(x | z_1)."""
    if isinstance(state.architecture, LadderArchitecture):
        L, f = ladder.elbo(x, by_layer(eps, state.architecture.latent), state.phi, state.theta, state.k)
        reconstruction = f.p[0].log_prob(x, state.k).mean(axis=0)
        return L, reconstruction, reconstruction - L
    x, m = observed(state, x)
    L, cache = vae.elbo(x, eps, state.phi, state.theta, state.k, m)
    return L, cache.reconstruction.mean(axis=0), cache.kl


# log p(x) = log E_q[p(x, z) / q(z | x)] ≈ log (1/S) Σ_s p(x, z_s) / q(z_s | x)          Burda et al. 2015, eq. 7–8
#   with log w_s = log p(x | z_s) + log p(z_s) − log q(z_s | x): the log-density ratio at the sample, never its mean
#   (the analytic KL): weights must average to p(x), and exp(−KL) does not.
#   With z = μ + σ ε:   log p(z) − log q(z) = −½ Σₖ (zₖ² − εₖ² − log σₖ²)


def log_weights(state: "State", x: Array, eps: Array) -> Array:
    """log w (S, B) for x (B, D) and eps (S, B, columns)."""
    if isinstance(state.architecture, LadderArchitecture):
        f = ladder.forward(x, by_layer(eps, state.architecture.latent), state.phi, state.theta, state.k)
        return ladder.log_ratio(f, state.k)
    x, m = observed(state, x)
    q = encode_observed(state, x, m)
    z = q.sample(eps, state.k)
    p, _ = vae.decode(z, state.theta, state.k)
    ratio = -0.5 * (z * z - eps * eps - q.log_var).sum(axis=-1)
    weights: Array = (p.log_prob(x, state.k) if m is None else p.log_prob_observed(x, m, state.k)) + ratio
    return weights


def observed(state: "State", x: Array) -> tuple[Array, Array | None]:
    """x with 0 for what is missing, and its mask (1 where observed); None where the run knows of nothing missing."""
    return missing.masked(x) if state.config.missing else (x, None)


def encode(state: "State", x: Array) -> Normal:
    """q(z | x), of a ladder q(z_1 | x)."""
    if state.config.deep:
        return vae.encode(x, state.phi[0], state.k)[0]
    return encode_observed(state, *observed(state, x))


def encode_observed(state: "State", x: Array, m: Array | None) -> Normal:
    """q(z | x) of one latent layer, as `vae.elbo` has it."""
    return vae.encode(x if m is None else vae.rescaled(x, m), state.phi, state.k)[0]


def decode(state: "State", z: Array) -> Distribution:
    """p(x | z), of a ladder p(x | z_1)."""
    return vae.decode(z, state.theta[0] if state.config.deep else state.theta, state.k)[0]


def prior(state: "State", eps: Array) -> Array:
    """z from the prior, of a ladder z_1 by way of all layers above; eps (B, columns)."""
    if isinstance(state.architecture, LadderArchitecture):
        return ladder.ancestors(by_layer(eps, state.architecture.latent), state.theta, state.k)
    return eps


def drawn(state: "State", p: Distribution, noise: Noise, purpose: Purpose) -> Array:
    """x ~ p(x | z), a row for each of z, by the noise of that purpose."""
    rows, columns = p.logits.shape if isinstance(p, Bernoulli) else p.mu.shape
    source = noise.uniforms if isinstance(p, Bernoulli) else noise.normals
    return p.sample(source(purpose, 1, rows, columns, state.config.dtype), state.k)


def by_layer(eps: Array, latent: tuple[int, ...]) -> list[Array]:
    """ε (S, B, Σ K_l) as one array a layer."""
    ends = np.cumsum(latent)[:-1]
    return [np.ascontiguousarray(part) for part in np.split(eps, ends, axis=-1)]


def check_finite(state: "State", x: Array, eps: Array) -> None:
    """Raises Diverged where the bound at these draws is no number."""
    check_rows(state.step, *bound(state, x, np.ascontiguousarray(eps[..., : state.config.latent_size])))


def check_rows(step: int, L: Array, reconstruction: Array, kl: Array) -> None:
    """Raises Diverged, saying which step, which row of the minibatch, and which term broke."""
    if np.isfinite(L).all():
        return
    row = int(np.argmin(np.isfinite(L)))
    log_p = float(reconstruction.reshape(-1, len(L))[:, row].mean())
    term = "KL(q || p)" if not np.isfinite(kl[row]) else "log p(x | z)"
    raise Diverged(
        f"the bound is {L[row]} at step {step}, row {row} of the minibatch: {term} broke "
        f"(log p(x | z) = {log_p:g}, KL = {kl[row]:g}); {ADVICE}"
    )


def check_estimate(step: int, name: str, L: Array) -> None:
    """Raises Diverged where the bound as an estimator has it is no number, though its parts, KL in closed form, are."""
    row = int(np.argmin(np.isfinite(L)))
    raise Diverged(
        f"the bound as {name} estimates it is {L[row]} at step {step}, row {row} of the minibatch: a density of z left "
        f"the range of {L.dtype}; {ADVICE}"
    )


def check_parameters(state: "State") -> None:
    """Raises Diverged where a step has made a parameter that is no number: a slope may overflow where the bound did
    not."""
    if not np.isfinite(state.arena.flat).all():
        raise Diverged(f"the parameters are no longer numbers after step {state.step - 1}; {ADVICE}")


def check_pair(state: "State") -> None:
    """One clear line where the config's estimator cannot train the config's model."""
    e, config = state.estimator, state.config
    if config.samples < e.samples:
        raise UsageError(f"estimator {e.name!r} needs more samples a row: give samples={e.samples} or more")
    if config.missing and (config.deep or e.name != "sgvb_b"):
        made = "several latent layers" if config.deep else f"estimator {e.name!r}"
        raise UsageError(f"missing={config.missing!r} is trained by sgvb_b on one latent layer, not by {made}")
    fit = ("sgvb_b", *deep.SEES_R_ALONE)
    if config.deep and e.name.split(":")[0] not in fit:
        raise UsageError(f"estimator {e.name!r} is not defined on several latent layers: {', '.join(fit)} are")
