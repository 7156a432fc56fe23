"""§7.3 How a table of text is laid out: its delimiter, its line of names, comments above it, an index beside it.

The first lines say it. What is taken for what is noted, a line each, for a guess that nobody hears of is a trap.
"""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..errors import DataError
from .cells import COMMA, GROUPED, is_number, is_text, listed, missing, short

UNNAMED = ("", "Unnamed: 0")  # the first column of a table that pandas or R has written with its index
CELLS = 1 << 20  # of one line
FEW = 5  # comments that are noted one by one


class Layout(NamedTuple):
    """How a table is written: what the lines at its head say."""

    delimiter: str
    width: int  # cells of a line
    names: tuple[str, ...] | None
    start: int  # lines above the first row
    trailing: bool  # whether each line ends with a delimiter, and no cell after it
    numbered: bool  # whether the first column is an index of the rows
    comma: bool  # whether numbers have decimal commas
    notes: list[str]


def rows_in(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line from 1, cells) of each line; a cell in quotes may go over several."""
    tidy = (line.replace("\t", " ").strip() for line in lines) if delimiter == " " else lines
    reader = csv.reader(_limited(tidy, delimiter), delimiter=delimiter, skipinitialspace=True)
    for cells in reader:
        yield reader.line_num, [cell.strip() for cell in cells] or [""]


def _limited(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    for line in lines:
        if line.count(delimiter) >= CELLS:
            raise ValueError(f"a line has more than {CELLS} cells; save such data as .npy")
        yield line


def layout_of(head: list[str], path: object) -> Layout:
    """What the lines at the head of a table say. Raises DataError for names of other columns than those below."""
    comments = len([*itertools.takewhile(lambda line: line.startswith("#"), head)])
    head = [*(line.lstrip("# ") for line in head[:comments]), *head[comments:]]  # names may stand after a #
    delimiter = _delimiter([line for line in head[comments:] if not line.isspace()] or head)
    rows = [(line, cells) for line, cells in rows_in(head, delimiter) if any(cells)]
    width = _width([cells for line, cells in rows if line > comments] or [cells for _, cells in rows])
    notes: list[str] = []
    at = 0
    while at < len(rows) and _title(rows, at, width, comments):
        line, cells = rows[at]
        notes.append(f"line {line} passed over: {short(delimiter.join(cells))}")
        at += 1
    if at > FEW:
        notes[1:] = [f"and so {at - 1} more, to line {rows[at - 1][0]}"]
    body = [cells for _, cells in rows[at:]]
    names = _names(body, width)
    if not names and body and at and rows[at - 1][0] > comments and len(rows[at - 1][1]) > 1:
        line, cells = rows[at - 1]
        raise DataError(f"{path} has {len(cells)} cells in line {line} ({listed(cells)}), and {width} in the lines "
                        "below; mend that line, or begin it with # if it is no line of names")  # fmt: skip
    if names:
        notes.append(f"line {rows[at][0]} taken for names: {listed(names)}")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            notes.append(f"names that stand twice: {listed(twice)}; such columns are told by their places")
        at += 1
    elif body and len(body[0]) == 2 == width and _counted(body[0]):
        notes.append(f"line {rows[at][0]} ({listed(body[0])}) taken for a row, not for names")
    body, start = [cells for _, cells in rows[at:]], rows[at - 1][0] if at else 0
    last = names is None or len(names) < width or names[-1] == ""
    trailing = last and width > 1 and len(body) > (names is None) and all(row[-1] == "" for row in body)
    if trailing:
        width, names = width - 1, names and tuple(names[: width - 1])
        notes.append("a delimiter ends every line: no column is made of it")
    if names and len(names) == width - 1:  # as R writes row names
        names = ("", *names)
    comma = delimiter != "," and _commas([cell for row in body for cell in row])
    if comma:
        notes.append("commas in numbers taken for decimal commas")
    numbers = [row[0] for row in body]
    index = bool(names and width > 1 and names[0] in UNNAMED and all(map(str.isdecimal, numbers)))
    return Layout(delimiter, width, names, start, trailing, index and len(set(numbers)) == len(numbers), comma,
                  notes)  # fmt: skip


def _commas(cells: list[str]) -> bool:
    """Whether cells have decimal commas: there are some, none has a point, and not all could be 1,000."""
    found = [cell for cell in cells if re.fullmatch(COMMA, cell)]
    other = any(re.fullmatch(GROUPED, cell) and not cell.isdecimal() for cell in cells if cell not in set(found))
    return any(not re.fullmatch(r".*,\d{3}", cell) for cell in found) and not other


def _delimiter(head: list[str]) -> str:
    """What most lines have, and equally often; others before a comma, which may stand in a number."""
    best, most = " ", 0
    for delimiter in (each for each in "\t;|," if any(each in line for line in head)):
        rows = [cells for _, cells in rows_in((line.rstrip() for line in head), delimiter) if any(cells)]
        width = _width(rows)
        fitting = sum(len(cells) == width for cells in rows)
        if width > 1 and fitting > most:
            best, most = delimiter, fitting
    if not most and _width([cells for _, cells in rows_in(head, " ") if any(cells)]) <= 1:
        return ","
    return best


def _width(rows: list[list[str]]) -> int:
    """The number of cells that most lines have, of two the larger."""
    counts = Counter(map(len, rows))
    return max(counts, key=lambda width: (counts[width], width)) if counts else 0


def _title(rows: list[tuple[int, list[str]]], at: int, width: int, comments: int) -> bool:
    """Whether row `at` stands above the table: a comment, or words that are no names, for they are too few. Only the
    last comment may hold the names, and numbers behind a # are no comment."""
    line, cells = rows[at]
    if line <= comments:
        return len(cells) != width or (line < comments and not any(map(is_number, cells)))
    if not any(map(is_text, cells)) or at + 1 == len(rows):
        return False
    if not 0 <= width - len(cells) <= 1:
        return True
    after = rows[at + 1][1]
    names = len(after) == width and "" not in after[1:] and not any(map(is_number, after))
    return names and (len(cells) < width or "" in cells[1:])


def _names(body: list[list[str]], width: int) -> tuple[str, ...] | None:
    """The first line, if it is one of names: words and no numbers; whole numbers, such as years, after a word; or
    0, 1, 2, …, which pandas writes for want of names."""
    if not body or not 0 <= width - len(body[0]) <= 1:
        return None
    cells, below = body[0], body[1:]
    if any(is_text(cell) and row[i : i + 1] == [cell] for row in below for i, cell in enumerate(cells)):
        return None  # a word that comes again is no name
    numbers = [cell for cell in cells if is_number(cell)]
    whole = all(map(str.isdecimal, numbers)) and len(set(numbers)) == len(numbers)
    words = any(map(is_text, cells)) and not any(re.fullmatch(GROUPED, cell) for cell in cells if is_text(cell))
    numbered = cells[0] == "" and _counted(cells[1:]) and bool(below) and all(row[0].isdecimal() for row in below)
    found = numbered and len({row[0] for row in below}) == len(below)
    found = found or (words and (not numbers or (whole and not is_number(cells[0]))))
    if not found and _counted(cells):
        real = bool(below) and all("." in cell or "e" in cell or missing(cell) for row in below for cell in row)
        found = real or len(cells) > 2
    return tuple(" ".join(cell.split()) for cell in cells) if found else None


def _counted(cells: Sequence[str]) -> bool:
    """0, 1, 2, …"""
    return len(cells) > 0 and all(cell == str(i) for i, cell in enumerate(cells))
