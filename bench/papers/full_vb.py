"""§7.1.2 Kingma & Welling 2014, App. F, on MNIST: a posterior over θ beside its mode (MAP) and neither (ML).

    python -m bench.papers.full_vb 60000          (or 1000; --table prints the rows that are there)

784-500-20, binarised anew each step, Adam 1e-3, minibatches of 100, as many of them for few rows as for many. All three
are one algorithm, AEVB: ML with θ free, MAP with log N(θ; 0, I)/N added (eq. 8), full VB with θ = μ + σ ζ (eq. 24).
Test bounds are those of one θ, of full VB the mean μ. What full VB climbs is the last column, a bound on 1/N log p(X):
the training bound at draws of θ, mean of the last epoch, less KL(q(θ))/N. A point's KL is infinite: it bounds nothing.
Seconds are of a core, compiling (once, by the first way) and the test bound among them.
"""

import argparse
import datetime
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

from scratchvae import VAE, data
from scratchvae.cli import answered
from scratchvae.cli.common import say, whole
from scratchvae.types import Array

WAYS: dict[str, dict[str, Any]] = {
    "ML": {},
    "MAP": {"weight_prior": True},
    "full VB": {"algorithm": "full-vb"},
}
HERE = Path(__file__).with_suffix(".json")
BATCH = 100


def trained(way: str, x: Array, test: Array, steps: int, seed: int = 0, **options: Any) -> dict[str, Any]:
    """What stands after so many steps on rows x: bounds, nats per datapoint, and KL(q(θ))/N."""
    asked: dict[str, Any] = {"binarisation": "dynamic", "batch": BATCH, "seed": seed, "epochs": steps * BATCH / len(x)}
    start, model = time.process_time(), VAE(**asked | WAYS[way] | options)
    model.threads = 1
    last = model.fit(x).history[-1]
    test_bound = float(model.elbo(test, samples=1).mean(dtype="float64"))
    found: dict[str, Any] = {"train_bound": last["train_elbo"], "test_bound": test_bound}
    if "weights_kl" in last:
        found |= {"weights_kl": last["weights_kl"], "evidence_bound": last["train_elbo"] - last["weights_kl"]}
    about = {"machine": f"{platform.machine()} {platform.system()}", "date": datetime.date.today().isoformat()}
    return found | {"steps": steps, "cpu_seconds": round(time.process_time() - start)} | about


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown, nats per datapoint."""
    lines = ["| N | θ | train | test | KL(q(θ))/N | 1/N log p(X) ≥ | s |", "|---" * 7 + "|"]
    for rows, ways in found.items():
        for way, one in ways.items():
            beside = [f"{one[name]:.2f}" if name in one else "–" for name in ("weights_kl", "evidence_bound")]
            bounds = f"{one['train_bound']:.2f} | {one['test_bound']:.2f}"
            lines.append(f"| {rows} | {way} | {bounds} | {' | '.join(beside)} | {one['cpu_seconds']} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """So many rows, three ways; or the table."""
    p = argparse.ArgumentParser("bench.papers.full_vb", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("rows", nargs="?", type=whole(BATCH), help="so many of MNIST's 60 000, the first ones")
    p.add_argument("--steps", type=whole(1), default=6000)
    p.add_argument("--table", action="store_true", help="print what is there")
    args = p.parse_args(argv)
    found: dict[str, Any] = json.loads(HERE.read_text("utf-8")) if HERE.exists() else {}
    if args.rows:
        mnist = data.load("mnist")
        x, test = mnist.train[: args.rows], mnist.test
        for way in WAYS:
            one = found.setdefault(str(args.rows), {})[way] = trained(way, x, test, args.steps)
            say(f"{args.rows} rows, {way}: {one}")
            HERE.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.full_vb", main))
