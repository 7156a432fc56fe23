"""§7.3 Tables as people have them, one for each thing that is odd about them: read right, or refused in one line that
names row, column and the way out. pandas, told by hand what is odd, is the judge of what is read.
"""

import gzip
import lzma
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from command_line import said
from made_files import refused

from scratchvae.cli import main
from scratchvae.data import load
from scratchvae.data.words import words_of

DOCS = Path(__file__).parent.parent / "docs"


class Odd(NamedTuple):
    """A table; its rows, cells with blanks between them and - for a gap, or the words that refuse it; a piece of what
    is noted; and what pandas must be told of it."""

    text: str | bytes
    expected: list[str] | str
    note: str = ""
    told: dict[str, Any] | None = None


X = ["1 2.5", "3 4.5"]
CITIES = [f"{city} {i}.5" for i, city in enumerate(["Bonn", "Ulm", "Bonn", "Ulm"])]
WAY = "leave the column out"

TABLES = {
    "a header": Odd("a,b\n1,2.5\n3,4.5\n", X, "line 1 taken for names: a, b"),
    "no header": Odd("1,2.5\n3,4.5\n", X, told={"header": None}),
    "an index": Odd(",a,b\n0,1,2.5\n1,3,4.5\n", X, "index of the rows: dropped", {"index_col": 0}),
    "an index of words": Odd("car,a,b\nT4,1,2.5\nP7,3,4.5\nX2,5,6.5\n", [*X, "5 6.5"], "taken for an index",
                             {"index_col": 0}),
    "a byte order mark": Odd("\ufeffa,b\n1,2.5\n3,4.5\n", X),
    "CRLF": Odd("a,b\r\n1,2.5\r\n3,4.5\r\n", X),
    "quotes": Odd('"a","b, ""c"""\n"1","2.5"\n"3","4.5"\n', X, 'names: a, b, "c"'),
    "semicolons": Odd("a;b\n1;2.5\n3;4.5\n", X, told={"sep": ";"}),
    "tabs": Odd("a\tb\n1\t2.5\n3\t4.5\n", X, told={"sep": "\t"}),
    "bars": Odd("a|b\n1|2.5\n3|4.5\n", X, told={"sep": "|"}),
    "decimal commas": Odd("a;b\n1;2,5\n3;4,5\n", X, "taken for decimal commas", {"sep": ";", "decimal": ","}),
    "NA, #N/A, ? and empty cells": Odd("a,b\nNA,2.5\n#N/A,\n?,4.5\n", ["- 2.5", "- -", "- 4.5"],
                                       told={"na_values": ["?"]}),
    "categories": Odd("city,b\nBonn,0.5\nUlm,1.5\nBonn,2.5\nUlm,3.5\n", CITIES),
    "True and False": Odd("a,b\nTrue,2.5\nFalse,4.5\nTrue,5\n", ["True 2.5", "False 4.5", "True 5"]),
    "comments above": Odd("# by me, on a Monday\n# 2020\na,b\n1,2.5\n3,4.5\n", X, "line 1 passed over",
                          {"comment": "#"}),
    "a title above": Odd("My table\n\na,b\n1,2.5\n3,4.5\n", X, "line 1 passed over", {"skiprows": 1}),
    "a separator at each line's end": Odd("a,b,\n1,2.5,\n3,4.5,\n", X, "no column is made of it", {"usecols": [0, 1]}),
    "a name twice": Odd("a,a\n1,2.5\n3,4.5\n", X, "names that stand twice: a"),
    "a name of two lines": Odd('"a\n(kg)",b\n1,2.5\n3,4.5\n', X, r"names: a \(kg\), b"),
    "an empty column": Odd("a,b,c\n1,,2.5\n3,,4.5\n", ["1 - 2.5", "3 - 4.5"]),
    "a constant column": Odd("a,b\n1,5\n3,5\n", ["1 5", "3 5"]),
    "blanks around cells": Odd(" a , b\n 1 ,2.5 \n3, 4.5\n", X),
    "empty lines": Odd("a,b\n1,2.5\n\n3,4.5\n\n", X, "2 empty lines passed over"),
    "UTF-16": Odd("a\tb\n1\t2.5\n3\t4.5\n".encode("utf-16"), X, told={"sep": "\t", "encoding": "utf-16"}),
    "gz": Odd(gzip.compress(b"a,b\n1,2.5\n3,4.5\n"), X, told={"compression": "gzip"}),
    "xz": Odd(lzma.compress(b"a,b\n1,2.5\n3,4.5\n"), X, told={"compression": "xz"}),
    "one column": Odd("height\n1.5\n2.5\n", ["1.5", "2.5"]),
    "one row": Odd("a,b\n1,2.5\n", X[:1]),
    "scientific notation": Odd("a,b\n1e0,25E-1\n3,+4.5e+00\n", X),
    "codes of classes": Odd("a,b\n" + "1,0.5\n2,1.5\n3,2.5\n" * 4, ["1 0.5", "2 1.5", "3 2.5"] * 4),
    "ids that are numbers": Odd("id,b\n7,2.5\n8,4.5\n9,1\n", ["7 2.5", "8 4.5", "9 1"], "leave it out if it"),
    "ids that are words": Odd("b,id\n1,A7\n1,A8\n2,A9\n", rf"'A7' at row 0, column 1 'id'.*no category.*{WAY}"),
    "dates": Odd("a,day\n1,31.01.2020\n1,31.01.2020\n", rf"'31.01.2020' at row 0, column 1 'day'.*dates.*{WAY}"),
    "dates with a time": Odd("a,t\n1,2020-01-31T10:00\n2,2020-01-31T10:00\n", f"row 0, column 1 't'.*dates.*{WAY}"),
    "dates in words": Odd('a,t\n1,"Jan 31, 2020"\n2,"Jan 31, 2020"\n3,1 Feb 2020\n', f"column 1 't'.*dates.*{WAY}"),
    "numbers and words": Odd("a,b\n1,17\n2,A/5 21\n", rf"'A/5 21' at row 1, column 1 'b' .*line 3.*1 cell.*{WAY}"),
    "thousands": Odd('a,b\n1,"1,234"\n2,"2,345"\n', "'1,234' at row 0, column 1 'b'.*no separators of thousands"),
    "thousands with points": Odd("a;b\n1;1.234,5\n2;1.234,5\n", "'1.234,5' at row 0, column 1 'b'.*of thousands"),
    "per cent": Odd("a,b\n1,5%\n2,5%\n", "'5%' at row 0, column 1 'b'.*without their unit"),
    "currencies": Odd("a,b\n1,€5\n2,€5\n", "'€5' at row 0, column 1 'b'.*without their unit"),
    "brackets for a minus": Odd("a,b\n1,(5)\n2,(5)\n", r"'\(5\)' at row 0, column 1 'b'.*a minus sign before"),
    "a footer": Odd("a,b\n1,2\n3,4\nTotal,6\n", rf"'Total' at row 2, column 0 'a' .*line 4.*{WAY}"),
    "ragged rows": Odd("a,b,c\n1,2,3\n1,2\n", "2 cells in line 3, but 3 names above it .a, b, c.; mend that line"),
    "Latin-1": Odd("a,b\n1,x\n2,Köln\n".encode("latin-1"), "line 3 holds what in Latin-1 is 'Köln'; save .* in UTF-8"),
    "an infinity": Odd("a,b\n1,2\n3,inf\n", "holds inf at row 1, column 1 'b' .*line 3.*drop that row, or mend"),
    "a separator in a cell": Odd("a\tb\n1;\t2\n3;\t4\n", "'1;' at row 0, column 0 'a' .*line 2"),
    "a line's end in a cell": Odd('a,b\n1,"x\ny"\n2,"x\ny"\n', "row 0, column 1 'b'.*mend that cell"),
    "an open quote": Odd('a,b\n1,"2\n3,4\n', "a quote that is not closed in lines 2 to 3; close it"),
}  # fmt: skip


def text_of(value: Any) -> str:
    """A value of pandas as we write it."""
    if isinstance(value, str | bool | np.bool_):
        return str(value)
    return "" if value != value else np.format_float_positional(float(value), trim="-")


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    table = TABLES[request.getfixturevalue("what")].text
    (tmp_path / "x.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    return tmp_path / "x.csv"


@pytest.mark.parametrize("what", TABLES)
def test_awkward_tables(path: Path, what: str) -> None:
    """Catches values of other cells, words for numbers, guesses that are not said, and refusals without a way out."""
    odd = TABLES[what]
    if isinstance(odd.expected, str):
        refused(odd.expected, path, test=path)
        return
    found = load(path, test=path, missing=True)
    levels = found.levels or ((),) * found.train.shape[1]
    cells = [row.replace("-", "").split(" ") for row in odd.expected]
    assert words_of(found.train, levels) == words_of(found.test, levels) == cells
    assert re.search(odd.note, "\n".join(found.notes))


@pytest.mark.parametrize("what", [what for what, odd in TABLES.items() if not isinstance(odd.expected, str)])
def test_pandas_reads_the_same(path: Path, what: str) -> None:
    """Catches a reader that agrees with its own test alone."""
    pandas = pytest.importorskip("pandas")
    odd = TABLES[what]
    frame = pandas.read_csv(path, skipinitialspace=True, **(odd.told or {}))
    assert [" ".join(text_of(v) or "-" for v in row) for row in frame.astype(object).values] == odd.expected
    names = load(path, test=path, missing=True).names
    if names and what != "a name twice":  # of which pandas makes a and a.1
        assert names == tuple(" ".join(name.split()) for name in frame.columns)


def test_the_page_has_the_same_table() -> None:
    """Catches a page that promises what is refused, or passes over what is."""
    page = (DOCS / "data.md").read_text(encoding="utf-8").partition("## Awkward tables")[2]
    _, *rows = re.findall(r"^\| (.+?) \| (.+) \|$", page, re.MULTILINE)
    told = {name: answer.startswith("refused") for name, answer in rows}
    assert told == {name: isinstance(odd.expected, str) for name, odd in TABLES.items()}


@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_a_quote_over_the_end_of_a_block(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a cell of several lines that is torn where a block ends, and refused as a quote that is not closed."""
    monkeypatch.setattr("scratchvae.data.text.BLOCK", block)
    rows = "".join(f'{i},"so\nand so {i}",{i % 3}.5\n' for i in range(60))
    (tmp_path / "x.csv").write_text("a,note,b\n" + rows)
    found = load(tmp_path / "x.csv", test=tmp_path / "x.csv", leave_out=["note"])
    assert found.train.tolist() == [[i, i % 3 + 0.5] for i in range(60)]


def test_an_infinite_quote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a stray quote for whose end the whole file is taken into memory."""
    monkeypatch.setattr("scratchvae.data.text.QUOTED", 100)
    (tmp_path / "x.csv").write_text('a,b\n1,"2\n' + "3,4\n" * 1000)
    refused(r"a quote that is not closed in lines 2 to \d{2,3};", tmp_path / "x.csv")


def test_as_many_titles_as_rows(tmp_path: Path) -> None:
    """Catches a width that is taken from the titles where as many lines have it as have the table's."""
    (tmp_path / "x.csv").write_text("Cars\nof 1974\na,b,c\n1,2.5,3\n")
    found = load(tmp_path / "x.csv", test=np.ones((1, 3)))
    assert (found.names, found.train.tolist()) == (("a", "b", "c"), [[1, 2.5, 3]])


def test_latin_1_far_down(tmp_path: Path) -> None:
    """Catches words of another alphabet behind the lines that tell the layout."""
    (tmp_path / "x.csv").write_bytes(("a,b\n" + "1,x\n" * 90 + "2,Köln\n").encode("latin-1"))
    refused("line 92 holds what in Latin-1 is 'Köln'", tmp_path / "x.csv")


@pytest.mark.parametrize("options", [("--columns", "auto"), ("--likelihood", "gaussian")])
def test_a_column_without_values_is_named(
    tmp_path: Path, options: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches "column 1" for a column with a name, and a likelihood of three columns for the two that are left."""
    command = ["train", str(tmp_path / "x.csv"), "--out", str(tmp_path / "run"), "--missing", "nan", *options]
    (tmp_path / "x.csv").write_text("a,none,b\n" + "".join(f"{i}.5,,{i % 7}.25\n" for i in range(40)))
    assert main(command) == 3
    assert re.search("none'? .*(is empty|is missing in every row).*: leave it out", capsys.readouterr().err)
    if "auto" in options:  # else it is dropped, and said
        (tmp_path / "x.csv").write_text("a,same,b\n" + "".join(f"{i}.5,5,{i % 7}.25\n" for i in range(40)))
        assert main(command) == 3
        assert "same is constant in the training data, and has no density: leave it out" in capsys.readouterr().err


def test_what_info_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches ids, codes, constants and empty columns that are taken for something without a word."""
    lines = [f"{100 + i * i},{i % 3},5,,{i}.5" for i in range(60)]
    (tmp_path / "x.csv").write_text("\n".join(["id,class,same,none,real", *lines]))
    kinds = said(capsys, "info", str(tmp_path / "x.csv"))["kinds"]
    for name, words in (("id", "leave it out if it is an id"), ("class", "codes: --columns auto,class=categorical"),
                        ("same", "constant: leave it out"), ("none", "empty: leave it out")):  # fmt: skip
        assert words in kinds[name]
