"""§7.3 How a run reads rows, and that one row has one score, in whatever guise it comes."""

import copy
import json
import math
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Call, refused, said
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from scratchvae import VAE, plots
from scratchvae.cli import main
from scratchvae.conditional import Standardised
from scratchvae.distributions import Normal
from scratchvae.errors import DataError
from scratchvae.training import compiled
from scratchvae.training.config import Config
from scratchvae.training.missing import hide
from scratchvae.training.noise import Noise, named
from scratchvae.training.reading import Reading, digest, grains, learn
from scratchvae.training.state import State, Steps, load_state, save_state
from scratchvae.types import Array

NAMES = ("age", "income", "height", "flat", "sex")
GAUSSIAN: dict[str, Any] = {"likelihood": "gaussian", "latent": 2, "hidden": (6,), "kernels": "numpy", "batch": 16}


class Frame:
    """As much of a data frame as is asked for."""

    def __init__(self, x: Array, columns: tuple[str, ...]) -> None:
        self.x, self.columns, self.shape = x, columns, x.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.x


def table(rows: int = 60, seed: int = 0) -> Array:
    """Columns of unlike scale, in eighths so that float32 holds them; one is constant, one is of bits."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((rows, 2))
    age, income, height = 40 + 12 * z[:, 0], 5e4 + 2e4 * (z[:, 0] + z[:, 1]), 1.7 + 0.25 * z[:, 1]
    columns = (age, income, height, np.full(rows, 3.5), rng.random(rows) < 0.5)
    return np.round(np.stack(columns, axis=1) * 8) / 8


@pytest.fixture(scope="module")
def fitted() -> VAE:
    """Trained on a frame with names."""
    return VAE(**GAUSSIAN, epochs=5).fit(Frame(table(), NAMES))


def csv(x: Array, names: tuple[str, ...]) -> str:
    return "\n".join([",".join(names), *(",".join(map(repr, row)) for row in x.tolist())]) + "\n"


def scores(model: VAE, x: Any) -> Array:
    return np.stack([model.elbo(x), model.log_likelihood(x, 20)])


def by_command(folder: Path, model: VAE, capsys: pytest.CaptureFixture[str], x: Array, name: str) -> float:
    """The mean bound of rows in a file, as `evaluate` says it."""
    model.save(folder / "m.safetensors")
    write: dict[str, Callable[[Path], object]] = {
        "x.npy": lambda path: np.save(path, x),
        "x.csv": lambda path: path.write_text(csv(x, NAMES)),
        "r.csv": lambda path: path.write_text(csv(x[:, ::-1], NAMES[::-1])),
    }
    write[name](folder / name)
    words = "evaluate", str(folder / "m.safetensors"), "--data", str(folder / name), "--samples", "0"
    return float(said(capsys, *words)["elbo"])


# ---- one row, one score

GUISES: dict[str, Callable[[Array], Any]] = {
    "float32": lambda x: x.astype(np.float32),
    "columns first": np.asfortranarray,
    "a view with steps": lambda x: np.repeat(x, 2, axis=0)[::2],
    "big endian": lambda x: x.astype(">f8"),
    "masked, nothing hidden": lambda x: np.ma.masked_array(x, np.zeros(x.shape, bool)),
    "lists": lambda x: x.tolist(),
    "objects": lambda x: x.astype(object),
    "a frame": lambda x: Frame(x, NAMES),
    "a frame, columns in a cycle": lambda x: Frame(x[:, [2, 0, 1, 4, 3]], tuple(NAMES[i] for i in (2, 0, 1, 4, 3))),
    "a frame, columns reversed": lambda x: Frame(x[:, ::-1], NAMES[::-1]),
    "minus zero": lambda x: np.where(x == 0, -0.0, x),
}


@pytest.mark.parametrize("guise", GUISES)
def test_one_table_in_many_guises(fitted: VAE, guise: str) -> None:
    """Catches a type, an order of columns or of memory that changes what a row is."""
    x = table(12, seed=1)
    np.testing.assert_allclose(scores(fitted, GUISES[guise](x)), scores(fitted, x), rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_a_row_has_one_score_wherever_it_stands(fitted: VAE, order: list[int], count: int) -> None:
    """Catches noise that is named by a row's place, or shared over a batch: sd 3.1 nats over places on MNIST."""
    x = table(12, seed=1)
    whole, some = scores(fitted, x), order[:count]
    np.testing.assert_allclose(scores(fitted, x[some]), whole[:, some], rtol=1e-5)
    assert np.unique(whole[0].round(5)).size == 12  # and rows still differ in their draws


def test_the_score_of_a_row_is_a_mean_of_sixteen(fitted: VAE) -> None:
    """Catches a score of one draw, whose sd was 3.1 nats on MNIST: fewer draws are a prefix of more."""
    x = table(12, seed=1)
    np.testing.assert_array_equal(fitted.elbo(x), fitted.elbo(x, samples=16))
    assert not np.allclose(fitted.elbo(x), fitted.elbo(x, samples=1))


def test_whole_numbers_are_the_numbers_that_they_are() -> None:
    """Catches bytes that are grey levels to a table of reals."""
    x = np.random.default_rng(0).integers(0, 17, (40, 4))
    model = VAE(**GAUSSIAN, epochs=2).fit(x.astype(float))
    for dtype in (np.int64, np.uint8, np.int16, np.float32):
        np.testing.assert_allclose(scores(model, x.astype(dtype)), scores(model, x.astype(float)), rtol=1e-6)


def test_models_that_were_copied_sent_or_kept_score_alike(fitted: VAE, tmp_path: Path) -> None:
    """Catches views cut from their arena, so that training moves one copy of the weights and evaluation reads the
    other; and compiled kernels that cannot be pickled."""
    x = table(12, seed=1)
    fitted.save(tmp_path / "m.safetensors")
    compiled_one = VAE.load(tmp_path / "m.safetensors", kernels="numba")
    copies = [copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted)), VAE.load(tmp_path / "m.safetensors")]
    for model in (*copies, compiled_one, pickle.loads(pickle.dumps(compiled_one))):
        np.testing.assert_allclose(scores(model, x), scores(fitted, x), rtol=1e-5)
    state = copies[0].state
    assert state is not None
    before = state.arena.flat.copy()
    Steps(state, table()).advance(3)
    assert not np.array_equal(state.arena.flat, before)
    np.testing.assert_array_equal(np.concatenate([v.ravel() for v in state.arena.views.values()]), state.arena.flat)
    assert not np.allclose(copies[0].elbo(x), fitted.elbo(x))


def test_a_copy_goes_on_as_the_original_would() -> None:
    """Catches a copy that begins again at step 0, with the noise, the rows and the Adam of a first step."""
    x, config = table(), Config(**GAUSSIAN, validation=0.2)
    state = State.begun(config, learn(x, config), x)
    Steps(state, x).advance(5)
    copies = [copy.deepcopy(state), pickle.loads(pickle.dumps(state))]
    bounds = [Steps(one, x).advance(3) for one in (state, *copies)]
    for one, bound in zip(copies, bounds[1:], strict=True):
        np.testing.assert_array_equal(bound, bounds[0])
        assert one.step == 8
        for name, array in state.tensors().items():
            np.testing.assert_array_equal(one.tensors()[name], array, err_msg=name)


@pytest.mark.parametrize("name", ["x.npy", "x.csv", "r.csv"])
def test_files_score_as_arrays_do(
    fitted: VAE, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A memory map, a table with names, and the same with its columns reversed (−133 for −14, before)."""
    x = table(12, seed=1)
    found = by_command(tmp_path, fitted, capsys, x, name)
    assert found == pytest.approx(float(fitted.elbo(x, samples=1).mean()), rel=1e-6)


def test_other_columns_are_refused_by_name(fitted: VAE) -> None:
    with pytest.raises(DataError, match="lacks 'sex' and has 'gender' besides"):
        fitted.elbo(Frame(table(3), (*NAMES[:4], "gender")))
    with pytest.raises(DataError, match="has 4 columns but D=5"):
        fitted.elbo(table(3)[:, :4])


def test_what_bytes_mean_is_learned_once() -> None:
    """Catches a judgement by the rows that happen to come: a dark row's 1 would be 1, beside brighter ones 1/255."""
    x = np.random.default_rng(0).integers(0, 256, (40, 6)).astype(np.uint8)
    x[0] = [0, 1, 0, 1, 0, 1]
    model = VAE(latent=2, hidden=(5,), epochs=1, batch=10, kernels="numpy").fit(x)
    np.testing.assert_allclose(model.encode(x[:1]).mu, model.encode(x).mu[:1], rtol=1e-5)
    np.testing.assert_allclose(model.elbo(x[:1].astype(np.int64)), model.elbo(x)[:1], rtol=1e-5)
    with pytest.raises(DataError, match="trained on bytes"):
        model.elbo(x[1:].astype(float))
    bits = VAE(latent=2, hidden=(5,), epochs=1, batch=10, kernels="numpy").fit(x % 2)
    for dtype in (bool, np.int64, np.float32):
        np.testing.assert_allclose(bits.elbo((x % 2).astype(dtype)), bits.elbo(x % 2), rtol=1e-6)
    with pytest.raises(DataError, match=r"holds \d+ at row"):
        bits.elbo(x)


@pytest.mark.parametrize("top", [255, 1])
def test_masked_bytes_mean_what_bytes_mean(top: int) -> None:
    """Catches grey levels that a mask makes numbers of, and a bit that it makes 1/255 of."""
    x = np.random.default_rng(0).integers(0, top + 1, (40, 6)).astype(np.uint8)
    x[0] = [0, 1, 0, 1, 0, 1]
    model = VAE(latent=2, hidden=(5,), epochs=1, batch=10, kernels="numpy", missing="nan").fit(x)
    masked = np.ma.masked_array(x, np.arange(6) == np.full((40, 1), 2))
    plain = np.where(masked.mask, np.nan, x / top).astype(np.float32)
    for rows in (slice(1), slice(None)):
        np.testing.assert_allclose(model.elbo(masked[rows]), model.elbo(plain[rows]), rtol=1e-6)


@example([math.nan, 1.0])
@example([-0.0, 1.0])
@given(st.lists(st.floats(width=32), min_size=1, max_size=6))
def test_a_row_is_named_by_what_it_holds(row: list[float]) -> None:
    """The same name alone and among others, for −0 and 0, for any NaN; another for another row."""
    x = np.array([row], np.float32)
    with np.errstate(invalid="ignore"):
        other = np.where(x == 5, 4, 5).astype(np.float32)
    stacked = named(np.concatenate([other, x, x]))
    assert named(x)[0] == stacked[1] == stacked[2] != stacked[0]
    quiet = np.where(np.isnan(x), np.array([0xFFC00001], np.uint32).view(np.float32), np.where(x == 0, -0.0, x))
    assert named(quiet.astype(np.float32))[0] == named(x)[0]
    assert named(np.array([[1e39, 1]]))[0] == named(np.array([[np.inf, 1]]))[0]  # a float64 model's; once a warning


def test_names_of_rows_do_not_meet() -> None:
    """2¹⁶ rows that differ in one value of few bits: about half a pair of equal names is what chance gives."""
    x = np.zeros((1 << 16, 9), np.float32)
    x[:, 4] = np.arange(len(x)) / 8
    assert np.unique(named(x)).size >= len(x) - 5
    assert np.unique(named(np.array([[1, 2, 3], [2, 1, 3], [3, 2, 1], [6, 0, 0]]))).size == 4


# ---- the transform


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
    they were, so all that is shown is moved by the unit alone."""
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
        found.append([*numbers, *sheets])
        sheets.clear()
    assert len(found[0]) == 2 * len(UNIT_COMMANDS) + 1 + 3
    for plain, scaled in zip(*found, strict=True):
        np.testing.assert_allclose((scaled - factor) / factor, plain, rtol=1e-4, atol=1e-4)
    near, draws = found[0][1][5:], found[0][6]
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
    made = compiled.standardised(State(config, 4, found), x)
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


def test_what_is_hidden_is_not_learned_from() -> None:
    x = table()
    x[3, 0] = np.nan
    found = learn(x, Config(**GAUSSIAN, missing="nan"))
    assert found.shift is not None
    assert found.shift[0] == pytest.approx(np.nanmean(x[:, 0]))
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


# ---- a run and its data


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run on a table in a folder, by a relative path."""
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text(csv(table(), NAMES))
    words = "--likelihood gaussian --latent 2 --hidden 4 --kernels numpy --epochs 2 --no-pictures --out run"
    assert main(["train", "rows.csv", *words.split()]) == 0
    err = capsys.readouterr().err
    assert "standardised: 4 columns" in err
    assert "given no density: flat" in err
    return tmp_path / "run"


RESUME = ["train", "--out", "run", "--resume", "--epochs", "3", "--no-pictures"]


def test_a_run_knows_its_data(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches --resume on rows that changed, or on fewer."""
    held = Path("rows.csv").read_text()
    for changed in (held.replace(held.split("\n")[5], held.split("\n")[6]), "\n".join(held.split("\n")[:-9]) + "\n"):
        Path("rows.csv").write_text(changed)
        assert main(RESUME) == 2
        assert "no longer holds the rows" in capsys.readouterr().err
    assert main([*RESUME, "--force"]) == 0
    Path("rows.csv").write_text(held)
    assert main([*RESUME[:-1], "--no-pictures"]) in (0, 2)
    capsys.readouterr()


def test_data_are_found_from_another_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = said(capsys, "evaluate", "run", "--samples", "0")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert said(capsys, "evaluate", "../run", "--samples", "0") == here


def test_nothing_that_is_read_is_written_over(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches `sample --out` onto the run's own data."""
    held = Path("rows.csv").read_bytes()
    for command in ("sample", "reconstruct", "encode"):
        assert "is a file that this command reads" in refused(capsys, 2, command, "run", "--out", "rows.csv")
    assert Path("rows.csv").read_bytes() == held


def test_other_vectors_are_a_line_and_no_more(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scratchvae.cli.train.width", lambda state: 99)
    assert main(RESUME) == 0
    assert "here they have 99" in capsys.readouterr().err


@given(st.integers(1, 40), st.integers(0, 39))
def test_a_digest_sees_rows_shape_and_type(rows: int, row: int) -> None:
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    changed = x.copy()
    changed[row % rows, 1] += 1
    others = (changed, x[:, :2], np.concatenate([x, x]), x.astype(np.float64))
    assert digest(x) == digest(x.astype(">f4")) not in {digest(other) for other in others}


def test_a_digest_is_of_rows_from_the_whole_of_a_large_table() -> None:
    """Catches a digest of the first rows alone, or of one."""
    x = np.zeros((3000, 300))
    for first in (1, 1500, 2999):
        changed = x.copy()
        changed[first:] = 1
        assert digest(changed) != digest(x)
    assert digest(np.zeros((4000, 300))) != digest(x)  # of as many rows alike, out of more


def test_a_latent_that_costs_and_says_nothing_is_no_collapse() -> None:
    """KL = 19 beside "the decoder ignores z" were the words on wine."""
    from scratchvae.training.ledger import Ledger, diagnosis

    rows = np.ones(5)
    found = Ledger(None, rows, rows, 19 * rows, np.full(2, 9.5), np.zeros(2))  # type: ignore[arg-type]
    assert "yet KL costs 19 nats" in diagnosis(found)
    assert "posterior collapse" in diagnosis(found._replace(kl=0 * rows, kl_by_latent=np.zeros(2)))
