"""§7.1.2 What a step does by another algorithm than AEVB: its own directions, into the same arena of parameters.

Loop, optimizers, checkpoints and evaluation stay as they are, and every bound that is told is the ELBO.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..arena import Arena
from ..classical import full_vb, mcem
from ..classical.wake_sleep import Dream, log_q_vjp, reweighted, wake_sleep
from ..conditional import Net, mean_of
from ..distributions import Normal
from ..errors import UsageError
from ..kernels import NUMPY
from ..models.decoded import Decoded
from ..models.vae import decode, elbo, elbo_vjp
from ..noise import Purpose
from ..tasks.hmc import chain_noise
from ..types import Array
from .algorithms import algorithm
from .objective import Diverged, VAEObjective, check_rows, drawn, shares
from .stopping import held_out

if TYPE_CHECKING:
    from .config import Config
    from .state import State


class Rival(VAEObjective):
    """What all have in common: a step is what is expected of z, then some updates."""

    __slots__ = ()
    updates = 1

    def expect(self, x: Array) -> None:
        """What comes before the updates of a step on rows x: nothing, for most."""

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within, a step that breaks leaves the state as it was; one update alone breaks before it changes anything."""
        yield


class WakeSleep(Rival):
    """Wake-sleep, reweighted or not (`classical.wake_sleep`)."""

    __slots__ = ()

    def gradient(self, x: Array, eps: Array) -> Array:
        """Adds wake's and sleep's directions; returns the sampled bound."""
        s, how = self.state, algorithm(self.state.config.algorithm)
        nets, model, w = (s.phi, s.theta, s.dphi, s.dtheta), Decoded(s.k), shares(s, x)
        if how.share == 1:
            return reweighted(model, x, eps, None, *nets, 1.0, w, s.k)
        dreamt = self.dreamt(len(x), how.means)
        if how.name == "wake-sleep":
            return wake_sleep(model, x, eps, dreamt, *nets, w, s.k)
        return reweighted(model, x, eps, dreamt, *nets, how.share, w, s.k)

    # Rows count on, z first: two arrays, one purpose, no number twice.
    def dreamt(self, rows: int, means: bool = False) -> Dream:
        """The dream of the step at hand."""
        s = self.state
        z = s.noise.normals(Purpose.DREAM, s.step, rows, s.config.latent_size, s.config.dtype)
        p = decode(z, s.theta, s.k)[0]
        return Dream(mean_of(p) if means else drawn(s, p, s.noise, Purpose.DREAM, s.step, rows), z)


class MonteCarloEM(Rival):
    """Monte Carlo EM (`classical.mcem`): E moves the chains of the minibatch's rows, then M has its updates.

    No q takes part. One is fitted to the chains' draws beside it, by ∇φ log q(z | x), so that bounds and pictures mean
    something; θ never sees it.
    """

    __slots__ = ()
    updates = mcem.UPDATES

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within, chains and updates before the one that breaks are taken back."""
        s, z = self.state, self.state.kept["z"]
        changed = s.arena.flat, s.slots, s.kept["log_step"]
        before, stood = [array.copy() for array in changed], z[s.index]
        try:
            yield
        except Diverged:
            for array, old in zip(changed, before, strict=True):
                array[...] = old
            z[s.index] = stood
            raise

    def expect(self, x: Array) -> None:
        """E, with noise named by the rows' numbers; the step size follows the acceptance."""
        s = self.state
        z, log_step = s.kept["z"], s.kept["log_step"]
        before = z[None, s.index]
        v, u = chain_noise(s.noise, before, s.step, s.index.astype(np.uint32))
        moved, probability = mcem.e_step(Decoded(s.k), x, before, v, u, float(log_step[0]), s.theta)
        z[s.index], log_step[0] = moved[0], mcem.tuned(float(log_step[0]), probability)

    def gradient(self, x: Array, eps: Array) -> Array:
        """Adds M's direction, and q's; returns the bound, by draws of q."""
        s, w = self.state, shares(self.state, x)
        z = s.kept["z"][s.index]
        mcem.m_step(Decoded(s.k), x, z[None], s.theta, s.dtheta, w)
        log_q_vjp(w, x, z, s.phi, s.dphi, s.k)
        return self.bound(x, eps)[0]


class FullVB(Rival):
    """Full variational Bayes (`classical.full_vb`): the arena's θ are the means of q(θ), and LOG_VAR, its variances,
    follow them; who evaluates, or draws pictures, has the means for θ."""

    __slots__ = ()

    def gradient(self, x: Array, eps: Array) -> Array:
        """Adds eq. 24's directions, per row; returns the rows' bounds at the step's draw of θ, without KL(q(θ))/N."""
        s, (q, dq) = self.state, (self.weights(arena) for arena in (self.state.arena, self.state.gradient))
        zeta = s.noise.normals(Purpose.WEIGHTS, s.step, 1, len(q.mu), s.config.dtype)[0]
        N = int(s.kept["rows"][0])
        drawn, slopes = (Arena(decoder_shapes(s.architecture), s.config.dtype) for _ in range(2))
        drawn.flat[...] = full_vb.weights(q, zeta, N, s.k)[0]
        nets = (s.architecture.nets({**s.arena.views, **made.views})[1] for made in (drawn, slopes))
        theta, dtheta = cast(tuple[Net, Net], tuple(nets))
        L, cache = elbo(x, eps, s.phi, theta, s.k)
        check_rows(s.step, L, cache.reconstruction, cache.kl)
        elbo_vjp(shares(s, x), cache, x, eps, s.phi, theta, s.dphi, dtheta, s.k)
        full_vb.weights_vjp(slopes.flat, -1.0, q, zeta, N, dq, s.k)
        return L

    def weights(self, arena: Arena) -> Normal:
        """q(θ), or its cotangent, in an arena: views, (P,) each."""
        log_var = arena.views[LOG_VAR]
        return Normal(arena.flat[-2 * log_var.size : -log_var.size], log_var)

    def kl(self) -> float:
        """KL(q(θ) ‖ N(0, I))/N, nats per datapoint of the N rows that the run was trained on."""
        return float(self.weights(self.state.arena).kl() / self.state.kept["rows"][0])


LOG_VAR = "weights.log_var"


def decoder_shapes(a: Any) -> dict[str, tuple[int, ...]]:
    """Of θ: they follow φ in the arena."""
    return {name: shape for name, shape in a.shapes().items() if name.startswith("p.")}


def shapes(config: "Config", a: Any) -> dict[str, tuple[int, ...]]:
    """Every parameter of a run: the model's, and after them what its algorithm learns beside."""
    beside = sum(math.prod(shape) for shape in decoder_shapes(a).values()) if rule(config) is FullVB else 0
    return a.shapes() | ({LOG_VAR: (beside,)} if beside else {})


def kept(state: "State", rows: int) -> dict[str, Array]:
    """What the algorithm remembers of so many training rows. Of Monte Carlo EM z (N, K), first of p(z), and the log of
    the step size; of full variational Bayes how many rows it learns from."""
    if state.rule is FullVB:
        return {"rows": np.array([rows - held_out(rows, state.config.validation)])}
    if state.rule is not MonteCarloEM:
        return {}
    noise, K = state.noise._replace(k=NUMPY), state.config.latent_size  # drawn once: nothing is to be compiled for it
    z = noise.normals(Purpose.INITIAL, 2_000_000, rows, K, state.config.dtype)
    return {"z": z, "log_step": np.log([mcem.FIRST_STEP])}


def restored(state: "State", tensors: dict[str, Array]) -> dict[str, Array]:
    """What `kept` gave, from a checkpoint's tensors. Raises UsageError for what is none, KeyError where it is gone."""
    expected = kept(state, len(tensors["algorithm.z"]) if state.rule is MonteCarloEM else 1)
    found = {name: tensors[f"algorithm.{name}"] for name in expected}
    for name, array in found.items():
        if array.shape != expected[name].shape:
            raise UsageError(f"algorithm.{name} has shape {array.shape}, expected {expected[name].shape}")
    return found


def words(state: "State") -> str:
    """One line on what the algorithm asks of so many rows, "" where it asks for nothing."""
    if state.rule is FullVB:
        return f"full variational Bayes: KL(q(θ) ‖ N(0, I)) of {state.arena.views[LOG_VAR].size} weights is weights_kl"
    if state.rule is not MonteCarloEM:
        return ""
    z = state.kept["z"]
    return (
        f"Monte Carlo EM keeps a z for each of the {len(z)} rows in memory and in every checkpoint, "
        f"{z.nbytes / 1e6:.3g} MB, and takes {mcem.LEAPFROG + 1} slopes in z and {mcem.UPDATES} updates a minibatch"
    )


def columns(state: "State") -> dict[str, float]:
    """What the algorithm adds to a line of metrics: of full variational Bayes KL(q(θ))/N, in nats per datapoint."""
    return {"weights_kl": FullVB(state).kl()} if state.rule is FullVB else {}


RULES: dict[str, type[Rival]] = {
    "wake-sleep": WakeSleep,
    "reweighted-wake-sleep": WakeSleep,
    "mcem": MonteCarloEM,
    "full-vb": FullVB,
}


def rule(config: "Config") -> type[Rival] | None:
    """What takes the steps of another algorithm than AEVB."""
    return RULES.get(algorithm(config.algorithm).name)
