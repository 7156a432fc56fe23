"""§7.3 Sequences as rows: lines of a text as codes of characters, words, or tokens of SMILES; and back.

A row is the codes of its tokens, END after them, then PAD up to the longest row: int32 (N, T). The vocabulary is that
of the file, in the order of first appearance after END and UNKNOWN; of words those alone that the training rows have
twice, the others are UNKNOWN. A run keeps its vocabulary, and reads later rows by it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DataError, unknown
from ..types import Array

PAD, END, UNKNOWN = -1, 0, 1
SPECIAL = ("<end>", "<unknown>")
TOKENS = {  # a token of each kind; blanks between words are none
    "characters": r"(?s).",
    "words": r"\w+(?:['’-]\w+)*|[^\w\s]",
    "smiles": r"\[[^\]]*\]|Br|Cl|%\d\d|(?s:.)",
}
TWICE = 2  # times that a word must stand in the training rows
NAMES = ("words",)  # of texts in the repository's data/


class Lines(NamedTuple):
    """Texts, one a row, each with the line of the file where it stands, from 1."""

    name: str
    texts: list[str]
    lines: list[int]


class Vocabulary(NamedTuple):
    """Which kind of tokens, and their texts by code."""

    kind: str
    texts: tuple[str, ...]

    @classmethod
    def of(cls, kind: str, train: Sequence[str], rest: Sequence[str]) -> "Vocabulary":
        """Of the training rows, and of characters and SMILES of all rows: a test row may have a letter alone."""
        words = kind == "words"
        counts = Counter(token for text in (train if words else (*train, *rest)) for token in split(text, kind))
        return cls(kind, (*SPECIAL, *(token for token, n in counts.items() if not words or n >= TWICE)))

    def encode(self, found: Lines, width: int | None = None) -> Array:
        """Rows (N, T) int32. Raises DataError for a token that the run has not, unless it has UNKNOWN for such, and for
        a row of more than `width` columns."""
        codes = {text: code for code, text in enumerate(self.texts)}
        rows = []
        for i, text in enumerate(found.texts):
            tokens = split(text, self.kind)
            if self.kind != "words" and (odd := next((t for t in tokens if t not in codes), None)):
                raise DataError(f"{found.name} has {odd!r} at {found_at(found, i)}, which the run's {len(codes) - 2} "
                                f"{self.kind} are without: leave that row out")  # fmt: skip
            if width and len(tokens) >= width:
                raise DataError(f"{found.name} has {len(tokens)} tokens at {found_at(found, i)}, and the run's longest "
                                f"row has {width - 1}: leave that row out")  # fmt: skip
            rows.append([codes.get(token, UNKNOWN) for token in tokens] + [END])
        x = np.full((len(rows), width or max(map(len, rows))), PAD, np.int32)
        for row, found_codes in zip(x, rows, strict=True):
            row[: len(found_codes)] = found_codes
        return x

    def decode(self, x: Iterable[Array]) -> list[str]:
        """Texts of rows of codes, each up to its END or PAD."""
        between = " " if self.kind == "words" else ""
        return [between.join(self.texts[int(c)] for c in row[: length(row)]) for row in x]


def length(row: Array) -> int:
    """Tokens before END or PAD."""
    stops = np.flatnonzero((row == END) | (row == PAD))
    return int(stops[0]) if len(stops) else len(row)


def split(text: str, kind: str) -> list[str]:
    """The tokens of a text."""
    if kind not in TOKENS:
        raise unknown("tokens", kind, tuple(TOKENS))
    return re.findall(TOKENS[kind], text)


def found_at(found: Lines, i: int) -> str:
    """Where a row stands, in words."""
    return f"row {i} (from 0; line {found.lines[i]})"
