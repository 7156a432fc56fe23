"""§7.2.5 The work that every contestant does: the same networks, images, weights and, for the check, the same noise.

One step: gather a shuffled minibatch from images resident in memory, binarise it with fresh uniforms (u < pixel),
draw ε, run the encoder, z = μ + σ ε, the decoder, the Bernoulli bound with analytic KL (Kingma & Welling 2014, eq. 10),
its gradient, and one Adam step on every weight. Objective: the mean bound over the rows, in nats per datapoint.
"""

from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from scratchvae import data
from scratchvae.types import Array

# hidden layers of q (mirrored in p), latents
NETWORKS = {"784-500-20": ((500,), 20), "784-200-200-50": ((200, 200), 50)}
PIXELS = 784
ROWS = 60_000
ADAM = (1e-3, 0.9, 0.999, 1e-8)  # step size, β₁, β₂, ε: the paper's and every framework's default
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # relative, on the bound before and after one step


class Contestant(Protocol):
    """What a peer builds for one cell. `run(n)` does n pieces of work and returns when they are done."""

    quantum: int  # n must be a multiple of this (a scan does many steps in one call)

    def run(self, n: int) -> None: ...

    def check(self) -> list[float]: ...


class StepWork(NamedTuple):
    """One cell of the step table."""

    network: str
    batch: int
    dtype: str
    threads: int

    @property
    def latents(self) -> int:
        return NETWORKS[self.network][1]

    def layers(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(inputs, outputs) of each layer of q and p; q's last layer holds both heads, μ then log σ², side by side."""
        hidden, latents = NETWORKS[self.network]
        q, p = (PIXELS, *hidden), (latents, *hidden[::-1], PIXELS)
        return [*pairwise(q), (q[-1], 2 * latents)], [*pairwise(p)]

    def weights(self) -> tuple[list[Array], list[Array]]:
        """The same start for everybody: [W, b, W, b, …] of q and p, W (in, out). No bias is zero: a lost one shows."""
        rng = np.random.default_rng(2014)
        q, p = ([a for i, o in net for a in _layer(rng, i, o, self.dtype)] for net in self.layers())
        return q, p

    def probe(self) -> tuple[Array, Array]:
        """A fixed binary minibatch x (B, 784) and noise eps (B, K): the check's input."""
        rng = np.random.default_rng(1312)
        x = rng.random((self.batch, PIXELS)) < images()[: self.batch] / 255.0
        return x.astype(self.dtype), rng.standard_normal((self.batch, self.latents)).astype(self.dtype)

    def operations(self) -> float:
        """Multiplications and additions really needed in products: forward, dW, and dx except of the first layer."""
        q, p = self.layers()
        sizes = [i * o for i, o in q + p]
        return 2.0 * self.batch * (3 * sum(sizes) - sizes[0])

    def traffic(self) -> float:
        """Bytes a step cannot avoid: weights, m and v read and written once, and the minibatch read (uint8)."""
        q, p = self.layers()
        return 6.0 * np.dtype(self.dtype).itemsize * sum((i + 1) * o for i, o in q + p) + self.batch * PIXELS


def _layer(rng: np.random.Generator, inputs: int, outputs: int, dtype: str) -> tuple[Array, Array]:
    W = rng.standard_normal((inputs, outputs)) * inputs**-0.5
    return W.astype(dtype), (0.1 * rng.standard_normal(outputs)).astype(dtype)


@cache
def images() -> Array:
    """uint8 (60000, 784): the training images of MNIST, which lie in data/; 13 ones in a hundred binarised pixels."""
    return np.ascontiguousarray(data.load("mnist").train)


def batches(batch: int, seed: int = 0) -> Array:
    """(steps, batch) int64: one epoch's shuffled row numbers, the last short batch dropped."""
    order = np.random.default_rng(seed).permutation(ROWS)
    return order[: ROWS // batch * batch].reshape(-1, batch)


def scan_length(batch: int) -> int:
    """Steps of one call where a contestant takes many at once: a second at most."""
    return max(4, min(600, 20_000 // batch))


class Product(NamedTuple):
    """One cell of the product table: a single matrix product of the step at that batch."""

    kind: str  # "forward" x W, "dW" xᵀ dy, or "dx" dy Wᵀ
    inputs: int
    outputs: int
    batch: int
    dtype: str
    threads: int

    @property
    def network(self) -> str:
        return f"{self.kind} {self.inputs}x{self.outputs}"

    def operands(self) -> tuple[Array, Array]:
        """(A, B) as they lie in memory in a training step, C order; the product is `multiply`'s."""
        rng = np.random.default_rng(7)
        x, dy = rng.standard_normal((self.batch, self.inputs)), rng.standard_normal((self.batch, self.outputs))
        W = rng.standard_normal((self.inputs, self.outputs))
        a, b = {"forward": (x, W), "dW": (x, dy), "dx": (dy, W)}[self.kind]
        return a.astype(self.dtype), b.astype(self.dtype)

    def views(self, a: Any, b: Any) -> tuple[Any, Any]:
        """The two factors of C = left @ right."""
        return (a.T, b) if self.kind == "dW" else (a, b.T) if self.kind == "dx" else (a, b)

    def operations(self) -> float:
        return 2.0 * self.batch * self.inputs * self.outputs

    def traffic(self) -> float:
        """Bytes of both operands and the result, each once."""
        B, I, O = self.batch, self.inputs, self.outputs
        return np.dtype(self.dtype).itemsize * float(B * I + I * O + B * O)


def fingerprint(c: Array) -> list[float]:
    """Two numbers that a wrong product does not share: a random bilinear form and the norm."""
    rng = np.random.default_rng(3)
    c = np.asarray(c, np.float64)
    u, v = rng.standard_normal(c.shape[0]), rng.standard_normal(c.shape[1])
    return [float(u @ c @ v) / float(np.linalg.norm(u) * np.linalg.norm(v)), float(np.linalg.norm(c))]
