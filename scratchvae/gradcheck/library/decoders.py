"""§7.2.5 The decoders for real data: rows (B, D), (S, B, D) of parameters, and parameters on both sides of switches."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...distributions.columns import spec
from ...distributions.continuous import Beta, Gamma
from ...distributions.counts import Binomial, Multinomial, NegativeBinomial, ZeroInflated
from ...distributions.discrete import Classes
from ...distributions.inflated import InflatedBeta
from ...distributions.levels import DiscretisedLogistic, LogisticMixture, Ordinal
from ...distributions.likelihoods import LIKELIHOODS, Settings
from ...distributions.positive import LogNormal
from ...distributions.student import StudentT
from ...types import Array
from . import Case, at

WHOLE = np.arange(12.0).reshape(3, 4) % 5
POSITIVE = np.exp(at(901, 3, 4))
MASK = (at(900, 3, 4) > 0) * 1.0


def discrete() -> Iterator[Case]:
    """Counts, levels and classes: x is data."""
    a, b, c, many = at(902, 3, 4), at(903, 3, 4), at(904, 4), at(905, 2, 3, 4)
    points: list[Any] = [
        DiscretisedLogistic(a, b, 5),
        LogisticMixture(at(906, 3, 4, 2), at(907, 3, 4, 2), at(908, 3, 4, 2), 5),
        Ordinal(many, at(909, 4, 4)),
        NegativeBinomial(a, b),
        NegativeBinomial(many, c + 4),
        ZeroInflated(a, b, c),
        Binomial(a, 6),
        Multinomial(a),
        Classes(at(910, 3, 4, 5)),
    ]
    for p in points:
        yield from both(p, WHOLE)
    yield from both(
        InflatedBeta(at(917, 3, 4, 3), a, b), np.array([[0, 0.3, 1, 0.7], [1, 0, 0.1, 0.2], [0.5, 1, 0, 0]])
    )


def continuous() -> Iterator[Case]:
    """Positive values, fractions and reals: x has a cotangent too."""
    a, b, c, many = at(911, 3, 4), at(912, 3, 4), at(913, 4), at(914, 2, 3, 4)
    yield from both(Gamma(a, b), POSITIVE)
    yield from both(Gamma(many, c + 4), POSITIVE)
    yield from both(LogNormal(a, b), POSITIVE)
    yield from both(Beta(a, b), POSITIVE / 9)
    yield from both(StudentT(a, b, c), at(915, 3, 4))
    yield from both(StudentT(many, b, c + 4), at(916, 3, 4))


def both(p: Any, x: Array) -> Iterator[Case]:
    """log_prob and log_prob_observed with their vjps at one point; x is data unless it has a cotangent."""
    none = dict.fromkeys(p.settings)
    data = ("x",) if p.log_prob_vjp(np.ones(np.shape(p.log_prob(x))), x)[0] is None else ()
    constants = (*data, *(f"p.{field}" for field in p.settings))

    def vjp(w: Array, x: Array, p: Any) -> Any:
        dx, d = p.log_prob_vjp(w, x)
        return dx, d._replace(**none)

    def observed_vjp(w: Array, x: Array, m: Array, p: Any) -> Any:
        dx, d = p.log_prob_observed_vjp(w, x, m)
        return dx, None, d._replace(**none)

    of = f"decoders.{type(p).__name__}"
    where = f"[{p[0].ndim} axes{', large' * (p[0].ndim == 3)}]"
    yield Case(f"{of}.log_prob{where}", lambda x, p: p.log_prob(x), vjp, (x, p), constants=constants)
    yield Case(f"{of}.log_prob_observed{where}", lambda x, m, p: p.log_prob_observed(x, m), observed_vjp, (x, MASK, p),
               constants=("m", *constants))  # fmt: skip


def by_name() -> Iterator[Case]:
    """log p of every likelihood by the outputs of its heads, through `of` and `of_vjp`."""
    s = Settings(levels=5, trials=6, classes=5, components=2, variance=0.3)
    for i, (name, kind) in enumerate(LIKELIHOODS.items()):
        outs = tuple(at(920 + 5 * i + j, 3, 4 * n) for j, n in enumerate(kind.heads(s).values()))
        support = kind.support(s)
        x = WHOLE * (support.high >= WHOLE) if support.whole else POSITIVE / 9 if support.high == 1 else POSITIVE

        def f(outs: Any, x: Array = x, kind: Any = kind) -> Array:
            return np.asarray(kind.of(outs, s).log_prob(x))

        def vjp(w: Array, outs: Any, x: Array = x, kind: Any = kind) -> Any:
            p = kind.of(outs, s)
            return (kind.of_vjp(p.log_prob_vjp(w, x)[1], p, s),)

        yield Case(f"decoders.likelihoods[{name}]", f, vjp, (outs,))


def mixed_columns() -> Iterator[Case]:
    """A table of reals, classes, counts, fractions: by the heads' outputs, all observed and with gaps."""
    of = spec(
        [("gaussian", (0, 3)), ("categorical", (1,), {"classes": 3}), ("negative-binomial", (4,)), ("beta", (2,))]
    )
    x = np.stack([at(1021, 3), WHOLE[:, 2] % 3, POSITIVE[:, 0] / 9, at(1022, 3), WHOLE[:, 3]], axis=-1)
    m = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0.0, 0, 0, 0, 0]])
    outs = tuple(at(1023 + i, 2, 3, n) for i, (_, n) in enumerate(of.widths))

    smooth = [0, 2, 3]
    masks: dict[str, Any] = {"log_prob": (), "log_prob_observed": (m,)}

    def filled(some: Array) -> Array:
        full = x.astype(some.dtype)
        full[:, smooth] = some
        return full

    def case(name: str) -> Case:
        def f(some: Array, outs: Any) -> Array:
            return np.asarray(getattr(of.of(outs), name)(filled(some), *masks[name]))

        def f_vjp(w: Array, some: Array, outs: Any) -> Any:
            dx, d = getattr(of.of(outs), f"{name}_vjp")(w, filled(some), *masks[name])
            return dx[:, smooth], of.of_vjp(d, of.of(outs))

        return Case(f"decoders.Columns.{name}", f, f_vjp, (x[:, smooth], outs))

    yield from map(case, masks)


def cases() -> Iterator[Case]:
    """All of them."""
    yield from discrete()
    yield from continuous()
    yield from by_name()
    yield from mixed_columns()
