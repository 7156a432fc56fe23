"""§7.1.2 Has the Markov chain arrived, and what are its draws worth? Split R-hat and the effective sample size.

And what z ~ q(z | x) knows of x.

Draws are (T, C, …): T draws of each of C chains, of anything (rows, latents, a function of them).
Vehtari, Gelman, Simpson, Carpenter & Bürkner, "Rank-normalization, folding, and localization: an improved R-hat",
Bayesian Analysis 16 (2021), below V; Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7 (1992).
"""

import math

import numpy as np

from ..distributions import Normal
from ..errors import UsageError
from ..types import Array


def halves(draws: Array) -> Array:
    """(T, C, …) to (T // 2, 2 C, …): each chain's two halves as chains of their own, so that a drift shows as a gap."""
    half = draws.shape[0] // 2
    if draws.ndim < 2 or half < 2:
        raise UsageError(f"draws have shape {draws.shape}, expected (T, C, ...) with T >= 4 draws of C chains")
    return np.concatenate([draws[:half], draws[draws.shape[0] - half :]], axis=1).astype(np.float64)


# N draws in each of C chains, chain means x̄_c and variances s²_c:                                        V, eq. 1 to 4
#   within   W = mean of s²_c        between   B = N · variance of x̄_c
#   var⁺ = (N − 1)/N · W + B/N       over-estimates the variance while the chains have not met, W under-estimates it
def variances(chains: Array) -> tuple[Array, Array]:
    """(W, var⁺) of chains (N, C, …), each (…)."""
    N, C = chains.shape[:2]
    within = np.asarray(chains.var(axis=0, ddof=1).mean(axis=0))
    between_over_n = chains.mean(axis=0).var(axis=0, ddof=1) if C > 1 else 0.0
    return within, within * ((N - 1) / N) + between_over_n


def r_hat(draws: Array, ranked: bool = False) -> Array:
    """Split R-hat = √(var⁺ / W), (…): near 1 when the chains agree; V ask for < 1.01. NaN where no chain ever moved.

    With `ranked`, the draws are first replaced by normal scores of their ranks, which also serves heavy tails, and the
    same is done with |draw − median|, which sees chains of equal means and unequal widths: the worse of both (V, §4).
    """
    chains = halves(draws)
    if not ranked:
        return ratio(chains)
    folded = abs(chains - np.median(chains, axis=(0, 1)))
    return np.maximum(ratio(normal_scores(chains)), ratio(normal_scores(folded)))


def ratio(chains: Array) -> Array:
    """√(var⁺ / W) of chains (N, C, …), (…)."""
    within, total = variances(chains)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(total / within))


def normal_scores(chains: Array) -> Array:
    """Φ⁻¹((rank − 3/8) / (S + 1/4)), the rank of each draw among all S of all chains, ties averaged (V, eq. 14)."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    flat = chains.reshape(chains.shape[0] * chains.shape[1], -1)
    scores = ndtri((rankdata(flat, axis=0) - 0.375) / (flat.shape[0] + 0.25))
    return np.asarray(scores.reshape(chains.shape))


# The mean of S correlated draws has variance var τ/S with τ = 1 + 2 Σ ρ_t, so they are worth S/τ independent ones.
#   ρ_t = 1 − (W − mean of the chains' autocovariances at lag t) / var⁺                                     V, eq. 10
# Far lags are noise. For a reversible chain P_k = ρ_2k + ρ_2k+1 is positive, falling in k (Geyer's Theorem 3.1), so:
# stop at the first P_k ≤ 0 (initial positive sequence), never let it rise (initial monotone sequence).
#   τ = −1 + 2 Σ P_k
def effective_sample_size(draws: Array) -> Array:
    """How many independent draws would know the mean as well, (…). NaN where no chain ever moved."""
    chains = halves(draws)
    N, C = chains.shape[:2]
    within, total = variances(chains)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = 1 - (within - autocovariance(chains).mean(axis=1) * (N / (N - 1))) / total
    rho[0] = 1.0
    pairs = rho[0 : N - 1 : 2] + rho[1:N:2]
    alive = np.logical_and.accumulate(pairs > 0, axis=0)
    tau = 2 * np.where(alive, np.minimum.accumulate(pairs, axis=0), 0).sum(axis=0) - 1
    # anticorrelated chains may beat independence; V cap the gain at S log10 S, because τ near 0 is an estimate too
    ess = N * C / np.maximum(tau, 1 / math.log10(N * C))
    return np.asarray(np.where(total > 0, ess, np.nan))


def autocovariance(chains: Array) -> Array:
    """(1/N) Σ_t (x_t − x̄)(x_{t+l} − x̄) for every lag l, (N, C, …), by FFT padded against wrapping round."""
    N = chains.shape[0]
    spectrum = np.fft.rfft(chains - chains.mean(axis=0), 2 * N, axis=0)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), 2 * N, axis=0)[:N] / N)


def mean_with_error(draws: Array) -> tuple[Array, Array]:
    """The mean over all draws and its standard error, sd / √ESS, both (…)."""
    _, total = variances(halves(draws))
    return draws.mean(axis=(0, 1)), np.sqrt(total / effective_sample_size(draws))


# I_q(x; z) = E_x KL(q(z | x) ‖ q(z)),  q(z) = (1/N) Σ_j q(z | x_j)      so      KL(q(z | x) ‖ p) = I + KL(q(z) ‖ p)
#   Hoffman & Johnson 2016, "ELBO surgery". With q(z) of N rows it is log N at most.
def mutual_information(q: Normal, eps: Array, block: int = 256) -> float:
    """I_q(x; z), nats, of the rows that q (N, K) is of, by one draw each: eps (N, K)."""
    mu, log_var = q.mu.astype(np.float64), q.log_var.astype(np.float64)
    z, precision = mu + np.exp(0.5 * log_var) * eps, np.exp(-log_var)
    constant = (mu * mu * precision + log_var).sum(axis=1)
    total = 0.0
    for i in range(0, len(z), block):
        some = z[i : i + block]
        log_q = -0.5 * (some**2 @ precision.T - 2 * some @ (mu * precision).T + constant)
        own = log_q[np.arange(len(some)), i + np.arange(len(some))]
        total += float((own - np.logaddexp.reduce(log_q, axis=1)).sum())
    return total / len(z) + math.log(len(z))
