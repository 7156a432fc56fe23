"""§7.3 The update of a tile of weights while its cotangents are in the cache; formulas: `kernels.optimizers`."""

from typing import Any, NamedTuple

from scratchvae.engine.jit import internal
from scratchvae.engine.vectors import lane_count, load, store
from scratchvae.estimators.baselines import HYPER
from scratchvae.fast.workspace import Workspace
from scratchvae.kernels.optimizers import adagrad_step, adam_constants, adam_step, momentum_step
from scratchvae.types import Array

ADAM, ADAGRAD, MOMENTUM = range(3)


class Optimizer(NamedTuple):
    """What does not change in a run."""

    kind: int
    beta1: float
    beta2: float
    epsilon: float
    momentum: float
    decay: float
    pull: float  # 1 / N with a prior on θ, else 0
    clip: float  # ‖g‖ at most; 0: not clipped


class Constants(NamedTuple):
    """What an update of one step needs."""

    kind: int
    adam: Any  # five numbers, see `adam_constants`
    rate: float
    epsilon: float
    momentum: float
    shrink: float  # AdamW's α λ
    pull: float


@internal
def constants(s: Workspace, baseline: int, step: int, rate: float) -> Constants:
    """Of the run's optimizer at step number 0, 1, …, or of the learned baseline's."""
    o = s.optimizer
    if baseline:
        adam = adam_constants(HYPER, int(s.memory[2]))
        return Constants(ADAM, adam, 0.0, 0.0, 0.0, 0.0, 0.0)
    adam = adam_constants((rate, o.beta1, o.beta2, o.epsilon, o.decay), step + 1)
    return Constants(o.kind, adam, rate, o.epsilon, o.momentum, rate * o.decay, o.pull)


@internal
def update_tile(s: Workspace, c: int, layer: Any, at: int, size: int, ends: Any, k: Constants) -> None:
    """Gather the tile of dW in the scratch at c, and with the last micro-batch update the weights from `at` on.

    ends = (first, last): whether this micro-batch is its minibatch's first one, its last one; both where it is alone.
    """
    first, last = ends
    if not (first and last):
        add_tile(s.g, at, s.scratch, c, size, first, last)
    if last:
        pull = k.pull * layer.prior
        if pull != 0.0 or k.shrink != 0.0:
            shrink_tile(s.w, at, s.scratch, c, size, pull, k.shrink)
        step_tile(s, at, c, size, k)


@internal
def step_tile(s: Workspace, at: int, c: int, size: int, k: Constants) -> None:
    """One step on `size` weights from `at`, their cotangents in the scratch at c."""
    if k.kind == ADAM:
        for j in range(0, size, lane_count(s.w)):
            w, g, m, v = load(s.w, at + j), load(s.scratch, c + j), load(s.m, at + j), load(s.v, at + j)
            w, m, v = adam_step(w, g, m, v, k.adam)
            store(s.m, at + j, m)
            store(s.v, at + j, v)
            store(s.w, at + j, w)
    else:
        for j in range(0, size, lane_count(s.w)):
            w, g, m = load(s.w, at + j), load(s.scratch, c + j), load(s.m, at + j)
            w, m = (
                adagrad_step(w, g, m, k.rate, k.epsilon)
                if k.kind == ADAGRAD
                else momentum_step(w, g, m, k.rate, k.momentum)
            )
            store(s.m, at + j, m)
            store(s.w, at + j, w)


@internal
def shrink_tile(w: Array, at: int, C: Array, c: int, size: int, pull: float, shrink: float) -> None:
    """What comes before the step with a prior on the weights, g ← g − w / N, and with AdamW, w ← w − α λ w."""
    for j in range(0, size, lane_count(w)):
        W = load(w, at + j)
        store(C, c + j, load(C, c + j) - W * pull)
        store(w, at + j, W - W * shrink)


@internal
def add_tile(g: Array, at: int, C: Array, c: int, size: int, first: bool, last: bool) -> None:
    """Gather the cotangents of several micro-batches: g = C, g += C, and for the last one C += g."""
    for j in range(0, size, lane_count(g)):
        if first:
            store(g, at + j, load(C, c + j))
        elif last:
            store(C, c + j, load(C, c + j) + load(g, at + j))
        else:
            store(g, at + j, load(g, at + j) + load(C, c + j))
