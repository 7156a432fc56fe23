"""§7.2.3 Exercise 6: how surely a decoder names an image.

Write `mean`, `bernoulli_log_prob` and `bernoulli_log_prob_vjp`. Each of D pixels is a bit, by its logit
l = log p/(1 − p); any real number is a legal logit, 1000 as well. A datapoint is a row, its pixels independent given z.

    scratchvae exercise 6 --check          --hint where you are stuck
"""

import numpy as np


def mean(logits):
    """P(x = 1) of each pixel, in [0, 1], of the logits' shape."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def bernoulli_log_prob(x, logits):
    """log p(x) of each row, (B,) nats; x (B, D) of 0 and 1, logits (B, D)."""
    return (x * logits - np.logaddexp(0, logits)).sum(axis=-1)


def bernoulli_log_prob_vjp(w, x, logits):
    """The cotangents of (x, logits) for w (B,) on the rows: None for x, and (B, D)."""
    return None, w[:, None] * (x - mean(logits))
