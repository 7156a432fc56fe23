"""§7.3 The study of tables: one unit, orderings that theory gives, and a command that loses nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.papers.tables import __main__ as command
from bench.papers.tables import gaps, nats, outliers, rows
from scratchvae.errors import UsageError
from scratchvae.types import Array
from scratchvae.vae import VAE

pytest.importorskip("sklearn", minversion="1.6", reason="pip install '.[sklearn]' brings it")

from scratchvae.sklearn import VAEImputer, VAEOutlier

QUICK: dict[str, Any] = {"hidden": (30,), "max_iter": 60, "learning_rate": 0.01, "kernels": "numpy", "random_state": 0}


def line(n: int, seed: int = 0, factors: int = 1) -> Array:
    """Six columns of unlike scale by one factor or more, (n, 6)."""
    z, e = np.split(np.random.default_rng(seed).normal(size=(n, factors + 6)), [factors], axis=1)
    return 50 + (z @ np.random.default_rng(8).normal(size=(factors, 6)) + 0.5 * e) * 10.0 ** np.linspace(-1, 2, 6)


# ---------------------------------------------------------------- nats


def test_scikit_learns_densities_are_of_the_raw_columns() -> None:
    """Catches a Jacobian lost or doubled: factor analysis and one full Gaussian are near that of the raw covariance."""
    train, test = rows.split(line(400, factors=2), 0)
    assert (len(train), len(test)) == (320, 80)
    raw = stats.multivariate_normal(train.mean(axis=0), np.cov(train.T)).logpdf(test).mean()
    for method in ("FactorAnalysis", "GaussianMixture, full"):
        assert nats.others(method, train, test).mean() == pytest.approx(raw, abs=0.3)
    assert nats.others("GaussianMixture, diagonal", train, test).mean() < raw
    assert nats.others("KernelDensity", train, test).mean() < raw


def test_the_vae_reaches_factor_analysis_on_a_line() -> None:
    """In a linear world of one factor nothing is above factor analysis but by luck: catches a VAE that falls short of
    it, or beats it, which it can but by a wrong unit."""
    train, test = line(500), line(500, 1)
    model = VAE(2, (30,), "gaussian", kernels="numpy", learning_rate=3e-3, epochs=200, batch=50).fit(train)
    difference = model.log_likelihood(test, 100) - nats.others("FactorAnalysis", train, test)
    assert -0.1 < difference.mean() < 0.1


def test_noise_is_as_wide_as_the_grain() -> None:
    """Catches noise that leaves the cell of a rounded value, none on an atom among reals, and constants that move."""
    x = np.column_stack([np.arange(3000) % 3, np.maximum(0, np.linspace(-1, 1, 3000)), np.ones(3000)])
    found = nats.noised(x)
    np.testing.assert_array_equal(np.rint(found[:, 0]), x[:, 0])
    assert np.abs(found - x).max(axis=0) == pytest.approx([0.5, 0.005 * x[:, 1].std(), 0], rel=0.05)


def test_no_spike_pays() -> None:
    """Catches a density without noise: then a narrow kernel on each of three values has no bound. With it, log p of a
    cell's uniform density is the log mass."""
    k = np.random.default_rng(0).integers(0, 3, (600, 2)).astype(float)
    train, test = rows.split(nats.noised(k), 0)
    assert -2 * np.log(3) - 0.3 < nats.others("KernelDensity", train, test).mean() < -2 * np.log(3)
    train, test = rows.split(k, 0)
    assert nats.others("KernelDensity", train, test).mean() > 0


# ---------------------------------------------------------------- outliers


def test_detectors_rank_what_is_far_above_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows off the plane of the others: catches a score of the wrong sign, and odd rows among those of training. A VAE
    that knows the plane is above the forest, whose cuts are by single columns."""
    world = line(500, factors=2)
    world[400:, 3:] = world[400:, 3:][::-1]  # each column as ever, but not of one row
    monkeypatch.setattr(outliers, "table", lambda name: (world, np.repeat([1, 0], [400, 100])))
    monkeypatch.setitem(outliers.ODD, "made", ("made", 0))
    assert [len(part) for part in outliers.parted("made", 0)] == [320, 80, 100]
    found = {m: outliers.measure("made", m, 0)["auc"] for m in outliers.METHODS[1:]}
    ours = outliers.scored(VAEOutlier(2, **QUICK), outliers.parted("made", 0))
    assert min(found.values()) > 0.5
    assert ours["auc"] > found["IsolationForest"] + 0.05
    assert ours["flagged"] < 0.15 < ours["found"]


# ---------------------------------------------------------------- gaps


def test_filling_is_measured_by_what_was_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean has an error of one sd; where columns hang together, regression and the VAE have less, and intervals of
    19 draws hold nine of ten. Catches errors over cells that were seen, and new rows that were trained on."""
    monkeypatch.setattr(gaps, "table", lambda name: (line(400), None))
    monkeypatch.setattr(gaps, "SHARES", (30,))
    monkeypatch.setattr(gaps, "DRAWS", 2)  # IterativeImputer's draws take seconds
    mean, regression = (gaps.measure("made", method, 0) for method in ("mean", "IterativeImputer"))
    train, new, whole = gaps.hidden(line(400), 30, 0)
    model, gone = VAEImputer(2, **QUICK).fit(train), np.isnan(new)
    assert gone.mean() == pytest.approx(0.3, abs=0.04)
    assert mean["rmse 30"] == pytest.approx(1, abs=0.15)
    assert gaps.scores(model.transform(new), whole, gone) < 0.8 * mean["rmse 30"]
    assert regression["rmse 30"] < 0.8 * mean["rmse 30"]
    assert regression.keys() == {"rmse 30", "coverage 30", "width 30"}
    monkeypatch.setattr(gaps, "DRAWS", 19)
    assert gaps.held(gaps.drawn(model, new, 0), whole, gone)[0] == pytest.approx(0.9, abs=0.06)


def test_19_draws_hold_nine_of_ten() -> None:
    """Catches quantiles that hold fewer: between the least and the largest of n draws lie (n − 1) / (n + 1)."""
    x = np.random.default_rng(0).normal(size=(20, 200, 50))
    coverage, width = gaps.held(x[1:], x[0], np.ones(x[0].shape, bool))
    assert coverage == pytest.approx(0.9, abs=0.01)
    assert width == pytest.approx(2 * 1.844, abs=0.03)  # E of the largest of 19 normals


# ---------------------------------------------------------------- the command


def test_what_is_missing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Catches a split that is measured twice, or lost when the study is stopped, and figures under another name."""
    asked: list[tuple[str, str, int]] = []

    def measure(table: str, method: str, seed: int) -> dict[str, float]:
        if len(asked) == 3:
            raise RuntimeError("stopped")
        asked.append((table, method, seed))
        return {"nats": seed + (method != "VAE") / 4}

    def study(*argv: str) -> list[tuple[str, str, int]]:
        asked.clear()
        assert command.main([*argv, "--out", str(tmp_path)]) == 0
        return list(asked)

    monkeypatch.setattr(nats, "METHODS", ("VAE", "FactorAnalysis"))
    monkeypatch.setitem(command.PARTS, "nats", nats.NATS._replace(splits=2, measure=measure))
    with pytest.raises(RuntimeError, match="stopped"):
        study("nats", "wine")
    assert study("nats", "wine") == [("wine", "FactorAnalysis", 1)]
    assert study("nats", "wine") == []
    assert study("nats", "wine", "--splits", "3") == [("wine", "VAE", 2), ("wine", "FactorAnalysis", 2)]
    capsys.readouterr()
    assert study("nats", "--table") == []
    assert "| wine | FactorAnalysis | 1.25 ± 0.58 | -0.25 ± 0.00 |" in capsys.readouterr().out
    assert study("nats", "wine", "--again", "VAE") == [("wine", "VAE", 0), ("wine", "VAE", 1)]
    assert json.loads((tmp_path / "nats.json").read_text())["wine/VAE"]["nats"] == [0, 1]
    with pytest.raises(UsageError, match="nats has no table 'iris'"):
        study("nats", "iris")


def test_what_is_held_is_whole() -> None:
    """Catches a committed figure of a table, a method or a split that the study does not have."""
    for name, part in command.PARTS.items():
        held = json.loads((command.HERE / f"{name}.json").read_text("utf-8"))
        assert set(held) == {f"{table}/{method}" for table in part.tables for method in part.methods(table)}
        assert {len(values) for figures in held.values() for values in figures.values()} == {part.splits}
