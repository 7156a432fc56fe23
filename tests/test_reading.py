"""§7.3 How a run reads rows: one row has one score, in whatever guise it comes; and a run knows its data."""

import copy
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import refused, said
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_tables import GAUSSIAN, NAMES, Frame, csv, scores, table, trained

from scratchvae import VAE
from scratchvae.cli import main
from scratchvae.errors import DataError
from scratchvae.noise import named
from scratchvae.training.config import Config
from scratchvae.training.reading import digest, learn
from scratchvae.training.state import State, Steps
from scratchvae.types import Array


@pytest.fixture(scope="module")
def fitted() -> VAE:
    return trained()


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
def test_files_score_as_arrays_do(fitted: VAE, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
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
    """2¹⁶ rows that differ in one value of few bits: about half a pair of equal names is what chance gives. And a name
    is for ever, since a score hangs on it."""
    assert named(np.array([[0, 1, -2.5, np.nan, 0.1, 7, 1e-3, np.inf]])) == 3633506203
    x = np.zeros((1 << 16, 9), np.float32)
    x[:, 4] = np.arange(len(x)) / 8
    assert np.unique(named(x)).size >= len(x) - 5
    assert np.unique(named(np.array([[1, 2, 3], [2, 1, 3], [3, 2, 1], [6, 0, 0]]))).size == 4


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


def test_a_resumed_run_scores_as_an_unstopped_one(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a reading that is learned anew, or lost, on the way."""
    words = "--likelihood gaussian --latent 2 --hidden 4 --kernels numpy --no-pictures --out half"
    assert main(["train", "rows.csv", *words.split(), "--epochs", "1"]) == 0
    assert main(["train", "--resume", "--out", "half", "--epochs", "2", "--no-pictures"]) == 0
    capsys.readouterr()
    assert VAE.load("half").elbo(table()).tolist() == VAE.load("run").elbo(table()).tolist()


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
    from scratchvae.training.bound_report import Ledger, diagnosis

    rows = np.ones(5)
    found = Ledger(None, rows, rows, 19 * rows, np.full(2, 9.5), np.zeros(2))  # type: ignore[arg-type]
    assert "yet KL costs 19 nats" in diagnosis(found)
    assert "posterior collapse" in diagnosis(found._replace(kl=0 * rows, kl_by_latent=np.zeros(2)))


def test_every_column_of_a_table_is_seen_in_a_picture() -> None:
    """Catches one grey scale for incomes and ages: all but the largest column black, and gaps that hide the rest."""
    x = np.array([[20.0, 30_000, 1], [40, np.nan, 1], [30, 60_000, 1]])
    shown = learn(x, Config(likelihood="gaussian", missing="nan", standardise=False)).shown(x)
    np.testing.assert_array_equal(shown, [[0, 0, 0], [1, np.nan, 0], [0.5, 1, 0]])
