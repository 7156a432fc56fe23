"""§7.2.5 The work that every contestant does: the same networks, images, weights and, for the check, the same noise.

One step: gather a shuffled minibatch from images resident in memory, binarise it with fresh uniforms (u < pixel),
draw ε, run the encoder, z = μ + σ ε, the decoder, the bound that the estimator has, its gradient, and one step of the
optimizer on every weight. Objective: the mean bound over the rows, in nats per datapoint. Most cells are SGVB B of a
VAE (Kingma & Welling 2014, eq. 10) by Adam; the others say what is different.
"""

from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from scratchvae import data
from scratchvae.types import Array

NETWORKS = {  # of each arrow, from x upwards: hidden layers of q (mirrored in p) and latents
    "784-500-20": (((500,), 20),),
    "784-200-200-50": (((200, 200), 50),),
    "784-200-200-100/100-100-50": (((200, 200), 100), ((100, 100), 50)),  # a ladder: Burda et al. 2016, §5
}
PIXELS = 784
ROWS = 60_000
ADAM = (1e-3, 0.9, 0.999, 1e-8)  # step size, β₁, β₂, ε: the paper's and every framework's default
ADAGRAD = (1e-2, 1e-8)  # step size, ε: the least step of Kingma & Welling 2014
VARIANCE = (1 / 255) ** 2  # floor of the Gaussian decoder's σ²: one grey level
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # relative, on the bound before and after one step
LOG_P = "log_p"  # in the estimator's place: no step, but log p(x) by importance sampling

Nets = list[list[Array]]  # an arrow each: [W, b, W, b, …], W (in, out), the last layer with all heads side by side


class Contestant(Protocol):
    """What a peer builds for one cell. `run(n)` does n pieces of work and returns when they are done."""

    quantum: int  # n must be a multiple of this (a scan does many steps in one call)

    def run(self, n: int) -> None: ...

    def check(self) -> list[float]: ...


class StepWork(NamedTuple):
    """One cell: training steps, or log p(x) of `batch` rows."""

    network: str
    batch: int
    dtype: str = "float32"
    threads: int = 2
    estimator: str = "sgvb_b"
    samples: int = 1  # of z a row
    optimizer: str = "adam"
    likelihood: str = "bernoulli"  # "gaussian" sees grey levels / 255, not bits
    missing: str = ""  # "random:0.5": half of the pixels, the same ones in every epoch

    @property
    def kind(self) -> str:
        return "evidence" if self.estimator == LOG_P else "step"

    @property
    def model(self) -> str:
        return "vae" if len(self.arrows) == 1 else "ladder"

    @property
    def arrows(self) -> tuple[tuple[tuple[int, ...], int], ...]:
        """(hidden layers of q, latents) of each, from x upwards."""
        return NETWORKS[self.network]

    @property
    def latents(self) -> list[int]:
        return [latents for _, latents in self.arrows]

    @property
    def plain(self) -> bool:
        """The VAE by SGVB B, Bernoulli and Adam, which every contestant can do."""
        usual = StepWork(self.network, self.batch, self.dtype, self.threads)
        return self == usual and self.model == "vae"

    @property
    def name(self) -> str:
        """What is not as usual, joined by hyphens: "ladder-iw-50", "missing"; "sgvb_b" where all is."""
        parts = [self.model] * (self.model != "vae") + ["missing"] * bool(self.missing)
        parts += [self.likelihood] * (self.likelihood != "bernoulli") + [self.optimizer] * (self.optimizer != "adam")
        parts += [self.estimator] * (self.estimator != "sgvb_b" or not parts)
        return "-".join(parts + [str(self.samples)] * (self.estimator in ("iw", "dreg", "score_loo")))

    @property
    def adam(self) -> tuple[float, float, float, float]:
        """Step size, β₁, β₂, ε. By ADAM's a Gaussian decoder of σ down to a grey level falls, now and then, to −1e5."""
        return (1e-4, *ADAM[1:]) if self.likelihood == "gaussian" else ADAM

    def labels(self) -> dict[str, Any]:
        """What a row of the results says of the work beside its sizes."""
        rest = {key: getattr(self, key) for key in ("estimator", "samples", "optimizer", "likelihood", "missing")}
        return {"cell": self.name, "model": self.model, **rest}

    def layers(self) -> tuple[list[list[tuple[int, int]]], list[list[tuple[int, int]]]]:
        """(inputs, outputs) of each layer of each arrow of q and of p; a Gaussian's last one holds μ and log σ²."""
        q: list[list[tuple[int, int]]] = []
        p: list[list[tuple[int, int]]] = []
        below = PIXELS
        for hidden, latents in self.arrows:
            heads = 1 if not p and self.likelihood == "bernoulli" else 2
            q.append([*pairwise((below, *hidden)), (hidden[-1], 2 * latents)])
            p.append([*pairwise((latents, *hidden[::-1])), (hidden[0], heads * below)])
            below = latents
        return q, p

    def weights(self) -> tuple[Nets, Nets]:
        """The same start for everybody: the arrows of q and of p. No bias is zero: a lost one shows."""
        rng = np.random.default_rng(2014)
        q, p = ([[a for i, o in net for a in _layer(rng, i, o, self.dtype)] for net in nets] for nets in self.layers())
        return q, p

    def probe(self) -> tuple[Array, Array]:
        """The check's input: a minibatch x (B, 784), NaN where it is missing, and noise eps (S, B, latents).

        Of several samples the noise is small, or one of them would have all the weight, and w̃² be w̃.
        """
        rng = np.random.default_rng(1312)
        x = images()[: self.batch] / 255.0
        if self.likelihood == "bernoulli":
            x = (rng.random((self.batch, PIXELS)) < x).astype(float)
        if self.missing:
            x[rng.random(x.shape) < 0.5] = np.nan
        eps = rng.standard_normal((min(self.samples, 100), self.batch, sum(self.latents)))
        eps *= 1.0 if self.samples == 1 else 0.1
        return x.astype(self.dtype), eps.astype(self.dtype)

    def operations(self) -> float:
        """Multiplications and additions really needed in products: forward, dW, and dx except of the first layer.

        Of log p(x) forward alone. The first arrow of q sees each row once, all else each sample.
        """
        ways = 1 if self.kind == "evidence" else 3
        (first, *q), p = ([[i * o for i, o in net] for net in nets] for nets in self.layers())
        once, often = ways * sum(first), ways * sum(map(sum, q + p))
        if self.kind == "step":
            once -= first[0]
            often -= p[0][0] * (self.estimator == "score_loo")  # which goes by no path through z
        return 2.0 * self.batch * (once + self.samples * often)

    def traffic(self) -> float:
        """Bytes that cannot be avoided: weights, and in training the optimizer's arrays, read and written once, and
        the minibatch read (uint8)."""
        q, p = self.layers()
        ways = 1 if self.kind == "evidence" else 6 if self.optimizer == "adam" else 4
        parameters = sum((i + 1) * o for net in q + p for i, o in net)
        return float(ways * np.dtype(self.dtype).itemsize * parameters + self.batch * PIXELS)


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


def scan_length(work: StepWork) -> int:
    """Steps of one call where a contestant takes many at once: a second at most."""
    return max(4, min(600, 20_000 // (work.batch * work.samples)))


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

    @property
    def name(self) -> str:
        return self.kind

    def labels(self) -> dict[str, Any]:
        return {}

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
