"""§7.2.5 Families by name, as networks speak in them, and the data that they take.

"q:gamma"  "q:planar:10"                                  q(z | x): every parameter is a head
"poisson"  "categorical:17"  "logistic-mixture:256:5"     p(x | z), with its settings in the order of `likelihoods`
"0=gaussian,1=categorical:3,2=negative-binomial"          p(x | z) of mixed columns, by their numbers
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError, unknown
from ..types import Array
from .columns import Part, Spec
from .gaussians import FullNormal, RankOne, full_normal, full_normal_vjp
from .latent import POSTERIORS
from .likelihoods import LIKELIHOODS, Kind, Settings
from .normal import Normal
from .planar import Planar, planar, planar_vjp

ALONE = ("gaussian-sigmoid", "gaussian-fixed")  # of `conditional.HEADS`, and of no column by itself
FEW = 32  # classes, up to which an encoder sees a one-hot of them

# ── q(z | x) ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Posterior(NamedTuple):
    """A family for q(z | x); p(z) is the standard member of `prior`."""

    family: Any
    prior: Any
    widths: Callable[[int], dict[str, int]]
    make: Callable[..., Any]
    back: Callable[[Any], tuple[Array, ...]]

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads."""
        return tuple(self.widths(1))

    def of(self, outs: list[Array], like: Any = None) -> Any:
        """The distribution that the heads' outputs describe."""
        return self.make(*outs)

    def of_vjp(self, dq: Any, q: Any, like: Any = None) -> tuple[Array, ...]:
        """Cotangents of the heads' outputs."""
        return self.back(dq)


def plain(family: Any) -> Posterior:
    """Whose parameters are its heads, each K wide, and whose prior is its standard member."""
    return Posterior(family, family, lambda K: dict.fromkeys(family._fields, K), family, tuple)


def flow(layers: int) -> Posterior:
    """A planar flow."""

    def widths(K: int) -> dict[str, int]:
        return {"mu": K, "log_var": K, "u": layers * K, "w": layers * K, "b": layers}

    return Posterior(Planar, Normal, widths, planar, planar_vjp)


GAUSSIAN: dict[str, Posterior] = {  # under p(z) = N(0, I)
    "full-normal": Posterior(
        FullNormal, Normal, lambda K: {"mu": K, "lower": K * (K + 1) // 2}, full_normal, full_normal_vjp
    ),
    "rank-one": plain(RankOne)._replace(prior=Normal),
}


@cache
def posterior(name: str) -> Posterior:
    """q(z | x) by name. Raises UsageError for one that is not known."""
    base, _, number = name.partition(":")
    if base == "planar" and number.isdecimal() and int(number):
        return flow(int(number))
    if name in GAUSSIAN:
        return GAUSSIAN[name]
    if name in POSTERIORS:
        return plain(POSTERIORS[name])
    raise unknown("posterior", name, [*POSTERIORS, *GAUSSIAN, "planar:LAYERS"])


# ── p(x | z) ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Decoder(NamedTuple):
    """One likelihood for all columns, or (`spec`) one for each."""

    name: str
    kind: Kind
    settings: Settings
    spec: Spec | None = None

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads."""
        return tuple(name for name, _ in self.spec.widths) if self.spec else tuple(self.part(1).widths)

    def widths(self, columns: int) -> dict[str, int]:
        """Names and widths of the heads for that many columns."""
        return dict(self.whole(columns).widths) if self.spec else self.part(columns).widths

    def of(self, outs: list[Array], like: Any = None) -> Any:
        """The distribution that the heads' outputs describe; `like` brings the floor of σ², and units of columns."""
        return self.sized(like).of(outs) if self.spec else self.kind.of(tuple(outs), self.settings)

    def of_vjp(self, dp: Any, p: Any, like: Any = None) -> tuple[Array, ...]:
        """Cotangents of the heads' outputs."""
        return self.sized(like).of_vjp(dp, p) if self.spec else self.kind.of_vjp(dp, p, self.settings)

    def part(self, columns: int) -> Part:
        """All columns as one part."""
        return Part(self.name, tuple(range(columns)), self.settings)

    def whole(self, columns: int) -> Spec:
        """The parts of that many columns. Raises UsageError where mixed columns are another number."""
        if self.spec and self.spec.columns != columns:
            raise UsageError(f"the likelihood names {self.spec.columns} columns, and the data have {columns}")
        return self.spec or Spec((self.part(columns),))

    def sized(self, like: Any) -> Spec:
        """The spec with the floors of σ² and the units that standardised columns have."""
        assert self.spec
        return self.spec if like is None else self.spec.sized(like.variance, like.log_scale)

    def start(self, mean: Array) -> dict[str, Array]:
        """First biases of heads, from the columns' means (D,)."""
        spec = self.whole(len(mean))
        return dict(zip(self.heads, spec.start(mean), strict=True))

    # What an encoder sees: levels and classes as shares of the highest, or one-hots of few; logs of counts and of what
    # is positive. Data get no cotangent.
    def features(self, x: Array, m: Array | None = None) -> Array:
        """Rows x (..., D) as (..., seen(D)); where m (..., D) is 0 they are 0, and made up for as in `vae.rescaled`."""
        found = []
        for part in self.whole(x.shape[-1]).parts:
            here = list(part.columns)
            found.append(seen_by(part, x[..., here], None if m is None else m[..., here]))
        return np.concatenate(found, axis=-1).astype(x.dtype)

    def features_of(self, mean: Array) -> Array:
        """What an encoder sees of a row at the means (D,), rounded where they are whole numbers, (1, seen(D))."""
        row = mean.copy()
        for part in self.whole(len(mean)).parts:
            if part.kind.support(part.settings).whole:
                row[list(part.columns)] = np.rint(mean[list(part.columns)])
        return self.features(row[None])

    def seen(self, columns: int) -> int:
        """How many numbers `features` gives."""
        return sum(len(part.columns) * one_hot(part) for part in self.whole(columns).parts)

    @property
    def mass(self) -> bool | None:
        """Whether p(x) is a mass, or a density; None for mixed columns of both sorts."""
        kinds = {part.kind.mass for part in self.whole(self.spec.columns if self.spec else 1).parts}
        return kinds.pop() if len(kinds) == 1 else None


def one_hot(part: Part) -> int:
    """Numbers that an encoder sees of a column."""
    classes = part.settings.classes
    return classes if part.name == "categorical" and classes <= FEW else 1


def seen_by(part: Part, x: Array, m: Array | None) -> Array:
    """A part's columns as an encoder sees them."""
    limits, columns = part.kind.support(part.settings), one_hot(part)
    x = x if m is None else np.where(m == 1, x, max(limits.low, 0) + (0.5 if limits.open else 0))
    if columns > 1:
        h = np.eye(columns)[x.astype(np.int64)].reshape(*x.shape[:-1], -1)
    elif limits.low == 0 and limits.high == np.inf:
        h = np.log(x) if limits.open else np.log1p(x)
    else:
        h = x / (limits.high if np.isfinite(limits.high) else 1)
    if m is None:
        return h
    count = m.sum(axis=-1, keepdims=True)
    return h * np.repeat(m, columns, axis=-1) * (m.shape[-1] / np.where(count == 0, 1, count))


@cache
def decoder(name: str) -> Decoder:
    """p(x | z) by name. Raises UsageError for a family or a setting that is not known."""
    if "=" not in name:
        base, settings = settings_of(name)
        return Decoder(base, LIKELIHOODS[base], settings)
    parts: dict[str, list[int]] = {}
    for item in name.split(","):
        column, _, family = item.partition("=")
        if not column.isdecimal():
            raise UsageError(f"{item!r} of the columns: expected the column's number, as 0=gaussian")
        parts.setdefault(family, []).append(int(column))
    named = ((settings_of(family), tuple(columns)) for family, columns in parts.items())
    made = [Part(base, columns, settings) for (base, settings), columns in named]
    places = sorted(column for columns in parts.values() for column in columns)
    if places != list(range(len(places))):
        raise UsageError(f"the likelihood names columns {places}: name each of 0 to D - 1 once")
    return Decoder(name, made[0].kind, made[0].settings, Spec(tuple(made)))


def settings_of(name: str) -> tuple[str, Settings]:
    """ "binomial:16" → ("binomial", Settings(trials=16))."""
    base, *numbers = name.split(":")
    if base not in LIKELIHOODS:
        if base in ALONE:
            raise UsageError(f"likelihood {base!r} is for all columns alike: among mixed ones take gaussian")
        raise unknown("likelihood", base, [*LIKELIHOODS, *ALONE])
    names = tuple(name for name in LIKELIHOODS[base].settings if name != "variance")  # --variance says that
    fits = len(numbers) <= len(names) and all(number.isdecimal() and int(number) for number in numbers)
    if not fits:
        words = f"{base} takes {':'.join(n.upper() for n in names) or 'no number'}"
        raise UsageError(f"likelihood {name!r}: {words}")
    return base, Settings(**dict(zip(names, map(int, numbers), strict=False)))


# ── either ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def kind(name: str) -> Any:
    """By its name, as in `conditional.Family`."""
    return posterior(name[2:]) if name.startswith("q:") else decoder(name)


class Takes(NamedTuple):
    """What x a likelihood takes, column by column."""

    parts: tuple[Part, ...]

    def holds(self, x: Array) -> Array:
        """Which cells of x (N, D) it takes."""
        found = np.ones(x.shape, bool)
        for part in self.parts:
            columns = list(part.columns)
            found[:, columns] = part.kind.support(part.settings).holds(x[:, columns])
        return found

    def words(self, column: int) -> str:
        """What a column takes."""
        return next(str(part.kind.support(part.settings)) for part in self.parts if column in part.columns)

    @property
    def unit(self) -> bool:
        """Whether it takes numbers in [0, 1], so that bytes are grey levels."""
        limits = [part.kind.support(part.settings) for part in self.parts]
        return all((one.low, one.high) == (0, 1) and not one.whole for one in limits)


def support(likelihood: str, columns: int) -> Takes:
    """What x it takes, of that many columns."""
    return Takes(decoder(likelihood).whole(columns).parts)
