"""§7.3 The commands that repeat published figures, in seconds: they resume, they judge, and they can say no."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchvae.cli
from bench.papers import evidence, figure2, iwae
from scratchvae import data
from scratchvae.errors import DataError, UsageError
from scratchvae.training.run import Run
from scratchvae.types import Array

SHORT = {
    "epochs": 2,
    "hidden": 8,
    "rows": 6,
    "moments": 2,
    "simulated": 3,
    "samples": 800,
    "chains": 6,
    "long-chains": 6,
    "started": 4,
}
SHORT |= {"temperatures": 40, "long-chains": 6, "started": 4, "long": 30, "draws": 120}


def bits(n: int, D: int) -> Array:
    """Two kinds of rows, so that there is something to learn."""
    rng = np.random.default_rng(0)
    p = np.where(rng.random((n, 1)) < 0.5, np.linspace(0.1, 0.9, D), np.linspace(0.9, 0.1, D))
    return (rng.random((n, D)) < p).astype("u1")


# ---------------------------------------------------------------- Figure 2


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> figure2.Study:
    """Figure 2 with sizes of z 1 and 2 on rows of 12 bits, measured from 1000 samples on."""
    study = figure2.MNIST._replace(latents=(1, 2), hidden=8)
    x = bits(600, 12).astype(bool)
    for name, value in {"MNIST": study, "FIRST": 1e3, "rows_of": lambda *_: (x[:500], x[500:])}.items():
        monkeypatch.setattr(figure2, name, value)
    return study


def curves(tmp_path: Path, out: str, samples: str) -> dict[str, Any]:
    figure2.main(["--out", str(tmp_path / out), "--samples", samples, "--json", str(tmp_path / f"{out}.json")])
    found: dict[str, Any] = json.loads((tmp_path / f"{out}.json").read_text())
    return found


@pytest.mark.usefixtures("small")
def test_figure2_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves(tmp_path, "two", "2e3")
    whole, parts = curves(tmp_path, "one", "4e3"), curves(tmp_path, "two", "4e3")
    for a, b in zip(whole["curves"]["mnist"], parts["curves"]["mnist"], strict=True):
        assert (a["train"], a["test"]) == (b["train"], b["test"])  # bit for bit
        assert [p["samples"] for p in b["points"]] == [1000, 1300, 1600, 2000, 2500, 3200, 4000]
        assert a["test"] == b["points"][-1]["test"]
    with pytest.raises(UsageError, match="beyond"):
        curves(tmp_path, "two", "2e3")  # would compare curves of unlike lengths
    with pytest.raises(UsageError, match="another seed"):
        figure2.main(["--out", str(tmp_path / "two"), "--samples", "4e3", "--seed", "1"])
    assert (tmp_path / "two.png").stat().st_size > 5000


@pytest.mark.usefixtures("small")
def test_half_of_figure2_leaves_the_committed_whole_alone(tmp_path: Path) -> None:
    """MNIST alone once wrote over the result that has Frey Face as well."""
    pytest.importorskip("matplotlib")
    committed = Path(figure2.__file__).with_suffix(".json")
    before = committed.read_bytes()
    figure2.main(["--out", str(tmp_path), "--samples", "1e3"])
    assert json.loads((tmp_path / "figure2.json").read_text())["curves"].keys() == {"mnist"}
    assert committed.read_bytes() == before


@pytest.mark.usefixtures("small")
def test_figure2_of_a_short_run_shows_its_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fewer samples than the paper's axis begins with, and a bound below its end, once gave empty panels."""
    pytest.importorskip("matplotlib")
    from scratchvae import plots

    sheet = plots.figure((6, 3))
    monkeypatch.setattr(plots, "figure", lambda size: sheet)
    monkeypatch.setattr(figure2, "MNIST", figure2.MNIST._replace(axis=(-5.0, 0.0)))
    curves(tmp_path, "short", "5e2")
    assert len(sheet.axes) == 2
    for panel in sheet.axes:
        (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        for line in panel.lines[:2]:
            assert line.get_marker() != "None"
            assert left <= line.get_xdata()[0] <= right
            assert bottom <= line.get_ydata()[0] <= top


def test_figure2_learns_more_slowly_as_the_samples_double() -> None:
    for study, rows in ((figure2.MNIST, 60_000), (figure2.FREY, 1769)):
        rate = figure2.config(study, 2, rows, 0).optimizer.rate
        rates = [rate(samples / rows, 1.0) for samples in (1.9e6, 2.1e6, 4.1e6, 1.1e8)]
        np.testing.assert_allclose(rates, [1e-3, 1e-3 / 2**0.5, 5e-4, 1.25e-4], rtol=1e-9)


def test_figure2_refuses_a_wrong_folder_before_it_trains(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        figure2.main(["--out", str(tmp_path / "runs"), "--freyfaces", str(tmp_path / "nowhere"), "--samples", "1e5"])
    assert not (tmp_path / "runs").exists()


def judged(study: figure2.Study, test: list[float], gaps: list[float]) -> list[bool]:
    """The verdicts for such test bounds and such differences of train and test."""
    noise = np.random.default_rng(0).standard_normal(400)
    lasts = [{"train": noise + t + g, "test": noise + t} for t, g in zip(test, gaps, strict=True)]
    pairs = zip(study.latents, lasts, strict=True)
    return [claim["holds"] for claim in figure2.orderings(study, [{"latents": n, "last": a} for n, a in pairs])]


def test_figure2_sees_superfluous_latents_overfit() -> None:
    bounds, gaps = [-130.0, -115.0, -105.0, -102.0, -102.5], [1.0, 1.2, 1.1, 1.3, 1.2]
    assert all(judged(figure2.MNIST, bounds, gaps))
    assert judged(figure2.MNIST, [*bounds[:4], -104.0], gaps).count(False) == 1  # 200 latents: a worse test bound
    assert judged(figure2.MNIST, [-130.0, -131.0, *bounds[2:]], gaps).count(False) == 1
    assert judged(figure2.MNIST, bounds, [*gaps[:4], 9.0]).count(False) == 1


def test_a_film_is_split_at_random_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    film = np.arange(200, dtype="u1").repeat(4).reshape(200, 2, 2)
    monkeypatch.setattr("scratchvae.data.load", lambda *_, load=data.load, **__: load(film))
    train, test = figure2.rows_of(figure2.FREY, None, 0)
    assert sorted([*train[:, 0], *test[:, 0]]) == list(range(200))
    assert len(test) == 20
    assert 60 < test[:, 0].mean() < 140  # from all over the film


# ---------------------------------------------------------------- evidence


def test_evidence_measures_keeps_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "rows.npy", bits(300, 10))
    short = [word for name, value in SHORT.items() for word in (f"--{name}", str(value))]
    options = ["--data", str(tmp_path / "rows.npy"), "--out", str(tmp_path / "runs"), *short]
    result = tmp_path / "evidence.json"
    assert evidence.main([*options, "--json", str(result)]) == 0
    found = json.loads(result.read_text())
    assert found["two_latents"]["quadrature_error"] < 1e-8
    assert abs(found["two_latents"]["appendix-d"]["mean_difference"]) < 0.1
    assert found["twenty_latents"]["lower"] < found["twenty_latents"]["upper"] + 0.5
    capsys.readouterr()
    assert evidence.main([*options, "--json", str(tmp_path / "again.json")]) == 0
    assert capsys.readouterr().err == ""  # neither trained nor estimated again
    assert json.loads((tmp_path / "again.json").read_text()) == found
    with pytest.raises(UsageError, match="has the settings"):
        evidence.main([*options, "--chains", "7"])


def test_a_wrong_estimator_does_not_pass() -> None:
    truth = {"value": np.linspace(-150.0, -90.0, 100)}
    rest = {"error": np.full(100, 0.01), "ess": np.full(100, 50.0), "cost": np.array([1])}
    noise = np.random.default_rng(0).normal(0, 0.05, 100)
    right = evidence.compared({"value": truth["value"] + noise, **rest}, truth)
    wrong = evidence.compared({"value": truth["value"] + noise + 0.15, **rest}, truth)
    assert (right["passed"], wrong["passed"]) == (True, False)
    assert wrong["mean_difference"] == pytest.approx(0.15, abs=4 * wrong["standard_error"])


def test_bounds_that_cross_do_not_pass() -> None:
    """E[upper − lower] ≥ 0: a sandwich upside down is as wrong as one that is open."""
    noise = np.random.default_rng(1).normal(0, 0.3, 75)
    assert [evidence.closed(noise + gap) for gap in (0.1, 0.9, -0.5)] == [True, False, False]


def test_moments_are_judged_where_chains_have_met() -> None:
    z, r_hat = np.random.default_rng(2).normal(size=(10, 5)), np.full((10, 2), 1.002)
    seconds = np.ones(1)

    def passed(row: int, score: float, apart: int) -> bool:
        scores, ratios = z.copy(), r_hat.copy()
        scores[row, 3], ratios[:apart, 1] = score, 1.5
        return bool(evidence.of_moments({"z": scores, "r_hat": ratios, "cpu_seconds": seconds})["passed"])

    assert passed(0, 1.0, 0)
    assert not passed(9, 5.0, 1)
    assert passed(0, 0.1, 1)
    assert not passed(0, 1.0, 6)  # too few of them to know


def test_bad_input_of_a_study_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "settings.json").write_text('{"rows_of": "another study"}')
    command = [sys.executable, "-m", "bench.papers.evidence", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("bench.papers.evidence: ")
    assert done.stderr.count("\n") == 1


# ---------------------------------------------------------------- Table 1 of the importance-weighted autoencoders


RATES = "0:10.0,0.1:7.2,0.4:5.2,1.3:3.7,4:2.7,12.1:1.9,36.4:1.4,109.3:1.0"  # at a tenth of 0, 1, 4, 13, … epochs


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("iwae-1-5", "--latent 50 --hidden 200,200 --estimator iw --samples 5"),
        ("vae-1-50", "--latent 50 --hidden 200,200 --estimator sgvb_b --samples 50"),
        ("iwae-2-1", "--latent 100,50 --hidden 200,200/100,100 --estimator iw --samples 1"),
    ],
)
def test_a_row_of_iwae_s_table_in_options(name: str, own: str) -> None:
    """Written out from the paper, §5: catches another bound, and a schedule longer than the run."""
    adam = f"--learning-rate 1e-4 --epsilon 1e-4 --schedule step --milestones {RATES} --batch 20 --epochs 328"
    given, expected = iwae.options(name, 10), f"{own} {adam}".split()
    assert dict(zip(given[::2], given[1::2], strict=True)) == dict(zip(expected[::2], expected[1::2], strict=True))


def test_iwae_trains_and_goes_on_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 3280th of the schedule, one epoch, on a few rows in MNIST's stead; the second call resumes."""
    np.save(tmp_path / "x.npy", bits(60, 12) * 255)
    asked: list[list[str]] = []

    def command(argv: list[str]) -> int:
        asked.append(argv)
        few = [str(tmp_path / "x.npy") if word == "mnist" else word for word in argv]
        return scratchvae.cli.main([*few, "--kernels", "numpy", "--no-pictures"])

    monkeypatch.setattr(iwae, "scratchvae", command)
    monkeypatch.setattr(iwae, "report", lambda args: 0)
    options = ["iwae-1-5", "--shorten", "3280", "--out", str(tmp_path / "run")]
    assert iwae.main(options) == 0
    state, _ = Run(tmp_path / "run").load()
    assert (state.config.estimator, state.config.samples, state.config.epochs, state.step) == ("iw", 5, 1.0, 3)
    assert iwae.main(options) == 0  # nothing is left to do
    assert ["--resume" in argv for argv in asked] == [False, True]
