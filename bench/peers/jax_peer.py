"""§7.2.5 JAX: one jitted step with donated buffers, and many steps as one lax.scan (an epoch in one call)."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.work import ADAM, PIXELS, Product, StepWork, batches, fingerprint, images, scan_length


def version() -> str:
    return f"jax {jax.__version__} (XLA, {jax.default_backend()})"


def dense(P: list[Any], x: Any) -> Any:
    for i in range(0, len(P) - 2, 2):
        x = jnp.tanh(x @ P[i] + P[i + 1])
    return x @ P[-2] + P[-1]


def loss(qp: Any, x: Any, eps: Any) -> Any:
    """Minus the mean bound, both heads in one product."""
    q, p = qp
    mu, log_var = jnp.split(dense(q, x), 2, axis=1)
    sigma = jnp.exp(0.5 * log_var)
    logits = dense(p, mu + sigma * eps)
    cost = (jnp.maximum(logits, 0) - x * logits + jnp.log1p(jnp.exp(-jnp.abs(logits)))).sum()
    kl = 0.5 * (mu * mu + sigma * sigma - 1.0 - log_var).sum()
    return (cost + kl) / x.shape[0]


def update(state: Any, x: Any, eps: Any) -> Any:
    """Adam, as optax.adam computes it, fused by XLA."""
    w, m, v, t = state
    rate, beta1, beta2, tiny = ADAM
    t = t + 1
    g = jax.grad(loss)(w, x, eps)
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, g)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, g)
    c1, c2 = 1 - beta1**t, 1 - beta2**t
    w = jax.tree.map(lambda w, m, v: w - rate * (m / c1) / (jnp.sqrt(v / c2) + tiny), w, m, v)
    return w, m, v, t


def one_step(latents: int, pixels: Any, state: Any, key: Any, rows: Any) -> Any:
    """Gather, binarise, draw, update. The threefry generator: on a CPU faster than rbg."""
    key, k1, k2 = jax.random.split(key, 3)
    batch = rows.shape[0]
    x = (jax.random.uniform(k1, (batch, PIXELS)) * 255 < pixels[rows]).astype(jnp.float32)
    return update(state, x, jax.random.normal(k2, (batch, latents))), key


def _jit_step(latents: int) -> Callable[..., Any]:
    def body(pixels: Any, state: Any, key: Any, epoch: Any, i: Any) -> Any:
        return one_step(latents, pixels, state, key, epoch[i])

    return jax.jit(body, donate_argnums=(1, 2))


def _jit_scan(latents: int) -> Callable[..., Any]:
    def body(pixels: Any, state: Any, key: Any, epoch: Any) -> Any:
        def one(carry: Any, rows: Any) -> tuple[Any, None]:
            state, key = carry
            return one_step(latents, pixels, state, key, rows), None

        return jax.lax.scan(one, (state, key), epoch)[0]

    return jax.jit(body, donate_argnums=(1, 2))


class Step:
    """One cell, float32 (JAX's own). A scan does `quantum` steps a call."""

    def __init__(self, what: str, work: StepWork) -> None:
        _only_float32(work.dtype)
        self.work = work
        self.quantum = scan_length(work.batch) if "scan" in what else 1
        self.call = (_jit_scan if "scan" in what else _jit_step)(work.latents)
        self.state = _start(work)
        self.key = jax.random.key(0)
        rows = batches(work.batch).astype(np.int32)
        if self.quantum > 1:
            self.epochs = [jnp.asarray(rows[i : i + self.quantum]) for i in range(0, 10 * self.quantum, self.quantum)]
            self.epochs = [e for e in self.epochs if len(e) == self.quantum]
        else:
            self.epoch = jnp.asarray(rows)
        self.pixels, self.t = _pixels(), 0

    def run(self, n: int) -> None:
        for _ in range(0, n, self.quantum):
            if self.quantum > 1:
                last = (self.epochs[self.t % len(self.epochs)],)
            else:
                last = (self.epoch, self.t % len(self.epoch))  # type: ignore[assignment]
            self.state, self.key = self.call(self.pixels, self.state, self.key, *last)
            self.t += 1
        jax.block_until_ready(self.state)

    def check(self) -> list[float]:
        return _probe(self.work)


@cache
def _probe(work: StepWork) -> list[float]:
    """The bound on the probe before and after one update: one compilation serves the step and the scan."""

    @jax.jit  # type: ignore[untyped-decorator]
    def both(state: Any, x: Any, eps: Any) -> tuple[Any, Any]:
        return -loss(state[0], x, eps), -loss(update(state, x, eps)[0], x, eps)

    return [float(b) for b in both(_start(work), *(jnp.asarray(a) for a in work.probe()))]


def _start(work: StepWork) -> Any:
    w = jax.tree.map(jnp.asarray, work.weights())
    return (w, *(jax.tree.map(jnp.zeros_like, w) for _ in "mv"), jnp.int32(0))


@cache
def _pixels() -> Any:
    return jnp.asarray(images())


def step(what: str, work: StepWork) -> Step:
    return Step(what, work)


class Multiply:
    """One jitted matrix product; the calls are queued and waited for at the end."""

    quantum = 1

    def __init__(self, job: Product) -> None:
        _only_float32(job.dtype)
        self.operands = [jnp.asarray(a) for a in job.operands()]
        self.call = jax.jit(lambda a, b: jnp.matmul(*job.views(a, b)))

    def run(self, n: int) -> None:
        for _ in range(n):
            out = self.call(*self.operands)
        out.block_until_ready()

    def check(self) -> list[float]:
        return fingerprint(np.asarray(self.call(*self.operands)))


def product(what: str, job: Product) -> Multiply:
    return Multiply(job)


def _only_float32(dtype: str) -> None:
    if dtype != "float32":
        raise NotImplementedError("JAX is timed in its own float32 only")
