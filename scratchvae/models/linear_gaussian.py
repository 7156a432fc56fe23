"""§7.1 The linear-Gaussian model (probabilistic PCA): every quantity of the chapter in closed form, the oracle.

    p(z) = N(0, I)      p(x|z) = N(zW + m, σ² I)      x (B, D)   z (B, K)   W (K, D)   m (D,)   log_var = log σ² (1,)

Tipping & Bishop, "Probabilistic principal component analysis", JRSS B 61 (1999), below T&B (their W is our Wᵀ).
Lucas et al. 2019: this is the optimum of a linear VAE. All log densities are in nats, constants kept, one number a row.

`observed` (B, D) bool marks the entries that were seen; x may hold NaN where it is False. A Gaussian marginal just
drops the rows of Wᵀ and m that belong to missing entries, so every formula stands with the mask put in.
"""

import math
from typing import NamedTuple

import numpy as np

from scratchvae.errors import DataError, UsageError
from scratchvae.types import Array

LOG_2PI = math.log(2 * math.pi)


class LinearGaussian(NamedTuple):
    """Parameters θ = (W (K, D), m (D,), log σ² (1,)); a cotangent of θ is another one of these, added to in place."""

    W: Array
    m: Array
    log_var: Array

    # --- the model --------------------------------------------------------------------------------

    def sample(self, eps_z: Array, eps_x: Array) -> tuple[Array, Array]:
        """§7.1 ancestral sampling: z = ε_z (…, K), x = zW + m + σ ε_x (…, D). Returns (x, z)."""
        return eps_z @ self.W + self.m + np.exp(self.log_var / 2) * eps_x, eps_z

    # log p(x, z) = −½ [ K log 2π + ‖z‖² + D log 2πσ² + ‖x − m − zW‖² / σ² ]
    def log_joint(self, x: Array, z: Array) -> Array:
        """log p(x, z) in nats: x (B, D), z (B, K) or (S, B, K) gives (B,) or (S, B)."""
        K, D = self.W.shape
        r = x - self.m - z @ self.W
        quadratic = (z * z).sum(-1) + (r * r).sum(-1) * np.exp(-self.log_var)
        log_p: Array = -0.5 * ((K + D) * LOG_2PI + D * self.log_var + quadratic)
        return log_p

    # With r = x − m − zW:  ∂/∂r = −r/σ²,  and r falls as zW and m rise, so
    #   ∂/∂z = −z + rWᵀ/σ²,   ∂/∂W = zᵀr/σ²,   ∂/∂m = r/σ²,   ∂/∂log σ² = −½ (D − ‖r‖²/σ²)
    def log_joint_vjp(self, w: Array, x: Array, z: Array, dtheta: "LinearGaussian | None" = None) -> Array:
        """Σ w · log p(x, z), w shaped like `log_joint`: returns dz like z; adds into `dtheta` unless it is None."""
        K, D = self.W.shape
        r = x - self.m - z @ self.W
        dr = w[..., None] * r * np.exp(-self.log_var)
        if dtheta is not None:
            dW, dm, dlog_var = dtheta
            dW += z.reshape(-1, K).T @ dr.reshape(-1, D)
            dm += dr.reshape(-1, D).sum(0)
            dlog_var += 0.5 * ((dr * r).sum() - D * w.sum())
        dz: Array = dr @ self.W.T - w[..., None] * z
        return dz

    # --- exact inference --------------------------------------------------------------------------

    # log p(x, z) is quadratic in z, so the posterior is Gaussian; complete the square (T&B eq. 6, 7):
    #   precision  I + Wo Woᵀ/σ² = M/σ²,  M = σ² I + Wo Woᵀ,       Wo = the columns of W that were observed
    #   mean       M⁻¹ Wo (x − m)                                  covariance  σ² M⁻¹
    def posterior(self, x: Array, observed: Array | None = None) -> tuple[Array, Array]:
        """p(z|x): mean (B, K) and covariance: (K, K), the same for all rows, or (B, K, K) under `observed`."""
        r, M = self._residual(x, observed), self._m_matrix(observed)
        mean = np.linalg.solve(M, (r @ self.W.T)[..., None])[..., 0]
        return mean, np.exp(self.log_var) * np.linalg.inv(M)

    def sample_posterior(self, x: Array, eps: Array) -> Array:
        """z ~ p(z|x) by z = mean + ε Lᵀ, LLᵀ the covariance (§7.2.4): eps (…, B, K) gives z of its shape."""
        mean, cov = self.posterior(x)
        return mean + eps @ np.linalg.cholesky(cov).T

    # p(x) = N(m, C), C = σ² I + WᵀW (T&B eq. 3). D may be large, so work in K dimensions:
    #   Sylvester   log det C = (D − K) log σ² + log det M
    #   Woodbury    C⁻¹ = (I − Wᵀ M⁻¹ W) / σ²,   so   r C⁻¹ rᵀ = (‖r‖² − (rWᵀ) M⁻¹ (rWᵀ)ᵀ) / σ²
    def log_marginal(self, x: Array, observed: Array | None = None) -> Array:
        """log p(x), or log p(x_observed) under a mask, (B,) nats."""
        K, D = self.W.shape
        r, M = self._residual(x, observed), self._m_matrix(observed)
        count = D if observed is None else observed.sum(-1)
        b = r @ self.W.T
        quadratic = (r * r).sum(-1) - (b * np.linalg.solve(M, b[..., None])[..., 0]).sum(-1)
        log_det = (count - K) * self.log_var + _log_det(M)
        log_p: Array = -0.5 * (count * LOG_2PI + log_det + quadratic * np.exp(-self.log_var))
        return log_p

    # Fisher's identity: ∂ log p(x)/∂θ = E_{p(z|x)} ∂ log p(x, z)/∂θ, which is the ELBO's θ-gradient at q = p(z|x),
    # where the bound touches log p(x) from below (test_linear_gaussian: complex step through log_marginal itself).
    def log_marginal_vjp(self, w: Array, x: Array, dtheta: "LinearGaussian") -> Array:
        """Σ w log p(x): adds into `dtheta`, returns dx (B, D) = −w (x − m) C⁻¹ = −w (x − m − E[z|x] W) / σ²."""
        mean, cov = self.posterior(x)
        elbo_vjp(w, x, mean, np.broadcast_to(cov, (*mean.shape, mean.shape[-1])), self, dtheta)
        dx: Array = -w[:, None] * (x - self.m - mean @ self.W) * np.exp(-self.log_var)
        return dx

    # §7.1.1 task 3.  x_mis = m + zW + noise with z ~ p(z | x_obs), so
    #   E[x_mis|x_obs] = m + E[z|x_obs] W       Cov = Wᵀ Cov(z|x_obs) W + σ² I       both cut to the missing entries
    def conditional(self, x: Array, observed: Array) -> tuple[Array, Array]:
        """p(x_mis|x_obs): mean (B, D), equal to x where observed, and covariance (B, D, D), zero there."""
        mean, cov = self.posterior(x, observed)
        full = np.einsum("kd,bkl,le->bde", self.W, cov, self.W) + np.exp(self.log_var) * np.eye(self.W.shape[1])
        missing = ~observed
        return np.where(observed, x, mean @ self.W + self.m), full * (missing[:, :, None] & missing[:, None, :])

    # --- shared pieces ----------------------------------------------------------------------------

    def _m_matrix(self, observed: Array | None) -> Array:
        K, D = self.W.shape
        ridge: Array = np.exp(self.log_var) * np.eye(K, dtype=self.W.dtype)
        if observed is None:
            gram: Array = self.W @ self.W.T
        else:
            outer = self.W[:, None, :] * self.W[None, :, :]  # (K, K, D): a rank-one term a column; sum those seen
            gram = (observed.astype(self.W.dtype) @ outer.reshape(K * K, D).T).reshape(-1, K, K)
        return ridge + gram

    def _residual(self, x: Array, observed: Array | None) -> Array:
        if x.shape[-1] != self.m.shape[0]:
            raise DataError(f"x has {x.shape[-1]} columns but theta was built for D={self.m.shape[0]}")
        if observed is None:
            return x - self.m
        if observed.shape != x.shape or observed.dtype != np.bool_:
            raise DataError(f"observed must be bool of shape {x.shape} like x, got {observed.dtype} {observed.shape}")
        return np.where(observed, x - self.m, 0)


# --- the exact bound ------------------------------------------------------------------------------


# For q(z) = N(μ, C):  E[zzᵀ] = μμᵀ + C, so each square gains a trace, and H[q] = ½ log det(2πe C).
#   ELBO = −½ [ D log 2πσ² + (‖x − m − μW‖² + tr(Wᵀ C W)) / σ² + ‖μ‖² + tr C − log det C − K ]
def elbo(x: Array, mu: Array, cov: Array, theta: LinearGaussian) -> Array:
    """§7.2 E_q[log p(x, z) − log q(z)], (B,) nats, for q = N(mu (B, K), cov (B, K, K)), any covariance."""
    W, m, log_var = theta
    K, D = W.shape
    r = x - m - mu @ W
    squares = (r * r).sum(-1) + ((cov @ W) * W).sum((-2, -1))
    prior = (mu * mu).sum(-1) + np.trace(cov, axis1=-2, axis2=-1)
    L: Array = -0.5 * (D * (LOG_2PI + log_var) + squares * np.exp(-log_var) + prior - _log_det(cov) - K)
    return L


#   ∂/∂μ = rWᵀ/σ² − μ        ∂/∂C = −½ (WWᵀ/σ² + I − C⁻¹)        (zero at the posterior: C⁻¹ = M/σ²)
#   ∂/∂W = (μᵀr − C W)/σ²    ∂/∂m = r/σ²                         ∂/∂log σ² = −½ (D − squares/σ²)
def elbo_vjp(
    w: Array, x: Array, mu: Array, cov: Array, theta: LinearGaussian, dtheta: LinearGaussian | None = None
) -> tuple[Array, Array]:
    """Σ w · ELBO: returns dmu (B, K) and the symmetric dcov (B, K, K); adds into `dtheta` unless it is None."""
    W, m, log_var = theta
    K, D = W.shape
    r = x - m - mu @ W
    v = w * np.exp(-log_var)
    if dtheta is not None:
        dW, dm, dlog_var = dtheta
        squares = (r * r).sum(-1) + ((cov @ W) * W).sum((-2, -1))
        dW += (v[:, None] * mu).T @ r - np.tensordot(v, cov, 1) @ W
        dm += v @ r
        dlog_var += 0.5 * (v @ squares - D * w.sum())
    dcov = -0.5 * (v[:, None, None] * (W @ W.T) + w[:, None, None] * (np.eye(K) - np.linalg.inv(cov)))
    return v[:, None] * (r @ W.T) - w[:, None] * mu, dcov


def elbo_diag(x: Array, mu: Array, log_var: Array, theta: LinearGaussian) -> Array:
    """`elbo` for the VAE's q = N(mu, diag exp(log_var)), both (B, K)."""
    return elbo(x, mu, np.exp(log_var)[..., None] * np.eye(mu.shape[-1]), theta)


# C = diag exp(ℓ), so ∂/∂ℓₖ = (∂/∂C)ₖₖ exp(ℓₖ)
def elbo_diag_vjp(
    w: Array, x: Array, mu: Array, log_var: Array, theta: LinearGaussian, dtheta: LinearGaussian | None = None
) -> tuple[Array, Array]:
    """Σ w · `elbo_diag`: returns dmu, dlog_var, both (B, K); adds into `dtheta` unless it is None."""
    var = np.exp(log_var)
    dmu, dcov = elbo_vjp(w, x, mu, var[..., None] * np.eye(mu.shape[-1]), theta, dtheta)
    return dmu, np.einsum("bkk->bk", dcov) * var


def elbo_tril(x: Array, mu: Array, L: Array, theta: LinearGaussian) -> Array:
    """`elbo` for q = N(mu, L Lᵀ), L (B, K, K) lower triangular: z = mu + L ε."""
    return elbo(x, mu, L @ np.swapaxes(L, -2, -1), theta)


# C = LLᵀ, so dC = dL Lᵀ + L dLᵀ and, dcov being symmetric, dL = 2 dcov L, of which only the lower triangle is free
def elbo_tril_vjp(
    w: Array, x: Array, mu: Array, L: Array, theta: LinearGaussian, dtheta: LinearGaussian | None = None
) -> tuple[Array, Array]:
    """Σ w · `elbo_tril`: returns dmu (B, K), dL (B, K, K) lower triangular; adds into `dtheta` unless it is None."""
    dmu, dcov = elbo_vjp(w, x, mu, L @ np.swapaxes(L, -2, -1), theta, dtheta)
    return dmu, np.tril(2 * dcov @ L)


# --- the optimum ----------------------------------------------------------------------------------


# T&B eq. 14, 15: with the sample covariance S = U Λ Uᵀ, eigenvalues falling,
#   m = mean,   σ² = mean of the D − K smallest λ,   W = (Λ_K − σ² I)^½ U_Kᵀ      (any rotation of W is as good)
def maximum_likelihood(x: Array, latents: int, ddof: int = 0) -> LinearGaussian:
    """The θ that maximises Σ log p(x) over all data x (N, D); `ddof=1` divides S by N − 1, as scikit-learn does.

    Raises UsageError unless 1 ≤ latents < D; DataError if the data leave no noise (σ² = 0: unbounded likelihood).
    """
    N, D = x.shape
    if not 1 <= latents < D:
        raise UsageError(f"latents={latents}: probabilistic PCA of {D} columns needs 1 <= latents < {D}")
    m = x.mean(0)
    values, vectors = np.linalg.eigh((x - m).T @ (x - m) / (N - ddof))
    values, vectors = values[::-1], vectors[:, ::-1]
    var = values[latents:].mean(keepdims=True)
    if not var > 1e-12 * values[0]:
        raise DataError(f"x has rank {latents} or less (noise variance {var[0]:.1e}): use fewer latents or more rows")
    W = np.sqrt(values[:latents] - var)[:, None] * vectors[:, :latents].T
    return LinearGaussian(W, m, np.log(var))


# det may be complex under a complex step; its phase, 1 + i·tiny, then carries the derivative
def _log_det(A: Array) -> Array:
    sign, log_abs = np.linalg.slogdet(A)
    return np.asarray(np.log(sign) + log_abs)
