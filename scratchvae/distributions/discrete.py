"""§7.2.5 Exponential families of counts and classes: categorical and groups of one-hots, Poisson."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy import special

from ..errors import UsageError
from ..kernels import NUMPY, Kernels
from ..types import Array
from .bernoulli import Logits
from .exponential import Blocks, ExponentialFamily
from .observed import Observed, Place
from .saddle import excess, stirling
from .shared import column, fitted, log_softmax, quiet, summed, wide


class LogRate(NamedTuple):
    """The head of a Poisson or an exponential."""

    log_rate: Array


# A = Σ_groups log Σ_c e^{l_c},    ∇A = softmax,    ∇²A v = p (v − Σ_c p v)
class Categorical(ExponentialFamily, Logits):
    """One-hot x by logits (..., C). `one_hots` gives the type for several of them side by side."""

    __slots__ = ()
    sizes: ClassVar[tuple[int, ...]] = ()  # of the groups; none: the whole axis is one

    def starts(self, columns: int) -> Array:
        """Where each group begins."""
        sizes = self.sizes or (columns,)
        if sum(sizes) != columns:
            raise UsageError(f"logits have {columns} columns, but the groups {sizes} have {sum(sizes)}")
        return np.cumsum((0, *sizes[:-1]))

    def per_group(self, v: Array) -> Array:
        return np.add.reduceat(v, self.starts(v.shape[-1]), axis=-1)

    def spread(self, g: Array, columns: int) -> Array:
        return np.repeat(g, self.sizes or (columns,), axis=-1)

    def parts(self, l: Array) -> tuple[Array, Array, Array]:
        """The largest logit of each group, Σ e^(l − largest) less the largest's own 1, and softmax."""
        starts, C = self.starts(l.shape[-1]), l.shape[-1]
        top = np.maximum.reduceat(l.real, starts, axis=-1)
        first = np.stack([g.argmax(axis=-1) for g in np.split(l.real, starts[1:], axis=-1)], axis=-1) + starts
        e = np.exp(l - self.spread(top, C))
        rest = e.copy()
        np.put_along_axis(rest, first, np.take_along_axis(e, first, axis=-1) - 1, axis=-1)
        rest = self.per_group(rest)
        return top, rest, e / self.spread(1 + rest, C)

    def pieces(self, columns: int) -> Iterator[tuple[Any, Place]]:
        """Each group as a whole."""
        starts = self.starts(columns)
        for start, end in zip(starts, (*starts[1:], columns), strict=True):
            yield Categorical, (..., None, slice(start, end))

    def T(self, x: Array) -> Blocks:
        return (x,)

    def A(self, eta: Blocks) -> Array:
        """log of what normalises, (..., groups)."""
        top, rest, _ = self.parts(eta[0])
        return top + np.log1p(rest)

    def dA(self, eta: Blocks) -> Blocks:
        return (self.parts(eta[0])[2],)

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        """∇²A · v = Cov[T] · v."""
        p = self.parts(eta[0])[2]
        p, step = np.broadcast_arrays(p, v[0])
        return (p * (step - self.spread(self.per_group(p * step), p.shape[-1])),)

    def curvature(self, eta: Blocks, v: Blocks) -> Array:
        """Σ p (v − Σ p v)²: a sum of squares."""
        p = self.parts(eta[0])[2]
        off = v[0] - self.spread(self.per_group(p * v[0]), p.shape[-1])
        return self.per_group(p * off * off)

    @property
    def mean(self) -> Array:
        """The probabilities."""
        return self.parts(self.logits)[2]

    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """One-hot x by the inverse of the cumulative sum; u (..., ≥ groups) uniform in [0, 1), a column a group. No
        slope passes through (§7.2.2)."""
        starts, columns = self.starts(self.logits.shape[-1]), []
        for g, p in enumerate(np.split(self.mean, starts[1:], axis=-1)):
            below = np.cumsum(p, axis=-1)[..., :-1] <= u[..., g : g + 1]
            columns.append(np.eye(p.shape[-1], dtype=self.logits.dtype)[below.sum(axis=-1)])
        return np.concatenate(columns, axis=-1)


# log p = l_x − log Σ_c e^{l_c}     so     ∂/∂l = [c = x] − p
class Classes(Observed, Logits):
    """Class codes x = 0 … C − 1, (..., D), by logits (..., D, C): a categorical whose x is one column, no one-hot."""

    __slots__ = ()
    vectors = ("logits",)

    @property
    def mean(self) -> Array:
        """The most probable class: codes have no average."""
        return self.logits.argmax(axis=-1).astype(self.logits.dtype)

    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """How many partial sums of p are ≤ u; u (..., D) uniform in (0, 1)."""
        below = np.cumsum(log_softmax(*wide(self.logits))[1], axis=-1)[..., :-1] <= u[..., None]
        return below.sum(axis=-1).astype(self.logits.dtype)

    def hot(self, x: Array) -> Array:
        """[c = x], (..., D, C)."""
        return np.asarray(x)[..., None] == np.arange(self.logits.shape[-1])

    @quiet
    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log P(x), nats, without the last axis; −inf where x is no code."""
        hot = self.hot(x)
        log_p = np.where(hot, log_softmax(*wide(self.logits))[0], 0).sum(axis=-1)
        return summed(np.where(hot.any(axis=-1), log_p, -np.inf), self.logits)

    @quiet
    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[None, "Classes"]:
        """(None, cotangent of logits), for w the cotangent of log_prob."""
        slope = self.hot(x) - log_softmax(*wide(self.logits))[1]
        return None, Classes(fitted(column(w, slope[..., 0].shape)[..., None] * slope, self.logits))


def one_hots(*sizes: int) -> type[Categorical]:
    """The type of several one-hots side by side, by the number of classes of each; UsageError unless all are ≥ 1."""
    if not sizes or min(sizes) < 1:
        raise UsageError(f"groups of {sizes} classes: give at least one size, and each at least 1")
    return type("OneHots", (Categorical,), {"__slots__": (), "sizes": sizes})


# Entropy = λ (1 − ln λ) + E[ln x!] has no closed form: −Σ p log p for λ ≤ 400, beyond it the series in 1/λ, by
#   E[ln x!] = λ ln λ − λ + ½ ln 2πeλ − 1/12λ − 1/24λ² − 19/360λ³ − 9/80λ⁴ − …
#   ∂p/∂ln λ = p (x − λ)    so    ∂H/∂ln λ = −Σ p (x − λ) (log p + 1),    and the 1 has no share: E[x] = λ
class Poisson(ExponentialFamily, LogRate):
    """Counts x = 0, 1, … by log λ (..., K): A = λ, h = 1/x!."""

    __slots__ = ()
    summed: ClassVar[float] = 400.0

    def T(self, x: Array) -> Blocks:
        return (x,)

    def A(self, eta: Blocks) -> Array:
        return np.exp(eta[0])

    def dA(self, eta: Blocks) -> Blocks:
        return (np.exp(eta[0]),)

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        return (np.exp(eta[0]) * v[0],)

    def log_h(self, x: Array) -> Array:
        return -special.gammaln(x.real + 1)

    # x log λ − λ − log x! is a difference of numbers of the size of x log x; by y = log λ/x (`saddle`) none is large
    @quiet
    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log P(x), without the last axis: c(x) − log x − x (e^y − 1 − y), and −λ at 0."""
        value, log_rate = wide(x, self.log_rate)
        log_x = np.log(np.where(value == 0, 1, value))
        some = stirling(log_x) - log_x - excess(log_x, log_rate - log_x)
        return summed(np.where(value == 0, -np.exp(log_rate), some), x, self.log_rate)

    def log_masses(self, eta: Array, x: Array) -> Array:
        """log P of every x (N,), (..., N), the λ as below."""
        return x * eta[..., None] - np.exp(eta[..., None]) - special.gammaln(x + 1)

    def below(self, eta: Array) -> tuple[Array, Array, Array]:
        """Which λ are summed, those, and the x that matter for them."""
        few = np.exp(eta.real) <= self.summed
        some = np.where(few, eta, 0.0)
        top = float(np.exp(some.real.max(initial=0.0)))
        return few, some, np.arange(top + 12 * np.sqrt(top) + 40)

    def entropies(self, eta: Blocks) -> Array:
        """−Σ p log p: λ (1 − ln λ) + E[ln x!] is a difference of numbers of the size of λ ln λ."""
        few, some, x = self.below(eta[0])
        log_p = self.log_masses(some, x)
        exact = -(np.exp(log_p) * log_p).sum(axis=-1)
        r = np.exp(-np.where(few, np.log(self.summed), eta[0]))
        series = 0.5 * (np.log(2 * np.pi * np.e) - np.log(r)) - r * (
            1 / 12 + r * (1 / 24 + r * (19 / 360 + r * 9 / 80))
        )
        return np.where(few, exact, series)

    def entropies_vjp(self, eta: Blocks) -> Blocks:
        """−Σ p (x − λ) log p."""
        few, some, x = self.below(eta[0])
        log_p = self.log_masses(some, x)
        exact = -(np.exp(log_p) * (x - np.exp(some[..., None])) * log_p).sum(axis=-1)
        r = np.exp(-np.where(few, np.log(self.summed), eta[0]))
        return (np.where(few, exact, 0.5 + r * (1 / 12 + r * (1 / 12 + r * (19 / 120 + r * 9 / 20)))),)

    @property
    def mean(self) -> Array:
        """λ."""
        return np.exp(self.log_rate)
