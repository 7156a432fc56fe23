"""§7.1.2 What a step does by another algorithm than AEVB: its own directions, into the same arena of parameters.

Loop, optimizers, checkpoints and evaluation stay as they are, and every bound that is told is the ELBO.
"""

from typing import TYPE_CHECKING

import numpy as np

from ..classical import mcem
from ..classical.wake_sleep import Dream, log_q_vjp, reweighted, wake_sleep
from ..conditional import mean_of
from ..errors import UsageError
from ..kernels import NUMPY
from ..models.decoded import Decoded
from ..models.vae import decode
from ..noise import Purpose
from ..tasks.hmc import chain_noise
from ..types import Array
from .algorithms import algorithm
from .objective import VAEObjective, drawn, shares

if TYPE_CHECKING:
    from .config import Config
    from .state import State


class Rival(VAEObjective):
    """What all have in common: a step is what is expected of z, then some updates."""

    __slots__ = ()
    updates = 1

    def expect(self, x: Array) -> None:
        """What comes before the updates of a step on rows x: nothing, for most."""


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


def kept(state: "State", rows: int) -> dict[str, Array]:
    """What Monte Carlo EM remembers of so many training rows: z (N, K), first of p(z), and the log of the step size."""
    if state.rule is not MonteCarloEM:
        return {}
    noise, K = state.noise._replace(k=NUMPY), state.config.latent_size  # drawn once: nothing is to be compiled for it
    z = noise.normals(Purpose.INITIAL, 2_000_000, rows, K, state.config.dtype)
    return {"z": z, "log_step": np.log([mcem.FIRST_STEP])}


def restored(state: "State", tensors: dict[str, Array]) -> dict[str, Array]:
    """The chains in a checkpoint's tensors. Raises UsageError for what is none, KeyError where they are gone."""
    if state.rule is not MonteCarloEM:
        return {}
    z, log_step = tensors["algorithm.z"], tensors["algorithm.log_step"]
    if z.ndim != 2 or z.shape[1] != state.config.latent_size or log_step.shape != (1,):
        raise UsageError(f"algorithm.z has shape {z.shape}, expected (rows, {state.config.latent_size})")
    return {"z": z, "log_step": log_step}


def words(state: "State") -> str:
    """One line on what the algorithm asks of so many rows, "" where it asks for nothing."""
    if not state.kept:
        return ""
    z = state.kept["z"]
    return (
        f"Monte Carlo EM keeps a z for each of the {len(z)} rows in memory and in every checkpoint, "
        f"{z.nbytes / 1e6:.3g} MB, and takes {mcem.LEAPFROG + 1} slopes in z and {mcem.UPDATES} updates a minibatch"
    )


RULES: dict[str, type[Rival]] = {
    "wake-sleep": WakeSleep,
    "reweighted-wake-sleep": WakeSleep,
    "mcem": MonteCarloEM,
}


def rule(config: "Config") -> type[Rival] | None:
    """What takes the steps of another algorithm than AEVB."""
    return RULES.get(algorithm(config.algorithm).name)
