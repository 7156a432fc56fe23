"""§7.1.2, §7.3 The runs of a figure that compares algorithms: a list of them, each at most two hours, each with a line.

A run is a study, an algorithm, a number of latents and a seed. It is trained with Adagrad, as in the paper, at each
step from {0.01, 0.02, 0.1} for the first CHOICE samples; the step with the best figure on the training rows then goes
on. What was measured on its way is a line in a committed file of JSON lines: a call does what is missing there, or what
is shorter than asked for, from the last checkpoint on. Of two lines with one name the last one counts.
"""

import argparse
import dataclasses
import datetime
import json
import math
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchvae.cli.common import say, whole
from scratchvae.errors import UsageError
from scratchvae.noise import Purpose
from scratchvae.training import compiled
from scratchvae.training.config import Config
from scratchvae.training.evaluate import blocks, evaluation_rows
from scratchvae.training.objective import Diverged, bound
from scratchvae.training.optim import Optimizer
from scratchvae.training.reading import Reading
from scratchvae.training.run import Run
from scratchvae.training.state import State, Steps, latent_noise
from scratchvae.types import Array

RATES = (0.01, 0.02, 0.1)  # the paper's steps of Adagrad
CHOICE = 1e5  # samples after which one of them is chosen
Measure = Callable[[State], dict[str, float]]  # figures with a "train" and a "test" among them
Marks = Callable[[Steps, float], Iterable[int]]  # the steps at which they are measured, the last one at so many samples


class Task(NamedTuple):
    """One line: data or their number, algorithm, latents, seed; samples to evaluate, and about how many a second."""

    study: str
    algorithm: str
    latents: int
    seed: int
    samples: float
    speed: float

    @property
    def name(self) -> str:
        """As the command line has it."""
        return f"{self.study}-{self.algorithm}-{self.latents}-{self.seed}"

    @property
    def hours(self) -> float:
        """Of training, on one core: the run and the two that were not chosen."""
        return (self.samples + (len(RATES) - 1) * CHOICE) / self.speed / 3600


# --- training -------------------------------------------------------------------------------------


def followed(
    run: Run, config: Config, train: Array, samples: float, marks: Marks, measure: Measure, threads: int
) -> State:
    """The state after so many samples, trained or trained on, with what was measured on its way in the metrics."""
    state, spent = opened(run, config, train)
    steps = compiled.steps(state, train, threads)
    wanted = list(marks(steps, samples))
    if state.step > wanted[-1]:
        raise UsageError(f"{run.folder} has gone on to step {state.step}, beyond {wanted[-1]}: ask for more samples")
    for mark in wanted:
        if mark <= state.step:
            continue
        start = time.process_time()
        steps.advance(mark - state.step)
        spent += time.process_time() - start
        measured, seen = measure(state), round(mark * len(train) / steps.per_epoch)
        run.append({"step": mark, "samples": seen, **measured, "cpu_seconds": round(spent, 1)})
        run.save(state, [spent, 0])
        say(f"{run.folder.name}, {seen:.3g} samples: {measured}, {spent:.0f} s of training")
    return state


def opened(run: Run, wanted: Config, train: Array) -> tuple[State, float]:
    """The state to go on from, and the seconds of training behind it."""
    if run.checkpoint.exists():
        state, meta = run.load()
        if state.config != wanted:
            raise UsageError(f"{run.folder} holds a run with another seed or set-up: name another --out, or remove it")
        run.rewind(state.step)
        return state, float(meta["bounds"][0])
    run.folder.mkdir(parents=True, exist_ok=True)
    return State.begun(wanted, Reading(train.shape[1]), train), 0.0


def bounds(state: State, x: Array) -> Array:
    """The bound of each row (N,), nats, with one sample of z named by the row."""
    found = []
    for first, count in blocks(len(x), 500):
        eps = latent_noise(state, Purpose.EVALUATE, 0, count, 1, first)
        found.append(bound(state, evaluation_rows(state, x, first, count), eps)[0])
    return np.concatenate(found).astype(np.float64)


def line(task: Task, config: Config, train: Array, marks: Marks, measure: Measure, args: Any) -> dict[str, Any]:
    """What the file keeps of a task: the step chosen, what each step had, the points of the chosen one's curve."""
    folder, tried = Path(args.out) / task.name, {}

    def at(rate: float) -> tuple[Run, Config]:
        optimizer = Optimizer("adagrad", learning_rate=rate)
        return Run(folder / f"{rate:g}"), dataclasses.replace(config, optimizer=optimizer)

    for rate in RATES:
        run, asked = at(rate)
        if not run.read_metrics():
            try:
                followed(run, asked, train, min(CHOICE, task.samples), marks, measure, args.threads)
            except Diverged as broken:
                say(f"{task.name}, step {rate:g}: {broken}")
        points = run.read_metrics()
        tried[rate] = points[0]["train"] if points else -math.inf
    best = max(RATES, key=lambda rate: tried[rate])
    run, asked = at(best)
    followed(run, asked, train, task.samples, marks, measure, args.threads)
    points = run.read_metrics()
    return {
        **{"name": task.name, "study": task.study, "algorithm": task.algorithm},
        **{"latents": task.latents, "seed": task.seed, "samples": points[-1]["samples"]},
        "optimizer": f"Adagrad {best:g}",
        "tried": {f"{rate:g}": value if math.isfinite(value) else None for rate, value in tried.items()},
        "points": points,
        "machine": f"{platform.machine()} {platform.system()}, {args.threads} threads",
        "date": datetime.date.today().isoformat(),
    }


# --- the file of lines, and the command -----------------------------------------------------------


def lines(path: Path) -> dict[str, dict[str, Any]]:
    """What is there, by name."""
    if not path.exists():
        return {}
    return {one["name"]: one for one in map(json.loads, path.read_text("utf-8").splitlines())}


def missing(task: Task, there: dict[str, dict[str, Any]]) -> bool:
    """Whether its line is not there, or shorter than asked for by more than a minibatch's share."""
    return task.name not in there or there[task.name]["samples"] < 0.99 * task.samples


def options(p: argparse.ArgumentParser, committed: Path) -> None:
    """What both figures' commands share."""
    p.add_argument("--out", required=True, help="folder of the runs; unfinished ones there are continued")
    p.add_argument("--do", nargs="+", metavar="RUN", help="runs by name, or all; without it, say what is left")
    p.add_argument("--at-most", type=float, default=math.inf, help="so many samples a run, fewer than the list has")
    p.add_argument("--threads", type=whole(1), default=1)
    p.add_argument("--lines", type=Path, default=committed, help="the file of results (default: the committed one)")


def asked(tasks: Sequence[Task], args: argparse.Namespace) -> list[Task]:
    """The runs asked for and missing, the cheapest first. Raises UsageError for a name that is no run's."""
    names = [task.name for task in tasks]
    if odd := [name for name in args.do or [] if name not in (*names, "all")]:
        raise UsageError(f"{odd[0]!r} is no run of this figure: known are all, {', '.join(names)}")
    cut = [task._replace(samples=min(task.samples, args.at_most)) for task in tasks]
    wanted = [task for task in cut if not args.do or "all" in args.do or task.name in args.do]
    there = lines(args.lines)
    return sorted((task for task in wanted if missing(task, there)), key=lambda task: task.hours)


def done(tasks: Sequence[Task], args: argparse.Namespace, work: Callable[[Task], dict[str, Any]]) -> None:
    """Do what is asked for and missing; each line is on the disk when its run ends. Without --do, say what is left."""
    for task in asked(tasks, args):
        if not args.do:
            print(f"left: {task.name}, {task.samples:.3g} samples, {task.hours:.2f} hours of training or so")
            continue
        found = work(task)
        with open(args.lines, "a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
