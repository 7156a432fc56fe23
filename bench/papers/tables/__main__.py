"""§7.3 Tables: held-out log p(x), outliers and gaps, beside what a person would take otherwise.

    python -m bench.papers.tables                     all that is missing, in all some eight minutes of one core
    python -m bench.papers.tables nats                a part: nats, outliers or gaps ...
    python -m bench.papers.tables gaps wine diabetes  ... of some tables
    python -m bench.papers.tables --table             what there is
    python -m bench.papers.tables --again VAEImputer  measure these methods anew

Each split is kept as soon as it is measured; who stops it and calls it again loses one split at most. All methods see
the same rows of a split. Tables: scikit-learn's wine, breast_cancer, diabetes and digits; statsmodels' randhie, fair
and modechoice (2000 rows of the first two).
"""

import argparse
import json
import sys
import time
from collections.abc import Collection
from pathlib import Path

from bench.papers.tables.gaps import GAPS
from bench.papers.tables.nats import NATS
from bench.papers.tables.outliers import OUTLIERS
from bench.papers.tables.rows import Figures, Held, Part
from scratchvae.cli import answered
from scratchvae.cli.common import whole
from scratchvae.errors import UsageError, did_you_mean

HERE = Path(__file__).parent
PARTS: dict[str, Part] = {"nats": NATS, "outliers": OUTLIERS, "gaps": GAPS}


class Results:
    """What was measured of a part: a line of its file for each table and method, figures by split."""

    def __init__(self, part: Part, path: Path) -> None:
        self.part, self.path = part, path
        self.found: dict[str, Figures] = json.loads(path.read_text("utf-8")) if path.exists() else {}

    def of(self, table: str, method: str) -> Figures:
        """The figures of a method on a table."""
        return self.found.setdefault(f"{table}/{method}", {})

    def forget(self, methods: Collection[str]) -> None:
        """What these methods gave."""
        self.found = {key: figures for key, figures in self.found.items() if key.split("/")[1] not in methods}

    def keep(self) -> None:
        """To the file."""
        lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(figures)}" for key, figures in self.found.items())
        self.path.write_text(f"{{\n{lines}\n}}\n", "utf-8")

    def held(self) -> Held:
        """By table and method, in the part's order."""
        rows = {t: {m: self.found.get(f"{t}/{m}", {}) for m in self.part.methods(t)} for t in self.part.tables}
        return {t: kept for t, by_method in rows.items() if (kept := {m: f for m, f in by_method.items() if f})}


def measured(results: Results, tables: list[str], splits: int | None) -> None:
    """Whatever the part misses of these tables."""
    part = results.part
    for table in tables or part.tables:
        for method in part.methods(table):
            figures = results.of(table, method)
            for seed in range(len(figures.get("seconds", [])), splits or part.splits):
                begin = time.process_time()
                found = part.measure(table, method, seed)
                for key, value in {**found, "seconds": time.process_time() - begin}.items():
                    figures.setdefault(key, []).append(round(value, 1 if key == "seconds" else 4))
                results.keep()
            said = ", ".join(f"{key} {sum(v) / len(v):.3f}" for key, v in figures.items())
            print(f"{table}, {method}: {said}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, or print what there is."""
    p = argparse.ArgumentParser(
        "bench.papers.tables", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("part", nargs="?", choices=(*PARTS, "all"), default="all")
    p.add_argument("tables", nargs="*", help="these alone")
    p.add_argument("--splits", type=whole(1), help="instead of the part's own")
    p.add_argument("--again", nargs="+", metavar="METHOD", default=[], help="forget these, and measure them anew")
    p.add_argument("--out", type=Path, default=HERE, help="the folder of the results")
    p.add_argument("--table", action="store_true", help="measure nothing: print what there is")
    args = p.parse_args(argv)
    names = list(PARTS) if args.part == "all" else [args.part]
    for name in names:
        if unknown := [table for table in args.tables if table not in PARTS[name].tables]:
            known = PARTS[name].tables
            near = did_you_mean(unknown[0], known)
            raise UsageError(f"{name} has no table {unknown[0]!r}{near}: give some of {', '.join(known)}")
    for name in names:
        results = Results(PARTS[name], args.out / f"{name}.json")
        if not args.table:
            results.forget(args.again)
            measured(results, args.tables, args.splits)
        print(f"**{name}**: {PARTS[name].words(results.held())}", end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.tables", main))
