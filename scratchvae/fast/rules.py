"""§7.2.2-7.2.4 An estimator's rule (`estimators.frame`), compiled: from r of each sample to L and three weights.

value    r = log p(x, z) − log q(z | x), or log p(x | z) − KL            signal   the same, without that KL
theta    what ∂ log p/∂θ is multiplied with       path   the factor on top for z       score   of ∂ log q/∂φ at z
"""

import math
from typing import NamedTuple

from scratchvae.engine.jit import internal
from scratchvae.engine.threads import static_share
from scratchvae.engine.tiles import MR
from scratchvae.estimators.baselines import DECAY
from scratchvae.fast.workspace import Now, Workspace, at, pack_tile
from scratchvae.types import Array

MEAN, SOFTMAX, BEST = range(3)  # what L is: mean r, log mean e^(scale r) / scale, the largest r
NO_PATH, WHOLE, SHARES = range(3)  # the path's factor: none, 1, or θ's weight
NO_SCORE, TOTAL, CONSTANT, OTHERS, LEARNED, CONTROL = range(6)  # the score's weight: none, −theta · path, or r less a
# baseline: a constant, the mean of the row's other samples, a learned one, one for each parameter


class Rule(NamedTuple):
    """What an estimator does, in numbers."""

    kind: int
    scale: float
    path: int
    score: int
    baseline: float  # of CONSTANT
    divided: bool  # by max(1, σ) of a learned baseline ("nvil")
    network: int  # number of the learned baseline's last layer, or −1
    parts: int  # rows of `Workspace.parts` that add up to r …
    signal_parts: int  # … of which so many are the signal …
    data_parts: int  # … and so many log p(x | z)


@internal
def rule(s: Workspace, t: int, threads: int, now: Now) -> None:
    """Thread t's rows: each sample's value, its parts summed in order; the row's bound, the samples' weights."""
    begin, end = static_share(now.rows, t, threads)
    S, w = now.samples, 1.0 / now.batch if now.batch else 0.0
    for b in range(begin, end):
        s.reconstruction[b] = 0.0
        for n in range(b * S, (b + 1) * S):
            total = 0.0
            for p in range(s.rule.parts):
                total += s.parts[p, n]
                if p + 1 == s.rule.data_parts:
                    s.reconstruction[b] += total / S
                if p + 1 == s.rule.signal_parts:
                    s.signal[n] = total
            s.value[n] = total
        s.bound[b] = shares(s, b * S, S, w)
        weights(s, b * S, S, w)


@internal
def shares(s: Workspace, first: int, S: int, w: float) -> float:
    """L of the row whose samples are first …, and what each shares in it, times w, as theta."""
    if s.rule.kind == SOFTMAX:
        return log_mean_exp(s.value, s.theta, first, S, s.rule.scale, w)
    best, total = first, 0.0
    for n in range(first, first + S):
        best = n if s.value[n] > s.value[best] else best
        total += s.value[n] / S
        s.theta[n] = w / S
    if s.rule.kind == BEST:
        for n in range(first, first + S):
            s.theta[n] = w if n == best else 0.0
        return s.value[best] + (total - total)  # a NaN anywhere stays
    return total


@internal
def log_mean_exp(values: Array, theta: Array, first: int, S: int, scale: float, w: float) -> float:
    """log mean e^(scale value) / scale over S values, and theta = w · softmax of them."""
    most, total = scale * values[first], 0.0
    for n in range(first, first + S):
        most = max(most, scale * values[n])
    for n in range(first, first + S):
        total += math.exp(scale * values[n] - most)
    for n in range(first, first + S):
        theta[n] = w * math.exp(scale * values[n] - most) / total
    return (most + math.log(total / S)) / scale


@internal
def weights(s: Workspace, first: int, S: int, w: float) -> None:
    """The path's factor and the score's weight of each sample of a row."""
    total = 0.0
    for n in range(first, first + S):
        total += s.signal[n]
    for n in range(first, first + S):
        s.path[n] = s.theta[n] / w if s.rule.path == SHARES and w != 0.0 else float(s.rule.path)
        expected = s.rule.baseline if s.rule.score == CONSTANT else (total - s.signal[n]) / max(S - 1, 1)
        s.score[n] = -s.theta[n] * s.path[n] if s.rule.score == TOTAL else w / S * (s.signal[n] - expected)


# Baselines that learn (`estimators.baselines`) look at all rows of a minibatch, and at what earlier steps left.
@internal
def learned(s: Workspace, now: Now) -> None:
    """The score's weights less c + C_ψ(x), the cotangent of C_ψ's last layer, and what c and σ² learn from the draw."""
    S, N, steps = now.samples, now.rows * now.samples, s.memory[2]
    mean, scale = 0.0, max(1.0, math.sqrt(s.memory[1])) if s.rule.divided else 1.0
    for n in range(N):
        mean += s.signal[n] / N
    left_mean = 0.0
    for b in range(now.rows):
        expected, of_row = s.memory[0], 0.0
        for n in range(b * S, (b + 1) * S):
            of_row += s.signal[n] / S
        if steps == 0.0:  # there is no past: the mean of the other rows
            expected = (mean * now.rows - of_row) / max(now.rows - 1, 1)
        elif s.rule.network >= 0:
            expected += s.work[at(s, s.layers[s.rule.network].y, 0, b)]
        for n in range(b * S, (b + 1) * S):
            s.score[n] = s.signal[n] - expected
        if s.rule.network >= 0:
            s.work[at(s, s.layers[s.rule.network].dy, 0, b)] = (of_row - expected) / now.rows
        left_mean += (of_row - expected) / now.rows
    if s.rule.network >= 0:
        out = s.layers[s.rule.network]
        for r in range(0, now.rows, MR):
            pack_tile(s, out.dy, out.packed_dy, out.outputs, 0, r)
    variance = 0.0
    for n in range(N):
        variance += (s.score[n] - left_mean) ** 2 / N
        s.score[n] *= 1.0 / (now.batch * S * scale)
    if math.isfinite(mean):  # else the step ends here
        share = 1.0 - DECAY if steps else 1.0
        s.memory[1] += share * (variance - s.memory[1])
        s.memory[0] += share * (left_mean if steps else mean)
        s.memory[2] += 1.0
