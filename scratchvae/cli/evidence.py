"""§7.1.1 `evidence`: log p(x), how good the model really is, by any estimator, with error, doubts and cost."""

import argparse
import dataclasses
import time
from typing import Any

import numpy as np

from ..distributions import Normal
from ..noise import Purpose
from ..tasks import ais, appendix_d, evidence, posterior, proposals, quadrature
from ..tasks.ais import Annealing, schedule
from ..tasks.evidence import Evidence
from ..tasks.hmc import ChainPlan
from ..training.bound_report import meaning_of
from ..training.evaluate import evaluation_rows, over
from ..training.objective import decode, drawn, encode, joint, prior
from ..training.state import State
from ..types import Array
from .common import (
    ROWS,
    SEEDS,
    Commands,
    add_data,
    add_run,
    check_whole,
    choose_rows,
    command,
    emit,
    open_data,
    open_task,
    report_to,
    rows_of,
    say,
    whole,
    write_rows,
)

ABOUT = """Estimate log p(x) of test rows, nats per datapoint, constants kept. AIS comes as a sandwich: forward a lower
bound, backward an upper one, which is exact for --simulate and else rests on HMC draws of the posterior."""
SAMPLES = {"importance": 5000, "ais": 16, "appendix-d": 2000, "quadrature": 0}
SIMULATED = 2**20  # rows of the model's own that may be asked for
BLOCK = 25  # rows worked on together; few, for the sake of progress and threads
FEW = 4  # latents: up to here draws from the prior are not wasted
PILOT, CHAINS = 5000, 16  # of appendix D: draws that its chains' beginnings are chosen from, and chains


def add(commands: Commands) -> None:
    """Register `evidence`."""
    p = command(commands, "evidence", ABOUT, "scratchvae evidence runs/mnist --estimator ais --rows 0:100")
    p.set_defaults(run=run)
    add_run(p)
    add_data(p)
    p.add_argument("--estimator", choices=tuple(SAMPLES), default="importance", help="how")
    p.add_argument("--rows", default="0:100", help=ROWS)
    p.add_argument("--samples", type=whole(1), help="a row: draws (5000), chains of ais (16), posterior draws (2000)")
    p.add_argument("--temperatures", type=whole(1), default=200, help="steps from q to the posterior, for ais")
    p.add_argument("--start", choices=("near", "prior", "q"), default="near", help="where ais starts (near: q, wider)")
    p.add_argument(
        "--proposal", choices=("q", "defensive"), help=f"of importance; defensive is safe, the default to {FEW} latents"
    )
    p.add_argument("--refine", type=whole(0), default=0, help="steps of Adam on each row's q before it is used")
    p.add_argument("--simulate", action="store_true", help="rows drawn from the model itself, instead of test rows")
    p.add_argument("--seed", type=whole(0, SEEDS), default=0, help="names the draws")
    p.add_argument("--out", help=".npy or .csv, or - for CSV: value, standard error, effective samples of each row")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """One estimator, block by block, as many at a time as there are threads."""
    state = open_task(args, ".npy", ".csv")
    check_reach(args.estimator, state.config.latent_size)
    start, done = time.monotonic(), 0
    found: list[Evidence] = []
    upper: list[Evidence] = []
    x, z, index, origin = rows(args, state)
    check_whole(x, args.command, index)

    def block(first: int, count: int) -> tuple[Evidence, Evidence | None]:
        some = slice(first, first + count)
        return one(args, state, x[some], None if z is None else z[some], first, index[some])

    for low, high in over(state, len(x), BLOCK, block):
        found.append(low)
        upper += [high] if high else []
        done += len(low.value)
        if done < len(x):
            say(f"{done} of {len(x)} rows, {(time.monotonic() - start) * (len(x) / done - 1):.0f} s left")
    whole_found = evidence.joined(found)
    bounds = of_sandwich(whole_found, evidence.joined(upper), z is not None) if upper else {}
    report = {**of(whole_found), **bounds, **origin}
    report |= {"step": state.step, "unit": "nats per datapoint", "seconds": round(time.monotonic() - start, 2)}
    with report_to(args.out):
        emit(report, args.json)
    if words := whole_found.doubts(index=index):
        say(words)
    if args.out:
        columns = (whole_found.value, whole_found.standard_error, whole_found.ess)
        write_rows(np.stack(columns, axis=1), args.out)
    return 0


def rows(args: argparse.Namespace, state: State) -> tuple[Array, Array | None, Array, dict[str, Any]]:
    """x (N, D), the z that they came from where they are simulated, their numbers, and words on their origin."""
    if not args.simulate:
        found = open_data(args, state)
        index = rows_of(args.rows, len(found.test), alone=False)
        found = choose_rows(args, state, found)
        n = len(index)
        meaning = dataclasses.asdict(meaning_of(state, found, "log p(x)", args.estimator, 1, n))
        kept = {key: meaning[key] for key in ("measure", "binarisation", "data", "split", "rows")}
        return evaluation_rows(state, found.test, 0, n), None, index, kept
    index = rows_of(args.rows, SIMULATED, alone=False)
    noise = state.noise._replace(seed=args.seed)
    z = prior(state, noise, Purpose.DATA, int(index.max()) + 1)
    p = decode(state, z)
    x = drawn(state, p, noise, Purpose.DATA)
    kind = "density" if isinstance(p, Normal) else "probability of bits"
    origin = {"measure": kind, "data": "drawn from the model", "split": "simulated", "rows": len(index)}
    return x[index], z[index], index, origin


def one(
    args: argparse.Namespace, state: State, x: Array, z: Array | None, first: int, index: Array
) -> tuple[Evidence, Evidence | None]:
    """log p(x) of a block of the rows asked for, from the one at `first` on, number `index` (B,) of the data; and
    AIS's upper bound."""
    model, noise = joint(state), state.noise._replace(seed=args.seed)
    samples, first_row = args.samples or SAMPLES[args.estimator], state.numbers(x, first)
    q = encode(state, x)
    if args.refine:
        q = posterior.refine(model, x, q, noise, args.refine, k=state.k, first_row=first_row)
    if args.estimator == "quadrature":
        return evidence.quadrature(model, x, q, index=index), None
    if args.estimator == "importance":
        if (args.proposal or ("defensive" if q.mu.shape[1] <= FEW else "q")) == "q":
            return evidence.importance(model, x, q, noise, samples, first_row), None
        return proposals.importance(model, x, q, noise, samples, first_row), None
    if args.estimator == "appendix-d":
        begun = proposals.resampled(model, x, q, noise, PILOT, CHAINS, first_row)
        found = appendix_d.appendix_d(model, x, q, noise, samples, CHAINS, first_row=first_row, start=begun)
        return found._replace(cost=found.cost + PILOT * len(x)), None
    few, drawing = q.mu.shape[1] <= FEW, 0
    start = {"near": ais.near(q, 10 if few else 2), "prior": ais.prior(q), "q": q}[args.start]
    if z is None:  # no exact posterior draw of a real row exists: the ends of chains stand in
        plan = ChainPlan(draws=1, warm_up=300, step_size=0.3, first_step=2**31, first_row=first_row)
        chains = posterior.sample(model, x, q, noise, samples, plan)
        z, drawing = chains.draws[-1], chains.cost
    annealing = Annealing(schedule(args.temperatures))
    both = ais.sandwich(model, x, z, start, noise, samples, annealing, first_row)
    return both.lower, both.upper._replace(cost=both.upper.cost + drawing)


def check_reach(estimator: str, latents: int) -> None:
    """Refuse before any work what an estimator cannot do."""
    if estimator == "quadrature":
        quadrature.check_latents(latents)
    if estimator == "appendix-d":
        appendix_d.check_reach(latents, "kernel")


def of(found: Evidence) -> dict[str, Any]:
    """The mean over rows, with the error of the estimates and that of having these rows only."""
    n = len(found.value)
    return {
        "log_likelihood": float(found.value.mean()),
        "standard_error": float(np.sqrt((found.standard_error**2).sum()) / n),
        "error_of_rows": float(found.value.std(ddof=1) / n**0.5) if n > 1 else None,
        "estimator": found.estimator,
        "least_effective_samples": float(found.ess.min()) if np.isfinite(found.ess.min()) else None,
        "cost": found.cost,
    }


def of_sandwich(lower: Evidence, upper: Evidence, exact: bool) -> dict[str, Any]:
    """Both bounds: lower ≤ log p(x) ≤ upper in expectation."""
    gap = upper.value - lower.value
    return {
        "lower": float(lower.value.mean()),
        "upper": float(upper.value.mean()),
        "gap": float(gap.mean()),
        "largest_gap": float(gap.max()),
        "cost": lower.cost + upper.cost,
        "upper_from": "exact posterior draws" if exact else "HMC draws",
    }
