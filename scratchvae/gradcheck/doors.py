"""§7.2.4 Other shapes of the same question, each made into a pair that `check` judges.

A gradient, a forward product J u and a product H v with the Hessian are cotangents in other clothes, so they need no
judge of their own: `check_gradient`, `check_jvp` and `check_hvp` only dress them, and `assert_vjp` is for tests.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import CheckFailed, UsageError
from ..tree import Path, flat, is_float, kind, leaves, like, spare, transform
from ..types import Array
from . import numeric
from .check import check
from .contract import argument_names, by_argument, has_floats, promote, want_whole
from .report import WRONG, Report
from .sets import DIRECTIONS

PLANTED = 1e-3  # the relative error of a control: far above every tolerance, far below what an eye would see
LINEAR = 1e-5  # of its size, that J(2u - 3w) may be off: rounding in float32 is less
LIMIT = 4096  # elements of a block that are looked at one by one, as in `check`


def check_gradient(
    fun: Callable[..., Any],
    jac: Callable[..., Any] | bool,
    x: Any,
    *,
    args: Any = (),
    **options: Any,
) -> Report:
    """A gradient in the shape that `scipy.optimize` has it, and SciPy's own `check_grad` in place of which this stands.

    fun(x, *args)  -> a number; or an array, as `least_squares` and `root` have it
    jac(x, *args)  -> its gradient, an array of x's shape; for an array, of shape fun's + x's, dense or sparse.
                      True where fun returns (value, gradient), as in `minimize(fun, x, jac=True)`
    x              any shape, a list, or a number; integers become floats
    args           what fun and jac get beside x, constants here: a tuple, or the only one
    options        those of `check`
    """

    if not (callable(jac) or jac is True):
        raise UsageError(f"jac is {jac!r}: give a function, or True where fun returns (value, gradient)")
    x = np.asarray(x, dtype=float) if isinstance(x, list | tuple) else x * 1.0 if kind(x) == "integer" else x
    args = args if isinstance(args, tuple | list) else (args,)  # as SciPy has it

    @functools.wraps(fun)
    def value(x: Any, *rest: Any) -> Any:
        return fun(x, *rest)[0] if jac is True else fun(x, *rest)

    def value_vjp(dy: Any, x: Any, *rest: Any) -> tuple[Any, ...]:
        found = jac(x, *rest) if callable(jac) else fun(x, *rest)[1]
        slope = np.asarray(found.toarray() if hasattr(found, "toarray") else found)
        if np.size(dy) == 1 and slope.shape == np.shape(x):
            return (np.reshape(dy, ()) * slope, *(None for _ in rest))
        if slope.shape != np.shape(dy) + np.shape(x):
            raise CheckFailed(f"jac returned shape {slope.shape}, expected {np.shape(dy) + np.shape(x)}")
        return (np.tensordot(dy, slope, np.ndim(dy)), *(None for _ in rest))

    constants = argument_names(fun, 1 + len(args))[1:]
    return check(value, value_vjp, (x, *args), **{"constants": constants, **options})


def check_hvp(
    f: Callable[..., Any], grad: Callable[..., Any], hvp: Callable[..., Any], args: Sequence[Any], **options: Any
) -> Report:
    """First and second order: grad against f, and hvp against grad.

    f(*args)       -> a number
    grad(*args)    -> its gradient, one array per argument, None for a constant; with one argument, that array alone
    hvp(v, *args)  -> H v in the same structure, v in that of grad. H is symmetric, so this is grad's vjp, and the two
                      are a pair. SciPy's hessp(x, v) is ``lambda v, x: hessp(x, v)``.
    options        those of `check`
    """

    def f_vjp(dy: Any, *at: Any) -> Any:
        if np.size(dy) != 1:
            raise CheckFailed(f"f returned shape {np.shape(dy)}, and a Hessian is that of a number: sum it up")
        return transform(lambda _, g: None if g is None else np.reshape(dy, ()) * g, grad(*at))

    title = options.pop("name", None) or str(getattr(f, "__name__", "f"))
    return together(title, grad=check(f, f_vjp, args, **options), hvp=check(grad, hvp, args, **options))


def together(title: str, **reports: Report) -> Report:
    """One report of several, each line under the name of its own."""
    found = reports.items()
    return Report(
        title,
        tuple(row._replace(block=f"{name} {row.block}") for name, report in found for row in report.rows),
        tuple(f"{name}: {line}" for name, report in found for line in report.notes),
        tuple(f"{name}: {line}" for name, report in found for line in report.problems),
        tuple(f"{name}: {line}" for name, report in found for line in (*report.doubts, *unchecked(report))),
    )


def unchecked(report: Report) -> tuple[str, ...]:
    """A line where a report has nothing in it: among others that would be overlooked."""
    return () if report.rows or report.problems or report.doubts else ("nothing was checked",)


def check_jvp(
    f: Callable[..., Any],
    f_jvp: Callable[..., Any],
    args: Sequence[Any],
    *,
    limit: int = LIMIT,
    seed: int = 0,
    constants: Sequence[str] = (),
    **options: Any,
) -> Report:
    """Forward mode: the product J u with the Jacobian of f.

    f(*args)              -> as for `check`
    f_jvp(args, tangents) -> J u in the structure of f's output. Both are tuples with the structure of args; a tangent
                             is None for what is no float, zero for a constant. A rule of `jax.custom_jvp` gives the
                             value as well: ``lambda args, tangents: rule(args, tangents)[1]``.
    limit, options        those of `check`; a block over `limit` is moved along 8 directions instead

    f_jvp is called with a one for each element in turn, zeros elsewhere, and must be linear in all tangents together:
    then J u is right for every u.
    """
    if not isinstance(args, tuple | list):
        raise UsageError(f"args is {type(args).__name__}; expected a tuple: check_jvp(f, f_jvp, (x,)) for one argument")
    if not has_floats(args):
        raise UsageError("args has no floats, along which f_jvp could be moved: give 3.0 for 3")
    want_whole(0, limit=limit)
    names, notes = argument_names(f, len(args)), list[str]()
    given = promote(dict(zip(names, args, strict=True)), notes)
    big = {path: x for path, x in leaves(given) if is_float(x) and np.size(x) > limit and not fixed(path, constants)}
    ways = {path: numeric.spread(seed + i, (DIRECTIONS, *np.shape(x))) for i, (path, x) in enumerate(big.items())}

    def wide(ts: Sequence[Any], start: Mapping[Path, Any]) -> tuple[Any, ...]:
        def one(path: Path, t: Any) -> Any:
            return start[path] + np.tensordot(t, ways[path], 1) if path in ways else t

        return tuple(transform(one, dict(zip(names, ts, strict=True))).values())

    @functools.wraps(f)
    def along(*ts: Any) -> Any:
        return f(*wide(ts, big))

    def along_vjp(dy: Any, *ts: Any) -> tuple[Any, ...]:
        def jvp(us: Sequence[Any]) -> Any:
            return f_jvp(wide(ts, big), wide(us, dict.fromkeys(big, 0.0)))

        return tuple(probed(jvp, dy, dict(zip(names, ts, strict=True)), constants).values())

    notes += [f"{'.'.join(path)} was moved along {DIRECTIONS} directions: it is over limit={limit}" for path in big]
    start = transform(lambda path, x: np.zeros(DIRECTIONS) if path in big else x, given)
    report = check(along, along_vjp, tuple(start.values()), seed=seed, constants=constants, **options)
    problems = () if report.problems else tuple(nonlinear(f_jvp, given, constants, seed))
    return replace(report, notes=(*notes, *report.notes), problems=(*report.problems, *problems))


def fixed(path: Path, constants: Sequence[str]) -> bool:
    """Whether `constants` names this leaf or a branch that it is on."""
    return any(f"{'.'.join(path)}.".startswith(f"{one}.") for one in constants)


def probed(
    jvp: Callable[[Sequence[Any]], Any], dy: Any, args: dict[str, Any], constants: Sequence[str]
) -> dict[str, Any]:
    """The vjp of a jvp: ⟨dy, J u⟩ for u a one at each element in turn, None for what is no float or a constant."""

    def unit(path: Path, i: tuple[int, ...]) -> dict[str, Any]:
        return tangents(lambda at, x: numeric.axis(np.shape(x), i) if at == path else np.zeros(np.shape(x)), args)

    def one(path: Path, leaf: Any) -> Any:
        if not is_float(leaf) or fixed(path, constants):
            return None
        out = np.empty(np.shape(leaf))
        for i in np.ndindex(out.shape):
            out[i] = product(dy, jvp(tuple(unit(path, i).values())))
        return out

    return dict(transform(one, args))


def tangents(fn: Callable[[Path, Any], Array], args: dict[str, Any]) -> dict[str, Any]:
    """fn(path, leaf) for the floats, a Python number where the leaf is one; None for the others."""
    return dict(transform(lambda path, x: like(x, fn(path, x)) if is_float(x) else None, args))


def product(dy: Any, ju: Any) -> float:
    """⟨dy, J u⟩; every part of f's output is asked for."""
    given, total = dict(leaves(ju)), 0.0
    for path, weight in leaves(dy):
        if weight is None:
            continue
        value = given.get(path)
        if value is None or np.shape(value) != np.shape(weight):
            got = "nothing" if value is None else f"shape {np.shape(value)}"
            where = f" for output {'.'.join(path)}" * bool(path)
            raise CheckFailed(f"f_jvp returned {got}{where}, expected J u of shape {np.shape(weight)}")
        total += float(np.sum(weight * value))
    return total


def nonlinear(f_jvp: Callable[..., Any], args: dict[str, Any], constants: Sequence[str], seed: int) -> Iterator[str]:
    """One line if J(2u − 3w) is not 2 J u − 3 J w."""
    seeds = itertools.count(seed)

    def drawn(path: Path, x: Any) -> Array:
        return numeric.spread(next(seeds), np.shape(x)) * (not fixed(path, constants))

    u, w = tangents(drawn, args), tangents(drawn, args)
    second = dict(leaves(w))
    both = transform(lambda path, x: None if x is None else 2 * x - 3 * second[path], u)
    ju, jw, found = (flat(f_jvp(*spare((tuple(args.values()), tuple(v.values()))))) for v in (u, w, both))
    gap, size = (np.max(np.abs(x), initial=0) for x in (found - (2 * ju - 3 * jw), (ju, jw)))
    if not gap <= LINEAR * size:
        yield f"f_jvp is not linear in the tangents: f_jvp(2u - 3w) and 2 f_jvp(u) - 3 f_jvp(w) differ by {gap:.3g}"


def assert_vjp(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: Sequence[Any],
    *,
    control: bool = False,
    **options: Any,
) -> Report:
    """For a test: the report where it is ok, else an AssertionError with the table.

    control   also plants an error, a factor 1 + 1e-3 on one block's cotangent after the other, and wants each to be
              found wrong: a test that could not fail proves nothing. A block on which f does not depend
              fails it.
    options   those of `check`
    """
    __tracebackhide__ = True  # pytest: show the line that called
    report = check(f, f_vjp, args, **options)
    if not report:
        raise AssertionError(f"\n{report}")
    for row in report.rows if control else ():
        found = check(f, planted(f, f_vjp, row.block), args, **options)
        if not any(other.block == row.block and other.verdict == WRONG for other in found.rows):
            raise AssertionError(f"the control was not seen in block {row.block}: a factor of 1.001 passed\n{found}")
    return report


def planted(f: Callable[..., Any], f_vjp: Callable[..., Any], block: str) -> Callable[..., Any]:
    """f_vjp with a slip in one block."""

    def slip(path: Path, grad: Any) -> Any:
        return np.multiply(grad, 1 + PLANTED) if ".".join(path) == block and grad is not None else grad

    def wrong_vjp(dy: Any, *args: Any) -> tuple[Any, ...]:
        grads = by_argument(f_vjp(dy, *args), dict(zip(argument_names(f, len(args)), args, strict=True)))
        return tuple(transform(slip, grads).values())

    return wrong_vjp
