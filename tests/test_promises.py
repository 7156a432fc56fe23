"""§7.2.4, §7.2.5 What docstrings promise: the caller's tolerance, the environment's threads, signals given back."""

import signal

import numpy as np
import pytest

from scratchvae.engine.jit import processors, threads
from scratchvae.gradcheck import check
from scratchvae.gradcheck.report import METHODS
from scratchvae.training import loop
from scratchvae.types import Array


def sine(x: Array) -> Array:
    return np.sin(x)


def nearly(dy: Array, x: Array) -> Array:
    """A slope that is wrong in its sixth digit."""
    return np.asarray(dy * np.cos(x) * (1 + 1e-6))


def exactly(dy: Array, x: Array) -> Array:
    return np.asarray(dy * np.cos(x))


def test_the_caller_s_tolerance_decides_and_only_where_it_was_given() -> None:
    x = (np.linspace(0.1, 1, 5),)
    assert not check(sine, nearly, x).ok
    assert check(sine, nearly, x, tolerance=dict.fromkeys(METHODS, 1e-5)).ok
    assert check(sine, exactly, x).ok
    for method in METHODS:
        wrong = check(sine, nearly, x, tolerance={method: 1e-5})
        assert {m.method for m in wrong.rows[0].measures if m.ok} == {method}
        strict = check(sine, exactly, x, tolerance={method: -1.0})
        assert {m.method for m in strict.rows[0].measures if not m.ok} == {method}


NONE = ("²", "", "0", "-3", "many")


@pytest.mark.parametrize(
    ("text", "expected"), [*((text, 77) for text in ("77", "77,2", " 77 ,2")), *((text, None) for text in NONE)]
)
def test_threads_by_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None) -> None:
    """OpenMP's list is one number a level of nesting: the first counts; what is no number is as if not set."""
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert threads.__wrapped__() == (expected or processors())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_only_borrowed(number: signal.Signals) -> None:
    """One that stayed ours would swallow Ctrl-C: the second one of a run, or any after it."""
    both = (signal.SIGINT, signal.SIGTERM)
    before, heard = [signal.getsignal(n) for n in both], list[int]()
    try:
        with loop.stop_requests(lambda: heard.append(1)) as stopped:
            assert all(signal.getsignal(n) is not old for n, old in zip(both, before, strict=True))
            signal.raise_signal(number)
            assert (stopped.is_set(), heard) == (True, [1])
            assert signal.getsignal(number) == before[both.index(number)]
        assert [signal.getsignal(n) for n in both] == before
    finally:
        for n, old in zip(both, before, strict=True):
            signal.signal(n, old)
