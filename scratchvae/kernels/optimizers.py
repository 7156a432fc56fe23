"""§7.3 One step uphill for every parameter: the loops of the optimizers, in place on the flat arena.

The bound is maximised, so g = ∂L/∂θ is added; the papers minimise −L, whose gradient is −g: the steps are the same.
"""

import math

import numpy as np

from ..engine.jit import jit
from ..types import Array

AdamHyper = tuple[float, float, float, float, float]  # (α, β₁, β₂, ε, λ)

# Adam                                                                     Kingma & Ba 2015, Algorithm 1
#   m ← β₁ m + (1 − β₁) g,    v ← β₂ v + (1 − β₂) g²        both start at zero; t counts from 1
#   m̂ = m / (1 − β₁ᵗ),        v̂ = v / (1 − β₂ᵗ)             θ ← θ + α m̂ / (√v̂ + ε)
# AdamW (Loshchilov & Hutter 2019) also shrinks θ by α λ θ, outside of the moments; λ = 0 is Adam.


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


@jit
def adam_nb(theta: Array, g: Array, m: Array, v: Array, t: int, hyper: AdamHyper) -> None:
    """Twin of `adam_np`, one pass over memory."""
    real = theta.dtype.type
    alpha, beta1, beta2, epsilon, decay = hyper
    b1, b2, c1, c2 = real(beta1), real(beta2), real(1 - beta1), real(1 - beta2)
    fix1, fix2 = real(1 / (1 - beta1**t)), real(1 / (1 - beta2**t))
    a, e, shrink = real(alpha), real(epsilon), real(alpha * decay)
    for i in range(theta.size):
        m[i] = b1 * m[i] + c1 * g[i]
        v[i] = b2 * v[i] + c2 * g[i] * g[i]
        theta[i] += a * (m[i] * fix1) / (math.sqrt(v[i] * fix2) + e) - shrink * theta[i]


# Adagrad (Duchi et al. 2011), the optimizer of Kingma & Welling 2014 §5:  G ← G + g²,  θ ← θ + α g / (√G + ε)


def adagrad_np(theta: Array, g: Array, G: Array, alpha: float, epsilon: float) -> None:
    """One Adagrad step; theta, g, G (P,)."""
    G += g * g
    theta += alpha * g / (np.sqrt(G) + epsilon)


@jit
def adagrad_nb(theta: Array, g: Array, G: Array, alpha: float, epsilon: float) -> None:
    """Twin of `adagrad_np`."""
    a, e = theta.dtype.type(alpha), theta.dtype.type(epsilon)
    for i in range(theta.size):
        G[i] += g[i] * g[i]
        theta[i] += a * g[i] / (math.sqrt(G[i]) + e)


# SGD with momentum (Polyak 1964):  u ← μ u + g,  θ ← θ + α u


def momentum_np(theta: Array, g: Array, u: Array, alpha: float, mu: float) -> None:
    """One step of gradient ascent with momentum; theta, g, u (P,)."""
    u *= mu
    u += g
    theta += alpha * u


@jit
def momentum_nb(theta: Array, g: Array, u: Array, alpha: float, mu: float) -> None:
    """Twin of `momentum_np`."""
    a, keep = theta.dtype.type(alpha), theta.dtype.type(mu)
    for i in range(theta.size):
        u[i] = keep * u[i] + g[i]
        theta[i] += a * u[i]
