"""§7.3.1 `sample`, `reconstruct`, `encode`, `manifold`, `interpolate`: what a run has learned, seen or as numbers."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .. import plots
from ..conditional import Distribution
from ..distributions import Bernoulli
from ..errors import UsageError
from ..tasks import imputation
from ..training import data
from ..training.evaluate import evaluation_rows
from ..training.noise import Purpose
from ..training.objective import decode, encode, prior
from ..training.state import State
from ..types import Array
from .common import (
    ALL_ROWS,
    SEEDS,
    Commands,
    add_data,
    add_run,
    command,
    image_shape,
    mean_of_data,
    neighbours,
    open_data,
    open_run,
    rows_of,
    say,
    whole,
    write,
    write_rows,
)

COMMANDS = {
    "sample": "Draw z from the prior and show E[x | z].",
    "reconstruct": "Show test rows above their reconstructions E[x | z] at z = E[z | x].",
    "encode": "Write q(z | x) of test rows: the means, then the log-variances, one row each.",
    "manifold": "Show E[x | z] over the plane of a 2-d latent, at the inverse Gaussian CDF of a square grid.",
    "interpolate": "Show E[x | z] between two test rows, along the line or along the sphere.",
}


def add(commands: Commands) -> None:
    """Register the five commands."""
    for name, about in COMMANDS.items():
        extra = " --rows 3,8" if name == "interpolate" else ""
        out = "-" if name == "encode" else f"{name}.png"
        p = command(commands, name, about, f"scratchvae {name} runs/mnist{extra} --out {out}")
        p.set_defaults(run=run)
        add_run(p)
        p.add_argument("--out", default=out, help=f"{'' if name == 'encode' else '.png, '}.npy, .csv, or - for stdout")
        options(p, name)


def options(p: argparse.ArgumentParser, name: str) -> None:
    """What each command asks for beyond the run."""
    if name == "sample":
        p.add_argument("--count", type=whole(1), default=100, help="how many")
        p.add_argument("--seed", type=whole(0, SEEDS), default=0, help="names the draws")
        p.add_argument("--draw", action="store_true", help="draw x from p(x | z) too, instead of its mean")
        p.add_argument("--nearest", action="store_true", help="below each line, the nearest training rows")
        add_data(p)
    elif name == "manifold":
        p.add_argument("--grid", type=whole(1), default=20, help="images a side")
    else:
        add_data(p)
        default = {"reconstruct": "0:20", "encode": "0:", "interpolate": "0,1"}[name]
        p.add_argument("--rows", default=default, help="test rows, as 0,5,7 or 0:10")
    if name == "interpolate":
        p.add_argument("--steps", type=whole(2), default=10, help="images from one end to the other")
        p.add_argument("--path", choices=("line", "sphere"), default="line", help="in latent space")
    if name in ("sample", "manifold"):
        p.add_argument("--image", type=image, help="HEIGHT,WIDTH of a row (default: the most nearly square)")


def image(text: str) -> tuple[int, int]:
    """ "28,20" → (28, 20)."""
    height, _, width = text.partition(",")
    return whole(1)(height), whole(1)(width)


def run(args: argparse.Namespace) -> int:
    """Make the rows, then write them as the file's ending says."""
    if args.command == "encode" and args.out.endswith(".png"):
        raise UsageError(f"encode gives numbers: --out {args.out} must end in .npy or .csv, or be - for stdout")
    state = open_run(args)
    made, shown = MAKE[args.command](args, state)
    made = made if args.command == "encode" else state.reading.undo(made)
    if not args.out.endswith(".png"):
        write_rows(made, args.out)
        return 0
    if made.shape[1] != shown["shape"][0] * shown["shape"][1]:
        raise UsageError(f"--image {shown['shape']} does not fit rows of {made.shape[1]} columns")
    drawn = plots.plot_images(made, **shown)
    write(args.out, lambda path: plots.save(drawn, path))
    return 0


def sample(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """§7.1: z ~ p(z), x ~ p(x | z), or its mean."""
    noise = state.noise._replace(seed=args.seed)
    z = prior(state, noise.normals(Purpose.SAMPLE, 0, args.count, state.config.codes, state.config.dtype))
    p = decode(state, z)
    x = mean_of(p)
    if args.draw and isinstance(p, Bernoulli):
        x = p.sample(noise.uniforms(Purpose.SAMPLE, 1, x.shape[0], x.shape[1], state.config.dtype), state.k)
    elif args.draw:
        x = p.sample(noise.normals(Purpose.SAMPLE, 1, x.shape[0], x.shape[1], state.config.dtype), state.k)
    columns = round(args.count**0.5)
    shown = beside(x, nearest(args, state, x), columns) if args.nearest else x
    return shown, {"columns": columns, "shape": shape_of(args, state)}


def nearest(args: argparse.Namespace, state: State, x: Array) -> Array:
    """The training row nearest to each sample; how near, beside test rows: samples much nearer are copies."""
    found = open_data(args, state)
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


def reconstruct(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """Rows above their reconstructions, twenty a line."""
    x, shape = test_rows(args, state)
    return beside(x, reconstructions(state, x), 20), {"columns": min(20, len(x)), "shape": shape}


def encoding(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """(N, 2 K): mu, then log_var."""
    x, shape = test_rows(args, state)
    return np.concatenate(encode(state, x), axis=1), {"shape": shape}


def manifold(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """Figure 4 of the paper."""
    if state.config.latent != 2:
        raise UsageError(f"the manifold is a picture of a 2-d latent, but this run has latent={state.config.latent}")
    z = plots.manifold_grid(args.grid).astype(state.config.dtype)
    return mean_of(decode(state, z)), {"columns": args.grid, "gap": 0, "shape": shape_of(args, state)}


def interpolate(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """From the first of two rows to the second, through latent space."""
    x, shape = test_rows(args, state)
    if len(x) != 2:
        raise UsageError(f"--rows {args.rows!r} must name two rows to go between, e.g. 3,8, but names {len(x)}")
    ends = encode(state, x).mu
    path = plots.line if args.path == "line" else plots.sphere
    z = path(ends[0], ends[1], args.steps).astype(state.config.dtype)
    return mean_of(decode(state, z)), {"columns": args.steps, "shape": shape}


MAKE = {
    "sample": sample,
    "reconstruct": reconstruct,
    "encode": encoding,
    "manifold": manifold,
    "interpolate": interpolate,
}


def test_rows(args: argparse.Namespace, state: State) -> tuple[Array, tuple[int, ...]]:
    """The test rows that --rows names, as the model sees them, and the shape of one as a picture."""
    found = open_data(args, state)
    index = rows_of(args.rows, len(found.test))
    x = np.concatenate([evaluation_rows(state, found.test, int(i), 1) for i in index])
    return x, image_shape(state.reading.columns, found.shape)


def mean_of(p: Distribution) -> Array:
    """E[x] of a decoder's distribution."""
    return p.mean if isinstance(p, Bernoulli) else p.mu


def reconstructions(state: State, x: Array) -> Array:
    """E[x | z] at z = E[z | x]."""
    return mean_of(decode(state, encode(state, x).mu))


def beside(x: Array, y: Array, columns: int) -> Array:
    """Lines of x and lines of y in turn."""
    parts = [part[i : i + columns] for i in range(0, len(x), columns) for part in (x, y)]
    return np.concatenate(parts)


def shape_of(args: argparse.Namespace, state: State) -> tuple[int, ...]:
    """(height, width) of a row as a picture, where no data say it."""
    return args.image or image_shape(state.reading.columns, state.reading.image)


def picture_run(folder: Path, state: State, found: data.Dataset, metrics: list[dict[str, Any]]) -> None:
    """The pictures that a training run leaves: bound, reconstructions, samples; for 2-d latents manifold and codes."""
    try:
        bound = plots.plot_bound(metrics)
    except UsageError as error:  # without matplotlib the run is complete, but for its pictures
        say(f"no pictures: {error}")
        return
    plots.save(bound, folder / "bound.png")
    shape = image_shape(found.train.shape[1], found.shape)
    x = evaluation_rows(state, found.test, 0, min(60, len(found.test)))
    undo = state.reading.undo
    pairs = undo(beside(x, reconstructions(state, x), 20))
    sheet = plots.plot_images(pairs, shape, min(20, len(x)), "test rows above reconstructions")
    plots.save(sheet, folder / "reconstructions.png")
    z = state.noise.normals(Purpose.SAMPLE, 0, 100, state.config.codes, state.config.dtype)
    drawn = mean_of(decode(state, prior(state, z)))
    plots.save(plots.plot_images(undo(drawn), shape, 10, "E[x | z], z from the prior"), folder / "samples.png")
    if state.config.latent == 2:
        grid = mean_of(decode(state, plots.manifold_grid(20).astype(state.config.dtype)))
        title = "E[x | z], z at the inverse Gaussian CDF of a grid on the unit square"
        plots.save(plots.plot_images(undo(grid), shape, 20, title, gap=0), folder / "manifold.png")
        shown = min(10_000, len(found.test))
        codes = encode(state, evaluation_rows(state, found.test, 0, shown)).mu
        labels = None if found.test_labels is None else found.test_labels[:shown]
        plots.save(plots.plot_latent(codes, labels), folder / "latent.png")
