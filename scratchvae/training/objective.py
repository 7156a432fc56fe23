"""§7.2, §7.3 What a run maximises, chosen by its config: model (VAE or ladder) × estimator.

Training takes `gradient`, evaluation `bound` and `log_weights`: thin calls of the objective of a state's run."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from ..conditional import Distribution
from ..distributions import Bernoulli, Normal
from ..errors import CheckFailed, UsageError
from ..estimators import amortised, deep
from ..models import ladder, vae
from ..models.decoded import Decoded
from ..noise import Noise, Purpose
from ..types import Array
from . import missing

if TYPE_CHECKING:
    from .state import State


ADVICE = "the last checkpoint is intact: lower the learning rate or raise the variance floor"


class Diverged(CheckFailed):
    """The bound, or a parameter, is no longer a number."""


class Objective(Protocol):
    """What a run maximises, and what its model says of x and z: all that depends on the kind of model.

    encode, decode and prior are for people, and take the NumPy kernels: nothing is to be compiled for a picture.
    """

    def gradient(self, x: Array, eps: Array) -> Array: ...
    def bound(self, x: Array, eps: Array) -> tuple[Array, Array, Array]: ...
    def log_weights(self, x: Array, eps: Array) -> Array: ...
    def encode(self, x: Array) -> Normal: ...
    def decode(self, z: Array) -> Distribution: ...
    def prior(self, eps: Array) -> Array: ...


class VAEObjective(NamedTuple):
    """Of one latent layer, with any estimator; of rows with missing values, where the run knows of any."""

    state: "State"

    def gradient(self, x: Array, eps: Array) -> Array:
        """By the estimator; SGVB B by its fused pair."""
        s = self.state
        if s.estimator.name == "sgvb_b":
            return self.sgvb_b(x, eps[0] if len(eps) == 1 else eps)
        model = Decoded(s.k)
        try:
            return amortised.gradient(s.estimator, model, x, eps, s.phi, s.theta, s.dphi, s.dtheta, None, s.memory, s.k)
        except UsageError:  # the frame refuses a density that is no number; here the row and the term are known
            check_finite(s, x, eps)
            raise

    def sgvb_b(self, x: Array, eps: Array) -> Array:
        """The pair of `models.vae`: SGVB B in fewer passes than the frame takes, and with values missing."""
        s, (x, m) = self.state, self.observed(x)
        L, cache = vae.elbo(x, eps, s.phi, s.theta, s.k, m)
        check_rows(s.step, L, cache.reconstruction, cache.kl)
        w = np.full(len(L), 1 / len(L), L.dtype)
        vae.elbo_vjp(w, cache, x, eps, s.phi, s.theta, s.dphi, s.dtheta, s.k, m)
        return L

    def bound(self, x: Array, eps: Array) -> tuple[Array, Array, Array]:
        """KL in closed form."""
        s, (x, m) = self.state, self.observed(x)
        L, cache = vae.elbo(x, eps, s.phi, s.theta, s.k, m)
        return L, cache.reconstruction.mean(axis=0), cache.kl

    # log p(x) = log E_q[p(x, z) / q(z | x)] ≈ log (1/S) Σ_s p(x, z_s) / q(z_s | x)      Burda et al. 2015, eq. 7–8
    #   with log w_s = log p(x | z_s) + log p(z_s) − log q(z_s | x): the log-density ratio at the sample, never its
    #   mean (the analytic KL): weights must average to p(x), and exp(−KL) does not.
    #   With z = μ + σ ε:   log p(z) − log q(z) = −½ Σₖ (zₖ² − εₖ² − log σₖ²)

    def log_weights(self, x: Array, eps: Array) -> Array:
        """log p(x, z) − log q(z | x) at z = μ + σ ε."""
        k, (x, m) = self.state.k, self.observed(x)
        q = self.encode_observed(x, m)
        z = q.sample(eps, k)
        p = self.decode(z)
        ratio = -0.5 * (z * z - eps * eps - q.log_var).sum(axis=-1)
        return np.asarray((p.log_prob(x, k) if m is None else p.log_prob_observed(x, m, k)) + ratio)

    def encode(self, x: Array) -> Normal:
        """q(z | x)."""
        return self.encode_observed(*self.observed(x))

    def decode(self, z: Array) -> Distribution:
        """p(x | z)."""
        return vae.decode(z, self.state.theta)[0]

    def prior(self, eps: Array) -> Array:
        """z ~ N(0, I) is the noise itself."""
        return eps

    def observed(self, x: Array) -> tuple[Array, Array | None]:
        """x with 0 for what is missing, and its mask (1 where observed); None where the run knows no missing ones."""
        return missing.masked(x) if self.state.config.missing else (x, None)

    def encode_observed(self, x: Array, m: Array | None) -> Normal:
        """q(z | x) as `vae.elbo` has it."""
        return vae.encode(x if m is None else vae.rescaled(x, m), self.state.phi)[0]


class LadderObjective(NamedTuple):
    """Of several latent layers; encode, decode and prior are those of z_1, the layer above x."""

    state: "State"

    def gradient(self, x: Array, eps: Array) -> Array:
        """By the estimator, which needs no closed form but the top KL."""
        s = self.state
        return deep.gradient(s.estimator, x, self.layers(eps), s.phi, s.theta, s.dphi, s.dtheta, s.memory, s.k)

    def bound(self, x: Array, eps: Array) -> tuple[Array, Array, Array]:
        """What is not log p(x | z_1) counts as KL."""
        s = self.state
        L, f = ladder.elbo(x, self.layers(eps), s.phi, s.theta, s.k)
        reconstruction = f.p[0].log_prob(x, s.k).mean(axis=0)
        return L, reconstruction, reconstruction - L

    def log_weights(self, x: Array, eps: Array) -> Array:
        """log p(x, z) − log q(z | x) over all layers."""
        s = self.state
        return ladder.log_ratio(ladder.forward(x, self.layers(eps), s.phi, s.theta, s.k), s.k)

    def encode(self, x: Array) -> Normal:
        """q(z_1 | x)."""
        return vae.encode(x, self.state.phi[0])[0]

    def decode(self, z: Array) -> Distribution:
        """p(x | z_1)."""
        return vae.decode(z, self.state.theta[0])[0]

    def prior(self, eps: Array) -> Array:
        """z_1 by way of all layers above."""
        return ladder.ancestors(self.layers(eps), self.state.theta)

    def layers(self, eps: Array) -> list[Array]:
        """ε (…, Σ K_l) as one array a layer."""
        assert isinstance(self.state.config.latent, tuple)  # that is what makes it a ladder
        ends = np.cumsum(self.state.config.latent)[:-1]
        return [np.ascontiguousarray(part) for part in np.split(eps, ends, axis=-1)]


def objective_of(state: "State") -> Objective:
    """What the state's run maximises."""
    return LadderObjective(state) if state.config.deep else VAEObjective(state)


def gradient(state: "State", x: Array, eps: Array) -> Array:
    """Adds the estimator's ∂(mean_b L_b) into the state's gradient; returns L (B,) nats. eps (S, B, columns).

    Raises Diverged where the bound is no number; the parameters are then untouched.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a broken bound is found below, with row and term
        L = objective_of(state).gradient(x, eps)
        if not np.isfinite(L).all():
            check_finite(state, x, eps)
            check_estimate(state.step, state.estimator.name, L)
        return L


def bound(state: "State", x: Array, eps: Array) -> tuple[Array, Array, Array]:
    """(L, reconstruction, kl) of each row, (B,) nats: the ELBO with one sample or the mean of S, whatever the
    estimator."""
    return objective_of(state).bound(x, eps)


def log_weights(state: "State", x: Array, eps: Array) -> Array:
    """log w (S, B) for x (B, D) and eps (S, B, columns)."""
    return objective_of(state).log_weights(x, eps)


def encode(state: "State", x: Array) -> Normal:
    """q(z | x), of a ladder q(z_1 | x)."""
    return objective_of(state).encode(x)


def decode(state: "State", z: Array) -> Distribution:
    """p(x | z), of a ladder p(x | z_1)."""
    return objective_of(state).decode(z)


def prior(state: "State", eps: Array) -> Array:
    """z from the prior, of a ladder z_1; eps (B, columns)."""
    return objective_of(state).prior(eps)


def drawn(state: "State", p: Distribution, noise: Noise, purpose: Purpose) -> Array:
    """x ~ p(x | z), a row for each of z, by the noise of that purpose."""
    rows, columns = p.logits.shape if isinstance(p, Bernoulli) else p.mu.shape
    source = noise.uniforms if isinstance(p, Bernoulli) else noise.normals
    return p.sample(source(purpose, 1, rows, columns, state.config.dtype))


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
