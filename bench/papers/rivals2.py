"""§7.1.2, §7.3 Figure 2 whole: AEVB and wake-sleep with the same optimizer and budget, beside AEVB with Adam.

    python -m bench.papers.rivals2 --out runs/figure2                                   what is left, what it costs
    python -m bench.papers.rivals2 --out runs/figure2 --do mnist-wake-sleep-3-0 --at-most 1e6
    python -m bench.papers.rivals2 --out runs/figure2 --freyfaces FOLDER --do all

Nets, data, batch and weight decay are `figure2`'s; Adagrad and its steps are the paper's (`runs`). Wake-sleep's dreams
are draws, as the binarised rows are; the prior on the weights is on θ alone. Every bound is the ELBO, which wake-sleep
does not climb. Not as in the paper: one seed at 1e7 samples, two at 1e6 (Frey Face 2e6), where it has 1e8.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from scratchvae.cli import answered
from scratchvae.types import Array

from . import figure2
from .figure2 import FREY, MNIST, Study
from .runs import Task, done, line, lines, options

HERE = Path(figure2.__file__).with_suffix(".jsonl")
ALGORITHMS = {"aevb": 15_000, "wake-sleep": 2_500}  # MNIST's samples a second, one core that has other work
BUDGET = 1e6  # from which on AEVB is to be above wake-sleep
LOOKS = {"aevb": ("AEVB", "-", "tab:red"), "wake-sleep": ("wake-sleep", "--", "tab:blue")}


def tasks() -> list[Task]:
    """Every run of the figure: MNIST three seeds, the first ten times as long; Frey Face three."""
    found = []
    for study, seed in ((study, seed) for study in (MNIST, FREY) for seed in range(3)):
        samples = 2e6 if study is FREY else 1e7 if seed == 0 else 1e6
        faster = 2.0 if study is FREY else 1.0
        found += [
            Task(study.name, algorithm, latents, seed, samples, faster * speed)
            for latents in study.latents
            for algorithm, speed in ALGORITHMS.items()
        ]
    return found


def work(task: Task, rows: dict[str, tuple[Array, Array]], args: argparse.Namespace) -> dict[str, Any]:
    """One run to its end."""
    study = MNIST if task.study == MNIST.name else FREY
    train, test = rows[task.study]
    config = figure2.config(study, task.latents, len(train), task.seed)
    config = dataclasses.replace(config, algorithm=task.algorithm)
    return line(task, config, train, figure2.marks, figure2.at_most(train, test), args)


# --- what they show -------------------------------------------------------------------------------


def pairs(there: dict[str, dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """AEVB's line and wake-sleep's, where both are there."""
    named = ((one, there.get(name.replace("wake-sleep", "aevb"))) for name, one in there.items() if "wake" in name)
    return [(aevb, wake) for wake, aevb in named if aevb is not None]


def margins(aevb: dict[str, Any], wake: dict[str, Any], part: str = "test") -> dict[int, float]:
    """AEVB's bound less wake-sleep's, nats, at every number of samples that both have, BUDGET or more."""
    a, w = ({p["samples"]: p[part] for p in one["points"]} for one in (aevb, wake))
    return {seen: a[seen] - w[seen] for seen in sorted(a.keys() & w.keys()) if seen >= 0.99 * BUDGET}


def table(there: dict[str, dict[str, Any]], adam: dict[str, Any]) -> str:
    """Markdown: the last bounds of each run, and AEVB's with Adam as rows of their own."""
    rows = ["| study | algorithm | optimizer | N_z | seed | samples | train | test |", "|---" * 8 + "|"]
    for study, curves in adam.get("curves", {}).items():
        for c in curves:
            samples = c["points"][-1]["samples"]
            rows.append(f"| {study} | aevb | Adam 1e-3, falling | {c['latents']} | {adam['seed']} | {samples:.2g} "
                        f"| {c['train']:.1f} | {c['test']:.1f} |")  # fmt: skip
    for one in sorted(there.values(), key=lambda o: (o["study"], o["latents"], o["algorithm"], o["seed"])):
        last, head = one["points"][-1], f"{one['study']} | {one['algorithm']} | {one['optimizer']}"
        rows.append(f"| {head} | {one['latents']} | {one['seed']} | {last['samples']:.2g} "
                    f"| {last['train']:.1f} | {last['test']:.1f} |")  # fmt: skip
    return "\n".join(rows)


def picture(there: dict[str, dict[str, Any]], adam: dict[str, Any], path: Path) -> None:
    """Figure 2's panels: AEVB solid, wake-sleep dashed, train pale; AEVB with Adam in grey."""
    shown = {name: list(curves) for name, curves in adam.get("curves", {}).items()}
    for one in there.values():
        look = dict(zip(("label", "linestyle", "color"), LOOKS[one["algorithm"]], strict=True))
        if one["seed"]:  # one legend is enough
            look["label"] = f"_{look['label']}"
        shown.setdefault(one["study"], []).append({**one, "look": look})
    figure2.draw(shown, path)


def main(argv: list[str] | None = None) -> int:
    """The runs that are asked for, then table and picture of what is there."""
    p = argparse.ArgumentParser("bench.papers.rivals2", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    options(p, HERE)
    p.add_argument("--freyfaces", help="folder that holds the Frey Face file; without it MNIST alone")
    args = p.parse_args(argv)
    studies = (MNIST, FREY) if args.freyfaces else (MNIST,)
    rows: dict[str, Any] = {}

    def one(task: Task) -> dict[str, Any]:
        study: Study = next(s for s in studies if s.name == task.study)
        if task.study not in rows:
            rows[task.study] = figure2.rows_of(study, args.freyfaces if study is FREY else None, 0)
        return work(task, rows, args)

    done([task for task in tasks() if task.study in [s.name for s in studies]], args, one)
    there, adam = lines(args.lines), json.loads(HERE.with_suffix(".json").read_text("utf-8"))
    print(table(there, adam))
    for aevb, wake in pairs(there):
        found = margins(aevb, wake)
        if found:
            worst = min(found.values())
            verdict = "holds" if worst > 0 else "DOES NOT HOLD"
            print(f"{verdict}: {wake['name']} below AEVB from {BUDGET:g} samples on (least {worst:+.2f} nats)")
    picture(there, adam, args.lines.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.rivals2", main))
