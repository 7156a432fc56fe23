"""§7.3 Texts as data, and the commands of a run on sequences: nothing is lost on the way to codes and back."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from command_line import refused, said
from hypothesis import given
from hypothesis import strategies as st

from scratchvae.cli import main
from scratchvae.data.texts import load_text, read_lines
from scratchvae.data.tokens import PAD, UNKNOWN, Lines, Vocabulary, split
from scratchvae.errors import DataError

TINY = ("--model", "sequence", "--hidden", "6", "--latent", "2", "--kernels", "numpy", "--batch", "20", "--no-pictures")
WORDS = [a + b + c for a in ("ba", "do", "ki") for b in ("ba", "do", "ki", "") for c in ("ta", "so", "me", "")]


def text_file(folder: Path, name: str = "words.txt", lines: list[str] = WORDS) -> str:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=2, max_size=6))
def test_characters_come_back(texts: list[str]) -> None:
    """Catches a character that is two codes, END among the text, and a row that is cut."""
    known = Vocabulary.of("characters", texts[:1], texts[1:])
    x = known.encode(Lines("rows", texts, list(range(len(texts)))))
    assert known.decode(x) == texts
    assert ((x == PAD).sum(axis=1) == max(map(len, texts)) - np.array([len(t) for t in texts])).all()


def test_tokens_of_each_kind() -> None:
    """Catches Cl that is C and l, a bracket in pieces, a hyphen or an apostrophe that parts a word."""
    assert split("CCl[nH]Br%10c", "smiles") == ["C", "Cl", "[nH]", "Br", "%10", "c"]
    assert split("In the well-known king's house, God.", "words") == [
        "In", "the", "well-known", "king's", "house", ",", "God", "."
    ]  # fmt: skip


def test_words_seen_once_are_unknown(tmp_path: Path) -> None:
    """Catches a vocabulary that has the test rows' words, or every word; words that are written as one."""
    lines = ["a b", "a b", "a c", *["a b"] * 6, "c a"]
    found, known = load_text(text_file(tmp_path, lines=lines), kind="words")
    assert known.texts == ("<end>", "<unknown>", "a", "b")
    assert (found.train[2, 1], found.test[0, 0]) == (UNKNOWN, UNKNOWN)
    assert known.decode(found.train[1:3]) == ["a b", "a <unknown>"]


def test_files_of_each_kind(tmp_path: Path) -> None:
    """Catches a header that is a sequence, a name behind a SMILES that is one, a blank line that is a row, or moves the
    places of those behind it; test rows that are longer than the others."""
    csv = text_file(tmp_path, "m.csv", ["ID,SMILES", "1,CC", "2,CO"])
    smi = text_file(tmp_path, "m.smi", ["CC x", "", "CO y"])
    packed = tmp_path / "m.csv.gz"
    packed.write_bytes(gzip.compress(Path(csv).read_bytes()))
    for path in (csv, smi, str(packed)):
        found, known = load_text(path, path, kind="smiles")
        assert known.decode(found.test) == ["CC", "CO"]
    assert [read_lines(Path(path)).lines for path in (csv, smi)] == [[2, 3], [1, 3]]
    longer = load_text(text_file(tmp_path, lines=["ab", "abab"]))[0]
    assert longer.train.shape == longer.test.shape == (1, 5)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["abc", "abd", "abz"], "'z' at row 2 (from 0; line 3)"),
        (["abc", "abcdc"], "has 5 tokens at row 1 (from 0; line 2)"),
    ],
)
def test_later_rows_that_do_not_fit(lines: list[str], words: str, tmp_path: Path) -> None:
    """Catches a character that silently becomes another, and a row that is cut."""
    known = load_text(text_file(tmp_path, "a.txt", ["abc", "abd"] * 3))[1]
    path = text_file(tmp_path, "b.txt", lines)
    with pytest.raises(DataError) as error:
        load_text(path, path, known=known, width=4)
    assert words in str(error.value)


@pytest.mark.parametrize(("made", "words"), [("", "holds no text"), ("one\n", "has one row"), (None, "neither a text"),
                                             (b"\xff\xfe\x00", "UTF-8")])  # fmt: skip
def test_files_that_are_no_text(made: str | bytes | None, words: str, tmp_path: Path) -> None:
    """Catches a traceback where one line is due."""
    path = tmp_path / "a.txt"
    if made is not None:
        path.write_bytes(made if isinstance(made, bytes) else made.encode())
    with pytest.raises(DataError, match=words):
        load_text(str(path))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run on a text, of two epochs."""
    folder = tmp_path_factory.mktemp("texts")
    assert main(["train", text_file(folder), *TINY, "--epochs", "2", "--out", str(folder / "run")]) == 0
    return str(folder / "run")


def test_the_repository_has_words() -> None:
    """Catches a list that is gone, or in the order of the alphabet, whose last tenth would be another language."""
    found, known = load_text("words")
    assert (len(found.train) + len(found.test), len(known.texts)) == (74_837, 71)
    first = {known.texts[code] for code in found.test[:, 0]}
    assert set("abcdefghijklmnopqrstuvwxyz") <= first


def test_a_resumed_run_has_the_same_bits(run: str, tmp_path: Path) -> None:
    """Catches codes, noise or a vocabulary that are others after a stop."""
    text, whole, parts = text_file(tmp_path), str(tmp_path / "whole"), str(tmp_path / "parts")
    more = ("--word-dropout", "0.3", "--warm-up", "2", "--free-bits", "0.1")
    main(["train", text, *TINY, *more, "--epochs", "4", "--out", whole])
    main(["train", text, *TINY, *more, "--epochs", "1", "--out", parts])
    main(["train", "--resume", "--epochs", "4", "--out", parts, "--no-pictures"])
    a, b = (Path(folder, "checkpoint.safetensors").read_bytes() for folder in (whole, parts))
    assert a == b


def test_a_resumed_run_on_another_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches codes that mean other letters: the same codes of another alphabet have the same digest."""
    text, out = text_file(tmp_path), str(tmp_path / "run")
    main(["train", text, *TINY, "--epochs", "1", "--out", out])
    Path(text).write_text("\n".join(WORDS).replace("a", "u") + "\n", encoding="utf-8")
    capsys.readouterr()
    assert "other tokens" in refused(capsys, 3, "train", "--resume", "--epochs", "2", "--out", out, "--force")


def test_evaluate_says_all_of_it(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a figure that is missing, and one that another contradicts."""
    found = said(capsys, "evaluate", run, "--samples", "100", "--draws", "50")
    assert found["measure"] == "probability of tokens"
    assert found["log_likelihood"] >= found["elbo"] - 0.5
    assert abs(found["elbo"] - (found["reconstruction"] - found["kl"])) < 1e-6
    for share in ("reconstruction_greedy", "reconstruction_sampled", "unique", "novel"):
        assert 0 <= found[share] <= 1
    assert 0 <= found["mutual_information"] < found["kl"] + 1


def test_samples_are_text(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches draws that are not named by the seed, and a file that says another thing than stdout."""
    calls = (["--seed", "3"], ["--seed", "3"], ["--seed", "4"], ["--beam", "2"], ["--temperature", "0.1"])
    found = []
    for more in calls:
        assert main(["sample", run, "--count", "5", *more]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1] != found[2]
    assert all(
        len(text.splitlines()) == 5 and set(text.replace("<unknown>", "")) <= set("".join(WORDS) + "\n")
        for text in found
    )
    assert main(["sample", run, "--count", "5", "--seed", "3", "--out", str(tmp_path / "a.txt")]) == 0
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == found[0]


def test_between_two_texts(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches ends that are not those that were given, and texts that are taken for rows."""
    for ends in (["bata", "doso"], ["--rows", "0,1"]):
        assert main(["interpolate", run, *ends, "--steps", "4"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 4
    assert "two texts to go between" in refused(capsys, 2, "interpolate", run, "bata")
    assert "'x' at row 1" in refused(capsys, 3, "interpolate", run, "bata", "xo")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["reconstruct", "RUN"], "reconstruct takes no run of model=sequence"),
        (["evidence", "RUN"], "evidence takes no run of model=sequence"),
        (["export", "RUN", "a.onnx"], "export takes no run of model=sequence"),
        (["sample", "RUN", "--out", "a.png"], "unknown ending"),
        (["train", "words"], "is a text"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], line: str, run: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Catches a command that reads tokens as numbers."""
    monkeypatch.chdir(tmp_path)
    assert line in refused(capsys, 2, *(run if word == "RUN" else word for word in words))
