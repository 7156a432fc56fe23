"""§7.1.1 The exact bound by a sum over all states of z, whose gradient is the score function's without any noise."""

from collections.abc import Iterator
from typing import Any

from ...distributions import Bernoulli
from ...models.linear_gaussian import LinearGaussian
from ...tasks.exact import bits, elbo, elbo_vjp
from ...types import Array
from .. import accumulating
from . import Case, at
from .linear_gaussian import THETA, X

STATES = bits(2, len(X))


def bound(q: Bernoulli, theta: LinearGaussian) -> Array:
    """The bound of a model whose two causes are bits."""
    return elbo(theta.log_joint, X, q, STATES)


def bound_vjp(w: Array, q: Bernoulli, theta: LinearGaussian, dtheta: LinearGaussian) -> Any:
    """Returns dq, adds into dtheta."""
    return elbo_vjp(w, theta.log_joint, X, q, STATES, theta.log_joint_vjp, dtheta)


def cases() -> Iterator[Case]:
    """Bits under a Gaussian likelihood."""
    yield Case(
        "exact.elbo",
        bound,
        accumulating(bound_vjp, into=(1,)),
        (Bernoulli(at(82, 3, 2)), THETA),
        real="the table of log p(x, z) is kept in float64",
    )
