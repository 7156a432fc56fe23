"""§7.3 Orders of rows: each row once an epoch, no order likelier than another, the same for whoever asks for a part."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scratchvae import VAE
from scratchvae.noise import LIMIT, Noise, Purpose
from scratchvae.training import orders, stopping
from scratchvae.training.config import Config, from_dict
from scratchvae.training.orders import Keyed, Order, kept
from scratchvae.training.state import State, Steps, load_state, save_state

NOISE = Noise(5)


def test_keyed_is_a_bijection_of_all_small_sets() -> None:
    """Catches a round that is not undone, cells beyond n that are not walked on from, one row, none."""
    for n in range(1, 400):
        np.testing.assert_array_equal(np.sort(Keyed.of(NOISE, n % 3, n)(np.arange(n))), np.arange(n), str(n))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30_000), st.integers(0, 2**64 - 1), st.integers(0, LIMIT - 1), st.integers(1, 300))
def test_every_order_has_every_row_once(n: int, seed: int, epoch: int, size: int) -> None:
    """Catches a rest of less than a block that is lost, a block or a buffer that is met twice, at any size."""
    for name in ("keyed", "blocks", f"blocks:{size}"):
        found = Order(name, Noise(seed), n).rows(epoch, np.arange(n))
        np.testing.assert_array_equal(np.sort(found), np.arange(n), name)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 2**40), st.integers(0, 99))
def test_large_sets_are_undone(n: int, epoch: int) -> None:
    """Catches a product that is beyond 63 bits, a bijection of another set: places are found again, round by round."""
    keyed = Keyed.of(NOISE, epoch, min(n, 2**34))
    places = np.unique(np.linspace(0, keyed.n - 1, 50).astype(np.int64))
    found = keyed(places)
    assert len(np.unique(found)) == len(places)
    assert 0 <= found.min() <= found.max() < keyed.n
    once = keyed.once(places)
    L, R = once % keyed.a, once // keyed.a
    for j in reversed(range(orders.ROUNDS)):
        L, R = (R - keyed.tables[j][L]) % (keyed.b if j % 2 else keyed.a), L
    np.testing.assert_array_equal(R * keyed.a + L, places)


@pytest.mark.parametrize("name", ["keyed", "blocks:3"])
def test_every_place_has_every_row_as_often(name: str) -> None:
    """Catches too few rounds, a table that is every round's, an epoch that is another's: chi squared of the table
    (place, row) over epochs, whose rows and columns have given sums."""
    n, epochs = 30, 3000
    order = Order(name, NOISE, n)
    counts = np.zeros((n, n))
    for epoch in range(epochs):
        counts[np.arange(n), order.rows(epoch, np.arange(n))] += 1
    chi = ((counts - epochs / n) ** 2 / (epochs / n)).sum()
    assert 1e-4 < stats.chi2((n - 1) ** 2).cdf(chi * (n - 1) / n) < 1 - 1e-4


def test_neighbours_part() -> None:
    """Catches rows i and i + 1, or i and i + a, that stay beside each other: the distances of pairs, which are as those
    of a permutation, and the correlation of place and row."""
    n = 10_000
    for epoch in range(3):
        keyed = Keyed.of(NOISE, epoch, n)
        found = keyed(np.arange(n))
        for lag in (1, 2, keyed.a, keyed.a + 1):
            apart = (found[lag:] - found[:-lag]) % n
            seen = np.bincount(apart * 50 // n, minlength=50)
            assert stats.chisquare(seen).pvalue > 1e-5, lag
            assert abs(np.corrcoef(found[lag:], found[:-lag])[0, 1]) < 5 / np.sqrt(n)
        assert abs(np.corrcoef(found, np.arange(n))[0, 1]) < 5 / np.sqrt(n)
        assert (found == Keyed.of(NOISE, epoch + 1, n)(np.arange(n))).sum() < 12


@pytest.mark.parametrize("name", ["permutation", "keyed", "blocks:7"])
def test_a_part_is_part_of_the_whole(name: str) -> None:
    """Catches an order that hangs on what was asked before, or on how places are cut: ranks ask for their own."""
    places = NOISE.order(0, 3000)
    whole = Order(name, NOISE, 3000).rows(4, np.arange(3000))
    asked = Order(name, NOISE, 3000)
    for part in np.array_split(places, 7):
        np.testing.assert_array_equal(asked.rows(4, part), whole[part])


def test_memory_is_that_of_the_tables() -> None:
    """Catches an array of N: of 10^9 rows, whose permutation would take 8 GB, tables of two megabytes are held."""
    order = Order("keyed", NOISE, 10**9)
    assert len(np.unique(order.rows(0, np.arange(10**6)))) == 10**6
    assert order.keyed(0, 10**9).tables.nbytes < 2.1e6
    held = stopping.hold_out(NOISE, 10**9, 1e-6, "keyed")
    assert len(held) == 1000
    assert not np.isin(held, order.rows(0, np.arange(1000))).all()  # another order than the epochs'


def test_blocks_read_on() -> None:
    """Catches blocks that are cut in pieces: a buffer's rows lie in as many runs as it has blocks."""
    n, size = 200_000, 500
    found = np.sort(Order(f"blocks:{size}", NOISE, n).rows(0, np.arange(orders.MIXED * size)))
    assert (np.diff(found) > 1).sum() < orders.MIXED
    steps = np.abs(np.diff(Order(f"blocks:{size}", NOISE, n).rows(0, np.arange(orders.MIXED * size))))
    assert np.median(steps) > 20 * size  # and they are mixed


def test_blocks_begin_elsewhere_in_each_epoch() -> None:
    """Catches blocks that hold the same rows for ever: what is next to a cut is never met with its neighbour."""
    firsts = {int(np.sort(Order("blocks:100", NOISE, 6400 * 4).rows(epoch, np.arange(6400)))[0]) % 100
              for epoch in range(8)}  # fmt: skip
    assert len(firsts) > 4


def test_buffers_are_mixed_apart() -> None:
    """Catches a buffer that is mixed as the one before it: its rows would come from the same places of their blocks."""
    size = 100
    n = 2 * orders.MIXED * size
    one, two = np.split(Order(f"blocks:{size}", NOISE, n).rows(0, np.arange(n)), 2)
    assert (np.diff(one) % size == np.diff(two) % size).mean() < 0.05


def test_blocks_begin_anywhere_in_a_very_large_set() -> None:
    """Catches a beginning of 32 bits: with a block that is all 2^34 rows, hence never moved, an epoch's first rows are
    near its beginning, which is beyond 2^32 in most epochs."""
    n = 2**34
    order = Order("blocks:1", NOISE, n)
    order.keyed = lambda epoch, many: np.asarray  # type: ignore[assignment]
    firsts = [int(order.rows(epoch, np.arange(1))[0]) for epoch in range(12)]
    assert len({first >> 32 for first in firsts}) > 2


@pytest.mark.parametrize("name", ["permutation", "keyed", "blocks:8"])
def test_rows_held_out_are_not_trained_on(name: str) -> None:
    """Catches a row held out that is visited, and one that is neither."""
    x = np.zeros((203, 3), np.uint8)
    steps = Steps(State(Config(batch=10, latent=1, hidden=(2,), validation=0.1, order=name, kernels="numpy"), 3), x)
    seen = np.concatenate([steps.index(i) for i in range(steps.per_epoch)])
    np.testing.assert_array_equal(np.sort(np.concatenate([seen, steps.held])), np.arange(203))
    assert len(steps.held) == 20
    drawn = NOISE.order(0, 203, Purpose.VALIDATION)[:20]
    np.testing.assert_array_equal(kept(np.sort(drawn), np.arange(183)), np.setdiff1d(np.arange(203), drawn))


def test_old_runs_have_their_order(tmp_path: Path) -> None:
    """Catches a checkpoint that does not say its order, and is resumed with another; a new large run without one."""
    values = Config(latent=1, hidden=(2,)).as_dict()
    del values["order"]
    assert from_dict(values).order == "permutation"
    save_state(tmp_path / "c", State(Config(latent=1, hidden=(2,), order="blocks:9"), 3), {})
    assert load_state(tmp_path / "c")[0].config.order == "blocks:9"
    x = np.broadcast_to(np.zeros(1, np.uint8), (orders.LARGE, 1))
    assert stopping.at_length(Config(), x, {}).order == "keyed"
    assert stopping.at_length(Config(), x, {"order"}).order == "permutation"
    assert stopping.at_length(Config(), x[1:], {}).order == "permutation"


def test_what_is_refused() -> None:
    """Catches a word that is no order, blocks of no rows."""
    for bad in ("block", "blocks:0", "blocks:", "keyed:3", "", "blocks:x"):
        with pytest.raises(ValueError, match="expected permutation, keyed, blocks or blocks:ROWS"):
            orders.parsed(bad)


def by_label() -> Any:
    """Rows of five kinds, one kind after the other."""
    x = np.repeat(np.eye(5, dtype=np.uint8), 8, axis=1) * 255
    return np.repeat(x, 400, axis=0)


def test_sorted_data_want_a_shuffle() -> None:
    """Catches blocks that are not mixed. Rows sorted by label: blocks of all rows of a label, 400, reach the bound of
    a permutation since 64 of them are mixed; without mixing, as rows come from disk, the last label alone is known."""
    x = by_label()
    test, bound = x[::7], {}
    for name in ("permutation", "blocks:400"):
        model = VAE(2, (20,), epochs=20, order=name, kernels="numpy", learning_rate=0.01).fit(x, test=test)
        bound[name] = model.history[-1]["test_elbo"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orders, "MIXED", 1)
        patch.setattr(orders.Order, "blocks", lambda self, epoch, places: places)
        model = VAE(2, (20,), epochs=20, order="blocks", kernels="numpy", learning_rate=0.01).fit(x, test=test)
    assert abs(bound["blocks:400"] - bound["permutation"]) < 0.3
    assert model.history[-1]["test_elbo"] < bound["permutation"] - 2
