"""§7.2.4 The exact gradient of an expectation, by summing it: a target for `check_expectation`.

    G(θ) = E_q[h] = ∫ q(z; θ) h(z; θ) dz,  z of one or two dimensions, on the grid z = centre + width sinh t

The trapezoid rule in t converges exponentially where q h is smooth. The grid is fine near its centre, 0.005 width (0.05
in two dimensions), and reaches 2e8 widths (8e4), so that tails matter little. ∂G/∂θ is taken by the complex step, or by
central differences where the code is not analytic. A grid of half the points must say the same, and q must sum to one.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import UsageError
from ..tree import Path, is_float, leaves, like, replaced, transform
from ..types import Array
from . import numeric

SPACING = {1: 0.005, 2: 0.05}  # in t, by dimensions
REACH = {1: 20.0, 2: 12.0}  # in t: sinh 20 = 2e8 widths, sinh 12 = 8e4
NOTHING = 1e-60  # q dz where h is not looked at: it may be the log of an underflow
STEP = 1e-3  # of a central difference, in sizes of θ
AGREE = 1e-4  # of two grids, and of q's sum with one, relative: the finer one is good to a quarter of that

Density = Callable[[Array, Any], Array]  # (z, θ) -> one number for each z


def expectation_gradient(
    h: Density,
    log_q: Density,
    theta: Any,
    *,
    around: tuple[Any, Any] | None = None,
    support: Array | None = None,
) -> Any:
    """∂/∂θ E_q[h(z; θ)], exact: the structure of theta.

    h(z, theta)     -> (n,), h itself may depend on θ, as log p(x, z) − log q(z; θ) does.
    log_q(z, theta) -> (n,), normalised; z is (n,) for one dimension, (n, 2) for two.
    around          (centre, width) of q, two numbers or two pairs of numbers: to within a factor of five or so.
    support         for discrete z in its place: all values, (n,) or (n, K).

    Raises UsageError where q does not sum to one there, or where h jumps or grows too fast for the grid.

    >>> import numpy as np
    >>> def log_q(z, mu):
    ...     return -((z - mu) ** 2 + np.log(2 * np.pi)) / 2
    >>> expectation_gradient(lambda z, mu: z**2, log_q, 0.5, around=(0.5, 1.0))
    1.0...
    >>> expectation_gradient(lambda z, p: z, lambda z, p: np.where(z, np.log(p), np.log1p(-p)), 0.3, support=[0, 1])
    1.0...
    """
    if (around is None) == (support is None):
        raise UsageError("give around=(centre, width) for a density, or support= with all values of a discrete z")
    z, weight, every_other = grid(*around) if around is not None else all_of(support)

    def sums(t: Any) -> Array:
        """Of q, of q h, and of q h over every other point."""
        with np.errstate(all="ignore"):
            mass = weight * np.exp(log_q(z, t))
            terms = np.where(np.abs(mass) < NOTHING, 0.0, mass * h(z, t))  # far away h may overflow
            return np.array([mass.sum(), terms.sum(), (terms * every_other).sum()])

    total = sums(theta)
    if not abs(total[0] - 1) <= AGREE:
        raise UsageError(f"exp(log_q) sums to {total[0]:.6g}: it must be normalised, and lie within what was given")
    found = {path: slopes(sums, theta, path) for path, leaf in leaves(theta) if is_float(leaf)}
    for path, (_, fine, coarse) in found.items():
        scale = max(abs(total[1]), float(np.max(np.abs(fine), initial=0)))
        if not np.all(np.abs(fine - coarse) <= AGREE * scale):
            raise UsageError(
                f"the integral has not converged for {'.'.join(path) or 'theta'}: h or q jumps, or is sharp"
            )
    return transform(lambda path, leaf: like(leaf, found[path][1]) if path in found else leaf, theta)


def slopes(sums: Callable[[Any], Array], theta: Any, path: Path) -> Array:
    """The derivatives of all sums with respect to one leaf, (3, *shape)."""
    leaf = dict(leaves(theta))[path]
    x = np.asarray(leaf, dtype=np.float64)

    def moved(value: Array) -> Array:
        return sums(replaced(theta, path, like(leaf, value)))

    h = STEP * numeric.sizes(x)
    real = numeric.analytic(moved, x, numeric.spread(0, x.shape), STEP * numeric.size(x))
    out = np.empty((3, *x.shape))
    for i in np.ndindex(x.shape):
        u = numeric.axis(x.shape, i)
        out[:, *i] = numeric.central(moved, x, u, float(h[i])) if real else numeric.complex_step(moved, x, u)
    return out


def grid(centre: Any, width: Any) -> tuple[Array, Array, Array]:
    """Points z, (n,) or (n, 2), their weights dz, and the weights of the grid of every other point: 2ᴷ or 0."""
    K = max(np.size(centre), np.size(width))
    if K not in SPACING:
        raise UsageError(f"around has {K} dimensions: integrate over one or two")
    steps = round(REACH[K] / SPACING[K] / 2) * 2
    t = SPACING[K] * np.arange(-steps, steps + 1)
    half = 2.0 * (np.arange(t.size) % 2 == 0)
    centres, widths = np.broadcast_to(centre, (K,)), np.broadcast_to(width, (K,))
    lines = [c + w * np.sinh(t) for c, w in zip(centres, widths, strict=True)]
    weights = [w * np.cosh(t) * SPACING[K] for w in widths]
    if np.ndim(centre) == np.ndim(width) == 0:
        return lines[0], weights[0], half
    z = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, K)
    return z, product(weights), product([half] * K)


def product(factors: Sequence[Array]) -> Array:
    """The weights of a grid from those of its lines, in the order of its points."""
    return np.ravel(functools.reduce(np.multiply.outer, factors))


def all_of(support: Any) -> tuple[Array, Array, Array]:
    """Every value, counted once."""
    z = np.asarray(support)
    return z, np.ones(len(z)), np.ones(len(z))
