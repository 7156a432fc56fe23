"""§7.2.5 Every compiled kernel equals its NumPy statement: a bug of the twin is found here, not in training."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracles import close

from scratchvae.errors import UsageError
from scratchvae.kernels import NUMPY, table
from scratchvae.types import Array

NUMBA = table("numba")
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
Make = Callable[..., Array]

HYPER = (1e-2, 0.9, 0.999, 1e-8, 0.1)
ELEMENTWISE = ("tanh", "sigmoid", "softplus", "relu", "leaky_relu", "elu")
ARGUMENTS: dict[str, Callable[[Make, int, int], tuple[Any, ...]]] = {
    **{f: lambda a, B, D: (a(B, D),) for f in ELEMENTWISE},
    **{f + "_vjp": lambda a, B, D: (a(B, D), a(B, D)) for f in ELEMENTWISE},
    "softplus_vjp": lambda a, B, D: (a(B, D), abs(a(B, D))),  # by its output, which is positive
    "dense": lambda a, B, D: (a(B, D), a(D, D + 2), a(D + 2)),
    "dense_vjp_params": lambda a, B, D: (a(B, D + 2), a(B, D), a(D, D + 2), a(D + 2)),
    "dense_vjp_x": lambda a, B, D: (a(B, D + 2), a(D, D + 2)),
    "normal_sample": lambda a, B, D: (a(B, D), a(B, D), a(B, D)),
    "normal_sample_vjp": lambda a, B, D: (a(B, D), a(B, D), a(B, D)),
    "normal_log_prob": lambda a, B, D: (a(B, D), a(B, D), a(B, D)),
    "normal_log_prob_vjp": lambda a, B, D: (a(B), a(B, D), a(B, D), a(B, D)),
    "normal_masked_log_prob": lambda a, B, D: (a(B, D), a(B, D, bits=True), a(B, D), a(B, D)),
    "normal_masked_log_prob_vjp": lambda a, B, D: (a(B), a(B, D), a(B, D, bits=True), a(B, D), a(B, D)),
    "normal_kl": lambda a, B, D: (a(B, D), a(B, D)),
    "normal_kl_vjp": lambda a, B, D: (a(B), a(B, D), a(B, D)),
    "normal_entropy": lambda a, B, D: (a(B, D),),
    "normal_entropy_vjp": lambda a, B, D: (a(B), a(B, D)),
    "bernoulli_log_prob": lambda a, B, D: (a(B, D, bits=True), a(B, D)),
    "bernoulli_log_prob_vjp": lambda a, B, D: (a(B), a(B, D, bits=True), a(B, D)),
    "bernoulli_masked_log_prob": lambda a, B, D: (a(B, D, bits=True), a(B, D, bits=True), a(B, D)),
    "bernoulli_masked_log_prob_vjp": lambda a, B, D: (a(B), a(B, D, bits=True), a(B, D, bits=True), a(B, D)),
    "bernoulli_sample": lambda a, B, D: (a(B, D), a(B, D, bits=True) * a(B, D, bits=True) * 0.9),
    "bernoulli_entropy": lambda a, B, D: (a(B, D),),
    "bernoulli_entropy_vjp": lambda a, B, D: (a(B), a(B, D)),
    "gru_gates": lambda a, B, D: (a(B, 3 * D), a(B, 3 * D), a(B, D)),
    "gru_gates_vjp": lambda a, B, D: (a(B, D), a(B, 4 * D), a(B, D)),
    "token_log_prob": lambda a, B, D: (a(B, D), np.arange(B) % D),
    "token_log_prob_vjp": lambda a, B, D: (a(B), a(B, D), np.arange(B) % D),
    "words": lambda a, B, D: (7, 1, 2, np.arange(3, 3 + B, dtype=np.uint32), D),
    "uniforms": lambda a, B, D: (7 << 32, 1, 2, np.arange(3, 3 + B, dtype=np.uint32), D, a(1).dtype),
    "normals": lambda a, B, D: (7, 1, 2, np.arange(3, 3 + B, dtype=np.uint32), D, a(1).dtype),
    "adam": lambda a, B, D: (a(B * D), a(B * D), a(B * D), a(B * D) ** 2, 3, HYPER),
    "adagrad": lambda a, B, D: (a(B * D), a(B * D), a(B * D) ** 2, 0.1, 1e-8),
    "momentum": lambda a, B, D: (a(B * D), a(B * D), a(B * D), 0.1, 0.9),
}
INTEGERS = ("words",)  # its output has a type of its own
DRAWS = ("words", "uniforms", "normals")  # no array comes in, so no NaN and no extreme either


def maker(dtype: str, seed: int = 0, values: Array | None = None) -> Make:
    """a(*shape): seeded normals of the dtype, or picks from `values`; bits=True gives 0s and 1s."""
    rng = np.random.default_rng(seed)

    def make(*shape: int, bits: bool = False) -> Array:
        if bits:
            return (rng.random(shape) < 0.5).astype(dtype)
        drawn = rng.standard_normal(shape) if values is None else rng.choice(values, shape)
        return drawn.astype(dtype)

    return make


def outputs(kernel: Callable[..., Any], args: tuple[Any, ...]) -> list[Array]:
    """What the kernel returns, or, where it returns nothing, the array arguments that it wrote into."""
    own = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    with np.errstate(all="ignore"):
        returned = kernel(*own)
    if returned is None:
        return [a for a in own if isinstance(a, np.ndarray)]
    for mine, given in zip(own, args, strict=True):
        assert not isinstance(given, np.ndarray) or np.array_equal(mine, given, equal_nan=True), "an argument changed"
    return list(returned) if isinstance(returned, tuple) else [returned]


def assert_twins(name: str, args: tuple[Any, ...], dtype: str) -> list[Array]:
    """Both tables give the same, in the dtype that came in."""
    expected, got = outputs(getattr(NUMPY, name), args), outputs(getattr(NUMBA, name), args)
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == e.dtype, name
        assert name in INTEGERS or g.dtype == np.dtype(dtype), f"{name} promoted {dtype} to {g.dtype}"
        close(g, e, TOLERANCE[dtype])
    return expected


def test_every_kernel_has_its_arguments_here() -> None:
    """A kernel added to the table without a line above would be compared by nobody."""
    assert set(ARGUMENTS) == set(NUMPY._fields) - {"name"}


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_twins_have_the_same_arguments(name: str) -> None:
    """Catches two swapped or renamed arguments that a positional call would hide."""
    plain, twin = (inspect.signature(getattr(k, name)) for k in (NUMPY, NUMBA))
    assert plain == twin


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_twins_agree_over_odd_shapes(name: str, dtype: str) -> None:
    """Catches a wrong remainder loop, a row block that runs over, no rows, one row, and float32 promoted to float64."""
    for B, D in [(0, 3), (1, 1), (1, 9), (3, 2), (5, 7), (7, 17), (6, 33)]:
        assert_twins(name, ARGUMENTS[name](maker(dtype), B, D), dtype)


@pytest.mark.parametrize("name", ["dense", "dense_vjp_params", "dense_vjp_x"])
def test_products_of_mixed_types(name: str) -> None:
    """float64 rows under float32 weights, as a grid of codes is: catches tiles that read one type's bits as another."""
    args = ARGUMENTS[name](maker("float32"), 5, 7)
    mixed = (args[0].astype("float64"), *args[1:])
    for got, expected in zip(outputs(getattr(NUMBA, name), mixed), outputs(getattr(NUMPY, name), mixed), strict=True):
        assert got.dtype == expected.dtype
        close(got, expected, 1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(set(ARGUMENTS) - set(DRAWS)))
def test_twins_agree_at_extremes(name: str, dtype: str) -> None:
    """Catches exp that overflows in one twin alone: where the statement is finite, inf or NaN, so is the twin."""
    values = np.array([-1e4, -90.0, 0.0, 90.0, 1e4])
    assert_twins(name, ARGUMENTS[name](maker(dtype, 3, values), 6, 11), dtype)


@pytest.mark.parametrize("name", ["softplus", "sigmoid", "bernoulli_log_prob", "bernoulli_entropy", "normal_kl"])
def test_no_nan_at_extremes(name: str) -> None:
    """Catches log(1 + exp(l)) and log(sigmoid(l)): inf or NaN at logits where the value is an ordinary number."""
    make = maker("float32", 3, np.array([-1e4, -90.0, 0.0, 80.0, 1e4 if name != "normal_kl" else 80.0]))
    assert np.isfinite(assert_twins(name, ARGUMENTS[name](make, 6, 11), "float32")[0]).all()


# Where one argument's NaN honestly is not seen: a slope that is constant, a branch by sign, a draw.
BLIND = {("normal_entropy_vjp", 1), ("relu_vjp", 1), ("leaky_relu_vjp", 1)} | {("bernoulli_sample", i) for i in (0, 1)}


@pytest.mark.parametrize("name", sorted(set(ARGUMENTS) - set(DRAWS)))
def test_a_nan_stays_a_nan(name: str) -> None:
    """Catches fastmath and max(x, 0): a NaN in any argument comes out, at the same places of both twins."""
    args = ARGUMENTS[name](maker("float64"), 3, 5)
    for i, arg in enumerate(args):
        if isinstance(arg, np.ndarray) and arg.dtype.kind == "f":
            spoilt = arg.copy()
            spoilt.flat[0] = np.nan
            results = assert_twins(name, (*args[:i], spoilt, *args[i + 1 :]), "float64")
            assert any(np.isnan(r).any() for r in results) != ((name, i) in BLIND)


def test_unknown_table_is_refused() -> None:
    """Catches a typing error that silently trains with another table."""
    with pytest.raises(UsageError, match="'fortran' is unknown: give 'numpy' or 'numba'"):
        table("fortran")
