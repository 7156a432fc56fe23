"""§7.2.5 Counts: negative binomial by (mean, θ), with more zeros than it has (ZINB), binomial and multinomial."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from ..kernels import NUMPY, Kernels
from ..kernels.activations import softplus_np
from ..types import Array
from .elementwise import Masses
from .observed import Observed, Place
from .saddle import STIRLING, excess, log_add, log_near, soft, soft_vjp, stirling, stirling_vjp
from .shared import column, counted, fitted, log_softmax, quiet, sigmoid, summed, times, wide

# NB(x; μ, θ) = Γ(x + θ) / (Γ(θ) x!) (θ / (θ + μ))^θ (μ / (θ + μ))^x        variance μ + μ² / θ; θ → ∞ is Poisson
#   with n = x + θ and log Γ(a) = a log a − a − c(a), the large parts cancel on paper:
#     x > 0:   c(θ) + c(x) − c(n) − log x − θ k(y₁) − x k(y₂),        k(y) = e^y − 1 − y
#              y₁ = log n / (θ + μ) = log(1 + (x − μ) / (θ + μ)),     y₂ = log nμ / ((θ + μ) x)
#     x = 0:   −θ log(1 + μ / θ)
#   ∂/∂log μ = x σ(−d) − θ σ(d),  d = log μ / θ
#   ∂/∂log θ = c'(θ) − (θ / n) c'(n) − θ k(y₁),  where the first two nearly cancel for θ ≫ x: `step` has them exactly


def ratios(x: Array, log_mean: Array, log_theta: Array) -> tuple[Array, Array, Array, Array]:
    """(log x, or 0 where x = 0; log n; y₁; y₂)."""
    log_x, d = np.log(np.where(x == 0, 1, x)), log_mean - log_theta
    log_n = np.where(x == 0, log_theta, log_add(log_x, log_theta))
    mean, share = np.exp(log_mean), sigmoid(-d)
    y1 = log_near((x - mean) * share * np.exp(-log_theta), log_n - log_theta - softplus_np(d))
    y2 = log_near((mean - x) * share / np.where(x == 0, 1, x), log_n - log_x - softplus_np(-d))
    return log_x, log_n, y1, y2


# c'(θ) − (θ/n) c'(n),  with a = 1/θ, ρ = θ/n:   (1 − ρ) [½ + Σ_k B₂ₖ/2k a^(2k−1) (1 + ρ)(1 + ρ² + … + ρ^(2k−2))]
def step(x: Array, log_theta: Array, log_n: Array) -> Array:
    """θ (ψ(x + θ) − ψ(θ) − log(n / θ)), without cancellation above θ = 10; 0 at x = 0."""
    rho, one = np.exp(log_theta - log_n), np.ones(())
    a = np.exp(-np.maximum(log_theta, 2))
    total, power, geometric, term = np.full_like(a, 0.5), a * (1 + rho), np.ones_like(rho), rho * rho
    for k, c in enumerate(STIRLING):
        total, power = total + c * (2 * k + 1) * power * geometric, power * a * a
        geometric, term = geometric + term, term * rho * rho
    direct = stirling_vjp(one, log_theta) - rho * stirling_vjp(one, log_n)
    return np.where(log_theta > np.log(10), x * np.exp(-log_n) * total, direct)


@quiet
def negative_binomial(x: Array, log_mean: Array, log_theta: Array) -> Array:
    """log NB of each entry."""
    log_x, log_n, y1, y2 = ratios(x, log_mean, log_theta)
    constant = stirling(log_theta) + stirling(log_x) - stirling(log_n) - log_x
    some = constant - excess(log_theta, y1) - excess(log_x, y2)
    return np.where(x == 0, -soft(log_theta, log_mean - log_theta), some)


@quiet
def negative_binomial_vjp(dy: Array, x: Array, log_mean: Array, log_theta: Array) -> tuple[Array, Array]:
    """Cotangents of log μ and log θ."""
    _, log_n, y1, _ = ratios(x, log_mean, log_theta)
    d = log_mean - log_theta
    by_mean = x * sigmoid(-d) - soft_vjp(np.ones(()), log_theta, d)[1]
    return times(dy, by_mean), times(dy, step(x, log_theta, log_n) - excess(log_theta, y1))


class MeanTheta(NamedTuple):
    """The heads of a negative binomial."""

    log_mean: Array
    log_theta: Array


class NegativeBinomial(Masses, MeanTheta):
    """Counts with more spread than Poisson's: mean e^log_mean, variance μ + μ² / θ, θ = e^log_theta; both (..., D)."""

    __slots__ = ()
    masses = staticmethod(negative_binomial)
    masses_vjp = staticmethod(negative_binomial_vjp)

    @property
    @quiet
    def mean(self) -> Array:
        """μ; infinite where it exceeds the type."""
        return np.exp(self.log_mean)

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """The least x with P(≤ x) ≥ u; u uniform in (0, 1)."""
        u, log_mean, log_theta = np.broadcast_arrays(*wide(u, *self))
        mean, theta, q = np.exp(log_mean), np.exp(log_theta), sigmoid(log_mean - log_theta)
        poisson = log_theta - np.maximum(log_mean, 0) > 32  # then P(x) differs from Poisson's by less than 1e-13
        clear = np.where(poisson, 1, theta)
        x = counted(u, lambda x: np.where(poisson, special.pdtr(x, mean), special.betaincc(x + 1, clear, q)))
        return x.astype(self.log_mean.dtype)


# P(x) = π [x = 0] + (1 − π) NB(x),   π = σ(l)
#   x = 0:   log(e^l + NB(0)) − softplus(l)      x > 0:   −softplus(l) + log NB(x)
#   with r = P(structural | x = 0) = σ(l − log NB(0)):
#     ∂/∂l = r − σ(l) = r σ(−l) (1 − NB(0)), or −σ(l);     NB's own slopes times 1 − r
@quiet
def zero_inflated(x: Array, logit: Array, log_mean: Array, log_theta: Array) -> Array:
    """log P of each entry."""
    log_nb = negative_binomial(x, log_mean, log_theta)
    return np.where(x == 0, log_add(log_nb, logit), log_nb) - softplus_np(logit)


@quiet
def zero_inflated_vjp(dy: Array, x: Array, logit: Array, log_mean: Array, log_theta: Array) -> tuple[Array, ...]:
    """Cotangents of l, log μ and log θ."""
    log_nb = negative_binomial(x, log_mean, log_theta)
    zero, r = x == 0, sigmoid(logit - log_nb)
    by_logit = np.where(zero, -np.expm1(log_nb) * r * sigmoid(-logit), -sigmoid(logit))
    counts = np.where(zero, sigmoid(log_nb - logit), 1)
    by_nb = negative_binomial_vjp(np.ones(()), x, log_mean, log_theta)
    return dy * by_logit, *(times(dy * counts, d) for d in by_nb)


class GateMeanTheta(NamedTuple):
    """The heads of a zero-inflated negative binomial."""

    logit: Array
    log_mean: Array
    log_theta: Array


class ZeroInflated(Masses, GateMeanTheta):
    """Negative binomial counts behind a gate: with probability σ(logit) the count is 0; all (..., D)."""

    __slots__ = ()
    masses = staticmethod(zero_inflated)
    masses_vjp = staticmethod(zero_inflated_vjp)

    @property
    @quiet
    def mean(self) -> Array:
        """(1 − π) μ."""
        logit, log_mean = wide(self.logit, self.log_mean)
        return np.exp(log_mean - softplus_np(logit)).astype(self.log_mean.dtype)

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """0 where u < π, else NB's own quantile of (u − π) / (1 − π); u uniform in (0, 1)."""
        u, logit = wide(u, self.logit)
        rest = 1 - (1 - u) * (1 + np.exp(logit))
        return NegativeBinomial(self.log_mean, self.log_theta).sample(np.where(rest > 0, rest, 0))


# Binomial(x; n, σ(l)), m = n − x:
#   0 < x < n:   c(x) + c(m) − c(n) + log n / (x m) − x k(y₁) − m k(y₂),   y₁ = log nσ(l) / x,   y₂ = log nσ(−l) / m
#   x = 0:  −n softplus(l)      x = n:  −n softplus(−l)      ∂/∂l = x σ(−l) − m σ(l)
@quiet
def binomial(x: Array, logit: Array, trials: Array) -> Array:
    """log P of each entry; x = −softplus sums alone at both ends."""
    m, inside = trials - x, (x > 0) & (x < trials)
    log_x, log_m, log_n = (np.log(np.where(inside, a, 2)) for a in (x, m, trials))
    p, q = sigmoid(logit), sigmoid(-logit)
    off = m * p - x * q  # n p − x
    y1 = log_near(off / np.where(inside, x, 1), log_n - log_x - softplus_np(-logit))
    y2 = log_near(-off / np.where(inside, m, 1), log_n - log_m - softplus_np(logit))
    constant = stirling(log_x) + stirling(log_m) - stirling(log_n) + log_n - log_x - log_m
    some = constant - excess(log_x, y1) - excess(log_m, y2)
    return np.where(inside, some, -x * softplus_np(-logit) - m * softplus_np(logit))


@quiet
def binomial_vjp(dy: Array, x: Array, logit: Array, trials: Array) -> tuple[Array]:
    """dl = dy (x σ(−l) − (n − x) σ(l))."""
    return (dy * (x * sigmoid(-logit) - (trials - x) * sigmoid(logit)),)


class LogitOfTrials(NamedTuple):
    """The head of a binomial, and how often it is tried."""

    logit: Array
    trials: Array | int


class Binomial(Masses, LogitOfTrials):
    """x successes among `trials` (data: whole numbers, one for all or (..., D)), by logit (..., D)."""

    __slots__ = ()
    masses = staticmethod(binomial)
    masses_vjp = staticmethod(binomial_vjp)
    settings = ("trials",)

    @property
    @quiet
    def mean(self) -> Array:
        """n σ(l)."""
        logit, n = wide(self.logit, self.trials)
        return (n * sigmoid(logit)).astype(self.logit.dtype)

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """The least x with P(≤ x) ≥ u; u uniform in (0, 1)."""
        u, logit, n = np.broadcast_arrays(*wide(u, self.logit, self.trials))
        p = sigmoid(logit)

        def cdf(x: Array) -> Array:
            return np.where(x < n, special.betaincc(x + 1, np.maximum(n - x, 1), p), 1)

        return counted(u, cdf).astype(self.logit.dtype)


# Multinomial(x; n = Σ x, p = softmax(l)),  with y = log n p / x:
#   log n − c(n) + Σ_(x > 0) (c(x) − log x − x k(y)) − n Σ_(x = 0) p,   0 at n = 0      ∂/∂l = x − n p
@quiet
def multinomial(x: Array, logits: Array) -> Array:
    """log P of each row (..., D)."""
    log_p, p = log_softmax(logits)
    n, some = x.sum(axis=-1, keepdims=True), x > 0
    log_x, log_n = np.log(np.where(some, x, 1)), np.log(np.where(n > 0, n, 1))
    y = log_near((n * p - x) / np.where(some, x, 1), log_n + log_p - log_x)
    each = np.where(some, stirling(log_x) - log_x - excess(log_x, y), -n * p).sum(axis=-1)
    return np.where(n[..., 0] > 0, (log_n - stirling(log_n))[..., 0] + each, 0)


@quiet
def multinomial_vjp(dy: Array, x: Array, logits: Array) -> Array:
    """dl = dy (x − n p)."""
    return dy * (x - x.sum(axis=-1, keepdims=True) * log_softmax(logits)[1])


class LogitsOfTotal(NamedTuple):
    """The head of a multinomial, and how many things are counted."""

    logits: Array
    total: Array | int = 1


class Multinomial(Observed, LogitsOfTotal):
    """Counts x (..., D) of a row, such as words of a text, by logits (..., D). `total`, one for all or (..., 1), is for
    mean and samples; log_prob takes the row's own: the total is data."""

    __slots__ = ()
    settings = ("total",)

    def pieces(self, columns: int) -> Iterator[tuple[Any, Place]]:
        """The row as a whole."""
        yield Multinomial, (..., None, slice(None))

    @property
    def mean(self) -> Array:
        """n p."""
        return np.asarray(self.total * log_softmax(*wide(self.logits))[1]).astype(self.logits.dtype)

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """Column by column a binomial of what is left; u (..., D) uniform in (0, 1), the last column's is not used."""
        u, logits, left = np.broadcast_arrays(*wide(u, self.logits, self.total))
        after = np.empty_like(u)
        for d in range(u.shape[-1] - 2, -1, -1):  # log Σ e^l of what comes after d
            last = d == u.shape[-1] - 2
            after[..., d] = logits[..., d + 1] if last else log_add(logits[..., d + 1], after[..., d + 1])
        x, left = np.empty(u.shape), left[..., :1]
        for d in range(u.shape[-1] - 1):
            here = slice(d, d + 1)
            x[..., here] = Binomial(logits[..., here] - after[..., here], left).sample(u[..., here])
            left = left - x[..., here]
        x[..., -1:] = left
        return x.astype(self.logits.dtype)

    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log P(x | its total), nats, without the last axis; x whole, ≥ 0."""
        x, logits = np.broadcast_arrays(*wide(x, self.logits))
        return summed(multinomial(x, logits)[..., None], self.logits)

    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[None, "Multinomial"]:
        """(None, cotangent of logits; total as it is), for w the cotangent of log_prob."""
        x, logits = np.broadcast_arrays(*wide(x, self.logits))
        return None, Multinomial(fitted(multinomial_vjp(column(w, x.shape), x, logits), self.logits), self.total)
