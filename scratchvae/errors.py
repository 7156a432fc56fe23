"""§7.2 What can go wrong, one class an exit code: each error is one clear line that names the way out."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """The call or the command line is wrong (exit 2)."""


class DataError(ValueError):
    """Data or a checkpoint cannot be used (exit 3)."""


class CheckFailed(Exception):
    """A verification ran and found a wrong gradient, bound or number (exit 1)."""


def unknown(what: str, name: object, known: Iterable[str]) -> UsageError:
    """The error for a name that is none of those known, with the one that was meant if one is near."""
    known = tuple(known)
    return UsageError(f"{what} {name!r} is unknown: give one of {', '.join(known)}{did_you_mean(name, known)}")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """ "; did you mean 'train'?" where a known name is near, else ""."""
    folded = {each.casefold(): each for each in reversed(tuple(known))}
    near = difflib.get_close_matches(str(name).casefold(), tuple(folded), 1, 0.65)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""
