"""§7.2 Automatic mutants of the schedule: of every function of `fast`, and of the formulas of `kernels` that it calls.

Each is planted in a copy that runs as ordinary Python (`plain_schedule`), and meets the small runs that reach its line
(`schedule_cases`), the quickest first. What a run does is equal to the composition of the pairs, or the mutant is
found; so is one that leaves its memory, or hangs. One of the builder that builds the same changes no value.
"""

import functools
import signal
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, NamedTuple

from scratchvae.engine.processors import processors
from scratchvae.mutants.plant import targets_in

from .automatic import Mutant, Result, alarm, slips, why_equivalent
from .plain_schedule import PACKAGE, PlainSchedule, Same
from .schedule_cases import Case, cases

ROOMS = str(PACKAGE / "fast"), str(PACKAGE / "kernels")
BUILDER = "fast.schedule.", "fast.placing.", "fast.layout.Builder.", "fast.layout.ceil_to"
KILLS: Counter[tuple[str, str]] = Counter()  # what a case has found in a function: it comes first for the next
HANGS = 2.0  # seconds of processor; a case takes a tenth of one


class Reached(NamedTuple):
    """A case, its time in seconds, the lines of `fast` and `kernels` that it reaches, a digest of what it builds."""

    case: Case
    seconds: float
    lines: set[tuple[str, int]]
    built: list[str]


@functools.cache
def plain() -> PlainSchedule:
    """The copy in which mutants are planted."""
    return PlainSchedule()


@functools.cache
def reached() -> list[Reached]:
    """Every case on the healthy copy, the quickest first. Raises RuntimeError where one fails."""
    return sorted(map(observed, cases()), key=lambda found: found.seconds)


def observed(case: Case) -> Reached:
    """Runs a case and notes its lines."""
    lines: set[tuple[str, int]] = set()

    def each_line(frame: types.FrameType, event: str, arg: Any) -> Any:
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return each_line

    def each_call(frame: types.FrameType, event: str, arg: Any) -> Any:
        return each_line if frame.f_code.co_filename.startswith(ROOMS) else None

    if why := case.fails(plain()):
        raise RuntimeError(f"the case {case.name!r} fails without any mutant ({why}): mend that first")
    start = time.process_time()
    plain().built, plain().known = [], []
    case.plain(plain())
    built = list(plain().built)
    seconds = time.process_time() - start
    before = sys.gettrace()
    sys.settrace(each_call)
    threading.settrace(each_call)
    try:
        case.plain(plain())
    finally:
        sys.settrace(before)
        threading.settrace(before)
    return Reached(case, seconds, lines, built)


@functools.cache
def make() -> list[Mutant]:
    """Every mutant of the schedule."""
    modules = plain().modules
    used = {id(value) for name in modules if name.startswith("fast.") for value in vars(modules[name]).values()}
    found = (t for name in modules if name.startswith(("fast.", "kernels.")) for t in targets_in(modules[name]))
    return slips([t for t in found if id(t.function) in used or "." in t.name])


def killer(mutant: Mutant) -> tuple[str, str]:
    """The first case that fails with the mutant planted, and how; if none does, the reason why none can, or ""."""
    target, schedule, outcomes = mutant.parts[0][0], plain(), list[str]()
    here = {(target.module.__file__, line) for line in mutant.lines}
    healthy = sorted(reached(), key=lambda found: -KILLS[target.label, found.case.name])
    with mutant.planted():
        for found in healthy:
            if not here.isdisjoint(found.lines):
                schedule.built, schedule.known = [], found.built if target.label.startswith(BUILDER) else []
                with alarm(HANGS):
                    outcomes.append(found.case.fails(schedule))
                if outcomes[-1] not in ("", Same.__name__):
                    KILLS[target.label, found.case.name] += 1
                    return f"{found.case.name} ({outcomes[-1]})", ""
    return "", "the same is built" if set(outcomes) == {Same.__name__} else why_equivalent(mutant.name)


def killer_of(i: int) -> tuple[int, str, str]:
    """The same of mutant number i, in a process of its own."""
    return i, *killer(make()[i])


def judged(mutants: list[Mutant], progress: Callable[[int, int, int], None] | None = None) -> Result:
    """What becomes of the mutants, which are some of `make()`'s."""
    start = time.perf_counter()
    reached()  # once, before there are other processes
    numbers = {m.name: i for i, m in enumerate(make())}
    result = Result({}, [], {}, 0.0)
    quietly = signal.signal, (signal.SIGTERM, signal.SIG_DFL)  # a process that is told to end says nothing
    with get_context("fork" if sys.platform == "linux" else "spawn").Pool(processors(), *quietly) as pool:
        order = [numbers[m.name] for m in mutants]
        for done, (i, by, reason) in enumerate(pool.imap_unordered(killer_of, order, 8)):
            name = make()[i].name
            if by:
                result.killed[name] = by
            elif reason:
                result.equivalent[name] = reason
            else:
                result.survivors.append(name)
            if progress and done % 20 == 0:
                progress(done, len(mutants), len(result.survivors))
    return result._replace(seconds=time.perf_counter() - start)
