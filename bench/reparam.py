"""§7.2.4 How exact slopes of samples and log densities are: ours, PyTorch's, JAX's and SciPy's, at the same points.

python -m bench.reparam                   needs mpmath; PyTorch and JAX are asked where they are installed
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

from bench import exact
from scratchvae.reparam import beta, gamma, student_t, von_mises
from scratchvae.types import Array

RESULTS = Path(__file__).with_name("reparam.json")
STEPS = 10.0 ** -np.arange(1.5, 8.5, 0.5)  # relative, of SciPy's differences
ASK: dict[str, tuple[int, int, tuple[float, float], int]] = {  # points, shapes, their range, mpmath's digits
    "gamma": (1500, 1, (1e-3, 3e3), 80),
    "beta": (500, 2, (1e-3, 3e3), 80),
    "von Mises": (300, 1, (1e-3, 1e4), 30),
    "Student-t": (300, 1, (0.05, 1e5), 80),
}
Found = dict[str, Any]
Slopes = Callable[..., Array]  # of the shapes and z (beta: of x and 1 − x): dz by each shape, (shapes, N)

EPILOG = """\
how to read it    worst and median relative error of dz/dshape at fixed u; shapes log-uniform, half of the points in the
                  tails down to 1e-12. Others are asked where z is an ordinary float, ours everywhere. SciPy has no such
                  slope: central differences of its inverse CDFs, each point with the step that happens to be the best.
                  A log density's error is relative, or absolute where it is below 1.
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser("python -m bench.reparam", description=__doc__, epilog=EPILOG,
                                formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    p.add_argument("--points", type=float, default=1.0, metavar="SHARE", help="this share of the points (default: 1)")
    p.add_argument("--seed", type=int, default=0, help="of the points (default: 0)")
    p.add_argument("--speed", action="store_true", help="only the times, in turn, on an idle machine; the rest is kept")
    p.add_argument("--out", default=str(RESULTS), metavar="FILE", help="the results (default: beside this program)")
    return p


def main(argv: list[str] | None = None) -> int:
    """0 when done, 1 where mpmath is missing."""
    options = parser().parse_args(argv)
    out = Path(options.out)
    found: Found = json.loads(out.read_text()) if out.exists() else {}
    found["versions"] = {name: v for name in ("scipy", "torch", "jax", "mpmath") if (v := version(name))}
    if options.speed:
        found["speed"] = speed(found["versions"])
    elif "mpmath" in found["versions"]:
        from bench import densities

        found["slopes"] = {name: slopes(name, options, found["versions"]) for name in ASK}
        found["log densities"] = densities.measured(options.seed, found["versions"])
    else:
        print("the right values need mpmath: pip install mpmath", file=sys.stderr)
        return 1
    out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(table(found))
    return 0


def version(name: str) -> str:
    """ "" where it is not installed."""
    try:
        return str(import_module(name).__version__)
    except ImportError:
        return ""


# --- who is asked -----------------------------------------------------------------------------------------------------


def ours(name: str) -> Any:
    """The sampler, and the slopes of what it gives: ln z, logit x, or z itself."""
    rooms: dict[str, Any] = {
        "gamma": (gamma.log_sample, gamma.log_slope),
        "beta": (beta.logit_sample, beta.logit_slopes),
        "von Mises": (von_mises.sample, von_mises.slope),
        "Student-t": (student_t.sample, student_t.slope),
    }
    return rooms[name]


def torchs(name: str) -> Slopes | None:
    """PyTorch's; it has none for the t and von Mises."""
    import torch

    def t(v: Array) -> Any:
        return torch.tensor(v, dtype=torch.float64)

    def by_dirichlet(a: Array, b: Array, x: Array, y: Array) -> Array:
        first, second = (torch._dirichlet_grad(t(v), t(c), t(a + b)).numpy() for v, c in ((x, a), (y, b)))
        return np.array([first * y, -second * x])

    rooms: dict[str, Slopes] = {
        "gamma": lambda a, z: torch._standard_gamma_grad(t(a), t(z)).numpy()[None],
        "beta": by_dirichlet,
    }
    return rooms.get(name)


def jaxs(name: str) -> Slopes | None:
    """JAX's; its incomplete beta has no slope by a and b."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return (lambda a, z: np.asarray(jax.lax.random_gamma_grad(a, z))[None]) if name == "gamma" else None


def inverses(name: str, *at: Array) -> Callable[..., Array]:
    """z by the shapes at the u of these points, from the nearer tail."""
    *shapes, z = at
    if name == "gamma":
        low, high = special.gammainc(*shapes, z), special.gammaincc(*shapes, z)
        return lambda a: np.where(low < 0.5, special.gammaincinv(a, low), special.gammainccinv(a, high))
    if name == "Student-t":
        p = special.stdtr(*shapes, -np.abs(z))
        return lambda n: -np.sign(z) * special.stdtrit(n, p)
    p = stats.vonmises.cdf(-np.abs(z), *shapes)
    return lambda k: -np.sign(z) * stats.vonmises.ppf(p, k)


def scipys(name: str, right: Array, *at: Array) -> Array:
    """Central differences; of the steps the one that is nearest to what is right."""
    if name == "beta":
        a, b, x, _ = at
        low, high = special.betainc(a, b, x), special.betaincc(a, b, x)
        inverse: Any = lambda a, b: np.where(low < 0.5, special.betaincinv(a, b, low), special.betainccinv(a, b, high))  # noqa: E731
        shapes = [a, b]
    else:
        inverse, shapes = inverses(name, *at), list(at[:-1])
    best = np.full(right.shape, np.nan)
    for i, shape in enumerate(shapes):
        for step in STEPS:
            ends = [[*shapes[:i], shape * (1 + s), *shapes[i + 1 :]] for s in (step, -step)]
            got = (inverse(*ends[0]) - inverse(*ends[1])) / (ends[0][i] - ends[1][i])
            nearer = ~(np.abs(got / right[i] - 1) >= np.abs(best[i] / right[i] - 1))
            best[i] = np.where(nearer & np.isfinite(got), got, best[i])
    return best


# --- slopes -----------------------------------------------------------------------------------------------------------


def slopes(name: str, options: argparse.Namespace, versions: dict[str, str]) -> Found:
    """Everybody's errors for one family."""
    n, count, (low, high), digits = ASK[name]
    n = max(4, round(n * options.points))
    shapes, u = exact.points(n, low=low, high=high, shapes=count, seed=options.seed)
    sample, slope = ours(name)
    inner = sample(*shapes, u)
    keep = np.isfinite(inner)
    shapes, inner = [s[keep] for s in shapes], inner[keep]
    right = truth(name, digits, *shapes, inner)
    found: Found = {"points": len(inner), "ours": errors(slope(*shapes, inner), right, *shapes, inner)}
    if name == "beta":
        z, turn = [special.expit(inner), special.expit(-inner)], special.expit(inner) * special.expit(-inner)
    elif name == "gamma":
        z = [np.exp(inner)]
        turn = z[0]
    else:
        z, turn = [inner], np.ones_like(inner)
    there = (turn > 1e-300) & np.isfinite(turn) & (np.abs(z[0]) > 1e-300)
    at, turned = [v[there] for v in (*shapes, *z)], (right * turn)[:, there]
    found["ordinary floats"] = int(there.sum())
    with np.errstate(all="ignore"):
        for other, ask in (("torch", torchs), ("jax", jaxs)):
            made = ask(name) if other in versions else None
            if made:
                found[other] = errors(made(*at), turned, *at)
        found["scipy"] = errors(scipys(name, turned, *at), turned, *at)
    return found


def truth(name: str, digits: int, *at: Array) -> Array:
    """(shapes, N) by mpmath."""
    mp: Any = import_module("mpmath").mp
    rooms: dict[str, Callable[..., Any]] = {
        "gamma": exact.gamma_right,
        "beta": exact.beta_right,
        "von Mises": exact.von_mises_right,
        "Student-t": exact.student_right,
    }
    with mp.workdps(digits):
        rows = [
            np.array(rooms[name](mp, *point), float).reshape(-1)
            for point in zip(*(v.tolist() for v in at), strict=True)
        ]
    return np.array(rows).T


def errors(got: Any, right: Array, *at: Array) -> Found:
    """Worst and median relative error, where the worst is, and how many are no number."""
    off = np.abs(np.reshape(got, right.shape) / right - 1).max(axis=0)
    finite = np.isfinite(off)
    worst = int(np.where(finite, off, -1).argmax())
    return {
        "worst": float(off[worst]),
        "median": float(np.median(off[finite])),
        "not finite": int((~finite).sum()),
        "worst at": [float(v[worst]) for v in at],
    }


# --- speed ------------------------------------------------------------------------------------------------------------


def speed(versions: dict[str, str], n: int = 100_000, rounds: int = 7) -> Found:
    """Median ns a number of gamma's slope, float64, one thread of ours; contestants in turn."""
    found: Found = {}
    for alpha in (1.0, 10.0, 1000.0):
        shape = np.full(n, alpha)
        log_z = gamma.log_sample(shape, (np.arange(n) + 0.5) / n)
        runs: dict[str, Callable[[], Any]] = {"ours": lambda a=shape, z=log_z: gamma.log_slope(a, z)}  # type: ignore[misc]
        if "torch" in versions:
            import torch

            a, z = torch.tensor(shape), torch.tensor(np.exp(log_z))
            runs["torch"] = lambda a=a, z=z: torch._standard_gamma_grad(a, z)  # type: ignore[misc]
        if "jax" in versions:
            import jax

            jax.config.update("jax_enable_x64", True)
            one, two, f = jax.numpy.array(shape), jax.numpy.array(np.exp(log_z)), jax.jit(jax.lax.random_gamma_grad)
            runs["jax"] = lambda a=one, z=two, f=f: f(a, z).block_until_ready()  # type: ignore[misc]
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) / n * 1e9)
        found[f"gamma {alpha:g}"] = {name: round(float(np.median(t)), 1) for name, t in times.items()}
    return found


# --- table ------------------------------------------------------------------------------------------------------------


def table(found: Found) -> str:
    """Markdown."""
    names = [name for name in ("ours", "torch", "jax", "scipy") if name == "ours" or name in found["versions"]]
    head = ["", "points", *(f"{name} {found['versions'].get(name, '')}".strip() for name in names)]
    parts = [("slopes", "worst relative error (median)"), ("log densities", "worst error")]
    blocks = []
    for key, title in parts:
        rows = [[title, *head[1:]], ["---"] * len(head)]
        rows += [
            [name.replace("|", "\\|"), str(one["points"]), *(cell(one.get(who)) for who in names)]
            for name, one in found.get(key, {}).items()
        ]
        blocks.append(rows)
    times = [
        [name, "", *(f"{one[who]:g} ns" if who in one else "–" for who in names)]
        for name, one in found.get("speed", {}).items()
    ]
    blocks.append([["time a number", *head[1:]], ["---"] * len(head), *times])
    return "\n\n".join("\n".join("| " + " | ".join(row) + " |" for row in rows) for rows in blocks if len(rows) > 2)


def cell(one: Found | None) -> str:
    """One contestant's errors."""
    if one is None:
        return "–"
    lost = f", {one['not finite']} not finite" if one["not finite"] else ""
    return f"{one['worst']:.1e}" + (f" ({one['median']:.0e})" if "median" in one else "") + lost


if __name__ == "__main__":
    sys.exit(main())
