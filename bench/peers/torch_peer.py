"""§7.2.5 PyTorch: eager with its default Adam, with fused Adam, and torch.compile with fused Adam; flush-to-zero on."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from bench.work import ADAM, PIXELS, Product, StepWork, batches, fingerprint, images
from scratchvae.types import Array


def version() -> str:
    return f"torch {torch.__version__} ({'MKL' if torch.backends.mkl.is_available() else 'no MKL'})"


def dense(x: Any, P: list[Any], inner: int) -> Any:
    for i in range(0, 2 * inner, 2):
        x = torch.tanh(F.linear(x, P[i], P[i + 1]))
    return F.linear(x, P[-2], P[-1])


def loss(q: list[Any], p: list[Any], x: Any, eps: Any) -> Any:
    """Minus the mean bound: what a torch user writes, both heads in one product."""
    mu, log_var = dense(x, q, len(q) // 2 - 1).chunk(2, dim=1)
    sigma = torch.exp(0.5 * log_var)
    logits = dense(torch.addcmul(mu, sigma, eps), p, len(p) // 2 - 1)
    cost = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = 0.5 * (mu * mu + sigma * sigma - 1.0 - log_var).sum()
    return (cost + kl) / x.shape[0]


class Step:
    """One cell. Pixels are float32 in memory: gathered without a conversion, faster here than uint8."""

    quantum = 1

    def __init__(self, what: str, work: StepWork) -> None:
        torch.set_num_threads(work.threads)
        torch.set_flush_denormal(True)  # kinder to torch: Adam's moments decay into denormals
        self.work, self.dtype = work, getattr(torch, work.dtype)
        self.q, self.p = ([_parameter(a) for a in net] for (net,) in work.weights())
        rate, beta1, beta2, tiny = ADAM
        fused = {"fused": True} if "fused" in what else {}  # eager: torch's own default (foreach where it applies)
        self.adam = torch.optim.Adam(self.q + self.p, lr=rate, betas=(beta1, beta2), eps=tiny, **fused)
        self.loss: Callable[..., Any] = loss
        if "compile" in what:
            torch._dynamo.reset()
            self.loss = torch.compile(loss, dynamic=False)
        self.rows, self.pixels, self.t = torch.from_numpy(batches(work.batch)), _pixels(), 0

    def update(self, x: Any, eps: Any) -> None:
        self.adam.zero_grad(set_to_none=True)
        self.loss(self.q, self.p, x, eps).backward()
        self.adam.step()

    def run(self, n: int) -> None:
        B, (K,) = self.work.batch, self.work.latents
        for _ in range(n):
            pixels = self.pixels.index_select(0, self.rows[self.t % len(self.rows)])
            x = torch.rand(B, PIXELS).lt_(pixels)
            if self.dtype != torch.float32:
                x = x.to(self.dtype)
            self.update(x, torch.randn(B, K, dtype=self.dtype))
            self.t += 1

    def check(self) -> list[float]:
        x, (eps,) = (torch.from_numpy(a) for a in self.work.probe())
        before = -loss(self.q, self.p, x, eps).item()
        self.update(x, eps)
        return [before, -loss(self.q, self.p, x, eps).item()]


def _parameter(a: Array) -> Any:
    """torch keeps a layer's weights (out, in)."""
    return torch.nn.Parameter(torch.from_numpy(a.T.copy() if a.ndim == 2 else a))


_cache: list[Any] = []


def _pixels() -> Any:
    if not _cache:
        _cache.append(torch.from_numpy(images()).float().div_(255))
    return _cache[0]


def step(what: str, work: StepWork) -> Step:
    return Step(what, work)


class Multiply:
    """One matrix product into memory that is already there."""

    quantum = 1

    def __init__(self, job: Product) -> None:
        torch.set_num_threads(job.threads)
        self.left, self.right = job.views(*(torch.from_numpy(a) for a in job.operands()))
        self.out = self.left @ self.right

    def run(self, n: int) -> None:
        for _ in range(n):
            torch.mm(self.left, self.right, out=self.out)

    def check(self) -> list[float]:
        self.run(1)
        return fingerprint(self.out.numpy())


def product(what: str, job: Product) -> Multiply:
    return Multiply(job)
