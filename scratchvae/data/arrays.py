"""§7.3 From what is handed over as rows to an array of real numbers: masked arrays, frames, objects, lists.

Nothing is dropped on the way: a mask becomes NaN, and what is no real number is refused with its place. A frame is
whatever has `columns`.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..types import Array
from .cells import is_text, listed, short, way_out
from .text import line_of, place

TEXT = "turn text into numbers, as x.astype(float) does"


class Origin(NamedTuple):
    """What errors call rows, and where the rows stand there."""

    name: str = "data"
    first: int = 0  # number of the first row
    names: tuple[str, ...] | None = None  # of the columns
    lines: Array | None = None  # of a text file, see text.Table

    def place(self, row: int, column: int) -> str:
        """Row and column in words; row counts from `first`."""
        row += self.first
        return place(row, column, self.names, line_of(self.lines, row))


def names_of(x: Any) -> tuple[str, ...] | None:
    """The names of a frame's columns: of whatever has `columns`, one for each."""
    names = getattr(x, "columns", None)
    return tuple(map(str, names)) if names is not None and np.shape(x)[1:] == (len(names),) else None


def ordered(x: Array, names: Sequence[str] | None, wanted: Sequence[str] | None, what: str = "x") -> Array:
    """The columns of x (N, D), which have `names`, in the order of the `wanted` names, those trained on.

    Where either is not known, or is pandas' 0, 1, 2, … for want of names, columns are told by their place. Raises
    DataError, which calls x `what`, for other names.
    """
    if names is None or wanted is None or tuple(names) == tuple(wanted):
        return x
    if sorted(names) == sorted(wanted) and len(set(names)) == len(names):
        return np.ascontiguousarray(x[:, [list(names).index(name) for name in wanted]])
    if any(list(given) == [str(i) for i in range(len(given))] for given in (names, wanted)):
        return x
    lacking = [repr(name) for name in wanted if name not in names]
    foreign = [repr(name) for name in names if name not in wanted]
    words = [f"lacks {listed(lacking)}"] * bool(lacking) + [f"has {listed(foreign)} besides"] * bool(foreign)
    raise DataError(f"{what} {' and '.join(words) or 'has a name twice'}: its columns must be those trained on, "
                    f"{listed(wanted)}")  # fmt: skip


def array_of(x: Any, name: str) -> Array:
    """An array of x; of a masked one with NaN (of objects None) where it is masked. Its bytes are then grey levels /
    255, as they would be without a mask."""
    if not isinstance(x, np.ma.MaskedArray):
        try:
            return x if isinstance(x, np.memmap) else np.asarray(x)
        except (ValueError, TypeError) as error:  # lists of unequal lengths, and what NumPy does not know
            words = str(error).splitlines()[0][:200]
            raise DataError(f"{name} is no array ({words}); give rows of one length") from None
    mask, x = np.ma.getmaskarray(x), x.data
    if x.dtype.kind not in "biufO" or not mask.any():
        return np.asarray(x)
    hollow = x.astype("O" if x.dtype.kind == "O" else x.dtype if x.dtype.kind == "f" else float)
    if x.dtype == np.uint8 and x[~mask].max(initial=0) > 1:
        hollow /= 255
    hollow[mask] = None if x.dtype.kind == "O" else np.nan
    return hollow


def real(x: Array, origin: Origin) -> Array:
    """x (N, ...) as real numbers; objects that are such come over. Raises DataError at the first entry that is none."""
    kind, name = x.dtype.kind, origin.name
    if kind in "biuf":
        return x
    if kind == "c":
        raise DataError(f"{name} is complex; give its real part, or real and imaginary part as columns of their own")
    if kind == "V":
        raise DataError(f"{name} has fields ({x.dtype}); give numpy.lib.recfunctions.structured_to_unstructured(x)")
    cells = x.reshape(len(x), -1)
    out = np.empty(cells.shape)
    for (row, column), entry in np.ndenumerate(cells):
        text = entry.decode("latin-1") if isinstance(entry, bytes) else entry if isinstance(entry, str) else None
        if kind in "US" and text is not None and not is_text(text):
            continue
        value = _value(entry)
        if value is None:
            way = _way(entry) if text is None or not is_text(text) else way_out(text)
            at = origin.place(row, column)
            raise DataError(f"{name} holds {short(str(entry))} at {at}, which is no number: {way}")
        out[row, column] = value
    if kind in "US":
        raise DataError(f"{name} holds text (dtype {x.dtype}): {TEXT}")
    return out.reshape(x.shape)


def _value(entry: Any) -> float | None:
    """A real number of whatever kind as a float, NaN for what frames call missing; None for anything else."""
    if entry is None or type(entry).__name__ == "NAType":
        return math.nan
    if not isinstance(entry, Real | Decimal | np.bool_) or isinstance(entry, np.timedelta64):
        return None
    try:
        return float(entry)
    except (OverflowError, ValueError):  # an int of 400 digits; a Decimal's signalling NaN
        return math.inf if entry == entry else math.nan


def _way(entry: Any) -> str:
    """What to do about an entry that is no number."""
    if isinstance(entry, str | bytes):
        return TEXT
    if hasattr(entry, "isoformat") or isinstance(entry, np.datetime64 | np.timedelta64):
        return "turn dates into numbers, or leave the column out"
    return "leave the column out, or turn it into numbers"
