"""§7.2.5 The von Mises distribution of angles."""

from typing import NamedTuple

import numpy as np

from ..kernels import NUMPY, Kernels
from ..reparam import von_mises
from ..types import Array
from .curves import bessel_ratio, log_i0
from .exponential import Blocks, ExponentialFamily
from .shared import fitted, narrow, quiet, times, widened

TINY = 2.0**-1000


class Direction(NamedTuple):
    """The heads of a von Mises: κ (cos μ, sin μ)."""

    a: Array
    b: Array


# A = ln 2π + ln I₀(κ), κ = |η|:    ∇A = R η,   ∇²A v = R v + (ηᵀv / κ)(R′) η,    R = I₁/(κ I₀)
#   vᵀ∇²A v = R |v⊥|² + ρ′ |v∥|²,   v∥ along η
class VonMises(ExponentialFamily, Direction):
    """Angles x in radians by (a, b) = κ (cos μ, sin μ), each (..., K): no atan2, no wrap, smooth at κ = 0."""

    __slots__ = ()
    shift = (0.0, 0.0)

    def T(self, x: Array) -> Blocks:
        return np.cos(x), np.sin(x)

    def A(self, eta: Blocks) -> Array:
        return np.log(2 * np.pi) + log_i0(length(eta))

    def dA(self, eta: Blocks) -> Blocks:
        """∇A = E[T]."""
        r, _ = bessel_ratio(length(eta))
        return r * eta[0], r * eta[1]

    def ddA(self, eta: Blocks, v: Blocks) -> Blocks:
        """∇²A · v = Cov[T] · v."""
        r, bend = bessel_ratio(length(eta))
        c, s = unit(eta)
        along, across = c * v[0] + s * v[1], c * v[1] - s * v[0]
        return bend * along * c - r * across * s, bend * along * s + r * across * c

    def curvature(self, eta: Blocks, v: Blocks) -> Array:
        """vᵀ ∇²A v, by terms ≥ 0."""
        r, bend = bessel_ratio(length(eta))
        c, s = unit(eta)
        return bend * (c * v[0] + s * v[1]) ** 2 + r * (c * v[1] - s * v[0]) ** 2

    def dx(self, eta: Blocks, x: Array) -> Array:
        return eta[1] * np.cos(x) - eta[0] * np.sin(x)

    # z = F⁻¹(u) with F counted from −π, which never moves: z is smooth in (a, b), at κ = 0 too, and no mass goes over
    # the cut, as it does with μ + x. By the family about 0, x = z − μ, its CDF F₀, and c = −π − μ, all modulo 2π:
    #   F₀(x) = F₀(c) + u
    #   ∂z/∂κ = s(x) − ρ s(c),   ∂z/∂μ = 1 − ρ,   s = ∂x/∂κ about 0 (`reparam.von_mises`),   ρ = e^{κ (cos c − cos x)}
    #   ∂z/∂a = cos μ ∂z/∂κ − sin μ ∂z/∂μ/κ,    ∂z/∂b = sin μ ∂z/∂κ + cos μ ∂z/∂μ/κ

    def polar(self, u: Array) -> tuple[Array, ...]:
        """κ, cos μ, sin μ, c and x, all of one shape."""
        a, b, u = np.broadcast_arrays(*map(widened, (self.a, self.b, u)))
        c, s = unit((a, b))
        kappa, mu = length((a, b)), np.arctan2(s, c)
        cut = np.where(mu > 0, np.pi, -np.pi) - mu
        p = von_mises.tail(kappa, np.abs(cut))  # F₀(c) is 1 − p for c ≥ 0, else p
        turned = np.where(mu > 0, np.where(u > p, u - p, 1 - (p - u)), np.where(u > 1 - p, u - (1 - p), u + p))
        return kappa, c, s, cut, von_mises.sample(kappa, np.clip(turned, TINY, 1 - 2.0**-53))

    @quiet
    def sample(self, u: Array, k: Kernels = NUMPY) -> Array:
        """§7.2.4 z in (−π, π] by the inverse CDF from −π; u (..., K) uniform in (0, 1)."""
        _, c, s, _, x = self.polar(u)
        z = np.arctan2(s, c) + x
        z = z - np.where(z > np.pi, 2 * np.pi, 0) + np.where(z < -np.pi, 2 * np.pi, 0)
        return narrow(z, self.a)

    @quiet
    def sample_vjp(self, dz: Array, u: Array, k: Kernels = NUMPY) -> "VonMises":
        """Cotangent of the heads, summed over the samples."""
        kappa, c, s, cut, x = self.polar(u)
        gap = 2 * (np.sin(x / 2) ** 2 - np.sin(cut / 2) ** 2)  # cos c − cos x
        rho = np.exp(kappa * gap)
        by_kappa = von_mises.slope(kappa, x) - times(von_mises.slope(kappa, cut), rho)
        turn = np.where(kappa == 0, -gap, -np.expm1(kappa * gap) / np.where(kappa == 0, 1, kappa))
        dz = widened(dz)
        by_a, by_b = times(c, by_kappa) - times(s, turn), times(s, by_kappa) + times(c, turn)
        return VonMises(fitted(dz * by_a, self.a), fitted(dz * by_b, self.b))

    @property
    def mean(self) -> Array:
        """The mean direction μ, radians in (−π, π]."""
        return narrow(np.arctan2(widened(self.b), self.a), self.a)


def length(eta: Blocks) -> Array:
    """κ."""
    a, b = np.broadcast_arrays(*eta)
    return np.sqrt(a * a + b * b) if np.iscomplexobj(a) or np.iscomplexobj(b) else np.hypot(a, b)


def unit(eta: Blocks) -> Blocks:
    """η / κ, and any direction at κ = 0."""
    kappa = length(eta)
    safe = np.where(kappa == 0, 1.0, kappa)
    return np.where(kappa == 0, 1.0, eta[0] / safe), eta[1] / safe
