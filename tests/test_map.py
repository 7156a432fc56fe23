"""§7 The map from equations to code, proofs and lessons: nothing has moved, and nothing is left out."""

import ast
import importlib
import inspect
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
DISPLAYED = {"7.1": 2, "7.2": 2, "7.2.2": 3, "7.2.3": 1, "7.2.4": 4, "7.2.5": 1, "7.3": 3}  # equations of the chapter
NUMBERED = 24  # of the paper
NOT_BUILT = "not built"
SYMBOLS = {
    "x",
    "z",
    "theta",
    "phi",
    "L",
    "eps",
    "u",
    "mu",
    "log_var",
    "logits",
    "r",
    "baseline",
    "W",
    "b",
    "hs",
    "w",
    "dX",
}
SYMBOLS |= {"m", "samples", "eta", "T", "A"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    part = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


CHAPTER, PAPER, WORDS, GLOSSARY = (
    rows(heading) for heading in ("The chapter", "Kingma & Welling 2014", "In words", "Glossary")
)


def found(name: str) -> Any:
    """The object that `models.vae.elbo` names."""
    parts = name.strip("`").split(".")
    for i in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(["scratchvae", *parts[:i]]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            thing = getattr(thing, part)
        return thing
    raise AssertionError(f"nothing is called {name}")


def names_in(file: str) -> set[str]:
    path = ROOT / "tests" / f"{file}.py"
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_equation_of_the_chapter_and_of_the_paper_has_its_row() -> None:
    """Bug: an equation that nobody can follow into the code."""
    assert Counter(row[0] for row in CHAPTER) == DISPLAYED
    numbers: list[int] = []
    for row in PAPER:
        first, _, last = row[0].partition("–")
        numbers += range(int(first), int(last or first) + 1)
    assert numbers == list(range(1, NUMBERED + 1))
    assert {"7.2.4", "7.2.5", *(f"K&W 2.4, {way}" for way in (1, 2, 3))} <= {row[0] for row in WORDS}


def test_what_is_built_is_not_said_to_be_missing_and_no_symbol_is_lost() -> None:
    """Bugs: a row of what is there that says "not built"; a symbol that nobody explains any more."""
    assert [row[0] for row in (*CHAPTER, *PAPER) if row[2] == NOT_BUILT] == []
    names = {name for row in GLOSSARY for name in re.findall(r"`([^`]+)`", row[1])}
    assert names >= SYMBOLS


@pytest.mark.parametrize("row", [*CHAPTER, *PAPER, *WORDS], ids=lambda row: f"{row[0]} {row[2]}")
def test_what_stands_in_the_map_is_there(row: list[str]) -> None:
    """Bugs: code, a test or a lesson that has moved; a row that claims what is not built."""
    _, equation, code, test, lesson = row
    assert equation
    if code == NOT_BUILT:
        assert not test
        assert not lesson
        return
    assert inspect.getdoc(found(code))
    file, _, name = test.strip("`").partition(".")
    assert name in names_in(file), f"{file} has no {name}"
    assert lesson == "–" or list((ROOT / "docs" / "lessons").glob(f"{lesson}-*.md")), f"there is no lesson {lesson}"


@pytest.mark.parametrize("row", GLOSSARY, ids=lambda row: row[1])
def test_every_symbol_is_a_name_in_the_code(row: list[str]) -> None:
    """Bug: a symbol that is called something else where it is used."""
    symbol, names, _, meaning, where, section = row
    assert symbol
    assert meaning
    assert re.fullmatch(r"7(\.\d)*", section)
    source = inspect.getsource(found(where))
    for name in re.findall(r"`([^`]+)`", names):
        assert re.search(rf"\b{'d[A-Za-z]+' if name == 'dX' else name}\b", source), f"{where} has no {name}"


def test_what_is_unnumbered_is_there_too() -> None:
    """Bug: a name in the line on the appendices that has moved."""
    line = TEXT.partition("Unnumbered: ")[2].partition("\n##")[0]
    for name in re.findall(r"`([^`]+)`", line):
        file, _, test = name.partition(".")
        assert test in names_in(file) if file.startswith("test_") else found(name)
