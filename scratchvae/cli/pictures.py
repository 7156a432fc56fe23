"""§7.3.1 `sample`, `reconstruct`, `encode`, `manifold`, `interpolate`: what a run has learned, seen or as numbers."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .. import plots
from ..conditional import Distribution
from ..distributions import Bernoulli
from ..errors import UsageError
from ..training import data
from ..training.evaluate import evaluation_rows
from ..training.noise import Purpose
from ..training.objective import decode, encode, prior
from ..training.state import State
from ..types import Array
from .common import Commands, add_data, add_run, command, image_shape, open_data, open_run, rows_of, say, write_rows

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
        add_data(p)
        p.add_argument("--out", default=out, help=".png, .npy, .csv, or - for CSV on stdout")
        options(p, name)


def options(p: argparse.ArgumentParser, name: str) -> None:
    """What each command asks for beyond the run."""
    if name == "sample":
        p.add_argument("--count", type=int, default=100, help="how many")
        p.add_argument("--seed", type=int, default=0, help="names the draws")
        p.add_argument("--draw", action="store_true", help="draw x from p(x | z) too, instead of its mean")
    elif name == "manifold":
        p.add_argument("--grid", type=int, default=20, help="images a side")
    else:
        default = {"reconstruct": "0:20", "encode": "0:", "interpolate": "0,1"}[name]
        p.add_argument("--rows", default=default, help="test rows, as 0,5,7 or 0:10")
    if name == "interpolate":
        p.add_argument("--steps", type=int, default=10, help="images from one end to the other")
        p.add_argument("--path", choices=("line", "sphere"), default="line", help="in latent space")


def run(args: argparse.Namespace) -> int:
    """Make the rows, then write them as the file's ending says."""
    state = open_run(args)
    made, shown = MAKE[args.command](args, state)
    if not args.out.endswith(".png"):
        write_rows(made, args.out)
        return 0
    if args.command == "encode":
        raise UsageError(f"encode gives numbers: --out {args.out} must end in .npy or .csv, or be - for stdout")
    plots.save(plots.plot_images(made, shape_of(state), **shown), args.out)
    say(f"wrote {args.out}")
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
    return x, {"columns": max(1, round(args.count**0.5))}


def reconstruct(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """Rows above their reconstructions, twenty a line."""
    x = test_rows(args, state)
    return beside(x, reconstructions(state, x), 20), {"columns": min(20, len(x))}


def encoding(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """(N, 2 K): mu, then log_var."""
    return np.concatenate(encode(state, test_rows(args, state)), axis=1), {}


def manifold(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """Figure 4 of the paper."""
    if state.config.latent != 2:
        raise UsageError(f"the manifold is a picture of a 2-d latent, but this run has latent={state.config.latent}")
    z = plots.manifold_grid(args.grid).astype(state.config.dtype)
    return mean_of(decode(state, z)), {"columns": args.grid, "gap": 0}


def interpolate(args: argparse.Namespace, state: State) -> tuple[Array, dict[str, Any]]:
    """From the first of two rows to the second, through latent space."""
    x = test_rows(args, state)
    if len(x) != 2:
        raise UsageError(f"--rows {args.rows!r} names {len(x)} rows: interpolation goes between two, e.g. 3,8")
    ends = encode(state, x).mu
    path = plots.line if args.path == "line" else plots.sphere
    z = path(ends[0], ends[1], args.steps).astype(state.config.dtype)
    return mean_of(decode(state, z)), {"columns": args.steps}


MAKE = {
    "sample": sample,
    "reconstruct": reconstruct,
    "encode": encoding,
    "manifold": manifold,
    "interpolate": interpolate,
}


def test_rows(args: argparse.Namespace, state: State) -> Array:
    """The test rows that --rows names, as the model sees them."""
    found = open_data(args, state).test
    index = rows_of(args.rows, len(found))
    return np.concatenate([evaluation_rows(state, found, int(i), 1) for i in index])


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


def shape_of(state: State) -> tuple[int, ...]:
    """(height, width) of a row as a picture."""
    return image_shape(state.architecture.columns, None)


def picture_run(folder: Path, state: State, found: data.Dataset, metrics: list[dict[str, Any]]) -> None:
    """The pictures that a training run leaves: bound, reconstructions, samples; for 2-d latents manifold and codes."""
    try:
        plots.save(plots.plot_bound(metrics), folder / "bound.png")
    except UsageError as error:  # without matplotlib the run is complete, but for its pictures
        say(f"no pictures: {error}")
        return
    shape = image_shape(found.train.shape[1], found.shape)
    x = evaluation_rows(state, found.test, 0, min(60, len(found.test)))
    pairs = beside(x, reconstructions(state, x), 20)
    sheet = plots.plot_images(pairs, shape, min(20, len(x)), "test rows above reconstructions")
    plots.save(sheet, folder / "reconstructions.png")
    z = state.noise.normals(Purpose.SAMPLE, 0, 100, state.config.codes, state.config.dtype)
    drawn = mean_of(decode(state, prior(state, z)))
    plots.save(plots.plot_images(drawn, shape, 10, "E[x | z], z from the prior"), folder / "samples.png")
    if state.config.latent == 2:
        grid = mean_of(decode(state, plots.manifold_grid(20).astype(state.config.dtype)))
        plots.save(plots.plot_images(grid, shape, 20, gap=0), folder / "manifold.png")
        codes = encode(state, evaluation_rows(state, found.test, 0, len(found.test))).mu
        plots.save(plots.plot_latent(codes, found.test_labels), folder / "latent.png")
