"""§7.2.3 `score`: the columns that a row is odd by, and the name of the row, whatever stands in the file besides."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call, make_run, said

from scratchvae.cli.common import countdown
from scratchvae.cli.score import reasons, row_names
from scratchvae.conditional import mean_of
from scratchvae.data import files, load
from scratchvae.training.config import Config
from scratchvae.training.evaluate import evaluation_rows, log_p_of_columns
from scratchvae.training.objective import decode, encode
from scratchvae.training.reading import learn
from scratchvae.training.state import State
from scratchvae.types import Array

SMALL = ("--hidden", "6", "--latent", "2", "--epochs", "20", "--kernels", "numpy", "--no-pictures")


def state_of(x: Array, **options: Any) -> State:
    config = Config(**{"latent": 2, "hidden": (5,), "kernels": "numpy", "binarisation": "none", **options})
    return State.begun(config, learn(x, config), x)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"binarisation": "dynamic"},
        {"likelihood": "gaussian", "dtype": "float64"},
        {"likelihood": "gaussian-sigmoid"},
        {"likelihood": "student-t"},
        {"likelihood": "0=gaussian,1=beta,2=gaussian,3=student-t"},
        {"latent": (3, 2), "hidden": ((5,), (4,))},
    ],
)
def test_columns_sum_to_the_row(options: dict[str, Any]) -> None:
    """Catches a column that is left out or counted for another, a block that is lost, a unit that is forgotten."""
    x = np.random.default_rng(0).uniform(0.1, 0.9, (23, 4))
    state = state_of(x, **options)
    batch = evaluation_rows(state, x, 0, 23)
    whole = decode(state, mean_of(encode(state, batch))).log_prob(batch)
    np.testing.assert_allclose(log_p_of_columns(state, x, 10).sum(axis=1), whole, rtol=1e-5)


def test_what_is_missing_costs_nothing() -> None:
    """Catches a gap that has a price, one that spoils its row, and one that a density of 0 makes inf."""
    x = np.random.default_rng(0).uniform(0.1, 0.9, (9, 3))
    x[2, 1] = np.nan
    state = state_of(x, likelihood="0=gaussian,1=beta,2=gaussian", missing="nan")
    cells = log_p_of_columns(state, x)
    assert np.argwhere(np.isnan(cells)).tolist() == [[2, 1]]


def test_reasons_are_what_is_beyond_the_median() -> None:
    """Catches nats that are not held against the usual ones, columns counted without those that were dropped, gaps that
    hide the median, and more columns than were asked for."""
    x = np.random.default_rng(0).normal(5, 1, (30, 5)) * [1, 1, 1e-3, 1, 1e3]
    x[:, 1], x[3, 2], x[8, 0] = 7, np.nan, np.nan
    state = state_of(x, likelihood="gaussian", missing="nan", dtype="float64")
    cells = log_p_of_columns(state, x)
    beyond = np.nan_to_num(np.nanmedian(cells, axis=0) - cells, nan=-np.inf)
    for many in (1, 5):
        found = reasons(state, load(x, x, missing=True), x[[9, 3]], many)
        for row, why in zip((9, 3), found, strict=True):
            dear = [d for d in np.argsort(-beyond[row])[:many] if beyond[row, d] >= 0.1]
            assert why == pytest.approx({f"column {(0, 2, 3, 4)[d]}": beyond[row, d] for d in dear})
            assert [*why] == [f"column {(0, 2, 3, 4)[d]}" for d in dear]


def people(path: str, n: int = 80) -> None:
    """Ids, words, a constant gap in one of the columns; row 5 has a wild income, row 7 a wild age."""
    rng, lines = np.random.default_rng(0), ["name,id,age,plan,income,group"]
    for i in range(n):
        age, income = rng.normal(40, 9), rng.normal(50, 5)
        age, income = (400 if i == 7 else age), (900 if i == 5 else income)
        lines.append(f'"Doe,{" " if i % 4 else chr(10)}{i % 70}",K{i},{age:.1f},{"ab"[i % 2]},{income:.2f},{i % 9}')
    lines.insert(3, "")
    Path(path).write_text("\n".join(lines) + "\n")


@pytest.fixture
def run(call: Call) -> str:
    people("t.csv")
    assert call("train", "t.csv", "--leave-out", "name,id,group", "--out", "run", *SMALL).code == 0
    return "run"


def test_the_wild_cell_is_the_reason(run: str, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a price that is not held against the usual one, the cheapest columns first, another row's reasons."""
    found = said(capsys, "score", run, "t.csv", "--samples", "9", "--top", "3")["rows"]
    why_odd = {one["id"]: one["why"] for one in found}
    assert next(iter(why_odd["K5"])) == "income"
    assert next(iter(why_odd["K7"])) == "age"
    assert all(nats >= 0.1 for why in why_odd.values() for nats in why.values())
    whole, top = (
        said(capsys, "score", run, "t.csv", "--samples", "9", *some)["rows"] for some in ((), ("--top", "20"))
    )
    of_all = {one["id"]: one["why"] for one in whole}
    assert all(one["why"] == pytest.approx(of_all[one["id"]]) for one in top)
    lines = call("score", run, "t.csv", "--samples", "9", "--rows", "4:6", "--why", "1").out.splitlines()
    assert lines[0] == "row,id,rank,nats,why"
    assert [line.split(",")[:3] for line in lines[1:]] == [["4", "K4", "2"], ["5", "K5", "1"]]
    done = call("score", run, "t.csv", "--samples", "9", "--rows", "5,4", "--why", "1")
    assert [line.split(",")[:3] for line in done.out.splitlines()[1:]] == [["5", "K5", "1"], ["4", "K4", "2"]]
    assert ",income " in done.out
    assert "id: id" in done.words
    assert "why" not in call("score", run, "t.csv", "--samples", "9", "--why", "0").out


def test_a_row_of_the_run_s_own_has_its_name(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last tenth of the rows are tested: catches names counted from the file's first row."""
    found = said(capsys, "score", run, "--samples", "2")["rows"]
    assert [one["id"] for one in found] == [f"K{i}" for i in range(72, 80)]


@pytest.mark.parametrize("block", [1, 40, 1 << 20])
def test_what_names_a_row(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a column that the run takes, one with two cells alike or empty, cells that shift behind an empty line."""
    monkeypatch.setattr("scratchvae.data.text.BLOCK", block)
    monkeypatch.setattr("scratchvae.data.text.HEAD", 5)
    people(path := str(tmp_path / "t.csv"))
    taken = ("age", "plan", "income")
    assert files.row_names(Path(path), taken) == ("id", [f"K{i}" for i in range(80)])
    assert files.row_names(Path(path), (*taken, "id")) == ("", [])
    for weights, name in (("", "id"), ("id", "")):  # what weighs a row is no name of it
        state = state_of(np.eye(3), weights=weights)
        state.reading = state.reading._replace(names=taken)
        assert row_names(argparse.Namespace(data=path), state)[0] == name
    Path(path).write_text(Path(path).read_text().replace("K7,", ","))
    assert files.row_names(Path(path), taken) == ("", [])
    (tmp_path / "u.csv").write_text(",age\n7,1.5\n8,2.5\n9,3.5\n")
    assert files.row_names(tmp_path / "u.csv", ("age",)) == ("", ["7", "8", "9"])
    np.save(tmp_path / "x.npy", np.eye(3))
    assert files.row_names(tmp_path / "x.npy", ()) == ("", [])


def test_what_names_a_row_of_a_frame(tmp_path: Path) -> None:
    """Catches a frame whose names are looked for among the columns that the run takes, or that has two rows of one."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "x", "y"], "c": [7, 8, 9]}).to_parquet(tmp_path / "t.parquet")
    assert files.row_names(tmp_path / "t.parquet", ("a",)) == ("c", ["7", "8", "9"])
    assert files.row_names(tmp_path / "t.parquet", ("a", "c")) == ("", [])


def test_the_time_left_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches words each time, a share of what is left, and words when all is done."""
    now = iter([0, 5, 20, 20, 29, 40])
    monkeypatch.setattr("scratchvae.cli.common.time.monotonic", lambda: next(now))
    report = countdown("fill", 100)
    for done in (10, 50, 60, 100):
        report(done)
    assert capsys.readouterr().err == "fill: 50 %, 20 s left\n"


def test_info_of_a_run_is_what_sets_it_apart(run: str, call: Call) -> None:
    """Catches shapes and options that were left alone, and such that were not and are missing."""
    brief, whole = (call("info", run, *options) for options in ((), ("--all",)))
    lines = {line.split()[0] for line in brief.out.splitlines()}
    assert {"likelihood", "latent", "epochs", "seed", "kernels", "leave_out", "metrics.test_elbo", "step"} <= lines
    assert not lines & {"beta", "optimizer.beta1", "warm_up", "shapes.q.mu.W"}
    assert len(whole.out.splitlines()) == len(lines) + int(brief.words.split()[0])


def test_images_have_no_columns_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches pixels as reasons."""
    found = said(capsys, "score", make_run(tmp_path), "--samples", "2", "--top", "1")["rows"]
    assert found[0].keys() == {"row", "rank", "nats"}
