"""§7.3 `convert`: the rows that load reads, in their order or in that of their keys, whatever happens on the way."""

import argparse
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from scipy import sparse

from scratchvae.cli import main
from scratchvae.data import convert as module
from scratchvae.data import load, sources
from scratchvae.data.convert import convert
from scratchvae.errors import DataError, UsageError
from scratchvae.noise import LIMIT, Noise, Purpose

RNG = np.random.default_rng(3)
X = np.round(RNG.normal(size=(500, 6)), 3)


def csv(at: Path) -> str:
    """With a byte order mark, comments, an index, a gap and blanks."""
    body = "\n".join(",".join([str(i), *map(str, row)]) for i, row in enumerate(X.tolist()))
    text = "# made\n,a,b,c,d,e,f\n" + body.replace(f",{X[7, 2]},", ",NA,") + "\n"
    (at / "x.csv").write_text(text, encoding="utf-8-sig")
    return str(at / "x.csv")


def parquet(at: Path) -> str:
    """Of several row groups, with whole numbers and a gap."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    frame["n"] = np.arange(len(X))
    frame.loc[5, "b"] = np.nan
    frame.to_parquet(at / "x.parquet", row_group_size=60)
    return str(at / "x.parquet")


def idx(at: Path) -> str:
    """Big-endian, of rank 3."""
    x = (X * 1000).astype(">i4").reshape(-1, 2, 3)
    head = bytes([0, 0, 0x0C, 3]) + b"".join(n.to_bytes(4, "big") for n in x.shape)
    (at / "x-idx3-ubyte").write_bytes(head + x.tobytes())
    return str(at / "x-idx3-ubyte")


def images(at: Path) -> str:
    """Grey, in sub-folders."""
    image = pytest.importorskip("PIL.Image")
    for i, pixels in enumerate(RNG.integers(0, 255, (30, 5, 4)).astype("u1")):
        (at / "images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).save(at / "images" / "ab"[i % 2] / f"{i:02}.png")
    return str(at / "images")


def csr(at: Path) -> str:
    """Of scipy's."""
    sparse.save_npz(at / "x.npz", sparse.random_array((300, 20), density=0.1, format="csr", rng=RNG))
    return str(at / "x.npz")


@pytest.mark.parametrize("make", [csv, parquet, idx, images, csr])
def test_the_rows_of_load(make: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a piece that loses its first or last row, an index or a gap read otherwise, another shape or order: in
    pieces of some rows, and read whole."""
    path = make(tmp_path)
    found = load(path, path, missing=True, judge=False)
    expected = found.train[np.arange(len(found.train))].reshape(-1, *(found.shape or found.train.shape[1:]))
    for i, small in enumerate((0, 1 << 26)):
        monkeypatch.setattr(sources, "SMALL", small)
        monkeypatch.setattr(sources, "BLOCK", 1 << 10)
        monkeypatch.setattr("scratchvae.data.text.BLOCK", 1 << 9)
        convert(path, tmp_path / f"{i}.npy")
        x = np.load(tmp_path / f"{i}.npy", mmap_mode="r")
        np.testing.assert_array_equal(x, expected)
        assert x.dtype == expected.dtype.newbyteorder("=")
        again = load(tmp_path / f"{i}.npy", x, missing=True).train
        np.testing.assert_array_equal(again, found.train[np.arange(len(x))])
    convert(path, tmp_path / "shards", None, 7)
    np.testing.assert_array_equal(np.load(tmp_path / "shards/000001.npy"), expected[7:14])
    with pytest.raises(UsageError, match="is there already"):
        convert(path, tmp_path / "shards", None, 7)


class Killed(Exception):
    """As SIGKILL would, between two writes."""


@pytest.mark.parametrize(("seed", "shard"), [(None, None), (4, None), (4, 33), (None, 33)])
def test_killed_and_taken_up(
    seed: int | None, shard: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches rows written twice or lost by a kill after any write, before or after the journal; a shuffle that hangs
    on blocks, buckets or kills, or is not the order of the keys."""
    monkeypatch.setattr(sources, "BLOCK", 1 << 11)
    monkeypatch.setattr(module, "BUCKET", 1 << 12)
    np.save(tmp_path / "x.npy", X)
    left, out = 0, tmp_path / ("out" if shard else "out.npy")
    append, keep = module.Work.append, module.Work.keep

    def dying(act: Callable[..., None], after: bool) -> Callable[..., None]:
        def call(self: Any, *args: Any, **changes: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0 and not after:
                raise Killed
            act(self, *args, **changes)
            if left < 0:
                raise Killed

        return call

    monkeypatch.setattr(module.Work, "append", dying(append, True))
    monkeypatch.setattr(module.Work, "keep", dying(keep, False))
    for kills in itertools.count():
        left = 5 + 3 * kills
        try:
            convert(str(tmp_path / "x.npy"), out, seed, shard)
        except Killed:
            continue
        break
    assert kills > 1
    words = Noise(seed or 0).words(Purpose.ORDER, LIMIT - 1, 500, 2).astype(np.uint64)
    order = np.arange(500) if seed is None else np.argsort((words[:, 0] << np.uint64(32)) | words[:, 1])
    files = sorted(out.iterdir()) if shard else [out]
    np.testing.assert_array_equal(np.concatenate([np.load(file) for file in files]), X[order])
    assert not out.with_name(out.name + ".part").exists()
    assert all(file.suffix == ".npy" for file in files)


def test_arrays_of_a_file(tmp_path: Path) -> None:
    """Catches an array chosen for whoever has several; HDF5 in another order."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"], file["y"] = X, np.arange(500)
    convert(str(tmp_path / "x.h5"), tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), X)
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["z"] = 2 * X
    with pytest.raises(DataError, match=r"has 2 arrays of rows of numbers: name one, .*x.h5:NAME; there are x, y, z"):
        convert(str(tmp_path / "x.h5"), tmp_path / "b.npy")
    convert(f"{tmp_path / 'x.h5'}:z", tmp_path / "b.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), 2 * X)
    with pytest.raises(DataError, match="has no array 'q'; there are x, y, z"):
        convert(f"{tmp_path / 'x.h5'}:q", tmp_path / "c.npy")


def test_zarr(tmp_path: Path) -> None:
    """Catches a store that is read otherwise than HDF5; one line without zarr."""
    try:
        import zarr
    except ImportError:
        with pytest.raises(DataError, match=r"needs zarr: pip install 'scratchvae\[convert\]'"):
            convert(str(tmp_path / "x.zarr"), tmp_path / "x.npy")
        return
    zarr.save_array(str(tmp_path / "x.zarr"), X)
    convert(str(tmp_path / "x.zarr"), tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X)


def test_sparse_rows_stay_sparse(tmp_path: Path) -> None:
    """Catches dense rows where CSR was to be kept."""
    path = csr(tmp_path)
    convert(path, tmp_path / "maps")
    a, b = (cast(Any, load(each, each).train) for each in (path, tmp_path / "maps"))
    assert all(isinstance(part, np.memmap) for part in b.csr)
    np.testing.assert_array_equal(a[np.arange(300)], b[np.arange(300)])


def test_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches codes of one piece taken for those of another; words lost in silence."""
    (tmp_path / "x.csv").write_text("a,sex\n" + "1,f\n2,m\n" * 40)
    assert main(["convert", str(tmp_path / "x.csv"), str(tmp_path / "x.npy")]) == 0
    assert "column 1 holds codes: 0 f, 1 m" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy")[:2], [[1, 0], [2, 1]])
    monkeypatch.setattr(sources, "SMALL", 0)
    with pytest.raises(DataError, match=r"holds 'f' in line 2, column 1 'sex', and is read in pieces, .*--leave-out"):
        convert(str(tmp_path / "x.csv"), tmp_path / "y.npy")
    convert(str(tmp_path / "x.csv"), tmp_path / "z.npy", leave_out=["sex"])
    assert np.load(tmp_path / "z.npy").shape == (80, 1)


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches work begun that has no room, another conversion taken up, a source that changed meanwhile."""
    np.save(tmp_path / "x.npy", X)
    x, out = str(tmp_path / "x.npy"), tmp_path / "out.npy"
    with pytest.raises(UsageError, match="is one file, and shards are several"):
        convert(x, out, shard_rows=3)
    with pytest.raises(UsageError, match="there is no folder"):
        convert(x, tmp_path / "no" / "out.npy")
    for seed, copies in ((None, 1), (0, 2)):  # shuffled, rows are there twice for a while
        free = argparse.Namespace(free=copies * X.nbytes + module.SPACE - 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: free)
        with pytest.raises(UsageError, match=r"may take .*e-05 GB on the way, and .* are free: name another disk"):
            convert(x, out, seed)
    monkeypatch.undo()
    monkeypatch.setattr(module, "finish", lambda *_: None)
    convert(x, out)
    monkeypatch.undo()
    began = os.stat(x).st_mtime_ns
    for seed, later in ((1, 0), (None, 1)):
        os.utime(x, ns=(began, began + later))
        with pytest.raises(UsageError, match=r"out.npy.part is of another conversion, or its source has changed"):
            convert(x, out, seed)
    os.utime(x, ns=(began, began))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: argparse.Namespace(free=module.SPACE))  # what is there has room
    convert(x, out)
    np.testing.assert_array_equal(np.load(out), X)
    monkeypatch.undo()
    monkeypatch.setattr(module, "finish", lambda *_: None)
    convert(csv(tmp_path), tmp_path / "y.npy")
    monkeypatch.undo()
    with pytest.raises(UsageError, match="of another conversion"):
        convert(str(tmp_path / "x.csv"), tmp_path / "y.npy", leave_out=["a"])


def test_rows_that_change_their_kind(tmp_path: Path) -> None:
    """Catches bytes of one width or type among those of another, which the header does not tell."""
    for i, later in enumerate((np.ones((2, 2)), np.ones((2, 3), "f4"))):
        blocks = iter([(np.ones((4, 3)), [1]), (later, [2])])
        work = module.Work(tmp_path / str(i), {})
        with pytest.raises(DataError, match=r"from row 4 on rows are .*, and were <f8 \(3,\) before"):
            module.stream(work, lambda _, blocks=blocks: blocks, lambda *_: None, 2, lambda *_: None, "")  # type: ignore
