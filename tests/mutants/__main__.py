"""§7.2 `python -m tests.mutants`: plant errors in the mathematics, run the checks, print what survives.

Exit code 0 if every error is found (or known to change no value), 1 if one survives, 2 for a wrong call.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from scratchvae.cli import answered
from scratchvae.errors import UsageError

from . import automatic, matrix, schedule

GROUPS = (*automatic.GROUPS, "schedule")
TESTS = Path(__file__).parent.parent


def arguments() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one object: mutants, killed, equivalent, survivors")
    parser.add_argument("--limit", type=int, metavar="N", help="only N mutants, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0, help="which N (default 0)")
    parser.add_argument("--group", choices=GROUPS, help="only this part (default: all, 25 minutes on two cores)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose name holds TEXT")
    parser.add_argument("--gallery", action="store_true", help="errors of other people's VAEs: which check kills which")
    return parser


def say(text: str, end: str = "\n") -> None:
    """Words go to stderr, so that stdout holds data alone."""
    print(text, file=sys.stderr, end=end, flush=True)


def progress(done: int, total: int, survivors: int) -> None:
    """A line that is written over, on a terminal."""
    if sys.stderr.isatty():
        say(f"\r{done}/{total} mutants, {survivors} survive ", end="")


def automatic_mutants(options: argparse.Namespace) -> int:
    """The whole run, or a part of it; prints survivors."""
    groups = [options.group] if options.group else GROUPS
    made = {group: schedule.make() if group == "schedule" else automatic.make(group) for group in groups}
    every = [(group, m) for group in groups for m in made[group] if options.only in m.name]
    kept = set(automatic.chosen([m.name for _, m in every], options.limit, options.seed))
    if not kept:
        raise UsageError(f"no mutant's name holds {options.only!r}")
    results = []
    for group in groups:
        mutants = [m for g, m in every if g == group and m.name in kept]
        if mutants and group == "schedule":
            results.append(schedule.judged(mutants, progress))
        elif mutants:
            results.append(automatic.against_tests(mutants, tests_of(group), progress))
    result = automatic.merged(results)
    if options.json:
        print(json.dumps(report(result)))
    for name in result.survivors:
        print(f"SURVIVES  {name}", file=sys.stderr if options.json else sys.stdout)
    say(f"{result.total} mutants in {result.seconds:.0f} s: {len(result.killed)} killed "
        f"({result.by_value} by a wrong number), "
        f"{len(result.equivalent)} change no value, {len(result.survivors)} survive")  # fmt: skip
    return 1 if result.survivors else 0


def tests_of(group: str) -> list[str]:
    """The tests of a group."""
    return [str(TESTS / name) for name in automatic.GROUPS[group][1]]


def report(result: automatic.Result) -> dict[str, Any]:
    """Numbers first, then names with their reasons and killers."""
    return {
        "mutants": result.total,
        "killed": len(result.killed),
        "equivalent": len(result.equivalent),
        "survivors": result.survivors,
        "killed_by_value": result.by_value,
        "seconds": round(result.seconds, 1),
        "reasons": result.equivalent,
        "killed_by": result.killed,
    }


def main(argv: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    options = arguments().parse_args(argv)
    return answered("tests.mutants", lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """The gallery, or mutants made by rule."""
    return matrix.main(options.json) if options.gallery else automatic_mutants(options)


if __name__ == "__main__":
    sys.exit(main())
