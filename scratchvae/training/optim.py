"""§7.3 Optimizers (Adam, AdamW, Adagrad, SGD with momentum) and learning-rate schedules; the loops stand in `kernels`.

The bound is maximised: every update moves along +∂L/∂θ, where L is the mean bound of the minibatch, nats per datapoint.
"""

import dataclasses
import math

import numpy as np

from ..errors import UsageError, unknown
from ..kernels import NUMPY, Kernels
from ..types import Array

SLOTS = {"adam": ("m", "v"), "adamw": ("m", "v"), "adagrad": ("G",), "sgd": ("u",)}
SCHEDULES = ("constant", "step", "cosine")
AT_ONCE = 1 << 14  # parameters that a kernel steps at once: temporaries stay in the cache (measured at 2^12 … 2^16)
SMALLEST = 1e-29  # ε: it is multiplied by √(1 − β₂ᵗ) ≥ 1e-8, and float32 has, subnormals flushed, nothing below 1.2e-38


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """What to do with a gradient. `decay` is AdamW's λ; `milestones` are (epoch, factor) pairs of the step schedule."""

    name: str = "adam"
    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum: float = 0.9
    decay: float = 0.01
    schedule: str = "constant"
    milestones: tuple[tuple[float, float], ...] = ()
    clip: float = 0.0  # ‖g‖ at most, nats per datapoint; 0: whatever it is

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(sorted((float(e), float(f)) for e, f in self.milestones)))
        if self.name not in SLOTS:
            raise unknown("optimizer", self.name, SLOTS)
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if (self.schedule == "step") != bool(self.milestones):
            raise UsageError("the step schedule and its milestones go together, e.g. milestones 10:0.1,20:0.01")
        if not (0 <= self.momentum < 1 and self.decay >= 0):
            raise UsageError("an optimizer needs 0 <= momentum < 1 and decay >= 0")
        if not (self.learning_rate > 0 and 0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and self.epsilon > 0):
            raise UsageError("an optimizer needs learning_rate > 0, 0 <= beta1, beta2 < 1 and epsilon > 0")
        if not 0 <= self.clip < math.inf:
            raise UsageError(f"clip={self.clip}: expected the largest norm that a gradient may have, or 0 for any")
        if self.epsilon < SMALLEST:
            raise UsageError(f"epsilon={self.epsilon:g} may count as 0, and 0 / 0 is no step: {SMALLEST:g} or more")

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the arrays that it remembers, each of the parameters' size, zero at the start."""
        return SLOTS[self.name]

    def rate(self, epoch: float, epochs: float) -> float:
        """The learning rate at `epoch` (counted from 0, fractions allowed) of `epochs`."""
        if self.schedule == "cosine":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(epoch / epochs, 1.0)))
        factor = 1.0
        for start, value in self.milestones:
            factor = value if epoch >= start else factor
        return self.learning_rate * factor

    def hyper(self, rate: float) -> tuple[float, float, float, float, float]:
        """(α, β₁, β₂, ε, λ) for the Adam kernels."""
        return rate, self.beta1, self.beta2, self.epsilon, self.decay if self.name == "adamw" else 0.0

    def update(self, theta: Array, g: Array, slots: Array, t: int, rate: float, k: Kernels = NUMPY) -> None:
        """Step number t ≥ 1, in place; theta, g (P,), slots (len(self.slots), P)."""
        if self.clip:
            clip(g, self.clip)
        for i in range(0, theta.size, AT_ONCE):
            part = slice(i, i + AT_ONCE)
            self.update_part(theta[part], g[part], slots[:, part], t, rate, k)

    def update_part(self, theta: Array, g: Array, slots: Array, t: int, rate: float, k: Kernels) -> None:
        """The same for some of the parameters, each of which is by itself once g is clipped."""
        if self.name in ("adam", "adamw"):
            k.adam(theta, g, slots[0], slots[1], t, self.hyper(rate))
        elif self.name == "adagrad":
            k.adagrad(theta, g, slots[0], rate, self.epsilon)
        else:
            k.momentum(theta, g, slots[0], rate, self.momentum)


# Clipping by the global norm                                       Pascanu, Mikolov & Bengio 2013, Algorithm 1
#   g ← g min(1, c / ‖g‖):   ‖g‖ ≤ c then, and its direction is kept; the prior's pull is part of g


def clip(g: Array, most: float) -> None:
    """g (P,) with a norm of at most `most`, in place; one that is no longer stays to the bit, and NaN stays NaN."""
    norm = math.sqrt(np.square(g, dtype=np.float64).sum())
    if norm > most:
        g *= most / norm


# MAP: p(θ) = N(0, I) on the generative parameters                          Kingma & Welling 2014, §5 and eq. 8
#   (N/M) Σ_batch L̃ + log p(θ),  log p(θ) = −½ ‖θ‖² + const,   divided by N:   mean L̃ − ‖θ‖² / 2N
#   so:   g ← g − θ / N


def log_prior(theta: Array, rows: int) -> float:
    """log p(θ) / N without its constant, nats per datapoint; theta (P,), rows = N."""
    return -0.5 * float(np.dot(theta, theta)) / rows


def log_prior_vjp(w: float, theta: Array, rows: int, dtheta: Array) -> None:
    """dθ += −w θ / N, in place."""
    dtheta -= (w / rows) * theta
