"""§7.3 Tables in raw units, at the library's defaults: is log p(x) of new rows at least factor analysis's?

    python -m bench.papers.tables            (all four of scikit-learn's tables, five splits each, in some minutes)
    python -m bench.papers.tables wine --splits 2 --json wine.json

Each split trains on four fifths of the rows, `VAE(likelihood="gaussian").fit(rows)`, and scores the rest by importance
sampling. Factor analysis gets the same rows: n_components of 2, 4, 8 by the last fifth of the training rows, then
fitted to all of them. Columns that are constant in the training rows have no density under either. The difference is
paired, row by row; reached means that it is not below zero by more than two standard errors.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from scratchvae import VAE
from scratchvae.cli import answered
from scratchvae.cli.common import whole
from scratchvae.errors import UsageError
from scratchvae.types import Array

LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "wine": ("load_wine", {}),
    "breast-cancer": ("load_breast_cancer", {}),
    "diabetes": ("load_diabetes", {"scaled": False}),
    "digits": ("load_digits", {}),
}
COMPONENTS = (2, 4, 8)


def rows_of(name: str) -> Array:
    """A table in raw units, (N, D) float64."""
    try:
        from sklearn import datasets
    except ImportError:
        raise UsageError("the tables are scikit-learn's: pip install scikit-learn") from None
    loader, options = LOADERS[name]
    return np.asarray(getattr(datasets, loader)(**options).data, np.float64)


def split(x: Array, seed: int) -> tuple[Array, Array]:
    """Four fifths of the rows to train on, and the rest."""
    order, count = np.random.default_rng(seed).permutation(len(x)), round(0.8 * len(x))
    return x[order[:count]], x[order[count:]]


# x' = (x − m) / s   so   log p(x) = log p(x') − Σ log s
def factor_analysis(train: Array, test: Array) -> tuple[Array, int]:
    """log p of the test rows, (M,) nats of the raw columns, and n_components; on standardised columns inside."""
    from sklearn.decomposition import FactorAnalysis

    train, test = (part[:, np.ptp(train, axis=0) > 0] for part in (train, test))
    mean, sd = train.mean(axis=0), train.std(axis=0)
    a, b = (train - mean) / sd, (test - mean) / sd
    fit, held = a[: (fifth := round(0.8 * len(a)))], a[fifth:]

    def model(components: int, rows: Array) -> Any:
        return FactorAnalysis(components, svd_method="lapack").fit(rows)

    best = max(COMPONENTS, key=lambda components: float(model(components, fit).score(held)))
    return model(best, a).score_samples(b) - np.log(sd).sum(), best


def compared(ours: Array, theirs: Array) -> dict[str, Any]:
    """Means and the paired difference of two (M,) log densities."""
    difference = ours - theirs
    error = float(2 * difference.std(ddof=1) / len(difference) ** 0.5)
    found = {"ours": ours.mean(), "factor_analysis": theirs.mean(), "difference": difference.mean()}
    found |= {"two_standard_errors": error, "worst_row": ours.min()}
    rounded = {name: round(float(value), 3) for name, value in found.items()}
    return {**rounded, "reached": bool(difference.mean() >= -error)}


def study(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One table: every split, and all their test rows together."""
    x, splits, pairs = rows_of(name), [], []
    for seed in range(args.splits):
        train, test = split(x, seed)
        start = time.monotonic()
        model = VAE(likelihood="gaussian", kernels=args.kernels).fit(train)
        seconds = time.monotonic() - start
        pairs.append((model.log_likelihood(test, samples=args.samples), *factor_analysis(train, test)))
        ours, theirs, components = pairs[-1]
        about = {"seed": seed, "n_components": components, "last_step": model.history[-1]["step"]}
        splits.append(about | {"fit_seconds": round(seconds, 1)} | compared(ours, theirs))
        print(f"{name} {json.dumps(splits[-1])}", file=sys.stderr, flush=True)
    together = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    return {"rows": len(x), "columns": x.shape[1], "samples": args.samples, **compared(*together), "splits": splits}


def main(argv: list[str] | None = None) -> int:
    """Measure, add the lines to the result, and say whether the line is reached: 0, or 1."""
    p = argparse.ArgumentParser(
        "bench.papers.tables", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    p.add_argument("names", nargs="*", help=f"of {', '.join(LOADERS)}; all, unless named")
    p.add_argument("--splits", type=whole(1), default=5)
    p.add_argument("--samples", type=whole(1), default=1000, help="importance samples a row")
    p.add_argument("--kernels", choices=("numpy", "numba"), default="numba")
    p.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args(argv)
    if unknown := [name for name in args.names if name not in LOADERS]:
        raise UsageError(f"table {unknown[0]!r} is unknown: give some of {', '.join(LOADERS)}")
    kept: dict[str, Any] = json.loads(args.json.read_text("utf-8")) if args.json.exists() else {}
    names = args.names or list(LOADERS)
    for name in names:
        kept[name] = study(name, args)
        args.json.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        found = kept[name]
        print(
            f"{name}: log p(x) {found['ours']:.2f}, factor analysis {found['factor_analysis']:.2f}, difference "
            f"{found['difference']:.2f} ± {found['two_standard_errors']:.2f} nats a row",
            flush=True,
        )
    return 0 if all(kept[name]["reached"] for name in names) else 1


if __name__ == "__main__":
    sys.exit(answered("bench.papers.tables", main))
