"""§7.2.2-7.2.4 Every estimator on replayed noise: its cotangents against the derivative of the surrogate in its paper.

A surrogate is the function whose plain derivative the estimator is, once the noise and everything under a stop-gradient
are held at one point (`At`). They are written out here without the rules and the frame of `scratchvae.estimators`.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ...conditional import Net
from ...distributions import Normal
from ...estimators import ESTIMATORS, Estimator, Memory, estimate, get
from ...models.decoded import Decoded
from ...models.linear_gaussian import LinearGaussian
from ...models.pca import Oracle
from ...models.vae import Architecture
from ...types import Array
from .. import accumulating
from . import Case, at
from .vae import parameters

ROWS, COLUMNS, LATENT = 2, 3, 2
NAMES = (*ESTIMATORS, "vr:0.5", "vr:-1", "vr:1", "score_constant:-3")


class At(NamedTuple):
    """A point: the model, the row's data and noise, and the parameters that stop-gradients see."""

    model: Any
    x: Array
    noise: Array  # (S, B, K or 3K)
    q: Normal
    theta: Any
    state: Memory

    @property
    def eps(self) -> Array:
        """The noise of z itself."""
        return self.noise[..., : self.q.mu.shape[-1]]

    @property
    def z(self) -> Array:
        """The samples, held fast."""
        return self.q.sample(self.eps)

    @property
    def r(self) -> Array:
        """log p(x, z) − log q(z), held fast."""
        return self.ratio(self.q, self.theta)

    def ratio(self, q: Normal, theta: Any) -> Array:
        """r as a function of both parameters, (S, B)."""
        z = q.sample(self.eps)
        found: Array = self.model.log_joint(self.x, z, theta) - q.log_prob(z)
        return found

    def ratio_along(self, q: Normal, theta: Any) -> Array:
        """r as z moves with q while the density log q is held fast."""
        z = q.sample(self.eps)
        found: Array = self.model.log_joint(self.x, z, theta) - self.q.log_prob(z)
        return found


def renyi(r: Array, alpha: float) -> Array:
    """The bound L_α of sampled ratios, as it is defined."""
    if alpha == 1:
        return np.asarray(r.mean(axis=0))
    return np.asarray(np.log(np.exp((1 - alpha) * r).mean(axis=0)) / (1 - alpha))


def softmax(r: Array) -> Array:
    """Normalised importance weights, over samples."""
    return np.asarray(np.exp(r) / np.exp(r).sum(axis=0))


# --- the surrogates: (point, q, theta) -> (B,) ------------------------------------------------------


def sgvb_b(p: At, q: Normal, theta: Any) -> Array:
    """eq. 7 as it stands."""
    return np.asarray(p.model.log_likelihood(p.x, q.sample(p.eps), theta).mean(axis=0) - q.kl())


def vr_max(p: At, q: Normal, theta: Any) -> Array:
    """The sample that is best at the point; no other comes near within a step."""
    return np.asarray(np.take_along_axis(p.ratio(q, theta), p.r.argmax(axis=0)[None], axis=0)[0])


def dreg(p: At, q: Normal, theta: Any) -> Array:
    """Σ stop(w̃²) r along the path for φ; the bound itself for θ."""
    along = softmax(p.r) ** 2 * p.ratio_along(q, p.theta)
    return np.asarray(along.sum(axis=0) + renyi(p.ratio(p.q, theta), 0))


def scored(signal: Callable[[At], Array]) -> Callable[[At, Normal, Any], Array]:
    """mean over samples of stop(signal) log q(stop(z)) for φ and of log p(x, z) for θ."""

    def surrogate(p: At, q: Normal, theta: Any) -> Array:
        weighted = signal(p) * q.log_prob(p.z) + p.model.log_joint(p.x, p.z, theta)
        return np.asarray(weighted.mean(axis=0))

    return surrogate


def score_kl(p: At, q: Normal, theta: Any) -> Array:
    """As `scored` with log p(x | z) as the signal, and the KL in closed form."""
    held = p.model.log_likelihood(p.x, p.z, p.theta)
    return np.asarray((held * q.log_prob(p.z) + p.model.log_likelihood(p.x, p.z, theta)).mean(axis=0) - q.kl())


def others(p: At) -> Array:
    """r minus the mean of the row's other samples, one by one."""
    r = p.r
    return np.stack([r[s] - np.delete(r, s, axis=0).mean(axis=0) for s in range(len(r))])


def network(p: At) -> Array:
    """c + C_ψ(x)."""
    s = p.state
    return np.asarray(s["mean"] + (np.tanh(p.x @ s["hidden.W"] + s["hidden.b"]) @ s["out.W"] + s["out.b"])[:, 0])


def score_rb(p: At, q: Normal, theta: Any) -> Array:
    """Latent by latent: the likelihood, and z_k's own prior and density, as the signal of ∂ log q_k."""
    total = p.model.log_joint(p.x, p.z, theta)
    likelihood = p.model.log_likelihood(p.x, p.z, p.theta)
    zero = np.zeros(1)
    for j in range(p.z.shape[-1]):
        z, own, frozen = pick(p, q, j)
        signal = likelihood + Normal(zero, zero).log_prob(z) - frozen.log_prob(z)
        total = total + signal * own.log_prob(z)
    return np.asarray(total.mean(axis=0))


def pick(p: At, q: Normal, j: int) -> tuple[Array, Normal, Normal]:
    """Latent j alone: its samples, q, and q held fast."""
    cut = slice(j, j + 1)
    return p.z[..., cut], Normal(*(f[..., cut] for f in q)), Normal(*(f[..., cut] for f in p.q))


def score_cv(p: At, q: Normal, theta: Any) -> Array:
    """stop((r − a) h) times the parameter, one by one; a from the other samples."""
    r, d = p.r, (p.z - p.q.mu) * np.exp(-p.q.log_var / 2)
    total = p.model.log_joint(p.x, p.z, theta)
    for param, h in zip(q, (d * np.exp(-p.q.log_var / 2), (d * d - 1) / 2), strict=True):
        for s in range(len(r)):
            rest, h_rest = np.delete(r, s, axis=0), np.delete(h, s, axis=0)
            a = (rest[..., None] * h_rest**2).sum(axis=0) / (h_rest**2).sum(axis=0)
            total = total + np.eye(len(r))[s][:, None] * (((r[s][:, None] - a) * h[s]) * param).sum(axis=-1)
    return np.asarray(total.mean(axis=0))


def measure(p: At, q: Normal, theta: Any) -> Array:
    """stop(the weak derivative) times the parameter, one by one."""
    sigma, total = np.exp(p.q.log_var / 2), p.model.log_joint(p.x, p.z, theta).mean(axis=0)
    eps, n1, n2 = np.split(p.noise, 3, axis=-1)

    def f(j: int, step: Array) -> Array:
        z = p.z.copy()
        z[..., j] = p.q.mu[:, j] + sigma[:, j] * step
        found: Array = p.model.log_joint(p.x, z, p.theta) - p.q.log_prob(z)
        return found.mean(axis=0)

    for j in range(LATENT):
        R, M = np.hypot(n1, n2)[..., j], (np.sign(eps) * np.sqrt(eps**2 + n1**2 + n2**2))[..., j]
        dmu = (f(j, R) - f(j, -R)) / (sigma[:, j] * np.sqrt(2 * np.pi))
        total = total + dmu * q.mu[:, j] + 0.5 * (f(j, M) - f(j, eps[..., j])) * q.log_var[:, j]
    return np.asarray(total)


SURROGATES: dict[str, Callable[[At, Normal, Any], Array]] = {
    "score": scored(lambda p: p.r),
    "score_constant:-3": scored(lambda p: p.r + 3),
    "score_mean": scored(lambda p: p.r - p.state["mean"]),
    "score_input": scored(lambda p: p.r - network(p)),
    "nvil": scored(lambda p: (p.r - network(p)) / np.sqrt(p.state["variance"])),
    "score_loo": scored(others),
    "score_kl": score_kl,
    "score_rb": score_rb,
    "score_cv": score_cv,
    "measure": measure,
    "sgvb_a": lambda p, q, theta: np.asarray(p.ratio(q, theta).mean(axis=0)),
    "sgvb_b": sgvb_b,
    "stl": lambda p, q, theta: np.asarray(p.ratio_along(q, theta).mean(axis=0)),
    "iw": lambda p, q, theta: renyi(p.ratio(q, theta), 0),
    "dreg": dreg,
    "vr_max": vr_max,
    "vr:0.5": lambda p, q, theta: renyi(p.ratio(q, theta), 0.5),
    "vr:-1": lambda p, q, theta: renyi(p.ratio(q, theta), -1),
    "vr:1": lambda p, q, theta: renyi(p.ratio(q, theta), 1),
}


# --- the cases --------------------------------------------------------------------------------------


def remembered(e: Estimator) -> Memory:
    """A state that is neither fresh nor trivial."""
    state = e.state(COLUMNS, lambda *shape: at(90, *shape))
    if state:
        state["mean"][:], state["variance"][:], state["steps"][:] = -2.5, 4.0, 3
    if "out.W" in state:
        state["out.W"][:], state["out.b"][:] = 0.1 * at(91, *state["out.W"].shape), 0.3
    return state


def point(e: Estimator, likelihood: str, samples: int) -> At:
    """A small VAE of this decoder."""
    theta = parameters(Architecture(COLUMNS, LATENT, (3,), "tanh", likelihood, variance=0.3), 300)[1]
    x = np.abs(at(92, ROWS, COLUMNS)) - 0.5
    q = Normal(at(93, ROWS, LATENT), at(94, ROWS, LATENT))
    return At(Decoded(), x, at(95, samples, ROWS, LATENT * e.noise), q, theta, remembered(e))


def replayed(name: str, likelihood: str, samples: int) -> Case:
    """One estimator, one decoder, so many samples."""
    e = get(name)
    p = point(e, likelihood, samples)

    def surrogate(q: Normal, theta: Net) -> Array:
        return SURROGATES[name](p, q, theta)

    def estimated(w: Array, q: Normal, theta: Net, dtheta: Net) -> Any:
        state = {key: value.copy() for key, value in p.state.items()}
        return estimate(e, p.model, q, p.x, p.noise, theta, dtheta, w, state)[1]

    title = f"estimators.{name}[{likelihood}, {samples} sample{'s' * (samples > 1)}]"
    return Case(title, surrogate, accumulating(estimated, into=(1,)), (p.q, p.theta), constants=("theta.family",))


def oracle(name: str) -> Case:
    """One log density of probabilistic PCA, by z and θ."""
    f, vjp = getattr(Oracle(), name), getattr(Oracle(), name + "_vjp")
    x, theta = at(96, ROWS, COLUMNS), LinearGaussian(at(97, LATENT, COLUMNS), at(98, COLUMNS), at(99, 1))

    def f_vjp(w: Array, z: Array, theta: Any, dtheta: Any) -> Any:
        return vjp(w, x, z, theta, dtheta)

    args = (at(95, 3, ROWS, LATENT), theta)
    return Case(f"pca.Oracle.{name}", lambda z, theta: f(x, z, theta), accumulating(f_vjp, into=(1,)), args)


def cases() -> Iterator[Case]:
    """Every estimator under a discrete and a continuous decoder, with one sample, if one will do, and with three."""
    yield oracle("log_joint")
    yield oracle("log_likelihood")
    for name in NAMES:
        for likelihood in ("bernoulli", "gaussian"):
            for samples in (1, 3) if get(name).samples == 1 else (2, 3):
                yield replayed(name, likelihood, samples)
