"""§7.2.3 `score`: log p(x) of every row of a table, its rank, its name, and the columns that it is odd by."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .. import data
from ..data import files
from ..training.bound_report import by_unit, meaning_of
from ..training.evaluate import log_p_of_columns
from ..training.state import State
from ..types import Array
from .common import (
    ROWS,
    Commands,
    add_run,
    check_out,
    choose_rows,
    command,
    emit,
    from_run,
    open_data,
    open_run,
    rows_of,
    say,
    whole,
    write_table,
)
from .evaluate import importance

ABOUT = """Say of every row of a table how probable it is, log p(x) in nats, and its rank: 1 is the least probable, the
oddest. With --top the oddest alone, in that order. Why: the columns whose cells cost a row most nats, -log p(x_d | z)
at the mean of q(z | x), beyond their median in the table; a row without one is odd by how columns go together. Runs
with classes say no why. A column that was left out, or is an index, names rows, if no two of its cells are alike."""
USUAL, WIDE = 1000, 100  # rows that say what a column costs; columns at most that are looked at one by one
WHY, LEAST = 3, 0.1  # columns named for a row; nats, from which on they are


def add(commands: Commands) -> None:
    """Register `score`."""
    p = command(commands, "score", ABOUT, "scratchvae score runs/people people.csv --top 10")
    p.set_defaults(run=run, data_folder=None)
    add_run(p)
    p.add_argument("data", metavar="TABLE", nargs="?", help="a file with the run's columns (default: its test rows)")
    p.add_argument("--rows", help=f"{ROWS} (default: all)")
    p.add_argument("--top", type=whole(1), help="the so many oddest rows alone (default: all, as they stand)")
    p.add_argument("--why", type=whole(0), default=WHY, help="columns named for a row, the dearest first; 0 for none")
    p.add_argument("--samples", type=whole(1), default=100, help="K, importance samples a row")
    p.add_argument("--out", default="-", help=".csv, or - for stdout")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Print row, rank and nats."""
    check_out(args.out, ".csv")
    state = open_run(args)
    found = open_data(args, state, every=True)
    some = choose_rows(args, state, found)
    numbers = np.arange(len(some.test)) if args.rows is None else rows_of(args.rows, len(found.test))
    nats = importance(state, some.test, args.samples)
    order = np.argsort(nats, kind="stable")
    rank = np.empty(len(nats), np.int64)
    rank[order] = np.arange(1, len(nats) + 1)
    shown = order[: args.top] if args.top else np.arange(len(nats))
    table: list[dict[str, Any]] = [
        {"row": int(numbers[i]), "rank": int(rank[i]), "nats": float(nats[i])} for i in shown
    ]
    called, ids = row_names(args, state)
    for one in table if ids else []:
        one["id"] = ids[found.test_origin.first + one["row"]]
    if args.why and found.train.shape[1] <= WIDE and not found.shape and state.config.model == "vae":
        for one, why in zip(table, reasons(state, found, np.asarray(some.test[shown]), args.why), strict=True):
            one["why"] = why
    measure = meaning_of(state, some, "log p(x)", "importance sampling", args.samples, len(nats)).measure
    if args.json:
        emit({"rows": table, "measure": measure, "mean": float(nats.mean()), **by_unit(state, some)}, True)
        return 0
    say(f"log p(x) of {len(nats)} rows by {args.samples} importance samples each, nats; p(x) is a {measure}")
    if ids:
        say(f"id: {called or 'the column without a name'}")
    names = [name for name in ("row", "id", "rank", "nats", "why") if name in table[0]]
    write_table([[cell(one[name]) for name in names] for one in table], tuple(names), args.out)
    return 0


def cell(value: object) -> str:
    """Of the table that is written."""
    if isinstance(value, dict):
        return "; ".join(f"{name} {nats:.1f}" for name, nats in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def row_names(args: argparse.Namespace, state: State) -> tuple[str, list[str]]:
    """The column that names the rows of the file, and its cells, none where there is none."""
    path, names = args.data or from_run(state, state.config.test or state.config.data), state.reading.names
    if not names or path in data.NAMES or not Path(path).is_file():
        return "", []
    return files.row_names(Path(path), (*names, state.config.weights))


def reasons(state: State, found: data.Dataset, x: Array, many: int) -> list[dict[str, float]]:
    """Of each row of x at most so many columns, and the nats that they cost it beyond their median."""
    sample = np.unique(np.linspace(0, len(found.test) - 1, USUAL).astype(np.int64))
    usual = np.nanmedian(log_p_of_columns(state, np.asarray(found.test[sample])), axis=0)
    beyond = usual - log_p_of_columns(state, x)
    kept = np.arange(state.reading.columns) if state.reading.kept is None else state.reading.kept
    names = state.reading.names or [f"column {i}" for i in range(state.reading.columns)]
    dearest = np.argsort(-beyond, axis=1, kind="stable")[:, :many]  # NaN, what is missing, is last
    return [
        {names[kept[d]]: float(nats[d]) for d in columns if nats[d] >= LEAST}
        for nats, columns in zip(beyond, dearest, strict=True)
    ]
