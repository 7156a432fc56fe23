"""§7.3 The VAE as one object: what it fits, what it returns and in which units, and what it refuses."""

import doctest
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scratchvae
from scratchvae import VAE
from scratchvae.errors import DataError, UsageError
from scratchvae.tasks.missing import FillPlan
from scratchvae.training.checkpoint import load
from scratchvae.training.config import Config
from scratchvae.training.objective import Diverged
from scratchvae.training.optim import Optimizer
from scratchvae.types import Array

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {"latent": 2, "hidden": (16,), "epochs": 6, "batch": 20, "kernels": "numpy"}


def bits(n: int = 100, columns: int = 12, seed: int = 0) -> Array:
    """Two kinds of rows, float32 zeros and ones, so that there is something to learn."""
    draw = np.random.default_rng(seed)
    kind = draw.random((n, 1)) < 0.5
    often = np.where(np.arange(columns) % 2 == kind, 0.9, 0.1)
    return (draw.random((n, columns)) < often).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> VAE:
    return VAE(**{**SMALL, "dtype": "float64", "epochs": 60}, learning_rate=1e-2).fit(bits(200), test=bits(80, seed=1))


def bernoulli(x: Array, p: Array) -> Array:
    """log p(x | z), summed over columns; written out."""
    total: Array = (x * np.log(p) + (1 - x) * np.log1p(-p)).sum(axis=-1)
    return total


# ---------------------------------------------------------------- what the methods return


def test_shapes_and_dtypes(model: VAE) -> None:
    x = bits(7, seed=2)
    q = model.encode(x)
    assert q.mu.shape == q.log_var.shape == (7, 2)
    assert model.decode(q.mu).shape == model.reconstruct(x).shape == (7, 12)
    assert model.sample(9).shape == (9, 12)
    assert model.elbo(x).shape == model.log_likelihood(x, samples=3).shape == (7,)
    assert {a.dtype for a in (q.mu, model.sample(2), model.elbo(x))} == {np.dtype("float64")}
    single = VAE(**{**SMALL, "epochs": 1}).fit(x)
    assert {a.dtype for a in (single.encode(x).mu, single.sample(2), single.elbo(x))} == {np.dtype("float32")}


def test_learning_beats_the_mean(model: VAE) -> None:
    """log p(x) of unseen rows is above that of independent columns, which is all an idle latent can do."""
    x, mean = bits(80, seed=1), bits(200).mean(axis=0)
    assert model.log_likelihood(x).mean() > bernoulli(x, mean).mean() + 1
    assert model.history[-1]["train_elbo"] > model.history[0]["train_elbo"] + 1
    assert len(model.history) == 60


def test_elbo_is_its_definition(model: VAE) -> None:
    """log p(x | z) − KL(q ‖ N(0, I)) at z = μ + σ ε, nats per row; several samples are averaged."""
    x, eps = bits(5, seed=3), np.random.default_rng(4).normal(size=(3, 5, 2))
    q = model.encode(x)
    kl = 0.5 * (q.mu**2 + np.exp(q.log_var) - 1 - q.log_var).sum(axis=1)
    each = [bernoulli(x, model.decode(q.mu + np.exp(q.log_var / 2) * e)) - kl for e in eps]
    np.testing.assert_allclose(model.elbo(x, eps[0]), each[0], rtol=1e-10)
    np.testing.assert_allclose(model.elbo(x, eps), np.mean(each, axis=0), rtol=1e-10)
    np.testing.assert_array_equal(model.elbo(x), model.elbo(x))  # the noise is named, not drawn


def quadrature(model: VAE, x: Array) -> Array:
    """log p(x) = log ∫ N(z; 0, I) p(x | z) dz by the trapezoid rule on a fine grid."""
    t = np.linspace(-8, 8, 321)
    z = np.stack(np.meshgrid(t, t), axis=-1).reshape(-1, 2)
    log_prior = -0.5 * (z**2).sum(axis=1) - np.log(2 * np.pi)
    p = model.decode(z)
    return np.array([np.logaddexp.reduce(log_prior + bernoulli(row, p)) for row in x]) + 2 * np.log(t[1] - t[0])


def test_the_importance_bound_rises_to_the_truth(model: VAE) -> None:
    """Below log p(x) by quadrature, above the bound, higher with more samples, and there in the end."""
    x = np.unique(bits(120, seed=5), axis=0)  # equal rows have equal draws, whose errors would not average out
    truth = quadrature(model, x)
    bound = np.mean([model.elbo(x, e) for e in np.random.default_rng(6).normal(size=(200, len(x), 2))], axis=0)
    assert (bound < truth).all()
    means = [bound.mean(), *(model.log_likelihood(x, samples=k).mean() for k in (10, 100, 10_000))]
    assert means == sorted(means)
    assert means[-1] < truth.mean() + 0.01
    errors = np.abs(model.log_likelihood(x, samples=10_000) - truth)  # few weights rule: a row in a hundred is far off
    assert np.quantile(errors, 0.9) < 0.05


def test_reconstruct_is_decode_of_encode(model: VAE) -> None:
    x = bits(4)
    np.testing.assert_array_equal(model.reconstruct(x), model.decode(model.encode(x).mu))
    assert ((model.reconstruct(x) > 0) & (model.reconstruct(x) < 1)).all()


def test_samples_are_named_by_their_seed(model: VAE) -> None:
    np.testing.assert_array_equal(model.sample(6, seed=1), model.sample(6, seed=1))
    # the same noise; a BLAS may round a product of three rows otherwise than that of six
    np.testing.assert_allclose(model.sample(6, seed=1)[:3], model.sample(3, seed=1), rtol=1e-14)
    assert (model.sample(6, seed=1) != model.sample(6, seed=2)).all()


# ---------------------------------------------------------------- fit


@pytest.mark.parametrize("how", ["threshold", "dynamic"])
def test_binarisation_holds_for_every_method(how: str) -> None:
    """The figures along the way, those of the object, and the bits that impute keeps are of the same rows."""
    grey = np.random.default_rng(3).random((60, 12)).astype(np.float32)
    model = VAE(**SMALL, binarisation=how).fit(grey, test=grey[:20])
    assert model.elbo(grey[:20], samples=1).mean() == pytest.approx(model.history[-1]["test_elbo"], rel=1e-5)
    gaps = np.where(np.arange(12) < 4, np.nan, grey[:3])
    draws = model.impute(gaps).draws
    assert set(np.unique(draws[..., 4:])) == {0.0, 1.0}
    if how == "threshold":
        bits = (grey > 0.5).astype(np.float32)
        for name in ("elbo", "log_likelihood", "reconstruct"):
            np.testing.assert_array_equal(getattr(model, name)(grey[:5]), getattr(model, name)(bits[:5]))
        np.testing.assert_array_equal(draws[..., 4:], np.broadcast_to(bits[:3, 4:], draws[..., 4:].shape))


def test_fit_twice_starts_afresh() -> None:
    x, other = bits(), bits(seed=8)
    twice = VAE(**SMALL)
    assert twice.fit(other) is twice
    twice.fit(x)
    once = VAE(**SMALL).fit(x)
    np.testing.assert_array_equal(twice.encode(x).mu, once.encode(x).mu)

    def untimed(m: VAE) -> list[dict[str, Any]]:
        return [{key: value for key, value in one.items() if key != "seconds"} for one in m.history]

    assert untimed(twice) == untimed(once)


def test_a_fit_that_fails_leaves_the_model_as_it_was() -> None:
    x = bits()
    model = VAE(**SMALL).fit(x)
    before = model.encode(x).mu
    for bad in (np.full((4, 12), 2.0), np.full((4, 12), np.nan), np.zeros((0, 12))):
        with pytest.raises(DataError):
            model.fit(bad)
    with pytest.raises(DataError, match="13 columns but D=12"):
        model.fit(x, test=np.zeros((3, 13)))
    np.testing.assert_array_equal(model.encode(x).mu, before)


def test_seeds_tell_runs_apart() -> None:
    x = bits()
    a, b, c = (VAE(**SMALL, seed=seed).fit(x).encode(x).mu for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_kinds_of_input_are_one() -> None:
    """uint8 grey levels are x / 255; images are rows; bool, lists and float64 are themselves."""
    levels = np.random.default_rng(0).integers(0, 256, (40, 4, 3), dtype=np.uint8)
    levels[0, 0, 0] = 255
    grey = (levels / 255).reshape(40, 12)
    same = [VAE(**SMALL).fit(x).elbo(x) for x in (levels, grey, grey.astype(np.float32), grey.tolist())]
    for other in same[1:]:
        np.testing.assert_allclose(other, same[0], rtol=1e-4)
    ones = bits()
    same = [VAE(**SMALL).fit(x).elbo(x) for x in (ones, ones.astype(bool), ones.astype(np.uint8), ones.astype(int))]
    for other in same[1:]:
        np.testing.assert_array_equal(other, same[0])


def test_the_callers_arrays_are_left_alone() -> None:
    x = bits()
    held = x.copy()
    model = VAE(**SMALL).fit(x, test=x)
    model.log_likelihood(x, samples=2)
    np.testing.assert_array_equal(x, held)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian-sigmoid", "gaussian-fixed"])
def test_gaussian_decoders(likelihood: str) -> None:
    """A learned decoder comes nearer to the rows than their mean does."""
    draw = np.random.default_rng(0)
    x = 0.5 + 0.3 * np.sin(draw.normal(size=(200, 1)) + np.arange(12)) + 0.01 * draw.normal(size=(200, 12))
    options = {**SMALL, "epochs": 120, "variance": 0.01, "activation": "tanh"}
    model = VAE(likelihood=likelihood, learning_rate=3e-3, **options).fit(x)
    assert np.square(model.reconstruct(x) - x).mean() < 0.5 * x.var(axis=0).mean()


def test_ctrl_c_keeps_what_was_learned() -> None:
    """The loop turns SIGINT into a clean stop between two slices; in Python it is a KeyboardInterrupt again."""
    model = VAE(**{**SMALL, "epochs": 10_000})

    asked: list[int] = []

    def interrupt(now: dict[str, Any]) -> None:
        if now["step"] >= 10 and not asked:  # a second one would end the process at once, as it should
            asked.append(now["step"])
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="the model holds what was learned so far"):
        model.fit(bits(), report=interrupt)
    assert model.elbo(bits()).mean() > VAE(**{**SMALL, "epochs": 0.01}).fit(bits()).elbo(bits()).mean()


def test_progress_is_reported() -> None:
    heard: list[dict[str, Any]] = []
    model = VAE(**SMALL).fit(bits(), report=heard.append)
    assert [one for one in heard if "train_elbo" in one] == model.history
    assert "test_elbo" not in model.history[0]  # no test rows were given: training rows do not pass for them


def test_missing_values_come_back_in() -> None:
    """A model that learned with NaN for missing takes such rows everywhere."""
    x = np.where(np.random.default_rng(6).random((100, 12)) < 0.3, np.nan, bits())
    model = VAE(**{**SMALL, "missing": "nan"}).fit(x)
    for found in (model.elbo(x), model.log_likelihood(x, 5), model.encode(x).mu, model.reconstruct(x)):
        assert np.isfinite(found).all()


def test_fit_in_a_thread_of_its_own() -> None:
    """Signals belong to the main thread: fit elsewhere must not touch them."""
    result: list[VAE] = []
    thread = threading.Thread(target=lambda: result.append(VAE(**SMALL).fit(bits())))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(result[0].elbo(bits()), VAE(**SMALL).fit(bits()).elbo(bits()))


# ---------------------------------------------------------------- save and load


def test_save_and_load(tmp_path: Path) -> None:
    x = bits()
    model = VAE(**SMALL, optimizer="adagrad").fit(x)
    model.save(tmp_path / "m.safetensors")
    again = VAE.load(tmp_path / "m.safetensors")
    assert again.config == model.config
    assert again.history == model.history
    np.testing.assert_array_equal(again.elbo(x), model.elbo(x))
    np.testing.assert_array_equal(again.sample(3), model.sample(3))
    np.testing.assert_allclose(VAE.load(tmp_path / "m.safetensors", kernels="numba").elbo(x), model.elbo(x), rtol=1e-4)


def test_the_checkpoint_of_a_training_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `scratchvae train` leaves loads as a VAE, with the run's bound."""
    np.save(tmp_path / "x.npy", bits(400).astype(np.uint8))
    options = ["--kernels", "numpy", "--hidden", "16", "--latent", "2", "--epochs", "2", "--no-pictures", "--json"]
    assert scratchvae.cli.main(["train", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run"), *options]) == 0
    capsys.readouterr()
    model = VAE.load(tmp_path / "run" / "checkpoint.safetensors")
    assert model.reconstruct(bits(5)).shape == (5, 12)
    assert model.config.binarisation == "dynamic"


def test_names_of_the_arrays(tmp_path: Path) -> None:
    """Plain (in, out) weights: log p(x | z) can be had from the file with nothing of this library but the reader."""
    x = bits(6)
    model = VAE(**{**SMALL, "hidden": (16, 8)}).fit(x)
    model.save(tmp_path / "m.safetensors")
    t, _ = load(tmp_path / "m.safetensors")
    shapes = {name: a.shape for name, a in t.items() if name[:2] in ("q.", "p.")}
    assert shapes == {
        "q.hidden.0.W": (12, 16), "q.hidden.0.b": (16,), "q.hidden.1.W": (16, 8), "q.hidden.1.b": (8,),
        "q.mu.W": (8, 2), "q.mu.b": (2,), "q.log_var.W": (8, 2), "q.log_var.b": (2,),
        "p.hidden.0.W": (2, 8), "p.hidden.0.b": (8,), "p.hidden.1.W": (8, 16), "p.hidden.1.b": (16,),
        "p.logits.W": (16, 12), "p.logits.b": (12,),
    }  # fmt: skip
    assert {name for name in t if name not in shapes} == {"optimizer.m", "optimizer.v"}
    h = np.tanh(np.tanh(x @ t["q.hidden.0.W"] + t["q.hidden.0.b"]) @ t["q.hidden.1.W"] + t["q.hidden.1.b"])
    np.testing.assert_allclose(h @ t["q.mu.W"] + t["q.mu.b"], model.encode(x).mu, atol=1e-5)


def test_load_refuses(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    VAE(**SMALL).fit(bits()).save(path)
    raw = path.read_bytes()
    for bad in (raw[:-3], raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:], b""):
        path.write_bytes(bad)
        with pytest.raises(DataError):
            VAE.load(path)
    with pytest.raises(DataError, match="is not a file"):
        VAE.load(tmp_path / "nothing")
    with pytest.raises(UsageError, match="cannot be written"):
        VAE(**SMALL).fit(bits()).save(tmp_path / "no folder" / "m.safetensors")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("call", ["encode", "decode", "reconstruct", "elbo", "log_likelihood", "sample", "save"])
def test_unfitted(call: str, tmp_path: Path) -> None:
    argument = {"sample": 3, "save": tmp_path / "m"}.get(call, np.zeros((2, 12)))
    with pytest.raises(UsageError, match=r"call fit\(x\) first, or VAE.load\(path\)"):
        getattr(VAE(), call)(argument)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latnet": 3}, "unknown option 'latnet'"),
        ({"latent": "x"}, "latent='x'"),
        ({"latent": (4, 2)}, "VAE has one latent layer"),
        ({"likelihood": "poison"}, "likelihood 'poison' is unknown"),
        ({"optimizer": "lion"}, "optimizer 'lion' is unknown"),
        ({"learning_rate": 0}, "learning_rate > 0"),
        ({"epochs": 0}, "must be above 0"),
        ({"batch": 0}, "must be above 0"),
        ({"estimator": "foo"}, "estimator 'foo' is unknown"),
        ({"hidden": (0,)}, "sizes must be at least 1"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(")) as caught:
        VAE(**options).fit(bits())
    assert "\n" not in str(caught.value)


def test_bad_rows(model: VAE) -> None:
    for call in (model.encode, model.elbo, model.log_likelihood, model.reconstruct):
        with pytest.raises(DataError, match="x has 13 columns but D=12 was expected"):
            call(np.zeros((2, 13)))
        with pytest.raises(DataError, match="at row 0, column 0"):
            call(np.full((2, 12), -1.0))
    with pytest.raises(UsageError, match=r"z has shape \(2, 3\), expected \(B, 2\)"):
        model.decode(np.zeros((2, 3)))
    for figure in (model.log_likelihood, model.elbo):  # of elbo 0 once meant the default, 16
        with pytest.raises(UsageError, match=r"^samples=0: "):
            figure(bits(2), samples=0)
    with pytest.raises(UsageError, match="eps has shape"):
        model.elbo(bits(2), np.zeros((2, 5)))


# ---------------------------------------------------------------- what the documents say


def test_the_defaults_are_the_papers() -> None:
    """Kingma & Welling 2014, §5: one hidden tanh layer of 500 units on MNIST, M = 100, L = 1. The chapter says two."""
    for config in (VAE().config, Config()):
        assert (config.hidden, config.activation, config.batch, config.samples) == ((500,), "tanh", 100, 1)
        assert (config.latent, config.epochs, config.optimizer.name) == (20, 20, "adam")  # as in docs/measured.md
        assert (config.optimizer.learning_rate, config.likelihood) == (1e-3, "bernoulli")
    assert Optimizer("adagrad").slots == ("G",)


@pytest.mark.parametrize("name", ["README.md", "docs/families.md", "docs/python.md"])
def test_what_documents_show_runs(name: str) -> None:
    """Every example of the README and of two pages, as it stands there."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(ROOT / name), module_relative=False, optionflags=flags)
    assert tried > 5
    assert failed == 0


def test_public_names() -> None:
    assert set(scratchvae.__all__) == {"VAE", "elbo", "elbo_vjp", "gradcheck"}
    for name in scratchvae.__all__:
        assert getattr(scratchvae, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scratchvae.nothing


def test_a_fit_that_diverges_leaves_the_model_as_it_was() -> None:
    model = VAE(**SMALL, optimizer="sgd").fit(bits())
    before, history = model.encode(bits()).mu, model.history
    model.config = replace(model.config, optimizer=Optimizer("sgd", learning_rate=1e30))
    with np.errstate(all="ignore"), pytest.raises(Diverged):
        model.fit(bits())
    np.testing.assert_array_equal(model.encode(bits()).mu, before)
    assert model.history is history


def test_load_takes_the_kernels_asked_for(tmp_path: Path) -> None:
    VAE(**SMALL).fit(bits()).save(tmp_path / "m")
    assert [VAE.load(tmp_path / "m", k).config.kernels for k in (None, "numpy", "numba")] == ["numpy", "numpy", "numba"]


def test_impute_takes_plan_and_seed(model: VAE) -> None:
    gaps, plan = np.where(np.arange(12) < 4, np.nan, bits(5)), FillPlan(draws=3, chains=2, warm_up=4, gibbs=2)
    first, same, other = (model.impute(gaps, plan, seed).draws for seed in (1, 1, 2))
    assert first.shape == (3, 2, 5, 12)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
