"""§7.1.2 What a step does by another algorithm than AEVB: its own directions, into the same arena of parameters.

Loop, optimizers, checkpoints and evaluation stay as they are, and every bound that is told is the ELBO.
"""

from typing import TYPE_CHECKING

from ..classical.wake_sleep import Dream, reweighted, wake_sleep
from ..conditional import mean_of
from ..models.decoded import Decoded
from ..models.vae import decode
from ..noise import Purpose
from ..types import Array
from .algorithms import algorithm
from .objective import VAEObjective, drawn, shares

if TYPE_CHECKING:
    from .config import Config


class WakeSleep(VAEObjective):
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


RULES: dict[str, type[VAEObjective]] = {"wake-sleep": WakeSleep, "reweighted-wake-sleep": WakeSleep}


def rule(config: "Config") -> type[VAEObjective] | None:
    """What takes the steps of another algorithm than AEVB."""
    return RULES.get(algorithm(config.algorithm).name)
