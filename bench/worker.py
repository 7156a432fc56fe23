"""§7.2.5 One contestant's process: threads limited before anything is imported, then commands as JSON lines on stdin.

Separate processes, because thread pools of different frameworks fight inside one; only one of them computes at a time.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

TURN_WARM = 0.02  # seconds untimed at the start of each turn: caches, clocks and sleeping threads come back
CHUNK = 0.02  # seconds at least between two looks at the clock


def limit(threads: int) -> dict[str, str]:
    """Environment that holds every library to that many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    return {**os.environ, **dict.fromkeys(names, str(threads)), "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}


def pin(threads: int) -> None:
    """Stay on the first `threads` processors, where the system can do that (JAX sizes its pool by this)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


@contextlib.contextmanager
def realtime(wanted: bool) -> Iterator[None]:
    """Real-time priority for every thread of this process during a turn: other users of the machine wait."""
    if not wanted:
        yield
        return
    _schedule(os.SCHED_FIFO, 50)
    try:
        yield
    finally:
        _schedule(os.SCHED_OTHER, 0)


def _schedule(policy: int, priority: int) -> None:
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(int(task), policy, os.sched_param(priority))


class Cell:
    """A contestant with the number of pieces of work that fill one chunk."""

    def __init__(self, contestant: Any) -> None:
        self.contestant, self.n = contestant, contestant.quantum
        self.seconds(self.n)  # compiles what is left to compile
        once = min(self.seconds(self.n) for _ in range(2))
        self.n *= max(1, round(CHUNK / once))

    def seconds(self, n: int) -> float:
        start = time.perf_counter()
        self.contestant.run(n)
        return time.perf_counter() - start

    def turn(self, seconds: float) -> list[float]:
        """Microseconds a piece, one figure a chunk."""
        end = time.perf_counter() + TURN_WARM
        while time.perf_counter() < end:
            self.contestant.run(self.contestant.quantum)
        found: list[float] = []
        end = time.perf_counter() + seconds
        while not found or time.perf_counter() < end:
            found.append(self.seconds(self.n) / self.n * 1e6)
        return found


def answer(peer: Any, cells: dict[str, Cell], command: dict[str, Any]) -> Any:
    """One command: version, build (a step, log p(x) or a product), turn, or drop."""
    from bench.work import Product, StepWork

    what = command.get("what", "")
    match command["do"]:
        case "version":
            return peer.version()
        case "build":
            job = (Product if command["kind"] == "product" else StepWork)(**command["job"])
            contestant = getattr(peer, command["kind"])(what, job)
            check = contestant.check()  # first check, only then time
            with realtime(command["realtime"]):
                cells[what] = Cell(contestant)
            return check
        case "turn":
            with realtime(command["realtime"]):
                return cells[what].turn(command["seconds"])
        case _:
            return cells.clear()


def main(module: str, threads: int) -> None:
    """Answers each line of stdin with one line on stdout: {"ok": …} or {"error": one line}."""
    pin(threads)
    replies, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not spoil the protocol
    from bench.peers import load

    cells: dict[str, Cell] = {}
    peer = None
    for line in sys.stdin:
        try:
            peer = peer or load(module)
            reply: dict[str, Any] = {"ok": answer(peer, cells, json.loads(line))}
        except Exception as e:  # whatever a peer throws is one line in the report
            reply = {"error": f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
