"""§7.2.5 What composed steps cost: other q and p beside JAX's jitted step, one model, one minibatch, in turn.

python -m bench.families                  needs JAX; an idle machine
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scratchvae.training.config import Config
from scratchvae.training.reading import learn
from scratchvae.training.state import State, Steps
from scratchvae.types import Array

RESULTS = Path(__file__).with_name("families.json")
B, D, H, K = 100, 784, 500, 20
ROWS: dict[str, dict[str, Any]] = {  # what the rows are, and the options of a run
    "bernoulli, normal": {"data": "bits"},
    "bernoulli, gamma": {"data": "bits", "posterior": "gamma"},
    "bernoulli, beta": {"data": "bits", "posterior": "beta"},
    "bernoulli, laplace": {"data": "bits", "posterior": "laplace"},
    "continuous Bernoulli, normal": {"data": "grey", "likelihood": "continuous-bernoulli"},
    "Poisson, normal": {"data": "counts", "likelihood": "poisson"},
    "negative binomial, normal": {"data": "counts", "likelihood": "negative-binomial"},
}
EPILOG = """\
how to read it    ms a step of 784-500-20, batch 100, Adam, float32: the least of five rounds, ours and JAX's in turn.
                  Ours is the NumPy composition; the Gaussian q under bits has a compiled step besides (bench).
"""


def rows(kind: str) -> Array:
    """A minibatch."""
    g = np.random.default_rng(0)
    if kind == "bits":
        return g.random((B, D)) < 0.2
    return g.random((B, D), dtype=np.float32) if kind == "grey" else g.poisson(3, (B, D)).astype(np.float32)


def ours(options: dict[str, Any]) -> Callable[[int], None]:
    """A function that takes so many steps."""
    given = {key: value for key, value in options.items() if key != "data"}
    config = Config(hidden=(H,), latent=K, batch=B, binarisation="none", kernels="numpy", **given)
    x = rows(options["data"])
    reading = learn(x, config)
    steps = Steps(State.begun(config, reading, reading.see(x)), reading.see(x))

    def advance(n: int) -> None:
        steps.advance(n)

    return advance


def jaxs(options: dict[str, Any]) -> Callable[[int], None]:
    """The same model in JAX, jitted, with its own samplers and implicit slopes."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import betaln, digamma, gammaln

    x = jnp.asarray(rows(options["data"]), jnp.float32)
    q, p = options.get("posterior", "normal"), options.get("likelihood", "bernoulli")
    two = 2 if p == "negative-binomial" else 1
    shapes = [(D, H), (H, K), (H, K), (K, H), *[(H, D)] * two]
    g = np.random.default_rng(1)
    w = [(jnp.asarray(g.normal(0, 0.05, s), jnp.float32), jnp.zeros(s[1])) for s in shapes]

    def sampled(key: Any, a: Any, b: Any) -> tuple[Any, Any]:
        """z, and KL to the standard member."""
        if q == "gamma":
            shape, rate = jnp.exp(a), jnp.exp(b)
            kl = (shape - 1) * digamma(shape) - gammaln(shape) + jnp.log(rate) + shape * (1 - rate) / rate
            return jax.random.gamma(key, shape) / rate, kl
        if q == "beta":
            s, t = jnp.exp(a), jnp.exp(b)
            kl = -betaln(s, t) + (s - 1) * digamma(s) + (t - 1) * digamma(t) + (2 - s - t) * digamma(s + t)
            return jax.random.beta(key, s, t), kl
        if q == "laplace":
            return a + jnp.exp(b) * jax.random.laplace(key, a.shape), -b + jnp.abs(a) + jnp.exp(
                b - jnp.abs(a) / jnp.exp(b)
            ) - 1
        return a + jnp.exp(b / 2) * jax.random.normal(key, a.shape), 0.5 * (a**2 + jnp.exp(b) - 1 - b)

    def log_p(*heads: Any) -> Any:
        l = heads[0]
        if p == "poisson":
            return x * l - jnp.exp(l) - gammaln(x + 1)
        if p == "negative-binomial":
            theta = jnp.exp(heads[1])
            mixed = jnp.logaddexp(l, heads[1])
            return gammaln(x + theta) - gammaln(theta) - gammaln(x + 1) + x * (l - mixed) + theta * (heads[1] - mixed)
        if p == "continuous-bernoulli":
            safe = jnp.where(jnp.abs(l) < 1e-2, 1.0, l)
            near = l / 2 + l**2 / 24
            return x * l - jnp.where(
                jnp.abs(l) < 1e-2, near, jnp.maximum(safe, 0) + jnp.log(-jnp.expm1(-jnp.abs(safe)) / jnp.abs(safe))
            )
        return x * l - jax.nn.softplus(l)

    def bound(w: Any, key: Any) -> Any:
        h = jnp.tanh(x @ w[0][0] + w[0][1])
        z, kl = sampled(key, h @ w[1][0] + w[1][1], h @ w[2][0] + w[2][1])
        h = jnp.tanh(z @ w[3][0] + w[3][1])
        return (log_p(*(h @ W + b for W, b in w[4:])).sum(1) - kl.sum(1)).mean()

    def step(state: Any) -> Any:
        w, m, v, t, key = state
        key, now = jax.random.split(key)
        slopes = jax.grad(bound)(w, now)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, slopes)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, slopes)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return jax.tree.map(lambda w, m, v: w + rate * m / (jnp.sqrt(v) + 1e-8), w, m, v), m, v, t + 1, key

    jitted = jax.jit(step)
    zeros = jax.tree.map(jnp.zeros_like, w)
    state: Any = (w, zeros, zeros, 1.0, jax.random.PRNGKey(0))

    def advance(n: int) -> None:
        nonlocal state
        for _ in range(n):
            state = jitted(state)
        jax.block_until_ready(state)

    return advance


def least(take: Callable[[int], None], n: int) -> float:
    """Milliseconds a step."""
    start = time.perf_counter()
    take(n)
    return (time.perf_counter() - start) / n * 1e3


def main(argv: list[str] | None = None) -> int:
    """Measure all, print a table, keep it."""
    p = argparse.ArgumentParser("python -m bench.families", description=__doc__, epilog=EPILOG,
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    p.add_argument("--steps", type=int, default=30, help="a round")
    p.add_argument("--rounds", type=int, default=5)
    args = p.parse_args(argv)
    found: dict[str, Any] = {"machine": f"{platform.machine()} {platform.system()}", "date": time.strftime("%Y-%m-%d")}
    print("| p, q | ours, ms | JAX, ms | ours / JAX |\n|---|---|---|---|")
    for name, options in ROWS.items():
        both = ours(options), jaxs(options)
        for take in both:
            take(2)
        rounds = [[least(take, args.steps) for take in both] for _ in range(args.rounds)]
        mine, theirs = (min(times) for times in zip(*rounds, strict=True))
        found[name] = {"ours": round(mine, 2), "jax": round(theirs, 2), "ratio": round(mine / theirs, 2)}
        print(f"| {name} | {mine:.1f} | {theirs:.1f} | {mine / theirs:.2f} |", flush=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
