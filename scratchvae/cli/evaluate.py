"""§7.2.3 `evaluate`: the test bound and its two parts, log p(x) by importance sampling, and the latents in use."""

import argparse
import dataclasses

from .. import plots
from ..errors import UsageError
from ..training.bound_report import by_unit, measure
from ..training.evaluate import log_likelihood_over
from ..training.rivals import columns
from ..training.state import State
from ..types import Array
from . import texts
from .common import (
    ROWS,
    Commands,
    add_data,
    add_run,
    check_out,
    choose_rows,
    command,
    countdown,
    emit,
    open_data,
    open_run,
    say,
    whole,
    write,
)

ABOUT = "Measure a run on its test rows. All figures are nats per datapoint, means over rows, constants kept."
SHOWN, DRAWS = 2000, 16  # rows in the picture; draws of z for the bound of each


def add(commands: Commands) -> None:
    """Register `evaluate`."""
    p = command(commands, "evaluate", ABOUT, "scratchvae evaluate runs/mnist --samples 100 --json")
    p.set_defaults(run=run)
    add_run(p)
    add_data(p)
    p.add_argument("--samples", type=whole(0), default=100, help="K, importance samples a row for log p(x); 0 for none")
    p.add_argument("--rows", help=f"{ROWS} (default: all)")
    p.add_argument("--draws", type=whole(0), default=1000, help="texts that a run on sequences writes for its figures")
    p.add_argument("--out", help=f".png: the bound of rows, at most {SHOWN}, against their log p(x)")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the ledger of one run."""
    check_out(args.out, ".png")
    if args.out and not args.samples:
        raise UsageError(f"--out {args.out} is drawn against log p(x), which --samples 0 leaves out")
    state = open_run(args)
    found = choose_rows(args, state, open_data(args, state))
    if state.config.weights:
        say(f"each test row counts alike: {state.config.weights} weighed rows in training alone")
    held = measure(state, found)
    report = {
        **held.report(),
        **by_unit(state, found),
        **columns(state),
        "log_likelihood": None,
        "standard_error": None,
        "samples": args.samples,
        **{key: value for key, value in dataclasses.asdict(held.meaning).items() if key not in ("quantity", "samples")},
        "latent": state.config.latent,
        "step": state.step,
    }
    if args.samples > 0:
        log_p = importance(state, found.test, args.samples)
        report["log_likelihood"] = float(log_p.mean())
        report["standard_error"] = float(log_p.std(ddof=1) / len(log_p) ** 0.5) if len(log_p) > 1 else None
    if state.config.model == "sequence":
        report |= texts.figures(state, found, args.draws)
    emit(report, args.json)
    if args.out:
        shown = found._replace(test=found.test[:SHOWN])
        drawn = plots.plot_gap(log_p[:SHOWN], measure(state, shown, samples=DRAWS).elbo, args.samples)
        write(args.out, lambda path: plots.save(drawn, path))
    return 0


def importance(state: State, test: Array, samples: int) -> Array:
    """log p(x) of every test row, with the time left on stderr."""
    return log_likelihood_over(state, test, samples, countdown("log p(x)", len(test)))
