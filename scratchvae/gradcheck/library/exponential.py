"""§7.2.5 The one pair of the exponential families, by every family, (S, B, K) of values under (B, K) of heads."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...distributions import Bernoulli
from ...distributions.continuous import Beta, ContinuousBernoulli, Dirichlet, Exponential, Gamma, VonMises
from ...distributions.discrete import Categorical, Poisson, one_hots
from ...types import Array
from . import Case, at


def points() -> Iterator[tuple[str, Any, Any, Any]]:
    """A name, values, and two families of one kind."""
    free, square = at(501, 2, 3, 4), 1 / (1 + np.exp(-at(502, 2, 3, 4)))
    one, two = (at(503, 3, 4), at(504, 3, 4)), (at(505, 3, 4), at(506, 3, 4))
    hot = np.eye(4)[np.argmax(free, axis=-1)]
    groups = np.eye(2)[(free[..., :2] > 0) * 1].reshape(2, 3, 4)
    bits, positive = (free > 0) * 1.0, np.abs(free)
    yield "Bernoulli", bits, Bernoulli(one[0]), Bernoulli(two[0])
    yield "Categorical", hot, Categorical(one[0]), Categorical(two[0])
    yield "OneHots", groups, one_hots(2, 2)(one[0]), one_hots(2, 2)(two[0])
    yield "Poisson", np.floor(4 * positive), Poisson(one[0]), Poisson(two[0])
    yield "Exponential", positive, Exponential(one[0]), Exponential(two[0])
    yield "Gamma", positive, Gamma(*one), Gamma(*two)
    yield "Beta", square, Beta(*one), Beta(*two)
    yield "Dirichlet", square / square.sum(axis=-1, keepdims=True), Dirichlet(one[0]), Dirichlet(two[0])
    yield "ContinuousBernoulli", square, ContinuousBernoulli(one[0]), ContinuousBernoulli(two[0])
    yield "VonMises", free, VonMises(*one), VonMises(*two)


def observed(x: Array, m: Array, p: Any) -> Array:
    """log_prob_observed."""
    return np.asarray(p.log_prob_observed(x, m))


def observed_vjp(w: Array, x: Array, m: Array, p: Any) -> Any:
    """Its vjp; the mask has no cotangent."""
    dx, d = p.log_prob_observed_vjp(w, x, m)
    return dx, None, d


def cases() -> Iterator[Case]:
    """log_prob, kl and entropy of every family."""
    for name, x, p, q in points():
        fixed = ("x",) if p.log_prob_vjp(np.ones((2, 3)), x)[0] is None else ()
        title = f"exponential.{name}"
        yield Case(f"{title}.log_prob", lambda x, p: p.log_prob(x), lambda w, x, p: p.log_prob_vjp(w, x), (x, p),
                   constants=fixed)  # fmt: skip
        m = np.repeat(at(507, 3, 2) > 0, 2, axis=-1) * 1.0  # groups of two columns; a Dirichlet's row goes by the first
        yield Case(f"{title}.log_prob_observed", observed, observed_vjp, (x, m, p),
                   constants=("m", *fixed))  # fmt: skip
        yield Case(f"{title}.kl", lambda p, q: p.kl_to(q), lambda w, p, q: p.kl_to_vjp(w, q), (p, q))
        yield Case(f"{title}.entropy", lambda p: p.entropy(), lambda w, p: p.entropy_vjp(w), (p,))
