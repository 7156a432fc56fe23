"""§7.2.5 NumPy and its BLAS, the gradient by hand: one flat arena, buffers reused, Adam swept in pieces."""

from typing import Any

import numpy as np

from bench.work import ADAM, PIXELS, Product, StepWork, batches, fingerprint, images
from scratchvae.types import Array

PIECE = 65_536  # elements of the arena in one piece of Adam's sweep: measured, between call overhead and cache


def version() -> str:
    blas: Any = np.show_config(mode="dicts")
    found = blas["Build Dependencies"]["blas"]
    return f"numpy {np.__version__} ({found['name']} {found['version']})"


def views(flat: Array, like: list[Array]) -> list[Array]:
    """The arena cut into arrays of the given shapes."""
    ends = np.cumsum([a.size for a in like])
    return [flat[e - a.size : e].reshape(a.shape) for e, a in zip(ends, like, strict=True)]


def forward(P: list[Array], x: Array) -> list[Array]:
    """Inputs of every layer, and the last layer's linear output; tanh between."""
    hs = [x]
    for i in range(0, len(P), 2):
        h = hs[-1] @ P[i]
        h += P[i + 1]
        hs.append(h if i == len(P) - 2 else np.tanh(h, out=h))
    return hs


def backward(P: list[Array], dP: list[Array], hs: list[Array], dh: Array, input_too: bool) -> Array:
    """Writes dP; returns the cotangent of the input where it is wanted. dh is overwritten."""
    for i in range(len(P) - 2, -1, -2):
        h = hs[i // 2]
        np.matmul(h.T, dh, out=dP[i])
        np.sum(dh, axis=0, out=dP[i + 1])
        if i == 0 and not input_too:
            break
        dh = dh @ P[i].T
        if i:  # tanh' = 1 - h²; h is not needed again
            np.multiply(h, h, out=h)
            dh *= np.subtract(1.0, h, out=h)
    return dh


def bound(q: list[Array], p: list[Array], x: Array, eps: Array) -> tuple[float, Any]:
    """The mean bound in nats per datapoint, and what the way back needs."""
    hq, K = forward(q, x), eps.shape[1]
    mu, log_var = hq[-1][:, :K], hq[-1][:, K:]
    sigma = np.exp(0.5 * log_var)
    hp = forward(p, mu + sigma * eps)
    logits = hp[-1]
    size = np.abs(logits)  # log p(x|z) = x l - max(l, 0) - log(1 + exp(-|l|)),  max(l, 0) = (l + |l|) / 2
    log_p = np.vdot(x, logits) - 0.5 * (logits.sum() + size.sum())
    e = np.exp(np.negative(size, out=size), out=size)
    e += 1.0
    log_p -= np.log(e, out=e).sum()
    kl = 0.5 * (mu * mu + sigma * sigma - 1.0 - log_var).sum()
    return float(log_p - kl) / len(x), (hq, hp, mu, sigma)


def gradient(q: list[Array], p: list[Array], dq: list[Array], dp: list[Array], x: Array, eps: Array) -> float:
    """The bound; writes its gradient into dq and dp."""
    L, (hq, hp, mu, sigma) = bound(q, p, x, eps)
    scale = 1.0 / len(x)
    half = np.tanh(np.multiply(hp[-1], 0.5))  # sigmoid(l) = (1 + tanh(l / 2)) / 2: one vectorised call
    half *= 0.5
    half += 0.5
    dlogits = np.subtract(x, half, out=half)
    dlogits *= scale
    dz = backward(p, dp, hp, dlogits, True)
    dmu = dz - scale * mu
    dlog_var = 0.5 * (dz * sigma * eps - scale * (sigma * sigma - 1.0))
    backward(q, dq, hq, np.concatenate([dmu, dlog_var], axis=1), False)
    return L


def adam(w: Array, g: Array, m: Array, v: Array, a: Array, b: Array, t: int) -> None:
    """One ascent step on the flat arena, in place; a and b are scratch of PIECE elements."""
    rate, beta1, beta2, tiny = ADAM
    rate, root = rate / (1 - beta1**t), (1 - beta2**t) ** -0.5
    for s in range(0, w.size, PIECE):
        wi, gi, mi, vi = w[s : s + PIECE], g[s : s + PIECE], m[s : s + PIECE], v[s : s + PIECE]
        ai, bi = a[: wi.size], b[: wi.size]
        mi *= beta1
        mi += np.multiply(gi, 1 - beta1, out=ai)
        vi *= beta2
        np.multiply(gi, gi, out=ai)
        vi += np.multiply(ai, 1 - beta2, out=ai)
        np.sqrt(vi, out=ai)
        ai *= root
        ai += tiny
        wi += np.divide(np.multiply(mi, rate, out=bi), ai, out=ai)


class Step:
    """One cell: state, buffers, and the loop."""

    quantum = 1

    def __init__(self, work: StepWork) -> None:
        self.work = work
        (q,), (p,) = work.weights()
        self.w = np.concatenate([a.ravel() for a in q + p])
        self.g, self.m, self.v = (np.zeros_like(self.w) for _ in range(3))
        self.a, self.b = np.empty(PIECE, work.dtype), np.empty(PIECE, work.dtype)
        n = len(q)
        self.P, self.dP = views(self.w, q + p), views(self.g, q + p)
        self.q, self.p, self.dq, self.dp = self.P[:n], self.P[n:], self.dP[:n], self.dP[n:]
        self.t = 0
        self.rng = np.random.Generator(np.random.SFC64(0))  # NumPy's fastest
        self.rows, self.pixels = batches(work.batch), images()
        self.u = np.empty((work.batch, PIXELS), np.float32)

    def update(self, x: Array, eps: Array) -> None:
        self.t += 1
        gradient(self.q, self.p, self.dq, self.dp, x, eps)
        adam(self.w, self.g, self.m, self.v, self.a, self.b, self.t)

    def run(self, n: int) -> None:
        B, (K,), kind = self.work.batch, self.work.latents, np.dtype(self.work.dtype)
        for _ in range(n):
            pixels = self.pixels.take(self.rows[self.t % len(self.rows)], axis=0)
            self.rng.random(out=self.u, dtype=np.float32)
            self.u *= 255  # u < pixel / 255
            x = (self.u < pixels).astype(kind)
            eps = self.rng.standard_normal((B, K), dtype=kind)
            self.update(x, eps)

    def check(self) -> list[float]:
        """The bound on the probe before and after one step on it."""
        x, (eps,) = self.work.probe()
        before = bound(self.q, self.p, x, eps)[0]
        self.update(x, eps)
        return [before, bound(self.q, self.p, x, eps)[0]]


def step(what: str, work: StepWork) -> Step:
    return Step(work)


class Multiply:
    """One matrix product into memory that is already there."""

    quantum = 1

    def __init__(self, job: Product) -> None:
        self.left, self.right = job.views(*job.operands())
        self.out = np.empty((self.left.shape[0], self.right.shape[1]), job.dtype)

    def run(self, n: int) -> None:
        for _ in range(n):
            np.matmul(self.left, self.right, out=self.out)

    def check(self) -> list[float]:
        self.run(1)
        return fingerprint(self.out)


def product(what: str, job: Product) -> Multiply:
    return Multiply(job)
