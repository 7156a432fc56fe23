"""§7.3 MATLAB's files: Frey Face's ff, Omniglot's chardata.mat, and whatever calls its rows x, as an .npz would.

MATLAB 5 is read by hand, because scipy.io.loadmat (1.17) crashes the process on some damaged files. Such a file is 128
bytes of header and then elements, each (type, size, bytes); a matrix is an element of elements: flags, sizes, name,
values, and imaginary parts if it is complex. Packed matrices of a wanted name are unpacked, to `_room` bytes in all.
MATLAB 7.3 is HDF5, which h5py reads (extra `hdf5`). Both data sets have an image a column: ff row after row, Omniglot
column after column.
"""

import itertools
import math
import os
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..types import Array
from .idx import RATIO, allowed, expect

TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, PACKED = 14, 15
NUMBERS = range(6, 16)  # the classes of full matrices of numbers; others are text, sparse, or hold variables
COMPLEX = 0x0800  # a bit of the flags, whose lowest byte is the class
LIMIT = 1 << 28  # bytes of the unpacked variables, or RATIO of the file; Omniglot's as float64 take 215 million
NAME = 1 << 10  # unpacked bytes that hold a variable's name
FACE, LETTER = (28, 20), (28, 28)  # height and width
OMNIGLOT = ("data", "testdata", "target", "testtarget")


def read_mat(path: Path, parts: Mapping[str, Sequence[str]]) -> dict[str, Array]:
    """The arrays of a data set under the keys of `parts`, by the names that stand there, in any case: rows (N, D), or
    images (N, height, width) of Frey Face and Omniglot. Raises DataError for a file without them, truncated or damaged.
    """
    wanted = {"ff", *OMNIGLOT, *itertools.chain(*parts.values())}
    with open(path, "rb") as file:
        newer = file.read(10) == b"MATLAB 7.3"
    found = _of_hdf5(path, wanted) if newer else _variables(path, wanted)
    if "ff" in found:
        return {"train": _images(found["ff"], FACE, f"{path}: ff")}
    if found.keys() >= set(OMNIGLOT) and len(found["data"]) == math.prod(LETTER):
        return _omniglot(found, path)
    named = {part: next((found[name] for name in names if name in found), None) for part, names in parts.items()}
    if named["train"] is None:
        raise DataError(f"{path} has no variable ff, of Frey Face, nor {', '.join(parts['train'])}: call the rows x")
    rows = {part: x for part, x in named.items() if x is not None}
    if any(x.ndim != 2 for x in rows.values()):
        raise DataError(f"{path} has arrays of three axes, and MATLAB's order of them is unknown: give x as (N, D)")
    return {part: x.ravel() if "labels" in part and 1 in x.shape else x for part, x in rows.items()}


def _images(x: Array, shape: tuple[int, int], called: str) -> Array:
    """Columns x (height · width, N), an image each, as (N, height, width), by the order of axes in a column."""
    if x.ndim != 2 or len(x) != math.prod(shape):
        raise DataError(f"{called} has shape {x.shape}, expected ({math.prod(shape)}, images)")
    return x.T.reshape(-1, *shape)


def _omniglot(found: dict[str, Array], path: Path) -> dict[str, Array]:
    """Letters (N, 28, 28), and as labels the number of their alphabet, which `target` (alphabets, N) marks by a 1."""
    train, test = (_images(found[name], LETTER, f"{path}: {name}").transpose(0, 2, 1) for name in OMNIGLOT[:2])
    labels = {"labels": found["target"].argmax(axis=0), "test_labels": found["testtarget"].argmax(axis=0)}
    return {"train": train, "test": test, **labels}


def _of_hdf5(path: Path, wanted: Collection[str]) -> dict[str, Array]:
    """The variables of MATLAB 7.3, in MATLAB's order of axes."""
    try:
        import h5py
    except ImportError:
        way = "pip install 'scratchvae[hdf5]', or save it by save -v7"
        raise DataError(f"{path} is a MATLAB 7.3 file, which needs h5py: {way}") from None
    found, most = dict[str, Array](), max(LIMIT, RATIO * os.path.getsize(path))
    with h5py.File(path) as file:
        for name, held in file.items():
            if name.lower() in wanted and isinstance(held, h5py.Dataset):
                if held.dtype.kind not in "iuf" or held.attrs.get("MATLAB_class", b"double") == b"char":
                    raise DataError(
                        f"{path}: {name} is no full matrix of real numbers; save it as full(double({name}))"
                    )
                most -= held.size * held.dtype.itemsize
                allowed(path, 0, most)
                found[name.lower()] = held[()].T
    return found


def _variables(path: Path, wanted: Collection[str]) -> dict[str, Array]:
    """The variables of MATLAB 5; of Frey Face's file its first alone."""
    raw, found = memoryview(path.read_bytes()), dict[str, Array]()
    room = most = max(LIMIT, RATIO * len(raw))
    order = {b"IM": "<", b"MI": ">"}.get(bytes(raw[126:128]))
    if order is None:
        raise DataError(f"{path} is not a MATLAB 5 file")
    try:
        for kind, body in _elements(raw[128:], order):
            if kind == PACKED:
                head = memoryview(zlib.decompressobj().decompress(body, NAME))
                if _name(head[8:], order) not in wanted:
                    continue
                kind, body = next(_elements(unpacked := memoryview(_unpack(body, room, most)), order))
                room -= len(unpacked)
            if kind == MATRIX and (name := _name(body, order)) in wanted and "ff" not in found:
                found[name] = _matrix([*itertools.islice(_elements(body, order), 6)], order, f"{path}: {name}")
            if "ff" in found:
                break
    except (struct.error, zlib.error, KeyError, ValueError, StopIteration) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged: {error or type(error).__name__}") from None
    return found


def _name(body: memoryview, order: str) -> str:
    """Of a matrix, small; "" for what has none."""
    parts = [*itertools.islice(_elements(body, order), 3)]
    return bytes(parts[2][1]).decode("latin-1").lower() if len(parts) == 3 else ""


def _matrix(parts: list[tuple[int, memoryview]], order: str, called: str) -> Array:
    """The values of a full matrix of real numbers, in MATLAB's order of axes."""
    if len(parts) < 4:
        raise ValueError(f"{called} has no values")
    (bits,) = struct.unpack(order + "I", parts[0][1][:4])
    if len(parts) > 4 or bits & COMPLEX:
        raise DataError(f"{called} is complex; save its real part, or real and imaginary part apart")
    if bits & 0xFF not in NUMBERS:
        why, name = f"MATLAB class {bits & 0xFF}", called.rpartition(" ")[2]
        raise DataError(f"{called} is no full matrix of numbers ({why}); save it as full(double({name}))")
    shape = tuple(int(n) for n in np.frombuffer(parts[1][1], order + "i4"))
    kind, values = parts[3]
    dtype = np.dtype(order + TYPES[kind])
    if min(shape, default=-1) < 0:
        raise ValueError(f"{called} has shape {shape}")
    expect(called, len(values), math.prod(shape) * dtype.itemsize)
    return np.frombuffer(values, dtype).reshape(shape, order="F")


def _unpack(body: memoryview, room: int, most: int) -> bytes:
    stream = zlib.decompressobj()
    out = stream.decompress(body, max(room, 1))
    if not stream.eof:  # only at its end has zlib compared the checksum
        raise ValueError(f"a packed variable is truncated, or more than {most} bytes are packed")
    return out


def _elements(raw: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, bytes) of each element; up to four bytes travel in the tag itself, its upper half being their number."""
    while len(raw):
        kind, size = struct.unpack(order + "II", raw[:8])
        if small := kind >> 16:
            kind, size, start, end = kind & 0xFFFF, small, 4, 8
        else:
            start, end = 8, 8 + size + (-size % 8 if kind != PACKED else 0)
        if start + size > len(raw) or (small > 4):
            raise ValueError(f"an element of {size} bytes where {len(raw) - start} are left")
        yield kind, raw[start : start + size]
        raw = raw[end:]
