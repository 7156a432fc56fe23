"""§7.3 `python -m bench.planned`: what `scratchvae plan` says of a step beside what a step takes.

t(b) is timed at the batches that `scratchvae bench` has; lines between them predict batches that were not timed, and
runs over so many rows, whose time is then measured. The exchange between ranks is not tried here.
"""

import argparse
import datetime
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from scratchvae.engine import machine
from scratchvae.training import compiled, plan, speed
from scratchvae.training.config import Config
from scratchvae.training.state import State

TIMED = (1, 20, 100, 512, 2048)
TRIED = (8, 50, 200, 1000)
ROWS = (2_000, 10_000)


def main() -> None:
    """Measure, print a line a run, and write all."""
    p = argparse.ArgumentParser("python -m bench.planned", description=__doc__)
    p.add_argument("--out", default=str(Path(__file__).parent / "planned.json"), help="where to (JSON)")
    args = p.parse_args()
    rows = [r for threads in (1, 2) for name in speed.NETWORKS for r in runs(name, threads)]
    ratios = np.array([r["ratio"] for r in rows])
    found = {
        "date": datetime.date.today().isoformat(),
        "machine": machine.describe(),
        "predicted_by_measured": {"median": float(np.median(ratios)), "least": ratios.min(), "most": ratios.max()},
        "rows": rows,
    }
    Path(args.out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(found["predicted_by_measured"])


def runs(name: str, threads: int) -> list[dict[str, Any]]:
    """Every run of one network."""
    network = speed.NETWORKS[name]
    seconds = tuple(speed.step_of(network, batch, threads, quick=True).median for batch in TIMED)
    costs = plan.Costs(TIMED, seconds, speed.parameters(network), 1.0)
    found = []
    for batch in TRIED:
        take = compiled.steps(
            State(Config(hidden=network[0], latent=network[1], batch=batch), speed.COLUMNS), speed.made_up(), threads
        )
        take.advance(1)
        for rows in ROWS:
            count = -(-rows // batch)
            start = time.perf_counter()
            take.advance(count)
            measured, predicted = time.perf_counter() - start, count * costs.step(batch)
            found.append({"network": name, "threads": threads, "batch": batch, "rows": rows, "measured": measured,
                          "predicted": predicted, "ratio": predicted / measured})  # fmt: skip
            print(name, threads, batch, rows, f"{predicted / measured:.2f}", flush=True)
    return found


if __name__ == "__main__":
    main()
