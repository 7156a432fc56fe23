"""§7.3 Rows on disk: memory maps, and folders of them. A folder of .npy files is one data set: the rows of its files,
by name. Nothing is copied whole; rows are read, and their values checked, when they are wanted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..types import Array
from . import sparse
from .files import Found, read
from .sparse import Sparse, from_maps

SMALL = 1 << 26  # bytes that may be in memory together


class Shards:
    """Rows (N, D) of maps (N_i, D), one after the other; `first` is the number of the first among those that came."""

    ndim = 2

    def __init__(self, parts: Sequence[Array], name: str, first: int = 0, image: tuple[int, ...] | None = None) -> None:
        self.parts, self.name, self.first, self.image = parts, name, first, image
        self.ends = np.cumsum([len(part) for part in parts])
        self.shape, self.dtype = (int(self.ends[-1]), parts[0].shape[1]), parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            return np.asarray(self)[key]
        if not isinstance(key, slice):
            return self.read(np.asarray(key))
        begin, end, step = key.indices(len(self))
        if step != 1:
            return self.read(np.arange(begin, end, step))
        cut = [part[max(0, begin - at) : max(0, end - at)] for part, at in self.placed()]
        return Shards([part for part in cut if len(part)] or cut[:1], self.name, self.first + begin, self.image)

    def placed(self) -> list[tuple[Array, int]]:
        """The maps, each with the number of its first row."""
        return [(part, int(end) - len(part)) for part, end in zip(self.parts, self.ends, strict=True)]

    def read(self, key: Array) -> Array:
        """The rows with these numbers, or of a mask, (…, D)."""
        index = np.flatnonzero(key) if key.dtype == np.bool_ else np.atleast_1d(key)
        index = np.where(index < 0, index + len(self), index)
        found, which = np.empty((len(index), self.shape[1]), self.dtype), np.searchsorted(self.ends, index, "right")
        for i in np.unique(which):
            part, at = self.placed()[i]
            found[which == i] = part[index[which == i] - at]
        return found[0] if key.ndim == 0 else found

    def view(self, dtype: Any) -> "Shards":
        """The same bytes as another type of that size."""
        return Shards([part.view(dtype) for part in self.parts], self.name, self.first, self.image)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        size = self.shape[0] * self.shape[1] * self.dtype.itemsize
        if size > SMALL:
            raise DataError(f"{self.name}: here all rows are wanted in memory, {size / 1e9:.2g} GB in many files: make "
                            f"one of them, scratchvae convert {self.name} ONE.npy")  # fmt: skip
        return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)


def on_demand(x: Any) -> bool:
    """Whether rows are read, and their values checked, when they are wanted: of memory maps and of sparse rows."""
    return isinstance(x, np.memmap | Sparse | Shards)


def room(x: Any, most: int) -> int:
    """How many rows of x, read on demand, are dense at the same time: at most so many, fewer where they are wide."""
    return min(most, max(1, sparse.ROOM // (8 * x.shape[1]))) if on_demand(x) else most


def read_shards(folder: Path) -> Found | None:
    """The rows of a folder of .npy files, sparse where they are the arrays of CSR; None where there are none. Raises
    DataError, with the file's name, for one of another width or type."""
    paths = {path.stem: path for path in sorted(folder.glob("*.npy")) if path.is_file() and path.name[0] != "."}
    if not paths:
        return None
    maps = {name: read(path).parts["train"] for name, path in paths.items()}
    if set(sparse.FILES) <= set(maps):
        return Found({"train": from_maps(maps, folder)})
    first, *_ = (x for x in maps.values() if len(x)) if any(len(x) for x in maps.values()) else maps.values()
    for name, x in maps.items():
        if x.ndim < 2 or 0 in x.shape[1:] or x.dtype.kind not in "biuf" or not x.flags.c_contiguous:
            raise DataError(
                f"{paths[name]} has shape {x.shape} of {x.dtype}; a shard is rows of real numbers, row by row"
            )
        if (x.shape[1:], x.dtype) != (first.shape[1:], first.dtype):
            raise DataError(f"{paths[name]} has rows of shape {x.shape[1:]} of {x.dtype}, other files of {folder} "
                            f"{first.shape[1:]} of {first.dtype}: shards of one data set are alike")  # fmt: skip
    image = first.shape[1:] if first.ndim > 2 else None
    note = f"{len(maps)} shard{'s' * (len(maps) > 1)} of {folder}, their rows by the files' names"
    parts = [x.reshape(len(x), -1) for x in maps.values() if len(x)] or [first.reshape(0, -1)]
    return Found({"train": Shards(parts, folder.name, 0, image)}, notes=(note,))
