"""§7.2.5 scratchvae itself: "ours" is the step that training takes; beside it the same pairs composed in NumPy."""

from dataclasses import replace

import numpy as np

from bench.work import ADAGRAD, PIXELS, TOLERANCE, Product, StepWork, fingerprint, images, scan_length
from scratchvae import __version__
from scratchvae.errors import CheckFailed
from scratchvae.kernels import table
from scratchvae.training import compiled, evaluate, objective
from scratchvae.training.config import Config
from scratchvae.training.optim import Optimizer
from scratchvae.training.state import State, Steps
from scratchvae.types import Array

FEW = 4  # rows of log p(x) that the check scores in both ways


def version() -> str:
    return f"scratchvae {__version__}"


def begun(work: StepWork, kernels: str) -> State:
    """The state of a training run from the bench's weights."""
    hidden, latents = zip(*work.arrows, strict=True)
    config = Config(hidden=hidden, latent=latents, batch=work.batch, dtype=work.dtype, kernels=kernels,
                    likelihood=work.likelihood, missing=work.missing, optimizer=optimizer(work),
                    binarisation="dynamic" if work.likelihood == "bernoulli" else "none")  # fmt: skip
    if work.model == "vae":
        config = replace(config, hidden=hidden[0], latent=latents[0])
    if work.kind == "step":
        config = replace(config, estimator=work.estimator, samples=work.samples)
    state = State(config, PIXELS)
    state.arena.fill(named(work))
    return state


def optimizer(work: StepWork) -> Optimizer:
    if work.optimizer == "adagrad":
        return Optimizer(work.optimizer, ADAGRAD[0], epsilon=ADAGRAD[1])
    return Optimizer(work.optimizer, *work.adam)


def make(work: StepWork, kernels: str, inverted: bool = False) -> Steps:
    """The steps of that run on the bench's images."""
    x = 255 - images() if inverted else images()
    return compiled.steps(begun(work, kernels), x, work.threads)  # what `scratchvae train` takes its steps with


def named(work: StepWork) -> dict[str, Array]:
    """The common weights under the library's names: a last layer is its heads side by side."""
    found: dict[str, Array] = {}
    for side, nets in zip("qp", work.weights(), strict=True):
        for l, (*hidden, W, b) in enumerate(nets):
            prefix = side if len(nets) == 1 else f"{side}.{l}"
            bits = (side, l, work.likelihood) == ("p", 0, "bernoulli")
            layers = {f"hidden.{i}": (hidden[2 * i], hidden[2 * i + 1]) for i in range(len(hidden) // 2)}
            heads = ("logits",) if bits else ("mu", "log_var")
            parts = (np.split(a, len(heads), axis=-1) for a in (W, b))
            layers |= dict(zip(heads, zip(*parts, strict=True), strict=True))
            for name, (weights, bias) in layers.items():
                found |= {f"{prefix}.{name}.W": weights, f"{prefix}.{name}.b": bias}
    return found


def same(found: Array, expected: Array, work: StepWork, what: str) -> None:
    """Raises CheckFailed where the fast way differs from the composed pairs in NumPy."""
    if not abs(found - expected).max() <= TOLERANCE[work.dtype] * abs(expected).max():
        raise CheckFailed(f"{what} give {found}, the composed pairs in NumPy {expected}")


class Step:
    """One cell: `advance`, as training calls it: many steps a call (as many as the JAX scan's)."""

    def __init__(self, what: str, work: StepWork) -> None:
        self.quantum = scan_length(work)
        self.work, self.kernels = work, "numpy" if "NumPy" in what else "numba"
        self.inverted = "inverted" in what
        self.steps = make(work, self.kernels, self.inverted)

    def run(self, n: int) -> None:
        self.steps.advance(n)

    def check(self) -> list[float]:
        """The probe's bound before and after one step on it, once three steps with their own noise equal NumPy's."""
        one, other = (make(self.work, kernels, self.inverted) for kernels in (self.kernels, "numpy"))
        if self.kernels != "numpy":
            same(one.advance(3), other.advance(3), self.work, "three steps")
        return probed(self.work, self.kernels)


def probed(work: StepWork, kernels: str) -> list[float]:
    """The probe's bound, as the estimator has it, before and after one step on it by the composed pairs."""
    fixed = make(work, kernels)
    fixed.minibatch = lambda step: work.probe()  # type: ignore[method-assign]
    return [fixed.one(), fixed.one()]  # each is the bound before its step


def step(what: str, work: StepWork) -> Step:
    return Step(what, work)


class Evidence:
    """One cell: log p(x) of the first rows, binarised once."""

    quantum = 1

    def __init__(self, work: StepWork) -> None:
        self.work, self.state = work, begun(work, "numba")
        self.x = work.probe()[0]

    def run(self, n: int) -> None:
        for _ in range(n):
            evaluate.log_likelihood(self.state, self.x, self.work.samples)

    def check(self) -> list[float]:
        """log p(x) of each row by the probe's few samples, once with all samples and its own noise it is NumPy's."""
        one, other = (
            evaluate.log_likelihood(state, self.x[:FEW], self.work.samples)
            for state in (self.state, begun(self.work, "numpy"))
        )
        same(one, other, self.work, f"{self.work.samples} samples a row")
        return weighed(self.work, "numba")


def weighed(work: StepWork, kernels: str) -> list[float]:
    """log p(x) of each row of the probe from its noise, by the composed pairs."""
    log_w = objective.log_weights(begun(work, kernels), *work.probe()).astype(np.float64)
    return [float(total) for total in np.logaddexp.reduce(log_w, axis=0) - np.log(len(log_w))]


def evidence(what: str, work: StepWork) -> Evidence:
    return Evidence(work)


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
