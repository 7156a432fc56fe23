"""§7.2.5 A mixture of Gaussians as prior: p(z) = Σ_c π_c N(z; μ_c, diag σ_c²)."""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np

from ..kernels import NUMPY, Kernels
from ..types import Array
from .shared import LOG_2PI, column, fitted, log_softmax, narrow, wide

DIGITS = 1e-9  # nats that the squares by matrix products may be off
NUMBERS = 2**20  # in any array on the way


# r_nc = Σ_k P_ck (z_nk − μ_ck)²  =  z² Pᵀ − 2 z (P μ)ᵀ + Σ_k P μ²
#   ∂/∂z = 2 Σ_c dr P (z − μ)     ∂/∂μ = −2 P Σ_n dr (z − μ)     ∂/∂P = Σ_n dr (z − μ)²
# The right-hand side is two matrix products and a sum, which lose as many digits as P (z² + μ²) is above r.
def squares(z: Array, mu: Array, precision: Array, expanded: bool) -> Array:
    """Weighted squared distances (N, C) of z (N, K) from mu (C, K); `expanded`: by matrix products."""
    if expanded:
        return z**2 @ precision.T - 2 * z @ (precision * mu).T + (precision * mu**2).sum(axis=-1)
    return np.asarray((precision * (z[:, None] - mu) ** 2).sum(axis=-1))


def squares_vjp(dr: Array, z: Array, mu: Array, precision: Array, expanded: bool) -> tuple[Array, Array, Array]:
    """Cotangents of z, mu and precision."""
    if expanded:
        first, second, total = dr.T @ z, dr.T @ z**2, dr.sum(axis=0)[:, None]
        dz = 2 * (z * (dr @ precision) - dr @ (precision * mu))
        return dz, -2 * precision * (first - total * mu), second - 2 * mu * first + total * mu**2
    off = z[:, None] - mu
    pull = dr[..., None] * off
    dz = 2 * (precision * pull).sum(axis=1)
    return dz, -2 * precision * pull.sum(axis=0), (pull * off).sum(axis=0)


class MixtureHeads(NamedTuple):
    """mu and log_var (C, K), logits (C,)."""

    mu: Array
    log_var: Array
    logits: Array


class MixtureNormal(MixtureHeads):
    """Σ_c π_c N(mu_c, e^log_var_c), π = softmax of the logits; also their cotangents. Values are (..., K), any rows.

    Thousands of components under any number of rows: a few arrays of a million numbers are all that is held.
    """

    __slots__ = ()
    noise: ClassVar[str] = "a uniform, then normals"

    @property
    def mean(self) -> Array:
        """Σ_c π_c μ_c, (K,)."""
        mu, logits = wide(self.mu, self.logits)
        return narrow(log_softmax(logits)[1] @ mu, self.mu)

    def sample(self, noise: Array, k: Kernels = NUMPY) -> Array:
        """z (..., K) of noise (..., 1 + K): a uniform in (0, 1) that picks the component, then normals. No slope passes
        through the choice (§7.2.2)."""
        mu, log_var, logits, noise = wide(*self, noise)
        below = np.cumsum(log_softmax(logits)[1])[:-1]
        c = np.searchsorted(below, noise[..., 0], side="right")
        return narrow(mu[c] + np.exp(0.5 * log_var[c]) * noise[..., 1:], self.mu, self.log_var)

    # log p = log Σ_c e^(l_c),  l_c = log π_c − ½ (K log 2π + Σ log σ_c² + r_c);   ∂ log p/∂l_c = e^(l_c) / p =: R_c
    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log p(z), nats, without the last axis."""
        rows = wide(z.reshape(-1, z.shape[-1]))[0]
        p = MixtureNormal(*wide(*self))
        found = [_log_sum(p._joint(rows[part], expanded)) for part, expanded in p._parts(rows)]
        log_p = np.concatenate(found) if found else np.zeros(0)
        return narrow(log_p.reshape(z.shape[:-1]), z, *self)

    def log_prob_vjp(self, w: Array, z: Array, k: Kernels = NUMPY) -> tuple[Array, "MixtureNormal"]:
        """Cotangents of z and of the parameters, each by the component's responsibility R."""
        rows, weights = wide(z.reshape(-1, z.shape[-1]))[0], column(w, z.shape).reshape(-1, 1)
        p = MixtureNormal(*wide(*self))
        precision, prior = np.exp(-p.log_var), log_softmax(p.logits)[1]
        dz = np.zeros(rows.shape, np.result_type(rows, weights, *p))
        dmu, dlog_var, dlogits = (np.zeros(h.shape, dz.dtype) for h in p)
        for part, expanded in p._parts(rows):
            R = weights[part] * log_softmax(p._joint(rows[part], expanded))[1]
            dz[part], dm, dP = squares_vjp(-0.5 * R, rows[part], p.mu, precision, expanded)
            dmu += dm
            dlog_var -= precision * dP + 0.5 * R.sum(axis=0)[:, None]
            dlogits += R.sum(axis=0) - weights[part].sum() * prior
        slopes = MixtureNormal(*(fitted(d, h) for d, h in zip((dmu, dlog_var, dlogits), self, strict=True)))
        return fitted(dz.reshape(z.shape), z), slopes

    def _joint(self, rows: Array, expanded: bool) -> Array:
        """l (N, C)."""
        constant = log_softmax(self.logits)[0] - 0.5 * (self.log_var + LOG_2PI).sum(axis=-1)
        return constant - 0.5 * squares(rows, self.mu, np.exp(-self.log_var), expanded)

    def _parts(self, rows: Array) -> Iterator[tuple[slice, bool]]:
        """Slices of the rows that keep every array small, and whether matrix products are exact enough."""
        far = np.abs(rows).max(initial=0) ** 2 + np.abs(self.mu) ** 2
        lost = np.finfo(float).eps * (np.exp(-self.log_var.real) * far).sum(axis=-1).max()
        expanded = bool(lost < DIGITS)
        step = max(1, NUMBERS // (len(self.mu) if expanded else self.mu.size))
        for start in range(0, len(rows), step):
            yield slice(start, start + step), expanded


def _log_sum(l: Array) -> Array:
    top = l.real.max(axis=-1, keepdims=True)
    return np.asarray(top[..., 0] + np.log(np.exp(l - top).sum(axis=-1)))
