"""§7.3 The tables of the study, and what its parts share."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from scratchvae.errors import UsageError
from scratchvae.types import Array

LOADERS: dict[str, dict[str, Any]] = {
    "wine": {},
    "breast_cancer": {},
    "diabetes": {"scaled": False},
    "digits": {},
}  # scikit-learn's
LEFT_OUT: dict[str, tuple[str, ...]] = {"randhie": (), "fair": (), "modechoice": ("individual",)}  # statsmodels': ids
TABLES = (*LOADERS, *LEFT_OUT)
MOST = 2000  # rows of a table, drawn once
FINE = 0.01  # standard deviations

Figures = dict[str, list[float]]  # by split
Held = dict[str, dict[str, Figures]]  # by table, then method


class Part(NamedTuple):
    """A part of the study: `measure(table, method, seed)` gives the figures of one split, `words` the markdown."""

    tables: tuple[str, ...]
    methods: Callable[[str], Iterable[str]]
    splits: int
    measure: Callable[[str, str, int], dict[str, float]]
    words: Callable[[Held], str]


@functools.cache
def table(name: str) -> tuple[Array, Array | None]:
    """Rows in raw units (N, D), float64, at most MOST of them, and their classes (N,) where there are some."""
    try:
        if name in LOADERS:
            from sklearn import datasets

            found = getattr(datasets, f"load_{name}")(**LOADERS[name])
            return np.asarray(found.data, np.float64), None if name == "diabetes" else found.target
        from statsmodels import datasets
    except ImportError as error:
        raise UsageError(f"{name}: pip install scikit-learn statsmodels ({error})") from None
    frame = getattr(datasets, name).load_pandas().data.drop(columns=list(LEFT_OUT[name]))
    order = np.random.default_rng(0).permutation(len(frame))[:MOST]
    return frame.to_numpy(np.float64)[order], None


def split(x: Array, seed: int) -> tuple[Array, Array]:
    """Four fifths of the rows to train on, and the rest."""
    order, count = np.random.default_rng(seed).permutation(len(x)), round(0.8 * len(x))
    return x[order[:count]], x[order[count:]]


def summary(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean over splits, its standard error, and the standard deviation."""
    found = np.asarray(list(values))
    sd = float(found.std(ddof=1)) if len(found) > 1 else float("nan")
    return float(found.mean()), sd / len(found) ** 0.5, sd


def markdown(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    names = list(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *lines))
