"""§7.2.2 Mnih & Gregor 2014, Table 1: a sigmoid belief network of 200 units on MNIST, by the score function alone.

    python -m bench.papers.nvil --estimator score_loo --samples 4 --rate 1e-2 --epochs 60 --out bench/papers/nvil.json

Their bound on the test set is 113.1 nats (NVIL; minibatches of 20, learning rate 3e-4, input-dependent baseline and
variance normalisation). Here: MNIST binarised once, pixel by pixel with its grey level as probability (so not the same
draw as theirs), Adam at a falling rate. The bound is estimated on all test rows with ten samples.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from scratchvae import data
from scratchvae.conditional import Family, Net, net
from scratchvae.estimators import estimate, get
from scratchvae.initial import output_bias
from scratchvae.kernels import Kernels, table
from scratchvae.models.sigmoid_belief import SigmoidBelief, Theta
from scratchvae.networks import Dense
from scratchvae.noise import Noise, Purpose
from scratchvae.tasks.bbvi import Fit, fit
from scratchvae.types import Array

PUBLISHED = {"NVIL": 113.1, "wake-sleep": 120.8}


def kernels() -> Kernels:
    """NumPy's products of matrices, and the compiled loops for what NumPy takes several passes for."""
    fast = table("numba")
    return table("numpy")._replace(adam=fast.adam, uniforms=fast.uniforms, normals=fast.normals)


def binarised(rows: int | None, seed: int) -> tuple[Array, Array]:
    """MNIST's train and test rows as bits, float32."""
    found, noise = data.load("mnist"), Noise(seed, table("numba"))
    parts = [data.rows(part, slice(0, rows)) for part in (found.train, found.test)]
    train, test = (
        data.binarise(x, "fixed", noise.uniforms(Purpose.FIXED_BINARISATION, i, *x.shape)) for i, x in enumerate(parts)
    )
    return train, test


def start(x: Array, units: int, seed: int) -> tuple[Net, Theta]:
    """q(z | x) linear, weights N(0, 1/(4 fan-in)); a decoder that begins at the data mean."""
    noise, D = Noise(seed, table("numba")), x.shape[1]

    def layer(i: int, fan_in: int, fan_out: int) -> Dense:
        W = noise.normals(Purpose.INITIAL, i, fan_in, fan_out) * np.float32(0.5 / math.sqrt(fan_in))
        return Dense(W, np.zeros(fan_out, "float32"))

    decoder = layer(2, units, D)
    decoder.b[...] = output_bias(x.mean(axis=0, dtype=np.float64), "bernoulli")
    phi = Net((), (layer(1, D, units),), "tanh", Family("bernoulli"))
    return phi, Theta(np.zeros(units, "float32"), decoder)


def bound(found: Fit, x: Array, seed: int, samples: int = 10) -> float:
    """The mean bound of rows x, nats, each with so many samples."""
    noise, model, total = Noise(seed, table("numba")), SigmoidBelief(), 0.0
    for i in range(0, len(x), 500):
        q = net(x[i : i + 500], found.phi)[0]
        B, K = q[0].shape
        u = noise.uniforms(Purpose.EVALUATE, 0, B, samples * K, first_row=i).reshape(B, samples, K).swapaxes(0, 1)
        total += float(estimate(get("score"), model, q, x[i : i + 500], u, found.theta)[0].sum(dtype=np.float64))
    return total / len(x)


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Fit, with the test bound now and then; the results, also of a run that is stopped, are in the file."""
    x, test = binarised(args.rows, args.seed)
    phi, theta = start(x, args.units, args.seed)
    per_epoch, begin = math.ceil(len(x) / args.batch), time.perf_counter()
    curve: list[dict[str, float]] = []
    settings = {k: v for k, v in vars(args).items() if k != "out"}

    def result() -> dict[str, Any]:
        best = max((point["test_bound"] for point in curve), default=None)
        last = curve[-1]["test_bound"] if curve else None
        return {"settings": settings, "published": PUBLISHED, "test_bound": last, "best": best, "curve": curve}

    def report(step: int, _: float, found: Fit) -> None:
        epoch = (step + 1) / per_epoch
        if (step + 1) % (args.every * per_epoch) and epoch != args.epochs:
            return
        mean = float(found.history[-per_epoch:].mean())
        seconds = round(time.perf_counter() - begin, 1)
        point = {"epoch": epoch, "train_bound": mean, "test_bound": bound(found, test, args.seed), "seconds": seconds}
        curve.append(point)
        print(json.dumps(point), flush=True)
        if args.out:
            Path(args.out).write_text(json.dumps(result(), indent=1) + "\n", "utf-8")

    options: dict[str, Any] = {
        "estimator": args.estimator,
        "samples": args.samples,
        "rate": args.rate,
        "batch": args.batch,
        "seed": args.seed,
    }
    steps, k = args.epochs * per_epoch, kernels()
    fit(SigmoidBelief(k), x, phi, theta, steps=steps, report=report, k=k, **options)
    return result()


def main() -> None:
    """Options, training, JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", default="nvil", help="nvil, score_loo, score, …")
    parser.add_argument("--samples", type=int, default=1, help="samples a row")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--every", type=int, default=5, help="epochs between two test bounds")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--rows", type=int, help="only so many rows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="JSON file")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
