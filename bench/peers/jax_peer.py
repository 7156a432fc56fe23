"""§7.2.5 JAX: one jitted step with donated buffers, and many steps as one lax.scan (an epoch in one call)."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.peers.jax_bounds import gradient, heads, log_mean_exp, log_ratio
from bench.work import ADAGRAD, PIXELS, Product, StepWork, batches, fingerprint, images, scan_length

CHUNKS = (250, 500, 1000, 2500)  # samples of a row that are decoded together: the fastest is taken


def version() -> str:
    return f"jax {jax.__version__} (XLA, {jax.default_backend()})"


def update(work: StepWork, state: Any, x: Any, m: Any, eps: Any) -> tuple[Any, Any]:
    """One step up the bound, fused by XLA: (state, the bound before it)."""
    L, g = gradient(work)(state[0], x, m, eps)
    rule: Callable[..., Any] = adagrad if work.optimizer == "adagrad" else adam
    return rule(work, *state, g), L


def adam(work: StepWork, w: Any, m: Any, v: Any, t: Any, g: Any) -> Any:
    """As optax.adam computes it."""
    rate, beta1, beta2, tiny = work.adam
    t = t + 1
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, g)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, g)
    c1, c2 = 1 - beta1**t, 1 - beta2**t
    w = jax.tree.map(lambda w, m, v: w + rate * (m / c1) / (jnp.sqrt(v / c2) + tiny), w, m, v)
    return w, m, v, t


def adagrad(work: StepWork, w: Any, G: Any, g: Any) -> Any:
    rate, tiny = ADAGRAD
    G = jax.tree.map(lambda G, g: G + g * g, G, g)
    return jax.tree.map(lambda w, G, g: w + rate * g / (jnp.sqrt(G) + tiny), w, G, g), G


def one_step(work: StepWork, data: Any, state: Any, key: Any, rows: Any) -> Any:
    """Gather, binarise, draw, update. The threefry generator: on a CPU faster than rbg."""
    key, k1, k2 = jax.random.split(key, 3)
    pixels, observed = data
    grey, m = pixels[rows], None if observed is None else observed[rows]
    if work.likelihood == "bernoulli":
        x = (jax.random.uniform(k1, (work.batch, PIXELS)) * 255 < grey).astype(jnp.float32)
    else:
        x = grey.astype(jnp.float32) * (1 / 255)
    x = x if m is None else jnp.where(m, x, 0)
    eps = jax.random.normal(k2, (work.samples, work.batch, sum(work.latents)))
    return update(work, state, x, m, eps)[0], key


def _jit_step(work: StepWork) -> Callable[..., Any]:
    def body(data: Any, state: Any, key: Any, epoch: Any, i: Any) -> Any:
        return one_step(work, data, state, key, epoch[i])

    return jax.jit(body, donate_argnums=(1, 2))


def _jit_scan(work: StepWork) -> Callable[..., Any]:
    def body(data: Any, state: Any, key: Any, epoch: Any) -> Any:
        def one(carry: Any, rows: Any) -> tuple[Any, None]:
            state, key = carry
            return one_step(work, data, state, key, rows), None

        return jax.lax.scan(one, (state, key), epoch)[0]

    return jax.jit(body, donate_argnums=(1, 2))


class Step:
    """One cell, float32 (JAX's own). A scan does `quantum` steps a call."""

    def __init__(self, what: str, work: StepWork) -> None:
        _only_float32(work.dtype)
        if work.model == "ladder" and work.estimator != "iw":
            raise NotImplementedError("JAX has the ladder with the importance-weighted bound only")
        self.work = work
        self.quantum = scan_length(work) if "scan" in what else 1
        self.call = (_jit_scan if "scan" in what else _jit_step)(work)
        self.state = _start(work)
        self.key = jax.random.key(0)
        rows = batches(work.batch).astype(np.int32)
        if self.quantum > 1:
            self.epochs = [jnp.asarray(rows[i : i + self.quantum]) for i in range(0, 10 * self.quantum, self.quantum)]
            self.epochs = [e for e in self.epochs if len(e) == self.quantum]
        else:
            self.epoch = jnp.asarray(rows)
        self.data, self.t = (_pixels(), _observed() if work.missing else None), 0

    def run(self, n: int) -> None:
        for _ in range(0, n, self.quantum):
            if self.quantum > 1:
                last = (self.epochs[self.t % len(self.epochs)],)
            else:
                last = (self.epoch, self.t % len(self.epoch))  # type: ignore[assignment]
            self.state, self.key = self.call(self.data, self.state, self.key, *last)
            self.t += 1
        jax.block_until_ready(self.state)

    def check(self) -> list[float]:
        return _probe(self.work)


@cache
def _probe(work: StepWork) -> list[float]:
    """The bound on the probe before and after one update: one compilation serves both, and the step and the scan."""
    x, eps = (jnp.asarray(a) for a in work.probe())
    m = ~jnp.isnan(x) if work.missing else None
    call, state, found = jax.jit(lambda *args: update(work, *args)), _start(work), []
    for _ in range(2):
        state, L = call(state, jnp.nan_to_num(x), m, eps)
        found.append(float(L))
    return found


def _start(work: StepWork) -> Any:
    w = jax.tree.map(jnp.asarray, work.weights())
    if work.optimizer == "adagrad":
        return w, jax.tree.map(jnp.zeros_like, w)
    return (w, *(jax.tree.map(jnp.zeros_like, w) for _ in "mv"), jnp.int32(0))


@cache
def _pixels() -> Any:
    return jnp.asarray(images())


@cache
def _observed() -> Any:
    """Which half of the pixels is there, drawn once."""
    return jnp.asarray(np.random.default_rng(0).random(images().shape, np.float32) < 0.5)


def step(what: str, work: StepWork) -> Step:
    return Step(what, work)


class Evidence:
    """One cell: log p(x) of each row, chunk after chunk of its samples, in one jitted call."""

    quantum = 1

    def __init__(self, work: StepWork) -> None:
        _only_float32(work.dtype)
        self.work, self.key = work, jax.random.key(0)
        self.w = jax.tree.map(jnp.asarray, work.weights())
        x, eps = work.probe()
        self.x, self.eps = jnp.asarray(x), jnp.asarray(eps)
        calls = [_jit_evidence(work, chunk) for chunk in CHUNKS if work.samples % chunk == 0] or [_jit_evidence(work)]
        self.call = min(calls, key=self.seconds) if len(calls) > 1 else calls[0]

    def seconds(self, call: Callable[..., Any]) -> float:
        """Of two rows, once it is compiled."""
        few, found = self.x[:2], []
        for _ in range(3):
            start = time.perf_counter()
            call(self.w, few, self.key).block_until_ready()
            found.append(time.perf_counter() - start)
        return min(found)

    def run(self, n: int) -> None:
        for _ in range(n):
            self.key, key = jax.random.split(self.key)
            found = self.call(self.w, self.x, key)
        found.block_until_ready()

    def check(self) -> list[float]:
        """From the probe's samples, in two chunks."""
        noise = self.eps.reshape(2, -1, *self.eps.shape[1:]).transpose(2, 0, 1, 3)[:, :, :, None]
        return [float(L) for L in jax.jit(lambda *args: estimate(self.work, *args))(self.w, self.x, noise)]


def estimate(work: StepWork, w: Any, x: Any, noise: Any, draw: Callable[..., Any] = lambda eps: eps) -> Any:
    """log p(x) (B,): of each row the log mean of its chunks, whose ε (chunk, 1, latents) `draw` makes of `noise`."""

    def row(of_one: Any) -> Any:
        x, first, noise = of_one

        def chunk(n: Any) -> Any:
            return log_mean_exp(log_ratio(work, w, first, x, None, draw(n)))[0]

        return log_mean_exp(jax.lax.map(chunk, noise))

    return jax.lax.map(row, (x[:, None], [a[:, None] for a in heads(w[0][0], x)], noise))


def _jit_evidence(work: StepWork, chunk: int = 1) -> Callable[..., Any]:
    def draw(key: Any) -> Any:
        return jax.random.normal(key, (chunk, 1, sum(work.latents)))

    def call(w: Any, x: Any, key: Any) -> Any:
        return estimate(work, w, x, jax.random.split(key, (len(x), work.samples // chunk)), draw)

    return jax.jit(call)


def evidence(what: str, work: StepWork) -> Evidence:
    return Evidence(work)


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
