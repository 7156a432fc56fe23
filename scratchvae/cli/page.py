"""§7.3.1 `page`: a trained VAE as one HTML file to play with."""

import argparse
import sys

import numpy as np

from .. import page
from ..errors import UsageError
from ..training.evaluate import evaluation_rows
from ..training.state import State
from ..types import Array
from .common import (
    Commands,
    add_data,
    add_image,
    add_run,
    check_whole,
    command,
    open_data,
    open_task,
    rows_of,
    shape_of_run,
    write,
)

ABOUT = """Make one HTML file to play with a model of two latents. It holds the weights (float16) and some test rows,
asks nothing of any network and opens from disk. Drag z over the plane and see E[x | z]; draw a digit and see its
q(z | x); watch a cotangent pass the sample z = mu + sigma eps by the path and by the score, and how their variances
differ; compare the bound with the exact log p(x); walk one training step forwards and backwards. It wants bits:
scratchvae train mnist --latent 2 --out runs/plane."""


def add(commands: Commands) -> None:
    """Register `page`."""
    p = command(commands, "page", ABOUT, "scratchvae page runs/plane --out page.html")
    p.set_defaults(run=run)
    add_run(p)
    p.add_argument("--out", default="page.html", help=".html, or - for stdout")
    p.add_argument("--rows", default="0:500", help="which test rows go along, counted from 0: 0,5,7 or 0:500")
    add_data(p)
    add_image(p)


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    if args.out != "-" and not args.out.endswith(".html"):
        raise UsageError(f"--out {args.out} must end in .html, or be - for stdout")
    state = open_task(args, ".html")
    page.check_run(state)
    found = open_data(args, state)
    index = rows_of(args.rows, len(found.test))
    x = chosen(state, found.test, index)
    check_whole(x, args.command, index)
    shape = shape_of_run(state, found, args.image)
    if len(shape) != 2:
        raise UsageError(
            f"the page shows bits, and these rows have colours: give --image H,W with H * W = {x.shape[1]}"
        )
    labels = None if found.test_labels is None else found.test_labels[index]
    about = f"{found.name}, {' · '.join(map(str, hidden_of(state)))}, {state.step} steps"
    made = page.page(state, x, (shape[0], shape[1]), labels, about)
    if args.out == "-":
        sys.stdout.write(made)
    else:
        write(args.out, lambda file: file.write(made.encode()))
    return 0


def chosen(state: State, x: Array, index: Array) -> Array:
    """Rows as the model sees them in evaluation, binarised row by row."""
    return np.concatenate([evaluation_rows(state, x, int(i), 1) for i in index])


def hidden_of(state: State) -> tuple[int, ...]:
    """The widths from x to z."""
    return (state.architecture.columns, *state.config.hidden, 2)
