"""§7.2.4 Sequences as pure pairs: packing by length, embedding, and the gated recurrent unit with its way back in time.

Rows of unlike length are packed: in order of falling length, the first token of every row, then the second of those
that have one, and so on, N tokens in all. A pad is nowhere, so nothing is computed for it and no slope comes from it:
the bits are the same however far rows were padded.
"""

from typing import NamedTuple

import numpy as np

from .kernels import NUMPY, Kernels
from .networks import Dense
from .types import Array


class Packing(NamedTuple):
    """Where the tokens of B rows lie among N; `rows` count in the order of falling length."""

    order: Array  # (B,): the row of the data that comes first, …
    sizes: tuple[int, ...]  # rows that have a token number t; none grows
    rows: Array  # (N,): of each packed token its row, …
    times: Array  # (N,): … and its place in it

    @classmethod
    def of(cls, lengths: Array) -> "Packing":
        """Of rows with so many tokens (B,), each at least one."""
        order = np.argsort(-lengths, kind="stable")
        sizes = tuple(int((lengths > t).sum()) for t in range(int(lengths.max(initial=0))))
        rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(n) for n in sizes)])
        return cls(order, sizes, rows, np.repeat(np.arange(len(sizes)), sizes))

    @property
    def spans(self) -> list[slice]:
        """Of each time its packed tokens."""
        ends = np.cumsum(self.sizes).tolist()
        return [slice(end - n, end) for n, end in zip(self.sizes, ends, strict=True)]

    @property
    def last(self) -> Array:
        """(B,): where the last token of each row lies."""
        lengths = np.bincount(self.rows, minlength=len(self.order))
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        return np.asarray(starts[lengths - 1] + np.arange(len(self.order)))

    def take(self, x: Array) -> Array:
        """Of x (B, T), in the data's order, the packed tokens (N,)."""
        return np.asarray(x[self.order[self.rows], self.times])


# y_b = Σ_t x_bt      so      dx_bt = dy_b: added one time after the other, whatever else is in the batch


def over_time(x: Array, packing: Packing) -> Array:
    """Sums (B, ...) over each row's tokens x (N, ...)."""
    y = np.zeros((len(packing.order), *x.shape[1:]), x.dtype)
    for n, span in zip(packing.sizes, packing.spans, strict=True):
        y[:n] += x[span]
    return y


def over_time_vjp(dy: Array, packing: Packing) -> Array:
    """dx (N, ...)."""
    return np.asarray(dy[packing.rows])


# y_i = E_{token i}      so      dE_v = Σ_{i: token i = v} dy_i, by sorting: the tokens of one kind are added in order


def embedding(tokens: Array, E: Array) -> Array:
    """Rows of E (V, I) for tokens (N,): (N, I)."""
    return np.asarray(E[tokens])


def embedding_vjp(dy: Array, tokens: Array, dE: Array) -> None:
    """dE += the sums of dy (N, I) by token."""
    order = np.argsort(tokens, kind="stable")
    kinds, first = np.unique(tokens[order], return_index=True)
    if len(kinds):
        dE[kinds] += np.add.reduceat(dy[order], first, axis=0)


class Trace(NamedTuple):
    """What `gru` computed and `gru_vjp` needs."""

    before: Array  # (N, H): the state that each token met
    gates: list[Array]  # of each time, (n, 4H)
    packing: Packing


# h_t = gates(a_t, s_t, h_{t−1}),  s_t = h_{t−1} U + c      `kernels.recurrent` has the gates, reset after the product
# Backwards h_{t−1} is met three times: in what it is asked for itself, as what u keeps, and through s_t:
#   dh_{t−1} += u dh_t + ds_t Uᵀ,     dU = Σ_t h_{t−1}ᵀ ds_t,     dc = Σ_t ds_t      a row that has ended has no dh_t


def gru(a: Array, h0: Array, p: Dense, packing: Packing, k: Kernels = NUMPY) -> tuple[Array, Trace]:
    """The states h (N, H) after each token, from h0 (B, H), packed rows' order; a (N, 3H) is the input's share x W + b,
    one product for all times; p has U (H, 3H) and c (3H,)."""
    h = np.empty((len(a), h0.shape[1]), np.result_type(a, h0, p.W, p.b))
    before, gates, state = np.empty_like(h), [], h0
    for n, span in zip(packing.sizes, packing.spans, strict=True):
        before[span] = state[:n]
        h[span], cached = k.gru_gates(a[span], k.dense(before[span], p.W, p.b), before[span])
        gates.append(cached)
        state = h[span]
    return h, Trace(before, gates, packing)


def gru_vjp(dh: Array, trace: Trace, p: Dense, dp: Dense, k: Kernels = NUMPY) -> tuple[Array, Array]:
    """Of `gru`, from the last time to the first: adds dU and dc into dp, returns da (N, 3H) and dh0 (B, H)."""
    before, gates, packing = trace
    spans = packing.spans
    da = np.empty((len(dh), p.W.shape[1]), dh.dtype)
    ds, carried = np.empty_like(da), np.zeros((0, dh.shape[1]), da.dtype)
    for t in reversed(range(len(gates))):
        span = spans[t]
        d = dh[span].copy()
        d[: len(carried)] += carried
        da[span], ds[span], kept = k.gru_gates_vjp(d, gates[t], before[span])
        carried = kept + k.dense_vjp_x(ds[span], p.W)
    k.dense_vjp_params(ds, before, dp.W, dp.b)
    return da, carried
