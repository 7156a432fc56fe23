"""§7.2.5 Families that are one formula a number: a subclass gives the formula, sums, shapes and dtypes stand here once.

A family is a named tuple of its heads, each (..., K), and its own cotangent; values and heads broadcast as those of
`distributions.Normal`. In the formulas self and values are float64 (or complex) and of one shape, and slopes are tuples
in the order of the heads. Results are in nats, in the heads' dtype.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Self, cast

import numpy as np

from ..kernels import NUMPY, Kernels
from ..types import Array
from .observed import Observed
from .shared import column, fitted, quiet, summed, wide

Slopes = tuple[Array, ...]


class Heads(Observed):
    """The heads as arrays: widened to one shape, and cotangents on their way back."""

    __slots__ = ()

    @property
    def heads(self) -> Slopes:
        """The heads as a plain tuple."""
        return tuple(cast(Any, self))

    def of(self, heads: Slopes) -> Self:
        """The same type around other heads."""
        return cast(Any, type(self))(*heads)

    def spread(self, *values: Any) -> tuple[Self, list[Array]]:
        """Self and the values, all in float64 and of one shape."""
        arrays = list(np.broadcast_arrays(*wide(*values, *self.heads)))
        return self.of(tuple(arrays[len(values) :])), arrays[: len(values)]

    def back(self, slopes: Slopes) -> Self:
        """A cotangent: each part in the shape and dtype of its head."""
        return self.of(tuple(fitted(d, h) for d, h in zip(slopes, self.heads, strict=True)))

    def standard(self) -> Self:
        """The family's standard member, all heads 0, which serves as prior."""
        return self.of(tuple(np.zeros_like(h) for h in self.heads))

    @quiet
    def total(self, each: Callable[[Any], Array]) -> Array:
        """The sum over the last axis of a number for each of the heads."""
        return summed(each(self.spread()[0]), *self.heads)

    @quiet
    def total_vjp(self, w: Array, each_vjp: Callable[[Any, Array], Slopes]) -> Self:
        """Cotangent of the heads, for w the cotangent of `total`."""
        q, _ = self.spread()
        return self.back(each_vjp(q, np.broadcast_to(column(w, q.heads[0].shape), q.heads[0].shape)))


class Elementwise(Heads):
    """A family by two pairs of formulas: `draw`, z = g(u), and `density`, log p of each number."""

    __slots__ = ()
    noise: ClassVar[str] = "uniforms"

    def draw(self, u: Array) -> Array:
        """z = g(u)."""
        raise NotImplementedError

    def draw_vjp(self, dz: Array, u: Array) -> Slopes:
        """Cotangents of the heads."""
        raise NotImplementedError

    def density(self, z: Array) -> Array:
        """log p of each number."""
        raise NotImplementedError

    def density_vjp(self, dy: Array, z: Array) -> Slopes:
        """Cotangents of z and of the heads."""
        raise NotImplementedError

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z = g(u); u (..., K) uniform in (0, 1). What is beyond the dtype's range is 0 or ±inf."""
        q, (u,) = self.spread(u)
        return q.draw(u).astype(np.result_type(*self.heads))

    @quiet
    def sample_vjp(self, dz: Array, u: Array, k: Kernels = NUMPY) -> Self:
        """Cotangent of the heads, summed over the samples."""
        q, (dz, u) = self.spread(dz, u)
        return self.back(q.draw_vjp(dz, u))

    @quiet
    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log p(z), nats, without the last axis; ±inf only where that is the density."""
        q, (value,) = self.spread(z)
        return summed(q.density(value), z, *self.heads)

    @quiet
    def log_prob_vjp(self, w: Array, z: Array, k: Kernels = NUMPY) -> tuple[Array, Self]:
        """Cotangents of z and of the heads, for w the cotangent of log_prob."""
        q, (value,) = self.spread(z)
        dz, *slopes = q.density_vjp(np.broadcast_to(column(w, value.shape), value.shape), value)
        return fitted(dz, z), self.back(tuple(slopes))


class ClosedEntropy(Heads):
    """What a family with a closed entropy adds, by the pair `entropies` of each number."""

    __slots__ = ()

    def entropies(self) -> Array:
        """−E[log p] of each number."""
        raise NotImplementedError

    def entropies_vjp(self, dy: Array) -> Slopes:
        """Cotangents of the heads."""
        raise NotImplementedError

    def entropy(self, k: Kernels = NUMPY) -> Array:
        """−E[log p], nats, without the last axis."""
        return self.total(type(self).entropies)

    def entropy_vjp(self, w: Array, k: Kernels = NUMPY) -> Self:
        """Cotangent of the heads, for w the cotangent of entropy."""
        return self.total_vjp(w, type(self).entropies_vjp)


class ClosedKL(Heads):
    """What a family with a closed KL to its standard member adds, by the pair `divergences` of each number."""

    __slots__ = ()

    def divergences(self) -> Array:
        """KL ≥ 0 of each number."""
        raise NotImplementedError

    def divergences_vjp(self, dy: Array) -> Slopes:
        """Cotangents of the heads."""
        raise NotImplementedError

    def kl(self, k: Kernels = NUMPY) -> Array:
        """KL(self ‖ the standard member), nats, without the last axis."""
        return self.total(type(self).divergences)

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> Self:
        """Cotangent of the heads, for w the cotangent of kl."""
        return self.total_vjp(w, type(self).divergences_vjp)


class Masses(Observed):
    """Counts and levels by the pair `masses` of an entry: log P(x) of x and of all fields, settings among them, and the
    cotangents of the fields that are none."""

    __slots__ = ()
    masses: ClassVar[Callable[..., Array]]
    masses_vjp: ClassVar[Callable[..., Slopes]]

    def parameters(self) -> dict[str, Array]:
        """The fields that a network gives."""
        fields: dict[str, Array] = cast(Any, self)._asdict()
        return {name: value for name, value in fields.items() if name not in self.settings}

    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log P(x), nats, without the last axis; x whole numbers."""
        return summed(self.masses(*wide(x, *cast(Any, self))), *self.parameters().values())

    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[None, Self]:
        """(None, cotangents of the parameters, settings as they are), for w the cotangent of log_prob."""
        args = wide(x, *cast(Any, self))
        slopes = self.masses_vjp(column(w, np.broadcast_shapes(*(a.shape for a in args))), *args)
        found = zip(self.parameters().items(), slopes, strict=True)
        return None, cast(Any, self)._replace(**{name: fitted(d, value) for (name, value), d in found})
