"""§7.2.4 A training step of the VAE on sequences beside PyTorch and JAX: one net, the same rows, in turns.

python -m bench.recurrent                 rows of equal length (36), or --ragged, lengths 15 to 57; one thread each

Ours: `models.sequence` by the composed step with the compiled kernels, rows packed. PyTorch: torch.nn.GRU, eager,
packed where rows are ragged; it reads z beside each token (a fifth more products in the decoder), where ours and JAX's
add what z gives once a row. JAX: jit, lax.scan over padded rows. A turn is some steps of each; times are medians over
turns, ratios those of the medians; processor time, of all threads, is that of the best turn. All stay on one processor.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.worker import limit, pin

os.environ.update(limit(1))

import numpy as np

from scratchvae.models.sequence import SequenceArchitecture, before
from scratchvae.training import compiled
from scratchvae.training.config import Config
from scratchvae.training.reading import Reading
from scratchvae.training.state import State
from scratchvae.types import Array

V, K, H, E = 30, 64, 256, 32
Step = Callable[[], float]


def rows(batch: int, ragged: bool) -> Array:
    """Codes of tokens (B, T) of as many rows as a batch has."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(15, 58, batch) if ragged else np.full(batch, 36)
    x = rng.integers(2, V, (batch, lengths.max())).astype(np.int32)
    x[np.arange(lengths.max()) >= lengths[:, None]] = -1
    x[np.arange(batch), lengths - 1] = 0
    return x


def ours(x: Array) -> Step:
    """A step of a run, with its noise and its order of rows."""
    config = Config(model="sequence", data="rows.txt", latent=K, hidden=(H,), embedding=E, batch=len(x))
    state = State.begun(config, Reading(x.shape[1], "tokens", vocabulary=tuple(map(str, range(V)))), x)
    return compiled.steps(state, x, 1).one


def torch_step(x: Array, ragged: bool) -> Step:
    """The same net in torch's own words."""
    import torch

    torch.set_num_threads(1)
    nn, rnn = torch.nn, torch.nn.utils.rnn
    codes, lengths = torch.tensor(x).long(), torch.tensor((x >= 0).sum(1))
    fed = torch.tensor(before(x)).long().clamp(min=0)
    mask = (codes >= 0).float()
    net = nn.ModuleDict({
        "eq": nn.Embedding(V, E), "q": nn.GRU(E, H, batch_first=True), "heads": nn.Linear(H, 2 * K),
        "ep": nn.Embedding(V, E), "p": nn.GRU(E + K, H, batch_first=True), "start": nn.Linear(K, H),
        "out": nn.Linear(H, V),
    })  # fmt: skip
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)

    def packed(inputs: Any) -> Any:
        return rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False) if ragged else inputs

    def one() -> float:
        adam.zero_grad()
        _, last = net["q"](packed(net["eq"](codes.clamp(min=0))))
        mu, log_var = net["heads"](last[0]).chunk(2, 1)
        z = mu + (0.5 * log_var).exp() * torch.randn_like(mu)
        inputs = torch.cat([net["ep"](fed), z[:, None].expand(-1, x.shape[1], -1)], 2)
        h, _ = net["p"](packed(inputs), net["start"](z).tanh()[None])
        h = rnn.pad_packed_sequence(h, batch_first=True)[0] if ragged else h
        log_p = -nn.functional.cross_entropy(net["out"](h).transpose(1, 2), codes.clamp(min=0), reduction="none")
        L = ((log_p * mask).sum(1) - 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1)).mean()
        back: Any = -L
        back.backward()
        adam.step()
        return float(L.detach())

    return one


def jax_bound(x: Array) -> Callable[[Any, Any], Any]:
    """−L, mean over rows, of parameters by name and a key, in JAX's own words."""
    import jax
    import jax.numpy as jnp

    codes, fed, mask = jnp.asarray(x.clip(0)), jnp.asarray(before(x).clip(0)), jnp.asarray(x >= 0, "float32")

    def unit(p: Any, net: str, a: Any, h0: Any) -> tuple[Any, Any]:
        def step(h: Any, both: Any) -> tuple[Any, Any]:
            (ar, au, an), m = jnp.split(both[0], 3, 1), both[1][:, None]
            sr, su, sn = jnp.split(h @ p[f"{net}.state.W"] + p[f"{net}.state.b"], 3, 1)
            u = jax.nn.sigmoid(au + su)
            new = (1 - u) * jnp.tanh(an + jax.nn.sigmoid(ar + sr) * sn) + u * h
            h = m * new + (1 - m) * h
            return h, h

        found: tuple[Any, Any] = jax.lax.scan(step, h0, (a.swapaxes(0, 1), mask.T))
        return found

    def loss(p: Any, key: Any) -> Any:
        a = p["q.embedding"][codes] @ p["q.input.W"] + p["q.input.b"]
        h, _ = unit(p, "q", a, jnp.zeros((len(x), H)))
        mu, log_var = (h @ p[f"q.{head}.W"] + p[f"q.{head}.b"] for head in ("mu", "log_var"))
        z = mu + jnp.exp(0.5 * log_var) * jax.random.normal(key, mu.shape)
        a = p["p.embedding"][fed] @ p["p.input.W"] + p["p.input.b"] + (z @ p["p.latent.W"] + p["p.latent.b"])[:, None]
        _, hs = unit(p, "p", a, jnp.tanh(z @ p["p.start.W"] + p["p.start.b"]))
        log_p = jax.nn.log_softmax(hs.swapaxes(0, 1) @ p["p.logits.W"] + p["p.logits.b"])
        log_p = jnp.take_along_axis(log_p, codes[..., None], 2)[..., 0]
        return -((log_p * mask).sum(1) - 0.5 * (mu**2 + jnp.exp(log_var) - 1 - log_var).sum(1)).mean()

    return loss


def jax_step(x: Array) -> Step:
    """The same net by lax.scan, jitted whole; pads are computed and masked."""
    import jax
    import jax.numpy as jnp
    import optax

    shapes = SequenceArchitecture(x.shape[1], V, K, H, E).shapes()
    rng = np.random.default_rng(1)
    p = {name: jnp.asarray(0.05 * rng.standard_normal(shape), "float32") for name, shape in shapes.items()}
    adam, loss = optax.adam(1e-3), jax_bound(x)

    def update(p: Any, slots: Any, key: Any) -> tuple[Any, Any, Any]:
        L, g = jax.value_and_grad(loss)(p, key)
        change, slots = adam.update(g, slots, p)
        return optax.apply_updates(p, change), slots, L

    jitted: Any = jax.jit(update)
    held = {"p": p, "slots": adam.init(p), "t": 0}

    def one() -> float:
        held["t"] += 1
        held["p"], held["slots"], L = jitted(held["p"], held["slots"], jax.random.PRNGKey(held["t"]))
        return -float(L)

    return one


def options() -> argparse.ArgumentParser:
    """The command."""
    p = argparse.ArgumentParser("python -m bench.recurrent", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--ragged", action="store_true", help="rows of 15 to 57 tokens")
    p.add_argument("--turns", type=int, default=9)
    p.add_argument("--steps", type=int, default=3, help="of each contestant in a turn")
    return p


def main(argv: list[str] | None = None) -> int:
    """The table."""
    args = options().parse_args(argv)
    pin(1)
    x, contestants = rows(args.batch, args.ragged), {}
    makers: dict[str, Callable[[], Step]] = {
        "scratchvae": lambda: ours(x),
        "torch": lambda: torch_step(x, args.ragged),
        "JAX": lambda: jax_step(x),
    }
    for name, make in makers.items():
        try:
            contestants[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    times, busy = ({name: list[float]() for name in contestants} for _ in range(2))
    for turn in range(args.turns + 1):
        for name, step in contestants.items():
            start, used = time.perf_counter(), time.process_time()
            for _ in range(args.steps):
                step()
            if turn:  # the first compiles
                times[name].append((time.perf_counter() - start) / args.steps)
                busy[name].append((time.process_time() - used) / args.steps)
    mine = statistics.median(times["scratchvae"])
    for name, found in times.items():
        middle = statistics.median(found)
        rate = f"{args.batch / middle:.0f} rows/s, {(x >= 0).sum() / middle:.0f} tokens/s"
        used = 1e3 * min(busy[name])
        print(f"{name:12} {1e3 * middle:7.1f} ms a step, {rate}, ratio {middle / mine:.2f}; processor {used:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
