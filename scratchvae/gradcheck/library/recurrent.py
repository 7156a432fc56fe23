"""§7.2.4 Sequences: gates, a token's log p, embedding, sums over time, the unit through time, the bound."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...kernels.recurrent import gru_gates_np, gru_gates_vjp_np, token_log_prob_np, token_log_prob_vjp_np
from ...models.sequence import (
    Decoder,
    Encoder,
    SequenceArchitecture,
    elbo,
    elbo_vjp,
    encode,
    encode_vjp,
    log_likelihood,
    log_likelihood_vjp,
)
from ...networks import Dense
from ...recurrent import Packing, embedding, embedding_vjp, gru, gru_vjp, over_time, over_time_vjp
from ...types import Array
from .. import accumulating
from . import Case, at

H, V = 3, 5
X = np.array([[2, 3, 0, -1], [4, 2, 2, 0], [0, -1, -1, -1]])  # tokens of three rows, of 3, 4 and 1
PACKING = Packing.of((X >= 0).sum(axis=1))
N = len(PACKING.rows)


def gates(a: Array, s: Array, h: Array) -> Array:
    """The new state, the one result of `gru_gates_np` that has a cotangent."""
    return gru_gates_np(a, s, h)[0]


def gates_vjp(dh: Array, a: Array, s: Array, h: Array) -> tuple[Array, Array, Array]:
    """By what the way forward kept."""
    return gru_gates_vjp_np(dh, gru_gates_np(a, s, h)[1], h)


def states(a: Array, h0: Array, p: Dense) -> Array:
    """Every state of `gru`."""
    return gru(a, h0, p, PACKING)[0]


def states_vjp(dh: Array, a: Array, h0: Array, p: Dense, dp: Dense) -> tuple[Array, Array]:
    """Through all times."""
    return gru_vjp(dh, gru(a, h0, p, PACKING)[1], p, dp)


def q_of(x: Array, phi: Encoder) -> tuple[Array, ...]:
    """μ and log σ²."""
    return tuple(encode(x, phi)[0])


def q_of_vjp(dq: Any, x: Array, phi: Encoder, dphi: Encoder) -> None:
    """Into dphi alone."""
    q, cache = encode(x, phi)
    encode_vjp(type(q)(*dq), cache, phi, dphi)


def reconstruction(x: Array, z: Array, theta: Decoder) -> Array:
    """log p(x | z)."""
    return log_likelihood(x, z, theta)[0]


def reconstruction_vjp(w: Array, x: Array, z: Array, theta: Decoder, dtheta: Decoder) -> tuple[None, Array]:
    """Into dtheta, and dz."""
    return None, log_likelihood_vjp(w, log_likelihood(x, z, theta)[1], theta, dtheta)


def bound(x: Array, eps: Array, phi: Encoder, theta: Decoder) -> Array:
    """L (B,)."""
    return elbo(x, eps, phi, theta)[0]


def bound_vjp(w: Array, x: Array, eps: Array, phi: Encoder, theta: Decoder, dphi: Encoder, dtheta: Decoder) -> None:
    """Into dphi and dtheta."""
    elbo_vjp(w, elbo(x, eps, phi, theta)[1], eps, phi, theta, dphi, dtheta)


def nets() -> tuple[Encoder, Decoder]:
    """Small ones, whose weights differ."""
    arch = SequenceArchitecture(X.shape[1], V, latent=2, hidden=H, embedding=2)
    views = {name: at(340 + i, *shape) / 2 for i, (name, shape) in enumerate(arch.shapes().items())}
    phi, theta = arch.nets(views)
    assert phi
    return phi, theta


def cases() -> Iterator[Case]:
    """Rows of three lengths, one of a single token."""
    a, s, h = at(330, 4, 3 * H), at(331, 4, 3 * H), at(332, 4, H)
    yield Case("kernels.gru_gates", gates, gates_vjp, (a, s, h))
    y = np.array([0, 4, 2, 2])
    yield Case("kernels.token_log_prob", token_log_prob_np,
               lambda w, logits, y: (token_log_prob_vjp_np(w, logits, y), None), (at(333, 4, V), y),
               constants=("y",))  # fmt: skip
    tokens = PACKING.take(X)

    def embedded(E: Array) -> Array:
        return embedding(tokens, E)

    def embedded_vjp(dy: Array, E: Array, dE: Array) -> None:
        embedding_vjp(dy, tokens, dE)

    yield Case("recurrent.embedding", embedded, accumulating(embedded_vjp, into=(0,)), (at(334, V, 2),))
    yield Case("recurrent.over_time", lambda x: over_time(x, PACKING), lambda dy, x: over_time_vjp(dy, PACKING),
               (at(335, N, 2),))  # fmt: skip
    p = Dense(at(336, H, 3 * H) / 2, at(337, 3 * H) / 2)
    yield Case("recurrent.gru", states, accumulating(states_vjp, into=(2,)), (at(338, N, 3 * H), at(339, 3, H), p))
    phi, theta = nets()
    yield Case("sequence.encode", q_of, accumulating(q_of_vjp, into=(1,)), (X, phi), constants=("x",))
    args = (X, at(360, 3, 2), theta)
    yield Case("sequence.log_likelihood", reconstruction, accumulating(reconstruction_vjp, into=(2,)), args,
               constants=("x",))  # fmt: skip
    yield Case("sequence.elbo", bound, accumulating(bound_vjp, into=(2, 3)), (X, at(361, 3, 2), phi, theta),
               constants=("x", "eps"))  # fmt: skip
