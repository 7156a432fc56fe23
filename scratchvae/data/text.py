"""§7.3 Tables as text: cells between commas, semicolons, tabs, bars or blanks, with a line of names above or without.

A column of words becomes codes and their levels (`data.words`). A word among numbers is refused with its place; what
was taken for names, passed over or dropped is said in notes. A table is read block by block, so that beside its numbers
and its different words a megabyte of text is held; a line has at most CELLS cells.
"""

import codecs
import io
import itertools
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import DataError
from ..types import Array
from .cells import is_number, is_text, listed, missing, number, short, way_out
from .layout import FEW, Layout, layout_of, rows_in

HEAD = 50  # lines that tell how a table is laid out
ABOVE = 10_000  # lines with the comments above them
BLOCK = 1 << 20  # characters read together
QUOTED = 1 << 16  # characters at most that are read on because a quote is open


class Table(NamedTuple):
    """x (N, D) float64, NaN where a cell is missing; the columns' names, if any; what was taken for what; and of lines
    (n, 2) the rows after which the numbers of the file's lines go on elsewhere, each with its line. Columns of words
    hold codes: the places of their words in `levels`, by column, () for one of numbers; None where there are none."""

    x: Array
    names: tuple[str, ...] | None
    notes: tuple[str, ...]
    lines: Array
    levels: tuple[tuple[str, ...], ...] | None = None
    left: tuple[str, ...] = ()  # names of columns that were to be left out, and were there


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


def read_table(stream: io.BufferedReader, path: object, leave_out: Sequence[str] = ()) -> Table:
    """The table in a stream of UTF-8, or of UTF-16 with its mark, without the columns of these names. Raises DataError,
    one line with the place, for what is not a table."""
    try:
        with _decoded(stream) as text:
            head = _whole([*_head(text)], text)
            _check_encoding(head, 1, path)
            reading = _Reading(layout_of(head, path), path, leave_out)
            _check_quotes(head[: reading.layout.start], 1, path)
            block = head[reading.layout.start :] or text.readlines(BLOCK)
            while block:
                reading.take(_whole(block, text))
                block = text.readlines(BLOCK)
    except UnicodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error}); save it as CSV in UTF-8") from None
    return reading.table()


def pieces(path: Path, place: Sequence[int], leave_out: Sequence[str] = ()) -> Iterator[tuple[Array, list[int]]]:
    """The rows of a table that is not packed, in UTF-8, some at a time, from a place on: (byte, line). Each piece is
    read by the head's layout. Raises DataError as `read_table`, and for words, which have no codes in pieces."""
    with open(path, "rb") as file:
        mark = 3 if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(mark)
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        head = _whole([*_head(text)], text)
        _check_encoding(head, 1, path)
        layout = layout_of(head, path)
        at, line = place or (mark + _bytes(head[: layout.start]), layout.start)
        text.seek(0)
        text.buffer.seek(at)
        while block := text.readlines(4 * BLOCK):
            reading = _Reading(layout, path, leave_out)
            reading.line = line
            reading.take(_whole(block, text))
            if reading.words:
                column, (_, (_, first, cell)) = next(iter(reading.words.items()))
                called = f" {layout.names[column]!r}" if layout.names else ""
                where = f"in line {first}, column {column}{called}"
                raise DataError(f"{path} holds {short(cell)} {where}, and is read in pieces, which have no codes for "
                                "words: leave that column out (--leave-out)")  # fmt: skip
            at, line = at + _bytes(block), line + len(block)
            yield reading.table().x, [at, line]


def _bytes(lines: list[str]) -> int:
    return sum(len(line.encode("utf-8", "surrogateescape")) for line in lines)


def read_names(stream: io.BufferedReader, path: object, taken: Sequence[str]) -> dict[str, list[str]]:
    """The cells of the columns of a table that `read_table` takes, but for those of the names in `taken`, as long as
    they name a row: none is empty, or comes again."""
    with _decoded(stream) as text:
        head = _whole([*_head(text)], text)
        layout = layout_of(head, path)
        found: dict[int, list[str]] = {i: [] for i, name in enumerate(layout.names or ()) if name not in taken}
        block = head[layout.start :] or text.readlines(BLOCK)
        while block and found:
            for _, cells in rows_in(_whole(block, text), layout.delimiter):
                if any(cells):
                    for column, those in found.items():
                        those.append(cells[column])
            found = {column: those for column, those in found.items() if len({*those} - {""}) == len(those)}
            block = text.readlines(BLOCK)
        return {(layout.names or ())[column]: those for column, those in found.items()}


def _decoded(stream: io.BufferedReader) -> io.TextIOWrapper:
    wide = stream.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return io.TextIOWrapper(stream, "utf-16" if wide else "utf-8-sig", "surrogateescape", newline="")


def _head(text: Iterator[str]) -> Iterator[str]:
    """The first HEAD lines, or the first FEW where lines are long, with the comments and empty lines among them."""
    number = size = 0
    for line in itertools.islice(text, ABOVE):
        yield line
        number, size = number + (not line.startswith("#") and not line.isspace()), size + len(line)
        if number >= HEAD or (number >= FEW and size > BLOCK):
            return


def _whole(block: list[str], text: io.TextIOWrapper) -> list[str]:
    """The block with the lines over which a quote goes on that is open at its end, if it is closed soon."""
    odd, room = sum(line.count('"') for line in block) % 2, QUOTED
    while odd and room > 0 and (line := text.readline()):
        block.append(line)
        odd, room = (odd + line.count('"')) % 2, room - len(line)
    return block


class _Reading:
    """The rows of a table, block after block."""

    def __init__(self, layout: Layout, path: object, leave_out: Sequence[str] = ()) -> None:
        self.left = {i for i, name in enumerate(layout.names or ()) if name in leave_out}
        self.layout = layout = layout._replace(numbered=layout.numbered and 0 not in self.left)
        self.kept = [i for i in range(layout.numbered, layout.width) if i not in self.left]  # columns of the table
        self.path, self.line = path, layout.start  # lines behind us
        self.values, self.lines, self.empty = array("d"), array("q"), 0
        self.next_line = 0  # that the next row would stand in, were no line passed over
        self.words: dict[int, Words] = {}  # by column, an index counted
        self.worded = Counter[int]()  # cells of a column that held words

    def take(self, block: list[str]) -> None:
        """Read some lines: all at once where they are numbers and nothing else, else cell by cell."""
        if self.layout.trailing:
            block = [line.rstrip("\r\n ").removesuffix(self.layout.delimiter) + "\n" for line in block]
        _check_encoding(block, self.line + 1, self.path)
        x = self.fast(block)
        if not any(line.strip("\r\n ") for line in block):  # csv would take a microsecond for each
            self.empty += len(block)
        elif x is None:
            for line, cells in rows_in(block, self.layout.delimiter):
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
        if self.words or self.left:
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
        for row in rows if self.left else []:
            for column in self.left:
                row[column] = ""
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
            value = number(cell, self.layout.comma) if column not in self.left else float("nan")
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
        """Of the columns that are kept."""
        return self.layout.names and tuple(self.layout.names[i] for i in self.kept)

    def table(self) -> Table:
        """All that was read."""
        layout, notes = self.layout, list(self.layout.notes)
        x = np.frombuffer(self.values).reshape(-1, layout.width) if self.values else np.empty((0, layout.width))
        first = x[:, :1]
        counts = layout.numbered and 0 not in self.words and len(np.unique(first)) == len(x) > 0
        index = counts and bool((first == np.floor(first)).all())
        if layout.numbered and not index:
            self.kept.insert(0, 0)
        levels = self.levels(x)
        if self.empty:
            notes.append(f"{self.empty} empty line{'s' * (self.empty > 1)} passed over")
        if index:
            notes.append(f"column 0 (without a name: {listed([f'{v:g}' for v in first[:4, 0]])}) is an index of "
                         "the rows: dropped")  # fmt: skip
        elif (
            not {0} & (self.left | self.words.keys())
            and len(x) > 2
            and layout.width > 1
            and (np.diff(x[:3, 0]) == 1).all()
            and (np.diff(x[:, 0]) == 1).all()
        ):
            called = f" {layout.names[0]!r}" if layout.names else ""
            notes.append(f"column 0{called} counts the rows and is taken as data: leave it out if it is an index")
        if len(self.kept) < x.shape[1]:
            x, levels = np.ascontiguousarray(x[:, self.kept]), levels and tuple(levels[i] for i in self.kept)
        lines, left = np.frombuffer(self.lines, np.int64).reshape(-1, 2), [(layout.names or ())[i] for i in self.left]
        return Table(x, self.names(), tuple(notes), lines, levels if any(levels or ()) else None, tuple(left))

    def levels(self, x: Array) -> tuple[tuple[str, ...], ...] | None:
        """The words of each column, sorted, and in x (N, width) their codes. Raises DataError for words among numbers,
        at the first."""
        for column, words in sorted(self.words.items(), key=lambda item: (item[1].first, item[0])):
            if more := int(np.count_nonzero(~np.isnan(x[:, column]))) - self.worded[column]:
                row, line, cell = words.first
                at = place(row, self.kept.index(column), self.names(), line)
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


def _check_encoding(lines: list[str], first: int, path: object) -> None:
    """Raises DataError at the first byte that is none of UTF-8: a table of Latin-1 would have other words."""
    for i, line in enumerate(lines, first):
        if not line.isascii() and (found := re.search('[^,;\t|"]*[\udc80-\udcff][^,;\t|"]*', line)):
            word = found[0].strip().encode("utf-8", "surrogateescape").decode("latin-1")
            holds = f"line {i} holds what in Latin-1 is {short(word)}"
            raise DataError(f"{path} is no text in UTF-8: {holds}; save it as CSV in UTF-8")


def _check_quotes(lines: list[str], first: int, path: object) -> None:
    """Raises DataError for a quote that is open where these lines end, which csv takes for closed."""
    if sum(line.count('"') for line in lines) % 2:
        where = f"lines {first} to {first + len(lines) - 1}"
        raise DataError(f"{path} has a quote that is not closed in {where}; close it")


def _filled(line: str, delimiter: str) -> str:
    """A line with "nan" for its missing cells."""
    return delimiter.join(["nan" if missing(cell.strip()) else cell for cell in line.split(delimiter)])
