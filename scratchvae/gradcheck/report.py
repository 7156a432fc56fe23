"""§7.2.4 What a gradient check found: one row per parameter block, the worst element, both numbers and the verdict.

A verdict is "ok", "wrong" or "cannot tell", and nothing but "ok" is true. Of several verdicts the worst holds: one
element that is wrong makes its block wrong, one that nobody can judge leaves the block unjudged.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

METHODS = ("complex", "central", "direction")
OK, WRONG, UNKNOWN = VERDICTS = ("ok", "wrong", "cannot tell")
SHOWN = {OK: "ok", WRONG: "FAIL", UNKNOWN: "cannot tell"}
RANK = {OK: 0, UNKNOWN: 1, WRONG: 2}
HEADER = ("block", "size", "by", "worst at", "analytic", "numeric", *METHODS, "verdict")


def joined(verdicts: Iterable[str]) -> str:
    """The verdict of the whole: wrong where a part is, else unknown where a part is, else ok."""
    found = set(verdicts)
    return next((verdict for verdict in (WRONG, UNKNOWN) if verdict in found), OK)


class Measure(NamedTuple):
    """One method's worst element in one block; at is None for a direction (no single element).

    `verdict` may be better than the numbers: at a kink, or where the difference is within the rounding of f; `why`
    then says so.
    """

    method: str
    at: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    tolerance: float
    given: str = ""  # a verdict that differs from what error and tolerance say
    why: str = ""

    @property
    def verdict(self) -> str:
        """The one that was given, else whether the error is within the tolerance."""
        return self.given or (OK if self.error <= self.tolerance else WRONG)  # wrong for NaN

    @property
    def ok(self) -> bool:
        """Whether the verdict is "ok"."""
        return self.verdict == OK

    def __bool__(self) -> bool:
        return self.ok  # a tuple with something in it is true, whatever it says

    def __repr__(self) -> str:
        at = "a direction" if self.at is None else f"{list(self.at)}"
        numbers = f"analytic {self.analytic:.9g}, numeric {self.numeric:.9g}, error {self.error:.1e}"
        return f"{self.method} at {at}: {numbers} ({self.tolerance:.0e} allowed): {SHOWN[self.verdict]}"


class Row(NamedTuple):
    """One parameter block and what each method said about it."""

    block: str
    size: int
    measures: tuple[Measure, ...]
    perhaps: tuple[str, ...] = ()  # what the slip may be, where it is wrong: `diagnosis`

    @property
    def verdict(self) -> str:
        """The worst of the measures; wrong where nothing was measured."""
        return joined(m.verdict for m in self.measures) if self.measures else WRONG

    @property
    def ok(self) -> bool:
        """Whether it was measured and every measure holds."""
        return self.verdict == OK

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return "\n".join(table([HEADER, cells(self)])) if self.measures else f"  {self.block}: FAIL, nothing measured"

    @property
    def worst(self) -> Measure:
        """The measure with the worst verdict, of those the one nearest to (or farthest beyond) its tolerance; one that
        is not finite comes first."""

        def badness(m: Measure) -> tuple[int, float]:
            return RANK[m.verdict], m.error / m.tolerance if math.isfinite(m.error) else math.inf

        return max(self.measures, key=badness)


@dataclass(frozen=True, repr=False)
class Report:
    """The outcome of `check`: rows, notes (how it was checked), problems (what is wrong beside the numbers) and doubts
    (what could not be checked).

    `bool(report)` is `report.ok`, so ``assert check(f, f_vjp, args)`` holds what it says; `assert_vjp` shows the
    whole table as well.
    """

    name: str
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst of all; "cannot tell" where nothing was checked, and nothing is known to be wrong."""
        nothing = () if self.rows else (UNKNOWN,)
        own = (WRONG,) * bool(self.problems) + (UNKNOWN,) * bool(self.doubts)
        return joined((*nothing, *own, *(row.verdict for row in self.rows)))

    @property
    def ok(self) -> bool:
        """True only if something was checked and all of it held."""
        return self.verdict == OK

    def failed(self) -> tuple[Row, ...]:
        """The rows that are not ok."""
        return tuple(row for row in self.rows if not row.ok)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return str(self)

    @property
    def first_failure(self) -> str:
        """What is not ok, in one line: the element with both numbers, or what else there is; "" where all is."""
        if lines := (*self.problems, *self.doubts):
            return lines[0].partition(", or say constants")[0]
        if not (rows := [row for row in self.failed() if row.verdict == self.verdict]):
            return "" if self.ok else "nothing was checked"
        row = rows[0]
        m = next((m for m in row.measures if m.at is not None and m.verdict == row.verdict), row.worst)
        at = "along a direction" if m.at is None else f"at {list(m.at)}"
        numbers = f"{row.block} {at} is {m.analytic:g} by the vjp and {m.numeric:g} numerically"
        reasons = [*([m.why] if m.why else []), *(f"perhaps: {line}" for line in row.perhaps[:1])]
        return f"{numbers} ({'; '.join(reasons)})" if reasons else numbers

    def worst(self, method: str) -> float | None:
        """The largest relative error by this method, None if it was not used, inf if one was not finite."""
        errors = [m.error for row in self.rows for m in row.measures if m.method == method]
        return max((e if math.isfinite(e) else math.inf for e in errors), default=None)

    def __str__(self) -> str:
        lines = [f"{self.name}: {SHOWN[self.verdict]}"]
        lines += table([HEADER, *map(cells, self.rows)]) if self.rows else []
        lines += [f"  {line}" for row in self.rows for line in remarks(row)]
        lines += [f"  wrong: {problem}" for problem in self.problems]
        lines += [f"  cannot tell: {doubt}" for doubt in self.doubts]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers; a number that is not finite is null (JSON has none) and its row not ok."""
        rows = [
            {
                "block": r.block,
                "size": r.size,
                "ok": r.ok,
                "verdict": r.verdict,
                "perhaps": list(r.perhaps),
                "measures": [plain(m) for m in r.measures],
            }
            for r in self.rows
        ]
        return {
            "name": self.name,
            "ok": self.ok,
            "verdict": self.verdict,
            "rows": rows,
            "notes": list(self.notes),
            "problems": list(self.problems),
            "doubts": list(self.doubts),
        }


def plain(m: Measure) -> dict[str, Any]:
    """A measure as JSON."""
    values = {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in m._asdict().items()}
    del values["given"]
    return {**values, "ok": m.ok, "verdict": m.verdict}


def remarks(row: Row) -> Iterator[str]:
    """Why a verdict is what it is, by one method for each verdict, an element's before a direction's; and what the
    slip may be."""
    first = {m.verdict: m for m in reversed(row.measures) if m.why}
    for m in (m for m in row.measures if m is first.get(m.verdict)):
        along = ", along a direction" * (m.at is None and len(first) > 1)
        yield f"{row.block}{along}: {m.why}"
    yield from (f"{row.block}: perhaps: {line}" for line in row.perhaps)


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
        SHOWN[row.verdict],
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
