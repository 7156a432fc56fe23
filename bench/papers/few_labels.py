"""§7.1 Few labels on MNIST: the error of M2 beside that of its classifier alone, by draws of the labels.

    python -m bench.papers.few_labels                          what is left, and the table of what is there
    python -m bench.papers.few_labels --do m2-100-0            one run, resumed where it stopped
    python -m bench.papers.few_labels --do all

Published (Kingma et al. 2014, error % at 100, 600, 1000 and 3000 labels): M2 11.97, 4.94, 3.60, 3.92. A run is a
model, a number of labels and a seed, which draws them, as many of each class; its line goes into a committed file of
JSON lines. `alone` is the same classifier on the same labels, with the same minibatches, without the bound: of M2 its
parameters are apart from the others, so it takes the classifier's term and no other. Errors are of the 10 000 test
rows, binarised once by the run's seed. No error decides anything here: the length of a run is its model's, 50 passes
over the rows without labels, and 2 of `alone`, which has learned its few rows by heart by then.
"""

import argparse
import datetime
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.papers.runs import lines
from scratchvae import data
from scratchvae.cli import answered
from scratchvae.cli.classify import probabilities_over
from scratchvae.cli.common import say, whole
from scratchvae.errors import UsageError
from scratchvae.models import semi_supervised as m2
from scratchvae.training import labels
from scratchvae.training.config import Config
from scratchvae.training.evaluate import elbo_over
from scratchvae.training.optim import Optimizer
from scratchvae.training.reading import learn
from scratchvae.training.run import Run
from scratchvae.training.state import State
from scratchvae.types import Array

HERE = Path(__file__).with_suffix(".jsonl")
DRAWS = {100: 5, 600: 2, 1000: 2, 3000: 2}
PUBLISHED = {100: 11.97, 600: 4.94, 1000: 3.60, 3000: 3.92}
EPOCHS = {"m2": 50, "alone": 2}  # of the rows without labels; alone: as many minibatches of the others


class Task(NamedTuple):
    """One line."""

    model: str
    labels: int
    seed: int

    @property
    def name(self) -> str:
        """As the command line has it."""
        return f"{self.model}-{self.labels}-{self.seed}"


def tasks() -> list[Task]:
    """Every run."""
    return [Task(model, many, s) for many, draws in DRAWS.items() for s in range(draws) for model in EPOCHS]


def config(task: Task) -> Config:
    """784-500 softplus, 50 latents, 200 rows without labels and up to 200 with in a minibatch."""
    return Config(model="m2", labels=task.labels, seed=task.seed, batch=200, latent=50, activation="softplus",
                  epochs=EPOCHS[task.model], optimizer=Optimizer(learning_rate=1e-3))  # fmt: skip


class Alone(labels.LabelSteps):
    """Steps of the classifier's term by itself, on the labelled rows of each minibatch."""

    def index(self, step: int) -> Array:
        """Those that tell."""
        return super().index(step)[: self.few]

    def update(self, x: Array, eps: Array, number: int) -> Array:
        """The optimizer's update."""
        s = self.state
        s.gradient.flat[...] = 0
        log_q, layers = m2.classify(x, s.phi, s.k)
        told = np.arange(len(x)), s.codes
        term = np.zeros_like(log_q)
        term[told] = s.config.alpha / len(x)
        m2.classify_vjp(term, log_q, layers, s.phi, s.dphi, s.k)
        s.config.optimizer.update(s.arena.flat, s.gradient.flat, s.slots, number + 1, self.rate(s.step), s.k)
        found: Array = log_q[told]
        return found


def error(state: State, found: data.Dataset) -> float:
    """Of the test rows, per cent."""
    assert found.test_labels is not None
    guess = probabilities_over(state, found.test).argmax(axis=1)
    return float(100 * (guess != labels.codes_of(found.test_labels, state.reading.classes)).mean())


def line(task: Task, found: data.Dataset, folder: Path) -> dict[str, Any]:
    """Train a task to its end, an epoch at a time, each kept; its line."""
    run, wanted = Run(folder / task.name), config(task)
    assert found.labels is not None
    if run.checkpoint.exists():
        state, meta = run.load()
        spent = float(meta["bounds"][0])
        if state.config != wanted:
            raise UsageError(f"{run.folder} holds a run of another set-up: name another --out, or remove it")
    else:
        run.folder.mkdir(parents=True, exist_ok=True)
        state, spent = labels.begun(wanted, learn(found.train, wanted), found), 0.0
    steps = (labels.LabelSteps if task.model == "m2" else Alone)(state, found.train, 1)
    while state.step < EPOCHS[task.model] * steps.per_epoch:
        start = time.process_time()
        bound = steps.advance(min(steps.per_epoch, 300)).mean()
        spent += time.process_time() - start
        run.save(state, [spent, 0])
        say(f"{task.name}: step {state.step}, {bound:.2f} nats, {spent:.0f} s of a core")
    told: dict[str, Any] = {"name": task.name, "error_percent": error(state, found), "steps": state.step}
    if task.model == "m2":
        told["test_bound"] = elbo_over(state, found.test, threads=1).elbo
    machine = f"{platform.machine()} {platform.system()}"
    return told | {"cpu_seconds": round(spent, 1), "date": datetime.date.today().isoformat(), "machine": machine}


def table(there: dict[str, dict[str, Any]]) -> str:
    """Mean and standard deviation over draws, per cent, in Markdown."""
    rows = [
        "| labels | draws | M2 | classifier alone | published M2 | core seconds a run |",
        "|---|---|---|---|---|---|",
    ]
    for many in DRAWS:
        of = {m: [one for n, one in there.items() if n.startswith(f"{m}-{many}-")] for m in EPOCHS}
        if of["m2"]:
            cells = [spread([one["error_percent"] for one in of[m]]) for m in EPOCHS]
            seconds = np.mean([one["cpu_seconds"] for one in of["m2"]])
            rows.append(f"| {many} | {len(of['m2'])} | {' | '.join(cells)} | {PUBLISHED[many]} | {seconds:.0f} |")
    return "\n".join(rows)


def spread(errors: list[float]) -> str:
    """ "7.10 ± 0.52", of one "7.10", of none "–"."""
    if len(errors) < 2:
        return f"{errors[0]:.2f}" if errors else "–"
    return f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f}"


def main(args: argparse.Namespace) -> int:
    """Do what is asked for, then tell what is there."""
    known = {task.name: task for task in tasks()}
    if args.do and args.do != "all" and args.do not in known:
        raise UsageError(f"--do {args.do}: expected all, or one of {', '.join(known)}")
    left = [task for name, task in known.items() if name not in lines(HERE)]
    wanted = left if args.do == "all" else [known[args.do]] if args.do else []
    found = data.load("mnist", folder=args.data_folder) if wanted else None
    for task in wanted[: args.most]:
        assert found is not None
        made = line(task, found, Path(args.out))
        with HERE.open("a", encoding="utf-8") as file:
            file.write(json.dumps(made) + "\n")
    print(table(lines(HERE)))
    say("left: " + (", ".join(name for name in known if name not in lines(HERE)) or "nothing"))
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="python -m bench.papers.few_labels", description=__doc__.split("\n")[0])
    p.add_argument("--do", help="a run's name, or all that are left")
    p.add_argument("--most", type=whole(1), help="runs of all that are done now")
    p.add_argument("--out", default="runs/few-labels", help="where runs are kept")
    p.add_argument("--data-folder", help="folder with MNIST")
    return p


if __name__ == "__main__":
    sys.exit(answered("few_labels", lambda: main(parser().parse_args())))
