"""§7.3 A trained model on disk: the safetensors layout, hashed, written atomically, and never a pickle.

    8 bytes   N, the header's length, little endian
    N bytes   JSON: {"__metadata__": {str: str}, "q.mu.W": {"dtype", "shape", "data_offsets": [begin, end]}, ...}
    the rest  the tensors, C order, little endian, without gaps; data_offsets count from here

Any safetensors reader opens such a file (https://huggingface.co/docs/safetensors). `__metadata__` holds format,
version, library, kind, sha256, and one JSON text for each other key of `meta` (config, state, ...). Equal states give
equal bytes: keys are sorted, and nothing of the time, the host or the file's own place is added.

JSON costs thirty times its size in memory, so the header is parsed last, when the digest in it holds, and its size is
limited: HEADER_LIMIT bytes, with VALUES_LIMIT commas and brackets, which are about 100 bytes each once parsed.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import DataError, UsageError
from ..types import Array

FORMAT, VERSION = "scratchvae", "1"
BLANK = "0" * 64  # stands where the digest will stand, so that the digest can cover the header as well
KEY = b'"sha256":"'  # no value of a string can hold it: its quotes would be escaped
HEADER_LIMIT = 16_000_000  # bytes; a run of 100 000 epochs needs as many
VALUES_LIMIT = 1_000_000
LEFT = ".scratchvae-*.tmp"  # what a killed process leaves beside what it was writing
RESERVED = ("format", "version", "library", "kind", "sha256")
DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
CODES = {np.dtype(text).newbyteorder("="): code for code, text in DTYPES.items()}


def save(path: str | Path, tensors: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write tensors (any shape; bool, integer or real) and meta (JSON values; "kind" a string) to path, atomically.

    A crash at any moment leaves either the old file or the new one.
    Raises UsageError for a dtype that the layout lacks, a reserved key in meta, or a path that cannot be written.
    """
    entries, parts = _layout(tensors)
    header = json.dumps({"__metadata__": _metadata(meta), **entries}, sort_keys=True, separators=(",", ":")).encode()
    check_header(header, "the metadata", UsageError)
    header += b" " * (-len(header) % 8)  # data begin at a multiple of 8 bytes: every tensor is aligned
    parts = [len(header).to_bytes(8, "little"), header, *parts]
    parts[1] = header.replace(KEY + BLANK.encode(), KEY + _digest(parts).encode(), 1)
    write_atomically(path, parts)


def load(path: str | Path, kind: str | None = None) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors (writable, native byte order) and meta of a file that `save` wrote, every byte of it verified.

    Raises DataError, one line, for anything else: another file, another version, another kind, a truncated file,
    a flipped byte. Nothing is allocated beyond the file's own size.
    """
    raw = _read(Path(path))
    _verify(raw, path)
    tensors, metadata = parse(raw, str(path))
    _recognise(metadata, path)
    if kind is not None and metadata.get("kind") != kind:
        raise DataError(f"{path} holds a model of kind {metadata.get('kind')!r}, but {kind!r} was expected")
    try:
        meta = {key: json.loads(text) for key, text in metadata.items() if key not in RESERVED}
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: the metadata are not JSON ({error})") from None
    return tensors, {**meta, "kind": metadata.get("kind", ""), "library": metadata.get("library", "")}


def parse(raw: bytearray, name: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Views of the tensors in any safetensors file's bytes, and its metadata; no digest is asked for.

    Every length and offset is checked against len(raw) first. Raises DataError naming the file `name`.
    """
    text = bytes(_header(raw, name))
    check_header(text, name, DataError)
    start = 8 + len(text)
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique)
        metadata = header.pop("__metadata__", {})
        if not all(type(value) is str for value in metadata.values()):
            raise ValueError("a metadata value is not a string")
        spans = [_span(key, entry) for key, entry in header.items()]
        _tile(spans, len(raw) - start)
        return {key: _view(raw, start + begin, dtype, shape) for begin, _, key, dtype, shape in spans}, metadata
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{name} is not a checkpoint, or is damaged: {_line(error)}") from None


def write_atomically(path: str | Path, parts: Iterable[Any]) -> None:
    """Write the byte buffers in `parts` to path; see `replacing`."""
    with replacing(path) as file:
        for part in parts:
            file.write(part)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A temporary file beside path, to be written within; it takes the name, synced, when all of it has been.

    Raises UsageError when that fails; the old file is then intact, and no temporary one is left.
    """
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = target.with_name(LEFT.replace("*", str(threading.get_native_id())))
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        folder = os.open(target.parent, os.O_RDONLY)  # without this the new name itself may be lost with the power
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            reason = f"{error.strerror or error}; free the disk or name another folder"
            raise UsageError(f"{path} cannot be written: {reason}") from error
        raise


def _layout(tensors: Mapping[str, Array]) -> tuple[dict[str, Any], list[Any]]:
    """Header entries and flat bytes, widest elements first: without gaps, each tensor is aligned to its own size."""
    entries: dict[str, Any] = {}
    parts: list[Any] = []
    begin = 0
    for name, x in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        code = CODES.get(x.dtype.newbyteorder("="))
        if code is None or name == "__metadata__":
            raise UsageError(f"tensor {name!r} of dtype {x.dtype} cannot be stored; the layout has {', '.join(DTYPES)}")
        flat = np.ascontiguousarray(x, DTYPES[code]).reshape(-1).view(np.uint8)
        entries[name] = {"dtype": code, "shape": list(x.shape), "data_offsets": [begin, begin + flat.size]}
        parts.append(flat)
        begin += flat.size
    return entries, parts


def _metadata(meta: Mapping[str, Any]) -> dict[str, str]:
    from .. import __version__

    if clash := [key for key in meta if key in RESERVED and key not in ("kind", "library")]:
        raise UsageError(f"meta has the reserved key {clash[0]!r}; rename it")
    texts = {k: json.dumps(v, sort_keys=True, default=_plain) for k, v in meta.items() if k not in RESERVED}
    kind = str(meta.get("kind", ""))
    return {**texts, "format": FORMAT, "version": VERSION, "library": __version__, "kind": kind, "sha256": BLANK}


def _plain(value: Any) -> Any:
    """JSON for what NumPy makes of numbers: json.dumps knows Python's own only."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in a checkpoint's metadata")


def _digest(parts: Iterable[Any]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


def _read(path: Path) -> bytearray:
    """The whole file. Its size is known beforehand, so a header's claims never decide how much is read; it is asked of
    the file that was opened, for a run that goes on puts another one in its place."""
    try:
        if not path.is_file():
            raise DataError(f"{path} is not a file; give a checkpoint such as runs/mnist/checkpoint.safetensors")
        with open(path, "rb") as file:
            raw = bytearray(os.fstat(file.fileno()).st_size)
            del raw[file.readinto(raw) :]
        return raw
    except (OSError, MemoryError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', 'larger than memory')}") from None


def _header(raw: bytearray, name: str | Path) -> memoryview:
    """The header's bytes."""
    start = 8 + int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or not 10 <= start <= len(raw):
        raise DataError(f"{name} is not a checkpoint, or is truncated: {len(raw)} bytes, header to end at {start}")
    return memoryview(raw)[8:start]


def check_header(header: bytes, name: str, error: type[Exception]) -> None:
    """One clear line for a header whose parts would fill the memory."""
    values = sum(map(header.count, (b",", b"[", b"{")))
    if len(header) > HEADER_LIMIT or values > VALUES_LIMIT:
        raise error(f"{name}: a header of {len(header)} bytes with {values} values, the limits are {HEADER_LIMIT} and "
                    f"{VALUES_LIMIT}; keep a shorter history, or fewer tensors")  # fmt: skip


def _verify(raw: bytearray, path: str | Path) -> None:
    """The digest, found by its key as `save` writes it: nothing is parsed before it holds."""
    header = _header(raw, path)
    if header[0] != ord("{"):
        raise DataError(f"{path} is not a checkpoint, or is damaged: no header in JSON")
    found = re.search(rb'"sha256": ?"([0-9a-f]{64})"', header)
    if found is None:
        raise DataError(f"{path} is a safetensors file, but scratchvae did not write it (no digest inside), or damaged")
    begin, end = found.span(1)
    parts = raw[:8], header[:begin], BLANK.encode(), header[end:], memoryview(raw)[8 + len(header) :]
    if _digest(parts) != found[1].decode():
        raise DataError(f"{path} is damaged: its SHA-256 is not the one recorded; restore it from a copy")


def _recognise(metadata: dict[str, str], path: str | Path) -> None:
    if metadata.get("format") != FORMAT:
        raise DataError(f"{path} is a safetensors file, but scratchvae did not write it (no format {FORMAT!r} inside)")
    if metadata.get("version") != VERSION:
        raise DataError(
            f"{path} has checkpoint version {metadata.get('version')!r}, this library reads {VERSION!r}: "
            f"open it with scratchvae {metadata.get('library')}"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(out := dict(pairs)) < len(pairs):
        raise ValueError("a key stands twice in the header")
    return out


def _span(name: str, entry: dict[str, Any]) -> tuple[int, int, str, np.dtype[Any], list[int]]:
    """(begin, end, name, dtype, shape) of one header entry; its bytes must be exactly what its shape needs."""
    dtype, shape, (begin, end) = np.dtype(DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
    if len(shape) > 32 or not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError(f"tensor {name!r} has a shape or an offset that is no natural number")
    if end - begin != (need := math.prod(shape) * dtype.itemsize):
        raise ValueError(f"tensor {name!r} has {end - begin} bytes, its shape and dtype need {need}")
    return begin, end, name, dtype, shape


def _tile(spans: list[tuple[int, int, str, np.dtype[Any], list[int]]], size: int) -> None:
    """The spans must cover the data from 0 to size, in a row: no overlap, no gap, nothing past the end."""
    at = 0
    for begin, end, name, *_ in sorted(spans, key=lambda span: span[:2]):
        if begin != at:
            raise ValueError(f"tensor {name!r} begins at byte {begin} instead of {at}")
        at = end
    if at != size:
        raise ValueError(f"the tensors need {at} bytes of data, the file has {size}: truncated or overlong")


def _view(raw: bytearray, begin: int, dtype: np.dtype[Any], shape: list[int]) -> Array:
    view = np.frombuffer(raw, dtype, math.prod(shape), begin) if math.prod(shape) else np.empty(0, dtype)
    return view.reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _line(error: Exception) -> str:
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    return text.splitlines()[0][:200] if text else type(error).__name__
