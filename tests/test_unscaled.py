"""§7.3 Columns of unlike scales: as many nats as on columns standardised by hand, wherever the rows come in."""

from typing import Any

import numpy as np
import pytest
from command_line import Call

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
