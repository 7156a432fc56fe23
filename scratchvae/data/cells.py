"""§7.3 One cell of a table as text: a number, missing, or a word; and what to do about a word for a number."""

import re
from collections.abc import Sequence

MISSING = frozenset(("", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "?"))  # in any case: NaN
COMMA = r"[+-]?\d+,\d+([eE][+-]?\d+)?"  # a number with a decimal comma
GROUPED = (  # a number as others write it, with a minus sign of print or in brackets, or with a delimiter at its end
    r"[+\-−(]?\d[\d,_'’ \xa0\u202f]*(\.\d*)?\)?[;|]?|[+-]?\d{1,3}(\.\d{3})+,\d*"
)
MONTH = (
    "(?i:jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?"
    "|dec(ember)?)"
)
DATE = (
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(\b|T).*|\d{1,2}:\d\d.*"
    rf"|(\d{{1,4}}[ .-]+)?{MONTH}[ .,-]+\d{{1,4}}(\b.*)?"
)
UNIT = r"[+-]?\d[\d.,]* ?[%€$£°A-Za-z]{1,3}|[€$£] ?\d[\d.,]*"
CONTROL = r"[\s\S]*[\x00-\x1f\x7f][\s\S]*"  # a character that nobody sees
OPTION = "--leave-out NAME"
LEAVE_OUT = f"leave the column out ({OPTION}), or turn it into numbers; empty a cell that is missing"
WAYS = {  # out of a cell that is no number
    GROUPED: "write decimal points, a minus sign before what is negative, and no separators of thousands",
    r"(?i)true|false|yes|no|t|f|y|n": "write 1 and 0",
    DATE: f"turn dates into numbers, or leave the column out ({OPTION})",
    UNIT: "write numbers without their unit",
    CONTROL: "mend that cell: it has a control character",
}


def number(cell: str, comma: bool = False) -> float | None:
    """The number in a cell, NaN for a missing one, None for anything else; Python's 1_000 is none. With decimal commas
    a point is none."""
    if missing(cell):
        return float("nan")
    if comma:
        cell = cell.replace(",", ".") if re.fullmatch(COMMA, cell) else cell.replace(".", "_")
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def missing(cell: str) -> bool:
    return cell.lower() in MISSING


def is_number(cell: str) -> bool:
    return number(cell) is not None and not missing(cell)


def is_text(cell: str) -> bool:
    """Whether a cell is neither a number nor missing."""
    return number(cell) is None


def way_out(cell: str) -> str:
    """What to do about a cell that is no number."""
    fitting = (way for pattern, way in WAYS.items() if re.fullmatch(pattern, cell))
    return next(fitting, LEAVE_OUT)


def short(text: str) -> str:
    """The text in quotes, its beginning if it is long."""
    return repr(text if len(text) <= 40 else text[:39] + "…")


def listed(words: Sequence[str]) -> str:
    """The first words, with commas, on one line whatever they hold."""
    return ", ".join([*(repr(word[:30])[1:-1] or "''" for word in words[:6]), *(["…"] if len(words) > 6 else [])])
