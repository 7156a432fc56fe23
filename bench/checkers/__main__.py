"""§7.2.4 How many right pairs each gradient checker condemns, and how many wrong ones it passes."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import peers, right, wrong

RESULTS = Path(__file__).with_name("results.json")
OTHERS = ("cannot tell", "cannot run")
FEWER_SEEDS = {"torch": 8, "jax": 4}  # slow: five minutes for either list are enough
Found = dict[str, Any]
Counts = dict[str, dict[str, int]]

EPILOG = """\
A checker that stands in the results is not asked again, unless by --again or when --only is given; with --only nothing
is written. PyTorch, JAX, SciPy and autograd are asked where they are installed.

how to read it    condemned: of the right pairs, how many it calls wrong; passed: of the wrong ones, how many it calls
                  right. "cannot run" are pairs that it cannot be asked about, such as integers with a cotangent.
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("python -m bench.checkers", description=__doc__, epilog=EPILOG,
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    p.add_argument("--seeds", type=int, default=20, help="random points of each right pair (default: 20)")
    p.add_argument("--only", default="", metavar="NAME", help="families whose name contains this; print, write nothing")
    p.add_argument("--peers", default=",".join(peers.CHECKERS), help="checkers, joined by commas (default: all)")
    p.add_argument("--again", action="store_true", help="ask also those that stand in the results")
    p.add_argument("--out", default=str(RESULTS), metavar="FILE", help="the results (default: beside this program)")
    return p


def main(argv: list[str] | None = None) -> int:
    """0 when done, 2 on wrong usage."""
    options = parser().parse_args(argv)
    names, out = options.peers.split(","), Path(options.out)
    if unknown := set(names) - set(peers.CHECKERS):
        print(
            f"--peers got {', '.join(sorted(unknown))}; expected some of {', '.join(peers.CHECKERS)}", file=sys.stderr
        )
        return 2
    found: dict[str, Found] = json.loads(out.read_text()) if out.exists() and not options.only else {}
    for name in names:
        if name in found and not options.again:
            continue
        try:
            version = peers.version(name)
        except ImportError:
            print(f"{name} is not installed: left out", file=sys.stderr)
            continue
        found[name] = {"version": version, **measured(name, options.seeds, options.only)}
        found = {one: found[one] for one in peers.CHECKERS if one in found}
        if not options.only:
            out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(table(found))
    return 0


def measured(name: str, seeds: int, only: str) -> Found:
    """What one checker says of both lists: totals, and by family or kind what is not as it should be."""
    start, seeds = time.perf_counter(), min(seeds, FEWER_SEEDS.get(name, seeds))
    sane: Counts = {}
    why: Counter[str] = Counter()
    for family, case in right.cases(seeds, only):
        verdict, said = peers.asked(name, case)
        count(sane, family, verdict)
        why[said] += verdict == "cannot run"
    by_family, by_kind = dict[str, dict[str, int]](), dict[str, dict[str, int]]()
    for family, kind, case in wrong.cases(only):
        verdict, said = peers.asked(name, case)
        if verdict == "cannot run" and said.startswith("raised") and "cannot run" not in sane.get(family, {}):
            verdict = "wrong"  # the right pair of the family did run, so what it raised is its way to refuse this one
        count(by_family, family, verdict)
        count(by_kind, kind, verdict)
        why[said] += verdict == "cannot run"
    return {
        "seeds": seeds,
        "seconds": round(time.perf_counter() - start),
        "right": total(sane),
        "wrong": total(by_kind),
        "right families": but(sane, "ok"),
        "wrong families": but(by_family, "wrong"),
        "wrong kinds": but(by_kind, "wrong"),
        "cannot run": dict(+why),
    }


def count(counts: Counts, key: str, verdict: str) -> None:
    """One more."""
    here = counts.setdefault(key, {})
    here[verdict] = here.get(verdict, 0) + 1


def total(counts: Counts) -> dict[str, int]:
    """Of all keys."""
    return dict(sum((Counter(one) for one in counts.values()), Counter()))


def but(counts: Counts, expected: str) -> Counts:
    """Where there is more than the expected verdict, that left out."""
    rest = {key: {v: n for v, n in one.items() if v != expected} for key, one in counts.items()}
    return {key: one for key, one in rest.items() if one}


def table(found: dict[str, Found]) -> str:
    """Three tables in markdown: totals, the families condemned, the kinds of slips passed."""
    return "\n\n".join("\n".join(map(line, rows)) for rows in (totals(found), *details(found)) if len(rows) > 2)


def totals(found: dict[str, Found]) -> list[list[str]]:
    """One line a checker."""
    head = ["checker", "right pairs", "condemned", *OTHERS, "wrong pairs", "passed", *OTHERS, "seconds"]
    rows = [head, ["---"] * len(head)]
    for name, one in found.items():
        sides = ((one["right"], "wrong"), (one["wrong"], "ok"))
        figures = [n for side, bad in sides for n in (sum(side.values()), *(side.get(v, 0) for v in (bad, *OTHERS)))]
        rows.append([f"{name} {one['version']}", *map(str, figures), str(one["seconds"])])
    return rows


def details(found: dict[str, Found]) -> Iterator[list[list[str]]]:
    """How often a checker failed, one line a family or kind, one column a checker."""
    for title, key, bad in (("condemned", "right families", "wrong"), ("passed", "wrong kinds", "ok")):
        lines = dict.fromkeys(item for one in found.values() for item, said in one[key].items() if bad in said)
        rows = [[title, *found], ["---"] * (1 + len(found))]
        for item in lines:
            counts = [(one[key].get(item, {}).get(bad, 0), one["seeds"]) for one in found.values()]
            rows.append([item, *(f"{n}/{seeds}" if bad == "wrong" else str(n) for n, seeds in counts)])
        yield rows


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
