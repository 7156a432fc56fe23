"""log p(x) by the compiled sampler against the composed importance weights: the same noise, the same number."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import pytest

from scratchvae.noise import Purpose
from scratchvae.training import evaluate, objective
from scratchvae.training.config import Config
from scratchvae.training.sampler import TOGETHER, Evaluator
from scratchvae.training.state import State, Steps, latent_noise
from scratchvae.training.workspaces import workspace
from scratchvae.types import Array


def model(columns: int, **options: Any) -> State:
    state = State(Config(**options), columns)
    state.initialise(np.full(columns, 0.3))
    state.arena.flat[...] *= 3
    return state


def both(state: State, x: Array, samples: int) -> tuple[Array, Array]:
    plain = State(replace(state.config, kernels="numpy"), x.shape[1])
    plain.arena.flat[...] = state.arena.flat
    found = [evaluate.log_likelihood(one, x, samples, first_row=5) for one in (state, plain)]
    return found[0], found[1]


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-fixed"])
def test_equals_the_composition(likelihood: str) -> None:
    how = "dynamic" if likelihood == "bernoulli" else "none"
    for hidden, rows in (((), 1), ((9,), 13), ((11, 20), 7)):
        options: dict[str, Any] = {"likelihood": likelihood, "hidden": hidden, "variance": 0.1, "binarisation": how}
        state = model(37, latent=3, dtype="float64", **options)
        x = (np.random.default_rng(0).random((rows, 37)) < 0.4).astype(np.float64)
        compiled, composed = both(state, x, 1003)
        np.testing.assert_allclose(compiled, composed, rtol=1e-11)


def test_samples_of_no_weight() -> None:
    """A pixel that the decoder calls impossible and that is inked: every weight is 0 and log p(x) −∞, not NaN."""
    state = model(12, latent=2, hidden=(5,), dtype="float64")
    state.arena.views["p.logits.b"][3] = -np.inf
    x = np.zeros((2, 12))
    x[:, 3] = 1
    compiled, composed = both(state, x, 103)
    assert (compiled == -np.inf).all()
    assert (composed == -np.inf).all()


def test_a_deviation_too_small_for_a_float() -> None:
    """log σ² = −250: σ is 0 in float32, and its logarithm −125 all the same."""
    state = model(12, latent=2, hidden=(5,))
    state.arena.views["q.log_var.b"][1] = -250
    compiled, composed = both(state, np.zeros((2, 12), np.float32), 103)
    assert (composed < -100).all()
    np.testing.assert_allclose(compiled, composed, rtol=1e-6)


@pytest.mark.parametrize("options", [{"latent": 4, "hidden": (30,)}, {"latent": (4, 2), "hidden": ((30,), (7,))}])
def test_any_threads_and_any_rows_beside_it_give_a_row_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    state = model(50, **options)
    x = (np.random.default_rng(1).random((11, 50)) < 0.4).astype(np.float32)
    monkeypatch.setattr(evaluate, "BLOCK", 8)  # 3 rows at a time
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(evaluate, "default_threads", lambda threads=threads: threads)
        results.append(evaluate.log_likelihood(state, x, 130, first_row=7))
    alone = [evaluate.log_likelihood(state, x[i : i + 1], 130, first_row=7 + i)[0] for i in range(11)]
    for result in (*results, alone):
        np.testing.assert_array_equal(result, results[0])


def test_threads_work_at_the_same_time_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three that wait for each other: with fewer at a time nobody would come through."""
    meet = threading.Barrier(3, timeout=60)

    def work(first: int, count: int) -> tuple[int, int]:
        meet.wait()
        return first, count

    state = model(5, latent=1)
    monkeypatch.setattr(evaluate, "default_threads", lambda: 3)
    blocks = [(0, 2), (2, 2), (4, 2), (6, 2), (8, 2), (10, 1)]
    assert [*evaluate.over(state, 11, 2, work)] == [*evaluate.over(state, 11, 2, work, 3)] == blocks
    state, here = model(5, latent=1, kernels="numpy"), threading.Lock()

    def alone(first: int, count: int) -> int:
        assert here.acquire(blocking=False), "BLAS has threads of its own"
        time.sleep(0.001)
        here.release()
        return first

    assert [*evaluate.over(state, 5, 1, alone)] == [0, 1, 2, 3, 4]


ASLEEP = """
import signal, time
from scratchvae.training.evaluate import over
from scratchvae.training.state import State, Config

def work(first, count):
    print(first, flush=True)
    time.sleep(100)

signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background job it is ignored
[*over(State(Config(latent=1), 5), 9, 2, work, 2)]
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGINT as Ctrl-C sends it")
def test_ctrl_c_waits_for_no_block() -> None:
    begin = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", ASLEEP], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.stderr.read()
    assert time.monotonic() - begin < 50


def test_an_error_waits_for_no_block_and_the_caller_s_context_counts() -> None:
    go = threading.Event()

    def work(first: int, count: int) -> int:
        assert np.geterr()["over"] == "raise"
        if first:
            go.wait(100)
        return 1 // first

    with np.errstate(over="raise"), pytest.raises(ZeroDivisionError):
        [*evaluate.over(model(5, latent=1), 2, 1, work, 2)]
    go.set()


def test_blocks_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    state, x, done = model(20, latent=2, hidden=(5,)), np.zeros((30, 20), np.uint8), list[int]()
    monkeypatch.setattr(evaluate, "BLOCK", 10)
    assert np.isfinite(evaluate.log_likelihood_over(state, x, 60, done.append)).all()
    assert done == [8, 16, 24, 30]


def test_a_workspace_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*args: Any, **options: Any) -> Any:
        made.append(args)
        return workspace(*args, **options)

    monkeypatch.setattr("scratchvae.training.sampler.workspace", counted)
    evaluator = Evaluator(model(12, latent=2, hidden=(5,)))
    for first in range(3):
        evaluator.log_likelihood(np.zeros((2, 12), np.float32), 9, np.arange(first, first + 2, dtype=np.uint32))
    assert len(made) == 1


LADDER: dict[str, Any] = {"latent": (4, 2), "hidden": ((5,), ())}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, LADDER, {"missing": "nan"}, {"missing": "random:0.5"}, {"likelihood": "gaussian"}]
)
def test_the_bound_and_log_p_of_every_model(options: dict[str, Any], dtype: str) -> None:
    """Ladders, and rows with gaps, one of them all gap, and none but their own: equal the composition. By an evaluator
    that was asked for other samples before, for more of them than it decodes at once, for another step's noise."""
    how: dict[str, Any] = {"latent": 3, "hidden": (9,), "dtype": dtype, "binarisation": "none", **options}
    state, plain = model(21, **how), model(21, **how, kernels="numpy")
    state.arena.flat[...] = plain.arena.flat[...] = plain.arena.flat / 3
    x = np.random.default_rng(2).random((9, 21)).astype(dtype)
    if "missing" in options:
        x[::2, ::3], x[4] = np.nan, np.nan
    names, close = state.numbers(x, 0), 1e-5 if dtype == "float32" else 1e-11
    evaluator = Evaluator(state)
    for samples in (3, TOGETHER + 1):
        L, reconstruction, _ = objective.bound(plain, x, latent_noise(plain, Purpose.EVALUATE, 2, 9, samples, names))
        found = evaluator.bound(x, samples, 2, names)
        np.testing.assert_allclose(found, [L, reconstruction], rtol=close, atol=close)
    wanted = evaluate.composed(plain, x, 130, names)
    np.testing.assert_allclose(evaluator.log_likelihood(x, 130, names), wanted, rtol=close, atol=close)


def test_the_caller_s_threads_reach_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are by default; the NumPy kernels take one block at a time."""
    state, alone = model(5, latent=1, hidden=(3,)), model(5, latent=1, kernels="numpy")
    monkeypatch.setattr(evaluate, "default_threads", lambda: 2)
    assert [evaluate.at_a_time(state, n) for n in (None, 1, 5)] == [2, 1, 5]
    assert evaluate.at_a_time(alone, 5) == 1
    asked: list[object] = []

    def pool(threads: int) -> ThreadPool:
        asked.append(threads)
        return ThreadPool(1)

    monkeypatch.setattr(evaluate, "ThreadPool", pool)
    assert [*evaluate.over(state, 1, 1, max), *evaluate.over(state, 1, 1, max, 3)] == [1, 1]
    assert asked == [2, 3]
    given: list[Any] = []

    def over(*args: Any) -> Iterator[Array]:
        given.append(args[-1])
        return iter(())

    monkeypatch.setattr(evaluate, "over", over)
    evaluate.elbo_over(state, np.zeros((3, 5), np.uint8), threads=4)
    assert given == [4]


def test_fixed_bits_of_test_rows_are_not_those_of_the_training_rows() -> None:
    """As often different as two independent draws, 2 p (1 − p); equal, if both took the same uniforms."""
    x = np.random.default_rng(3).integers(0, 256, (300, 24)).astype(np.uint8)
    steps, p = Steps(model(24, latent=1, hidden=(), binarisation="fixed", kernels="numpy"), x), x / 255
    found = evaluate.evaluation_rows(steps.state, x, 0, 300)
    seen = np.empty_like(found)
    for step in range(steps.per_epoch):
        seen[steps.index(step)] = steps.minibatch(step)[0]
    assert abs((seen != found).mean() - (2 * p * (1 - p)).mean()) < 4 * 0.5 / found.size**0.5
