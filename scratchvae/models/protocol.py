"""§7.2.1 What black-box inference asks of a model p(x, z; θ): one function, and for more estimators a few more.

    log_joint(x, z, theta)                    (S, B) nats           required; the score function needs no more
    log_joint_vjp(w, x, z, theta, dtheta)     dz, shaped like z     the pathwise estimators, and learning θ
    log_likelihood, log_likelihood_vjp        the same for log p(x | z), where the prior is N(0, I): analytic KL
    log_factors(x, z, theta), blankets        (S, B, F) and bool (K, F): Rao-Blackwellisation

z is (S, B, K): S samples for each of B rows; w is (S, B). x and theta are the model's own business: an array, a tuple,
a net, None. A vjp adds into `dtheta` unless that is None. Where z is discrete it returns None for dz.

And of q: a NamedTuple of arrays that start with (B, …), with k a kernel table. A second one holds cotangents.

    sample(noise, k)                          z (S, B, K)           noise (S, B, …): uniforms, or where z = g(ε) normals
    sample_vjp(dz, noise, k)                  cotangents of q       only where z = g(ε) is smooth (§7.2.4)
    log_prob(z, k)                            (S, B) nats
    log_prob_vjp(w, z, k)                     dz or None, cotangents of q, summed over samples
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import UsageError
from ..types import Array


class Functions(NamedTuple):
    """A model of two plain functions, for a user who has no class to write."""

    log_joint: Callable[[Any, Array, Any], Array]
    log_joint_vjp: Callable[..., Array | None] | None = None


def need(
    model: Any,
    name: str,
    estimator: str,
    why: str,
    otherwise: str = "use estimator='score', which needs log_joint alone",
) -> Callable[..., Any]:
    """The model's function `name`; one clear line where it has none."""
    found: Callable[..., Any] | None = getattr(model, name, None)
    if found is None:
        raise UsageError(f"estimator {estimator!r} needs {why}: give the model {name}, or {otherwise}")
    return found
