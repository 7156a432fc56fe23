"""§7.3 Tables as text: numbers between commas, semicolons, tabs or blanks, with a line of names above them or without.

A column of words becomes codes and their levels (`data.words`). A word among numbers is refused with its place; what
was taken for names, passed over or dropped is said in notes. A table is read block by block, so that beside its numbers
and its different words a megabyte of text is held; a line has at most CELLS cells.
"""

import csv
import io
import itertools
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np

from ..errors import DataError
from ..types import Array
from .cells import COMMA, GROUPED, is_number, is_text, listed, missing, number, short, way_out

UNNAMED = ("", "Unnamed: 0")  # the first column of a table that pandas or R has written with its index
CELLS = 1 << 20  # of one line
HEAD, FEW = 50, 5  # lines that tell how a table is laid out
ABOVE = 10_000  # lines with the comments above them
BLOCK = 1 << 20  # characters read together


class Table(NamedTuple):
    """x (N, D) float64, NaN where a cell is missing; the columns' names, if any; what was taken for what; and of lines
    (n, 2) the rows after which the numbers of the file's lines go on elsewhere, each with its line. Columns of words
    hold codes: the places of their words in `levels`, by column, () for one of numbers; None where there are none."""

    x: Array
    names: tuple[str, ...] | None
    notes: tuple[str, ...]
    lines: Array
    levels: tuple[tuple[str, ...], ...] | None = None


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


class Words(NamedTuple):
    """A column's words, each with its code by first appearance; the first one's row, line and text."""

    codes: dict[str, int]
    first: tuple[int, int, str]


def place(row: int, column: int, names: Sequence[str] | None = None, line: int | None = None) -> str:
    """Where a value stands, in words: rows and columns from 0, lines of a file from 1."""
    name = f" {names[column]!r}" if names and 0 <= column < len(names) else ""
    return f"row {row}, column {column}{name} (from 0{f'; line {line} of the file' if line else ''})"


def line_of(lines: Array | None, row: int) -> int | None:
    """The file's line of a row, from 1; None where it is not known."""
    if lines is None or not len(lines):
        return None
    after, line = lines[np.searchsorted(lines[:, 0], row, "right") - 1]
    return int(line + row - after)


def read_table(stream: IO[bytes], path: object) -> Table:
    """The table in a stream of UTF-8. Raises DataError, one line with the place, for what is not a table of numbers."""
    try:
        with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            head = list(_head(text))
            reading = _Reading(_layout(head, path), path)
            _check_quotes(head[: reading.layout.start], 1, path)
            block = head[reading.layout.start :] or text.readlines(BLOCK)
            while block:
                reading.take(block)
                block = text.readlines(BLOCK)
    except UnicodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error}); save it as CSV in UTF-8") from None
    return reading.table()


def _head(text: Iterator[str]) -> Iterator[str]:
    """The first HEAD lines, or the first FEW where lines are long, with the comments and empty lines among them."""
    number = size = 0
    for line in itertools.islice(text, ABOVE):
        yield line
        number, size = number + (not line.startswith("#") and not line.isspace()), size + len(line)
        if number >= HEAD or (number >= FEW and size > BLOCK):
            return


class _Reading:
    """The rows of a table, block after block."""

    def __init__(self, layout: Layout, path: object) -> None:
        self.layout, self.path, self.line = layout, path, layout.start  # lines behind us
        self.values, self.lines, self.empty = array("d"), array("q"), 0
        self.next_line = 0  # that the next row would stand in, were no line passed over
        self.words: dict[int, Words] = {}  # by column, an index counted
        self.worded = Counter[int]()  # cells of a column that held words

    def take(self, block: list[str]) -> None:
        """Read some lines: all at once where they are numbers and nothing else, else cell by cell."""
        if self.layout.trailing:
            block = [line.rstrip("\r\n ").removesuffix(self.layout.delimiter) + "\n" for line in block]
        x = self.fast(block)
        if not any(line.strip("\r\n ") for line in block):  # csv would take a microsecond for each
            self.empty += len(block)
        elif x is None:
            for line, cells in _rows(block, self.layout.delimiter):
                self.row(self.line + line, cells)
        else:
            self.mark(self.line + 1)
            self.values.frombytes(x.data.cast("B"))
            self.next_line += len(block)
        _check_quotes(block, self.line + 1, self.path)
        self.line += len(block)

    def fast(self, block: list[str]) -> Array | None:
        """The block as numbers, (lines, width), if NumPy finds nothing else in it, or nothing but gaps."""
        if block[0].isspace():
            return None
        if self.words:
            return self.with_codes(block)
        x = self.numbers(block)
        delimiter = self.layout.delimiter
        if x is None and self.layout.width > 1 and delimiter != " ":  # else an empty line would be a gap
            x = self.numbers([_filled(line, delimiter) for line in block])
        return x

    def with_codes(self, block: list[str]) -> Array | None:
        """The same, where columns that held words before have nothing else: codes for them."""
        delimiter, width = self.layout.delimiter, self.layout.width
        rows = [[cell.strip() for cell in line.split(delimiter)] for line in block]
        if delimiter == " " or width == 1 or any(len(row) != width or '"' in "".join(row) for row in rows):
            return None
        for column, codes in ((column, words.codes) for column, words in self.words.items()):
            for row in rows:
                cell = row[column]
                if cell not in codes and not is_text(cell):
                    if is_number(cell):
                        return None
                    row[column] = ""
                else:
                    row[column] = str(codes.setdefault(cell, len(codes)))
        x = self.numbers([delimiter.join("nan" if missing(cell) else cell for cell in row) for row in rows])
        if x is not None:
            self.worded.update({column: int(np.count_nonzero(~np.isnan(x[:, column]))) for column in self.words})
        return x

    def numbers(self, block: list[str]) -> Array | None:
        """The block as numbers, or None."""
        delimiter = self.layout.delimiter.strip(" ") or None
        if self.layout.comma:
            if any("." in line for line in block):
                return None
            block = [line.replace(",", ".") for line in block]
        try:
            x = np.loadtxt(block, delimiter=delimiter, comments=None, quotechar='"', ndmin=2)
        except ValueError:
            return None
        return x if x.shape == (len(block), self.layout.width) else None

    def row(self, line: int, cells: list[str]) -> None:
        """One line, from 1."""
        width = self.layout.width
        if cells == [""] or not (any(cells) or len(cells) == width):
            self.empty += 1
            return
        if len(cells) != width:
            way = "close its quote" if any("\n" in cell for cell in cells) else "mend that line"
            names, many = self.layout.names, f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            other = f"{width} names above it ({listed(names)})" if names else f"{width} in the lines before it"
            raise DataError(f"{self.path} has {many} in line {line}, but {other}; {way}")
        self.mark(line)
        self.next_line += 1
        for column, cell in enumerate(cells):
            value = number(cell, self.layout.comma)
            self.values.append(self.word(column, cell, line) if value is None else value)

    def word(self, column: int, cell: str, line: int) -> int:
        """The code of a cell that is no number."""
        if column not in self.words:
            self.words[column] = Words({}, (self.count(), line, cell))
        self.worded[column] += 1
        codes = self.words[column].codes
        return codes.setdefault(cell, len(codes))

    def mark(self, line: int) -> None:
        """Remember the line of the next row, if it does not follow the last row's."""
        if line != self.next_line:
            self.lines.extend((self.count(), line))
            self.next_line = line

    def count(self) -> int:
        """Whole rows so far."""
        return len(self.values) // self.layout.width if self.layout.width else 0

    def names(self) -> tuple[str, ...] | None:
        """Of the columns, without an index."""
        return self.layout.names and self.layout.names[self.layout.numbered :]

    def table(self) -> Table:
        """All that was read."""
        layout, notes = self.layout, list(self.layout.notes)
        x = np.frombuffer(self.values).reshape(-1, layout.width) if self.values else np.empty((0, layout.width))
        names, first, levels = layout.names, x[:, :1], self.levels(x)
        if self.empty:
            notes.append(f"{self.empty} empty line{'s' * (self.empty > 1)} passed over")
        if layout.numbered and len(x):
            if len(np.unique(first)) == len(x) and (first == np.floor(first)).all():
                x, names = x[:, 1:], self.names()
                notes.append(f"column 0 (without a name: {listed([f'{v:g}' for v in first[:4, 0]])}) is an index of "
                             "the rows: dropped")  # fmt: skip
        elif (
            0 not in self.words
            and len(x) > 2
            and layout.width > 1
            and (np.diff(x[:3, 0]) == 1).all()
            and (np.diff(x[:, 0]) == 1).all()
        ):
            called = f" {names[0]!r}" if names else ""
            notes.append(f"column 0{called} counts the rows and is taken as data: leave it out if it is an index")
        lines = np.frombuffer(self.lines, np.int64).reshape(-1, 2)
        return Table(x, names, tuple(notes), lines, levels and levels[-x.shape[1] :])

    def levels(self, x: Array) -> tuple[tuple[str, ...], ...] | None:
        """The words of each column, sorted, and in x (N, width) their codes. Raises DataError for words among numbers,
        at the first."""
        for column, words in sorted(self.words.items(), key=lambda item: (item[1].first, item[0])):
            if more := int(np.count_nonzero(~np.isnan(x[:, column]))) - self.worded[column]:
                row, line, cell = words.first
                at = place(row, column - self.layout.numbered, self.names(), line)
                why = f"which is no number, where {more} cell{'s' * (more > 1)} of its column hold one"
                raise DataError(f"{self.path} holds {short(cell)} at {at}, {why}: {way_out(cell)}")
        for column, words in self.words.items():
            rank = np.empty(len(words.codes))
            rank[[words.codes[word] for word in sorted(words.codes)]] = np.arange(len(rank))
            there = ~np.isnan(x[:, column])
            x[there, column] = rank[x[there, column].astype(np.int64)]
        empty: tuple[str, ...] = ()
        found = tuple(tuple(sorted(self.words[c].codes)) if c in self.words else empty for c in range(x.shape[1]))
        return found if self.words else None


def _check_quotes(lines: list[str], first: int, path: object) -> None:
    """Raises DataError for a quote that is open where these lines end, which csv takes for closed."""
    if sum(line.count('"') for line in lines) % 2:
        where = f"lines {first} to {first + len(lines) - 1}"
        raise DataError(f"{path} has a quote that is not closed in {where}; close it")


def _filled(line: str, delimiter: str) -> str:
    """A line with "nan" for its missing cells."""
    return delimiter.join(["nan" if missing(cell.strip()) else cell for cell in line.split(delimiter)])


def _rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
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


def _layout(head: list[str], path: object) -> Layout:
    comments = len([*itertools.takewhile(lambda line: line.startswith("#"), head)])
    head = [*(line.lstrip("# ") for line in head[:comments]), *head[comments:]]  # names may stand after a #
    delimiter = _delimiter([line for line in head[comments:] if not line.isspace()] or head)
    rows = [(line, cells) for line, cells in _rows(head, delimiter) if any(cells)]
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
    """What most lines have, and equally often; a tab or a semicolon before a comma, which may stand in a number."""
    best, most = " ", 0
    for delimiter in (each for each in "\t;," if any(each in line for line in head)):
        rows = [cells for _, cells in _rows((line.rstrip() for line in head), delimiter) if any(cells)]
        width = _width(rows)
        fitting = sum(len(cells) == width for cells in rows)
        if width > 1 and fitting > most:
            best, most = delimiter, fitting
    if not most and _width([cells for _, cells in _rows(head, " ") if any(cells)]) <= 1:
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
