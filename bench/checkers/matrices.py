"""§7.2.4 Right pairs of linear algebra: Cholesky, solve, eigh, inverse, determinant, singular values, a GP's evidence.

A function of a symmetric matrix takes any A and makes it symmetric first, so that its gradient is symmetric too.
"""

from typing import Any

import numpy as np

from scratchvae.types import Array

from .family import Family, Rng, normal, normals


def symmetric(A: Array) -> Array:
    """Its symmetric part."""
    return (A + A.T) / 2


def halved(X: Array) -> Array:
    """The lower triangle, its diagonal halved."""
    return np.tril(X) - 0.5 * np.diag(np.diag(X))


def factor(A: Array) -> Array:
    return np.linalg.cholesky(symmetric(A))


def factor_vjp(dy: Array, A: Array) -> Array:
    L = factor(A)
    P = halved(L.T @ np.tril(dy))
    return symmetric(np.linalg.solve(L.T, np.linalg.solve(L.T, P.T).T))


def lower_factor(A: Array) -> Array:
    return np.linalg.cholesky(A)  # reads the lower triangle alone


def lower_factor_vjp(dy: Array, A: Array) -> Array:
    return 2 * halved(factor_vjp(dy, np.tril(A) + np.tril(A, -1).T))


def solution(A: Array, B: Array) -> Array:
    return np.linalg.solve(A, B)


def solution_vjp(dy: Array, A: Array, B: Array) -> tuple[Array, Array]:
    dB = np.linalg.solve(A.T, dy)
    return -dB @ np.linalg.solve(A, B).T, dB


def inverse(A: Array) -> Array:
    return np.linalg.inv(A)


def inverse_vjp(dy: Array, A: Array) -> Array:
    Y = np.linalg.inv(A)
    return -Y.T @ dy @ Y.T


def log_determinant(A: Array) -> Array:
    return np.linalg.slogdet(A)[1]


def log_determinant_vjp(dy: Array, A: Array) -> Array:
    return dy * np.linalg.inv(A).T


def eigenvalues(A: Array) -> Array:
    return np.linalg.eigh(symmetric(A))[0]


def eigenvalues_vjp(dy: Array, A: Array) -> Array:
    V = np.linalg.eigh(symmetric(A))[1]
    return (V * dy) @ V.T


def matrix_exponential(A: Array) -> Array:
    w, V = np.linalg.eigh(symmetric(A))
    return (V * np.exp(w)) @ V.T


def matrix_exponential_vjp(dy: Array, A: Array) -> Array:
    w, V = np.linalg.eigh(symmetric(A))
    e, gaps = np.exp(w), w[:, None] - w + np.eye(len(w))
    slopes = (e[:, None] - e) / gaps + np.diag(e)
    return V @ (slopes * (V.T @ symmetric(dy) @ V)) @ V.T


def singular_values(A: Array) -> Array:
    return np.linalg.svd(A, compute_uv=False)


def singular_values_vjp(dy: Array, A: Array) -> Array:
    U, _, Vt = np.linalg.svd(A, full_matrices=False)
    return (U * dy) @ Vt


def norm(x: Array) -> Array:
    return np.linalg.norm(x, axis=1)


def norm_vjp(dy: Array, x: Array) -> Array:
    return (dy / np.linalg.norm(x, axis=1))[:, None] * x


def quadratic(x: Array, A: Array) -> Array:
    return x @ A @ x


def quadratic_vjp(dy: Array, x: Array, A: Array) -> tuple[Array, Array]:
    return dy * (A + A.T) @ x, dy * np.outer(x, x)


def kernel(X: Array, log_scale: Array) -> Array:
    """exp(−½ |xᵢ − xⱼ|² / scale²) + 0.1 I."""
    return np.exp(-0.5 * square_distances(X) * np.exp(-2 * log_scale)) + 0.1 * np.eye(len(X))


def square_distances(X: Array) -> Array:
    """|xᵢ − xⱼ|² of all rows."""
    return ((X[:, None] - X) ** 2).sum(axis=2)


def evidence(log_scale: Array, X: Array, y: Array) -> Array:
    L = np.linalg.cholesky(kernel(X, log_scale))
    return -0.5 * (np.linalg.solve(L, y) ** 2).sum() - np.log(np.diag(L)).sum()


def evidence_vjp(dy: Array, log_scale: Array, X: Array, y: Array) -> tuple[Any, ...]:
    K = kernel(X, log_scale)
    a, d = np.linalg.solve(K, y), square_distances(X) * np.exp(-2 * log_scale)
    dK = 0.5 * (np.outer(a, a) - np.linalg.inv(K))
    return dy * (dK * d * (K - 0.1 * np.eye(len(X)))).sum(), None, -dy * a


def positive(rng: Rng) -> tuple[Any, ...]:
    A = normal(rng, 4, 4)
    return (A @ A.T + np.eye(4),)


def regular(rng: Rng) -> tuple[Any, ...]:
    return normal(rng, 4, 4) + 4 * np.eye(4), normal(rng, 4, 2)


def apart(rng: Rng) -> tuple[Any, ...]:
    """Eigenvalues about one apart."""
    Q = np.linalg.qr(normal(rng, 4, 4))[0]
    return ((Q * (np.arange(4) + rng.uniform(-0.3, 0.3, 4))) @ Q.T,)


def rows(rng: Rng) -> tuple[Any, ...]:
    return np.asarray(0.3 * rng.standard_normal()), normal(rng, 6, 2), normal(rng, 6)


FAMILIES = {
    "Cholesky": Family(factor, factor_vjp, positive),
    "Cholesky of a lower triangle": Family(lower_factor, lower_factor_vjp, positive),
    "solve": Family(solution, solution_vjp, regular),
    "inverse": Family(inverse, inverse_vjp, lambda rng: regular(rng)[:1]),
    "log determinant": Family(log_determinant, log_determinant_vjp, lambda rng: regular(rng)[:1]),
    "eigh": Family(eigenvalues, eigenvalues_vjp, apart),
    "matrix exponential by eigh": Family(matrix_exponential, matrix_exponential_vjp, apart),
    "singular values": Family(singular_values, singular_values_vjp, normals((4, 3))),
    "norm of rows": Family(norm, norm_vjp, normals((3, 4))),
    "quadratic form": Family(quadratic, quadratic_vjp, normals((4,), (4, 4))),
    "evidence of a Gaussian process": Family(evidence, evidence_vjp, rows, ("X",)),
}
