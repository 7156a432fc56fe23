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
    ]
    for p in points:
        yield from both(p, WHOLE)


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


def cases() -> Iterator[Case]:
    """All of them."""
    yield from discrete()
    yield from continuous()
