"""§7.2.4 "For any f": ∇_φ E_q[f(z)] of functions of one variable, where means and variances are known exactly.

    f(z) = z² under N(θ, 1): score function variance θ⁴ + 14 θ² + 15, pathwise 4, measure-valued θ² (16/π − 4)
    (z − k)², exp(−k z²), cos kz     the test functions of Mohamed et al. 2020, "Monte Carlo gradient estimation"

where z² by hand is
    score     g = z² (z − θ),  z = θ + ε:  E[g²] = E[(θ + ε)⁴ ε²] = θ⁴ + 18 θ² + 15, less (2θ)²
    pathwise  g = 2z:                      Var = 4
    measure   g = 4θR/√2π,  R Rayleigh:    Var = 16 θ² (2 − π/2)/2π
Test: test_exact_variances. An integrand is a model whose likelihood is f, under a q that pays no KL.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..distributions import Normal
from ..kernels import NUMPY, Kernels
from ..types import Array
from . import Estimator, estimate


class Integrand(NamedTuple):
    """f and f', elementwise; z (S, B, 1)."""

    name: str
    f: Callable[[Array], Array]
    slope: Callable[[Array], Array]

    def log_likelihood(self, x: Any, z: Array, theta: Any) -> Array:
        """f(z), summed over the (one) latent."""
        return np.asarray(self.f(z).sum(axis=-1))

    def log_likelihood_vjp(self, w: Array, x: Any, z: Array, theta: Any, dtheta: Any) -> Array:
        """w f'(z)."""
        return w[..., None] * self.slope(z)


class Free(Normal):
    """A Gaussian q without a prior to differ from: KL = 0, so that only E_q[f] is differentiated."""

    __slots__ = ()

    def kl(self, k: Kernels = NUMPY) -> Array:
        """Nothing."""
        return np.zeros_like(self.mu[..., 0])

    def kl_vjp(self, w: Array, k: Kernels = NUMPY) -> Normal:
        """Nothing."""
        return Normal(np.zeros_like(self.mu), np.zeros_like(self.log_var))


def square(k: float = 0.0) -> Integrand:
    """(z − k)²."""
    return Integrand(f"(z - {k:g})^2", lambda z: (z - k) ** 2, lambda z: 2 * (z - k))


def bump(k: float = 1.0) -> Integrand:
    """exp(−k z²)."""
    return Integrand(f"exp(-{k:g} z^2)", lambda z: np.exp(-k * z * z), lambda z: -2 * k * z * np.exp(-k * z * z))


def wave(k: float = 1.0) -> Integrand:
    """cos kz."""
    return Integrand(f"cos {k:g}z", lambda z: np.cos(k * z), lambda z: -k * np.sin(k * z))


def rows(e: Estimator, f: Integrand, mu: float, sigma: float, noise: Array) -> Array:
    """Single estimates of ∂E[f]/∂(mu, log_var), (B, 2), for noise (S, B, e.noise)."""
    B = noise.shape[1]
    q = Free(np.full((B, 1), mu), np.full((B, 1), 2 * np.log(sigma)))
    _, dq = estimate(replace(e, analytic_kl=True), f, q, None, noise)
    return np.concatenate([dq.mu, dq.log_var], axis=1)


def exact(e: Estimator, f: Integrand, mu: float, sigma: float, nodes: int = 120) -> tuple[Array, Array]:
    """Mean and variance of one estimate, (2,) each, by Gauss-Hermite quadrature; `e` must take ε alone as its noise."""
    line, weight = np.polynomial.hermite_e.hermegauss(nodes)
    g, p = rows(e, f, mu, sigma, line[None, :, None]), weight / weight.sum()
    mean = p @ g
    return mean, p @ (g - mean) ** 2
