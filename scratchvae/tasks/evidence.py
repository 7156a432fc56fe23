"""§7.1.1 How good is the model really: log p(x), one signature and one report for every estimator.

    importance, quadrature (here), ais.annealed, appendix_d.appendix_d :  (model, x, q, noise, …) → Evidence

All values are log p(x) in nats per row, constants kept. An ELBO is none of these; no analytic KL may enter a weight:
with log p(x|z) − KL for a log weight, "importance sampling" exceeds log p(x) (test_evidence shows it).
"""

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import UsageError
from ..gradcheck.contract import untouched
from ..noise import Noise, Purpose, Rows
from ..types import Array
from . import quadrature as grids

BLOCK = 32  # samples that share one step of the noise


class Model(Protocol):
    """p(x, z): x (B, D), z (S, B, K) → (S, B) nats; the vjp returns dz, and adds into dtheta unless it is None."""

    def log_joint(self, x: Array, z: Array) -> Array: ...
    def log_joint_vjp(self, w: Array, x: Array, z: Array, dtheta: Any = None) -> Array: ...


class Proposal(Protocol):
    """q(z|x) for the rows of x, a Gaussian around mu (B, K): `distributions.Normal` is one."""

    @property
    def mu(self) -> Array: ...
    @property
    def log_var(self) -> Array: ...
    def sample(self, eps: Array) -> Array: ...
    def log_prob(self, z: Array) -> Array: ...
    def log_prob_vjp(self, w: Array, z: Array) -> tuple[Array, Any]: ...


class Evidence(NamedTuple):
    """log p(x) of each row, value (B,) nats, its standard_error (B,) nats and effective sample size ess (B,); cost,
    evaluations of the joint or its slope for one z, over all rows; the estimator's name with its settings."""

    value: Array
    standard_error: Array
    ess: Array
    cost: int
    estimator: str

    def doubts(self, ess: float = 5.0, error: float = 0.5, index: Any = None) -> str:
        """One line if some row should not be trusted, "" otherwise: few effective samples mean that the largest weight
        decides, and then the standard error is itself too small. Rows are numbered as in `index` (B,)."""
        doubtful = ~((self.ess >= ess) & (self.standard_error <= error) & np.isfinite(self.value))
        if not doubtful.any():
            return ""
        trust = np.where(np.isfinite(self.ess), self.ess, -self.standard_error)  # quadrature has no samples to count
        worst = int(np.argmin(np.where(doubtful, np.nan_to_num(trust, nan=-np.inf), np.inf)))
        found = f"effective samples {self.ess[worst]:.1f}, standard error {self.standard_error[worst]:.2g} nats"
        rows = f"{doubtful.sum()} of {len(self.value)} rows"
        more = "chains or temperatures" if self.estimator.startswith("AIS") else "samples or AIS"
        number = worst if index is None else index[worst]
        return f"{self.estimator}: do not trust {rows} (worst, row {number}: {found}); take more {more}"

    def report(self) -> str:
        """The mean over rows, in one line that says what it is."""
        rows = len(self.value)
        error = math.sqrt(float((self.standard_error**2).sum())) / rows
        mean = f"log p(x) = {self.value.mean():.4f} ± {error:.4f} nats a row"
        return f"{mean} ({rows} rows, {self.estimator}, cost {self.cost})"


def joined(parts: list[Evidence]) -> Evidence:
    """Blocks of rows as one."""
    value, error, ess = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return Evidence(value, error, ess, sum(part.cost for part in parts), parts[0].estimator)


# log (1/S) Σ exp(a_s), streaming: keep the peak m and Σ e^{a−m}, Σ e^{2(a−m)}; when the peak rises by d, they shrink
# by e^−d and e^−2d. The delta method gives the standard error of the log of a mean, with ESS = (Σ w)² / Σ w² (Kish):
#   var log w̄ ≈ var(w) / (S w̄²) = (1/ESS − 1/S) S/(S − 1)
class LogMean(NamedTuple):
    """The running log-mean-exp of log weights, elementwise in float64: peak, total, squares (B,); number of samples."""

    peak: Array
    total: Array
    squares: Array
    samples: int

    @classmethod
    def empty(cls, rows: int) -> "LogMean":
        """Of nothing yet."""
        return cls(np.full(rows, -np.inf), np.zeros(rows), np.zeros(rows), 0)

    def add(self, log_w: Array) -> "LogMean":
        """With log_w (S, B) more. A NaN stays a NaN; −inf is a weight of 0."""
        log_w = log_w.astype(np.float64)
        peak = np.maximum(self.peak, log_w.max(axis=0))
        base = np.where(np.isneginf(peak), 0, peak)
        shrink, w = np.exp(self.peak - base), np.exp(log_w - base)
        total = self.total * shrink + w.sum(axis=0)
        return LogMean(peak, total, self.squares * shrink**2 + (w * w).sum(axis=0), self.samples + len(log_w))

    @property
    def value(self) -> Array:
        """log of the mean weight."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.peak + np.log(self.total / self.samples))

    @property
    def ess(self) -> Array:
        """Kish's effective sample size; NaN if all weights are 0."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.total**2 / self.squares)

    @property
    def standard_error(self) -> Array:
        """Of `value`, nats; NaN for a single sample."""
        S = self.samples
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.sqrt(np.maximum(1 / self.ess - 1 / S, 0) * np.divide(S, S - 1.0)))


# p(x) = E_q[p(x, z)/q(z|x)]: unbiased for p(x), so by Jensen low on average for its log, by half its variance or so.
# This is the importance-weighted bound with K = samples (Burda et al. 2015, eq. 8), which rises to log p(x).
def importance(model: Model, x: Array, q: Proposal, noise: Noise, samples: int = 5000, first_row: Rows = 0) -> Evidence:
    """Importance sampling of log p(x) from q. Rows are independent of one another and named by first_row."""
    check_samples(samples)
    check_model(model, x, q)
    B = len(q.mu)
    weights = LogMean.empty(B)
    for step, start in enumerate(range(0, samples, BLOCK)):
        S = min(BLOCK, samples - start)
        z = q.sample(normals(noise, step, S, q.mu, first_row))
        weights = weights.add(model.log_joint(x, z) - q.log_prob(z))
    name = f"importance sampling, {samples} samples"
    return Evidence(weights.value, weights.standard_error, weights.ess, samples * B, name)


def quadrature(
    model: Model, x: Array, q: Proposal, noise: Noise | None = None, resolution: int = 129, index: Array | None = None
) -> Evidence:
    """log p(x) on a grid, for one or two latents: no noise enters; the error is what doubling the grid changed. Errors
    number rows as in `index` (B,)."""
    found = grids.posterior(model.log_joint, x, q.mu.shape[1], resolution=resolution, index=index)
    ess = np.full(len(x), np.inf)
    return Evidence(found.log_marginal, found.error, ess, found.cost, "quadrature")


def normals(noise: Noise, step: int, samples: int, like: Array, first_row: Rows) -> Array:
    """ε (S, B, K) for `like` (B, K): fewer samples are a prefix of more, and a row's do not depend on the others'."""
    B, K = like.shape
    eps = noise.normals(Purpose.EVALUATE, step, B, samples * K, like.dtype, first_row)
    return np.ascontiguousarray(eps.reshape(B, samples, K).transpose(1, 0, 2))


def check_model(model: Model, x: Array, q: Proposal, slope: bool = False) -> None:
    """UsageError for a model that writes into its arguments: called once, at q's mean, on copies."""
    z = q.mu[None]
    untouched("log_joint", model.log_joint, x=x, z=z)
    if slope:
        untouched("log_joint_vjp", model.log_joint_vjp, w=np.ones(z.shape[:2], z.dtype), x=x, z=z)


def check_samples(samples: int) -> None:
    """One clear line for a number of samples that is none."""
    if samples < 1:
        raise UsageError(f"samples={samples}: an estimate of log p(x) needs at least 1")
