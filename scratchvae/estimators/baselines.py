"""§7.2.2 Baselines that learn: what a row's signal is expected to be (Mnih & Gregor 2014, §2.3 and App. A; "NVIL").

    ∇_φ ≈ (r − c − C_ψ(x)) / max(1, σ) · ∇ log q(z; φ)

c is the running mean of r, C_ψ(x) a network with one hidden layer trained to the least square of what is left, σ the
running standard deviation of that. All come from earlier steps and from x, never from this z: no bias, by eq. (2) of
`score` (σ rescales the gradient of φ, like a learning rate). The state is named arrays, and goes into the checkpoint.
The first step has no past: there c is the mean of the other rows, which do not know this z either.
Test: test_baselines_learn_and_leave_the_mean_alone.
"""

import math
from collections.abc import Callable

import numpy as np

from ..kernels import NUMPY
from ..networks import Dense, dense, dense_vjp, mlp, mlp_vjp
from ..types import Array
from .frame import Cotangents, Draw, Estimator, Memory
from .score import with_baseline

DECAY = 0.9  # of the running mean and variance
UNITS = 100  # of C_ψ's hidden layer
HYPER = (1e-3, 0.9, 0.999, 1e-8, 0.0)  # Adam for ψ: rate, β₁, β₂, ε, decay
NET = ("hidden.W", "hidden.b", "out.W", "out.b")


def initial_mean(columns: int, normals: Callable[..., Array]) -> Memory:
    """c and σ², and how many steps they have seen."""
    return {"mean": np.zeros(1), "variance": np.zeros(1), "steps": np.zeros(1)}


def initial_net(columns: int, normals: Callable[..., Array]) -> Memory:
    """c and σ², C_ψ, which starts at zero, and Adam's slots."""
    hidden = normals(columns, UNITS) / math.sqrt(columns)
    params = [hidden, np.zeros_like(hidden[0]), np.zeros((UNITS, 1), hidden.dtype), np.zeros(1, hidden.dtype)]
    state = initial_mean(columns, normals) | dict(zip(NET, params, strict=True))
    return state | {f"{name}.{slot}": np.zeros_like(p) for name, p in zip(NET, params, strict=True) for slot in "mv"}


def predict(x: Array, state: Memory) -> tuple[Array, list[Array], tuple[Dense, Dense]]:
    """C_ψ(x) (B,), and what the way back needs."""
    layers = Dense(*(state[n] for n in NET[:2])), Dense(*(state[n] for n in NET[2:]))
    hs = mlp(x, layers[:1], "tanh")
    return dense(hs[-1], layers[1])[:, 0], hs, layers


# −½ (r − c − C)² is maximised: ∂/∂C = r − c − C.
def learn(x: Array, left: Array, state: Memory) -> None:
    """One step of Adam on ψ; left (S, B) = r − c − C_ψ(x)."""
    _, hs, layers = predict(x, state)
    dlayers = [Dense(*map(np.zeros_like, layer)) for layer in layers]
    dout = (left.mean(axis=0) / left.shape[1]).astype(hs[-1].dtype)[:, None]
    dh = dense_vjp(dout, hs[-1], layers[1], dlayers[1])
    mlp_vjp(dh, hs, layers[:1], dlayers[:1], "tanh")
    for name, g in zip(NET, (*dlayers[0], *dlayers[1]), strict=True):
        flat = (state[name].reshape(-1), g.reshape(-1), state[name + ".m"].reshape(-1), state[name + ".v"].reshape(-1))
        NUMPY.adam(*flat, int(state["steps"][0]) + 1, HYPER)


def expected(d: Draw) -> Array:
    """c + C_ψ(x), (B,)."""
    B = d.r.shape[1]
    if not d.state["steps"][0]:
        means = d.r.mean(axis=0)
        others: Array = (means.sum() - means) / max(B - 1, 1)
        return others
    mean = np.full(B, float(d.state["mean"][0]), d.r.dtype)
    return mean + predict(d.x, d.state)[0] if "out.W" in d.state else mean


def update(d: Draw) -> None:
    """c, σ² and ψ learn from a draw after its gradient was taken; the first step sets c and σ²."""
    left, s = d.r - expected(d), d.state
    share = 1 - DECAY if s["steps"][0] else 1.0
    s["variance"] += share * (float(left.var()) - s["variance"])
    s["mean"] += share * float(left.mean() if s["steps"][0] else d.r.mean())  # left = r − c − C, so c moves by its mean
    if "out.W" in s:
        learn(d.x, left, s)
    s["steps"] += 1


def centred(d: Draw) -> Cotangents:
    """r − baseline."""
    return with_baseline(d.r, expected(d))


def nvil(d: Draw) -> Cotangents:
    """r − baseline, divided by max(1, σ)."""
    c = centred(d)
    return c._replace(score=c.score / max(1.0, math.sqrt(d.state["variance"][0])))


score_mean = Estimator("score_mean", centred, initial=initial_mean, update=update)
score_input = Estimator("score_input", centred, initial=initial_net, update=update)
score_nvil = Estimator("nvil", nvil, initial=initial_net, update=update)
