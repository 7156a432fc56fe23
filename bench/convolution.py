"""§7.3 Rows a second of a convolutional VAE, both ways with Adam, beside torch and JAX on the same net, in turn.

    OPENBLAS_NUM_THREADS=1 python -m bench.convolution --threads 1        (2 for two threads)

conv:32,64 with 256 dense units and 20 latents on 28 × 28 bits, float32; minibatches of 100 and of 200. Ours is
`Steps.advance`, minibatch and noise included; the others' draw rows and noise too. torch is eager, JAX one jitted step
a call. Each round times all that are installed, and the best one counts. BLAS has the threads of the environment, and
all stay on as many processors as --threads says.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from bench.worker import limit, pin
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


def jaxs(x: Array, batch: int, threads: int) -> Callable[[], Any]:
    """The same net in JAX, whose layers draw their weights from N(0, 0.05²)."""
    os.environ.update(limit(threads))
    import jax

    jnp, lax, layout, padding = jax.numpy, jax.lax, ("NHWC", "HWIO", "NHWC"), ((1, 1), (1, 1))
    shapes = [
        (4, 4, 1, 32), (4, 4, 32, 64), (3136, 256), (256, 40),
        (20, 256), (256, 3136), (4, 4, 64, 32), (4, 4, 32, 1),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    w = [(0.05 * rng.standard_normal(s).astype(np.float32), np.zeros(s[-1], np.float32)) for s in shapes]
    rows = jnp.asarray(x.reshape(-1, 28, 28, 1).astype(np.float32))

    def down(h: Any, W: Any, b: Any) -> Any:
        return lax.conv_general_dilated(h, W, (2, 2), padding, dimension_numbers=layout) + b

    def up(h: Any, W: Any, b: Any) -> Any:
        return lax.conv_transpose(h, W, (2, 2), ((2, 2), (2, 2)), dimension_numbers=layout) + b

    def loss(w: Any, some: Any, key: Any) -> Any:
        h = jnp.tanh(down(jnp.tanh(down(some, *w[0])), *w[1])).reshape(batch, -1)
        mu, log_var = jnp.split(jnp.tanh(h @ w[2][0] + w[2][1]) @ w[3][0] + w[3][1], 2, 1)
        z = mu + jnp.exp(log_var / 2) * jax.random.normal(key, mu.shape)
        h = jnp.tanh(jnp.tanh(z @ w[4][0] + w[4][1]) @ w[5][0] + w[5][1]).reshape(batch, 7, 7, 64)
        logits = up(jnp.tanh(up(h, *w[6])), *w[7])
        lost = (jax.nn.softplus(logits) - some * logits).sum()
        return (lost - (1 + log_var - mu**2 - jnp.exp(log_var)).sum() / 2) / batch

    def once(state: Any) -> Any:
        w, m, v, t, key = state
        key, one, two = jax.random.split(key, 3)
        g = jax.grad(loss)(w, rows[jax.random.randint(one, (batch,), 0, len(rows))], two)
        return *adam(jax, w, m, v, t, g), t + 1, key

    step = jax.jit(once)
    zeros = jax.tree.map(jnp.zeros_like, w)
    states = [(w, zeros, zeros, 1.0, jax.random.key(0))]

    def take() -> None:
        for _ in range(STEPS):
            states[0] = step(states[0])
        jax.block_until_ready(states[0])

    return take


def adam(jax: Any, w: Any, m: Any, v: Any, t: Any, g: Any) -> tuple[Any, Any, Any]:
    """JAX's step of Adam, number t from 1."""
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
    fix, root = 1e-3 / (1 - 0.9**t), 1 / (1 - 0.999**t)
    return jax.tree.map(lambda w, m, v: w - fix * m / (jax.numpy.sqrt(v * root) + 1e-8), w, m, v), m, v


PEERS = {"torch": torchs, "jax": jaxs}


def run() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=whole(1), default=1, help="of torch and JAX; ours are those of BLAS")
    args = parser.parse_args()
    pin(args.threads)
    x = np.random.default_rng(0).integers(0, 2, (2000, 784)).astype(np.uint8)
    for batch in (100, 200):
        there = {name: peer for name, peer in PEERS.items() if find_spec(name)}
        taken = {"scratchvae": ours(x, batch), **{name: peer(x, batch, args.threads) for name, peer in there.items()}}
        best = dict.fromkeys(taken, np.inf)
        for take in taken.values():
            take()
        for _ in range(ROUNDS):
            for name, take in taken.items():
                start = time.perf_counter()
                take()
                best[name] = min(best[name], time.perf_counter() - start)
        for name, seconds in best.items():
            rate, ratio = batch * STEPS / seconds, best["scratchvae"] / seconds
            sys.stdout.write(f"{name:12} batch {batch}  {args.threads} threads  {rate:8.0f} rows/s  {ratio:5.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.convolution", run))
