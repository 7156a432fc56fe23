"""§7.1.1 `fill`: task 3, the missing part of test rows from the part that was seen, and how well it was done."""

import argparse
import time
from typing import Any, NamedTuple

import numpy as np

from .. import plots
from ..tasks import imputation, missing
from ..tasks.evidence import joined
from ..tasks.missing import FillPlan, Imputations
from ..training import objective
from ..training.evaluate import evaluation_rows, over
from ..training.reading import Reading
from ..training.state import State
from ..types import Array
from .common import (
    ROWS,
    SEEDS,
    Commands,
    add_data,
    add_image,
    add_run,
    command,
    countdown,
    emit,
    mean_of_data,
    neighbours,
    open_data,
    open_task,
    report_to,
    rows_of,
    say,
    shape_of_run,
    whole,
    write,
    write_rows,
    write_table,
)
from .masks import MASKS, mask_of

ABOUT = """Fill in the missing part of test rows: draws from p(x_mis | x_obs), several for each row. The truth is known
here, so the report says how good they are, beside the training mean and the nearest training row."""
METHODS = ("metropolis", "rezende", "importance")
FIRST = "0:20"  # rows, where none are asked for
BLOCK = 50  # rows filled together


class Scored(NamedTuple):
    """One method's fillings of all rows: mean (N, D), draws (M, N, D), and the measures."""

    mean: Array
    draws: Array
    report: dict[str, Any]


def add(commands: Commands) -> None:
    """Register `fill`."""
    p = command(commands, "fill", ABOUT, "scratchvae fill runs/mnist --mask left-half --rows 0:10 --out fill.png")
    p.set_defaults(run=run)
    add_run(p)
    add_data(p)
    p.add_argument("--mask", default="left-half", help=MASKS)
    p.add_argument("--rows", help=f"{ROWS} (default: {FIRST})")
    p.add_argument("--method", choices=(*METHODS, "all"), default="metropolis", help="rezende is not corrected for q")
    p.add_argument("--imputations", type=whole(1), default=20, help="draws kept of each chain")
    p.add_argument("--chains", type=whole(1), default=5, help="chains a row")
    p.add_argument("--thin", type=whole(1), default=5, help="steps from one kept draw to the next")
    p.add_argument("--warm-up", type=whole(0), default=100, help="steps before the first, half of them Rezende's")
    p.add_argument("--samples", type=whole(1), default=1000, help="codes a row for importance sampling")
    p.add_argument("--seed", type=whole(0, SEEDS), default=0, help="names the draws and a random mask")
    add_image(p)
    p.add_argument("--out", help=".png of the fillings, .npy of all draws (M, N, D), .csv or - for the filled means; "
                   "where columns hold words, for the rows with one draw of what was missing")  # fmt: skip
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Hide, fill, compare with the truth."""
    state = open_task(args, ".png", ".npy", ".csv")
    found = open_data(args, state, gaps=True)
    index = rows_of(args.rows or FIRST, len(found.test))
    if args.rows is None and len(index) < len(found.test):
        say(f"the first {len(index)} of {len(found.test)} rows: --rows 0: takes all")
    truth = np.concatenate([evaluation_rows(state, found.test, int(i), 1, gaps=True) for i in index])
    shape = shape_of_run(state, found, args.image)
    mask = mask_of(args.mask, state.reading.undo(truth), shape, state.noise._replace(seed=args.seed))
    observed = state.reading.narrow(mask) & ~np.isnan(truth)
    missing.check_mask(truth, observed, index, "test row")
    missing.check_gaps(observed)
    start = time.monotonic()
    mean = mean_of_data(state, found.train)
    scored = {name: fill(name, args, state, truth, observed, mean, index) for name in methods(args.method)}
    rivals = rival_fillings(state, found.train, truth, observed, mean)
    report: dict[str, Any] = {"mask": args.mask, "missing": float(1 - observed.mean()), "rows": len(truth)}
    for name, one in scored.items():
        suffix = f"_{name}" if len(scored) > 1 else ""
        report |= {key + suffix: value for key, value in one.report.items()}
    if not np.isnan(truth).any():
        report |= {f"rmse_{name}": imputation.rmse(truth, rival, observed) for name, rival in rivals.items()}
    settings = {
        "method": args.method,
        "binarisation": state.config.binarisation,
        "rmse_in": "standard deviations of each column" if state.reading.scale is not None else "units of the data",
        "data": found.name,
        "step": state.step,
    }
    report |= {**settings, "seconds": round(time.monotonic() - start, 2), "unit": "nats per row"}
    with report_to(args.out):
        emit(report, args.json)
    if args.out and state.reading.levels and not args.out.endswith((".png", ".npy")):
        show_table(
            args.out, state.reading, np.asarray(found.test[index]), observed, next(iter(scored.values())).draws[-1]
        )
    elif args.out:
        show(args.out, state.reading, truth, observed, scored, rivals["nearest_neighbour"], shape)
    return 0


def methods(name: str) -> tuple[str, ...]:
    """The methods that --method asks for."""
    return METHODS if name == "all" else (name,)


def rival_fillings(state: State, train: Array, x: Array, observed: Array, mean: Array) -> dict[str, Array]:
    """What can be had without a model."""
    nearest = imputation.nearest(x, observed, neighbours(state, train, mean))
    return {
        "nearest_neighbour": np.where(observed, x, nearest),
        "mean_filling": imputation.mean_filling(x, observed, mean).astype(x.dtype),
    }


def fill(
    name: str, args: argparse.Namespace, state: State, truth: Array, observed: Array, mean: Array, index: Array
) -> Scored:
    """All rows, number `index` (N,) of the test rows, by one method, block by block, with its measures."""
    coder, noise = objective.coder(state), state.noise._replace(seed=args.seed)
    plan = FillPlan(args.imputations, args.chains, args.thin, args.warm_up, args.warm_up // 2)

    def block(first: int, count: int) -> tuple[Imputations, Array]:
        part = slice(first, first + count)
        seen = np.where(observed[part], truth[part], np.nan)
        given = coder, seen, observed[part], mean, noise
        placed = plan._replace(first_row=state.numbers(seen, first))
        if name == "importance":
            made = missing.importance(*given, placed, args.samples)
        else:
            made = missing.chain(*given, placed, name == "metropolis")
        return made, imputation.log_score(coder, truth[part], observed[part], made.codes)

    done, report_done = [], countdown(f"fill, {name}", len(truth))
    for each in over(state, len(truth), BLOCK, block):
        done.append(each)
        report_done(len(done) * BLOCK)
    found, scores = [made for made, _ in done], [score for _, score in done]
    draws = np.concatenate([one.draws for one in found], axis=2)
    filled = np.concatenate([one.mean for one in found]).astype(truth.dtype)
    report = {"acceptance": float(np.concatenate([one.acceptance for one in found]).mean())}
    if not np.isnan(truth).any():  # else nobody knows
        report |= {
            "rmse": imputation.rmse(truth, filled, observed),
            "log_score": float(np.concatenate(scores).mean()),
            "coverage_90": imputation.coverage(truth, draws, observed),
        }
    warn(name, found, index)
    return Scored(filled, draws.reshape(-1, *truth.shape), report)


def warn(name: str, found: list[Imputations], index: Array) -> None:
    """Words where the draws should not be trusted."""
    evidence = [one.observed_evidence for one in found if one.observed_evidence]
    if evidence and (doubts := joined(evidence).doubts(index=index)):
        say(doubts)
    if name == "rezende":
        say("rezende: this chain's draws follow p(x_mis | x_obs) only as far as q(z | x) is the posterior")


def show_table(out: str, reading: Reading, raw: Array, observed: Array, draw: Array) -> None:
    """Rows (N, D) with words: what was seen as it came, `raw`, and the rest of a draw, which has words that exist."""
    given, drawn = reading.cells(raw), reading.cells(reading.undo(draw))
    cells = [[a if seen else b for a, b, seen in zip(*row, strict=True)]
             for row in zip(given, drawn, observed, strict=True)]  # fmt: skip
    write_table(cells, reading.names, out)


def show(
    out: str,
    reading: Reading,
    truth: Array,
    observed: Array,
    scored: dict[str, Scored],
    nearest: Array,
    shape: tuple[int, ...],
) -> None:
    """Lines of images (seen, truth, mean, three draws of the first method; the nearest training row), or numbers."""
    first = next(iter(scored.values()))
    if not out.endswith(".png"):
        if out.endswith(".npy"):
            write(out, lambda path: np.save(path, reading.undo(first.draws)))
        else:
            write_rows(reading.undo(first.mean), out)
        return
    n = min(len(truth), 20)
    seen = np.where(observed, truth, np.nan)
    spread = np.linspace(0, len(first.draws) - 1, 3).astype(int)  # far apart: other chains, other times
    lines = [seen, truth, first.mean, *first.draws[spread], nearest]
    title = "seen; truth; E[x | seen]; three draws; nearest training row"  # lines of the sheet, from the top
    drawn = plots.plot_images(reading.shown(np.concatenate([line[:n] for line in lines])), shape, n, title)
    write(out, lambda path: plots.save(drawn, path))
