"""§7.2.4 Is what `perhaps:` says the slip that was made? `python -m tests.mutants.diagnosis` writes diagnosis.json.

Every slip of `scratchvae.mutants.operators` in a function of the library, backward or forward, meets the nearest case
of `scratchvae.gradcheck.library` that finds it wrong by its numbers: first those named after the function, then by how
few functions of ours they run. Slips that no such case sees, and those that break the contract (a shape, an exception,
a lost +=, hidden state: `check` names these itself) are counted apart. Estimators are left out: they are no pairs.

A mutant counts as "right" if all that is said of its blocks is of a kind that describes what the operator did, by
`RIGHT`, as "wrong kind" if one line is not, as "silent" if there is no line. One operator may be said in several ways,
each of them right: a sign between two terms is a missing term, within exp a factor too many, of the whole "minus the
derivative"; a lost factor is a number, an array, dy itself, a mask ("right but where"), or all that a block
reached f by ("zero"). A number is not right for a sign, dy not for a term. What is said are equations that hold at two
points, so "wrong kind" means: true, and beside the point.
"""

import argparse
import contextlib
import json
import sys
import types
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from scratchvae.gradcheck.contract import argument_names, cotangent, promote
from scratchvae.gradcheck.diagnosis import explained
from scratchvae.gradcheck.library import Case, cases
from scratchvae.gradcheck.report import WRONG
from scratchvae.mutants.plant import targets

from . import automatic

RESULTS = Path(__file__).with_suffix(".json")
GROUPS = ("core", "linear_gaussian", "ladder", "models", "optim")
NEAREST = 4  # cases that are tried
SECONDS = 20.0
Said = dict[str, tuple[str, ...]]  # block -> lines


class Touched(NamedTuple):
    """A case, and the functions of ours that it runs."""

    case: Case
    codes: set[types.CodeType]


def observed(case: Case, codes: set[types.CodeType]) -> Touched:
    """Runs a case on the healthy library."""
    touched: set[types.CodeType] = set()

    def profile(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code in codes:
            touched.add(frame.f_code)

    args = promote(dict(zip(argument_names(case.f, len(case.args)), case.args, strict=True)), [])
    dy = cotangent(case.f, args, 0)
    sys.setprofile(profile)
    try:
        case.f(*args.values())
        case.f_vjp(dy, *args.values())
    finally:
        sys.setprofile(None)
    return Touched(case, touched)


def said(case: Case) -> tuple[str, Said]:
    """("ok", …), ("contract", its line), ("wrong", block -> lines)."""
    report = case.run()
    rows = [row for row in report.rows if row.verdict == WRONG]
    if report.problems:
        return "contract", {"": report.problems[:1]}
    if not rows:
        return "ok", {}
    args = promote(dict(zip(argument_names(case.f, len(case.args)), case.args, strict=True)), [])
    found = explained(case.f, case.f_vjp, args, report, 0, {}, 4096)
    return "wrong", {row.block: row.perhaps for row in found.rows if row.verdict == WRONG}


def judged(mutant: automatic.Mutant, near: list[Case]) -> dict[str, Any]:
    """What the nearest case that sees it says."""
    lines: Said = {}
    verdict, name = "ok", ""
    with mutant.planted():
        for case in near:
            name = case.name
            try:
                with automatic.alarm(SECONDS):
                    verdict, lines = said(case)
            except TimeoutError:
                verdict, lines = "contract", {"": ("hangs",)}
            if verdict != "ok":
                break
    return {"mutant": mutant.name, "case": name, "verdict": verdict, "said": lines}


def stem(name: str) -> str:
    """normal_kl of normal_kl_vjp_np."""
    return name.rpartition(".")[2].removesuffix("_np").split("_vjp")[0]


def nearest(mutant: automatic.Mutant, every: list[Touched]) -> list[Case]:
    """Cases that run the function, those first that are named after it, then by how much else they run."""
    function = mutant.parts[0][0].function.__code__

    def distance(t: Touched) -> tuple[bool, int]:
        own = t.case.name.split("[")[0].rpartition(".")[2]
        return own != stem(mutant.parts[0][0].name), len(t.codes)

    return [t.case for t in sorted((t for t in every if function in t.codes), key=distance)[:NEAREST]]


KINDS = {  # what a line holds -> its kind; the first that is there
    "minus the derivative": "sign", "zero: ": "zero", "not zero, ": "zero", "does not depend on dy": "dy",
    "not linear in dy": "dy", "swapped with": "swap", "it is ": "swap", "(a mean for a sum?)": "length",
    "(a sum for a mean?)": "length", "the right numbers": "order", "transposed": "order", "summed over": "axis",
    "averaged over": "axis", "right but ": "part", "; elsewhere: ": "part", "a factor ": "array",
    "lacks the factor ": "array", " in place of ": "array", "missing term": "term", " times the derivative": "factor",
    "not finite": "not-finite",
}  # fmt: skip
RIGHT = {  # operator -> kinds that say what it did
    "sign flipped": "sign term array part",
    "term dropped": "term zero array part",
    "factor inverted": "array factor term dy not-finite",
    "factor dropped": "array factor term dy part zero length sign",
    "factor changed": "factor array term",
    "factor or axis changed": "factor array term length axis part swap order zero",
    "operand swapped": "array term swap dy zero part",
    "operands swapped": "swap sign array term dy order part",
    "function dropped": "array term zero part axis length order factor dy",
    "function changed": "array term length zero factor",
    "option dropped": "axis length order part",
    "axis changed": "axis length order part",
    "transpose forgotten": "order",
    "condition turned": "part zero array term",
    "condition dropped": "part zero array term",
    "branch always taken": "part zero array term length",
    "statement dropped": "zero term part",
    "+= turned to =": "zero term",
}


def kind_of(line: str) -> str:
    """The rung that speaks."""
    return next(kind for text, kind in KINDS.items() if text in line)


def kinds_of(found: dict[str, Any]) -> set[str]:
    """Of all lines about one mutant."""
    return {kind_of(line) for lines in found["said"].values() for line in lines}


def grade(found: dict[str, Any]) -> str:
    """ "right", "wrong kind" (one line is enough), "silent"."""
    kinds, right = kinds_of(found), RIGHT[found["mutant"].split(" | ")[1]].split()
    return "silent" if not kinds else "right" if kinds <= set(right) else "wrong kind"


def table(found: list[dict[str, Any]]) -> str:
    """The three rates by operator."""
    wrong = [x for x in found if x["verdict"] == "wrong"]
    lines = ["| slip | mutants | right kind | wrong kind | silent |", "|---|---|---|---|---|"]
    operators = Counter(x["mutant"].split(" | ")[1] for x in wrong)
    for operator, count in [*operators.most_common(), ("all", len(wrong))]:
        grades = Counter(grade(x) for x in wrong if operator in ("all", x["mutant"].split(" | ")[1]))
        cells = [f"{grades[g]} ({100 * grades[g] / count:.0f} %)" for g in ("right", "wrong kind", "silent")]
        lines.append(f"| {operator} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def room_of(found: dict[str, Any]) -> str:
    """The module, or class, of the function that was changed."""
    room: str = found["mutant"].split(" | ")[0].rpartition(".")[0]
    return room


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, and the names of what went wrong."""
    wrong = [x for x in found if x["verdict"] == "wrong"]
    rooms = Counter(map(room_of, wrong))
    return {
        "mutants": len(found),
        "verdicts": Counter(x["verdict"] for x in found),
        "grades": Counter(map(grade, wrong)),
        "named, by module": {
            room: f"{sum(grade(x) == 'right' for x in wrong if room_of(x) == room)} of {count}"
            for room, count in rooms.most_common()
        },
        "right, but no more than a place": sum(kinds_of(x) == {"part"} for x in wrong if grade(x) == "right"),
        "wrong kind": {x["mutant"]: x["said"] for x in wrong if grade(x) == "wrong kind"},
        "table": table(found).splitlines(),
    }


def run(only: str, limit: int | None) -> Iterator[dict[str, Any]]:
    """Every mutant that a case runs, in the order of their hashes: any beginning is a fair sample."""
    found = [t for g in GROUPS for name in automatic.GROUPS[g][0] for t in targets(f"scratchvae.{name}")]
    codes = {t.function.__code__ for t in found}
    every = [observed(case, codes) for case in cases() if "784" not in case.name]
    seen = set().union(*(t.codes for t in every))
    made = automatic.slips([t for t in found if t.function.__code__ in seen])
    mutants = {m.name: m for m in made if only in m.name}
    for name in automatic.chosen(list(mutants), limit or len(mutants)):
        yield judged(mutants[name], nearest(mutants[name], every))


def main() -> None:
    """Run, print the table, and write what was found unless only some kind was asked for."""
    parser = argparse.ArgumentParser("python -m tests.mutants.diagnosis", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose name holds TEXT")
    parser.add_argument("--limit", type=int, metavar="N", help="only N mutants (all 3257: half an hour)")
    parser.add_argument("--each", type=Path, metavar="FILE", help="one JSON line a mutant, as they come")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # a mutant overflows
    found = []
    with options.each.open("w") if options.each else contextlib.nullcontext() as lines:
        for one in run(options.only, options.limit):
            found.append(one)
            if lines:
                print(json.dumps(one, ensure_ascii=False), file=lines, flush=True)
    print(table(found))
    if not options.only:
        RESULTS.write_text(json.dumps(summary(found), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
