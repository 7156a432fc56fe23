"""§7.3 Files of other programs, .amat, MATLAB, Parquet, Excel: what was written, or one line with the way out."""

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_files import refused

from scratchvae.data import amat, load, mat
from scratchvae.types import Array

RNG = np.random.default_rng(0)
BITS = RNG.integers(0, 2, (30, 36)).astype(np.uint8)
ROWS = RNG.normal(size=(30, 4))
LABELS = np.arange(30) % 10


def lines(x: Array, labels: Array | None = None) -> bytes:
    """Numbers between blanks, as those files have them, with a blank at the end."""
    cells = [[f"{v:g}" for v in row] for row in x]
    return "".join(
        " ".join([*row, *([] if labels is None else [str(labels[i])])]) + " \n" for i, row in enumerate(cells)
    ).encode()


def whole(found: Any) -> Array:
    return np.concatenate([found.train, found.test])


@pytest.mark.parametrize("block", [1, 1 << 24])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_amat(tmp_path: Path, labelled: bool, grey: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a label that is a pixel, bits that are grey levels / 255, and images that are no images."""
    monkeypatch.setattr(amat, "BLOCK", block)
    x = np.round(RNG.random((30, 36)), 3) if grey else BITS
    (tmp_path / "x.amat.gz").write_bytes(gzip.compress(lines(x, LABELS if labelled else None)))
    found = load(tmp_path / "x.amat.gz")
    assert (found.shape, found.train.dtype) == ((6, 6), np.dtype("f8" if grey else "?"))
    np.testing.assert_array_equal(whole(found), x)
    if labelled:
        assert found.labels is not None
        assert found.test_labels is not None
        assert [*found.labels, *found.test_labels] == LABELS.tolist()
        assert "taken for a label: 10 different" in found.notes[0]
    else:
        assert found.labels is None


def test_amat_that_is_none(tmp_path: Path) -> None:
    """Catches lines of unequal length, other numbers, and digits that are read as grey levels."""
    path = tmp_path / "x.amat"
    for raw, words in ((lines(BITS[:, :35]), "has 35 numbers a line, and no square image"),
                       (lines(BITS) + b"1 0\n", "2 cells in line 31, but 36"), (b"", "shape|numbers a line"),
                       (lines(np.hstack([BITS, ROWS[:, :1]])), "the last is no label"),
                       (lines(BITS) + b"x " * 36, "'x' at row 30, column 0")):  # fmt: skip
        path.write_bytes(raw)
        refused(words, path)
    for x in (BITS * 7.0, BITS * 2.0 + 10):
        path.write_bytes(lines(x))
        found = load(path)
        assert found.train.dtype == np.float64
        np.testing.assert_array_equal(whole(found), x)


Save = Callable[[Path, dict[str, Array]], None]


def by_scipy(path: Path, arrays: dict[str, Array]) -> None:
    from scipy.io import savemat

    savemat(path, arrays, do_compression=True)


def by_h5py(path: Path, arrays: dict[str, Array]) -> None:
    """As MATLAB 7.3 does: half a kilobyte of text before HDF5, axes reversed."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=np.ascontiguousarray(array.T), compression="gzip")
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))


@pytest.mark.parametrize("save", [by_scipy, by_h5py])
def test_mat(tmp_path: Path, save: Save) -> None:
    """Catches columns for rows, letters on their side, and labels that are codes of one in so many."""
    path = tmp_path / "x.mat"
    save(path, {"X": ROWS, "other": ROWS[:2], "y": LABELS[:, None]})
    found = load(path)
    np.testing.assert_array_equal(whole(found), ROWS)
    assert found.labels is not None
    assert found.labels.tolist() == LABELS[:27].tolist()
    letters = RNG.random((40, 28, 28))
    columns = np.stack([letter.ravel(order="F") for letter in letters], axis=1)
    marks = np.eye(50)[np.arange(40)].T
    save(path, {"data": columns[:, :30], "testdata": columns[:, 30:], "target": marks[:, :30],
                "testtarget": marks[:, 30:], "targetchar": marks[:1, :30]})  # fmt: skip
    found = load(path)
    assert (found.shape, found.split) == ((28, 28), "own test rows")
    np.testing.assert_array_equal(whole(found), letters.reshape(40, -1))
    assert found.labels is not None
    assert found.test_labels is not None
    assert [*found.labels, *found.test_labels] == list(range(40))
    save(path, {"ff": np.arange(560 * 3.0).reshape(560, 3)})
    assert load(path).train[1, :2].tolist() == [1, 4]
    save(path, {"X": np.zeros((9, 3, 3))})
    refused("arrays of three axes", path)
    save(path, {"ff": ROWS})
    refused(r"ff has shape \(30, 4\), expected \(560, images\)", path)
    save(path, {"speed": ROWS})
    refused("has no variable ff, .* call the rows x", path)


def test_mat_of_hdf5_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a bomb, text, and a file that is cut, each without its line."""
    path = tmp_path / "x.mat"
    by_h5py(path, {"X": np.zeros((1 << 10, 1 << 6))})
    monkeypatch.setattr(mat, "LIMIT", 1 << 10)
    monkeypatch.setattr(mat, "RATIO", 1)
    refused("its limit while packed", path)
    by_h5py(path, {"X": np.array([[1j]])})
    refused("X is no full matrix of real numbers; save it as full.double.X", path)
    path.write_bytes(path.read_bytes()[:700])
    refused("cannot be read", path)


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [("h5py", "x.mat", "hdf5"), ("pandas", "x.parquet", "frames"), ("pandas", "x.xlsx", "frames")],
)
def test_what_is_missing_is_one_line(
    tmp_path: Path, module: str, name: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a traceback where an extra is not installed."""
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"MATLAB 7.3 MAT-file")
    refused(rf"{name} .*needs? .*pip install 'scratchvae\[{extra}\]'", tmp_path / name)


@pytest.mark.parametrize("name", ["x.parquet", "x.xlsx"])
def test_frames_of_files(tmp_path: Path, name: str) -> None:
    """Catches a file that is not what the same table is as text: names, words, gaps, an index, columns left out."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow" if name == "x.parquet" else "openpyxl")
    day = pandas.to_datetime(["2020-01-31"] * 20)
    frame = pandas.DataFrame({"": range(20), "city": ["Ulm", "Bonn"] * 10, "n": [1.5, None] * 10,
                              "ok": [True, False] * 10, "ticket": ["A 1", "7"] * 10, "day": day})  # fmt: skip
    (frame.to_parquet if name == "x.parquet" else frame.to_excel)(tmp_path / name, index=False)
    frame.to_csv(tmp_path / "x.csv", index=False)
    refused(r"'2020-01-31 00:00:00' at row 0, column \d 'day'.*turn dates into numbers, or leave the column out",
            tmp_path / name, missing=True, leave_out=["ticket"])  # fmt: skip
    found, text = (load(tmp_path / n, missing=True, leave_out=["ticket", "day"]) for n in (name, "x.csv"))
    assert found.names == text.names == ("city", "n", "ok")
    assert found.levels == text.levels == (("Bonn", "Ulm"), (), ("False", "True"))
    np.testing.assert_array_equal(found.train, text.train)
    assert any("an index of the rows: dropped" in note for note in found.notes)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-900])
    refused("cannot be read", tmp_path / name)


def test_excel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a sheet that is passed over in silence, a cell named by a row that Excel has not, and a bomb."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    path = tmp_path / "x.xlsx"
    with pandas.ExcelWriter(path) as book:
        pandas.DataFrame({"a": [1.5, 2, 3], "b": [1, "x", 3]}).to_excel(book, sheet_name="May", index=False)
        pandas.DataFrame({"a": [9]}).to_excel(book, sheet_name="June", index=False)
    refused("'x' at row 1, column 1 'b' .from 0; line 3 of the file.*leave the column out", path)
    found = load(path, leave_out=["b"])
    assert whole(found).tolist() == [[1.5], [2], [3]]
    assert "the first of 2 sheets is taken, 'May'" in found.notes[0]
    monkeypatch.setattr("scratchvae.data.idx.FLOOR", 100)
    monkeypatch.setattr("scratchvae.data.idx.RATIO", 1)
    refused("its limit while packed", path)
