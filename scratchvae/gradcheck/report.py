"""§7.2.4 What a gradient check found: one row per parameter block, the worst element, both numbers and the verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

METHODS = ("complex", "central", "direction")
HEADER = ("block", "size", "by", "worst at", "analytic", "numeric", *METHODS, "verdict")


class Measure(NamedTuple):
    """One method's worst element in one block; at is None for a direction (no single element)."""

    method: str
    at: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance  # False for NaN

    def __bool__(self) -> bool:
        return self.ok  # a tuple with something in it is true, whatever it says

    def __repr__(self) -> str:
        at = "a direction" if self.at is None else f"{list(self.at)}"
        numbers = f"analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, error {self.error:.1e}"
        return f"{self.method} at {at}: {numbers} ({self.tolerance:.0e} allowed): {'ok' if self.ok else 'FAIL'}"


class Row(NamedTuple):
    """One parameter block and what each method said about it."""

    block: str
    size: int
    measures: tuple[Measure, ...]

    @property
    def ok(self) -> bool:
        """Whether it was measured and every measure holds."""
        return bool(self.measures) and all(m.ok for m in self.measures)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return "\n".join(table([HEADER, cells(self)])) if self.measures else f"  {self.block}: FAIL, nothing measured"

    @property
    def worst(self) -> Measure:
        """The measure nearest to (or farthest beyond) its tolerance; one that is not finite comes first."""
        return max(self.measures, key=lambda m: m.error / m.tolerance if math.isfinite(m.error) else math.inf)


@dataclass(frozen=True, repr=False)
class Report:
    """The outcome of `check`: rows, notes (how it was checked) and problems (what is wrong beside the numbers).

    `bool(report)` is `report.ok`, so ``assert check(f, f_vjp, args)`` holds what it says, and shows the table if not.
    """

    name: str
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True only if something was checked and all of it held."""
        return bool(self.rows) and not self.problems and all(row.ok for row in self.rows)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return str(self)

    def worst(self, method: str) -> float | None:
        """The largest relative error by this method, None if it was not used, inf if one was not finite."""
        errors = [m.error for row in self.rows for m in row.measures if m.method == method]
        return max((e if math.isfinite(e) else math.inf for e in errors), default=None)

    def __str__(self) -> str:
        lines = [f"{self.name}: {'ok' if self.ok else 'FAIL'}"]
        lines += table([HEADER, *map(cells, self.rows)]) if self.rows else []
        lines += [f"  wrong: {problem}" for problem in self.problems]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers; a number that is not finite is null (JSON has none) and its row not ok."""
        rows = [
            {"block": r.block, "size": r.size, "ok": r.ok, "measures": [plain(m) for m in r.measures]}
            for r in self.rows
        ]
        return {
            "name": self.name,
            "ok": self.ok,
            "rows": rows,
            "notes": list(self.notes),
            "problems": list(self.problems),
        }


def plain(m: Measure) -> dict[str, Any]:
    """A measure as JSON."""
    values = {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in m._asdict().items()}
    return {**values, "ok": m.ok}


def cells(row: Row) -> tuple[str, ...]:
    """A row as text: the worst measure's numbers, then the error by each method that was used."""
    worst = row.worst
    at = "-" if worst.at is None else ",".join(map(str, worst.at)) or "scalar"
    errors = {m.method: f"{m.error:.1e}" for m in row.measures}
    return (
        row.block,
        str(row.size),
        worst.method,
        at,
        f"{worst.analytic:.9g}",
        f"{worst.numeric:.9g}",
        *(errors.get(method, "-") for method in METHODS),
        "ok" if row.ok else "FAIL",
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns, the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
