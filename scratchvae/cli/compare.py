"""§7.2 `compare`: runs side by side on the same test rows; unlike figures are refused."""

import argparse
import dataclasses
import json
from typing import Any

from ..data import Dataset
from ..errors import UsageError
from ..training import bound_report as ledger
from ..training.bound_report import Meaning
from ..training.state import State
from .common import ROWS, Commands, add_data, choose_rows, command, open_data, open_run, whole

ABOUT = """Compare runs on the same test rows, each with the first: bounds, their parts, latents in use, and the
difference with its standard error. Runs under different binarisations, data or kinds of likelihood are refused."""

COLUMNS = ("elbo", "elbo_gain", "reconstruction", "kl", "active_units", "log_likelihood", "log_likelihood_gain")


def add(commands: Commands) -> None:
    """Register `compare`."""
    p = command(commands, "compare", ABOUT, "scratchvae compare runs/mnist-20d runs/mnist-2d --rows 0:1000")
    p.set_defaults(run=run)
    p.add_argument("runs", metavar="RUN", nargs="+", help="folders of training runs, or checkpoint files")
    p.add_argument("--kernels", choices=("numpy", "numba"), help="kernel table; by default each run's own")
    add_data(p)
    p.add_argument("--rows", help=f"{ROWS} (default: all)")
    p.add_argument("--samples", type=whole(0), default=0, help="K, importance samples a row for log p(x); 0 for none")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """A line a run; nothing is printed unless all can be compared."""
    if len(args.runs) < 2:
        raise UsageError("compare takes at least two runs: for one there is evaluate")
    opened = [open_one(args, path) for path in args.runs]
    held = [ledger.measure(state, found) for state, found in opened]
    gains = [ledger.difference(held[0].figure, one.figure) for one in held]
    reports = [
        {"run": path, **one.report(), "elbo_gain": gain.value, "elbo_gain_error": gain.error}
        for path, one, gain in zip(args.runs, held, gains, strict=True)
    ]
    if args.samples:
        evidence = [ledger.evidence(state, found, args.samples) for state, found in opened]
        for one, of in zip(reports, evidence, strict=True):
            gain = ledger.difference(evidence[0], of)
            one |= {"log_likelihood": of.value, "log_likelihood_error": of.error}
            one |= {"log_likelihood_gain": gain.value, "log_likelihood_gain_error": gain.error}
    show(reports, held[0].meaning, args)
    return 0


def open_one(args: argparse.Namespace, path: str) -> tuple[State, Dataset]:
    """One run and its rows."""
    state = open_run(argparse.Namespace(**{**vars(args), "checkpoint": path}))
    return state, choose_rows(args, state, open_data(args, state))


def show(reports: list[dict[str, Any]], meaning: Meaning, args: argparse.Namespace) -> None:
    """A table, and below it what its figures mean; or JSON."""
    if args.json:
        print(json.dumps({"meaning": dataclasses.asdict(meaning), "runs": reports}))
        return
    keys = [key for key in COLUMNS if key in reports[0]]
    width = max(len(one["run"]) for one in reports)
    print(" " * width + "".join(f"  {key:>22}" for key in keys))
    for one in reports:
        print(f"{one['run']:<{width}}" + "".join(f"  {cell(one, key):>22}" for key in keys))
    print("; ".join(f"{key}: {value}" for key, value in dataclasses.asdict(meaning).items()))
    print("±: standard error of the mean over rows; a gain is over the first run, row by row, in nats")
    for one in reports:
        print(f"{one['run']}: {one['diagnosis']}")


def cell(one: dict[str, Any], key: str) -> str:
    """A number, with its standard error where it has one."""
    if key == "active_units":
        return "-" if one[key] is None else f"{one[key]} of {len(one['kl_by_latent'])}"
    error = one.get(f"{key}_error")
    return f"{one[key]:.3f}" if error is None else f"{one[key]:.3f} ± {error:.3f}"
