"""§7.2.5 What a likelihood must be told of the data, read from them: how many classes, levels or trials; which columns.

What a user says, and what the run's config then has:

    --likelihood categorical              of digits 0 … 16:    categorical:17
    --columns age=gaussian,sex=categorical                     0=gaussian,1=categorical:2
    --columns auto, or nothing where columns hold words        what `kinds_of` finds
    --columns auto,class=categorical                           the same, but for these
"""

import dataclasses
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..data.words import BOOLS, Levels, Ordered
from ..errors import UsageError, did_you_mean
from ..models.vae import LIKELIHOODS
from ..types import Array
from .config import Config

COUNTED = {"categorical": 1, "ordinal": 1, "binomial": 0, "discretised-logistic": 1, "logistic-mixture": 1}
STANDARDISED = ("gaussian", "gaussian-fixed")  # likelihoods whose real columns are standardised …
PARTS = ("gaussian", "student-t")  # … and, among mixed columns, these
OF_WORDS = ("categorical", "ordinal")  # likelihoods of codes that stand for words, and of two Bernoulli
FEW = 5  # rows a different value, at least, of counts without a long tail
SKEW = 1.0  # from which on a tail is long
CODES = 10  # different counts, at most, that may be codes of classes
IDS = 20  # different whole numbers, at least, that look like ids


class Kind(NamedTuple):
    """What a column is found to be: its likelihood, and why."""

    likelihood: str
    why: str


def kinds_of(x: Array, levels: Levels | None = None) -> Iterator[Kind]:
    """The kind of each column of x (N, D), which hold codes where they have levels."""
    for column, words in zip(np.asarray(x).T, levels or ((),) * x.shape[1], strict=True):
        if words:
            family = "bernoulli" if len(words) <= 2 else "ordinal" if isinstance(words, Ordered) else "categorical"
            many = f"{len(words)} different words{' in order' * isinstance(words, Ordered)}"
            why = many if len(words) > 1 else "one word alone: leave it out"
            yield Kind(family if len(words) <= 2 else f"{family}:{len(words)}", why)
        else:
            seen = column[~np.isnan(column)] if column.dtype.kind == "f" else column
            yield of_numbers(seen.astype(np.float64))


def of_numbers(x: Array) -> Kind:
    """The kind of a column of numbers, of what was observed of it, (n,)."""
    values = np.unique(x)
    if len(values) < 2:
        return Kind("gaussian", f"{'constant' if len(values) else 'empty'}: leave it out")
    if np.isin(values, (0, 1)).all():
        return Kind("bernoulli", "0 and 1 alone")
    if (values != np.rint(values)).any():
        return Kind("gaussian", "real numbers")
    if len(values) == len(x) >= IDS:
        return Kind("gaussian", "whole numbers, all different: leave it out if it is an id")
    mean, sd = x.mean(), x.std()
    skew = (((x - mean) / sd) ** 3).mean()
    codes = "; if they are codes: --columns auto,NAME=categorical" * (len(values) <= CODES)
    if values[0] not in (0, 1) or (len(values) * FEW > len(x) and skew < SKEW):
        return Kind("gaussian", "whole numbers, many different, without a long tail" if values[0] in (0, 1) else
                    f"whole numbers from {values[0]:g} on: counts begin with 0 or 1"
                    + codes * bool(values[0] > 0))  # fmt: skip
    ratio = x.var() / mean
    wide = ratio > 1 + 3 * np.sqrt(2 / len(x))  # beyond three standard errors of a Poisson's ratio, which is 1
    return Kind("negative-binomial" if wide else "poisson", f"counts, variance / mean {ratio:.2g}{codes}")


def kinds_in_words(
    x: Array, levels: Levels | None, names: tuple[str, ...] | None, likelihood: str = ""
) -> Iterator[tuple[str, str]]:
    """The name of each column of x (N, D) with what it is taken for, and why; in `likelihood`, "0=gaussian,…", what it
    is."""
    taken = dict(item.split("=") for item in likelihood.split(",") if item)
    for i, kind in enumerate(kinds_of(x, levels)):
        name, family = names[i] if names else str(i), taken.get(str(i), kind.likelihood)
        why = kind.why.replace("NAME", shlex.quote(name)) if family == kind.likelihood else "as asked"
        yield name, f"{family} ({why})"


def resolved(config: Config, x: Array, names: tuple[str, ...] | None, levels: Levels | None = None) -> Config:
    """The config with a likelihood that says all, for training rows x (N, D) with the levels of their words. Raises
    UsageError for columns that are not there, or not named, or whose words the likelihood cannot take."""
    unasked = levels is not None and not config.columns and config.likelihood == Config.likelihood
    if unasked or config.columns == "auto":
        found = ",".join(f"{i}={kind.likelihood}" for i, kind in enumerate(kinds_of(x, levels)))
        return dataclasses.replace(config, likelihood=found, columns="auto", binarisation="none")
    if config.columns:
        return dataclasses.replace(config, likelihood=by_number(config.columns, x, names, levels))
    for column, words in enumerate(levels or ()):
        check_words(config.likelihood.partition(":")[0], words, names[column] if names else f"column {column}")
    if config.likelihood in COUNTED:
        return dataclasses.replace(config, likelihood=counted(config.likelihood, x))
    return config


def check_words(family: str, words: tuple[str, ...], called: str) -> None:
    """Raises UsageError where a column of words has a likelihood of numbers."""
    if words and words != BOOLS and family not in OF_WORDS and not (family == "bernoulli" and len(words) == 2):
        raise UsageError(
            f"{called} holds words, which {family} cannot take: give columns=auto, or {called}=categorical"
        )


def by_number(columns: str, x: Array, names: tuple[str, ...] | None, levels: Levels | None = None) -> str:
    """ "age=gaussian,sex=categorical" → "0=gaussian,1=categorical:2", by names, or numbers from 0; after "auto," those
    that are not named are found."""
    D = x.shape[1]
    called = list(names or ()) or [str(i) for i in range(D)]
    found: dict[int, str] = {}
    auto, items = columns.startswith("auto,"), columns.removeprefix("auto,").split(",")
    for item in items:
        name, sign, family = item.strip().partition("=")
        if not sign:
            raise UsageError(f"columns: expected NAME=LIKELIHOOD, as age=gaussian, got {item!r}")
        if name not in called and not (name.isdecimal() and int(name) < D):
            raise UsageError(f"columns: there is no column {name!r}{did_you_mean(name, called)}")
        place = called.index(name) if name in called else int(name)
        if place in found:
            raise UsageError(f"columns: {name!r} is named twice")
        words = levels[place] if levels else ()
        check_words(family.partition(":")[0], words, name)
        of_words = f"{family}:{max(2, len(words))}" if words and family in OF_WORDS else ""
        found[place] = of_words or (counted(family, x[:, place]) if family in COUNTED else family)
    if auto:
        found = {i: kind.likelihood for i, kind in enumerate(kinds_of(x, levels))} | found
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
