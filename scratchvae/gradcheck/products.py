"""§7.2.4 Known arrays and their products: which of them turns one array into another.

`equation` looks for A · bottom = c · B · top, up to three factors of known arrays on both sides together, c a simple
number. A product is a sum of logarithms, so a random projection of them finds the triples by bisection.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, islice, permutations
from typing import NamedTuple

import numpy as np

from ..types import Array
from .numeric import spread

POWERS = (1, -1, 2, -2)
SUPERSCRIPT = {1: "", 2: "²"}
TRIED = 2000  # sets of factors that are looked at in full
FEW = 4  # with fewer elements at all points together one factor has to do
ZERO = 0.03  # elements below this share of the largest say nothing about a ratio

# of an array x; the first that fits is said
FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "{}": lambda x: x,
    "exp({})": np.exp,
    "exp({}/2)": lambda x: np.exp(x / 2),
    "(1 - {}²)": lambda x: 1 - x * x,
    "(1 - {})": lambda x: 1 - x,
    "(1 + {})": lambda x: 1 + x,
    "(1 + {}²)": lambda x: 1 + x * x,
    "sigmoid({})": lambda x: 1 / (1 + np.exp(-x)),
    "(1 - sigmoid({}))": lambda x: 1 / (1 + np.exp(x)),
    "tanh({})": np.tanh,
    "(1 - tanh²({}))": lambda x: 1 - np.tanh(x) ** 2,
    "expm1({})": np.expm1,
    "log({})": np.log,
    "log1p(exp({}))": lambda x: np.log1p(np.exp(x)),
    "softmax({})": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True) if x.ndim else x,
    "cos({})": np.cos,
    "sin({})": np.sin,
}


Case = tuple[Array, Array, Mapping[str, Array], float]  # A, B, known arrays by name, accuracy


def trailing(x: Array, shape: tuple[int, ...]) -> Array | None:
    """x as NumPy broadcasts it to the shape; None where it does not."""
    fits = x.ndim <= len(shape) and all(n in (1, m) for n, m in zip(x.shape[::-1], shape[::-1], strict=False))
    return np.broadcast_to(x, shape) if fits else None


def leading(x: Array, shape: tuple[int, ...]) -> Array | None:
    """x with one number for each row, (B,) for (B, K)."""
    if not 0 < x.ndim < len(shape):
        return None
    return trailing(x.reshape(x.shape + (1,) * (len(shape) - x.ndim)), shape)


FULL = (trailing, leading)


def atoms(args: Mapping[str, Array], y: Mapping[str, Array], shape: tuple[int, ...]) -> dict[str, Array]:
    """Every array that a factor may be, broadcast to the shape: functions of arguments and outputs, sums of two."""
    plain: dict[str, Array] = {}
    made = matrix_products(args)
    for name, value in {**args, **y, **made}.items():
        for view in FULL:
            if name not in plain and (full := view(value, shape)) is not None:
                plain[name] = full
    found: dict[str, Array] = {}
    for form, function in FUNCTIONS.items():
        found |= {
            form.format(name): function(value) for name, value in plain.items() if form == "{}" or name not in made
        }
    for one, two in combinations((name for name in plain if name in args), 2):
        found |= {f"({one} - {two})": plain[one] - plain[two], f"({one} + {two})": plain[one] + plain[two]}
    return found


def matrix_products(args: Mapping[str, Array]) -> dict[str, Array]:
    """x @ W and x @ Wᵀ, wherever they fit."""
    found = {}
    for (one, x), (two, W) in permutations(args.items(), 2):
        if x.ndim and W.ndim == 2 and x.shape[-1] == W.shape[0]:
            found[f"({one} @ {two})"] = x @ W
        if x.ndim and W.ndim == 2 and x.shape[-1] == W.shape[1] != W.shape[0]:
            found[f"({one} @ {two}ᵀ)"] = x @ W.T
    return found


class Book(NamedTuple):
    """Factors x^p by name and power, and the projections of log |x^p| over the elements that count."""

    cases: Sequence[Case]
    names: list[tuple[str, int]]
    projections: Array
    target: float
    slack: float


def written(cases: Sequence[Case]) -> Book | None:
    """The logarithms of all factors, projected along one direction in which constants do not count."""
    counts = [(np.abs(A) > ZERO * np.max(np.abs(A))) & (np.abs(B) > ZERO * np.max(np.abs(B))) for A, B, _, _ in cases]
    size = int(sum(map(np.sum, counts)))
    if size < FEW:
        return None
    r = spread(77, (size,))
    r -= r.mean()
    names, rows = [], []
    for name in cases[0][2]:
        values = np.concatenate([np.abs(known[name])[at] for (_, _, known, _), at in zip(cases, counts, strict=True)])
        logs = np.log(values)
        if np.all(np.isfinite(logs)) and np.ptp(logs) > 1e-6:
            names += [(name, p) for p in POWERS]
            rows += [p * (logs @ r) for p in POWERS]
    wanted = np.concatenate([np.log(np.abs(A[at] / B[at])) for (A, B, _, _), at in zip(cases, counts, strict=True)])
    slack = np.linalg.norm(r) * max(accuracy for *_, accuracy in cases) / ZERO + 1e-10
    return Book(cases, names, np.array(rows), float(wanted @ r), float(slack))


def equation(book: Book, count: int) -> tuple[float, tuple[str, ...], tuple[str, ...]] | None:
    """(c, top, bottom) with A · bottom = c · B · top in all cases, of so many factors; None where there is none.

    A mask, of zeros and ones, may be one more factor: it has no logarithm.
    """
    masks = [
        name for name in book.cases[0][2] if all(np.all((k[name] == 0) | (k[name] == 1)) for *_, k, _ in book.cases)
    ]
    for chosen in islice((none, single, pairs, triples)[count](book), TRIED):
        factors = [book.names[i] for i in chosen]
        if len({name for name, _ in factors}) < count:
            continue
        for more in ([], *([(mask, 1)] for mask in masks)):
            if (c := constant(book.cases, factors + more)) is not None:
                top, bottom = ([(n, abs(p)) for n, p in factors + more if p * sign > 0] for sign in (1, -1))
                return c, tuple(power(*x) for x in top), tuple(power(*x) for x in bottom)
    return None


Chosen = Iterator[tuple[int, ...]]  # places of factors whose projections add up to the target's


def none(book: Book) -> Chosen:
    """A constant ratio."""
    if abs(book.target) <= book.slack:
        yield ()


def single(book: Book) -> Chosen:
    """One factor."""
    for i in np.flatnonzero(np.abs(book.projections - book.target) <= book.slack):
        yield (int(i),)


def pairs(book: Book) -> Chosen:
    """Two."""
    one, two = np.triu_indices(len(book.names), 1)
    for i in np.flatnonzero(np.abs(book.projections[one] + book.projections[two] - book.target) <= book.slack):
        yield int(one[i]), int(two[i])


def triples(book: Book) -> Chosen:
    """Three: for each factor the pairs that make up the rest, by bisection."""
    one, two = np.triu_indices(len(book.names), 1)
    both = book.projections[one] + book.projections[two]
    order = np.argsort(both)
    rest = book.target - book.projections
    first = np.searchsorted(both, rest - book.slack, sorter=order)
    last = np.searchsorted(both, rest + book.slack, sorter=order)
    found = [(k, int(one[j]), int(two[j])) for k in range(len(rest)) for j in order[first[k] : last[k]] if k < one[j]]
    yield from sorted(found, key=sum)


def two_terms(book: Book) -> list[tuple[float, tuple[str, ...]]]:
    """[(c, factor), (d, factor)] with A = B (c · factor + d · factor), simple c and d; [] where there are none."""
    names = ["", *book.cases[0][2]]
    A = np.concatenate([np.ravel(A) for A, *_ in book.cases])
    X = np.stack(
        [np.concatenate([np.ravel(B * k[name] if name else B) for _, B, k, _ in book.cases]) for name in names]
    )
    accuracy = max(accuracy for *_, accuracy in book.cases)
    X = np.where(np.all(np.isfinite(X), axis=1, keepdims=True), X, 0.0)
    G, b = X @ X.T, X @ A
    i, j = np.triu_indices(len(names), 1)
    det = G[i, i] * G[j, j] - G[i, j] ** 2
    c, d = (b[i] * G[j, j] - b[j] * G[i, j]) / det, (b[j] * G[i, i] - b[i] * G[i, j]) / det
    left = A @ A - c * b[i] - d * b[j]
    for k in np.flatnonzero((np.abs(left) <= 1e-6 * (A @ A)) & (det > 1e-6 * G[i, i] * G[j, j])):
        one, two = simple(float(c[k]), 1e-3), simple(float(d[k]), 1e-3)
        if one and two and np.max(np.abs(A - one * X[i[k]] - two * X[j[k]])) <= 10 * accuracy * np.max(np.abs(A)):
            return [(v, tuple(filter(None, [names[at]]))) for v, at in ((one, i[k]), (two, j[k]))]
    return []


def sum_of(cases: Sequence[Case], shape: tuple[int, ...]) -> tuple[float, tuple[str, ...], tuple[str, ...]] | None:
    """(c, top, bottom) with A = c Σ B · top / bottom, two factors in all, the sum over what A (shape) does not have."""
    names = [(name, p) for name in cases[0][2] for p in POWERS[:3]]
    columns, A = [], np.concatenate([np.ravel(A) for A, *_ in cases])
    for _, B, known, _ in cases:
        X = np.stack([known[name] ** float(p) for name, p in names] + [np.ones(B.shape)])
        one, two = np.triu_indices(len(X))
        columns.append(reduced(B * X[one] * X[two], shape).reshape(len(one), -1))
    both = np.concatenate(columns, axis=1)
    c = (both @ A) / np.sum(both * both, axis=1)
    error = np.max(np.abs(A - c[:, None] * both), axis=1)
    for k in np.flatnonzero(error <= 10 * max(accuracy for *_, accuracy in cases) * np.max(np.abs(A)))[::-1]:
        near, factors = simple(float(c[k]), 1e-6), [names[i] for i in (one[k], two[k]) if i < len(names)]
        if near and len({name for name, _ in factors}) == len(factors):
            top, bottom = ([(n, abs(p)) for n, p in factors if p * sign > 0] for sign in (1, -1))
            return near, tuple(power(*x) for x in top), tuple(power(*x) for x in bottom)
    return None


def reduced(X: Array, shape: tuple[int, ...]) -> Array:
    """Each of X (n, …) summed to the shape that was broadcast."""
    more = X.ndim - 1 - len(shape)
    X = X.sum(axis=tuple(range(1, 1 + more)))
    return X.sum(axis=tuple(i + 1 for i, n in enumerate(shape) if n == 1 < X.shape[i + 1]), keepdims=True)


def constant(cases: Sequence[Case], chosen: Sequence[tuple[str, int]]) -> float | None:
    """The simple number c with A · bottom = c · B · top everywhere, None if there is none."""
    c = None
    for A, B, known, accuracy in cases:
        left, right = A, B
        for name, p in chosen:
            left, right = (left, right * known[name] ** p) if p > 0 else (left * known[name] ** -p, right)
        if c is None:
            c = simple(float(np.vdot(right, left) / np.vdot(right, right)), 100 * accuracy)
        if c is None or not np.all(np.abs(left - c * right) <= 10 * accuracy * np.max(np.abs(left))):
            return None
    return c


def simple(c: float, slack: float) -> float | None:
    """The fraction of small numbers, or the decimal of two digits, that c is."""
    if not np.isfinite(c) or not 1e-6 < abs(c) < 1e6:
        return None
    fraction = Fraction(c).limit_denominator(8)
    for near in (float(fraction) if abs(fraction.numerator) <= 16 else 0.0, float(f"{c:.1e}")):
        if near and abs(near / c - 1) <= slack:
            return near
    return None


def power(name: str, p: int) -> str:
    """x, x²."""
    return name + SUPERSCRIPT[p]


def number(c: float, digits: int = 6) -> str:
    """½, −2, 1/3, 1.0001."""
    near = Fraction(c).limit_denominator(1000)
    short = abs(near) in (0.5, 0.25) or abs(float(f"{c:.1e}") - c) > 1e-9
    if short and abs(near.numerator) in (1, 3) and near.denominator > 1 and abs(float(near) - c) < 1e-9:
        text = {"1/2": "½", "1/4": "¼"}.get(str(abs(near)), str(abs(near)))
    else:
        text = f"{abs(c):.{digits}g}"
    return f"−{text}" if c < 0 else text


def worded(c: float, top: Sequence[str], bottom: Sequence[str] = ()) -> str:
    """−½ · dy · x / exp(log_var)."""
    if top and abs(c) == 1:
        return ("−" if c < 0 else "") + " / ".join([" · ".join(top), *bottom])
    return " / ".join([" · ".join([number(c), *top]), *bottom])
