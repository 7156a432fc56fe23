"""§7.2.5 The products of a dense layer y = x W + b: forward, and the two halves of its backward."""

import numpy as np

from ..types import Array
from .jit import jit

# y = x W + b                                          x (B, I)  W (I, O)  b (O,)  y (B, O)
#   y_bo = Σ_i x_bi W_io + b_o    so    ∂L/∂W_io = Σ_b x_bi dy_bo,    ∂L/∂b_o = Σ_b dy_bo,    ∂L/∂x_bi = Σ_o dy_bo W_io


def dense_np(x: Array, W: Array, b: Array) -> Array:
    """y = x W + b; x (B, I), W (I, O), b (O,), returns (B, O)."""
    return x @ W + b


@jit
def dense_nb(x: Array, W: Array, b: Array) -> Array:
    """Twin of `dense_np`: rows of W stay in L1 while four rows of y are built."""
    B, I = x.shape
    y = np.empty((B, W.shape[1]), x.dtype)
    for r in range(0, B, 4):
        for s in range(r, min(r + 4, B)):
            y[s] = b
        for i in range(I):
            for s in range(r, min(r + 4, B)):
                for o in range(W.shape[1]):
                    y[s, o] += x[s, i] * W[i, o]
    return y


def dense_vjp_params_np(dy: Array, x: Array, dW: Array, db: Array) -> None:
    """dW += xᵀ dy and db += 1ᵀ dy, in place; dy (B, O), x (B, I)."""
    dW += x.T @ dy
    db += dy.sum(axis=0)


@jit
def dense_vjp_params_nb(dy: Array, x: Array, dW: Array, db: Array) -> None:
    """Twin of `dense_vjp_params_np`: each row of dW is owned by one i and summed over b in a fixed order."""
    B, O = dy.shape
    for i in range(x.shape[1]):
        for s in range(B):
            for o in range(O):
                dW[i, o] += x[s, i] * dy[s, o]
    for s in range(B):
        for o in range(O):
            db[o] += dy[s, o]


def dense_vjp_x_np(dy: Array, W: Array) -> Array:
    """dx = dy Wᵀ; dy (B, O), W (I, O), returns (B, I)."""
    return dy @ W.T


@jit
def dense_vjp_x_nb(dy: Array, W: Array) -> Array:
    """Twin of `dense_vjp_x_np`: eight partial sums a dot product, so that it vectorises in a fixed order."""
    B, O = dy.shape
    dx = np.empty((B, W.shape[0]), dy.dtype)
    part = np.empty(8, dy.dtype)
    whole = O - O % 8
    for s in range(B):
        for i in range(W.shape[0]):
            part[:] = 0
            for o in range(0, whole, 8):
                for lane in range(8):
                    part[lane] += dy[s, o + lane] * W[i, o + lane]
            for o in range(whole, O):
                part[o - whole] += dy[s, o] * W[i, o]
            dx[s, i] = part.sum()
    return dx
