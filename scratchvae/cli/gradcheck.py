"""§7.2.4 `scratchvae gradcheck`: the proof of every gradient in this library, or in a file of yours."""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

from ..errors import UsageError
from ..gradcheck import Report, file
from ..gradcheck.report import METHODS, UNKNOWN, VERDICTS
from .common import Commands, command

HELP = "prove the hand-written gradients of a file of yours, or of the library"
DESCRIPTION = """\
Check pairs f, f_vjp against numerical derivatives in float64: element by element by the complex step (within 1e-12 of
the largest element of its block) and by central differences (within 1e-7), and along one direction a block (within
1e-9). Without FILE.py: every pair of the library, and whole bounds for each decoder, up to the 784-500-20 network.

A table for each check goes to stdout: every parameter block with its worst element, the analytic and the numeric
number there, the relative error by each method, and the verdict: ok, wrong, or that nobody can tell.

In FILE.py a pair is found by name: NAME(*args), pure, and NAME_vjp(dy, *args), which returns one cotangent for each
argument (None for a constant), at the point NAME_args, a tuple or a function that returns one. NAME_constants names
arguments that f depends on and that get no cotangent. NAME_grad(x, *more) is a gradient in SciPy's shape, of a scalar
NAME(x, *more). A NAME_vjp without NAME, or a pair without a point, is "cannot tell". Pairs that the file imports count
where it gives them a point. The file runs as a module, so what stands under if __name__ == "__main__": does not run.

  import numpy as np                                # layer.py

  def dense(x, W, b):
      return x @ W + b

  def dense_vjp(dy, x, W, b):
      return dy @ W.T, x.T @ dy, dy.sum(axis=0)

  rng = np.random.default_rng(0)
  dense_args = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)

Exit status: 0 if every check is ok; 1 if one is wrong, or cannot be told (unless --allow-unknown); 2 if FILE.py does
not run or has no pair."""
EXAMPLES = """\
examples:
  scratchvae gradcheck layer.py            every pair of layer.py; also python -m scratchvae.gradcheck layer.py
  scratchvae gradcheck layer.py --pattern dense --json
  scratchvae gradcheck                     every pair of the library
  scratchvae gradcheck --pattern 'vae.*relu*'
  scratchvae gradcheck --estimators        every estimator: on replayed noise, and its mean against exact gradients"""
ENOUGH = 100_000  # some estimators have heavy tails: of 4000 draws, sound ones reached z = 4.1
KEYS = {
    "complex": "worst_complex_step",
    "central": "worst_central",
    "direction": "worst_direction",
    "z-score": "worst_z_score",
}


def add(commands: Commands) -> None:
    """Register the command with argparse."""
    parser = command(commands, "gradcheck", HELP, EXAMPLES, DESCRIPTION)
    parser.add_argument("file", nargs="?", metavar="FILE.py", help="check its pairs in place of the library's")
    parser.add_argument("--pattern", default="*", help="only checks whose name contains this, or fits it as a glob")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout in place of the tables")
    parser.add_argument("--allow-unknown", action="store_true", help='let "cannot tell" pass: exit 1 for wrong alone')
    parser.add_argument(
        "--estimators",
        action="store_true",
        help="the gradient estimators alone: each on replayed noise, then its mean over many draws against the exact "
        "gradient of an oracle, as a z-score (4 allowed); minutes",
    )
    parser.add_argument("--seeds", type=int, help="with --estimators: independent runs (default: 20)")
    parser.add_argument("--draws", type=int, help="with --estimators: draws a run (default: 100000)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the checks; 0 if all hold, 1 if one does not. Raises UsageError for a pattern that fits none, and for a file
    that does not run."""
    start, reports = time.perf_counter(), []
    for report in all_reports(args):
        reports.append(report)
        if not args.json:
            print(reports[-1], end="\n\n", flush=True)
    found = summary(reports, args.allow_unknown)
    if args.json:
        print(json.dumps(found, allow_nan=False))
    print(words(found, time.perf_counter() - start), file=sys.stderr)
    return 1 if found["failed"] else 0


def all_reports(args: argparse.Namespace) -> Iterator[Report]:
    """The checks that were asked for, one by one."""
    if not args.estimators and (args.seeds, args.draws) != (None, None):
        raise UsageError("--seeds and --draws go with --estimators: give it, or leave them out")
    if args.file is not None:
        if args.estimators:
            raise UsageError("--estimators is for the library's own: leave FILE.py out, or --estimators")
        yield from file.reports(args.file, args.pattern)
        return
    from ..gradcheck import in_expectation, library  # they know every room, which a file of yours need not

    if not args.estimators:
        yield from (case.run() for case in library.cases(args.pattern))
        return
    if args.pattern != "*":
        raise UsageError("--estimators runs all of its checks: leave --pattern out, or --estimators")
    seeds = 20 if args.seeds is None else args.seeds
    draws = 100_000 if args.draws is None else args.draws
    if seeds < 1 or seeds * draws < ENOUGH:
        least = f"of fewer than {ENOUGH} draws in all a z-score of 4 proves nothing"
        raise UsageError(f"--seeds {seeds} --draws {draws}: {least}")
    yield from (case.run() for case in library.cases("estimators.*"))
    yield from in_expectation.run(seeds, draws)


def summary(reports: list[Report], allow_unknown: bool = False) -> dict[str, Any]:
    """How many checks ran and failed, which, and the worst error by each method (null: not used, or not finite)."""
    passing = VERDICTS[:1] if not allow_unknown else (VERDICTS[0], UNKNOWN)
    failures = [report.name for report in reports if report.verdict not in passing]
    result: dict[str, Any] = {"checks": len(reports), "failed": len(failures), "failures": failures}
    result["verdicts"] = {verdict: sum(report.verdict == verdict for report in reports) for verdict in VERDICTS}
    for method in (*METHODS, "z-score"):
        errors = [e for report in reports if (e := report.worst(method)) is not None]
        worst = max(errors, default=math.inf)
        result[KEYS[method]] = worst if math.isfinite(worst) else None
    return {**result, "details": [report.to_json() for report in reports]}


def words(found: dict[str, Any], seconds: float) -> str:
    """The outcome in a few lines."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found["verdicts"].items() if count)
    verdict = f"{found['failed']} of {found['checks']} checks FAILED" if found["failed"] else "nothing is wrong"
    if found["verdicts"][VERDICTS[0]] == found["checks"]:
        verdict = "every gradient holds"
    worst = ", ".join(f"{m} {found[k]:.1e}" for m, k in KEYS.items() if found[k] is not None)
    lines = [
        f"{found['checks']} check{'s' * (found['checks'] != 1)} in {seconds:.1f} s: {verdict} ({counts})",
        f"worst relative error: {worst or 'none measured'}",
    ]
    marked = [f"{one['verdict']}: {one['name']}" for one in found["details"] if not one["ok"]]
    return "\n".join(lines + marked)
