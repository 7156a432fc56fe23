"""§7.3.1 `arithmetic`: turn rows of one label into another by adding a difference of means in latent space."""

import argparse

import numpy as np

from .. import plots
from ..conditional import mean_of
from ..data import Dataset
from ..data.cells import listed
from ..errors import DataError, UsageError
from ..training.evaluate import blocks, evaluation_rows
from ..training.objective import decode, encode
from ..training.state import State
from ..types import Array
from .common import (
    ROWS,
    Commands,
    add_data,
    add_image,
    add_run,
    command,
    open_data,
    open_run,
    rows_of,
    shape_of_run,
    whole,
    write,
    write_rows,
)

ABOUT = """Latent arithmetic by label: E[x | z] at z = E[z | x] + t (mean code of label B - mean code of label A), for t
from 0 to 1. The means are over training rows, each line begins with the test row itself."""
AVERAGED = 10_000  # training rows whose codes are averaged


def add(commands: Commands) -> None:
    """Register `arithmetic`."""
    p = command(commands, "arithmetic", ABOUT, "scratchvae arithmetic runs/mnist --minus 4 --plus 9")
    p.set_defaults(run=run)
    add_run(p)
    add_data(p)
    p.add_argument("--minus", type=whole(0), required=True, help="label A, taken away")
    p.add_argument("--plus", type=whole(0), required=True, help="label B, added")
    p.add_argument("--rows", help=f"{ROWS} (default: the first ten of label A)")
    p.add_argument("--steps", type=whole(2), default=8, help="images from t = 0 to t = 1")
    numbers = "numbers: the steps of the first row, those of the second, …"
    p.add_argument("--out", default="arithmetic.png", help=f".png; .npy, .csv, or - for CSV on stdout ({numbers})")
    add_image(p)


def run(args: argparse.Namespace) -> int:
    """A line a row, from itself to its other self."""
    state = open_run(args)
    found = open_data(args, state)
    minus, plus = (mean_code(state, found, label) for label in (args.minus, args.plus))
    index = rows_of(args.rows, len(found.test)) if args.rows else first_of(found, args.minus)
    x = np.concatenate([evaluation_rows(state, found.test, int(i), 1) for i in index])
    t = np.linspace(0, 1, args.steps, dtype=x.dtype)[None, :, None]
    z = mean_of(encode(state, x))[:, None, :] + t * (plus - minus)
    made = mean_of(decode(state, np.ascontiguousarray(z.reshape(-1, z.shape[2]))))
    if not args.out.endswith(".png"):
        write_rows(state.reading.undo(made), args.out)
        return 0
    lines = np.concatenate([x[:, None], made.reshape(len(x), args.steps, -1)], axis=1).reshape(-1, x.shape[1])
    title = f"test rows, then E[x | z] on the way from {args.minus} to {args.plus}"
    shape = shape_of_run(state, found, args.image)
    drawn = plots.plot_images(state.reading.shown(lines), shape, args.steps + 1, title)
    write(args.out, lambda path: plots.save(drawn, path))
    return 0


def mean_code(state: State, found: Dataset, label: int) -> Array:
    """The mean of E[z | x] over the training rows of a label, (K,)."""
    labels = needed(found.labels, found)[:AVERAGED]
    if not (labels == label).any():
        raise UsageError(f"no row has label {label}: the labels are {listed([*map(str, np.unique(labels))])}")
    total = np.zeros(mean_of(encode(state, evaluation_rows(state, found.train, 0, 1))).shape[1])
    for first, count in blocks(len(labels), 500):
        codes = mean_of(encode(state, evaluation_rows(state, found.train, first, count)))
        total += codes[labels[first : first + count] == label].sum(axis=0, dtype=np.float64)
    return np.asarray(total / (labels == label).sum()).astype(state.config.dtype)


def first_of(found: Dataset, label: int) -> Array:
    """The first ten test rows of a label."""
    index = np.flatnonzero(needed(found.test_labels, found) == label)[:10]
    if not len(index):
        raise UsageError(f"no test row has label {label}: choose some with --rows")
    return index


def needed(labels: Array | None, found: Dataset) -> Array:
    """The labels, or one clear line."""
    if labels is None:
        raise DataError(f"{found.name} has no labels, which arithmetic by label needs: give an .npz with y, or mnist")
    return labels
