"""§7.2.5 Conditional distributions by networks: heads, floors of a variance, and the whole `Net`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...conditional import (
    HEADS,
    Distribution,
    Family,
    Net,
    Standardised,
    floored,
    floored_vjp,
    from_heads,
    from_heads_vjp,
    net,
    net_vjp,
)
from ...types import Array
from .. import accumulating
from . import Case, at
from .networks import layers

VARIANCE = 0.3  # a floor high enough to bend the slope
FLOORS = np.array([0.1, 0.3, 0.6, 1.0])  # one for each column


def net_case(name: str, need_dx: bool) -> Case:
    """A net's distribution as a function of its input and parameters; without dx, x counts as data."""

    def f(x: Array, p: Net) -> Distribution:
        return net(x, p)[0]

    def f_vjp(ddist: Distribution, x: Array, p: Net, dp: Net) -> Any:
        return net_vjp(ddist, *net(x, p), p, dp, need_dx=need_dx)

    *hidden, last = layers(4, 3, 2)
    p = Net(tuple(hidden), tuple(last for _ in HEADS[name]), "tanh", Family(name, VARIANCE))
    label = f"conditional.net[{name}{'' if need_dx else ', data'}]"
    constants = ("p.family",) if need_dx else ("x", "p.family")
    return Case(label, f, accumulating(f_vjp, into=(1,)), (at(51, 3, 4), p), constants=constants)


def standardised() -> Iterator[Case]:
    """Standardised columns, whole and in part: log s is no argument, and moves no slope."""
    z, p, m = at(55, 3, 4), Standardised(at(56, 3, 4), at(57, 3, 4), at(58, 4)), (at(59, 3, 4) > 0) * 1.0
    yield Case("conditional.Standardised", lambda z, p: p.log_prob(z), lambda w, z, p: p.log_prob_vjp(w, z), (z, p))
    part_vjp = lambda w, z, p, m: (*p.log_prob_observed_vjp(w, z, m), None)  # noqa: E731
    part = "conditional.Standardised, observed", lambda z, p, m: p.log_prob_observed(z, m), part_vjp
    yield Case(*part, (z, p, m), constants=("m",))


def cases() -> Iterator[Case]:
    """Each family of heads."""
    vjp = lambda dy, a, variance: (floored_vjp(dy, floored(a, variance), variance), None)  # noqa: E731
    for name, floor in (("", VARIANCE), ("[by column]", FLOORS)):
        args = 2 * at(52, 3, 4), floor
        yield Case(f"conditional.floored{name}", floored, vjp, args, constants=("variance",))
    yield from standardised()
    for name, heads in HEADS.items():
        outs = [at(53 + i, 3, 4) for i in range(len(heads))]
        yield Case(
            f"conditional.from_heads[{name}]",
            from_heads,
            lambda dp, outs, family: (list(from_heads_vjp(dp, from_heads(outs, family), family)), None),
            (outs, Family(name, VARIANCE)),
            constants=("family",),
        )
        yield from (net_case(name, need_dx) for need_dx in (True, False))
