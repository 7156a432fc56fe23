"""§7.3 How a run reads rows: what was learned from its training data once, kept in the checkpoint, obeyed ever after.

    as stored --see--> in the run's order and meaning --data.rows--> numbers --take--> x' of the model --undo--> x again

    x' = (x − m) / s by column,  m the mean of the training rows      so      log p(x) = log p(x') − Σ_d log s_d
    s = max(sd, g),  σ² ≥ max(s² / 1000, g² / 12),  g the column's grain: the least difference of two of its values

The model sees x'; every figure is of x. A density cannot know more than the grain: what was rounded to steps of g is
off by U(−g/2, g/2), whose variance is ∫ e² de / g = g² / 12. So s is never below g either: a pixel that is lit in one
row of N has sd = v / √N and would stand √N of them away. And a row one s beside its mean costs ½ · 1000 nats at most,
where a floor that vanishes would let one column outweigh all others.

A column that is constant has no density: it is dropped, and comes back with its value. Bytes are grey levels, or bits
where the training rows held nothing above 1. Columns with names are put in order.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..data import Dataset, Known, bits, columns, holds_bits, rows
from ..data.arrays import Origin
from ..data.cells import listed
from ..data.shards import on_demand, room
from ..data.sparse import Sparse
from ..data.words import Levels, understood, words_of
from ..errors import DataError, UsageError
from ..noise import Noise
from ..types import Array
from .config import Config
from .likelihood import STANDARDISED as STANDARDISED
from .likelihood import in_unit, standardised
from .missing import hide

GREY_LEVEL = (1 / 255) ** 2  # the default floor of σ², or σ² itself, of columns as they are
SHARE = {"gaussian": 1e-3, "gaussian-fixed": 1.0}  # of standardised ones: a share of s², which fixed is no finer than s
DIGESTED = 1 << 22  # bytes of the training rows that their digest is made of
GRAINY = 1 << 16  # rows that a column's grain is looked for in: of more it could only be finer
ARRAYS = ("kept", "constants", "shift", "scale", "grain")
HALF, WILD = 1.35, 10  # standard deviations from a normal's first quarter to its last; times too large a unit
NEGLIGIBLE = 1e-13  # a standard deviation of so small a share of the mean is rounding


class Reading(NamedTuple):
    """What turns rows (B, columns), as they come, into rows (B, D) that the model sees, and back.

    `kind` is "bytes", "bits", "reals" or, of codes of a vocabulary, "tokens"; "" where nothing was learned: then each
    array's own type decides.
    """

    columns: int
    kind: str = ""
    names: tuple[str, ...] | None = None  # of the columns, where the data said them
    image: tuple[int, ...] | None = None  # the shape of one row, where it had more axes than one
    digest: str = ""  # of the training rows
    where: str = ""  # the folder from which relative paths of the data count, seen from the run's
    levels: Levels | None = None  # the words of columns that hold codes, () for one of numbers
    left_out: tuple[str, ...] = ()  # names of columns that the data had, and that later rows may have or not
    classes: tuple[str, ...] = ()  # of rows of which some tell theirs
    vocabulary: tuple[str, ...] = ()  # the texts of the codes of tokens
    by_place: bool = False  # evaluation's noise is named by a row's place, as it was before readings were kept
    kept: Array | None = None  # int64 (D,): the columns that the model sees; None for all
    constants: Array | None = None  # float64 (columns,): the values of the others
    shift: Array | None = None  # float64 (D,)
    scale: Array | None = None
    grain: Array | None = None

    @property
    def width(self) -> int:
        """D, the columns that the model sees."""
        return self.columns if self.kept is None else len(self.kept)

    @property
    def log_scale(self) -> Array | None:
        """log s (D,), where rows are standardised."""
        return None if self.scale is None else np.log(self.scale)

    def variance(self, given: float | None, likelihood: str) -> float | Array:
        """The floor of σ² that the model has, or σ² itself: `given` is in units of the raw columns."""
        if self.scale is None or self.grain is None:
            return GREY_LEVEL if given is None else given
        if given is None:
            return np.maximum(SHARE.get(likelihood, SHARE["gaussian"]), (self.grain / self.scale) ** 2 / 12)
        return given / self.scale / self.scale

    @property
    def known(self) -> Known:
        """The columns, as `data.load` wants to know them."""
        return Known(self.names, self.levels, self.left_out)

    def see(
        self, x: Array, names: tuple[str, ...] | None = None, what: str = "x", levels: Levels | None = None
    ) -> Array:
        """Rows (N, columns) as stored, in the run's order of columns, with its codes of words and meaning of bytes.

        Raises DataError for other columns, by name where there are names, for a word that training did not know, or for
        numbers that cannot be bytes.
        """
        x = understood(x, levels, self.known, Origin(what, 0, names))
        columns(x, self.columns, what)
        if not self.kind:
            return bits(x) if holds_bits(x) else x
        if self.kind == "tokens":
            return x
        if self.kind == "reals":
            return x.view(np.uint8).astype(np.float32) if x.dtype in (np.bool_, np.uint8) else x
        if x.dtype.kind in "iu" and x.dtype != np.uint8:
            x = as_bytes(x, what)
        if x.dtype.kind == "f" and self.kind == "bytes":
            check_grey(x, what)
        return bits(x) if self.kind == "bits" else x

    def unmasked(self, x: Any) -> Any:
        """Masked bytes as numbers, NaN where they are masked, by what this run's bytes mean; anything else as it is."""
        if not isinstance(x, np.ma.MaskedArray) or x.dtype != np.uint8 or not self.kind:
            return x
        grey = x.data / np.float32(255 if self.kind == "bytes" else 1)
        return np.where(np.ma.getmaskarray(x), np.float32(np.nan), grey)

    def adopt(self, found: Dataset) -> Dataset:
        """A data set as the run sees it."""
        train = self.see(found.train, found.names, found.name, found.levels)
        test = self.see(found.test, found.names, f"{found.name} (test)", found.levels)
        origin, other = (o._replace(names=self.names or o.names) for o in (found.origin, found.test_origin))
        shape = self.image or found.shape
        found = found._replace(names=self.names or found.names, levels=self.levels, origin=origin, test_origin=other)
        return found._replace(train=train, test=test, shape=shape)

    def take(self, x: Array, dtype: Any) -> Array:
        """x (B, columns), numbers, as the model sees them: (B, D) of `dtype`."""
        x = self.narrow(x)
        if self.scale is not None:
            x = (x - self.shift) / self.scale
        return x.astype(dtype, copy=False)

    def narrow(self, x: Array) -> Array:
        """The columns of x (..., columns) that the model sees."""
        return x if self.kept is None else x[..., self.kept]

    def undo(self, x: Array) -> Array:
        """What the model says of rows (..., D), in the raw columns (..., columns)."""
        if self.scale is not None:
            x = (x * self.scale + self.shift).astype(x.dtype)
        if self.kept is None:
            return x
        assert self.constants is not None  # wherever `kept` is given
        whole = np.broadcast_to(self.constants, (*x.shape[:-1], self.columns)).astype(x.dtype)
        whole[..., self.kept] = x
        return whole

    def cells(self, x: Array) -> list[list[str]]:
        """Rows (N, columns) in raw units, as `undo` gives them, as text: words where the run has words for codes."""
        return words_of(x, self.levels or ((),) * self.columns)

    def shown(self, x: Array) -> Array:
        """`undo` for a picture, in [0, 1]: bytes and bits cut off, so that one wild row does not wash out all; each
        column of a table from its least value here to its largest."""
        whole = self.undo(x)
        if self.kind == "reals" and self.image:  # levels, or counts, of a picture
            return whole / max(1.0, float(np.nanmax(whole, initial=1.0)))
        if self.kind == "reals":
            low, high = (f.reduce(whole.reshape(-1, self.columns)) for f in (np.fmin, np.fmax))
            return (whole - low) / np.where(high > low, high - low, 1)
        return np.clip(whole, 0, 1) if self.kind in ("bytes", "bits") else whole

    def tensors(self) -> dict[str, Array]:
        """The arrays, for a checkpoint."""
        return {f"data.{name}": array for name in ARRAYS if (array := getattr(self, name)) is not None}

    def as_dict(self) -> dict[str, Any]:
        """The rest, as plain JSON values."""
        return {key: value for key, value in self._asdict().items() if key not in ARRAYS}

    @classmethod
    def restored(cls, values: Mapping[str, Any], tensors: Mapping[str, Array]) -> "Reading":
        """What `as_dict` and `tensors` gave. Raises DataError for what they cannot have given."""
        arrays: dict[str, Any] = {name: tensors.get(f"data.{name}") for name in ARRAYS}
        try:
            pairs: dict[str, Any] = {k: tuples(v) for k, v in values.items()}
            found = cls(**pairs, **arrays)
            sound = found.sound()
        except (TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the checkpoint says in a way that is unknown how rows are read: {error}") from None
        if not sound:
            raise DataError("the checkpoint contradicts itself in how rows are read")
        return found

    def sound(self) -> bool:
        """Whether types, sizes and values are what a run can have learned."""
        words = (w for ws in self.levels or () for w in ws)
        texts = [self.kind, self.digest, self.where, *(self.names or ()), *words]
        texts += [*self.left_out, *self.classes, *self.vocabulary]
        counts = (self.columns, *(self.image or ()))
        typed = all(type(t) is str for t in texts) and all(type(n) is int and 0 < n < 2**31 for n in counts)
        if not typed or type(self.by_place) is not bool:
            return False
        width, beside = self.width, (self.names, self.levels)
        named = all(each is None or len(each) == self.columns for each in beside)
        of_width = (self.kept, self.shift, self.scale, self.grain)
        fits = [array is None or array.shape == (width,) for array in of_width]
        inside = self.kept is None or (
            self.kept.dtype == np.int64
            and self.constants is not None
            and self.constants.shape == (self.columns,)
            and bool(((self.kept >= 0) & (self.kept < self.columns)).all())
        )
        positive = self.scale is None or (
            self.shift is not None and self.grain is not None and bool((self.scale > 0).all())
        )
        return named and all(fits) and inside and positive and self.kind in ("", "bytes", "bits", "reals", "tokens")

    def words(self, rows: int) -> str:
        """What was done to the columns, in one line; "" for nothing."""
        dropped = np.setdiff1d(np.arange(self.columns), np.arange(self.columns) if self.kept is None else self.kept)
        lines = []
        if self.scale is not None:
            many = int(((self.scale != 1) | (self.shift != 0)).sum())
            columns = f"{many} column{'s' * (many != 1)}"
            lines.append(
                f"standardised: {columns}, by mean and standard deviation (or grain, if larger) of {rows} rows; "
                "figures are nats of the raw columns (--no-standardise leaves them)"
            )
        if len(dropped):
            called = listed([self.names[i] if self.names else f"column {i}" for i in dropped])
            lines.append(f"constant, so dropped and given no density: {called}")
        return "; ".join(lines)


def tuples(value: Any) -> Any:
    """JSON's lists as tuples."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def learn(
    x: Array,
    config: Config,
    names: tuple[str, ...] | None = None,
    image: tuple[int, ...] | None = None,
    levels: Levels | None = None,
) -> Reading:
    """How a run with this config reads rows, from its training rows x (N, columns); a map is read through, in blocks.

    Raises DataError where no column varies, or none that is seen, UsageError where the config's image is none of them.
    """
    if config.image and math.prod(config.image) != x.shape[1]:
        raise UsageError(f"image={config.image} does not fit rows of {x.shape[1]} columns")
    kind = "bits" if x.dtype == np.bool_ or holds_bits(x) else "bytes" if x.dtype == np.uint8 else "reals"
    kind = kind if in_unit(config.likelihood) else "reals"  # counts and levels are numbers as they stand
    found = Reading(x.shape[1], kind, names, config.image or image, digest(x), levels=levels, left_out=config.beside)
    mask = standardised(config.likelihood, x.shape[1])
    if kind != "reals" or not config.standardise or not mask.any():
        return found
    if isinstance(x, Sparse):  # whose columns have a mean and a grain, and are sparse no more
        x = np.asarray(x)
    blocks = functools.partial(seen, x, config.likelihood, config.missing, Noise(config.seed), config.dtype)
    mean, sd, low, high = moments(blocks, x.shape[1])
    varies = (low < high) & (sd > NEGLIGIBLE * np.abs(mean))
    if "=" in config.likelihood:  # of mixed columns the places are given, so none is dropped
        return of_some(found, mask, (mean, sd, varies), grains(next(blocks(GRAINY))))
    if not varies.any():
        many = f"{len(x)} row{'s' * (len(x) > 1)}"
        raise DataError(f"every column of the training data is constant, in {many}: give rows that differ")
    grain = grains(next(blocks(GRAINY))[:, varies])
    found = found._replace(shift=mean[varies], scale=np.maximum(sd[varies], grain), grain=grain)
    return found if varies.all() else found._replace(kept=np.flatnonzero(varies).astype(np.int64), constants=mean)


def of_some(found: Reading, mask: Array, moments: tuple[Array, Array, Array], grain: Array) -> Reading:
    """With the columns of the mask standardised, and the others as they are."""
    mean, sd, varies = moments
    if (stuck := np.flatnonzero(mask & ~varies)).size:
        name = found.names[stuck[0]] if found.names else f"column {stuck[0]}"
        what = "constant" if np.isfinite(mean[stuck[0]]) else "empty"
        raise DataError(f"{name} is {what} in the training data, and has no density: leave it out (--leave-out)")
    shift, scale = np.where(mask, mean, 0), np.where(mask, np.maximum(sd, grain), 1)
    return found._replace(shift=shift, scale=scale, grain=np.where(mask, grain, 0))


def wild(reading: Reading, x: Array, origin: Origin) -> Iterator[str]:
    """A line for each standardised column of training rows x (N, columns) whose standard deviation is WILD times that
    of a normal with the same middle half: a few values set its unit, and hide all others. A middle half of one value
    says nothing."""
    some = rows(x, np.arange(min(len(x), GRAINY)), "float64", "gaussian", True) if reading.scale is not None else x[:0]
    mask = np.ones(reading.width, bool) if reading.grain is None else reading.grain > 0
    kept = np.arange(reading.columns) if reading.kept is None else reading.kept
    for column in kept[mask] if len(some) else ():
        cells = some[:, column]
        low, middle, high = np.nanquantile(cells, (0.25, 0.5, 0.75))
        if np.nanstd(cells) * HALF > WILD * (high - low) > 0:
            row = int(np.nanargmax(np.abs(cells - middle)))
            yield (
                f"{cells[row]:g} at {origin.place(row, column)} sets the unit of its column, half of which lies in "
                f"{low:g} … {high:g}: such small differences are hardly seen; mend it, or give the column's logarithms"
            )


def grains(x: Array) -> Array:
    """The least difference of two values of each column of x (N, D) that differ, (D,); 0 where none are seen to."""
    values = (np.unique(column[~np.isnan(column)]) for column in x.T)
    return np.array([np.diff(distinct).min() if len(distinct) > 1 else 0.0 for distinct in values])


def moments(blocks: Callable[[], Iterator[Array]], columns: int) -> tuple[Array, Array, Array, Array]:
    """Mean, standard deviation, least and largest (columns,) of what is no NaN, float64: twice through the data."""
    count, total = np.zeros((2, columns))
    low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
    for part in blocks():
        there = ~np.isnan(part)
        count += there.sum(axis=0)
        total += np.where(there, part, 0).sum(axis=0)
        low = np.minimum(low, np.where(there, part, np.inf).min(axis=0))
        high = np.maximum(high, np.where(there, part, -np.inf).max(axis=0))
    mean = np.clip(total / np.maximum(count, 1), low, high)  # of equal values their mean is that value
    largest = np.maximum(np.abs(low), np.abs(high))
    unit = np.exp2(np.frexp(largest)[1] - 1.0)  # a power of two rounds nothing, and no square is beyond a float's range
    squares = np.zeros(columns)
    for part in blocks():
        squares += (np.where(np.isnan(part), 0, (part - mean) / unit) ** 2).sum(axis=0)
    return mean, unit * np.sqrt(squares / np.maximum(count, 1)), low, high


def seen(x: Array, likelihood: str, missing: str, noise: Noise, limit: DTypeLike, block: int = 4096) -> Iterator[Array]:
    """The training rows in blocks, float64 in units of `data.rows`, NaN where the run's `missing` and noise hide a
    value. A memory map stays on disk, and its values are checked on the way, also for the range of `limit`, the run's
    type."""
    if len(x) == 0:
        raise DataError("the training data have zero rows")
    block = room(x, block)
    for i in range(0, len(x), block):
        index = np.arange(i, min(i + block, len(x)))
        yield hide(rows(x, index, "float64", likelihood, missing == "nan", limit), index, missing, noise)


def digest(x: Array) -> str:
    """SHA-256 of the shape, the type and some rows, the same ones always, of x (N, columns) as stored."""
    many = max(1, min(len(x), DIGESTED // max(1, x[0].nbytes)))
    some = np.ascontiguousarray(x[np.linspace(0, len(x) - 1, many).astype(np.int64)])
    kind = "uint8" if x.dtype == np.bool_ else x.dtype.newbyteorder("=").name
    text = f"{x.shape} {kind} ".encode()
    return hashlib.sha256(text + some.astype(some.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def as_bytes(x: Array, what: str) -> Array:
    """Whole numbers of any type as the bytes that the run was trained on."""
    if on_demand(x) or not ((x >= 0) & (x <= 255)).all():
        raise DataError(f"{what} has dtype {x.dtype}, but the run was trained on bytes: give those, or grey in [0, 1]")
    return x.astype(np.uint8)


def check_grey(x: Array, what: str) -> None:
    """Raises DataError for floats that are no grey levels in [0, 1], such as bytes that became floats."""
    if not on_demand(x) and bool((x > 1).any()):
        raise DataError(
            f"{what} holds {x[x > 1][0]:g}, but the run was trained on bytes, read as grey levels / 255: "
            "give uint8, or numbers in [0, 1]"
        )
