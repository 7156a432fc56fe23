"""§7.3 Every option does what its help says: at another value the outcome is another, and what is wrong is refused."""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUIET, Call, D, bits, make_run, said
from made_files import as_idx

from scratchvae import plots
from scratchvae.cli import estimators, main
from scratchvae.cli.common import open_run
from scratchvae.cli.masks import mask_of
from scratchvae.engine import jit
from scratchvae.noise import Noise
from scratchvae.training import compiled, warmup
from scratchvae.training import variance_study as laboratory
from scratchvae.training.run import Run
from scratchvae.types import Array


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    np.save(folder / "other.npy", np.random.default_rng(5).random((30, D)).round())
    return make_run(folder)


def rows_out(words: str, tmp_path: Path) -> Array:
    """What a command writes to --out."""
    assert main([*words.split(), "--out", str(tmp_path / "out.npy")]) == 0
    found: Array = np.load(tmp_path / "out.npy")
    return found


# ---------------------------------------------------------------- every option is heard

CHAINS = "fill RUN --rows 0:4 --imputations 4 --chains 2 --warm-up 4 --thin 2"
WEIGHTS = f"{CHAINS} --method importance --samples 20"
SEEN = "fill RUN --rows 0:4 --imputations 1 --chains 1 --warm-up 0 --thin 1 --mask random:0.5"
EVIDENCE = "evidence RUN --rows 0:3 --samples 20"
AIS = "evidence RUN --rows 0:3 --estimator ais --samples 4 --temperatures 5 --simulate"  # without HMC
APPENDIX = "evidence RUN --rows 0:1 --estimator appendix-d --samples 20"
POSTERIOR = "posterior RUN --draws 8 --warm-up 4 --steps 3 --samples 20 --chains 2"
EVALUATE = "evaluate RUN --samples 9"
COMPARE = "compare RUN RUN --samples 9"
HEARD = {
    CHAINS: "--seed 1>out, --thin 3>out, --warm-up 6>out, --method rezende>out, --mask top-half>out, --rows 1:5>out, "
    "--data OTHER>out, --chains 3>rmse, --imputations 5>rmse",
    WEIGHTS: "--samples 40>out, --seed 1>out",
    SEEN: "--seed 1>rmse_mean_filling",  # no draw goes into it
    EVIDENCE: "--seed 1>log_likelihood, --samples 30>log_likelihood, --proposal q>log_likelihood, "
    "--refine 4>log_likelihood, --simulate>log_likelihood, --rows 0:2>log_likelihood, --data OTHER>log_likelihood, "
    "--simulate --seed 1>log_likelihood",
    AIS: "--seed 1>lower, --seed 1>upper, --start q>lower, --start prior>lower, --temperatures 9>lower, "
    "--samples 5>lower, --refine 4>lower, --rows 0:4>lower",
    f"{AIS} --start q": "--start prior>lower",
    APPENDIX: "--seed 1>log_likelihood, --samples 60>log_likelihood",
    POSTERIOR: "--seed 1>out, --seed 1>elbo_amortised, --steps 9>elbo_refined, --samples 30>elbo_amortised, "
    "--chains 3>out, --draws 9>out, --warm-up 6>out, --row 1>log_likelihood, --data OTHER>log_likelihood",
    EVALUATE: "--rows 0:3>elbo, --rows 1,3>log_likelihood, --samples 12>log_likelihood, --data OTHER>elbo",
    COMPARE: "--rows 0:3>elbo, --rows 1,3>log_likelihood, --samples 12>log_likelihood, --data OTHER>elbo",
    "sample RUN --count 5": "--seed 1>out, --draw>out, --count 6>out, --nearest>out",
    "sample RUN --count 5 --draw": "--seed 1>out",
    "interpolate RUN": "--path sphere>out, --steps 3>out, --rows 2,5>out, --data OTHER>out",
    "manifold RUN --grid 3": "--grid 4>out",
    "reconstruct RUN": "--rows 0:3>out, --data OTHER>out",
    "encode RUN": "--rows 0:3>out, --data OTHER>out",
}
CASES = [(words, *case.split(">")) for words, cases in HEARD.items() for case in cases.split(", ")]


def outcome(capsys: pytest.CaptureFixture[str], tmp_path: Path, words: str, key: str) -> Array:
    """The rows of --out, or one figure of the report: never a setting that the report repeats."""
    if key == "out":
        return rows_out(words, tmp_path)
    found = said(capsys, *words.split())
    return np.array(found.get("runs", [found])[-1][key])


@pytest.fixture(scope="module")
def usual() -> dict[str, Array]:
    """The outcomes without the option, as far as they are known."""
    return {}


@pytest.mark.parametrize(("words", "option", "key"), CASES, ids=lambda text: text)
def test_every_option_is_heard(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: str, usual: dict[str, Array],
    tmp_path: Path, words: str, option: str, key: str,
) -> None:  # fmt: skip
    """Catches an option that is accepted and ignored; the same call twice is the same, or change would mean nothing."""
    monkeypatch.setattr("scratchvae.cli.evidence.PILOT", 100)
    monkeypatch.setattr("scratchvae.cli.evidence.CHAINS", 4)
    places = {"RUN": run, "OTHER": str(Path(run).parent / "other.npy")}

    def found(call: str) -> Array:
        return outcome(capsys, tmp_path, " ".join(places.get(word, word) for word in call.split()), key)

    if words + key not in usual:
        usual[words + key] = found(words)
        np.testing.assert_array_equal(found(words), usual[words + key])
    assert not np.array_equal(found(f"{words} {option}"), usual[words + key])


def test_more_chains_and_more_draws_keep_the_old_ones(run: str, tmp_path: Path) -> None:
    """--imputations are draws of a chain, --thin the steps between two: catches any two of the plan in exchange."""

    def drawn(imputations: int, chains: int, thin: int) -> Array:
        plan = f"--imputations {imputations} --chains {chains} --thin {thin} --warm-up 4"
        found = rows_out(f"fill {run} --rows 0:3 {plan}", tmp_path)
        return found.reshape(imputations, chains, 3, D)

    few = drawn(3, 2, 2)
    np.testing.assert_array_equal(drawn(5, 2, 2)[:3], few)
    np.testing.assert_array_equal(drawn(3, 4, 2)[:, :2], few)
    np.testing.assert_array_equal(drawn(6, 2, 1)[1::2], few)


def test_a_refined_row_is_named_by_its_number(
    capsys: pytest.CaptureFixture[str], run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches --refine that gives every block of rows the noise of the first."""
    found = []
    for block in (5, 2):
        monkeypatch.setattr("scratchvae.cli.evidence.BLOCK", block)
        words = f"evidence {run} --rows 0:5 --samples 20 --refine 5".split()
        found.append(said(capsys, *words)["log_likelihood"])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


# ---------------------------------------------------------------- masks

HALVES = {
    "left-half": [[0, 1, 1], [0, 1, 1], [0, 1, 1]],
    "right-half": [[1, 1, 0], [1, 1, 0], [1, 1, 0]],
    "top-half": [[0, 0, 0], [1, 1, 1], [1, 1, 1]],
    "bottom-half": [[1, 1, 1], [1, 1, 1], [0, 0, 0]],
}


@pytest.mark.parametrize("name", HALVES)
def test_halves_of_odd_images(name: str) -> None:
    """1 is observed; the middle line is, always: catches top for bottom, and a half that is more than half."""
    found = mask_of(name, np.zeros((2, 9)), (3, 3), Noise(0))
    np.testing.assert_array_equal(found.reshape(2, 3, 3), [HALVES[name]] * 2)


def test_a_random_mask_hides_the_fraction_that_it_names() -> None:
    """Catches a mask that shows what it should hide, and one that is the same for all rows."""
    observed = mask_of("random:0.25", np.zeros((200, D)), (4, 4), Noise(0))
    assert abs(observed.mean() - 0.75) < 0.03
    assert observed.any(axis=0).all()
    assert not observed.all(axis=0).any()


# ---------------------------------------------------------------- pictures' numbers


def test_the_sphere_is_the_sphere(run: str, tmp_path: Path) -> None:
    """Rows between two test rows are the decoder's at plots.sphere of their codes, and not the line's."""
    codes = rows_out(f"encode {run} --rows 0,3", tmp_path)[:, :2]
    state = Run(Path(run)).load()[0]
    views = state.arena.views

    def decoded(z: Array) -> Array:
        h = np.tanh(z @ views["p.hidden.0.W"] + views["p.hidden.0.b"])
        return np.asarray(1 / (1 + np.exp(-(h @ views["p.logits.W"] + views["p.logits.b"]))))

    found = rows_out(f"interpolate {run} --rows 0,3 --steps 5 --path sphere", tmp_path)
    np.testing.assert_allclose(found, decoded(plots.sphere(codes[0], codes[1], 5)), atol=1e-5)
    assert abs(found - decoded(plots.line(codes[0], codes[1], 5))).max() > 1e-4


def test_a_drawn_gaussian_has_noise_of_its_own(folder: Path, tmp_path: Path) -> None:
    """x − E[x | z] is (0, σ²) and does not know z: catches the normals of z, drawn a second time for x."""
    gaussian = {"likelihood": "gaussian-fixed", "variance": 0.25, "binarisation": "none"}
    run = make_run(folder, latent=D, hidden=(), **gaussian)
    mean = rows_out(f"sample {run} --count 300", tmp_path)
    noise = (rows_out(f"sample {run} --count 300 --draw", tmp_path) - mean) / 0.5
    views = Run(Path(run)).load()[0].arena.views
    z = (mean - views["p.mu.b"]) @ np.linalg.inv(views["p.mu.W"].astype(float))
    assert (z**2).mean() == pytest.approx(1, abs=0.1)
    assert (noise**2).mean() == pytest.approx(1, abs=0.1)
    assert abs((z * noise).mean()) < 0.1


# ---------------------------------------------------------------- options that show elsewhere than in figures


def test_threads_reach_the_steps(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """They change no bit, so only who takes the steps can tell; more than processors are as many as those."""
    asked, usual = [], compiled.steps

    def steps(state: Any, x: Array, threads: int | None = None, weights: Array | None = None) -> Any:
        asked.append(threads)
        return usual(state, x, threads, weights)

    monkeypatch.setattr(compiled, "steps", steps)
    monkeypatch.setattr(jit, "processors", lambda: 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert call("train", "rows.npy", "--out", "run", "--threads", 2, *QUIET).code == 0
    done = call("train", "rows.npy", "--out", "other", "--threads", 1_000_000, *QUIET)
    assert (done.code, asked) == (0, [2, 3])
    assert "1000000 threads were asked for, and 3 are taken" in done.words


def test_kernels_of_ones_own_choice(folder: Path) -> None:
    """For a run's folder and for a checkpoint; without the option the run's own."""
    run = make_run(folder, kernels="numba")
    for path in (Path(run), Path(run) / "checkpoint.safetensors"):
        for asked, given in (("numpy", "numpy"), (None, "numba")):
            state = open_run(argparse.Namespace(checkpoint=str(path), kernels=asked))
            assert (state.config.kernels, state.config.latent) == (given, 2)


def test_warmup_compiles_what_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    monkeypatch.setattr(warmup, "warmup", asked.append)
    said(capsys, "warmup")
    said(capsys, "warmup", "--dtype", "float64")
    assert asked == ["float32", "float64"]


def test_named_data_from_a_folder(call: Call) -> None:
    """--data-folder of train, of what reads a run, and with --data: catches one that finds the usual MNIST."""
    Path("mine").mkdir()
    x = bits(90).reshape(90, 4, 3)
    for name, part in (("train", x[:70]), ("t10k", x[70:])):
        Path("mine", f"{name}-images-idx3-ubyte").write_bytes(as_idx(part))
    where = ("--data-folder", "mine")
    done = call("train", "mnist", *where, "--out", "run", *QUIET)
    assert done.code == 0
    assert "mnist: 70 rows, 12 columns" in done.words
    for data in ((), ("--data", "mnist")):
        assert '"rows": 20,' in call("evaluate", "run", "--samples", 0, "--json", *where, *data).out
    assert len(call("encode", "run", *where).out.splitlines()) == 20


def test_the_laboratory_asks_for_what_it_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each part has the seed and the sizes of the command line, in their places."""
    asked: dict[str, tuple[Any, ...]] = {}

    def places(*args: Any) -> Any:
        asked["places"] = args
        yield laboratory.Place("end", *args[:4])

    monkeypatch.setattr(laboratory, "places", places)
    monkeypatch.setattr(laboratory, "one_component", lambda *args: asked.update(one_component=args) or {})
    parts = ("compare", "against_samples", "oracle_against_samples", "races", "squares")
    for part in parts:
        monkeypatch.setattr(laboratory, part, lambda *args, part=part, tick=None: asked.update({part: args}) or [])
    np.save(path := tmp_path / "x.npy", bits())
    monkeypatch.setattr(estimators, "words", lambda _: "table")
    sizes = {"epochs": 0.5, "latent": 3, "hidden": 5, "samples": 6, "rows": "0:7", "draws": 80, "steps": 120, "seed": 9}
    options = [f"--{name}={value}" for name, value in sizes.items()]
    assert main(["estimators", "--data", str(path), "--out", str(tmp_path / "lab"), "--no-pictures", *options]) == 0
    config, rows = asked["places"][2:]
    assert (config.epochs, config.latent, config.hidden, config.seed, rows) == (0.5, 3, (5,), 9, 7)
    assert asked["compare"][1:] == (6, 80, 9)
    assert asked["against_samples"][1:] == (estimators.COUNTS, 20, 9)
    assert asked["oracle_against_samples"] == (estimators.COUNTS, 1600, 9)
    config, racers, steps, every = asked["races"][1:]
    assert (config.samples, config.latent, config.hidden, config.seed) == (6, 3, (5,), 9)
    assert (racers, steps, every) == (estimators.RACERS, 120, 2)
    assert asked["squares"][1] == 9
    assert asked["one_component"][1:] == (800, 9)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("command", ["train", "train --test", "evaluate", "encode"])
def test_test_rows_out_of_range_are_refused(trained: Call, command: str) -> None:
    """Where the training rows are well: catches a check of those alone."""
    good, bad = bits(40).astype(float), bits(20).astype(float)
    bad[7, 3] = 1.5
    np.savez("x.npz", train=good, test=bad)
    np.savetxt("bad.csv", bad, fmt="%g", delimiter=",")
    words = {
        "train": ("train", "x.npz", "--out", "new", *QUIET),
        "train --test": ("train", "rows.npy", "--test", "bad.csv", "--out", "new", *QUIET),
    }.get(command, (command, "run", "--data", "x.npz"))
    done = trained(*words)
    assert (done.code, done.out) == (3, "")
    assert "1.5" in done.line
    assert not Path("new").exists()


@pytest.mark.parametrize("command", ["encode", "reconstruct", "interpolate", "fill"])
@pytest.mark.parametrize("rows", ["-1", "0,-2", "5,12", "12"])
def test_rows_that_are_not_there(trained: Call, command: str, rows: str) -> None:
    """There are 12. Catches a row from the end, as Python has it."""
    done = trained(command, "run", f"--rows={rows}", "--out", "x.npy")
    assert (done.code, done.out) == (2, "")
    assert f"--rows {rows!r}: the data have rows 0 to 11" in done.line


def test_a_reader_that_has_gone_before_a_short_answer(trained: Call) -> None:
    """Little enough to wait in stdout's buffer until the end of Python, where its loss would be a traceback."""
    there, here = os.pipe()
    os.close(there)
    command = [sys.executable, "-m", "scratchvae", "encode", "run", "--rows", "0,1"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=here, stderr=subprocess.PIPE, env=buffered, check=False)
    os.close(here)
    assert (done.returncode, done.stderr) == (0, b"")
