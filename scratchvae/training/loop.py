"""§7.3 The training loop: epochs, bounds along the way, checkpoints, and a clean stop.

Everything random is named by the step, so where the loop pauses (for a progress line, an evaluation, a checkpoint, a
power cut) leaves no trace in the result.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..engine.cold_start import patience
from ..noise import LIMIT
from ..types import Array
from . import rivals
from .evaluate import elbo_over
from .objective import check_parameters
from .state import State, Steps
from .stopping import period
from .watch import Watch

SLICE = 0.5  # seconds of training between two looks at the clock and at Ctrl-C
Report = Callable[[dict[str, Any]], None]


class Record(Protocol):
    """Where a run is kept: a folder (`training.run`), or nothing."""

    def append(self, metric: dict[str, Any]) -> None:
        """Keep one line of metrics."""

    def save(self, state: State, pending: list[float]) -> None:
        """Keep a checkpoint; `pending` is the training bound's (sum, count) since the last evaluation."""


class Interrupted(Exception):
    """Ctrl-C, SIGTERM or SIGHUP: the run was saved at `step` and can be resumed."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}; everything up to there is saved: continue with --resume")
        self.step = step


class Plan(NamedTuple):
    """When to pause: total steps, and the steps between two evaluations, two checkpoints and two looks of the held-out
    stop (0: it does not look)."""

    total: int
    evaluate: int
    save: int
    look: int = 0

    @classmethod
    def of(cls, steps: Steps, evaluate_every: float | None = None, save_every: float | None = None) -> "Plan":
        """The plan of a config, with the periods in epochs: one epoch, or one look, where nothing is given."""
        epoch, look = steps.per_epoch, period(steps)
        total = max(1, math.ceil(steps.state.config.epochs * epoch))
        given = (evaluate_every, save_every)
        evaluate, save = (look or epoch if n is None else max(1, round(min(n * epoch, LIMIT))) for n in given)
        return cls(total, evaluate, save, look)

    def next_pause(self, step: int) -> int:
        """The first step after `step` where the loop has something to do."""
        periods = (self.evaluate, self.save, self.look or self.total)
        return min(self.total, *(step - step % every + every for every in periods))


def train(
    steps: Steps,
    test: Array | None,
    plan: Plan,
    run: Record | None = None,
    report: Report = lambda _: None,
    pending: Sequence[float] = (0.0, 0),
    spent: float = 0.0,
    heard: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Train to the end of the plan; `test` None measures the training bound alone.

    Returns the metrics that were measured, one dict an evaluation, of the parameters in training. Where rows are held
    out the state ends, or is interrupted, with the best parameters (`training.stopping`).

    `pending` is what the checkpoint kept of the training bound, `spent` the seconds of training before a resume;
    `report` is called about every SLICE seconds with {"step", "bound", "rate", "left"}, and with each metric; `heard`
    when a stop is asked for, which comes with the end of the slice.
    Raises Interrupted (saved first) on SIGINT, SIGTERM or SIGHUP, Diverged with the last checkpoint intact.
    """
    state, metrics, bounds, clock = steps.state, [], Mean(*pending), Clock(steps, spent)
    watch = Watch(steps, plan.look)

    def done() -> bool:
        return state.step >= plan.total or watch.over

    def save() -> None:
        if run:
            with watch.exchanged():
                run.save(state, bounds.state())

    with stop_requests(heard) as stopped, watch.exchanged():
        while not done() and not stopped.is_set():
            pause = plan.next_pause(state.step)
            count = min(pause - state.step, clock.steps_in(SLICE))
            with patience(state.config.kernels == "numba" and not clock.taken), clock.running(count):
                bounds.add(steps.advance(count))
            check_parameters(state)
            report({"step": state.step, "bound": bounds.last, "rate": clock.rate(), "left": clock.left(plan.total)})
            watch.look()
            if state.step % plan.evaluate == 0 or done():
                metrics.append(measure(steps, test, bounds, clock) | watch.found())
                report(dict(metrics[-1]))  # a copy: the line is still to be written
                if run:
                    run.append(metrics[-1])
            if state.step % plan.save == 0 or done():
                save()
        if not done():
            save()
            raise Interrupted(state.step)
    return metrics


def measure(steps: Steps, test: Array | None, bounds: "Mean", clock: "Clock") -> dict[str, Any]:
    """One line of metrics.jsonl; every bound in nats per datapoint, that of the test rows where there are any."""
    state = steps.state
    line = {
        "step": state.step,
        "epoch": (state.step - steps.first) / steps.per_epoch,
        "samples_seen": clock.samples(state.step),
        "train_elbo": bounds.take(),
        "seconds": round(clock.seconds, 3),
    }
    line |= rivals.columns(state)
    if test is not None:
        found = elbo_over(state, test, threads=steps.threads)
        line |= {"test_elbo": found.elbo, "test_reconstruction": found.reconstruction, "test_kl": found.kl}
    return line


class Mean:
    """The mean training bound since the last evaluation, and the last minibatches' for the progress line."""

    def __init__(self, total: float = 0.0, count: float = 0) -> None:
        self.total, self.count, self.last = total, int(count), math.nan

    def add(self, bounds: Array) -> None:
        """Take in the bounds of some steps, one by one: the same sum however the steps were sliced."""
        for bound in bounds:
            self.total += float(bound)
        self.count += len(bounds)
        self.last = float(np.mean(bounds))

    def take(self) -> float:
        """The mean, and start afresh."""
        mean = self.total / max(1, self.count)
        self.total, self.count = 0.0, 0
        return mean

    def state(self) -> list[float]:
        """For the checkpoint."""
        return [self.total, self.count]


class Clock:
    """Time spent in training steps (not in evaluation), and what follows from it."""

    def __init__(self, steps: Steps, spent: float = 0.0) -> None:
        self.steps, self.seconds = steps, spent
        self.pace, self.taken, self.examples = 0.0, 0, 0  # seconds, steps and rows that the rate is made of
        self.first = True  # slice

    @contextmanager
    def running(self, count: int) -> Iterator[None]:
        """Time `count` steps."""
        start, first = time.perf_counter(), self.samples(self.steps.state.step)
        yield
        if self.first and self.taken:  # the first slice, one step, may have compiled: time spent, but no pace
            self.pace, self.taken, self.examples, self.first = 0.0, 0, 0, False
        spent = time.perf_counter() - start
        self.seconds, self.pace = self.seconds + spent, self.pace + spent
        self.taken += count
        self.examples += self.samples(self.steps.state.step) - first

    def samples(self, step: int) -> int:
        """Rows seen after `step` steps; of a model that trains on, since it does."""
        epoch, i = divmod(step - self.steps.first, self.steps.per_epoch)
        return epoch * self.steps.rows + i * self.steps.state.config.batch

    def steps_in(self, seconds: float) -> int:
        """How many steps fit; the first slice is one step, since it may compile."""
        return max(1, int(self.taken / self.pace * seconds)) if self.pace else 1

    def rate(self) -> float:
        """Examples per second so far, compilation aside."""
        return self.examples / self.pace if self.pace else 0.0

    def left(self, total: int) -> float:
        """Seconds of training still to go."""
        return (self.samples(total) - self.samples(self.steps.state.step)) / max(self.rate(), 1e-9)


@contextmanager
def stop_requests(heard: Callable[[], None]) -> Iterator[threading.Event]:
    """Within: SIGINT, SIGTERM and SIGHUP (unless ignored, as by nohup) set the event instead of killing; a second one
    kills. Main thread only, else inert."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if hasattr(signal, "SIGHUP") and (hang_up := signal.getsignal(signal.SIGHUP)) is not signal.SIG_IGN:
        before[signal.SIGHUP] = hang_up

    def ask(number: int, frame: Any) -> None:
        stopped.set()
        signal.signal(number, before[signal.Signals(number)])
        heard()

    for number in before:
        signal.signal(number, ask)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
