"""§7.2.1 Black-box variational inference: fit q, and θ if there is one, to any model that has a log_joint.

>>> import numpy as np
>>> from scratchvae.distributions import Normal
>>> from scratchvae.models.protocol import Functions
>>> model = Functions(lambda x, z, theta: -0.5 * ((z - 3.0) ** 2).sum(axis=-1))      # p(z | x) = N(3, 1)
>>> found = fit(model, None, Normal(np.zeros((1, 1)), np.zeros((1, 1))), estimator="score_loo", steps=400)
>>> found.q.mu.round(1).tolist(), found.q.log_var.round(1).tolist()
([[3.0]], [[0.0]])

q is either a family whose parameters are free for each row (mean field, one row for a global latent), or a `Net`, which
amortises them over rows (§7.3). Both are one algorithm: forward, estimator, backward, step.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..conditional import Net, net, net_vjp
from ..errors import CheckFailed, UsageError
from ..estimators import Estimator, Memory, estimate, get
from ..gradcheck import Report, accumulating, check
from ..gradcheck.contract import untouched
from ..gradcheck.report import WRONG
from ..kernels import NUMPY, Kernels
from ..noise import Noise, Purpose
from ..tree import copied, flat, leaves, zeros_like
from ..types import Array

ADAM = (0.9, 0.999, 1e-8, 0.0)  # β₁, β₂, ε, decay


class Fit(NamedTuple):
    """What was found: phi and theta as they were given, trained; history (steps,) of mean bounds, nats a row."""

    phi: Any
    theta: Any
    history: Array
    state: Memory

    @property
    def q(self) -> Any:
        """The posterior's approximation, for free parameters; an amortised one is `posterior(x)`."""
        return self.phi

    def posterior(self, x: Array) -> Any:
        """q(z | x) by the net."""
        return net(x, self.phi)[0]


class FitSettings(NamedTuple):
    """How to fit; see `fit`."""

    estimator: Estimator
    samples: int
    steps: int
    rate: float
    batch: int | None
    noise: Noise
    k: Kernels
    checked: bool


def fit(
    model: Any,
    x: Any,
    q: Any,
    theta: Any = None,
    *,
    estimator: str = "score_loo",
    samples: int = 10,
    steps: int = 1000,
    rate: float = 0.05,
    batch: int | None = None,
    seed: int = 0,
    report: Callable[[int, float, "Fit"], None] | None = None,
    k: Kernels = NUMPY,
    checked: bool = True,
) -> Fit:
    """Maximise the bound over q (and θ, unless None) by Adam, at a rate that falls linearly to zero.

    model    see `models.protocol`: log_joint is enough for estimator="score" and its kin
    x        whatever the model takes; an array with one row for each row of q where `batch` or a Net is used
    q        a family, e.g. Normal(mu (B, K), log_var (B, K)), or a Net for an amortised one; the start, left unchanged
    batch    rows a step, drawn afresh each epoch (a Net only); all rows by default
    report   called after each step with (step, mean bound, the Fit so far): a copy, to keep or not

    checked  whether the model's vjp, if it is used, is compared with numerical derivatives first

    Before the first step the model is called on copies, which it must not write into. Raises CheckFailed with the
    element where the vjp differs (a kink near by is no error); UsageError where the estimator needs what model or q
    lacks, or log_joint misbehaves.
    """
    s = FitSettings(get(estimator), samples, steps, rate, batch, Noise(seed, k), k, checked)
    if batch is not None and not isinstance(q, Net):
        raise UsageError("batch goes with an amortised q: free parameters are fitted to all rows at once")
    phi, theta = copied(q), copied(theta)
    state = s.estimator.state(*state_arguments(s, x, arrays(phi)[0].dtype)) if s.estimator.initial else {}
    check_model(s, model, x, phi, theta)
    slots = begun((phi, theta))
    history = np.full(steps, np.nan)
    for step in range(steps):
        L, gradients = one(s, step, model, x, phi, theta, state)
        history[step] = L.mean(dtype=np.float64)
        ascend(slots, gradients, step, rate * (1 - step / steps), k)
        if report:
            report(step, float(history[step]), Fit(copied(phi), copied(theta), history[: step + 1], copied(state)))
    return Fit(phi, theta, history, state)


def one(
    s: FitSettings, step: int, model: Any, x: Any, phi: Any, theta: Any, state: Memory
) -> tuple[Array, list[Array]]:
    """One estimate: the bounds of the rows, and the gradients of every array of phi and theta."""
    if s.batch is not None:
        x = x[minibatch(s.noise, step, len(x), s.batch)]
    q, layers = net(x, phi, s.k) if isinstance(phi, Net) else (phi, [])
    noise, dtheta = draw(s, step, q), zeros_like(theta)
    w = np.full(noise.shape[1], 1 / noise.shape[1], q[0].dtype)
    L, dphi = estimate(s.estimator, model, q, x, noise, theta, dtheta, w, state, s.k)
    if isinstance(phi, Net):
        dq, dphi = dphi, zeros_like(phi)
        net_vjp(dq, q, layers, phi, dphi, s.k, need_dx=False)
    return L, arrays((dphi, dtheta))


def arrays(tree: Any) -> list[Array]:
    """What is trained: every array in it, in order."""
    return [leaf for _, leaf in leaves(tree) if isinstance(leaf, np.ndarray)]


def begun(tree: Any) -> list[tuple[Array, Array, Array]]:
    """Every array that is trained, with Adam's first and second moments of its slope."""
    return [(leaf, np.zeros_like(leaf), np.zeros_like(leaf)) for leaf in arrays(tree)]


def ascend(slots: list[tuple[Array, Array, Array]], slopes: list[Array], step: int, rate: float, k: Kernels) -> None:
    """Adam's step of that number, counted from 0, upwards and in place."""
    for (leaf, m, v), g in zip(slots, slopes, strict=True):
        k.adam(leaf.reshape(-1), g.reshape(-1), m.reshape(-1), v.reshape(-1), step + 1, (rate, *ADAM))


def draw(s: FitSettings, step: int, q: Any) -> Array:
    """Noise (S, B, columns) for q: normals, or uniforms where it is discrete, or made by an inverse CDF."""
    B, K = q[0].shape[:2]
    columns = K * s.estimator.noise
    address = (Purpose.LATENT, step, B, s.samples * columns)
    if not hasattr(q, "sample_vjp"):
        flat_noise = s.noise.uniforms(*address, q[0].dtype)
    elif getattr(q, "noise", "normals") == "uniforms":
        flat_noise = s.noise.inner_uniforms(*address)
    else:
        flat_noise = s.noise.normals(*address, q[0].dtype)
    return np.ascontiguousarray(flat_noise.reshape(B, s.samples, columns).transpose(1, 0, 2))


def minibatch(noise: Noise, step: int, rows: int, batch: int) -> Array:
    """The rows of step number `step`."""
    per_epoch = math.ceil(rows / batch)
    epoch, i = divmod(step, per_epoch)
    return noise.order(epoch, rows)[i * batch : (i + 1) * batch]


def state_arguments(s: FitSettings, x: Any, dtype: Any) -> tuple[int, Callable[..., Array]]:
    """What a baseline is made from: the columns of x, 0 where it has none, and noise for its first weights."""

    def normals(*shape: int) -> Array:
        if shape[0] == 0:
            name = s.estimator.name
            raise UsageError(f"the baseline of {name!r} reads x: give it as an array (B, D), not {kind_of(x)}")
        return s.noise.normals(Purpose.INITIAL, 0, 1, math.prod(shape), dtype).reshape(shape)

    return x.shape[1] if isinstance(x, np.ndarray) and x.ndim == 2 else 0, normals


def kind_of(x: Any) -> str:
    """What somebody gave, in a word."""
    return f"shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__


# --- once, before the first step ---------------------------------------------------------------------


def check_model(s: FitSettings, model: Any, x: Any, phi: Any, theta: Any) -> None:
    """The model and q at a first draw (of two rows, for a net): they leave their arguments alone, and the vjp, if it
    is used, agrees with numerical derivatives."""
    x = x[:2] if isinstance(phi, Net) else x
    q = net(x, phi, s.k)[0] if isinstance(phi, Net) else phi
    z = leave_alone(s.estimator, model, q, x, draw(s, 0, q)[:2, :, : q[0].shape[1]], theta, s.k)
    name = density_of(s.estimator)
    f, vjp = getattr(model, name, None), getattr(model, name + "_vjp", None)
    if not s.checked or f is None or vjp is None or not (s.estimator.pathwise or flat(theta).size):
        return
    z, constants = z.astype(np.float64), () if s.estimator.pathwise else ("z",)
    found = compare_slopes(f, vjp, x, z, theta, constants)
    if found.verdict == WRONG:  # of what nobody can tell, nobody is accused
        raise CheckFailed(f"the model's {name}_vjp disagrees with {name}: {found.first_failure}")


def density_of(e: Estimator) -> str:
    """The model's function that the estimator differentiates."""
    return "log_likelihood" if e.analytic_kl else "log_joint"


def leave_alone(e: Estimator, model: Any, q: Any, x: Any, noise: Array, theta: Any, k: Kernels = NUMPY) -> Array:
    """z from noise (S, B, K), after every function of the model and of q that the estimator calls was called on copies.

    Raises UsageError, naming function and argument, if one writes into what it was given (dtheta is there for that).
    """
    z: Array = untouched("q.sample", lambda q, noise: q.sample(noise, k), q=q, noise=noise)
    given = {"x": x, "z": z, "theta": theta}
    if not e.analytic_kl:
        untouched("q.log_prob", lambda q, z: q.log_prob(z, k), q=q, z=z)
    name, dtheta = density_of(e), zeros_like(theta)
    for each in (name, *(("log_factors",) if e.name == "score_rb" else ())):
        if f := getattr(model, each, None):  # what is missing, the estimator says
            untouched(each, f, **given)
    if (vjp := getattr(model, f"{name}_vjp", None)) and (e.pathwise or flat(theta).size):
        w = np.ones(z.shape[:2], z.dtype)
        untouched(f"{name}_vjp", lambda *args: vjp(*args, dtheta), w=w, **given)
    return z


def compare_slopes(f: Any, vjp: Any, x: Any, z: Array, theta: Any, constants: tuple[str, ...]) -> Report:
    """The vjp against numerical derivatives by z and theta, element by element in blocks of up to 64."""
    bounds = {"central": 1e-5, "direction": 1e-5}
    options: dict[str, Any] = {"methods": tuple(bounds), "tolerance": bounds, "limit": 64}
    if not flat(theta).size:
        return check(lambda z: f(x, z, theta), lambda w, z: vjp(w, x, z, theta, None), (z,), **options)
    f_vjp = accumulating(lambda w, z, theta, dtheta: vjp(w, x, z, theta, dtheta), into=(1,))
    settings = [".".join(path) for path, leaf in leaves(theta, ("theta",)) if not isinstance(leaf, np.ndarray)]
    return check(lambda z, theta: f(x, z, theta), f_vjp, (z, theta), constants=(*constants, *settings), **options)
