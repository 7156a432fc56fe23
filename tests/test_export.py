"""§7.3.1 A run as ONNX says of raw rows what the library says of them, by a reader of that format that knows no VAE."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call, make_run, refused

from scratchvae import VAE, export
from scratchvae.networks import ACTIVATIONS
from scratchvae.training.run import Run
from scratchvae.types import Array

SMALL: dict[str, Any] = {"latent": 2, "hidden": (7, 5), "epochs": 3, "batch": 20, "kernels": "numpy", "validation": 0}
RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(40, 4)) * [1, 30, 0.01, 1e5] + [0, 50, 1e3, 1e6]


def answers(made: Any, **inputs: Array) -> dict[str, Array]:
    """What onnx's own evaluator says, which onnxruntime, where it is here, says too."""
    reference = pytest.importorskip("onnx.reference")
    names = [output.name for output in made.graph.output]
    found = reference.ReferenceEvaluator(made).run(None, inputs)
    try:
        import onnxruntime
    except ImportError:
        return dict(zip(names, found, strict=True))
    others = onnxruntime.InferenceSession(made.SerializeToString()).run(None, inputs)
    for mine, theirs in zip(found, others, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    return dict(zip(names, found, strict=True))


def same(model: VAE, x: Array) -> None:
    """Both parts, and both together, equal the model's own."""
    pytest.importorskip("onnx")
    state = model._fitted()
    dtype = np.float32 if state.reading.scale is None else np.float64
    q = model.encode(x)
    raw = x.astype(dtype) if x.dtype != np.uint8 else (x / 255).astype(dtype)
    encoded = answers(export.to_onnx(state, "encoder"), x=raw)
    unit = 1.0 if state.reading.scale is None else state.reading.undo(np.ones((1, state.reading.width)))
    for head in encoded:
        np.testing.assert_allclose(encoded[head], getattr(q, head), rtol=1e-5, atol=1e-5)
    z = RNG.normal(size=(9, 2)).astype(np.float32)
    decoded = answers(export.to_onnx(state, "decoder"), z=z)["mean"]
    np.testing.assert_allclose(decoded, model.decode(z), rtol=1e-5, atol=1e-5 * np.abs(unit).max())
    if state.config.posterior == "normal":
        both = answers(export.to_onnx(state), x=raw)
        assert both.keys() == {"mu", "log_var", "mean"}
        np.testing.assert_allclose(both["mean"], model.reconstruct(x), rtol=1e-5, atol=1e-5 * np.abs(unit).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bits_and_every_activation(activation: str) -> None:
    """Catches an activation by another name, a slope of leaky_relu that is not ours, W the wrong way round."""
    x = (RNG.random((40, 6)) < 0.3).astype(float)
    same(VAE(**SMALL, activation=activation).fit(x), x[:9])


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian-fixed"])
def test_raw_columns_of_unlike_scales(likelihood: str) -> None:
    """Catches scales that stay outside, shift and scale in exchange, a constant column that is lost or moved, and a
    mean that is subtracted after rounding to float32."""
    x = np.insert(REAL, 1, 7.5, axis=1)
    same(VAE(**SMALL, likelihood=likelihood).fit(x), x[:9])


def test_grey_levels() -> None:
    x = RNG.integers(0, 256, (40, 6)).astype(np.uint8)
    same(VAE(**SMALL, likelihood="gaussian-sigmoid").fit(x), x[:9])
    same(VAE(**SMALL, binarisation="threshold").fit(x), x[:9])


@pytest.mark.parametrize("likelihood", [name for name in export.MEANS if name not in ("bernoulli", "categorical")])
def test_every_mean(likelihood: str) -> None:
    """Catches a head that is taken for another, exp of what is no log, and counts that enter as they stand."""
    x = np.abs(RNG.normal(size=(40, 3))) + 0.1
    x = np.ceil(x) if likelihood in ("poisson", "negative-binomial") else x / x.max()
    same(VAE(**SMALL, likelihood=likelihood).fit(x), x[:9])


def test_mixed_columns_in_their_order() -> None:
    """Catches parts that stand side by side in place of the columns, one-hots of another column, and codes that are
    averaged; more classes than are one-hot; the posterior's own heads."""
    x = np.stack([RNG.integers(0, 3, 60), RNG.poisson(2, 60), RNG.normal(50, 9, 60), RNG.integers(0, 2, 60),
                  RNG.integers(0, 40, 60), RNG.normal(0, 1, 60)], axis=1).astype(float)  # fmt: skip
    columns = "0=categorical:3,1=poisson,2=gaussian,3=bernoulli,4=categorical:40,5=gaussian"
    same(VAE(**SMALL, columns=columns).fit(x), x[:9])
    same(VAE(**SMALL, columns=columns, posterior="von-mises").fit(x), x[:9])


# ---------------------------------------------------------------- the command


def test_the_file_says_what_its_columns_are(call: Call) -> None:
    """Catches a file that nobody can feed: words without their codes, columns without their names."""
    onnx = pytest.importorskip("onnx")
    lines = [f"{i / 7},{('Bonn', 'Ulm')[i % 3 > 1]}" for i in range(40)]
    Path("t.csv").write_text("\n".join(["age,city", *lines]))
    assert call("train", "t.csv", "--out", "run", "--epochs", "1", "--kernels", "numpy", "--no-pictures").code == 0
    done = call("export", "run", "t.onnx")
    assert (done.code, done.out, done.words) == (0, "", "wrote t.onnx\n")
    made = onnx.load("t.onnx")
    props = {prop.key: prop.value for prop in made.metadata_props}
    assert json.loads(props["names"]) == ["age", "city"]
    assert json.loads(props["levels"]) == [[], ["Bonn", "Ulm"]]
    assert "words as their codes" in made.doc_string
    state = Run(Path("run")).load()[0]
    mean = answers(made, x=np.array([[0.3, 1.0]]))["mean"]
    assert 0 < mean[0, 1] < 1
    assert state.config.columns == "auto"
    assert call("export", "run", "t.safetensors").line.endswith("t.safetensors must end in .onnx")


@pytest.mark.parametrize(
    ("options", "words", "part"),
    [
        ({"latent": (3, 2), "hidden": ((4,), ())}, "this run has latent=(3, 2), a ladder", "both"),
        ({"missing": "random:0.5"}, "rows with gaps, which has no export", "encoder"),
        ({"posterior": "gamma"}, "give --part encoder, or decoder", "both"),
        ({"likelihood": "beta", "binarisation": "none"}, "likelihood 'beta': its mean is no plain formula", "decoder"),
    ],
)
def test_what_has_no_export_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: dict[str, Any], words: str, part: str
) -> None:
    run = make_run(tmp_path, **options)
    assert words in refused(capsys, 2, "export", run, str(tmp_path / "m.onnx"), "--part", part)


def test_without_onnx_one_line_says_what_to_install(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    line = refused(capsys, 2, "export", make_run(tmp_path), str(tmp_path / "m.onnx"))
    assert "pip install 'scratchvae[onnx]'" in line
