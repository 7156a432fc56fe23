"""§7.3 Data as people have them, text, then arrays: right values, or one line that says where and how to mend it."""

import datetime
import gzip
import lzma
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_files import refused

from scratchvae.data import check, files, load, matrix, text
from scratchvae.data.arrays import names_of, ordered
from scratchvae.errors import DataError
from scratchvae.types import Array

NAN = float("nan")
X = [[1, 2.5], [3, 4.5]]

TABLES: dict[str, tuple[str, Any, Any, tuple[str, ...]]] = {  # text, values, names, a piece of each note
    "names": ("a,b\n1,2.5\n3,4.5\n", X, ("a", "b"), ("line 1 taken for names: a, b",)),
    "no names": ("1,2.5\n3,4.5", X, None, ()),
    "carriage returns": ("a,b\r\n1,2.5\r\n3,4.5\r\n", X, ("a", "b"), ("names",)),
    "old Mac": ("a,b\r1,2.5\r3,4.5\r", X, ("a", "b"), ("names",)),
    "byte order mark": ("\ufeffa,b\n1,2.5\n3,4.5\n", X, ("a", "b"), ("names",)),
    "quotes": ('"a","b, c"\n"1","2.5"\n"3","4.5"\n', X, ("a", "b, c"), ("names",)),
    "a name of two lines": ('"a\n(kg)",b\n1,2.5\n3,4.5\n', X, ("a (kg)", "b"), ("names: a .kg., b",)),
    "semicolons": ("a;b\n1;2.5\n3;4.5\n", X, ("a", "b"), ("names",)),
    "decimal commas": ("a;b\n1;2,5\n3,0;4,5\n", X, ("a", "b"), ("names", "decimal commas")),
    "decimal commas without names": ("1,0;2,5\n3;4,5\n", X, None, ("decimal commas",)),
    "tabs": ("a\tb c\n1\t2.5\n3\t4.5\n", X, ("a", "b c"), ("names",)),
    "blanks": ("  a   b\n  1   2.5 \n  3   4.5 \n", X, ("a", "b"), ("names",)),
    "commas and blanks": ("a, b\n1, 2.5\n3, 4.5\n", X, ("a", "b"), ("names",)),
    "one column of two words": ("petal length\n1\n2\n", [[1], [2]], ("petal length",), ("names",)),
    "a title above decided the delimiter": (
        "My data, 2020, v2\na;b\n1;2.5\n3;4.5\n", X, ("a", "b"), ("line 1 passed over: 'My data, 2020, v2'", "line 2")
    ),
    "a title with its commas": ("My data,\na,b\n1,2.5\n3,4.5\n", X, ("a", "b"), ("line 1 passed over", "line 2")),
    "numpy.savetxt's names": ("# a b\n1 2.5\n3 4.5\n", X, ("a", "b"), ("line 1 taken for names: a, b",)),
    "comments above": ("# by me\n# on a Monday, early\n1 2.5\n3 4.5\n", X, None, ("line 1 passed", "line 2 passed")),
    "a page of comments above": (
        "# by me, on a Monday\n" * 60 + "1 2.5\n3 4.5\n", X, None, ("line 1 passed over", "and so 59 more, to line 60$")
    ),
    "a page of empty lines above": ("\n" * 60 + "1 2.5\n3 4.5\n", X, None, ("60 empty lines passed over",)),
    "#N/A begins no comment": ("a,b\n#N/A,2.5\n3,4.5\n", [[NAN, 2.5], [3, 4.5]], ("a", "b"), ("names",)),
    "words for missing": (
        "a,b\nNA,N/A\n?,null\n,NaN\nNone,-nan\n1,2.5\n", [[NAN] * 2] * 4 + [[1, 2.5]], ("a", "b"), ("names",)
    ),
    "a first line of gaps is no names": (",\n1,2.5\nNA,4.5", [[NAN] * 2, [1, 2.5], [NAN, 4.5]], None, ()),
    "a first line of NA is no names": ("NA,NA\n1,2.5", [[NAN] * 2, [1, 2.5]], None, ()),
    "pandas' 0, 1, 2": ("0,1\n1.0,2.5\n3.0,4.5\n", X, ("0", "1"), ("line 1 taken for names: 0, 1",)),
    "bits are no names": ("0,1\n1,1\n0,0\n", [[0, 1], [1, 1], [0, 0]], None, ("line 1 .0, 1. taken for a row",)),
    "years for names": ("rain,2019\n1,2.5\n3,4.5\n", X, ("rain", "2019"), ("names",)),
    "pandas' index": (",a,b\n0,1,2.5\n1,3,4.5\n", X, ("a", "b"), ("names", "column 0 .*an index of the rows: dropped")),
    "pandas' index, shuffled": (",a,b\n17,1,2.5\n4,3,4.5\n", X, ("a", "b"), ("names", "dropped")),
    "pandas' index, 0, 1": (",0,1\n0,1.0,2.5\n1,3.0,4.5\n", X, ("0", "1"), ("names", "dropped")),
    "an index read as Unnamed": ("Unnamed: 0,a,b\n0,1,2.5\n1,3,4.5\n", X, ("a", "b"), ("names", "dropped")),
    "R's row names": ('"a" "b"\n"1" 1 2.5\n"2" 3 4.5\n', X, ("a", "b"), ("names", "dropped")),
    "no index: it repeats": (",b\n1,2\n1,3\n", [[1, 2], [1, 3]], ("", "b"), ("names",)),
    "a named index stays, and is named": (
        "id,b\n1,9\n2,8\n3,7\n", [[1, 9], [2, 8], [3, 7]], ("id", "b"), ("names", "column 0 'id' counts the rows")
    ),
    "a comma ends every line": ("a,b,\n1,2.5,\n3,4.5,\n", X, ("a", "b"), ("names", "a delimiter ends every line")),
    "a comma ends every row": ("a,b\n1,2.5,\n3,4.5,\n", X, ("a", "b"), ("names", "a delimiter ends every line")),
    "a gap ends the only row": ("1,2.5,", [[1, 2.5, NAN]], None, ()),
    "empty lines": ("a,b\n\n1,2.5\n  \n3,4.5\n\n", X, ("a", "b"), ("names", "3 empty lines passed over")),
    "a row of gaps": ("a,b\n1,2.5\n,\n", [[1, 2.5], [NAN, NAN]], ("a", "b"), ("names",)),
}  # fmt: skip


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("what", TABLES)
def test_tables(tmp_path: Path, what: str, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches rows that vanish behind a #, a header or an index that becomes data, and data that become a header;
    with blocks of one line too."""
    written, values, names, notes = TABLES[what]
    if small:
        monkeypatch.setattr(text, "BLOCK", 1)
    (tmp_path / "x.csv").write_bytes(written.encode())
    found = files.read(tmp_path / "x.csv")
    np.testing.assert_array_equal(found.parts["train"], values)
    assert found.names == names
    assert len(found.notes) == len(notes)
    for words, note in zip(notes, found.notes, strict=True):
        assert re.search(words, note), note


REFUSED: dict[str, tuple[str, str]] = {
    "text": ("a,b\n1,x\n", "holds 'x' at row 0, column 1 'b' .from 0; line 2 of the file.*leave the column out"),
    "text in the first row": ("1,x\n3,4\n", r"'x' at row 0, column 1 \(from 0; line 1 of the file\)"),
    "behind empty lines": ("a,b\n\n1,2\n\n\n3,x\n", "'x' at row 1, column 1 'b' .from 0; line 6"),
    "behind an index": (",a,b\n0,1,2\n1,3,x\n", "'x' at row 1, column 1 'b' .from 0; line 3"),
    "far down": ("a,b\n" + "1,2\n" * 300 + "x,2\n", "'x' at row 300, column 0 'a' .from 0; line 302"),
    "ids behind #": ("id,b\n#12,3\n#13,4\n", "'#12' at row 0, column 0 'id' .from 0; line 2"),
    "rows behind #": ("#12,3\n#13,4\n14,5\n", "'#12' at row 0, column 0 .from 0; line 1"),
    "a comment behind a row": ("a,b\n1,2 # so\n", "'2 # so' at row 0, column 1 'b'"),
    "dates": ("day,b\n2020-01-31,2\n", "'2020-01-31' at row 0, column 0 'day'.*turn dates into numbers"),
    "decimal commas and points": ("a;b\n1,5;2.5\n", "'1,5' at row 0, column 0 'a'.*decimal points"),
    "a point after decimal commas": ("a;b\n" + "1,5;2\n" * 60 + "1,5;2.5\n", "'2.5' at row 60, column 1 'b'.*points"),
    "thousands": ('a,b\n"1,234.5",2\n', "'1,234.5' at row 0, column 0 'a'.*no separators of thousands"),
    "Python's thousands": ("a,b\n1_000,2\n", "'1_000' at row 0, column 0 'a'"),
    "per cent": ("a,b\n5 %,2\n", "'5 %' at row 0.*without their unit"),
    "true": ("a,b\nTrue,2\n", "'True' at row 0.*write 1 and 0"),
    "units": ("a,b\nkg,m\n1,2\n", "'kg' at row 0, column 0 'a' .from 0; line 2"),
    "a short line": ("a,b\n1,2\n3\n", "1 cell in line 3, but 2 names above it .a, b.; mend"),
    "a control character": ("a,b\n1,x\n2,y\x00\n3,x\n4,x", "mend that cell: it has a control character"),
    "a long line": ("1,2\n3,4,5\n6,7", "3 cells in line 2, but 2 in the lines before"),
    "a footer": ("a,b\n1,2\nTotal: 3\n", "1 cell in line 3"),
    "an open quote": ('a,b\n1,2\n"3,4\n5,6\n', "1 cell in line 4.*close its quote"),
    "an open quote at the end": ('a,b\n1,2\n3,"', "a quote that is not closed in lines 2 to 3"),
    "an open quote in a name": ('"a,b\n' + "1,2\n" * 60, "a quote that is not closed in lines 1 to 61"),
    "a name with a line's end in it": ("a\x0bb,c,d\n1,2\n3,4\n", r"3 cells in line 1 .a\\x0bb, c, d"),
    "names of other columns": ("a,b,c,d\n1,2\n3,4\n", "4 cells in line 1 .a, b, c, d.*and 2 in the lines below"),
    "a gap": ("a,b\n1,\n3,4\n", r"holds nan at row 0, column 1 'b' \(from 0; line 2 of the file\).*missing='nan'"),
    "an infinity": ("a,b\n1,2\n3,inf\n", "holds inf at row 1, column 1 'b' .from 0; line 3"),
    "no rows": ("a,b\n", r"shape \(0, 2\)"),
    "nothing": ("", r"shape \(0, 0\)"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_tables_that_are_none(tmp_path: Path, what: str) -> None:
    """Catches rows counted from 0 beside columns from 1, places without line and name, and errors without a way out."""
    written, words = REFUSED[what]
    (tmp_path / "x.csv").write_bytes(written.encode())
    refused(words, tmp_path / "x.csv")


@pytest.mark.parametrize("delimiter", [",", " "])
def test_a_line_longer_than_a_cell_may_be(tmp_path: Path, delimiter: str) -> None:
    """Catches a table of 20 000 columns that is refused, because the whole line is one cell to a wrong delimiter."""
    line = delimiter.join(["0.12500"] * 20_000)
    (tmp_path / "x.csv").write_text(f"{line}\n{line}\n")
    np.testing.assert_array_equal(files.read(tmp_path / "x.csv").parts["train"], np.full((2, 20_000), 0.125))


def test_a_bad_value_of_a_text_is_named_by_its_line(tmp_path: Path) -> None:
    """The range of a likelihood is looked at long after the file was read, the test's last tenth too."""
    lines = ["a,b", *["0.5,0.5"] * 30]
    lines[7] = lines[30] = "0.5,7"
    lines.insert(3, "")
    (tmp_path / "x.csv").write_text("\n".join(lines))
    found = load(tmp_path / "x.csv")
    for x, origin, row, line in ((found.train, found.origin, 6, 9), (found.test, found.test_origin, 29, 32)):
        with pytest.raises(DataError, match=rf"x.csv holds 7\.0 at row {row}, column 1 'b' \(from 0; line {line} of"):
            check(x, "bernoulli", origin)


# Arrays


class Frame:
    """What pandas and polars have in common here."""

    def __init__(self, columns: list[Any], values: Any) -> None:
        self.columns, self.values = columns, np.asarray(values)
        self.shape = self.values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.values


NAType = type("NAType", (), {})  # pandas' NA is known by the name of its type
MASK = [[False, True], [False, False]]
ARRAYS: dict[str, tuple[Any, Any]] = {
    "masked floats": (np.ma.array(X, mask=MASK), [[1, NAN], [3, 4.5]]),
    "masked ints": (np.ma.array([[1, -999], [3, 4]], mask=MASK), [[1, NAN], [3, 4]]),
    "masked bools": (np.ma.array([[True, True], [False, True]], mask=MASK), [[1, NAN], [0, 1]]),
    "masked pixels": (np.ma.array(np.array([[255, 9], [51, 0]], np.uint8), mask=MASK), [[1, NAN], [0.2, 0]]),
    "masked bits": (np.ma.array(np.array([[1, 9], [1, 0]], np.uint8), mask=MASK), [[1, NAN], [1, 0]]),
    "masked objects": (np.ma.array(np.array([[1, "?"], [3, 4]], object), mask=MASK), [[1, NAN], [3, 4]]),
    "a mask of nothing": (np.ma.array(X, mask=False), X),
    "None and NA": ([[None, 2.5], [3, NAType()]], [[NAN, 2.5], [3, NAN]]),
    "objects that are numbers": ([[Decimal("1"), 2.5], [np.float32(3), Fraction(9, 2)]], X),
    "a frame": (Frame(["a", "b"], X), X),
    "a frame of mixed numbers": (Frame(["a", "b"], np.array([[True, 2.5], [3, None]], object)), [[1, 2.5], [3, NAN]]),
    "longdouble": (np.array(X, np.longdouble), X),
    "big endian": (np.array(X, ">f8"), X),
    "matrix": (np.array(X).view(np.matrix), X),
    "float16": (np.array(X, np.float16), X),
    "subnormal": ([[5e-324, 1], [2, 3]], [[5e-324, 1], [2, 3]]),
    "uint64": (np.array([[2**64 - 2**12, 1], [2, 3]], np.uint64), [[float(2**64 - 2**12), 1], [2, 3]]),
    "Python ints beyond 64 bits": ([[2**70, 1], [2, 3]], [[float(2**70), 1], [2, 3]]),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays(what: str) -> None:
    """Catches a mask that is lost, and numbers refused for what holds them."""
    given, values = ARRAYS[what]
    got, _ = matrix(given, missing=True)
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got.astype(float), values)


AT = r"at row 0, column 1 \(from 0\), which is no number: "
STRANGE: dict[str, tuple[Any, str]] = {
    "a masked entry": (np.ma.array(X, mask=MASK), "x holds nan at row 0, column 1 .*missing='nan'"),
    "complex": (np.array(X) + 0j, "x is complex; give its real part"),
    "complex in objects": ([[None, 1j]], f"x holds '1j' {AT}"),
    "a text column": (Frame(["a", "city"], np.array([[1, "Bonn"], [2, "Ulm"]], object)),
                      "x holds 'Bonn' at row 0, column 1 'city' .*leave the column out"),
    "numbers as text in a column": (np.array([[1, "2.5"]], object), f"x holds '2.5' {AT}turn text into numbers"),
    "numbers as text": (np.array([["1", "2.5"]]), "x holds text .dtype <U3.: turn text into numbers, as x.astype"),
    "text among numbers": ([[1, "Bonn"]], f"x holds 'Bonn' {AT}leave"),
    "bytes": (np.array([[b"1", b"x"]]), f"{AT}leave"),
    "dates": (np.zeros((2, 2), "datetime64[s]"), "x holds '1970.*at row 0, column 0 .*turn dates into numbers"),
    "dates in a column": ([[1, datetime.date(2020, 1, 31)]], f"x holds '2020-01-31' {AT}turn dates"),
    "spans of time": (np.zeros((2, 2), "timedelta64[D]"), "turn dates into numbers"),
    "spans in a column": (np.array([[1, np.timedelta64(3, "D")]], object), f"x holds '3 days' {AT}turn dates"),
    "fields": (np.zeros((2, 2), "i4,f4"), "x has fields .*structured_to_unstructured"),
    "masked fields": (np.ma.zeros((2, 2), "i4,f4"), "x has fields"),
    "lists of unequal lengths": ([[1, 2], [3]], "x is no array .*give rows of one length"),
    "an object": (np.array([[1, print]], object), AT),
    "a number": (np.array(3.0), r"shape \(\)"),
    "a row": (np.ones(3), r"shape \(3,\)"),
    "infinity in float16": (np.array([[1, np.inf]], np.float16), "holds inf at row 0, column 1"),
    "an int of 400 digits": ([[1, 10**400]], "holds inf at row 0, column 1"),
}  # fmt: skip


@pytest.mark.parametrize("what", STRANGE)
def test_arrays_that_are_none(what: str) -> None:
    """Catches six causes that are all "x has dtype object", an imaginary part that is dropped, and lost masks."""
    given, words = STRANGE[what]
    with pytest.raises(DataError, match=words) as caught:
        matrix(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["f8", "g", ">f8"])
@pytest.mark.parametrize("value", [3.5e38, -1e300])
def test_too_large_for_float32(tmp_path: Path, kind: str, value: float) -> None:
    """Catches a float64 that becomes inf in training, and is blamed on the learning rate."""
    from scratchvae.data import rows

    x = np.zeros((30, 3), kind)
    x[28, 1] = value
    words = r"holds .* at row 28, column 1 \(from 0\): too large for float32; scale the data, or train with dtype"
    with pytest.raises(DataError, match="x " + words):
        check(x, "gaussian", "x", dtype="float32")
    check(x, "gaussian", "x", dtype="float64")
    check(np.full((2, 2), 3.4e38), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    found = load(tmp_path / "x.npy")  # the last tenth are rows 27 to 29 of the file, and so they are called
    with pytest.raises(DataError, match="x.npy " + words):
        rows(found.test, np.array([0, 1]), np.float32)
    assert np.isfinite(rows(found.test, np.array([0, 1]), np.float64)).all()


# Names of columns


def test_columns_in_another_order(tmp_path: Path) -> None:
    """Catches a table whose columns come the other way round, and is scored as if they did not."""
    (tmp_path / "train.csv").write_text("a,b\n1,2\n3,4\n")
    (tmp_path / "test.csv").write_text(",b,a\n5,20,10\n9,40,30\n")
    found = load(tmp_path / "train.csv", test=tmp_path / "test.csv")
    assert found.names == ("a", "b")
    assert found.test.tolist() == [[10, 20], [30, 40]]
    assert any("test.csv: column 0" in note for note in found.notes)
    (tmp_path / "other.csv").write_text("a,c\n5,20\n")
    refused("other.csv lacks 'b' and has 'c' besides: .*trained on, a, b", tmp_path / "train.csv",
            test=tmp_path / "other.csv")  # fmt: skip
    frames = Frame(["a", "b"], X), Frame(["b", "a"], X)
    assert load(frames[0], test=frames[1]).test.tolist() == [[2.5, 1], [4.5, 3]]


def test_names() -> None:
    x = np.array([[1.0, 2.0]])
    assert names_of(Frame([0, ("b", 1)], x)) == ("0", "('b', 1)")
    assert names_of(x) is names_of(Frame(["a"], x)) is None
    for names, wanted in ((None, "ab"), ("ab", None), ("ab", "ab"), ("01", "ab"), ("ab", "01")):
        assert ordered(x, names, wanted) is x
    assert ordered(x, "10", "01").tolist() == [[2, 1]]
    for names, wanted, words in (("ac", "ab", "lacks 'b' and has 'c'"), ("abc", "ab", "x has 'c' besides"),
                                 ("a", "ab", "x lacks 'b'"), ("aab", "aba", "a name twice")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            ordered(x, names, wanted)


# What unpacks to more than it should


@pytest.mark.parametrize("pack", [".gz", ".xz"])
@pytest.mark.parametrize("name", ["x.csv", "x-ubyte"])
def test_bombs(tmp_path: Path, name: str, pack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a small file that fills the memory: it is unpacked to a stated limit, and no further."""
    from made_files import as_idx

    from scratchvae.data import idx

    monkeypatch.setattr(idx, "FLOOR", 1 << 18)
    raw = as_idx(np.zeros((3 << 18, 1), np.uint8)) if name == "x-ubyte" else b"0,0\n" * (1 << 17)
    path = tmp_path / (name + pack)
    path.write_bytes((gzip.compress if pack == ".gz" else lzma.compress)(raw))
    with monkeypatch.context() as first:  # a table costs seconds to parse
        first.setattr(files, "read_table", lambda *_: pytest.fail("parsed before it is known to be too long"))
        refused(r"over \d+ bytes, its limit while packed; unpack it first", path)
    monkeypatch.setattr(idx, "FLOOR", 1 << 23)
    assert load(path).train.any() == 0


def test_a_bomb_in_a_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an .npz whose member unpacks to more than the limit, or whose list of members fills the memory."""
    from scratchvae.data import idx

    monkeypatch.setattr(idx, "FLOOR", 1 << 20)
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((1 << 18, 2)))
    refused("its limit while packed", tmp_path / "x.npz")
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((1 << 16, 1)), test=np.zeros((1 << 16, 1)), y=np.zeros(1 << 10))
    refused("its limit while packed", tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", x=np.zeros((1 << 18, 2)))
    assert load(tmp_path / "y.npz").train.shape[1] == 2
    monkeypatch.setattr(files, "BLOCK", 1 << 10)
    many: Any = {f"a{i}": np.ones(1) for i in range(100)}
    np.savez(tmp_path / "z.npz", **many)
    refused("a list of members of .* bytes, more than 1024; save fewer arrays", tmp_path / "z.npz")


def test_bombs_and_imaginary_parts_in_a_mat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an imaginary part that is dropped, variables that are unpacked only to be passed over, and a bomb."""
    from scipy.io import savemat

    from scratchvae.data import mat

    savemat(tmp_path / "c.mat", {"ff": np.ones((560, 3)) * 1j})
    refused("ff is complex; save its real part", tmp_path / "c.mat")
    savemat(tmp_path / "f.mat", {"zeros": np.zeros(1 << 18), "ff": np.zeros((560, 400))}, do_compression=True)
    sizes: list[int] = []
    unpack = mat._unpack

    def counted(body: memoryview, room: int, most: int) -> bytes:
        sizes.append(len(out := unpack(body, room, most)))
        return out

    monkeypatch.setattr(mat, "_unpack", counted)
    assert load(tmp_path / "f.mat").train.shape == (360, 560)
    assert len(sizes) == 1
    monkeypatch.setattr(mat, "LIMIT", 1 << 20)
    refused("a packed variable is truncated, or more than", tmp_path / "f.mat")
    zeros = {name: np.zeros((1 << 14, 5)) for name in ("x", "test")}
    savemat(tmp_path / "g.mat", zeros, do_compression=True)
    refused("more than 1048576 bytes are packed", tmp_path / "g.mat")


@pytest.mark.parametrize(
    ("at", "value", "words"), [(144, 4, "MATLAB class 4"), (144, 5, "class 5"), (145, 8, "complex")]
)
def test_a_mat_of_another_class(tmp_path: Path, at: int, value: int, words: str) -> None:
    """Catches text, or the real half of complex numbers, that is read as numbers."""
    from scipy.io import savemat

    savemat(tmp_path / "f.mat", {"ff": np.zeros((560, 3))})
    raw = bytearray((tmp_path / "f.mat").read_bytes())
    raw[at] = value
    (tmp_path / "f.mat").write_bytes(raw)
    refused(words, tmp_path / "f.mat")


@pytest.mark.parametrize("name", ["x-ubyte", "x-ubyte.gz", "x.npy", "x.npz"])
def test_another_file_takes_the_name_while_one_is_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches the shape of one file with the values of the next: each time it is opened, another one is there."""
    from made_files import PACK, as_idx, npy, npz

    makers: dict[str, Callable[[Any], bytes]] = {
        "x-ubyte": as_idx,
        "x-ubyte.gz": lambda x: PACK[".gz"](as_idx(x)),
        "x.npy": npy,
        "x.npz": lambda x: npz(x=x),
    }
    tables = [np.full((4 + i, 2), i, np.uint8) for i in range(9)]
    path, later, real = tmp_path / name, tables[1:], open
    path.write_bytes(makers[name](tables[0]))

    def opened(file: Any, *args: Any, **options: Any) -> Any:
        found = real(file, *args, **options)
        if str(file) == str(path):
            monkeypatch.setattr("builtins.open", real)
            (tmp_path / "next").write_bytes(makers[name](later.pop(0)))
            (tmp_path / "next").replace(path)
            monkeypatch.setattr("builtins.open", opened)
        return found

    monkeypatch.setattr("builtins.open", opened)
    np.testing.assert_array_equal(files.read(path).parts["train"], tables[0])
