"""§7.3 The held-out stop at work (see `stopping`): looks at the held-out rows, and the best parameters exchanged."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from .evaluate import elbo_over
from .state import State, Steps
from .stopping import looked, over


class Watch:
    """The held-out stop of a run, for the training loop: a look every `period` steps, none where that is 0."""

    def __init__(self, steps: "Steps", period: int) -> None:
        self.state: State = steps.state
        self.x, self.threads, self.period = steps.x[steps.held], steps.threads, period
        self.weights = None if steps.weights is None else steps.weights[steps.held]
        self.measured = (-1, math.nan)  # the last bound's step, and the bound

    @property
    def over(self) -> bool:
        return over(self.state, self.period)

    def look(self) -> None:
        """Where a look is due: measure the bound of the held-out rows, and keep the parameters of the best."""
        step = self.state.step
        if not self.period or step % self.period:
            return
        looks = self.state.stopping["looks"]
        if (found := self.bound()) > looks[0]:
            looks[:2] = found, step
            self.state.stopping["parameters"][...] = self.state.arena.flat
        looks[2] = step

    def bound(self) -> float:
        """The held-out rows' bound at this step, nats per datapoint."""
        if self.measured[0] != self.state.step:
            found = elbo_over(self.state, self.x, threads=self.threads, weights=self.weights)
            self.measured = self.state.step, found.elbo
        return self.measured[1]

    def found(self) -> dict[str, float]:
        """For a line of metrics."""
        return {"validation_elbo": self.bound()} if self.period else {}

    @contextmanager
    def exchanged(self) -> Iterator[None]:
        """Within training: the parameters that it goes on with, for the best. Within that: the best, for a checkpoint.
        Before the first look they are the same."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def exchange(self) -> None:
        """Change the best parameters for the others, or back."""
        if self.period and looked(self.state):
            flat, other = self.state.arena.flat, self.state.stopping["parameters"]
            flat[...], other[...] = other.copy(), flat.copy()
