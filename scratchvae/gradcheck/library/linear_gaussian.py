"""§7.1 The linear-Gaussian oracle: the exact marginal and the exact bounds have slopes to prove as well."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...models import linear_gaussian as lg
from ...models.linear_gaussian import LinearGaussian
from ...types import Array
from .. import accumulating
from . import Case, at

THETA = LinearGaussian(at(71, 2, 4), at(72, 4), at(73, 1))
X, MU, LOG_VAR = at(74, 3, 4), at(75, 3, 2), at(76, 3, 2)
TRIL = np.tril(at(77, 3, 2, 2))


def lower_bound(x: Array, mu: Array, L: Array, theta: LinearGaussian) -> Array:
    """The lower triangle of L alone is free."""
    return lg.elbo_tril(x, mu, np.tril(L), theta)


def cases() -> Iterator[Case]:
    """log p(x, z), log p(x), and the bound for three kinds of q."""

    def joint_vjp(w: Any, x: Any, z: Any, theta: LinearGaussian, dtheta: LinearGaussian) -> Any:
        return None, theta.log_joint_vjp(w, x, z, dtheta)

    into, data = (2,), ("x",)
    for shape, z in (("(B, K)", MU), ("(S, B, K)", at(78, 2, 3, 2))):
        joint = lambda x, z, theta: theta.log_joint(x, z)  # noqa: E731
        name, args = f"linear_gaussian.log_joint[{shape}]", (X, z, THETA)
        yield Case(name, joint, accumulating(joint_vjp, into), args, constants=data)
    yield Case(
        "linear_gaussian.log_marginal",
        lambda x, theta: theta.log_marginal(x),
        accumulating(lambda w, x, theta, dtheta: theta.log_marginal_vjp(w, x, dtheta), (1,)),
        (X, THETA),
    )
    bounds: tuple[tuple[str, Any, Any, Any], ...] = (
        ("elbo", lg.elbo, lg.elbo_vjp, TRIL @ TRIL.swapaxes(1, 2)),
        ("elbo_diag", lg.elbo_diag, lg.elbo_diag_vjp, LOG_VAR),
        ("elbo_tril", lower_bound, lg.elbo_tril_vjp, TRIL),
    )
    for name, f, f_vjp, spread in bounds:
        vjp = lambda w, x, mu, s, theta, dtheta, f_vjp=f_vjp: (None, *f_vjp(w, x, mu, s, theta, dtheta))  # noqa: E731
        pair, point = (f, accumulating(vjp, (3,))), (X, MU, spread, THETA)
        yield Case(f"linear_gaussian.{name}", *pair, point, constants=data)
