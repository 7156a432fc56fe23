"""§7.2.4 Arguments that live on a set, a simplex, symmetric matrices or a sphere: moved along it, never off it.

Only slopes along the set mean something there: an element of p cannot grow while the others stay. So x in the set
becomes a curve, x(t) = move(x, Σ tₖ vₖ) with fixed arrays vₖ, and what is checked is the pair of t → f(x(t)) at t = 0:
∂/∂tₖ = ⟨f_vjp's cotangent of x, ∂x/∂tₖ⟩, its normal part left open. A curve serves sets that are not flat as well: a
straight line along a tangent leaves a sphere at once, and f may refuse what is not on it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from ..tree import Path, is_float, leaves, like, replaced
from ..types import Array
from . import numeric
from .contract import argument_names, as_cotangent, by_argument, cotangent, pairs, pull_back

Move = Callable[[Any, Any], Any]
DIRECTIONS = 8  # how many vₖ; an error that is along none of them is along no direction that anybody would draw
SEED = 7 * 10**6  # theirs start here


def moved(
    f: Callable[..., Any], f_vjp: Callable[..., Any], move: Mapping[str, Move], args: Sequence[Any], seed: int = 0
) -> tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]:
    """The pair (f̃, f̃_vjp) and its arguments, with t = zeros of 8 in place of each argument that `move` names.

    move  {"p": fn} or {"theta.p": fn}: fn(x, v) -> a point of the set, smooth in v, and x itself where v = 0; v is a
          small array of x's shape, of no special form, about as large as x times a step. For example,

              simplex      lambda p, v: p * np.exp(v) / np.sum(p * np.exp(v))
              symmetric    lambda S, v: S + (v + v.T) / 2
              unit norm    lambda x, v: (x + v) / np.sqrt(np.sum((x + v) ** 2))

          A fn that takes complex arrays, as these do, leaves f the complex step.
    args  in float64, and copies: an f that is not pure writes into them

    Raises UsageError for a name that is nowhere or an fn that leaves x at v = 0, CheckFailed where f is not pure.
    """
    blocks = dict(zip(argument_names(f, len(args)), args, strict=True))
    cotangent(f, blocks, seed)  # is it pure? f̃ gives it new arguments on every call
    curves = dict(curve(blocks, name, fn, seed + SEED + i) for i, (name, fn) in enumerate(move.items()))

    def at(ts: Sequence[Any]) -> dict[str, Any]:
        inside = dict(zip(blocks, ts, strict=True))
        here = dict(leaves(inside))
        for path, x in curves.items():
            inside = replaced(inside, path, like(dict(leaves(blocks))[path], x(here[path])))
        return inside

    @functools.wraps(f)
    def f_moved(*ts: Any) -> Any:
        return f(*at(ts).values())

    def f_moved_vjp(dy: Any, *ts: Any) -> tuple[Any, ...]:
        inside, here = at(ts), dict(leaves(dict(zip(blocks, ts, strict=True))))
        grads = by_argument(pull_back(f_vjp, dy, inside), inside)
        for path, leaf, value in list(pairs(inside, grads)):
            if path in curves and value is not None:
                grad = as_cotangent(".".join(path), leaf, value)
                grads = replaced(grads, path, chained(curves[path], here[path], grad))
        return tuple(grads.values())

    start: dict[str, Any] = blocks
    for path in curves:
        start = replaced(start, path, np.zeros(DIRECTIONS))
    return f_moved, f_moved_vjp, tuple(start.values())


def curve(blocks: dict[str, Any], name: str, fn: Move, seed: int) -> tuple[Path, Callable[[Array], Array]]:
    """(path, t -> fn(x, Σ tₖ vₖ)) of the leaf with that name."""
    found = {".".join(path): (path, leaf) for path, leaf in leaves(blocks)}
    if name not in found or not is_float(found[name][1]):
        floats = ", ".join(key for key, (_, leaf) in found.items() if is_float(leaf))
        raise UsageError(f"move names {name!r}: give one of the arrays of floats, {floats}")
    path, x = found[name][0], np.array(found[name][1], dtype=np.float64)
    v = numeric.size(x) * numeric.spread(seed, (DIRECTIONS, *x.shape))

    def point(t: Array) -> Array:
        return np.asarray(fn(x.copy(), np.tensordot(t, v, 1)))

    start = point(np.zeros(DIRECTIONS))
    if start.shape != x.shape or not np.allclose(start, x, rtol=1e-6, atol=1e-6 * numeric.size(x)):
        raise UsageError(
            f"move[{name!r}](x, 0) is not x: it takes x and a small v, and gives the point that v leads to"
        )
    if not np.any(slopes(point, np.zeros(DIRECTIONS))):
        raise UsageError(f"move[{name!r}](x, v) has no slope in v at 0: it must go on from x, smoothly, where v points")
    return path, point


def chained(x: Callable[[Array], Array], t: Array, grad: Array) -> Array:
    """⟨grad, ∂x/∂tₖ⟩ for each k."""
    return np.asarray(slopes(x, t) @ np.ravel(grad))


def slopes(x: Callable[[Array], Array], t: Array) -> Array:
    """∂x/∂tₖ, flat, one a row, by the complex step where x(t) is analytic."""

    def of(t: Array) -> Array:
        return np.ravel(x(t))

    units, h = np.eye(t.size), 1e-3
    if numeric.analytic(of, t, numeric.spread(SEED, t.shape), h):
        return np.array([numeric.central(of, t, u, h) for u in units])
    return np.array([numeric.complex_step(of, t, u) for u in units])
