"""§7.3 The data x of the bound, row by row: MNIST, Frey Face or your own, in memory or mapped from a file.

Pixels stay uint8 until a batch is taken: then x = pixel / 255 in [0, 1]. What a likelihood cannot take is refused with
its row and column, in memory at once, in a memory map batch by batch, so that data larger than memory train. Rows and
columns are counted from 0 everywhere; a column's name and the line of a text file stand beside, where they are known.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import DTypeLike

from ..errors import DataError, UsageError, did_you_mean, unknown
from ..types import Array
from . import files
from .arrays import Origin as Origin
from .arrays import array_of, names_of, real
from .arrays import ordered as ordered
from .files import Found
from .images import read_images
from .shards import Shards, on_demand, read_shards
from .sparse import Sparse, is_sparse
from .words import Known as Known
from .words import Levels, check_left, coded, judged, understood, without

VARIABLE = "SCRATCHVAE_DATA"
BINARISATIONS = ("dynamic", "fixed", "threshold", "none")
NAMES = ("mnist", "fashion-mnist", "freyfaces")
FREY = ("freyfaces-images-idx3-ubyte", "frey_rawface.mat")
LAYOUT = {  # of a folder with MNIST's files or Fashion-MNIST's
    "train": "train-images-idx3-ubyte",
    "test": "t10k-images-idx3-ubyte",
    "labels": "train-labels-idx1-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
SOURCES = {  # what an installed package does not bring
    "mnist": "data/mnist of scratchvae's repository",
    "fashion-mnist": "github.com/zalandoresearch/fashion-mnist",
    "freyfaces": "cs.nyu.edu/~roweis/data",
}
LAST_TENTH = "last tenth of the rows"
UNIT = {  # likelihoods for data in [0, 1]
    "bernoulli": "a Bernoulli likelihood needs [0, 1]",
    "gaussian-sigmoid": "means through a sigmoid reach [0, 1] alone",
}
CHECKED_HERE = ("gaussian", "gaussian-fixed", *UNIT)  # by `check` itself; others by their support
BLOCK = 1 << 22  # bytes looked at together when values are checked


class Dataset(NamedTuple):
    """Rows to train on and rows to test on; take batches of either with `rows`."""

    name: str
    train: Array  # (N, D), as stored: uint8 pixels, bool, or numbers
    test: Array  # (M, D)
    shape: tuple[int, ...] | None  # of one image, (28, 28), where the source says so
    labels: Array | None  # (N,)
    test_labels: Array | None  # (M,)
    split: str  # how the test rows came about, to be recorded with every figure
    names: tuple[str, ...] | None = None  # of the columns, where the source says them
    notes: tuple[str, ...] = ()  # what in the files was taken for what, a line each
    origin: Origin = Origin()  # of the training rows
    test_origin: Origin = Origin()
    levels: Levels | None = None  # the words of columns that hold codes, see `data.words`


def load(
    source: Any,
    test: Any = None,
    folder: str | Path | None = None,
    missing: bool = False,
    judge: bool = True,
    known: Known | None = None,
    leave_out: Sequence[str] = (),
) -> Dataset:
    """Data by name (NAMES), by path (a file, or a folder laid out like MNIST's) or as an array (N, ...) or a frame.

    A name is looked for in `folder`, else in the folder $SCRATCHVAE_DATA, in the repository's data/ and in ./data.
    Without test rows of its own, and no `test`, the last tenth of the rows is kept for the test. Named columns of
    `test` may come in another order.
    With `missing`, NaN is a value that is missing, and allowed. Bytes that hold nothing above 1 in all training rows
    are bits, and become bool in both parts: dividing them by 255 would blacken them. A run that exists has learned
    once what its bytes are (`training.reading`): it loads with judge=False. Columns of words become codes: those that
    are `known` to a run, else their own, if they are categories. Columns of the names in `leave_out` are not taken, nor
    those that a run is known to have left out.
    Raises DataError, one line, for whatever cannot be found, read or used.
    """
    name = str(source) if isinstance(source, str | Path) else "array"
    leave_out = known.left_out if known else leave_out
    found = _named(name, folder) if isinstance(source, str) and source in NAMES else _parts(source, leave_out)
    parts, origin = found.parts, Origin(name, 0, found.names, found.lines)
    train, shape = matrix(parts["train"], origin, missing)
    if known is None:
        check_left(leave_out, found.left, origin)
        train, known, more = judged(train, found.levels, origin, found.left)
    else:
        train, more = understood(train, found.levels, known, origin), ()
    notes, names = (*found.notes, *more), known.names or found.names
    origin = origin._replace(names=names)
    labels, test_labels = _labels(parts.get("labels"), len(train), name), parts.get("test_labels")
    if test is not None:
        path = isinstance(test, str | Path)
        called, split = (str(test), f"the rows of {test}") if path else (f"{name} (test)", "own test rows")
        own = found if called == name and name not in NAMES else _parts(test, leave_out)  # one file is read once
        notes, test_labels = (*notes, *(f"{called}: {note}" for note in own.notes if own is not found)), None
        test_origin = Origin(called, 0, own.names, own.lines)
        rest = matrix(own.parts["train"], test_origin, missing)[0]
        rest = understood(rest, own.levels, known._replace(names=names), test_origin)
        test_origin = test_origin._replace(names=names or own.names)
    elif parts.get("test") is not None:
        test_origin, split = Origin(f"{name} (test)"), "own test rows"
        rest = matrix(parts["test"], test_origin, missing)[0]
    else:
        keep = len(train) - _tenth(len(train), name)
        train, rest, split, test_origin = train[:keep], train[keep:], LAST_TENTH, origin._replace(first=keep)
        labels, test_labels = (labels[:keep], labels[keep:]) if labels is not None else (None, None)
    columns(rest, train.shape[1], test_origin.name)
    if judge and holds_bits(train):
        train, rest = bits(train), bits(rest)
    test_labels = _labels(test_labels, len(rest), f"{name} (test)")
    about = split, names, notes, origin, test_origin, known.levels
    return Dataset(name, train, rest, shape, labels, test_labels, *about)


def matrix(x: Any, name: str | Origin = "x", missing: bool = False) -> tuple[Array, tuple[int, ...] | None]:
    """x as (N, D) in C order, and the shape of one row where it had more axes; finite unless it is a memory map.

    A masked entry is missing, NaN; so is None, in an array of objects or a frame. Of a sparse matrix `sparse.Sparse`.
    Raises DataError: no rows, no columns, not numbers, inf, NaN unless `missing`, a map stored by columns.
    """
    origin = Origin(name, 0, names_of(x)) if isinstance(name, str) else name
    if isinstance(x, Shards | Sparse) or is_sparse(x):
        return cast(Array, Sparse.of(x, origin.name) if is_sparse(x) else x), getattr(x, "image", None)
    x = array_of(x, origin.name)
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(
            f"{origin.name} has shape {x.shape}; give at least one row and one column, (N, D) or (N, height, width)"
        )
    x = real(x, origin)
    if not x.flags.c_contiguous and isinstance(x, np.memmap):
        raise DataError(f"{origin.name} is stored column by column; save numpy.ascontiguousarray(x) instead")
    shape = x.shape[1:] if x.ndim > 2 else None
    x = (x if isinstance(x, np.memmap) else np.ascontiguousarray(x)).reshape(len(x), -1)
    check(x, name=origin, missing=missing)
    return x, shape


def rows(
    data: Array,
    index: Array | slice,
    dtype: DTypeLike = np.float32,
    likelihood: str = "",
    missing: bool = False,
    limit: DTypeLike | None = None,
) -> Array:
    """The rows data[index] as (B, D) numbers: uint8 pixels divided by 255, the rest as it is.

    Of a memory map only these rows are read, in the file's order, and checked for NaN, inf, `likelihood`'s range and
    the range of `limit` (by default the dtype): DataError. Arrays in memory were checked when they came.
    """
    if not on_demand(data):
        block = data[index]
    else:
        where = np.arange(*index.indices(len(data))) if isinstance(index, slice) else index
        order = np.argsort(where, kind="stable")
        block = np.empty((len(where), data.shape[1]), data.dtype)
        block[order] = data[where[order]]
        check(block, likelihood, _mapped(data), where, missing, limit or dtype)
    if block.dtype == np.uint8:
        return np.divide(block, 255, dtype=np.dtype(dtype))
    return (block.view(np.uint8) if block.dtype == np.bool_ else block).astype(dtype)


def binarise(x: Array, how: str, u: Array | None = None) -> Array:
    """x (B, D) in [0, 1] as zeros and ones of the same dtype, or, for "none", x itself (grey levels).

    "dynamic" and "fixed" are one Bernoulli(x) draw, u < x with uniforms u (B, D) in [0, 1): for "dynamic" u is new at
    each step, for "fixed" it depends on seed and row alone, so that every epoch sees the same bits. "threshold": x > ½.
    The name belongs beside every figure: bounds under different binarisations cannot be compared.
    """
    if how == "none":
        return x
    if how == "threshold":
        return kept(x, x > 0.5)
    if how not in BINARISATIONS:
        raise unknown("binarisation", how, BINARISATIONS)
    if u is None or u.shape != x.shape:
        raise UsageError(
            f"binarisation {how!r} needs uniforms u of x's shape {x.shape}, got {None if u is None else u.shape}"
        )
    return kept(x, u < x)


def kept(x: Array, bits: Array) -> Array:
    """The bits as numbers; what is missing in x stays NaN."""
    found = bits.astype(x.dtype)
    gone = np.isnan(x)
    if gone.any():
        found[gone] = np.nan
    return found


def check(
    x: Array,
    likelihood: str = "",
    name: str | Origin = "data",
    where: Array | None = None,
    missing: bool = False,
    dtype: DTypeLike | None = None,
) -> None:
    """Raises DataError at the first value of x (N, D) that is NaN (unless `missing`) or inf, or, for a likelihood of
    UNIT, outside [0, 1], or would be inf in the floating `dtype`. Other likelihoods
    refuse by `check_support`.

    Row numbers are those of `where`, if given. A memory map is passed over: `rows` checks each batch it reads.
    """
    if on_demand(x):
        return
    origin = Origin(name) if isinstance(name, str) else name
    if likelihood and likelihood not in CHECKED_HERE:
        check_support(x, likelihood, origin, where, missing)
    if x.dtype == np.uint8:
        return
    largest = np.finfo(dtype).max if dtype is not None and x.dtype.kind == "f" else None
    step = max(1, BLOCK // (x.shape[1] * x.itemsize))
    for begin in range(0, len(x), step):
        part = x[begin : begin + step]
        bad = _bad(part, likelihood in UNIT)
        if largest is not None and largest < np.finfo(x.dtype).max:
            bad |= np.abs(part) > largest
        if missing and part.dtype.kind == "f":
            bad &= ~np.isnan(part)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = x.view(np.uint8)[begin + row, column] if x.dtype == np.bool_ else x[begin + row, column]
            row = begin + row if where is None else int(where[begin + row])
            remedy = _remedy(value, likelihood, np.dtype(dtype) if largest is not None else x.dtype)
            raise DataError(f"{origin.name} holds {value} at {origin.place(row, column)}: {remedy}")


def check_support(x: Array, likelihood: str, origin: Origin, where: Array | None, missing: bool) -> None:
    """Raises DataError, with the number of cells and the first of them, where the likelihood gives x (N, D) no mass or
    density: a count that is no whole number, an exact 0 under a beta. Bytes are grey levels / 255."""
    from ..distributions.kinds import support

    supports = support(likelihood, x.shape[1])
    step, wrong, first = max(1, BLOCK // (x.shape[1] * x.itemsize)), 0, None
    for begin in range(0, len(x), step):
        part = x[begin : begin + step]
        part = part / np.float32(255) if part.dtype == np.uint8 else part
        bad = ~supports.holds(part) & ~(np.isnan(part) if missing else np.zeros(1, bool))
        if bad.any() and first is None:
            first = np.argwhere(bad)[0] + [begin, 0]
        wrong += int(bad.sum())
    if first is not None:
        row, column = (int(i) for i in first)
        place = origin.place(row if where is None else int(where[row]), column)
        cells = f"{wrong} of {x.size} cells" if wrong > 1 else "a cell"
        takes = supports.words(column)
        raise DataError(f"{origin.name} has {cells} that a {likelihood} likelihood cannot take, "
                        f"{x[row, column]} at {place} first: it takes {takes}")  # fmt: skip


def check_test(found: Dataset, likelihood: str, missing: bool, dtype: DTypeLike | None = None) -> None:
    """`check` of the test rows, of a memory map as well, which is read through: training does not begin with them."""
    x, origin = found.test, found.test_origin
    if x.dtype != np.uint8:
        step = max(1, BLOCK // (x.shape[1] * x.dtype.itemsize))
        for begin in range(0, len(x), step):
            here = origin._replace(first=origin.first + begin)
            part = x[np.arange(begin, min(begin + step, len(x)))]
            check(np.asarray(part), likelihood, here, None, missing, dtype)  # no longer a map


def _mapped(x: Array) -> Origin:
    """Rows of a map are called by its file, and numbered as they are there."""
    if isinstance(x, Sparse | Shards):
        return Origin(x.name, x.first)
    base = x.base if isinstance(x.base, np.ndarray) else x
    name = getattr(x, "filename", None)
    return Origin(Path(name).name if name else "data", (x.ctypes.data - base.ctypes.data) // x.strides[0])


def columns(x: Array, D: int, name: str = "x") -> None:
    """Raises DataError unless x (N, D') has the D columns that a model or other rows were built for."""
    if x.shape[1] != D:
        raise DataError(f"{name} has {x.shape[1]} columns but D={D} was expected; give data of the same kind")


def _bad(x: Array, unit: bool) -> Array:
    if x.dtype == np.bool_:  # a mapped byte that passes for bool may hold anything
        return x.view(np.uint8) > 1
    if unit:
        return ~((x >= 0) & (x <= 1))
    return ~np.isfinite(x)


def _remedy(value: Any, likelihood: str, dtype: np.dtype[Any]) -> str:
    if not np.isfinite(value):
        return (
            "drop that row or fill the gap, or train with missing='nan' (--missing nan)"
            if np.isnan(value)
            else ("drop that row, or mend the value")
        )
    if likelihood not in UNIT and dtype.kind == "f":
        return f"too large for {dtype}; scale the data, or train with dtype='float64' (--dtype float64)"
    needs = UNIT.get(likelihood, "a byte that stands for a bit is 0 or 1")
    return f"{needs}; scale the data, store pixels as uint8, or use likelihood 'gaussian'"


def holds_bits(x: Array) -> bool:
    """Whether bytes x (N, D) are bits: nothing above 1, and not all 0. Of a map as much is read as tells."""
    largest, step = 0, max(1, BLOCK // x.shape[1])
    for begin in range(0, len(x) if x.dtype == np.uint8 else 0, step):
        largest = max(largest, int(np.asarray(x[begin : begin + step]).max()))
        if largest > 1:
            return False
    return largest == 1


def bits(x: Array) -> Array:
    """Bytes that stand for bits, as bool; `check` refuses those above 1."""
    return x.view(np.bool_) if x.dtype == np.uint8 else x


def _tenth(N: int, name: str) -> int:
    if N < 2:
        raise DataError(f"{name} has one row, which cannot be split into train and test; give test rows too")
    return max(1, N // 10)


def _labels(labels: Any, N: int, name: str) -> Array | None:
    """Labels (N,): numbers, text or dates; those that cannot be told apart or shown are refused before any training."""
    if labels is None:
        return None
    if labels.shape != (N,):
        raise DataError(f"{name} has {N} rows but labels of shape {labels.shape}; expected ({N},)")
    if labels.dtype.kind not in "biufUSMm":
        raise DataError(f"{name} has labels of dtype {labels.dtype}; give whole numbers or text")
    return np.asarray(labels)


def _parts(source: Any, leave_out: Sequence[str] = ()) -> Found:
    if not isinstance(source, str | Path):
        source, left = without(source, leave_out)
        x, levels = coded(source)
        return Found({"train": x}, names_of(source), levels=levels, left=left)
    if Path(source).is_dir():
        if parts := _folder(Path(source)):
            return Found(parts)
        if found := read_shards(Path(source)) or read_images(Path(source)):
            return found
        raise DataError(f"folder {source} has no {LAYOUT['train']} (plain, .gz, .xz), no .npy, and no PNG or JPEG in "
                        f"it or in its sub-folders; give data: {files.KNOWN}")  # fmt: skip
    if not Path(source).exists() and Path(source).name == str(source) and not Path(source).suffix:
        raise DataError(f"{source!r} is neither a data set ({', '.join(NAMES)}) nor a file; give one: {files.KNOWN}"
                        f"{did_you_mean(source, NAMES)}")  # fmt: skip
    return files.read(Path(source), leave_out)


def in_parts(source: str) -> bool:
    """Whether data by this name or path may have test rows of their own."""
    parts = Path(source).is_dir() and _packed(Path(source), LAYOUT["train"])
    return source in NAMES or source.endswith(".npz") or bool(parts)


def _named(name: str, folder: str | Path | None) -> Found:
    for place in (places := _places(name, folder)):
        if parts := _folder(place, FREY if name == "freyfaces" else None):
            return Found(parts)
    tried = ", ".join(map(str, places))
    wanted = " or ".join(FREY) if name == "freyfaces" else ", ".join(LAYOUT.values())
    raise DataError(
        f"{name} is not in {tried}; it is in {SOURCES[name]}: put {wanted} (or with .gz, .xz) into a folder and name "
        f"it by --data-folder or {VARIABLE}, in Python load({name!r}, folder=...)"
    )


def _places(name: str, folder: str | Path | None) -> list[Path]:
    """Where to look. MNIST and Fashion-MNIST share file names: a folder called after another set is never taken."""
    given = Path(folder) if folder else Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
    own = [] if folder else [Path(__file__).parents[2] / "data" / name, Path("data") / name]
    if given is None:
        return list(dict.fromkeys(path.absolute() for path in own))
    last = [given] if given.name not in NAMES or given.name == name else []
    return list(dict.fromkeys(path.absolute() for path in [given / name, *own, *last]))


def _folder(folder: Path, stems: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The arrays found in a folder: by MNIST's layout, or the first of `stems`; empty if there are no images."""
    wanted = LAYOUT if stems is None else {"train": next((s for s in stems if _packed(folder, s)), stems[0])}
    found = {part: path for part, stem in wanted.items() if (path := _packed(folder, stem))}
    return {part: files.read(path).parts["train"] for part, path in found.items()} if "train" in found else {}


def _packed(folder: Path, stem: str) -> Path | None:
    return next((path for end in ("", ".gz", ".xz") if (path := folder / f"{stem}{end}").is_file()), None)
