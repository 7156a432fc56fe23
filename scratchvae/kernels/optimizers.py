"""§7.3 One step uphill for every parameter: the loops of the optimizers, in place on the flat arena.

The bound is maximised, so g = ∂L/∂θ is added; the papers minimise −L, whose gradient is −g: the steps are the same.
"""

import math
from typing import Any

import numpy as np

from ..engine.jit import inline, jit, lazy_import
from ..types import Array

lane_count, sqrt = lazy_import("engine.vectors", "lane_count", "sqrt")
read, write = lazy_import("engine.edges", "read", "write")

AdamHyper = tuple[float, float, float, float, float]  # (α, β₁, β₂, ε, λ)

# Adam                                                                     Kingma & Ba 2015, Algorithm 1
#   m ← β₁ m + (1 − β₁) g,    v ← β₂ v + (1 − β₂) g²        both start at zero; t counts from 1
#   m̂ = m / (1 − β₁ᵗ),        v̂ = v / (1 − β₂ᵗ)             θ ← θ + α m̂ / (√v̂ + ε)
# AdamW (Loshchilov & Hutter 2019) also shrinks θ by α λ θ, outside of the moments; λ = 0 is Adam.
#   α m fix / (√v / root + ε) = (α fix root) m / (√v + ε root)        with fix = 1/(1 − β₁ᵗ) and root = √(1 − β₂ᵗ)


def adam_np(theta: Array, g: Array, m: Array, v: Array, t: int, hyper: AdamHyper) -> None:
    """One Adam step number t ≥ 1; theta, g, m, v (P,); hyper = (α, β₁, β₂, ε, λ)."""
    alpha, beta1, beta2, epsilon, decay = hyper
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    theta += alpha * m_hat / (np.sqrt(v_hat) + epsilon) - alpha * decay * theta


@inline
def adam_constants(hyper: Any, t: int) -> Any:
    """k = (1 − β₁, β₂, 1 − β₂, α fix root, ε root) of step number t ≥ 1."""
    alpha, beta1, beta2, epsilon, _ = hyper
    fix, root = 1.0 / (1.0 - beta1**t), math.sqrt(1.0 - beta2**t)
    return 1.0 - beta1, beta2, 1.0 - beta2, alpha * fix * root, epsilon * root


@inline
def adam_step(w: Any, g: Any, m: Any, v: Any, k: Any) -> Any:
    """(w, m, v) after a step; not v + (1 − β₂)(g² − v), which is 0 after a large g where β₂ is small."""
    c1, beta2, c2, alpha, epsilon = k
    m = m + (g - m) * c1
    v = v * beta2 + g * c2 * g
    return w + m / (sqrt(v) + epsilon) * alpha, m, v


@jit
def adam_nb(theta: Array, g: Array, m: Array, v: Array, t: int, hyper: AdamHyper) -> None:
    """Twin of `adam_np`, one pass over memory."""
    k, shrink, n = adam_constants(hyper, t), hyper[0] * hyper[4], theta.size
    for i in range(0, n, lane_count(theta)):
        w = read(theta, i, n, theta)
        w, M, V = adam_step(w - w * shrink, read(g, i, n, theta), read(m, i, n, theta), read(v, i, n, theta), k)
        write(theta, i, n, w)
        write(m, i, n, M)
        write(v, i, n, V)


# Adagrad (Duchi et al. 2011), the optimizer of Kingma & Welling 2014 §5:  G ← G + g²,  θ ← θ + α g / (√G + ε)


def adagrad_np(theta: Array, g: Array, G: Array, alpha: float, epsilon: float) -> None:
    """One Adagrad step; theta, g, G (P,)."""
    G += g * g
    theta += alpha * g / (np.sqrt(G) + epsilon)


@inline
def adagrad_step(w: Any, g: Any, G: Any, alpha: float, epsilon: float) -> Any:
    """(w, G) after a step."""
    G = G + g * g
    return w + g * alpha / (sqrt(G) + epsilon), G


@jit
def adagrad_nb(theta: Array, g: Array, G: Array, alpha: float, epsilon: float) -> None:
    """Twin of `adagrad_np`."""
    n = theta.size
    for i in range(0, n, lane_count(theta)):
        w, S = adagrad_step(read(theta, i, n, theta), read(g, i, n, theta), read(G, i, n, theta), alpha, epsilon)
        write(theta, i, n, w)
        write(G, i, n, S)


# SGD with momentum (Polyak 1964):  u ← μ u + g,  θ ← θ + α u


def momentum_np(theta: Array, g: Array, u: Array, alpha: float, mu: float) -> None:
    """One step of gradient ascent with momentum; theta, g, u (P,)."""
    u *= mu
    u += g
    theta += alpha * u


@inline
def momentum_step(w: Any, g: Any, u: Any, alpha: float, mu: float) -> Any:
    """(w, u) after a step."""
    u = u * mu + g
    return w + u * alpha, u


@jit
def momentum_nb(theta: Array, g: Array, u: Array, alpha: float, mu: float) -> None:
    """Twin of `momentum_np`."""
    n = theta.size
    for i in range(0, n, lane_count(theta)):
        w, U = momentum_step(read(theta, i, n, theta), read(g, i, n, theta), read(u, i, n, theta), alpha, mu)
        write(theta, i, n, w)
        write(u, i, n, U)
