"""§7.3 Which rows tell their class: drawn once, as many of each, by the run's seed, and kept in its checkpoint.

Row i of the data has the key i of the permutation that noise calls (seed, LABELS, 0); of each class the first rows in
that order tell. So a hundred labels are other rows under another seed, and under one seed the first of a thousand.
"""

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..data import LAST_TENTH, NAMES, Dataset, files
from ..errors import DataError, UsageError, did_you_mean
from ..noise import Noise, Purpose
from ..types import Array
from .config import Config
from .orders import Order
from .orders import kept as beside
from .reading import Reading
from .state import State, Steps


def with_labels(found: Dataset, config: Config) -> Dataset:
    """The data of a model with classes, with the labels that `config.labels_from` names, as text or numbers, else with
    those that the data bring. Raises UsageError where there are none."""
    if config.model != "m2":
        return found
    if name := config.labels_from:
        train = column(config.data, name, config)
        N = len(found.train)
        if found.split == LAST_TENTH:
            return found._replace(labels=train[:N], test_labels=train[N:])
        return found._replace(labels=train, test_labels=column(config.test, name, config) if config.test else None)
    if found.labels is None:
        raise UsageError(f"{found.name} brings no labels: name the column that holds them (--labels-from COLUMN)")
    return found


def column(source: Any, name: str, config: Config) -> Array:
    """The cells of a table's column, (N,): its words, or its numbers."""
    table = None if source in NAMES or Path(str(source)).is_dir() else files.read(Path(source), config.leave_out)
    if table is None or not table.names:
        raise UsageError(f"--labels-from {name}: {source} names no columns")
    if name not in table.names:
        raise UsageError(f"--labels-from {name}: {source} has no column of that name{did_you_mean(name, table.names)}")
    place = table.names.index(name)
    cells = np.asarray(table.parts["train"])[:, place]
    if table.levels and table.levels[place]:
        return np.array(table.levels[place])[cells.astype(np.int64)]
    return cells


def classes_of(labels: Array) -> tuple[str, ...]:
    """The classes in their order, as text."""
    return tuple(text(value) for value in np.unique(labels))


def text(value: Any) -> str:
    """3.0 as 3."""
    return f"{value:.9g}" if isinstance(value, float | np.floating) else str(value)


def codes_of(labels: Array, classes: tuple[str, ...]) -> Array:
    """Labels (N,) as codes of the run's classes. Raises DataError for one that the run does not know."""
    values, where = np.unique(labels, return_inverse=True)
    called = [text(value) for value in values]
    if odd := [name for name in called if name not in classes]:
        raise DataError(f"the class {odd[0]!r} is none of the run's: {', '.join(classes)}")
    return np.array([classes.index(name) for name in called], np.int64)[where.reshape(-1)]


def drawn(codes: Array, many: int, classes: tuple[str, ...], noise: Noise) -> Array:
    """The rows that tell, int64, ascending: all (many = 0), or as many of each class."""
    if many == 0:
        return np.arange(len(codes))
    C = len(classes)
    if many % C:
        raise UsageError(f"labels={many} is not as many of each of {C} classes: give a multiple of {C}, or 0 for all")
    order = noise.order(0, len(codes), Purpose.LABELS)
    parts = [order[codes[order] == c][: many // C] for c in range(C)]
    if short := [c for c in range(C) if len(parts[c]) < many // C]:
        has = f"class {classes[short[0]]} has {len(parts[short[0]])} rows"
        raise UsageError(f"labels={many}: {has}, and not {many // C}")
    return np.sort(np.concatenate(parts))


def begun(config: Config, reading: Reading, found: Dataset) -> State:
    """A run with its first parameters on data that `reading` has adopted; with classes, it knows which rows tell."""
    if config.model != "m2" or found.labels is None:
        return State.begun(config, reading, found.train)
    state = State.begun(config, reading._replace(classes=classes_of(found.labels)), found.train)
    state.kept = kept(state, found.labels)
    return state


def kept(state: State, labels: Array) -> dict[str, Array]:
    """What the run remembers of the labels of its training rows (N,)."""
    codes = codes_of(labels, state.reading.classes)
    rows = drawn(codes, state.config.labels, state.reading.classes, state.noise)
    return {"labelled": rows, "codes": codes[rows]}


class LabelSteps(Steps):
    """Minibatches of both kinds: `batch` rows that do not tell, an epoch being one pass over them, before them as many
    that do, or all of these if they are fewer. Where all rows tell, of those alone."""

    def __init__(self, state: State, x: Array, threads: int | None = None) -> None:
        super().__init__(state, x, threads)
        self.labelled, self.codes = state.kept["labelled"], state.kept["codes"]
        if not len(self.labelled) or self.labelled[-1] >= len(x):
            raise UsageError(f"the run has labels of other rows than these {len(x)}")
        others = len(x) - len(self.labelled)
        self.few = min(len(self.labelled), state.config.batch) if others else 0  # labelled ones of a minibatch
        self.rows = others or len(x)
        self.per_epoch = math.ceil(self.rows / state.config.batch)
        self.order = Order(state.config.order, state.noise, self.rows)
        self.own_order = functools.lru_cache(maxsize=2)(
            lambda turn: state.noise.order(1 + turn, len(self.labelled), Purpose.LABELS)
        )

    def index(self, step: int) -> Array:
        """The rows that tell, then the others."""
        if not self.few:
            return super().index(step)
        turn, i = divmod(step, len(self.labelled) // self.few)
        own = self.own_order(turn)[i * self.few : (i + 1) * self.few]
        return np.concatenate([self.labelled[own], beside(self.labelled, super().index(step))])

    # Each of n rows that tell stands for N_l / n of all N, each of m others for N_u / m; of the mean over n + m rows
    # it has that share times (n + m) / N.
    def expect(self, index: Array) -> None:
        """The classes and weights of a minibatch's rows."""
        state, B = self.state, len(index)
        n, total = self.few or B, len(self.x)
        state.codes = self.codes[np.searchsorted(self.labelled, index[:n])]
        state.weights = np.full(B, len(self.labelled) / n * B / total)
        if n < B:
            state.weights[n:] = self.rows / (B - n) * B / total
