"""§7.3 Columns of words: each is carried as codes 0 … C − 1, NaN where it is missing, beside its levels, the words.

    city                               codes     levels
    Ulm, Bonn, Ulm, missing     →      1, 0, 1, NaN     ("Bonn", "Ulm")      sorted, or in the order that a frame says

Codes are told by their words: later rows get those of the training rows, whatever stands first in them.
"""

import csv
import io
import re
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, did_you_mean
from ..types import Array
from .arrays import Origin, names_of, ordered
from .cells import CONTROL, DATE, GROUPED, OPTION, UNIT, listed, short, way_out

LEVELS, SHARE = 50, 20  # so many different words a column has at most, or a twentieth of its rows
BOOLS = ("False", "True")  # of a frame's bool columns, and of cells that say so: codes and numbers are the same
Levels = tuple[tuple[str, ...], ...]  # by column; () for a column of numbers
WORDED = ("object", "str", "string", "category", "bool", "boolean", "categorical", "enum")  # types of frames' columns


class Ordered(tuple[str, ...]):
    """Levels each of which is more than the one before."""


class Known(NamedTuple):
    """What a run knows of its columns."""

    names: tuple[str, ...] | None = None
    levels: Levels | None = None
    left_out: tuple[str, ...] = ()  # names of others, which later rows may have or not


def without(x: Any, leave_out: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """A frame without the columns of these names, and those of them that it had; anything else as it came."""
    left = tuple(name for name in names_of(x) or () if name in leave_out)
    return x[list(dict.fromkeys(name for name in x.columns if str(name) not in left))] if left else x, left


def check_left(leave_out: Sequence[str], left: Sequence[str], origin: Origin) -> None:
    """Raises DataError where a column that was to be left out of the training rows is not there."""
    if lacking := next((name for name in leave_out if name not in left), None):
        there = f"is no column {lacking!r}{did_you_mean(lacking, origin.names or ())}"
        why = there if origin.names else "are no names of columns, by which they would be left out"
        raise DataError(f"{origin.name}, leave_out: there {why}")


def coded(x: Any) -> tuple[Any, Levels | None]:
    """A frame's columns of words as codes, and their levels; None, and x as it came, where it has none."""
    kinds = [re.split(r"[\W]", str(kind).lower())[0] for kind in getattr(x, "dtypes", ())] if names_of(x) else []
    if not set(kinds) & set(WORDED) or set(kinds) <= {"bool", "boolean"}:
        return x, None
    cells = np.array(x, object)
    levels = [_coded(cells[:, i], kind, dtype) for i, (kind, dtype) in enumerate(zip(kinds, x.dtypes, strict=True))]
    return cells, tuple(levels) if any(levels) else None


def _coded(cells: Array, kind: str, dtype: Any) -> tuple[str, ...]:
    """The levels of one column (N,), whose cells become codes; () and as it was, if they are not all words."""
    if kind not in WORDED:
        return ()
    there = np.array([cell is not None and type(cell).__name__ != "NAType" and cell == cell for cell in cells], bool)
    values = list(cells[there])
    bools = all(isinstance(value, bool | np.bool_) for value in values)
    if not values or not (bools or kind in ("category", "enum") or all(isinstance(v, str) for v in values)):
        return ()
    distinct = BOOLS if bools else tuple(sorted(set(values)))
    if getattr(dtype, "ordered", False) or kind == "enum":
        distinct = Ordered(dtype.categories)
    words = type(distinct)(map(str, distinct)) if not bools else BOOLS
    places = {word: float(i) for i, word in enumerate(words)}
    cells[there] = [places[str(value)] for value in values]
    cells[~there] = None
    return words


def judged(
    x: Array, levels: Levels | None, origin: Origin, left: Sequence[str] = ()
) -> tuple[Array, Known, tuple[str, ...]]:
    """Rows to train on, x (N, D), without a first column of words that are all different, which is an index; what is
    known of the columns; and a note. Raises DataError for words that are no categories: dates, ids, free text."""
    if levels is None:
        return x, Known(origin.names), ()
    if levels[0] and len(levels) > 1 and len(x) > 2 and len(levels[0]) == len(x) and not no_word(levels[0]):
        called = f" {origin.names[0]!r}" if origin.names and origin.names[0] else ""
        note = f"column 0{called} has another word in each row ({listed(levels[0])}): taken for an index, and dropped"
        origin, levels, x = origin._replace(names=origin.names and origin.names[1:]), levels[1:], x[:, 1:]
        return np.ascontiguousarray(x), categories(x, levels, origin, left), (note,)
    return x, categories(x, levels, origin, left), ()


def categories(x: Array, levels: Levels, origin: Origin, left: Sequence[str] = ()) -> Known:
    """What is known of columns x (N, D) whose words are categories all. Raises DataError at the first that is none; the
    way out names all that are to be left out, with those that are, `left`."""
    refused: list[tuple[int, str, str]] = []  # column, word, and why
    for column, words in enumerate(levels):
        codes = x[:, column]
        many = int(np.count_nonzero(~np.isnan(codes)))
        comment = next((word for word in words if word.startswith("#")), None) if column == 0 else None
        bad, why = no_word(words) or comment, ""
        if not bad and words and (len(words) == many > 0 or len(words) > max(LEVELS, many / SHARE)):
            why = f", and no category ({len(words)} different words in {many} rows)"
            bad = words[int(codes[~np.isnan(codes)][0])]
        if bad:
            refused.append((column, bad, why))
    if refused:
        column, bad, why = refused[0]
        at, way = origin.place(int(np.argmax(x[:, column] == levels[column].index(bad))), column), way_out(bad)
        if origin.names:
            such = [origin.names[i] for i, word, _ in refused if OPTION in way_out(word)]
            way = way.replace(OPTION, leaving_out([*left, *such]))
        raise DataError(f"{origin.name} holds {short(bad)} at {at}, which is no number{why}: {way}")
    return Known(origin.names, levels if any(levels) else None)


def leaving_out(names: Sequence[str]) -> str:
    """The option that leaves these columns out, as it is typed into a shell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return f"--leave-out {shlex.quote(text.getvalue())}"


def no_word(words: Sequence[str]) -> str | None:
    """The first that is a date, a number as we do not read it, unseen in part, or has the unit that they all have."""
    if bad := next((word for word in words if re.fullmatch(f"{GROUPED}|{DATE}|{CONTROL}", word)), None):
        return bad
    units = {re.sub(r"[\d.,+-]", "", word) for word in words if re.fullmatch(UNIT, word)}
    return words[0] if len(units) == 1 and all(re.fullmatch(UNIT, word) for word in words) else None


def understood(x: Array, levels: Levels | None, known: Known, origin: Origin) -> Array:
    """Later rows x (N, D) in the order of the known columns, with their codes. An index of words that is not known is
    dropped. Raises DataError for other names, and for a word that is not known."""
    if levels is None and known.levels is None:
        return ordered(x, origin.names, known.names, origin.name)
    names, levels = origin.names, levels or ((),) * x.shape[1]
    if names and known.names and levels[0] and len(names) == len(known.names) + 1 and names[0] not in known.names:
        origin, x, levels = origin._replace(names=names[1:]), x[:, 1:], levels[1:]
    places = ordered(np.arange(x.shape[1])[None], origin.names, known.names, origin.name)[0]
    x, wanted = np.array(x[:, places], np.float64), known.levels or ((),) * len(places)
    for i, (place, words) in enumerate(zip(places, wanted, strict=False)):  # `columns` refuses other widths
        if tuple(levels[place]) != tuple(words):
            x[:, i] = recoded(x[:, i], levels[place], words, origin, int(place))
    return x


def recoded(codes: Array, own: tuple[str, ...], wanted: tuple[str, ...], origin: Origin, column: int) -> Array:
    """Codes (N,) of the levels `own` as those of the levels `wanted`, word by word; True may be written true."""
    there = ~np.isnan(codes)
    if (not own and (_bools(wanted) or origin.names is None)) or (not wanted and _bools(own)):
        return codes
    fold = str.lower if _bools(wanted) else str
    places = {fold(word): i for i, word in enumerate(wanted)}
    table = np.array([places.get(fold(word), np.nan) for word in own] or [np.nan])
    found = table[np.where(there, codes, 0).astype(np.int64)] if own else np.full(len(codes), np.nan)
    if (bad := there & np.isnan(found)).any():
        row = int(np.argmax(bad))
        cell = short(own[int(codes[row])]) if own else f"{codes[row]:g}"
        known = f"the words {listed(wanted)}" if wanted else "numbers alone"
        at = origin.place(row, column)
        raise DataError(f"{origin.name} holds {cell} at {at}, where training knew {known}: drop that row, or mend it")
    return np.where(there, found, np.nan)


def _bools(words: tuple[str, ...]) -> bool:
    """Whether words are false and true: codes are then the numbers that frames have for them."""
    return tuple(map(str.lower, words)) == ("false", "true")


def words_of(x: Array, levels: Levels) -> list[list[str]]:
    """Rows (N, D) of codes and numbers as cells of text: words for codes, "" for NaN, and the shortest text of which a
    number is read back."""

    def cell(value: np.floating[Any], words: tuple[str, ...]) -> str:
        if value != value:
            return ""
        return words[int(value)] if value in range(len(words)) else np.format_float_positional(value, trim="-")

    return [[cell(value, words) for value, words in zip(row, levels, strict=True)] for row in x]
