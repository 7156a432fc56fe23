"""§7.3 `info`: what a run's folder, a checkpoint or a data file holds."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from .. import data
from ..data.shards import on_demand
from ..errors import DataError
from ..training import checkpoint
from ..training.config import Config
from ..training.likelihood import kinds_in_words
from ..training.run import Run
from ..types import Array
from .common import Commands, command, emit, flat, names, say

MANY = 100  # columns that are described one by one
ALWAYS = ("data", "likelihood", "latent", "hidden", "epochs", "seed")
ABOUT = "Say what a run, a checkpoint or a data file holds. Every byte of a checkpoint is verified."


def add(commands: Commands) -> None:
    """Register `info`."""
    p = command(commands, "info", ABOUT, "scratchvae info runs/mnist")
    p.set_defaults(run=run)
    p.add_argument("path", metavar="RUN|FILE", help="a run's folder, a checkpoint, a data file, or a data set's name")
    p.add_argument("--data-folder", help="folder with the files of named data sets (or set SCRATCHVAE_DATA)")
    p.add_argument("--leave-out", type=names, default=(), metavar="NAME,NAME", help="columns not to be taken")
    p.add_argument("--all", action="store_true", help="of a run also the options that it left alone, and all shapes")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout, with all")


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    path = Path(args.path)
    if path.suffix == ".safetensors":
        show(args, describe_checkpoint(path))
    elif (path / "config.json").exists():
        held = Run(path)
        metrics = held.read_metrics()
        show(args, {**describe_checkpoint(held.checkpoint), **({"metrics": metrics[-1]} if metrics else {})})
    else:
        found = data.load(args.path, folder=args.data_folder, missing=True, leave_out=args.leave_out)
        emit(describe_data(found), args.json)
    return 0


def show(args: argparse.Namespace, run: dict[str, Any]) -> None:
    """All of a run, or what sets it apart."""
    if args.all or args.json:
        emit(run, args.json)
        return
    usual = flat(json.loads(json.dumps(Config().as_dict())))
    values = {k: v for k, v in flat(run).items() if not k.startswith(("shapes.", "reading.digest"))}
    kept = {k: v for k, v in values.items() if k in ALWAYS or k not in usual or v != usual[k]}
    emit(kept, False)
    say(f"{len(flat(run)) - len(kept)} more, shapes and options that were left alone: --all")


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
    return dict(kinds_in_words(found.train, found.levels, found.names))


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
