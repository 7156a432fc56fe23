"""§7.3 Rows of any kind into .npy, which is mapped: streaming, shuffled if asked, and taken up again after a kill.

The shuffle has two passes (Sanders 1998). Each row has a random key of 64 bits, named by (seed, row). The first pass
scatters rows to B buckets, bucket ⌊key · B / 2⁶⁴⌋; the second sorts each bucket by key in memory. So the result is the
rows in the order of their keys, one permutation as likely as another, whatever B, the blocks and the kills.

Beside OUT stands OUT.part until all is there: what was written, and a journal of the place in the source and of the
size of each file by then. What is beyond these sizes is cut off when the work is taken up.
"""

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UsageError
from ..noise import LIMIT, Noise, Purpose
from ..types import Array
from .sources import Blocks, Place, Source, source
from .sparse import FILES, Sparse

HEADER = 128  # bytes of an .npy's
BUCKET = 1 << 26  # bytes of rows that are sorted in memory
SPACE = 1 << 24  # bytes to be left on the disk
Report = Callable[[str, int, int], None]  # what is done, how much of how many


class Work:
    """The folder OUT.part: files that grow, and the journal that says how far they count."""

    def __init__(self, out: Path, about: dict[str, Any]) -> None:
        self.folder = out.with_name(out.name + ".part")
        self.journal = self.folder / "journal.json"
        self.state: dict[str, Any] = {"about": about, "pass": 0, "place": [], "rows": 0, "sizes": {}, "row": None}
        if self.journal.exists():
            state = json.loads(self.journal.read_text(encoding="utf-8"))
            if state["about"] != about:
                raise UsageError(f"{self.folder} is of another conversion, or its source has changed: remove it first")
            self.state = state
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            if path.name not in self.state["sizes"] and path != self.journal:
                path.unlink()
        there = {name: size for name, size in self.state["sizes"].items() if (self.folder / name).exists()}
        for name, size in there.items():  # a bucket that was written may be gone, and the journal not know it yet
            os.truncate(self.folder / name, size)
        self.state["sizes"] = there

    def append(self, name: str, rows: Array) -> None:
        """Rows at the end of a file; an .npy begins with room for its header."""
        with open(self.folder / name, "ab") as file:
            if name.endswith(".npy") and not file.tell():
                file.write(bytes(HEADER))
            file.write(np.ascontiguousarray(rows).data.cast("B"))
            self.state["sizes"][name] = file.tell()

    def drop(self, *names: str) -> None:
        """Files that are wanted no more."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
            self.state["sizes"].pop(name, None)

    def keep(self, **changes: Any) -> None:
        """The journal, as things stand now."""
        self.state |= changes
        written = self.journal.with_suffix(".new")
        written.write_text(json.dumps(self.state), encoding="utf-8")
        os.replace(written, self.journal)


def convert(
    path: str,
    out: str | Path,
    seed: int | None = None,
    shard_rows: int | None = None,
    leave_out: Sequence[str] = (),
    report: Report = lambda *_: None,
) -> Source:
    """All rows at a path into OUT.npy, or into a folder of .npy with `shard_rows` each, shuffled by a seed. Sparse rows
    stay so in a folder, as CSR, unless they are to be shards.

    Raises UsageError for an OUT that is there or has no room, DataError for rows that cannot be read or change their
    kind."""
    found, out = source(path, leave_out), Path(out)
    check_room(out, found.size * (2 if seed is not None else 1), shard_rows)
    if found.sparse is not None and out.suffix != ".npy" and not shard_rows:
        save_csr(found.sparse, out, seed)
        return found
    status = os.stat(path.partition(":")[0] if not os.path.exists(path) else path)
    about = {"path": path, "size": status.st_size, "time": status.st_mtime_ns, "seed": seed, "rows": shard_rows}
    work = Work(out, about | {"leave_out": list(leave_out)})
    blocks = found.blocks
    if seed is not None:
        if work.state["pass"] == 0:
            many = max(1, -(-found.size // BUCKET))
            stream(work, blocks, lambda first, x: scatter(work, first, x, seed, many), found.all, report, "scattered")
            work.keep(**{"pass": 1, "place": [], "rows": 0, "buckets": many})
        found = found._replace(all=work.state["buckets"])
        blocks = functools.partial(sorted_buckets, work)
    stream(work, blocks, lambda first, x: cut(work, first, x, shard_rows), found.all, report, "written")
    finish(work, out)
    return found


def check_room(out: Path, size: int, shard_rows: int | None) -> None:
    """Raises UsageError before any work is done that could not be finished."""
    if out.exists():
        raise UsageError(f"{out} is there already: remove it, or name another")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}; make it first")
    if shard_rows and out.suffix == ".npy":
        raise UsageError(f"{out} is one file, and shards are several: name a folder")
    part = out.with_name(out.name + ".part")
    there = sum(file.stat().st_size for file in part.iterdir()) if part.is_dir() else 0
    free = shutil.disk_usage(out.absolute().parent).free
    if size - there + SPACE > free:
        sizes = f"may take {size / 1e9:.3g} GB on the way, and {free / 1e9:.3g} are free"
        raise UsageError(f"{out} {sizes}: name another disk")


def stream(
    work: Work, blocks: Blocks, put: Callable[[int, Array], None], total: int, report: Report, what: str
) -> None:
    """Put block after block, each of one kind with the first, and keep the place after it."""
    for block, place in blocks(work.state["place"]):
        x = block.astype(block.dtype.newbyteorder("="), copy=False)
        row = [x.dtype.str, list(x.shape[1:])]
        if work.state["row"] not in (None, row):
            was, now = (f"{dtype} {tuple(shape)}" for dtype, shape in (work.state["row"], row))
            raise DataError(f"from row {work.state['rows']} on rows are {now}, and were {was} before")
        work.state["row"] = row
        if len(x):
            put(work.state["rows"], x)
        work.keep(place=place, rows=work.state["rows"] + len(x))
        report(what, place[0], total)


def scatter(work: Work, first: int, x: Array, seed: int, many: int) -> None:
    """The rows x, numbered from `first`, to their buckets, with their keys."""
    words = Noise(seed).words(Purpose.ORDER, LIMIT - 1, len(x), 2, first).astype(np.uint64)  # of no epoch
    which = (words[:, 0] * np.uint64(many)) >> np.uint64(32)
    keys = (words[:, 0] << np.uint64(32)) | words[:, 1]
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(many + 1))
    for i in np.unique(which).astype(int).tolist():
        part = order[ends[i] : ends[i + 1]]
        work.append(f"bucket-{i}", x[part])
        work.append(f"keys-{i}", keys[part])


def sorted_buckets(work: Work, place: Place) -> Iterator[tuple[Array, Place]]:
    """The buckets one after the other, each in the order of its keys; one that is written is dropped."""
    dtype, shape = work.state["row"]
    for i in range(place[0] if place else 0, work.state["buckets"]):
        names = f"bucket-{i}", f"keys-{i}"
        if names[0] in work.state["sizes"]:
            keys = np.fromfile(work.folder / names[1], np.uint64)
            x = np.fromfile(work.folder / names[0], dtype).reshape(len(keys), *shape)
            yield x[np.argsort(keys, kind="stable")], [i + 1]
            work.drop(*names)


def cut(work: Work, first: int, x: Array, shard_rows: int | None) -> None:
    """The rows x, numbered from `first`, at the end of the files that they belong to."""
    most = shard_rows or LIMIT
    for i in range(first // most, (first + len(x) - 1) // most + 1):
        work.append(f"{i:06}.npy", x[max(0, i * most - first) : (i + 1) * most - first])


def finish(work: Work, out: Path) -> None:
    """Headers, when all rows are there and every file has the size that they take; then OUT has its name."""
    if work.state["row"] is None or not work.state["rows"]:
        raise DataError(f"{work.state['about']['path']} has no rows")
    dtype, shape = work.state["row"]
    row, rows = int(np.prod(shape)) * np.dtype(dtype).itemsize, 0
    files = sorted(work.folder.glob("*.npy"))
    for path in files:
        size = path.stat().st_size - HEADER
        if size % row:
            raise DataError(f"{path} has {size} bytes of rows of {row}: remove {work.folder} and begin again")
        text = repr({"descr": dtype, "fortran_order": False, "shape": (size // row, *shape)})
        with open(path, "r+b") as file:
            file.write(b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + f"{text:<{HEADER - 11}}\n".encode())
            os.fsync(file.fileno())
        rows += size // row
    if rows != work.state["rows"]:
        raise DataError(f"{rows} rows of {work.state['rows']} are in {work.folder}: remove it and begin again")
    if out.suffix == ".npy":
        os.replace(files[0], out)
        shutil.rmtree(work.folder)
    else:
        for path in {*work.folder.iterdir()} - {*files}:
            path.unlink()
        os.replace(work.folder, out)


def save_csr(x: Sparse, out: Path, seed: int | None) -> None:
    """Sparse rows as the files that `sparse.from_maps` maps."""
    if seed is not None:
        raise UsageError(f"{out}: rows are shuffled as dense ones: name a file, or give --shard-rows")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name, array in zip(FILES, x.csr, strict=True):
        np.save(part / f"{name}.npy", array)
    np.save(part / "shape.npy", np.array(x.shape))
    os.replace(part, out)
