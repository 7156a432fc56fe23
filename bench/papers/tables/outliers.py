"""§7.3 Rows of a class that training never saw, among new rows of the others: area under the ROC curve.

Each detector is fitted to four fifths of the ordinary rows alone, and ranks the last fifth together with all rows of
the odd class. Odd are breast cancer's malignant rows, each class of wine in turn, and the digit that is the split's
number. `flagged` is the share of new ordinary rows that the detector's own threshold calls odd, `found` that of odd
ones. VAEOutlier's score is the bound; `iwae` is the area by the importance-weighted one.
"""

from typing import Any

import numpy as np

from bench.papers.tables.rows import Held, Part, markdown, split, summary, table
from scratchvae.types import Array

ODD: dict[str, tuple[str, int | None]] = {
    "breast_cancer": ("breast_cancer", 0),
    "wine-0": ("wine", 0),
    "wine-1": ("wine", 1),
    "wine-2": ("wine", 2),
    "digits": ("digits", None),
}
METHODS = ("VAEOutlier", "IsolationForest", "LocalOutlierFactor", "PCA, reconstruction")


def parted(name: str, seed: int) -> tuple[Array, Array, Array]:
    """Ordinary rows to train on, ordinary rows to test on, and odd ones."""
    of, odd = ODD[name]
    x, classes = table(of)
    strange = classes == (seed % 10 if odd is None else odd)
    return *split(x[~strange], seed), x[strange]


def detector(method: str, seed: int) -> Any:
    """Of scikit-learn, on standardised columns, or ours on raw ones."""
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from scratchvae.sklearn import VAEOutlier

    if method == "VAEOutlier":
        return VAEOutlier(random_state=seed, n_jobs=1)
    found = IsolationForest(random_state=seed) if method == "IsolationForest" else LocalOutlierFactor(novelty=True)
    return make_pipeline(StandardScaler(), found)


def reconstruction(train: Array, x: Array) -> Array:
    """Squared distance of rows x to the plane of 90 % of the variance, less is likelier: negated, (B,)."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(train)
    pca, a = PCA(0.9).fit(scale.transform(train)), scale.transform(x)
    found: Array = -((pca.inverse_transform(pca.transform(a)) - a) ** 2).sum(axis=1)
    return found


def measure(name: str, method: str, seed: int) -> dict[str, float]:
    """One split."""
    parts = parted(name, seed)
    if method == "PCA, reconstruction":
        return {"auc": area(reconstruction(parts[0], np.concatenate(parts[1:])), *parts[1:])}
    return scored(detector(method, seed), parts)


def area(score: Array, new: Array, odd: Array) -> float:
    """Under the ROC curve, of scores (N,) of ordinary rows, then odd ones: low is odd."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(np.repeat([0, 1], [len(new), len(odd)]), -score))


def scored(model: Any, parts: tuple[Array, Array, Array]) -> dict[str, float]:
    """What a detector makes of what `parted` gives."""
    train, new, odd = parts
    x = np.concatenate([new, odd])
    model.fit(train)
    found = {"auc": area(model.score_samples(x), new, odd)}
    found |= {key: float((model.predict(part) == -1).mean()) for key, part in (("flagged", new), ("found", odd))}
    if "VAE" in type(model).__name__:
        found["iwae"] = area(model.score_samples(x, "iwae"), new, odd)
    return found


def words(held: Held) -> str:
    """Markdown."""
    keys = ("auc", "iwae", "flagged", "found")
    lines = [
        [name, method, *("{0:.3f} ± {2:.3f}".format(*summary(found[key])) if key in found else "" for key in keys)]
        for name, by_method in held.items()
        for method, found in by_method.items()
    ]
    return f"± standard deviations over splits\n\n{markdown(('odd', 'detector', *keys), lines)}"


OUTLIERS = Part(tuple(ODD), lambda _: METHODS, 10, measure, words)
