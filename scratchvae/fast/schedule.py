"""§7.3 A training step, or log p(x), as data: the list of jobs that `fast.step` executes.

    model × estimator × missing values × baseline  →  jobs, each a record: what, which layers, whose rows, where to

A job is a fused twin of one or two pairs of the chapter, or a line of `estimators.frame`:

    PACK_DATA       x packed, where it is not taken by lists
    HIDDEN          y = f(x W + b)                              `networks.dense`, `activate`
    LATENT          q's heads, z = μ + σ ε, what z adds to r    `Normal.sample`, `kl` or `log_prob`
    DENSITY         p's heads, log p, their cotangents          `log_prob`, `log_prob_vjp`
    RULE            L of each row, the weights of each sample   `estimators.frame`
    WEIGH           the input of p's heads times θ's weights, where those hang on r
    THROUGH         dx = dy Wᵀ, da = f'(a) dx                   `networks.dense_vjp`, `activate_vjp`
    THROUGH_LATENT  dz to dμ and dlog σ²                        `sample_vjp`, `kl_vjp`, `log_prob_vjp`
    UPDATE          dW = xᵀ dy, and W moves                     `networks.dense_vjp_params`, `kernels.optimizers`

A new model or estimator is a new list, and compiles nothing. Lists count from 0, the chapter from 1: ("z", l) is
z_{l+1}, p[l] gives z_l at z_{l+1}, and z_0 is x.

Jobs say what they read and write. Those that do not hang on one another form a *phase*: threads take units of all of
them, help who is late, and meet at a barrier only where the phase ends. The VAE's step by SGVB B, phase by phase:

    PACK_DATA | HIDDEN q | LATENT z | HIDDEN p | DENSITY x | RULE
    THROUGH p's head | THROUGH p, UPDATE p's head | THROUGH_LATENT z, UPDATE p | THROUGH q's heads | UPDATE q's heads, q

and on the way forward that of a ladder of two layers, q₂ = q(z₂ | z₁) and p₂ = p(z₁ | z₂):

    PACK_DATA | HIDDEN q₁ | LATENT z₁ | HIDDEN q₂, HIDDEN p₁ | LATENT z₂, DENSITY x | HIDDEN p₂ | DENSITY z₁ | RULE
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from scratchvae.errors import UsageError
from scratchvae.fast.epilogues import NORMAL
from scratchvae.fast.layout import Net
from scratchvae.fast.placing import Placed, Wants, panels
from scratchvae.fast.rules import (
    BEST,
    CONSTANT,
    CONTROL,
    LEARNED,
    MEAN,
    NO_PATH,
    NO_SCORE,
    OTHERS,
    SHARES,
    SOFTMAX,
    TOTAL,
    WHOLE,
    Rule,
)
from scratchvae.fast.workspace import MOVED, ROWS, SAMPLES
from scratchvae.types import Array

PACK_DATA, HIDDEN, LATENT, DENSITY, RULE, WEIGH, THROUGH, THROUGH_LATENT, UPDATE = range(9)
RARE_JOBS = BASELINE, MOVE, COLLECT, CONTROL_VJP = range(9, 13)  # what few estimators want

JOB = np.dtype([(name, np.int64) for name in (
    "what", "layer",
    "count",  # heads: two of them follow one another
    "rows",  # workspace.ROWS, SAMPLES or MOVED
    "latent",  # number of the latent layer, −1 for none
    "below",  # the layer whose output is the input here (WEIGH: whose input is made); −1 where dx is kept as it is …
    "dx",  # … at this place
    "target", "family", "parts",  # of a density: where its values lie, whose it is, its first row of `parts`
    "column",  # number of the latent that is moved (MOVE, COLLECT)
    "weighed",  # dx is to be multiplied with θ's weights
    "silent",  # no cotangents: none are wanted, or a job on the way forward has found them
    "always",  # x is packed, also where it is taken by lists: who reads it has no other way
    "listed",  # x may be taken by lists (`fast.sparse`)
    "loop",  # number of the job in its phase: whose counts are its own (`engine.threads`)
    "last",  # a barrier follows
)])  # fmt: skip
DRAW = np.dtype([("columns", np.int64), ("eps", np.int64)])  # a run of a sample's normals: how many, and where to

RULES: dict[str, tuple[int, int, int]] = {  # what L is, the path's factor, the score's weight: `estimators.frame`
    "score": (MEAN, NO_PATH, CONSTANT),
    "score_kl": (MEAN, NO_PATH, CONSTANT),
    "score_constant": (MEAN, NO_PATH, CONSTANT),
    "score_loo": (MEAN, NO_PATH, OTHERS),
    "score_mean": (MEAN, NO_PATH, LEARNED),
    "score_input": (MEAN, NO_PATH, LEARNED),
    "nvil": (MEAN, NO_PATH, LEARNED),
    "score_cv": (MEAN, NO_PATH, CONTROL),
    "measure": (MEAN, NO_PATH, NO_SCORE),
    "sgvb_a": (MEAN, WHOLE, TOTAL),
    "sgvb_b": (MEAN, WHOLE, TOTAL),
    "stl": (MEAN, WHOLE, NO_SCORE),
    "iw": (SOFTMAX, WHOLE, TOTAL),
    "dreg": (SOFTMAX, SHARES, NO_SCORE),
    "vr": (SOFTMAX, WHOLE, TOTAL),
    "vr_max": (BEST, WHOLE, TOTAL),
}


def wants(name: str) -> Wants:
    """What the estimator of that name asks for. Raises UsageError for one without a schedule."""
    kind = name.partition(":")[0]
    if kind not in RULES:
        raise UsageError(f"estimator {name!r} has no schedule")
    what, path, score = RULES[kind]
    return Wants(
        analytic=kind in ("sgvb_b", "score_kl"),
        path=path != NO_PATH,
        apart=path != NO_PATH and score != TOTAL,
        network=kind in ("score_input", "nvil"),
        moved=kind == "measure",
        weighed=what in (SOFTMAX, BEST) and scale_of(name) != 0.0,
    )


def scale_of(name: str) -> float:
    """1 − α of the Rényi bound, 0 for the ELBO; 1 for every other estimator."""
    kind, _, number = name.partition(":")
    return 1.0 - float(number) if kind == "vr" else 1.0


def rule_of(name: str, m: Placed) -> Rule:
    """The estimator's rule in numbers."""
    kind, _, number = name.partition(":")
    what, path, score = RULES[kind]
    scale = scale_of(name)
    analytic = panels(m.sizes[-1], m.b) if wants(name).analytic else 0
    return Rule(
        kind=what if scale else MEAN,
        scale=scale,
        path=path,
        score=score,
        baseline=float(number) if kind == "score_constant" else 0.0,
        divided=kind == "nvil",
        network=m.baseline.heads[0] if m.baseline.heads else -1,
        parts=m.parts,
        signal_parts=m.parts - analytic,
        data_parts=panels(m.columns, m.b),
    )


def weighed(rule: Rule) -> bool:
    """Whether θ's weights hang on r."""
    return rule.kind != MEAN


class Job(NamedTuple):
    """One job: its record's fields, and the number of the phase it belongs to."""

    phase: int
    fields: dict[str, int]


class Jobs:
    """Jobs in the order in which they are to be done, sorted into phases by what they read and write."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.written: dict[Any, int] = {}  # the phase that wrote last …
        self.read: dict[Any, int] = {}  # … and the one that read last

    def add(self, what: int, reads: set[Any], writes: set[Any], **fields: int) -> None:
        """Append a job: after what wrote what it reads, and after what read or wrote what it writes."""
        after = [self.written.get(name, -1) for name in reads | writes] + [self.read.get(name, -1) for name in writes]
        phase = max(after, default=-1) + 1
        self.jobs.append(Job(phase, {"what": what, "latent": -1, "below": -1, "dx": -1, **fields}))
        for names, last in ((reads, self.read), (writes, self.written)):
            last.update({name: max(phase, last.get(name, -1)) for name in names})

    def records(self) -> Array:
        """JOB records, phase after phase."""
        found: list[tuple[int, ...]] = []
        assert JOB.names
        for phase in range(1 + max((job.phase for job in self.jobs), default=-1)):
            here = [job.fields for job in self.jobs if job.phase == phase]
            for loop, fields in enumerate(here):
                full = {**fields, "loop": loop, "last": int(loop + 1 == len(here))}
                found.append(tuple(full.get(name, 0) for name in JOB.names))
        return np.array(found, JOB)


def y(layer: int) -> tuple[str, int]:
    return "y", layer


def dy(layer: int) -> tuple[str, int]:
    return "dy", layer


def W(layer: int) -> tuple[str, int]:
    return "W", layer


def up(jobs: Jobs, net: Net, rows: int, x: Any, listed: bool = False) -> Any:
    """A net's hidden layers on the way forward, from what is called x; returns the name of what its heads read."""
    for i, layer in enumerate(net.hidden):
        jobs.add(HIDDEN, {x}, {y(layer)}, layer=layer, rows=rows, listed=int(listed and i == 0))
        x = y(layer)
    return x


def densities(jobs: Jobs, m: Placed, l: int, family: int, x: Any) -> None:
    """log p(z_l | z_{l+1}), z_0 = x, and the cotangents of its heads."""
    net, z = m.p[l], m.latents[l - 1]
    target = z["z"] if l else m.target
    parts = sum(panels(size, m.b) for size in (m.columns, *m.sizes)[:l]) if l else 0
    more: dict[str, int] = {"latent": l - 1} if l else {}
    writes = {("parts", "p", l), *map(dy, net.heads)} | ({("dvalue", l - 1)} if l else set())
    jobs.add(
        DENSITY, {x, "target" if l == 0 else ("z", l - 1)}, writes, layer=net.heads[0], count=len(net.heads),
        rows=SAMPLES, target=target, family=NORMAL if l else family, parts=parts, **more,
    )  # fmt: skip


def forward(m: Placed, rule: Rule, family: int) -> Array:
    """The jobs from x to L: q upwards, sampling, every p at the samples, and the estimator's rule."""
    jobs = Jobs()
    first = (m.q[0].hidden or m.q[0].heads)[0]
    always = not m.q[0].hidden or rule.network >= 0
    jobs.add(PACK_DATA, set(), {"x"}, layer=first, always=int(always))
    for l, net in enumerate(m.q):
        rows = SAMPLES if l else ROWS
        x = up(jobs, net, rows, ("z", l - 1) if l else "x", listed=l == 0)
        jobs.add(LATENT, {x}, {("z", l), ("parts", "q", l)}, latent=l, rows=rows)
    if rule.network >= 0:
        up(jobs, Net((*m.baseline.hidden, *m.baseline.heads), ()), ROWS, "x")
    for l, net in enumerate(m.p):
        densities(jobs, m, l, family, up(jobs, net, SAMPLES, ("z", l)))
    everything = {("parts", side, l) for side in "pq" for l in range(len(m.sizes))}
    jobs.add(RULE, everything | set(map(y, m.baseline.heads)), {"rule"})
    if rule.score == LEARNED:
        jobs.add(BASELINE, {"rule"}, {"rule", *map(dy, m.baseline.heads)})
    if rule.score == CONTROL:
        jobs.add(CONTROL_VJP, {"rule"}, set(map(dy, m.q[0].heads)), latent=0)
    if m.moved.heads:
        measured(jobs, m, family)
    return jobs.records()


def measured(jobs: Jobs, m: Placed, family: int) -> None:
    """Three moves of each latent, decoded, and what they say of its two parameters."""
    for k in range(m.sizes[0]):
        jobs.add(MOVE, {("z", 0)}, {("moved", 0), ("parts", "moved")}, latent=0, column=k)
        x = up(jobs, m.moved, MOVED, ("moved", 0))
        jobs.add(
            DENSITY, {x, "target"}, {("parts", "moved")}, layer=m.moved.heads[0], count=len(m.moved.heads), rows=MOVED,
            target=m.target, family=family, parts=m.parts, silent=1,
        )  # fmt: skip
        jobs.add(COLLECT, {"rule", ("parts", "moved")}, set(map(dy, m.q[0].heads)), latent=0, column=k, parts=m.parts)


def backward(m: Placed, rule: Rule) -> Array:
    """The jobs from the cotangents of p's heads to the last weight."""
    jobs, path = Jobs(), rule.path != NO_PATH
    for l, net in enumerate(m.p):
        if m.weighed:
            jobs.add(WEIGH, set(), {("weighed", l)}, layer=net.heads[0], below=m.weighed[l][0])
        down(jobs, m, net, SAMPLES, ("dparent", l), m.latents[l].get("dparent", -1), path)
    for l in reversed(range(len(m.q))):
        net, shadow, rows = m.q[l], m.shadows.get(l), SAMPLES if l else ROWS
        reads = {("dparent", l), ("dvalue", l), ("dbelow", l)}
        writes = set(map(dy, net.heads + (shadow.heads if shadow else ())))
        silent = int(bool(m.moved.heads) or rule.score == CONTROL)  # COLLECT or CONTROL_VJP has found them
        jobs.add(THROUGH_LATENT, reads, writes, latent=l, rows=rows, silent=silent)
        place = m.latents[l - 1].get("dbelow", -1) if l else -1
        down(jobs, m, net, rows, ("dbelow", l - 1), place, path and l > 0 and shadow is None)
        if shadow:  # φ's cotangent goes down q's own net to its weights, the total derivative's to the z below
            down(jobs, m, shadow, rows, ("dbelow", l - 1), place, path)
    down(jobs, m, Net(m.baseline.hidden, m.baseline.heads), ROWS, None, -1, False)
    for l, net in enumerate(m.p):
        heads = m.weighed[l] if m.weighed else net.heads
        updates(jobs, m, (*heads, *reversed(net.hidden)), SAMPLES, {("weighed", l)})
    for l, net in enumerate((*m.q, m.baseline)):
        updates(jobs, m, (*net.heads, *reversed(net.hidden)), SAMPLES if 0 < l < len(m.q) else ROWS)
    return jobs.records()


def down(jobs: Jobs, m: Placed, net: Net, rows: int, dx: Any, place: int, to_input: bool) -> None:
    """A net on the way back, from its heads' cotangents to its first hidden layer's, or (`to_input`) its input's."""
    groups = [net.heads, *((layer,) for layer in reversed(net.hidden))] if net.heads else []
    for i, group in enumerate(groups):
        below = groups[i + 1][0] if i + 1 < len(groups) else -1
        if below < 0 and not to_input:
            return
        reads = {*map(dy, group), *(W(weights_of(m, layer)) for layer in group)}
        writes = {dy(below)} if below >= 0 else {dx}
        weighed = int(bool(m.weighed) and any(group == p.heads for p in m.p))
        jobs.add(
            THROUGH, reads, writes, layer=group[0], count=len(group), rows=rows, below=below, dx=place, weighed=weighed
        )


def weights_of(m: Placed, layer: int) -> int:
    """Where a layer's weights lie: those of a shadow are another's."""
    return m.b.layers[layer].weights


def updates(jobs: Jobs, m: Placed, layers: tuple[int, ...], rows: int, more: Iterable[Any] = ()) -> None:
    """From the top down: the heads' weights, read last, may still be near."""
    for layer in layers:
        listed = int(bool(m.q[0].hidden) and layer == m.q[0].hidden[0])
        jobs.add(UPDATE, {dy(layer), *more}, {W(weights_of(m, layer))}, layer=layer, rows=rows, listed=listed)
