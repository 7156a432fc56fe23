"""§7.1.1 `fill`: task 3, the missing part of test rows from the part that was seen, and how well it was done."""

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import plots
from ..errors import DataError, UsageError
from ..tasks import imputation, missing
from ..tasks.missing import Coder, Imputations, Plan
from ..training import data, files
from ..training.evaluate import evaluation_rows
from ..training.noise import Purpose
from ..training.state import State, mean_row
from ..types import Array
from .common import (
    Commands,
    add_data,
    add_run,
    command,
    emit,
    image_shape,
    open_data,
    open_run,
    rows_of,
    say,
    write_rows,
)

ABOUT = """Fill in the missing part of test rows: draws from p(x_mis | x_obs), several for each row. The truth is known
here, so the report says how good they are, beside the training mean and the nearest training row."""
HALVES = ("left-half", "right-half", "top-half", "bottom-half")
METHODS = ("metropolis", "rezende", "importance")
MASKS = f"what is missing: {', '.join(HALVES)}, random:0.5 (that fraction), or a file of 1 (observed) and 0 (missing)"
NEIGHBOURS = 60_000  # training rows searched for the nearest
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
    p.add_argument("--rows", default="0:20", help="test rows, as 0,5,7 or 0:10")
    p.add_argument("--method", choices=(*METHODS, "all"), default="metropolis", help="rezende is not corrected for q")
    p.add_argument("--imputations", type=int, default=20, help="draws kept of each chain")
    p.add_argument("--chains", type=int, default=5, help="chains a row")
    p.add_argument("--thin", type=int, default=5, help="steps from one kept draw to the next")
    p.add_argument("--warm-up", type=int, default=100, help="steps before the first, the first half of them Rezende's")
    p.add_argument("--samples", type=int, default=1000, help="codes a row for importance sampling")
    p.add_argument("--seed", type=int, default=0, help="names the draws and a random mask")
    p.add_argument("--out", help=".png of the fillings, .npy of all draws (M, N, D), .csv or - for the filled means")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Hide, fill, compare with the truth."""
    state = open_run(args)
    if state.config.deep:
        raise UsageError(f"fill takes a run with one latent layer, but this one has latent={state.config.latent}")
    found = open_data(args, state)
    truth = np.concatenate([evaluation_rows(state, found.test, int(i), 1) for i in rows_of(args.rows, len(found.test))])
    shape = image_shape(truth.shape[1], found.shape)
    observed = mask_of(args.mask, truth, shape, state, args.seed)
    missing.check_mask(truth, observed)
    start = time.monotonic()
    mean = mean_row(found.train)
    scored = {name: fill(name, args, state, truth, observed, mean) for name in methods(args.method)}
    known = data.rows(found.train, slice(0, NEIGHBOURS), truth.dtype)
    rivals = {
        "nearest_neighbour": imputation.nearest_filling(truth, observed, known),
        "mean_filling": imputation.mean_filling(truth, observed, mean).astype(truth.dtype),
    }
    report: dict[str, Any] = {"mask": args.mask, "missing": float(1 - observed.mean()), "rows": len(truth)}
    for name, one in scored.items():
        suffix = f"_{name}" if len(scored) > 1 else ""
        report |= {key + suffix: value for key, value in one.report.items()}
    report |= {f"rmse_{name}": imputation.rmse(truth, rival, observed) for name, rival in rivals.items()}
    settings = {
        "method": args.method,
        "binarisation": state.config.binarisation,
        "data": found.name,
        "step": state.step,
    }
    emit({**report, **settings, "seconds": round(time.monotonic() - start, 2), "unit": "nats per row"}, args.json)
    if args.out:
        write(args.out, truth, observed, scored, rivals["nearest_neighbour"], shape)
    return 0


def methods(name: str) -> tuple[str, ...]:
    """The methods that --method asks for."""
    return METHODS if name == "all" else (name,)


def fill(name: str, args: argparse.Namespace, state: State, truth: Array, observed: Array, mean: Array) -> Scored:
    """All rows by one method, block by block, with its measures."""
    coder, noise = Coder(state.phi, state.theta, state.k), state.noise._replace(seed=args.seed)
    plan = Plan(args.imputations, args.chains, args.thin, args.warm_up, args.warm_up // 2)
    found, scores = [], []
    for first in range(0, len(truth), BLOCK):
        part = slice(first, first + BLOCK)
        given = coder, np.where(observed[part], truth[part], np.nan), observed[part], mean, noise
        placed = plan._replace(first_row=first)
        if name == "importance":
            found.append(missing.importance(*given, placed, args.samples))
        else:
            found.append(missing.chain(*given, placed, name == "metropolis"))
        scores.append(imputation.log_score(coder, truth[part], observed[part], found[-1].codes))
    draws = np.concatenate([one.draws for one in found], axis=2)
    filled = np.concatenate([one.mean for one in found]).astype(truth.dtype)
    report = {
        "rmse": imputation.rmse(truth, filled, observed),
        "log_score": float(np.concatenate(scores).mean()),
        "coverage_90": imputation.coverage(truth, draws, observed),
        "acceptance": float(np.concatenate([one.acceptance for one in found]).mean()),
    }
    warn(name, found)
    return Scored(filled, draws.reshape(-1, *truth.shape), report)


def warn(name: str, found: list[Imputations]) -> None:
    """Words where the draws should not be trusted."""
    evidence = [one.observed_evidence for one in found if one.observed_evidence]
    if doubts := next((e.doubts() for e in evidence if e.doubts()), ""):
        say(doubts)
    if name == "rezende":
        say("rezende: this chain's draws follow p(x_mis | x_obs) only as far as q(z | x) is the posterior")


def mask_of(text: str, x: Array, shape: tuple[int, ...], state: State, seed: int) -> Array:
    """observed (N, D) bool, from a name, a fraction, or a file of (D,), (height, width) or (N, D) zeros and ones."""
    N, D = x.shape
    if text in HALVES:
        height, width = shape
        row, column = np.divmod(np.arange(D), width)
        hidden = {"left": column < width // 2, "right": column >= (width + 1) // 2,
                  "top": row < height // 2, "bottom": row >= (height + 1) // 2}[text.split("-")[0]]  # fmt: skip
        return np.tile(~hidden, (N, 1))
    if text.startswith("random:"):
        u = state.noise._replace(seed=seed).uniforms(Purpose.MASK, 0, N, D)
        return u >= fraction(text)
    if not Path(text).is_file():
        raise UsageError(f"--mask {text!r} is neither a file nor one of {', '.join(HALVES)}, random:0.5")
    mask = np.asarray(files.read(Path(text))["train"])
    if not np.isin(mask, (0, 1)).all():
        raise DataError(f"{text} holds other numbers than 1 (observed) and 0 (missing)")
    if mask.shape == x.shape or mask.size == D:
        return np.ascontiguousarray(np.broadcast_to(mask.reshape(-1, D) == 1, x.shape))
    raise DataError(
        f"{text} has shape {mask.shape}: a mask is ({D},), {shape} or {x.shape}, one row for each of --rows"
    )


def fraction(text: str) -> float:
    """P of "random:P", in (0, 1)."""
    try:
        value = float(text.split(":", 1)[1])
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise UsageError(f"--mask {text!r}: give a fraction between 0 and 1, as random:0.5")
    return value


def write(
    out: str, truth: Array, observed: Array, scored: dict[str, Scored], nearest: Array, shape: tuple[int, ...]
) -> None:
    """Lines of images (seen, truth, mean, three draws of the first method; the nearest training row), or numbers."""
    first = next(iter(scored.values()))
    if not out.endswith(".png"):
        if out.endswith(".npy"):
            np.save(out, first.draws)
        else:
            write_rows(first.mean, out)
        return
    n = min(len(truth), 20)
    seen = np.where(observed, truth, 0.5)
    spread = np.linspace(0, len(first.draws) - 1, 3).astype(int)  # far apart: other chains, other times
    lines = [seen, truth, first.mean, *first.draws[spread], nearest]
    title = "seen; truth; E[x | seen]; three draws; nearest training row"
    plots.save(plots.plot_images(np.concatenate([line[:n] for line in lines]), shape, n, title), out)
    say(f"wrote {out}")
