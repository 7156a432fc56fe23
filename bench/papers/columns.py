"""§7.2.5 Mixed columns with gaps: scikit-learn's diabetes and wine, the kind of every column said.

A fifth of the cells, in training and in test rows, is hidden at random. Held-out log p of what is seen comes apart into
log densities (of the raw columns) and log masses: two units, never summed into a figure to compare. What is hidden in
test rows is filled in, beside the mean (of classes the mode) of the training rows.
"""

import time
from typing import Any

import numpy as np

from scratchvae.tasks.missing import FillPlan
from scratchvae.training import objective
from scratchvae.training.evaluate import evaluation_rows
from scratchvae.types import Array
from scratchvae.vae import VAE

TABLES: dict[str, dict[str, str]] = {
    "diabetes": {
        "age": "gaussian",
        "sex": "categorical",
        "bmi": "log-normal",
        "bp": "gaussian",
        "s1": "gaussian",
        "s2": "gaussian",
        "s3": "log-normal",
        "s4": "gamma",
        "s5": "student-t",
        "s6": "negative-binomial",
        "progression": "negative-binomial",
    },
    "wine": {
        "alcohol": "gaussian",
        "malic_acid": "log-normal",
        "ash": "student-t",
        "alcalinity_of_ash": "gaussian",
        "magnesium": "negative-binomial",
        "total_phenols": "gamma",
        "flavanoids": "log-normal",
        "nonflavanoid_phenols": "gamma",
        "proanthocyanins": "log-normal",
        "color_intensity": "log-normal",
        "hue": "gaussian",
        "od280/od315": "gaussian",
        "proline": "negative-binomial",
        "class": "categorical",
    },
}
HIDDEN, DRAWS = 0.2, 16


def rows_of(name: str) -> Array:
    """The table (N, D), float64, in an order drawn once; classes from 0."""
    from sklearn import datasets

    if name == "diabetes":
        x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
        x[:, 1] -= 1
    else:
        x, y = datasets.load_wine(return_X_y=True)
    found: Array = np.random.default_rng(0).permutation(np.column_stack([x, y]))
    return found


def terms(model: VAE, x: Array, draws: int = DRAWS) -> dict[str, Array]:
    """Of rows x (B, D) with NaN for gaps: log densities and log masses of what is seen, E over q, and the KL, (B,)."""
    assert model.state
    state = model.state
    batch = evaluation_rows(state, x, 0, len(x), gaps=True)
    m = ~np.isnan(batch)
    q: Any = objective.encode(state, batch)
    eps = np.random.default_rng(0).standard_normal((draws, len(x), state.config.latent_size))
    p: Any = objective.decode(state, q.sample(eps.astype(batch.dtype)))
    found = {"density": np.zeros(len(x)), "mass": np.zeros(len(x)), "kl": q.kl()}
    parts = p.terms(np.where(m, batch, 0), m.astype(batch.dtype))
    for part, log_p in zip(p.spec.parts, parts, strict=True):
        found["mass" if part.kind.mass else "density"] += log_p.mean(axis=0)
    return found


def modes(x: Array) -> Array:
    """The most frequent of whole numbers in each column of x (N, D), NaN left out; the least of several."""
    return np.array([np.bincount(c[~np.isnan(c)].astype(int)).argmax() for c in x.T], np.float64)


def fillings(model: VAE, train: Array, seen: Array, classes: Array) -> dict[str, Array]:
    """Test rows `seen` (B, D) filled in by the model and by the training rows; `classes` bool (D,)."""
    made = model.impute(seen, FillPlan(draws=20, chains=3, thin=2, warm_up=20, gibbs=10))
    draws = made.draws.reshape(-1, *seen.shape)
    model_says, plain = made.mean.astype(np.float64), np.broadcast_to(np.nanmean(train, axis=0), seen.shape).copy()
    for c in np.flatnonzero(classes):
        model_says[:, c], plain[:, c] = modes(draws[..., c]), modes(train[:, [c]])[0]
    return {"model": model_says, "mean or mode": plain}


def scores(truth: Array, filled: Array, hidden: Array, classes: Array, sd: Array) -> dict[str, float]:
    """Root mean square error of numbers, in the columns' standard deviations, and the share of classes that are right,
    over the hidden cells."""
    z = ((filled - truth) / sd)[:, ~classes][hidden[:, ~classes]]
    right = (filled == truth)[:, classes][hidden[:, classes]]
    return {"rmse": float(np.sqrt((z * z).mean())), "right": float(right.mean()), "classes": len(right)}


def measured(name: str, epochs: float = 200.0, latent: int = 3) -> dict[str, Any]:
    """Both kinds of figures, from one fit."""
    whole, kinds = rows_of(name), TABLES[name]
    hidden = np.random.default_rng(1).random(whole.shape) < HIDDEN
    gappy = np.where(hidden, np.nan, whole)
    cut = len(whole) // 5
    train, seen, truth = gappy[cut:], gappy[:cut], whole[:cut]
    said = ",".join(f"{i}={kind}" for i, kind in enumerate(kinds.values()))
    begin = time.perf_counter()
    options: dict[str, Any] = {"hidden": (50,), "batch": 50, "validation": 0.1, "kernels": "numpy"}
    model = VAE(latent, columns=said, missing="nan", epochs=epochs, **options).fit(train)
    seconds = round(time.perf_counter() - begin, 1)
    found = {key: [float(v.mean()), float(v.std(ddof=1) / cut**0.5)] for key, v in terms(model, seen).items()}
    classes, sd = np.array([kind == "categorical" for kind in kinds.values()]), np.nanstd(train, axis=0)
    filled = fillings(model, train, seen, classes).items()
    quality = {who: scores(truth, values, hidden[:cut], classes, sd) for who, values in filled}
    return {**found, "filled": quality, "rows": [len(train), cut], "seconds": seconds, "columns": kinds}


def table(name: str, found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"{name}: {found['rows'][0]} and {found['rows'][1]} rows, a fifth of the cells hidden; nats per test row of "
        "what is seen, ± standard errors over rows",
        "",
        "| E log density | E log mass | KL | rmse, sd: model | mean | classes right: model | mode | of |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cells = ["{:.2f} ± {:.2f}".format(*found[key]) for key in ("density", "mass", "kl")]
    one, other = found["filled"]["model"], found["filled"]["mean or mode"]
    cells += [f"{one['rmse']:.3f}", f"{other['rmse']:.3f}", f"{one['right']:.2f}", f"{other['right']:.2f}"]
    return "\n".join([*lines, f"| {' | '.join(cells)} | {one['classes']} |"])
