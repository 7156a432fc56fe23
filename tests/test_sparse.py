"""§7.3 Sparse rows: the values of the dense ones, in the memory of a few, and no dense copy behind one's back."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import said
from made_files import refused

from scratchvae import VAE
from scratchvae.cli import main
from scratchvae.data import load, sparse
from scratchvae.errors import DataError

scipy_sparse = pytest.importorskip("scipy.sparse")


def counts(rows: int, columns: int, seed: int = 0, share: float = 0.05) -> Any:
    """Counts of words, most of them 0, int64 in CSR."""
    rng = np.random.default_rng(seed)
    x = scipy_sparse.random_array((rows, columns), density=share, format="csr", rng=rng)
    x.data = np.ceil(x.data * 5)
    return x.astype(np.int64)


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli", "gaussian-sigmoid"])
def test_the_same_model_as_of_dense_rows(likelihood: str, kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches rows in another order, counts read as grey levels, a column's unit that is another."""
    monkeypatch.setattr(sparse, "ROOM", 1 << 12)  # some twenty rows at once
    x = counts(200, 24) if likelihood == "poisson" else counts(200, 24).minimum(1)
    options: dict[str, Any] = {"likelihood": likelihood, "kernels": kernels, "epochs": 3, "validation": 0.1}
    model, dense = (VAE(2, (6,), **options).fit(each, test=each[:20]) for each in (x, x.toarray().astype(float)))
    assert [h["step"] for h in model.history] == [h["step"] for h in dense.history]
    np.testing.assert_allclose(model.history[-1]["test_elbo"], dense.history[-1]["test_elbo"], rtol=1e-5)
    np.testing.assert_allclose(model.elbo(x[150:]), dense.elbo(x[150:].toarray().astype(float)), rtol=1e-4)
    np.testing.assert_allclose(model.elbo(x[150:]), model.elbo(x[150:].toarray()), rtol=1e-6)


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array", "csr_matrix"])
@pytest.mark.parametrize("dtype", ["u1", "?", "i8", "f4", "f8"])
def test_values(kind: str, dtype: str) -> None:
    """Catches a dtype or a format whose numbers become others."""
    x = counts(30, 7).toarray().astype(dtype)
    found = load(getattr(scipy_sparse, kind)(x))
    assert len(found.train) == 27
    np.testing.assert_array_equal(
        np.concatenate([found.train[np.arange(27)], found.test[np.arange(3)]]), x.astype(float)
    )
    np.testing.assert_array_equal(found.train[5:9][[1, 3]], x[[6, 8]].astype(float))


def test_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a dense copy of the whole in learning, in a step, in the bound of the test rows."""
    monkeypatch.setattr(sparse, "ROOM", 1 << 20)
    x = counts(40_000, 200, share=0.002)  # 64 megabytes dense
    x.data = np.minimum(x.data, 1)
    tracemalloc.start()
    for likelihood in ("poisson", "gaussian-sigmoid"):
        VAE(2, (4,), likelihood=likelihood, kernels="numpy", epochs=0.05, validation=0.01).fit(x, test=x[:300])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24e6


def test_memory_at_size(request: pytest.FixtureRequest) -> None:
    """The same where a dense copy would be 2.2 gigabytes."""
    if not request.config.getoption("--long"):
        pytest.skip("--long")
    x = counts(27_000, 10_000, share=0.002)
    tracemalloc.start()
    VAE(4, (8,), likelihood="poisson", kernels="numpy", epochs=0.05).fit(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.25e9 < 27_000 * 10_000 * 8 / 8


def test_from_a_file_to_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a file of scipy.sparse.save_npz whose values alone are taken for rows; a run that cannot be resumed."""
    path, run = str(tmp_path / "x.npz"), str(tmp_path / "run")
    scipy_sparse.save_npz(path, counts(100, 12))
    options = ("--likelihood", "poisson", "--hidden", "4", "--latent", "2", "--no-pictures")
    assert main(["train", path, "--out", run, "--epochs", "2", *options, "--kernels", "numpy"]) == 0
    assert main(["train", path, "--out", run, "--epochs", "3", "--resume", "--no-pictures"]) == 0
    capsys.readouterr()
    told = said(capsys, "info", path)
    assert (told["rows"], told["columns"], told["missing"]) == (90, 12, None)
    assert len(said(capsys, "score", run, "--samples", "2")["rows"]) == 10  # the run's test rows
    assert len(said(capsys, "score", run, path, "--samples", "2")["rows"]) == 100  # a file is meant whole


def test_what_is_refused(tmp_path: Path) -> None:
    """Catches a value named by its place in a block, a silent dense copy, indices beyond the matrix, other formats."""
    x = counts(60, 5).tolil()
    x[57, 3], x[2, 1] = -3, 7
    for part, row in ((x, 57), (x[50:], 7), (load(x).test, 57), (load(x).test[1:][1:], 57)):
        with pytest.raises(
            DataError, match=rf"(x|array) has .*-3.0 at row {row}, column 3 .*first: it takes whole numbers"
        ):
            VAE(2, (4,), likelihood="poisson", kernels="numpy").fit(part)
    found = load(x.tocsr())
    gaussian, auto = VAE(2, likelihood="gaussian"), VAE(2, columns="auto")
    for call in (lambda: np.isnan(found.train), lambda: auto.fit(x), lambda: gaussian.fit(x)):
        with pytest.raises(
            DataError, match=r"is sparse, and here all rows are wanted: give x.toarray\(\), which takes"
        ):
            call()
    refused("is sparse, with shape", scipy_sparse.csr_array((0, 3)))
    for other in (x.tocsc(), x.tobsr(), x.todia()):  # whose data alone were taken for rows
        scipy_sparse.save_npz(tmp_path / "x.npz", other)
        refused(rf"of the format '{other.format}', shape \(60, 5\); save x.tocsr\(\)", tmp_path / "x.npz")
    scipy_sparse.save_npz(tmp_path / "x.npz", x.tocoo())
    np.testing.assert_array_equal(load(tmp_path / "x.npz").train[np.arange(54)], x.toarray()[:54])
    bad = x.tocsr()
    bad.indices[3] = 99
    scipy_sparse.save_npz(tmp_path / "x.npz", bad)
    refused("cannot be read: ", tmp_path / "x.npz")
