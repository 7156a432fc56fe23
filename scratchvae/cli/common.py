"""§7.3 What several commands share: opening a run, JSON on stdout, words on stderr, arrays in and out of files."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..training import data
from ..training.run import Run
from ..training.state import State, load_state
from ..types import Array

Commands = Any  # argparse's subparsers object has no public name


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def command(commands: Commands, name: str, about: str, example: str) -> argparse.ArgumentParser:
    """A command whose help says what it does and ends with an example."""
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about.split(". ")[0].rstrip("."),
        description=about,
        epilog=f"example:  {example}",
        formatter_class=Help,
    )
    return made


def add_run(parser: argparse.ArgumentParser) -> None:
    """The RUN argument, and which kernels read it."""
    parser.add_argument("checkpoint", metavar="RUN", help="folder of a training run, or a checkpoint file")
    parser.add_argument("--kernels", choices=("numpy", "numba"), help="kernel table; by default the run's own")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Where rows come from, when they are not the run's own."""
    parser.add_argument("--data", help="a data set's name or a path, instead of the run's own")
    parser.add_argument("--data-folder", help="folder with the files of named data sets (or set SCRATCHVAE_DATA)")


def open_run(args: argparse.Namespace) -> State:
    """The state in a run's folder or in a checkpoint file."""
    path = Path(args.checkpoint)
    return Run(path).load(args.kernels)[0] if path.is_dir() else load_state(path, args.kernels)[0]


def open_data(args: argparse.Namespace, state: State) -> data.Dataset:
    """The rows that the command is about, with the columns and the values that the model takes."""
    found = data.load(args.data or state.config.data, folder=args.data_folder)
    data.columns(found.train, state.architecture.columns, found.name)
    for part in (found.train, found.test):
        data.check(part, state.config.likelihood, found.name)
    return found


def image_shape(columns: int, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """(height, width) of a row as a picture: what the data say, else the most nearly square portrait."""
    if shape is not None and len(shape) >= 2 and shape[0] * shape[1] == columns:
        return shape[:2]
    width = next(w for w in range(int(columns**0.5), 0, -1) if columns % w == 0)
    return columns // width, width


def say(text: str) -> None:
    """Words, on stderr."""
    print(text, file=sys.stderr, flush=True)


def emit(values: dict[str, Any], as_json: bool) -> None:
    """One JSON object, or one line a value, on stdout."""
    if as_json:
        print(json.dumps(values))
        return
    width = max(map(len, values))
    for key, value in values.items():
        print(f"{key:<{width}}  {value:.6g}" if isinstance(value, float) else f"{key:<{width}}  {value}")


def write_rows(array: Array, out: str) -> None:
    """(N, D) numbers to FILE.npy or FILE.csv, or as CSV to stdout for "-"."""
    if out == "-":
        np.savetxt(sys.stdout, array, fmt="%.9g", delimiter=",")
    elif out.endswith(".npy"):
        np.save(out, array)
    elif out.endswith(".csv"):
        np.savetxt(out, array, fmt="%.9g", delimiter=",")
    else:
        raise UsageError(f"--out {out} has an unknown ending: give .png, .npy, .csv, or - for CSV on stdout")


def rows_of(text: str, n: int) -> Array:
    """Row numbers from "0,5,7" or "0:10", checked against n rows."""
    try:
        if ":" in text:
            start, stop = (int(part) if part else None for part in text.split(":", 1))
            index = np.arange(n)[start:stop]
        else:
            index = np.array([int(part) for part in text.split(",")])
    except ValueError:
        raise UsageError(f"--rows {text!r}: give numbers as 0,5,7 or a range as 0:10") from None
    if index.size == 0 or index.min() < 0 or index.max() >= n:
        raise UsageError(f"--rows {text!r}: the data have rows 0 to {n - 1}")
    return index
