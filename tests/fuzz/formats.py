"""§7.3 What a file says by its format's definition, written independently of the readers: the judges of these."""

import ast
import contextlib
import csv
import io
import itertools
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchvae.data import files
from scratchvae.training import checkpoint
from scratchvae.training.config import Config
from scratchvae.types import Array

UNNAMED = ("", "Unnamed: 0")  # what pandas and R call the column of an index
GAPS = ("", "na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "?")  # words for no value
CODES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MAT_CODES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


class MustRefuse(Exception):
    """By the format's definition this file holds something that the reader has no word for."""


def same(a: Any, b: Any) -> bool:
    """Equal types, shapes and bits, byte order aside; one NaN is as good as another."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        a, b = (np.asarray(x).astype(x.dtype.newbyteorder("=")) for x in (a, b))
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return a.tobytes() == b.tobytes() or (a.dtype.kind in "fc" and np.array_equal(a, b, equal_nan=True))
    return type(a) is type(b) and json.dumps(a) == json.dumps(b)


def judge_by(oracle: Callable[[bytes], Any]) -> Callable[[bytes, Any], bool]:
    return lambda raw, value: same(oracle(raw), value)


def idx(raw: bytes) -> dict[str, Array]:
    zero, code, rank = struct.unpack(">HBB", raw[:4])
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    if zero or len(raw) != 4 + 4 * rank + math.prod(shape) * np.dtype(CODES[code]).itemsize:
        raise MustRefuse
    return {"train": np.frombuffer(raw[4 + 4 * rank :], CODES[code]).reshape(shape)}


def gunzip(raw: bytes) -> bytes:
    out = b""
    while raw.strip(b"\0"):
        stream = zlib.decompressobj(31)
        out += stream.decompress(raw)
        raw = stream.unused_data
        if not stream.eof:
            raise MustRefuse
    return out


def npy(raw: bytes) -> Array:
    kind = "<H" if raw[6] == 1 else "<I"
    start = 8 + struct.calcsize(kind)
    end = start + struct.unpack(kind, raw[8:start])[0]
    head = ast.literal_eval(raw[start:end].decode("latin1"))
    x = np.frombuffer(raw, np.dtype(head["descr"]), math.prod(head["shape"]), end)
    return x.reshape(head["shape"], order="F" if head["fortran_order"] else "C")


def npz(raw: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        held = {name[:-4]: archive for name in archive.namelist() if name.endswith(".npy")}
        chosen = {part: [key for key in keys if key in held][:1] for part, keys in files.PARTS.items()}
        chosen["train"] = chosen["train"] or list(held)
        return {part: npy(archive.read(f"{keys[0]}.npy")) for part, keys in chosen.items() if keys}


def mat(raw: bytes) -> dict[str, Array]:
    order = {b"IM": "<", b"MI": ">"}[raw[126:128]]

    def elements(raw: bytes) -> Iterator[tuple[int, bytes]]:
        while raw:
            kind, size = struct.unpack(f"{order}II", raw[:8])
            at, kind, size = (4, kind & 0xFFFF, kind >> 16) if kind >> 16 else (8, kind, size)
            if at + size > len(raw):
                raise ValueError
            yield kind, raw[at : at + size]
            raw = raw[8 if at == 4 else 8 + size + (-size % 8 if kind != 15 else 0) :]

    for kind, body in elements(raw[128:]):
        kind, body = next(elements(zlib.decompress(body))) if kind == 15 else (kind, body)
        parts = [*elements(body)] if kind == 14 else []
        if len(parts) > 3 and parts[2][1] == b"ff":
            flags = struct.unpack(f"{order}I", parts[0][1][:4])[0]
            if flags & 0x800 or not 6 <= flags & 0xFF <= 15:  # complex, or a class that is no full matrix of numbers
                raise MustRefuse
            values = np.frombuffer(parts[3][1], order + MAT_CODES[parts[3][0]])
            rows, faces = np.frombuffer(parts[1][1], f"{order}i4")
            return {"train": values.reshape(faces, rows).reshape(faces, 28, 20)}
    raise ValueError


def judge_table(raw: bytes, value: dict[str, Array]) -> bool:
    """Whether all lines are there, cell for cell, after three at most that hold more than numbers or count columns;
    a first column without a name, of whole numbers that differ, and a last without a value may be left out."""
    x = value["train"]
    raw = gunzip(raw) if raw.startswith(b"\x1f\x8b") else raw
    text = raw.decode("utf-8-sig", "strict" if x.size else "replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if x.size == 0:  # names and nothing else, which may be 0, 1, 2, …; a data set of no rows is refused later
        full = [line.strip() for line in lines if line.strip()]
        return sum(numbers(re.split(r"[,;\s]+", line)) is not None for line in full) < 2
    for delimiter, skip in itertools.product((",", ";", "\t", " "), range(4)):
        with contextlib.suppress(ValueError, csv.Error):
            there = [line for line in lines if line.strip(" ")]
            cells = [re.split(r"\s+", line.strip()) for line in there]
            cells = [*csv.reader(there, delimiter=delimiter)] if delimiter != " " else cells
            width = max((len(row) for row in cells if "".join(row).strip()), default=0)
            cells = [row for row in cells if "".join(row).strip() or len(row) == width > 1]  # of gaps, or an empty line
            if any(numbers(row) not in (None, [*range(len(row))]) for row in cells[:skip]):
                continue  # a line of numbers was passed over
            kept = [row for row in cells[skip:] if not row[0].lstrip().startswith("#")]
            words = [[cell.strip() for cell in row] for row in kept]
            if len({len(row) for row in words}) > 1:
                continue
            table = np.array([column_of(column, delimiter) for column in zip(*words, strict=True)]).T
            if table.ndim < 2:
                continue  # nothing is left
            end = table.shape[1] - int(np.isnan(table[:, -1]).all())
            names = cells[skip - 1] if skip else []
            nameless = skip > 0 and (len(names) < table.shape[1] or names[0].strip().strip("# ") in UNNAMED)
            whole = len({*table[:, 0]}) == len(table) and not np.modf(table[:, 0])[0].any()
            for first, last in itertools.product((0, int(nameless and whole)), (table.shape[1], end)):
                if same(np.ascontiguousarray(table[:, first:last]), x):
                    return True
    return False


def column_of(cells: tuple[str, ...], delimiter: str) -> list[float]:
    """Numbers, or of words, if there is nothing else, their places in the alphabet; gaps are NaN. Between other
    delimiters numbers may have decimal commas."""
    there = [cell for cell in cells if cell.lower() not in GAPS]
    points = [cell.replace(",", ".") if delimiter != "," and cell.count(",") == 1 else cell for cell in cells]
    if there and all(numbers([cell]) is None for cell in (*there, *(p for p in points if p.lower() not in GAPS))):
        if re.search(r"[\x00-\x1f\x7f]", "".join(there)):
            raise ValueError
        alphabet = sorted(set(there))
        return [float("nan") if cell.lower() in GAPS else float(alphabet.index(cell)) for cell in cells]
    return [float("nan" if cell.lower() in GAPS else cell) for cell in points]


def numbers(row: list[str]) -> list[float] | None:
    """The numbers in a row, None if there is anything else."""
    with contextlib.suppress(ValueError):
        return [float(cell) for cell in row]
    return None


def tensors(raw: bytes) -> dict[str, Array]:
    start = 8 + int.from_bytes(raw[:8], "little")
    found, spans = {}, []
    for name, entry in json.loads(raw[8:start], object_pairs_hook=unique).items():
        if name != "__metadata__":
            spans.append(entry["data_offsets"])
            piece = raw[start:][slice(*entry["data_offsets"])]
            found[name] = np.frombuffer(piece, checkpoint.DTYPES[entry["dtype"]]).reshape(entry["shape"])
    edges = [edge for span in sorted(spans) for edge in span]
    if edges[1:-1:2] != edges[2::2] or (edges[:1], edges[-1:]) not in (([0], [len(raw) - start]), ([], [])):
        raise MustRefuse  # an overlap, a hole, or bytes that are of no tensor
    return found


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) != len(dict(pairs)):
        raise MustRefuse
    return dict(pairs)


def judge_state(raw: bytes, value: tuple[dict[str, Array], Any, int]) -> bool:
    start = 8 + int.from_bytes(raw[:8], "little")
    meta = json.loads(raw[8:start])["__metadata__"]
    said = {key: json.loads(meta[key]) for key in ("config", "step")}
    return (
        sign(raw) == raw
        and same(tensors(raw), value[0])
        and expected(said["config"]) == value[1]
        and (said["step"] == value[2] and type(said["step"]) is int)
    )


def expected(values: dict[str, Any]) -> str:
    usual = Config().as_dict()
    optimizer = {**usual["optimizer"], **values.get("optimizer", {})}
    return json.dumps({**usual, **values, "optimizer": optimizer}, sort_keys=True)


def sign(raw: bytes) -> bytes:
    """The same file with the digest that its bytes ask for, as one who forges it would write it."""
    blank = re.sub(rb'("sha256":")[0-9a-f]{64}', rb"\g<1>" + checkpoint.BLANK.encode(), raw, count=1)
    digest = checkpoint._digest([blank])
    return blank.replace(checkpoint.BLANK.encode(), digest.encode(), 1)
