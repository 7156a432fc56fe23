"""§7.2.4 The gradient check: f_vjp against the derivative of f itself, for any pair of functions."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckFailed, UsageError
from ..types import Array
from . import numeric
from .contract import argument_names, cotangent, matched, promote, pull_back
from .report import METHODS, Measure, Report, Row
from .tree import Path, flat, leaves, like, replaced

TOLERANCE: Mapping[str, float] = {"complex": 1e-12, "central": 1e-7, "direction": 1e-9}
DIRECTIONS = 10**6  # seeds of the directions u start here, those of the cotangents dy at 0
FLOOR = 1e-3  # a block's scale is at least this share of the largest block's, or rounding in an idle block would count


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
    step              central differences move each element by step times its size (the block's rms if larger), twice:
                      keep args at least 2 step away from kinks (relu at 0) and from the edge of f's domain.
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
    names = argument_names(f, len(args))
    blocks = promote(dict(zip(names, args, strict=True)), notes)
    try:
        dy = cotangent(f, blocks, seed)
        grads = matched(pull_back(f_vjp, dy, blocks), blocks)
    except CheckFailed as problem:
        return Report(title, notes=tuple(notes), problems=(str(problem),))
    findings = list(differentiate(f, blocks, grads, flat(dy), settings, notes))
    return Report(title, grade(findings), tuple(notes))


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

        def block(value: Array, path: Path = path) -> Array:
            return flat(f(*replaced(args, path, like(values[path], value)).values()))

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
        yield Finding(name, x.size, "complex", grad, numeric.gradient(exact, x, c, h), how.tolerance["complex"])
    if "central" in methods:
        yield Finding(name, x.size, "central", grad, numeric.gradient(real, x, c, h), how.tolerance["central"])
    if "direction" in methods:  # without the complex step a direction can be no surer than central differences are
        bound = how.tolerance["central" if reason else "direction"]
        yield Finding(name, x.size, "direction", np.sum(grad * u), np.asarray(c @ exact(u, length)), bound)


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
