"""§7.2.4 Right pairs with kinks: ReLU nets, max, hinge, |·|, sort, median; at random points, near kinks and on them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchvae.types import Array

from .family import Family, Rng, normal, normals


def relu_net(x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> Array:
    return np.maximum(x @ W1 + b1, 0) @ W2 + b2


def relu_net_vjp(dy: Array, x: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> tuple[Array, ...]:
    a = x @ W1 + b1
    da = (dy @ W2.T) * (a > 0)
    return da @ W1.T, x.T @ da, da.sum(axis=0), np.maximum(a, 0).T @ dy, dy.sum(axis=0)


def relu_points(units: int) -> Callable[[Rng], tuple[Any, ...]]:
    """A batch of 2 … 20 rows of 6 numbers, 3 outputs."""

    def draw(rng: Rng) -> tuple[Any, ...]:
        x = normal(rng, int(rng.integers(2, 21)), 6)
        W1, b1 = normal(rng, 6, units) / np.sqrt(6), normal(rng, units) / 10
        return x, W1, b1, normal(rng, units, 3) / np.sqrt(units), normal(rng, 3)

    return draw


def relu_near(rng: Rng) -> tuple[Any, ...]:
    """Every unit within 1e-6 … 1e-3 of its kink for the first row."""
    x, W1, _, W2, b2 = relu_points(10)(rng)
    near = rng.choice([-1.0, 1.0], 10) * 10.0 ** rng.uniform(-6, -3, 10)
    return x, W1, near - x[0] @ W1, W2, b2


def deep_relu(x: Array, W1: Array, W2: Array, W3: Array) -> Array:
    return np.maximum(np.maximum(x @ W1, 0) @ W2, 0) @ W3


def deep_relu_vjp(dy: Array, x: Array, W1: Array, W2: Array, W3: Array) -> tuple[Array, ...]:
    h1 = np.maximum(x @ W1, 0)
    h2 = np.maximum(h1 @ W2, 0)
    d2 = (dy @ W3.T) * (h2 > 0)
    d1 = (d2 @ W2.T) * (h1 > 0)
    return d1 @ W1.T, x.T @ d1, h1.T @ d2, h2.T @ dy


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def relu_vjp(dy: Array, x: Array) -> Array:
    return dy * (x > 0)


def leaky_relu(x: Array) -> Array:
    return np.where(x > 0, x, 0.01 * x)


def leaky_relu_vjp(dy: Array, x: Array) -> Array:
    return np.where(x > 0, dy, 0.01 * dy)


def larger(a: Array, b: Array) -> Array:
    return np.maximum(a, b)


def larger_vjp(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return dy * (a > b), dy * (a <= b)


def row_max(x: Array) -> Array:
    return x.max(axis=1)


def row_max_vjp(dy: Array, x: Array) -> Array:
    dx = np.zeros_like(x)
    dx[np.arange(len(x)), x.argmax(axis=1)] = dy
    return dx


def max_pool(x: Array) -> Array:
    B, H, W = x.shape
    return x.reshape(B, H // 2, 2, W // 2, 2).max(axis=(2, 4))


def max_pool_vjp(dy: Array, x: Array) -> Array:
    top = np.repeat(np.repeat(max_pool(x), 2, axis=1), 2, axis=2)
    return np.repeat(np.repeat(dy, 2, axis=1), 2, axis=2) * (x == top)


def hinge(w: Array, X: Array, t: Array) -> Array:
    return np.maximum(0, 1 - t * (X @ w)).mean()


def hinge_vjp(dy: Array, w: Array, X: Array, t: Array) -> tuple[Any, ...]:
    active = t * (X @ w) < 1
    return -dy * X.T @ (t * active) / len(t), None, None


def hinge_points(rng: Rng) -> tuple[Any, ...]:
    return normal(rng, 5), normal(rng, 20, 5), rng.choice([-1.0, 1.0], 20)


def hinge_at_margin(rng: Rng) -> tuple[Any, ...]:
    """Row 0 has margin 1 exactly: slopes 0 and −t x, and the pair gives 0."""
    w, X, t = hinge_points(rng)
    X[0], t[0] = 0, 1.0
    X[0, 0], w[0] = 1.0, 1.0
    return w, X, t


def absolute(x: Array) -> Array:
    return np.abs(x)


def absolute_vjp(dy: Array, x: Array) -> Array:
    return dy * np.where(x >= 0, 1.0, -1.0)


def lasso(w: Array, X: Array, y: Array) -> Array:
    return 0.5 * ((X @ w - y) ** 2).mean() + 0.1 * np.abs(w).sum()


def lasso_vjp(dy: Array, w: Array, X: Array, y: Array) -> tuple[Array, Array, Array]:
    r = dy * (X @ w - y) / len(y)
    return X.T @ r + 0.1 * dy * np.sign(w), np.outer(r, w), -r


def huber(x: Array) -> Array:
    return np.where(np.abs(x) < 1, 0.5 * x * x, np.abs(x) - 0.5)


def huber_vjp(dy: Array, x: Array) -> Array:
    return dy * np.where(np.abs(x) < 1, x, np.sign(x))


def clipped(x: Array) -> Array:
    return np.clip(x, -1, 1) ** 2


def clipped_vjp(dy: Array, x: Array) -> Array:
    return dy * 2 * x * (np.abs(x) < 1)


def sorted_rows(x: Array) -> Array:
    return np.sort(x, axis=1)


def sorted_rows_vjp(dy: Array, x: Array) -> Array:
    dx = np.empty_like(x)
    np.put_along_axis(dx, x.argsort(axis=1), dy, axis=1)
    return dx


def row_median(x: Array) -> Array:
    return np.median(x, axis=1)


def row_median_vjp(dy: Array, x: Array) -> Array:
    n = x.shape[1]
    order, dx = x.argsort(axis=1), np.zeros_like(x)
    for place in ((n - 1) // 2, n // 2):  # one and the same where n is odd
        dx[np.arange(len(x)), order[:, place]] += 0.5 * dy
    return dx


def interpolated(t: Array, values: Array) -> Array:
    return np.interp(t, np.arange(6.0), values)


def interpolated_vjp(dy: Array, t: Array, values: Array) -> tuple[Array, Array]:
    i = np.clip(np.floor(t).astype(int), 0, 4)
    dvalues = np.zeros_like(values)
    np.add.at(dvalues, i, dy * (1 - (t - i)))
    np.add.at(dvalues, i + 1, dy * (t - i))
    return dy * (values[i + 1] - values[i]), dvalues


def interpolated_points(rng: Rng) -> tuple[Any, ...]:
    return rng.uniform(0.05, 4.95, 8), normal(rng, 6)


def one_zero(rng: Rng) -> tuple[Any, ...]:
    """Seven numbers, the third exactly 0."""
    x = normal(rng, 7)
    x[2] = 0
    return (x,)


def half_zeros(rng: Rng) -> tuple[Any, ...]:
    """Twelve numbers, every other exactly 0."""
    x = normal(rng, 12)
    x[::2] = 0
    return (x,)


FAMILIES = {
    "ReLU net, 5 units": Family(relu_net, relu_net_vjp, relu_points(5)),
    "ReLU net, 20 units": Family(relu_net, relu_net_vjp, relu_points(20)),
    "ReLU net, 100 units": Family(relu_net, relu_net_vjp, relu_points(100)),
    "ReLU net, kinks near by": Family(relu_net, relu_net_vjp, relu_near),
    "ReLU net, three layers": Family(deep_relu, deep_relu_vjp, normals((4, 5), (5, 8), (8, 8), (8, 2))),
    "leaky ReLU": Family(leaky_relu, leaky_relu_vjp, normals((3, 4))),
    "maximum of two": Family(larger, larger_vjp, normals((3, 4), (3, 4))),
    "max of rows": Family(row_max, row_max_vjp, normals((5, 7))),
    "max pooling": Family(max_pool, max_pool_vjp, normals((2, 4, 6))),
    "hinge": Family(hinge, hinge_vjp, hinge_points, ("X", "t")),
    "absolute value": Family(absolute, absolute_vjp, normals((3, 5))),
    "lasso": Family(lasso, lasso_vjp, normals((5,), (8, 5), (8,))),
    "Huber": Family(huber, huber_vjp, normals((10,))),
    "clip": Family(clipped, clipped_vjp, normals((12,))),
    "sort": Family(sorted_rows, sorted_rows_vjp, normals((3, 6))),
    "median of 7": Family(row_median, row_median_vjp, normals((3, 7))),
    "median of 6": Family(row_median, row_median_vjp, normals((3, 6))),
    "interp": Family(interpolated, interpolated_vjp, interpolated_points),
    "at a kink: relu, slope 0": Family(relu, relu_vjp, one_zero, at_kink=True),
    "at a kink: relu, six zeros, slope 0": Family(relu, relu_vjp, half_zeros, at_kink=True),
    "at a kink: |x|, slope 1": Family(absolute, absolute_vjp, one_zero, at_kink=True),
    "at a kink: hinge, slope 0": Family(hinge, hinge_vjp, hinge_at_margin, ("X", "t"), at_kink=True),
}
