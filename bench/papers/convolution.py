"""§7.3 What convolutions gain: dynamic MNIST, 20 latents, an mlp of 500 units and conv:32,64 with 256, nats of test.

    python -m bench.papers.convolution --do all --epochs 2        (or mlp-0, conv-1, …; --table prints what is there)

A run is a network and a seed, the options of `scratchvae train` for the rest. It goes into runs/convolution-NAME and is
continued there; its last test bound is a line of convolution.jsonl beside this file. A call does what is missing there
or shorter than asked for: of two lines with one name the last one counts.
"""

import argparse
import datetime
import json
import platform
import sys
from pathlib import Path

from bench.papers.runs import lines
from scratchvae.cli import answered, main
from scratchvae.cli.common import amount, say
from scratchvae.errors import UsageError
from scratchvae.training.run import MEASURED, Run

HERE = Path(__file__).with_suffix(".jsonl")
NETS = {"mlp": ["--hidden", "500"], "conv": ["--network", "conv:32,64", "--hidden", "256"]}
RUNS = [f"{net}-{seed}" for seed in range(3) for net in NETS]


def do(name: str, epochs: float) -> None:
    """Train it as far as that, from where it is, and add its line."""
    net, seed = name.split("-")
    out = Path("runs") / f"convolution-{name}"
    options = (
        ["--resume"] if (out / "config.json").exists() else ["mnist", *NETS[net], "--seed", seed, "--latent", "20"]
    )
    if main(["train", *options, "--epochs", f"{epochs:g}", "--no-pictures", "--out", str(out)]):
        raise UsageError(f"{name} has not come to its end: call again, it goes on")
    last = Run(out).read_metrics(MEASURED)[-1]
    line = {"name": name, "epochs": epochs, "test": last["test_elbo"], "train": last["train_elbo"]}
    line |= {"kl": last["test_kl"], "seconds": last["seconds"], "date": str(datetime.date.today())}
    with open(HERE, "a", encoding="utf-8") as file:
        file.write(json.dumps(line | {"machine": platform.machine()}) + "\n")


def table() -> None:
    """One row a run."""
    for name, line in sorted(lines(HERE).items()):
        sys.stdout.write(f"{name:8} {line['epochs']:5g} epochs  test {line['test']:8.2f}  KL {line['kl']:6.2f} nats\n")


def run() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--do", choices=["all", *RUNS], help="which runs")
    parser.add_argument("--epochs", type=amount, default=20.0, help="of each (default: 20)")
    parser.add_argument("--table", action="store_true", help="print what is there")
    args = parser.parse_args()
    for name in RUNS if args.do == "all" else [args.do] if args.do else []:
        if lines(HERE).get(name, {"epochs": 0})["epochs"] >= args.epochs:
            say(f"{name}: done")
        else:
            do(name, args.epochs)
    if args.table:
        table()
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.convolution", run))
