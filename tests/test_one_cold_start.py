"""One cold start: after `scratchvae warmup` no run and no evaluation compiles anything, whatever its configuration."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

RUNS = """
import json, sys
from numba.core import event
from scratchvae.cli import main

class Compilations(event.Listener):
    def on_start(self, found):
        names.append(found.data["dispatcher"].py_func.__qualname__)

    def on_end(self, found):
        pass

names = []
event.register("numba:compile", Compilations())
assert main(["warmup"]) == 0
known, found = len(names), {}
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
    found[" ".join(words)], names[known:] = names[known:], []
print(json.dumps([known, found]), file=sys.stderr)
"""
VAE: list[str] = ["--latent", "3", "--hidden", "9"]
LADDER = ["--latent", "4,2", "--hidden", "9/5"]
LEAVE_ONE_OUT = ["--estimator", "score_loo", "--samples", "2"]
TRAIN = [
    ["bytes.npy", *VAE],
    ["bytes.npy", *VAE, "--estimator", "measure", "--optimizer", "sgd"],
    ["bytes.npy", *VAE, "--estimator", "nvil", "--samples", "2", "--weight-prior"],
    ["bytes.npy", *VAE, "--estimator", "score_rb", "--samples", "2"],
    ["bytes.npy", *VAE, "--missing", "random:0.5", "--binarisation", "fixed"],
    ["bytes.npy", *LADDER, "--estimator", "dreg", "--samples", "3"],
    ["reals.npy", *VAE, "--likelihood", "gaussian", "--optimizer", "adagrad", *LEAVE_ONE_OUT],
    ["reals.npy", *LADDER, "--likelihood", "gaussian-fixed", "--estimator", "iw", "--samples", "5"],
]  # fmt: skip


def test_after_warmup_nothing_is_compiled(tmp_path: Path) -> None:
    """Catches a kernel that `warmup` forgot, a type that it did not see, and work that leaves the schedule."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "bytes.npy", rng.integers(0, 256, (120, 20)).astype(np.uint8))
    np.save(tmp_path / "reals.npy", rng.normal(size=(120, 6)))
    words: list[list[str]] = []
    for i, options in enumerate(TRAIN):
        words.append(["train", *options, "--out", f"run{i}", "--epochs", "2", "--batch", "30"])
        words.append(["evaluate", f"run{i}", "--samples", "60"])
    command = [sys.executable, "-c", RUNS, json.dumps(words)]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    _, found = json.loads(done.stderr.splitlines()[-1])
    assert found == {" ".join(run): [] for run in words}
