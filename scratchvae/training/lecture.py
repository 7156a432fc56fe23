"""§7.2-7.3 The numbers of a lecturer's pictures: small problems whose exact answers are known, seconds each.

    race       q of probabilistic PCA, trained by several estimators under a closed form of log p(x)
    measured   variances of score and path for cos ωz by draws, beside `variance_study.waves`
    course     a VAE of two latents on 8 × 8 images of a spot, its bound and log p(x) by quadrature along the way

Tests: tests/test_picture.py.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..distributions import Normal
from ..estimators import estimate, get
from ..estimators.integrands import rows, wave
from ..kernels import NUMPY
from ..models.linear_gaussian import LinearGaussian, elbo_diag
from ..models.pca import Oracle
from ..noise import Noise, Purpose
from ..tasks import exact, quadrature
from ..types import Array
from .config import Config
from .objective import encode, joint
from .optim import Optimizer
from .state import State, Steps

SIDE = 8  # pixels of an image of a spot
NODES = 33  # of a line of the grid about q: h = ½ σ, where the trapezoid rule is exact to rounding


class Lap(NamedTuple):
    """Where a racer is: estimator, steps taken, its exact bound, mean over rows, nats."""

    estimator: str
    step: int
    bound: float


class Moment(NamedTuple):
    """A VAE after so many steps: log p(x) and the exact bound of each row, (B,) nats."""

    step: int
    log_p: Array
    bound: Array


# W has orthogonal rows, so p(z|x) is a diagonal Gaussian and q can reach it: the bound's ceiling is log p(x) itself.
def pca(seed: int, count: int = 50, latents: int = 8, columns: int = 32) -> tuple[LinearGaussian, Array]:
    """A linear-Gaussian model and rows x (count, columns) drawn from it."""
    noise = Noise(seed)
    draw = noise.normals(Purpose.DATA, 0, columns, latents, np.float64)
    W = np.linspace(0.5, 2.0, latents)[:, None] * np.linalg.qr(draw)[0].T
    theta = LinearGaussian(W, np.zeros(columns), np.log(np.full(1, 0.5)))
    eps = noise.normals(Purpose.DATA, 1, count, latents + columns, np.float64)
    return theta, theta.sample(eps[:, :latents], eps[:, latents:])[0]


def race(
    names: Sequence[str], steps: int, every: int, seed: int, samples: int = 4, rate: float = 0.02
) -> Iterator[Lap]:
    """A free q of every row of `pca`, from the prior on, by Adam along each estimator's gradient: the same start, noise
    and number of samples for all. Estimators that remember nothing, by name."""
    theta, x = pca(seed)
    B, K = len(x), len(theta.W)
    for name in names:
        e, optimizer = get(name), Optimizer(learning_rate=rate)
        flat, g, slots = np.zeros(2 * B * K), np.zeros(2 * B * K), np.zeros((2, 2 * B * K))
        q = Normal(*flat.reshape(2, B, K))
        for step in range(steps + 1):
            if step % every == 0:
                yield Lap(name, step, float(elbo_diag(x, *q, theta).mean()))
            noise = Noise(seed).normals(Purpose.LATENT, step, B, samples * K * e.noise, np.float64)
            eps = np.ascontiguousarray(noise.reshape(B, samples, -1).transpose(1, 0, 2))
            _, dq = estimate(e, Oracle(), q, x, eps, theta)
            g[:] = np.concatenate([part.ravel() for part in dq])
            optimizer.update(flat, g, slots, step + 1, optimizer.learning_rate, NUMPY)


def measured(name: str, frequencies: Sequence[float], draws: int, seed: int) -> Array:
    """The variance of `draws` estimates of ∂/∂μ E[cos ωz], z ~ N(1, 1), at each frequency ω, and its standard error:
    (frequencies, 2). Var s² = (m₄ − s⁴)/n, m₄ the fourth central moment."""
    eps = Noise(seed).normals(Purpose.EVALUATE, 0, draws, 1, np.float64)[None]
    found = []
    for frequency in frequencies:
        g = rows(get(name), wave(frequency), 1.0, 1.0, eps)[:, 0]
        variance, fourth = g.var(ddof=1), ((g - g.mean()) ** 4).mean()
        found.append((variance, np.sqrt((fourth - variance**2) / draws)))
    return np.array(found)


def spots(count: int, seed: int, dtype: str = "float32") -> Array:
    """Bits (count, 64): an image of a bright spot whose place is drawn from the plane, two numbers an image."""
    u = Noise(seed).uniforms(Purpose.DATA, 0, count, 2 + SIDE**2, np.float64)
    line = np.arange(SIDE)
    down, right = ((line - (1 + (SIDE - 3) * u[:, i : i + 1])) ** 2 for i in (0, 1))
    p = 0.01 + 0.98 * np.exp(-(((down[:, :, None] + right[:, None, :]) / 5) ** 2)).reshape(count, -1)
    return (u[:, 2:] < p).astype(dtype)


def course(steps: int, points: int, seed: int, count: int) -> Iterator[Moment]:
    """A VAE of two latents trained on spots, looked at on `count` rows of its own at about `points` steps, most of them
    early: from its start to its end."""
    state, x = fresh(seed), spots(count, seed + 1, "float64")
    run = Steps(state, spots(1000, seed))
    for goal in np.unique(np.geomspace(1, steps + 1, points).round().astype(int)) - 1:
        run.advance(int(goal) - state.step)
        yield Moment(state.step, *log_p_and_bound(state, x))


def fresh(seed: int, width: int = 32) -> State:
    """An untrained VAE for spots, 64-width-2."""
    config = Config(latent=2, hidden=(width,), binarisation="none", batch=50, seed=seed, kernels="numpy",
                    optimizer=Optimizer(learning_rate=3e-3))  # fmt: skip
    state = State(config, SIDE**2)
    state.initialise(spots(1000, seed).mean(axis=0))
    return state


# log p(x) − L = KL(q ‖ p(z|x)), both sides by the trapezoid rule                                       §7.2
def log_p_and_bound(state: State, x: Array) -> tuple[Array, Array]:
    """log p(x) and the bound of rows x (B, D) without any draw, (B,) nats each; of one or two latents."""
    model, q = joint(state), Normal(*(part.astype(np.float64) for part in encode(state, x)))
    found = quadrature.posterior(model.log_joint, x, q.mu.shape[1], resolution=65, tolerance=1e-5)
    return found.log_marginal, exact.elbo(model.log_joint, x, q, quadrature.around(q, NODES, 8.0))
