"""§7.2.5 Exponential families of real values: exponential, gamma, beta, continuous Bernoulli, and two more."""

from typing import NamedTuple

import numpy as np
from scipy import special

from .. import reparam
from ..kernels import NUMPY, Kernels
from ..reparam import inverse_cdf
from ..types import Array
from .bernoulli import Logits
from .circle import VonMises as VonMises
from .curves import box, box_bend, box_slope, rest, rest_bend, rest_slope
from .discrete import LogRate
from .exponential import Blocks, ExponentialFamily
from .positive import beta, beta_vjp, by_log_shape, gamma, gamma_vjp
from .saddle import log_gamma
from .shared import column, fitted, narrow, quiet, sigmoid, summed, times, widened
from .simplex import Dirichlet as Dirichlet
from .simplex import beta_bends, beta_curvature, beta_slopes, log, log_beta, over


class ShapeRate(NamedTuple):
    """The heads of a gamma."""

    log_shape: Array
    log_rate: Array


class TwoShapes(NamedTuple):
    """The heads of a beta."""

    log_a: Array
    log_b: Array


class Exponential(ExponentialFamily, LogRate):
    """x ≥ 0 by log λ (..., K): η = λ, T = −x, A = −ln λ."""

    __slots__ = ()
    log_heads = True

    def T(self, x: Array) -> Blocks:
        return (-x,)

    def A(self, eta: Blocks) -> Array:
        return -log(eta[0])

    def dA(self, eta: Blocks) -> Blocks:
        return (-1 / eta[0],)

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        return (v[0] / eta[0] / eta[0],)

    def dx(self, eta: Blocks, x: Array) -> Array:
        return -eta[0]

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z = −ln(1 − u)/λ; u (..., K) uniform in (0, 1)."""
        return narrow(inverse_cdf.exponential_sample(self.eta()[0], widened(u)), self.log_rate)

    @quiet
    def sample_vjp(self, dz: Array, u: Array, k: Kernels = NUMPY) -> "Exponential":
        """Cotangent of the head, summed over the samples."""
        rate = self.eta()[0]
        return Exponential(fitted(inverse_cdf.exponential_sample_vjp(dz, rate, widened(u)) * rate, self.log_rate))

    @property
    @quiet
    def mean(self) -> Array:
        """1/λ."""
        return narrow(np.exp(-widened(self.log_rate)), self.log_rate)


# η = (α, β), T = (ln x, −x), h = 1/x, A = ln Γ(α) − α ln β;  with v/η = (r, s):
#   vᵀ∇²A v = α (r − s)² + v₁² (ψ′(α) − 1/α): two terms ≥ 0, where the plain form loses all digits at large α
#   H = ln α − ln β + g + (1 − α) g′,  g = ln Γ(α) − α ln α + α     so    ∂H/∂α = 1/α + (1 − α) g″,  ∂H/∂β = −1/β
class Gamma(ExponentialFamily, ShapeRate):
    """x > 0 by log α and log β (..., K): shape and rate."""

    __slots__ = ()
    log_heads = True
    shift = (1.0, 0.0)

    def T(self, x: Array) -> Blocks:
        return log(x), -x

    def A(self, eta: Blocks) -> Array:
        return log_gamma(eta[0]) - eta[0] * np.log(eta[1])

    def dA(self, eta: Blocks) -> Blocks:
        return special.psi(eta[0]) - np.log(eta[1]), -eta[0] / eta[1]

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        """∇²A · v = Cov[T] · v."""
        r, s = v[0] / eta[0], v[1] / eta[1]
        return rest_bend(eta[0]) * v[0] + (r - s), eta[0] / eta[1] * (s - r)

    def curvature(self, eta: Blocks, v: Blocks) -> Array:
        """vᵀ ∇²A v, by terms ≥ 0."""
        r, s = v[0] / eta[0], v[1] / eta[1]
        return eta[0] * (r - s) ** 2 + v[0] * v[0] * rest_bend(eta[0])

    def dx(self, eta: Blocks, x: Array) -> Array:
        return over(eta[0] - 1, x) - eta[1]

    # ηᵀT − A is a difference of numbers of the size of α ln α; the saddle-point form (`saddle`) loses no digits, by the
    # mean m = α/β:    ∂/∂log α = c'(α) + α log x/m,    ∂/∂log β = −∂/∂log m = α (1 − x/m)
    @quiet
    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log p(x), without the last axis; at x = 0 its limit."""
        log_shape, log_rate = map(widened, self)
        return summed(gamma(widened(x), log_shape - log_rate, log_shape), x, *self)

    @quiet
    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[Array, "Gamma"]:
        """Cotangents of x and of the heads, for w the cotangent of log_prob."""
        value, log_shape, log_rate = np.broadcast_arrays(*map(widened, (x, *self)))
        w, log_mean = column(w, value.shape), log_shape - log_rate
        dx, dlog_mean, _ = gamma_vjp(w, value, log_mean, log_shape)
        dlog_shape, dlog_rate = times(w, by_log_shape(log(value), log_mean, log_shape)), -dlog_mean
        return fitted(dx, x), Gamma(fitted(dlog_shape, self.log_shape), fitted(dlog_rate, self.log_rate))

    # z = e^{y − ln β},  y = ln P⁻¹(α, u)     so    ∂z/∂ln α = z α ∂y/∂α,    ∂z/∂ln β = −z
    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z by the inverse CDF; u (..., K) uniform in (0, 1). What is below the type's range is 0."""
        log_shape, log_rate = map(widened, self)
        return narrow(np.exp(reparam.gamma.log_sample(np.exp(log_shape), widened(u)) - log_rate), self.log_shape)

    @quiet
    def sample_vjp(self, dz: Array, u: Array, k: Kernels = NUMPY) -> "Gamma":
        """Cotangent of the heads, summed over the samples."""
        log_shape, log_rate = map(widened, self)
        shape = np.exp(log_shape)
        y = reparam.gamma.log_sample(shape, widened(u))
        dy = dz * np.exp(y - log_rate)
        return Gamma(fitted(dy * shape * reparam.gamma.log_slope(shape, y), self.log_shape), fitted(-dy, self.log_rate))

    def entropies(self, eta: Blocks) -> Array:
        """ln α − ln β + g + (1 − α) g′."""
        a, b = eta
        return np.log(a) - np.log(b) + rest(a) + (1 - a) * rest_slope(a)

    def entropies_vjp(self, eta: Blocks) -> Blocks:
        """1/α + (1 − α) g″ and −1/β."""
        a, b = np.broadcast_arrays(*eta)
        return 1 / a + (1 - a) * rest_bend(a), -1 / b

    @property
    @quiet
    def mean(self) -> Array:
        """α/β."""
        return narrow(np.exp(widened(self.log_shape) - self.log_rate), *self)


class Beta(ExponentialFamily, TwoShapes):
    """x in [0, 1] by log a and log b (..., K); at 0 and 1 the density is 0, ∞ or, where a or b is 1, finite."""

    __slots__ = ()
    log_heads = True
    shift = (1.0, 1.0)

    def T(self, x: Array) -> Blocks:
        with np.errstate(divide="ignore"):
            return np.log(x), np.log1p(-x)

    def A(self, eta: Blocks) -> Array:
        return log_beta(eta)

    def dA(self, eta: Blocks) -> Blocks:
        return beta_slopes(eta)

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        return beta_bends(eta, v)

    def curvature(self, eta: Blocks, v: Blocks) -> Array:
        return beta_curvature(eta, v)

    def dx(self, eta: Blocks, x: Array) -> Array:
        return over(eta[0] - 1, x) - over(eta[1] - 1, 1 - x)

    def log_prob(self, x: Array, k: Kernels = NUMPY) -> Array:
        """log p(x), without the last axis, in its saddle-point form; at x = 0 and 1 its limit."""
        return summed(beta(*map(widened, (x, *self))), x, *self)

    def log_prob_vjp(self, w: Array, x: Array, k: Kernels = NUMPY) -> tuple[Array, "Beta"]:
        """Cotangents of x and of the heads, for w the cotangent of log_prob."""
        parts = np.broadcast_arrays(*map(widened, (x, *self)))
        dx, *slopes = beta_vjp(column(w, parts[0].shape), *parts)
        return fitted(dx, x), Beta(*(fitted(d, p) for d, p in zip(slopes, self, strict=True)))

    # z = expit(y):    ∂z/∂ln a = z (1 − z) a ∂y/∂a
    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z by the inverse CDF; u (..., K) uniform in (0, 1)."""
        a, b = map(np.exp, map(widened, self))
        return narrow(special.expit(reparam.beta.logit_sample(a, b, widened(u))), self.log_a)

    @quiet
    def sample_vjp(self, dz: Array, u: Array, k: Kernels = NUMPY) -> "Beta":
        """Cotangent of the heads, summed over the samples."""
        a, b = map(np.exp, map(widened, self))
        y = reparam.beta.logit_sample(a, b, widened(u))
        by_a, by_b = reparam.beta.logit_slopes(a, b, y)
        dy = dz * special.expit(y) * special.expit(-y)
        return Beta(fitted(times(dy, a * by_a), self.log_a), fitted(times(dy, b * by_b), self.log_b))

    @property
    def mean(self) -> Array:
        """a / (a + b)."""
        return narrow(sigmoid(widened(self.log_a) - self.log_b), *self)


# F(z) = (e^{lz} − 1)/(e^l − 1);   ∂z/∂l = −(∂F/∂l)/f, and z(−l, 1 − u) = 1 − z(l, u), so l = −L ≤ 0 is enough:
#   ∂z/∂l = (z − u e^{−L(1−z)})/L,   and for L < 1, by c = ln ∫e^{lt}:   (c′(l) − z c′(lz)) (e^{Lz} − 1)/L


def box_quantile(l: Array, u: Array) -> Array:
    """z = ln(1 + u (e^l − 1))/l, u at l = 0; for large l from the other end."""
    high = l.real > 500
    some = np.where(high | (l == 0), 1.0, l)
    inside = np.log1p(u * np.expm1(some)) / some
    return np.where(high, 1 + np.log(u + (1 - u) * np.exp(-l)) / np.where(high, l, 1), np.where(l == 0, u, inside))


def box_quantile_slope(l: Array, u: Array) -> Array:
    """∂z/∂l at fixed u."""
    u, L = np.where(l > 0, 1 - u, u), np.abs(l)
    z = box_quantile(-L, u)
    small = L < 1
    s = np.where(small, L, 0.5)
    lift = np.where(s == 0, z, np.expm1(s * z) / np.where(s == 0, 1, s))
    near = (box_slope(-s) - z * box_slope(-s * z)) * lift
    return np.where(small, near, (z - u * np.exp(-L * (1 - z))) / np.where(small, 1, L))


class ContinuousBernoulli(ExponentialFamily, Logits):
    """x in [0, 1] with density ∝ e^{l x}, by logits l (..., K); no l is unstable."""

    __slots__ = ()

    def T(self, x: Array) -> Blocks:
        return (x,)

    def A(self, eta: Blocks) -> Array:
        return box(eta[0])

    def dA(self, eta: Blocks) -> Blocks:
        return (box_slope(eta[0]),)

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        return (box_bend(eta[0]) * v[0],)

    def dx(self, eta: Blocks, x: Array) -> Array:
        return eta[0]

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z by the inverse CDF; u (..., K) uniform in (0, 1)."""
        return narrow(box_quantile(widened(self.logits), widened(u)), self.logits)

    @quiet
    def sample_vjp(self, dz: Array, u: Array, k: Kernels = NUMPY) -> "ContinuousBernoulli":
        """Cotangent of the logits, summed over the samples."""
        l, u = np.broadcast_arrays(widened(self.logits), widened(u))
        return ContinuousBernoulli(fitted(dz * box_quantile_slope(l, u), self.logits))

    @property
    def mean(self) -> Array:
        """1 / (1 − e^−l) − 1/l."""
        return narrow(box_slope(widened(self.logits)), self.logits)
