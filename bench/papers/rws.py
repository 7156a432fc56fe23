"""§7.1.2 Bornschein & Bengio 2015, Table 1: a sigmoid belief network of 200 units on MNIST, by reweighted wake-sleep.

    python -m bench.papers.rws reweighted          (or wake-sleep; --table prints the rows that are there)

Published, estimated −log p(x) of the test rows: 103.1 (reweighted, 5 draws) and 116.3 (wake-sleep, by the same authors;
Mnih & Gregor's wake-sleep: 120.8, their NVIL 113.1). Here: MNIST binarised once by our own seed (not their draw), nets
and first weights of `bench.papers.nvil`, Adam at a rate that falls to 0, minibatches of 100, 150 epochs. log p(x) is
estimated with 1000 draws from q on all test rows, so it is a lower bound of the truth on average. A run goes into
runs/rws-ROW and is continued there after each epoch.
"""

import argparse
import json
import math
import platform
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from bench.papers.nvil import binarised, kernels, start
from scratchvae.classical.wake_sleep import Dream, reweighted, wake_sleep
from scratchvae.cli import answered
from scratchvae.cli.common import amount, say, whole
from scratchvae.conditional import Net, net
from scratchvae.distributions import Bernoulli
from scratchvae.estimators.importance import log_mean_exp
from scratchvae.models.sigmoid_belief import SigmoidBelief, Theta
from scratchvae.networks import dense
from scratchvae.noise import Noise, Purpose
from scratchvae.tasks.bbvi import arrays, ascend, begun
from scratchvae.tree import zeros_like
from scratchvae.types import Array

ROWS = {"reweighted": 5, "wake-sleep": 1}  # draws of z a row
PUBLISHED = {"reweighted": -103.1, "wake-sleep": -116.3}
HERE = Path(__file__).with_name("rws.json")
BATCH = 100


def uniforms(noise: Noise, purpose: Purpose, step: int, shape: tuple[int, ...]) -> Array:
    """U(0, 1) of a shape (…, B, K), a row of noise for each of B."""
    *outer, B, K = shape
    flat = noise.uniforms(purpose, step, B, math.prod(outer) * K)
    return np.ascontiguousarray(np.moveaxis(flat.reshape(B, *outer, K), 0, -2))


def dream(noise: Noise, step: int, theta: Theta, rows: int) -> Dream:
    """z ~ p(z), x ~ p(x | z)."""
    K, D = theta.decoder.W.shape
    u = uniforms(noise, Purpose.DREAM, step, (rows, K + D))
    z = Bernoulli(np.broadcast_to(theta.prior, (rows, K))).sample(u[:, :K])
    return Dream(Bernoulli(dense(z, theta.decoder)).sample(u[:, K:]), z)


def gradients(row: str, noise: Noise, step: int, x: Array, phi: Net, theta: Theta) -> tuple[Array, list[Array]]:
    """The sampled bounds of a minibatch (B,), and the directions of every array of phi and theta."""
    dphi, dtheta, model = zeros_like(phi), zeros_like(theta), SigmoidBelief(kernels())
    u = uniforms(noise, Purpose.LATENT, step, (ROWS[row], len(x), len(theta.prior)))
    given = (model, x, u, dream(noise, step, theta, len(x)), phi, theta, dphi, dtheta)
    L = reweighted(*given) if row == "reweighted" else wake_sleep(*given)
    return L, arrays((dphi, dtheta))


def log_p(x: Array, phi: Net, theta: Theta, samples: int, seed: int) -> tuple[Array, Array]:
    """The bound and log p(x) by importance sampling, (N,) nats each."""
    noise, model, parts = Noise(seed, kernels()), SigmoidBelief(kernels()), []
    for i in range(0, len(x), 50):
        block = x[i : i + 50]
        q = net(block, phi)[0]
        u = noise.uniforms(Purpose.EVALUATE, 0, len(block), samples * q[0].shape[1], first_row=i)
        z = q.sample(np.ascontiguousarray(u.reshape(len(block), samples, -1).swapaxes(0, 1)))
        r = model.log_joint(block, z, theta) - q.log_prob(z)
        parts.append((r.mean(axis=0), log_mean_exp(r)[0]))
    bound, evidence = (np.concatenate(part) for part in zip(*parts, strict=True))
    return bound, evidence


def train(row: str, args: argparse.Namespace) -> dict[str, Any]:
    """Begin the run of a row, or go on with it."""
    x, test = binarised(args.rows, args.seed)
    phi, theta = start(x, args.units, args.seed)
    slots = begun((phi, theta))
    arrays_kept = [array for slot in slots for array in slot]
    kept, first, spent = Path(args.out or f"runs/rws-{row}") / "state.npz", 0, 0.0
    if kept.exists():
        with np.load(kept) as held:
            first, spent = int(held["epoch"]), float(held["seconds"])
            for i, array in enumerate(arrays_kept):
                array[...] = held[f"a{i}"]
    kept.parent.mkdir(parents=True, exist_ok=True)
    noise, k, start_of = Noise(args.seed, kernels()), kernels(), time.perf_counter()
    steps = -(-len(x) // BATCH)
    for epoch in range(first, args.epochs):
        order, total = noise.order(epoch, len(x)), 0.0
        for i in range(steps):
            step = epoch * steps + i
            L, found = gradients(row, noise, step, x[order[i * BATCH : (i + 1) * BATCH]], phi, theta)
            total += float(L.sum(dtype=np.float64))
            ascend(slots, found, step, args.rate * (1 - step / (args.epochs * steps)), k)
        seconds = spent + time.perf_counter() - start_of
        held_now: dict[str, Any] = {f"a{i}": array for i, array in enumerate(arrays_kept)}
        np.savez(kept, epoch=epoch + 1, seconds=seconds, **held_now)
        say(f"epoch {epoch + 1} of {args.epochs}: training bound {total / len(x):.2f}, {seconds:.0f} s")
    bound, evidence = log_p(test, phi, theta, args.samples, args.seed)
    error = evidence.std(ddof=1) / len(evidence) ** 0.5
    return {"epochs": args.epochs, "bound": float(bound.mean(dtype=np.float64)), "samples": args.samples,
            "log_likelihood": float(evidence.mean(dtype=np.float64)), "standard_error": float(error),
            "seconds": round(spent + time.perf_counter() - start_of), "published": PUBLISHED[row],
            "machine": f"{platform.machine()} {platform.system()}", "date": date.today().isoformat()}  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """Markdown: nats per datapoint."""
    lines = ["| SBN of 200 | epochs | bound | log p(x) | published | s |", "|---|---|---|---|---|---|"]
    for name, row in found.items():
        value = f"{row['log_likelihood']:.2f} ± {row['standard_error']:.2f}"
        lines.append(
            f"| {name} | {row['epochs']} | {row['bound']:.2f} | {value} | {row['published']} | {row['seconds']} |"
        )
    return "\n".join(lines)


def options() -> argparse.ArgumentParser:
    """The command."""
    p = argparse.ArgumentParser("bench.papers.rws", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("row", nargs="?", choices=tuple(ROWS))
    p.add_argument("--epochs", type=whole(1), default=150)
    p.add_argument("--rate", type=amount, default=3e-3, help="of Adam at the start")
    p.add_argument("--units", type=whole(1), default=200)
    p.add_argument("--samples", type=whole(1), default=1000, help="draws a row for log p(x)")
    p.add_argument("--rows", type=whole(1), help="only so many rows; then nothing is kept in the committed file")
    p.add_argument("--seed", type=whole(0), default=0)
    p.add_argument("--out", help="the run's folder")
    p.add_argument("--table", action="store_true", help="print what is there")
    return p


def main(argv: list[str] | None = None) -> int:
    """One row, or the table."""
    args = options().parse_args(argv)
    found: dict[str, Any] = json.loads(HERE.read_text("utf-8")) if HERE.exists() else {}
    if args.row:
        found[args.row] = train(args.row, args)
        if args.rows is None:
            HERE.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.rws", main))
