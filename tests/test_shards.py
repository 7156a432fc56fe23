"""§7.3 Folders of maps: the run of the same rows in memory, bit for bit, and never a copy of the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_files import refused
from scipy.sparse import random_array

from scratchvae import VAE
from scratchvae.cli import main
from scratchvae.data import load, rows, shards
from scratchvae.data.shards import Shards
from scratchvae.data.sparse import Sparse
from scratchvae.errors import DataError


def folder(at: Path, x: Any, *cuts: int) -> Path:
    """x in files of so many rows."""
    at.mkdir()
    for i, part in enumerate(np.split(x, cuts)):
        np.save(at / f"part-{i:03}.npy", part)
    return at


def csr(at: Path, x: Any, index: str = "i4") -> Path:
    """A sparse matrix as maps."""
    at.mkdir()
    for name in ("data", "indices", "indptr"):
        np.save(at / f"{name}.npy", getattr(x, name).astype(index) if name != "data" else x.data)
    np.save(at / "shape.npy", x.shape)
    return at


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_an_array_in_pieces(sizes: list[int], data: st.DataObject) -> None:
    """Catches a row of a neighbouring file, an empty file, a slice of a slice that forgets where it began."""
    x = np.arange(3 * (n := sum(sizes) + 1)).reshape(n, 3)
    whole = Shards([part for part in np.split(x, np.cumsum(sizes)) if len(part)], "x", image=(3, 1))
    index = np.array(data.draw(st.lists(st.integers(-n, n - 1), max_size=9)), np.int64)
    np.testing.assert_array_equal(whole[index], x[index])
    cut, inner = (slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))) for _ in range(2))
    np.testing.assert_array_equal(np.asarray(whole[cut][inner]), x[cut][inner])
    np.testing.assert_array_equal(whole[cut][inner][:0], x[:0])
    if cut.start < n:
        part = whole[cut].view("u8")  # as bits of other types are
        assert (part.first, part.image, part.dtype) == (cut.start, (3, 1), np.dtype("u8"))
    np.testing.assert_array_equal(whole[::2], x[::2])
    np.testing.assert_array_equal(whole[np.arange(n) % 2 == 0], x[::2])
    np.testing.assert_array_equal(whole[n - 1], x[n - 1])


@pytest.mark.parametrize("dtype", ["u1", "f4", ">f4", "f8"])
def test_the_run_of_the_same_rows(dtype: str, tmp_path: Path) -> None:
    """Catches shards whose rows, order, bytes or standardisation are others than those of one file."""
    x = (np.random.default_rng(0).random((90, 4, 3)) * 250).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    options: dict[str, Any] = {"likelihood": "bernoulli" if dtype == "u1" else "gaussian", "epochs": 2, "hidden": (5,)}
    found = [load(tmp_path / "x.npy"), load(folder(tmp_path / "parts", x, 31, 32, 32, 70))]
    assert found[0].shape == found[1].shape == (4, 3)
    a, b = (VAE(2, kernels="numpy", **options).fit(f.train, test=f.test)._fitted().arena.flat for f in found)
    np.testing.assert_array_equal(a, b)


def test_of_the_command_line_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a folder that train, info or --resume do not take, a digest that hangs on where rows lie in memory."""
    x = (np.random.default_rng(0).random((200, 6)) * 255).astype("u1")
    data, out = str(folder(tmp_path / "parts", x, 50)), str(tmp_path / "run")
    options = ["--hidden", "4", "--latent", "2", "--no-pictures", "--kernels", "numpy", "--order", "blocks:16"]
    assert main(["train", data, "--out", out, "--epochs", "2", *options]) == 0
    assert main(["train", data, "--out", out, "--epochs", "3", "--resume", "--no-pictures"]) == 0
    assert main(["info", data]) == 0
    assert "2 shards of" in capsys.readouterr().out
    assert main(["train", data, "--out", out, "--resume", "--order", "keyed"]) == 2
    assert "order was 'blocks:16', now 'keyed'" in capsys.readouterr().err


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches shards of two widths or types taken together, a bad value without its place, a copy of the whole."""
    x = np.ones((6, 2), "f4")
    at = folder(tmp_path / "a", x, 3)
    np.save(at / "z.npy", np.ones((2, 3), "f4"))
    refused(r"z.npy has rows of shape \(3,\) of float32, other files of .* \(2,\) of float32: shards", at)
    np.save(at / "z.npy", np.ones((2, 2)))
    refused("z.npy has rows .* of float64", at)
    np.save(at / "z.npy", np.ones(2, "f4"))
    refused(r"z.npy has shape \(2,\)", at)
    np.save(at / "z.npy", np.ones((2, 2), "f4").T.copy().T)
    refused(r"z.npy has shape \(2, 2\) of float32; a shard is .* row by row", at)
    np.save(at / "z.npy", np.full((2, 2), np.nan, "f4"))
    np.save(at / ".z.npy", np.ones((2, 9)))  # some systems leave such files beside others
    found = load(at, x)
    with pytest.raises(DataError, match=r"a holds nan at row 6, column 0"):
        rows(found.train, np.array([1, 6]))
    monkeypatch.setattr(shards, "SMALL", 8 * 2 * 4)
    assert np.asarray(found.train).shape == (8, 2)
    monkeypatch.setattr(shards, "SMALL", 8 * 2 * 4 - 1)
    with pytest.raises(DataError, match="scratchvae convert a ONE"):
        np.asarray(found.train)


@pytest.mark.parametrize("index", ["i4", "i8"])
def test_sparse_rows_in_maps(index: str, tmp_path: Path) -> None:
    """Catches values of a neighbouring row, an empty row, a map copied into memory, another model than in memory."""
    x = random_array((80, 30), density=0.05, format="csr", rng=np.random.default_rng(1))
    x.data = np.ceil(x.data * 5)
    found = load(csr(tmp_path / "counts", x, index))
    assert isinstance(found.train, Sparse)
    assert all(isinstance(part, np.memmap) for part in found.train[3:].csr)
    np.testing.assert_array_equal(found.train[np.arange(72)], x.toarray()[:72])
    np.testing.assert_array_equal(found.test[np.array([7, -8])], x.toarray()[[79, 72]])
    options: dict[str, Any] = {"likelihood": "poisson", "hidden": (4,), "kernels": "numpy", "epochs": 2}
    a, b = VAE(2, **options).fit(found.train), VAE(2, **options).fit(x[:72])
    np.testing.assert_array_equal(a._fitted().arena.flat, b._fitted().arena.flat)


def test_what_is_no_csr(tmp_path: Path) -> None:
    """Catches rows that reach beyond the values, a column beyond the last, arrays of other lengths."""
    x = random_array((20, 9), density=0.5, format="csr", rng=np.random.default_rng(1))
    at = csr(tmp_path / "c", x)
    for name, bad, words in (
        ("indptr", np.append(x.indptr[:-1], 999), "indptr must rise from 0"),
        ("indptr", x.indptr[::-1].copy(), "indptr must rise from 0"),
        ("indices", x.indices[:-1], "holds no CSR matrix"),
        ("data", x.toarray(), r"data.npy has shape \(20, 9\)"),
        ("shape", np.array([3, 9]), "says in shape.npy"),
    ):
        before = (at / f"{name}.npy").read_bytes()
        np.save(at / f"{name}.npy", bad)
        refused(words, at)
        (at / f"{name}.npy").write_bytes(before)
    np.save(at / "indices.npy", np.full(len(x.indices), 9))
    with pytest.raises(DataError, match="a column beyond the 9"):
        load(at).train[np.array([1])]
