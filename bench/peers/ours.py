"""§7.2.5 scratchvae itself: "ours" is the step that training takes; beside it the same pairs composed in NumPy."""

import numpy as np

from bench.work import ADAM, PIXELS, TOLERANCE, Product, StepWork, fingerprint, images, scan_length
from scratchvae import __version__
from scratchvae.errors import CheckFailed
from scratchvae.kernels import table
from scratchvae.models.vae import elbo
from scratchvae.training import compiled
from scratchvae.training.config import Config
from scratchvae.training.optim import Optimizer
from scratchvae.training.state import State, Steps
from scratchvae.types import Array


def version() -> str:
    return f"scratchvae {__version__}"


def make(work: StepWork, kernels: str, inverted: bool = False) -> Steps:
    """The state and the steps of a training run on the bench's images, from the bench's weights."""
    rate, beta1, beta2, tiny = ADAM
    hidden = tuple(outputs for _, outputs in work.layers()[0][:-1])
    config = Config(hidden=hidden, latent=work.latents, batch=work.batch, dtype=work.dtype, kernels=kernels,
                    binarisation="dynamic", optimizer=Optimizer("adam", rate, beta1, beta2, tiny))  # fmt: skip
    state = State(config, PIXELS)
    state.arena.fill(named(work))
    x = 255 - images() if inverted else images()
    return compiled.steps(state, x, work.threads)  # what `scratchvae train` takes its steps with


def named(work: StepWork) -> dict[str, Array]:
    """The common weights under the library's names: q's last layer is its two heads."""
    found: dict[str, Array] = {}
    (*q, W, b), p = work.weights()
    K = work.latents
    heads = {"q.mu": (W[:, :K], b[:K]), "q.log_var": (W[:, K:], b[K:]), "p.logits": (p[-2], p[-1])}
    layers = {f"q.hidden.{i}": (q[2 * i], q[2 * i + 1]) for i in range(len(q) // 2)}
    layers |= {f"p.hidden.{i}": (p[2 * i], p[2 * i + 1]) for i in range(len(p) // 2 - 1)}
    for name, (weights, bias) in (layers | heads).items():
        found |= {f"{name}.W": weights, f"{name}.b": bias}
    return found


class Step:
    """One cell: `advance`, as training calls it: many steps a call (as many as the JAX scan's)."""

    def __init__(self, what: str, work: StepWork) -> None:
        self.quantum = scan_length(work.batch)
        self.work, self.kernels = work, "numpy" if "NumPy" in what else "numba"
        self.inverted = "inverted" in what
        self.steps = make(work, self.kernels, self.inverted)

    def run(self, n: int) -> None:
        self.steps.advance(n)

    def check(self) -> list[float]:
        """The probe's bound before and after one step on it, once three steps with their own noise equal NumPy's."""
        one, other = (make(self.work, kernels, self.inverted) for kernels in (self.kernels, "numpy"))
        found, expected = one.advance(3), other.advance(3)
        if not abs(found - expected).max() <= TOLERANCE[self.work.dtype] * abs(expected).max():
            raise CheckFailed(f"three steps give {found}, the composed pairs in NumPy {expected}")
        fixed = make(self.work, self.kernels)
        x, eps = self.work.probe()
        fixed.minibatch = lambda step: (x, eps[None])  # type: ignore[method-assign]  # one sample a row
        before = self.bound(fixed, x, eps)
        fixed.one()
        return [before, self.bound(fixed, x, eps)]

    def bound(self, steps: Steps, x: Array, eps: Array) -> float:
        L, _ = elbo(x, eps, steps.state.phi, steps.state.theta, steps.state.k)
        return float(L.mean())


def step(what: str, work: StepWork) -> Step:
    return Step(what, work)


class Multiply:
    """One of a dense layer's three products as the kernel table has them, with the bias; dW adds to what is there."""

    quantum = 1

    def __init__(self, what: str, job: Product) -> None:
        self.job, self.k = job, table("numba")
        self.a, self.b = job.operands()
        self.bias = np.zeros(job.outputs, job.dtype)
        self.dW = np.zeros((job.inputs, job.outputs), job.dtype)

    def once(self) -> Array:
        if self.job.kind == "forward":
            return np.asarray(self.k.dense(self.a, self.b, self.bias))
        if self.job.kind == "dx":
            return np.asarray(self.k.dense_vjp_x(self.a, self.b))
        self.k.dense_vjp_params(self.b, self.a, self.dW, self.bias)
        return self.dW

    def run(self, n: int) -> None:
        for _ in range(n):
            self.once()

    def check(self) -> list[float]:
        self.dW[...] = 0
        return fingerprint(self.once())


def product(what: str, job: Product) -> Multiply:
    return Multiply(what, job)
