"""§7.3 frey_rawface.mat: the one variable ff of a MATLAB 5 file, 560 rows, a face of 28 × 20 a column.

Read by hand, because scipy.io.loadmat (1.17) crashes the process on some damaged files. Such a file is 128 bytes of
header and then elements, each (type, size, bytes); a matrix is an element of elements: flags, sizes, name, values, and
imaginary parts if it is complex. Packed matrices that may have the name ff are unpacked, to LIMIT bytes in all.
"""

import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..types import Array
from .idx import expect

TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
MATRIX, PACKED = 14, 15
NUMBERS = range(6, 16)  # the classes of full matrices of numbers; others are text, sparse, or hold variables
COMPLEX = 0x0800  # a bit of the flags, whose lowest byte is the class
LIMIT = 1 << 26  # bytes of the unpacked variables; the faces as float64 take 9 million
NAME = 1 << 10  # unpacked bytes that hold a variable's name


def read_faces(path: Path) -> Array:
    """The faces (N, 28, 20), as stored. Raises DataError for a file without them, truncated or damaged."""
    raw, room = memoryview(path.read_bytes()), LIMIT
    order = {b"IM": "<", b"MI": ">"}.get(bytes(raw[126:128]))
    if order is None:
        raise DataError(f"{path} is not a MATLAB 5 file")
    try:
        for kind, body in _elements(raw[128:], order):
            if kind == PACKED:
                if b"ff" not in zlib.decompressobj().decompress(body, NAME):
                    continue
                kind, body = next(_elements(unpacked := memoryview(_unpack(body, room)), order))
                room -= len(unpacked)
            parts = list(itertools.islice(_elements(body, order), 6)) if kind == MATRIX else []
            if len(parts) >= 4 and bytes(parts[2][1]) == b"ff":
                _check_class(parts[0][1], len(parts) > 4, order, path)
                return _faces(parts[1][1], *parts[3], order, path)
    except (struct.error, zlib.error, KeyError, ValueError, StopIteration) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is damaged: {error or type(error).__name__}") from None
    raise DataError(f"{path} has no variable ff; only frey_rawface.mat is read, save other data as .npy")


def _unpack(body: memoryview, room: int) -> bytes:
    stream = zlib.decompressobj()
    out = stream.decompress(body, max(room, 1))
    if not stream.eof:  # only at its end has zlib compared the checksum
        raise ValueError(f"a packed variable is truncated, or more than {LIMIT} bytes are packed")
    return out


def _check_class(flags: memoryview, imaginary: bool, order: str, path: Path) -> None:
    """Raises DataError unless the values are those of a full matrix of real numbers."""
    (bits,) = struct.unpack(order + "I", flags[:4])
    if imaginary or bits & COMPLEX:
        raise DataError(f"{path}: ff is complex; save its real part, or real and imaginary part apart")
    if bits & 0xFF not in NUMBERS:
        kind = f"MATLAB class {bits & 0xFF}"
        raise DataError(f"{path}: ff is no full matrix of numbers ({kind}); save it as full(double(ff))")


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


def _faces(sizes: memoryview, kind: int, values: memoryview, order: str, path: Path) -> Array:
    shape = tuple(int(n) for n in np.frombuffer(sizes, order + "i4"))
    if len(shape) != 2 or shape[0] != 560 or shape[1] < 0:
        raise DataError(f"{path}: ff has shape {shape}, expected (560, faces)")
    dtype = np.dtype(order + TYPES[kind])
    expect(f"{path}: ff", len(values), 560 * shape[1] * dtype.itemsize)
    return np.frombuffer(values, dtype).reshape(shape[1], 28, 20)  # MATLAB stores column after column
