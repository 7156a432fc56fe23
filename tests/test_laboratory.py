"""§7.2.2 The variance laboratory, in small: every figure is there and tells the chapter's story."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scratchvae.cli import main
from scratchvae.estimators import ESTIMATORS, get
from scratchvae.training import laboratory
from scratchvae.training.config import Config

OPTIONS = {"epochs": 1, "rows": "0:2", "draws": 500, "steps": 12, "latent": 2, "hidden": 5}
COMMAND = ["estimators", "--json", *(f"--{name}={value}" for name, value in OPTIONS.items())]


def rows(n: int) -> Any:
    """Two kinds of rows of 16 grey levels."""
    g = np.random.default_rng(0)
    return (255 * (g.random((n, 16)) < np.where(g.random((n, 1)) < 0.5, 0.9, 0.2))).astype(np.uint8)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("laboratory")
    np.save(folder / "x.npy", rows(300))
    assert main([*COMMAND, "--data", str(folder / "x.npy"), "--out", str(folder / "out")]) == 0
    return json.loads((folder / "out" / "laboratory.json").read_text()), folder / "out"


def test_table_pictures_and_seed_are_left(results: tuple[dict[str, Any], Path]) -> None:
    found, folder = results
    assert {p.name for p in folder.iterdir()} >= {
        *("laboratory.json", "table.md", "variance.png", "signal_to_noise.png", "race.png", "waves.png")
    }
    assert found["seed"] == 0
    assert len(found["table"]) == 3 * len({*laboratory.SCORES, *laboratory.OTHERS})
    assert {line["place"] for line in found["table"]} == {"start", "middle", "end"}
    assert all(np.isfinite(value) for line in found["table"] for value in line.values() if isinstance(value, float))


def test_the_figures_tell_the_story(results: tuple[dict[str, Any], Path]) -> None:
    """No estimator is off its exact mean by more than chance explains; raw score > leave one out > pathwise."""
    found, _ = results
    for line in found["table"]:
        assert line["bias"] < 2 * line["error"], line
    start = {line["estimator"]: line["variance"] for line in found["table"] if line["place"] == "start"}
    assert start["score"] > start["score_loo"] > start["sgvb_b"]
    pca = [line for line in found["signal_to_noise"] if line["place"] == "linear-Gaussian"]
    first, last = ({line["estimator"]: line["snr"] for line in pca if line["samples"] == S} for S in (4, 64))
    assert last["iw"] < first["iw"] / 2
    assert last["dreg"] > first["dreg"] * 2
    waves = found["waves"]
    assert waves["pathwise"][0] < waves["score"][0]
    assert waves["pathwise"][-1] > waves["score"][-1]


def test_a_learned_baseline_is_measured_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring must not teach the baseline the measured rows."""
    config = Config(latent=2, hidden=(5,), kernels="numpy", epochs=1)
    place = next(laboratory.places(rows(200), rows(20), config, 2))
    e = get("score_mean")
    state = laboratory.warmed_up(e, place, 2)
    assert state["steps"][0] == laboratory.WARM_UP
    before = {name: array.copy() for name, array in state.items()}
    monkeypatch.setattr(laboratory, "warmed_up", lambda *_: state)
    laboratory.moments(e, place, 2, 1500, 0)
    for name, array in before.items():
        np.testing.assert_array_equal(state[name], array)


def test_the_list_names_every_estimator(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimators", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ESTIMATORS)
