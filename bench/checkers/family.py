"""§7.2.4 A family of right pairs: a function, its hand-written f_vjp, and points drawn by seed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from scratchvae.types import Array

Rng = np.random.Generator


class Case(NamedTuple):
    """One pair at one point: what a checker is asked about."""

    name: str
    f: Callable[..., Any]
    f_vjp: Callable[..., Any]
    args: tuple[Any, ...]
    constants: tuple[str, ...] = ()


class Family(NamedTuple):
    """f(*args), f_vjp(dy, *args) -> cotangents, and draw(rng) -> args."""

    f: Callable[..., Any]
    f_vjp: Callable[..., Any]
    draw: Callable[[Rng], tuple[Any, ...]]
    constants: tuple[str, ...] = ()
    eps: float = 2.0**-52  # the rounding of the arithmetic inside f: float32's where f casts to it
    at_kink: bool = False  # where two slopes are right, so that a slip may give the other one

    def at(self, name: str, seed: int) -> Case:
        """The case of this seed."""
        return Case(name, self.f, self.f_vjp, self.draw(np.random.default_rng(seed)), self.constants)


def normal(rng: Rng, *shape: int) -> Array:
    """Standard normal numbers."""
    return rng.standard_normal(shape)


def normals(*shapes: tuple[int, ...]) -> Callable[[Rng], tuple[Any, ...]]:
    """A draw of arrays of these shapes."""
    return lambda rng: tuple(rng.standard_normal(shape) for shape in shapes)
