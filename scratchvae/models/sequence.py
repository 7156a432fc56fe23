"""§7.3 The VAE on sequences: p(x | z) = Π_t p(x_t | x_<t, z) by a gated recurrent unit, and q(z | x) by another.

    L(x) = Σ_t log p(x_t | x_<t, z) − KL(q(z | x) ‖ N(0, I))            Bowman et al. 2016, "Generating sentences"

The encoder reads the embedded tokens, and its last state gives μ and log σ². The decoder has tanh(z W + b) for its
first state, and z, beside the token before, at every step. x (B, T) are codes of tokens, whole numbers, each row closed
by END and filled up with PAD; eps (B, K); L (B,) nats a row, summed over its tokens, END among them. Without latents
(K = 0) there is no encoder and no KL: the decoder by itself, a language model, whose L is log p(x).
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from ..data.tokens import END, PAD
from ..distributions import Normal
from ..errors import UsageError
from ..kernels import NUMPY, Kernels
from ..networks import Dense, activate, activate_vjp, dense, dense_vjp
from ..recurrent import Packing, Trace, embedding, embedding_vjp, gru, gru_vjp, over_time, over_time_vjp
from ..types import Array


class Recurrent(NamedTuple):
    """An embedding and a gated recurrent unit, or their cotangents."""

    embedding: Array  # (V, E)
    input: Dense  # (E, 3H)
    state: Dense  # (H, 3H)


class Encoder(NamedTuple):
    """The parameters of q(z | x), or their cotangents."""

    reader: Recurrent
    mu: Dense  # (H, K)
    log_var: Dense


class Decoder(NamedTuple):
    """The parameters of p(x | z), or their cotangents."""

    writer: Recurrent
    start: Dense  # (K, H): the first state
    latent: Dense  # (K, 3H): what z adds to the gates at every step
    logits: Dense  # (H, V)


@dataclasses.dataclass(frozen=True)
class SequenceArchitecture:
    """The shape of a model of sequences: `columns` tokens at most, END among them, of `vocabulary` kinds."""

    columns: int
    vocabulary: int
    latent: int = 64  # 0: a language model
    hidden: int = 256
    embedding: int = 32
    scheduled = False  # no step of it is compiled as a whole

    def __post_init__(self) -> None:
        if min(self.columns, self.vocabulary, self.hidden, self.embedding) < 1 or self.latent < 0:
            raise UsageError(f"sizes must be at least 1, latent 0 for a language model, but {self}")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name and shape, in the order of the arena: all of q, then all of p."""
        K, H, E, V = self.latent, self.hidden, self.embedding, self.vocabulary
        unit = {"input": (E, 3 * H), "state": (H, 3 * H)}
        nets = {"q": unit | {"mu": (H, K), "log_var": (H, K)}} if K else {}
        nets["p"] = unit | {"start": (K, H), "latent": (K, 3 * H), "logits": (H, V)}
        found: dict[str, tuple[int, ...]] = {}
        for net, layers in nets.items():
            found[f"{net}.embedding"] = (V, E)
            for name, (i, o) in layers.items():
                found |= {f"{net}.{name}.W": (i, o), f"{net}.{name}.b": (o,)}
        return found

    def nets(self, views: dict[str, Array]) -> tuple[Encoder | None, Decoder]:
        """(phi, theta) over named arrays; phi is None without latents."""

        def layers(net: str, *names: str) -> list[Dense]:
            return [Dense(views[f"{net}.{name}.W"], views[f"{net}.{name}.b"]) for name in names]

        def unit(net: str) -> Recurrent:
            return Recurrent(views[f"{net}.embedding"], *layers(net, "input", "state"))

        phi = Encoder(unit("q"), *layers("q", "mu", "log_var")) if self.latent else None
        return phi, Decoder(unit("p"), *layers("p", "start", "latent", "logits"))


class Read(NamedTuple):
    """What `encode` computed and `encode_vjp` needs."""

    packing: Packing
    tokens: Array
    inputs: Array
    trace: Trace
    h: Array  # (B, H): the last states


def encode(x: Array, phi: Encoder, k: Kernels = NUMPY) -> tuple[Normal, Read]:
    """q(z | x), rows in the data's order, and what the way back needs."""
    packing, unit = Packing.of((x != PAD).sum(axis=1)), phi.reader
    tokens = packing.take(x).astype(np.int64)
    inputs = embedding(tokens, unit.embedding)
    h0 = np.zeros((len(x), unit.state.W.shape[0]), unit.state.W.dtype)
    states, trace = gru(dense(inputs, unit.input, k), h0, unit.state, packing, k)
    h = np.empty(h0.shape, states.dtype)
    h[packing.order] = states[packing.last]
    return Normal(dense(h, phi.mu, k), dense(h, phi.log_var, k)), Read(packing, tokens, inputs, trace, h)


def encode_vjp(dq: Normal, cache: Read, phi: Encoder, dphi: Encoder, k: Kernels = NUMPY) -> None:
    """Of `encode`: adds into dphi. Only the last state of a row was looked at."""
    packing, tokens, inputs, trace, h = cache
    dh = dense_vjp(dq.mu, h, phi.mu, dphi.mu, k) + dense_vjp(dq.log_var, h, phi.log_var, dphi.log_var, k)
    dstates = np.zeros((len(tokens), dh.shape[1]), dh.dtype)
    dstates[packing.last] = dh[packing.order]
    da, _ = gru_vjp(dstates, trace, phi.reader.state, dphi.reader.state, k)
    dinputs = dense_vjp(da, inputs, phi.reader.input, dphi.reader.input, k)
    embedding_vjp(dinputs, tokens, dphi.reader.embedding)


def before(x: Array) -> Array:
    """The token before each of x (B, T); END also begins a row."""
    return np.concatenate([np.full_like(x[:, :1], END), x[:, :-1]], axis=1)


class Written(NamedTuple):
    """What `log_likelihood` computed and its way back needs; rows are packed."""

    packing: Packing
    shown: Array  # the tokens before, or what word dropout made of them
    tokens: Array
    z: Array
    inputs: Array
    h0: Array
    trace: Trace
    h: Array
    logits: Array


def log_likelihood(
    x: Array, z: Array, theta: Decoder, k: Kernels = NUMPY, shown: Array | None = None
) -> tuple[Array, Written]:
    """log p(x | z) (B,), z (B, K). The decoder sees `shown` (B, T) for the tokens before, those of x by default."""
    packing, unit = Packing.of((x != PAD).sum(axis=1)), theta.writer
    tokens = packing.take(x).astype(np.int64)
    fed = packing.take(before(x) if shown is None else shown).astype(np.int64)
    z = z[packing.order]
    inputs = embedding(fed, unit.embedding)
    h0 = activate(dense(z, theta.start, k), "tanh", k)
    a = dense(inputs, unit.input, k) + over_time_vjp(dense(z, theta.latent, k), packing)
    h, trace = gru(a, h0, unit.state, packing, k)
    logits = dense(h, theta.logits, k)
    L = np.empty(len(x), logits.dtype)
    L[packing.order] = over_time(k.token_log_prob(logits, tokens), packing)
    return L, Written(packing, fed, tokens, z, inputs, h0, trace, h, logits)


def log_likelihood_vjp(w: Array, cache: Written, theta: Decoder, dtheta: Decoder, k: Kernels = NUMPY) -> Array:
    """Of `log_likelihood`: adds into dtheta, returns dz (B, K) in the data's order; w (B,)."""
    packing, fed, tokens, z, inputs, h0, trace, h, logits = cache
    dlogits = k.token_log_prob_vjp(over_time_vjp(w[packing.order], packing), logits, tokens)
    dh = dense_vjp(dlogits, h, theta.logits, dtheta.logits, k)
    da, dh0 = gru_vjp(dh, trace, theta.writer.state, dtheta.writer.state, k)
    dinputs = dense_vjp(da, inputs, theta.writer.input, dtheta.writer.input, k)
    embedding_vjp(dinputs, fed, dtheta.writer.embedding)
    at_start = activate_vjp(dh0, h0, "tanh", k)  # z has two ways: the first state, and every step
    dz = np.empty_like(z)
    dz[packing.order] = dense_vjp(at_start, z, theta.start, dtheta.start, k) + dense_vjp(
        over_time(da, packing), z, theta.latent, dtheta.latent, k
    )
    return dz


class Cache(NamedTuple):
    """What `elbo` computed on the way forward and `elbo_vjp` needs."""

    q: Normal | None
    read: Read | None
    written: Written
    reconstruction: Array  # log p(x | z), (B,)
    kl: Array  # (B,)


def elbo(
    x: Array, eps: Array, phi: Encoder | None, theta: Decoder, k: Kernels = NUMPY, shown: Array | None = None
) -> tuple[Array, Cache]:
    """The bound L (B,), nats, and the cache. With `shown`, as in `log_likelihood`, it is that of a decoder which sees
    less, and an objective: what is told of a run is L of x itself."""
    if eps.shape != (len(x), theta.start.W.shape[0]):
        raise UsageError(f"eps has shape {eps.shape}, expected ({len(x)}, {theta.start.W.shape[0]})")
    q, read = encode(x, phi, k) if phi else (None, None)
    kl = q.kl(k) if q else np.zeros(len(x), theta.start.W.dtype)
    reconstruction, written = log_likelihood(x, q.sample(eps, k) if q else eps, theta, k, shown)
    return reconstruction - kl, Cache(q, read, written, reconstruction, kl)


def elbo_vjp(
    w: Array,
    cache: Cache,
    eps: Array,
    phi: Encoder | None,
    theta: Decoder,
    dphi: Encoder | None,
    dtheta: Decoder,
    k: Kernels = NUMPY,
    beta: Array | float = 1.0,
) -> None:
    """Adds ∂(Σ_b w_b (log p(x_b | z_b) − Σ_k β_k KL_bk)) into dphi and dtheta; β = 1 is L's."""
    dz = log_likelihood_vjp(w, cache.written, theta, dtheta, k)
    if cache.q and cache.read and phi and dphi:
        path, kl = cache.q.sample_vjp(dz, eps, k), cache.q.kl_vjp(-w, k)
        dq = Normal(path.mu + beta * kl.mu, path.log_var + beta * kl.log_var)
        encode_vjp(dq, cache.read, phi, dphi, k)
