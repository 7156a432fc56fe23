"""§7.3 A clipped gradient in the schedule: all of it is gathered, then measured, then every weight moves.

`training.optim.clip` needs ‖g‖ before the first weight moves, so a tile's cotangents do not go to the optimizer at
once: they wait in `Workspace.g`, as those of a micro-batch do. Each micropanel's Σ g² is one thread's, in lanes of the
parameters' type, and the micropanels are summed in order: the same bits for any number of threads.
"""

import math

from scratchvae.engine.jit import internal
from scratchvae.engine.linkable import linkable
from scratchvae.engine.threads import barrier, out_of_line, static_share
from scratchvae.engine.tiles import MR, panel_of
from scratchvae.engine.vectors import lane_count, load, store, zeros
from scratchvae.fast.optimizer import constants, step_tile
from scratchvae.fast.workspace import LINKED, Workspace, scratch_of


@linkable(LINKED)
def clipped(s: Workspace, t: int, threads: int, step: int, rate: float) -> None:
    """The update of a minibatch whose dW lie in `g`. A learned baseline has an optimizer of its own, which clips
    nothing: it takes no part in the norm."""
    measure(s, t, threads)
    barrier(s.counters, t, threads)
    total = 0.0
    for n in range(s.squares.size):
        total += s.squares[n]
    norm = math.sqrt(total)
    move(s, t, threads, step, rate, s.optimizer.clip / norm if norm > s.optimizer.clip else 1.0)
    barrier(s.counters, t, threads)


@internal
def measure(s: Workspace, t: int, threads: int) -> None:
    """squares[n] = Σ g² of micropanel n, counted over all layers; g with the pull of a prior on θ."""
    out_of_line()
    P, c, n = panel_of(s.w), scratch_of(s, t), 0
    for l in range(s.owners.size):
        layer = s.owners[l]
        begin, end = static_share(layer.panels, t, threads)
        for p in range(begin, end):
            first, pull, total = layer.weights + p * layer.rows * P, s.optimizer.pull * layer.prior, zeros(s.w)
            for at in range(first, first + (layer.inputs + 1) * P, lane_count(s.w)):
                g = load(s.g, at) - load(s.w, at) * pull
                total += g * g
            store(s.scratch, c, total)
            s.squares[n + p] = 0.0
            for j in range(0 if layer.baseline else lane_count(s.w)):
                s.squares[n + p] += s.scratch[c + j]
        n += layer.panels


@internal
def move(s: Workspace, t: int, threads: int, step: int, rate: float, scale: float) -> None:
    """The optimizer's step on thread t's micropanels, by g times the scale."""
    out_of_line()
    P, c = panel_of(s.w), scratch_of(s, t)
    for l in range(s.owners.size):
        layer, k = s.owners[l], constants(s, s.owners[l].baseline, step, rate)
        begin, end = static_share(layer.panels, t, threads)
        factor, pull = 1.0 if layer.baseline else scale, k.pull * layer.prior
        for p in range(begin, end):
            for i in range(0, layer.inputs + 1, MR):
                at, size = layer.weights + (p * layer.rows + i) * P, min(MR, layer.inputs + 1 - i) * P
                for j in range(0, size, lane_count(s.w)):
                    W = load(s.w, at + j)
                    store(s.scratch, c + j, (load(s.g, at + j) - W * pull) * factor)
                    store(s.w, at + j, W - W * k.shrink)
                step_tile(s, at, c, size, k)
