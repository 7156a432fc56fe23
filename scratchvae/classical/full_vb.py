"""§7.1.2 Full variational Bayes: a posterior over the weights, too (Kingma & Welling 2014, App. F, eq. 13–24).

    p(θ) = N(0, I)     q(θ) = N(μ, diag σ²), the variational parameters     θ = μ + σ ⊙ ζ,  ζ ~ N(0, I)

    N · mean_b [ log p(x_b | z_b, θ) − KL(q(z | x_b) ‖ p(z)) ] − KL(q(θ) ‖ p(θ))                                  eq. 24

Here per row, all of it over N: a step maximises mean_b L_b(θ) − KL(q(θ) ‖ p(θ))/N, where L_b is `models.vae.elbo`. As
σ → 0 the slope in μ is that of MAP with p(θ), and the bound falls by log 1/σ a weight: the price of a precision that
nobody asked for.

Traps. One ζ serves a minibatch, so that its rows err together and more rows do not help: only with noise of its own for
each row does the variance fall as 1/M (`local`; Kingma, Salimans & Welling 2015). With σ = 1 at the start a net is
noise and learns nothing: `FIRST`. The authors' own code has log 2ππ for log 2πe, 0.07 nats a weight. And 400 000
weights, one nat each, are 6.7 nats for each of 60 000 rows: KL(q(θ))/N is a column of its own.
Tests: test_full_vb.py, against the evidence of Bayesian linear regression.
"""

import math
from typing import NamedTuple

import numpy as np

from ..distributions import Normal
from ..kernels import NUMPY, Kernels
from ..types import Array

FIRST = 2 * math.log(1e-2)  # log σ² of a weight at the start


def weights(q: Normal, zeta: Array, N: int, k: Kernels = NUMPY) -> tuple[Array, Array]:
    """θ (P,) of q's mu and log_var (P,) and ζ (P,); and KL(q(θ) ‖ N(0, I))/N, nats per datapoint."""
    return q.sample(zeta, k), q.kl(k) / N


def weights_vjp(dtheta: Array, w: float, q: Normal, zeta: Array, N: int, dq: Normal, k: Kernels = NUMPY) -> None:
    """Adds into dq what reaches it through θ, and w times the slope of KL/N (w = −1 in the bound)."""
    through = q.sample_vjp(dtheta, zeta, k)
    price = q.kl_vjp(np.asarray(w / N, dtheta.dtype), k)
    for total, *shares in zip(dq, through, price, strict=True):
        total += shares[0] + shares[1]


# Σ_j X_bj θ_j of θ ~ q is normal, row by row, and rows may have ζ_b of their own: the same bound, and rows that do not
# err together.      a_b = Σ_j X_bj μ_j + s_b ζ_b,   s_b² = Σ_j X_bj² σ_j²
def local(q: Normal, X: Array, zeta: Array) -> Array:
    """Activations (B,) of rows X (B, P), none of them all 0, by noise ζ (B,)."""
    return np.asarray(X @ q.mu + np.sqrt(X**2 @ np.exp(q.log_var)) * zeta)


def local_vjp(da: Array, q: Normal, X: Array, zeta: Array, dq: Normal) -> None:
    """Adds into dq: ∂a_b/∂μ_j = X_bj, ∂a_b/∂log σ_j² = ½ ζ_b X_bj² σ_j² / s_b."""
    variance = np.exp(q.log_var)
    for total, share in zip(dq, (da @ X, 0.5 * (da * zeta / np.sqrt(X**2 @ variance)) @ X**2 * variance), strict=True):
        total += share


class LinearRegression(NamedTuple):
    """Bayesian linear regression, closed throughout: y = Xθ + noise, θ ~ N(0, I); X (N, P), y (N,), log σ²."""

    X: Array
    y: Array
    log_var: float

    # y ~ N(0, σ² I + XXᵀ)
    def log_evidence(self) -> float:
        """log p(y | X), nats of the whole data."""
        N = len(self.y)
        cov = math.exp(self.log_var) * np.eye(N) + self.X @ self.X.T
        quadratic = self.y @ np.linalg.solve(cov, self.y)
        return float(-0.5 * (N * math.log(2 * math.pi) + np.linalg.slogdet(cov)[1] + quadratic))

    def posterior(self) -> tuple[Array, Array]:
        """p(θ | y): mean (P,) and precision Λ = I + XᵀX/σ², (P, P)."""
        scale = math.exp(-self.log_var)
        precision = np.eye(self.X.shape[1]) + scale * self.X.T @ self.X
        return np.linalg.solve(precision, scale * self.X.T @ self.y), precision

    def mean_field(self) -> Normal:
        """The best q of this form: the posterior's mean, and variances 1/Λᵢᵢ."""
        mean, precision = self.posterior()
        return Normal(mean, -np.log(np.diag(precision)))

    def log_likelihood(self, a: Array, rows: slice = slice(None)) -> Array:
        """log p(y_b | a_b) (B,) nats of some rows, whose activations a = Xθ."""
        square = (self.y[rows] - a) ** 2 * math.exp(-self.log_var)
        return np.asarray(-0.5 * (math.log(2 * math.pi) + self.log_var + square))

    def log_likelihood_vjp(self, w: Array, a: Array, rows: slice = slice(None)) -> Array:
        """da (B,)."""
        return np.asarray(w * (self.y[rows] - a) * math.exp(-self.log_var))

    # E_q[(y_b − a_b)²] = (y_b − X_b μ)² + s_b²
    def bound(self, q: Normal) -> Array:
        """E_q[log p(y | θ)] − KL(q ‖ N(0, I)), nats of the whole data, exactly; ≤ `log_evidence`."""
        spread = (self.X**2 @ np.exp(q.log_var)).sum() * math.exp(-self.log_var)
        return np.asarray(self.log_likelihood(self.X @ q.mu).sum() - 0.5 * spread - q.kl())

    def bound_vjp(self, w: float, q: Normal, dq: Normal) -> None:
        """Adds into dq: ∂/∂μ = Xᵀ(y − Xμ)/σ² − μ, ∂/∂log σ_j² = −½ σ_j² (XᵀX)_jj/σ² and KL's."""
        price = q.kl_vjp(np.asarray(-w))
        slope = self.log_likelihood_vjp(np.full(len(self.y), w), self.X @ q.mu) @ self.X
        spread = -0.5 * w * math.exp(-self.log_var) * (self.X**2).sum(axis=0) * np.exp(q.log_var)
        for total, *parts in zip(dq, price, (slope, spread), strict=True):
            total += parts[0] + parts[1]
