"""§7.2.4 Pairs that are wrong: slips of the right ones, edits of their source, and published errors, planted.

A mutant counts as wrong where, at its point, a cotangent differs from the right one by more than 1e-6 of the largest
number of its block, and by more than a thousand times what a move of the arguments by one rounding changes (at an
optimum, where the right cotangent is rounding alone, twice of it is no error); or where it writes into its arguments,
or answers otherwise when called again. At a kink two slopes are right, so nothing is planted there.
"""

import ast
import inspect
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from scratchvae.errors import CheckFailed
from scratchvae.gradcheck import accumulating, library
from scratchvae.gradcheck.numeric import size, spread
from scratchvae.mutants.gallery import GALLERY
from scratchvae.mutants.operators import mutations
from scratchvae.mutants.plant import planted
from scratchvae.tree import is_float, leaves, like, spare, transform, unchanged
from scratchvae.types import Array

from .family import Case, Family
from .layouts import dense_adding, dense_into
from .right import FAMILIES
from .slips import SLIPS, Pull

PER_FAMILY = 5  # slips, those first that were used least so far
PER_FUNCTION = 2  # edits of the source of each f_vjp, spread evenly over all that are wrong
PUBLISHED = (  # a gradient check sees them; "log of a clamped probability" is off by 1e-8, too little to count here
    "y(1 - y) on the log-variance", "a lost half", "variance head's path forgotten", "backward draws another eps",
    "= for +=",
)  # fmt: skip
PLANTED_IN = "vae.elbo[[]gaussian-sigmoid, 1 hidden, tanh[]]"


def cases(only: str = "") -> Iterator[tuple[str, Case]]:
    """(family, case) of all, families whose name contains `only`, each at the point of seed 0."""
    used: Counter[str] = Counter()
    seen: set[Any] = set()
    for name, family in FAMILIES.items():
        if family.at_kink:
            continue
        mutants = chosen(name, family, used)
        if family.f_vjp not in seen:
            seen.add(family.f_vjp)
            mutants += edited(family)
        if only in name:
            yield from ((name, family.at(f"{name}: {how}", 0)._replace(f_vjp=make())) for how, make in mutants)
    yield from published(only)


Mutant = tuple[str, Callable[[], Pull]]  # made anew for every use, for some keep state


def chosen(name: str, family: Family, used: Counter[str]) -> list[Mutant]:
    """The slips for a family."""
    found: list[Mutant] = []
    for how in sorted(SLIPS, key=lambda how: used[how]):
        if len(found) < PER_FAMILY and is_wrong(family, SLIPS[how](family.f_vjp)):
            used[how] += 1
            found.append((how, lambda how=how: SLIPS[how](family.f_vjp)))  # type: ignore[misc]
    return found


def edited(family: Family) -> list[Mutant]:
    """Small errors in the source of f_vjp; every lost += of the pair that adds into buffers."""
    adding = family.f_vjp is dense_adding
    plain = dense_into if adding else family.f_vjp
    tree = ast.parse(inspect.getsource(plain)).body[0]
    assert isinstance(tree, ast.FunctionDef) and isinstance(plain, types.FunctionType)
    found = []
    for mutation in mutations(tree):
        scope = dict(plain.__globals__)
        exec(compile(ast.Module([mutation.tree], []), inspect.getfile(plain), "exec"), scope)
        vjp = accumulating(scope[tree.name], into=(1, 2)) if adding else scope[tree.name]
        if is_wrong(family, vjp):
            found.append((f"{mutation.kind}, {mutation.after}", lambda vjp=vjp: vjp))
    lost = [one for one in found if one[0].startswith("+= turned to =")] if adding else []
    step = max(1, len(found) // PER_FUNCTION)
    return lost + found[step // 2 :: step][:PER_FUNCTION]


def published(only: str) -> Iterator[tuple[str, Case]]:
    """Errors of other people's VAEs, each in force while its case is out."""
    for bug in PUBLISHED:
        if only in f"gallery: {bug}":
            with planted(GALLERY[bug].edits):
                for case in library.cases(PLANTED_IN):
                    name = f"gallery: {bug}"
                    yield name, Case(f"{name} in {case.name}", case.f, case.f_vjp, case.args, case.constants)


def is_wrong(family: Family, vjp: Pull) -> bool:
    """Whether this f_vjp is wrong at the family's first point; one that does not run is no mutant."""
    args = transform(lambda _, leaf: np.array(leaf, dtype=float) if is_float(leaf) else leaf, family.at("", 0).args)
    dy = transform(lambda _, leaf: like(leaf, spread(0, np.shape(leaf))) if is_float(leaf) else None, family.f(*args))
    right, near = (blocks(family.f_vjp(dy, *spare(at))) for at in (args, nudged(args, family.eps)))
    given = spare((dy, args))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            answers = [blocks(vjp(given[0], *given[1])) for _ in range(2)]
        except CheckFailed:  # of `accumulating`: a lost +=
            return True
        except Exception:
            return False
    if not all(comparable(found, right) for found in answers):
        return False
    return not unchanged(given, (dy, args)) or any(differs(found, right, near) for found in answers)


def blocks(grads: Any) -> list[Any]:
    """The cotangents, None among them, as copies."""
    return [np.array(leaf, dtype=float) if leaf is not None else None for _, leaf in leaves((grads,))]


def comparable(found: list[Any], right: list[Any]) -> bool:
    """Whether the shapes fit, None for anything; a cotangent where none is due is another kind of error."""
    due = [x is None or (y is not None and x.shape == y.shape) for x, y in zip(found, right, strict=False)]
    return len(found) == len(right) and all(due)


def differs(found: list[Any], right: list[Any], near: list[Any]) -> bool:
    """Whether a block does, beyond 1e-6 of its largest number and beyond rounding."""
    return any(apart(*three) for three in zip(found, right, near, strict=True) if three[1] is not None)


def apart(found: Array | None, right: Array, near: Array) -> bool:
    """The same of one block; None stands for zeros."""
    gap = np.abs((0 if found is None else found) - right)
    rounding = np.max(np.abs(near - right), initial=0)
    return not np.max(gap, initial=0) <= max(1e-6 * np.max(np.abs(right), initial=0), 1e3 * rounding)


def nudged(args: tuple[Any, ...], eps: float) -> tuple[Any, ...]:
    """The arguments moved by one rounding of their size."""

    def one(_: Any, leaf: Any) -> Any:
        if not is_float(leaf) or not np.size(leaf):
            return leaf
        return leaf + eps * np.maximum(np.abs(leaf), size(np.asarray(leaf))) * spread(1, np.shape(leaf))

    moved: tuple[Any, ...] = transform(one, args)
    return moved
