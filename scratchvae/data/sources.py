"""§7.3 Data of any kind as blocks of rows, one after the other, from any place on: what `convert` reads.

Files that are small, or lie as they are used, are read as `data.load` reads them, words as codes. Text and Parquet that
are larger come in pieces, and so do HDF5, zarr and folders of images: nothing of them is in memory whole, and since
codes of words need all words, such columns are refused there.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..types import Array
from . import load
from .arrays import Origin, array_of, names_of, real
from .images import coloured, listed_in, pixels
from .layout import UNNAMED
from .text import pieces
from .words import check_left, coded, without

BLOCK = 1 << 24  # bytes of rows in a block
SMALL = 1 << 26  # bytes of a file of text or Parquet that is read as a whole
WIDER = 4  # a number of 8 bytes may come from two of text
TEXT = (".csv", ".tsv", ".txt")
ARRAYS = {".h5": "h5py", ".hdf5": "h5py", ".zarr": "zarr"}
Place = list[int]
Blocks = Callable[[Place], Iterator[tuple[Array, Place]]]  # from a place on, rows with the place after them


class Source(NamedTuple):
    """Blocks of rows (n, ...); `size` is what all of them will take, in bytes, or a guess that is not below it; `all`
    what there is of places, rows or bytes of text; `sparse` the rows themselves, where they are."""

    blocks: Blocks
    size: int
    all: int
    notes: tuple[str, ...] = ()
    sparse: Any = None


def source(path: str, leave_out: Sequence[str] = ()) -> Source:
    """The rows at a path, all of them; of HDF5 and zarr FILE:NAME is one array of several. Raises DataError."""
    at, _, name = path.partition(":") if not Path(path).exists() else (path, "", "")
    ending, small = Path(at).suffix.lower(), not Path(at).is_file() or Path(at).stat().st_size <= SMALL
    if ending in ARRAYS:
        return of_array(opened(at, name, ARRAYS[ending]))
    if ending in TEXT and not small:
        size = Path(at).stat().st_size
        return Source(lambda place: pieces(Path(at), place, leave_out), WIDER * size, size)
    if ending == ".parquet" and not small:
        return of_parquet(Path(at), leave_out)
    if Path(at).is_dir() and not any(Path(at).glob("*.npy")) and not any(Path(at).glob("*-ubyte*")):
        paths, _ = listed_in(Path(at))
        if paths:
            return of_images(paths)
    found = load(path, path, missing=True, judge=False, leave_out=leave_out)
    notes = tuple(f"column {i} holds codes: {', '.join(map('{0[0]} {0[1]}'.format, enumerate(words)))}"
                  for i, words in enumerate(found.levels or ()) if words)  # fmt: skip
    made = of_array(found.train, found.shape)
    return made._replace(notes=(*found.notes, *notes), sparse=found.train if hasattr(found.train, "csr") else None)


def of_array(x: Any, shape: tuple[int, ...] | None = None) -> Source:
    """Of what gives rows by slices, or dense ones by numbers; each row in the given shape."""
    shape, N = shape or x.shape[1:], int(x.shape[0])  # zarr's have no len
    row = int(np.prod(shape)) * x.dtype.itemsize
    step = max(1, BLOCK // row)

    def blocks(place: Place) -> Iterator[tuple[Array, Place]]:
        for i in range(place[0] if place else 0, N, step):
            key = np.arange(i, min(i + step, N)) if hasattr(x, "csr") else slice(i, i + step)
            block = np.asarray(x[key])
            yield block.reshape(len(block), *shape), [i + len(block)]

    return Source(blocks, N * row, N)


def opened(path: str, name: str, package: str) -> Any:
    """The array in an HDF5 file or a zarr store; its only one with rows and columns, where no name says which."""
    if importlib.util.find_spec(package) is None:
        raise DataError(f"{path} needs {package}: pip install 'scratchvae[convert]'")
    if not Path(path).exists():
        raise DataError(f"{path} does not exist")
    try:
        if package == "zarr":
            import zarr

            file: Any = zarr.open(path, mode="r")
        else:
            import h5py

            file = h5py.File(path)
        there = {"": file} if hasattr(file, "shape") else {k: v for k, v in file.items() if hasattr(v, "shape")}
        if name:
            there = {name: file[name]}
    except KeyError:
        raise DataError(f"{path} has no array {name!r}; there are {', '.join(there)}") from None
    except Exception as error:  # of foreign formats, as in `files.read`
        raise DataError(f"{path} cannot be read: {(str(error).splitlines() or ['?'])[0][:300]}") from None
    arrays = {k: x for k, x in there.items() if len(x.shape) >= 2 and 0 not in x.shape and x.dtype.kind in "biuf"}
    if len(arrays) != 1:
        which = f"has {len(arrays)} arrays of rows of numbers"
        raise DataError(f"{path} {which}: name one, {path}:NAME; there are {', '.join(there) or 'none'}")
    return next(iter(arrays.values()))


def of_parquet(path: Path, leave_out: Sequence[str]) -> Source:
    """Of a Parquet file, a row group at a time, as floats."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(f"{path} needs pandas and pyarrow: pip install 'scratchvae[frames]'") from None
    file = parquet.ParquetFile(path)

    def blocks(place: Place) -> Iterator[tuple[Array, Place]]:
        for group in range(place[0] if place else 0, file.num_row_groups):
            frame = file.read_row_group(group).to_pandas()
            if str(frame.columns[0]) in UNNAMED and frame.shape[1] > 1 and frame.dtypes.iloc[0].kind in "iu":
                frame = frame.iloc[:, 1:]
            frame, left = without(frame, leave_out)
            x, levels = coded(frame)
            origin = Origin(f"{path}, row group {group},", 0, names_of(frame))
            check_left(leave_out, left, origin)
            refuse_words(levels, origin)
            yield real(array_of(x, origin.name), origin).astype(np.float64), [group + 1]

    return Source(blocks, file.metadata.num_rows * file.metadata.num_columns * 8, file.num_row_groups)


def of_images(paths: Sequence[Path]) -> Source:
    """Of images, one size for all, in the order that `images` has."""
    colour = any(map(coloured, paths))
    first = pixels(paths[0], colour)
    step = max(1, BLOCK // first.nbytes)

    def blocks(place: Place) -> Iterator[tuple[Array, Place]]:
        for i in range(place[0] if place else 0, len(paths), step):
            some = {path: pixels(path, colour) for path in paths[i : i + step]}
            if odd := next((path for path, image in some.items() if image.shape != first.shape), None):
                raise DataError(f"{odd} is of {some[odd].shape} pixels, {paths[0].name} of {first.shape}: resize it")
            yield np.stack(list(some.values())), [i + len(some)]

    return Source(blocks, len(paths) * first.nbytes, len(paths))


def refuse_words(levels: Any, origin: Origin) -> None:
    """Raises DataError at the first column of words: of a part their codes would be others in the next."""
    if i := next((i for i, words in enumerate(levels or ()) if words), -1) + 1:
        called = f" {origin.names[i - 1]!r}" if origin.names else ""
        raise DataError(f"{origin.name} holds words in column {i - 1}{called}, and is read in pieces, which have no "
                        "codes for words: leave that column out (--leave-out)")  # fmt: skip
