"""§7.2.4 Pairs that are wrong: slips of the right ones, edits of their source, and published errors, planted.

A mutant counts as wrong where, at its point, a cotangent differs from the right one by more than 1e-6 of the largest
number of its block, and by more than a thousand times what a move of the arguments by one rounding changes (at an
optimum, where the right cotangent is rounding alone, twice of it is no error); or where it writes into its arguments,
or answers otherwise when called again. At a kink two slopes are right, so nothing is planted there.
"""

import ast
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from scratchvae.errors import CheckFailed
from scratchvae.gradcheck import accumulating
from scratchvae.gradcheck.library import vae
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

PER_FAMILY = 5  # slips, in turn
RARE = ("integers sevenfold", "second output off", "transposed", "two blocks swapped", "two blocks in one buffer")
PER_FUNCTION = 2  # edits of the source of each f_vjp, spread evenly over all that are wrong
PUBLISHED = (  # a gradient check sees them; "log of a clamped probability" is off by 1e-8, too little to count here
    "y(1 - y) on the log-variance", "a lost half", "variance head's path forgotten", "backward draws another eps",
    "= for +=",
)  # fmt: skip
PLANTED_IN = "vae.elbo[gaussian-sigmoid, 1 hidden, tanh]"


def cases(only: str = "", every: int = 1) -> Iterator[tuple[str, str, Case]]:
    """(family, kind of slip, case), each at the point of seed 0; of the families whose name contains `only`, or of
    every so many."""
    smooth = {name: family for name, family in FAMILIES.items() if not family.at_kink}
    first = {family.f_vjp: name for name, family in reversed(smooth.items())}  # edits of a source, once
    for number, (name, family) in list(enumerate(smooth.items()))[::every]:
        if only in name:
            for kind, how, make in (*chosen(family, number), *(edited(family) if first[family.f_vjp] == name else ())):
                yield name, kind, family.at(f"{name}: {how}", 0)._replace(f_vjp=make())
    yield from published(only, every)


Mutant = tuple[str, str, Callable[[], Pull]]  # kind, name, and the f_vjp: made when it is used, for some keep state


def chosen(family: Family, number: int) -> list[Mutant]:
    """The rare slips and the next ones in turn, if they are wrong in this family."""
    turn = [how for how in SLIPS if how not in RARE]
    start = number * (PER_FAMILY - 1) % len(turn)
    found = [how for how in (*RARE, *turn[start:], *turn[:start]) if is_wrong(family, SLIPS[how](family.f_vjp))]
    return [(how, how, partial(SLIPS[how], family.f_vjp)) for how in found[:PER_FAMILY]]


def edited(family: Family) -> list[Mutant]:
    """Small errors in the source of f_vjp; every lost += of the pair that adds into buffers."""
    adding = family.f_vjp is dense_adding
    plain = dense_into if adding else family.f_vjp
    tree = ast.parse(inspect.getsource(plain)).body[0]
    assert isinstance(tree, ast.FunctionDef)
    found: list[Mutant] = []
    for mutation in mutations(tree):
        scope = dict(vars(sys.modules[plain.__module__]))
        exec(compile(ast.Module([mutation.tree], []), inspect.getfile(plain), "exec"), scope)
        vjp = accumulating(scope[tree.name], into=(1, 2)) if adding else scope[tree.name]
        if is_wrong(family, vjp):
            found.append((f"source: {mutation.kind}", f"{mutation.kind}, {mutation.after}", partial(same, vjp)))
    lost = [one for one in found if one[0] == "source: += turned to ="] if adding else []
    step = max(1, len(found) // PER_FUNCTION)
    return lost + found[step // 2 :: step][:PER_FUNCTION]


def same(vjp: Pull) -> Pull:
    return vjp


def published(only: str, every: int) -> Iterator[tuple[str, str, Case]]:
    """Errors of other people's VAEs, each in force while its case is out."""
    for bug in PUBLISHED[::every]:
        if only in (name := f"gallery: {bug}"):
            with planted(GALLERY[bug].edits):
                case = next(case for case in vae.cases() if case.name == PLANTED_IN)
                yield name, "gallery", Case(name, case.f, case.f_vjp, case.args, case.constants)


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
