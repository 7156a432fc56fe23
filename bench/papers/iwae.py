"""§7.1, §7.3 Table 1 of Burda, Grosse & Salakhutdinov 2016 (arXiv 1509.00519): MNIST, test NLL with 5000 samples.

    python -m bench.papers.iwae vae-1-1 --out runs/vae-1-1            (model-layers-k; the full 3280 epochs, resumable)
    python -m bench.papers.iwae iwae-1-5 --shorten 10 --out runs/iwae-1-5

Their set-up: one layer 784-200-200-50, two layers 200-200-100 then 100-100-50, tanh; batch 20; Adam with β₁ = 0.9,
β₂ = 0.999, ε = 1e-4; learning rate 1e-4 · round(10^(1−(i−1)/7), 1) for 3^(i−1) epochs, i = 1 … 8; dynamic
binarisation; output bias at the logit of the training mean. `--shorten F` divides every number of epochs by F.
"""

import argparse
import datetime
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

from scratchvae.cli import answered
from scratchvae.cli import main as scratchvae
from scratchvae.cli.common import amount, whole
from scratchvae.training.run import Run

PAPER = {  # test NLL, nats
    "vae-1-1": 86.76, "vae-1-5": 86.47, "vae-1-50": 86.35, "iwae-1-5": 85.54, "iwae-1-50": 84.78,
    "vae-2-1": 85.33, "vae-2-5": 85.01, "vae-2-50": 84.78, "iwae-2-5": 83.89, "iwae-2-50": 82.90,
}  # fmt: skip
EPOCHS = 3280


def options(row: str, shorten: float) -> list[str]:
    """The options of `scratchvae train` for a row of the table."""
    model, layers, k = row.split("-")
    stages = [(sum(3**j for j in range(i)), round(10 ** (1 - i / 7), 1)) for i in range(8)]
    milestones = ",".join(f"{start / shorten:g}:{factor}" for start, factor in stages)
    shape = ["--latent", "50", "--hidden", "200,200"]
    if layers == "2":
        shape = ["--latent", "100,50", "--hidden", "200,200/100,100"]
    adam = ["--learning-rate", "1e-4", "--epsilon", "1e-4", "--schedule", "step", "--milestones", milestones]
    estimator = ["--estimator", "sgvb_b" if model == "vae" else "iw", "--samples", k]
    return [*shape, *adam, *estimator, "--batch", "20", "--epochs", f"{EPOCHS / shorten:g}"]


def main(argv: list[str] | None = None) -> int:
    """Train (or go on), evaluate, and write the result beside this file."""
    p = argparse.ArgumentParser("bench.papers.iwae", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("row", choices=sorted(PAPER))
    p.add_argument("--shorten", type=amount, default=1.0)
    p.add_argument("--out", required=True, help="the run's folder; an unfinished run there is continued")
    p.add_argument("--samples", type=whole(1), default=5000)
    p.add_argument("--threads", default="2")
    args = p.parse_args(argv)
    resume = ["--resume"] if Run(Path(args.out)).checkpoint.exists() else []
    every = ["--evaluate-every", f"{max(1, 40 / args.shorten):g}", "--save-every", f"{max(1, 10 / args.shorten):g}"]
    train = ["train", "mnist", *options(args.row, args.shorten), *every, "--out", args.out, "--threads", args.threads]
    code = scratchvae([*train, *resume])
    return code or report(args)


def report(args: argparse.Namespace) -> int:
    """Evaluate the finished run as the paper did, and keep the figures."""
    from scratchvae import data
    from scratchvae.cli import evaluate
    from scratchvae.training.evaluate import active_units, elbo_over

    held = Run(Path(args.out))
    state, _ = held.load()
    test, start = data.load("mnist").test, time.monotonic()
    log_p = evaluate.importance(state, test, args.samples)
    found: dict[str, Any] = {
        "row": args.row,
        "nll": -float(log_p.mean()),
        "standard_error": float(log_p.std() / len(log_p) ** 0.5),
        "paper": PAPER[args.row],
        "elbo": elbo_over(state, test).elbo,
        "active_units": active_units(state, test)[0],
        "samples": args.samples,
        "rows": len(test),
        "epochs": EPOCHS / args.shorten,
        "shorten": args.shorten,
        "seed": state.config.seed,
        "training_seconds": held.read_metrics()[-1]["seconds"],
        "evaluation_seconds": round(time.monotonic() - start, 1),
        "unit": "nats per datapoint",
        "machine": f"{platform.machine()} {platform.system()}, {args.threads} threads",
        "date": datetime.date.today().isoformat(),
        "command": f"python -m bench.papers.iwae {args.row} --shorten {args.shorten:g} --out runs/{args.row}",
    }
    name = args.row if args.shorten == 1 else f"{args.row}-by-{args.shorten:g}"  # a short schedule is another row
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.iwae", main))
