"""§7.2.5 Layers as pure pairs: forwards against sums written out, backwards against complex steps."""

from collections.abc import Callable

import numpy as np
import pytest
from oracles import close, slopes
from scipy import special

from scratchvae.errors import UsageError
from scratchvae.kernels import NUMPY, table
from scratchvae.kernels.dense import alike
from scratchvae.networks import (
    ACTIVATIONS,
    Dense,
    activate,
    activate_vjp,
    dense,
    dense_vjp,
    dense_vjp_params,
    mlp,
    mlp_vjp,
)
from scratchvae.types import Array

RNG = np.random.default_rng(11)
X, X3 = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 3, 4))
P = Dense(RNG.standard_normal((4, 5)), RNG.standard_normal(5))

FORMULAS: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda a: (np.exp(2 * a) - 1) / (np.exp(2 * a) + 1),
    "sigmoid": special.expit,
    "softplus": lambda a: np.log(1 + np.exp(a)),
    "relu": lambda a: a * (a > 0),
    "leaky_relu": lambda a: a * np.where(a > 0, 1, 0.01),
    "elu": lambda a: np.where(a > 0, a, np.exp(np.minimum(a, 0)) - 1),
    "identity": lambda a: a,
}


def zeros(layers: tuple[Dense, ...]) -> tuple[Dense, ...]:
    return tuple(Dense(np.zeros_like(p.W), np.zeros_like(p.b)) for p in layers)


@pytest.mark.parametrize("x", [X, X3, X[:1], X[:0]], ids=["rows", "samples", "one row", "no rows"])
def test_dense_is_its_sum(x: Array) -> None:
    """Catches a transposed W, a bias that is lost, and samples folded into the wrong axis."""
    expected = np.empty((*x.shape[:-1], 5))
    for row in np.ndindex(x.shape[:-1]):
        for o in range(5):
            expected[(*row, o)] = sum(x[(*row, i)] * P.W[i, o] for i in range(4)) + P.b[o]
    close(dense(x, P), expected)


@pytest.mark.parametrize("x", [X, X3, X[:1], X[:0]], ids=["rows", "samples", "one row", "no rows"])
def test_dense_vjp(x: Array) -> None:
    """Catches a forgotten transpose, a bias gradient that is not summed over all rows, swapped arguments."""
    dy, dp = RNG.standard_normal((*x.shape[:-1], 5)), zeros((P,))[0]
    close(dense_vjp(dy, x, P, dp), slopes(lambda v: dense(v, P), x, dy))
    close(dp.W, slopes(lambda W: dense(x, Dense(W, P.b)), P.W, dy))
    close(dp.b, slopes(lambda b: dense(x, Dense(P.W, b)), P.b, dy))
    alone = zeros((P,))[0]
    dense_vjp_params(dy, x, alone)
    close(alone.W, dp.W, 0)
    close(alone.b, dp.b, 0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name: str) -> None:
    """Catches a wrong slope below zero, a missing −1, and a tanh in place of a sigmoid."""
    a = np.append(np.linspace(-4, 4, 41), [1e-9, -1e-9])
    close(activate(a, name), FORMULAS[name](a), 1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_vjp_reads_the_output(name: str) -> None:
    """Catches 1 − tanh² y taken of the output, a lost factor, and a branch by the wrong sign."""
    a, dy = RNG.standard_normal((6, 7)), RNG.standard_normal((6, 7))
    close(activate_vjp(dy, activate(a, name), name), slopes(lambda v: activate(v, name), a, dy))


@pytest.mark.parametrize(("name", "slope"), [("relu", 0.0), ("leaky_relu", 0.01), ("elu", 1.0)])
def test_slope_at_the_kink(name: str, slope: float) -> None:
    """At a = 0 the left slope is taken: catches ≥ where > was meant (dead units would learn)."""
    zero = np.zeros(1)
    close(activate_vjp(np.ones(1), activate(zero, name), name), np.array([slope]), 0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_far_out(name: str) -> None:
    """Catches an overflow (warnings are errors) or a NaN at ±1e4, also in the branch that is not taken."""
    y = activate(np.array([-1e4, 1e4], np.float32), name)
    low, high = {
        "tanh": (-1, 1), "sigmoid": (0, 1), "softplus": (0, 1e4), "relu": (0, 1e4),
        "leaky_relu": (-100, 1e4), "elu": (-1, 1e4), "identity": (-1e4, 1e4),
    }[name]  # fmt: skip
    assert y.dtype == np.float32
    close(y, np.array([low, high]), 1e-7)
    assert np.isfinite(activate_vjp(np.ones(2, np.float32), y, name)).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_and_zero_cotangents(name: str) -> None:
    """Catches a dead unit that swallows a NaN from above (it must be seen), and 0/0 where dy is zero."""
    y = activate(np.array([-2.0, 0.0, 2.0]), name)
    assert np.isnan(activate_vjp(np.full(3, np.nan), y, name)).all()
    close(activate_vjp(np.zeros(3), y, name), np.zeros(3), 0)
    assert np.isnan(activate(np.array([np.nan]), name)).all()


@pytest.mark.parametrize(("name", "low"), [("relu", 0), ("softplus", 0), ("elu", -1), ("sigmoid", 0), ("tanh", -1)])
@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_infinite_inputs_have_their_limits(name: str, low: float, kernels: str) -> None:
    """Catches 0 * inf in a branch that is not taken: relu(-inf) is 0."""
    y = activate(np.array([-np.inf, np.inf]), name, table(kernels))
    close(y, np.array([low, 1 if name in ("sigmoid", "tanh") else np.inf]), 0)


@pytest.mark.parametrize("x", [X, X3], ids=["rows", "samples"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_mlp(depth: int, x: Array) -> None:
    """Catches layers walked in the wrong order, another layer's input in a dW, and an output left out of the list."""
    layers = tuple(Dense(RNG.standard_normal((4, 4)), RNG.standard_normal(4)) for _ in range(depth))
    hs, expected = mlp(x, layers, "tanh"), [x]
    for p in layers:
        expected.append(np.tanh(np.einsum("...i,io->...o", expected[-1], p.W) + p.b))
    assert len(hs) == len(expected)
    for h, e in zip(hs, expected, strict=True):
        close(h, e)
    dh, dlayers = RNG.standard_normal(hs[-1].shape), zeros(layers)
    close(mlp_vjp(dh, hs, layers, dlayers, "tanh"), slopes(lambda v: mlp(v, layers, "tanh")[-1], x, dh))
    for l, (p, dp) in enumerate(zip(layers, dlayers, strict=True)):

        def of_W(W: Array, l: int = l, b: Array = p.b) -> Array:
            return mlp(x, (*layers[:l], Dense(W, b), *layers[l + 1 :]), "tanh")[-1]

        def of_b(b: Array, l: int = l, W: Array = p.W) -> Array:
            return mlp(x, (*layers[:l], Dense(W, b), *layers[l + 1 :]), "tanh")[-1]

        close(dp.W, slopes(of_W, p.W, dh))
        close(dp.b, slopes(of_b, p.b, dh))


def test_cotangents_are_added() -> None:
    """Catches dW = in place of dW +=: a net that is used twice would lose its first use."""
    dy, once, twice = RNG.standard_normal((3, 5)), zeros((P,))[0], zeros((P,))[0]
    dense_vjp(dy, X, P, once)
    for _ in range(2):
        dense_vjp(dy, X, P, twice)
    close(twice.W, 2 * once.W)
    close(twice.b, 2 * once.b)


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_samples_are_rows(kernels: str) -> None:
    """Catches a kernel table that sees (S, B, D) as anything else than S·B rows."""
    k = table(kernels)
    dy, three, two = RNG.standard_normal((2, 3, 5)), zeros((P,))[0], zeros((P,))[0]
    close(dense(X3, P, k).reshape(6, 5), dense(X3.reshape(6, 4), P, k), 0)
    close(dense_vjp(dy, X3, P, three, k).reshape(6, 4), dense_vjp(dy.reshape(6, 5), X3.reshape(6, 4), P, two, k), 0)
    close(three.W, two.W, 0)


class Recorder:
    """A kernel table that notes which kernels were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Array]:
        self.asked.append(name)
        kernel: Callable[..., Array] = getattr(NUMPY, name)
        return kernel


def test_the_table_is_passed_down() -> None:
    """Catches a call that forgets k: it would run the slow statement for ever, with all numbers right."""
    k, layers = Recorder(), (P, Dense(np.ones((5, 2)), np.ones(2)))
    hs = mlp(X, layers, "elu", k)  # type: ignore[arg-type]
    assert k.asked == ["dense", "elu"] * 2
    k.asked.clear()
    mlp_vjp(np.ones((3, 2)), hs, layers, zeros(layers), "elu", k)  # type: ignore[arg-type]
    assert k.asked == ["elu_vjp", "dense_vjp_params", "dense_vjp_x"] * 2


def test_unknown_activation_is_refused() -> None:
    """Catches a typing error that gets any further than the first call."""
    with pytest.raises(UsageError, match="activation 'swish' is unknown: give one of tanh, relu"):
        activate(X, "swish")


def test_arrays_of_one_type() -> None:
    """What the tiles read is of one type, and not copied where it already is: catches a float32 read as float64."""
    a, b = np.arange(3, dtype=np.float32), np.arange(3, dtype=np.float64)
    wide, same = alike(np.dtype("float64"), a, b)
    assert wide.dtype == np.float64
    assert wide.tolist() == [0, 1, 2]
    assert same is b
