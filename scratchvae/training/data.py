"""§7.3 The data x of the bound, row by row: MNIST, Frey Face or your own, in memory or mapped from a file.

Pixels stay uint8 until a batch is taken: then x = pixel / 255 in [0, 1]. What a likelihood cannot take is refused with
its row and column, in memory at once, in a memory map batch by batch, so that data larger than memory train.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..errors import DataError, UsageError, did_you_mean, unknown
from ..types import Array
from . import files

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


def load(
    source: str | Path | Array,
    test: str | Path | Array | None = None,
    folder: str | Path | None = None,
    missing: bool = False,
) -> Dataset:
    """Data by name (NAMES), by path (a file, or a folder laid out like MNIST's) or as an array (N, ...).

    A name is looked for in `folder`, else in the folder $SCRATCHVAE_DATA, in the repository's data/ and in ./data.
    Without test rows of its own, and no `test`, the last tenth of the rows is kept for the test.
    With `missing`, NaN is a value that is missing, and allowed.
    Raises DataError, one line, for whatever cannot be found, read or used.
    """
    name = str(source) if isinstance(source, str | Path) else "array"
    parts = _named(name, folder) if isinstance(source, str) and source in NAMES else _parts(source)
    if test is not None:
        parts = {"labels": parts.get("labels"), "train": parts["train"], "test": _parts(test)["train"]}
    train, shape = matrix(parts["train"], name, missing)
    labels, test_labels = _labels(parts.get("labels"), len(train), name), parts.get("test_labels")
    if parts.get("test") is None:
        keep = len(train) - _tenth(len(train), name)
        train, rest, split = train[:keep], train[keep:], LAST_TENTH
        labels, test_labels = (labels[:keep], labels[keep:]) if labels is not None else (None, None)
    else:
        split = f"the rows of {test}" if isinstance(test, str | Path) else "own test rows"
        rest = matrix(parts["test"], f"{name} (test)", missing)[0]
        columns(rest, train.shape[1], f"{name} (test)")
    return Dataset(name, train, rest, shape, labels, _labels(test_labels, len(rest), f"{name} (test)"), split)


def matrix(x: Any, name: str = "x", missing: bool = False) -> tuple[Array, tuple[int, ...] | None]:
    """x as (N, D) in C order, and the shape of one row where it had more axes; finite unless it is a memory map.

    uint8 data that hold nothing above 1 are binary already and become bool: dividing them by 255 would blacken them.
    Raises DataError: no rows, no columns, not numbers, inf, NaN unless `missing`, a map stored by columns.
    """
    x = x if isinstance(x, np.ndarray) else np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {x.dtype}; give real numbers, uint8 pixels or bool")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(
            f"{name} has shape {x.shape}; give at least one row and one column, (N, D) or (N, height, width)"
        )
    if not x.flags.c_contiguous and isinstance(x, np.memmap):
        raise DataError(f"{name} is stored column by column; save numpy.ascontiguousarray(x) instead")
    shape = x.shape[1:] if x.ndim > 2 else None
    x = (x if isinstance(x, np.memmap) else np.ascontiguousarray(x)).reshape(len(x), -1)
    if x.dtype == np.uint8 and _largest(x) == 1:
        x = x.view(np.bool_)
    check(x, name=name, missing=missing)
    return x, shape


def rows(
    data: Array, index: Array | slice, dtype: DTypeLike = np.float32, likelihood: str = "", missing: bool = False
) -> Array:
    """The rows data[index] as (B, D) numbers: uint8 pixels divided by 255, the rest as it is.

    Of a memory map only these rows are read, in the file's order, and checked for NaN, inf and `likelihood`'s range:
    DataError. Arrays in memory were checked when they came.
    """
    if not isinstance(data, np.memmap):
        block = data[index]
    else:
        where = np.arange(len(data))[index]
        order = np.argsort(where, kind="stable")
        block = np.empty((len(where), data.shape[1]), data.dtype)
        block[order] = data[where[order]]
        check(block, likelihood, where=where, missing=missing)
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
    x: Array, likelihood: str = "", name: str = "data", where: Array | None = None, missing: bool = False
) -> None:
    """Raises DataError at the first value of x (N, D) that is NaN (unless `missing`) or inf, or, for a likelihood of
    UNIT, outside [0, 1].

    Row numbers are those of `where`, if given. A memory map is passed over: `rows` checks each batch it reads.
    """
    if isinstance(x, np.memmap) or (x.dtype == np.uint8):
        return
    step = max(1, BLOCK // (x.shape[1] * x.itemsize))
    for begin in range(0, len(x), step):
        part = x[begin : begin + step]
        bad = _bad(part, likelihood in UNIT)
        if missing and part.dtype.kind == "f":
            bad &= ~np.isnan(part)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            value = x.view(np.uint8)[begin + row, column] if x.dtype == np.bool_ else x[begin + row, column]
            row = begin + row if where is None else int(where[begin + row])
            remedy = _remedy(value, likelihood)
            raise DataError(f"{name} holds {value} at row {row}, column {column} (from 0): {remedy}")


def check_test(found: Dataset, likelihood: str, missing: bool) -> None:
    """`check` of the test rows, of a memory map as well, which is read through: training does not begin with them."""
    x, apart = found.test, found.split != LAST_TENTH
    name, before = (f"{found.name} (test)", 0) if apart else (found.name, len(found.train))
    if x.dtype != np.uint8:
        step = max(1, BLOCK // (x.shape[1] * x.itemsize))
        for begin in range(0, len(x), step):
            where = np.arange(before + begin, before + begin + step)
            check(np.asarray(x[begin : begin + step]), likelihood, name, where, missing)  # no longer a map


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


def _remedy(value: Any, likelihood: str) -> str:
    if not np.isfinite(value):
        return "drop that row or fill the gap, or train with missing='nan' (--missing nan)"
    needs = UNIT.get(likelihood, "a byte that stands for a bit is 0 or 1")
    return f"{needs}; scale the data, store pixels as uint8, or use likelihood 'gaussian'"


def _largest(x: Array) -> int:
    """The largest value; of a map that of its first block only, so that opening a big file stays cheap."""
    return int(x[: max(1, BLOCK // x.shape[1])].max() if isinstance(x, np.memmap) else x.max())


def _tenth(N: int, name: str) -> int:
    if N < 2:
        raise DataError(f"{name} has one row, which cannot be split into train and test; give test rows too")
    return max(1, N // 10)


def _labels(labels: Array | None, N: int, name: str) -> Array | None:
    if labels is not None and labels.shape != (N,):
        raise DataError(f"{name} has {N} rows but labels of shape {labels.shape}; expected ({N},)")
    return labels


def _parts(source: str | Path | Array) -> dict[str, Any]:
    if not isinstance(source, str | Path):
        return {"train": source}
    if Path(source).is_dir():
        if parts := _folder(Path(source)):
            return parts
        raise DataError(f"folder {source} has no {LAYOUT['train']} (plain, .gz, .xz); give a data file: {files.KNOWN}")
    if not Path(source).exists() and Path(source).name == str(source) and not Path(source).suffix:
        raise DataError(f"{source!r} is neither a data set ({', '.join(NAMES)}) nor a file; give one: {files.KNOWN}"
                        f"{did_you_mean(source, NAMES)}")  # fmt: skip
    return dict(files.read(Path(source)))


def _named(name: str, folder: str | Path | None) -> dict[str, Any]:
    for place in (places := _places(name, folder)):
        if parts := _folder(place, FREY if name == "freyfaces" else None):
            return parts
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
    return {part: files.read(path)["train"] for part, path in found.items()} if "train" in found else {}


def _packed(folder: Path, stem: str) -> Path | None:
    return next((path for end in ("", ".gz", ".xz") if (path := folder / f"{stem}{end}").is_file()), None)
