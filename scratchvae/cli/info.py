"""§7.3 `info`: what a run's folder, a checkpoint or a data file holds."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .. import data
from ..data.shards import on_demand
from ..errors import DataError
from ..training import checkpoint
from ..training.likelihood import kinds_of
from ..training.run import Run
from ..types import Array
from .common import Commands, command, emit, names

MANY = 100  # columns that are described one by one
ABOUT = "Say what a run, a checkpoint or a data file holds. Every byte of a checkpoint is verified."


def add(commands: Commands) -> None:
    """Register `info`."""
    p = command(commands, "info", ABOUT, "scratchvae info runs/mnist")
    p.set_defaults(run=run)
    p.add_argument("path", metavar="RUN|FILE", help="a run's folder, a checkpoint, a data file, or a data set's name")
    p.add_argument("--data-folder", help="folder with the files of named data sets (or set SCRATCHVAE_DATA)")
    p.add_argument("--leave-out", type=names, default=(), metavar="NAME,NAME", help="columns not to be taken")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    path = Path(args.path)
    if path.suffix == ".safetensors":
        emit(describe_checkpoint(path), args.json)
    elif (path / "config.json").exists():
        held = Run(path)
        metrics = held.read_metrics()
        emit({**describe_checkpoint(held.checkpoint), **({"metrics": metrics[-1]} if metrics else {})}, args.json)
    else:
        found = data.load(args.path, folder=args.data_folder, missing=True, leave_out=args.leave_out)
        emit(describe_data(found), args.json)
    return 0


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """Config, step and the parameters' names and shapes."""
    tensors, meta = checkpoint.load(path)
    if not isinstance(meta.get("config", {}), dict):
        raise DataError(f"{path}: its config is {meta['config']!r:.80}, expected a JSON object of options")
    beside = ("optimizer.", "stopping.", "data.")
    parameters = {name: array for name, array in tensors.items() if not name.startswith(beside)}
    shown = {key: value for key, value in meta.items() if key not in ("config", "history", "bounds")}
    return {
        "file": str(path),
        **shown,
        **meta.get("config", {}),
        "parameters": sum(array.size for array in parameters.values()),
        "shapes": {name: list(array.shape) for name, array in sorted(parameters.items())},
    }


def gaps(x: Array) -> float | None:
    """The share of NaN; None for a memory map and sparse rows, which are not read through."""
    if on_demand(x):
        return None
    return float(np.isnan(x).mean()) if x.dtype.kind == "f" else 0.0


def kinds(found: data.Dataset) -> dict[str, str] | None:
    """Of a table of at most MANY columns what `train --columns auto` would take each for, and why."""
    x, columns = found.train, found.train.shape[1]
    if columns > MANY or found.shape or x.dtype in (np.uint8, np.bool_) or not isinstance(x, np.ndarray):
        return None
    names = found.names or tuple(map(str, range(columns)))
    return {
        name: f"{k.likelihood}: {k.why}" for name, k in zip(names, kinds_of(found.train, found.levels), strict=True)
    }


def describe_data(found: data.Dataset) -> dict[str, Any]:
    """Rows, columns, type and split."""
    return {
        "data": found.name,
        "rows": len(found.train),
        "test_rows": len(found.test),
        "columns": found.train.shape[1],
        "names": ", ".join(found.names) if found.names else None,
        "image": list(found.shape) if found.shape else None,
        "dtype": str(found.train.dtype),
        "missing": gaps(found.train),
        "labels": found.labels is not None,
        "split": found.split,
        "kinds": kinds(found),
        "notes": "; ".join(found.notes) or None,
    }
