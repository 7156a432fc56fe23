"""§7.3 IDX, the format of MNIST: two zero bytes, a type byte, the rank, the big-endian sizes, the values.

Nothing is allocated because a header says so: a plain file's length is compared with its header before it is
mapped, and a packed file (gz, xz) is unpacked in blocks until it ends or has given what its header declares. No
packed file is unpacked to more than `limit` bytes: blank images shrink a thousandfold, and so does what is meant to
fill a memory, but no data file needs to be packed (binarised MNIST as text shrinks to a twenty-seventh). A file is
opened once, and all that is asked is asked of what was opened: another may take its name meanwhile.
"""

import io
import lzma
import math
import os
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import DataError
from ..types import Array

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZ, XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
BLOCK = 1 << 24  # bytes unpacked at once
FLOOR, RATIO = 1 << 26, 50  # MNIST's images take 47 million bytes, and shrink to a sixth


def read_idx(path: Path) -> Array:
    """The array of an IDX file, with the rank that it declares: a memory map (big endian) if plain, else in memory.

    Raises DataError, one line: wrong magic, a corrupt gz or xz, fewer or more bytes than the header declares.
    """
    try:
        with opened(path) as stream:
            dtype, shape, start = _header(stream, path)
            size = math.prod(shape) * dtype.itemsize
            if isinstance(stream.raw, Unpacked):
                allowed(path, size, stream.raw.most)
                return _in_memory(stream, path, dtype, shape, size)
            expect(path, os.fstat(stream.fileno()).st_size - start, size)
            return np.memmap(stream, dtype, "r", start, shape) if size else np.empty(shape, dtype)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, MemoryError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is corrupt or cannot be read: {error or type(error).__name__}") from None


def limit(file: IO[bytes], share: int = 1) -> int:
    """The bytes that a packed file may hold unpacked: RATIO times its size, and FLOOR at least, or a part of FLOOR
    where the bytes are to become `share` times as many."""
    return max(FLOOR // share, RATIO * os.fstat(file.fileno()).st_size)


def allowed(path: Path, size: int, most: int) -> None:
    """Raises DataError for more bytes than `limit` gave."""
    if size > most:
        raise DataError(f"{path} declares or holds over {most} bytes, its limit while packed; unpack it first")


class Gunzipped:
    """What a gz holds, member by member. The module gzip takes 8 kB at a time and asks for Python's lock after each:
    it is half as fast, and would wait at each for the thread that imports Numba meanwhile."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.member, self.packed = file, zlib.decompressobj(31), b""

    def read(self, most: int) -> bytes:
        """At most so many bytes, none at the end. Raises EOFError where a member is cut off, zlib.error where it is
        damaged."""
        while True:
            self.packed = self.packed or self.file.read(BLOCK)
            if self.member.eof and not self.packed:
                return b""
            if self.member.eof:
                self.packed = self.packed.lstrip(b"\0")  # which may fill up a block behind the last member
                self.member = zlib.decompressobj(31) if self.packed else self.member
                continue
            data = self.member.decompress(self.packed, most)
            if not data and not self.packed:
                raise EOFError("it ends in the middle")
            self.packed = self.member.unconsumed_tail or self.member.unused_data
            if data:
                return data


class Unpacked(io.RawIOBase):
    """What a gz or an xz holds, up to `most` bytes: DataError after that."""

    def __init__(self, path: Path, file: io.BufferedReader, most: int) -> None:
        self.path, self.file, self.most, self.taken = path, file, most, 0
        self.stream: Any = Gunzipped(file) if file.peek(2).startswith(GZ) else lzma.open(file)  # noqa: SIM115

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes of the file behind, counted."""
        data = self.stream.read(len(buffer))
        self.taken += len(data)
        allowed(self.path, self.taken, self.most)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file behind as well."""
        self.file.close()
        super().close()


def opened(path: Path, share: int = 1) -> io.BufferedReader:
    """The file's bytes, unpacked when they begin as gz or xz do, whatever the name says; then `limit` says how
    many there may be."""
    file = open(path, "rb")  # noqa: SIM115 (the caller closes it)
    if file.peek(6).startswith((GZ, XZ)):
        return io.BufferedReader(Unpacked(path, file, limit(file, share)), BLOCK)
    return file


def take(stream: Any, count: int) -> Array:
    """At most count bytes, uint8, block by block; room for so many is `allowed` by now, and taken as it is filled."""
    out, there = np.empty(count, np.uint8), 0
    while there < count and (some := stream.readinto(out.data[there : there + BLOCK])):
        there += some
    return out[:there]


def expect(path: str | Path, there: int, declared: int) -> None:
    """Raises DataError unless the values take exactly the bytes that the header declares."""
    if there != declared:
        what = "is truncated" if there < declared else "is longer than its header says"
        raise DataError(f"{path} {what}: {declared} bytes of values declared, {there} found; fetch the file again")


def _header(stream: IO[bytes], path: Path) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not 1 <= magic[3] <= 32:
        raise DataError(f"{path} is not IDX: it begins with {magic.hex() or 'nothing'}, expected e.g. 00000803")
    sizes = stream.read(4 * magic[3])
    expect(path, len(sizes), 4 * magic[3])
    shape = tuple(int.from_bytes(sizes[i : i + 4], "big") for i in range(0, len(sizes), 4))
    return np.dtype(TYPES[magic[2]]), shape, 4 + len(sizes)


def _in_memory(stream: IO[bytes], path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], size: int) -> Array:
    raw = take(stream, size)
    excess = len(stream.read(1))  # reading on to the end is also what makes gzip and xz verify their checksums
    expect(path, len(raw) + excess, size)
    return raw.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
