"""§7.3 `warmup`: compile the hot loops once, so that the next run starts at once."""

import argparse
import os
import time

from ..engine import jit
from .common import Commands, command, emit, say

ABOUT = """Compile the training step and log p(x) now, so that later runs load them. One version serves all sizes and
all kinds of data: bytes, bits and numbers."""


def add(commands: Commands) -> None:
    """Register `warmup`."""
    p = command(commands, "warmup", ABOUT, "scratchvae warmup")
    p.set_defaults(run=run)
    p.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of the parameters")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Compile or load, and say where the code is kept."""
    from ..engine.cold_start import patience
    from ..training.warmup import warmup

    start, folder = time.monotonic(), jit.cache_folder()
    if folder is None:
        chosen = os.environ.get("SCRATCHVAE_CACHE", "")
        words = {"off": "SCRATCHVAE_CACHE is 'off'", "": "no folder is yours alone to write"}
        why = words.get(chosen, f"{chosen} is no folder that is yours alone to write")
        say(f"warmup: {why}, so nothing is kept for the next run; name another folder by SCRATCHVAE_CACHE")
    with patience():
        warmup(args.dtype)
    found = {"vector_width": jit.vector_width(), "threads": jit.threads(), "cache": folder or "none"}
    emit({**found, "seconds": round(time.monotonic() - start, 2)}, args.json)
    return 0
