"""§7.1.1 The commands of the three tasks on a small run: their figures are right, bad input is one clear line."""

from pathlib import Path

import numpy as np
import pytest
from command_line import SIDE, D, make_run, refused, said

from scratchvae.cli import main
from scratchvae.cli.common import neighbours
from scratchvae.training.run import Run
from scratchvae.types import Array


@pytest.fixture(scope="module")
def wide(folder: Path) -> str:
    return make_run(folder, latent=5)


@pytest.fixture(scope="module")
def ladder(folder: Path) -> str:
    return make_run(folder, latent=(3, 2), hidden=((5,), (4,)))


QUICK = ("--imputations", "30", "--warm-up", "10", "--thin", "2", "--samples", "60")


def test_fill_reports_every_method(capsys: pytest.CaptureFixture[str], run: str) -> None:
    found = said(capsys, "fill", run, "--mask", "left-half", "--rows", "0:4", "--method", "all", *QUICK)
    assert (found["missing"], found["rows"], found["mask"]) == (0.5, 4, "left-half")
    for name in ("metropolis", "rezende", "importance"):
        assert 0 < found[f"rmse_{name}"] < 1
        assert found[f"log_score_{name}"] < 0
    assert found["acceptance_rezende"] == 1 > found["acceptance_metropolis"]
    assert {"rmse_mean_filling", "rmse_nearest_neighbour", "unit", "binarisation"} <= set(found)


def test_fill_writes_numbers_and_pictures(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("fill", run, "--mask", "random:0.5", "--rows", "1,3", *QUICK)
    assert main([*words, "--out", str(tmp_path / "x.npy")]) == 0
    draws = np.load(tmp_path / "x.npy")
    assert draws.shape == (150, 2, D)
    assert set(np.unique(draws)) <= {0.0, 1.0}
    assert main([*words, "--out", str(tmp_path / "x.csv")]) == 0
    means = np.loadtxt(tmp_path / "x.csv", delimiter=",")
    seen = draws.min(0) == draws.max(0)
    assert abs(means - draws.mean(0))[~seen].max() < 0.35
    assert main([*words, "--out", str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").stat().st_size > 1000
    capsys.readouterr()


def test_fill_knows_nothing_of_what_is_hidden(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches draws that the hidden truth has a say in: in the chain, in its first guess, or in the noise's names."""
    rows, left, draws = np.random.default_rng(1).integers(0, 2, (4, SIDE, SIDE), dtype=np.uint8), [], []
    for truth in (rows, np.where(np.arange(SIDE) < SIDE // 2, 1 - rows, rows)):
        np.save(tmp_path / "rows.npy", truth)
        words = ("fill", run, "--data", str(tmp_path / "rows.npy"), "--mask", "left-half", "--rows", "0:4", *QUICK)
        assert main([*words, "--out", str(tmp_path / "x.npy")]) == 0
        left.append(truth[:, :, : SIDE // 2])
        draws.append(np.load(tmp_path / "x.npy"))
    np.testing.assert_array_equal(*draws)
    assert (left[0] != left[1]).all()
    capsys.readouterr()


def masked(capsys: pytest.CaptureFixture[str], run: str, path: Path, mask: Array) -> str:
    np.save(path, mask)
    return refused(capsys, 3, "fill", run, "--mask", str(path), "--rows", "0:3")


def test_fill_takes_masks_from_files(capsys: pytest.CaptureFixture[str], run: str, tmp_path: Path) -> None:
    """A file that hides the left half is --mask left-half; whatever does not fit is one line."""
    left = np.ones((SIDE, SIDE))
    left[:, : SIDE // 2] = 0
    np.save(path := tmp_path / "mask.npy", left)
    a = said(capsys, "fill", run, "--mask", str(path), "--rows", "0:3", *QUICK)
    b = said(capsys, "fill", run, "--mask", "left-half", "--rows", "0:3", *QUICK)
    assert a["log_score"] == b["log_score"]
    assert "has shape (3, 5): a mask is (16,), (4, 4) or (3, 16)" in masked(capsys, run, path, np.ones((3, 5)))
    assert "row 1 has all its 16 entries missing" in masked(capsys, run, path, np.eye(3, 1) @ np.ones((1, D)))
    assert "nothing is missing" in masked(capsys, run, path, np.ones(D * 1).reshape(SIDE, SIDE))
    assert "other numbers than 1" in masked(capsys, run, path, np.full((SIDE, SIDE), 0.5))
    for mask in ("nowhere.npy", "random:2", "random:x"):
        assert mask in refused(capsys, 2, "fill", run, "--mask", mask)


def test_posterior_knows_the_gap(capsys: pytest.CaptureFixture[str], run: str) -> None:
    """Two latents: log p(x) by quadrature, L ≤ L* ≤ log p(x), and chains that agree with the grid."""
    quick = ("--draws", "400", "--warm-up", "200", "--steps", "150", "--samples", "500")
    found = said(capsys, "posterior", run, "--row", "3", *quick)
    assert found["estimator"] == "quadrature"
    assert found["approximation_gap"] > -0.02
    assert found["amortisation_gap"] > -4 * found["amortisation_error"]
    total = found["log_likelihood"] - found["elbo_amortised"]
    assert total == pytest.approx(found["approximation_gap"] + found["amortisation_gap"])
    methods = found["posterior"]
    for name in ("hmc", "metropolis"):
        assert max(methods[name]["r_hat"]) < 1.1
        np.testing.assert_allclose(methods[name]["mean"], methods["exact"]["mean"], atol=0.25)
    assert methods["exact"]["r_hat"] == [None, None]


def test_posterior_prints_a_table(capsys: pytest.CaptureFixture[str], wide: str, tmp_path: Path) -> None:
    quick = ("--draws", "20", "--warm-up", "5", "--steps", "3", "--samples", "20", "--chains", "2")
    assert main(["posterior", wide, *quick, "--out", str(tmp_path / "z.csv")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:5] == ["latent", "amortised", "refined", "hmc", "metropolis"]
    assert "importance sampling" in out
    assert "do not trust these chains" in err
    assert np.loadtxt(tmp_path / "z.csv", delimiter=",").shape == (40, 5)
    assert "--row 99: the test rows are 0 to 7" in refused(capsys, 2, "posterior", wide, "--row", "99")


def test_evidence_by_every_estimator(capsys: pytest.CaptureFixture[str], run: str) -> None:
    """All four of one model on the same rows: within 0.1 nat of quadrature."""
    settings = {
        "importance": ("--samples", "3000"),
        "ais": ("--samples", "24", "--temperatures", "60"),
        "appendix-d": ("--samples", "1500"),
    }
    exact = said(capsys, "evidence", run, "--estimator", "quadrature", "--rows", "0:5")
    assert exact["standard_error"] < 1e-3
    for name, options in settings.items():
        found = said(capsys, "evidence", run, "--estimator", name, "--rows", "0:5", *options)
        assert found["log_likelihood"] == pytest.approx(exact["log_likelihood"], abs=0.1), name
        assert found["rows"] == 5
        assert found["cost"] > 0


def test_the_sandwich_holds(capsys: pytest.CaptureFixture[str], wide: str) -> None:
    words = ("evidence", wide, "--estimator", "ais", "--rows", "0:3", "--samples", "8", "--temperatures", "40")
    found = said(capsys, *words, "--simulate")
    assert abs(found["gap"]) < 0.5
    assert found["upper_from"] == "exact posterior draws"
    assert said(capsys, *words)["upper_from"] == "HMC draws"


@pytest.mark.parametrize(
    "words",
    [
        "evidence --estimator importance --samples 40",
        "evidence --estimator ais --samples 4 --temperatures 5 --simulate",
        "evidence --estimator ais --samples 4 --temperatures 5",
        "fill --method metropolis --imputations 5 --warm-up 4 --thin 1",
        "fill --method importance --imputations 5 --samples 30",
    ],
)
def test_blocks_of_rows_leave_no_trace(
    capsys: pytest.CaptureFixture[str], run: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is named by its number: catches a block that takes another one's rows or noise."""
    name, *rest = words.split()
    rows = ["--rows", "0:5"]
    found = []
    for block in (5, 2):
        monkeypatch.setattr(f"scratchvae.cli.{name}.BLOCK", block)
        report = said(capsys, name, run, *rows, *rest, "--out", str(tmp_path / "out.npy"))
        found.append(np.append(np.load(tmp_path / "out.npy"), report.get("upper", 0)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


def test_evidence_out_of_reach(capsys: pytest.CaptureFixture[str], wide: str) -> None:
    assert "one or two latents, not 5" in refused(capsys, 2, "evidence", wide, "--estimator", "quadrature")
    assert "5 latents: it reaches 4" in refused(capsys, 2, "evidence", wide, "--estimator", "appendix-d")


@pytest.mark.parametrize("command", ["fill", "posterior", "evidence"])
def test_runs_of_another_kind(capsys: pytest.CaptureFixture[str], ladder: str, tmp_path: Path, command: str) -> None:
    assert "one latent layer" in refused(capsys, 2, command, ladder)
    assert "nowhere" in refused(capsys, 3, command, str(tmp_path / "nowhere"))


def test_compare(capsys: pytest.CaptureFixture[str], folder: Path, run: str, wide: str, ladder: str) -> None:
    found = said(capsys, "compare", run, wide, ladder, "--samples", "20")
    assert [one["run"] for one in found["runs"]] == [run, wide, ladder]
    first, second, _ = found["runs"]
    assert first["elbo_gain"] == 0
    assert second["elbo_gain"] == pytest.approx(second["elbo"] - first["elbo"], abs=1e-5)
    assert {"unit", "estimator", "samples", "binarisation", "split", "constants"} <= set(found["meaning"])
    grey = make_run(folder, binarisation="threshold")
    assert "binarisation: dynamic against threshold" in refused(capsys, 2, "compare", run, grey)
    assert "at least two runs" in refused(capsys, 2, "compare", run)
    assert main(["compare", run, wide, "--rows", "0:4"]) == 0
    assert "all 5 latents in use" in capsys.readouterr().out


def test_evaluate_keeps_its_keys(capsys: pytest.CaptureFixture[str], run: str) -> None:
    found = said(capsys, "evaluate", run, "--samples", "50")
    keys = {"elbo", "reconstruction", "kl", "log_likelihood", "samples", "binarisation", "rows", "active_units"}
    assert keys <= set(found)
    assert found["samples"] == 50
    assert sum(found["kl_by_latent"]) == pytest.approx(found["kl"], rel=1e-5)
    assert found["log_likelihood"] > found["elbo"]


def test_samples_beside_the_nearest_training_rows(capsys: pytest.CaptureFixture[str], run: str, tmp_path: Path) -> None:
    """After the samples stand training rows, bit for bit, and the nearest of them."""
    out = tmp_path / "x.npy"
    assert main(["sample", run, "--count", "4", "--nearest", "--out", str(out)]) == 0
    samples, below = np.load(out).reshape(2, 4, D)
    train = np.load(Path(run).parent / "bars.npy").reshape(-1, D)[:72].astype(float)
    distance = ((samples[:, None] - train) ** 2).sum(axis=2)
    np.testing.assert_allclose(((samples - below) ** 2).sum(axis=1), distance.min(axis=1), rtol=1e-5)
    assert "from test rows" in capsys.readouterr().err


def test_nearest_training_rows_have_their_gaps_filled(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With the mean of what is seen in the column; test rows with gaps have a distance, too."""
    rng = np.random.default_rng(0)
    x = rng.random((60, D)).round()
    x[rng.random(x.shape) < 0.2] = np.nan
    np.save(path := tmp_path / "gaps.npy", x)
    run, out = make_run(tmp_path, data=str(path), missing="nan"), tmp_path / "x.npy"
    assert main(["sample", run, "--count", "4", "--nearest", "--out", str(out)]) == 0
    samples, below = np.load(out).reshape(2, 4, D)
    train = np.where(np.isnan(x[:54]), np.nanmean(x[:54], axis=0), x[:54])
    distance = ((samples[:, None] - train) ** 2).sum(axis=2)
    np.testing.assert_allclose(below, train[distance.argmin(axis=1)], rtol=1e-6)
    rows = np.concatenate([*neighbours(Run(Path(run)).load()[0], x[:54], np.nanmean(x[:54], axis=0), block=7)])
    np.testing.assert_allclose(rows, train, rtol=1e-6)
    nearest = np.nanmean((x[54:58, None] - train) ** 2, axis=2).min(axis=1)
    assert f"{np.sqrt(D * nearest).mean():.3g} from test rows" in capsys.readouterr().err


def test_arithmetic_by_label(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A linear encoder and decoder: the last image minus the first is the difference of label means, decoded."""
    rng = np.random.default_rng(1)
    y = np.arange(60) % 3
    x = rng.random((60, D)) / 2 + (y[:, None] == 1) * 0.4
    np.savez(path := tmp_path / "x.npz", x=x, y=y, x_test=x[:9], y_test=y[:9])
    run = make_run(tmp_path, data=str(path), hidden=(), likelihood="gaussian-fixed", variance=0.1, binarisation="none")
    out = tmp_path / "y.npy"
    assert main(["arithmetic", run, "--minus", "0", "--plus", "1", "--steps", "3", "--out", str(out)]) == 0
    made = np.load(out).reshape(3, 3, D)  # three test rows of label 0
    views = Run(Path(run)).load()[0].arena.views
    step = (x[y == 1].mean(0) - x[y == 0].mean(0)) @ views["q.mu.W"] @ views["p.mu.W"]
    np.testing.assert_allclose(made[:, 2] - made[:, 0], np.tile(step, (3, 1)), atol=1e-4)
    np.testing.assert_allclose(made[:, 1], (made[:, 0] + made[:, 2]) / 2, atol=1e-5)
    assert main(["arithmetic", run, "--minus", "0", "--plus", "1", "--out", str(tmp_path / "y.png")]) == 0
    capsys.readouterr()
    assert "no row has label 7" in refused(capsys, 2, "arithmetic", run, "--minus", "0", "--plus", "7")


def test_arithmetic_needs_labels(capsys: pytest.CaptureFixture[str], run: str) -> None:
    assert "has no labels" in refused(capsys, 3, "arithmetic", run, "--minus", "0", "--plus", "1")


def test_fill_what_is_really_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A run trained on gaps fills its test rows' own, and measures nothing that nobody knows."""
    rng = np.random.default_rng(0)
    x = rng.random((60, D)).round()
    x[rng.random(x.shape) < 0.2] = np.nan
    np.save(path := tmp_path / "gaps.npy", x)
    run = make_run(tmp_path, data=str(path), missing="nan")
    out = tmp_path / "x.npy"
    found = said(capsys, "fill", run, "--mask", "nan", "--rows", "0:3", "--out", str(out), *QUICK)
    assert "rmse" not in found
    draws, rows = np.load(out), x[54:57]
    assert np.isfinite(draws).all()
    np.testing.assert_array_equal(draws[:, ~np.isnan(rows)], np.tile(rows[~np.isnan(rows)], (len(draws), 1)))


def test_fill_goes_on_over_blocks_without_gaps(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Gaps in one of 64 rows: the block that has none is not refused, least of all after the other was done."""
    x = np.random.default_rng(0).random((80, D)).round()
    x[75, 3:9] = np.nan
    np.save(path := tmp_path / "gaps.npy", x)
    run = make_run(tmp_path, data=str(path), missing="nan")
    for method in ("metropolis", "importance"):
        options = ("--data", str(path), "--mask", "nan", "--rows", "16:80", "--method", method, *QUICK)
        out = tmp_path / f"{method}.npy"
        said(capsys, "fill", run, *options, "--out", str(out))
        draws = np.load(out)
        assert np.isfinite(draws).all()
        np.testing.assert_array_equal(draws[:, 0], np.tile(x[16], (len(draws), 1)))


@pytest.mark.parametrize("command", ["posterior", "evidence"])
def test_rows_with_gaps_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    x = np.random.default_rng(0).random((60, D)).round()
    x[:, 3] = np.nan
    np.save(path := tmp_path / "gaps.npy", x)
    run = make_run(tmp_path, data=str(path), missing="nan")
    assert "row 0 has missing entries: evaluate bounds" in refused(capsys, 2, command, run)


@pytest.mark.parametrize("command", ["posterior", "evidence", "fill"])
def test_out_is_judged_before_the_work(capsys: pytest.CaptureFixture[str], command: str, tmp_path: Path) -> None:
    """Before even the run is opened."""
    assert "unknown ending" in refused(capsys, 2, command, "nowhere", "--out", "x.txt")
    assert "there is no folder" in refused(capsys, 2, command, "nowhere", "--out", str(tmp_path / "a" / "x.npy"))


def test_numbers_alone_on_stdout(capsys: pytest.CaptureFixture[str], run: str) -> None:
    assert main(["evidence", run, "--rows", "0:3", "--samples", "40", "--out", "-"]) == 0
    out, err = capsys.readouterr()
    assert np.loadtxt(out.splitlines(), delimiter=",").shape == (3, 3)
    assert "log_likelihood" in err
    one = said(capsys, "evidence", run, "--rows", "0:1", "--samples", "40")
    assert one["error_of_rows"] is None
    assert one["measure"] == "probability of bits"
