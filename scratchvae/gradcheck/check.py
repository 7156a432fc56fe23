"""§7.2.4 The gradient check: f_vjp against the derivative of f itself, for any pair of functions."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckFailed, UsageError
from ..tree import Path, kind, leaves
from ..types import Array
from . import numeric
from .contract import (
    Claims,
    argument_names,
    claims,
    cotangent,
    has_floats,
    in_floats,
    one_line,
    promote,
    promoted,
    pull_back,
    want_positive,
    want_whole,
)
from .diagnosis import explain
from .evidence import Terms
from .judge import SURE, VANISHES, Block, Finding, Line, Place, Point, Said, elsewhere, finding
from .report import METHODS, OK, RANK, WRONG, Measure, Report, Row
from .sets import DIRECTIONS, Move, moved

TOLERANCE: Mapping[str, float] = {"complex": 1e-12, "central": 1e-7, "direction": 1e-9}
SEEDS = 10**6  # of the directions u start here, those of the cotangents dy at 0
NOTHING = 1e-7  # of what a slope could be: less is rounding, where differences say so
SHAPES = {"tolerance": '{"central": 1e-7}', "move": '{"x": fn}', "terms": '{"name": fn}'}
NEARBY = "it is rounding here, and wrong at a point near by"


class Settings(NamedTuple):
    """How to differentiate."""

    methods: tuple[str, ...]
    seed: int
    step: float
    limit: int
    tolerance: Mapping[str, float]


def check(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: Sequence[Any],
    *,
    name: str | None = None,
    methods: Sequence[str] = METHODS,
    seed: int = 0,
    step: float = 1e-3,
    limit: int = 4096,
    tolerance: Mapping[str, float] | None = None,
    constants: Sequence[str] = (),
    move: Mapping[str, Move] | None = None,
    terms: Terms | None = None,
) -> Report:
    """Compare f_vjp(dy, *args) with numerical derivatives of ⟨dy, f(*args)⟩ for one fixed dy.

    f(*args)          -> an array, a scalar, or nested tuples, NamedTuples, lists and dicts of them, pure: noise is one
                      of args, so every evaluation replays the same draw. Leaves that are not floats (ints, strings,
                      None, functions) are constants; integers that get a cotangent are checked as floats.
    f_vjp(dy, *args)  -> a tuple of cotangents with the structure of args; None for whatever is not differentiated; with
                      one argument, its cotangent alone will do. A sparse one is written out. For a pair that adds into
                      buffers, see `accumulating`.
    methods           "complex" and "central" look at every element of blocks up to `limit` elements, "direction" at
                      one fixed direction a block, ⟨dy, J u⟩ against ⟨vjp(dy), u⟩, and at every larger block. Where
                      the path is not analytic the report says why and central differences stand in.
    step              of the first look by central differences, in sizes of the element or of its block. What it does
                      not accept is looked at by many steps, and from either side (`judge`).
    tolerance         per method; the error is max|analytic − numeric| in a block over the block's max|numeric|.
    constants         names of arguments, or of leaves ("p.scale"), that get None though f depends on them.
    move              {name: fn(x, v)} for arguments that live on a set, a simplex say: they move along it (`sets`).
    terms             {name: fn(dy, *args)}: parts of f_vjp's answer, fitted to it where it is wrong (`diagnosis`).

    The verdict is "ok", "wrong" or "cannot tell" with its reason, and the report is true for "ok" alone. At a kink the
    slope of either side is ok, one between the two is some convention's, which nobody can tell. Where f rounds more
    than the tolerance allows for (float32 inside, terms of 1e10), or has no limit, nobody can tell either.

    The computation is in float64; float32 arguments are promoted, with a note. f and f_vjp are called twice to find
    hidden state, and must leave args alone. Raises UsageError for a call that makes no sense; what is wrong with f_vjp
    is in the report (`report.verdict`, `print(report)`, `report.failed()`, `report.to_json()`).
    """
    refuse(f=f, f_vjp=f_vjp, methods=methods, tolerance=tolerance, constants=constants, move=move, terms=terms)
    want_whole(0, seed=seed, limit=limit)
    want_positive(", in sizes of the element", step=step)
    if not isinstance(args, tuple | list):
        raise UsageError(f"args is {type(args).__name__}; expected a tuple: check(f, f_vjp, (x,)) for one argument")
    how = Settings(tuple(methods), seed, step, limit, {**TOLERANCE, **(tolerance or {})})
    report, pair = judged(f, f_vjp, args, name, how, constants, move or {})
    return explain(*pair, report, seed=seed, terms=terms, limit=limit) if report.verdict == WRONG else report


def refuse(**given: Any) -> None:
    """Refuse what is of the wrong kind, before f runs."""
    for name in ("f", "f_vjp"):
        if not callable(given[name]):
            raise UsageError(f"{name} is {type(given[name]).__name__}: give a function")
    for name in ("tolerance", "move", "terms"):
        if not isinstance(given[name] or {}, Mapping):
            raise UsageError(f"{name} is {type(given[name]).__name__}; expected a dict: {name}={SHAPES[name]}")
    for name in ("move", "terms"):
        if bad := [key for key, value in (given[name] or {}).items() if not callable(value)]:
            raise UsageError(f"{name} has no function at {bad[0]!r}; expected {name}={SHAPES[name]}")
    for name, example in (("methods", "central"), ("constants", "eps")):
        value = given[name]
        if isinstance(value, str) or not (isinstance(value, Collection) and all(isinstance(one, str) for one in value)):
            own = value if isinstance(value, str) else example
            what = "a string" if isinstance(value, str) else repr(value)
            raise UsageError(f'{name} is {what}; expected a tuple of strings: {name}=("{own}",)')
    for name in ("methods", "tolerance"):
        if unknown := set(given[name] or ()) - set(METHODS):
            raise UsageError(f"{name} names {sorted(unknown)}; expected some of {METHODS}")
    if not given["methods"]:
        raise UsageError(f"methods is empty; expected some of {METHODS}")
    if bad := [value for value in (given["tolerance"] or {}).values() if not isinstance(value, Real)]:
        raise UsageError(f"tolerance has {bad[0]!r}; expected a number a method: {SHAPES['tolerance']}")


def judged(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: Sequence[Any],
    name: str | None,
    how: Settings,
    constants: Sequence[str],
    move: Mapping[str, Move],
) -> tuple[Report, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]]:
    """The report, and the pair with its arguments as blocks, moved where they live on sets."""
    title, notes = name or str(getattr(f, "__name__", "f")), list[str]()
    blocks = promote(dict(zip(argument_names(f, len(args)), args, strict=True)), notes)
    check_names(constants, blocks)
    f, rule = f if has_floats(blocks) else in_floats(f), f_vjp
    try:
        if move:
            where = f"was moved along {DIRECTIONS} directions of its set: a place is a direction"
            notes += [f"{one} {where}" for one in move]
            f, f_vjp, start = moved(f, f_vjp, move, tuple(blocks.values()), how.seed)
            blocks = dict(zip(blocks, start, strict=True))
        dy = cotangent(f, blocks, how.seed)
        said = claims(pull_back(f_vjp, dy, blocks), blocks, constants)
        if not said.grads and not said.doubts:
            objects = [f"{'.'.join(at)} is {type(x).__name__}" for at, x in leaves(blocks) if kind(x) == "object"]
            way = f"; give NumPy arrays ({', '.join(objects[:2])})" * bool(objects)
            raise CheckFailed(f"f_vjp returned no cotangent of a float argument: nothing was checked{way}")
    except CheckFailed as problem:
        return Report(title, notes=tuple(notes), problems=(str(problem),)), (f, f_vjp, blocks)
    blocks = promoted(f, blocks, said)
    said.notes.extend(getattr(rule, "notes", ()))  # an adapter's
    point = Point(f, f_vjp, blocks, dy, said.grads)
    with np.errstate(all="ignore"):  # f is moved, perhaps beyond its domain
        findings = list(differentiate(point, how, said.notes))
        forgotten(point, said, how)
    found = Report(title, grade(findings), (*notes, *said.notes), tuple(said.problems), tuple(said.doubts))
    return found, (f, f_vjp, blocks)


def check_names(constants: Sequence[str], args: dict[str, Any]) -> None:
    """Refuse a constant that is nowhere: it was meant for another name."""
    known = {*args, *(".".join(path[:i]) for path, _ in leaves(args) for i in range(1, len(path) + 1))}
    if unknown := [name for name in constants if name not in known]:
        raise UsageError(f"constants names {unknown[0]!r}; expected a tuple of names out of {', '.join(args)}")


def forgotten(point: Point, said: Claims, how: Settings) -> None:
    """A line for each number that got None and is no constant: wrong where f depends on it, a doubt where nobody can
    tell."""
    for number, path in enumerate(said.silent):
        name, leaf = ".".join(path), point.values[path]
        way = f'return its cotangent, or say constants=("{name}",)'
        if kind(leaf) == "object":
            way = way.replace("return its cotangent", "build it inside f out of plain arrays")
            what = f"f_vjp returned None for {name}, a {type(leaf).__name__}, which cannot be moved from outside"
            said.doubts.append(f"{what}: {way}")
            continue
        block, x, size = point.block(path), np.asarray(leaf), numeric.size(np.asarray(leaf))
        u = numeric.spread(how.seed + 2 * SEEDS + number, x.shape)
        try:
            block(x + how.step * size * u)
        except Exception as error:  # a domain's edge, an index
            what = f"f_vjp returned None for {name}, and f fails where it is moved ({one_line(error)})"
            said.doubts.append(f"{what}: {way}")
            continue
        slopes = numeric.slopes(block, x, u, numeric.ladder(size, size))
        change = np.nan_to_num(np.abs(numeric.tolerant(block, x, u)(0.1 * size) - block(x)))
        still = (np.abs(slopes.middle) <= 3 * slopes.error).all() and not slopes.kinked.any()
        if still and (change <= 1e-9 * np.abs(block(x))).all():  # at an optimum it has no slope either
            said.notes.append(f"{name} got no cotangent, and f does not depend on it")
        else:
            found = f"f depends on it (slope {point.c @ slopes.middle:.3g} along a direction)"
            said.problems.append(f"f_vjp returned None for {name}, but {found}: {way}")


def differentiate(point: Point, how: Settings, notes: list[str]) -> Iterator[Finding]:
    """Every block by every method that fits it, the other blocks held where they are."""
    for number, path in enumerate(point.grads):
        if not np.size(point.values[path]):
            notes.append(f"{'.'.join(path)} is empty")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            found = list(methods_of(point, path, how.seed + SEEDS + number, how, notes))
            yield from confirmed(point, path, found, how, notes)


def methods_of(point: Point, path: Path, seed: int, how: Settings, notes: list[str]) -> Iterator[Finding]:
    """The methods for one block; along a direction, or where asked for, the complex step if the path is analytic."""
    name, grad, methods = ".".join(path), point.grads[path], set(how.methods)
    block = Block(point, path, how.step, how.tolerance["central"], False)
    x, c, f, u = block.x, point.c, block.f, numeric.direction(seed, block.x)
    if x.size > how.limit and methods != {"direction"}:
        notes.append(f"{name} has {x.size} elements, over limit={how.limit}: checked along one direction")
        methods = {"direction"}
    reason = numeric.analytic(f, x, u, how.step * block.size) if methods & {"complex", "direction"} else ""
    if reason:
        notes.append(f"{name}: no complex step: {reason}")
        methods = {"central" if method == "complex" else method for method in methods}
    block.exact = not reason and methods != {"central"}
    if not block.exact and block.single(u):
        notes.append(f"{name}: f rounds to float32 on the way, or cancels as much: judged within {block.tolerance:.0e}")
    h = block.step * numeric.sizes(x)

    def real(v: Array, h: float) -> Array:
        return numeric.central(f, x, v, h)

    def exact(v: Array, h: float) -> Array:
        return numeric.complex_step(f, x, v)

    def element(i: Place) -> Line:
        return numeric.axis(x.shape, i), abs(float(x[i])) or block.size, float(point.wobble[path][i])

    def direction(_: Place) -> Line:
        return u, block.size, float(np.sum(np.abs(u) * point.wobble[path]))

    if "complex" in methods:
        block.tolerance = how.tolerance["complex"]
        yield finding(block, "complex", grad, numeric.vjp(exact, x, c, h), element)
    if "central" in methods:
        block.tolerance = how.tolerance["central"] if block.sure == SURE else block.tolerance
        yield finding(block, "central", grad, numeric.vjp(real, x, c, h), element)
    if "direction" in methods:
        block.tolerance = how.tolerance["direction"] if block.exact else block.tolerance
        along = (exact if block.exact else real)(u, block.step * block.size)
        parts = grad * u  # of random sign: their sum may cancel
        terms = float(np.sqrt(np.sum(parts**2)))
        yield finding(block, "direction", np.asarray(parts.sum()), np.asarray(c @ along), direction, terms)


def confirmed(point: Point, path: Path, found: list[Finding], how: Settings, notes: list[str]) -> Iterator[Finding]:
    """The findings; where the whole block vanishes or is rounding, as at an optimum, a point near by is asked: what is
    right there, and here as small as it should be, is right."""
    silent = all(not one.numeric.any() and not one.analytic.any() for one in found)
    doubts = [said for one in found for said in one.said.values() if said.verdict != OK]
    rounding = bool(doubts) and all(said.rounding for said in doubts)
    error = max((said.rounding for said in doubts), default=0.0)
    other = elsewhere(point, path, how.seed + 3 * SEEDS) if silent or rounding else None
    again = [] if other is None else list(methods_of(other, path, how.seed + SEEDS, how, []))
    said = [said for one in again for said in one.said.values() if said.verdict != OK]
    exact = any(one.method == "complex" for one in found)
    zero = bool(doubts) and all(one.why == VANISHES for one in (*doubts, *said))
    if again and not said and error <= SURE * max(float(np.max(np.abs(one.numeric))) for one in again):
        reason = "is rounding here, and right at a point near by"
    elif again and zero and error <= NOTHING * point.slope_scale(path, exact):
        reason = "has no slope here, nor at a point near by, but for rounding"
    else:
        reason = ""
    if reason:
        if not silent:
            notes.append(f"{'.'.join(path)} {reason}")
        yield from (one._replace(said=dict.fromkeys(one.said, Said(OK))) for one in found)
    elif any(one.verdict == WRONG for one in said):
        for one in again:
            yield one._replace(said={i: s._replace(why=s.why or NEARBY) for i, s in one.said.items()})
    else:
        yield from found


def grade(findings: Sequence[Finding]) -> tuple[Row, ...]:
    """Relative errors per block, and the worst element with both numbers."""
    rows: dict[str, Row] = {}
    for x in findings:
        scale = float(np.max(np.abs(x.numeric))) or float(np.max(np.abs(x.analytic))) or 1.0
        error = np.abs(x.analytic - x.numeric) / scale
        known = np.where(np.isnan(error), np.inf, error)
        at = tuple(map(int, np.unravel_index(int(np.argmax(known)), error.shape)))
        if doubts := [i for i, said in x.said.items() if said.verdict != OK]:
            at = max(doubts, key=lambda i: (RANK[x.said[i].verdict], known[i]))
        said = x.said.get(at, Said(OK if error[at] > x.tolerance else ""))
        place = None if x.method == "direction" else at
        numbers = float(x.analytic[at]), float(x.numeric[at]), float(error[at])
        measure = Measure(x.method, place, *numbers, x.tolerance, said.verdict, said.why)
        row = rows.get(x.block, Row(x.block, x.size, ()))
        rows[x.block] = row._replace(measures=(*row.measures, measure))
    return tuple(rows.values())
