"""§7.3 From a file to arrays: IDX, .npy, .npz, text and frey_rawface.mat, each told by its name.

Pickles are refused everywhere: object arrays would run whatever code the file holds.
"""

import io
import itertools
import math
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..types import Array
from .idx import expect, opened, read_idx, take
from .mat import read_faces

KNOWN = "IDX (...-idx3-ubyte, also .gz, .xz), .npy, .npz, .csv, .tsv, .txt (also .gz, .xz), .mat"
PARTS = {  # the arrays of a data set, and the keys that an .npz may hold them under
    "train": ("train", "x_train", "x", "images", "data"),
    "test": ("test", "x_test", "test_images"),
    "labels": ("labels", "y_train", "y", "train_labels"),
    "test_labels": ("test_labels", "y_test"),
}


def read(path: Path) -> dict[str, Array]:
    """The arrays of one file under the keys of PARTS; "train" always, the others from an .npz that has them.

    A plain IDX and an .npy are memory maps. Raises DataError, one line, for a file that is missing, unknown, corrupt
    or holds Python objects.
    """
    reader = _reader(path)
    if not path.is_file():
        seen_from = "" if path.is_absolute() else f" (seen from {Path.cwd()})"
        raise DataError(f"{path} does not exist or is not a file{seen_from}; give a data file: {KNOWN}")
    try:
        return reader(path)
    except DataError:
        raise
    except Exception as error:  # parsers of foreign formats fail in every way there is; to us it is all bad data
        words = str(error).splitlines() or [type(error).__name__]
        raise DataError(f"{path} cannot be read: {words[0][:300]}") from None


def _reader(path: Path) -> Callable[[Path], dict[str, Array]]:
    name = re.sub(r"\.(gz|xz)$", "", path.name.lower())
    if re.search(r"idx\d*$|idx\d+-|-ubyte$", name):
        return lambda path: {"train": read_idx(path)}
    suffix = Path(name).suffix
    if suffix not in READERS or (suffix in (".npy", ".npz", ".mat") and name != path.name.lower()):
        raise DataError(f"{path} is of no known kind (by its extension); expected {KNOWN}")
    return READERS[suffix]


def _npy(path: Path) -> dict[str, Array]:
    return {"train": np.lib.format.open_memmap(path, mode="r")}  # not np.load, which goes by content: zip, pickle


def _npz(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        found = {part: next((k for k in names if k in keys), None) for part, names in PARTS.items()}
        if found["train"] is None and len(keys) == 1:
            found["train"] = keys[0]
        if found["train"] is None:
            raise DataError(f"{path} holds {', '.join(keys) or 'no arrays'}; call the rows 'train' or 'x'")
        return {part: _member(archive, f"{key}.npy", path) for part, key in found.items() if key is not None}


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Array:
    """One .npy inside a zip. np.load would allocate what the header declares before it knows what is there."""
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = header[version](stream)
        if dtype.hasobject:
            raise DataError(f"{path}: {name} holds Python objects (a pickle), which are refused; save plain numbers")
        size = math.prod(shape) * dtype.itemsize
        raw = take(stream, size)
        expect(f"{path}: {name}", len(raw) + len(stream.read(1)), size)
    x = np.frombuffer(raw, dtype)
    return x.reshape(shape[::-1]).T if fortran else x.reshape(shape)


def _text(path: Path) -> dict[str, Array]:
    """Numbers separated by commas, semicolons, tabs or blanks; one line of names above them is skipped. A cell with
    nothing in it is missing, NaN."""
    with opened(path) as stream, io.TextIOWrapper(stream, "utf-8-sig") as lines:
        first = next(lines, "")
        delimiter = next((c for c in ",;\t" if c in first), None)
        header = first.strip() and not any(_is_number(cell) for cell in first.split(delimiter))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "no data": told below, with zero rows
            table = itertools.chain([] if header else [first], lines)
            full = table if delimiter is None else (_filled(line, delimiter) for line in table)
            try:
                return {"train": np.loadtxt(full, delimiter=delimiter, ndmin=2)}
            except ValueError as error:  # its advice is about options that nobody here has
                raise ValueError(str(error).split("; use `usecols`")[0]) from None


def _filled(line: str, delimiter: str) -> str:
    """A line of a table with "nan" in its empty cells; an empty line stays one."""
    return delimiter.join(cell if cell.strip() else "nan" for cell in line.split(delimiter)) if line.strip() else line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _mat(path: Path) -> dict[str, Array]:
    return {"train": read_faces(path)}


READERS: dict[str, Callable[[Path], dict[str, Array]]] = {
    ".npy": _npy, ".npz": _npz, ".csv": _text, ".tsv": _text, ".txt": _text, ".mat": _mat,
}  # fmt: skip
