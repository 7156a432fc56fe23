"""§7.3.1 Writing sequences from z, token by token: the likeliest, a drawn one, or the likeliest row by beam search.

z (B, K); rows (B, T) int64 of codes, END after the last token and PAD after that; `limit` T tokens at most.
"""

from typing import NamedTuple

import numpy as np

from ..data.tokens import END, PAD
from ..distributions.shared import log_softmax
from ..kernels import NUMPY, Kernels
from ..models.sequence import Decoder
from ..networks import activate, dense
from ..recurrent import embedding
from ..types import Array


class Pen(NamedTuple):
    """Where the writing of B rows stands: the states h (B, H), and what z adds to the gates (B, 3H)."""

    h: Array
    latent: Array


def begun(z: Array, theta: Decoder, k: Kernels = NUMPY) -> Pen:
    """Before the first token."""
    return Pen(activate(dense(z, theta.start, k), "tanh", k), dense(z, theta.latent, k))


def step(token: Array, pen: Pen, theta: Decoder, k: Kernels = NUMPY) -> tuple[Array, Pen]:
    """log p of each next token (B, V), after the tokens (B,)."""
    unit = theta.writer
    a = dense(embedding(token, unit.embedding), unit.input, k) + pen.latent
    h, _ = k.gru_gates(a, dense(pen.h, unit.state, k), pen.h)
    return log_softmax(dense(h, theta.logits, k).astype(np.float64))[0], pen._replace(h=h)


def write(
    z: Array, theta: Decoder, limit: int, u: Array | None = None, temperature: float = 1.0, k: Kernels = NUMPY
) -> Array:
    """A row for each z: the likeliest token every time, or, with uniforms u (B, limit), one drawn from p to the power
    of 1/temperature, normalised."""
    x, pen = np.full((len(z), limit), PAD, np.int64), begun(z, theta, k)
    token, writing = np.full(len(z), END), np.ones(len(z), bool)
    for t in range(limit):
        log_p, pen = step(token, pen, theta, k)
        token = log_p.argmax(axis=1) if u is None else drawn(log_p / temperature, u[:, t])
        x[writing, t] = token[writing]
        writing &= token != END
        if not writing.any():
            break
    return x


def drawn(log_weights: Array, u: Array) -> Array:
    """A column for each row of log weights (B, V), by uniforms u (B,) in [0, 1): the first whose sum is above u."""
    sums = np.exp(log_weights - log_weights.max(axis=1, keepdims=True)).cumsum(axis=1)
    return np.asarray((sums <= u[:, None] * sums[:, -1:]).sum(axis=1).clip(max=sums.shape[1] - 1))


def beam(z: Array, theta: Decoder, limit: int, width: int, k: Kernels = NUMPY) -> Array:
    """For each z the likeliest of the rows that a beam of `width` kept: no more than a lower bound of the mode."""
    return np.stack([beam_of_one(one, theta, limit, width, k) for one in z[:, None]])


def beam_of_one(z: Array, theta: Decoder, limit: int, width: int, k: Kernels = NUMPY) -> Array:
    """The row (limit,) for z (1, K). A finished row stays in the beam as it is."""
    x, score, pen = np.full((1, limit), PAD, np.int64), np.zeros(1), begun(z, theta, k)
    token = np.full(1, END)
    for t in range(limit):
        log_p, pen = step(token, pen, theta, k)
        done = (x == END).any(axis=1)
        log_p[done], log_p[done, END] = -np.inf, 0.0
        both = (score[:, None] + log_p).reshape(-1)
        best = np.argsort(-both, kind="stable")[: min(width, int(np.isfinite(both).sum()))]
        parent, token = np.divmod(best, log_p.shape[1])
        x, score = x[parent], both[best]
        x[~done[parent], t] = token[~done[parent]]
        pen = Pen(pen.h[parent], np.repeat(pen.latent[:1], len(parent), axis=0))
        if (x == END).any(axis=1).all():
            break
    return np.asarray(x[score.argmax()])
