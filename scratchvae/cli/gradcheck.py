"""§7.2.4 `scratchvae gradcheck`: the proof of every gradient in this library, on your machine."""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

from ..errors import UsageError
from ..gradcheck import Report
from ..gradcheck import in_expectation as verify
from ..gradcheck.library import cases
from ..gradcheck.report import METHODS

HELP = "prove every hand-written gradient of the library"
DESCRIPTION = """\
Check every pair f, f_vjp of the library, and whole bounds for each decoder, against numerical derivatives in float64:
element by element by the complex step (within 1e-12 of the largest element of its block) and by central differences
(within 1e-7), and along one direction a block (within 1e-9), which also reaches the full 784-500-20 network.

A table for each check goes to stdout: every parameter block with its worst element, the analytic and the numeric
number there, the relative error by each method, and the verdict. Exit status 1 if any check fails.
To check a gradient of your own, see scratchvae.gradcheck.check(f, f_vjp, args)."""
EPILOG = """\
examples:
  scratchvae gradcheck                     everything
  scratchvae gradcheck --pattern Normal    checks whose name contains "Normal"
  scratchvae gradcheck --pattern 'vae.*relu*' --json
  scratchvae gradcheck --estimators        every estimator: on replayed noise, and its mean against exact gradients"""
ENOUGH = 100_000  # some estimators have heavy tails: of 4000 draws, sound ones reached z = 4.1
KEYS = {
    "complex": "worst_complex_step",
    "central": "worst_central",
    "direction": "worst_direction",
    "z-score": "worst_z_score",
}


def add(subparsers: Any) -> None:
    """Register the command with argparse."""
    parser = subparsers.add_parser(
        "gradcheck",
        help=HELP,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pattern", default="*", help="only checks whose name contains this, or fits it as a glob")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout in place of the tables")
    parser.add_argument(
        "--estimators",
        action="store_true",
        help="the gradient estimators alone: each on replayed noise, then its mean over many draws against the exact "
        "gradient of an oracle, as a z-score (4 allowed); minutes",
    )
    parser.add_argument("--seeds", type=int, default=20, help="with --estimators: independent runs (default: 20)")
    parser.add_argument("--draws", type=int, default=100_000, help="with --estimators: draws a run (default: 100000)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the checks; 0 if all hold, 1 if one does not. Raises UsageError for a pattern that fits none."""
    start, reports = time.perf_counter(), []
    for report in all_reports(args):
        reports.append(report)
        if not args.json:
            print(reports[-1], end="\n\n", flush=True)
    found = summary(reports)
    if args.json:
        print(json.dumps(found, allow_nan=False))
    print(words(found, time.perf_counter() - start), file=sys.stderr)
    return 1 if found["failed"] else 0


def all_reports(args: argparse.Namespace) -> Iterator[Report]:
    """The checks that were asked for, one by one."""
    if not args.estimators:
        yield from (case.run() for case in cases(args.pattern))
        return
    if args.pattern != "*":
        raise UsageError("--estimators runs all of its checks: leave --pattern out, or --estimators")
    if args.seeds < 1 or args.seeds * args.draws < ENOUGH:
        least = f"of fewer than {ENOUGH} draws in all a z-score of 4 proves nothing"
        raise UsageError(f"--seeds {args.seeds} --draws {args.draws}: {least}")
    yield from (case.run() for case in cases("estimators.*"))
    yield from verify.run(args.seeds, args.draws)


def summary(reports: list[Report]) -> dict[str, Any]:
    """How many checks ran and failed, which, and the worst error by each method (null: not used, or not finite)."""
    failures = [report.name for report in reports if not report.ok]
    result: dict[str, Any] = {"checks": len(reports), "failed": len(failures), "failures": failures}
    for method in (*METHODS, "z-score"):
        errors = [e for report in reports if (e := report.worst(method)) is not None]
        worst = max(errors, default=math.inf)
        result[KEYS[method]] = worst if math.isfinite(worst) else None
    return {**result, "details": [report.to_json() for report in reports]}


def words(found: dict[str, Any], seconds: float) -> str:
    """The outcome in a few lines."""
    verdict = f"{found['failed']} of {found['checks']} checks FAILED" if found["failed"] else "every gradient holds"
    worst = ", ".join(f"{m} {found[k]:.1e}" for m, k in KEYS.items() if found[k] is not None)
    lines = [
        f"{found['checks']} checks in {seconds:.1f} s: {verdict}",
        f"worst relative error: {worst or 'none measured'}",
    ]
    return "\n".join(lines + [f"failed: {name}" for name in found["failures"]])
