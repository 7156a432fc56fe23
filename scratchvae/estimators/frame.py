"""§7.2.2-7.2.4 The one frame that every gradient estimator hangs in: an estimator is a rule for cotangents.

    r_s = log p(x, z_s; θ) − log q(z_s; φ),      z_s = g(ε_s; φ),      s = 1 … S samples, one row x

φ reaches r by two ways: through the sample, and explicitly through the density,

    dr/dφ = (∂r/∂z)(∂z/∂φ) − ∂ log q(z; φ)/∂φ |_z

and θ by one. A rule looks at r (S, B) and says what each way is to be multiplied with:

    estimator             L                    θ: ∂ log p/∂θ   path: that times     score: ∂ log q/∂φ|_z
    score                 mean r               1/S             –                    (r − baseline)/S
    SGVB A                mean r               1/S             1                    −1/S
    sticking the landing  mean r               1/S             1                    –
    SGVB B                mean log p(x|z) − KL 1/S             1  (of log p(x|z))   –         and −∂KL/∂φ
    importance weighted   log mean e^r         w̃ = softmax r   1                    −w̃
    DReG                  log mean e^r         w̃               w̃                    –
    Rényi α               log mean e^(1−α)r    softmax (1−α)r  1                    −softmax (1−α)r
                             / (1 − α)

`path` is a factor on top of θ's weight, because one vjp of log p serves both. Rows are never reduced, only samples are:
so the variance of an estimator is free to be measured.

Compiled, each row is a line of `fast.schedule.RULES` (its score TOTAL, −theta · path, serves a ladder's lower layers
where the KL is in closed form): `fast.rules` makes L, theta, path and score of it, `fast.through_latent` the slopes.
tests/test_schedules.py holds the two equal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError
from ..kernels import NUMPY, Kernels
from ..models.protocol import need
from ..types import Array

Memory = dict[str, Array]


class Draw(NamedTuple):
    """What a rule may look at. `r` is log p(x, z) − log q(z), or log p(x | z) where the KL is analytic, (S, B)."""

    model: Any
    q: Any
    x: Any
    noise: Array  # (S, B, …)
    z: Array  # (S, B, K)
    theta: Any
    signal: Callable[[Array], Array]  # z (…, B, K) -> r (…, B), for rules that look elsewhere
    r: Array  # (S, B)
    state: Memory
    k: Kernels


class Cotangents(NamedTuple):
    """What a rule says. score may be (S, B), (S, B, K), or a q of (S, B, K) arrays: a weight for each parameter."""

    L: Array  # (B,), without an analytic KL
    theta: Array  # (S, B)
    path: Array | None = None  # (S, B)
    score: Any = None
    direct: Any = None  # a q of cotangents, where a rule has found them itself


@dataclass(frozen=True)
class Estimator:
    """A gradient estimator: its rule and what it needs. `get` in the package makes them by name."""

    name: str
    rule: Callable[[Draw], Cotangents]
    samples: int = 1  # the fewest that it works with
    noise: int = 1  # columns of noise for each column of z
    pathwise: bool = False  # differentiates log p by z, and z by φ
    analytic_kl: bool = False
    by_factor: bool = False  # weights the score of each latent by itself, with log p(x, z) factor by factor
    initial: Callable[[int, Callable[..., Array]], Memory] | None = None  # (columns of x, normals(*shape)) -> state
    update: Callable[[Draw], None] | None = None  # what the state learns from a draw, after it was used

    def state(self, columns: int, normals: Callable[..., Array]) -> Memory:
        """What it remembers between steps (baselines), named arrays for the checkpoint; {} for most."""
        return self.initial(columns, normals) if self.initial else {}


def estimate(
    e: Estimator,
    model: Any,
    q: Any,
    x: Any,
    noise: Array,
    theta: Any = None,
    dtheta: Any = None,
    w: Array | None = None,
    state: Memory | None = None,
    k: Kernels = NUMPY,
) -> tuple[Array, Any]:
    """An estimate of Σ_b w_b L_b and its gradient: returns L (B,) nats and, row by row, the cotangents of q.

    noise is (S, B, noise columns): S samples a row; w (B,) is one for every row unless given; θ's cotangent is added
    into `dtheta` unless that is None; `state` is what `e.state` made, and is updated in place.
    Raises UsageError, one line, where the model or q lacks what the estimator needs, or log_joint misbehaves.
    """
    check_needs(e, model, q, noise, state)
    eps = noise[..., : noise.shape[-1] // e.noise]
    z = q.sample(eps, k)

    def signal(z: Array) -> Array:
        if e.analytic_kl:
            return checked(model.log_likelihood(x, z, theta), z, "log_likelihood")
        return checked(model.log_joint(x, z, theta), z, "log_joint") - q.log_prob(z, k)

    d = Draw(model, q, x, noise, z, theta, signal, signal(z), state if state is not None else {}, k)
    c = e.rule(d)
    dq = pull_back(e, d, c, eps, dtheta, np.ones_like(c.L) if w is None else w)
    if e.update is not None and state is not None:
        e.update(d)
    return c.L - q.kl(k) if e.analytic_kl else c.L, dq


def pull_back(e: Estimator, d: Draw, c: Cotangents, eps: Array, dtheta: Any, w: Array) -> Any:
    """The cotangents of q's parameters, from every way by which they reach L; adds θ's into dtheta."""
    parts = []
    if dtheta is not None or c.path is not None:
        name = "log_likelihood_vjp" if e.analytic_kl else "log_joint_vjp"
        if e.pathwise:
            vjp = need(d.model, name, e.name, "d log p/dz")
        else:
            vjp = need(d.model, name, e.name, "d log p/dtheta", "pass dtheta=None, which learns no theta")
        dz = vjp(w * c.theta, d.x, d.z, d.theta, dtheta)
    if c.path is not None:  # z = g(ε; φ)
        if not e.analytic_kl:
            dz = dz + d.q.log_prob_vjp(-w * c.theta, d.z, d.k)[0]  # r = log p − log q
        parts.append(d.q.sample_vjp(c.path[..., None] * dz, eps, d.k))
    if c.score is not None:  # log q(z; φ), z held fast
        parts.append(score_part(d.q, c.score, w, d.z, d.k))
    if c.direct is not None:
        parts.append(type(d.q)(*(w[:, None] * part for part in c.direct)))
    if e.analytic_kl:
        parts.append(d.q.kl_vjp(-w, d.k))
    return type(d.q)(*(sum(fields[1:], fields[0]) for fields in zip(*parts, strict=True)))


def score_part(q: Any, score: Any, w: Array, z: Array, k: Kernels) -> Any:
    """Σ_s score_s ∂ log q(z_s; φ)/∂φ, the weights one a sample, one a latent, or one a parameter."""
    if isinstance(score, np.ndarray) and score.ndim == 2:
        return q.log_prob_vjp(w * score, z, k)[1]
    h = scores(q, z, k)
    weights = score if isinstance(score, tuple) else (score,) * len(h)
    return type(q)(*((widened(w, b[0]) * a * b).sum(axis=0) for a, b in zip(weights, h, strict=True)))


def widened(w: Array, like: Array) -> Array:
    """w with axes of length 1 appended until it has as many as `like`: one weight for all that stands behind it."""
    return w.reshape(*w.shape, *(1,) * (like.ndim - w.ndim))


def scores(q: Any, z: Array, k: Kernels = NUMPY) -> Any:
    """∂ log q(z_s; φ)/∂φ for every sample by itself: a q of (S, B, …) arrays."""
    repeated = type(q)(*(np.broadcast_to(f, (z.shape[0], *f.shape)) for f in q))
    return repeated.log_prob_vjp(np.ones(z.shape[:2], z.dtype), z, k)[1]


def check_needs(e: Estimator, model: Any, q: Any, noise: Array, state: Memory | None) -> None:
    """One clear line where the model, the family or the noise is not what the estimator needs."""
    if noise.ndim != 3:
        raise UsageError(f"noise has shape {noise.shape}; expected (S, B, columns): S samples for each of B rows")
    if noise.shape[0] < e.samples:
        raise UsageError(f"estimator {e.name!r} needs at least {e.samples} samples a row, noise has {noise.shape[0]}")
    if e.initial is not None and not state:
        raise UsageError(f"estimator {e.name!r} remembers its baseline: pass state=estimator.state(columns, normals)")
    if e.pathwise and not hasattr(q, "sample_vjp"):
        raise UsageError(
            f"estimator {e.name!r} differentiates through z, but a {type(q).__name__} sample is discrete: "
            "use estimator='score' or one of its kin"
        )
    if e.analytic_kl:
        need(model, "log_likelihood", e.name, "log p(x | z) apart from the prior, for its analytic KL")
        if not hasattr(q, "kl"):
            raise UsageError(f"estimator {e.name!r} needs KL(q || p(z)) in closed form, which {type(q).__name__} lacks")
    elif e.pathwise:
        need(model, "log_joint_vjp", e.name, "d log p(x, z)/dz")


def checked(log_p: Any, z: Array, name: str) -> Array:
    """A model's log density, of the right shape and finite."""
    if not isinstance(log_p, np.ndarray) or log_p.shape != z.shape[:-1]:
        got = f"shape {log_p.shape}" if isinstance(log_p, np.ndarray) else type(log_p).__name__
        raise UsageError(f"{name} returned {got} for z of shape {z.shape}; expected an array of shape {z.shape[:-1]}")
    if not np.isfinite(log_p).all():
        s, b = np.argwhere(~np.isfinite(log_p))[0]
        raise UsageError(f"{name} is {log_p[s, b]} at sample {s} of row {b}: it must be finite wherever q puts mass")
    return log_p
