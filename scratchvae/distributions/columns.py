"""§7.2.5 Mixed columns: a family made of families by column, age = gaussian, sex = categorical, visits = counts.

    log p(x) = Σ_parts log p_part(x_columns)          columns are independent given z

Densities and masses are different units: `terms` has every part's own, and `Part.kind.mass` says which it is.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import numpy as np

from ..errors import UsageError, unknown
from ..kernels import NUMPY, Kernels
from ..types import Array
from .likelihoods import LIKELIHOODS, Kind, Outs, Settings
from .quantiles import draw


class Part(NamedTuple):
    """Columns of one kind; the name is one of LIKELIHOODS. With log_scale, log s of each, the columns of a density are
    given as x' = (x − m) / s, and densities are those of x: log p(x) = log p(x') − log s."""

    name: str
    columns: tuple[int, ...]
    settings: Settings = Settings()
    log_scale: tuple[float, ...] = ()

    @property
    def kind(self) -> Kind:
        """Its entry of LIKELIHOODS."""
        return LIKELIHOODS[self.name]

    @property
    def widths(self) -> dict[str, int]:
        """How many numbers each head gives."""
        return {name: n * len(self.columns) for name, n in self.kind.heads(self.settings).items()}


class Spec(NamedTuple):
    """Which columns of x are of which kind; every column is in one part."""

    parts: tuple[Part, ...]

    @property
    def columns(self) -> int:
        """How many columns x has."""
        return sum(len(part.columns) for part in self.parts)

    @property
    def widths(self) -> tuple[tuple[str, int], ...]:
        """The heads in order: ("0.poisson.log_rate", its width), part by part."""
        named = enumerate(self.parts)
        return tuple((f"{i}.{part.name}.{head}", n) for i, part in named for head, n in part.widths.items())

    def split(self, outs: Iterable[Array]) -> list[Outs]:
        """The outputs of all heads, as those of each part."""
        left = iter(outs)
        return [tuple(next(left) for _ in part.widths) for part in self.parts]

    def of(self, outs: Iterable[Array]) -> "Columns":
        """The distribution that the heads' outputs describe, (..., width) each, in the order of `widths`."""
        pairs = zip(self.parts, self.split(outs), strict=True)
        return Columns(tuple(part.kind.of(out, part.settings) for part, out in pairs), self)

    def of_vjp(self, dp: "Columns", p: "Columns") -> Outs:
        """Cotangents of the outputs, for dp that of the distribution p which `of` gave."""
        trios = zip(self.parts, dp.parts, p.parts, strict=True)
        return tuple(d for part, dpart, of in trios for d in part.kind.of_vjp(dpart, of, part.settings))

    def sized(self, variance: float | Array, log_scale: Array | None) -> "Spec":
        """With a floor of σ² for Gaussian columns, and the units of standardised ones: (D,) each, or one for all."""
        made = []
        for part in self.parts:
            here = list(part.columns)
            floor = variance if np.ndim(variance) == 0 else np.asarray(variance)[here]
            units = () if log_scale is None or part.kind.mass else tuple(log_scale[here])
            made.append(part._replace(settings=part.settings._replace(variance=floor), log_scale=units))
        return Spec(tuple(made))

    def start(self, mean: Array) -> tuple[Array, ...]:
        """The bias of each head, from the columns' means (D,): 0 where they say nothing of it."""
        biases = []
        for part in self.parts:
            known = part.kind.start(mean[list(part.columns)], part.settings)
            biases += [known.get(head, np.zeros(n)).astype(mean.dtype) for head, n in part.widths.items()]
        return tuple(biases)


def spec(parts: Iterable[tuple[str, Iterable[int]] | tuple[str, Iterable[int], dict[str, Any]]]) -> Spec:
    """Of [("gaussian", (0, 3)), ("categorical", (1,), {"classes": 4}), …]; UsageError for a kind or a setting that is
    unknown, or columns that are not 0 … D − 1, each once."""
    made = []
    for name, columns, *rest in cast(Any, parts):
        if name not in LIKELIHOODS:
            raise unknown("likelihood", name, LIKELIHOODS)
        given = rest[0] if rest else {}
        for setting in given:
            if setting not in LIKELIHOODS[name].settings:
                raise UsageError(f"{name} has no setting {setting!r}: it has {LIKELIHOODS[name].settings or 'none'}")
        made.append(Part(name, tuple(columns), Settings(**given)))
    found = sorted(c for part in made for c in part.columns)
    if not found or found != list(range(len(found))) or not all(part.columns for part in made):
        raise UsageError(f"the parts have columns {found}: give each of 0 … D − 1 to one part")
    return Spec(tuple(made))


class Columns(NamedTuple):
    """The distribution of mixed columns x (..., D), and its cotangent: a family for each part of the spec."""

    parts: tuple[Any, ...]
    spec: Spec

    def of(self, x: Array) -> list[Array]:
        """The columns of each part; those of a mass are data and stay real under a complex step."""
        parts = ((x[..., list(part.columns)], part.kind.mass) for part in self.spec.parts)
        return [v.real if mass else v for v, mass in parts]

    def together(self, parts: Iterable[Array | None]) -> Array:
        """Columns of each part in their places; 0 for None."""
        made = list(parts)
        shape = np.broadcast_shapes(*(p.shape[:-1] for p in made if p is not None))
        out = np.zeros((*shape, self.spec.columns), np.result_type(*(p for p in made if p is not None)))
        for part, values in zip(self.spec.parts, made, strict=True):
            if values is not None:
                out[..., list(part.columns)] = values
        return out

    @property
    def mean(self) -> Array:
        """One number a column: E[x], of a categorical the most probable class, of an angle the mean direction."""
        return self.together(p.mean for p in self.parts)

    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """x by u (..., D) uniform in (0, 1), a number a column."""
        return self.together(draw(p, v) for p, v in zip(self.parts, self.of(u), strict=True))

    def terms(self, x: Array, m: Array | None = None, k: Kernels = NUMPY) -> tuple[Array, ...]:
        """log p of every part, nats: a log density or a log mass; with m of its observed entries."""
        masks = [None for _ in self.parts] if m is None else self.of(np.broadcast_to(m, x.shape))
        parts = zip(self.spec.parts, self.parts, self.of(x), masks, strict=True)
        return tuple(term(part.log_scale, p, v, mask, k) for part, p, v, mask in parts)

    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log p(x), nats, without the last axis."""
        return cast(Array, sum(self.terms(x, None, k)))

    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[Array | None, "Columns"]:
        """Cotangents of x (0 in discrete columns; None if all are) and of the parts, for w that of log_prob."""
        pairs = [p.log_prob_vjp(w, v, k) for p, v in zip(self.parts, self.of(x), strict=True)]
        return self.gathered(pairs)

    def log_prob_observed(self, x: Array, m: Array, k: Kernels = NUMPY) -> Array:
        """§7.1.1  log p of the entries with m = 1, m (..., D) in {0, 1}."""
        return cast(Array, sum(self.terms(x, m, k)))

    def log_prob_observed_vjp(self, w: Array, x: Array, m: Array, k: Kernels = NUMPY) -> tuple[Any, "Columns"]:
        """Cotangents of x (0 in discrete columns; None if all are) and of the parts, 0 where m = 0."""
        masks = self.of(np.broadcast_to(m, x.shape))
        trios = zip(self.parts, self.of(x), masks, strict=True)
        return self.gathered([p.log_prob_observed_vjp(w, v, mask, k) for p, v, mask in trios])

    def gathered(self, pairs: list[tuple[Array | None, Any]]) -> tuple[Array | None, "Columns"]:
        """The cotangents of all parts as one."""
        dx = [d for d, _ in pairs]
        some = any(d is not None for d in dx)
        return self.together(dx) if some else None, Columns(tuple(d for _, d in pairs), self.spec)


def term(log_scale: tuple[float, ...], p: Any, x: Array, m: Array | None, k: Kernels) -> Array:
    """log p of one part, of its observed entries if there is a mask, in the units of x as it was."""
    log_p = np.asarray(p.log_prob(x, k) if m is None else p.log_prob_observed(x, m, k))
    if not log_scale:
        return log_p
    scales = np.array(log_scale)
    return log_p - (scales.sum() if m is None else m @ scales).astype(log_p.dtype)
