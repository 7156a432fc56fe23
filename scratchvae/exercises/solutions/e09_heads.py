"""§7.2.5 Exercise 9: a network that speaks a distribution.

Write `heads` and `heads_vjp`. One tanh layer is the trunk; two linear heads speak the mean and the log-variance. This
is a decoder of grey pixels, as in Kingma & Welling 2014 for Frey Face: means are in (0, 1), so a sigmoid follows that
head. Any real number is a legal log σ²: nothing follows the other one.

    scratchvae exercise 9 --check          --hint where you are stuck
"""

import numpy as np


def sigmoid(a):
    """1 / (1 + e^−a); its slope is y (1 − y), written in y = sigmoid(a)."""
    return 1 / (1 + np.exp(-a))


def heads(x, W, b, W_mu, b_mu, W_log_var, b_log_var):
    """mu and log_var, (B, K) each, of rows x (B, D).

    h = tanh(x W + b), (B, H); mu = sigmoid(h W_mu + b_mu); log_var = h W_log_var + b_log_var.
    """
    h = np.tanh(x @ W + b)
    return sigmoid(h @ W_mu + b_mu), h @ W_log_var + b_log_var


def heads_vjp(dmu, dlog_var, x, W, b, W_mu, b_mu, W_log_var, b_log_var):
    """The cotangents of (x, W, b, W_mu, b_mu, W_log_var, b_log_var), each of its own shape.

    dmu and dlog_var (B, K) are the cotangents of what `heads` returned.
    """
    h = np.tanh(x @ W + b)
    mu = sigmoid(h @ W_mu + b_mu)
    da_mu = dmu * mu * (1 - mu)
    dh = da_mu @ W_mu.T + dlog_var @ W_log_var.T
    da = dh * (1 - h * h)
    dW_mu, dW_log_var = h.T @ da_mu, h.T @ dlog_var
    return da @ W.T, x.T @ da, da.sum(0), dW_mu, da_mu.sum(0), dW_log_var, dlog_var.sum(0)
