"""§7.1.1 The marginal likelihood estimator of Kingma & Welling 2014, App. D: posterior samples and a density.

For any density q with its mass where the posterior has some,
    ∫ q(z) dz = 1   ⇒   E_{p(z|x)}[ q(z) / (p(z) p(x|z)) ] = 1 / p(x)
so the mean over posterior samples estimates 1/p(x): first HMC, then q fitted to one half of the draws, then the mean
over the other half ("sample L new values from the posterior"). It needs q to fit well: fewer than five latents.
"""

import math

import numpy as np

from ..errors import UsageError
from ..noise import Noise, Rows
from ..types import Array
from .diagnostics import effective_sample_size
from .evidence import Evidence, LogMean, Model, Proposal, check_model, check_samples, normals
from .hmc import ChainPlan, hmc

MOST_LATENTS = 4
CENTRES = 256  # of the kernel density


def appendix_d(
    model: Model, x: Array, q: Proposal, noise: Noise, samples: int = 2000, chains: int = 8, density: str = "kernel",
    plan: ChainPlan | None = None, first_row: Rows = 0, start: Array | None = None,
) -> Evidence:  # fmt: skip
    """log p(x) from 2 · samples HMC draws a row. `density`: "gaussian" or "kernel" (for bent ones).

    `start` (chains, B, K) is where the chains begin: draws of q, unless given.

    Raises UsageError beyond four latents. The standard error counts what the correlated draws are worth.
    """
    check_samples(samples)
    check_reach(q.mu.shape[1], density)
    check_model(model, x, q, slope=True)
    draws = max(8, -(-samples // chains))
    plan = plan or ChainPlan(step_size=0.3, scale=np.exp(q.log_var / 2))
    plan = plan._replace(draws=2 * draws, first_row=first_row)
    if start is None:
        start = q.sample(normals(noise, 0, chains, q.mu, first_row))
    ones = np.ones(start.shape[:2], start.dtype)
    found = hmc(lambda z: model.log_joint(x, z), lambda z: model.log_joint_vjp(ones, x, z), start, noise, plan)
    fit = gaussian if density == "gaussian" else kernel
    log_q = fit(found.draws[:draws].astype(np.float64), found.draws[draws:].astype(np.float64))
    log_w = log_q - found.log_p[draws:]
    name = f"appendix D, {draws * chains} draws, {density} density"
    return inverse_mean(log_w, found.draws[draws:], found.cost, name)


# value = −log mean w. Correlated draws are worth fewer: what w itself is worth, times Kish's fraction. Chains that stay
# in one mode each can agree on w and yet know nothing of the modes' shares, so the worst latent's worth is a ceiling.
def inverse_mean(log_w: Array, z: Array, cost: int, name: str) -> Evidence:
    """−log mean exp(log_w) over chains' draws, log_w (T, C, B) at z (T, C, B, K), with its standard error."""
    T, C, B = log_w.shape
    mean = LogMean.empty(B).add(log_w.reshape(T * C, B))
    values = np.concatenate([np.exp(log_w - mean.peak)[..., None], z], axis=-1)
    worth = np.minimum(effective_sample_size(values).min(-1) / (T * C), 1)
    return Evidence(-mean.value, mean.standard_error / np.sqrt(worth), mean.ess * worth, cost, name)


def whitened(fitted: Array, asked: Array) -> tuple[Array, Array, Array]:
    """Both (T, C, B, K) draws in the coordinates where `fitted` has moments 0 and I, (B, n, K) and (B, m, K); and the
    log of the Gaussian's normaliser, (B,)."""
    K = fitted.shape[-1]
    a, b = (np.moveaxis(z.reshape(-1, *z.shape[2:]), 0, 1) for z in (fitted, asked))
    mean = a.mean(1, keepdims=True)
    cov = np.swapaxes(a - mean, 1, 2) @ (a - mean) / (a.shape[1] - 1)
    L = np.linalg.cholesky(cov)
    to_white = np.swapaxes(np.linalg.inv(L), 1, 2)
    log_norm = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(1) + 0.5 * K * math.log(2 * math.pi)
    return (a - mean) @ to_white, (b - mean) @ to_white, log_norm


def gaussian(fitted: Array, asked: Array) -> Array:
    """log density at `asked` (T, C, B, K) of the full Gaussian with the moments of `fitted`; (T, C, B)."""
    _, y, log_norm = whitened(fitted, asked)
    return np.asarray((-0.5 * (y * y).sum(2) - log_norm[:, None]).T.reshape(asked.shape[:3]))


# Σ_j N(y; a y_j, h² I)/n over n draws y_j, whitened: Silverman's width h = (4/((K + 2) n))^{1/(K+4)}, and the centres
# drawn in by a = √(1 − h²) so that the covariance stays I (West 1993): tails wider than the posterior's cost variance
def kernel(fitted: Array, asked: Array) -> Array:
    """log density at `asked` (T, C, B, K) of a kernel density on up to 256 of the draws `fitted`, every so many of
    each chain; (T, C, B)."""
    centres, y, log_norm = whitened(fitted.swapaxes(0, 1), asked)  # chain after chain: thinning leaves none out
    centres = centres[:, :: -(-centres.shape[1] // CENTRES)]
    n, K = centres.shape[1:]
    h = (4 / ((K + 2) * n)) ** (1 / (K + 4))
    found = np.empty(y.shape[:2])
    for row in range(len(y)):  # (m, n) pairs at a time
        c = math.sqrt(1 - h * h) * centres[row]
        square = (y[row] ** 2).sum(1)[:, None] - 2 * y[row] @ c.T + (c * c).sum(1)
        found[row] = LogMean.empty(len(square)).add(-0.5 * square.T / (h * h)).value
    return np.asarray((found - log_norm[:, None] - K * math.log(h)).T.reshape(asked.shape[:3]))


def check_reach(latents: int, density: str) -> None:
    """Refuse what the estimator cannot do."""
    if latents > MOST_LATENTS:
        raise UsageError(f"appendix D fits a density to {latents} latents: it reaches {MOST_LATENTS}; use AIS")
    if density not in ("gaussian", "kernel"):
        raise UsageError(f"density={density!r}: expected 'gaussian' or 'kernel'")
