"""§7.3 `convert`: data of any kind into .npy, which training maps instead of reading."""

import argparse
import time
from pathlib import Path

from ..data.convert import convert
from .common import SEEDS, Commands, command, names, say, whole

ABOUT = """Write all rows of a data file, or a folder, as .npy: of such train reads what it wants, so that data may be
larger than memory. CSV, Parquet, HDF5, zarr, IDX, images, sparse rows: they stream. If it is killed, the same command
goes on where it was."""


def add(commands: Commands) -> None:
    """Register `convert`."""
    p = command(commands, "convert", ABOUT, "scratchvae convert table.csv table.npy --shuffle 0")
    p.set_defaults(run=run)
    p.add_argument("data", metavar="IN", help="csv, parquet, npz, IDX, h5:NAME, zarr:NAME, a folder of images or .npy")
    p.add_argument("out", metavar="OUT", help="FILE.npy, or a folder: of shards, or, for sparse rows, of CSR's arrays")
    p.add_argument("--shuffle", type=whole(0, SEEDS), metavar="SEED", help="rows in a random order: for --order blocks")
    p.add_argument("--shard-rows", type=whole(1), help="a folder of files with so many rows each (default: one file)")
    p.add_argument("--leave-out", type=names, default=(), metavar="NAME,NAME", help="columns not to be taken")


def run(args: argparse.Namespace) -> int:
    """Convert, and say how far it is."""
    told = time.monotonic()

    def report(what: str, done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"{what}: {100 * done / max(1, total):.0f} %")

    found = convert(args.data, args.out, args.shuffle, args.shard_rows, args.leave_out, report)
    for note in found.notes:
        say(note)
    out = Path(args.out)
    size = sum(path.stat().st_size for path in (out.iterdir() if out.is_dir() else (out,)))
    say(f"wrote {args.out}: {size / 1e6:.1f} MB")
    return 0
