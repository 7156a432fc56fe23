"""§7.1.2 Exercise 14: the classical way, EM for a mixture of clouds and mean field for spins.

Write `e_step`, `m_step` and `mean_field`. Cloud c of the mixture has the log share a_c, the mean mu_c, and one variance
for all columns. Of spins s_i = ±1 is log p(s) = h·s + ½ sJs + constant, J symmetric, its diagonal 0.

    scratchvae exercise 14 --check          --hint where you are stuck
"""

import numpy as np


def log_joint(x, a, mu, log_var):
    """log p(x, z = c), (B, C): x (B, D), a (C,) log shares, mu (C, D), log_var (C,). Given."""
    square = ((x[:, None, :] - mu) ** 2).sum(axis=-1)
    return a - 0.5 * (x.shape[1] * (np.log(2 * np.pi) + log_var) + square * np.exp(-log_var))


def e_step(t):
    """q(z = c), (B, C), the posterior of t = log p(x, z = c), (B, C), which may be far below 0."""
    n = np.exp(t - t.max(axis=1, keepdims=True))
    return n / n.sum(axis=1, keepdims=True)


def m_step(x, n):
    """The a (C,), mu (C, D), log_var (C,) for which Σ n log p(x, z) is largest: x (B, D), n (B, C) from the E-step."""
    count = n.sum(axis=0)
    mu = n.T @ x / count[:, None]
    square = ((x[:, None, :] - mu) ** 2).sum(axis=-1)
    return np.log(count / len(x)), mu, np.log((n * square).sum(axis=0) / (x.shape[1] * count))


def mean_field(m, h, J):
    """The means of q(s) = Π q_i(s_i) after one sweep, (K,), each the best one for the others: m, h (K,), J (K, K).

    A new array: m is left as it is.
    """
    m = m.copy()
    for i in range(len(m)):
        m[i] = np.tanh(h[i] + J[i] @ m)
    return m
