"""§7.3 Figure 2 of Kingma & Welling 2014 (arXiv 1312.6114): the bound against the number of samples evaluated.

    python -m bench.papers.figure2 --out runs/figure2 --freyfaces FOLDER            AEVB with Adam, every curve
    python -m bench.papers.rivals2 --out runs/figure2 --freyfaces FOLDER --do all   AEVB and wake-sleep with Adagrad

MNIST with 3, 5, 10, 20 and 200 latents, 500 hidden tanh units, Bernoulli; Frey Face with 2, 5, 10 and 20 latents, 200
hidden units, Gaussian with means through a sigmoid, from the folder that has the file (without it, MNIST alone). Batch
100, one sample of z a row, weight decay as p(θ) = N(0, I), all as in the paper. Not as in the paper: Adam, where the
paper has Adagrad with a step from {0.01, 0.02, 0.1}: 1e-3, divided by √2 at 2e6, 4e6, 8e6 … samples, since Adagrad's
steps fall with the root of their number, too (at 1e-3 for ever the noise of the steps costs 200 latents 1.3 nats
against 20, after 1e7 and after 3e7 samples alike); Glorot's first weights; MNIST binarised at each
step, where the paper does not say; Frey Face split at random, a tenth of the frames for the test (the last tenth of the
film has other expressions than the rest); and the length, stated in the result, where the paper has 1e8 samples.

What the figure is there to show is printed and kept as `orderings`: more latents give a better bound, and superfluous
ones do not overfit. Train and test bounds are measured in the same way, at the same parameters.
A curve that was stopped goes on from its last point.
"""

import argparse
import datetime
import itertools
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchvae import data
from scratchvae.cli import answered
from scratchvae.cli.common import amount, whole
from scratchvae.noise import Noise
from scratchvae.training.config import Config
from scratchvae.training.optim import Optimizer
from scratchvae.training.run import Run
from scratchvae.training.state import Steps
from scratchvae.types import Array

from .runs import Measure, bounds, followed

ROWS = 10_000  # at most so many rows measure a bound
FIRST, EACH_DECADE = 1e5, 10  # where the curves begin, and their points
STEADY = 1e6  # samples: at each doubling of these the learning rate falls by √2
SPLIT = 2**31  # the epoch, which no run reaches, whose order of rows splits a film
MARGIN = {"mnist": 1.0, "freyfaces": 30.0}  # nats that an ordering may be missed by: 2 % of the axis


class Study(NamedTuple):
    """A row of panels: data, sizes of z, hidden units, p(x|z), the paper's axis in nats."""

    name: str
    latents: tuple[int, ...]
    hidden: int
    likelihood: str
    axis: tuple[float, float]


MNIST = Study("mnist", (3, 5, 10, 20, 200), 500, "bernoulli", (-150, -100))
FREY = Study("freyfaces", (2, 5, 10, 20), 200, "gaussian-sigmoid", (0, 1600))


# --- the curves -----------------------------------------------------------------------------------


def rows_of(study: Study, folder: str | None, seed: int) -> tuple[Array, Array]:
    """Train and test rows: MNIST's own, or a random tenth of a film for the test."""
    found = data.load(study.name, folder=folder)
    if study is MNIST:
        return found.train, found.test
    film = np.concatenate([found.train, found.test])
    order = Noise(seed).order(SPLIT, len(film))
    return film[order[len(film) // 10 :]], film[order[: len(film) // 10]]


def config(study: Study, latent: int, rows: int, seed: int) -> Config:
    """The paper's set-up for that many training rows, but for what the docstring names."""
    how = "dynamic" if study is MNIST else "none"
    shape: dict[str, Any] = {"latent": latent, "hidden": (study.hidden,), "likelihood": study.likelihood}
    falling = tuple((STEADY * 2**i / rows, 2 ** (-i / 2)) for i in range(10))
    optimizer = Optimizer(schedule="step", milestones=falling)
    return Config(data=study.name, binarisation=how, epochs=1e6, prior=True, seed=seed, optimizer=optimizer, **shape)


def marks(steps: Steps, samples: float) -> Iterator[int]:
    """The steps at which the bound is measured: ten a decade from 1e5 samples on, and the end."""
    each, i = len(steps.x) / steps.per_epoch, 0
    while (mark := FIRST * 10 ** (i / EACH_DECADE)) < 0.95 * samples:
        i += 1
        yield round(mark / each)
    yield round(samples / each)


def curve(study: Study, latent: int, parts: tuple[Array, Array], args: argparse.Namespace) -> dict[str, Any]:
    """One pair of curves, train and test, trained or trained on; and the last bounds, row by row."""
    train, test = parts
    run = Run(Path(args.out) / f"{study.name}-{latent}")
    samples = args.samples if study is MNIST else args.frey_samples
    wanted = config(study, latent, len(train), args.seed)
    state = followed(run, wanted, train, samples, marks, at_most(train, test), args.threads)
    last = {"train": bounds(state, train[:ROWS]), "test": bounds(state, test[:ROWS])}
    return {"latents": latent, "points": run.read_metrics(), "last": last}


def at_most(train: Array, test: Array) -> Measure:
    """What measures both bounds, of the first ROWS of each."""
    return lambda state: {name: float(bounds(state, x[:ROWS]).mean()) for name, x in (("train", train), ("test", test))}


# --- what they show -------------------------------------------------------------------------------


def difference(a: Array, b: Array) -> tuple[float, float]:
    """The mean of a − b over the same rows, and its standard error."""
    d = a - b
    return float(d.mean()), float(d.std(ddof=1) / len(d) ** 0.5)


def gap(last: dict[str, Array]) -> tuple[float, float]:
    """Train bound minus test bound, different rows, and its standard error."""
    train, test = last["train"], last["test"]
    error = (train.var(ddof=1) / len(train) + test.var(ddof=1) / len(test)) ** 0.5
    return float(train.mean() - test.mean()), float(error)


def orderings(study: Study, curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figure's claims as inequalities between the last bounds, each with its figure, error and verdict."""
    at = {c["latents"]: c["last"] for c in curves}
    margin, last = MARGIN[study.name], study.latents[-1]
    few = [n for n in study.latents if n <= 20]
    found = []

    def claim(words: str, value: float, error: float, least: float) -> None:
        figures = {"value": round(value, 3), "standard_error": round(error, 3), "least": least}
        found.append({"claim": f"{study.name}: {words}", **figures, "holds": value > least})

    for a, b in itertools.pairwise(few):
        claim(f"test bound of {b} latents above that of {a}", *difference(at[b]["test"], at[a]["test"]), 0.0)
    if last > few[-1]:
        value, error = difference(at[last]["test"], at[few[-1]]["test"])
        claim(f"test bound of {last} latents not {margin:g} nats below that of {few[-1]}", value, error, -margin)
    for a, b in itertools.pairwise(study.latents):  # of the same train rows and the same test rows: paired
        (train, train_error), (test, test_error) = (difference(at[a][part], at[b][part]) for part in ("train", "test"))
        value, error = train - test, (train_error**2 + test_error**2) ** 0.5
        claim(f"train - test of {b} latents not {margin:g} nats above that of {a}", value, error, -margin)
    return found


Look = dict[str, Any]  # a curve's label, line style and colour


def draw(studies: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """The paper's panels: a row for each data set, one for each size of z; a dotted line is the top of its axis.

    The axes are the paper's, longer where a curve would end outside. A curve has a `look`, or is AEVB's with Adam.
    """
    from scratchvae.plots import figure

    known = {s.name: s for s in (MNIST, FREY)}
    columns = max(len({c["latents"] for c in curves}) for curves in studies.values())
    sheet = figure((2.6 * columns, 2.9 * len(studies)))
    grid = sheet.subplots(len(studies), columns, squeeze=False)
    for line, (name, curves) in zip(grid, studies.items(), strict=True):
        sizes = sorted({c["latents"] for c in curves})
        for ax in line[len(sizes) :]:
            ax.set_axis_off()
        low, high = known[name].axis
        points = [p for c in curves for p in c["points"]]
        margin, first = 0.02 * (high - low), min(FIRST, *(p["samples"] for p in points))
        bottom = min(low, *(c["points"][-1]["test"] - margin for c in curves), high)
        top = max(high, *(p["train"] + margin for p in points))
        for ax, latents in zip(line, sizes, strict=False):
            for c in (c for c in curves if c["latents"] == latents):
                panel(ax, c)
            ax.axhline(high, color="black", linewidth=0.8, linestyle=":")
            ax.set(xscale="log", xlim=(first, 1e8), ylim=(bottom, top), title=f"{name}, $N_z$ = {latents}")
            ax.grid(alpha=0.3)
        line[0].set_ylabel("bound L, nats per datapoint")
        line[0].legend(loc="best", fontsize="x-small")
    for ax in grid[-1]:
        ax.set_xlabel("training samples evaluated")
    sheet.savefig(path, dpi=110)


def panel(ax: Any, c: dict[str, Any]) -> None:
    """The train and test curve of one run."""
    look: Look = {"label": "AEVB, Adam", "linestyle": "-", "color": "tab:gray", **c.get("look", {})}
    seen = [p["samples"] for p in c["points"]]
    for part, alpha in (("train", 0.4), ("test", 1.0)):
        shown = {**look, "label": f"{look['label']} ({part})"}
        ax.plot(seen, [p[part] for p in c["points"]], marker=".", markersize=3, alpha=alpha, **shown)


def report(studies: dict[str, list[dict[str, Any]]], args: argparse.Namespace, command: str) -> int:
    """JSON, picture, and the orderings in words; 1 if one does not hold."""
    claims = [c for s in (MNIST, FREY) if s.name in studies for c in orderings(s, studies[s.name])]
    shown = {
        name: [
            {
                "latents": c["latents"],
                "points": c["points"],
                "train": float(c["last"]["train"].mean()),
                "test": float(c["last"]["test"].mean()),
                "test_rows": len(c["last"]["test"]),
                "train_minus_test": gap(c["last"]),
            }
            for c in curves
        ]
        for name, curves in studies.items()
    }
    found = {
        "orderings": claims,
        "samples": {"mnist": args.samples, "freyfaces": args.frey_samples, "paper": 1e8},
        "optimizer": "Adam, 1e-3, divided by √2 at 2e6, 4e6, 8e6 … samples (paper: Adagrad, 0.01, 0.02 or 0.1)",
        "seed": args.seed,
        "unit": "nats per datapoint, one sample of z a row, constants kept",
        "machine": f"{platform.machine()} {platform.system()}, {args.threads} threads",
        "date": datetime.date.today().isoformat(),
        "command": command,
        "curves": shown,
    }
    args.json.write_text(json.dumps(found, indent=1) + "\n")
    draw(studies, args.json.with_suffix(".png"))
    for c in claims:
        verdict = "holds" if c["holds"] else "DOES NOT HOLD"
        print(f"{verdict}: {c['claim']} ({c['value']:+.2f} ± {c['standard_error']:.2f}, least {c['least']:g})")
    return int(not all(c["holds"] for c in claims))


def main(argv: list[str] | None = None) -> int:
    """Every curve in turn, then the result and its picture beside this file, of the studies asked for alone."""
    p = argparse.ArgumentParser("bench.papers.figure2", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("--out", required=True, help="folder of the curves' runs; unfinished ones there are continued")
    p.add_argument("--samples", type=amount, default=3e6, help="training samples evaluated, MNIST (paper: 1e8)")
    p.add_argument("--frey-samples", type=amount, default=1e7, help="the same, Frey Face")
    p.add_argument("--freyfaces", help="folder that holds the Frey Face file; without it MNIST alone")
    p.add_argument("--seed", type=whole(0), default=0)
    p.add_argument("--threads", type=whole(1), default=1)
    p.add_argument("--json", type=Path, help="result, PNG beside it (default: bench/papers; MNIST alone: OUT)")
    args = p.parse_args(argv)
    if args.json is None:  # half a study does not overwrite a whole one
        args.json = Path(__file__).with_suffix(".json") if args.freyfaces else Path(args.out) / "figure2.json"
    lengths = f"--samples {args.samples:g} --frey-samples {args.frey_samples:g} --seed {args.seed}"
    command = f"python -m bench.papers.figure2 --out runs/figure2 {lengths}"
    parts = {MNIST: rows_of(MNIST, None, args.seed)}
    if args.freyfaces:  # read before anything is trained: a wrong folder costs nothing
        parts[FREY] = rows_of(FREY, args.freyfaces, args.seed)
    studies = {s.name: [curve(s, latent, rows, args) for latent in s.latents] for s, rows in parts.items()}
    return report(studies, args, command + (" --freyfaces FOLDER" if args.freyfaces else ""))


if __name__ == "__main__":
    sys.exit(answered("bench.papers.figure2", main))
