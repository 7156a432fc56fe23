"""§7.2.4 Every pair of this library as a case for `check`: one file a room, found by name, each with `cases()`.

A new pair needs a case here: a test looks for every function with `_vjp` in its name and fails if no case calls it.
Points are fixed numbers of either sign, 0.5 to 1.5 in size, so that no activation is checked at its kink; whole bounds
with relu, leaky_relu or elu are moved until no unit is near one.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ...errors import UsageError
from ...types import Array
from ..check import check
from ..file import fits
from ..numeric import spread
from ..report import Report


class Case(NamedTuple):
    """One call of `check`, by name ("networks.dense")."""

    name: str
    f: Callable[..., Any]
    f_vjp: Callable[..., Any]
    args: tuple[Any, ...]
    options: Mapping[str, Any] = {}
    real: str = ""  # why the code takes no complex numbers, if so: central differences stand in
    constants: tuple[str, ...] = ()  # data, noise, settings: what gets no cotangent, though f depends on it

    def run(self) -> Report:
        """Check it; code that raises is a failed check, not a crash."""
        try:
            return check(self.f, self.f_vjp, self.args, name=self.name, constants=self.constants, **self.options)
        except Exception as error:
            return Report(self.name, problems=(f"raised {type(error).__name__}: {error}",))


def at(seed: int, *shape: int) -> Array:
    """A fixed point of this shape, its elements in ±[0.5, 1.5)."""
    return spread(1000 + seed, shape)


def cases(pattern: str = "*") -> Iterator[Case]:
    """Every case whose name fits the pattern (a glob, or a part of the name); UsageError if none does."""
    found = False
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        for case in importlib.import_module(f"{__name__}.{module}").cases():
            if fits(case.name, pattern):
                found = True
                yield case
    if not found:
        raise UsageError(f"no check is called {pattern!r}: give a part of a name, such as 'elbo', or a glob")
