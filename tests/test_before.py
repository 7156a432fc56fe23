"""§7.3 Runs made before a run knew how it reads rows: they load, score and go on as they did.

tests/before holds three runs of `scratchvae train` by version 0.1 (commit 5339c38, NumPy kernels, --hidden 8 --latent 2
--batch 16 --epochs 4 --seed 7; the ladder --latent 3,2 --hidden 8/6 --estimator iw --samples 3), and what that version
then said of them: `evaluate --samples 20`, the figures of single rows, and weights after two more epochs.
"""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import said

from scratchvae import VAE
from scratchvae.cli import main
from scratchvae.training.run import Run

BEFORE = Path(__file__).parent / "before"
RUNS = json.loads((BEFORE / "expected.json").read_text("utf-8"))
each_run = pytest.mark.parametrize("name", RUNS)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy, seen from the folder in which the runs were made: their data's paths are relative."""
    shutil.copytree(BEFORE, tmp_path / "before")
    monkeypatch.chdir(tmp_path / "before")
    return tmp_path / "before"


@each_run
def test_an_old_run_scores_as_it_did(capsys: pytest.CaptureFixture[str], here: Path, name: str) -> None:
    """Catches noise named by content, a standardisation or a floor that the run was not trained with."""
    expected: dict[str, Any] = RUNS[name]
    found = said(capsys, "evaluate", name, "--samples", "20")
    for key in ("elbo", "reconstruction", "kl", "log_likelihood"):
        assert found[key] == pytest.approx(expected[key], rel=1e-5)


@pytest.mark.parametrize("name", ["bytes", "table"])
def test_an_old_model_scores_rows_as_it_did(here: Path, name: str) -> None:
    """Noise was named by a row's place; the bound of a row was of one draw."""
    model, expected = VAE.load(here / name / "checkpoint.safetensors"), RUNS[name]
    x = np.load(here / ("grey.npy" if name == "bytes" else "table.npy")).reshape(60, -1)[54:]
    np.testing.assert_allclose(model.elbo(x), expected["rows"], rtol=1e-5)
    np.testing.assert_array_equal(copy.deepcopy(model).elbo(x), model.elbo(x))  # nor does a copy learn new ways
    assert not model.config.standardise
    np.testing.assert_allclose(model.log_likelihood(x, 20), expected["log_p"], rtol=1e-5)
    np.testing.assert_allclose(model.encode(x).mu, expected["codes"], rtol=1e-4, atol=1e-5)


@each_run
def test_an_old_run_goes_on_as_it_did(capsys: pytest.CaptureFixture[str], here: Path, name: str) -> None:
    """Two more epochs, to the weights that the old version reached."""
    assert main(["train", "--out", name, "--resume", "--epochs", "6", "--no-pictures"]) == 0
    capsys.readouterr()
    state, expected = Run(here / name).load()[0], RUNS[name]
    assert state.step == expected["step"]
    every = max(1, state.arena.flat.size // 40)
    np.testing.assert_allclose(state.arena.flat[::every], expected["resumed"], rtol=1e-4, atol=1e-6)
