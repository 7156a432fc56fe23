"""§7.2.5 A contest: all do the same job, are checked first, then timed in turn; medians, and ratios against ours."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from bench.peers import DECISIVE, EVERY, FIELD, SLOW
from bench.work import TOLERANCE, Product, StepWork
from bench.worker import limit

Job = StepWork | Product


class PeerError(Exception):
    """A contestant could not do it: one line."""


class Worker:
    """A contestant's process."""

    def __init__(self, module: str, threads: int) -> None:
        self.module = module
        command = [sys.executable, "-m", "bench.worker", module, str(threads)]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True, env=limit(threads))

    def ask(self, do: str, **rest: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps({"do": do, **rest}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"its process ended with code {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise PeerError(reply["error"])
        return reply["ok"]

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=30)


class Plan(NamedTuple):
    """How long, who, and where the lines go that a person reads."""

    seconds: float  # of one turn
    rounds: int
    realtime: bool
    busy: bool  # another process spins on one processor during the turns
    leave_out: tuple[str, ...]
    say: Callable[[str], None]


def run(jobs: Iterable[Job], plan: Plan) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """(rows, versions, notes) of all jobs, grouped by thread count: one set of processes for each."""
    jobs = list(jobs)
    rows: list[dict[str, Any]] = []
    versions: list[str] = []
    notes: list[str] = []
    for threads in sorted({j.threads for j in jobs}, reverse=True):
        workers, started = enter(threads, plan, notes)
        versions += [v for v in started if v not in versions]
        try:
            for job in (j for j in jobs if j.threads == threads):
                rows += compare(job, workers, plan, notes)
        finally:
            for worker in workers.values():
                worker.close()
    return rows, versions, notes


def wanted(kind: str, plan: Plan) -> dict[str, str]:
    """Contestant → module, without those that the caller leaves out."""
    return {what: module for what, module in FIELD[kind].items() if not any(skip in what for skip in plan.leave_out)}


def enter(threads: int, plan: Plan, notes: list[str]) -> tuple[dict[str, Worker], list[str]]:
    """Module → its process, for those that are installed, and their versions."""
    modules = dict.fromkeys(module for kind in FIELD for module in wanted(kind, plan).values())
    workers, versions = {module: Worker(module, threads) for module in modules}, []  # they import side by side
    for module, worker in list(workers.items()):
        try:
            versions.append(worker.ask("version"))
        except PeerError as e:
            workers.pop(module).close()
            _note(notes, plan, f"{module.removesuffix('_peer')} left out: {e}")
    return workers, versions


def compare(job: Job, workers: dict[str, Worker], plan: Plan, notes: list[str]) -> list[dict[str, Any]]:
    """One cell: build and check all, then rounds in which each has one turn."""
    kind = "product" if isinstance(job, Product) else job.kind
    able = {what: workers[module] for what, module in wanted(kind, plan).items() if module in workers}
    field = {what: worker for what, worker in able.items() if suits(job, what)}
    ready = agree(kind, job, field, plan, notes)
    times: dict[str, list[float]] = {what: [] for what in ready}
    with spinning(plan.busy, job.threads):
        for _ in range(plan.rounds):
            for what in ready:
                times[what] += field[what].ask("turn", what=what, seconds=plan.seconds, realtime=plan.realtime)
    for worker in workers.values():
        worker.ask("drop")
    rows = [row(kind, job, what, t, times.get("ours")) for what, t in times.items()]
    plan.say(
        f"{job.network}, {job.name}, batch {job.batch}, {job.threads} threads, {job.dtype}: "
        + ", ".join(f"{r['what']} {r['microseconds']:.0f}" for r in rows)
    )
    return rows


def suits(job: Job, what: str) -> bool:
    """Whether this contestant can do the job, and is worth its time there."""
    if isinstance(job, StepWork) and job.kind == "step" and not job.plain:
        return what in EVERY
    return what not in SLOW or (job.network, job.batch) in DECISIVE


SPIN = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n for _ in range(1_000_000): pass"


@contextlib.contextmanager
def spinning(wanted: bool, threads: int) -> Iterator[None]:
    """Another process at work on the last of the workers' processors; it ends at the latest when this one does."""
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", SPIN, str(os.getpid())]) as process:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {sorted(os.sched_getaffinity(0))[:threads][-1]})
        try:
            yield
        finally:
            process.kill()


def agree(kind: str, job: Job, field: dict[str, Worker], plan: Plan, notes: list[str]) -> list[str]:
    """Those that can do the job and whose numbers equal the float64 reference; a line for each other one."""
    reference = oracle(kind, job)
    ready = []
    for what, worker in field.items():
        try:
            found = worker.ask("build", kind=kind, what=what, job=job._asdict(), realtime=plan.realtime)
        except PeerError as e:
            _note(notes, plan, f"{what} left out ({job.dtype}): {e}")
            continue
        worst = max(abs(f - r) / max(1.0, abs(r)) for f, r in zip(found, reference, strict=True))
        if worst <= TOLERANCE[job.dtype]:
            ready.append(what)
        else:
            _note(notes, plan, f"WRONG: {what} on {job}: {found}, expected {reference}; not timed")
    return ready


def oracle(kind: str, job: Job) -> list[float]:
    """The numbers every contestant must find, in float64: the NumPy peer's, or else those of our composed pairs."""
    from bench.peers import numpy_peer, ours

    job = job._replace(dtype="float64", threads=1)
    if isinstance(job, StepWork) and not job.plain:
        return (ours.weighed if kind == "evidence" else ours.probed)(job, "numpy")
    made: Any = getattr(numpy_peer, kind)("NumPy", job)
    return list(made.check())


def row(kind: str, job: Job, what: str, times: list[float], ours: list[float] | None) -> dict[str, Any]:
    """One line of the results. ratio: its median time over ours in the same rounds; None where ours did not run."""
    median = statistics.median(times)
    return {
        "kind": kind, "network": job.network, "batch": job.batch, "threads": job.threads, "dtype": job.dtype,
        **job.labels(), "what": what, "microseconds": round(median, 2),
        "ratio": round(median / statistics.median(ours), 3) if ours else None,
        "best": round(min(times), 2), "gflops": round(job.operations() / median / 1e3, 2),
        "intensity": round(job.operations() / job.traffic(), 2), "chunks": len(times),
    }  # fmt: skip


def _note(notes: list[str], plan: Plan, line: str) -> None:
    if line not in notes:
        notes.append(line)
        plan.say(line)
