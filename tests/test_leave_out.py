"""§7.3 Columns left out: a table with names, tickets and gaps is trained on as it is, and later rows may have them."""

from pathlib import Path

import numpy as np
import pytest
from command_line import said
from made_files import refused

from scratchvae import VAE
from scratchvae.cli import main
from scratchvae.cli.common import names
from scratchvae.data import load
from scratchvae.errors import DataError, UsageError, did_you_mean

HEADER = "PassengerId,Survived,Pclass,Name,Sex,Age,Ticket,Fare,Cabin,Embarked"
OUT = ("PassengerId", "Name", "Ticket", "Cabin")
SMALL = ("--missing", "nan", "--hidden", "6", "--latent", "2", "--epochs", "3", "--kernels", "numpy", "--no-pictures")


def passengers(count: int = 80) -> list[list[str]]:
    """Rows as of the Titanic: names with commas and quotes, tickets that are numbers or words, ages with gaps."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        sex, rank, aboard = ("male", "female")[i % 2], i % 3 + 1, "SCQ"[int(rng.integers(3))]
        name = f'"Braund, Mr. Owen ""{i}"""' if i % 9 else f'"Cumings,\nMrs. {i}"'
        age, ticket = f"{rng.normal(30, 9):.1f}" if i % 5 else "", f"PC {i}" if i % 3 else str(1000 + i)
        cabin, port = f"C{i}" if i % 4 == 0 else "", aboard if i != 7 else ""
        rows.append([str(i + 1), str(i % 2), str(rank), name, sex, age, ticket, f"{rng.gamma(2, 20):.2f}", cabin, port])
    return rows


def text_of(rows: list[list[str]], out: tuple[str, ...] = ()) -> str:
    kept = [i for i, name in enumerate(HEADER.split(",")) if name not in out]
    return "\r\n".join(",".join(row[i] for i in kept) for row in [HEADER.split(","), *rows]) + "\r\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "titanic.csv").write_text(text_of(passengers()), newline="")
    return tmp_path / "titanic.csv"


@pytest.mark.parametrize("block", [1, 300, 1 << 20])
def test_the_others_are_as_they_would_be(path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches values, words, places or an index that shift where a column is gone; with blocks of any size."""
    monkeypatch.setattr("scratchvae.data.text.BLOCK", block)
    found = load(path, missing=True, leave_out=OUT)
    path.write_text(text_of(passengers(), OUT), newline="")
    same = load(path, missing=True)
    assert found.names == same.names == ("Survived", "Pclass", "Sex", "Age", "Fare", "Embarked")
    assert found.levels == same.levels == ((), (), ("female", "male"), (), (), ("C", "Q", "S"))
    np.testing.assert_array_equal(found.train, same.train)
    path.write_text(text_of([*passengers(9), ["9"] * 4 + ["male", "old"] + ["9"] * 3 + ["S"]]), newline="")
    refused("'old' at row 9, column 3 'Age' .*line 12 of", path, missing=True, leave_out=OUT)


def test_from_a_table_as_it_is_to_scores(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a run that forgets what it left out: later files may have these columns or not, and score alike."""
    run, other, filled = (str(tmp_path / name) for name in ("run", "other.csv", "filled.csv"))
    kinds = said(capsys, "info", str(path), "--leave-out", ",".join(OUT))["kinds"]
    assert [text.split()[0].partition(":")[0] for text in kinds.values()] \
        == ["bernoulli", "poisson", "bernoulli", "gaussian", "gaussian", "categorical"]  # fmt: skip
    assert main(["train", str(path), "--leave-out", ",".join(OUT), "--out", run, *SMALL]) == 0
    assert main(["train", str(path), "--out", run, "--resume", "--epochs", "4", "--no-pictures"]) == 0
    Path(other).write_text(text_of(passengers(), OUT), newline="")
    capsys.readouterr()
    first, second = (said(capsys, "score", run, table, "--samples", "5")["rows"] for table in (str(path), other))
    assert [one.pop("id") for one in first] == [str(i + 1) for i in range(80)]
    assert first == second
    fill = ("fill", run, "--data", str(path), "--mask", "nan", "--rows", "0:9", "--out", filled)
    assert main([*fill, "--imputations", "1", "--warm-up", "2", "--chains", "1"]) == 0
    assert Path(filled).read_text().splitlines()[0] == "Survived,Pclass,Sex,Age,Fare,Embarked"


def test_what_cannot_be_left_out(path: Path) -> None:
    """Catches a slip of the pen after which an id is trained on, and names given where there are none."""
    refused("leave_out: there is no column 'Tickt'$", path, missing=True, leave_out=(*OUT, "Tickt"))
    refused("there are no names of columns, by which", np.eye(5), leave_out=["a"])
    path.write_text("1,2\n3,4\n5,7\n")
    refused("there are no names of columns", path, leave_out=["1"])
    path.write_text("Ticket,Fare\n1,2.5\n3,4.5\n5,7.5\n")
    refused("there is no column 'TICKT'; did you mean 'Ticket'", path, leave_out=["TICKT"])
    with pytest.raises(UsageError, match="leave_out='Name'"):
        VAE(leave_out="Name")


def test_a_name_is_meant_whatever_its_case() -> None:
    """Catches names compared with their case, one that is shown without its own, the last of two that are alike."""
    assert did_you_mean("nam", ("AGE", "NAME")) == "; did you mean 'NAME'?"
    assert did_you_mean("TICKT", ("Ticket", "TICKET", "ticket")) == "; did you mean 'Ticket'?"
    assert did_you_mean("port", ("Ticket", "Name")) == ""


def test_names_with_commas() -> None:
    assert names('Name, "Ticket, No.",Cabin') == ("Name", "Ticket, No.", "Cabin")
    assert names("") == ()


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames(path: Path, kind: str) -> None:
    """Catches a frame whose column of mixed things is refused though it is left out, when fitted and later."""
    frames = pytest.importorskip(kind)
    frame = frames.read_csv(path, infer_schema_length=None) if kind == "polars" else frames.read_csv(path)
    model = VAE(2, (6,), epochs=2, kernels="numpy", missing="nan", leave_out=list(OUT)).fit(frame)
    assert model.state is not None
    assert model.state.reading.names == ("Survived", "Pclass", "Sex", "Age", "Fare", "Embarked")
    kept = frame[[name for name in frame.columns if name not in OUT]]
    np.testing.assert_array_equal(model.elbo(frame), model.elbo(kept))
    with pytest.raises(DataError, match="no column 'Nme'"):
        VAE(leave_out=["Nme"], kernels="numpy").fit(kept)


def test_the_way_out_names_every_column(tmp_path: Path) -> None:
    """Ids, names and dates were refused one run at a time, by NAME; ids and names, both all different, were dropped
    from the names and one of them from x: a ValueError of zip."""
    rows = [f"C{i},Ann {i},{i % 7}.5,2020-01-{i % 28 + 1:02}" for i in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(["id,full name,income,signup", *rows]))
    refused("'Ann 0' at row 0.*--leave-out 'full name,signup'.,", tmp_path / "x.csv")
    refused("'Ann 0' at row 0.*--leave-out 'signup,full name'.,", tmp_path / "x.csv", leave_out=["signup"])
    found = load(tmp_path / "x.csv", leave_out=["full name", "signup"])
    assert (found.names, found.train.shape[1]) == (("income",), 1)
