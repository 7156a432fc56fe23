"""§7.3 The order in which an epoch visits the rows, a function of (seed, epoch, place): any process finds its own part.

    permutation      the argsort of N random keys: 8 to 24 bytes a row
    keyed            a bijection that is computed place by place, from tables of √N words: 1 MB at 10⁹ rows
    blocks[:ROWS]    blocks of so many neighbours in a keyed order, MIXED of them shuffled together: disks read on

The bijection is a Feistel network over a × b ≥ n cells, a = ⌈√n⌉ (Luby & Rackoff 1988; of any two factors: Black &
Rogaway 2002, "Ciphers with arbitrary finite domains", method 3): a place is (L, R) = (place mod a, ⌊place / a⌋), and

    (L, R)  →  (R, L + F_j(R) mod a or b in turn)        which L = L' − F_j(R) undoes, whatever F_j is

a round. The functions F_j are tables of random words. What lands on a cell beyond n is sent on until it does not (cycle
walking, ibid., method 2): a bijection of the cells that is followed from a place below n must come back below n, and
no two places meet. Few cells are beyond, a at most.
"""

import functools
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from ..noise import LIMIT, Noise, Purpose, within
from ..types import Array

ORDERS = ("permutation", "keyed", "blocks")
ROUNDS = 8
ROWS, MIXED = 1024, 64  # of a block; blocks that are shuffled together
INSIDE = 1 << 31  # row of the noise from which buffers are counted: the tables of a keyed order are before it
LARGE = 1 << 24  # rows from which a new run, not told otherwise, takes "keyed": a permutation would take 400 MB


def parsed(order: str) -> tuple[str, int]:
    """The name in "blocks:1024", and rows of a block. Raises UsageError for what is no order."""
    name, _, rows = order.partition(":")
    sized = name == "blocks" and rows.isdecimal() and 0 < int(rows) < LIMIT
    if name not in ORDERS or not (sized or order == name):
        raise UsageError(f"order={order!r}: expected permutation, keyed, blocks or blocks:ROWS")
    return name, int(rows) if sized else ROWS


class Keyed(NamedTuple):
    """A bijection of 0 … n − 1 by its rounds' tables (ROUNDS, max(a, b)) int64, F_j(R) mod a or b."""

    n: int
    a: int
    b: int
    tables: Array

    @classmethod
    def of(cls, noise: Noise, epoch: int, n: int, purpose: int = Purpose.ORDER) -> "Keyed":
        """The bijection named by (seed, purpose, epoch). Raises UsageError from 2^62 on, and where noise ends."""
        within("n", n, 2**62)
        a = max(1, int(np.ceil(np.sqrt(n))))
        b = max(1, -(-n // a))
        words = noise.words(purpose, epoch, max(a, b), ROUNDS).T.astype(np.int64)
        return cls(n, a, b, np.stack([row % (b if j % 2 else a) for j, row in enumerate(words)]))

    def __call__(self, places: Array) -> Array:
        """Where places (…,), int64 below n, are sent."""
        found = self.once(places)
        while (beyond := found >= self.n).any():
            found[beyond] = self.once(found[beyond])
        return found

    def once(self, places: Array) -> Array:
        """All rounds, on cells below a · b."""
        R, L = np.divmod(places, self.a)
        for j, table in enumerate(self.tables):
            L, R = R, (L + table[R]) % (self.b if j % 2 else self.a)
        return np.asarray(L + self.a * R)


class Order:
    """The order of n rows, by name, for all epochs."""

    def __init__(self, order: str, noise: Noise, n: int) -> None:
        self.name, self.size = parsed(order)
        self.noise, self.n = noise, n
        self.size = min(self.size, n)
        self.permuted = functools.lru_cache(2)(lambda epoch: noise.order(epoch, n))
        self.keyed = functools.lru_cache(4)(lambda epoch, many: Keyed.of(noise, epoch, many))
        self.mixed = functools.lru_cache(4)(lambda epoch, i, many: noise.order(epoch, many, row=INSIDE + i))

    def rows(self, epoch: int, places: Array) -> Array:
        """The rows (B,) int64 at some places (B,), below n, of the epoch."""
        if self.name == "permutation":
            return np.asarray(self.permuted(epoch)[places])
        return np.asarray(self.keyed(epoch, self.n)(places) if self.name == "keyed" else self.blocks(epoch, places))

    def blocks(self, epoch: int, places: Array) -> Array:
        """Blocks begin elsewhere in each epoch, and go on from the last row to the first: what is left over, less than
        a block, is seen at the end of the epoch, and other rows each time."""
        whole, mixed = self.n // self.size, MIXED * self.size
        low, high = self.noise.words(Purpose.ORDER, epoch, 1, 2, LIMIT - 1)[0].tolist()
        found = np.empty(len(places), np.int64)
        for i in np.unique(places // mixed).tolist():
            here, begin = places // mixed == i, i * mixed
            inside = begin + self.mixed(epoch, i, min(mixed, self.n - begin))[places[here] - begin]
            block, within_it = np.divmod(inside, self.size)
            block[block < whole] = self.keyed(epoch, whole)(block[block < whole])
            found[here] = block * self.size + within_it
        return (found + (low + (high << 32)) % self.n) % self.n


def kept(held: Array, places: Array) -> Array:
    """The rows at places counted without those `held` out, which rise: place + how many of them stand before it."""
    return np.asarray(places + np.searchsorted(held - np.arange(len(held)), places, "right"))
