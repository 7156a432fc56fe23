"""§7.2.5 Activations y = f(a), and dy → da written with the output y alone, so that a layer keeps one array.

    tanh        y = tanh a               f' = 1 − y²
    sigmoid     y = 1 / (1 + e^−a)       f' = y (1 − y)
    softplus    y = log(1 + e^a)         f' = sigmoid(a) = 1 − e^−y
    relu        y = max(a, 0)            f' = [y > 0]
    leaky_relu  y = a or 0.01 a          f' = 1 or 0.01              by the sign of y, which is the sign of a
    elu         y = a or e^a − 1         f' = 1 or e^a = y + 1

The NumPy statements are analytic where f is: comparisons look at the real part, so a complex step passes through.
"""

from typing import Any

import numpy as np

from ..engine.jit import inline, jit, lazy_import
from ..types import Array

lane_count, where = lazy_import("engine.vectors", "lane_count", "where")
read, write = lazy_import("engine.edges", "read", "write")
expm1_below, sigmoid, softplus, tanh = lazy_import("engine.vector_math", "expm1_below", "sigmoid", "softplus", "tanh")

SLOPE = 0.01  # of leaky_relu, below zero


@inline
def mapped(f: Any, a: Array) -> Array:
    """f of every element; f takes a vector."""
    a = np.ascontiguousarray(a)
    y = np.empty_like(a)
    for i in range(0, a.size, lane_count(y)):
        write(y, i, a.size, f(read(a, i, a.size, y)))
    return y


@inline
def mapped_vjp(f_vjp: Any, dy: Array, y: Array) -> Array:
    """f_vjp of every pair of elements."""
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    da = np.empty_like(y)
    for i in range(0, y.size, lane_count(da)):
        write(da, i, y.size, f_vjp(read(dy, i, y.size, da), read(y, i, y.size, da)))
    return da


def tanh_np(a: Array) -> Array:
    """y = tanh a."""
    return np.tanh(a)


def tanh_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy (1 − y²)."""
    return dy * (1 - y * y)


@inline
def tanh_vjp(dy: Any, y: Any) -> Any:
    return dy * (1.0 - y * y)


@jit
def tanh_nb(a: Array) -> Array:
    """Twin of `tanh_np`."""
    return mapped(tanh, a)


@jit
def tanh_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `tanh_vjp_np`."""
    return mapped_vjp(tanh_vjp, dy, y)


def sigmoid_np(a: Array) -> Array:
    """y = 1 / (1 + e^−a), written as ½ (1 + tanh ½a): no overflow at either end, and analytic."""
    return 0.5 * (1 + np.tanh(0.5 * a))


def sigmoid_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy y (1 − y)."""
    return dy * (y * (1 - y))


@inline
def sigmoid_vjp(dy: Any, y: Any) -> Any:
    return dy * (y * (1.0 - y))


@jit
def sigmoid_nb(a: Array) -> Array:
    """Twin of `sigmoid_np`."""
    return mapped(sigmoid, a)


@jit
def sigmoid_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `sigmoid_vjp_np`."""
    return mapped_vjp(sigmoid_vjp, dy, y)


def softplus_np(a: Array) -> Array:
    """y = log(1 + e^a) = max(a, 0) + log(1 + e^−|a|): the exponent is never positive, so nothing overflows."""
    positive = a.real > 0
    return np.where(positive, a, 0) + np.log1p(np.exp(np.where(positive, -a, a)))


def softplus_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy (1 − e^−y)."""
    return -dy * np.expm1(-y)


@inline
def softplus_vjp(dy: Any, y: Any) -> Any:
    return -dy * expm1_below(-y)


@jit
def softplus_nb(a: Array) -> Array:
    """Twin of `softplus_np`."""
    return mapped(softplus, a)


@jit
def softplus_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `softplus_vjp_np`."""
    return mapped_vjp(softplus_vjp, dy, y)


def relu_np(a: Array) -> Array:
    """y = max(a, 0); a NaN stays a NaN."""
    return np.where(a.real <= 0, 0, a)


def relu_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy where y > 0, else 0 (the kink itself has slope 0)."""
    return np.where(y.real > 0, dy, 0 * dy)


@inline
def relu(a: Any) -> Any:
    return where(a <= 0.0, 0.0, a)


@inline
def relu_vjp(dy: Any, y: Any) -> Any:
    return where(y > 0.0, dy, dy * 0.0)


@jit
def relu_nb(a: Array) -> Array:
    """Twin of `relu_np`."""
    return mapped(relu, a)


@jit
def relu_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `relu_vjp_np`."""
    return mapped_vjp(relu_vjp, dy, y)


def leaky_relu_np(a: Array) -> Array:
    """y = a where a > 0, else 0.01 a."""
    return np.where(a.real > 0, a, SLOPE * a)


def leaky_relu_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy where y > 0, else 0.01 dy."""
    return np.where(y.real > 0, dy, SLOPE * dy)


@inline
def leaky_relu(a: Any) -> Any:
    return where(a > 0.0, a, a * SLOPE)


@inline
def leaky_relu_vjp(dy: Any, y: Any) -> Any:
    return where(y > 0.0, dy, dy * SLOPE)


@jit
def leaky_relu_nb(a: Array) -> Array:
    """Twin of `leaky_relu_np`."""
    return mapped(leaky_relu, a)


@jit
def leaky_relu_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `leaky_relu_vjp_np`."""
    return mapped_vjp(leaky_relu_vjp, dy, y)


def elu_np(a: Array) -> Array:
    """y = a where a > 0, else e^a − 1; the branch not taken is fed 0, so it cannot overflow."""
    positive = a.real > 0
    return np.where(positive, a, np.expm1(np.where(positive, 0, a)))


def elu_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy where y > 0, else dy (y + 1)."""
    return np.where(y.real > 0, dy, dy * (y + 1))


@inline
def elu(a: Any) -> Any:
    return where(a > 0.0, a, expm1_below(a))


@inline
def elu_vjp(dy: Any, y: Any) -> Any:
    return where(y > 0.0, dy, dy * (y + 1.0))


@jit
def elu_nb(a: Array) -> Array:
    """Twin of `elu_np`."""
    return mapped(elu, a)


@jit
def elu_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `elu_vjp_np`."""
    return mapped_vjp(elu_vjp, dy, y)
