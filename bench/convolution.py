"""§7.3 Rows a second of a convolutional VAE, both ways with Adam, beside torch eager on the same net, in turn.

    OPENBLAS_NUM_THREADS=1 python -m bench.convolution --threads 1        (2 for two threads)

conv:32,64 with 256 dense units and 20 latents on 28 × 28 bits, float32; minibatches of 100 and of 200. Ours is
`Steps.advance`, minibatch and noise included; torch's draws its noise and has its rows in memory. Each
round times both, and the best one counts. Wants torch; the number of BLAS threads is that of the environment.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from scratchvae.cli import answered
from scratchvae.cli.common import whole
from scratchvae.training.compiled import steps
from scratchvae.training.config import Config
from scratchvae.training.reading import learn
from scratchvae.training.state import State
from scratchvae.types import Array

STEPS, ROUNDS = 10, 5


def ours(x: Array, batch: int) -> Callable[[], Any]:
    """Some steps of `train`."""
    config = Config(network="conv:32,64", hidden=(256,), batch=batch, binarisation="none")
    taken = steps(State.begun(config, learn(x, config, image=(28, 28)), x), x, 1)
    return lambda: taken.advance(STEPS)


def torchs(x: Array, batch: int, threads: int) -> Callable[[], Any]:
    """The same net in torch, eager."""
    import torch

    torch.set_num_threads(threads)
    nn, F = torch.nn, torch.nn.functional
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.Tanh(), nn.Conv2d(32, 64, 4, 2, 1), nn.Tanh(), nn.Flatten(),
        nn.Linear(3136, 256), nn.Tanh(), nn.Linear(256, 40),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(20, 256), nn.Tanh(), nn.Linear(256, 3136), nn.Tanh(), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.Tanh(), nn.ConvTranspose2d(32, 1, 4, 2, 1),
    )  # fmt: skip
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    rows = torch.tensor(x.reshape(-1, 1, 28, 28).astype(np.float32))

    def take() -> None:
        for _ in range(STEPS):
            some = rows[torch.randint(len(rows), (batch,))]
            mu, log_var = encoder(some).chunk(2, 1)
            z = mu + (log_var / 2).exp() * torch.randn_like(mu)
            lost = F.binary_cross_entropy_with_logits(decoder(z), some, reduction="sum")
            loss = (lost - (1 + log_var - mu**2 - log_var.exp()).sum() / 2) / batch
            adam.zero_grad()
            loss.backward()
            adam.step()

    return take


def run() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=whole(1), default=1, help="torch's; ours are those of BLAS")
    args = parser.parse_args()
    x = np.random.default_rng(0).integers(0, 2, (2000, 784)).astype(np.uint8)
    for batch in (100, 200):
        taken = {"scratchvae": ours(x, batch), "torch": torchs(x, batch, args.threads)}
        best = dict.fromkeys(taken, np.inf)
        for take in taken.values():
            take()
        for _ in range(ROUNDS):
            for name, take in taken.items():
                start = time.perf_counter()
                take()
                best[name] = min(best[name], time.perf_counter() - start)
        for name, seconds in best.items():
            rate = batch * STEPS / seconds
            sys.stdout.write(f"{name:12} batch {batch}  {args.threads} threads  {rate:8.0f} rows/s\n")
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.convolution", run))
