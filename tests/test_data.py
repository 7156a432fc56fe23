"""§7.3 Data come in whole and exact, a batch of a map costs a batch, and bad data are one clear line."""

import gzip
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_files import PIXELS, as_idx, npy, refused

from scratchvae import data
from scratchvae.data import binarise, check, columns, load, matrix, rows
from scratchvae.errors import DataError, UsageError
from scratchvae.training.config import Config
from scratchvae.training.reading import learn
from scratchvae.training.state import State
from scratchvae.types import Array


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    def put(name: str, raw: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(raw)
        return path

    return put


Write = Callable[[str, bytes], Path]


# What comes in


def test_mnist() -> None:
    mnist = load("mnist")
    assert mnist.train.shape == (60000, 784)
    assert mnist.test.shape == (10000, 784)
    assert mnist.train.dtype == mnist.test.dtype == np.uint8
    assert mnist.shape == (28, 28)
    assert mnist.labels is not None
    assert mnist.test_labels is not None
    assert [*mnist.labels[:3], *mnist.test_labels[:3]] == [5, 0, 4, 7, 2, 1]
    assert mnist.split == "own test rows"
    assert abs(mnist.train.mean() / 255 - 0.1306604762738429) < 1e-15  # the well-known mean of the training images


def test_mnist_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repository's data are found from any folder, and a folder of Fashion-MNIST is not taken for MNIST."""
    monkeypatch.chdir(tmp_path)
    fashion = tmp_path / "fashion-mnist"
    fashion.mkdir()
    (fashion / "train-images-idx3-ubyte").write_bytes(as_idx(PIXELS))
    monkeypatch.setenv("SCRATCHVAE_DATA", str(fashion))
    assert len(load("mnist").train) == 60000
    assert len(load("fashion-mnist").train) == 27
    refused("mnist is not in", "mnist", folder=fashion)


@pytest.mark.parametrize("where", ["option", "variable", "variable to the folder itself", "current folder"])
def test_where_names_are_found(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    at = "data/fashion-mnist/" if where == "current folder" else "fashion-mnist/"
    for part, x in (
        ("train-images-idx3", PIXELS),
        ("t10k-images-idx3", PIXELS[:5]),
        ("train-labels-idx1", PIXELS[:, 0, 0]),
    ):
        write(f"{at}{part}-ubyte.gz", gzip.compress(as_idx(x)))
    if where == "current folder":
        monkeypatch.chdir(tmp_path)
    elif where != "option":
        monkeypatch.setenv("SCRATCHVAE_DATA", str(tmp_path / at if "itself" in where else tmp_path))
    found = load("fashion-mnist", folder=tmp_path if where == "option" else None)
    np.testing.assert_array_equal(found.train, PIXELS.reshape(30, 12))
    np.testing.assert_array_equal(found.test, PIXELS[:5].reshape(5, 12))
    np.testing.assert_array_equal(found.labels, PIXELS[:, 0, 0])
    assert found.test_labels is None
    assert found.name == "fashion-mnist"


def test_a_folder_by_path(write: Write) -> None:
    folder = write("mine/train-images-idx3-ubyte.xz", lzma.compress(as_idx(PIXELS))).parent
    assert load(folder).train.shape == (27, 12)
    refused("has no train-images-idx3-ubyte", folder.parent)


@pytest.mark.parametrize("packed_mat", [False, True])
def test_frey_faces_both_ways(write: Write, tmp_path: Path, packed_mat: bool) -> None:
    """frey_rawface.mat (scipy writes one here) has a face a column; as IDX the same faces are images of 28 x 20."""
    from scipy.io import savemat

    faces = np.random.default_rng(1).integers(0, 256, (20, 28, 20)).astype(np.uint8)
    savemat(
        tmp_path / "frey_rawface.mat",
        {"before": np.ones(5, np.uint8), "ff": faces.reshape(20, 560).T},
        do_compression=packed_mat,
    )
    mat = load("freyfaces", folder=tmp_path)
    write("freyfaces/freyfaces-images-idx3-ubyte.gz", gzip.compress(as_idx(faces)))
    packed = load("freyfaces", folder=tmp_path)
    assert mat.shape == packed.shape == (28, 20)
    np.testing.assert_array_equal(packed.train, faces[:18].reshape(18, 560))
    np.testing.assert_array_equal(mat.train, packed.train)
    np.testing.assert_array_equal(mat.test, faces[18:].reshape(2, 560))
    assert load(tmp_path / "frey_rawface.mat").shape == (28, 20)


def test_last_tenth_is_kept_for_the_test(write: Write) -> None:
    found = load(write("x.npy", npy(PIXELS)))
    assert (len(found.train), len(found.test), found.split) == (27, 3, "last tenth of the rows")
    np.testing.assert_array_equal(np.concatenate([found.train, found.test]), PIXELS.reshape(30, 12))
    assert [len(load(np.ones((n, 1))).test) for n in (2, 9, 19, 20, 1965)] == [1, 1, 1, 2, 196]


def test_test_rows_of_its_own(write: Write, tmp_path: Path) -> None:
    found = load(PIXELS, test=write("t.npy", npy(PIXELS[:7])))
    assert (len(found.train), len(found.test), found.split) == (30, 7, f"the rows of {tmp_path / 't.npy'}")
    refused(r"array \(test\) has 6 columns but D=12", PIXELS, test=PIXELS[:, :2])
    assert len(load("mnist", test=np.zeros((3, 784), np.uint8)).test) == 3


def test_a_file_that_is_its_own_test_rows_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a table that is parsed twice for `--data FILE`, and notes that are said twice."""
    path, seen = tmp_path / "t.csv", list[Any]()
    path.write_text("a,b\n1,2\n3,4\n", encoding="utf-8")
    read = data.files.read

    def counted(*given: Any) -> Any:
        seen.append(given)
        return read(*given)

    monkeypatch.setattr(data.files, "read", counted)
    found = data.load(str(path), str(path))
    assert (len(seen), found.notes) == (1, ("line 1 taken for names: a, b",))
    np.testing.assert_array_equal(found.test, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(found.test, found.train)


def test_npz(write: Write, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x_train=PIXELS, y_train=np.arange(30), x_test=np.asfortranarray(PIXELS[:5]))
    found = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.train, PIXELS.reshape(30, 12))
    np.testing.assert_array_equal(found.test, PIXELS[:5].reshape(5, 12))
    np.testing.assert_array_equal(found.labels, np.arange(30))
    np.savez(tmp_path / "b.npz", faces=PIXELS, labels=np.arange(3))
    refused("holds faces, labels; call the rows 'train'", tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", faces=PIXELS)
    assert load(tmp_path / "c.npz").shape == (4, 3)
    np.savez(tmp_path / "d.npz", x=PIXELS, y=np.arange(29))
    refused(r"30 rows but labels of shape \(29,\)", tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", x=PIXELS, y=np.arange(30))
    split = load(tmp_path / "e.npz")
    assert split.labels is not None
    assert split.test_labels is not None
    assert [*split.labels, *split.test_labels] == list(range(30))


def test_arrays_stay_as_they_are() -> None:
    x, shape = matrix(PIXELS)
    assert np.shares_memory(x, PIXELS)
    assert shape == (4, 3)
    assert matrix([[0.5, 1.0]])[0].dtype == np.float64
    assert matrix(np.asfortranarray(np.ones((3, 2), np.float32)))[0].flags.c_contiguous


# A batch


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mapped", [False, True])
def test_rows(write: Write, dtype: type, mapped: bool) -> None:
    x = load(write("x.npy", npy(PIXELS))).train if mapped else PIXELS.reshape(30, 12)
    index = np.array([5, 0, 26, 5, -3])
    got = rows(x, index, dtype)
    assert isinstance(x, np.memmap) == mapped
    assert got.dtype == dtype
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, (np.asarray(x)[index] / dtype(255)).astype(dtype))
    np.testing.assert_array_equal(rows(x, slice(3, 9, 2), dtype), rows(x, np.array([3, 5, 7]), dtype))
    assert rows(x, np.arange(0), dtype).shape == (0, 12)


def test_rows_of_other_kinds() -> None:
    index = np.array([1, 0])
    for x in (np.array([[0.25, 1], [0, 0.5]]), np.array([[False, True], [True, True]]), np.array([[-3, 4], [7, 0]])):
        np.testing.assert_array_equal(rows(x, index, np.float32), x[index].astype(np.float32))
    assert rows(np.ones((2, 2)), index).dtype == np.float32


@pytest.mark.parametrize("name", ["x.npy", "x.idx"])
def test_binary_uint8_is_not_blackened(write: Write, name: str) -> None:
    bits = (PIXELS > 127).astype(np.uint8)
    for source in (bits, write(name, npy(bits) if name == "x.npy" else as_idx(bits))):
        np.testing.assert_array_equal(rows(load(source).train, np.arange(5)), bits[:5].reshape(5, 12))


def test_binary_only_in_its_first_block(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a map that is judged by its beginning: its ones would be 1 in some files and 1/255 in others."""
    monkeypatch.setattr(data, "BLOCK", 24)
    x = np.ones((30, 12), np.uint8)
    x[20, 3] = 200
    found = load(write("x.npy", npy(x)))
    np.testing.assert_allclose(rows(found.train, np.array([2, 20]))[:, 3], [1 / 255, 200 / 255], rtol=1e-6)


def test_a_map_larger_than_memory_trains(tmp_path: Path) -> None:
    """1 GiB of floats under a limit of 128 MiB beyond what is loaded: only the rows asked for become memory."""
    path = tmp_path / "big.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (1 << 18, 1024)).flush()  # sparse: nothing is written
    script = f"""
import numpy as np, re, resource
from scratchvae.data import load, rows
def anonymous(): return int(re.search(r"RssAnon:\\s*(\\d+)", open("/proc/self/status").read()).group(1)) / 1024
before = anonymous()
resource.setrlimit(resource.RLIMIT_DATA, ((int(before) + 128) << 20,) * 2)
found = load({str(path)!r})
for step in range(100):
    rows(found.train, np.random.default_rng(step).integers(0, len(found.train), 100), np.float32, "bernoulli")
print(len(found.train), anonymous() - before)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert int(out[0]) == (1 << 18) - (1 << 18) // 10
    assert float(out[1]) < 16


# Binarisation


def test_binarise() -> None:
    x = np.array([[0, 0.2, 0.5, 0.7, 1]], np.float32)
    u = np.array([[0, 0.2, 0.49, 0.8, 1 - 2**-24]], np.float32)
    for how in ("dynamic", "fixed"):
        assert binarise(x, how, u).tolist() == [[0, 0, 1, 0, 1]]
    assert binarise(x, "threshold").tolist() == [[0, 0, 0, 1, 1]]
    assert binarise(x, "none") is x
    assert binarise(x, "dynamic", u.astype(np.float64)).dtype == np.float32


def test_dynamic_binarisation_has_the_right_mean() -> None:
    x = np.array([[0.0, 0.1, 0.5, 0.9, 1.0]])
    u = np.random.default_rng(3).random((40_000, 5))
    mean = binarise(np.broadcast_to(x, u.shape), "dynamic", u).mean(axis=0)
    assert np.all(np.abs(mean - x[0]) <= 5 * np.sqrt(x[0] * (1 - x[0]) / len(u)))


def test_bad_binarisation() -> None:
    with pytest.raises(UsageError, match="'stochastic' is unknown: give one of dynamic"):
        binarise(np.ones((1, 1)), "stochastic")
    for u in (None, np.ones((2, 1))):
        with pytest.raises(UsageError, match=r"needs uniforms u of x's shape \(1, 1\)"):
            binarise(np.ones((1, 1)), "dynamic", u)


# Bad data


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(write: Write, bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "BLOCK", 64)  # several blocks: the row must be counted through them
    x = np.full((30, 6), 0.5)
    x[17, 4] = bad
    for source in (x, x.astype(np.float32), x.reshape(30, 2, 3)):
        refused("array holds -?(nan|inf) at row 17, column 4", source)
    refused("nan|inf", write("x.csv", "\n".join(",".join(map(str, r)) for r in x.tolist()).encode()))
    found = load(write("x.npy", npy(x)))
    rows(found.train, np.array([16, 18]))
    with pytest.raises(DataError, match=r"x\.npy holds -?(nan|inf) at row 17, column 4"):
        rows(found.train, np.array([20, 17, 3]))
    with pytest.raises(DataError, match=r"x\.npy holds -?(nan|inf) at row 17, column 4"):
        rows(found.train[10:][5:], np.array([1, 2]))  # a part of a map: the row as the file counts it


@pytest.mark.parametrize("bad", [-0.1, 1.5, 255.0])
def test_outside_the_unit_interval(write: Write, bad: float) -> None:
    x = np.full((30, 6), 1.0)
    x[0] = 0
    check(x, "bernoulli")
    x[2, 5] = bad
    check(x, "gaussian")
    with pytest.raises(
        DataError, match=rf"pixels holds {bad} at row 2, column 5 .*Bernoulli likelihood needs \[0, 1\]"
    ):
        check(x, "bernoulli", "pixels")
    found = load(write("x.npy", npy(x)))
    rows(found.train, np.arange(5), np.float32, "gaussian")
    with pytest.raises(DataError, match="row 2, column 5"):
        rows(found.train, np.arange(5), np.float32, "bernoulli")
    with pytest.raises(DataError, match="holds 9 at row 1, column 0"):
        check(np.array([[1], [9]]), "bernoulli")
    check(PIXELS.reshape(30, 12), "bernoulli")


def test_bytes_that_are_bits_are_bits_in_the_test_rows_too() -> None:
    """Catches test rows of ones that are divided by 255, under a model of bits."""
    one = np.eye(20, dtype=np.uint8)
    for found in (load(one), load(one, test=one[:3])):
        assert found.train.dtype == found.test.dtype == np.bool_


def test_columns() -> None:
    columns(np.ones((2, 784)), 784)
    with pytest.raises(DataError, match="x has 560 columns but D=784 was expected"):
        columns(np.ones((2, 560)), 784)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.ones((0, 3)), r"shape \(0, 3\)"),
        (np.ones((3, 0)), r"shape \(3, 0\)"),
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((1, 3)), "one row"),
    ],
)
def test_no_data(x: Array, words: str) -> None:
    refused(words, x)


def test_no_such_data(write: Write, tmp_path: Path) -> None:
    refused("neither a data set .*nor a file", "mnits")
    refused("does not exist", tmp_path / "x.npy")
    refused("no known kind", write("x.png", b""))
    refused("no known kind", write("x.npy.gz", b""))
    refused("freyfaces is not in .*SCRATCHVAE_DATA", "freyfaces", folder=tmp_path)
    refused("no variable ff", write("x.mat", mat_file(tmp_path)))


def mat_file(folder: Path) -> bytes:
    from scipy.io import savemat

    savemat(folder / "other.mat", {"gg": np.ones((2, 2))})
    return (folder / "other.mat").read_bytes()


def test_training_checks_a_map_batch_by_batch(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step and the evaluation read a map through `rows` with the likelihood: a bad value stops them. Test rows are
    looked at before, block by block, and counted through all blocks."""
    from scratchvae.training.config import Config
    from scratchvae.training.evaluate import elbo_over
    from scratchvae.training.state import State, Steps

    x = np.full((30, 6), 0.5, np.float32)
    x[11, 2] = 1.5
    found = load(write("x.npy", npy(x)), test=write("t.npy", npy(x[10:12])))
    state = State(Config(hidden=(3,), latent=2, batch=30, kernels="numpy"), 6)
    with pytest.raises(DataError, match=r"holds 1\.5 at row 11, column 2"):
        Steps(state, found.train).one()
    with pytest.raises(DataError, match=r"holds 1\.5 at row 1, column 2"):
        elbo_over(state, found.test)
    monkeypatch.setattr(data, "BLOCK", 64)
    with pytest.raises(DataError, match=r"x\.npy holds 1\.5 at row 11, column 2"):
        data.check_test(load(write("t.npy", npy(x[:9])), test=write("x.npy", npy(x))), "bernoulli", missing=False)


def test_a_map_beyond_the_run_s_type_is_refused_before_its_first_step(tmp_path: Path) -> None:
    """Catches inf that comes with some batch, long after the run began, and is blamed on the learning rate."""
    x = np.random.default_rng(0).random((50, 3))
    x[31, 1] = 1e39
    np.save(tmp_path / "x.npy", x)
    mapped = load(tmp_path / "x.npy", test=np.ones((2, 3))).train
    for config in (Config(likelihood="gaussian", dtype="float32"), Config(likelihood="gaussian", standardise=False)):
        with pytest.raises(DataError, match=r"1e\+39 at row 31, column 1 .*too large for float32"):
            State.begun(config, learn(mapped, config), mapped)
    for sign in (-1, 1):
        with pytest.raises(DataError, match="too large for float32"):
            check(np.array([[sign * 1e39]]), dtype="float32")
    wide = Config(likelihood="gaussian", standardise=False, dtype="float64", kernels="numpy")
    State.begun(wide, learn(mapped, wide), mapped)
