"""§7.2.5 The decoders for real data: rows (B, D), (S, B, D) of parameters, and parameters on both sides of switches."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...distributions.continuous import Beta, Gamma
from ...distributions.counts import Binomial, NegativeBinomial, ZeroInflated
from ...distributions.levels import DiscretisedLogistic, LogisticMixture, Ordinal
from ...distributions.positive import LogNormal
from ...distributions.student import StudentT
from ...types import Array
from . import Case, at

WHOLE = np.arange(12.0).reshape(3, 4) % 5
POSITIVE = np.exp(at(901, 3, 4))


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
    ]
    yield from (case(p, WHOLE) for p in points)


def continuous() -> Iterator[Case]:
    """Positive values, fractions and reals: x has a cotangent too."""
    a, b, c, many = at(911, 3, 4), at(912, 3, 4), at(913, 4), at(914, 2, 3, 4)
    yield case(Gamma(a, b), POSITIVE)
    yield case(Gamma(many, c + 4), POSITIVE)
    yield case(LogNormal(a, b), POSITIVE)
    yield case(Beta(a, b), POSITIVE / 9)
    yield case(StudentT(a, b, c), at(915, 3, 4))
    yield case(StudentT(many, b, c + 4), at(916, 3, 4))


def case(p: Any, x: Array) -> Case:
    """log_prob and its vjp at one point."""

    settings = [field for field in ("levels", "trials") if hasattr(p, field)]

    def vjp(w: Array, x: Array, p: Any) -> Any:
        dx, d = p.log_prob_vjp(w, x)
        return dx, d._replace(**dict.fromkeys(settings))

    name = f"decoders.{type(p).__name__}.log_prob[{p[0].ndim} axes{', large' * (p[0].ndim == 3)}]"
    return Case(
        name,
        lambda x, p: p.log_prob(x),
        vjp,
        (x, p),
        constants=("x", *(f"p.{field}" for field in settings)) if x is WHOLE else (),
    )


def cases() -> Iterator[Case]:
    """All of them."""
    yield from discrete()
    yield from continuous()
