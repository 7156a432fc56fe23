"""§7.3 From a file to arrays: IDX, .npy, .npz, text and frey_rawface.mat, each told by its name.

Pickles are refused everywhere: object arrays would run whatever code the file holds. What a reader takes, in memory and
time, is bounded by the file's size; what is packed is unpacked to at most `idx.limit` of it.
"""

import io
import math
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..types import Array
from .idx import BLOCK, allowed, expect, limit, opened, read_idx, take
from .mat import read_faces
from .text import read_table

KNOWN = "IDX (...-idx3-ubyte, also .gz, .xz), .npy, .npz, .csv, .tsv, .txt (also .gz, .xz), .mat"
PARTS = {  # the arrays of a data set, and the keys that an .npz may hold them under
    "train": ("train", "x_train", "x", "images", "data"),
    "test": ("test", "x_test", "test_images"),
    "labels": ("labels", "y_train", "y", "train_labels"),
    "test_labels": ("test_labels", "y_test"),
}


class Found(NamedTuple):
    """What a file holds: arrays under the keys of PARTS, "train" always; the names of its columns, where it says them;
    notes, what was taken for what, a line each; and where its rows stand, see `text.Table`."""

    parts: dict[str, Any]
    names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    lines: Array | None = None


def read(path: Path) -> Found:
    """The arrays of one file, with what it says of its columns.

    A plain IDX and an .npy are memory maps. Raises DataError, one line, for a file that is missing, unknown, corrupt
    or holds Python objects.
    """
    reader = _reader(path)
    if not path.is_file():
        seen_from = "" if path.is_absolute() else f" (seen from {Path.cwd()})"
        raise DataError(f"{path} does not exist or is not a file{seen_from}; give a data file: {KNOWN}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a parser's doubts, such as NumPy's of an odd header
            return reader(path)
    except DataError:
        raise
    except Exception as error:  # parsers of foreign formats fail in every way there is; to us it is all bad data
        words = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"{path} cannot be read: {words[0][:300]}") from None


def _reader(path: Path) -> Callable[[Path], Found]:
    name = re.sub(r"\.(gz|xz)$", "", path.name.lower())
    if re.search(r"idx\d*$|idx\d+-|-ubyte$", name):
        return lambda path: Found({"train": read_idx(path)})
    suffix = Path(name).suffix
    if suffix not in READERS or (suffix in (".npy", ".npz", ".mat") and name != path.name.lower()):
        raise DataError(f"{path} is of no known kind (by its extension); expected {KNOWN}")
    return READERS[suffix]


def _npy(path: Path) -> Found:  # not np.load, which goes by content: zip, pickle
    return Found({"train": np.lib.format.open_memmap(path, mode="r")})


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
        found = {part: next((k for k in names if k in keys), None) for part, names in PARTS.items()}
        if found["train"] is None and len(keys) == 1:
            found["train"] = keys[0]
        if found["train"] is None:
            raise DataError(f"{path} holds {', '.join(keys) or 'no arrays'}; call the rows 'train' or 'x'")
        return Found({part: _member(archive, f"{key}.npy", path) for part, key in found.items() if key is not None})


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Array:
    """One .npy inside a zip. np.load would allocate what the header declares before it knows what is there."""
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = header[version](stream)
        if dtype.hasobject:
            raise DataError(f"{path}: {name} holds Python objects (a pickle), which are refused; save plain numbers")
        size = math.prod(shape) * dtype.itemsize
        raw = take(stream, min(size, (most := limit(path)) + 1))
        allowed(path, len(raw), most)
        expect(f"{path}: {name}", len(raw) + len(stream.read(1)), size)
    x = np.frombuffer(raw, dtype)
    return x.reshape(shape[::-1]).T if fortran else x.reshape(shape)


def _text(path: Path) -> Found:
    with opened(path) as stream:
        table = read_table(stream, path)
    return Found({"train": table.x}, table.names, table.notes, table.lines)


def _mat(path: Path) -> Found:
    return Found({"train": read_faces(path)})


READERS: dict[str, Callable[[Path], Found]] = {
    ".npy": _npy, ".npz": _npz, ".csv": _text, ".tsv": _text, ".txt": _text, ".mat": _mat,
}  # fmt: skip
