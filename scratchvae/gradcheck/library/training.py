"""§7.3 What training adds to the bound: the prior over θ."""

from collections.abc import Iterator

from ...training.optim import log_prior, log_prior_vjp
from .. import accumulating
from . import Case, at


def cases() -> Iterator[Case]:
    """log p(θ) / N."""
    pair = log_prior, accumulating(log_prior_vjp, into=(0,))
    yield Case("training.log_prior", *pair, (at(81, 6), 5), real="it returns a Python float")
