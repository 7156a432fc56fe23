"""§7.1.2 Expectation maximisation, exact: probabilistic PCA and mixtures of spherical Gaussians, by blocks of rows.

"Performing the E-step requires computing the approximate posterior p(z | x), which we have assumed to be intractable.
In the M-step, we learn parameters θ by looking at the entire dataset, which is going to be too large to hold in memory"
(the chapter). Here p(z | x) is a formula. EM is then the bound with q = p(z | x), where it touches log p(x), maximised
over θ: so log p(x) never falls (Dempster, Laird & Rubin, JRSS B 39, 1977). And the M-step needs sums over rows, no
more: x may be a memory map, read block by block. What stays true is the time: a step reads every row, AEVB's a batch.

Traps: a class that closes on one row has no largest likelihood, so σ² has a floor; sums of squares about 0 lose their
digits where the mean is large, so all sums are about the old means.
"""

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from ..errors import DataError, UsageError
from ..models.linear_gaussian import LinearGaussian
from ..models.mixture import Mixture, Theta
from ..types import Array

T = TypeVar("T")
ROWS = 1024  # of a block


class Fitted(NamedTuple, Generic[T]):
    """theta after the last step, and the mean log p(x), nats per datapoint, at the theta before each step."""

    theta: T
    log_p: list[float]


def fit(
    step: Callable[[Array, T], tuple[T, float]], x: Array, theta: T, steps: int = 100, tolerance: float = 0.0
) -> Fitted[T]:
    """EM from `theta` by `pca_step` or `mixture_step`: at most `steps`, fewer once a step gains less than `tolerance`
    nats per datapoint. Errors are those of the step."""
    log_p: list[float] = []
    while len(log_p) < steps:
        theta, found = step(x, theta)
        log_p.append(found)
        if len(log_p) > 1 and found - log_p[-2] < tolerance:
            break
    return Fitted(theta, log_p)


def blocks(x: Array, columns: int, rows: int = ROWS) -> Iterator[Array]:
    """x (N, D) in float64, a block of rows at a time. Raises DataError for no rows, for other than D = `columns`, and
    for a cell that is no number."""
    if not len(x):
        raise DataError("x has no rows: there is nothing to learn from")
    for start in range(0, len(x), rows):
        block = np.asarray(x[start : start + rows], np.float64)
        if block.shape[1] != columns:
            raise DataError(f"x has {block.shape[1]} columns but theta was built for D={columns}")
        if not np.isfinite(block).all():
            row, column = np.argwhere(~np.isfinite(block))[0]
            cell = f"x holds {block[row, column]} at row {start + row}, column {column} (from 0)"
            raise DataError(f"{cell}: EM by closed forms takes whole rows; leave it out, or fill it in first")
        yield block


# --- probabilistic PCA ----------------------------------------------------------------------------


# With z̃ = (z, 1), W̃ = (W; the shift of m) and r = x − m:                           Tipping & Bishop 1999, app. B
#   E-step   ⟨z⟩ the posterior's mean,   ⟨z̃ᵀz̃⟩ = ⟨z̃⟩ᵀ⟨z̃⟩ + (the posterior's covariance in z's corner)
#   M-step   max of −½ Σ [D log σ² + ⟨‖r − z̃W̃‖²⟩ / σ²], least squares:   Σ⟨z̃ᵀz̃⟩ W̃ = Σ⟨z̃⟩ᵀ r
#            what that leaves of the squares is   N D σ² = Σ‖r‖² − tr W̃ᵀ Σ⟨z̃⟩ᵀ r
# They set m to the mean of all rows beforehand, which is a pass more; here m is learned with W.
def pca_step(x: Array, theta: LinearGaussian, rows: int = ROWS) -> tuple[LinearGaussian, float]:
    """One EM step of `models.linear_gaussian` over x (N, D): the next theta, and the mean log p(x) at the old one.

    Raises DataError for a cell that is no number, a wrong number of columns, or data without noise (σ² = 0)."""
    K, D = theta.W.shape
    codes, products, squares, log_p = np.zeros((K + 1, K + 1)), np.zeros((K + 1, D)), 0.0, 0.0
    for block in blocks(x, D, rows):
        log_p += float(theta.log_marginal(block).sum())
        mean, cov = theta.posterior(block)
        z, r = np.column_stack([mean, np.ones(len(block))]), block - theta.m
        codes += z.T @ z
        codes[:K, :K] += len(block) * cov
        products += z.T @ r
        squares += float((r * r).sum())
    W = np.linalg.solve(codes, products)
    var = (squares - float((W * products).sum())) / (len(x) * D)
    if not var > 1e-14 * squares / (len(x) * D):
        raise DataError(f"x has rank {K} or less (noise variance {var:.1e}): use fewer latents or more rows")
    return LinearGaussian(W[:K], theta.m + W[K], np.log([var])), log_p / len(x)


# --- mixtures -------------------------------------------------------------------------------------


# E-step   n_bc = p(z = c | x_b)
# M-step   with N_c = Σ_b n_bc:   p(c) = N_c / N,   μ_c = Σ_b n_bc x_b / N_c,   σ_c² = Σ_b n_bc ‖x_b − μ_c‖² / (D N_c)
# and about the old mean, r = x − μ_old:    μ_c − μ_old = ⟨r⟩,   D σ_c² = ⟨‖r‖²⟩ − ‖⟨r⟩‖²,    ⟨·⟩ = Σ_b n_bc · / N_c
# As a function of σ_c² alone the bound has one maximum, so where that is below the floor, the floor is best.
def mixture_step(x: Array, theta: Theta, floor: float = 1e-6, rows: int = ROWS) -> tuple[Theta, float]:
    """One EM step of `models.mixture` over x (N, D): the next theta, and the mean log p(x) at the old one.

    `floor` is the least σ², in squares of x's unit. Raises DataError for a cell that is no number, and where a class
    has lost every row; UsageError for a floor that is not above 0."""
    if not floor > 0:
        raise UsageError(f"floor={floor}: without one above 0 a class may close on a row, and log p has no maximum")
    model = Mixture()
    C, D = theta.mu.shape
    count, first, second, log_p = np.zeros(C), np.zeros((C, D)), np.zeros(C), 0.0
    for block in blocks(x, D, rows):
        log_p += float(model.log_marginal(block, theta).sum())
        n = model.posterior(block, theta).mean
        r = block[:, None, :] - theta.mu
        count += n.sum(axis=0)
        first += np.einsum("bc,bcd->cd", n, r)
        second += (n * (r * r).sum(axis=-1)).sum(axis=0)
    if not count.all():
        raise DataError(f"class {np.argmin(count)} has lost every row: begin it nearer to some, or use fewer classes")
    shift = first / count[:, None]
    var = np.maximum((second / count - (shift * shift).sum(axis=-1)) / D, floor)
    return Theta(np.log(count / len(x)), theta.mu + shift, np.log(var)), log_p / len(x)
