"""§7.1.2, §7.3 Figure 3 of Kingma & Welling 2014: log p(x) against samples; AEVB, wake-sleep, Monte Carlo EM.

    python -m bench.papers.figure3 --out runs/figure3                        what is left, and what it costs
    python -m bench.papers.figure3 --out runs/figure3 --do all --at-most 1e6

The first 1000 or 50 000 rows of MNIST, 100 hidden tanh units, three latents; Adagrad at the paper's steps (`runs`).
log p(x) is the paper's appendix D on the first 1000 train and test rows: 52 draws of the posterior for the density and
52 for the mean, four chains that begin at importance resampled draws, four leapfrog steps. Rows are binarised once, so
that a chain of Monte Carlo EM has one posterior. That algorithm is not run at 50 000, as in the paper: what it would
take is printed. Seen: AEVB is above wake-sleep, as in the paper, on train and test rows at 50 000 and on train rows
at 1000, where it learns the rows by heart: its test figure falls from 1e6 samples on, and is 2.5 nats below the other's
at 1e7. Monte Carlo EM, with five updates for each sample, is above AEVB on train at equal samples, and below it on test
from 3e5 on. Not as in the paper: the length, 1e6 and 1e7 samples where it has 6e7.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from scratchvae import data
from scratchvae.cli import answered
from scratchvae.models.joint import Joint
from scratchvae.noise import Noise, Purpose
from scratchvae.tasks import proposals
from scratchvae.tasks.appendix_d import appendix_d
from scratchvae.tasks.hmc import ChainPlan
from scratchvae.training.config import Config
from scratchvae.training.evaluate import blocks, evaluation_rows
from scratchvae.training.objective import encode
from scratchvae.training.state import State, Steps
from scratchvae.types import Array

from .runs import CHOICE, Task, done, line, lines, options

HERE = Path(__file__).with_suffix(".jsonl")
SPEEDS = {"aevb": 60_000, "wake-sleep": 6_000, "mcem": 2_500}  # samples a second, one core that has other work
FEW, MANY, LATENTS, JUDGED = 1000, 50_000, 3, 1000
AXIS = {FEW: (-160, -100), MANY: (-160, -125)}  # the paper's, nats
LOOKS = {"aevb": ("AEVB", "-", "tab:red"), "wake-sleep": ("wake-sleep", "--", "tab:blue"),
         "mcem": ("Monte Carlo EM", ":", "tab:green")}  # fmt: skip


def tasks() -> list[Task]:
    """Monte Carlo EM at 1000 rows alone; one seed."""
    return [
        Task(str(N), algorithm, LATENTS, 0, 1e6 if algorithm == "mcem" else 1e7, speed)
        for N in AXIS
        for algorithm, speed in SPEEDS.items()
        if N == FEW or algorithm != "mcem"
    ]


def rows_of(N: int) -> tuple[Array, Array]:
    """Train and test rows as bits, each row's always the same."""
    found, noise = data.load("mnist"), Noise(0)
    train, test = (data.rows(x, slice(0, n)) for x, n in ((found.train, N), (found.test, JUDGED)))
    made = (
        data.binarise(x, "fixed", noise.uniforms(Purpose.FIXED_BINARISATION, i, *x.shape)) > 0.5
        for i, x in enumerate((train, test))
    )
    return next(made), next(made)


def marks(steps: Steps, samples: float) -> list[int]:
    """Two a decade, from the choice of the step on, and the end."""
    each = len(steps.x) / steps.per_epoch
    points = [CHOICE * 10 ** (i / 2) for i in range(12)]
    return [round(p / each) for p in (*(p for p in points if p < 0.95 * samples), samples)]


def evidence(state: State, x: Array) -> Array:
    """log p(x) of the first rows, nats, by appendix D; q only says where chains begin, and forgives where it is bad."""
    model, found = Joint(state.theta), []
    for first, count in blocks(min(JUDGED, len(x)), 100):
        bits = evaluation_rows(state, x, first, count)
        q = encode(state, bits)
        start = proposals.resampled(model, bits, q, state.noise, 256, 4, first)
        plan = ChainPlan(warm_up=20, leapfrog=4, step_size=0.3, scale=np.exp(q.log_var / 2))
        how: dict[str, Any] = {"plan": plan, "first_row": first, "start": start}
        found.append(appendix_d(model, bits, q, state.noise, 50, 4, "gaussian", **how).value)
    return np.concatenate(found)


def work(task: Task, args: argparse.Namespace) -> dict[str, Any]:
    """One run to its end."""
    train, test = rows_of(int(task.study))
    shape: dict[str, Any] = {"latent": LATENTS, "hidden": (100,), "likelihood": "bernoulli"}
    how: dict[str, Any] = {"algorithm": task.algorithm, "prior": True, "epochs": 1e6, "seed": task.seed}
    config = Config(data="mnist", binarisation="none", **shape, **how)

    def measure(state: State) -> dict[str, float]:
        return {name: float(evidence(state, x).mean()) for name, x in (("train", train), ("test", test))}

    return line(task, config, train, marks, measure, args)


# --- what they show -------------------------------------------------------------------------------


def predicted(there: dict[str, dict[str, Any]]) -> str:
    """What Monte Carlo EM would take at 50 000 rows, for as many moves of each chain as at 1000."""
    one = there.get(f"{FEW}-mcem-{LATENTS}-0")
    if one is None:
        return "Monte Carlo EM has not run at 1000 rows: nothing is predicted for 50 000"
    last = one["points"][-1]
    moves, hours = last["samples"] / FEW, last["cpu_seconds"] * MANY / FEW / 3600
    return (f"Monte Carlo EM at {MANY} rows, predicted: chains of {MANY * LATENTS * 4 / 1e6:.1f} MB in memory and "
            f"in every checkpoint; {hours:.1f} hours for {moves:.0f} moves of each chain, as at {FEW}")  # fmt: skip


def orderings(there: dict[str, dict[str, Any]], part: str) -> dict[str, dict[int, float]]:
    """AEVB's log p(x) less each rival's, nats, at each number of samples that both have."""
    found = {}
    for name, one in there.items():
        aevb = there.get(f"{one['study']}-aevb-{LATENTS}-{one['seed']}")
        if aevb is not None and aevb is not one:
            a, r = ({p["samples"]: p[part] for p in c["points"]} for c in (aevb, one))
            found[name] = {seen: a[seen] - r[seen] for seen in sorted(a.keys() & r.keys())}
    return found


def draw(there: dict[str, dict[str, Any]], path: Path) -> None:
    """The paper's two panels, on its axes of log p(x); train pale."""
    from scratchvae.plots import figure

    sheet = figure((9, 4))
    for ax, (N, axis) in zip(sheet.subplots(1, 2), AXIS.items(), strict=True):
        for one in (one for one in there.values() if one["study"] == str(N)):
            label, dash, colour = LOOKS[one["algorithm"]]
            for part, alpha in (("train", 0.4), ("test", 1.0)):
                xy = zip(*((p["samples"], p[part]) for p in one["points"]), strict=True)
                ax.plot(*xy, dash, marker=".", color=colour, alpha=alpha, label=f"{label} ({part})")
        ax.set(xscale="log", ylim=axis, title=f"$N_{{train}}$ = {N}", xlabel="training samples evaluated")
        ax.set_ylabel("log p(x), nats per datapoint")
        ax.grid(alpha=0.3)
    handles = {label: line for ax in sheet.axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    sheet.legend(handles.values(), handles, loc="outside lower center", ncols=3, fontsize="small")
    sheet.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> int:
    """The runs that are asked for, then figures and picture of what is there."""
    p = argparse.ArgumentParser("bench.papers.figure3", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    options(p, HERE)
    args = p.parse_args(argv)
    done(tasks(), args, lambda task: work(task, args))
    there = lines(args.lines)
    for name, one in there.items():
        last = one["points"][-1]
        print(f"{name}, {one['optimizer']}, {last['samples']:.2g} samples, {last['cpu_seconds']:.0f} s: "
              f"train {last['train']:.1f}, test {last['test']:.1f}")  # fmt: skip
    for part in ("train", "test"):
        for name, found in orderings(there, part).items():
            words = ", ".join(f"{above:+.2f} at {seen:.2g}" for seen, above in found.items())
            print(f"AEVB above {name}, {part}: {words}")
    print(predicted(there))
    if there:
        draw(there, args.lines.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.figure3", main))
