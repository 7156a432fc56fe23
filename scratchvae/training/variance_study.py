"""§7.2.2-7.2.4 The variance laboratory: bias, variance, signal-to-noise and cost of every estimator, where it matters.

A VAE is trained by SGVB B; at its start, middle and end some rows are held fast and every estimator is asked many
times for the gradient of q's parameters (μ, log σ²) of each row. All figures are of one estimate with S samples:

    variance   Σ over the 2K parameters, mean over rows
    bias       ‖mean − exact‖ / ‖exact‖ over rows and parameters, the exact one by many draws of a good estimator. It is
               never 0: a mean of noisy estimates is not what it estimates. Of an estimator without bias
    error      is the root of its expected square, √(Σ variance / draws) / ‖exact‖, both means' noise in it. More than
               CHANCE errors has less than one chance in twenty then, else the bias is `within_chance`: none is shown
    snr        signal to noise, √(‖exact mean‖² / variance), noise in the mean taken off: Rainforth et al. 2018
    ms_per_row processor time, forward and backward, without the encoder
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..data import binarise, rows
from ..distributions import Normal
from ..estimators import Estimator, estimate, get
from ..kernels import table
from ..models.decoded import Decoded
from ..models.linear_gaussian import LinearGaussian
from ..models.pca import Oracle
from ..models.vae import encode
from ..noise import Noise, Purpose
from ..tree import transform
from ..types import Array
from .config import Config
from .state import State, Steps, mean_row

Tick = Callable[[int], None]
SCORES = ("score", "score_kl", "score_mean", "score_input", "score_rb", "score_cv", "score_loo")
OTHERS = ("measure", "sgvb_a", "sgvb_b", "stl", "iw", "dreg")
OWN_BOUND = ("iw", "dreg")  # these estimate the gradient of their own bound
CHUNK = 1000  # rows estimated at once
CHANCE = 2.0  # P(Σ λ χ² > 4 Σ λ) ≤ P(χ² of one degree of freedom > 4) = 0.046: Székely & Bakirov 2003
WARM_UP = 200  # minibatches that a learned baseline sees before it is measured


class Place(NamedTuple):
    """A point of a training run, and the rows that are asked about."""

    name: str
    run: State
    x: Array  # (R, D)
    q: Normal  # (R, K)
    train: Array


class Moments(NamedTuple):
    """Of the rows' estimates, (R, 2K) each, over `draws` draws; processor seconds a row."""

    mean: Array
    variance: Array
    draws: int
    seconds: float


def places(train: Array, test: Array, config: Config, count: int) -> Iterator[Place]:
    """The run at its start, middle and end, one after the other: use each before asking for the next."""
    run = State(config, train.shape[1])
    run.initialise(mean_row(train))
    steps = Steps(run, train)
    total = math.ceil(config.epochs * steps.per_epoch)
    u = Noise(config.seed).uniforms(Purpose.FIXED_BINARISATION, 0, count, train.shape[1])
    x = binarise(rows(test, slice(0, count)), "fixed", u).astype(config.dtype)
    for name, goal in (("start", 0), ("middle", total // 2), ("end", total)):
        if goal > run.step:
            steps.advance(goal - run.step)
        yield Place(name, run, x, encode(x, run.phi)[0], train)


def nobody(codes: int) -> None:
    """Is told how many codes z have been decoded since, which is what the time goes into."""


def moments(e: Estimator, p: Place, samples: int, draws: int, seed: int, tick: Tick = nobody) -> Moments:
    """Ask `draws` times for every row."""
    noise, state = Noise(seed, table("numpy")), warmed_up(e, p, samples, tick)
    R, K = p.q.mu.shape
    each = max(1, CHUNK // R)
    total, squares, seconds, done = np.zeros((R, 2 * K)), np.zeros((R, 2 * K)), 0.0, 0
    dtheta = transform(lambda _, a: np.zeros_like(a) if isinstance(a, np.ndarray) else a, p.run.theta)
    for chunk in range(math.ceil(draws / each)):
        x, q = np.tile(p.x, (each, 1)), Normal(*(np.tile(f, (each, 1)) for f in p.q))
        flat = noise.normals(Purpose.EVALUATE, chunk, len(x), samples * K * e.noise, x.dtype)
        eps = np.ascontiguousarray(flat.reshape(len(x), samples, -1).transpose(1, 0, 2))
        start = time.process_time()
        _, dq = estimate(e, Decoded(), q, x, eps, p.run.theta, dtheta, state={n: a.copy() for n, a in state.items()})
        seconds += time.process_time() - start
        g = np.concatenate([dq.mu, dq.log_var], axis=1).reshape(each, R, 2 * K).astype(np.float64)
        total, squares, done = total + g.sum(axis=0), squares + (g * g).sum(axis=0), done + each
        tick(round(len(x) * samples * weight(e.name, K)))
    mean = total / done
    return Moments(mean, (squares / done - mean**2) * done / (done - 1), done, seconds / (done * R))


def weight(name: str, latents: int) -> float:
    """What an estimate costs, about, in those of the others: the measure-valued one moves each latent by itself."""
    return 2.5 * latents if name == "measure" else 1.0


def warmed_up(e: Estimator, p: Place, samples: int, tick: Tick = nobody) -> dict[str, Array]:
    """A learned baseline after some minibatches at this point of the run, its parameters at rest."""
    state = e.state(p.x.shape[1], p.run.draw_memory)
    steps = Steps(p.run, p.train)
    for step in range(WARM_UP if state else 0):
        x, eps = steps.minibatch(step)
        noise = np.resize(eps, (samples, *eps.shape[1:]))
        estimate(e, Decoded(), encode(x, p.run.phi)[0], x, noise, p.run.theta, state=state)
        tick(len(x) * samples)
    return state


def figures(name: str, m: Moments, exact: Moments) -> dict[str, Any]:
    """One line of the table."""
    scale = float(np.sqrt((exact.mean**2).sum()))
    off = float(np.sqrt(((m.mean - exact.mean) ** 2).sum()))
    error = math.sqrt(float(m.variance.sum() / m.draws + exact.variance.sum() / exact.draws))
    return {
        "estimator": name,
        "variance": float(m.variance.sum(axis=1).mean()),
        "bias": off / scale,
        "error": error / scale,
        "within_chance": off <= CHANCE * error,
        "snr": snr(m),
        "ms_per_row": 1000 * m.seconds,
        "draws": m.draws,
    }


def snr(m: Moments) -> float:
    """√(‖mean‖² / variance), the mean's own noise taken off."""
    signal = (m.mean**2).sum() - m.variance.sum() / m.draws
    return float(np.sqrt(max(signal, 0.0) / m.variance.sum()))


def compare(
    p: Place, samples: int, draws: int, seed: int, names: Sequence[str] = (*SCORES, *OTHERS), tick: Tick = nobody
) -> Iterator[Any]:
    """The table of one place, line by line."""
    good = ((False, "stl"), (True, "dreg"))
    exact = {own: moments(get(best), p, samples, 4 * draws, seed + 1, tick) for own, best in good}
    for name in names:
        m = moments(get(name), p, samples, draws // 8 if name == "measure" else draws, seed, tick)
        yield {"place": p.name, "samples": samples, **figures(name, m, exact[name in OWN_BOUND])}


def against_samples(
    p: Place, counts: Sequence[int], draws: int, seed: int, tick: Tick = nobody
) -> Iterator[dict[str, Any]]:
    """Signal to noise as the importance-weighted bound gets more samples."""
    for S in counts:
        for name in OWN_BOUND:
            m = moments(get(name), p, S, draws, seed, tick)
            yield {"place": p.name, "samples": S, "estimator": name, "snr": snr(m)}


def oracle_against_samples(counts: Sequence[int], draws: int, seed: int) -> Iterator[dict[str, Any]]:
    """Signal to noise on probabilistic PCA with one latent and a q wider than the posterior: its weights are bounded,
    and the slopes −½ and +½ of the theory show. A VAE's q tends to be narrower, and its weights wild."""
    theta = LinearGaussian(np.array([[0.8, -0.6, 0.9]]), np.zeros(3), np.zeros(1))
    x, q = np.ones((draws, 3)), Normal(np.full((draws, 1), 0.2), np.zeros((draws, 1)))
    for S in counts:
        noise = Noise(seed).normals(Purpose.EVALUATE, S, draws * S, 1, np.float64).reshape(S, draws, 1)
        for name in OWN_BOUND:
            _, dq = estimate(get(name), Oracle(), q, x, noise, theta)
            g = np.concatenate(list(dq), axis=1)
            m = Moments(g.mean(axis=0)[None], g.var(axis=0)[None], draws, 0.0)
            yield {"place": "linear-Gaussian", "samples": S, "estimator": name, "snr": snr(m)}


def races(
    train: Array, config: Config, names: Sequence[str], steps: int, every: int, tick: Tick = nobody
) -> Iterator[dict[str, Any]]:
    """The same model, start, data, noise and number of samples, trained by each estimator."""
    for name in names:
        run = State(replace(config, estimator=name), train.shape[1])
        run.initialise(mean_row(train))
        walk = Steps(run, train)
        curve: list[float] = []
        for _ in range(steps // every):
            curve.append(float(walk.advance(every).mean()))
            tick(every * config.batch * config.samples)
        at = [every * (i + 1) for i in range(len(curve))]
        yield {"estimator": name, "samples": config.samples, "step": at, "bound": curve}


def one_component(p: Place, draws: int, seed: int) -> dict[str, Any]:
    """∂L/∂μ of the one row and latent where it is largest, `draws` estimates of one sample each by score function and
    along the path, with their variances: §7.2.2 and §7.2.4 in one picture."""
    many, where = Noise(seed), moments(get("stl"), p, 1, draws, seed + 1).mean[:, : p.q.mu.shape[1]]
    row, latent = (int(i) for i in np.unravel_index(np.argmax(abs(where)), where.shape))
    x, q = np.tile(p.x[row], (draws, 1)), Normal(*(np.tile(f[row], (draws, 1)) for f in p.q))
    eps = many.normals(Purpose.EVALUATE, 0, draws, q.mu.shape[1], x.dtype)[None]
    found: dict[str, Any] = {"place": p.name, "row": row, "latent": latent}
    for name in ("score", "sgvb_b"):
        dq = estimate(get(name), Decoded(), q, x, eps, p.run.theta)[1]
        found[name] = [float(f"{g:.5g}") for g in dq.mu[:, latent]]
    return found


def waves(frequencies: Sequence[float]) -> dict[str, list[float]]:
    """The exact variance of ∂/∂μ E[cos kz], z ~ N(1, 1): pathwise is not always the better one."""
    from ..estimators.integrands import exact, wave

    def by(name: str) -> list[float]:
        return [float(exact(get(name), wave(k), 1.0, 1.0)[1][0]) for k in frequencies]

    return {"frequency": list(frequencies), "score": by("score"), "pathwise": by("sgvb_b")}


def squares(draws: int, seed: int) -> list[dict[str, float | str]]:
    """f(z) = z² under N(2, 1): exact variances 87, 4 and 64 (2 − π/2)/2π, and what draws give."""
    from ..estimators.integrands import rows as of
    from ..estimators.integrands import square

    known = {"score": 87.0, "sgvb_b": 4.0, "measure": 64 * (2 - math.pi / 2) / (2 * math.pi)}
    lines: list[dict[str, float | str]] = []
    for name, variance in known.items():
        e = get(name)
        noise = Noise(seed).normals(Purpose.EVALUATE, 0, draws, e.noise, np.float64)
        g = of(e, square(), 2.0, 1.0, noise[None])[:, 0]
        lines.append({"estimator": name, "mean": float(g.mean()), "variance": float(g.var()), "exact": variance})
    return lines
