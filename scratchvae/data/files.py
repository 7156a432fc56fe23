"""§7.3 From a file to arrays: IDX, .npy, .npz, text, .amat, MATLAB's, Parquet and Excel, each told by its name.

Pickles are refused everywhere: object arrays would run whatever code the file holds. What a reader takes, in memory and
time, is bounded by the file's size; what is packed is unpacked to at most `idx.limit` of it. Parquet alone is read as
pandas reads it.
"""

import io
import math
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..types import Array
from .amat import digits, images
from .arrays import names_of
from .frames import LINES, read_frame
from .idx import BLOCK, Unpacked, allowed, expect, limit, opened, read_idx, take
from .mat import read_mat
from .sparse import from_parts
from .text import read_names, read_table
from .words import coded, without

KNOWN = (
    "IDX (...-idx3-ubyte, also .gz, .xz), .npy, .npz, .csv, .tsv, .txt, .amat (also .gz, .xz), .mat, .parquet, .xlsx, "
    "or a folder of .png or .jpg"
)
WHOLE = (".npy", ".npz", ".mat", ".parquet", ".xlsx")  # are not packed
WIDER = 4  # a number of 8 bytes may come from two of text
PARTS = {  # the arrays of a data set, and the keys that an .npz may hold them under
    "train": ("train", "x_train", "x", "images", "data"),
    "test": ("test", "x_test", "test_images"),
    "labels": ("labels", "y_train", "y", "train_labels"),
    "test_labels": ("test_labels", "y_test"),
}


class Found(NamedTuple):
    """What a file holds: arrays under the keys of PARTS, "train" always; the names of its columns, where it says them;
    notes, what was taken for what, a line each; and where its rows stand, the levels of columns of words, and what was
    left out of it, see `text.Table`."""

    parts: dict[str, Any]
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    lines: Array | None = None
    levels: tuple[tuple[str, ...], ...] | None = None
    left: tuple[str, ...] = ()


def read(path: Path, leave_out: Sequence[str] = ()) -> Found:
    """The arrays of one file, with what it says of its columns; of a table without those named in `leave_out`.

    A plain IDX and an .npy are memory maps. Raises DataError, one line, for a file that is missing, unknown, corrupt
    or holds Python objects.
    """
    reader = _reader(path)
    options: dict[str, Any] = {"leave_out": leave_out} if reader in NAMED else {}
    if not path.is_file():
        seen_from = "" if path.is_absolute() else f" (seen from {Path.cwd()})"
        raise DataError(f"{path} does not exist or is not a file{seen_from}; give a data file: {KNOWN}")
    try:
        if reader is _idx:  # nobody doubts it; and filters of warnings are shared with the thread that imports Numba
            return reader(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a parser's doubts, such as NumPy's of an odd header
            warnings.simplefilter("ignore", ResourceWarning)  # of what an interruption left open
            return reader(path, **options)
    except DataError:
        raise
    except Exception as error:  # parsers of foreign formats fail in every way there is; to us it is all bad data
        words = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"{path} cannot be read: {words[0][:300]}") from None


def row_names(path: Path, taken: Sequence[str]) -> tuple[str, list[str]]:
    """The name and the cells of the first column of a table that is none of `taken`, and that has another text in each
    row: an index, ids. No cells where there is none."""
    found: dict[str, list[str]] = {}
    if (reader := _reader(path)) is _text:
        with opened(path, WIDER) as stream:
            found = read_names(stream, path, taken)
    elif reader is _frame:
        frame = read_frame(path)[0]
        texts = {str(name): [*map(str, frame[name])] for name in frame.columns if str(name) not in taken}
        found = {name: cells for name, cells in texts.items() if len({*cells}) == len(cells)}
    return next(iter(found.items()), ("", []))


def _reader(path: Path) -> Callable[..., Found]:
    name = re.sub(r"\.(gz|xz)$", "", path.name.lower())
    if re.search(r"idx\d*$|idx\d+-|-ubyte$", name):
        return _idx
    suffix = Path(name).suffix
    if suffix not in READERS or (suffix in WHOLE and name != path.name.lower()):
        raise DataError(f"{path} is of no known kind (by its extension); expected {KNOWN}")
    return READERS[suffix]


def _idx(path: Path) -> Found:
    return Found({"train": read_idx(path)})


def _npy(path: Path) -> Found:  # not np.load, which goes by content: zip, pickle; nor open_memmap, which opens twice
    with open(path, "rb") as file:
        shape, fortran, dtype = _header(file, path)
        return Found({"train": np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C")})


def _header(stream: IO[bytes], name: object) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and dtype of the .npy that begins here."""
    version = np.lib.format.read_magic(stream)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = header[version](stream)
    if dtype.hasobject:
        raise DataError(f"{name} holds Python objects (a pickle), which are refused; save plain numbers")
    return shape, fortran, dtype


class _Sparing(io.FileIO):
    """A file of which at most BLOCK bytes are read at once: so large may a zip's list of members be, which zipfile
    takes whole, at twenty times its size in memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Some bytes, or the rest."""
        size = os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size
        if size > BLOCK:
            raise DataError(f"{self.name} has a list of members of {size} bytes, more than {BLOCK}; save fewer arrays")
        return super().read(size) or b""


def _npz(path: Path) -> Found:
    with _Sparing(path) as file, zipfile.ZipFile(file) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if {"format", "data", "shape"} <= set(keys):  # of scipy.sparse.save_npz
            return Found(
                {"train": from_parts({k: _member(archive, f"{k}.npy", path, limit(file)) for k in keys}, path)}
            )
        found = {part: next((k for k in names if k in keys), None) for part, names in PARTS.items()}
        if found["train"] is None and len(keys) == 1:
            found["train"] = keys[0]
        if found["train"] is None:
            raise DataError(f"{path} holds {', '.join(keys) or 'no arrays'}; call the rows 'train' or 'x'")
        parts, most = dict[str, Array](), limit(file)
        for part, key in found.items():
            if key is not None:
                parts[part] = _member(archive, f"{key}.npy", path, most - sum(x.nbytes for x in parts.values()))
        return Found(parts)


def _member(archive: zipfile.ZipFile, name: str, path: Path, most: int) -> Array:
    """One .npy inside a zip. np.load would allocate what the header declares before it knows what is there."""
    with archive.open(name) as stream:
        shape, fortran, dtype = _header(stream, f"{path}: {name}")
        size = math.prod(shape) * dtype.itemsize
        allowed(path, size, most)
        raw = take(stream, size)
        expect(f"{path}: {name}", len(raw) + len(stream.read(1)), size)
    x = np.frombuffer(raw, dtype)
    return x.reshape(shape[::-1]).T if fortran else x.reshape(shape)


def _text(path: Path, leave_out: Sequence[str] = ()) -> Found:
    with opened(path, WIDER) as stream:
        while isinstance(stream.raw, Unpacked) and stream.read(BLOCK):  # what is too much is not parsed first
            pass
    with opened(path, WIDER) as stream:
        table = read_table(stream, path, leave_out)
    return Found({"train": table.x}, *table[1:])


def _amat(path: Path) -> Found:
    with opened(path, WIDER) as stream:
        x = digits(stream)
    if x is None:
        x = _text(path).parts["train"]
    x, labels = images(x, path)
    note = (
        ""
        if labels is None
        else f"the last number of each line is taken for a label: {len(set(labels))} different ones"
    )
    return Found({"train": x, "labels": labels}, notes=(note,) if note else ())


def _mat(path: Path) -> Found:
    return Found({**read_mat(path, PARTS)})


def _frame(path: Path, leave_out: Sequence[str] = ()) -> Found:
    frame, notes = read_frame(path)
    frame, left = without(frame, leave_out)
    x, levels = coded(frame)
    lines = LINES if path.suffix.lower() == ".xlsx" else None
    return Found({"train": x}, names_of(frame), notes, lines, levels, left)


NAMED = (_text, _frame)  # those of tables whose columns have names
READERS: dict[str, Callable[..., Found]] = {
    ".npy": _npy, ".npz": _npz, ".csv": _text, ".tsv": _text, ".txt": _text, ".amat": _amat, ".mat": _mat,
    ".parquet": _frame, ".xlsx": _frame,
}  # fmt: skip
