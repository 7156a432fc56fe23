"""§7.2.5 Convolution: one function in two roles, held to its law, to SciPy and torch; and VAEs that are made of it."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import close, slopes
from scipy.signal import correlate

from scratchvae import VAE
from scratchvae.cli import main
from scratchvae.convolution import FITS, Conv, Geometry, conv, conv_vjp, conv_vjp_params
from scratchvae.errors import UsageError
from scratchvae.export import to_onnx
from scratchvae.initial import initialise
from scratchvae.kernels import table
from scratchvae.models.convolutional import as_image, channels
from scratchvae.models.vae import Architecture, elbo
from scratchvae.page import check_run
from scratchvae.training.config import Config, from_dict
from scratchvae.types import Array

RNG = np.random.default_rng(24)
SMALL: dict[str, Any] = {
    "network": "conv:3,4", "hidden": (6,), "latent": 2, "epochs": 2, "batch": 10, "kernels": "numpy",
}  # fmt: skip

geometries = st.builds(
    Geometry,
    st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 3)),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 2),
)


def made(g: Geometry, transposed: bool = False) -> Conv:
    return Conv(RNG.standard_normal(g.weights), np.zeros(g.image[2] if transposed else g.channels), g, transposed)


def images(N: int, *shape: int, low: int = 0, high: int = 2) -> Array:
    return RNG.integers(low, high, (N, *shape)).astype(np.uint8)


@given(geometries)
@settings(deadline=None, max_examples=60)
def test_the_transpose_is_the_transpose(g: Geometry) -> None:
    """Catches any place that one direction reads and the other does not write: ⟨y, conv x⟩ = ⟨convᵀ y, x⟩."""
    p = made(g)
    x, y = RNG.standard_normal((2, math.prod(g.image))), RNG.standard_normal((2, math.prod(g.small)))
    back = Conv(p.W, np.zeros(g.image[2]), g, transposed=True)
    close((y * conv(x, p)).sum(), (conv(y, back) * x).sum(), 1e-11)
    np.testing.assert_array_equal(conv(y, back), conv_vjp(y, x, p, None))
    np.testing.assert_array_equal(conv(x, p), conv_vjp(x, y, back, None))


@given(geometries)
@settings(deadline=None, max_examples=30)
def test_conv_is_scipys_correlation(g: Geometry) -> None:
    """Catches a kernel that is turned round, a pad on the wrong side, a stride that begins elsewhere."""
    (H, W, C), (h, w, O), p = g.image, g.small, made(g)
    x = RNG.standard_normal((1, H * W * C))
    far = g.kernel + g.stride + g.pad
    around = np.pad(x.reshape(H, W, C), ((g.pad, far), (g.pad, far), (0, 0)))
    for o in range(O):
        dense = correlate(around, p.W[..., o], "valid")[:, :, 0]
        found = conv(x, p).reshape(h, w, O)[..., o]
        np.testing.assert_allclose(found, dense[:: g.stride, :: g.stride][:h, :w], atol=1e-12)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("each", [False, True], ids=["channel", "value"])
def test_conv_vjp(transposed: bool, each: bool) -> None:
    """Catches cotangents that are overwritten and not added, a bias summed over too few places, samples in a wrong
    axis."""
    g = Geometry((5, 4, 2), 3)
    sides = math.prod(g.image), math.prod(g.small)
    i, o = sides[::-1] if transposed else sides
    p = made(g, transposed)._replace(b=RNG.standard_normal(o if each else (2 if transposed else 3)))
    x, dy = RNG.standard_normal((2, 3, i)), RNG.standard_normal((2, 3, o))
    dp = p._replace(W=np.ones_like(p.W), b=np.ones_like(p.b))
    close(conv_vjp(dy, x, p, dp), slopes(lambda v: conv(v, p), x, dy))
    close(dp.W - 1, slopes(lambda W: conv(x, p._replace(W=W)), p.W, dy))
    close(dp.b - 1, slopes(lambda b: conv(x, p._replace(b=b)), p.b, dy))


def test_blocks_change_no_row() -> None:
    """Catches rows lost between two blocks: many rows at once are the same as each alone, to the bit of a product."""
    g = Geometry((16, 16, 8), 2)
    N = 2 * (FITS // (64 * 16 * 8)) + 3
    p, x = made(g), RNG.standard_normal((N, 2048))
    y, dp = conv(x, p), made(g)._replace(W=np.zeros(g.weights))
    np.testing.assert_allclose(y, np.concatenate([conv(row[None], p) for row in x]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        conv_vjp(y, x, p, dp), np.concatenate([conv_vjp(a[None], b[None], p, None) for a, b in zip(y, x, strict=True)]),
        rtol=0, atol=1e-10,
    )  # fmt: skip
    each = made(g)._replace(W=np.zeros(g.weights))
    for a, b in zip(y, x, strict=True):
        conv_vjp_params(a[None], b[None], each)
    np.testing.assert_allclose(dp.W, each.W, rtol=1e-10, atol=1e-9)
    assert conv(x[:0], p).shape == (0, 128)


def test_the_kernels_of_both_tables_agree() -> None:
    """Catches tiles that read float64 as float32, or a reshaped weight that they cannot write through."""
    g, k = Geometry((7, 6, 2), 3), table("numba")
    for transposed in (False, True):
        p = made(g, transposed)
        p = p._replace(W=p.W.astype("f"), b=p.b.astype("f"))
        x = RNG.standard_normal((4, math.prod(g.small if transposed else g.image))).astype("f")
        y = conv(x, p)
        grads = [p._replace(W=0 * p.W, b=0 * p.b) for _ in range(2)]
        np.testing.assert_allclose(conv(x, p, k), y, rtol=0, atol=2e-5)
        np.testing.assert_allclose(conv_vjp(y, x, p, grads[0], k), conv_vjp(y, x, p, grads[1]), rtol=0, atol=2e-4)
        np.testing.assert_allclose(grads[0].W, grads[1].W, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(6, 8), (7, 5)])
def test_torch_agrees(size: tuple[int, int]) -> None:
    """Catches a convention that is ours alone: conv2d and conv_transpose2d and their gradients."""
    torch = pytest.importorskip("torch")
    g = Geometry((*size, 2), 3)
    (h, w, _), p = g.small, made(g)
    x = RNG.standard_normal((2, *size, 2))
    W = torch.tensor(p.W.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    t = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    odd = size[0] % 2
    y = torch.nn.functional.conv2d(torch.nn.functional.pad(t, (1, 1 + odd, 1, 1 + odd)), W, stride=2)
    ours = conv(x.reshape(2, -1), p)
    close(ours.reshape(2, h, w, 3), y.detach().numpy().transpose(0, 2, 3, 1), 1e-9)
    dy, dp = RNG.standard_normal((2, h, w, 3)), made(g)._replace(W=np.zeros(g.weights))
    y.backward(torch.tensor(dy.transpose(0, 3, 1, 2).copy()))
    dx = conv_vjp(dy.reshape(2, -1), x.reshape(2, -1), p, dp).reshape(x.shape)
    close(dx, t.grad.numpy().transpose(0, 2, 3, 1), 1e-9)
    close(dp.W, W.grad.numpy().transpose(2, 3, 1, 0), 1e-9)
    up = torch.nn.functional.conv_transpose2d(torch.tensor(dy.transpose(0, 3, 1, 2).copy()), W, stride=2)
    up = up.detach().numpy().transpose(0, 2, 3, 1)[:, 1 : 1 + size[0], 1 : 1 + size[1]]
    close(conv(dy.reshape(2, -1), p._replace(b=np.zeros(2), transposed=True)).reshape(up.shape), up, 1e-9)


@pytest.mark.parametrize("image", [(28, 28), (28, 20), (15, 30, 3), (1, 1)])
def test_a_net_leads_back_to_the_image(image: tuple[int, ...]) -> None:
    """Catches a row or a column that odd sizes lose on the way down and up, and layers that do not fit each other."""
    D = math.prod(image)
    a = Architecture(D, 2, (6, 5), image=image, network="conv:2,3,4")
    shapes = a.shapes()
    phi, theta = a.nets({name: 0.1 * RNG.standard_normal(shape) for name, shape in shapes.items()})
    x = RNG.integers(0, 2, (3, D)).astype(float)
    L, cache = elbo(x, RNG.standard_normal((3, 2)), phi, theta)
    assert L.shape == (3,)
    assert cache.p.logits.shape == (3, D)
    sides = [layer.geometry.image[:2] for layer in phi.hidden if isinstance(layer, Conv)]
    assert sides == [tuple(-(-s // 2**n) for s in image[:2]) for n in range(3)]
    back = [layer.geometry.image[:2] for layer in (*theta.hidden, *theta.heads) if isinstance(layer, Conv)]
    assert back == sides[::-1]
    assert [shapes[f"p.{name}.b"] for name in ("hidden.3", "hidden.4", "logits")] == [(3,), (2,), (D,)]


def test_the_names_of_networks() -> None:
    """Catches a bound of the channels that is one off, and images that are told from rows by their size alone."""
    assert [channels(name) for name in ("mlp", "conv", "conv:1", "conv:7,65535")] == [(), (32, 64), (1,), (7, 65535)]
    for name in ("conv:0", "conv:65536"):
        with pytest.raises(UsageError, match="expected mlp, conv"):
            channels(name)
    assert as_image((7, 5), 35) == (7, 5, 1)
    for image in ((35,), (2, 3), (7, 5, 1, 1)):
        with pytest.raises(UsageError, match=r"35 columns are none of [^;]*$"):  # and no column has been dropped
            as_image(image, 35)


def test_fans_count_the_kernels_places() -> None:
    """Catches weights of a convolution drawn as those of a dense layer of its channels."""
    noise = {"W": RNG.standard_normal((4, 4, 32, 64)), "b": np.ones(64)}
    for name, variance in (("glorot", 2 / (16 * 32 + 16 * 64)), ("he", 2 / (16 * 32))):
        views = {key: np.zeros_like(array) for key, array in noise.items()}
        initialise(views, name, noise)
        close(views["W"], math.sqrt(variance) * noise["W"], 1e-12)
        assert not views["b"].any()


# ---------------------------------------------------------------- whole runs


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"likelihood": "gaussian", "standardise": False},
        {"likelihood": "gaussian-sigmoid", "estimator": "iw", "samples": 3},
        {"likelihood": "categorical"},
        {"likelihood": "ordinal:4"},
        {"missing": "random:0.5"},
        {"prior": "vamp:3", "estimator": "stl"},
        {"posterior": "laplace", "warm_up": 1.0},
        {"estimator": "nvil"},
        {"algorithm": "wake-sleep"},
        {"weight_prior": True, "initial": "he", "activation": "relu"},
    ],
    ids=str,
)
def test_all_else_goes_on_working(more: dict[str, Any], tmp_path: Path) -> None:
    """Catches a way through training, filling or the checkpoint that takes every layer for a dense one."""
    x = images(20, 7, 5)
    model = VAE(**{**SMALL, **more}).fit(x)
    model.save(tmp_path / "m")
    again = VAE.load(tmp_path / "m")
    rows = x.reshape(20, -1)
    np.testing.assert_array_equal(again.sample(3), model.sample(3))
    assert np.isfinite(again.elbo(rows)).all()
    np.testing.assert_array_equal(again.elbo(rows), model.elbo(rows))


def test_resumed_is_unstopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches options of the network that a checkpoint forgets, and commands that do not know it."""
    np.save(tmp_path / "x.npy", images(40, 35).reshape(40, 35))
    common = ["train", str(tmp_path / "x.npy"), "--network", "conv:3", "--image", "7,5", "--hidden", "4",
              "--latent", "2", "--batch", "10", "--kernels", "numpy", "--no-pictures"]  # fmt: skip
    assert main([*common, "--epochs", "2", "--out", str(tmp_path / "a")]) == 0
    assert main([*common, "--epochs", "1", "--out", str(tmp_path / "b")]) == 0
    assert main(["train", "--resume", "--epochs", "2", "--no-pictures", "--out", str(tmp_path / "b")]) == 0
    a, b = (VAE.load(tmp_path / run) for run in "ab")
    assert a.state is not None
    assert b.state is not None
    np.testing.assert_array_equal(a.state.arena.flat, b.state.arena.flat)
    few = ["--rows", "0:2", "--samples", "3"]
    commands: list[list[str]] = [
        ["evaluate"],
        ["sample", "--out", str(tmp_path / "s.png")],
        ["evidence", *few],
        ["evidence", *few, "--estimator", "ais", "--temperatures", "3"],
        ["posterior", "--chains", "2", "--draws", "8", "--warm-up", "4", "--steps", "4", "--samples", "8"],
        ["fill", *few, "--mask", "random:0.5", "--imputations", "2", "--warm-up", "2"],
    ]
    for name, *words in commands:
        assert main([name, str(tmp_path / "a"), "--kernels", "numpy", *words]) == 0, name
    capsys.readouterr()


def test_threads_and_gaps_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches bits that --threads changes, and NaN of the data that a patch spreads over its neighbours."""
    x = np.where(RNG.random((40, 35)) < 0.3, np.nan, RNG.random((40, 35)))
    np.save(tmp_path / "x.npy", x)
    for threads in "12":
        words = ["train", str(tmp_path / "x.npy"), "--network", "conv:3", "--image", "7,5", "--hidden", "4",
                 "--latent", "2", "--batch", "10", "--missing", "nan", "--likelihood", "gaussian", "--epochs", "2",
                 "--no-standardise", "--no-pictures", "--kernels", "numpy", "--threads", threads,
                 "--out", str(tmp_path / threads)]  # fmt: skip
        assert main(words) == 0
    a, b = (VAE.load(tmp_path / run) for run in "12")
    assert a.state is not None
    assert b.state is not None
    np.testing.assert_array_equal(a.state.arena.flat, b.state.arena.flat)
    assert np.isfinite(a.state.arena.flat).all()
    assert main(["fill", str(tmp_path / "1"), "--rows", "0:2", "--imputations", "2", "--samples", "3"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"network": "conv:"}, "expected mlp, conv, or channels"),
        ({"network": "conv:3,x"}, "expected mlp, conv, or channels"),
        ({"network": "cnn"}, "expected mlp, conv, or channels"),
        ({"network": "conv", "latent": (4, 2), "hidden": ((3,), (3,))}, "one latent layer"),
        ({"network": "conv", "columns": "0=gaussian"}, "columns are of one kind"),
        ({"image": 3}, "expected a value such as"),
    ],
)
def test_what_has_no_place_is_refused(values: dict[str, Any], said: str) -> None:
    """Catches a network that is built in silence of something else than was asked."""
    with pytest.raises(UsageError, match=said):
        from_dict(values)


def test_rows_that_are_no_images_are_refused() -> None:
    """Catches a table folded into an image of any shape, and colours that come first."""
    model = VAE(**SMALL)
    with pytest.raises(UsageError, match=r"nothing says how 35 columns are one: give --image H,W"):
        model.fit(images(20, 35))
    with pytest.raises(UsageError, match="channels last"):
        model.fit(images(20, 3, 8, 8))
    with pytest.raises(UsageError, match=r"image=\(7, 6\) does not fit rows of 35"):
        VAE(**SMALL, image=(7, 6)).fit(images(20, 35))
    grey = RNG.random((20, 7, 5))
    grey[:, 0, 0] = 0.5
    with pytest.raises(UsageError, match=r"34 columns are none of .* constant columns are dropped"):
        VAE(**SMALL, likelihood="gaussian").fit(grey)
    found = VAE(**SMALL, image=(7, 5)).fit(images(20, 35))
    assert found.state is not None
    for refuse in (to_onnx, check_run):
        with pytest.raises(UsageError, match="network"):
            refuse(found.state)


def test_configs_of_before_are_mlps() -> None:
    """Catches an old config.json that no longer loads, or that changes its network."""
    old = {name: value for name, value in Config().as_dict().items() if name not in ("network", "image")}
    assert from_dict(old) == Config()
    assert from_dict(dataclasses.replace(Config(), network="conv", image=(28, 28)).as_dict()).image == (28, 28)
