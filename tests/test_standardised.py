"""§7.3 Standardised columns: the transform of a reading, its Jacobian, its grain, and its units in every command."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Call
from made_tables import GAUSSIAN, table, trained
from scipy import stats

from scratchvae import VAE, plots
from scratchvae.conditional import Standardised
from scratchvae.distributions import Normal
from scratchvae.errors import DataError
from scratchvae.noise import Noise
from scratchvae.training import compiled
from scratchvae.training.config import Config
from scratchvae.training.likelihood import resolved
from scratchvae.training.missing import hide
from scratchvae.training.reading import Reading, grains, learn
from scratchvae.training.state import State, Steps, load_state, save_state
from scratchvae.types import Array


@pytest.fixture(scope="module")
def fitted() -> VAE:
    return trained()


def test_densities_are_those_of_the_raw_columns() -> None:
    """Against SciPy on the raw columns, whole and with gaps: a Jacobian forgotten, or counted for what is not seen."""
    rng = np.random.default_rng(0)
    m, s, x = rng.normal(size=4) * 10, np.exp(3 * rng.normal(size=4)), rng.normal(size=(5, 4)) * 10
    mu, log_var, mask = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), (rng.random((5, 4)) < 0.6).astype(float)
    p = Standardised(mu, log_var, np.log(s))
    each = stats.norm.logpdf(x, m + s * mu, s * np.exp(log_var / 2))
    np.testing.assert_allclose(p.log_prob((x - m) / s), each.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(p.log_prob_observed((x - m) / s, mask), (each * mask).sum(axis=1), rtol=1e-12)
    moved = p._replace(mu=p.mu + 1)._replace(mu=mu)  # as chains do, that take some rows of one and some of another
    np.testing.assert_array_equal(moved.log_prob((x - m) / s), p.log_prob((x - m) / s))
    w = rng.normal(size=5)
    for a, b in zip(p.log_prob_vjp(w, x)[1], Normal(mu, log_var).log_prob_vjp(w, x)[1], strict=True):
        np.testing.assert_array_equal(a, b)  # a constant has no slope


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_the_unit_of_a_column_moves_its_figure_by_its_logarithm_alone(kernels: str) -> None:
    """wine × 10⁴ trained to −2.4·10⁸ nats. Binary factors leave every bit of the transformed rows as it was."""
    x, factor = table(), np.array([2.0**13, 2.0**-11, 1.0, 2.0, 2.0**30])
    options = {**GAUSSIAN, "kernels": kernels, "epochs": 3}
    plain, scaled = VAE(**options).fit(x), VAE(**options).fit(x * factor + factor)
    shift = np.log(factor[[0, 1, 2, 4]]).sum()
    for name in ("elbo", "log_likelihood"):
        found, expected = getattr(scaled, name)(x * factor + factor), getattr(plain, name)(x)
        np.testing.assert_allclose(found + shift, expected, atol=2e-4)
    assert scaled.history[-1]["train_elbo"] + shift == pytest.approx(plain.history[-1]["train_elbo"], abs=1e-3)
    made = (scaled.reconstruct(x * factor + factor) - factor) / factor
    np.testing.assert_allclose(made, plain.reconstruct(x), rtol=1e-4)


def test_a_variance_is_in_the_units_of_the_raw_columns() -> None:
    """σ² of gaussian-fixed in each column as given; the floor of a learned one below it; log σ² begins near 0."""
    fixed = VAE(**{**GAUSSIAN, "likelihood": "gaussian-fixed", "variance": 0.5}, epochs=1).fit(table())
    assert fixed.state is not None
    reading = fixed.state.reading
    assert reading.scale is not None
    np.testing.assert_allclose(reading.variance(0.5, "gaussian-fixed") * reading.scale**2, 0.5)
    x, z = table(), fixed.encode(table()).mu
    each = stats.norm.logpdf(x, fixed.decode(z), math.sqrt(0.5))[:, [0, 1, 2, 4]].sum(axis=1)
    p = fixed.state.theta, fixed.state.k
    from scratchvae.models import vae

    found = vae.decode(z, *p)[0].log_prob(fixed.state.rows(x, slice(None)), fixed.state.k)
    np.testing.assert_allclose(found, each, rtol=1e-4)
    state = State.begun(Config(**GAUSSIAN), reading, x)
    first = vae.decode(np.zeros((1, 2), np.float32), state.theta, state.k)[0]
    assert isinstance(first, Standardised)
    assert np.abs(first.log_var).max() < 0.1


UNIT_COMMANDS = (
    "sample --count 5",
    "sample --count 5 --draw --nearest",
    "reconstruct --rows 0:3",
    "manifold --grid 2",
    "interpolate --steps 3",
    "arithmetic --minus 0 --plus 1 --steps 2",
    "fill --mask hidden.npy --rows 0:3 --imputations 2 --chains 1 --thin 1 --warm-up 2",
)


def test_every_command_speaks_in_the_units_of_the_columns(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an undo that one command, one kind of --out or one picture of a run forgot, neighbours sought among raw
    rows, and a mask of raw columns that is laid on those that the model sees. Binary factors leave the model's bits as
    they were, so all numbers are moved by the unit alone; a picture, each column stretched, not at all."""
    sheets: list[Array] = []
    monkeypatch.setattr(plots, "plot_images", lambda rows, *_, **__: sheets.append(rows))
    for name in ("plot_bound", "plot_latent", "save"):
        monkeypatch.setattr(plots, name, lambda *_: None)
    factor, found, x = np.array([2.0**13, 2.0**-11, 1.0, 2.0, 2.0**30]), [], table()
    np.save("hidden.npy", np.array([1, 1, 1, 1, 0]))
    for raw in (x, x * factor + factor):
        np.savez("x.npz", x=raw, y=np.arange(60) % 2)
        shutil.rmtree("run", ignore_errors=True)
        assert call("train", "x.npz", "--out", "run", "--likelihood", "gaussian", *TINY).code == 0
        numbers = []
        for words in UNIT_COMMANDS:
            command, *options = words.split()
            for out in ("x.npy", "x.png"):
                assert call(command, "run", *options, "--out", out).code == 0, words
            numbers.append(np.load("x.npy"))
        means = call(command, "run", *options, "--out", "-").out  # of the last, which is fill
        numbers.append(np.array([line.split(",") for line in means.split()], float))
        found.append((numbers, list(sheets)))
        sheets.clear()
    (numbers, sheets), (scaled, others) = found
    assert (len(numbers), len(sheets)) == (len(UNIT_COMMANDS) + 1, len(UNIT_COMMANDS) + 3)
    for plain, raw in zip(numbers, scaled, strict=True):
        np.testing.assert_allclose((raw - factor) / factor, plain, rtol=1e-4, atol=1e-4)
    for plain, raw in zip(sheets, others, strict=True):
        np.testing.assert_allclose(raw, plain, atol=1e-4)
    near, draws = numbers[1][5:], numbers[6]
    assert all((np.abs(x[:54].astype(np.float32) - row).max(axis=1) < 1e-4).any() for row in near)
    np.testing.assert_allclose(draws[..., :4], np.broadcast_to(x[54:57, :4], (*draws.shape[:-1], 4)), rtol=1e-6)


def test_constants_come_back_and_have_no_density(fitted: VAE) -> None:
    assert (fitted.sample(7)[:, 3] == 3.5).all()
    assert (fitted.reconstruct(table(4))[:, 3] == 3.5).all()
    other = table(6, seed=2)
    other[:, 3] = 99
    np.testing.assert_array_equal(fitted.elbo(other), fitted.elbo(table(6, seed=2)))
    gaps = table(4, seed=2)
    gaps[:, 0] = np.nan
    filled = fitted.impute(gaps)
    np.testing.assert_array_equal(filled.mean[:, 1:], gaps[:, 1:].astype(np.float32))  # what was given, to the bit
    tenth = learn(np.stack([np.full(10, 0.1), np.arange(10.0)], axis=1), Config(**GAUSSIAN))  # whose sum is below 1
    assert tenth.constants is not None
    assert tenth.constants[0] == 0.1
    assert 0 < filled.mean[:, 0].min() < filled.mean[:, 0].max() < 100
    with pytest.raises(DataError, match="every column of the training data is constant"):
        VAE(**GAUSSIAN).fit(np.ones((5, 3)))


def test_what_is_learned_is_learned_of_all_rows() -> None:
    """Catches blocks of which the last is left out, or a column that is constant in one of them; the compiled step's
    copy, block by block; and rounding that passes for a column, or a small spread that passes for rounding."""
    x = np.random.default_rng(0).normal(size=(9000, 5)) + np.arange(9000)[:, None] / 3000
    x[:, 1] = np.arange(9000) > 8500
    x[:, 2] = 1e9 + x[:, 0]
    x[:, 3] = np.where(x[:, 0] > 0, 0.1 + 0.2, 0.3)
    config = Config(**{**GAUSSIAN, "kernels": "numba"})
    found, varies = learn(x, config), [0, 1, 2, 4]
    assert found.kept is not None
    assert found.shift is not None
    assert found.scale is not None
    assert found.kept.tolist() == varies
    np.testing.assert_allclose(found.shift, x.mean(axis=0)[varies], rtol=1e-12)
    np.testing.assert_allclose(found.scale, np.maximum(x.std(axis=0)[varies], [0, 1, 0, 0]), rtol=1e-6)
    made = compiled.resident(State(config, 4, found), x)
    assert made is not None
    np.testing.assert_allclose(made, (x[:, varies] - found.shift) / found.scale, rtol=1e-5, atol=1e-5)


def test_grain_by_hand() -> None:
    """The least difference of two values; a column that is lit in one row of many is not blown up by its tiny sd. Units
    whose squares are no floats."""
    one, *others = (learn(table() * u, Config(**GAUSSIAN)).tensors() for u in (1.0, 2.0**700, 2.0**-700))
    for other, u in zip(others, (2.0**700, 2.0**-700), strict=True):
        np.testing.assert_array_equal(other["data.scale"], one["data.scale"] * u)
    np.testing.assert_array_equal(grains(np.array([[1.0, 2, 5, np.nan], [1, 2.5, 7, 3], [1, 4, 7, 3]])), [0, 0.5, 2, 0])
    x = np.zeros((400, 2))
    x[7, 0], x[:, 1] = 5.0, np.random.default_rng(0).normal(size=400)
    found = learn(x, Config(**GAUSSIAN))
    assert found.scale is not None
    assert found.scale[0] == 5
    assert found.scale[1] == pytest.approx(x[:, 1].std())
    np.testing.assert_allclose(found.variance(None, "gaussian"), [1 / 12, 1e-3], rtol=1e-6)
    np.testing.assert_array_equal(found.variance(None, "gaussian-fixed"), 1)  # σ² is the column's own variance
    mixed = learn(x, resolved(Config(latent=2, columns="0=gaussian,1=student-t"), x, None)).scale  # is no finer
    assert mixed is not None
    assert mixed[0] == 5


def test_what_is_hidden_is_not_learned_from() -> None:
    """Catches a mean or a standard deviation that counts a gap, or divides by all rows."""
    x = table()
    x[3, 0] = np.nan
    found = learn(x, Config(**GAUSSIAN, missing="nan"))
    assert found.shift is not None
    assert found.scale is not None
    assert (found.shift[0], found.scale[0]) == pytest.approx((np.nanmean(x[:, 0]), np.nanstd(x[:, 0])))
    hidden, whole = learn(table(), Config(**GAUSSIAN, missing="random:0.5")), learn(table(), Config(**GAUSSIAN))
    assert hidden.shift is not None
    assert whole.shift is not None
    assert not np.allclose(hidden.shift[0], whole.shift[0])
    seen = hide(table(), np.arange(60), "random:0.5", Noise(7))  # as the run's own seed hides it
    of_seven = learn(table(), Config(**GAUSSIAN, missing="random:0.5", seed=7)).shift
    assert of_seven is not None
    np.testing.assert_allclose(of_seven, np.nanmean(seen, axis=0)[[0, 1, 2, 4]])


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian-sigmoid"])
def test_other_likelihoods_keep_their_units(likelihood: str) -> None:
    assert learn(np.random.default_rng(0).random((9, 3)), Config(likelihood=likelihood)).scale is None
    assert learn(table(), Config(**GAUSSIAN, standardise=False)).scale is None
    assert learn(np.eye(4, dtype=np.uint8) * 200, Config(likelihood="gaussian")).scale is None


def test_the_compiled_step_is_the_composed_one_on_standardised_columns() -> None:
    """Floors by column, the Jacobian, and a copy of the data in units of the model."""
    x, config = table(), Config(**{**GAUSSIAN, "kernels": "numba"}, variance=2.0)
    reading = learn(x, config)
    fast, slow = (State.begun(config, reading, x) for _ in range(2))
    steps = compiled.steps(fast, x, 2)
    assert type(steps) is compiled.Compiled
    np.testing.assert_allclose(steps.advance(5), Steps(slow, x).advance(5), rtol=1e-5)
    np.testing.assert_allclose(fast.arena.flat, slow.arena.flat, rtol=1e-3, atol=1e-5)


def test_a_reading_survives_its_file(fitted: VAE, tmp_path: Path) -> None:
    assert fitted.state is not None
    save_state(tmp_path / "s.safetensors", fitted.state, {})
    was, now = fitted.state.reading, load_state(tmp_path / "s.safetensors")[0].reading
    for a, b in zip(was, now, strict=True):
        np.testing.assert_array_equal(a, b) if isinstance(a, np.ndarray) else None
        assert isinstance(a, np.ndarray) or a == b


@pytest.mark.parametrize(
    "forged",
    [{"columns": "5"}, {"columns": -1}, {"names": ["a"]}, {"kind": "no"}, {"image": [1.5]}, {"where": None}, {"x": 1}],
)
def test_a_forged_reading_is_one_line(forged: dict[str, Any], fitted: VAE) -> None:
    assert fitted.state is not None
    reading = fitted.state.reading
    with pytest.raises(DataError, match=r"how rows are read|contradicts itself"):
        Reading.restored({**json.loads(json.dumps(reading.as_dict())), **forged}, reading.tensors())
    with pytest.raises(DataError, match="contradicts itself"):  # columns that no index can name
        Reading.restored(reading.as_dict(), {**reading.tensors(), "data.kept": np.array([0.0, 1, 2, 4])})


@pytest.mark.parametrize(
    ("name", "value"),
    [("kept", [0, 1, 2, 5]), ("kept", [-1, 1, 2, 4]), ("kept", [0.5, 1, 2, 4]), ("scale", [1.0, 0.0, 1.0, 1.0]),
     ("scale", [1.0, math.nan, 1.0, 1.0]), ("shift", [0.0]), ("grain", [0.0] * 5), ("constants", [3.5] * 4)],
)  # fmt: skip
def test_forged_arrays_of_a_reading_are_one_line(name: str, value: list[float], fitted: VAE) -> None:
    """Catches an index that ends in a traceback, and a scale by which every row is infinite."""
    assert fitted.state is not None
    reading = fitted.state.reading
    with pytest.raises(DataError, match="contradicts itself"):
        Reading.restored(reading.as_dict(), {**reading.tensors(), f"data.{name}": np.array(value)})
