"""§7.3 Weights of rows: Σ_b w_b L_b / Σ_b w_b is maximised, so a whole number w is that row w times.

A run has them from a column of its table, which is then no part of x, or from a .npy. Test rows count alike.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data import LAST_TENTH, NAMES, Dataset, files
from ..data.arrays import Origin, real
from ..errors import DataError, UsageError, did_you_mean
from ..types import Array
from .config import Config


def scaled(weights: Any, rows: int, origin: Origin | None = None, column: int = 0) -> Array:
    """Rows' weights (N,) with mean 1. Raises UsageError where they are not one a row, DataError, with its place, for
    one that is no number above 0."""
    w, origin = np.asarray(weights, np.float64), origin or Origin("weights")
    check_shape(w, rows, origin)
    if (bad := ~(np.isfinite(w) & (w > 0))).any():
        row = int(np.argmax(bad))
        way = "give numbers above 0, and leave out rows that weigh nothing"
        raise DataError(f"{origin.name}: {way}; {w[row]:g} stands at {origin.place(row, column)}")
    return np.asarray(w / w.mean())


def check_shape(w: Array, rows: int, origin: Origin) -> None:
    """Refuse what is not one weight for each row."""
    if w.shape != (rows,):
        raise UsageError(f"{origin.name}: give one weight for each of {rows} rows, not an array of shape {w.shape}")


class Given(NamedTuple):
    """The weights of all rows of the data, and where they stand."""

    values: Array
    origin: Origin
    column: int = 0


def read(config: Config) -> Given | None:
    """What `config.weights` names; None where it names nothing. Raises UsageError where there is nothing of that name,
    DataError for a column of words."""
    name = config.weights
    if not name:
        return None
    if name.endswith(".npy"):
        return Given(np.asarray(files.read(Path(name)).parts["train"]), Origin(name))
    no_table = config.data in NAMES or Path(config.data).is_dir()
    found = None if no_table else files.read(Path(config.data), config.leave_out)
    if found is None or not found.names:
        raise UsageError(f"--weights {name}: {config.data} names no columns: give a .npy with one number a row")
    if name not in found.names:
        near = did_you_mean(name, found.names)
        raise UsageError(f"--weights {name}: {config.data} has no column of that name{near}")
    column = found.names.index(name)
    if found.levels and found.levels[column]:
        raise DataError(f"--weights {name}: the column holds words, {found.levels[column][0]!r} among "
                        "them: mend these cells, or give a .npy with one number a row")  # fmt: skip
    origin = Origin(config.data, 0, found.names, found.lines)
    cells = np.asarray(found.parts["train"])[:, [column]]  # of a frame they may be objects
    return Given(real(cells, origin._replace(names=(name,)))[:, 0], origin, column)


def of_training(given: Given, found: Dataset) -> Array:
    """Those of the training rows, with mean 1: a file's last tenth may be its test rows."""
    N = len(found.train)
    check_shape(given.values, N + (len(found.test) if found.split == LAST_TENTH else 0), given.origin)
    return scaled(given.values[:N], N, given.origin, given.column)
