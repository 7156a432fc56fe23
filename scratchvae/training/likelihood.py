"""§7.2.5 What a likelihood must be told of the data, read from them: how many classes, levels or trials; which columns.

What a user says, and what the run's config then has:

    --likelihood categorical              of digits 0 … 16:    categorical:17
    --columns age=gaussian,sex=categorical                     0=gaussian,1=categorical:2
"""

import dataclasses

import numpy as np

from ..errors import UsageError, did_you_mean
from ..models.vae import LIKELIHOODS
from ..types import Array
from .config import Config

COUNTED = {"categorical": 1, "ordinal": 1, "binomial": 0, "discretised-logistic": 1, "logistic-mixture": 1}
STANDARDISED = ("gaussian", "gaussian-fixed")  # likelihoods whose real columns are standardised …
PARTS = ("gaussian", "student-t")  # … and, among mixed columns, these


def resolved(config: Config, x: Array, names: tuple[str, ...] | None) -> Config:
    """The config with a likelihood that says all, for training rows x (N, D). Raises UsageError for columns that are
    not there, or not named."""
    if config.columns:
        return dataclasses.replace(config, likelihood=by_number(config.columns, x, names))
    if config.likelihood in COUNTED:
        return dataclasses.replace(config, likelihood=counted(config.likelihood, x))
    return config


def by_number(columns: str, x: Array, names: tuple[str, ...] | None) -> str:
    """ "age=gaussian,sex=categorical" → "0=gaussian,1=categorical:2", by names, or numbers from 0."""
    D = x.shape[1]
    called = list(names or ()) or [str(i) for i in range(D)]
    found: dict[int, str] = {}
    for item in columns.split(","):
        name, sign, family = item.strip().partition("=")
        if not sign:
            raise UsageError(f"columns: expected NAME=LIKELIHOOD, as age=gaussian, got {item!r}")
        if name not in called and not (name.isdecimal() and int(name) < D):
            raise UsageError(f"columns: there is no column {name!r}{did_you_mean(name, called)}")
        place = called.index(name) if name in called else int(name)
        if place in found:
            raise UsageError(f"columns: {name!r} is named twice")
        found[place] = counted(family, x[:, place]) if family in COUNTED else family
    if left := [called[i] for i in range(D) if i not in found]:
        raise UsageError(
            f"columns: say also what {', '.join(left[:5])}{' …' * (len(left) > 5)} are, as {left[0]}=gaussian"
        )
    return ",".join(f"{place}={found[place]}" for place in sorted(found))


def counted(family: str, x: Array) -> str:
    """With the number of classes, levels or trials that the data reach."""
    largest = np.nanmax(np.asarray(x, np.float64))
    if not np.isfinite(largest):
        raise UsageError(f"likelihood {family!r}: say its number, as {family}:10, for the data have no largest value")
    return f"{family}:{max(1, int(largest)) + COUNTED[family]}"


def standardised(likelihood: str, columns: int) -> Array:
    """Which columns are, bool (D,)."""
    if likelihood in LIKELIHOODS or "=" not in likelihood:
        return np.full(columns, likelihood in STANDARDISED)
    from ..distributions.kinds import decoder

    mask = np.zeros(columns, bool)
    for part in decoder(likelihood).whole(columns).parts:
        mask[list(part.columns)] = part.name in PARTS
    return mask


def in_unit(likelihood: str) -> bool:
    """Whether a likelihood looks at bytes as grey levels in [0, 1]."""
    if likelihood in LIKELIHOODS:
        return True
    from ..distributions.kinds import decoder, support

    return decoder(likelihood).spec is None and support(likelihood, 1).unit


def measure_of(likelihood: str, grey: bool) -> str:
    """What p(x) is: masses and densities are different units."""
    if likelihood == "bernoulli":
        return "cross-entropy of grey levels, no likelihood" if grey else "probability of bits"
    if likelihood in LIKELIHOODS:
        return "density"
    from ..distributions.kinds import decoder

    found = decoder(likelihood)
    if found.spec and found.mass is None:  # which columns have a density is part of the unit
        columns = sorted(c for part in found.spec.parts if not part.kind.mass for c in part.columns)
        return f"probability, of columns {', '.join(map(str, columns))} density"
    return "probability" if found.mass else "density"
