"""§7.2.4 The verdict on one number: ok, wrong or cannot tell, by how sure the numerical derivative is.

Two numbers d apart, the scale s of their block, the tolerance t and the error e of the numerical one:

    ok            d <= t s + e,  and  e <= SURE s    so that a factor of 1 + 1e-4 would have been seen
    wrong         d >  t s + 3 e
    cannot tell   anything else

e is what the disagreement of steps and sides shows; for the complex step and for f_vjp itself it is their noise, while
all arguments move a little: near an optimum terms cancel, and what is left is rounding. Where a whole block is
rounding, as at an optimum, the same is asked at a point near by.

At a kink of F = Σ c_j f_j each output j has a slope l_j from the left and r_j from the right. A cotangent that takes
all from one side, or the smaller of each pair, or the larger (relu′(0) is 0 or 1 for weights of either sign), is ok;
one between Σ min(c_j l_j, c_j r_j) and Σ max is some convention's, and nobody can tell; outside it is wrong.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..tree import Path, flat, leaves, like, replaced, transform
from ..types import Array
from . import numeric
from .contract import block_of, claims, pull_back
from .report import OK, UNKNOWN, WRONG

SURE = 1e-5  # the largest error, relative to the block, with which one can tell
VANISHES = "it vanishes here but for rounding"
SINGLE = (1e-4, 1e-3)  # tolerance, and how sure one has to be, where f rounds to float32
ROUNDED = 1e-10  # noise of an output, as a part of it, that betrays float32
FEW = 8  # elements of a block that the complex step has settled at which differences are looked at closely

Place = tuple[int, ...]  # of an element; () for a direction
Line = tuple[Array, float, float]  # a direction, the size of what it moves, f_vjp's own rounding along it


class Said(NamedTuple):
    """A verdict on one number, and the reason where it is not plain from the numbers."""

    verdict: str
    why: str = ""
    rounding: float = 0.0  # the error that keeps one from telling


Judged = tuple[float, Said]


class Finding(NamedTuple):
    """What one method says of one block: two arrays of one shape, () for a direction, and what was said of those
    elements that were looked at; the others are ok."""

    block: str
    size: int
    method: str
    analytic: Array
    numeric: Array
    tolerance: float
    said: dict[Place, Said]


class Point:
    """A pair at a point: f, f_vjp, arguments as named blocks, dy, and the cotangents that f_vjp gave there."""

    def __init__(self, f: Any, f_vjp: Any, args: dict[str, Any], dy: Any, grads: dict[Path, Array]) -> None:
        self.f, self.f_vjp, self.args, self.dy, self.grads = f, f_vjp, args, dy, grads
        self.c, self.values = flat(dy), dict(leaves(args))

    def block(self, path: Path, args: dict[str, Any] | None = None) -> numeric.Function:
        """All of f's outputs as a function of one leaf, the others held where they are."""
        return block_of(self.f, args or self.args, path)

    @cached_property
    def wobble(self) -> dict[Path, Array]:
        """The rounding of each cotangent: its noise while dy and all arguments move together; 0 where f_vjp fails."""
        paths = list(self.grads)

        def at(t: float) -> Array:
            grads = claims(self.f_vjp(shifted(self.dy, t, 5), *shifted(self.args, t, 7).values()), self.args, ()).grads
            return np.concatenate([grads[path].ravel() for path in paths])

        sigma = numeric.noise(numeric.attempt(at), 1.0)
        ends = np.cumsum([self.grads[path].size for path in paths])
        sigma = np.broadcast_to(sigma, ends[-1:])
        parts = zip(paths, np.split(sigma, ends[:-1]), strict=True)
        return {path: part.reshape(self.grads[path].shape) for path, part in parts}

    def slope_scale(self, path: Path, exact: bool) -> float:
        """What a slope by this leaf could be as large as: that of any leaf; by the complex step, which no offset of f
        disturbs, also f itself over the leaf's size."""
        largest = max(float(np.max(np.abs(grad), initial=0)) for grad in self.grads.values())
        if not exact:
            return largest
        whole = float(np.abs(self.c) @ np.abs(flat(self.f(*self.args.values()))))
        return max(largest, whole / numeric.size(np.asarray(self.values[path])))


def shifted(tree: Any, t: float, seed: int) -> Any:
    """A tree of floats, each block moved by t of its size in a fixed direction."""

    def one(_: Path, leaf: Any) -> Any:
        if leaf is None or np.asarray(leaf).dtype.kind != "f" or not np.size(leaf):
            return leaf
        x = np.asarray(leaf)
        return like(leaf, x + t * numeric.size(x) * numeric.spread(seed, x.shape))

    return transform(one, tree)


class Block:
    """One leaf of the arguments at a point, and how one method differentiates by it."""

    def __init__(self, point: Point, path: Path, step: float, tolerance: float, exact: bool) -> None:
        self.point, self.path, self.exact, self.tolerance, self.sure = point, path, exact, tolerance, SURE
        self.x, self.f, self.c = np.asarray(point.values[path]), point.block(path), point.c
        self.step, self.size = step, numeric.size(self.x)

    def complex_step(self, u: Array, t: float = 0.0) -> float:
        """⟨dy, J u⟩ by the complex step, here, or with all arguments moved by t."""
        args = shifted(self.point.args, t, 7) if t else self.point.args
        x = np.asarray(dict(leaves(args))[self.path])
        return float(self.c @ numeric.complex_step(self.point.block(self.path, args), x, u))

    def digits(self, u: Array) -> float:
        """The rounding of `complex_step`: its noise while all arguments move together."""
        return float(numeric.noise(numeric.attempt(lambda t: np.array([self.complex_step(u, t)])), 1.0)[0])

    @cached_property
    def digit(self) -> float:
        """What differences over the longest step cannot see: beside terms of 1e12, a slope of 1e-8 is flat."""
        return 4 * np.finfo(float).eps * float(np.abs(self.c) @ np.abs(self.f(self.x))) / (0.1 * max(self.size, 1.0))

    def single(self, u: Array) -> bool:
        """Whether f rounds to float32: its noise is that of 24 bits. Differences take longer steps then."""
        at = numeric.tolerant(self.f, self.x, u)
        noise, values = numeric.noise(at, self.size), (at(t * numeric.NEAR * self.size) for t in (0, 40))
        largest = np.fmax(*map(np.abs, values))  # not at x alone, an optimum perhaps, where all is 0
        rough = np.abs(self.c) @ noise > ROUNDED * (np.abs(self.c) @ largest)
        if rough:
            (self.tolerance, self.sure), self.step = SINGLE, 0.03
        return bool(rough)

    def judge(self, u: Array, size: float, analytic: float, number: float, scale: float, wobble: float) -> Judged:
        """The numerical derivative along u, and the verdict on `analytic`, which a first look did not accept."""
        if not np.isfinite(analytic):
            return number, Said(WRONG)
        first, exact = Said(UNKNOWN), 0.0
        if self.exact:
            exact = self.complex_step(u)
            first = self.verdict(analytic, exact, scale, 6 * (wobble + self.digits(u)))
            if number == exact and first.verdict == OK:
                return number, first
        steps = numeric.ladder(self.size, size, 9 if self.sure == SURE else 4)
        found = numeric.slopes(self.f, self.x, u, steps, 0.01 * self.tolerance * scale, self.c)
        middle, error = float(self.c @ found.middle), float(np.abs(self.c) @ found.error)
        if self.exact and not found.kinked.any() and abs(middle - exact) <= 10 * error + self.digit + 1e-4 * scale:
            return exact, first  # differences say the same of f as the complex step
        if found.kinked.any():
            return middle, self.at_a_kink(analytic, found, scale, 6 * wobble)
        return middle, self.verdict(analytic, middle, scale, error + 6 * wobble)

    def verdict(self, analytic: float, number: float, scale: float, error: float) -> Said:
        """By the three rules above."""
        apart, allowed = abs(analytic - number), self.tolerance * scale
        if not error < np.inf:
            return Said(UNKNOWN, "f fails where this is moved: choose another point, or move= along its set")
        if apart > allowed + 3 * error:
            return Said(WRONG)
        if apart <= allowed + error and error <= self.sure * scale:
            return Said(OK)
        if max(abs(analytic), abs(number)) <= allowed + 3 * error:
            return Said(UNKNOWN, VANISHES, error)
        return Said(UNKNOWN, f"differences are no surer than ±{error:.1e} here: the rounding of f, or no limit", error)

    def at_a_kink(self, analytic: float, found: numeric.Slopes, scale: float, wobble: float) -> Said:
        """By the slopes from both sides."""
        kinked, c = found.kinked, self.c
        rest = float((c * found.middle)[~kinked].sum())
        sides = np.stack([found.left, found.right])[:, kinked]
        small = np.argmin(np.abs(sides), axis=0)[None]
        chosen = [sides[0], sides[1], *(np.take_along_axis(sides, k, axis=0)[0] for k in (small, 1 - small))]
        left, right, *mixed = (rest + float(c[kinked] @ one) for one in chosen)
        sides_error = np.maximum(found.left_error, found.right_error)
        error = float(np.abs(c) @ np.where(kinked, sides_error, found.error)) + wobble
        near = self.tolerance * max(scale, abs(left), abs(right)) + 3 * error
        words = f"a kink: slopes {left + 0.0:.4g} from the left, {right + 0.0:.4g} from the right"
        names = ("the left one", "the right one", "one side's at each output", "one side's at each output")
        for slope, name in zip((left, right, *mixed), names, strict=True):
            if abs(analytic - slope) <= near:
                return Said(OK, f"{words}; yours is {name}")
        ends = np.sort(c[kinked] * sides, axis=0).sum(axis=1) + rest
        if ends[0] - near <= analytic <= ends[1] + near:
            return Said(UNKNOWN, f"{words}; yours, {analytic:.4g}, lies between")
        return Said(WRONG, f"{words}; yours, {analytic:.4g}, lies outside")


def finding(
    block: Block, method: str, analytic: Array, number: Array, line: Callable[[Place], Line], least: float = 0.0
) -> Finding:
    """The verdicts on one block by one method, `number` its derivatives at a first look: those elements that it does
    not accept are looked at closely, the worst first, until one is wrong or all are done. `least` of their scale."""
    said, seen = dict[Place, Said](), np.zeros(number.shape, bool)
    while True:
        scale = float(np.max(np.abs(number[np.isfinite(number)]), initial=0))
        scale = max(scale, least) or float(np.max(np.abs(analytic), initial=0)) or 1.0
        error = np.where(seen, 0, np.nan_to_num(np.abs(analytic - number) / scale, nan=np.inf))
        i = tuple(map(int, np.unravel_index(int(np.argmax(error)), error.shape)))
        enough = block.exact and method == "central" and len(said) >= FEW
        if error[i] <= block.tolerance or enough or (said and [*said.values()][-1].verdict == WRONG):
            return Finding(".".join(block.path), block.x.size, method, analytic, number, block.tolerance, said)
        u, size, wobble = line(i)
        seen[i] = True
        number[i], said[i] = block.judge(u, size, float(analytic[i]), float(number[i]), scale, wobble)


def elsewhere(point: Point, path: Path, seed: int) -> Point | None:
    """The same pair with one leaf moved by a tenth of its size, or a hundredth; None where it cannot be."""
    x = np.asarray(point.values[path])
    for part in (0.1, 0.01):
        near = x + part * numeric.size(x) * numeric.spread(seed, x.shape)
        args = replaced(point.args, path, like(point.values[path], near))
        try:
            grads = claims(pull_back(point.f_vjp, point.dy, args), args, ()).grads
            if np.isfinite(flat(point.f(*args.values()))).all() and path in grads:
                return Point(point.f, point.f_vjp, args, point.dy, grads)
        except Exception:  # an edge of the domain
            continue
    return None
