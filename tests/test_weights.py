"""§7.3 A column that weighs rows: no part of x, counted in the bound's mean, and later files may have it or not."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Call, Done

from scratchvae import VAE
from scratchvae.errors import DataError, UsageError
from scratchvae.training.config import Config
from scratchvae.training.run import Run
from scratchvae.training.weights import scaled
from scratchvae.types import Array

NAMES = ("a", "w", "b", "c")
OPTIONS = ("--likelihood", "gaussian", "--latent", "2", "--hidden", "6", "--batch", "10", "--no-pictures")


def table(n: int = 50) -> Array:
    """Columns a, b, c, and w, which has nothing to do with them."""
    x = np.random.default_rng(0).normal(size=(n, 4))
    x[:, 1] = np.arange(n) % 7 + 1  # whose mean over the training rows is another than over all
    return x


def write(path: str, x: Array, names: tuple[str, ...] = NAMES) -> None:
    keep = [NAMES.index(name) for name in names]
    np.savetxt(path, x[:, keep], "%.17g", ",", header=",".join(names), comments="")


@pytest.fixture
def weighed(call: Call) -> Call:
    """`call` in a folder with t.csv, and its run."""
    write("t.csv", table())
    assert train(call, "--epochs", "4").code == 0
    return call


def train(call: Call, *options: str, weights: str = "w", out: str = "run", data: str = "t.csv") -> Done:
    return call("train", data, "--weights", weights, "--out", out, *OPTIONS, *options)


def parameters(out: str = "run") -> Array:
    return Run(Path(out)).load()[0].arena.flat


def test_a_column_of_weights_is_fit_s_weights_and_no_column_of_x(weighed: Call) -> None:
    """Catches weights of the test rows in the mean, of the rows of another order, a weight that is learned as x."""
    state, x = Run(Path("run")).load()[0], table()
    assert state.reading.names == ("a", "b", "c")
    model = VAE(2, (6,), "gaussian", batch=10, epochs=4).fit(x[:45, [0, 2, 3]], weights=x[:45, 1])
    np.testing.assert_array_equal(parameters(), model._fitted().arena.flat)
    np.save("w.npy", x[:, 1])
    write("x.csv", x, ("a", "b", "c"))
    assert train(weighed, "--epochs", "4", weights="w.npy", data="x.csv", out="other").code == 0
    np.testing.assert_array_equal(parameters(), parameters("other"))
    lines = Run(Path("run")).read_metrics()
    assert lines[-1]["train_elbo"] == pytest.approx(model.history[-1]["train_elbo"])


def test_what_is_said(weighed: Call) -> None:
    """Test rows count alike, which is said twice."""
    done = train(weighed, "--epochs", "1", out="other")
    assert "rows are weighed by w in training" in done.words
    assert "test bounds count each row alike" in done.words
    assert "each test row counts alike: w weighed" in weighed("evaluate", "run", "--samples", 0).words


def test_later_files_may_have_the_column_or_not(weighed: Call) -> None:
    """In any place, with any value: catches a run that takes it for x, or asks for it."""
    x, scores = table(), set()
    write("without.csv", x, ("c", "a", "b"))
    x[:, 1] = np.nan
    write("other.csv", x, ("w", "b", "a", "c"))
    for path in ("t.csv", "without.csv", "other.csv"):
        scores.add(weighed("score", "run", path, "--samples", 5).out)
    assert len(scores) == 1
    assert len(scores.pop().splitlines()) == 51
    own = json.loads(weighed("evaluate", "run", "--samples", 0, "--json").out)
    assert own["rows"] == 5


def test_resumed_it_goes_on_with_the_same_weights(weighed: Call) -> None:
    """Catches a resume without weights, and one with others, which no digest of x would see."""
    assert train(weighed, "--epochs", "2", out="parts").code == 0
    assert weighed("train", "--out", "parts", "--resume", "--epochs", "4", "--no-pictures").code == 0
    np.testing.assert_array_equal(parameters(), parameters("parts"))
    x = table()
    x[7, 1] = 9
    write("t.csv", x)
    done = weighed("train", "--out", "parts", "--resume", "--epochs", "5")
    assert (done.code, "no longer holds the rows" in done.line) == (2, True)


@pytest.mark.parametrize(("value", "shown"), [(-2.0, "-2"), (0.0, "0"), (np.nan, "nan"), (np.inf, "inf")])
def test_what_is_no_weight_is_refused_by_its_row(call: Call, value: float, shown: str) -> None:
    x = table()
    x[7, 1] = value
    write("t.csv", x)
    done = train(call)
    words = f"t.csv: give numbers above 0, and leave out rows that weigh nothing; {shown} stands at row 7, column 1 'w'"
    assert (done.code, words in done.line) == (3, True)
    assert not Path("run").exists()
    with pytest.raises(DataError, match=f"weights: give .*; {shown} stands at row 2"):
        scaled([1, 1, value], 3)


def test_what_names_no_weights_is_refused(call: Call) -> None:
    write("t.csv", table())
    np.save("x.npy", table())
    np.save("w.npy", np.ones(45))
    Path("words.csv").write_text("a,w\n" + "\n".join(f"{i},{'xy'[i % 2]}" for i in range(30)))
    for weights, data, words in (
        ("wt", "t.csv", "t.csv has no column of that name; did you mean 'w'"),
        ("w", "x.npy", "x.npy names no columns: give a .npy with one number a row"),
        ("w", "mnist", "mnist names no columns"),
        ("w.npy", "t.csv", "w.npy: give one weight for each of 50 rows, not an array of shape (45,)"),
        ("W", "t.csv", "t.csv has no column of that name; did you mean 'w'"),
        ("w", "words.csv", "'x' among them: mend these cells, or give a .npy with one number a row"),
    ):
        assert words in train(call, weights=weights, data=data).line
    with pytest.raises(UsageError, match="with one latent layer"):
        Config(latent=(3, 2), hidden=((4,), ()), weights="w")
    with pytest.raises(UsageError, match="in Python give them"):
        VAE(weights="w", kernels="numpy").fit(np.eye(4))
