"""§7.1.1 How good is it really? log p(x) of two trained VAEs by every estimator, beside the truth and between bounds.

    python -m bench.papers.evidence --out runs/evidence

Two latents, the first test images of MNIST: importance sampling, annealed importance sampling (AIS) and the estimator
of Kingma & Welling 2014, App. D, each against quadrature, which is exact; and the moments of p(z|x) by Hamiltonian
Monte Carlo against the same grid, as z scores. Twenty latents, rows drawn from the model itself, so that a posterior
sample of each is known: AIS forward is below log p(x), backward above it, and their gap bounds the error of both
(bidirectional Monte Carlo, Grosse et al. 2015).

The command trains both VAEs (784-500-K, 20 epochs) unless --out holds them; it works in blocks of rows, keeps each, and
goes on where it was stopped. Passed: every mean within 0.1 nat of quadrature, mean gap at most 0.5 nat, |z| at most 4
where the chains have met (R-hat below 1.05), which half of the rows or more must.
"""

import argparse
import datetime
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchvae import data
from scratchvae.cli import answered
from scratchvae.cli import main as scratchvae
from scratchvae.cli.common import say, whole
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.errors import UsageError
from scratchvae.models.joint import Joint
from scratchvae.noise import Purpose
from scratchvae.tasks import ais, posterior, proposals, quadrature
from scratchvae.tasks.appendix_d import appendix_d
from scratchvae.tasks.diagnostics import mean_with_error, r_hat
from scratchvae.tasks.evidence import Evidence
from scratchvae.tasks.hmc import ChainPlan
from scratchvae.training.evaluate import evaluation_rows
from scratchvae.training.objective import decode, encode
from scratchvae.training.run import Run
from scratchvae.training.state import State
from scratchvae.types import Array

BLOCK = 25  # rows worked on, and kept, together
CLOSE, GAP, SCORE, MET = 0.1, 0.5, 4.0, 1.05  # nats, nats, standard errors, R-hat


class Rows(NamedTuple):
    """What an estimator is called with: the model, its rows x (B, D), q(z|x), noise named by the row."""

    model: Joint
    x: Array
    q: Normal
    noise: Any
    first: int


Answer = dict[str, Array]  # named arrays, a line a row


def trained(folder: Path, latent: int, args: argparse.Namespace) -> State:
    """The VAE in that folder, trained (or trained on) by the command line if it is not finished."""
    run, shape = Run(folder), ["--latent", str(latent), "--hidden", args.hidden, "--epochs", args.epochs]
    metrics = run.read_metrics()
    if not metrics or metrics[-1]["epoch"] < float(args.epochs):
        resume = ["--resume"] if run.checkpoint.exists() else []
        plain = ["--no-pictures", "--threads", str(args.threads), "--seed", str(args.seed)]
        if scratchvae(["train", args.data, *shape, *plain, "--out", str(folder), *resume]):
            raise SystemExit(f"training {folder} failed")
    return run.load()[0]


def same(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to join blocks that were computed with other settings; their numbers of rows may differ."""
    counts = ("rows", "moments", "simulated")
    wanted = {key: value for key, value in settings.items() if key not in counts}
    if path.exists() and (held := json.loads(path.read_text())) != wanted:
        raise UsageError(f"{path} has the settings {held}, now {wanted}: name another --out, or remove {path.parent}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(wanted) + "\n")


def given(state: State, x: Array, first: int) -> Rows:
    """Rows as estimators want them, with NumPy's table: the plain statements are what is judged here."""
    return Rows(Joint(state.theta), x, encode(state, x), state.noise, first)


def worked(name: str, n: int, folder: Path, answer: Callable[[int, int], Answer]) -> Answer:
    """answer(first, count) for blocks of n rows, each kept in a file and read from there the next time."""
    parts, start, done = [], time.monotonic(), 0
    for first in range(0, n, BLOCK):
        count, path = min(BLOCK, n - first), folder / f"{name}-{first}-{min(first + BLOCK, n)}.npz"
        if not path.exists():
            cpu = time.process_time()
            found: dict[str, Any] = {**answer(first, count), "cpu_seconds": [time.process_time() - cpu]}
            np.savez(path.with_suffix(".part.npz"), **found)
            path.with_suffix(".part.npz").rename(path)
            done += count
            left = (time.monotonic() - start) * (n - first - count) / done
            say(f"{name}: {first + count} of {n} rows, {left:.0f} s left")
        with np.load(path) as kept:
            parts.append(dict(kept))
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def of(found: Evidence) -> Answer:
    """What is kept of an estimate."""
    cost = np.array([found.cost])
    return {"value": found.value, "error": found.standard_error, "ess": found.ess, "cost": cost}


# --- two latents: the truth is known --------------------------------------------------------------


def estimators(args: argparse.Namespace) -> dict[str, Callable[[Rows], Evidence]]:
    """Each estimator with its settings."""

    def importance(r: Rows) -> Evidence:
        return proposals.importance(r.model, r.x, r.q, r.noise, args.samples, r.first)

    def annealed(r: Rows) -> Evidence:
        plan = ais.Annealing(ais.schedule(args.temperatures))
        return ais.annealed(r.model, r.x, ais.near(r.q, 10), r.noise, args.chains, plan, r.first)

    def of_appendix_d(r: Rows) -> Evidence:
        plan = ChainPlan(warm_up=60, step_size=0.3, scale=np.exp(r.q.log_var / 2))
        start = proposals.resampled(r.model, r.x, r.q, r.noise, args.samples, args.started, r.first)
        how: dict[str, Any] = {"plan": plan, "first_row": r.first, "start": start}
        found = appendix_d(r.model, r.x, r.q, r.noise, args.draws, args.started, **how)
        return found._replace(cost=found.cost + args.samples * len(r.x))  # with the draws its starts are chosen from

    return {"importance": importance, "ais": annealed, "appendix-d": of_appendix_d}


def truth_of(r: Rows) -> quadrature.Grid:
    """The posterior on a grid, in float64. Fewer nodes than the default grid has: cells of 0.2
    first, then of a quarter of a standard deviation or so, doubled until the doubling changes nothing."""
    return quadrature.posterior(r.model.log_joint, r.x, 2, box=9.0, resolution=91)


def against_quadrature(state: State, test: Array, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every estimator's difference from the truth, nats."""

    def by(estimate: Callable[[Rows], Evidence]) -> Callable[[int, int], Answer]:
        return lambda first, count: of(estimate(given(state, evaluation_rows(state, test, first, count), first)))

    def exact(first: int, count: int) -> Answer:
        grid = truth_of(given(state, evaluation_rows(state, test, first, count), first))
        return {"value": grid.log_marginal, "error": grid.error}

    n = min(args.rows, len(test))
    truth = worked("quadrature", n, folder, exact)
    found: dict[str, Any] = {"rows": n, "quadrature": float(truth["value"].mean())}
    found["quadrature_error"] = float(truth["error"].max())
    found["cpu_seconds"] = {"quadrature": round(float(truth["cpu_seconds"].sum()), 1)}
    for name, estimate in estimators(args).items():
        one = worked(name, n, folder, by(estimate))
        found[name] = compared(one, truth)
        found["cpu_seconds"][name] = round(float(one["cpu_seconds"].sum()), 1)
    return found


def compared(one: Answer, truth: Answer) -> dict[str, Any]:
    """The mean of estimate − truth with its standard error over rows, and its extremes."""
    d, n = one["value"] - truth["value"], len(truth["value"])
    return {
        "log_likelihood": float(one["value"].mean()),
        "mean_difference": float(d.mean()),
        "standard_error": float(d.std(ddof=1) / n**0.5),
        "own_standard_error": float((one["error"] ** 2).sum() ** 0.5 / n),
        "largest_difference": float(abs(d).max()),
        "rows_beyond_a_tenth": int((abs(d) > CLOSE).sum()),
        "least_effective_samples": float(one["ess"].min()),
        "evaluations": int(one["cost"].sum()),
        "passed": bool(abs(d.mean()) <= CLOSE),
    }


# E[z] and E[(z − m)(z − m)ᵀ] with m the grid's mean, so that the second is the grid's covariance without bias; errors
# by the effective sample size of each. Where chains have not met, that error is as large as their disagreement and no
# z score can fail: such rows are counted, not judged.
def moments(state: State, test: Array, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """z scores of the posterior's mean (2) and covariance (3) by HMC against quadrature, for each of the first rows."""

    def scores(first: int, count: int) -> Answer:
        r = given(state, evaluation_rows(state, test, first, count), first)
        grid = truth_of(r)
        plan = ChainPlan(draws=args.draws, warm_up=200, step_size=0.3, first_row=first)
        draws = posterior.sample(r.model, r.x, r.q, r.noise, 8, plan).draws.astype(np.float64)
        a, b = (draws - grid.mean).transpose(3, 0, 1, 2)
        asked = np.stack([a, b, a * a, a * b, b * b], axis=-1)
        zero = np.zeros(count)
        exact = np.stack([zero, zero, grid.cov[:, 0, 0], grid.cov[:, 0, 1], grid.cov[:, 1, 1]], axis=-1)
        mean, error = mean_with_error(asked)
        return {"z": (mean - exact) / error, "r_hat": r_hat(draws, ranked=True)}

    return of_moments(worked("moments", min(args.moments, len(test)), folder, scores))


def of_moments(found: Answer) -> dict[str, Any]:
    """The scores z (n, 5) of the rows whose chains have met, r_hat (n, 2)."""
    n = len(found["z"])
    met = found["r_hat"].max(axis=1) < MET
    z = found["z"][met]
    largest = abs(z).max(axis=0, initial=0)
    return {
        "rows": n,
        "rows_whose_chains_met": int(met.sum()),
        "scores": z.size,
        "largest": float(abs(z).max(initial=0)),
        "mean_square": float((z * z).mean()) if met.any() else None,
        "largest_by_moment": dict(zip(("E0", "E1", "C00", "C01", "C11"), largest.round(2).tolist(), strict=True)),
        "worst_r_hat": float(found["r_hat"].max()),
        "worst_r_hat_judged": float(found["r_hat"][met].max(initial=1)),
        "cpu_seconds": round(float(found["cpu_seconds"].sum()), 1),
        "passed": bool(2 * met.sum() >= n and largest.max() <= SCORE),
    }


# --- twenty latents: the truth is between two bounds ------------------------------------------------


def drawn(state: State, first: int, count: int) -> tuple[Array, Array]:
    """x (B, D) and the z (B, K) that it came from: z is then an exact sample of p(z|x)."""
    dtype, K, D = state.config.dtype, state.config.latent_size, state.architecture.columns
    z = state.noise.normals(Purpose.DATA, 0, count, K, dtype, first)
    p = decode(state, z)
    assert isinstance(p, Bernoulli)
    return p.sample(state.noise.uniforms(Purpose.DATA, 1, count, D, dtype, first), state.k), z


def sandwich(state: State, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """AIS forward and backward on rows drawn from the model."""

    def both(first: int, count: int) -> Answer:
        x, z = drawn(state, first, count)
        r, plan = given(state, x, first), ais.Annealing(ais.schedule(args.long))
        found = ais.sandwich(r.model, x, z, ais.near(r.q), r.noise, args.long_chains, plan, first)
        return {"lower": found.lower.value, "upper": found.upper.value}

    n = args.simulated
    found = worked("sandwich", n, folder, both)
    gap = found["upper"] - found["lower"]
    return {
        "rows": n,
        "chains": args.long_chains,
        "temperatures": args.long,
        "lower": float(found["lower"].mean()),
        "upper": float(found["upper"].mean()),
        "gap": float(gap.mean()),
        "standard_error": float(gap.std(ddof=1) / n**0.5),
        "largest_gap": float(gap.max()),
        "least_gap": float(gap.min()),
        "cpu_seconds": round(float(found["cpu_seconds"].sum()), 1),
        "passed": closed(gap),
    }


def closed(gap: Array) -> bool:
    """Whether the mean gap is small, and not below 0 beyond its error: E[gap] ≥ 0, so bounds that cross are wrong."""
    return bool(-SCORE * gap.std(ddof=1) / len(gap) ** 0.5 <= gap.mean() <= GAP)


# --- the command ----------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser("bench.papers.evidence", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("--out", required=True, help="folder of both runs and of the blocks done; what is there is reused")
    p.add_argument("--data", default="mnist", help="as for scratchvae train")
    p.add_argument("--epochs", default="20", help="of training")
    p.add_argument("--hidden", default="500")
    p.add_argument("--rows", type=whole(2), default=100, help="test images, two latents")
    p.add_argument("--moments", type=whole(1), default=10, help="of them, how many have their moments compared")
    p.add_argument("--simulated", type=whole(2), default=75, help="rows of the sandwich, twenty latents")
    p.add_argument("--samples", type=whole(4), default=20_000, help="importance samples a row, from a mixture")
    p.add_argument("--chains", type=whole(1), default=24, help="of AIS a row, two latents")
    p.add_argument("--temperatures", type=whole(1), default=100, help="of AIS, two latents")
    p.add_argument("--started", type=whole(1), default=16, help="chains of appendix D, a row")
    p.add_argument("--long-chains", type=whole(1), default=12, help="of the sandwich, a row")
    p.add_argument("--long", type=whole(1), default=200, help="temperatures of the sandwich")
    p.add_argument("--draws", type=whole(8), default=640, help="of appendix D a row; of HMC for moments a chain")
    p.add_argument("--seed", type=whole(0), default=0, help="of training and of every estimate")
    p.add_argument("--threads", type=whole(1), default=1, help="of training")
    p.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"), help="the result")
    return p


def command(args: argparse.Namespace) -> str:
    """The call that repeats this, with every option that is not the default."""
    plain = vars(parser().parse_args(["--out", "runs/evidence"]))
    aside = {"out", "json", "threads"}
    other = [f"--{k.replace('_', '-')} {v}" for k, v in vars(args).items() if k not in aside and v != plain[k]]
    return " ".join(["python -m bench.papers.evidence --out runs/evidence", *other])


def main(argv: list[str] | None = None) -> int:
    """Train, measure, write the result; 1 if something did not pass."""
    args = parser().parse_args(argv)
    out, aside = Path(args.out), ("out", "json", "threads")
    settings = {key: value for key, value in vars(args).items() if key not in aside}
    same(out / "blocks" / "settings.json", settings)
    small, large = trained(out / "latent-2", 2, args), trained(out / "latent-20", 20, args)
    test, blocks = data.load(args.data).test, out / "blocks"
    found = {
        "two_latents": against_quadrature(small, test, args, blocks),
        "posterior_moments": moments(small, test, args, blocks),
        "twenty_latents": sandwich(large, args, blocks),
        "unit": "nats per datapoint, constants kept; differences are estimate - quadrature",
        "settings": settings,
        "seed": args.seed,
        "machine": f"{platform.machine()} {platform.system()}, {args.threads} thread(s)",
        "date": datetime.date.today().isoformat(),
        "command": command(args),
    }
    args.json.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    two = found["two_latents"]
    verdicts = [two[name]["passed"] for name in estimators(args)]
    verdicts += [found[part]["passed"] for part in ("posterior_moments", "twenty_latents")]
    return int(not all(verdicts))


if __name__ == "__main__":
    sys.exit(answered("bench.papers.evidence", main))
