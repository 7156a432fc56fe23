"""§7.2.4 Right pairs of awkward numbers: scales 1e-12 … 1e8 together, offsets up to 1e10, float32 inside, float16."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchvae.types import Array

from .family import Family, Rng, normal, normals

SCALES = 10.0 ** np.arange(-12, 9, 4)  # 1e-12, 1e-8, 1e-4, 1, 1e4, 1e8
FLOAT32 = 2.0**-23


def scaled_sines(x: Array) -> Array:
    return SCALES * np.sin(x / SCALES)


def scaled_sines_vjp(dy: Array, x: Array) -> Array:
    return dy * np.cos(x / SCALES)


def squares(x: Array) -> Array:
    return x * x


def squares_vjp(dy: Array, x: Array) -> Array:
    return 2 * dy * x


def bent_squares(x: Array) -> Array:
    return x * np.abs(x)


def bent_squares_vjp(dy: Array, x: Array) -> Array:
    return 2 * dy * np.abs(x)


def three_scales(a: Array, b: Array, c: Array) -> tuple[Array, Array, Array]:
    return a * np.exp(-a * 1e12), b * np.tanh(b), c * c


def three_scales_vjp(dy: tuple[Array, Array, Array], a: Array, b: Array, c: Array) -> tuple[Array, ...]:
    t = np.tanh(b)
    da = dy[0] * (1 - 1e12 * a) * np.exp(-a * 1e12)
    return da, dy[1] * (t + b * (1 - t * t)), 2 * dy[2] * c


def one_sum(a: Array, b: Array, c: Array) -> Array:
    return np.sin(a * 1e12).sum() + (b * b).sum() + np.cos(c * 1e-8).sum()


def one_sum_vjp(dy: Array, a: Array, b: Array, c: Array) -> tuple[Array, ...]:
    return dy * 1e12 * np.cos(a * 1e12), 2 * dy * b, -dy * 1e-8 * np.sin(c * 1e-8)


def weak_and_strong(weak: Array, strong: Array) -> Array:
    return np.tanh(strong) * 1e6 + 1e-3 * np.sin(weak)


def weak_and_strong_vjp(dy: Array, weak: Array, strong: Array) -> tuple[Array, Array]:
    return dy * 1e-3 * np.cos(weak), dy * 1e6 * (1 - np.tanh(strong) ** 2)


def three_points(rng: Rng) -> tuple[Any, ...]:
    return 1e-12 * normal(rng, 3), normal(rng, 2, 2), 1e8 * normal(rng, 4)


def offset_sum(x: Array, offset: Array) -> Array:
    return offset + np.sin(x).sum()


def offset_sum_vjp(dy: Array, x: Array, offset: Array) -> tuple[Any, Any]:
    return dy * np.cos(x), None


def offset_norms(x: Array, offset: Array) -> Array:
    return offset + np.abs(x).sum()


def offset_norms_vjp(dy: Array, x: Array, offset: Array) -> tuple[Any, Any]:
    return dy * np.sign(x), None


def offset_points(low: float, high: float) -> Callable[[Rng], tuple[Any, ...]]:
    """Six numbers, and an offset of 10^low … 10^high."""
    return lambda rng: (normal(rng, 6), np.asarray(10.0 ** rng.uniform(low, high)))


def single(x: Array) -> Array:
    """In float32."""
    return x.astype(np.float32)


def dense32(x: Array, W: Array, b: Array) -> Array:
    x, W, b = map(single, (x, W, b))
    return np.tanh(x @ W + b).astype(np.float64)


def dense32_vjp(dy: Array, x: Array, W: Array, b: Array) -> tuple[Array, ...]:
    x, W, b, dy = map(single, (x, W, b, dy))
    da = dy * (1 - np.tanh(x @ W + b) ** 2)
    return da @ W.T, x.T @ da, da.sum(axis=0)


def loss32(x: Array, W: Array) -> np.float32:
    a = single(x) @ single(W)
    return np.log1p(np.exp(a)).mean(dtype=np.float32)


def loss32_vjp(dy: Array, x: Array, W: Array) -> tuple[Array, Array]:
    x, W = single(x), single(W)
    da = np.float32(dy) / (1 + np.exp(-(x @ W)))
    da /= np.float32(da.size)
    return da @ W.T, x.T @ da


def relu32(x: Array, W: Array) -> Array:
    return np.maximum(single(x) @ single(W), 0)


def relu32_vjp(dy: Array, x: Array, W: Array) -> tuple[Array, Array]:
    x, W = single(x), single(W)
    da = dy * (x @ W > 0)
    return da @ W.T, x.T @ da


def dense(x: Array, W: Array, b: Array) -> Array:
    return np.tanh(x @ W + b)


def dense_vjp(dy: Array, x: Array, W: Array, b: Array) -> tuple[Array, ...]:
    da = dy * (1 - np.tanh(x @ W + b) ** 2)
    return da @ W.T, x.T @ da, da.sum(axis=0)


def log_of(x: Array) -> Array:
    return np.log(x)


def log_of_vjp(dy: Array, x: Array) -> Array:
    return dy / x


def as_type(dtype: str, *shapes: tuple[int, ...]) -> Callable[[Rng], tuple[Any, ...]]:
    """Normal numbers of this type."""
    return lambda rng: tuple(normal(rng, *shape).astype(dtype) for shape in shapes)


def by_scales(rng: Rng) -> tuple[Any, ...]:
    """Six numbers, of either sign, one of each scale."""
    return (SCALES * rng.uniform(0.3, 1.2, 6) * rng.choice([-1.0, 1.0], 6),)


OFFSETS = {"1": (0, 0), "1e4": (3, 4), "1e7": (6, 7), "1e10": (9, 10)}
DENSE = ((3, 4), (4, 2), (2,))
FAMILIES = {
    "scales 1e-12 … 1e8 in one array, slopes 1": Family(scaled_sines, scaled_sines_vjp, by_scales),
    "scales 1e-12 … 1e8 in one array, x²": Family(squares, squares_vjp, by_scales),
    "scales 1e-12 … 1e8 in one array, x |x|": Family(bent_squares, bent_squares_vjp, by_scales),
    "scales 1e-12 … 1e8 as three arguments": Family(three_scales, three_scales_vjp, three_points),
    "scales 1e-12 … 1e8 in one sum": Family(one_sum, one_sum_vjp, three_points),
    "slopes 1e-3 and 1e6": Family(weak_and_strong, weak_and_strong_vjp, normals((4,), (4,))),
    **{
        f"sum with an offset {name}": Family(offset_sum, offset_sum_vjp, offset_points(*at), ("offset",))
        for name, at in OFFSETS.items()
    },
    **{
        f"1-norm with an offset {name}": Family(offset_norms, offset_norms_vjp, offset_points(*at), ("offset",))
        for name, at in OFFSETS.items()
    },
    "float32 inside: dense": Family(dense32, dense32_vjp, normals(*DENSE), eps=FLOAT32),
    "float32 inside: loss": Family(loss32, loss32_vjp, normals((5, 3), (3, 2)), eps=FLOAT32),
    "float32 inside: relu": Family(relu32, relu32_vjp, normals((5, 3), (3, 2)), eps=FLOAT32),
    "float32 arguments": Family(dense, dense_vjp, as_type("float32", *DENSE)),
    "float32 arguments and inside": Family(dense32, dense32_vjp, as_type("float32", *DENSE), eps=FLOAT32),
    "float16 arguments": Family(dense, dense_vjp, as_type("float16", *DENSE)),
    "log of numbers 1e-9 … 1e9": Family(log_of, log_of_vjp, lambda rng: (10.0 ** rng.uniform(-9, 9, 6),)),
}
