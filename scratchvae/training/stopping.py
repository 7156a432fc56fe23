"""§7.3 How long a table is trained: 2,000 steps at least, and a stop by rows that no step sees.

A table of a few hundred rows is learned by heart long before 2,000 steps: the bound of its own rows rises on, that of
new rows falls. So a share of the training rows, `Config.validation`, is held out; their bound is looked at every epoch,
or every LOOK steps where an epoch is shorter. `Config.patience` looks in a row without a better one end the run, and
it ends, by this or by its length, with the parameters of the best look. Test rows take no part. (Of the held-out rows
training knows what the reading learned of all training rows: mean and scale of each column.)

Outside of training a state holds the best parameters, and beside them those that training would go on with: both are
in each checkpoint, so a resumed run takes the steps and the looks that an unstopped one would have taken.
"""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..noise import Noise, Purpose
from ..types import Array
from .config import Config
from .orders import LARGE, Keyed
from .reading import STANDARDISED

if TYPE_CHECKING:
    from .state import State, Steps

STEPS = 2000  # at least, unless `epochs` is given
SHARE, LEAST, MOST = 0.1, 20, 10_000  # rows held out: a tenth, but neither fewer nor more, and at most half
LOOK = 50  # steps


def at_length(config: Config, x: Array, given: Collection[str]) -> Config:
    """The config of a new run on rows x (N, columns) as stored, with the length and the stop that were not `given`:
    of a real-valued table, or one whose kinds of columns were found (columns="auto"), max(20 epochs, STEPS steps), and
    a tenth of the rows held out. Other data keep the config's. Of `orders.LARGE` rows or more the order is keyed."""
    rows = len(x)
    if rows >= LARGE and "order" not in given:
        config = replace(config, order="keyed")
    table = config.likelihood in STANDARDISED or config.columns.split(",")[0] == "auto"
    if not table or x.dtype in (np.uint8, np.bool_):
        return config
    if "validation" not in given:
        config = replace(config, validation=min(max(SHARE * rows, LEAST), rows // 2, MOST) / rows)
    if "epochs" not in given:
        steps = math.ceil((rows - held_out(rows, config.validation)) / config.batch)  # of an epoch
        config = replace(config, epochs=float(max(config.epochs, math.ceil(STEPS / steps))))
    return config


def held_out(rows: int, share: float) -> int:
    """How many of so many training rows are held out; one at least is trained on."""
    return min(round(share * rows), rows - 1)


def hold_out(noise: Noise, rows: int, share: float, order: str = "permutation") -> Array:
    """The numbers of the rows held out, rising: drawn by the run's seed, in memory as its order of rows has it."""
    if not (count := held_out(rows, share)):
        return np.arange(0)
    if order == "permutation":
        return np.sort(noise.order(0, rows, Purpose.VALIDATION)[:count])
    return np.sort(Keyed.of(noise, 0, rows, Purpose.VALIDATION)(np.arange(count)))


def memory(flat: Array) -> dict[str, Array]:
    """What the stop remembers: the other parameters, as `flat`, and (best bound, its step, the last look's step)."""
    return {"parameters": np.zeros_like(flat), "looks": np.array([-math.inf, 0, 0])}


def period(steps: "Steps") -> int:
    """Steps from one look to the next; 0 where nothing is held out."""
    return max(LOOK, steps.per_epoch) if len(steps.held) else 0


def over(state: "State", period: int) -> bool:
    """Whether `patience` looks have passed since the best, `period` steps each."""
    if not period:
        return False
    _, best, last = state.stopping["looks"]
    return bool(last - best >= state.config.patience * period)


def best_step(state: "State") -> int:
    """The step of the parameters that a state holds outside of training."""
    return int(state.stopping["looks"][1]) if looked(state) else state.step


def looked(state: "State") -> bool:
    """Whether a look has found a best."""
    return bool(state.stopping) and math.isfinite(state.stopping["looks"][0])


def why_it_ended(state: "State", period: int) -> str:
    """One line on the end of a run with rows held out."""
    if not looked(state):
        return f"the run ended at step {state.step}, before the first look at the rows held out"
    bound, best, last = state.stopping["looks"]
    why = f"their bound has not risen for {last - best:.0f} steps" if over(state, period) else "that was its length"
    return f"the run ended at step {state.step}: {why}; it holds step {best:.0f}, the best with {bound:.2f} nats"
