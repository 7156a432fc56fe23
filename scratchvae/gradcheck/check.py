"""§7.2.4 The gradient check: f_vjp against the derivative of f itself, for any pair of functions."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckFailed, UsageError
from ..tree import Path, flat, kind, leaves, like, replaced
from ..types import Array
from . import numeric
from .contract import Claims, argument_names, claims, cotangent, one_line, promote, promoted, pull_back
from .report import METHODS, Measure, Report, Row

TOLERANCE: Mapping[str, float] = {"complex": 1e-12, "central": 1e-7, "direction": 1e-9}
DIRECTIONS = 10**6  # seeds of the directions u start here, those of the cotangents dy at 0
FLOOR = 1e-3  # a block's scale is at least this share of the largest block's, or rounding in an idle block would count


Place = tuple[int, ...]  # of an element; () for a direction


class Finding(NamedTuple):
    """What one method said of one block: two arrays of one shape, () for a direction."""

    block: str
    size: int
    method: str
    analytic: Array
    numeric: Array
    tolerance: float


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
) -> Report:
    """Compare f_vjp(dy, *args) with numerical derivatives of ⟨dy, f(*args)⟩ for one fixed dy.

    f(*args)          -> an array, a scalar, or nested tuples, NamedTuples, lists and dicts of them, pure: noise is one
                      of args, so every evaluation replays the same draw. Leaves that are not floats (ints, strings,
                      None, functions) are constants.
    f_vjp(dy, *args)  -> a tuple of cotangents with the structure of args; None for whatever is not differentiated; with
                      one argument, its cotangent alone will do. For a pair that adds into buffers, see `accumulating`.
    methods           "complex" and "central" look at every element of blocks up to `limit` elements, "direction" at
                      one fixed direction a block, ⟨dy, J u⟩ against ⟨vjp(dy), u⟩, and at every larger block. Where
                      the path is not analytic the report says why and central differences stand in.
    step              central differences move each element by step times its size (the block's rms if larger), twice;
                      where they disagree, down to step/10⁵, so that a kink near by (relu near 0) is no error. Keep args
                      off the kinks themselves, and at least 2 step away from the edge of f's domain.
    tolerance         per method; the error is max|analytic − numeric| in a block over the block's max|numeric|, or
                      over 1e-3 of the largest block's where the block's own is smaller than that.

    The computation is in float64; float32 arguments are promoted, with a note. f and f_vjp are called twice to find
    hidden state, and must leave args alone. Raises UsageError for a call that makes no sense; what is wrong with f_vjp
    is in the report (`report.ok`, `print(report)`, `report.to_json()`).
    """
    if unknown := set(methods) - set(METHODS):
        raise UsageError(f"methods has {sorted(unknown)}; expected some of {METHODS}")
    if not isinstance(args, tuple | list):
        raise UsageError(f"args is {type(args).__name__}; expected a tuple: check(f, f_vjp, (x,)) for one argument")
    settings = Settings(tuple(methods), seed, step, limit, {**TOLERANCE, **(tolerance or {})})
    title = name or str(getattr(f, "__name__", "f"))
    notes: list[str] = []
    blocks = promote(dict(zip(argument_names(f, len(args)), args, strict=True)), notes)
    check_names(constants, blocks)
    try:
        dy = cotangent(f, blocks, seed)
        said = claims(pull_back(f_vjp, dy, blocks), blocks, constants)
        if not said.grads and not said.problems:
            raise CheckFailed("f_vjp returned no cotangent of a float argument: nothing was checked")
    except CheckFailed as problem:
        return Report(title, notes=tuple(notes), problems=(str(problem),))
    blocks = promoted(f, blocks, said)
    findings = list(differentiate(f, blocks, said.grads, flat(dy), settings, said.notes))
    said.problems.extend(forgotten(f, blocks, said, flat(dy), settings))
    return Report(title, grade(findings), (*notes, *said.notes), tuple(said.problems))


def check_names(constants: Sequence[str], args: dict[str, Any]) -> None:
    """Refuse a constant that is nowhere: it was meant for another name."""
    known = {*args, *(".".join(path[:i]) for path, _ in leaves(args) for i in range(1, len(path) + 1))}
    if unknown := [name for name in constants if name not in known]:
        raise UsageError(f"constants names {unknown[0]!r}; expected a tuple of names out of {', '.join(args)}")


def block_of(f: Callable[..., Any], args: dict[str, Any], path: Path) -> numeric.Function:
    """All of f's outputs as a function of one leaf, the others held where they are."""
    leaf = dict(leaves(args))[path]
    return lambda value: flat(f(*replaced(args, path, like(leaf, value)).values()))


def forgotten(f: Callable[..., Any], args: dict[str, Any], said: Claims, c: Array, how: Settings) -> Iterator[str]:
    """One line for each number that got None and is no constant, for f depends on it along a direction."""
    values = dict(leaves(args))
    for number, path in enumerate(said.silent):
        name, leaf = ".".join(path), values[path]
        way = f'return its cotangent, or say constants=("{name}",)'
        if kind(leaf) == "object":
            way = way.replace("return its cotangent", "build it inside f out of plain arrays")
            yield f"f_vjp returned None for {name}, a {type(leaf).__name__}, which cannot be moved from outside: {way}"
            continue
        block, x = block_of(f, args, path), np.asarray(leaf)
        u, length = numeric.spread(how.seed + 2 * DIRECTIONS + number, x.shape), how.step * numeric.size(x)
        try:
            slope, rounding = numeric.central(block, x, u, length), 1e-13 * np.abs(block(x)) / length
        except Exception as error:  # a domain's edge, an index
            yield f"f_vjp returned None for {name}, and f fails where it is moved ({one_line(error)}): {way}"
            continue
        if (np.abs(slope) <= rounding).all():
            said.notes.append(f"{name} got no cotangent, and f does not depend on it")
        else:
            found = f"f depends on it (slope {c @ slope:.3g} along a direction)"
            yield f"f_vjp returned None for {name}, but {found}: {way}"


def differentiate(
    f: Callable[..., Any],
    args: dict[str, Any],
    grads: dict[Path, Array],
    c: Array,
    settings: Settings,
    notes: list[str],
) -> Iterator[Finding]:
    """Every block by every method that fits it, the other blocks held where they are."""
    values = dict(leaves(args))
    for number, (path, grad) in enumerate(grads.items()):
        block = block_of(f, args, path)
        x, u = np.asarray(values[path]), numeric.spread(settings.seed + DIRECTIONS + number, grad.shape)
        if not x.size:
            notes.append(f"{'.'.join(path)} is empty")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            yield from methods_of(".".join(path), block, x, u, grad, c, settings, notes)


def methods_of(
    name: str, block: numeric.Function, x: Array, u: Array, grad: Array, c: Array, how: Settings, notes: list[str]
) -> Iterator[Finding]:
    """The methods for one block; along a direction, or where asked for, the complex step if the path is analytic."""
    methods, length, h = set(how.methods), how.step * numeric.size(x), numeric.steps(x, how.step)
    if x.size > how.limit and methods != {"direction"}:
        notes.append(f"{name} has {x.size} elements, over limit={how.limit}: checked along one direction")
        methods = {"direction"}
    reason = numeric.analytic(block, x, u, length) if methods & {"complex", "direction"} else ""
    if reason:
        notes.append(f"{name}: no complex step: {reason}")
        methods = {"central" if method == "complex" else method for method in methods}

    def real(v: Array, h: float) -> Array:
        return numeric.central(block, x, v, h)

    def exact(v: Array, h: float) -> Array:
        return real(v, h) if reason else numeric.complex_step(block, x, v)

    if "complex" in methods:
        yield Finding(name, x.size, "complex", grad, numeric.vjp(exact, x, c, h), how.tolerance["complex"])
    if "central" in methods:
        found, bound = numeric.vjp(real, x, c, h), how.tolerance["central"]
        look_again(lambda i: c @ numeric.settled(block, x, numeric.axis(x.shape, i), float(h[i])), found, grad, bound)
        yield Finding(name, x.size, "central", grad, found, bound)
    if "direction" in methods:  # without the complex step a direction can be no surer than central differences are
        found, bound = np.asarray(c @ exact(u, length)), how.tolerance["central" if reason else "direction"]
        if reason:
            look_again(lambda _: c @ numeric.settled(block, x, u, length), found, np.sum(grad * u), bound)
        yield Finding(name, x.size, "direction", np.sum(grad * u), found, bound)


def look_again(again: Callable[[Place], Any], found: Array, analytic: Array, bound: float) -> None:
    """Put again(i) in place of the worst difference of `found`, until the worst is good or has been looked at."""
    seen: set[Place] = set()
    while True:
        error = np.abs(found - analytic) / (np.max(np.abs(found)) or 1.0)
        worst = tuple(map(int, np.unravel_index(int(np.argmax(error)), error.shape)))
        if error[worst] <= bound or worst in seen:
            return
        seen.add(worst)
        found[worst] = again(worst)


def grade(findings: Sequence[Finding]) -> tuple[Row, ...]:
    """Relative errors per block, and the worst element with both numbers."""
    largest: dict[str, float] = {}
    for x in findings:
        largest[x.method] = max(largest.get(x.method, 0.0), float(np.max(np.abs(x.numeric))))
    rows: dict[str, Row] = {}
    for x in findings:
        scale = max(float(np.max(np.abs(x.numeric))), FLOOR * largest[x.method])
        scale = scale or float(np.max(np.abs(x.analytic))) or 1.0  # all derivatives zero: so must the analytic ones be
        error = np.abs(x.analytic - x.numeric) / scale
        at = np.unravel_index(int(np.argmax(error)), error.shape)
        place = None if x.method == "direction" else tuple(map(int, at))
        measure = Measure(x.method, place, float(x.analytic[at]), float(x.numeric[at]), float(error[at]), x.tolerance)
        row = rows.get(x.block, Row(x.block, x.size, ()))
        rows[x.block] = row._replace(measures=(*row.measures, measure))
    return tuple(rows.values())
