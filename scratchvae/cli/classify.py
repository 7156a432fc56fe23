"""§7.1 `classify`: q(y | x) of rows by a run that knows classes, and how often it errs where the classes are known."""

import argparse
import dataclasses
from typing import Any

import numpy as np

from .. import data
from ..errors import UsageError
from ..training.evaluate import evaluation_rows, over
from ..training.labels import codes_of, with_labels
from ..training.semi_supervised import probabilities
from ..training.state import State
from ..types import Array
from .common import (
    ROWS,
    Commands,
    add_data,
    add_run,
    check_out,
    choose_rows,
    command,
    emit,
    open_data,
    open_run,
    rows_of,
    say,
    write_table,
)

ABOUT = """Classify rows by a run of train --model m2: the most probable class of each, q(y | x), and, where the rows
bring their classes, the error in per cent and how often each class was taken for which."""


def add(commands: Commands) -> None:
    """Register `classify`."""
    p = command(commands, "classify", ABOUT, "scratchvae classify runs/few --out classes.csv")
    p.set_defaults(run=run)
    add_run(p)
    add_data(p)
    p.add_argument("--rows", help=f"{ROWS} (default: all)")
    p.add_argument("--out", help=".csv, or - for stdout: row, class, then the probability of each class")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Print what was found, write the probabilities."""
    check_out(args.out, ".csv")
    state = open_run(args)
    if state.config.model != "m2":
        raise UsageError(f"{args.checkpoint} knows no classes: classify takes a run of train --model m2")
    found = open_data(args, state)
    truth = known(args, state, found)
    index = np.arange(len(found.test)) if args.rows is None else rows_of(args.rows, len(found.test), alone=False)
    truth = None if truth is None else truth[index]
    p = probabilities_over(state, choose_rows(args, state, found).test)
    emit(report(state, p, truth, f"{len(p)} rows: {found.split}"), args.json or args.out == "-")
    if args.out:
        called = state.reading.classes
        cells = [
            [str(i), called[row.argmax()], *(f"{one:.6g}" for one in row)] for i, row in zip(index, p, strict=True)
        ]
        write_table(cells, ("row", "class", *called), args.out)
    return 0


def known(args: argparse.Namespace, state: State, found: data.Dataset) -> Array | None:
    """The codes of the rows' classes; None where the data do not say them."""
    config = state.config
    if args.data is not None:
        config = dataclasses.replace(config, data=args.data, test=args.data)
    try:
        labels = with_labels(found, config).test_labels
    except UsageError:
        labels = None
    return None if labels is None else codes_of(labels, state.reading.classes)


def probabilities_over(state: State, x: Array, block: int = 500) -> Array:
    """q(y | x) of all rows as evaluation sees them, (N, C)."""
    work = lambda *some: probabilities(state, evaluation_rows(state, x, *some))  # noqa: E731
    return np.concatenate([*over(state, len(x), block, work)])


def report(state: State, p: Array, truth: Array | None, rows: str) -> dict[str, Any]:
    """Error in per cent, counts of class (lines) taken for class (columns), and what they were measured on."""
    called, told = state.reading.classes, len(state.kept["labelled"])
    found: dict[str, Any] = {"rows": rows, "labels": told, "binarisation": state.config.binarisation}
    if truth is None:
        say("the rows bring no classes of the run, so there is no error to tell")
        return found
    guess = p.argmax(axis=1)
    confusion = np.zeros((len(called), len(called)), np.int64)
    np.add.at(confusion, (truth, guess), 1)
    found["error_percent"] = float(100 * (guess != truth).mean())
    found["log_q"] = float(np.log(p[np.arange(len(p)), truth]).mean())
    return found | {"confusion": {name: confusion[c].tolist() for c, name in enumerate(called)}}
