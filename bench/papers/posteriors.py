"""§7.2.5 A VAE with each q(z | x), under a prior of its kind, on MNIST's bits: learned curves, and the gap to log p(x).

    python -m bench.papers.posteriors gamma       (normal, laplace, logit-normal, beta, dirichlet, …)
    python -m bench.papers.posteriors --table       the rows that are there; --out posteriors.png draws them

784-200-K, tanh; the first 2 000 training rows and 500 test rows, binarised once by our own seed; Adam at 2e-3, batches
of 100. K = 8: log p(x) by importance sampling with 200 draws. One dimension (two components of a Dirichlet):
log p(x) = ∫ p(x | F⁻¹(u)) du over the prior's quantiles, u = σ(t) on a fine grid of t (equal steps of u would
end at 3.8 standard deviations, and codes lie beyond), and the bound by midpoints of the noise, both float64: no row's
bound may lie above its log p(x).
"""

import argparse
import datetime
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import betaincinv, expit, ndtri

from scratchvae import data, plots
from scratchvae.cli import answered
from scratchvae.cli.common import whole
from scratchvae.errors import CheckFailed
from scratchvae.models.decoded import standard
from scratchvae.training import objective
from scratchvae.training.state import State
from scratchvae.types import Array
from scratchvae.vae import VAE

ROWS = ("normal", "laplace", "logit-normal", "gamma", "beta", "dirichlet", "von-mises", "student-t")
HERE = Path(__file__).with_name("posteriors.json")
TRAIN, TEST, EXACT = 2000, 500, 100  # rows; of the last log p(x) by quadrature
SAMPLES, NODES, NOISE, REACH = 200, 8192, 1024, 34.0  # draws for log p(x); nodes of the prior, of the noise; of t
SETTINGS: dict[str, Any] = {"hidden": (200,), "learning_rate": 2e-3, "batch": 100, "kernels": "numpy"}


def bits(folder: str | None) -> tuple[Array, Array]:
    """The rows to train on and to test on, uint8 of 0 and 1."""
    found, rng = data.load("mnist", folder=folder), np.random.default_rng(0)
    grey = np.concatenate([found.train[:TRAIN], found.test[:TEST]]) / 255
    x = (rng.random(grey.shape) < grey).astype(np.uint8)
    return x[:TRAIN], x[TRAIN:]


def train(q: str, latent: int, epochs: int, x: Array, test: Array, **options: Any) -> VAE:
    """A VAE with that q(z | x); Student's t has no KL in closed form."""
    estimator = "stl" if q == "student-t" else "sgvb_b"
    model = VAE(latent, posterior=q, epochs=float(epochs), estimator=estimator, **{**SETTINGS, **options})
    return model.fit(x, test)


def midpoints(n: int) -> Array:
    """(i + ½) / n, (n,)."""
    return (np.arange(n) + 0.5) / n


# ∫₀¹ f(u) du = ∫ f(σ(t)) σ(t) σ(−t) dt: the trapezoid rule on what falls off as e^−|t| at both ends
def prior_nodes(state: State, n: int) -> tuple[Array, Array]:
    """z (n, K), quantiles of the prior, and their log weights (n,); a Dirichlet of (1, 1) is (u, 1 − u)."""
    t = np.linspace(-REACH, REACH, n)[:, None]
    u, v = expit(t), expit(-t)
    log_weight = np.log(u * v * (t[1] - t[0]))[:, 0]
    if state.config.posterior == "dirichlet":
        return np.hstack([u, v]), log_weight
    return standard(np.zeros((n, 1)), state.prior_kind).sample(ndtri(u) if normal(state) else u), log_weight


def normal(state: State) -> bool:
    """Whether its q asks for normals."""
    return bool(state.posterior_kind.noise != "uniforms")


def evidence(state: State, x: Array, n: int = NODES) -> Array:
    """log p(x) of bits x (B, D), one dimension, (B,) nats: log Σ_i w_i p(x | z_i), of Bernoulli logits."""
    z, log_weight = prior_nodes(state, n)
    p: Any = objective.decode(state, z)
    log_p = p.logits @ x.T.astype(np.float64) - np.logaddexp(0, p.logits).sum(axis=1, keepdims=True)
    return np.asarray(np.logaddexp.reduce(log_p + log_weight[:, None], axis=0))


def bound(model: VAE, x: Array, n: int = NOISE) -> Array:
    """The bound of every row, (B,) nats, by the midpoint rule over the noise."""
    assert model.state
    state, u = model.state, midpoints(n)[:, None, None]
    blocks = [x[i : i + 5] for i in range(0, len(x), 5)]  # (n, 5, D) at a time
    if state.config.posterior == "dirichlet":
        return np.concatenate([on_the_edge(state, b.astype(np.float64), u[..., 0]) for b in blocks])
    eps = ndtri(u) if normal(state) else u
    return np.concatenate([model.elbo(b, np.repeat(eps, len(b), axis=1)) for b in blocks])


# Its noise is two uniforms, and midpoints of a square err by 1/side: 0.03 nats too high with 1024. In one dimension
#   z = (v, 1 − v),   v ~ Beta(α₁, α₂) by its quantile
def on_the_edge(state: State, x: Array, u: Array) -> Array:
    """The bound of rows x (B, D) under a Dirichlet of two components, by nodes u (n, 1) of the first one's quantile."""
    q: Any = objective.encode(state, x)
    a, b = np.exp(q.log_alpha).T
    z = np.stack([betaincinv(a, b, u), betaincinv(b, a, 1 - u)], axis=-1)
    p: Any = objective.decode(state, z)
    found: Array = p.log_prob(x).mean(axis=0) - q.kl()
    return found


def summary(values: Array) -> list[float]:
    """Mean and its standard error."""
    return [float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)]


def curve(model: VAE) -> list[list[float]]:
    """[epoch, training bound, test bound] as they were learned."""
    return [[round(line[key], 3) for key in ("epoch", "train_elbo", "test_elbo")] for line in model.history]


def eight(q: str, epochs: int, x: Array, test: Array, samples: int = SAMPLES) -> dict[str, Any]:
    """Eight latents: bound and log p(x) of the test rows."""
    begin = time.perf_counter()
    model = train(q, 8, epochs, x, test)
    seconds = time.perf_counter() - begin
    L, log_p = model.elbo(test), model.log_likelihood(test, samples)
    return {"elbo": summary(L), "log_likelihood": summary(log_p), "gap": summary(log_p - L), "samples": samples,
            "seconds": seconds, "curve": curve(model)}  # fmt: skip


def one(q: str, epochs: int, x: Array, test: Array) -> dict[str, Any]:
    """One dimension: every row's bound against its log p(x). Raises CheckFailed where it lies above."""
    model = train(q, 2 if q == "dirichlet" else 1, epochs, x, test, dtype="float64")
    assert model.state
    rows = test[:EXACT]
    log_p, coarse, L = evidence(model.state, rows), evidence(model.state, rows, NODES // 2), bound(model, rows)
    gap = log_p - L
    if (above := int((gap < -1e-6).sum())) or not np.isfinite(gap).all():
        raise CheckFailed(f"{q}: the bound of {above} of {len(gap)} rows lies above log p(x), by {-gap.min():.3g} nats")
    doubling = float(abs(log_p - coarse).max())
    return {"elbo": summary(L), "log_likelihood": summary(log_p), "gap": summary(gap), "least_gap": float(gap.min()),
            "halved_grid": doubling, "curve": curve(model)}  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """Markdown: nats per datapoint, means over rows ± standard errors."""
    lines = [
        "| q(z given x) | epochs | K = 8: L | log p(x) | draws | gap | K = 1: L | log p(x) | gap | least gap | s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for q, row in found.items():
        cells = []
        for part in (row["eight"], row["one"]):
            cells += [f"{part[key][0]:.2f} ± {part[key][1]:.2f}" for key in ("elbo", "log_likelihood", "gap")]
        cells.insert(2, str(row["eight"].get("samples", SAMPLES)))
        cells.insert(0, f"{row['eight']['curve'][-1][0]:g}")
        lines.append(f"| {q} | {' | '.join(cells)} | {row['one']['least_gap']:.3f} | {row['eight']['seconds']:.0f} |")
    return "\n".join(lines)


STYLES = ("-", "--")  # of the first six hues, then of the rest


def picture(found: dict[str, Any]) -> Any:
    """The test bound against epochs, of every q: eight latents, and one dimension."""
    sheet = plots.figure((13, 5.6))
    for ax, (key, title) in zip(sheet.subplots(1, 2), (("eight", "K = 8"), ("one", "one dimension")), strict=True):
        plots.slide(ax, xlabel="epochs", ylabel="test bound L, nats per datapoint", title=f"MNIST bits, {title}")
        ends = {}
        for i, (q, row) in enumerate(found.items()):
            epoch, _, L = np.array(row[key]["curve"]).T
            hue = plots.HUES[i % len(plots.HUES)]
            ax.plot(epoch, L, color=hue, ls=STYLES[i // len(plots.HUES)], lw=2)
            ends[q] = (epoch[-1], L[-1], hue)
        first, last = (np.array([row[key]["curve"][i][2] for row in found.values()]) for i in (0, -1))
        ax.set_ylim(np.median(first), last.max() + 2)
        plots.name_ends(ax, ends)
    return sheet


def held() -> dict[str, Any]:
    """The rows that are there."""
    found: dict[str, Any] = json.loads(HERE.read_text("utf-8")) if HERE.exists() else {}
    return found


def main(argv: list[str] | None = None) -> int:
    """One row, or the table and the picture."""
    p = argparse.ArgumentParser("bench.papers.posteriors", description=__doc__)
    p.formatter_class = argparse.RawTextHelpFormatter
    p.add_argument("row", nargs="?", choices=ROWS)
    p.add_argument("--epochs", type=whole(1), default=15)
    p.add_argument("--samples", type=whole(1), default=SAMPLES, help="draws a row for log p(x) of K = 8")
    p.add_argument("--data-folder", help="where mnist is")
    p.add_argument("--table", action="store_true", help="print what is there")
    p.add_argument("--out", help=".png of the learned curves")
    args = p.parse_args(argv)
    found = held()
    if args.row:
        x, test = bits(args.data_folder)
        given = args.row, args.epochs, x, test
        here = {"eight": eight(*given, args.samples), "one": one(*given)}
        now = {"machine": f"{platform.machine()} {platform.system()}", "date": datetime.date.today().isoformat()}
        found = held() | {args.row: {**here, **now}}
        found = {q: found[q] for q in ROWS if q in found}
        HERE.write_text(json.dumps(found) + "\n")
    print(table(found))
    if args.out:
        plots.save(picture(found), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.posteriors", main))
