"""§7.3.1 `sample`, `reconstruct`, `encode`, `manifold`, `interpolate`: what a run has learned, seen or as numbers."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import data, plots
from ..conditional import mean_of
from ..errors import UsageError
from ..noise import Purpose
from ..tasks import imputation
from ..training.evaluate import evaluation_rows
from ..training.objective import decode, drawn, encode, of_prior, prior
from ..training.state import State
from ..types import Array
from . import texts
from .classes import ANALOGIES, STYLES, analogies, styles
from .common import (
    ALL_ROWS,
    ROWS,
    SEEDS,
    Commands,
    add_data,
    add_image,
    add_run,
    amount,
    check_out,
    command,
    mean_of_data,
    neighbours,
    open_data,
    open_run,
    rows_of,
    say,
    shape_of_run,
    whole,
    write,
    write_rows,
    write_table,
)

COMMANDS = {
    "sample": "Draw z from the prior and show E[x | z].",
    "reconstruct": "Show test rows above their reconstructions E[x | z] at z = E[z | x].",
    "encode": "Write q(z | x) of test rows: the means, then the log-variances, one row each.",
    "manifold": "Show E[x | z] over the plane of a 2-d latent, at the prior's inverse CDF of a square grid.",
    "interpolate": "Show E[x | z] between two test rows, along the line or along the sphere.",
}
PAIRS, SAMPLES = "test rows above reconstructions", "E[x | z], z from the prior"  # titles
PLANE = "E[x | z], z at the prior's inverse CDF of a grid on the unit square"
NUMBERS = {  # what .npy, .csv and - hold, a row each
    "sample": "the samples; with --nearest then the training row nearest to each",
    "reconstruct": "the reconstructions, without the rows themselves",
    "encode": "the means of q(z | x), then its log-variances",
    "manifold": "the top line of the grid from left to right, then the next",
    "interpolate": "from the first of the two rows to the second",
}


OF_TEXTS = {"sample": texts.sample, "interpolate": texts.interpolate}  # what they do with a run on sequences


class Made(NamedTuple):
    """What a command made: the numbers (N, D), and the images of its sheet, with how they stand on it."""

    numbers: Array
    sheet: Array
    columns: int = 0
    title: str = ""
    found: data.Dataset | None = None
    gap: int = 1


def add(commands: Commands) -> None:
    """Register the five commands."""
    for name, about in COMMANDS.items():
        extra = " --rows 3,8" if name == "interpolate" else ""
        out = "-" if name == "encode" else f"{name}.png"
        p = command(commands, name, about, f"scratchvae {name} runs/mnist{extra} --out {out}")
        p.set_defaults(run=run)
        add_run(p)
        kinds = f"{'' if name == 'encode' else '.png; '}.npy, .csv, or - for stdout"
        usual = f"; of texts .txt or - (default: {out}, of texts -" * (name in OF_TEXTS)
        usual += ", of mixed columns sample.csv)" if name == "sample" else ")" * (name in OF_TEXTS)
        p.add_argument("--out", default=None if name in OF_TEXTS else out,
                       help=f"{kinds} (numbers: {NUMBERS[name]}){usual}")  # fmt: skip
        options(p, name)


def options(p: argparse.ArgumentParser, name: str) -> None:
    """What each command asks for beyond the run."""
    if name == "sample":
        p.add_argument("--count", type=whole(1), default=100, help="how many")
        p.add_argument("--seed", type=whole(0, SEEDS), default=0, help="names the draws")
        p.add_argument("--draw", action="store_true", help="draw x from p(x | z) too, instead of its mean; tables "
                       "with words are always drawn")  # fmt: skip
        p.add_argument("--nearest", action="store_true", help="below each line, the nearest training rows")
        add_data(p)
    elif name == "manifold":
        p.add_argument("--grid", type=whole(1), default=20, help="images a side")
    else:
        add_data(p)
        default = {"reconstruct": "0:20", "encode": "0:", "interpolate": "0,1"}[name]
        p.add_argument("--rows", default=default, help=ROWS)
    if name in OF_TEXTS:
        p.add_argument("--temperature", type=amount, help="of a run on sequences: draw tokens from p^(1/temperature); "
                       "1 for samples, and for interpolations the likeliest tokens, unless given")  # fmt: skip
        p.add_argument("--beam", type=whole(1), help="of a run on sequences: the likeliest row of a beam so wide")
    if name == "interpolate":
        p.add_argument("texts", nargs="*", metavar="TEXT", help="of a run on sequences: two texts to go between")
        p.add_argument("--steps", type=whole(2), default=10, help="images from one end to the other")
        p.add_argument("--path", choices=("line", "sphere"), default="line", help="in latent space")
    if name != "encode":
        add_image(p)


def run(args: argparse.Namespace) -> int:
    """Make the rows, then write them as the file's ending says."""
    if args.command == "encode" and args.out.endswith(".png"):
        raise UsageError(f"encode gives numbers: --out {args.out} must end in .npy or .csv, or be - for stdout")
    check_out(args.out, ".png", ".npy", ".csv", ".txt")
    state = open_run(args)
    if state.config.model == "sequence" and args.command in OF_TEXTS:
        texts.tell(OF_TEXTS[args.command](args, state), args.out)
        return 0
    args.out = of_images(args, state)
    levels = None if args.out.endswith((".png", ".npy")) or args.command == "encode" else state.reading.levels
    if levels and args.command == "sample":
        args.draw = True  # the mean of words is none
    made = MAKE[args.command](args, state)
    if args.command != "encode":
        made = made._replace(numbers=state.reading.undo(made.numbers), sheet=state.reading.shown(made.sheet))
    if levels:
        write_table(state.reading.cells(made.numbers), state.reading.names, args.out)
        return 0
    if not args.out.endswith(".png"):
        write_rows(made.numbers, args.out)
        return 0
    shape = shape_of_run(state, made.found, args.image)
    drawn = plots.plot_images(made.sheet, shape, made.columns, made.title, made.gap)
    write(args.out, lambda path: plots.save(drawn, path))
    return 0


def of_images(args: argparse.Namespace, state: State) -> str:
    """--out of a run on rows of numbers, without what is for sequences."""
    for name in ("texts", "temperature", "beam"):
        if getattr(args, name, None):
            raise UsageError(f"{name} is for a run on sequences (train --model sequence), and this one is of numbers")
    check_out(args.out, ".png", ".npy", ".csv")
    mixed = args.command == "sample" and "=" in state.config.likelihood  # a picture says nothing of unlike columns
    return args.out or f"{args.command}.{'csv' if mixed else 'png'}"


def sample(args: argparse.Namespace, state: State) -> Made:
    """§7.1: z ~ p(z), x ~ p(x | z), or its mean."""
    if state.config.model == "m2":
        if args.nearest:
            raise UsageError("--nearest is for runs without classes")
        x, columns = styles(args, state)
        return Made(x, x, columns, STYLES)
    noise = state.noise._replace(seed=args.seed)
    z = prior(state, noise, Purpose.SAMPLE, args.count)
    p = decode(state, z)
    x = drawn(state, p, noise, Purpose.SAMPLE) if args.draw else mean_of(p)
    columns, title = round(args.count**0.5), "x from p(x | z), z from the prior" if args.draw else SAMPLES
    if not args.nearest:
        return Made(x, x, columns, title)
    found = open_data(args, state)
    near = nearest(args, state, x, found)
    title += "; below each line, the nearest training rows"
    return Made(np.concatenate([x, near]), beside(x, near, columns), columns, title, found)


def nearest(args: argparse.Namespace, state: State, x: Array, found: data.Dataset) -> Array:
    """The training row nearest to each sample; how near, beside test rows: samples much nearer are copies."""
    if args.draw:  # bits beside bits
        test = evaluation_rows(state, found.test, 0, min(len(x), len(found.test)))
    else:
        test = state.rows(found.test, slice(0, len(x)))
    both = np.concatenate([x, test])
    seen = ~np.isnan(both)
    closest = imputation.nearest(both, seen, neighbours(state, found.train, mean_of_data(state, found.train)))
    square = np.where(seen, both - closest, 0) ** 2  # scaled up, where there are gaps, to all columns
    far = np.sqrt(square.sum(axis=1) / np.maximum(seen.mean(axis=1), 1 / both.shape[1]))
    distances = [part.mean() for part in np.split(far, [len(x)])]
    beside_test = "" if found.split == ALL_ROWS else f", {distances[1]:.3g} from test rows"
    say(f"mean distance to the nearest training row: {distances[0]:.3g} from samples{beside_test}")
    return closest[: len(x)]


def reconstruct(args: argparse.Namespace, state: State) -> Made:
    """Rows above their reconstructions, twenty a line; as numbers the reconstructions alone."""
    x, found = test_rows(args, state)
    if state.config.model == "m2":
        return Made(*analogies(state, x), 1 + len(state.reading.classes), ANALOGIES, found)
    y = reconstructions(state, x)
    return Made(y, beside(x, y, 20), min(20, len(x)), PAIRS, found)


def encoding(args: argparse.Namespace, state: State) -> Made:
    """(N, 2 K): mu, then log_var."""
    codes = np.concatenate(encode(state, test_rows(args, state)[0]), axis=1)
    return Made(codes, codes)


def manifold(args: argparse.Namespace, state: State) -> Made:
    """Figure 4 of the paper."""
    if state.config.latent != 2:
        raise UsageError(f"the manifold is a picture of a 2-d latent, but this run has latent={state.config.latent}")
    x = mean_of(decode(state, of_prior(state, plots.manifold_grid(args.grid))))
    return Made(x, x, args.grid, PLANE, gap=0)


def interpolate(args: argparse.Namespace, state: State) -> Made:
    """From the first of two rows to the second, through latent space."""
    x, found = test_rows(args, state)
    if len(x) != 2:
        raise UsageError(f"--rows {args.rows!r} must name two rows to go between, e.g. 3,8, but names {len(x)}")
    ends = mean_of(encode(state, x))
    path = plots.line if args.path == "line" else plots.sphere
    y = mean_of(decode(state, path(ends[0], ends[1], args.steps).astype(state.config.dtype)))
    return Made(y, y, args.steps, f"E[x | z] along the {args.path} between the codes of rows {args.rows}", found)


MAKE = {
    "sample": sample,
    "reconstruct": reconstruct,
    "encode": encoding,
    "manifold": manifold,
    "interpolate": interpolate,
}


def test_rows(args: argparse.Namespace, state: State) -> tuple[Array, data.Dataset]:
    """The test rows that --rows names, as the model sees them, and the data they are of."""
    found = open_data(args, state)
    index = rows_of(args.rows, len(found.test))
    return np.concatenate([evaluation_rows(state, found.test, int(i), 1) for i in index]), found


def reconstructions(state: State, x: Array) -> Array:
    """E[x | z] at z = E[z | x]."""
    return mean_of(decode(state, mean_of(encode(state, x))))


def beside(x: Array, y: Array, columns: int) -> Array:
    """Lines of x and lines of y in turn."""
    parts = [part[i : i + columns] for i in range(0, len(x), columns) for part in (x, y)]
    return np.concatenate(parts)


def picture_run(folder: Path, state: State, found: data.Dataset, metrics: list[dict[str, Any]]) -> None:
    """The pictures that a training run leaves: bound, reconstructions, samples; for 2-d latents manifold and codes."""
    try:
        bound = plots.plot_bound(metrics)
    except UsageError as error:  # without matplotlib the run is complete, but for its pictures
        say(f"no pictures: {error}")
        return
    plots.save(bound, folder / "bound.png")
    if state.config.model == "sequence":
        return
    shape, shown = shape_of_run(state, found), state.reading.shown
    if state.config.model == "m2":
        drawn, n = styles(argparse.Namespace(count=100, seed=state.config.seed, draw=False), state)
        plots.save(plots.plot_images(shown(drawn), shape, n, STYLES), folder / "styles.png")
        return
    x = evaluation_rows(state, found.test, 0, min(60, len(found.test)))
    pairs = shown(beside(x, reconstructions(state, x), 20))
    sheet = plots.plot_images(pairs, shape, min(20, len(x)), PAIRS)
    plots.save(sheet, folder / "reconstructions.png")
    drawn = shown(mean_of(decode(state, prior(state, state.noise, Purpose.SAMPLE, 100))))
    plots.save(plots.plot_images(drawn, shape, 10, SAMPLES), folder / "samples.png")
    if state.config.latent == 2:
        grid = shown(mean_of(decode(state, of_prior(state, plots.manifold_grid(20)))))
        plots.save(plots.plot_images(grid, shape, 20, PLANE, gap=0), folder / "manifold.png")
        some = min(10_000, len(found.test))
        codes = mean_of(encode(state, evaluation_rows(state, found.test, 0, some)))
        labels = None if found.test_labels is None else found.test_labels[:some]
        plots.save(plots.plot_latent(codes, labels), folder / "latent.png")
