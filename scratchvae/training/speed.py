"""§7.3 How fast this machine trains: whole steps and single products, timed, with how noisy the clock was.

Rows are made up, as dense as MNIST's (19 pixels of 100 are not blank, 13 bits of 100 are ones), so nothing has to be at
hand; the first layer passes over blank pixels, so GFLOP/s, which count all products as dense, may pass the machine's.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from ..kernels import table
from ..noise import Noise, Purpose
from ..types import Array
from . import compiled
from .config import Config
from .state import State

COLUMNS = 784
ROWS = 8192  # two batches of the largest
INK = 0.19  # share of pixels that are not blank, and …
LEVEL = 175  # … their mean grey level of 255: 13 bits of 100 are ones
NETWORKS = {"784-500-20": ((500,), 20), "784-200-200-50": ((200, 200), 50)}
CELLS = (*(("784-500-20", batch) for batch in (1, 20, 100, 512, 4096)), ("784-200-200-50", 20))
REPEATS, CHUNK = 9, 0.15  # timings of a cell, and the seconds that one should take
Say = Callable[[str], None]


@cache
def made_up(rows: int = ROWS) -> Array:
    """uint8 (rows, 784): grey levels, of which a share INK is not 0."""
    u = Noise(0).uniforms(Purpose.DATA, 0, rows, 2 * COLUMNS)
    return np.where(u[:, :COLUMNS] < INK, LEVEL - 80 + 160 * u[:, COLUMNS:], 0).astype(np.uint8)


@dataclass(frozen=True)
class Timed:
    """Seconds of one piece of work: the median of the repeats, the least, and how far the middle half of them lies
    apart, as a share of the median."""

    median: float
    least: float
    spread: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Timed":
        """From the seconds of each repeat."""
        low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75))
        return cls(float(median), float(min(seconds)), float((high - low) / median))


def timed(run: Callable[[int], object], quantum: int = 1, quick: bool = False) -> Timed:
    """Of run(n), which does n pieces of work; n is a multiple of the quantum that takes about CHUNK seconds;
    quick: a third of that, five times."""

    def seconds(n: int) -> float:
        start = time.perf_counter()
        run(n)
        return time.perf_counter() - start

    seconds(quantum)  # compiles, and warms the caches
    n = quantum * max(1, round(CHUNK / (3 if quick else 1) / max(seconds(quantum), 1e-9)))
    return Timed.of([seconds(n) / n for _ in range(5 if quick else REPEATS)])


def step_of(network: tuple[tuple[int, ...], int], batch: int, threads: int, quick: bool = False) -> Timed:
    """One training step of a VAE of 784 columns: `network` is (hidden layers of q, latents)."""
    hidden, latent = network
    state = State(Config(hidden=hidden, latent=latent, batch=batch), COLUMNS)
    take = compiled.steps(state, made_up(max(ROWS, batch)), threads)
    return timed(take.advance, max(1, min(50, 2_000 // batch)), quick)


def layers(network: tuple[tuple[int, ...], int]) -> list[tuple[int, int]]:
    """(inputs, outputs) of each dense layer of q, then of p; the last one of q has both heads."""
    hidden, latent = network
    return [*pairwise((COLUMNS, *hidden)), (hidden[-1], 2 * latent), *pairwise((latent, *hidden[::-1], COLUMNS))]


def parameters(network: tuple[tuple[int, ...], int]) -> int:
    """Weights and biases."""
    return sum((i + 1) * o for i, o in layers(network))


def operations(network: tuple[tuple[int, ...], int], batch: int) -> float:
    """Multiplications and additions of a step's products: forward, dW, and dx except of the first layer."""
    first, *rest = (i * o for i, o in layers(network))
    return 2.0 * batch * (2 * first + 3 * sum(rest))


def steps(counts: tuple[int, ...], say: Say) -> Iterator[dict[str, Any]]:
    """A row of every cell at every number of threads."""
    for threads in counts:
        for name, batch in CELLS:
            network = NETWORKS[name]
            say(f"steps: {name}, batch {batch}, {threads} thread{'s' * (threads > 1)}")
            found, traffic = step_of(network, batch, threads), 24.0 * parameters(network) + COLUMNS * batch
            yield {"kind": "step", "network": name, "batch": batch, **row(found, threads, operations(network, batch),
                   traffic), "steps_per_second": 1 / found.median}  # fmt: skip


def products(say: Say) -> Iterator[dict[str, Any]]:
    """The three products of a dense layer of 784 × 500 and a batch of 100, from the kernel table, on one thread."""
    say("products")
    k, B, I, O = table("numba"), 100, COLUMNS, 500
    x, W, dy = (_numbers(shape) for shape in ((B, I), (I, O), (B, O)))
    dW, b = np.zeros_like(W), np.zeros(O, np.float32)
    each = {
        "forward": lambda: k.dense(x, W, b),
        "dW": lambda: k.dense_vjp_params(dy, x, dW, b),
        "dx": lambda: k.dense_vjp_x(dy, W),
    }
    for name, f in each.items():
        found = timed(lambda n, f=f: [f() for _ in range(n)])  # type: ignore[misc]
        yield {"kind": "product", "network": f"{name} {I}x{O}", "batch": B,
               **row(found, 1, 2.0 * B * I * O, 4.0 * (B * I + I * O + B * O))}  # fmt: skip


def _numbers(shape: tuple[int, int]) -> Array:
    return Noise(1).uniforms(Purpose.DATA, 0, *shape) - np.float32(0.5)


def row(found: Timed, threads: int, work: float, traffic: float) -> dict[str, Any]:
    """What JSON has of a timing; `work` operations and `traffic` bytes, which cannot be avoided, a piece."""
    return {"what": "ours", "threads": threads, "dtype": "float32", "microseconds": found.median * 1e6,
            "least": found.least * 1e6, "spread": found.spread, "gflops": work / found.median / 1e9,
            "intensity": work / traffic}  # fmt: skip


def best(limits: dict[str, Any]) -> float:
    """GFLOP/s of FMA from registers at the vector width that does most."""
    return max((v for name, v in limits.items() if name.startswith("fma")), default=math.nan)
