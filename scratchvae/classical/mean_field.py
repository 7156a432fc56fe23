"""§7.1.2 Mean field by coordinate ascent: Gaussian posteriors, networks of bits, Ising models, sigmoid belief networks.

q(z) = Π_i q_i(z_i), and one q_i at a time is set to its best, log q_i(z_i) = E[log p(x, z)] over the others + constant:
the bound never falls. "One step of mean field requires us to compute an expectation whose time complexity scales
exponentially with the size of the Markov blanket of the target variable" (the chapter). So it does for a *factor* that
ties the whole blanket, as p(x_d | z_1 … z_K) does: 2^(K−1) terms. But who can pay for that sum can pay for 2^K, the
exact posterior (`tasks.exact`). Where factors are pairs (Ising) or the joint is a Gaussian, a step is a sum over the
neighbours; and for a sigmoid belief network a looser bound is a product over parents (`saul`), linear as well.

Saul, Jaakkola & Jordan, "Mean field theory for sigmoid belief networks", JAIR 4 (1996), below SJJ; Jordan et al., "An
introduction to variational methods for graphical models", Machine Learning 37 (1999). Traps: all coordinates at once
(`parallel`) is no ascent, and strong couplings swing for ever; there may be many optima, and the start decides.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..distributions import Bernoulli
from ..errors import DataError
from ..models.sigmoid_belief import Theta
from ..tasks import exact
from ..types import Array

Update = Callable[..., Array]  # (q (B, K), i, …) -> the best q_i (B,), the others as they are
HALVINGS = 40  # of the interval that holds ξ


def sweep(update: Update, q: Array, *given: Any, order: Iterable[int] | None = None) -> Array:
    """Every coordinate once, one after the other, each from the newest of the others; returns a new q (B, K)."""
    q = q.copy()
    for i in range(q.shape[1]) if order is None else order:
        q[:, i] = update(q, i, *given)
    return q


def parallel(update: Update, q: Array, *given: Any) -> Array:
    """Every coordinate from the old ones, all at once: what not to do, for each is best for others that have left."""
    return np.stack([update(q, i, *given) for i in range(q.shape[1])], axis=1)


def sigmoid(a: Array) -> Array:
    """1 / (1 + e^−a); a may be ±∞."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * a))


def entropy(q: Array) -> Array:
    """Σ_k H of bits with P(1) = q (B, K), (B,) nats; 0 log 0 = 0."""
    p = np.stack([q, 1 - q])
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=(0, -1)))


# --- Gaussian posteriors --------------------------------------------------------------------------


# p(z | x) = N(Λ⁻¹h, Λ⁻¹):   log p = −½ zΛzᵀ + hz + …, and of z_i alone   −½ Λ_ii z_i² + (h_i − Σ_{j≠i} Λ_ij m_j) z_i
#   so   q_i = N(m_i, 1/Λ_ii),   m_i = (h_i − Σ_{j≠i} Λ_ij m_j) / Λ_ii:   Gauss and Seidel's way to solve Λm = h
def gaussian(m: Array, i: int, h: Array, precision: Array) -> Array:
    """The best m_i (B,); m, h (B, K), precision Λ (K, K). The variances are 1/Λ_ii whatever m is."""
    return np.asarray((h[:, i] - m @ precision[i]) / precision[i, i] + m[:, i])


# At the optimum the means are right, so   KL(q ‖ p) = ½ (tr ΛS − K + log|Λ⁻¹| − log|S|),  S = diag 1/Λ_ii,  tr ΛS = K
def gaussian_gap(precision: Array) -> float:
    """log p(x) less the bound at the optimum, nats: ½ (Σ log Λ_ii − log |Λ|); 0 only where Λ is diagonal."""
    return 0.5 * float(np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])


# --- bits, by factors -----------------------------------------------------------------------------


class Factor(NamedTuple):
    """A term of log p(x, z): the latents it ties, and its value, (2, …, 2, B or 1), an axis a latent; −∞ is allowed."""

    scope: tuple[int, ...]
    log_value: Array


# log p(x, z) = Σ_f f(z_f).  Of z_i only the factors that hold it: their latents are its Markov blanket.
#   logit q_i = Σ_{f ∋ i} E_q[f(z_i = 1, ·) − f(z_i = 0, ·)],    2^(|f|−1) terms each, halved latent by latent
def bit(q: Array, i: int, factors: Sequence[Factor]) -> Array:
    """The best q_i = P(z_i = 1), (B,); q (B, K). States of the others that are impossible with either z_i do not count.

    Raises DataError where one factor demands a 0 and another a 1: no q_i lifts the bound above −∞."""
    logit = np.zeros(len(q))
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is a NaN, and is told
        for f in factors:
            if i in f.scope:
                zero, one = np.moveaxis(f.log_value, f.scope.index(i), 0)
                apart = np.where(np.isneginf(np.maximum(zero, one)), 0, one - zero)
                logit = logit + mean(apart, q, [j for j in f.scope if j != i])
    if np.isnan(logit).any():
        raise DataError(f"z_{i} must be both 0 and 1 for the others of this q: begin near a z that is possible")
    return sigmoid(logit)


def mean(value: Array, q: Array, scope: Iterable[int]) -> Array:
    """E_q of value (2, …, 2, B or 1), an axis for each latent of `scope`, (B or 1,); 0 · ∞ = 0."""
    for j in scope:
        p = q[:, j]
        value = (1 - p) * np.where(p < 1, value[0], 0) + p * np.where(p > 0, value[1], 0)
    return value


def bound(q: Array, factors: Sequence[Factor]) -> Array:
    """E_q[log p(x, z)] + H(q), (B,) nats: at most log p(x)."""
    return np.asarray(sum((mean(f.log_value, q, f.scope) for f in factors), entropy(q)))


def belief(x: Array, theta: Theta) -> list[Factor]:
    """`models.sigmoid_belief` as factors: a prior for each latent, and p(x | z), which ties them all, 2^K values a row.

    x (B, D) bits. Raises UsageError beyond 16 latents."""
    K = len(theta.prior)
    states = exact.bits(K, 1).unit[:, None, :]
    likelihood = Bernoulli(states @ theta.decoder.W + theta.decoder.b).log_prob(x)  # (2^K, B): z_k is bit k
    tied = likelihood.reshape(*[2] * K, len(x)).transpose(*range(K)[::-1], K)
    ends = np.stack([-np.logaddexp(0, theta.prior), -np.logaddexp(0, -theta.prior)])  # log P(z_k = 0), log P(z_k = 1)
    return [*(Factor((k,), ends[:, k, None]) for k in range(K)), Factor(tuple(range(K)), tied)]


# --- pairs ----------------------------------------------------------------------------------------


# s_i = ±1,   log p(s) = h·s + ½ sJs − log Z,   J symmetric with a diagonal of 0.  Of s_i:  s_i (h_i + Σ_j J_ij s_j), so
#   m_i = E s_i = tanh(h_i + Σ_j J_ij m_j):   the blanket costs a sum over it, not 2^ its size
def ising(m: Array, i: int, h: Array, J: Array) -> Array:
    """The best mean m_i (B,) of a spin; m, h (B, K), J (K, K) symmetric, its diagonal 0."""
    return np.asarray(np.tanh(h[:, i] + m @ J[i]))


def ising_bound(m: Array, h: Array, J: Array) -> Array:
    """h·m + ½ mJm + H(m), (B,) nats: at most log Z."""
    return np.asarray((h * m).sum(axis=-1) + 0.5 * ((m @ J) * m).sum(axis=-1) + entropy(0.5 * (1 + m)))


# --- sigmoid belief networks, by a looser bound ---------------------------------------------------


# log p(x | z) = Σ_d x_d a_d − log(1 + e^a_d),  a = zW + b.  For any ξ,  log(1 + e^a) = ξa + log(e^−ξa + e^(1−ξ)a),  so
#   E log(1 + e^a) ≤ ξ E a + log E[e^−ξa + e^(1−ξ)a]                       Jensen; and a product over the parents is
#   log E e^ta = t b + Σ_k log(1 − q_k + q_k e^(t W_k))                    with t = −ξ and t = 1 − ξ              (SJJ)
def log_mean_exp(t: Array, q: Array, theta: Theta) -> Array:
    """log E_q[e^(t a)], (B, D); t (B, D)."""
    W, b = theta.decoder
    p = q[:, :, None]
    return np.asarray(t * b + np.log(1 - p + p * np.exp(t[:, None, :] * W)).sum(axis=1))


#   its slope by t:   b + Σ_k q_k W_k e^(tW_k) / (1 − q_k + q_k e^(tW_k))
def tilted_mean(t: Array, q: Array, theta: Theta) -> Array:
    """E[a] under q(z) e^(t a) once that is normalised, (B, D)."""
    W, b = theta.decoder
    p, e = q[:, :, None], np.exp(t[:, None, :] * W)
    return np.asarray(b + (p * W * e / (1 - p + p * e)).sum(axis=1))


def saul_bound(q: Array, xi: Array, x: Array, theta: Theta) -> Array:
    """SJJ's bound (B,) nats, below the mean-field bound at the same q; q (B, K), xi (B, D), x (B, D) bits."""
    W, b = theta.decoder
    tied = np.logaddexp(log_mean_exp(-xi, q, theta), log_mean_exp(1 - xi, q, theta))
    prior = (q * theta.prior - np.logaddexp(0, theta.prior)).sum(axis=-1)
    return np.asarray(prior + ((x - xi) * (q @ W + b) - tied).sum(axis=-1) + entropy(q))


# Each expectation is linear in q_i, so −log of their sum is convex in it and lies above its tangent at the old q_i. The
# best q_i under the tangent, entropy included, is a sigmoid, and no worse than the old one: the bound never falls.
#   ∂/∂q_i log E e^ta = (e^(tW_i) − 1) / (1 − q_i + q_i e^(tW_i))
def saul(q: Array, i: int, xi: Array, x: Array, theta: Theta) -> Array:
    """A better q_i (B,) for SJJ's bound: a sum over the pixels, each a product over the parents."""
    W = theta.decoder.W[i]
    share = sigmoid(log_mean_exp(-xi, q, theta) - log_mean_exp(1 - xi, q, theta))
    slope = np.zeros_like(xi)
    for weight, t in ((share, -xi), (1 - share, 1 - xi)):
        p, e = q[:, i, None], np.exp(t * W)
        slope += weight * (e - 1) / (1 - p + p * e)
    return sigmoid(theta.prior[i] + ((x - xi) * W - slope).sum(axis=-1))


# ξ E a + log E[e^−ξa + e^(1−ξ)a] is convex in ξ; its slope is E a less the mean of a under q(z)(e^−ξa + e^(1−ξ)a): not
# above 0 at ξ = 0, for 1 + e^a tilts towards large a, and not below 0 at ξ = 1.  So the best ξ is in [0, 1].
def saul_xi(q: Array, theta: Theta) -> Array:
    """The best ξ (B, D) for q (B, K), by halving; x does not enter."""
    W, b = theta.decoder
    low = np.zeros((len(q), len(b)))
    high = np.ones_like(low)
    for _ in range(HALVINGS):
        xi = 0.5 * (low + high)
        share = sigmoid(log_mean_exp(-xi, q, theta) - log_mean_exp(1 - xi, q, theta))
        tilted = share * tilted_mean(-xi, q, theta) + (1 - share) * tilted_mean(1 - xi, q, theta)
        falls = q @ W + b < tilted
        low, high = np.where(falls, xi, low), np.where(falls, high, xi)
    return 0.5 * (low + high)
