"""§7.3 What people met who tried the command line for the first time: each of these once gave a wrong or no answer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUIET, Call, bits, files

import scratchvae
from scratchvae import VAE, plots
from scratchvae.data import load
from scratchvae.errors import DataError, UsageError
from scratchvae.plots import grey_levels
from scratchvae.tasks import imputation
from scratchvae.training.reading import Reading
from scratchvae.types import Array

# ---------------------------------------------------------------- data


def test_means_through_a_sigmoid_need_the_unit_interval(call: Call) -> None:
    """It trained on NaN from the first step on, and left a checkpoint of NaN."""
    np.save("real.npy", np.random.default_rng(0).normal(3, 2, (80, 6)))
    done = call("train", "real.npy", "--out", "run", *QUIET, "--likelihood", "gaussian-sigmoid")
    assert (done.code, Path("run").exists()) == (3, False)
    assert "means through a sigmoid reach [0, 1] alone" in done.line
    assert call("train", "real.npy", "--out", "run", *QUIET, "--likelihood", "gaussian").code == 0


def test_test_rows_of_a_file_are_named(call: Call) -> None:
    """A header that said "own test rows" left open whose."""
    np.save("other.npy", bits(30, seed=1))
    done = call("train", "rows.npy", "--test", "other.npy", "--out", "run", *QUIET)
    assert "test: the rows of other.npy" in done.words
    assert json.loads(call("evaluate", "run", "--samples", 0, "--json").out)["split"] == "the rows of other.npy"


def test_mapped_test_rows_are_checked_before_anything_is_made(call: Call) -> None:
    """A map is checked as it is read: its test rows, after an epoch, when the folder and a checkpoint were there."""
    bad = bits(4400).astype(np.float32)
    bad[4321, 7] = 1.5
    np.save("bad.npy", bad)
    np.savez("bad.npz", x=bad)
    done = call("train", "rows.npy", "--test", "bad.npy", "--out", "run", *QUIET)
    assert (done.code, Path("run").exists()) == (3, False)
    assert "bad.npy holds 1.5 at row 4321, column 7" in done.line
    for name in ("bad.npy", "bad.npz"):  # the last tenth of the rows: their number in the file
        done = call("train", name, "--out", "run", *QUIET)
        assert (done.code, Path("run").exists()) == (3, False)
        assert f"{name} holds 1.5 at row 4321, column 7" in done.line


def test_fill_says_that_there_are_more_rows(trained: Call) -> None:
    """A table of a thousand rows with gaps came back as twenty rows, and nothing was said."""
    np.save("later.npy", bits(30, seed=2))
    fill = ("fill", "run", "--data", "later.npy", "--mask", "random:0.5", "--warm-up", 2)
    assert "the first 20 of 30 rows: --rows 0: takes all" in trained(*fill).words
    assert "takes all" not in trained(*fill, "--rows", "0:").words


def test_an_out_that_cannot_be_is_said_before_the_work(trained: Call) -> None:
    """Where there was no folder, `sample` and `export` advised to free the disk, after the work."""
    for words in (("sample", "run", "--out", "no/x.npy"), ("export", "run", "no/x.onnx")):
        done = trained(*words)
        assert (done.code, "there is no folder no; make it first" in done.line) == (2, True)


def test_an_empty_default_is_not_shown(call: Call) -> None:
    """`info --help` ended a line with (default: ())."""
    assert "(default: ())" not in call("info", "--help").out


def test_a_run_s_data_are_looked_for_where_one_is(trained: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder by the way from the run's; where they are gone, it did not say which folder it looked in."""
    monkeypatch.chdir("run")
    assert trained("evaluate", ".").code == 0
    Path("../rows.npy").rename("../moved.npy")
    done = trained("evaluate", ".")
    assert (done.code, f"rows.npy does not exist or is not a file (seen from {Path.cwd()})" in done.line) == (3, True)


def test_an_empty_cell_is_missing(call: Call) -> None:
    Path("gaps.csv").write_text("a,b,c\n" + "1,,0\n0,1,\n, 1,1\n" * 20)
    np.testing.assert_array_equal(
        load("gaps.csv", test="gaps.csv", missing=True).train[:3], [[1, np.nan, 0], [0, 1, np.nan], [np.nan, 1, 1]]
    )
    assert "holds nan at row 0, column 1" in call("train", "gaps.csv", "--out", "run", *QUIET).line
    assert call("train", "gaps.csv", "--out", "run", *QUIET, "--missing", "nan").code == 0
    found = json.loads(call("info", "gaps.csv", "--json").out)
    assert found["missing"] == pytest.approx(1 / 3)


def test_a_ragged_table_gets_no_advice_about_options_that_there_are_not(tmp_path: Path) -> None:
    (tmp_path / "ragged.csv").write_text("1,2,3\n1,2\n")
    with pytest.raises(DataError, match=r"has 2 cells in line 2, but 3 in the lines before it; mend that line$"):
        load(tmp_path / "ragged.csv")


# ---------------------------------------------------------------- train


def test_widths_of_a_ladder_for_one_latent_layer(call: Call) -> None:
    done = call("train", "rows.npy", "--out", "run", *QUIET, "--hidden", "6/4")
    assert done.code == 2
    assert "widths for several latent layers" in done.line


def test_a_run_that_has_lost_its_checkpoint_does_not_begin_anew(trained: Call) -> None:
    """It did, and added its metrics to those of the run that was lost."""
    Path("run/checkpoint.safetensors").unlink()
    before = files("run")
    done = trained("train", "--out", "run", "--resume", "--epochs", 9, "--no-pictures")
    assert done.code == 3
    assert "run has lost its checkpoint" in done.line
    assert files("run") == before


def test_nothing_left_to_train_is_said_and_the_figures_are_of_the_step_that_is_named(trained: Call) -> None:
    """Stopped between two evaluations, then resumed for less than was done: the report had an older step's bound."""
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    stale = json.loads(lines[-1]) | {"step": 1, "test_elbo": -1e9, "test_kl": -1e9}
    Path("run/metrics.jsonl").write_text(json.dumps(stale) + "\n")
    done = trained("train", "--out", "run", "--resume", "--epochs", 1, "--no-pictures", "--json")
    assert done.code == 0
    assert "nothing is left to do" in done.words
    found, held = json.loads(done.out), json.loads(trained("evaluate", "run", "--samples", 0, "--json").out)
    for key in ("elbo", "kl", "reconstruction"):
        assert found[key] == pytest.approx(held[key], rel=1e-5)
    assert found["step"] == held["step"]


def test_resume_names_the_one_option_that_differs(trained: Call) -> None:
    done = trained("train", "--out", "run", "--resume", "--learning-rate", 0.5)
    assert "optimizer.learning_rate was 0.001, now 0.5" in done.line


def test_bounds_of_what_is_seen_are_called_so(call: Call) -> None:
    done = call("train", "rows.npy", "--out", "run", *QUIET, "--missing", "random:0.5")
    assert "train bounds count what is seen of a row" in done.words


# ---------------------------------------------------------------- the others


def test_one_row_does_not_tell_which_latents_are_in_use(trained: Call) -> None:
    """It was called a collapse."""
    found = json.loads(trained("evaluate", "run", "--rows", "0:1", "--samples", 0, "--json").out)
    assert found["active_units"] is None
    assert "cannot be told from one row" in found["diagnosis"]
    assert "cannot be told" in trained("compare", "run", "run", "--rows", "0:1").out


def test_gaps_are_filled_by_a_model_that_was_trained_on_whole_rows(call: Call) -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(3, 2, (80, 6))
    np.save("whole.npy", whole)
    np.save("gaps.npy", np.where(rng.random((80, 6)) < 0.3, np.nan, whole))
    assert call("train", "whole.npy", "--out", "run", *QUIET, "--likelihood", "gaussian").code == 0
    done = call("fill", "run", "--data", "gaps.npy", "--mask", "nan", "--rows", "0:5", "--out", "filled.csv", "--json")
    assert done.code == 0
    filled, given = np.loadtxt("filled.csv", delimiter=","), np.load("gaps.npy")[:5]
    assert np.isfinite(filled).all()
    np.testing.assert_allclose(filled[~np.isnan(given)], given[~np.isnan(given)], rtol=1e-6)
    assert "(--missing nan)" in call("evaluate", "run", "--data", "gaps.npy").line


def test_drawn_samples_are_compared_with_drawn_test_rows(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey test rows are nearer to grey training rows than bits can be."""
    np.save("grey.npy", (np.random.default_rng(0).random((120, 12)) * 255).astype(np.uint8))
    assert call("train", "grey.npy", "--out", "run", *QUIET).code == 0
    asked = []
    nearest = imputation.nearest
    monkeypatch.setattr(imputation, "nearest", lambda x, *rest: asked.append(x) or nearest(x, *rest))  # type: ignore[func-returns-value]
    for draw, values in (((), False), (("--draw",), True)):
        done = call("sample", "run", "--nearest", "--count", 5, *draw, "--out", "x.npy")
        assert "from test rows" in done.words
        assert bool(np.isin(asked[-1][5:], (0, 1)).all()) == values
    assert "from test rows" not in call("sample", "run", "--nearest", "--data", "grey.npy", "--out", "x.npy").words


def test_a_wild_draw_of_bytes_does_not_wash_out_the_sheet() -> None:
    """Catches a sheet of bytes stretched over the range of one draw that left it, all others mid-grey."""
    x = np.array([[0.2, 0.9], [-40.0, np.nan], [60.0, 0.5]])
    np.testing.assert_array_equal(Reading(2, "bytes").shown(x), [[0.2, 0.9], [0, np.nan], [1, 0.5]])


def test_pictures_of_data_that_are_no_grey_levels() -> None:
    """Values about 3 were cut to 1: a white sheet."""
    x = np.array([[1.0, 3.0], [5.0, np.nan]])
    np.testing.assert_array_equal(grey_levels(x), [[0, 0.5], [1, np.nan]])
    np.testing.assert_array_equal(grey_levels(np.array([[-0.1, 0.2, 1.3, np.nan]])), [[0, 0.2, 1, 0.5]])
    np.testing.assert_array_equal(grey_levels(np.full((1, 2), 7.0)), [[0, 0]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--draws 1", "argument --draws: expected a whole number, 2 or more"),
        ("--rows 500", "--rows 500 chooses rows: write 0:500 for the first 500"),
        ("--out rows.npy", "--out rows.npy cannot be made"),
    ],
)
def test_estimators_refuses_before_it_trains(call: Call, options: str, words: str) -> None:
    done = call("estimators", "--data", "rows.npy", *options.split())
    assert done.code == 2
    assert words in done.line


def test_estimators_are_all_checked_or_none(call: Call) -> None:
    """The pattern was passed over in silence, and of a few thousand draws a sound estimator was called wrong."""
    few = call("gradcheck", "--estimators", "--seeds", 2, "--draws", 2000)
    assert (few.code, few.out) == (2, "")
    assert "fewer than 100000 draws" in few.line
    assert "leave --pattern out" in call("gradcheck", "--estimators", "--pattern", "sgvb_b").line


# ---------------------------------------------------------------- words that help


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("evaluatte run", 2, "did you mean 'evaluate'?; see scratchvae --help"),
        ("train rows.npy --latnet 3", 2, "train: unrecognized arguments: --latnet 3; did you mean '--latent'?"),
        ("train rows.npy --latnet=3", 2, "--latnet=3; did you mean '--latent'?; see scratchvae train --help"),
        ("sample run --qqq", 2, "unrecognized arguments: --qqq; see scratchvae sample --help"),
        ("train rows.npy --out r --likelihood gausian", 2, "did you mean 'gaussian'?"),
        ("train rows.npy --out r --estimator sgbv_b", 2, "did you mean 'sgvb_b'?"),
        ("train minst --out r", 3, "did you mean 'mnist'?"),
        ("evaluate run --rows 5", 2, "--rows 5 chooses rows: write 0:5 for the first 5, 5:6 for that row alone"),
        ("sample run --image 12,20,4", 2, "--image: expected H,W, in colour H,W,3 or 3,H,W, got '12,20,4'"),
        ("evaluate run --samples 0 --out b.png", 2, "log p(x), which --samples 0 leaves out"),
        ("evaluate run --out b.npy", 2, "--out b.npy has an unknown ending"),
    ],
)
def test_what_was_meant(trained: Call, words: str, code: int, line: str) -> None:
    """An unknown option pointed at the help of the whole, and nothing was suggested."""
    done = trained(*words.split())
    assert (done.code, done.out) == (code, "")
    assert line in done.line


def test_names_in_python_are_guessed_too() -> None:
    for wrong, near in (({"latnet": 3}, "latent"), ({"activation": "tahn"}, "tanh"), ({"optimizer": "adma"}, "adam")):
        with pytest.raises(UsageError, match=f"did you mean '{near}'"):
            VAE(**wrong).fit(bits())


def test_the_version_is_said(call: Call) -> None:
    done = call("--version")
    assert (done.code, done.out) == (0, f"scratchvae {scratchvae.__version__}\n")


def test_rows_mean_one_thing(trained: Call) -> None:
    """`evaluate --rows 5` was the first five rows and `encode --rows 5` the sixth: now a choice everywhere."""
    for rows, many in (("0:5", 5), ("2,4,9", 3), ("7:", 5)):
        found = json.loads(trained("evaluate", "run", "--rows", rows, "--samples", 0, "--json").out)
        held = json.loads(trained("evidence", "run", "--rows", rows, "--samples", 5, "--json").out)
        codes = trained("encode", "run", "--rows", rows).out.splitlines()
        assert found["rows"] == held["rows"] == len(codes) == many


def test_chosen_rows_of_a_map_are_checked(call: Call) -> None:
    """A map is checked as it is read, but rows taken out of it are no map; they are named as they stand in the file."""
    bad = bits(60).astype(np.float32)
    np.save("rows.npy", bad)
    assert call("train", "rows.npy", "--out", "run", *QUIET).code == 0
    bad[57, 3] = 7
    np.save("rows.npy", bad)
    assert "holds 7.0 at row 57, column 3" in call("evaluate", "run", "--rows", "1,3", "--samples", 0).line


QUICK = "--rows 0:2 --imputations 3 --chains 1 --thin 1 --warm-up 0"


@pytest.mark.parametrize("shape", [(40, 16), (4, 5, 3), (3, 4, 5)])
def test_pictures_have_the_data_s_shape(call: Call, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    """Samples of 40 × 16 images were drawn as 32 × 20, colours side by side. Once the data are gone --image says."""
    np.save("images.npy", np.random.default_rng(0).integers(0, 2, (40, *shape), dtype=np.uint8))
    assert call("train", "images.npy", "--out", "run", *QUIET).code == 0
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(plots, "plot_images", lambda x, shape, *_: asked.append(shape))
    monkeypatch.setattr(plots, "save", lambda *_: None)
    for command in ("sample", "manifold", "reconstruct", "interpolate", f"fill {QUICK}"):
        assert call(*command.split(), "run", "--out", "x.png").code == 0, command
    assert asked == [shape] * 5
    Path("images.npy").unlink()
    assert call("sample", "run", "--out", "x.png", "--image", ",".join(map(str, shape))).code == 0
    assert asked[5:] == [shape]


def test_numbers_beside_a_sheet_are_in_order(trained: Call) -> None:
    """They stood as on the sheet: twenty rows, their reconstructions, twenty rows …, or a line of samples, a line of
    neighbours."""
    assert trained("reconstruct", "run", "--out", "x.npy").code == 0
    model = VAE.load("run")
    np.testing.assert_allclose(np.load("x.npy"), model.reconstruct(bits()[108:]), rtol=1e-5)
    assert trained("sample", "run", "--count", 9, "--nearest", "--out", "x.npy").code == 0
    np.testing.assert_allclose(np.load("x.npy")[:9], model.sample(9), rtol=1e-5)
    assert set(np.unique(np.load("x.npy")[9:])) == {0.0, 1.0}


def test_data_that_an_installed_package_does_not_bring(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "name the folder that holds its files": which files, and where are they to be had?"""
    monkeypatch.setattr("scratchvae.data.__file__", str(Path.cwd() / "lib/scratchvae/data/__init__.py"))
    for name, words in (("mnist", "train-images-idx3-ubyte, t10k-images"), ("freyfaces", "frey_rawface.mat")):
        line = call("train", name, "--out", "run", *QUIET).line
        for part in (words, "SCRATCHVAE_DATA", "--data-folder"):
            assert part in line
    assert "data/mnist of scratchvae's repository" in call("train", "mnist", "--out", "run", *QUIET).line


def test_bound_against_evidence_is_drawn(trained: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point a row: log p(x) as in the report, and its bound."""
    asked: list[tuple[Array, Array]] = []
    monkeypatch.setattr(plots, "plot_gap", lambda evidence, bound, _: asked.append((evidence, bound)))
    monkeypatch.setattr(plots, "save", lambda *_: None)
    found = json.loads(trained("evaluate", "run", "--samples", 50, "--out", "x.png", "--json").out)
    ((evidence, bound),) = asked
    assert evidence.shape == bound.shape == (12,)
    assert evidence.mean() == pytest.approx(found["log_likelihood"])
    assert bound.mean() == pytest.approx(found["elbo"], abs=1)


# ---------------------------------------------------------------- the object

SMALL: dict[str, Any] = {"latent": 2, "hidden": (16,), "epochs": 6, "batch": 20, "kernels": "numpy"}
ones = bits(100).astype(np.float32)


def test_samples_may_be_drawn() -> None:
    """Bits with the probabilities that `sample` returns, named by the seed; of a Gaussian its mean and its σ²."""
    model = VAE(**SMALL).fit(ones)
    mean, drawn = model.sample(4000, seed=3), model.sample(4000, seed=3, draw=True)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_array_equal(drawn, model.sample(4000, seed=3, draw=True))
    z = (drawn - mean).mean(axis=0) / np.sqrt((mean * (1 - mean)).mean(axis=0) / 4000)
    assert abs(z).max() < 4
    x = np.random.default_rng(0).normal(size=(100, 12)).astype("f4")
    wide = VAE(**{**SMALL, "epochs": 1}, likelihood="gaussian-fixed", variance=0.25).fit(x)
    noise = (wide.sample(500, draw=True) - wide.sample(500)) / 0.5
    assert (noise**2).mean() == pytest.approx(1, abs=0.1)


def test_load_takes_the_folder_of_a_run(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ones)
    options = ["--kernels", "numpy", "--hidden", "16", "--latent", "2", "--epochs", "2", "--no-pictures", "--json"]
    assert scratchvae.cli.main(["train", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run"), *options]) == 0
    a, b = VAE.load(tmp_path / "run"), VAE.load(tmp_path / "run" / "checkpoint.safetensors")
    np.testing.assert_array_equal(a.sample(3), b.sample(3))
    assert [one["epoch"] for one in a.history] == [1, 2]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no run"):
        VAE.load(tmp_path / "empty")


def test_a_model_says_what_it_is() -> None:
    model = VAE(**SMALL)
    assert repr(model) == "VAE(latent=2, hidden=(16,), likelihood='bernoulli'): not fitted"
    assert repr(model.fit(ones)).endswith(": fitted to 12 columns, 30 steps")
    assert {"VAE", "elbo", "elbo_vjp", "gradcheck"} <= set(dir(scratchvae))


def test_fit_tells_how_far_it_is_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, the caller's report beside it; silent by default."""
    heard: list[dict[str, Any]] = []
    VAE(**SMALL).fit(ones)
    assert capsys.readouterr() == ("", "")
    model = VAE(**SMALL, verbose=True).fit(ones, test=ones[:20], report=heard.append)
    out, words = capsys.readouterr()
    assert out == ""
    last = model.history[-1]
    assert f"epoch 6  train {last['train_elbo']:.2f}  test {last['test_elbo']:.2f} nats" in words
    assert words.count("epoch") == 6 <= len(heard)
