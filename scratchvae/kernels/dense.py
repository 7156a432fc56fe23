"""§7.2.5 The products of a dense layer y = x W + b: forward, and the two halves of its backward."""

from typing import Any

import numpy as np

from ..types import Array

BLOCK = 512  # rows of a product's backward that are taken at once: more leave the cache (4608 rows: 16 ms, so 12)


def alike(dtype: Any, *arrays: Array) -> list[Array]:
    """The arrays in one dtype: the tiles read memory by it, and would take another type's bits for numbers."""
    return [a if a.dtype == dtype else a.astype(dtype) for a in arrays]


# y = x W + b                                          x (B, I)  W (I, O)  b (O,)  y (B, O)
#   y_bo = Σ_i x_bi W_io + b_o    so    ∂L/∂W_io = Σ_b x_bi dy_bo,    ∂L/∂b_o = Σ_b dy_bo,    ∂L/∂x_bi = Σ_o dy_bo W_io


def dense_np(x: Array, W: Array, b: Array) -> Array:
    """y = x W + b; x (B, I), W (I, O), b (O,), returns (B, O)."""
    return x @ W + b


def dense_vjp_params_np(dy: Array, x: Array, dW: Array, db: Array) -> None:
    """dW += xᵀ dy and db += 1ᵀ dy, in place; dy (B, O), x (B, I)."""
    dW += x.T @ dy
    db += dy.sum(axis=0)


def dense_vjp_x_np(dy: Array, W: Array) -> Array:
    """dx = dy Wᵀ; dy (B, O), W (I, O), returns (B, I)."""
    return dy @ W.T


def dense_nb(x: Array, W: Array, b: Array) -> Array:
    """Twin of `dense_np`, in register tiles."""
    from ..engine import products

    return products.dense(*alike(np.result_type(x, W), x, W, b))


def dense_vjp_params_nb(dy: Array, x: Array, dW: Array, db: Array) -> None:
    """Twin of `dense_vjp_params_np`: each tile of dW is summed over b in a fixed order, BLOCK rows after BLOCK rows."""
    from ..engine import products

    dy, x = alike(dW.dtype, dy, x)
    for i in range(0, len(x), BLOCK):
        products.dense_vjp_params(dy[i : i + BLOCK], x[i : i + BLOCK], dW, db)


def dense_vjp_x_nb(dy: Array, W: Array) -> Array:
    """Twin of `dense_vjp_x_np`: dot products by lanes, which are added in a fixed order."""
    from ..engine import products

    dy, W = alike(np.result_type(dy, W), dy, W)
    parts = [products.dense_vjp_x(dy[i : i + BLOCK], W) for i in range(0, max(1, len(dy)), BLOCK)]
    found: Array = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return found
