"""§7.3 What a run on n machines would take: the time of a step measured here, and an all-reduce over a link.

One step of a batch of B rows on n ranks (data-parallel: each has all weights and B/n of the rows, then all add up their
gradients of P parameters):

    T(n) = t(B/n) + r (α + 4P/β + 4P/γ),   r = ⌈log₂ n⌉

t(b)    seconds of a step of b rows, measured: straight lines between the batches that were timed, the last one's slope
        beyond. t(1) is above 0: to read all weights, to add and to update them takes what it takes, whatever b is.
r       rounds of the fixed binary tree, by recursive doubling: in round k a rank exchanges its whole sum with the rank
        2ᵏ away, and adds. The same bits come out for any number of ranks, which a ring, of 2P(n−1)/n floats, has not:
        it adds in an order that n changes. So the tree pays log₂ n for what the ring pays about twice.
α, β    the link's latency, seconds, and bandwidth, bytes a second, of one message each way at a time.
γ       bytes a second of adding what has come: measured here as reading and updating two arrays beyond the caches.

An epoch of N rows takes ⌈N/B⌉ T(n). Efficiency is T(1) / (n T(n)). As n grows t(B/n) falls only to t(1), while r grows:
scaling stops where the efficiency falls below a half, and turns where doubling n adds more exchange than it takes from
t.
Left out: reading rows from disk, stragglers, a network that others use, evaluation and checkpoints.
"""

import math
import time
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..types import Array

FLOAT = 4  # bytes


class Link(NamedTuple):
    """Between two ranks: seconds of latency, and bytes a second."""

    latency: float
    bandwidth: float


# Typical of such links, rounded, not measured here; your own are better: mpiexec's pingpong tells them.
LINKS = {
    "loopback": Link(10e-6, 3e9),
    "1GbE": Link(50e-6, 0.117e9),
    "10GbE": Link(30e-6, 1.17e9),
    "100GbE": Link(10e-6, 11.7e9),
    "infiniband": Link(1.5e-6, 24e9),
}


class Costs(NamedTuple):
    """Seconds of a step at each batch that was timed, in ascending order, and what the exchange needs to know."""

    batches: tuple[int, ...]
    seconds: tuple[float, ...]
    parameters: int
    adding: float  # γ, bytes a second

    def step(self, rows: float) -> float:
        """t(b), seconds of a step of that many rows on one rank."""
        b, t = np.array(self.batches, float), np.array(self.seconds)
        if rows <= b[0] or len(b) == 1:
            return float(t[0]) if rows <= b[0] else float(t[0] * rows / b[0])
        if rows <= b[-1]:
            return float(np.interp(rows, b, t))
        return float(t[-1] + (rows - b[-1]) * (t[-1] - t[-2]) / (b[-1] - b[-2]))


class Forecast(NamedTuple):
    """On n ranks: seconds of a step, of which rows and of which exchange, and of all rows; price; efficiency."""

    ranks: int
    rows: float  # seconds of t(B/n)
    latency: float
    transfer: float
    adding: float
    total: float  # seconds of all steps
    price: float
    efficiency: float

    @property
    def step(self) -> float:
        """Seconds of one step."""
        return self.rows + self.latency + self.transfer + self.adding


class Job(NamedTuple):
    """What is to be done: rows in all (rows × epochs), batch, threads of a rank, price of a core for an hour."""

    rows: float
    batch: int
    threads: int = 1
    price: float = 0.0


def forecast(costs: Costs, link: Link, job: Job, ranks: int) -> Forecast:
    """T(n) and what follows from it. Raises UsageError where a rank would have no row."""
    if not 1 <= ranks <= job.batch:
        raise UsageError(f"{ranks} ranks for a batch of {job.batch}: each needs a row; give a larger --batch")
    rounds, size = math.ceil(math.log2(ranks)), FLOAT * costs.parameters
    parts = (rounds * link.latency, rounds * size / link.bandwidth, rounds * size / costs.adding)
    rows = costs.step(math.ceil(job.batch / ranks))
    step = rows + sum(parts)
    total = math.ceil(job.rows / job.batch) * step
    price = total / 3600 * ranks * job.threads * job.price
    return Forecast(ranks, rows, *parts, total, price, costs.step(job.batch) / (ranks * step))


def doublings(costs: Costs, link: Link, job: Job, most: int) -> list[Forecast]:
    """On 1, 2, 4, … ranks, up to `most` and to one row each."""
    counts = [2**k for k in range(int(math.log2(min(most, job.batch))) + 1)]
    return [forecast(costs, link, job, n) for n in counts]


def end(found: list[Forecast]) -> str:
    """Where scaling stops, and why."""
    quickest = min(found, key=lambda f: f.step)
    paid = max((f for f in found if f.efficiency >= 0.5), key=lambda f: f.ranks)
    last = found[found.index(paid) + 1] if paid is not found[-1] else paid
    useful = found[0].rows / last.ranks  # what rows would take, were they all that counted
    why = {
        "the part of a step that no rank is spared (weights are read, added and updated whole)": last.rows - useful,
        "the link's latency, once a round": last.latency,
        "the link's bandwidth: whole gradients, once a round": last.transfer,
        "adding up what came": last.adding,
    }
    reason = max(why, key=why.__getitem__)
    if last is paid and quickest is paid:
        return f"the efficiency is at least half up to {paid.ranks} ranks; beyond was not asked or has no rows"
    return (f"the efficiency is at least half up to {paid.ranks} ranks; quickest of these: {quickest.ranks}. "
            f"What stops it: {reason}; a larger batch moves it further")  # fmt: skip


def adding_speed(tries: int = 5, floats: int = 1 << 22) -> float:
    """γ: bytes of the array that came, added a second to another, both beyond the caches' size."""
    a: Array = np.ones(floats, np.float32)
    b = np.ones_like(a)

    def once() -> float:
        start = time.perf_counter()
        np.add(a, b, out=a)
        return time.perf_counter() - start

    return FLOAT * floats / min(once() for _ in range(tries))
