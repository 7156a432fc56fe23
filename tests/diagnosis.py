"""§7.2.4 Is `perhaps:` right? The library's own pairs with one slip planted, and what is said of each."""

import argparse
import json
import sys
import time
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from mutants import automatic
from mutants.automatic import Mutant, alarm

from scratchvae.gradcheck.contract import argument_names, promote
from scratchvae.gradcheck.diagnosis import explained
from scratchvae.gradcheck.library import Case, cases
from scratchvae.gradcheck.report import WRONG, Report
from scratchvae.mutants.plant import Target, targets

NEAREST = 5


class Touched(NamedTuple):
    case: Case
    codes: set[types.CodeType]


def observed(case: Case, codes: set[types.CodeType]) -> Touched:
    touched: set[types.CodeType] = set()

    def profile(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code in codes:
            touched.add(frame.f_code)

    sys.setprofile(profile)
    try:
        case.run()
    finally:
        sys.setprofile(None)
    return Touched(case, touched)


def said(case: Case) -> tuple[str, dict[str, tuple[str, ...]]]:
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--only", default="")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--groups", default="core,linear_gaussian,ladder,estimators,models,optim")
    o = parser.parse_args()
    found = [t for g in o.groups.split(",") for name in automatic.GROUPS[g][0] for t in targets(f"scratchvae.{name}")]
    codes = {t.function.__code__ for t in found}
    every = [observed(c, codes) for c in cases() if "784" not in c.name]
    seen = set().union(*(t.codes for t in every))
    mutants = [m for m in automatic.slips([t for t in found if t.function.__code__ in seen]) if o.only in m.name]
    kept = set(automatic.chosen([m.name for m in mutants], o.limit))
    mutants = [m for m in mutants if m.name in kept]
    print(len(every), "cases", len(mutants), "mutants", file=sys.stderr)
    out = []
    start = time.time()
    for i, m in enumerate(mutants):
        code = m.parts[0][0].function.__code__
        stem = m.parts[0][0].name.rpartition(".")[2].removesuffix("_np").replace("_vjp", "").split("_params")[0]
        near = [t for t in every if code in t.codes]
        near.sort(key=lambda t: (t.case.name.split("[")[0].rpartition(".")[2] != stem, len(t.codes)))
        near = [t.case for t in near[:NEAREST]]
        verdict, lines, name = "ok", {}, ""
        with m.planted():
            for case in near:
                try:
                    with alarm(20):
                        verdict, lines = said(case)
                except TimeoutError:
                    verdict, lines = "contract", {"": ("hangs",)}
                name = case.name
                if verdict != "ok":
                    break
        out.append({"mutant": m.name, "case": name, "verdict": verdict, "said": lines})
        if i % 50 == 0:
            print(i, len(mutants), f"{time.time() - start:.0f} s", file=sys.stderr, flush=True)
    json.dump(out, open(o.out, "w"), indent=1, ensure_ascii=False)


if __name__ == "__main__":
    main()
