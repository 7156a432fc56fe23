"""§7.3 log p(x) of new rows, nats a row: the VAE at its defaults beside factor analysis, mixtures and kernels.

One unit for all: the density of the columns in raw units, every cell given uniform noise as wide as its column's grain
(the least difference of two of its values), or as a hundredth of its standard deviation if that is larger. Without it
rounded columns have no density: a spike on each value scores as high as one likes. The others see standardised columns,
are chosen by the last fifth of the training rows, and are then fitted to all of them.

Mixed columns, each with a likelihood of its own (columns="auto"), have masses and densities: other units, so they are
named apart and never compared. Those rows are without noise.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from bench.papers import columns
from bench.papers.tables.rows import FINE, LEFT_OUT, TABLES, Held, Part, markdown, split, summary, table
from scratchvae import VAE
from scratchvae.training.reading import grains
from scratchvae.types import Array

SAMPLES = 1000  # a row, by importance
MIXED = "VAE, columns=auto"


def noised(x: Array) -> Array:
    """Rows (N, D) with the noise that gives each column a density; constant columns are left as they are."""
    width = np.where(np.ptp(x, axis=0) > 0, np.maximum(grains(x), FINE * x.std(axis=0)), 0)
    return x + width * (np.random.default_rng(0).random(x.shape) - 0.5)


# x' = (x − m) / s   so   log p(x) = log p(x') − Σ log s
def chosen(make: Callable[[Any], Any], choices: Iterable[Any], train: Array, test: Array) -> Array:
    """log p of the test rows, (M,) nats of the raw columns, under scikit-learn's density of the best choice."""
    mean, sd = train.mean(axis=0), train.std(axis=0)
    a, b = (train - mean) / sd, (test - mean) / sd
    fit, held = a[: (fifth := round(0.8 * len(a)))], a[fifth:]
    best = max(choices, key=lambda choice: float(make(choice).fit(fit).score(held)))
    found: Array = make(best).fit(a).score_samples(b) - np.log(sd).sum()
    return found


def others(method: str, train: Array, test: Array) -> Array:
    """log p of the test rows under the method of scikit-learn, (M,)."""
    from sklearn.decomposition import FactorAnalysis
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import KernelDensity

    makers: dict[str, tuple[Callable[[Any], Any], Iterable[Any]]] = {
        "FactorAnalysis": (lambda c: FactorAnalysis(c, svd_method="lapack"), (2, 4, 8)),
        "GaussianMixture, full": (lambda c: GaussianMixture(c, reg_covar=1e-4, random_state=0), (1, 2, 4, 8)),
        "GaussianMixture, diagonal": (
            lambda c: GaussianMixture(c, covariance_type="diag", reg_covar=1e-4, random_state=0),
            (1, 2, 4, 8, 16, 32),
        ),
        "KernelDensity": (lambda h: KernelDensity(bandwidth=h), np.geomspace(0.05, 2, 12)),
    }
    return chosen(*makers[method], train, test)


METHODS = ("VAE", "FactorAnalysis", "GaussianMixture, full", "GaussianMixture, diagonal", "KernelDensity")


def methods(name: str) -> Iterable[str]:
    """Those measured on a table."""
    return (*METHODS, MIXED) if name in LEFT_OUT else METHODS


def measure(name: str, method: str, seed: int) -> dict[str, float]:
    """One split of a table: mean nats of its test rows."""
    x, _ = table(name)
    if method == MIXED:
        train, test = split(x, seed)
        model = VAE(columns="auto", seed=seed)
        model.threads = 1
        model.fit(train)
        return {key: float(value.mean()) for key, value in columns.terms(model, test).items()}
    train, test = split(noised(x), seed)
    train, test = (part[:, np.ptp(train, axis=0) > 0] for part in (train, test))
    if method == "VAE":
        model = VAE(likelihood="gaussian", seed=seed)
        model.threads = 1
        model.fit(train)
        return {"nats": float(model.log_likelihood(test, samples=SAMPLES).mean())}
    return {"nats": float(others(method, train, test).mean())}


def words(held: Held) -> str:
    """Two tables: the densities, and the mixed columns by themselves."""
    lines, mixed = [], []
    for name, by_method in held.items():
        ours = np.array(by_method["VAE"]["nats"]) if "VAE" in by_method else None
        for method, figures in by_method.items():
            if method == MIXED:
                mixed.append([name, *("{:.2f} ± {:.2f}".format(*summary(figures[key])) for key in TERMS)])
                continue
            nats = np.array(figures["nats"])
            paired = method != "VAE" and ours is not None and len(ours) == len(nats)
            difference = "{:+.2f} ± {:.2f}".format(*summary(ours - nats)) if paired else ""
            lines.append([name, method, "{:.2f} ± {:.2f}".format(*summary(nats)), difference])
    first = markdown(("table", "density", "log p(x)", "VAE less it, paired"), lines)
    second = markdown(("table", "E log density", "E log mass", "KL"), mixed)
    return f"nats a new row; ± standard errors over splits\n\n{first}\n\n{MIXED}: parts of the bound\n\n{second}"


TERMS = ("density", "mass", "kl")
NATS = Part(TABLES, methods, 5, measure, words)
