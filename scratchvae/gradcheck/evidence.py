"""§7.2.4 What is known of a wrong block: f_vjp's answer and the derivative of f, at two points and for two dy."""

import contextlib
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..tree import Path, flat, is_float, kind, leaves, like, transform
from ..types import Array
from . import numeric
from .contract import block_of, claims, cotangent

Terms = Mapping[str, Callable[..., Any]]

COMPLEX, CENTRAL = 1e-8, 1e-5  # accuracy of a derivative, relative to the largest of its block
MINUS = -3.0  # times dy; not positive, for dy > 0 is no linear function of dy
STEP = 1e-3  # of central differences, in sizes of the element or of its block
OTHER = 10**7  # seeds of the second point start here
MOVES = ((True, 0.1), (False, 0.1), (False, 1e-3))  # (rows in another order?, size of the move): the first that f takes


class Evidence(NamedTuple):
    """What is known of one block at one point, and of the others beside it."""

    path: Path
    analytic: Mapping[Path, Array]  # f_vjp's cotangents of all blocks
    minus: Mapping[Path, Array]  # f_vjp(−3 dy, *args)
    numeric: Mapping[Path, Array]  # the derivatives of f; none of a block above the limit
    errors: Mapping[Path, float]  # of numeric, relative to the largest of the block
    args: Mapping[str, Array]  # by name: theta.W
    dy: Mapping[str, Array]
    y: Mapping[str, Array]  # f's outputs
    terms: Mapping[str, Mapping[Path, Array]] = {}  # what the author's terms say of all blocks

    @property
    def accuracy(self) -> float:
        """Relative to the block's largest."""
        return self.errors.get(self.path, CENTRAL)

    @property
    def said(self) -> Array:
        """f_vjp's answer."""
        return self.analytic[self.path]

    @property
    def true(self) -> Array:
        """What it should be."""
        return self.numeric[self.path]

    @property
    def known(self) -> bool:
        """Whether the derivative is there, and not zero."""
        return self.path in self.numeric and bool(np.any(np.abs(self.true) > self.noise))

    @property
    def noise(self) -> float:
        """An error of this size in one element means nothing."""
        largest = max((float(np.max(np.abs(d), initial=0)) for d in self.numeric.values()), default=0.0)
        return self.accuracy * max(float(np.max(np.abs(self.true), initial=0)), 1e-6 * largest)

    def equal(self, a: Array, b: Array) -> bool:
        """The same numbers but for the accuracy of the derivative."""
        return a.shape == b.shape and bool(np.all(np.abs(a - b) <= self.accuracy * np.max(np.abs(b), initial=0)))


def gather(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: dict[str, Any],
    paths: Sequence[Path],
    seed: int = 0,
    terms: Terms | None = None,
    limit: int = 4096,
) -> list[dict[Path, Evidence]]:
    """Evidence of the blocks at `paths`, here and at a second point; the latter is left out where f takes none."""
    found = [at_point(f, f_vjp, args, paths, seed, terms or {}, limit)]
    for turned, size in MOVES:
        with contextlib.suppress(Exception):  # outside f's domain
            there = moved(args, found[0][paths[0]].analytic, turned, size, seed + OTHER)
            found.append(at_point(f, f_vjp, there, paths, seed + OTHER, terms or {}, limit))
            break
    return found


def moved(args: dict[str, Any], free: Container[Path], turned: bool, size: float, seed: int) -> dict[str, Any]:
    """Another point near by: rows rolled by one if `turned`, floats scaled by 1 ± `size`.

    Constants (what is not `free`) that are whole numbers stay whole: bits, a mask, labels.
    """
    seeds = iter(range(seed, seed + OTHER))

    def one(path: Path, leaf: Any) -> Any:
        if not kind(leaf) or kind(leaf) == "object":
            return leaf
        x = np.asarray(leaf)
        x = np.roll(x, 1, axis=0) if turned and x.ndim else x
        if is_float(leaf) and (path in free or not np.array_equal(x, np.round(x))):
            x = np.where(x == 0, size * (not x.any()), x) * (1 + size * numeric.spread(next(seeds), x.shape))
        return like(leaf, x)

    found: dict[str, Any] = transform(one, args)
    return found


def at_point(
    f: Callable[..., Any],
    f_vjp: Callable[..., Any],
    args: dict[str, Any],
    paths: Sequence[Path],
    seed: int,
    terms: Terms,
    limit: int,
) -> dict[Path, Evidence]:
    """Both derivatives at one point, for the blocks asked for and for those of the same shapes."""
    dy = cotangent(f, args, seed)
    analytic = claims(f_vjp(dy, *args.values()), args, ()).grads
    times = transform(lambda _, leaf: None if leaf is None else like(leaf, MINUS * np.asarray(leaf)), dy)
    minus = claims(f_vjp(times, *args.values()), args, ()).grads
    shapes = {analytic[path].shape for path in paths}
    both = {
        path: derivative(f, args, path, flat(dy))
        for path, d in analytic.items()
        if d.shape in shapes and 0 < d.size <= limit
    }
    said = {name: claims(term(dy, *args.values()), args, ()).grads for name, term in terms.items()}
    first = Evidence(
        paths[0],
        analytic,
        minus,
        {path: d for path, (d, _) in both.items()},
        {path: accuracy for path, (_, accuracy) in both.items()},
        named(args),
        named(dy, "dy"),
        named(f(*args.values()), "y"),
        said,
    )
    return {path: first._replace(path=path) for path in paths}


def named(tree: Any, root: str = "") -> dict[str, Array]:
    """Its floats by name: dy, dy.0, q.mu."""
    path = (root,) if root else ()
    return {".".join(at): np.asarray(leaf, dtype=float) for at, leaf in leaves(tree, path) if is_float(leaf)}


def derivative(f: Callable[..., Any], args: dict[str, Any], path: Path, c: Array) -> tuple[Array, float]:
    """⟨c, ∂f/∂x⟩ for every element of one block, and its accuracy: by complex steps where f takes them."""
    x = np.asarray(dict(leaves(args))[path], dtype=float)
    block, h, size = block_of(f, args, path), STEP * numeric.sizes(x), STEP * numeric.size(x)
    if numeric.analytic(block, x, numeric.spread(OTHER, x.shape), size):
        return numeric.vjp(lambda u, step: numeric.central(block, x, u, step), x, c, h), CENTRAL
    return numeric.vjp(lambda u, _: numeric.complex_step(block, x, u), x, c, h), COMPLEX
