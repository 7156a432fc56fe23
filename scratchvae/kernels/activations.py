"""§7.2.5 Activations y = f(a), and dy → da written with the output y alone, so that a layer keeps one array.

    tanh        y = tanh a               f' = 1 − y²
    sigmoid     y = 1 / (1 + e^−a)       f' = y (1 − y)
    softplus    y = log(1 + e^a)         f' = sigmoid(a) = 1 − e^−y
    relu        y = max(a, 0)            f' = [y > 0]
    leaky_relu  y = a or 0.01 a          f' = 1 or 0.01              by the sign of y, which is the sign of a
    elu         y = a or e^a − 1         f' = 1 or e^a = y + 1

The NumPy statements are analytic where f is: comparisons look at the real part, so a complex step passes through.
"""

import numpy as np

from ..engine.jit import jit, lazy_import
from ..types import Array

lane_count, where = lazy_import("engine.vectors", "lane_count", "where")
read, write = lazy_import("engine.edges", "read", "write")
expm1, expm1_below, sigmoid, softplus, tanh = lazy_import(
    "engine.vector_math", "expm1", "expm1_below", "sigmoid", "softplus", "tanh"
)

SLOPE = 0.01  # of leaky_relu, below zero


def tanh_np(a: Array) -> Array:
    """y = tanh a."""
    return np.tanh(a)


@jit
def tanh_nb(a: Array) -> Array:
    """Twin of `tanh_np`."""
    a = np.ascontiguousarray(a)
    y = np.empty_like(a)
    for i in range(0, a.size, lane_count(y)):
        write(y, i, a.size, tanh(read(a, i, a.size, y)))
    return y


def tanh_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy (1 − y²)."""
    return dy * (1 - y * y)


@jit
def tanh_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `tanh_vjp_np`."""
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    da = np.empty_like(y)
    for i in range(0, y.size, lane_count(da)):
        dv, v = read(dy, i, y.size, da), read(y, i, y.size, da)
        write(da, i, y.size, dv * (1.0 - v * v))
    return da


def sigmoid_np(a: Array) -> Array:
    """y = 1 / (1 + e^−a), written as ½ (1 + tanh ½a): no overflow at either end, and analytic."""
    return 0.5 * (1 + np.tanh(0.5 * a))


@jit
def sigmoid_nb(a: Array) -> Array:
    """Twin of `sigmoid_np`."""
    a = np.ascontiguousarray(a)
    y = np.empty_like(a)
    for i in range(0, a.size, lane_count(y)):
        write(y, i, a.size, sigmoid(read(a, i, a.size, y)))
    return y


def sigmoid_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy y (1 − y)."""
    return dy * (y * (1 - y))


@jit
def sigmoid_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `sigmoid_vjp_np`."""
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    da = np.empty_like(y)
    for i in range(0, y.size, lane_count(da)):
        dv, v = read(dy, i, y.size, da), read(y, i, y.size, da)
        write(da, i, y.size, dv * (v * (1.0 - v)))
    return da


def softplus_np(a: Array) -> Array:
    """y = log(1 + e^a) = max(a, 0) + log(1 + e^−|a|): the exponent is never positive, so nothing overflows."""
    positive = a.real > 0
    return np.where(positive, a, 0) + np.log1p(np.exp(np.where(positive, -a, a)))


@jit
def softplus_nb(a: Array) -> Array:
    """Twin of `softplus_np`."""
    a = np.ascontiguousarray(a)
    y = np.empty_like(a)
    for i in range(0, a.size, lane_count(y)):
        write(y, i, a.size, softplus(read(a, i, a.size, y)))
    return y


def softplus_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy (1 − e^−y)."""
    return -dy * np.expm1(-y)


@jit
def softplus_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `softplus_vjp_np`."""
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    da = np.empty_like(y)
    for i in range(0, y.size, lane_count(da)):
        dv, v = read(dy, i, y.size, da), read(y, i, y.size, da)
        write(da, i, y.size, -dv * expm1(-v))
    return da


def relu_np(a: Array) -> Array:
    """y = max(a, 0); a NaN stays a NaN."""
    return np.where(a.real <= 0, 0, a)


@jit
def relu_nb(a: Array) -> Array:
    """Twin of `relu_np`."""
    a = np.ascontiguousarray(a)
    y = np.empty_like(a)
    for i in range(0, a.size, lane_count(y)):
        v = read(a, i, a.size, y)
        write(y, i, a.size, where(v <= 0.0, 0.0, v))
    return y


def relu_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy where y > 0, else 0 (the kink itself has slope 0)."""
    return np.where(y.real > 0, dy, 0 * dy)


@jit
def relu_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `relu_vjp_np`."""
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    da = np.empty_like(y)
    for i in range(0, y.size, lane_count(da)):
        dv, v = read(dy, i, y.size, da), read(y, i, y.size, da)
        write(da, i, y.size, where(v > 0.0, dv, dv * 0.0))
    return da


def leaky_relu_np(a: Array) -> Array:
    """y = a where a > 0, else 0.01 a."""
    return np.where(a.real > 0, a, SLOPE * a)


@jit
def leaky_relu_nb(a: Array) -> Array:
    """Twin of `leaky_relu_np`."""
    a = np.ascontiguousarray(a)
    y = np.empty_like(a)
    for i in range(0, a.size, lane_count(y)):
        v = read(a, i, a.size, y)
        write(y, i, a.size, where(v > 0.0, v, v * SLOPE))
    return y


def leaky_relu_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy where y > 0, else 0.01 dy."""
    return np.where(y.real > 0, dy, SLOPE * dy)


@jit
def leaky_relu_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `leaky_relu_vjp_np`."""
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    da = np.empty_like(y)
    for i in range(0, y.size, lane_count(da)):
        dv, v = read(dy, i, y.size, da), read(y, i, y.size, da)
        write(da, i, y.size, where(v > 0.0, dv, dv * SLOPE))
    return da


def elu_np(a: Array) -> Array:
    """y = a where a > 0, else e^a − 1; the branch not taken is fed 0, so it cannot overflow."""
    positive = a.real > 0
    return np.where(positive, a, np.expm1(np.where(positive, 0, a)))


@jit
def elu_nb(a: Array) -> Array:
    """Twin of `elu_np`."""
    a = np.ascontiguousarray(a)
    y = np.empty_like(a)
    for i in range(0, a.size, lane_count(y)):
        v = read(a, i, a.size, y)
        write(y, i, a.size, where(v > 0.0, v, expm1_below(where(v > 0.0, 0.0, v))))
    return y


def elu_vjp_np(dy: Array, y: Array) -> Array:
    """da = dy where y > 0, else dy (y + 1)."""
    return np.where(y.real > 0, dy, dy * (y + 1))


@jit
def elu_vjp_nb(dy: Array, y: Array) -> Array:
    """Twin of `elu_vjp_np`."""
    dy, y = np.ascontiguousarray(dy), np.ascontiguousarray(y)
    da = np.empty_like(y)
    for i in range(0, y.size, lane_count(da)):
        dv, v = read(dy, i, y.size, da), read(y, i, y.size, da)
        write(da, i, y.size, where(v > 0.0, dv, dv * (v + 1.0)))
    return da
