"""§7.3 What reports say is true and what pictures show is what their words promise: figures against rows, by hand."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from command_line import QUIET, SIDE, Call, D, make_run, said

from scratchvae import data, plots
from scratchvae.cli import estimators, main
from scratchvae.cli.pictures import picture_run, reconstructions
from scratchvae.tasks import posterior
from scratchvae.training.evaluate import blocks
from scratchvae.training.objective import encode
from scratchvae.training.run import Run
from scratchvae.types import Array


@pytest.fixture(scope="module")
def other(folder: Path) -> str:
    return make_run(folder, seed=3)


@pytest.fixture(scope="module")
def bars(run: str) -> tuple[Array, Array]:
    """The run's training rows and its test rows, as read from its file."""
    x = np.load(Path(run).parent / "bars.npy").reshape(-1, D).astype(float)
    return x[:72], x[72:]


def by_row(means: list[float]) -> Array:
    """Values of rows 0, 1, … from the means of the first one, two, …"""
    return np.diff([0.0, *(n * mean for n, mean in enumerate(means, 1))])


def error_of(rows: Array) -> Any:
    return pytest.approx(rows.std(ddof=1) / len(rows) ** 0.5, rel=1e-4)


# ---------------------------------------------------------------- evaluate and compare


def test_errors_are_those_of_means(capsys: pytest.CaptureFixture[str], run: str) -> None:
    """sd / √n over rows: catches sd / n and plain sd."""
    found = [said(capsys, "evaluate", run, "--samples", "9", "--rows", f"0:{n}") for n in range(1, 7)]
    assert found[0]["standard_error"] is None
    assert found[5]["standard_error"] == error_of(by_row([one["log_likelihood"] for one in found]))
    assert found[5]["elbo_error"] == error_of(by_row([one["elbo"] for one in found]))


@pytest.mark.parametrize("key", ["elbo", "log_likelihood"])
def test_gains_are_paired(capsys: pytest.CaptureFixture[str], run: str, other: str, key: str) -> None:
    """The second minus the first, row by row; a run has no gain over itself, and no error in that."""
    words = ("compare", run, other, run, "--samples", "9", "--rows")
    found = [said(capsys, *words, f"0:{n}")["runs"] for n in range(1, 7)]
    first, second, again = found[5]
    gains = by_row([runs[1][key] - runs[0][key] for runs in found])
    assert second[f"{key}_gain"] == pytest.approx(second[key] - first[key], rel=1e-6)
    assert second[f"{key}_gain_error"] == error_of(gains)
    assert second[f"{key}_error"] == error_of(by_row([runs[1][key] for runs in found]))
    for same in (first, again):
        assert same[f"{key}_gain"] == same[f"{key}_gain_error"] == 0


# ---------------------------------------------------------------- the three tasks

PLAN = ("--imputations", "4", "--chains", "2", "--warm-up", "4", "--thin", "1")


def nearest(train: Array, test: Array, observed: Array) -> Array:
    """Of the training rows the first that is nearest in what is observed (D,), by the definition."""
    distance = ((test[:, None] - train) ** 2 * observed).sum(axis=2)
    return np.where(observed, test, train[distance.argmin(axis=1)])


def test_the_rivals_have_their_own_names(
    capsys: pytest.CaptureFixture[str], run: str, tmp_path: Path, bars: tuple[Array, Array]
) -> None:
    """And `missing` is the share of what is hidden: a quarter here, that a half would not tell from its rest."""
    observed = np.ones((SIDE, SIDE))
    observed[2] = 0
    np.save(path := tmp_path / "mask.npy", observed)
    found = said(capsys, "fill", run, "--mask", str(path), "--rows", "0:6", *PLAN)
    seen, (train, test) = observed.reshape(-1) == 1, bars
    assert found["missing"] == 0.25

    def rmse(filled: Array) -> Any:
        return pytest.approx((((filled - test[:6])[:, ~seen]) ** 2).mean() ** 0.5, abs=1e-3)

    assert found["rmse_mean_filling"] == rmse(np.tile(train.mean(axis=0), (6, 1)))
    assert found["rmse_nearest_neighbour"] == rmse(nearest(train, test[:6], seen))
    assert abs(found["rmse_mean_filling"] - found["rmse_nearest_neighbour"]) > 0.05


def test_evidence_sums_up_its_rows(capsys: pytest.CaptureFixture[str], run: str, tmp_path: Path) -> None:
    """--out has value, standard error, effective samples; the report is made of them."""
    out = tmp_path / "rows.npy"
    found = said(capsys, "evidence", run, "--rows", "0:6", "--samples", "50", "--out", str(out))
    value, error, ess = np.load(out).T
    assert found["log_likelihood"] == pytest.approx(value.mean())
    assert found["error_of_rows"] == error_of(value)
    assert found["standard_error"] == pytest.approx((error**2).sum() ** 0.5 / 6)
    assert found["least_effective_samples"] == pytest.approx(ess.min())
    assert (value < 0).all()
    assert ((error > 0) & (error < 1)).all()
    assert ((ess > 1) & (ess <= 51)).all()


def test_the_gap_is_upper_minus_lower(capsys: pytest.CaptureFixture[str], run: str) -> None:
    """One step from the prior to the posterior: the bounds are far apart, and the sign is beyond chance."""
    words = f"evidence {run} --estimator ais --start prior --temperatures 1 --samples 2 --rows 0:8 --simulate"
    found = said(capsys, *words.split())
    assert found["gap"] == pytest.approx(found["upper"] - found["lower"])
    assert 0 < found["gap"] <= found["largest_gap"]
    assert found["lower"] == found["log_likelihood"]


def test_posterior_leaves_its_hmc_draws(
    capsys: pytest.CaptureFixture[str], run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives each kind of chain its own acceptance and its own summary."""
    made, usual = {}, posterior.sample

    def sample(*args: Any) -> Any:
        name = args[6] if len(args) > 6 else "hmc"
        made[name] = usual(*args)
        return made[name]

    monkeypatch.setattr(posterior, "sample", sample)
    words = f"posterior {run} --chains 3 --draws 8 --warm-up 10 --steps 3 --samples 20 --out {tmp_path / 'z.npy'}"
    found = said(capsys, *words.split())["posterior"]
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), made["hmc"].draws.reshape(24, 2))
    for name, chains in made.items():
        assert found[name]["acceptance"] == pytest.approx(chains.acceptance.mean())
        np.testing.assert_allclose(found[name]["mean"], chains.draws.reshape(24, 2).mean(axis=0), rtol=1e-4)
    assert made["hmc"].acceptance.mean() != made["metropolis"].acceptance.mean()
    assert found["exact"]["acceptance"] is None


# ---------------------------------------------------------------- train


def test_rows_seen_are_counted(call: Call) -> None:
    """Of 108 rows in minibatches of 50 the third has 8: catches steps times the size of a whole one."""
    assert call("train", "rows.npy", "--out", "run", "--evaluate-every", "0.33", *QUIET).code == 0
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [record["samples_seen"] for record in records] == [50, 100, 108, 158, 208, 216]


def test_the_last_words_of_training(trained: Call) -> None:
    """Seconds of the whole run, not of its first epoch; memory of a process with NumPy in it, in 10^6 bytes."""
    metrics = Path("run/metrics.jsonl")
    first, last = (json.loads(line) for line in metrics.read_text().splitlines())
    metrics.write_text("\n".join(map(json.dumps, (first, last | {"seconds": 1000.0}))) + "\n")
    told = json.loads(trained("train", "--out", "run", "--resume", "--epochs", 3, "--no-pictures", "--json").out)
    assert 1000 < told["seconds"] < 1900
    assert told["seconds"] == json.loads(metrics.read_text().splitlines()[-1])["seconds"]
    assert told["peak_memory_mb"] is None or 20 < told["peak_memory_mb"] < 20_000


# ---------------------------------------------------------------- arithmetic and the laboratory


def labelled(folder: Path, n: int = 60) -> tuple[Array, Array]:
    """x (n, D) and its labels 0, 1, 2, …, written as labelled.npz: test rows of their own, labels in another order."""
    y = np.arange(n) % 3
    x = np.random.default_rng(1).random((n, D)) / 2 + (y[:, None] == 1) * 0.4
    np.savez(folder / "labelled.npz", x=x, y=y, x_test=x[1:26], y_test=y[1:26])
    return x, y


def test_a_label_is_averaged_over_all_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a second block of rows that is the first one again."""
    labelled(tmp_path)
    run = make_run(tmp_path, data=str(tmp_path / "labelled.npz"))
    found = []
    for size in (500, 7):
        monkeypatch.setattr("scratchvae.cli.arithmetic.blocks", lambda n, _, size=size: blocks(n, size))
        out = tmp_path / f"{size}.npy"
        assert main(["arithmetic", run, "--minus", "0", "--plus", "1", "--out", str(out)]) == 0
        found.append(np.load(out))
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


def test_bars_are_named_after_their_place() -> None:
    """And stand in the order of training, from the left."""
    pytest.importorskip("matplotlib")
    heights = {"start": [1.0, 2.0], "middle": [3.0, 4.0], "end": [5.0, 6.0]}
    table = [
        {"place": place, "estimator": name, "variance": value, "samples": 4}
        for place, values in heights.items()
        for name, value in zip(("score", "sgvb_b"), values, strict=True)
    ]
    ax = estimators.variances({"table": table})
    drawn = {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    assert drawn == {f"{place} of training": values for place, values in heights.items()}
    from_the_left = sorted(ax.containers, key=lambda bars: bars[0].get_x())
    assert [bars.get_label() for bars in from_the_left] == list(drawn) == [f"{place} of training" for place in heights]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["score", "sgvb_b"]


# ---------------------------------------------------------------- pictures


class Sheet(NamedTuple):
    """What plots.plot_images was handed."""

    images: Array
    shape: tuple[int, ...]
    columns: int
    title: str


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[Sheet]:
    """The sheets of images that were asked for; nothing is drawn."""
    found: list[Sheet] = []

    def plot_images(images: Array, shape: tuple[int, ...], columns: int = 10, title: str = "", gap: int = 1) -> None:
        found.append(Sheet(images, shape, columns, title))

    monkeypatch.setattr(plots, "plot_images", plot_images)
    monkeypatch.setattr(plots, "plot_bound", lambda _: None)
    monkeypatch.setattr(plots, "save", lambda *_: None)
    return found


def test_fill_draws_what_its_title_says(
    run: str, tmp_path: Path, sheets: list[Sheet], bars: tuple[Array, Array]
) -> None:
    """Seen, truth, E[x | seen], three draws, nearest training row, a line each: catches one line for another."""
    train, test = bars
    words = ["fill", run, "--rows", "0:5", *PLAN, "--out"]
    for name in ("x.png", "x.npy", "x.csv"):
        assert main([*words, str(tmp_path / name)]) == 0
    (sheet,) = sheets
    assert (sheet.shape, sheet.columns) == ((SIDE, SIDE), 5)
    assert sheet.title == "seen; truth; E[x | seen]; three draws; nearest training row"
    seen, truth, mean, *three, last = sheet.images.reshape(7, 5, D)
    observed = np.arange(D) % SIDE >= SIDE // 2
    np.testing.assert_array_equal(seen, np.where(observed, test[:5], np.nan))
    np.testing.assert_array_equal(truth, test[:5])
    np.testing.assert_allclose(mean, np.loadtxt(tmp_path / "x.csv", delimiter=","), atol=1e-6)
    draws = np.load(tmp_path / "x.npy")
    for one in three:
        assert (one == draws).all(axis=(1, 2)).any()
    np.testing.assert_array_equal(last, nearest(train, test[:5], observed))
    assert not (last == draws).all(axis=(1, 2)).any(), "choose rows whose draws are no training rows"


def test_pictures_of_a_run(tmp_path: Path, sheets: list[Sheet], monkeypatch: pytest.MonkeyPatch) -> None:
    """Test rows stand above their reconstructions, line by line; test codes have the test rows' labels."""
    x, y = labelled(tmp_path)
    run = make_run(tmp_path, data=str(tmp_path / "labelled.npz"), binarisation="none", likelihood="gaussian")
    state = Run(Path(run)).load()[0]
    asked: list[tuple[Array, Array]] = []
    monkeypatch.setattr(plots, "plot_latent", lambda codes, labels: asked.append((codes, labels)))
    picture_run(tmp_path, state, data.load(str(tmp_path / "labelled.npz")), [])
    ((codes, labels),) = asked
    np.testing.assert_array_equal(labels, y[1:26])
    np.testing.assert_allclose(codes, encode(state, x[1:26].astype("f4")).mu, atol=1e-5)
    pairs, samples, manifold = sheets
    assert (pairs.title, pairs.columns, len(pairs.images)) == ("test rows above reconstructions", 20, 50)
    for lines, rows in ((pairs.images[:40], x[1:21]), (pairs.images[40:], x[21:26])):
        above, below = np.split(lines, 2)
        np.testing.assert_allclose(above, rows, rtol=1e-6)
        np.testing.assert_allclose(below, reconstructions(state, above), atol=1e-5)
    assert (len(samples.images), samples.columns) == (100, 10)
    assert (len(manifold.images), manifold.columns) == (400, 20)


@pytest.mark.parametrize(
    ("words", "count", "columns"),
    [
        ("manifold RUN --grid 3", 9, 3),
        ("interpolate RUN --rows 0,3 --steps 4", 4, 4),
        ("reconstruct RUN --rows 0:3", 6, 3),
        ("sample RUN --count 9", 9, 3),
    ],
)
def test_sheets_have_the_size_asked_for(
    run: str, tmp_path: Path, sheets: list[Sheet], words: str, count: int, columns: int
) -> None:
    """In the picture as in the numbers, which are the same."""
    command = words.replace("RUN", run).split()
    for name in ("x.png", "x.npy"):
        assert main([*command, "--out", str(tmp_path / name)]) == 0
    (sheet,) = sheets
    assert (len(sheet.images), sheet.columns, sheet.shape) == (count, columns, (SIDE, SIDE))
    np.testing.assert_array_equal(sheet.images[-len(made := np.load(tmp_path / "x.npy")) :], made)
    assert sheet.title


def test_grey_levels_are_shown_as_they_are() -> None:
    """0 is black and 1 is white, also where the images have neither: catches contrast made by the picture."""
    pytest.importorskip("matplotlib")
    (shown,) = plots.plot_images(np.linspace(0.4, 0.6, 12).reshape(2, 6), (2, 3), 2).images
    assert shown.get_clim() == (0, 1)
    assert shown.get_cmap()(0.0)[:3] == (0, 0, 0)
    assert shown.get_cmap()(1.0)[:3] == (1, 1, 1)


@pytest.mark.parametrize("labels", [None, np.arange(9) % 3, np.arange(9)])
def test_axes_of_the_codes_have_their_names(labels: Array | None) -> None:
    pytest.importorskip("matplotlib")
    codes = np.random.default_rng(0).normal(size=(9, 2))
    ax = plots.plot_latent(codes, labels)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), codes)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("E[z | x], latent 0", "E[z | x], latent 1")
