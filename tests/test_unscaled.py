"""§7.3 Columns of unlike scales: as many nats as on columns standardised by hand, wherever the rows come in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call

from scratchvae.data.arrays import Origin
from scratchvae.errors import UsageError
from scratchvae.training.config import Config
from scratchvae.training.likelihood import resolved
from scratchvae.training.reading import learn, wild
from scratchvae.types import Array
from scratchvae.vae import VAE

NAMES = ("age", "income", "flag", "height", "assets")
SMALL: dict[str, Any] = {"hidden": (20,), "batch": 50, "epochs": 40, "seed": 3, "kernels": "numpy"}
SEED = 20261130


def people(rows: int, seed: int = SEED) -> Array:
    """Age ~ N(40, 12), income ~ lognormal(10, 0.6), a flag, height ~ N(1.7, 0.1), assets ~ N(10⁶, 10⁵); every two of
    the normals behind them have correlation 0.6. (rows, 5)"""
    e = np.random.default_rng(seed).normal(size=(rows, 6))
    u = np.sqrt(0.6) * e[:, :1] + np.sqrt(0.4) * e[:, 1:]
    return np.column_stack(
        [40 + 12 * u[:, 0], np.exp(10 + 0.6 * u[:, 1]), u[:, 2] > 0.5, 1.7 + 0.1 * u[:, 3], 1e6 + 1e5 * u[:, 4]]
    )


def by_hand(train: Array, test: Array) -> float:
    """Nats of the test rows by a VAE that sees standardised columns, less Σ log s."""
    mean, s = train.mean(axis=0), train.std(axis=0)
    model = VAE(2, likelihood="gaussian", **SMALL).fit((train - mean) / s)
    return float(model.log_likelihood((test - mean) / s, 100).mean() - np.log(s).sum())


def by_fit(rows: Array, test: Array, call: Call) -> Array:
    return VAE(2, likelihood="gaussian", **SMALL).fit(rows[:450]).log_likelihood(test, 100)


def by_train(rows: Array, test: Array, call: Call) -> Array:
    """Of a table that says of no rows that they are for the test, the command keeps the last tenth for it."""
    np.savetxt("people.csv", rows, "%.17g", ",", header=",".join(NAMES), comments="")
    options = [word for name, value in SMALL.items() for word in (f"--{name}", "20" if name == "hidden" else value)]
    options += ["--likelihood", "gaussian", "--latent", 2, "--no-pictures"]
    done = call("train", "people.csv", "--out", "run", *options)
    assert done.code == 0, done.words
    return VAE.load("run").log_likelihood(test, 100)


def by_transformer(rows: Array, test: Array, call: Call) -> Array:
    pytest.importorskip("sklearn", minversion="1.6")
    from scratchvae.sklearn import VAETransformer

    how: dict[str, Any] = {"learning_rate": 1e-3, "random_state": SMALL["seed"], "kernels": "numpy"}
    model = VAETransformer(2, hidden=(20,), batch_size=SMALL["batch"], max_iter=SMALL["epochs"], **how)
    return model.fit(rows[:450]).score_samples(test, "iwae")


@pytest.mark.parametrize("way", [by_fit, by_train, by_transformer], ids=lambda f: f.__name__)
def test_unscaled_columns_have_the_same_nats(way: Any, call: Call) -> None:
    """Catches columns that go in as they are, a Jacobian that is left out or counted twice, and float32 that loses what
    10⁶ ± 10⁵ differ by."""
    rows, test = people(500), people(300, SEED + 1)
    assert way(rows, test, call).mean() == pytest.approx(by_hand(rows[:450], test), abs=0.1)


def test_a_wild_value_is_named() -> None:
    """Catches a value of 60 or of 3000 that sets its column's unit and goes unnamed, two that hide one another, and
    words about what is only skew, or about a column whose middle half is one value."""
    rng = np.random.default_rng(0)
    for n in (60, 3000):
        x = np.stack([rng.normal(40, 12, n), rng.lognormal(10, 0.6, n), np.arange(n) % 9 == 0], axis=1) * 1.0
        x[[0, 1], :2] = np.nan
        for value, column, at in ((1e6, 0, (17,)), (-1e9, 1, (9, 30))):
            one = x.copy()
            one[list(at), column] = value
            for rows, many in ((x, 0), (one, 1)):
                learned = learn(rows, Config(likelihood="gaussian", missing="nan"), ("age", "income", "flag"))
                found = [*wild(learned, rows, Origin("t.csv", names=("age", "income", "flag")))]
                assert len(found) == many
            assert f"{value:g} at row {at[0]}, column {column} " in found[0]
            assert ("age", "income")[column] in found[0]


def test_a_wild_value_is_looked_for_where_a_unit_is() -> None:
    """Catches words about counts, which have no unit, and about columns that are left as they are; a place that moves
    where a constant column is dropped, or the value furthest from 0 for that furthest from the others."""
    x = np.random.default_rng(0).normal(-900, 1, (60, 3))
    x[:, 0], x[7, 2] = 5, 0
    cases: list[tuple[dict[str, Any], int]] = [({}, 1), ({"standardise": False}, 0), ({"likelihood": "student-t"}, 0)]
    for options, many in cases:
        config = Config(**{"likelihood": "gaussian", **options})
        found = [*wild(learn(x, config), x, Origin("t.csv"))]
        assert len(found) == many
        assert not found or found[0].startswith("0 at row 7, column 2")
    x[:, 0], x[7, 2], x[9, 1] = np.arange(60) % 3, -900, 1000
    x[11, 0] = 5000
    learned = learn(x, Config(likelihood="0=poisson,1=gaussian,2=gaussian"))
    (words,) = wild(learned, x, Origin("t.csv"))
    assert "1000 at row 9, column 1" in words
    for away in (8, 12):  # a middle half of ± 0.67: a unit of 10 such is too large
        x = np.r_[np.linspace(-1, 1, 199), away * np.sqrt(200) * 0.75][:, None]
        assert len([*wild(learn(x, Config(likelihood="gaussian")), x, Origin("t"))]) == (away == 12)


def test_columns_are_found_but_for_those_that_are_named() -> None:
    """Catches an exception that is overruled, and the others asked for."""
    x = np.stack([np.arange(60) % 3 + 1.0, np.random.default_rng(0).normal(size=60)], axis=1)
    config = Config(columns="auto,class=categorical")
    assert resolved(config, x, ("class", "age")).likelihood == "0=categorical:4,1=gaussian"
    words = (("b", "m", "w"), ())
    assert resolved(Config(columns="auto,age=student-t"), x - [1, 0], ("class", "age"), words).likelihood \
        == "0=categorical:3,1=student-t"  # fmt: skip
    with pytest.raises(UsageError, match="say also what age are"):
        resolved(Config(columns="auto=poisson"), x, ("auto", "age"))
    with pytest.raises(UsageError, match="no column 'Class'; did you mean 'class'"):
        resolved(Config(columns="auto,Class=categorical"), x, ("class", "age"))


def test_samples_of_mixed_columns_are_rows(call: Call) -> None:
    """Catches a picture of a table as what `sample` leaves when no file is named, or rows of what has one unit."""
    Path("t.csv").write_text("a,b\n" + "\n".join(f"{i / 7:.3f},{'xy'[i % 2]}" for i in range(60)))
    assert call("train", "t.csv", "--out", "run", "--epochs", "1", "--no-pictures").code == 0
    Path("w.csv").write_text(Path("t.csv").read_text().replace("1.000", "1e7"))
    done = call("train", "w.csv", "--columns", "auto,b=categorical", "--out", "wild", "--epochs", "1", "--no-pictures")
    assert "1e+07 at row 7, column 0 'a'" in done.words
    assert "columns: a gaussian (real numbers); b categorical:2 (as asked)\n" in done.words
    assert call("sample", "run", "--count", 5).code == 0
    assert (len(Path("sample.csv").read_text().splitlines()), Path("sample.png").exists()) == (6, False)
    np.save("bits.npy", np.eye(40, 9, dtype=np.uint8))
    assert call("train", "bits.npy", "--out", "bits", "--epochs", "1", "--no-pictures").code == 0
    assert call("sample", "bits", "--count", 5).code == 0
    assert Path("sample.png").exists()
