"""§7.2, §7.3 What a run maximises, chosen by its config: model (VAE or ladder) × estimator.

Training takes `gradient`, evaluation `bound` and `log_weights`: thin calls of the objective of a state's run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..conditional import Distribution, mean_of, sample_of
from ..data import UNIT
from ..distributions import Bernoulli, Normal
from ..distributions.mixtures import MixtureNormal
from ..errors import CheckFailed, UsageError
from ..estimators import amortised, deep
from ..models import ladder, vae
from ..models.decoded import Decoded, Generative, standard
from ..models.joint import Joint
from ..models.prior import vamp, vamp_vjp
from ..noise import Noise, Purpose
from ..tasks.missing import Coder
from ..types import Array
from . import missing
from .semi_supervised import SemiSupervisedObjective
from .sequences import SequenceObjective

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
    def encode(self, x: Array) -> Distribution: ...
    def decode(self, z: Array) -> Distribution: ...
    def prior(self, noise: Noise, purpose: Purpose, count: int) -> Array: ...


class VAEObjective(NamedTuple):
    """Of one latent layer, with any q, prior and estimator; of rows with missing values, where the run knows of any."""

    state: "State"

    def gradient(self, x: Array, eps: Array) -> Array:
        """By the estimator; SGVB B by its fused pair."""
        s = self.state
        if s.estimator.name == "sgvb_b":
            return self.sgvb_b(x, eps[0] if len(eps) == 1 else eps)
        try:
            L = self.by_frame(*self.observed(x), eps)
        except UsageError:  # the frame refuses a density that is no number; here the row and the term are known
            check_finite(s, x, eps)
            raise
        return L if s.beta == 1 else self.bound(x, eps[..., : s.config.latent_size])[0]

    def by_frame(self, x: Array, m: Array | None, eps: Array) -> Array:
        """Any estimator. L + (1 − β) KL, an objective, is β times the bound of log p(x | z) / β."""
        s = self.state
        theta, dtheta, through_prior = learned(s)
        w = shares(s, x, s.beta)
        model = Decoded(s.k, s.prior_kind, m, 1 / s.beta)
        L = amortised.gradient(s.estimator, model, x, eps, s.phi, theta, s.dphi, dtheta, w, s.memory, s.k, m)
        through_prior()
        return L

    def sgvb_b(self, x: Array, eps: Array) -> Array:
        """The pair of `models.vae`: SGVB B in fewer passes than the frame takes."""
        s, (x, m) = self.state, self.observed(x)
        L, cache = vae.elbo(x, eps, s.phi, s.theta, s.k, m)
        check_rows(s.step, L, cache.reconstruction, cache.kl)
        vae.elbo_vjp(shares(s, x), cache, x, eps, s.phi, s.theta, s.dphi, s.dtheta, s.k, m, s.beta)
        return L

    def bound(self, x: Array, eps: Array) -> tuple[Array, Array, Array]:
        """KL in closed form where there is one, else sampled."""
        s, (x, m) = self.state, self.observed(x)
        if s.config.prior == "standard" and hasattr(s.posterior_kind, "kl"):
            L, cache = vae.elbo(x, eps, s.phi, s.theta, s.k, m)
            return L, cache.reconstruction.mean(axis=0), cache.kl
        q = self.encode_observed(x, m)
        z, model, theta = q.sample(eps, s.k), Decoded(s.k, s.prior_kind, m), learned(s)[0]
        reconstruction = model.log_likelihood(x, z, theta)
        kl = (q.log_prob(z, s.k) - model.prior(z, theta).log_prob(z, s.k)).mean(axis=0)
        mean = reconstruction.mean(axis=0)
        return mean - kl, mean, kl

    # log p(x) = log E_q[p(x, z) / q(z | x)] ≈ log (1/S) Σ_s p(x, z_s) / q(z_s | x)      Burda et al. 2015, eq. 7–8
    #   with log w_s = log p(x | z_s) + log p(z_s) − log q(z_s | x): the log-density ratio at the sample, never its
    #   mean (the analytic KL): weights must average to p(x), and exp(−KL) does not.
    #   With z = μ + σ ε:   log p(z) − log q(z) = −½ Σₖ (zₖ² − εₖ² − log σₖ²)

    def log_weights(self, x: Array, eps: Array) -> Array:
        """log p(x, z) − log q(z | x) at z ~ q."""
        s, (x, m) = self.state, self.observed(x)
        k, q = s.k, self.encode_observed(x, m)
        z = q.sample(eps, k)
        if s.config.prior == "standard" and s.config.posterior == "normal":
            ratio = -0.5 * (z * z - eps * eps - q.log_var).sum(axis=-1)
            return np.asarray(Decoded(k, m=m).log_likelihood(x, z, s.theta) + ratio)
        model = Decoded(k, s.prior_kind, m)
        return np.asarray(model.log_joint(x, z, learned(s)[0]) - q.log_prob(z, k))

    def encode(self, x: Array) -> Distribution:
        """q(z | x)."""
        return self.encode_observed(*self.observed(x))

    def decode(self, z: Array) -> Distribution:
        """p(x | z)."""
        return vae.decode(z, self.state.theta)[0]

    def prior(self, noise: Noise, purpose: Purpose, count: int) -> Array:
        """z ~ p(z): of N(0, I) the normals themselves, of others by their uniforms, or normals in a drawn component."""
        s, K = self.state, self.state.config.latent_size
        eps = noise.normals(purpose, 0, count, K, s.config.dtype)
        if s.config.prior != "standard":
            which = noise.inner_uniforms(purpose, 1, count, 1)
            found: Array = learned(s)[0].prior.sample(np.hstack([which, eps]))
            return found.astype(s.config.dtype)
        if s.prior_kind is Normal:
            return eps
        kind = standard(eps, s.prior_kind)
        return np.asarray(kind.sample(noise.inner_uniforms(purpose, 0, count, K)), s.config.dtype)

    def observed(self, x: Array) -> tuple[Array, Array | None]:
        """x with 0 for what is missing, and its mask (1 where observed); None where the run knows no missing ones."""
        return missing.masked(x) if self.state.config.missing else (x, None)

    def encode_observed(self, x: Array, m: Array | None) -> Distribution:
        """q(z | x) as `vae.elbo` has it."""
        return vae.encode(x, self.state.phi, m=m)[0]


def shares(s: "State", x: Array, beta: float = 1.0) -> Array:
    """Cotangents (B,) of the rows' bounds in what a step maximises: β/B, times each row's weight if it has one."""
    weights = np.ones(len(x)) if s.weights is None else s.weights
    return (weights * (beta / len(x))).astype(x.dtype)


def learned(s: "State") -> tuple[Any, Any, Callable[[], None]]:
    """θ and its cotangent with the run's prior, and what takes the prior's cotangents to its parameters."""
    name, views, slopes = str(s.config.prior).partition(":")[0], s.arena.views, s.gradient.views
    if name == "standard":
        return s.theta, s.dtheta, lambda: None
    if name == "mixture":
        parts = [MixtureNormal(*(v[f"prior.{field}"] for field in MixtureNormal._fields)) for v in (views, slopes)]
        return Generative(s.theta, parts[0]), Generative(s.dtheta, parts[1]), lambda: None
    inputs = "sigmoid" if s.config.likelihood in UNIT else "identity"
    phi, dphi = (net._replace(enter="") for net in (s.phi, s.dphi))
    prior, cache = vamp(views["prior.u"], phi, s.k, inputs)
    dprior = MixtureNormal(*map(np.zeros_like, prior))

    def through() -> None:
        vamp_vjp(dprior, cache, views["prior.u"], phi, dphi, slopes["prior.u"], s.k)

    return Generative(s.theta, prior), Generative(s.dtheta, dprior), through


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

    def encode(self, x: Array) -> Distribution:
        """q(z_1 | x)."""
        return vae.encode(x, self.state.phi[0])[0]

    def decode(self, z: Array) -> Distribution:
        """p(x | z_1)."""
        return vae.decode(z, self.state.theta[0])[0]

    def prior(self, noise: Noise, purpose: Purpose, count: int) -> Array:
        """z_1 by way of all layers above."""
        eps = noise.normals(purpose, 0, count, self.state.config.latent_size, self.state.config.dtype)
        return ladder.ancestors(self.layers(eps), self.state.theta)

    def layers(self, eps: Array) -> list[Array]:
        """ε (…, Σ K_l) as one array a layer."""
        assert isinstance(self.state.config.latent, tuple)  # that is what makes it a ladder
        ends = np.cumsum(self.state.config.latent)[:-1]
        return [np.ascontiguousarray(part) for part in np.split(eps, ends, axis=-1)]


def objective_of(state: "State") -> Objective:
    """What the state's run maximises."""
    if state.config.model == "m2":
        return SemiSupervisedObjective(state)
    if state.config.model == "sequence":
        return SequenceObjective(state)
    return LadderObjective(state) if state.config.deep else VAEObjective(state)


def gradient(state: "State", x: Array, eps: Array) -> Array:
    """Adds the estimator's ∂(mean_b w_b L_b), w the state's weights or 1, into its gradient, or what another algorithm
    goes by; returns L (B,) nats. eps (S, B, columns).

    Raises Diverged where the bound is no number; the parameters are then untouched.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a broken bound is found below, with row and term
        objective = objective_of(state) if state.rule is None else state.rule(state)
        L = objective.gradient(x, eps)
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


def encode(state: "State", x: Array) -> Distribution:
    """q(z | x), of a ladder q(z_1 | x)."""
    return objective_of(state).encode(x)


def decode(state: "State", z: Array) -> Distribution:
    """p(x | z), of a ladder p(x | z_1)."""
    return objective_of(state).decode(z)


def prior(state: "State", noise: Noise, purpose: Purpose, count: int) -> Array:
    """z (count, K) from the prior, of a ladder z_1, by the noise of that purpose."""
    return objective_of(state).prior(noise, purpose, count)


def coder(state: "State") -> Coder:
    """What chains need of the run's model."""
    return Coder(state.phi, learned(state)[0], state.k, state.prior_kind)


def joint(state: "State") -> Joint:
    """log p(x, z) with the run's θ and prior put in, for samplers. Raises UsageError for any q but a
    normal."""
    if state.prior_kind is not Normal or state.config.posterior != "normal":
        q = state.config.posterior
        raise UsageError(
            f"this is for a Gaussian q, and the run's posterior is {q!r}: evaluate, sample and fill take any"
        )
    return Joint(learned(state)[0], state.k)


def of_prior(state: "State", eps: Array) -> Array:
    """Standard normal quantiles eps (B, K) as those of the prior's family: Figure 4's plane for any q."""
    if state.prior_kind is Normal:
        return eps.astype(state.config.dtype)
    from scipy.special import ndtr

    z: Array = standard(eps, state.prior_kind).sample(ndtr(eps)).astype(state.config.dtype)
    return z


def middle(state: "State") -> Array:
    """E[x | z] at the mean of the standard prior, learned or not, (D,): a first guess at what is missing."""
    z = mean_of(standard(np.zeros((1, state.config.latent_size), state.config.dtype), state.prior_kind))[None]
    return mean_of(decode(state, z))[0]


def drawn(state: "State", p: Distribution, noise: Noise, purpose: Purpose, step: int = 1, first_row: int = 0) -> Array:
    """x ~ p(x | z), a row for each of z, by the noise of that name."""
    rows, columns = mean_of(p).shape
    if isinstance(p, Normal | Bernoulli):
        source = noise.uniforms if isinstance(p, Bernoulli) else noise.normals
        x: Array = p.sample(source(purpose, step, rows, columns, state.config.dtype, first_row))
        return x
    return np.asarray(sample_of(p, noise.inner_uniforms(purpose, step, rows, columns, first_row)), state.config.dtype)


def check_finite(state: "State", x: Array, eps: Array) -> None:
    """Raises Diverged where the bound at these draws is no number."""
    check_rows(state.step, *bound(state, x, np.ascontiguousarray(eps[..., : state.noise_size])))


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
    closed = config.prior == "standard" and (config.deep or hasattr(state.posterior_kind, "kl"))
    if e.analytic_kl and not closed:
        pair = f"posterior {config.posterior!r} and prior {config.prior!r}"
        raise UsageError(f"estimator {e.name!r} needs KL(q || p(z)) in closed form, which {pair} have not: take stl")
    if config.samples < e.samples:
        raise UsageError(f"estimator {e.name!r} needs more samples a row: give samples={e.samples} or more")
    if config.missing and (config.deep or (closed and e.name != "sgvb_b")):
        made = "several latent layers" if config.deep else f"estimator {e.name!r}"
        raise UsageError(f"missing={config.missing!r} is trained by sgvb_b on one latent layer, not by {made}")
    fit = ("sgvb_b", *deep.SEES_R_ALONE)
    if config.deep and e.name.split(":")[0] not in fit:
        raise UsageError(f"estimator {e.name!r} is not defined on several latent layers: {', '.join(fit)} are")
