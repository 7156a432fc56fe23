"""§7.2.2 The variance laboratory, in small: every figure is there and tells the chapter's story."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scratchvae.cli import estimators, main
from scratchvae.cli.estimators import Left, words
from scratchvae.estimators import ESTIMATORS, get
from scratchvae.training import variance_study as laboratory
from scratchvae.training.config import Config

OPTIONS: dict[str, Any] = {"epochs": 1, "rows": "0:2", "draws": 500, "steps": 12, "latent": 2, "hidden": 5}
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
        *("laboratory.json", "table.md", "variance.png", "signal_to_noise.png", "race.png", "waves.png"),
        "histograms.png",
    }
    assert found["seed"] == 0
    assert len(found["table"]) == 3 * len({*laboratory.SCORES, *laboratory.OTHERS})
    assert {line["place"] for line in found["table"]} == {"start", "middle", "end"}
    assert all(np.isfinite(value) for line in found["table"] for value in line.values() if isinstance(value, float))


def test_the_figures_tell_the_story(results: tuple[dict[str, Any], Path]) -> None:
    """No estimator is off its exact mean by more than chance explains; raw score > leave one out > pathwise."""
    found, _ = results
    for line in found["table"]:
        assert line["within_chance"] == (line["bias"] <= 2 * line["error"]), line
        assert line["within_chance"], line
    start = {line["estimator"]: line["variance"] for line in found["table"] if line["place"] == "start"}
    assert start["score"] > start["score_loo"] > start["sgvb_b"]
    pca = [line for line in found["signal_to_noise"] if line["place"] == "linear-Gaussian"]
    first, last = ({line["estimator"]: line["snr"] for line in pca if line["samples"] == S} for S in (4, 64))
    assert last["iw"] < first["iw"] / 2
    assert last["dreg"] > first["dreg"] * 2
    waves = found["waves"]
    assert waves["pathwise"][0] < waves["score"][0]
    assert waves["pathwise"][-1] > waves["score"][-1]


def test_the_table_says_what_its_figures_mean(
    results: tuple[dict[str, Any], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """ "bias 17, error 11.9" read as: the score function is biased."""
    found, folder = results
    table = (folder / "table.md").read_text()
    assert "| off | by chance | verdict |" in table
    assert table.count("| within chance |") == len(found["table"])
    assert main(["estimators", "--help"]) == 0
    for text in (table, capsys.readouterr().out):  # as it was written, not filled into a paragraph
        assert "how far it lies in the root mean square if the estimator has no bias" in text
    biased = {**found, "table": [found["table"][0] | {"bias": 3.0, "error": 1.0, "within_chance": False}]}
    assert "**more than chance**" in words(biased)


def test_chance_is_what_repeated_draws_show() -> None:
    """Means of noise about the exact gradient: the root mean square of `bias` is `error`, and twice it is rare."""
    rng, shape, draws = np.random.default_rng(0), (3, 4), 50
    exact = laboratory.Moments(np.ones(shape), np.zeros(shape), 1000, 0.0)
    width = rng.uniform(0.1, 3, shape)

    def line(mean: Any) -> dict[str, Any]:
        return laboratory.figures("x", laboratory.Moments(mean, width**2, draws, 0.0), exact)

    lines = [line(1 + rng.normal(size=shape) * width / draws**0.5) for _ in range(400)]
    assert np.sqrt(np.mean([line["bias"] ** 2 for line in lines])) == pytest.approx(lines[0]["error"], rel=0.05)
    assert np.mean([line["within_chance"] for line in lines]) > 0.95
    assert not line(np.full(shape, 9.0))["within_chance"]


def test_work_is_as_foretold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a part of the laboratory that the time left knows nothing of."""
    args = argparse.Namespace(samples=3, draws=500, latent=2, hidden=5, epochs=0.5, seed=0, steps=60)
    ticks: list[int] = []
    totals: list[int] = []

    def counted(total: int) -> Any:
        totals.append(total)
        return ticks.append

    monkeypatch.setattr(estimators, "Left", counted)
    monkeypatch.setattr(estimators, "COUNTS", (1, 2))
    monkeypatch.setattr(laboratory, "WARM_UP", 20)
    for part in ("squares", "waves", "oracle_against_samples"):
        monkeypatch.setattr(laboratory, part, lambda *_: [])
    estimators.measured(args, rows(200), rows(2))
    assert [sum(ticks)] == [pytest.approx(total, rel=0.2) for total in totals]
    clock = iter([0.0, 11.0, 12.0, 22.0])
    monkeypatch.setattr(estimators, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    capsys.readouterr()
    left = Left(100)
    for work in (25, 25, 5):
        left(work)
    assert capsys.readouterr().err.splitlines() == ["25 % done, about 33 s left", "55 % done, about 18 s left"]


def test_one_component_by_two_ways(results: tuple[dict[str, Any], Path]) -> None:
    """Both have one mean, and the score function the larger variance."""
    found = results[0]["one_component"]
    score, path = (np.array(found[name]) for name in ("score", "sgvb_b"))
    assert len(score) == len(path) == 10 * OPTIONS["draws"]
    assert abs(score.mean() - path.mean()) < 4 * np.hypot(score.std(), path.std()) / len(score) ** 0.5
    assert score.var() > 2 * path.var()


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
