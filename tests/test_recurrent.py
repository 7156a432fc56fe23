"""§7.2.4 Packing, embedding and the gated recurrent unit: pads are nothing, and torch's unit is this one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import close, slopes

from scratchvae.kernels import NUMPY, table
from scratchvae.networks import Dense
from scratchvae.recurrent import Packing, embedding_vjp, gru, gru_vjp, over_time, over_time_vjp
from scratchvae.types import Array

RNG = np.random.default_rng(16)
H = 4
LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=5).map(np.array)


def drawn(lengths: Array, dtype: str = "float64") -> tuple[Packing, Array, Array, Dense]:
    """A packing, and a, h0 and the unit's parameters for it."""
    packing = Packing.of(lengths)
    shapes = (len(packing.rows), 3 * H), (len(lengths), H), (H, 3 * H), (3 * H,)
    a, h0, U, c = (RNG.standard_normal(shape).astype(dtype) for shape in shapes)
    return packing, a, h0, Dense(U, c)


def by_rows(a: Array, h0: Array, p: Dense, packing: Packing) -> Array:
    """The last state of each row, one row at a time, from the formulas of Cho et al. as torch has them."""
    found = []
    for row in range(len(h0)):
        h = h0[row]
        for token in np.flatnonzero(packing.rows == row):
            s, x = h @ p.W + p.b, a[token]
            r, u = (1 / (1 + np.exp(-(x[i : i + H] + s[i : i + H]))) for i in (0, H))
            n = np.tanh(x[2 * H :] + r * s[2 * H :])
            h = (1 - u) * n + u * h
        found.append(h)
    return np.array(found)


@given(LENGTHS)
def test_a_packed_batch_is_its_rows(lengths: Array) -> None:
    """Catches a row that sees its neighbour's state, a gate in another's place, and a last state of another row."""
    packing, a, h0, p = drawn(lengths)
    close(gru(a, h0, p, packing)[0][packing.last], by_rows(a, h0, p, packing))


@given(LENGTHS, st.integers(1, 4))
def test_packing_knows_no_pads(lengths: Array, more: int) -> None:
    """Catches a pad among the tokens, a token that is left out, and rows that are not back in their places."""
    x = np.where(np.arange(lengths.max() + more) < lengths[:, None], np.arange(100 * len(lengths)).reshape(
        len(lengths), -1)[:, : lengths.max() + more], -1)  # fmt: skip
    packing = Packing.of((x >= 0).sum(axis=1))
    assert sorted(packing.take(x)) == sorted(x[x >= 0])
    assert packing.sizes == tuple(sorted(packing.sizes, reverse=True))
    assert [x[i, lengths[i] - 1] for i in packing.order] == packing.take(x)[packing.last].tolist()
    sums = np.empty(len(x))
    sums[packing.order] = over_time(packing.take(x).astype(float), packing)
    close(sums, np.where(x >= 0, x, 0).sum(axis=1).astype(float))
    close(over_time_vjp(sums[packing.order], packing), sums[packing.order][packing.rows])


def test_back_through_all_times() -> None:
    """Catches a slope that ends a step too early, r with the index of another unit, σ' of what is σ already."""
    packing, a, h0, p = drawn(np.array([3, 5, 1]))
    w, dp = RNG.standard_normal((len(a), H)), Dense(np.zeros_like(p.W), np.zeros_like(p.b))
    da, dh0 = gru_vjp(w, gru(a, h0, p, packing)[1], p, dp)
    close(da, slopes(lambda v: gru(v, h0, p, packing)[0], a, w))
    close(dh0, slopes(lambda v: gru(a, v, p, packing)[0], h0, w))
    close(dp.W, slopes(lambda v: gru(a, h0, Dense(v, p.b), packing)[0], p.W, w))
    close(dp.b, slopes(lambda v: gru(a, h0, Dense(p.W, v), packing)[0], p.b, w))


@given(st.lists(st.integers(0, 6), min_size=0, max_size=20).map(lambda v: np.array(v, np.int64)))
def test_a_token_s_vector_has_the_sum_of_its_slopes(tokens: Array) -> None:
    """Catches dE[tokens] += dy, which keeps one slope of each token, and = for +=."""
    dy, dE = RNG.standard_normal((len(tokens), 2)), np.ones((7, 2))
    embedding_vjp(dy, tokens, dE)
    close(dE - 1, np.eye(7)[tokens].T @ dy)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_compiled_twins_through_time(dtype: str, tolerance: float) -> None:
    """Catches a twin that does not fit the others of its table through time."""
    packing, a, h0, p = drawn(np.array([7, 2, 9, 9]), dtype)
    found = []
    for k in (NUMPY, table("numba")):
        dp = Dense(np.zeros_like(p.W), np.zeros_like(p.b))
        h, trace = gru(a, h0, p, packing, k)
        found.append([h, *gru_vjp(h, trace, p, dp, k), *dp])
    for ours, twin in zip(*found, strict=True):
        assert twin.dtype == dtype
        close(twin, ours, tolerance)


@pytest.mark.parametrize("name", ["dense", "gru_gates", "dense_vjp_x", "dense_vjp_params", "gru_gates_vjp"])
def test_the_table_that_is_given_is_used(name: str) -> None:
    """Catches a product or a gate that is NumPy's whatever table was asked for: it would be right, and slow."""
    packing, a, h0, p = drawn(np.array([3, 1]))

    def broken(*_: Any) -> Any:
        raise ArithmeticError(name)

    changed: dict[str, Any] = {name: broken}
    k = NUMPY._replace(**changed)
    with pytest.raises(ArithmeticError, match=name):
        gru_vjp(np.ones((len(a), H)), gru(a, h0, p, packing, k)[1], p, Dense(0 * p.W, 0 * p.b), k)


def test_torch_has_the_same_unit() -> None:
    """Catches gates in another order, and r applied before the product: torch's unit at the same weights."""
    torch: Any = pytest.importorskip("torch")
    lengths = np.array([3, 5, 1])
    packing, _, h0, p = drawn(lengths)
    W = RNG.standard_normal((2, 3 * H))
    x = RNG.standard_normal((len(packing.rows), 2))
    unit = torch.nn.GRU(2, H).double()
    with torch.no_grad():
        for ours, theirs in zip((W.T, p.W.T, 0 * p.b, p.b), unit.parameters(), strict=True):
            theirs.copy_(torch.tensor(np.ascontiguousarray(ours)))
    sequences = torch.nn.utils.rnn.PackedSequence(torch.tensor(x), torch.tensor(packing.sizes))
    start = torch.tensor(h0[None], requires_grad=True)
    h, _ = unit(sequences, start)
    w = RNG.standard_normal((len(x), H))
    (h.data * torch.tensor(w)).sum().backward()
    ours, trace = gru(x @ W, h0, p, packing)
    dp = Dense(np.zeros_like(p.W), np.zeros_like(p.b))
    da, dh0 = gru_vjp(w, trace, p, dp)
    for got, expected in (
        (ours, h.data), (dh0, start.grad[0]), (dp.W, unit.weight_hh_l0.grad.T), (dp.b, unit.bias_hh_l0.grad),
        (x.T @ da, unit.weight_ih_l0.grad.T),
    ):  # fmt: skip
        close(got, expected.detach().numpy(), 1e-9)


def test_a_token_s_log_p_at_extremes() -> None:
    """Catches e^10000: where the largest logit is not taken off, log p and its slope are no numbers."""
    logits, y = np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]]), np.array([0, 2])
    close(NUMPY.token_log_prob(logits, y), np.array([0.0, -np.log(3.0)]))
    close(NUMPY.token_log_prob_vjp(np.ones(2), logits, y), np.array([[0, 0, 0], [-1, -1, 2]]) / [[1.0], [3.0]])


def test_no_rows_are_packed() -> None:
    """Catches a largest length that none has."""
    packing = Packing.of(np.zeros(0, np.int64))
    assert (packing.sizes, len(packing.rows), len(packing.order)) == ((), 0, 0)
