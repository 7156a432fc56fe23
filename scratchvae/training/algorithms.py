"""§7.1.2 The algorithms that train a run, by name: auto-encoding variational Bayes, and its rivals in `classical`.

What one of them has no place for is refused here, before any data are read. The directions stand in `rivals`.
"""

import re
from typing import TYPE_CHECKING, NamedTuple

from ..classical.wake_sleep import check_reweighted
from ..errors import UsageError, unknown

if TYPE_CHECKING:
    from .config import Config

FORMS = (
    "aevb",
    "wake-sleep",
    "wake-sleep:means",
    "reweighted-wake-sleep:K",
    "reweighted-wake-sleep:K:SHARE",
    "mcem",
    "full-vb",
)


class Algorithm(NamedTuple):
    """A name's parts: `means` dreams means and not draws; K `samples`, of whose φ `share` is wake's."""

    name: str
    means: bool = False
    samples: int = 0  # 0: the config's
    share: float = 0.0


def algorithm(text: str) -> Algorithm:
    """ "reweighted-wake-sleep:5:0.5" → its parts. Raises UsageError for one that is not known."""
    match text.split(":"):
        case ["em"]:
            raise UsageError("algorithm='em' wants all rows and a linear decoder: it is Python's classical.em")
        case ["aevb" | "wake-sleep" | "mcem" | "full-vb" as name]:
            return Algorithm(name)
        case ["wake-sleep", "means"]:
            return Algorithm("wake-sleep", means=True)
        case ["reweighted-wake-sleep" as name, *given] if len(given) < 3:
            K, share = (*given, *("5", "0.5")[len(given) :])  # 5: Bornschein & Bengio 2015, in training
            if K.isdecimal() and re.fullmatch(r"\d*\.?\d+", share):
                check_reweighted(int(K), float(share))
                return Algorithm(name, samples=int(K), share=float(share))
    raise unknown("algorithm", text, FORMS)


def check_algorithm(config: "Config") -> None:
    """One clear line where the algorithm has no place for what else the config asks for; K goes into its `samples`."""
    found = algorithm(config.algorithm)
    if found.name == "aevb":
        return
    K = found.samples or (1 if found.name == "mcem" else config.samples)
    for asked, what in (
        (isinstance(config.latent, tuple | list), "one latent layer, and latent has several"),
        (config.missing, f"whole rows, and missing is {config.missing!r}"),
        (config.posterior != "normal", f"a Gaussian q, and posterior is {config.posterior!r}"),
        (config.prior != "standard", f"p(z) = N(0, I), and prior is {config.prior!r}"),
        (config.estimator != "sgvb_b", f"directions of its own, and estimator is {config.estimator!r}"),
        (config.beta != 1 or config.warm_up, "KL as it is, or none, and beta or warm_up weigh it"),
        (found.name == "full-vb" and config.weight_prior, "p(θ) = N(0, I) already, which weight_prior is"),
        (config.samples not in (1, K), f"K={K}, and samples is {config.samples}"),
    ):
        if asked:
            raise UsageError(f"algorithm={config.algorithm!r} has {what}: leave that out, or take aevb")
    object.__setattr__(config, "samples", K)
