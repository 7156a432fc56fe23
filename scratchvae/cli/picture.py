"""§7.2-7.3 `picture NAME`: what a lecturer points at, each in seconds; numbers are exact, or say how sure they are."""

import argparse
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from .. import plots
from ..errors import UsageError
from ..models import walk as graph
from ..noise import Noise, Purpose
from ..training import lecture
from ..training.evaluate import evaluation_rows
from ..training.variance_study import waves
from ..types import Array
from .common import (
    SEEDS,
    Commands,
    add_data,
    check_out,
    command,
    open_data,
    open_run,
    report_to,
    say,
    whole,
    write,
    write_rows,
)

RACERS = ("score", "score_loo", "sgvb_a", "sgvb_b", "stl")
FREQUENCIES = tuple(round(0.1 * i, 1) for i in range(1, 61))
MEASURED = FREQUENCIES[4::8]
POINTS = 14  # of a training run that are looked at
ROWS = 16  # that are looked at in a walk, and along a training run
ABOUT = """Draw a picture for a lecture, in seconds, with no run and no file needed.

race       §7.2.2-7.2.4 Five estimators of one gradient climb to the same log p(x), which is known: from the same start,
           with the same noise. The score function is slow: its variance is large. Leaving one sample out for a baseline
           makes it fast, going along the path (sgvb) faster. Right: only the estimators whose variance vanishes
           where q is the posterior (stl, score_loo) arrive; the others jitter for ever.
           Numbers: step, log p(x), then the bound of each.
frequency  §7.2.4 Variances of score and path for f(z) = cos ωz: exact curves, measured points with bars of two standard
           errors. f stays between -1 and 1, f' grows with ω: where they cross, the path loses.
           Numbers: ω, exact score and path; NaN where not measured: score, its error, path, its error.
training   §7.2, §7.3 log p(x) by quadrature and the bound while a VAE of two latents learns. The shade between them is
           KL(q ‖ p(z|x)), drawn below on its own scale: it closes while the encoder learns the posterior, and opens
           again where the decoder, and with it the posterior, moves faster than the encoder follows.
           Numbers: step, log p(x), bound.
walk       §7.3 One training step as a graph: blue, what flows forwards; orange, the slopes that come back; at every
           edge the norm of a row. To μ and log σ² slopes come by two ways, through z and from the KL. x and ε are
           given: with ε an input, z is a function like any other, and slopes pass it. Of a RUN's first test rows,
           or of a fresh net. Numbers: forwards and backwards of each edge, in the order of the table on stdout.

The others have commands of their own: posterior, fill, manifold, interpolate --out FILE.png, and evaluate --out."""


class Made(NamedTuple):
    """Numbers (N, columns), how to draw them, and a line or a table that says what they show."""

    numbers: Array
    draw: Callable[[], Any]
    words: str


def add(commands: Commands) -> None:
    """Register `picture`."""
    about = "Draw a picture for a lecture"
    p = command(commands, "picture", about, "scratchvae picture race --out race.png", ABOUT)
    p.set_defaults(run=run)
    p.add_argument("name", metavar="NAME", choices=MAKE, help=", ".join(MAKE))
    p.add_argument("checkpoint", metavar="RUN", nargs="?", help="of walk: a run's folder or a checkpoint")
    p.add_argument("--out", help=".png; .npy, .csv or - for the numbers (default: NAME.png)")
    p.add_argument("--steps", type=whole(1), help="of race (default: 1000) and training (default: 1500)")
    p.add_argument("--seed", type=whole(0, SEEDS), default=0, help="names all noise (default: 0)")
    add_data(p)
    p.add_argument("--kernels", choices=("numpy", "numba"), help="of a RUN: kernel table; by default the run's own")


def run(args: argparse.Namespace) -> int:
    """Make the numbers, then the picture."""
    args.out = args.out or f"{args.name}.png"
    check_out(args.out, ".png", ".npy", ".csv")
    for given, option, names in ((args.checkpoint, "RUN", ("walk",)), (args.steps, "--steps", ("race", "training"))):
        if given and args.name not in names:
            raise UsageError(f"picture {args.name} takes no {option}; {' and '.join(names)} would")
    for name in ("data", "data_folder", "kernels"):
        if getattr(args, name) and not args.checkpoint:
            raise UsageError(f"--{name.replace('_', '-')} goes with a RUN, as in scratchvae picture walk runs/mnist")
    if args.out.endswith(".png"):
        plots.figure((1, 1))  # without matplotlib nothing need be computed
    made = MAKE[args.name](args)
    with report_to(args.out):
        print(made.words)
    if args.out.endswith(".png"):
        drawn = made.draw()
        write(args.out, lambda file: plots.save(drawn, file))
    else:
        write_rows(made.numbers, args.out)
    return 0


def race(args: argparse.Namespace) -> Made:
    """Five estimators on probabilistic PCA."""
    steps = args.steps or 1000
    every = max(1, steps // 100)
    laps: dict[str, list[lecture.Lap]] = {}
    for name, found in groupby(lecture.race(RACERS, steps, every, args.seed), key=lambda lap: lap.estimator):
        laps[name] = list(found)
        say(f"{name:9}  bound {laps[name][-1].bound:.3f} nats after {laps[name][-1].step} steps")
    theta, x = lecture.pca(args.seed)
    log_p, step = float(theta.log_marginal(x).mean()), np.array([lap.step for lap in laps[RACERS[0]]])
    bounds = {name: np.array([lap.bound for lap in found]) for name, found in laps.items()}

    def draw() -> Any:
        left, right = plots.figure((13.3, 5.6)).subplots(1, 2)
        plots.plot_race(step, bounds, log_p, left, title="One model, one start, the same noise")
        gaps = {name: log_p - bound for name, bound in bounds.items()}
        plots.plot_below(step, gaps, right, yscale="log", xlabel="steps", title="How far L is below log p(x)")
        return left

    numbers = np.column_stack([step, np.full(len(step), log_p), *bounds.values()])
    return Made(numbers, draw, f"log p(x) {log_p:.4f} nats; " + ends(log_p, bounds))


def ends(log_p: float, bounds: dict[str, Array]) -> str:
    """What is missing at the end, in words."""
    return "below it at the end: " + ", ".join(f"{name} {log_p - bound[-1]:.2g}" for name, bound in bounds.items())


def frequency(args: argparse.Namespace) -> Made:
    """Score against path, exact and by 20,000 draws."""
    found = waves(FREQUENCIES)
    at, names = np.array(found["frequency"]), {"score": "score", "path": "sgvb_b"}
    exact = {"score": np.array(found["score"]), "path": np.array(found["pathwise"])}
    measured = {name: lecture.measured(e, MEASURED, 20_000, args.seed) for name, e in names.items()}
    rows = np.full((len(at), 4), np.nan)
    rows[np.searchsorted(at, MEASURED)] = np.hstack(list(measured.values()))
    cross = at[np.argmax(exact["path"] > exact["score"])]
    words = f"from ω = {cross:g} on the score function has the smaller variance; at ω = {at[-1]:g}: " + ", ".join(
        f"{name} {variance[-1]:.3g}" for name, variance in exact.items()
    )
    numbers = np.column_stack([at, *exact.values(), rows])
    return Made(numbers, lambda: plots.plot_waves(at, exact, np.array(MEASURED), measured), words)


def training(args: argparse.Namespace) -> Made:
    """A small VAE under a grid of z."""
    found: list[Sequence[float]] = []
    for moment in lecture.course(args.steps or 1500, POINTS, args.seed, ROWS):
        log_p, bound = float(moment.log_p.mean()), float(moment.bound.mean())
        found.append((moment.step, log_p, bound))
        say(f"step {moment.step:5}  log p(x) {log_p:.3f}  bound {bound:.3f}  KL {log_p - bound:.3f} nats")
    numbers = np.array(found)
    step, log_p_x, L = numbers.T

    def draw() -> Any:
        above, below = plots.figure((9, 6.2)).subplots(2, 1, sharex=True, height_ratios=(2, 1))
        plots.plot_course(step, log_p_x, L, "A VAE of two latents; log p(x) by quadrature", above)
        plots.plot_below(step + 1, {"log p(x) − L": log_p_x - L}, below, xlabel="step + 1")
        return above

    first, last = (log_p_x - L)[[0, -1]]
    words = f"log p(x) {log_p_x[-1]:.3f}, bound {L[-1]:.3f}; KL(q || p(z|x)) {first:.3f} at the start, {last:.3f} now"
    return Made(numbers, draw, words)


def walk(args: argparse.Namespace) -> Made:
    """One step of a run or of a fresh net."""
    if args.checkpoint:
        state = open_run(args)
        if state.config.deep:
            raise UsageError("picture walk takes a run with one latent layer: the graph of a ladder is another one")
        found = open_data(args, state)
        x = evaluation_rows(state, found.test, 0, min(ROWS, len(found.test)))
        if np.isnan(x).any():
            raise UsageError("picture walk takes whole rows, and the run's first test rows have missing entries")
        title = f"One step on {len(x)} test rows of {found.name}, after {state.step} steps"
    else:
        state = lecture.fresh(args.seed)
        x, title = lecture.spots(ROWS, args.seed + 1), "The first step of a fresh VAE, 64-32-2"
    eps = Noise(args.seed).normals(Purpose.EVALUATE, 0, len(x), state.config.latent_size, state.config.dtype)
    L, edges = graph.walk(x, eps, state.phi, state.theta, state.k)
    lines = [(edge.source, edge.target, *graph.norms(edge)) for edge in edges]
    table = [f"{'edge':26}  forwards  backwards"]
    for source, target, forward, back in lines:
        table.append(f"{source:>9} → {target:14}  {forward:8.4g}  {'given' if np.isnan(back) else f'{back:.4g}':>9}")
    words = "\n".join([*table, f"bound {L.mean():.4f} nats; norms of a row, root mean square over {len(x)} rows"])
    title += ": norms forwards (blue) and of the slopes of L (orange)"
    return Made(np.array([line[2:] for line in lines]), lambda: plots.plot_walk(lines, title), words)


MAKE = {"race": race, "frequency": frequency, "training": training, "walk": walk}
