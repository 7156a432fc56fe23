"""§7.2.5 Neural networks as pure pairs: dense, activations, and the mlp of any depth.

x is (B, D), or (S, B, D) with S samples a row: leading axes are rows to a dense layer. Parameter cotangents are added.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from .convolution import Conv, conv, conv_vjp, conv_vjp_params
from .errors import unknown
from .kernels import NUMPY, Kernels
from .types import Array

ACTIVATIONS = ("tanh", "relu", "leaky_relu", "elu", "softplus", "sigmoid", "identity")


class Dense(NamedTuple):
    """The parameters of y = x W + b, or their cotangents."""

    W: Array  # (in, out)
    b: Array  # (out,)


def as_rows(x: Array) -> Array:
    """x (..., I) as (rows, I), which may be of no columns."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def dense(x: Array, p: Dense, k: Kernels = NUMPY) -> Array:
    """y = x W + b; x (..., in), returns (..., out)."""
    y: Array = k.dense(as_rows(x), p.W, p.b)
    return y.reshape(*x.shape[:-1], p.W.shape[1])


def dense_vjp_params(dy: Array, x: Array, dp: Dense, k: Kernels = NUMPY) -> None:
    """dW += xᵀ dy, db += 1ᵀ dy. Alone where nothing asks for dx: in the layer that reads the data."""
    k.dense_vjp_params(as_rows(dy), as_rows(x), dp.W, dp.b)


def dense_vjp(dy: Array, x: Array, p: Dense, dp: Dense | None, k: Kernels = NUMPY) -> Array:
    """Of y = x W + b: dW += xᵀ dy, db += 1ᵀ dy (spared where dp is None), returns dx = dy Wᵀ (..., in)."""
    if dp is not None:
        dense_vjp_params(dy, x, dp, k)
    dx: Array = k.dense_vjp_x(as_rows(dy), p.W)
    return dx.reshape(x.shape)


Layer = Dense | Conv  # an affine map of rows; an mlp whose layers are of both kinds is a convolutional network


def affine(x: Array, p: Layer, k: Kernels = NUMPY) -> Array:
    """`dense` or `conv`, by the layer's kind."""
    return conv(x, p, k) if isinstance(p, Conv) else dense(x, p, k)


def affine_vjp_params(dy: Array, x: Array, dp: Layer, k: Kernels = NUMPY) -> None:
    """Of `affine`: adds into dp's arrays."""
    return conv_vjp_params(dy, x, dp, k) if isinstance(dp, Conv) else dense_vjp_params(dy, x, dp, k)


def affine_vjp(dy: Array, x: Array, p: Layer, dp: Layer | None, k: Kernels = NUMPY) -> Array:
    """Of `affine`: adds into dp's arrays (spared where it is None), returns dx."""
    if dp is not None:
        affine_vjp_params(dy, x, dp, k)
    return conv_vjp(dy, x, p, None, k) if isinstance(p, Conv) else dense_vjp(dy, x, p, None, k)


def inputs(p: Layer) -> int:
    """How many numbers a row has that the layer takes."""
    if isinstance(p, Dense):
        return p.W.shape[0]
    return math.prod(p.geometry.small if p.transposed else p.geometry.image)


def activate(a: Array, name: str, k: Kernels = NUMPY) -> Array:
    """y = f(a), elementwise; `name` is one of ACTIVATIONS."""
    if name not in ACTIVATIONS:
        raise unknown("activation", name, ACTIVATIONS)
    if name == "identity":
        return a
    y: Array = getattr(k, name)(a)
    return y


def activate_vjp(dy: Array, y: Array, name: str, k: Kernels = NUMPY) -> Array:
    """da = f'(a) dy, with f' written in the output y = f(a)."""
    if name == "identity":
        return dy
    da: Array = getattr(k, name + "_vjp")(dy, y)
    return da


def mlp(x: Array, layers: Sequence[Layer], activation: str, k: Kernels = NUMPY) -> list[Array]:
    """h_0 = x, h_l = f(h_{l−1} W_l + b_l): every layer's output, the input first and the result last."""
    hs = [x]
    for layer in layers:
        hs.append(activate(affine(hs[-1], layer, k), activation, k))
    return hs


def mlp_vjp(
    dh: Array,
    hs: list[Array],
    layers: Sequence[Layer],
    dlayers: Sequence[Layer | None],
    activation: str,
    k: Kernels = NUMPY,
) -> Array:
    """Of `mlp`, walked in reverse: adds every layer's cotangents into `dlayers` (None: spared), returns dx."""
    for l in reversed(range(len(layers))):
        da = activate_vjp(dh, hs[l + 1], activation, k)  # h_l = f(a_l)
        dh = affine_vjp(da, hs[l], layers[l], dlayers[l], k)  # a_l = h_{l−1} W_l + b_l
    return dh
