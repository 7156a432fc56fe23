"""§7.2.5 Decoders p(x | z) on real data, held out, in nats per datapoint of one unit a table.

    python -m bench.papers.decoders digits            scikit-learn's 8 × 8 digits, 0 … 16
    python -m bench.papers.decoders mnist             grey levels 0 … 255          --only beta poisson: these rows
    python -m bench.papers.decoders freyfaces         the same; --data-folder DIR holds freyfaces/
    python -m bench.papers.decoders words --book F --epochs 120     how often 100 words stand in a chapter of the Bible
    python -m bench.papers.decoders diabetes          mixed columns with gaps; also wine
    python -m bench.papers.decoders --table           what there is

The book is Debian's: apt install bible-kjv; bible -l100000 gen1:1-rev22:21 > F. Any text with chapters under lines such
as "Genesis 1" will do.

Unit: log P of whole numbers k, a mass. A density takes x = (k + u) / s with u ~ U(0, 1), one u a cell, and by Jensen
log P(k) ≥ E_u log p(x) − D ln s: with s = 256 less D ln 256 nats. All 256 classes of grey would be 784 · 256 heads:
a mixture of logistics stands for them.
"""

import argparse
import datetime
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.papers import columns
from bench.papers.book import word_counts
from scratchvae import data
from scratchvae.cli import answered
from scratchvae.cli.common import whole
from scratchvae.errors import DataError
from scratchvae.types import Array
from scratchvae.vae import VAE

HERE = Path(__file__).with_name("decoders.json")
KEPT = Path("runs/decoders")  # log p(x) row by row, for differences
SAMPLES = 200


class Row(NamedTuple):
    """A likelihood; `scale` is s of a density, 0 for a mass."""

    likelihood: str
    scale: float = 0


class Study(NamedTuple):
    """Rows of whole numbers (N, D) to train on and to test on, the options of the VAE, and what is compared: the first
    row is what the others are measured from."""

    train: Array
    test: Array
    options: dict[str, Any]
    rows: tuple[Row, ...]


def digits(args: argparse.Namespace) -> Study:
    """1 500 and 297 rows."""
    from sklearn.datasets import load_digits

    x = np.random.default_rng(0).permutation(load_digits().data)
    names = ("poisson", "binomial:16", "negative-binomial", "discretised-logistic:17", "logistic-mixture:17:5",
             "ordinal:17", "categorical:17")  # fmt: skip
    rows = (*map(Row, names), Row("gaussian", 1))
    return Study(x[:1500], x[1500:], {"latent": 8, "hidden": (100,), "epochs": 25.0}, rows)


GREY = (
    Row("gaussian", 256),
    Row("gaussian-sigmoid", 256),
    Row("continuous-bernoulli", 256),
    Row("beta", 256),
    Row("discretised-logistic:256"),
    Row("logistic-mixture:256:2"),
)


def mnist(args: argparse.Namespace) -> Study:
    """1 000 and 100 rows."""
    found = data.load("mnist", folder=args.data_folder)
    return Study(found.train[:1000], found.test[:100], {"latent": 16, "hidden": (200,), "epochs": 20.0}, GREY)


def freyfaces(args: argparse.Namespace) -> Study:
    """1 769 and 196 rows: the last tenth."""
    found = data.load("freyfaces", folder=args.data_folder)
    return Study(found.train, found.test, {"latent": 8, "hidden": (200,), "epochs": 20.0}, GREY)


def words(args: argparse.Namespace) -> Study:
    """A ninth part of the chapters is for the test."""
    if not args.book or not Path(args.book).is_file():
        raise DataError("words: skipped, for there is no book: give --book FILE (see --help for one)")
    text = Path(args.book).read_text("utf-8")
    train, test = word_counts(text, 100)
    rows = (Row("poisson"), Row("negative-binomial"), Row("zero-inflated"), Row("gaussian", 1))
    return Study(train, test, {"latent": 8, "hidden": (100,), "epochs": 30.0}, rows)


STUDIES: dict[str, Callable[[argparse.Namespace], Study]] = {
    f.__name__: f for f in (digits, mnist, freyfaces, words)
}  # fmt: skip


def seen(levels: Array, row: Row, seed: int) -> Array:
    """Whole numbers as the row's likelihood takes them, float64: a density's are dequantised, inside of their cells."""
    if not row.scale:
        return levels.astype(np.float64)
    u = (np.random.default_rng(seed).integers(0, 2**12, levels.shape) + 0.5) / 2**12  # exact in float32
    return (levels + u) / row.scale


def in_levels(log_p: Array, row: Row, columns: int) -> Array:
    """Nats of the row's own unit (N,) as those of whole numbers: log p(x) − D ln s of a density."""
    return log_p - columns * math.log(row.scale) if row.scale else log_p


def summary(values: Array) -> list[float]:
    """Mean and its standard error."""
    return [float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)]


def measured(study: Study, row: Row, samples: int = SAMPLES) -> tuple[dict[str, Any], Array]:
    """Held-out bound and log p(x) in nats of whole numbers, and log p(x) of each row; a tenth of the training rows
    ends the training."""
    train, test = seen(study.train, row, 1), seen(study.test, row, 2)
    begin, D = time.perf_counter(), train.shape[1]
    options = {"batch": 50, "kernels": "numpy", "validation": 0.1, **study.options}
    model = VAE(likelihood=row.likelihood, **options).fit(train)
    seconds = time.perf_counter() - begin
    L, log_p = (in_levels(v, row, D) for v in (model.elbo(test), model.log_likelihood(test, samples)))
    best = max(model.history, key=lambda line: line["validation_elbo"])
    took = {"best_epoch": best["epoch"], "seconds": round(seconds, 1)}
    unit = f"density, less D ln {row.scale:g}" if row.scale else "mass"
    return {"elbo": summary(L), "log_likelihood": summary(log_p), "given": unit, **took}, log_p


def refusal(levels: Array) -> str:
    """What a beta says of grey levels as they come, k / 255."""
    try:
        VAE(likelihood="beta", epochs=1.0).fit((levels / 255).astype(np.float32))
    except DataError as error:
        return str(error)
    return "nothing was refused"


def study_of(name: str, args: argparse.Namespace) -> None:
    """Measure the rows of a study that are asked for, and keep each as soon as it is there."""
    study = STUDIES[name](args)
    if args.epochs:
        study = study._replace(options={**study.options, "epochs": float(args.epochs)})
    if name == "mnist":
        keep(name, {"refused": refusal(study.train)})
    KEPT.mkdir(parents=True, exist_ok=True)
    for row in study.rows:
        if args.only and row.likelihood.partition(":")[0] not in args.only:
            continue
        one, log_p = measured(study, row)
        np.save(by_row(name, row), log_p)
        first = by_row(name, study.rows[0])
        if row != study.rows[0] and first.exists():
            one["above_first"] = summary(log_p - np.load(first))
        now = {"machine": f"{platform.machine()} {platform.system()}", "date": datetime.date.today().isoformat()}
        keep(name, {row.likelihood: {**one, **now, "rows": [len(study.train), len(study.test)], "samples": SAMPLES}})


def by_row(name: str, row: Row) -> Path:
    """Where log p(x) of every test row is kept."""
    return KEPT / f"{name}-{row.likelihood.replace(':', '-')}.npy"


def held() -> dict[str, Any]:
    """What was measured, study by study."""
    found: dict[str, Any] = json.loads(HERE.read_text("utf-8")) if HERE.exists() else {}
    return found


def keep(name: str, rows: dict[str, Any]) -> None:
    """Put rows of a study beside those that are held."""
    found = held()
    found[name] = {**found.get(name, {}), **rows}
    HERE.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def table(name: str, rows: dict[str, Any]) -> str:
    """Markdown."""
    if name in columns.TABLES:
        return columns.table(name, rows)
    lines = [
        f"{name}: nats per datapoint, log mass of whole numbers; ± standard errors over test rows",
        "",
        "| p(x given z) | given as | L | log p(x) | above the first | best epoch | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for likelihood, one in rows.items():
        if likelihood == "refused":
            continue
        cells = ["{:.2f} ± {:.2f}".format(*one[key]) for key in ("elbo", "log_likelihood")]
        above = "{:+.2f} ± {:.2f}".format(*one["above_first"]) if "above_first" in one else ""
        end = f"{above} | {one['best_epoch']:g} | {one['seconds']:.0f}"
        lines.append(f"| {likelihood} | {one['given']} | {' | '.join(cells)} | {end} |")
    if "refused" in rows:
        lines += ["", f"beta on k / 255: {rows['refused']}"]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """One study, or the tables."""
    p = argparse.ArgumentParser("bench.papers.decoders", description=__doc__)
    p.formatter_class = argparse.RawTextHelpFormatter
    p.add_argument("study", nargs="?", choices=(*STUDIES, *columns.TABLES))
    p.add_argument("--only", nargs="+", metavar="LIKELIHOOD", help="these of the study, the others as they are held")
    p.add_argument("--epochs", type=whole(1), help="at most, instead of the study's own")
    p.add_argument("--data-folder", help="where mnist and freyfaces are; else $SCRATCHVAE_DATA")
    p.add_argument("--book", help="text of a book")
    p.add_argument("--table", action="store_true", help="print what is there")
    args = p.parse_args(argv)
    if args.study in columns.TABLES:
        keep(args.study, columns.measured(args.study))
    elif args.study:
        study_of(args.study, args)
    for name, rows in held().items():
        if args.study in (None, name):
            print(table(name, rows), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.decoders", main))
