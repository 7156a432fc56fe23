"""§7.2.5 Levels and classes: a bin of the logistic distribution, as discretised logistic, its mixture, and ordinal."""

from typing import NamedTuple

import numpy as np
from scipy import special

from ..kernels import NUMPY, Kernels
from ..kernels.activations import softplus_np
from ..types import Array
from .elementwise import Masses
from .observed import Observed
from .shared import column, fitted, log_softmax, quiet, sigmoid, summed, times, wide

# log of what a logistic has between two bounds, a above b, δ = a − b = e^v:
#   σ(a) − σ(b) = σ(a) σ(−b) (1 − e^−δ)     so     log p = −softplus(−a) − softplus(b) + log(1 − e^−δ)
#   ∂/∂a = σ(−a)     ∂/∂b = −σ(b)     ∂/∂v = δ / (e^δ − 1)
# No difference is formed. The first bin has no b, the last no a, and neither has a width.


def log_bin(a: Array, b: Array, v: Array, first: Array, last: Array) -> Array:
    """log(σ(a) − σ(b)) with a − b = e^v; σ(a) where first, 1 − σ(b) where last (masks)."""
    delta = np.exp(np.where(v.real < -40, 0, v))
    log_width = np.where(
        v.real < -40, v, np.where(delta.real < 0.7, np.log(-np.expm1(-delta)), np.log1p(-np.exp(-delta)))
    )
    return (
        np.where(last, 0, -softplus_np(-a)) + np.where(first, 0, -softplus_np(b)) + np.where(first | last, 0, log_width)
    )


def log_bin_vjp(dy: Array, a: Array, b: Array, v: Array, first: Array, last: Array) -> tuple[Array, Array, Array]:
    """Cotangents (da, db, dv)."""
    width = 1 / special.exprel(np.exp(v))
    return (
        dy * np.where(last, 0, sigmoid(-a)),
        dy * np.where(first, 0, -sigmoid(b)),
        np.where(first | last, 0, dy * width),
    )


@quiet
def logistic(x: Array, mu: Array, log_s: Array, levels: Array | int) -> Array:
    """log P(x) of each entry: what the logistic (μ, s) has in x ± ½; the end bins take the tails."""
    a, b = times(x + 0.5 - mu, np.exp(-log_s)), times(x - 0.5 - mu, np.exp(-log_s))
    return log_bin(a, b, -log_s, x <= 0, x >= levels - 1)


@quiet
def logistic_vjp(dy: Array, x: Array, mu: Array, log_s: Array, levels: Array | int) -> tuple[Array, Array]:
    """dμ = −(da + db) / s,  dlog s = −a da − b db − dv;  a σ(−a) → 0 in the far tail."""
    a, b = times(x + 0.5 - mu, np.exp(-log_s)), times(x - 0.5 - mu, np.exp(-log_s))
    da, db, dv = log_bin_vjp(np.ones_like(a), a, b, -log_s, x <= 0, x >= levels - 1)
    return times(dy, times(-(da + db), np.exp(-log_s))), dy * (-times(da, a) - times(db, b) - dv)


class Location(NamedTuple):
    """The heads of a discretised logistic, and how many levels there are."""

    mu: Array
    log_s: Array
    levels: int = 256


class DiscretisedLogistic(Masses, Location):
    """Whole levels 0 … levels − 1 by a logistic of location mu and scale e^log_s, in levels; both (..., D)."""

    __slots__ = ()
    masses = staticmethod(logistic)
    masses_vjp = staticmethod(logistic_vjp)
    settings = ("levels",)

    @property
    @quiet
    def mean(self) -> Array:
        """E[x] = Σ_j P(x ≥ j), in levels."""
        mu, log_s = wide(self.mu, self.log_s)
        above = (sigmoid(times(mu - j + 0.5, np.exp(-log_s))) for j in range(1, self.levels))
        return sum(above, np.zeros_like(mu)).astype(self.mu.dtype)

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """The level whose bin holds μ + s log(u / (1 − u)); u uniform in (0, 1)."""
        u, mu, log_s = wide(u, self.mu, self.log_s)
        y = mu + times(np.log(u) - np.log1p(-u), np.exp(log_s))
        return np.clip(np.ceil(y - 0.5), 0, self.levels - 1).astype(self.mu.dtype)


# log p = logsumexp_m (log π_m + log p_m), over the components of one entry, and only then the sum over entries
#   with γ_m = π_m p_m / p:     ∂/∂l_m = γ_m − π_m     and γ_m times the component's own slopes
@quiet
def mixed(log_p: Array, logits: Array) -> tuple[Array, Array, Array]:
    """(log p, γ, π) from components (..., D, M); γ = π where all of them are impossible."""
    log_pi = logits - logits.real.max(axis=-1, keepdims=True)
    log_pi = log_pi - np.log(np.exp(log_pi).sum(axis=-1, keepdims=True))
    both = log_pi + log_p
    top = both.real.max(axis=-1, keepdims=True)
    shift = np.where(np.isneginf(top), 0, top)
    gamma = np.exp(both - shift)
    total = gamma.sum(axis=-1, keepdims=True)
    pi = np.exp(log_pi)
    return (shift + np.log(total))[..., 0], np.where(total == 0, pi, gamma / total), pi


class Locations(NamedTuple):
    """The heads of a mixture of them."""

    logits: Array
    mu: Array
    log_s: Array
    levels: int = 256


class LogisticMixture(Observed, Locations):
    """Each entry a mixture of M discretised logistics (Salimans et al. 2017): logits, mu, log_s (..., D, M)."""

    __slots__ = ()
    settings = ("levels",)
    vectors = ("logits", "mu", "log_s")

    @property
    def mean(self) -> Array:
        """E[x], (..., D), in levels."""
        parts = DiscretisedLogistic(self.mu, self.log_s, levels=self.levels).mean
        return (log_softmax(*wide(self.logits))[1] * parts).sum(axis=-1).astype(self.mu.dtype)

    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """u (2, ..., D) uniform in (0, 1): the first chooses the component, the second its value."""
        pi = log_softmax(*wide(self.logits))[1]
        m = (np.cumsum(pi, axis=-1)[..., :-1] <= u[0][..., None]).sum(axis=-1)[..., None]
        values = DiscretisedLogistic(self.mu, self.log_s, levels=self.levels).sample(u[1][..., None])
        return np.asarray(np.take_along_axis(values, m, axis=-1)[..., 0])

    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log P(x), nats, without the last axis; x (..., D) whole levels."""
        x, logits, mu, log_s = wide(x, *self[:3])
        return summed(mixed(logistic(x[..., None], mu, log_s, self.levels), logits)[0], *self[:3])

    @quiet
    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[None, "LogisticMixture"]:
        """(None, cotangents of logits, mu and log_s), for w the cotangent of log_prob."""
        x, logits, mu, log_s = wide(x, *self[:3])
        log_p, gamma, pi = mixed(logistic(x[..., None], mu, log_s, self.levels), logits)
        dy = column(w, log_p.shape)[..., None]
        dmu, dlog_s = (times(dy * gamma, d) for d in logistic_vjp(np.ones(()), x[..., None], mu, log_s, self.levels))
        dlogits, dmu, dlog_s = (fitted(d, p) for d, p in zip((dy * (gamma - pi), dmu, dlog_s), self[:3], strict=True))
        return None, LogisticMixture(dlogits, dmu, dlog_s, self.levels)


# P(x ≤ r) = σ(t_r − η),   t_0 = cuts_0,   t_r = t_(r−1) + e^cuts_r: the bounds are ordered whatever the cuts
#   a = t_x − η,   b = t_(x−1) − η,   v = cuts_x     and back:   ∂/∂cuts_r = e^cuts_r Σ_(j ≥ r) ∂/∂t_j
@quiet
def bounds(cuts: Array) -> Array:
    """t (..., C − 1)."""
    return np.cumsum(np.concatenate([cuts[..., :1], np.exp(cuts[..., 1:])], axis=-1), axis=-1)


@quiet
def bounds_vjp(dt: Array, cuts: Array) -> Array:
    """dcuts."""
    after = np.flip(np.cumsum(np.flip(dt, -1), axis=-1), -1)
    return np.concatenate([after[..., :1], times(after[..., 1:], np.exp(cuts[..., 1:]))], axis=-1)


class EtaCuts(NamedTuple):
    """The heads of an ordinal."""

    eta: Array
    cuts: Array


class Ordinal(Observed, EtaCuts):
    """Classes 0 … C − 1 in order, cumulative logits (McCullagh 1980): eta (..., D), cuts (..., D, C − 1), C ≥ 2."""

    __slots__ = ()
    vectors = ("cuts",)

    @property
    @quiet
    def mean(self) -> Array:
        """E[x] = Σ_r P(x > r)."""
        eta, cuts = wide(self.eta, self.cuts)
        return sigmoid(eta[..., None] - bounds(cuts)).sum(axis=-1).astype(self.eta.dtype)

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """How many bounds lie below η + log(u / (1 − u)); u uniform in (0, 1)."""
        u, eta, cuts = wide(u, self.eta, self.cuts)
        y = eta + np.log(u) - np.log1p(-u)
        return (y[..., None] > bounds(cuts)).sum(axis=-1).astype(self.eta.dtype)

    def _bin(self, x: Array) -> tuple[Array, ...]:
        """(a, b, v, first, last) of each entry, and which bound is its upper and its lower."""
        x, eta, cuts = wide(x, self.eta, self.cuts)
        t, C1 = bounds(cuts), cuts.shape[-1]
        upper, lower = (x[..., None] == np.arange(C1)), (x[..., None] - 1 == np.arange(C1))
        a, b = (np.where(at, t, 0).sum(axis=-1) - eta for at in (upper, lower))
        return a, b, np.where(upper, cuts, 0).sum(axis=-1), x <= 0, x >= C1, upper, lower

    @quiet
    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log P(x), nats, without the last axis; x whole classes."""
        return summed(log_bin(*self._bin(x)[:5]), *self)

    @quiet
    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[None, "Ordinal"]:
        """(None, cotangents of eta and cuts), for w the cotangent of log_prob."""
        *parts, upper, lower = self._bin(x)
        da, db, dv = log_bin_vjp(column(w, parts[0].shape), *parts)
        dt = np.where(upper, da[..., None], 0) + np.where(lower, db[..., None], 0)
        dcuts = bounds_vjp(dt, *wide(self.cuts)) + np.where(upper, dv[..., None], 0)
        return None, Ordinal(fitted(-(da + db), self.eta), fitted(dcuts, self.cuts))
