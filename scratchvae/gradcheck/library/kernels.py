"""§7.2.5 The kernels' NumPy statements; their Numba twins are compared with these elsewhere, value by value."""

from collections.abc import Callable, Iterator
from typing import Any

from ...kernels import NUMPY as k
from ...networks import ACTIVATIONS
from .. import accumulating
from . import Case, at

ROWS, SIZE = 3, 4


def activation(name: str) -> Case:
    """f(a), and its vjp from the output alone."""
    f: Callable[..., Any] = getattr(k, name)
    return Case(f"kernels.{name}", f, lambda dy, a: getattr(k, name + "_vjp")(dy, f(a)), (2 * at(1, ROWS, SIZE),))


def dense() -> Iterator[Case]:
    """The product, with its backward in two halves."""
    x, W, b = at(2, ROWS, SIZE), at(3, SIZE, 2), at(4, 2)

    def vjp(dy: Any, x: Any, W: Any, b: Any, dW: Any, db: Any) -> Any:
        k.dense_vjp_params(dy, x, dW, db)
        return k.dense_vjp_x(dy, W)

    yield Case("kernels.dense", k.dense, accumulating(vjp, into=(1, 2)), (x, W, b))


def without_mask(cotangents: tuple[Any, ...]) -> tuple[Any, ...]:
    """(dz, dmu, dlog_var) as those of (z, m, mu, log_var): a mask is data."""
    dz, *rest = cotangents
    return (dz, None, *rest)


def normal() -> Iterator[Case]:
    """The Gaussian by mean and log-variance."""
    z, mu, log_var, eps = (at(5 + i, ROWS, SIZE) for i in range(4))
    sample_vjp = lambda dz, mu, log_var, eps: (*k.normal_sample_vjp(dz, log_var, eps), None)  # noqa: E731
    yield Case("kernels.normal_sample", k.normal_sample, sample_vjp, (mu, log_var, eps), constants=("eps",))
    yield Case("kernels.normal_log_prob", k.normal_log_prob, k.normal_log_prob_vjp, (z, mu, log_var))
    m = (at(11, ROWS, SIZE) > 0) * 1.0
    masked_vjp = lambda w, z, m, mu, log_var: without_mask(k.normal_masked_log_prob_vjp(w, z, m, mu, log_var))  # noqa: E731
    masked = k.normal_masked_log_prob
    yield Case("kernels.normal_masked_log_prob", masked, masked_vjp, (z, m, mu, log_var), constants=("m",))
    yield Case("kernels.normal_kl", k.normal_kl, k.normal_kl_vjp, (mu, log_var))
    yield Case("kernels.normal_entropy", k.normal_entropy, k.normal_entropy_vjp, (log_var,))


def bernoulli() -> Iterator[Case]:
    """The Bernoulli by logits; x, grey here, is data."""
    x, logits = at(9, ROWS, SIZE) ** 2 / 3, 2 * at(10, ROWS, SIZE)
    log_prob_vjp = lambda w, x, logits: (None, k.bernoulli_log_prob_vjp(w, x, logits))  # noqa: E731
    yield Case("kernels.bernoulli_log_prob", k.bernoulli_log_prob, log_prob_vjp, (x, logits), constants=("x",))
    m = (at(11, ROWS, SIZE) > 0) * 1.0
    masked_vjp = lambda w, x, m, logits: (None, None, k.bernoulli_masked_log_prob_vjp(w, x, m, logits))  # noqa: E731
    masked = k.bernoulli_masked_log_prob
    yield Case("kernels.bernoulli_masked_log_prob", masked, masked_vjp, (x, m, logits), constants=("x", "m"))
    yield Case("kernels.bernoulli_entropy", k.bernoulli_entropy, k.bernoulli_entropy_vjp, (logits,))


def cases() -> Iterator[Case]:
    """Every pair in the kernel table."""
    yield from dense()
    yield from (activation(name) for name in ACTIVATIONS if name != "identity")
    yield from normal()
    yield from bernoulli()
