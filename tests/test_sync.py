"""§7.3 What threads of a compiled step share: units that are claimed once, by whoever is free, and packed tiles."""

import threading

import numpy as np
import pytest

from scratchvae.engine.jit import jit, without_refcounts
from scratchvae.engine.threads import atomic_load, barrier, counters_size, steal
from scratchvae.engine.tiles import MR, pack_rows, panel
from scratchvae.training.compiled import together
from scratchvae.types import Array

PHASES, LOOPS = 5, 3


@without_refcounts
def claim_all(counters: Array, t: int, threads: int, units: int, least: int, done: Array, late: int) -> None:
    """done[t, phase, loop, unit] counts how often thread t did that unit; thread `late` waits for another's arrival
    after its first run in each phase."""
    for phase in range(done.shape[1]):
        arrived, first = phase * threads, True
        for loop in range(done.shape[2]):
            while True:
                begin, end = steal(counters, loop, units, least, t, threads)
                if begin == end:
                    break
                for unit in range(begin, end):
                    done[t, phase, loop, unit] += 1
                while t == late and first and atomic_load(counters, 0) == arrived:
                    pass
                first = False
        barrier(counters, t, threads)


def claims(threads: int, units: int, least: int, late: int = -1, loops: int = LOOPS) -> Array:
    """`done` of `claim_all` by that many threads."""
    counters = np.zeros(counters_size(threads, loops), np.int64)
    done = np.zeros((threads, PHASES, loops, units), np.int64)
    claim_all(counters, 0, 1, 0, 1, done[:1, :0], -1)  # compiled here, not in a race
    together(threads, lambda t: claim_all(counters, t, threads, units, least, done, late))
    return done


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("units", [0, 1, 7, 1000])
@pytest.mark.parametrize("least", [1, 3, 300])
def test_every_unit_is_claimed_once(threads: int, units: int, least: int) -> None:
    """Catches counts that a phase finds as another left them, two loops on one count, a run over the share's end."""
    np.testing.assert_array_equal(claims(threads, units, least).sum(0), 1)


def test_gates_have_room_for_every_loop() -> None:
    """Catches counts of one thread in those of another: more loops than a line has numbers."""
    np.testing.assert_array_equal(claims(3, 50, 1, loops=17).sum(0), 1)


@pytest.mark.parametrize("late", [0, 1])
def test_a_thread_that_is_through_helps_one_that_is_late(late: int) -> None:
    """The late one stands still after its first run until the other has come to the barrier: all else is done then."""
    done = claims(2, 1000, 1, late)
    np.testing.assert_array_equal(done.sum(0), 1)
    run = 1000 // 2 // 8
    assert (done[late].sum((1, 2)) <= run).all()  # or nothing, where all was done before it came


def test_a_fast_thread_begins_with_its_own_share() -> None:
    """Catches shares that wander from core to core for nothing: alone, a thread's units come in order."""
    assert claims(2, 1000, 1, late=1)[0, :, 0, :500].all()


def test_all_threads_start_or_none_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches threads that wait for ever at a barrier for one that the system would not give."""
    begun: list[threading.Thread] = []
    worked: list[int] = []
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="new thread"):
        together(3, worked.append)
    begun[0].join()
    assert worked == []


@jit
def packed_of(A: Array, a: int, B: Array, b: int) -> None:
    """`pack_rows` for Python."""
    pack_rows(A, a, B, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_packed_tile_is_the_tile_column_by_column(dtype: type) -> None:
    """Catches lanes in the wrong place, a store over the packed tile's end."""
    P = panel(np.dtype(dtype))
    A: Array = np.arange(5, 5 + MR * P + 9).astype(dtype)
    B: Array = np.full(MR * P + 14, -1, dtype)
    expected = B.copy()
    packed_of(A, 9, B, 7)
    expected[7:-7] = A[9:].reshape(MR, P).T.ravel()
    np.testing.assert_array_equal(B, expected)
