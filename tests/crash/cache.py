"""§7.2.5 Compiled code from a cache that somebody damaged."""

import os
import random
from pathlib import Path

import numpy as np

from scratchvae.engine.jit import jit
from scratchvae.types import Array


@jit
def double(x: Array) -> Array:
    return x + x


@jit
def square(x: Array) -> Array:
    return x * x


def compute(cache: str) -> int:
    """0 if compiled code, kept in that folder, gives the right numbers; 1 if not."""
    os.environ["SCRATCHVAE_CACHE"] = os.path.abspath(cache)
    x = np.arange(33.0)
    return 0 if np.array_equal(double(x), 2 * x) and np.array_equal(square(x), x**2) else 1


def damage(files: list[Path], rng: random.Random) -> str:
    """Damage one file in one of six ways; says what was done."""
    path = rng.choice(files)
    raw, how = bytearray(path.read_bytes()), rng.choice(("flip", "flip", "flip", "cut", "grow", "swap", "empty"))
    at = rng.randrange(max(1, len(raw)))
    if how == "flip" and raw:
        raw[at] ^= 1 << rng.randrange(8)
    elif how == "swap":
        raw = bytearray(rng.choice([p for p in files if p.suffix == path.suffix]).read_bytes())
    else:
        raw = {"cut": raw[:at], "grow": raw + rng.randbytes(9)}.get(how, bytearray())
    path.write_bytes(raw)
    return f"{how} of {path.name}, byte {at}"
