"""§7.2.5 What composed steps cost: other q and p beside JAX's jitted step, one model, one minibatch, in turn.

python -m bench.families                  needs JAX; an idle machine
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scratchvae.training.config import Config
from scratchvae.training.reading import learn
from scratchvae.training.state import State, Steps
from scratchvae.types import Array

RESULTS = Path(__file__).with_name("families.json")
B, D, H, K = 100, 784, 500, 20
ROWS: dict[str, dict[str, Any]] = {  # what the rows are, and the options of a run
    "bernoulli, normal": {"data": "bits"},
    "bernoulli, gamma": {"data": "bits", "posterior": "gamma"},
    "bernoulli, beta": {"data": "bits", "posterior": "beta"},
    "bernoulli, laplace": {"data": "bits", "posterior": "laplace"},
    "continuous Bernoulli, normal": {"data": "grey", "likelihood": "continuous-bernoulli"},
    "Poisson, normal": {"data": "counts", "likelihood": "poisson"},
    "negative binomial, normal": {"data": "counts", "likelihood": "negative-binomial"},
}
EPILOG = """\
how to read it    ms a step of 784-500-20, batch 100, Adam, float32: the least of five rounds, ours and JAX's in turn.
                  Ours is the NumPy composition; the Gaussian q under bits has a compiled step besides (bench).
"""


def rows(kind: str) -> Array:
    """A minibatch."""
    g = np.random.default_rng(0)
    if kind == "bits":
        return g.random((B, D)) < 0.2
    return g.random((B, D), dtype=np.float32) if kind == "grey" else g.poisson(3, (B, D)).astype(np.float32)


def ours(options: dict[str, Any]) -> Callable[[int], None]:
    """A function that takes so many steps."""
    given = {key: value for key, value in options.items() if key != "data"}
    config = Config(hidden=(H,), latent=K, batch=B, binarisation="none", kernels="numpy", **given)
    x = rows(options["data"])
    reading = learn(x, config)
    steps = Steps(State.begun(config, reading, reading.see(x)), reading.see(x))

    def advance(n: int) -> None:
        steps.advance(n)

    return advance


def least(take: Callable[[int], None], n: int) -> float:
    """Milliseconds a step."""
    start = time.perf_counter()
    take(n)
    return (time.perf_counter() - start) / n * 1e3


def main(argv: list[str] | None = None) -> int:
    """Measure all, print a table, keep it."""
    p = argparse.ArgumentParser("python -m bench.families", description=__doc__, epilog=EPILOG,
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    p.add_argument("--steps", type=int, default=30, help="a round")
    p.add_argument("--rounds", type=int, default=5)
    args = p.parse_args(argv)
    from bench.peers import jax_families

    found: dict[str, Any] = {"machine": f"{platform.machine()} {platform.system()}", "date": time.strftime("%Y-%m-%d")}
    print("| p, q | ours, ms | JAX, ms | ours / JAX |\n|---|---|---|---|")
    for name, options in ROWS.items():
        both = ours(options), jax_families.steps(rows(options["data"]), options, (D, H, K))
        for take in both:
            take(2)
        rounds = [[least(take, args.steps) for take in both] for _ in range(args.rounds)]
        mine, theirs = (min(times) for times in zip(*rounds, strict=True))
        found[name] = {"ours": round(mine, 2), "jax": round(theirs, 2), "ratio": round(mine / theirs, 2)}
        print(f"| {name} | {mine:.1f} | {theirs:.1f} | {mine / theirs:.2f} |", flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
