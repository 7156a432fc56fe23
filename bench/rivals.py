"""§7.1.2 What the classical rivals cost: rows and memory of an EM step, a mean-field step by its blanket, chains by K.

    python -m bench.rivals rows             EM and AEVB on probabilistic PCA whose rows are a memory map
    python -m bench.rivals blanket          seconds of one mean-field update by its blanket, and of AEVB's step
    python -m bench.rivals chains           effective draws a second: random walk, q(z | x) as proposal, HMC
    python -m bench.rivals --table          what stands in rivals.json

Each writes its part of rivals.json beside this file. A minute each on one thread; the memory map takes 160 MB.
"""

import argparse
import datetime
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scratchvae.arena import Arena
from scratchvae.classical import em, mean_field
from scratchvae.classical.metropolis import independence
from scratchvae.cli import answered
from scratchvae.distributions import Normal
from scratchvae.engine import machine
from scratchvae.models import linear_gaussian, vae
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.models.sigmoid_belief import Theta
from scratchvae.networks import Dense
from scratchvae.noise import Noise, Purpose
from scratchvae.tasks import diagnostics
from scratchvae.tasks.hmc import ChainPlan, Chains, hmc, metropolis
from scratchvae.training.optim import Optimizer
from scratchvae.types import Array

HERE = Path(__file__).with_suffix(".json")
N, D, K = 200_000, 200, 10
BATCH, RATE = 100, 3e-3
BLANKETS = range(4, 17)
SPINS = tuple(2**n for n in range(9, 14))
PIXELS, TRIES = 100, 5


def normals(*shape: int, step: int = 0) -> Array:
    """Standard normals of that shape, named by the step."""
    return Noise(23).normals(Purpose.DATA, step, 1, int(np.prod(shape)), np.float64).reshape(shape)


def seconds(f: Callable[..., Any], *given: Any, tries: int = TRIES) -> float:
    """The best of some calls."""
    found = []
    for _ in range(tries):
        start = time.perf_counter()
        f(*given)
        found.append(time.perf_counter() - start)
    return min(found)


# --- rows -----------------------------------------------------------------------------------------


class Amortised(NamedTuple):
    """AEVB on the same model: q(z | x) = N((x − c) V, diag exp(log_var)), θ as in `LinearGaussian`."""

    W: Array
    m: Array
    log_var: Array
    V: Array
    c: Array
    log_var_q: Array

    @property
    def theta(self) -> LinearGaussian:
        """The generative part."""
        return LinearGaussian(*self[:3])


def begun() -> tuple[Array, Amortised]:
    """The parameters before training, flat and by name."""
    sizes = ((K, D), (D,), (1,), (D, K), (D,), (K,))
    flat = np.zeros(sum(map(np.prod, sizes)))
    parts = np.split(flat, np.cumsum([np.prod(s) for s in sizes])[:-1])
    made = Amortised(*(part.reshape(s) for part, s in zip(parts, sizes, strict=True)))
    made.W[...] = 0.1 * normals(K, D, step=1)
    made.V[...] = 0.01 * normals(D, K, step=2)
    return flat, made


# L = log p(x, z) + ½ Σ log σ² + const,   z = (x − c) V + σ ε                                        K&W 2014, eq. 6
def slope(x: Array, eps: Array, p: Amortised, d: Amortised) -> None:
    """Adds ∂ (mean bound of the batch) / ∂ p into d."""
    sigma, w = np.exp(p.log_var_q / 2), np.full(len(x), 1 / len(x))
    dz = p.theta.log_joint_vjp(w, x, (x - p.c) @ p.V + sigma * eps, d.theta)
    d.V[...] += (x - p.c).T @ dz
    d.c[...] -= (dz @ p.V.T).sum(axis=0)
    d.log_var_q[...] += 0.5 * (dz * eps * sigma).sum(axis=0) + 0.5


def trained(x: Array, steps: int) -> Iterator[LinearGaussian]:
    """θ after each step of AEVB by minibatches, in the order of the rows."""
    (flat, p), (g, d), optimizer = begun(), begun(), Optimizer(learning_rate=RATE)
    slots = np.zeros((2, flat.size))
    for t in range(steps):
        g[...] = 0
        start = t * BATCH % len(x)
        eps = Noise(1).normals(Purpose.CHAIN, t, BATCH, K, np.float64)
        slope(np.asarray(x[start : start + BATCH], np.float64), eps, p, d)
        optimizer.update(flat, g, slots, t + 1, RATE)
        yield p.theta


def peak(f: Callable[[], Any]) -> int:
    """Bytes that a call allocates at most at once; pages of the map are not among them, the system may drop those."""
    tracemalloc.start()
    f()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def rows() -> dict[str, Any]:
    """A step of each, and log p(x) of new rows by rows read."""
    made = LinearGaussian(normals(K, D) * (3 * 0.7 ** np.arange(K))[:, None], normals(D, step=3), np.zeros(1))
    with tempfile.TemporaryDirectory() as folder:
        x = np.memmap(Path(folder) / "x", np.float32, "w+", shape=(N, D))
        for i in range(0, N, 10_000):
            x[i : i + 10_000] = made.sample(normals(10_000, K, step=10 + i), normals(10_000, D, step=11 + i))[0]
        new = made.sample(normals(5000, K, step=4), normals(5000, D, step=5))[0]
        start = begun()[1].theta
        steps: dict[str, tuple[int, Callable[[], Any]]] = {
            "EM, blocks of 1024 rows": (N, lambda: em.pca_step(x, start)),
            "EM, all rows at once": (N, lambda: em.pca_step(x, start, N)),
            f"AEVB, a batch of {BATCH}": (BATCH, lambda: [*trained(x, 20)]),
        }
        calls = {name: 20 if "AEVB" in name else 1 for name in steps}
        cost = {
            name: {"rows": n, "seconds": seconds(f, tries=2) / calls[name], "bytes": peak(f)}
            for name, (n, f) in steps.items()
        }
        best = linear_gaussian.maximum_likelihood(np.asarray(x, np.float64), K)
        climbs: dict[str, dict[str, float]] = {"EM": {}, "AEVB": {}}
        theta = start
        for passes in range(1, 11):
            theta, _ = em.pca_step(x, theta)
            climbs["EM"][str(passes * N)] = float(theta.log_marginal(new).mean())
        for t, found in enumerate(trained(x, 10 * N // BATCH), 1):
            if t * BATCH in (N // 20, N // 4, N // 2, N, 2 * N, 5 * N, 10 * N):
                climbs["AEVB"][str(t * BATCH)] = float(found.log_marginal(new).mean())
    fixed = {"start": start, "closed form, one pass": best, "truth": made}
    ends = {name: float(theta.log_marginal(new).mean()) for name, theta in fixed.items()}
    return {"shape": [N, D, K], "map_bytes": 4 * N * D, "steps": cost, "log_p": climbs | ends}


# --- blankets -------------------------------------------------------------------------------------


def line(sizes: Any, times: Any) -> float:
    """The slope of log₂ time."""
    return float(np.polyfit(sizes, np.log2(times), 1)[0])


def belief_network(latents: int, count: int) -> tuple[Array, Theta, Array]:
    """Bits x, θ and q of a sigmoid belief network."""
    theta = Theta(normals(latents), Dense(normals(latents, PIXELS, step=1), normals(PIXELS, step=2)))
    return (normals(count, PIXELS, step=3) > 0) * 1.0, theta, np.full((count, latents), 0.4)


def exact_update(latents: int) -> float:
    """Seconds a row of one update of one latent from p(x | z): so many rows that all sizes sum as many terms."""
    count = max(1, 2**14 >> latents)
    x, theta, q = belief_network(latents, count)
    return seconds(lambda: mean_field.bit(q, 0, mean_field.belief(x, theta))) / count


def saul_update(latents: int) -> float:
    """Seconds a row of one update by Saul, Jaakkola and Jordan's bound."""
    x, theta, q = belief_network(latents, 100)
    return seconds(mean_field.saul, q, 0, np.full(x.shape, 0.5), x, theta, tries=60) / 100


def aevb_step(latents: int) -> float:
    """Seconds a row of the bound of a VAE with 100 hidden units and all its slopes."""
    arch = vae.Architecture(PIXELS, latents, (100,))
    arena, d = Arena(arch.shapes(), "float64"), Arena(arch.shapes(), "float64")
    arena.flat[...] = 0.1 * normals(arena.flat.size)
    x, eps, w = (normals(500, PIXELS) > 0) * 1.0, normals(500, latents), np.full(500, 1 / 500)

    def step() -> None:
        _, cache = vae.elbo(x, eps, *arch.nets(arena.views))
        vae.elbo_vjp(w, cache, x, eps, *arch.nets(arena.views), *arch.nets(d.views))

    return seconds(step, tries=60) / 500


def ising_update(spins: int) -> float:
    """Seconds a row of one update of a spin that is coupled to all others."""
    m = 0.1 * normals(32, spins)
    return seconds(mean_field.ising, m, 0, m, np.broadcast_to(m[0], (1, spins)), tries=200) / 32


def blanket() -> dict[str, Any]:
    """Seconds a row by the size of what is tied together, and the slope of their log₂."""
    updates = (("exact", exact_update), ("saul", saul_update), ("aevb", aevb_step))
    found = {name: {str(n): one(n) for n in BLANKETS} for name, one in updates}
    slopes = {name: line([*BLANKETS], [*times.values()]) for name, times in found.items()}
    found["ising"] = {str(n): ising_update(n) for n in SPINS}
    slopes["ising, by log₂ of the spins"] = line(np.log2(SPINS), [*found["ising"].values()])
    return {"seconds": found, "slopes": slopes}


# --- chains ---------------------------------------------------------------------------------------


def ways(latents: int) -> Iterator[tuple[str, Callable[[], Chains]]]:
    """Three samplers of one posterior of probabilistic PCA, the independence sampler with two q: 20 chains, 5 rows."""
    theta = LinearGaussian(normals(latents, 2 * latents), normals(2 * latents, step=1), np.array([1.0]))
    x = theta.sample(normals(5, latents, step=2), normals(5, 2 * latents, step=3))[0]
    mean, cov = theta.posterior(x)
    start = theta.sample_posterior(x, normals(20, 5, latents, step=4))
    ones, plan = np.ones(start.shape[:2]), ChainPlan(draws=1000, warm_up=200)

    def log_p(z: Array) -> Array:
        return theta.log_joint(x, z)

    def slope(z: Array) -> Array:
        return theta.log_joint_vjp(ones, x, z)

    walk = plan._replace(target=0.3, draws=4000, jitter=0.0)
    yield "random walk", lambda: metropolis(log_p, start, Noise(1), walk)
    for name, var in (("of the bound", 1 / np.diag(np.linalg.inv(cov))), ("with the right variances", np.diag(cov))):
        q = Normal(mean, np.tile(np.log(var), (5, 1)))
        yield f"q {name}", lambda q=q: independence(log_p, q, start, Noise(2), plan)  # type: ignore[misc]
    yield "HMC", lambda: hmc(log_p, slope, start, Noise(3), plan)


def chains() -> dict[str, Any]:
    """Effective draws of the worst latent a second, warm-up included."""
    found: dict[str, Any] = {}
    for n in (2, 10, 50):
        found[str(n)] = {}
        for name, run in ways(n):
            begin = time.perf_counter()
            made = run()
            took = time.perf_counter() - begin
            effective = float(diagnostics.effective_sample_size(made.draws).min())
            one = {"a_second": effective / took, "effective": effective, "seconds": took}
            found[str(n)][name] = one | {"acceptance": float(made.acceptance.mean())}
    return found


PARTS: dict[str, Callable[[], dict[str, Any]]] = {"rows": rows, "blanket": blanket, "chains": chains}


def main(argv: list[str] | None = None) -> int:
    """One part, or what was found."""
    p = argparse.ArgumentParser("bench.rivals", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("part", nargs="?", choices=tuple(PARTS))
    p.add_argument("--table", action="store_true", help="print what is there")
    args = p.parse_args(argv)
    found: dict[str, Any] = json.loads(HERE.read_text()) if HERE.exists() else {}
    if args.part:
        about = {"date": datetime.date.today().isoformat(), "machine": machine.describe()["cpu"]}
        found[args.part] = PARTS[args.part]() | about
        HERE.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.rivals", main))
