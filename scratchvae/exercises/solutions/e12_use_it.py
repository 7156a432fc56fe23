"""§7.1.1 Exercise 12: a row with gaps, in units of its own, and the step that fills it in.

Write `log_prob_seen`, `log_prob_seen_vjp` and `accept`. A decoder says mu and log_var of x / unit, column by column;
the columns are independent given z. What is not seen may hold anything, NaN too.

    scratchvae exercise 12 --check          --hint where you are stuck
"""

import numpy as np


def residual(x, seen, mu, unit):
    """x / unit − mu of what was seen, 0 for the rest. Given."""
    return np.where(seen, x / unit - mu, 0)


def log_prob_seen(x, seen, mu, log_var, unit):
    """log p of the cells that were seen, one number a row (B,), nats of the raw columns.

    x (B, D) raw; seen (B, D) bool; mu, log_var (B, D) of x / unit; unit (D,) above 0.
    """
    r = residual(x, seen, mu, unit)
    log_p = -0.5 * (np.log(2 * np.pi) + log_var + r**2 * np.exp(-log_var)) - np.log(unit)
    return np.where(seen, log_p, 0).sum(axis=-1)


def log_prob_seen_vjp(w, x, seen, mu, log_var, unit):
    """The cotangents of (x, seen, mu, log_var, unit) for w (B,) on the rows: None for what is data."""
    r = residual(x, seen, mu, unit)
    precision = np.exp(-log_var)
    dlog_var = np.where(seen, 0.5 * (r**2 * precision - 1), 0)
    return None, None, w[:, None] * r * precision, w[:, None] * dlog_var, None


def accept(log_new, log_old, u):
    """Which of the proposals z* ~ q(z | x) are taken, bool (B,).

    log_new, log_old (B,): log p(x, z) − log q(z | x) at the proposal, and where the chain stands; u (B,) uniform.
    """
    return np.log(u) < log_new - log_old
