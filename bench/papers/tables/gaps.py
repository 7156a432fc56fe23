"""§7.3 Cells hidden at random in training and in new rows, then filled in: how far off, and how often intervals hold.

10, 30 and 50 % of the cells are hidden, whatever they hold. `rmse` is over the hidden cells of new rows, in standard
deviations of what training sees of a column. `coverage` is the share of them between the least and the largest of 19
draws, which is to be 18/20 = 0.9: of 20 numbers alike in law, any two may be the ends. `width` is how wide that is.
"""

import warnings
from typing import Any

import numpy as np

from bench.papers.tables.rows import TABLES, Held, Part, markdown, split, summary, table
from scratchvae.types import Array

SHARES = (10, 30, 50)  # per cent
DRAWS = 19
METHODS = ("mean", "KNNImputer", "IterativeImputer", "VAEImputer")


def hidden(x: Array, share: int, seed: int) -> tuple[Array, Array, Array]:
    """Training rows and new ones with NaN for what is hidden, and the new ones whole: columns standardised by what
    training sees, those that are constant there left out."""
    gone = np.random.default_rng(seed).random(x.shape) < share / 100
    (train, new), (_, whole) = (split(rows, seed) for rows in (np.where(gone, np.nan, x), x))
    mean, sd = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    varies = sd > 0
    train, new, whole = (((rows - mean)[:, varies] / sd[varies]) for rows in (train, new, whole))
    return train, new, whole


def imputer(method: str, seed: int, draws: bool = False) -> Any:
    """At its defaults."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

    from scratchvae.sklearn import VAEImputer

    if method == "VAEImputer":
        return VAEImputer(random_state=seed, n_jobs=1)
    if method == "IterativeImputer":
        return IterativeImputer(random_state=seed, sample_posterior=draws)
    return KNNImputer() if method == "KNNImputer" else SimpleImputer()


def scores(filled: Array, whole: Array, gone: Array) -> float:
    """Root mean square error over the cells that are gone."""
    return float(np.sqrt(((filled - whole)[gone] ** 2).mean()))


def held(draws: Array, whole: Array, gone: Array) -> tuple[float, float]:
    """Coverage and width of the intervals of draws (S, B, D), over the cells that are gone."""
    low, high = draws[:, gone].min(axis=0), draws[:, gone].max(axis=0)
    return float(((low <= whole[gone]) & (whole[gone] <= high)).mean()), float((high - low).mean())


def measure(name: str, method: str, seed: int) -> dict[str, float]:
    """One split, at each share."""
    found = {}
    for share in SHARES:
        train, new, whole = hidden(table(name)[0], share, seed)
        gone = np.isnan(new)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # IterativeImputer's, that it has not converged in its default rounds
            model = imputer(method, seed).fit(train)
            found[f"rmse {share}"] = scores(model.transform(new), whole, gone)
            if method in ("VAEImputer", "IterativeImputer"):
                sampler = model if method == "VAEImputer" else imputer(method, seed, draws=True).fit(train)
                intervals = held(drawn(sampler, new, seed), whole, gone)
                found[f"coverage {share}"], found[f"width {share}"] = intervals
    return found


def drawn(model: Any, new: Array, seed: int) -> Array:
    """The new rows filled in DRAWS times over, (DRAWS, B, D)."""
    if hasattr(model, "sample"):
        found: Array = model.sample(new, DRAWS, random_state=seed)
        return found
    return np.stack([model.transform(new) for _ in range(DRAWS)])


def words(found: Held) -> str:
    """Markdown: rmse, then coverage (width)."""
    lines = []
    for name, by_method in found.items():
        for method, figures in by_method.items():
            errors = ["{:.3f} ± {:.3f}".format(*summary(figures[f"rmse {share}"])) for share in SHARES]
            kept = {key: [f"{key} {share}" for share in SHARES] for key in ("coverage", "width")}
            means = {k: ["{:.2f}".format(*summary(figures[n])) if n in figures else "" for n in kept[k]] for k in kept}
            lines.append([name, method, *errors, *means["coverage"], *means["width"]])
    head = ("table", "filled by", *(f"{what}, {s} %" for what in ("rmse", "90 % holds", "width") for s in SHARES))
    return f"standard deviations of columns; ± standard errors over splits\n\n{markdown(head, lines)}"


GAPS = Part(TABLES, lambda _: METHODS, 3, measure, words)
