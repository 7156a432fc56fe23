"""§7.1.1 log p of what was observed, for every family, from its own log_prob: only observed entries are ever looked at.

log p(x_observed) = Σ_(m = 1) log p(x_d),      and what stands under m = 0 has no share and no slope
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Self, cast

import numpy as np

from ..kernels import NUMPY, Kernels
from ..types import Array
from .shared import column, fitted, quiet, summed, wide

Place = tuple[Any, ...]  # an index that makes (..., D) the pieces (..., pieces, size) that are observed or not


class Observed:
    """The pair `log_prob_observed` of a family whose entries are independent, one by one or in groups."""

    __slots__ = ()
    vectors: ClassVar[tuple[str, ...]] = ()  # parameters with an axis more, (..., D, C)
    settings: ClassVar[tuple[str, ...]] = ()  # parameters that are data: a cotangent has them as they are

    def pieces(self, columns: int) -> Iterator[tuple[Any, Place]]:
        """What can be observed: the family of one piece, and where it stands. Here each entry by itself."""
        yield type(self), (..., slice(None), None)

    def log_prob_observed(self, x: Array, m: Array, k: Kernels = NUMPY) -> Array:
        """§7.1.1  log p of the entries with m = 1, m (..., D) in {0, 1}; the others may be any numbers."""
        return log_prob_observed(self, x, m)

    def log_prob_observed_vjp(self, w: Array, x: Array, m: Array, k: Kernels = NUMPY) -> tuple[Array | None, Self]:
        """Cotangents of x (None where discrete) and of the parameters, 0 where m = 0, for w that of log_prob_observed.

        Of a group (one-hots, a point of the simplex) the mask of the first column counts.
        """
        return cast(Any, log_prob_observed_vjp(self, w, x, m))


def full(p: Any, x: Array, m: Array) -> tuple[Array, Array, dict[str, Any]]:
    """x, m and the parameters in float64, each as large as all of them together; settings of one number stay."""
    arrays = {name: v for name, v in p._asdict().items() if np.ndim(v)}
    shapes = [np.shape(v)[:-1] if name in p.vectors else np.shape(v) for name, v in arrays.items()]
    shape = np.broadcast_shapes(x.shape, np.shape(m), *shapes)
    parts = {
        name: np.broadcast_to(wide(v)[0], (*shape, *v.shape[-1:]) if name in p.vectors else shape)
        for name, v in arrays.items()
    }
    return np.broadcast_to(wide(x)[0], shape), np.broadcast_to(m, shape), p._asdict() | parts


def placed(p: Any, name: str, v: Any, place: Place) -> Any:
    """A parameter as its pieces."""
    return v[(*place, slice(None)) if name in p.vectors else place] if np.ndim(v) else v


def chosen(p: Any, family: Any, parts: dict[str, Any], place: Place, seen: Array) -> Any:
    """The family at the observed pieces, (N, size)."""
    pieces = ((v, placed(p, name, v, place)) for name, v in parts.items())
    return family(*(piece[seen] if np.ndim(v) else v for v, piece in pieces))


@quiet
def log_prob_observed(p: Any, x: Array, m: Array) -> Array:
    """Of `Observed`."""
    inexact = (x, *(v for name, v in p._asdict().items() if name not in p.settings))
    x, m, parts = full(p, x, m)
    total = np.zeros(x.shape[:-1])
    for family, place in p.pieces(x.shape[-1]):
        seen = m[place][..., 0] == 1
        log_p = chosen(p, family, parts, place, seen).log_prob(x[place][seen])
        each = np.zeros(seen.shape, log_p.dtype)
        each[seen] = log_p
        total = total + each.sum(axis=-1)
    return summed(total[..., None], *inexact)


@quiet
def log_prob_observed_vjp(p: Any, w: Array, x: Array, m: Array) -> tuple[Array | None, Any]:
    """Of `Observed`."""
    value, m, parts = full(p, x, m)
    w = np.broadcast_to(column(w, value.shape), value.shape)
    dx = np.zeros(value.shape)
    dparts = {name: v if name in p.settings else np.zeros(v.shape) for name, v in parts.items()}
    smooth = True
    for family, place in p.pieces(value.shape[-1]):
        seen = m[place][..., 0] == 1
        by_x, d = chosen(p, family, parts, place, seen).log_prob_vjp(w[place][..., 0][seen], value[place][seen])
        smooth = by_x is not None
        if smooth:
            dx[place][seen] = by_x
        for name, v in dparts.items():
            if name not in p.settings:
                placed(p, name, v, place)[seen] = getattr(d, name)
    slopes = {name: fitted(d, getattr(p, name)) for name, d in dparts.items() if name not in p.settings}
    return fitted(dx, x) if smooth else None, p._replace(**slopes)
