"""§7.2.4 Right pairs of awkward arguments: 0-d, empty, read-only, Fortran, views, reused buffers, integers, dicts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from scratchvae.gradcheck import accumulating
from scratchvae.types import Array

from .family import Family, Rng, normal, normals
from .scales import DENSE, dense, dense_vjp

BUFFERS = {shape: np.zeros(shape) for shape in ((6,), (3, 4))}


def scalar(x: Array) -> Array:
    return x * np.exp(-x)


def scalar_vjp(dy: Array, x: Array) -> Array:
    return dy * (1 - x) * np.exp(-x)


def product_of_two(x: float, y: float) -> float:
    return x * x * y


def product_of_two_vjp(dy: float, x: float, y: float) -> tuple[float, float]:
    return 2 * dy * x * y, dy * x * x


def joined(a: Array, b: Array) -> Array:
    return np.concatenate([a, np.sin(b)])


def joined_vjp(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    return dy[: len(a)], dy[len(a) :] * np.cos(b)


def itself(x: Array) -> Array:
    return x


def itself_vjp(dy: Array, x: Array) -> Array:
    return dy


def turned(x: Array) -> Array:
    return x[::-1].T


def turned_vjp(dy: Array, x: Array) -> Array:
    return dy.T[::-1]


def into_buffer(x: Array) -> Array:
    return np.sin(x, out=BUFFERS[6,])


def into_buffer_vjp(dy: Array, x: Array) -> Array:
    return dy * np.cos(x)


def both_into_buffers(x: Array) -> Array:
    return np.multiply(x, x, out=BUFFERS[3, 4])


def both_into_buffers_vjp(dy: Array, x: Array) -> Array:
    np.multiply(2, x, out=BUFFERS[3, 4])
    return np.multiply(BUFFERS[3, 4], dy, out=BUFFERS[3, 4])


def weighted(x: Array, count: Array) -> Array:
    return count * np.sin(x)


def weighted_vjp(dy: Array, x: Array, count: Array) -> tuple[Any, Any]:
    return dy * count * np.cos(x), None


def polynomial(x: Array, count: Array) -> Array:
    return x * count + 0.1 * count**3


def polynomial_vjp(dy: Array, x: Array, count: Array) -> tuple[Array, Array]:
    return dy * count, dy * (x + 0.3 * count**2)


def masked(x: Array, mask: Array) -> Array:
    return np.where(mask, x * x, 0)


def masked_vjp(dy: Array, x: Array, mask: Array) -> tuple[Any, Any]:
    return np.where(mask, 2 * x * dy, 0), None


def mixture(x: Array, on: Array) -> Array:
    return x * on + (1 - 1 * on) * np.cos(x)


def mixture_vjp(dy: Array, x: Array, on: Array) -> tuple[Array, Array]:
    return dy * (1 * on - (1 - 1 * on) * np.sin(x)), dy * (x - np.cos(x))


def layers(x: Array, net: dict[str, Any]) -> dict[str, Array]:
    h = np.tanh(x @ net["first"]["W"] + net["first"]["b"])
    return {"hidden": h, "out": h @ net["out"]}


def layers_vjp(dy: dict[str, Array], x: Array, net: dict[str, Any]) -> tuple[Any, ...]:
    h = np.tanh(x @ net["first"]["W"] + net["first"]["b"])
    da = (dy["hidden"] + dy["out"] @ net["out"].T) * (1 - h * h)
    first = {"W": x.T @ da, "b": da.sum(axis=0)}
    return da @ net["first"]["W"].T, {"first": first, "out": h.T @ dy["out"]}


def layers_points(rng: Rng) -> tuple[Any, ...]:
    net = {"first": {"W": normal(rng, 4, 5), "b": normal(rng, 5)}, "out": normal(rng, 5, 2)}
    return normal(rng, 3, 4), net


def polar(r: Array, angle: Array) -> tuple[Array, Array]:
    return r * np.cos(angle), r * np.sin(angle)


def polar_vjp(dy: tuple[Array, Array], r: Array, angle: Array) -> tuple[Array, Array]:
    c, s = np.cos(angle), np.sin(angle)
    return dy[0] * c + dy[1] * s, r * (dy[1] * c - dy[0] * s)


def dense_into(dy: Array, x: Array, W: Array, b: Array, dW: Array, db: Array) -> Array:
    da = dy * (1 - np.tanh(x @ W + b) ** 2)
    dW += x.T @ da
    db += da.sum(axis=0)
    return da @ W.T


dense_adding = accumulating(dense_into, into=(1, 2))


def laid_out(how: Callable[[Array], Array], *shapes: tuple[int, ...]) -> Callable[[Rng], tuple[Any, ...]]:
    """Normal numbers, each array through `how`."""
    return lambda rng: tuple(how(normal(rng, *shape)) for shape in shapes)


def read_only(x: Array) -> Array:
    """The same array, locked."""
    x.flags.writeable = False
    return x


def strided(x: Array) -> Array:
    """Every other element, backwards, of a larger array."""
    return np.repeat(x, 2, axis=0)[::-2]


def broadcast(x: Array) -> Array:
    """The first row for all, without memory of their own."""
    return np.broadcast_to(x[0], x.shape)


def integers(rng: Rng) -> tuple[Any, ...]:
    return normal(rng, 5), rng.integers(1, 9, 5)


FAMILIES = {
    "0-d": Family(scalar, scalar_vjp, normals(())),
    "Python floats": Family(product_of_two, product_of_two_vjp, lambda rng: tuple(map(float, normal(rng, 2)))),
    "empty beside full": Family(joined, joined_vjp, normals((0,), (4,))),
    "read-only": Family(dense, dense_vjp, laid_out(read_only, *DENSE)),
    "Fortran": Family(dense, dense_vjp, laid_out(np.asfortranarray, *DENSE)),
    "strided": Family(dense, dense_vjp, laid_out(strided, *DENSE)),
    "broadcast views": Family(dense, dense_vjp, laid_out(broadcast, *DENSE)),
    "big-endian": Family(dense, dense_vjp, laid_out(lambda x: x.astype(">f8"), *DENSE)),
    "identity that returns its argument": Family(itself, itself_vjp, normals((2, 3))),
    "returns a view of its argument": Family(turned, turned_vjp, normals((3, 4))),
    "f reuses a buffer": Family(into_buffer, into_buffer_vjp, normals((6,))),
    "f and f_vjp share a buffer": Family(both_into_buffers, both_into_buffers_vjp, normals((3, 4))),
    "integers as constants": Family(weighted, weighted_vjp, integers, ("count",)),
    "integers with a cotangent": Family(polynomial, polynomial_vjp, integers),
    "a mask as constant": Family(masked, masked_vjp, lambda rng: (normal(rng, 8), rng.random(8) < 0.5), ("mask",)),
    "bools with a cotangent": Family(mixture, mixture_vjp, lambda rng: (normal(rng, 8), rng.random(8) < 0.5)),
    "dicts in and out": Family(layers, layers_vjp, layers_points),
    "two outputs": Family(polar, polar_vjp, normals((4,), (4,))),
    "adds into buffers": Family(dense, dense_adding, normals(*DENSE)),
}
