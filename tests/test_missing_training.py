"""§7.1.1 Learning from rows with missing values: they fall out of the bound, and what is hidden is never looked at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchvae.cli import main
from scratchvae.data import binarise, load
from scratchvae.errors import DataError, UsageError
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.models.vae import rescaled
from scratchvae.noise import Noise
from scratchvae.training import objective
from scratchvae.training.config import Config
from scratchvae.training.evaluate import log_likelihood
from scratchvae.training.missing import hide, masked
from scratchvae.training.state import State, Steps, mean_row
from scratchvae.types import Array
from scratchvae.vae import VAE

N, D = 200, 6


def pixels(seed: int = 0) -> Array:
    return np.random.default_rng(seed).random((N, D)).astype(np.float32)


def make(x: Array, **options: Any) -> Steps:
    config = Config(**{"latent": 2, "hidden": (4,), "batch": 30, "kernels": "numpy", **options})
    state = State(config, x.shape[1])
    state.initialise(mean_row(x, config.likelihood, config.missing, state.noise))
    return Steps(state, x)


@pytest.mark.parametrize("binarisation", ["dynamic", "fixed", "threshold", "none"])
def test_what_is_hidden_is_never_looked_at(binarisation: str) -> None:
    """Other values under the mask change no bit of the run: catches a leak by mean, binarisation, encoder, bound."""
    x, other = pixels(0), pixels(1)
    hidden = np.isnan(hide(x, np.arange(N), "random:0.5", Noise(0)))
    assert 0.4 < hidden.mean() < 0.6
    runs = []
    for rows in (x, np.where(hidden, other, x)):
        steps = make(rows, missing="random:0.5", binarisation=binarisation)
        steps.advance(15)
        runs.append(steps.state.arena.flat)
    np.testing.assert_array_equal(runs[0], runs[1])
    whole = make(x, binarisation=binarisation)
    whole.advance(15)
    assert not np.array_equal(whole.state.arena.flat, runs[0])


def test_the_gradient_is_that_of_the_bound_over_what_was_seen() -> None:
    """Along one direction by central differences: catches a backward that forgets the mask and pulls at zeros."""
    x = hide(pixels().astype(np.float64), np.arange(N), "random:0.5", Noise(0))
    steps = make(x, missing="nan", binarisation="none", dtype="float64")
    state, eps = steps.state, np.random.default_rng(0).normal(size=(1, 20, 2))
    objective.gradient(state, x[:20], eps)
    way, start = np.random.default_rng(1).normal(size=state.arena.flat.size), state.arena.flat.copy()
    L = []
    for h in (1e-5, -1e-5):
        state.arena.flat[...] = start + h * way
        L.append(objective.bound(state, x[:20], eps)[0].mean())
    assert float(state.gradient.flat @ way) == pytest.approx((L[0] - L[1]) / 2e-5, rel=1e-6)


def test_nan_in_the_data_and_values_hidden_are_the_same() -> None:
    x = pixels()
    gaps = hide(x, np.arange(N), "random:0.3", Noise(0))
    a, b = make(x, missing="random:0.3"), make(gaps, missing="nan")
    np.testing.assert_array_equal(a.advance(10), b.advance(10))


def test_a_row_hides_the_same_in_every_epoch_and_batch() -> None:
    x, noise = pixels(), Noise(3)
    whole = hide(x, np.arange(N), "random:0.5", noise)
    picked = np.array([7, 3, 150])
    np.testing.assert_array_equal(hide(x[picked], picked, "random:0.5", noise), whole[picked])
    assert hide(x[:0], picked[:0], "random:0.5", noise).shape == (0, D)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_a_weighted_kl_reports_the_bound_of_what_was_seen(beta: float) -> None:
    """Catches gaps that are filled with 0 before the bound is asked for a second time: it then counts them as seen."""
    config = Config(latent=2, hidden=(3,), prior="mixture:2", estimator="stl", missing="nan", beta=beta,
                    kernels="numpy", dtype="float64", binarisation="none")  # fmt: skip
    state, eps = State(config, 4), np.full((1, 2, 2), 0.3)
    state.initialise(np.full(4, 0.5))
    x = np.array([[1, 0, np.nan, 1], [0, np.nan, np.nan, 1]])
    np.testing.assert_allclose(objective.gradient(state, x, eps), objective.bound(state, x, eps)[0], rtol=1e-12)


def test_nothing_missing_is_the_plain_bound() -> None:
    """Rows without a gap give the same bound, whether or not the run knows of gaps."""
    x = pixels()
    plain, aware = make(x, binarisation="none"), make(x, binarisation="none", missing="nan")
    np.testing.assert_allclose(plain.advance(5), aware.advance(5), rtol=1e-6)


def test_importance_weights_average_to_what_was_observed() -> None:
    """log p(x_obs) in closed form for a linear decoder: catches a constant kept for entries that are missing."""
    rng = np.random.default_rng(0)
    theta = LinearGaussian(rng.normal(size=(2, D)), rng.normal(size=D), np.array([-0.5]))
    x, _ = theta.sample(rng.normal(size=(8, 2)), rng.normal(size=(8, D)))
    observed = rng.random((8, D)) < 0.6
    options = {"likelihood": "gaussian-fixed", "variance": float(np.exp(-0.5)), "binarisation": "none"}
    steps = make(np.where(observed, x, np.nan), missing="nan", hidden=(), dtype="float64", **options)
    state = steps.state
    state.arena.flat[...] = 0  # q = N(0, I)
    state.arena.views["p.mu.W"][...], state.arena.views["p.mu.b"][...] = theta.W, theta.m
    found = log_likelihood(state, steps.x, 20_000)
    np.testing.assert_allclose(found, theta.log_marginal(x, observed), atol=0.2)
    eps = rng.normal(size=(500, 8, 2))
    L, _, _ = objective.bound(state, steps.x, eps)
    assert (found > L).all()


def test_masks_keep_numbers_and_bits() -> None:
    x = np.array([[0.2, np.nan, 0.9]])
    filled, m = masked(x)
    np.testing.assert_array_equal(filled, [[0.2, 0, 0.9]])
    np.testing.assert_array_equal(m, [[1, 0, 1]])
    for how in ("dynamic", "threshold"):
        np.testing.assert_array_equal(binarise(x, how, np.full((1, 3), 0.5)), [[0, np.nan, 1]])


def test_the_mean_counts_what_was_seen() -> None:
    x = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 7.0]])
    np.testing.assert_array_equal(mean_row(x, missing="nan"), [2.0, 6.0])
    with pytest.raises(DataError, match=r"column 1 \(from 0\) is missing in every row"):
        mean_row(np.array([[1.0, np.nan]]), missing="nan")


def test_the_mean_of_bytes_is_that_of_grey_levels() -> None:
    """Bytes are counted whole, before they are divided."""
    x = np.random.default_rng(0).integers(0, 256, (301, 5), dtype=np.uint8)
    np.testing.assert_allclose(mean_row(x), (x / 255).mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(mean_row(x, missing="nan"), mean_row(x), rtol=1e-14)


def test_fit_takes_gaps() -> None:
    """The object's face too."""
    x = pixels()
    x[::3, 1] = np.nan
    model = VAE(latent=2, hidden=(4,), epochs=2, missing="nan", kernels="numba").fit(x)
    assert np.isfinite(model.history[-1]["train_elbo"])
    with pytest.raises(DataError, match="holds nan at row 0, column 1"):
        VAE(latent=2, hidden=(4,), epochs=2).fit(x)


@pytest.mark.parametrize("missing", ["random:2", "random:x", "half", "random"])
def test_unknown_ways_to_miss_are_refused(missing: str) -> None:
    with pytest.raises(UsageError, match=f"missing='{missing}' is unknown"):
        Config(missing=missing)


@pytest.mark.parametrize("options", [{"estimator": "iw", "samples": 5}, {"latent": (3, 2), "hidden": ((4,), (4,))}])
def test_what_cannot_learn_from_gaps_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is trained by sgvb_b on one latent layer"):
        make(pixels(), missing="nan", **options)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Train on a file with NaN, resume, evaluate; without the option one line that names it."""
    x = pixels()
    x[5, 2] = x[190, 1] = np.nan
    np.save(path := tmp_path / "x.npy", x)
    out = str(tmp_path / "run")
    words = ["train", str(path), "--out", out, "--latent", "2", "--hidden", "4", "--no-pictures", "--kernels", "numpy"]
    assert main([*words, "--epochs", "1"]) == 3
    _, err = capsys.readouterr()
    assert "holds nan at row 5, column 2" in err
    assert "missing='nan'" in err
    assert main([*words, "--epochs", "1", "--missing", "nan"]) == 0
    assert main(["train", str(path), "--out", out, "--resume", "--epochs", "2", "--no-pictures"]) == 0
    assert main(["evaluate", out, "--samples", "10", "--json"]) == 0
    capsys.readouterr()
    with pytest.raises(DataError, match="holds nan"):
        load(x)
    assert np.isnan(load(x, missing=True).train).sum() == 1


def test_impute() -> None:
    """The object fills NaN with draws, leaves the rest, and names what it cannot do."""
    x = (pixels() > 0.5) * 1.0
    model = VAE(latent=2, hidden=(4,), epochs=1, kernels="numpy").fit(x)
    gaps = x[:5].copy()
    gaps[:, 2:4] = np.nan
    found = model.impute(gaps)
    assert found.draws.shape == (20, 5, 5, D)
    assert set(np.unique(found.draws)) == {0.0, 1.0}
    assert ((found.mean[:, 2:4] > 0) & (found.mean[:, 2:4] < 1)).all()
    np.testing.assert_array_equal(found.mean[:, [0, 1, 4, 5]], x[:5, [0, 1, 4, 5]])
    with pytest.raises(DataError, match="nothing is missing"):
        model.impute(x)


def test_gaps_leave_the_encoders_input_as_large() -> None:
    """Half the entries at twice the size, none lost where nothing is missing, and no row divided by 0."""
    x = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    m = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(rescaled(x, m), [[1, 2, 3, 4], [2, 0, 6, 0], [0, 0, 0, 0]])
