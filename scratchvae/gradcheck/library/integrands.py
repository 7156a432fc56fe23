"""§7.2.4 The integrands of one variable, and the q that pays no KL."""

from collections.abc import Iterator
from typing import Any

from ...distributions import Normal
from ...estimators.integrands import Free, bump, square, wave
from ...types import Array
from . import Case, at


def kl(q: Normal) -> Array:
    """Nothing, by the q without a prior."""
    return Free(*q).kl()


def kl_vjp(w: Array, q: Normal) -> Any:
    """Nothing, again."""
    return Free(*q).kl_vjp(w)


def cases() -> Iterator[Case]:
    """f against its slope; zero against zero."""
    for f in (square(0.3), bump(1.5), wave(2.0)):
        vjp = lambda w, z, f=f: f.log_likelihood_vjp(w, None, z, None, None)  # noqa: E731
        yield Case(f"integrands.{f.name}", lambda z, f=f: f.log_likelihood(None, z, None), vjp, (at(101, 3, 2, 1),))
    yield Case("integrands.Free.kl", kl, kl_vjp, (Normal(at(102, 3, 1), at(103, 3, 1)),))
