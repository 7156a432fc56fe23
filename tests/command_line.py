"""§7.3 What the tests of the command line share: options of a tiny run, its rows, and what a call leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from scratchvae.types import Array

TINY = ("--kernels", "numpy", "--hidden", "6", "--latent", "2", "--batch", "50", "--epochs", "2")
QUIET = (*TINY, "--no-pictures")


def bits(n: int = 120, columns: int = 12, seed: int = 0) -> Array:
    """Rows of zeros and ones, uint8, whose first half of columns is mostly lit."""
    often = np.where(np.arange(columns) < columns // 2, 0.8, 0.2)
    lit = np.random.default_rng(seed).random((n, columns)) < often
    return lit.astype(np.uint8)


class Done(NamedTuple):
    """What a call left: exit code, stdout, stderr."""

    code: int
    out: str
    words: str

    @property
    def line(self) -> str:
        """The one line of an error."""
        assert self.words.count("\n") == 1, self.words
        return self.words.rstrip()


Call = Callable[..., Done]


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
