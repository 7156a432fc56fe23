"""§7.2.4 Pairs that are right: every family, by name. What a checker condemns of these, it condemns wrongly."""

from collections.abc import Iterator

from . import arrays, kinks, layouts, matrices, optima, scales
from .family import Case, Family

MODULES = (kinks, optima, scales, layouts, arrays, matrices)
FAMILIES: dict[str, Family] = {name: family for module in MODULES for name, family in module.FAMILIES.items()}


def cases(seeds: int, only: str = "") -> Iterator[tuple[str, Case]]:
    """(family, case) for every family whose name contains `only`, at `seeds` random points each."""
    for name, family in FAMILIES.items():
        if only in name:
            yield from ((name, family.at(f"{name}, seed {seed}", seed)) for seed in range(seeds))
