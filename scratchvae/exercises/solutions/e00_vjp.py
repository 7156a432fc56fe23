"""§7.2.4 Exercise 0: what a backward pass is, and how it is proved.

Write `tanh_vjp` and `dense_vjp`. A backward takes dy = ∂L/∂y, of y's shape, and gives ∂L/∂ of each argument. W and b
may be used by many layers, so their cotangents are added into buffers, dW and db, in place: others may have added
before.

    scratchvae exercise 0 --check          --hint where you are stuck
"""

import numpy as np


def tanh(x):
    """y = tanh x, element by element."""
    return np.tanh(x)


def tanh_vjp(dy, x):
    """dx, of x's shape. dy = ∂L/∂y."""
    y = np.tanh(x)
    return dy * (1 - y * y)


def dense(x, W, b):
    """y = x W + b; x (B, I), W (I, O), b (O,), y (B, O)."""
    return x @ W + b


def dense_vjp(dy, x, W, b, dW, db):
    """Add ∂L/∂W into dW (I, O) and ∂L/∂b into db (O,), in place; return dx (B, I) alone. dy (B, O)."""
    dW += x.T @ dy
    db += dy.sum(axis=0)
    return dy @ W.T
