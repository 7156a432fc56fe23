"""§7.3 Columns of words: the same codes whatever stands first, one answer from text and frames, and words again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import said
from hypothesis import given, settings
from hypothesis import strategies as st
from made_files import refused

from scratchvae import VAE
from scratchvae.cli import main
from scratchvae.data import Known, load
from scratchvae.data.arrays import Origin
from scratchvae.data.words import BOOLS, LEVELS, Ordered, coded, understood, words_of
from scratchvae.errors import DataError, UsageError
from scratchvae.training.config import Config
from scratchvae.training.likelihood import kinds_of, resolved
from scratchvae.training.reading import Reading, learn
from scratchvae.types import Array

CITIES = ("Bonn", "Köln", "Ulm")
HEADER = "city,age,smoker,visits"
Rows = list[tuple[str, float, str, int]]
SMALL: dict[str, Any] = {"latent": 2, "hidden": (8,), "kernels": "numpy", "missing": "nan"}


def people(n: int = 60, seed: int = 0) -> Rows:
    """Words that depend on one another, numbers that depend on them."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 3, n)
    ages = np.round(40 + 10 * which + rng.standard_normal(n), 2)
    return [
        (CITIES[i], float(age), "yes" if i else "no", int(rng.poisson(3))) for i, age in zip(which, ages, strict=True)
    ]


def text(rows: Rows, header: str = HEADER) -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text(text(people()), encoding="utf-8")
    return tmp_path / "people.csv"


@given(st.lists(st.sampled_from([*CITIES, "", "NA"]), min_size=8, max_size=40).filter(lambda c: {*CITIES} <= {*c}))
@settings(max_examples=30, deadline=None)
def test_words_to_codes_to_words(tmp_path_factory: pytest.TempPathFactory, cells: list[str]) -> None:
    """Catches codes by first appearance, gaps that become a level, and words that come back as others."""
    path = tmp_path_factory.mktemp("levels") / "x.csv"
    path.write_text(
        "age,city\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate([*cells, *CITIES])), encoding="utf-8"
    )
    found = load(path, missing=True)
    assert found.levels == ((), CITIES)
    back = words_of(np.concatenate([found.train, found.test]), found.levels)
    assert [row[1] for row in back] == ["" if cell == "NA" else cell for cell in [*cells, *CITIES]]


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_block_after_block(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches the quick way through later blocks: a word first seen there, gaps, quotes, a number among words."""
    monkeypatch.setattr("scratchvae.data.text.BLOCK", block)
    words = [CITIES[i % 2 + i // 100] if i % 7 else "NA" for i in range(200)]
    lines = [f'"{word}", {i}.5' if i % 31 == 0 else f"{word}, {i}.5 " for i, word in enumerate(words)]
    (tmp_path / "x.csv").write_text("\n".join(["city,n", *lines[:150], "", *lines[150:]]), encoding="utf-8")
    found = load(tmp_path / "x.csv", test=tmp_path / "x.csv", missing=True)
    assert found.levels == (CITIES, ())
    assert words_of(found.train, found.levels) == [["" if w == "NA" else w, f"{i}.5"] for i, w in enumerate(words)]
    (tmp_path / "x.csv").write_text("\n".join(["city,n", *lines[:150], "7,1", *lines[150:]]), encoding="utf-8")
    refused("holds 'Köln' at row 1, column 0 'city' .from 0; line 3", tmp_path / "x.csv", missing=True)


def test_later_rows_in_another_order(path: Path, tmp_path: Path) -> None:
    """Catches codes of later rows by their own sort of words: Ulm alone would be 0, and columns the other way round."""
    (tmp_path / "later.csv").write_text("visits,city,smoker,age\n1,Ulm,yes,60\n2,Bonn,no,40\n", encoding="utf-8")
    found = load(path, test=tmp_path / "later.csv")
    assert found.test.tolist() == [[2, 60, 1, 1], [0, 40, 0, 2]]
    alone = load(tmp_path / "later.csv", test=tmp_path / "later.csv", known=Known(found.names, found.levels))
    assert alone.train.tolist() == found.test.tolist()


UNKNOWN = {
    "a word": (
        "Ulm,60,yes,1\nRom,40,no,2\n",
        "holds 'Rom' at row 1, column 0 'city' .*line 3.*knew the words Bonn, Kö",
    ),
    "a number for a word": ("7,60,yes,1\n", "holds 7 at row 0, column 0 'city' .*the words Bonn"),
    "a word for a number": ("Ulm,old,yes,1\n", "holds 'old' at row 0, column 1 'age' .*knew numbers alone"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_training_did_not_know(path: Path, tmp_path: Path, what: str) -> None:
    """Catches an unknown word that gets a code all the same, and an error without its place or the words there are."""
    rows, words = UNKNOWN[what]
    (tmp_path / "later.csv").write_text(f"{HEADER}\n{rows}", encoding="utf-8")
    refused(words, path, test=tmp_path / "later.csv")


def test_gaps_alone_are_known(path: Path, tmp_path: Path) -> None:
    """Catches a later column of gaps that is taken for numbers and refused."""
    (tmp_path / "later.csv").write_text(f"{HEADER}\n,60,yes,1\n", encoding="utf-8")
    found = load(path, test=tmp_path / "later.csv", missing=True)
    np.testing.assert_array_equal(found.test, [[np.nan, 60, 1, 1]])


REFUSED = {
    "free text": (
        "a,note\n" + "".join(f"1,so {i}\n" for i in range(9)),
        "'so 0' at row 0, column 1 'note'.*9 different",
    ),
    "too many": ("a,b\n" + "".join(f"1,w{i % (LEVELS + 1)}\n" for i in range(120)), "'w0'.*51 different words in 120"),
    "dates": ("a,day\n" + "1,2020-01-31\n1,2020-02-01\n" * 5, "'2020-01-31' at row 0, column 1 'day'.*turn dates"),
    "units": ("a,b\n" + "1,5 kg\n1,6 kg\n" * 5, "'5 kg' at row 0, column 1 'b'.*without their unit"),
    "a word among numbers": ("a,b\n" + "1,2\n" * 9 + "1,x\n", "'x' at row 9, column 1 'b'.*line 11"),
    "a first column of dates": ("day,b\n2020-01-31,1\n2020-02-01,2\n2020-02-02,4\n", "'2020-01-31'.*turn dates"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_words_that_are_no_categories(tmp_path: Path, what: str) -> None:
    """Catches an id of a thousand classes, a date that is one of twelve, and a price that is a word."""
    written, words = REFUSED[what]
    (tmp_path / "x.csv").write_text(written)
    refused(words, tmp_path / "x.csv")


def test_an_index_of_words_is_dropped(tmp_path: Path) -> None:
    """Catches names of rows that are refused, and later rows that are refused because they have them."""
    rows = [f"car {i},{CITIES[i % 3]},{i % 7}.5" for i in range(30)]
    (tmp_path / "x.csv").write_text("\n".join(["model,city,hp", *rows]), encoding="utf-8")
    (tmp_path / "later.csv").write_text("model,city,hp\nanother,Ulm,3.5\n", encoding="utf-8")
    found = load(tmp_path / "x.csv", test=tmp_path / "later.csv")
    assert found.names == ("city", "hp")
    assert found.test.tolist() == [[2, 3.5]]
    assert any("'model' has another word in each row" in note for note in found.notes)


def test_words_that_begin_with_digits_are_words(tmp_path: Path) -> None:
    """Catches 1st, 2nd, 3rd refused as numbers with a unit, and a first row of words taken for names."""
    (tmp_path / "x.csv").write_text("1st,low\n2nd,high\n" * 6 + "3rd,low\n")
    assert load(tmp_path / "x.csv").levels == (("1st", "2nd", "3rd"), ("high", "low"))


MADE = {  # a column, its words, and what it is
    "yes": ([0, 1], ("no", "yes"), "bernoulli", "2 different words"),
    "city": ([0, 1, 2], CITIES, "categorical:3", "3 different words"),
    "size": ([0, 1, 2], Ordered("SML"), "ordinal:3", "3 different words in order"),
    "bits": ([0, 1], (), "bernoulli", "0 and 1 alone"),
    "real": ([0.5, 1, 7], (), "gaussian", "real"),
    "years": ([1999, 2003, 2004], (), "gaussian", "begin with 0 or 1"),
    "id": (None, (), "gaussian", "all different: leave it out"),
    "constant": ([5], (), "gaussian", "constant: leave it out"),
    "poisson": (lambda rng: rng.poisson(2, 600), (), "poisson", "variance / mean"),
    "wide": (lambda rng: rng.negative_binomial(1, 0.1, 600), (), "negative-binomial", "variance / mean"),
    "gaps": ([0, 1, np.nan], (), "bernoulli", "0 and 1 alone"),
}  # fmt: skip


def column(values: Any) -> Array:
    rng = np.random.default_rng(1)
    return np.asarray(values(rng) if callable(values) else np.resize(np.arange(600) if values is None else values, 600))


def test_kinds() -> None:
    """Catches codes taken for counts, counts for measurements, years for counts, and an id without a word."""
    x = np.stack([column(values) for values, *_ in MADE.values()], axis=1)
    found = list(kinds_of(x, tuple(words for _, words, *_ in MADE.values())))
    assert [kind.likelihood for kind in found] == [likelihood for *_, likelihood, _ in MADE.values()]
    for kind, (*_, why) in zip(found, MADE.values(), strict=True):
        assert why in kind.why


def test_what_is_asked_for_wins() -> None:
    """Catches auto that overrules a user, numbers that become mixed unasked, and words under a Gaussian."""
    x, levels = np.array([[0, 1.5], [1, 2.5], [2, 3.5]]), (CITIES, ())
    assert resolved(Config(), x, None).likelihood == "bernoulli"
    assert resolved(Config(columns="auto"), x, None).columns == "auto"
    assert resolved(Config(), x, ("a", "b"), levels).likelihood == "0=categorical:3,1=gaussian"
    by_hand = Config(columns="a=ordinal,b=student-t")
    assert resolved(by_hand, x[:2], ("a", "b"), levels).likelihood == "0=ordinal:3,1=student-t"
    for config in (Config(likelihood="gaussian"), Config(columns="a=gaussian,b=gaussian")):
        with pytest.raises(UsageError, match="a holds words, which gaussian cannot take"):
            resolved(config, x, ("a", "b"), levels)


def test_levels_outlive_a_checkpoint() -> None:
    """Catches levels that JSON turns into lists, which equal no tuples, and a checkpoint with too few levels."""
    x, levels = np.array([[0, 1.5], [1, 2.5], [2, 3.5]]), (CITIES, ())
    config = resolved(Config(), x, None, levels)
    reading = learn(x, config, ("a", "b"), None, levels)
    values = {**reading.as_dict(), "levels": [list(CITIES), []], "names": ["a", "b"]}
    assert Reading.restored(values, reading.tensors()).levels == levels
    with pytest.raises(DataError, match="contradicts itself"):
        Reading.restored({**values, "levels": [list(CITIES)]}, reading.tensors())


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_frames_and_text_have_one_meaning(path: Path, name: str) -> None:
    """Catches a model of a frame that scores the same rows in a file, or in the other order, as others."""
    frames = pytest.importorskip(name)
    frame = frames.read_csv(path)
    found, other = load(path), load(frame)
    assert found.levels == other.levels == (CITIES, (), ("no", "yes"), ())
    np.testing.assert_array_equal(found.train, other.train)
    model = VAE(**SMALL, epochs=2).fit(frame)
    np.testing.assert_array_equal(model.elbo(frame[::-1])[::-1], model.elbo(frame))
    with pytest.raises(DataError, match="'Rom' at row 0, column 0 'city'"):
        model.elbo(frames.DataFrame({"city": ["Rom"], "age": [40.0], "smoker": ["no"], "visits": [2]}))


def test_types_of_frames() -> None:
    """Catches an order that is lost, with the sizes in alphabetical order, and a bool whose word is 1.0."""
    pandas = pytest.importorskip("pandas")
    sizes = pandas.Categorical(["s", "l", None, "s"], ["s", "m", "l"], ordered=True)
    frame = pandas.DataFrame({"size": sizes, "ok": [True, False, True, True], "n": [1.5, 2, 3, 4]})
    x, levels = coded(frame)
    assert levels == (("s", "m", "l"), BOOLS, ())
    assert isinstance(levels[0], Ordered)
    assert x.tolist() == [[0, 1, 1.5], [2, 0, 2], [None, 1, 3], [0, 1, 4]]


def test_true_is_true() -> None:
    """Catches a frame's True that a run trained on a file's true refuses."""
    known, origin = Known(("a",), (("false", "true"),)), Origin("x", names=("a",))
    assert understood(np.array([[1.0], [0]]), (BOOLS,), known, origin).tolist() == [[1], [0]]
    assert understood(np.array([[0.0]]), (("TRUE",),), known, origin).tolist() == [[1]]


def test_a_run_gives_words(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches means of codes where words should be, cells that were seen and come back changed, and kinds unsaid."""
    gaps = [("" if i % 3 == 0 else row[0], *row[1:]) for i, row in enumerate(people())]
    path.write_text(text(gaps), encoding="utf-8")
    run, filled, drawn = (str(tmp_path / name) for name in ("run", "filled.csv", "drawn.csv"))
    words = ("--missing", "nan", "--kernels", "numpy", "--hidden", "6", "--latent", "2", "--epochs", "3")
    assert main(["train", str(path), "--out", run, "--no-pictures", *words]) == 0
    assert "city categorical:3 (3 different words); age gaussian" in capsys.readouterr().err
    known = "0=categorical:3,1=gaussian,2=bernoulli,3=poisson"
    assert said(capsys, "info", run)["likelihood"] == known
    fill = ("fill", run, "--data", str(path), "--mask", "nan", "--rows", "0:9", "--out", filled)
    assert main([*fill, "--imputations", "1", "--warm-up", "2", "--chains", "1"]) == 0
    lines = Path(filled).read_text(encoding="utf-8").splitlines()
    assert lines[0] == HEADER
    for line, row in zip(lines[1:], gaps[:9], strict=True):
        city, *rest = line.split(",")
        assert city == row[0] or (row[0] == "" and city in CITIES)
        assert rest == [f"{row[1]:g}", row[2], str(row[3])]
    assert main(["sample", run, "--count", "20", "--out", drawn]) == 0
    cells = [line.split(",") for line in Path(drawn).read_text(encoding="utf-8").splitlines()[1:]]
    assert {row[0] for row in cells} <= {*CITIES}
    assert {row[2] for row in cells} <= {"no", "yes"}
    assert all(row[3].isdecimal() for row in cells)


def test_info_says_what_would_be_done(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a table whose kinds are known to training alone."""
    kinds = said(capsys, "info", str(path))["kinds"]
    assert kinds["city"] == "categorical:3 (3 different words)"
    assert kinds["age"] == "gaussian (real numbers)"


def test_the_oddest_row_is_first(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a rank by the largest log p(x), one by its place in the order, and rows numbered within --rows."""
    run, later = str(tmp_path / "model.safetensors"), tmp_path / "later.csv"
    VAE(**SMALL, likelihood="gaussian", epochs=5).fit(load(path).train[:, 1:2]).save(run)
    later.write_text("age\n50\n900\n51\n90\n", encoding="utf-8")
    found = said(capsys, "score", run, str(later), "--samples", "5", "--top", "2")
    assert [(one["row"], one["rank"]) for one in found["rows"]] == [(1, 1), (3, 2)]
    assert main(["score", run, str(later), "--samples", "5", "--rows", "2:4"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "row,rank,nats,why"
    assert [line.split(",")[:2] for line in out[1:]] == [["2", "2"], ["3", "1"]]
