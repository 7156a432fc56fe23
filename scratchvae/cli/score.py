"""§7.2.3 `score`: log p(x) of every row of a table, and its rank: the oddest rows come first."""

import argparse

import numpy as np

from ..training.bound_report import by_unit, meaning_of
from .common import (
    ROWS,
    Commands,
    add_run,
    check_out,
    choose_rows,
    command,
    emit,
    open_data,
    open_run,
    rows_of,
    say,
    whole,
    write_table,
)
from .evaluate import importance

ABOUT = """Say of every row of a table how probable it is, log p(x) in nats, and its rank: 1 is the least probable, the
oddest. With --top the oddest alone, in that order."""


def add(commands: Commands) -> None:
    """Register `score`."""
    p = command(commands, "score", ABOUT, "scratchvae score runs/people people.csv --top 10")
    p.set_defaults(run=run, data_folder=None)
    add_run(p)
    p.add_argument("data", metavar="TABLE", nargs="?", help="a file with the run's columns (default: its test rows)")
    p.add_argument("--rows", help=f"{ROWS} (default: all)")
    p.add_argument("--top", type=whole(1), help="the so many oddest rows alone (default: all, as they stand)")
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
    table = [{"row": int(numbers[i]), "rank": int(rank[i]), "nats": float(nats[i])} for i in shown]
    measure = meaning_of(state, some, "log p(x)", "importance sampling", args.samples, len(nats)).measure
    if args.json:
        emit({"rows": table, "measure": measure, "mean": float(nats.mean()), **by_unit(state, some)}, True)
        return 0
    say(f"log p(x) of {len(nats)} rows by {args.samples} importance samples each, nats; p(x) is a {measure}")
    cells = [[str(one["row"]), str(one["rank"]), f"{one['nats']:.6g}"] for one in table]
    write_table(cells, ("row", "rank", "nats"), args.out)
    return 0
