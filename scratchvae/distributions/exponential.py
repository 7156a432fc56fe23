"""§7.2.5 One pair for every exponential family: log p(x; η) = ηᵀT(x) − A(η) + log h(x).

A family says what T, A, ∇A and ∇²A·v are, and how its heads (what a network gives) become η; all else stands here once.
It is the *natural parameters* η that a network may depend on; the sufficient statistics T are fixed functions of x.
"""

from typing import Any, ClassVar, Self, cast

import numpy as np

from ..kernels import NUMPY, Kernels
from ..types import Array
from .observed import Observed
from .shared import as_rows, column, fitted, narrow, widened

Blocks = tuple[Array, ...]  # η, T or a cotangent: one array (..., K) for each head

NEAR = 1e-3  # a difference this small beside its terms has lost three digits: it is integrated instead
ROWS = 256  # integrated at a time
THIRDS = 16  # of the segment towards either end, where A may bend 10¹⁵ times more than at the other
NODES, WEIGHTS = (v * 0.5 for v in np.polynomial.legendre.leggauss(12))


def inner(a: Blocks, b: Blocks) -> Array:
    """Σ a b over the blocks, (..., K), with 0 · ∞ = 0: a statistic of weight 0 does not count."""
    with np.errstate(invalid="ignore", over="ignore"):
        return cast(Array, sum(np.where(p == 0, 0, p * q) for p, q in zip(a, b, strict=True)))


class ExponentialFamily(Observed):
    """What the families share. A family is a named tuple of its heads, each (..., K), and its own cotangent; values x
    and heads broadcast as those of `distributions.Normal`. Results are in nats, in the dtype of heads and values.

    `noise`: what `sample` takes.
    `log_heads`: η = e^head, otherwise η is the head. `shift`: log h(x) = −shift · T(x) + `log_h`.
    """

    __slots__ = ()
    noise: ClassVar[str] = "uniforms"
    separate: ClassVar[bool] = True  # numbers are independent of one another
    log_heads: ClassVar[bool] = False
    shift: ClassVar[tuple[float, ...]] = (0.0,)

    # --- what a family supplies; components of one group share one A (groups of one, unless it says otherwise)

    def T(self, x: Array) -> Blocks:
        """The sufficient statistics."""
        raise NotImplementedError

    def A(self, eta: Blocks) -> Array:
        """log of what normalises, (..., groups)."""
        raise NotImplementedError

    def dA(self, eta: Blocks) -> Blocks:
        """∇A = E[T]."""
        raise NotImplementedError

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        """∇²A · v = Cov[T] · v."""
        raise NotImplementedError

    def log_h(self, x: Array) -> Array:
        """log h(x) beyond the shift, (..., K)."""
        return np.zeros_like(x)

    def dx(self, eta: Blocks, x: Array) -> Array | None:
        """∂/∂x of (η − shift)ᵀT(x), (..., K); None where x is discrete."""
        return None

    def curvature(self, eta: Blocks, v: Blocks) -> Array:
        """vᵀ ∇²A v ≥ 0, (..., groups)."""
        return self.per_group(inner(v, self.ddA(eta, v)))

    def per_group(self, v: Array) -> Array:
        """Sums of (..., K) over each group, (..., groups)."""
        return v

    def spread(self, g: Array, columns: int) -> Array:
        """(..., groups) given to each of the K components of its group."""
        return g

    # --- heads and η

    @property
    def heads(self) -> Blocks:
        """The heads as a plain tuple."""
        return tuple(cast(Blocks, self))

    def of(self, blocks: Blocks) -> Self:
        """The same type around other blocks."""
        return cast(Any, type(self))(*blocks)

    def eta(self) -> Blocks:
        """The natural parameters."""
        with np.errstate(over="ignore"):
            return tuple(np.exp(widened(h)) if self.log_heads else widened(h) for h in self.heads)

    def eta_vjp(self, deta: Blocks) -> Self:
        """Cotangent of the heads: dη η where η = e^head, dη where it is the head."""
        if self.log_heads:
            deta = tuple(d * e for d, e in zip(deta, self.eta(), strict=True))
        return self.of(tuple(fitted(d, h) for d, h in zip(deta, self.heads, strict=True)))

    def shifted(self, eta: Blocks) -> Blocks:
        """η − shift: the weight of T where log h is a multiple of T."""
        return tuple(e - s for e, s in zip(eta, self.shift, strict=True))

    # log p = (η − shift)ᵀT(x) − A(η) + log h(x)      so      ∂/∂η = T(x) − ∇A(η)

    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log p(x), without the last axis. ±inf only where that is the density."""
        eta, value = self.eta(), widened(x)
        linear = self.per_group(inner(self.shifted(eta), self.T(value)))
        rows = (linear - self.A(eta)).sum(axis=-1) + self.log_h(value).sum(axis=-1)
        return narrow(rows, x, *self.heads)

    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[Array | None, Self]:
        """Cotangents of x (None where discrete) and of the heads, for w the cotangent of log_prob."""
        eta, value = self.eta(), widened(x)
        shape = np.broadcast_shapes(x.shape, *(e.shape for e in eta))
        w = column(w, shape)
        d = self.eta_vjp(tuple(w * (t - m) for t, m in zip(self.T(value), self.dA(eta), strict=True)))
        dx = self.dx(eta, value)
        return None if dx is None else fitted(w * np.broadcast_to(dx, shape), x), d

    # KL(p₁ ‖ p₂) = A(η₂) − A(η₁) − Δᵀ∇A(η₁) = ∫₀¹ (1 − t) Δᵀ∇²A(η₁ + tΔ) Δ dt,   Δ = η₂ − η₁
    #   so:  ∂/∂η₁ = −∇²A(η₁) Δ,    ∂/∂η₂ = ∇A(η₂) − ∇A(η₁) = ∫₀¹ ∇²A(η₁ + tΔ) Δ dt
    #   the differences, unless they lose digits: every term of the integrals has one sign, so KL ≥ 0 in floats too

    def difference(self, other: Self) -> Blocks:
        """Δ = η₂ − η₁, to the last digit also where the heads nearly meet: e^a (e^(b − a) − 1)."""
        steps = tuple(widened(b) - widened(a) for a, b in zip(self.heads, other.heads, strict=True))
        if not self.log_heads:
            return steps
        return tuple(e * np.expm1(s) for e, s in zip(self.eta(), steps, strict=True))

    def kl_to(self, other: Self) -> Array:
        """KL(self ‖ other) ≥ 0 of one family, nats, without the last axis."""
        shape, rows = as_rows(*self.eta(), *other.eta(), *self.difference(other))
        n = len(self.heads)
        kl = bregman(self, tuple(rows[:n]), tuple(rows[n : 2 * n]), tuple(rows[2 * n :])).sum(axis=-1)
        return narrow(kl.reshape(shape[:-1]), *self.heads, *other.heads)

    def kl_to_vjp(self, w: Array, other: Self) -> tuple[Self, Self]:
        """Cotangents of the heads of both, for w the cotangent of kl_to."""
        one, two, delta = self.eta(), other.eta(), self.difference(other)
        w = column(w, np.broadcast_shapes(*(d.shape for d in delta)))
        first, second = self.ddA(one, delta), mean_difference(self, one, two, delta)
        return self.eta_vjp(tuple(-w * d for d in first)), other.eta_vjp(tuple(w * d for d in second))

    # The standard member has all heads 0: N(0, 1) among the normals; here the fair coin, the uniform distributions on
    # [0, 1], on the simplex and on the circle, and rate and shape 1

    def standard(self) -> Self:
        """The family's standard member, which serves as prior."""
        return self.of(tuple(np.zeros_like(h) for h in self.heads))

    def kl(self, k: Kernels = NUMPY) -> Array:
        """KL(self ‖ the standard member), nats, without the last axis."""
        return self.kl_to(self.standard())

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> Self:
        """Cotangent of the heads, for w the cotangent of kl."""
        return self.kl_to_vjp(w, self.standard())[0]

    # H = A − (η − shift)ᵀ∇A − E[log h]      so      ∂/∂η = −∇²A (η − shift) − ∇E[log h]

    def entropies(self, eta: Blocks) -> Array:
        """−E[log p] of every group, (..., groups), where log h is the shift alone."""
        return self.A(eta) - self.per_group(inner(self.shifted(eta), self.dA(eta)))

    def entropies_vjp(self, eta: Blocks) -> Blocks:
        """Their slopes by η."""
        return tuple(-d for d in self.ddA(eta, self.shifted(eta)))

    def entropy(self, k: Kernels = NUMPY) -> Array:
        """−E[log p], nats, without the last axis."""
        return narrow(self.entropies(self.eta()).sum(axis=-1), *self.heads)

    def entropy_vjp(self, w: Array, k: Kernels = NUMPY) -> Self:
        """Cotangent of the heads, for w the cotangent of entropy."""
        eta = self.eta()
        w = column(w, np.broadcast_shapes(*(e.shape for e in eta)))
        return self.eta_vjp(tuple(w * d for d in self.entropies_vjp(eta)))


def bregman(family: ExponentialFamily, one: Blocks, two: Blocks, delta: Blocks) -> Array:
    """A(η₂) − A(η₁) − Δᵀ∇A(η₁) of every group, (rows, groups)."""
    below, above = family.A(one), family.A(two)
    linear = family.per_group(inner(delta, family.dA(one)))
    kl: Array = above - below - linear
    near = kl.real < NEAR * (np.abs(above) + np.abs(below) + np.abs(linear))
    hit = near.any(axis=-1)
    if hit.any():
        kl[hit] = np.where(near[hit], integral(family, *(tuple(b[hit] for b in v) for v in (one, two, delta))), kl[hit])
    return kl


def integral(family: ExponentialFamily, one: Blocks, two: Blocks, delta: Blocks) -> Array:
    """∫₀¹ (1 − t) Δᵀ∇²A(η₁ + tΔ) Δ dt of every group: one panel where A bends alike at both ends, else many."""
    first, last = family.curvature(one, delta).real, family.curvature(two, delta).real
    total = panels(family, one, delta, np.array([0.0, 1.0]))
    rough = np.flatnonzero(~((first <= 2 * last) & (last <= 2 * first)).all(axis=-1))
    ends = 3.0 ** -np.arange(THIRDS, 0.0, -1)
    edges = np.concatenate(([0.0], ends, 1 - ends[::-1], [1.0]))
    for start in range(0, len(rough), ROWS):
        rows = rough[start : start + ROWS]
        total[rows] = panels(family, tuple(b[rows] for b in one), tuple(b[rows] for b in delta), edges)
    return total


def panels(family: ExponentialFamily, one: Blocks, delta: Blocks, edges: Array) -> Array:
    """The same integral over panels of t, by Gauss and Legendre."""
    wide_by = np.diff(edges)[:, None]
    t = (edges[:-1, None] + wide_by * (NODES + 0.5)).ravel()
    weights = (wide_by * WEIGHTS).ravel() * (1 - t)
    bend = family.curvature(tuple(e + t[:, None, None] * d for e, d in zip(one, delta, strict=True)), delta)
    return np.asarray((weights[:, None, None] * bend).sum(axis=0))


def mean_difference(family: ExponentialFamily, one: Blocks, two: Blocks, delta: Blocks) -> Blocks:
    """∇A(η₂) − ∇A(η₁), integrated where the plain difference loses digits and A bends alike at both ends."""
    low, high = family.dA(one), family.dA(two)
    first, last = family.ddA(one, delta), family.ddA(two, delta)
    far = cast(Array, sum(np.where((a <= 2 * b) & (b <= 2 * a), 0, 1) for a, b in pairs(first, last)))
    far = far + cast(Array, sum(np.abs(h - l) > NEAR * (np.abs(h) + np.abs(l)) for h, l in zip(high, low, strict=True)))
    far = family.spread(family.per_group(far), far.shape[-1]) > 0
    summed: list[Any] = [0.0] * len(delta)
    for node, weight in zip(NODES + 0.5, WEIGHTS, strict=True):
        at = tuple(e + node * d for e, d in zip(one, delta, strict=True))
        summed = [s + weight * g for s, g in zip(summed, family.ddA(at, delta), strict=True)]
    return tuple(np.where(far, h - l, s) for h, l, s in zip(high, low, summed, strict=True))


def pairs(first: Blocks, last: Blocks) -> list[tuple[Array, Array]]:
    """Sizes of two slopes, (0, ∞) where their signs differ."""
    return [
        (np.abs(a), np.where(np.sign(a.real) == np.sign(b.real), np.abs(b), np.inf))
        for a, b in zip(first, last, strict=True)
    ]
