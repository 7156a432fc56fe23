"""§7.2.4 What a wrong cotangent may come from, in one short line: the first rung of a ladder that fits.

A finding is an equation between f_vjp's answer and the derivative of f ("it lacks the factor exp(log_var/2)"). It is
said only if it holds at every point of the evidence: that of the check, and another one near by, rows in another order,
with another dy. Where nothing fits, nothing is said.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..tree import Path, leaves
from ..types import Array
from .contract import one_line
from .evidence import MINUS, Evidence, Terms, gather
from .products import FULL, atoms, equation, number, sum_of, trailing, two_terms, worded, written
from .report import WRONG, Report

MANY = 1000  # elements that a sum may run over
LISTED = 4  # rows or elements that a line names

Points = Sequence[Evidence]


def perhaps(evidence: Points) -> tuple[str, ...]:
    """What was slipped in a wrong block: one line, or () where nothing fits at all points, of which two are needed."""
    if len(evidence) < 2:
        return ()
    with np.errstate(all="ignore"):
        for rung in LADDER:
            if line := rung(evidence):
                return (line,)
    return ()


# --- the ladder: (points) -> one line, "" where it does not apply -------------------------------------


def not_finite(points: Points) -> str:
    """NaN or infinity, anywhere."""
    return "not finite" if any(not np.all(np.isfinite(p.said)) for p in points) else ""


def zero(points: Points) -> str:
    """Nothing arrived; or nothing should have."""
    if not any(np.any(p.said) for p in points):
        return "zero: no path reaches it"
    if all(p.path in p.numeric and most(p.true) <= p.noise < most(p.said) for p in points):
        return "not zero, though f does not depend on it"
    return ""


def in_dy(points: Points) -> str:
    """vjp(−3 dy) = (−3)ⁿ vjp(dy) with n = 1, or else."""

    def power(n: int) -> bool:
        factor = MINUS**n
        return all(np.allclose(p.minus[p.path], factor * p.said, rtol=1e-9, atol=1e-12 * most(p.said)) for p in points)

    if power(1):
        return ""
    ways = {0: "does not depend on dy", 2: "not linear in dy: uses dy twice", -1: "not linear in dy: divides by dy"}
    return next((line for n, line in ways.items() if power(n)), "not linear in dy")


def most(a: Array) -> float:
    """The largest absolute value."""
    return float(np.max(np.abs(a), initial=0))


def swapped(points: Points) -> str:
    """Two blocks have each other's cotangents."""
    for other in others(points):
        if all(p.equal(p.said, p.numeric[other]) and p.equal(p.analytic[other], p.true) for p in points):
            name = ".".join(other)
            if is_ratio(points, -1):
                return f"minus the derivative: a flipped sign, or swapped with {name}"
            return f"swapped with the cotangent of {name}"
    return ""


def others(points: Points) -> Iterator[Path]:
    """Blocks of the same shape with another derivative."""
    first = points[0]
    for other, value in first.numeric.items():
        if value.shape == first.true.shape and not first.equal(value, first.true):
            yield other


def is_ratio(points: Points, c: float) -> bool:
    """Whether the answer is c times the derivative."""
    return all(p.equal(p.said, c * p.true) for p in points)


def ratio(points: Points) -> str:
    """A sign, a factor, a mean for a sum."""
    c = float(np.vdot(points[0].true, points[0].said) / np.vdot(points[0].true, points[0].true))
    if not is_ratio(points, c) or number(c) == "1":
        return ""
    if abs(c + 1) < 1e-9:
        return "minus the derivative: a flipped sign"
    for length, where in lengths(points[0]).items():
        for sign in (1, -1):
            if abs(sign * c * length - 1) < 1e-6:
                return f"{number(c)} of the derivative: {length} is {where} (a mean for a sum?)"
            if abs(sign * c / length - 1) < 1e-6:
                return f"{number(c)} times the derivative: {length} is {where} (a sum for a mean?)"
    return f"{number(c)} times the derivative"


def lengths(p: Evidence) -> dict[int, str]:
    """Each length that an axis, or a whole array, has: whose it is; not 2 and 4, which stand for too much else."""
    found: dict[int, str] = {}
    for name, value in (*p.dy.items(), *p.args.items()):
        for axis, length in enumerate(value.shape):
            found.setdefault(length, f"the length of {name}'s axis {axis}")
    for name, value in (*p.dy.items(), *p.args.items()):
        found.setdefault(value.size, f"the size of {name}")
    return {length: where for length, where in found.items() if length not in (0, 1, 2, 4)}


def another(points: Points) -> str:
    """The cotangent of another block, which has its own."""
    for other in others(points):
        for sign, word in ((1, ""), (-1, "minus ")):
            if all(p.equal(p.said, sign * p.numeric[other]) for p in points):
                return f"it is {word}the cotangent of {'.'.join(other)}"
    return ""


def reordered(points: Points) -> str:
    """The right numbers in wrong places."""
    shape = points[0].true.shape
    if len(shape) == 2 and shape[0] == shape[1] and all(p.equal(p.said, p.true.T) for p in points):
        return "transposed"
    if len(shape) >= 2 and all(p.equal(p.said, p.true.T.reshape(shape)) for p in points):
        return "the right numbers, read by columns for rows"
    for axis in range(len(shape)):
        if all(p.equal(p.said, np.flip(p.true, axis)) for p in points):
            return f"the right numbers, axis {axis} in reverse"
        for way in (1, -1):
            if all(p.equal(p.said, np.roll(p.true, way, axis)) for p in points):
                return f"the right numbers, shifted by one along axis {axis}"
    if all(p.true.size > 2 and p.equal(np.sort(p.said, axis=None), np.sort(p.true, axis=None)) for p in points):
        return "the right numbers in another order"
    return ""


def by_terms(points: Points) -> str:
    """f_vjp's answer as a sum of the author's terms, each of which should be there once."""
    found = [coefficients(p) for p in points]
    first = found[0]
    if first is None or any(c is None or not np.allclose(c, first, atol=1e-4) for c in found):
        return ""
    pairs = zip(points[0].terms, first, strict=True)
    return ", ".join(f"{name}: {number(c, 3)}" for name, c in pairs if abs(c - 1) > 1e-3)


def coefficients(p: Evidence) -> Array | None:
    """c with Σ c_k term_k = f_vjp's answer, where the terms' plain sum is the derivative."""
    columns = [np.ravel(term[p.path]) for term in p.terms.values() if p.path in term]
    if not columns or len(columns) != len(p.terms):
        return None
    A = np.stack(columns, axis=1)
    if not p.equal(A.sum(axis=1), np.ravel(p.true)):
        return None
    used = np.flatnonzero(np.any(A, axis=0))  # a term that does not reach this block has nothing to say
    c, _, rank, _ = np.linalg.lstsq(A[:, used], np.ravel(p.said), rcond=1e-9)
    whole = np.ones(len(columns))
    whole[used] = np.round(c, 6)
    return whole if rank == len(used) and p.equal(A[:, used] @ c, np.ravel(p.said)) else None


def summed(points: Points) -> str:
    """Too much was added up, and the sum stands everywhere."""
    for axis in range(points[0].true.ndim):
        for word, over in (("summed", np.sum), ("averaged", np.mean)):
            if all(p.equal(p.said, over(p.true, axis=axis, keepdims=True) + 0 * p.true) for p in points):
                return f"{word} over axis {axis} as well"
    whole = all(p.equal(p.said, np.sum(p.true) + 0 * p.true) for p in points)
    return "summed over all axes" if whole else ""


def partly(points: Points) -> str:
    """Right but for some: rows, a triangle, one sign of an argument, a few elements; the same at all points."""
    wrong = [np.abs(p.said - p.true) > 10 * p.noise for p in points]
    if any(not w.any() or not np.any(~w & (np.abs(p.true) > p.noise)) for w, p in zip(wrong, points, strict=True)):
        return ""  # nothing is right but zeros
    how = what_is_there(points, wrong)
    for place in places(points[0]):
        if all(np.array_equal(w, places(p)[place]) for w, p in zip(wrong, points, strict=True)):
            return f"right but {place}{how}"
    if any(not np.array_equal(w, wrong[0]) for w in wrong):
        return ""
    for axis in range(wrong[0].ndim):
        rows = along(wrong[0], axis)
        if rows is not None and 2 * len(rows) <= max(2, wrong[0].shape[axis]):
            return f"right but for index {listed(rows)} of axis {axis}{how}" if len(rows) <= LISTED else ""
    if np.sum(wrong[0]) <= LISTED:
        return f"right but for {', '.join(str(tuple(map(int, i))) for i in np.argwhere(wrong[0]))}{how}"
    return ""


def what_is_there(points: Points, wrong: Sequence[Array]) -> str:
    """Of the elements that are wrong: zero, a ratio, or what should be zero."""
    pairs = [(p.said[w], p.true[w], p) for p, w in zip(points, wrong, strict=True)]
    if not any(np.any(said) for said, _, _ in pairs):
        return ", zero there"
    if all(np.all(np.abs(true) <= p.noise) for _, true, p in pairs):
        return ", where it should be zero"
    said, true, _ = pairs[0]
    c = float(np.vdot(true, said) / np.vdot(true, true))
    return f", {number(c)} times the derivative there" if all(p.equal(a, c * b) for a, b, p in pairs) else ""


def along(wrong: Array, axis: int) -> Array | None:
    """The slices of one axis that hold all that is wrong and nothing else."""
    rest = tuple(i for i in range(wrong.ndim) if i != axis)
    rows: Array = np.flatnonzero(wrong.all(axis=rest))
    return rows if np.sum(wrong) == len(rows) * wrong.size // wrong.shape[axis] else None


def listed(rows: Array) -> str:
    """1, 2 and 5."""
    *before, last = map(str, rows)
    return f"{', '.join(before)} and {last}" if before else last


def places(p: Evidence) -> dict[str, Array]:
    """Sets of elements that have a name."""
    shape, found = p.true.shape, {}
    if len(shape) >= 2:
        one = np.ones(shape, bool)
        found = {
            "on the diagonal": np.tril(one) & np.triu(one),
            "off the diagonal": ~(np.tril(one) & np.triu(one)),
            "above the diagonal": np.triu(one, 1),
            "below the diagonal": np.tril(one, -1),
        }
    for name, value in (*p.args.items(), *p.y.items()):
        if value.shape == shape:
            found |= {f"where {name} < 0": value < 0, f"where {name} > 0": value > 0, f"where {name} = 0": value == 0}
    return found


def by_sign(points: Points) -> str:
    """Two branches, each with a factor of its own or with zeros: one condition turned, two branches exchanged."""
    for place in places(points[0]):
        masks = [places(p)[place] for p in points]
        if all(m.any() and not m.all() for m in masks):
            parts = [
                what_is_there(points, [np.equal(m, side) for m in masks]).removeprefix(", ").removesuffix(" there")
                for side in (True, False)
            ]
            if all(parts):
                return f"{place}: {parts[0]}; elsewhere: {parts[1]}"
    return ""


def as_products(points: Points) -> str:
    """Too many factors, too few, one in place of another; or the difference is one product of dy and known arrays.

    The finding with the fewest factors is said.
    """
    books = [atoms(p.args, p.y, p.true.shape) for p in points]
    tries = [("", written([(p.said, p.true, book, p.accuracy) for p, book in zip(points, books, strict=True)]))]
    lost = [p.true - p.said for p in points]
    if all(most(d) > 1000 * p.noise for d, p in zip(lost, points, strict=True)):
        for name, dys in weights(points, points[0].true.shape):
            rough = [p.accuracy * most(p.true) / most(d) for d, p in zip(lost, points, strict=True)]
            tries.append((name, written(list(zip(lost, dys, books, rough, strict=True)))))
    for count in range(4):
        for name, book in tries:
            if book and (found := equation(book, count)):
                return lost_term(name, *found) if name else wrong_factor(*found)
    for name, book in tries[1:]:
        if book and (terms := two_terms(book)):
            return "missing terms " + " and ".join(worded(c, (name, *factor)) for c, factor in terms)
    return ""


def weights(points: Points, shape: tuple[int, ...]) -> Iterator[tuple[str, list[Array]]]:
    """Each part of dy in this shape."""
    for name in points[0].dy:
        for view in FULL:
            dys = [full for p in points if (full := view(p.dy[name], shape)) is not None]
            if len(dys) == len(points):
                yield name, dys


def one_sum(points: Points) -> str:
    """The difference is a sum of products over the rows of something larger than the block; the smallest will do."""
    first = points[0]
    lost = [p.true - p.said for p in points]
    if len(first.dy) > 1 or any(most(d) < 1000 * p.noise for d, p in zip(lost, points, strict=True)):
        return ""
    arrays = (*first.dy.values(), *first.args.values(), *first.y.values())
    shapes = {v.shape for v in arrays if trailing(first.true, v.shape) is not None and first.true.size < v.size <= MANY}
    for shape in sorted(shapes, key=math.prod):
        for _, dys in weights(points, shape):
            rough = [p.accuracy * most(p.true) / most(d) for d, p in zip(lost, points, strict=True)]
            books = [atoms(p.args, p.y, shape) for p in points]
            if found := sum_of(list(zip(lost, dys, books, rough, strict=True)), first.true.shape):
                return lost_term("Σ dy", *found)
    return ""


def wrong_factor(c: float, top: tuple[str, ...], bottom: tuple[str, ...]) -> str:
    """said · bottom = c · true · top."""
    if not bottom:
        return f"a factor {worded(c, top)} too many"
    return (
        f"has {worded(c, top)} in place of {worded(1, bottom)}" if top else f"lacks the factor {worded(1 / c, bottom)}"
    )


def lost_term(name: str, c: float, top: tuple[str, ...], bottom: tuple[str, ...]) -> str:
    """(true − said) · bottom = c · dy · top."""
    return f"missing term {worded(c, (name, *top), bottom)}" + " (a flipped sign?)" * (abs(c) == 2)


def numbers_known(rung: Callable[[Points], str]) -> Callable[[Points], str]:
    """A rung for which the derivative must be there."""
    return lambda points: rung(points) if all(p.known for p in points) else ""


NUMERIC = (swapped, ratio, another, reordered, summed, by_terms, partly, by_sign, as_products, one_sum)
LADDER = (not_finite, zero, in_dy, *map(numbers_known, NUMERIC))


# --- for a report ----


def explain(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: dict[str, Any],
    report: Report,
    *,
    seed: int = 0,
    terms: Terms | None = None,
    limit: int = 4096,
) -> Report:
    """The report with `perhaps` filled in where a row is wrong; never raises: what fails says nothing.

    args are {name: value}, floats in float64; terms are {name: fn}, fn(dy, *args) with the structure of f_vjp's answer;
    where they make the diagnosis fail, a note says so, and it is made without them.
    """
    with np.errstate(all="ignore"):
        try:
            return explained(f, f_vjp, args, report, seed, terms or {}, limit)
        except Exception as error:
            if not terms:
                return report
            report = dataclasses.replace(report, notes=(*report.notes, f"terms were left out: {one_line(error)}"))
    return explain(f, f_vjp, args, report, seed=seed, limit=limit)


def explained(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: dict[str, Any],
    report: Report,
    seed: int,
    terms: Terms,
    limit: int,
) -> Report:
    """The same, with errors."""
    wrong = {row.block for row in report.rows if row.verdict == WRONG}
    paths = [path for path, _ in leaves(args) if ".".join(path) in wrong]
    if not paths:
        return report
    points = gather(f, f_vjp, args, paths, seed, terms, limit)
    lines = {".".join(path): perhaps([p[path] for p in points]) for path in paths}
    rows = tuple(row._replace(perhaps=lines.get(row.block, ())) for row in report.rows)
    return dataclasses.replace(report, rows=rows)
