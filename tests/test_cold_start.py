"""The first run on a machine: functions compiled by themselves, by two processes, and found again by the next run."""

import gc
import json
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import TypingError, njit, types
from numba.core.types.functions import BaseFunction
from numba.extending import overload

from scratchvae.engine import cold_start
from scratchvae.engine.cold_start import assistant
from scratchvae.engine.jit import inline, internal, without_refcounts
from scratchvae.engine.linkable import linkable
from scratchvae.engine.numba_patches import memoised_typing
from scratchvae.engine.processors import processors
from scratchvae.fast import step
from scratchvae.fast.workspace import LINKED
from scratchvae.training import compiled
from scratchvae.training.config import Config
from scratchvae.training.loop import Plan, train
from scratchvae.training.state import State, Steps
from scratchvae.types import Array

TABLE = ("gather", "bounds", "backward")


class Toy(NamedTuple):
    """As much of a workspace as a linkable function needs."""

    out: Array
    jump_table: Array


@linkable(TABLE)
def gather(s: Toy, i: int, x: float, take: bool, index: Array) -> None:
    """Writes down what it was given."""
    s.out[i] = x if take else index[i]


@linkable(TABLE)
def bounds(s: Toy, i: int) -> None:
    """Calls another one."""
    gather(s, i, 7, True, s.jump_table)


@linkable(TABLE)
def backward(s: Toy, i: int) -> None:
    """Refuses."""
    if i > 0:
        raise ValueError("no")


@without_refcounts
def call_refusing(s: Toy, i: int) -> None:
    backward(s, i)
    s.out[0] = 1


@without_refcounts
def call_all(s: Toy, index: Array, two: Any, half: Any) -> None:
    """Constants, variables and numbers of other types, as a caller writes them."""
    for i in range(2):
        gather(s, i, i, i == 1, index)
    gather(s, two, half, True, index)
    bounds(s, 3)


def test_linkable_functions_get_what_their_callers_give() -> None:
    """Catches arguments that are not converted, places that are mixed up, and a caller that found no code."""
    ours: tuple[Any, ...] = gather, bounds  # before `call_all` is compiled, which sees jumps under these names
    s, index = Toy(np.zeros(4), np.zeros(len(TABLE), np.int64)), np.array([40, 50])
    for one in ours:
        one.link(s)
    assert np.count_nonzero(s.jump_table) == 2
    call_all(s, index, np.uint8(2), np.float32(0.5))
    np.testing.assert_array_equal(s.out, [40, 1, 0.5, 7])


def test_what_a_linkable_function_raises_is_raised_in_its_caller() -> None:
    one: Any = backward
    s = Toy(np.zeros(1), np.zeros(len(TABLE), np.int64))
    one.link(s)
    with pytest.raises(ValueError, match="no"):
        call_refusing(s, 1)
    assert s.out[0] == 0
    call_refusing(s, 0)
    assert s.out[0] == 1


def test_each_has_its_place() -> None:
    ours = step.EPSILON, step.GATHER, step.BACKWARD, step.BOUNDS, step.RARE, step.CLIPPED
    assert tuple(one.fn.__name__ for one in ours) == LINKED


@internal
def plus(a: int, b: int) -> int:
    return a + b


@inline
def both(a: int) -> int:
    return plus(a, 0) + plus(a, 1)


@without_refcounts
def sums(a: int) -> int:
    return both(a)


def test_one_copy_of_an_internal_function_serves_all_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scratchvae.engine.jit.cache_folder", lambda: None)  # else a second run finds `sums` there
    known: Any = plus
    assert sums(3) == 7
    assert len(known.realise().overloads) == 1


def quotient(a: float, b: float) -> float:
    return a / b


overload(quotient)(lambda a, b: lambda a, b: a / b)


def test_with_a_memo_a_call_is_typed_once_and_as_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    ask: Any = BaseFunction.get_call_type

    def get_call_type(function: Any, context: Any, args: Any, kws: Any) -> Any:
        asked.append((function, *args))
        return ask(function, context, args, kws)

    monkeypatch.setattr(BaseFunction, "get_call_type", get_call_type)
    with memoised_typing():
        assert not gc.isenabled()
        twice, once = njit(lambda a, b: a + b + b), njit(lambda a, b: a * b + b)
        found = [f(*args) for args in ((2, 3), (2, 0.5)) for f in (twice, once)]
        added = [args for function, *args in asked if function.typing_key is operator.add]
        for _ in range(2):
            with pytest.raises(TypingError):
                twice("a", 1)
        strict, lenient = (njit(lambda: quotient(1.0, 0.0), error_model=model) for model in ("python", "numpy"))
        with pytest.raises(ZeroDivisionError):
            strict()
        assert lenient() == np.inf  # what a caller says of division holds in what it calls
        named = njit(lambda a, b: quotient(a, b=b))
        assert [named(1, 2), named(1, 0.5)] == [0.5, 2]  # an argument by its name has a type as well
    assert found == [8, 9, 3.0, 1.5]
    assert added == [[types.int64, types.int64], [types.int64, types.float64], [types.float64, types.float64]]
    assert BaseFunction.get_call_type is get_call_type
    assert gc.isenabled()


def test_python_says_too_what_takes_so_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cold fit was silent for a quarter of a minute. Said once, and not of the plain statements."""
    monkeypatch.setattr(cold_start, "PATIENCE", 0.0)
    cold_start.explain.cache_clear()
    slow = State(Config(latent=2, hidden=(3,), batch=5, kernels="numpy"), 6)

    class Slow(Steps):
        def advance(self, count: int) -> Array:
            time.sleep(0.1)
            return super().advance(count)

    x = np.arange(60, dtype=np.uint8).reshape(10, 6)
    for kernels, lines in (("numpy", 0), ("numba", 1), ("numba", 0)):
        slow.config = replace(slow.config, kernels=kernels, epochs=slow.step / 2 + 1)
        train(steps := Slow(slow, x), None, Plan.of(steps))
        words = capsys.readouterr().err.splitlines()
        assert len(words) == lines
        assert all("compiling the kernels" in word for word in words)


def first_steps(threads: int, writeable: bool = True) -> list[float]:
    x = np.arange(60, dtype=np.uint8).reshape(10, 6)
    x.flags.writeable = writeable
    state = State(Config(latent=2, hidden=(3,), batch=5), 6)
    return compiled.Compiled(state, x, threads).advance(3).tolist()


A_RUN = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_cold_start import compiled, first_steps, half
from scratchvae.fast import step
from scratchvae.fast.workspace import LINKED
if "alone" in sys.argv:
    compiled.assistant = None
jobs = step.BACKWARD.own, step.EPSILON.own, step.run, step.BOUNDS.own, step.GATHER.own
means, made = first_steps(2), [job.made for job in jobs]
imported = [name in sys.modules for name in ("numba.np.arraymath", "scipy.linalg")]
print(json.dumps([means, [sum(one.stats.cache_misses.values()) for one in made], imported, half()]))
"""


def a_run(cache: Path, *words: str) -> Any:
    """Of a process of its own: means of first_steps, how often it compiled what every run needs, whether it
    had to import what Numba compiles with and what that would import, and what Numba compiles afterwards."""
    environment = {**os.environ, "SCRATCHVAE_CACHE": str(cache)}
    command = [sys.executable, "-c", A_RUN, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def half() -> float:
    """A sum that Numba compiles anew, with no cache."""
    return float(njit(lambda x: x[::2].sum())(np.arange(4.0)))


def test_two_processes_compile_a_step_and_later_runs_find_it(tmp_path: Path) -> None:
    """What the other process compiled is found in the cache, with the same bits; a later run starts no process, and
    what Numba needs to compile is imported when there is something to compile."""
    alone = int(processors() < 2)
    assert a_run(tmp_path) == [first_steps(1), [1, 1, 1, alone, alone], [True, False], 2.0]
    assert a_run(tmp_path, "alone") == [first_steps(1), [0] * 5, [False, False], 2.0]


@pytest.mark.parametrize("writeable", [True, False])
def test_code_in_memory_needs_no_cache_and_no_process(writeable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the data may not be written, as those of a memory map: they are no other type."""
    first_steps(1)
    monkeypatch.setattr(compiled, "assistant", None)
    for one in (step.EPSILON, step.GATHER, step.BACKWARD, step.BOUNDS):
        monkeypatch.setattr(one.own.made._cache, "load_overload", None)
    first_steps(2, writeable)


shell = pytest.mark.skipif(os.name != "posix", reason="shell scripts stand for Python here")


@shell
@pytest.mark.parametrize("script", [None, "exit 1", "kill $$"])
def test_an_assistant_that_fails_is_not_missed(
    script: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(script, tmp_path, monkeypatch)
    with assistant("nothing()", "nobody"):
        pass


@shell
def test_an_assistant_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(f"sleep 0.3; touch {tmp_path}/done", tmp_path, monkeypatch)
    with assistant("nothing()", "nobody"):
        assert not (tmp_path / "done").exists()
    assert (tmp_path / "done").exists()


@shell
def test_an_assistant_ends_when_its_caller_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend("exec sleep 60", tmp_path, monkeypatch)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), assistant("nothing()", "nobody"):
        raise KeyboardInterrupt
    assert time.monotonic() - start < 30


@shell
def test_an_assistant_ends_when_the_wait_for_it_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend("exec sleep 60", tmp_path, monkeypatch)
    begin = time.monotonic()
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    to_us = threading.main_thread().ident, signal.SIGINT
    threading.Timer(0.5, signal.pthread_kill, to_us).start()
    try:
        with pytest.raises(KeyboardInterrupt), assistant("nothing()", "nobody"):
            pass
    finally:
        signal.signal(signal.SIGINT, heard)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("executable", [None, "", "/usr/bin/editor"])
def test_a_program_that_is_no_interpreter_is_not_started(
    executable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(None, tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(subprocess, "Popen", None)
    with assistant("nothing()", "nobody"):
        pass


def test_an_assistant_follows_its_starter() -> None:
    """It ends when its stdin is closed, as it is when the one that started it is killed."""
    call = "import time, scratchvae.engine.cold_start as c; c.follow(); print(1, flush=True); time.sleep(60)"
    begin = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", call], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"1\n"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait() == 1
    assert time.monotonic() - begin < 50


@shell
def test_an_assistant_imports_from_where_we_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder we are in counts where it does for us; what is no string does not, as for Python."""
    pretend(f'echo "$PYTHONPATH" > {tmp_path}/path', tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "path", ["", "/somewhere", Path("/nowhere")])
    with assistant("nothing()", "nobody"):
        pass
    assert (tmp_path / "path").read_text().strip() == f"{os.getcwd()}:/somewhere"


def pretend(script: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let that shell script stand for Python (None: a file that is not there); there are a cache, two processors."""
    python = folder / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr("scratchvae.engine.cold_start.processors", lambda: 2)
    monkeypatch.setattr("scratchvae.engine.cold_start.cache_folder", lambda: str(folder))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "120000 100000\n"}, 2),
        ({"cpu.max": "9900000 100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_container_s_quota_limits_the_threads(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr("scratchvae.engine.processors.CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert processors() == expected
