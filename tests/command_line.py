"""§7.3 What the tests of the command line share: options of a tiny run, its rows, a run, and what a call leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from scratchvae.cli import main
from scratchvae.training.config import Config
from scratchvae.training.run import Run
from scratchvae.training.state import State
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


SIDE = 4
D = SIDE * SIDE


def make_run(folder: Path, **options: Any) -> str:
    """A run of a few parameters on bars of bits, trained by nobody: its decoder is what its seed says."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.random((80, SIDE)) < 0.5, SIDE, axis=1).astype(np.uint8).reshape(80, SIDE, SIDE)
    if not (data := folder / "bars.npy").exists():
        np.save(data, x)
    config = Config(**{"data": str(data), "latent": 2, "hidden": (6,), "kernels": "numpy", **options})
    run = Run.create(folder / f"run-{len(list(folder.iterdir()))}", config)
    state = State(config, D)
    state.initialise(np.full(D, 0.5))
    run.save(state, [0.0, 0])
    return str(run.folder)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The JSON of a command that went well."""
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """The one line of a command that did not."""
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err
