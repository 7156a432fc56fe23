"""§7.2.4 Noise and order for a run: every draw is named by (seed, purpose, step, row), and nothing is remembered.

Mathematics never draws: whoever runs it asks here for ε or u and passes them in. The same name gives the same numbers,
after a resume, in any split into micro-batches, and for any number of threads. A row is a number: in training its
place in the minibatch or in the data, in evaluation a hash of what it holds (`named`). A step wants fresh draws, or it
would learn those; a score must not hang on a row's neighbours.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .errors import UsageError
from .kernels import NUMPY, Kernels
from .types import Array

LIMIT = 2**32  # steps and rows are one 32-bit counter word each
COLUMNS = 4 * LIMIT  # so is the block of four columns
Rows = int | Array  # the number of the first row, the others following, or of each, uint32


class Purpose(IntEnum):
    """What a draw is for: one counter word, so no two uses share a number. Values are for ever: runs resume by them."""

    ORDER = 0  # the epoch's permutation of the rows
    LATENT = 1  # ε of z = μ + σ ε in training
    BINARISE = 2  # dynamic binarisation, afresh each epoch
    INITIAL = 3  # the initial parameters
    EVALUATE = 4  # ε of bounds and importance samples in evaluation
    SAMPLE = 5  # z and x drawn for a user
    FIXED_BINARISATION = 6  # drawn once, for all epochs
    CHAIN = 7  # proposals of a Markov chain
    ACCEPT = 8  # its accept or reject
    MASK = 9  # which values are missing
    DATA = 10  # made-up data
    DIRECTION = 11  # random directions of gradient checks
    DREAM = 12  # the sleep phase of wake-sleep
    VALIDATION = 13  # which training rows are held out, for the stop
    WEIGHTS = 14  # ζ of θ = μ + σ ζ, in full variational Bayes
    LABELS = 15  # which rows tell their class, and their order
    WORDS = 16  # which tokens word dropout hides


class Noise(NamedTuple):
    """The noise of one run: `seed` in [0, 2^64) and the kernel table (both tables agree to rounding).

    Step and rows go up to 2^32 and columns up to 2^34; beyond is a UsageError, since the counter would wrap and repeat
    itself. S samples a row: ask for S K columns and reshape (rows, S, K), then fewer samples are a prefix of more.
    """

    seed: int
    k: Kernels = NUMPY

    def normals(
        self, purpose: int, step: int, rows: int, columns: int, dtype: DTypeLike = np.float32, first_row: Rows = 0
    ) -> Array:
        """ε ~ N(0, 1), (rows, columns) of `dtype`: of rows first_row … first_row + rows − 1 of this step, or of those
        that `first_row` (rows,) numbers one by one."""
        address = self._address(purpose, step, first_row, rows, columns)
        found: Array = self.k.normals(*address, real(dtype))
        return found

    def uniforms(
        self, purpose: int, step: int, rows: int, columns: int, dtype: DTypeLike = np.float32, first_row: Rows = 0
    ) -> Array:
        """u ~ U[0, 1), (rows, columns), multiples of 2^-24: the same numbers in float32 and float64."""
        address = self._address(purpose, step, first_row, rows, columns)
        found: Array = self.k.uniforms(*address, real(dtype))
        return found

    def inner_uniforms(self, purpose: int, step: int, rows: int, columns: int, first_row: Rows = 0) -> Array:
        """u ~ U(0, 1), (rows, columns) float64, (k + ½) 2^-24: neither end is reached, for an inverse CDF."""
        return self.uniforms(purpose, step, rows, columns, np.float64, first_row) + 2.0**-25

    def words(self, purpose: int, step: int, rows: int, columns: int, first_row: Rows = 0) -> Array:
        """The raw words, uint32 (rows, columns), of rows as `normals` has them."""
        return NUMPY.words(*self._address(purpose, step, first_row, rows, columns))

    def order(self, epoch: int, n: int, purpose: int = Purpose.ORDER, row: int = 0) -> Array:
        """A random permutation of 0 … n − 1, int64 (n,): row order of the epoch."""
        # The argsort of n independent 64-bit keys. Equal keys (chance n² 2^-65) keep the rows' order: deterministic.
        within("n", n, COLUMNS // 2)
        words = self.words(purpose, epoch, 1, 2 * n, row)[0].astype(np.uint64)
        return np.argsort((words[0::2] << np.uint64(32)) | words[1::2], kind="stable")

    def _address(
        self, purpose: int, step: int, first_row: Rows, rows: int, columns: int
    ) -> tuple[np.uint64, int, int, Array, int]:
        """The arguments that name a draw, each within its counter word."""
        within("seed", self.seed, 2**64 - 1)
        within("purpose", purpose, LIMIT - 1)
        within("step", step, LIMIT - 1)
        within("columns", columns, COLUMNS)
        # np.uint64: one compiled version serves every seed
        return np.uint64(self.seed), int(purpose), int(step), numbers(first_row, rows), int(columns)


def numbers(first_row: Rows, rows: int) -> Array:
    """The rows' numbers, uint32 (rows,). Raises UsageError for what is none, or not one for each row."""
    if isinstance(first_row, np.ndarray):
        if first_row.dtype != np.uint32 or first_row.shape != (rows,):
            given = f"{first_row.dtype} {first_row.shape}"
            raise UsageError(f"the rows' numbers are {given}, expected uint32 ({rows},): one for each row")
        return first_row
    within("first_row", first_row, LIMIT)
    within("rows", rows, LIMIT - first_row)
    return np.arange(first_row, first_row + rows, dtype=np.uint64).astype(np.uint32)


def place(first_row: Rows, i: int) -> str:
    """The i-th row in words: by its place, or, where rows are named by what they hold, as one of those given."""
    return f"{i} (from 0) of the rows given" if isinstance(first_row, np.ndarray) else str(first_row + i)


# h(x) = Σ_d a_d w_d mod 2^64, its upper half, with w_d the bits of x_d and odd a_d that look random, the hash of d: two
# rows that differ share a number with a chance of about 2^-32       multiply-shift, Dietzfelbinger et al. 1997
def named(x: Array) -> Array:
    """A number for each row of x (B, D), uint32 (B,), by what it holds as float32: one row, one name, wherever it
    stands. −0 is 0, and NaN, which marks a gap, is one value whatever its bits; so is what float32 cannot hold, inf."""
    with np.errstate(over="ignore"):
        bits = x.astype(np.float32) + np.float32(0)
    bits[np.isnan(bits)] = np.nan
    d = np.arange(1, x.shape[1] + 1, dtype=np.uint64)
    mixed = (d ^ (d << np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    odd = ((mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)) | np.uint64(1)
    return ((bits.view(np.uint32) @ odd) >> np.uint64(32)).astype(np.uint32)


def within(name: str, value: int, most: int) -> None:
    """Raise UsageError unless `value` is an integer in [0, most]."""
    if not isinstance(value, (int, np.integer)) or not 0 <= value <= most:
        raise UsageError(
            f"{name} is {value!r}, expected an integer in [0, {most}]: the noise counter would wrap and repeat itself"
        )


def real(dtype: DTypeLike) -> np.dtype[np.floating]:
    """`dtype` as a numpy.dtype; UsageError unless it is float32 or float64."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found not in (np.float32, np.float64):
        raise UsageError(f"dtype is {found}, expected float32 or float64: complex code takes real noise")
    return found
