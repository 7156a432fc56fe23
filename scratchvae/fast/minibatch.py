"""§7.3 The minibatch of a step: rows of the data, made bits or grey levels, some values hidden; and its noise ε.

Noise is named by the row of the minibatch, in evaluation by what a row holds (`noise.named`).
"""

from typing import Any

import numpy as np

from scratchvae.engine.jit import internal
from scratchvae.engine.linkable import linkable
from scratchvae.engine.threads import out_of_line, static_share
from scratchvae.engine.tiles import panel_of
from scratchvae.engine.vector_words import load_words
from scratchvae.engine.vectors import lane_count, load, load_as, store, unsigned_to_float, where
from scratchvae.fast.sparse import list_row
from scratchvae.fast.workspace import LINKED, Now, Workspace, at
from scratchvae.kernels.noise_vectors import normals, words
from scratchvae.types import Array


@internal
def minibatch(s: Workspace, t: int, threads: int, now: Now, places: Array, names: Array, start: int) -> None:
    """Thread t's rows: places[start …] of the data, which the noise calls names[start …]; ε, and the rows' lists.

    In training ε is named by the row of the minibatch. So many samples of a row as `samples_per_name` share one name,
    those from sample i on that of step number step + i.
    """
    out_of_line()
    o, buffer = s.options, t * s.options.noise_room
    begin, end = static_share(now.rows, t, threads)
    for r in range(begin, end):
        data_row(s, t, now.step, places[start + r], names[start + r], now.first + r, r)
        finish_row(s, r)
        row = names[start + r] if o.by_name else now.first + r
        for i in range(0, now.samples, o.samples_per_name):
            many = min(o.samples_per_name, now.samples - i)
            blocks = (many * o.noise_columns + 3) // 4
            epsilon(s, buffer, now.step + i, row, blocks)
            spread(s, buffer, r * now.samples + i, many)


@linkable(LINKED)
def epsilon(s: Workspace, buffer: int, step: int, row: int, blocks: int) -> None:
    """So many blocks of four normals, named by (step, row), into the noise from `buffer` on."""
    normals(s.noise, buffer, (s.options.seed, s.options.latent_purpose, step, row), 1, blocks)


@internal
def spread(s: Workspace, noise: int, n: int, samples: int) -> None:
    """The normals of some samples, from `noise` on, as rows n … of each latent's ε."""
    P, i = panel_of(s.work), noise
    for sample in range(n, n + samples):
        for d in range(s.draws.size):
            draw = s.draws[d]
            for k in range(draw.columns):
                s.work[np.uintp(at(s, draw.eps, k // P, sample) + k % P)] = s.noise[np.uintp(i + k)]
            i += draw.columns


@internal
def finish_row(s: Workspace, r: int) -> None:
    """From what p(x | z) is asked for, NaN where a value is missing, to what q reads: x D / (number observed), 0 for a
    gap (`models.vae.rescaled`). And the list of what is not zero."""
    o, P = s.options, panel_of(s.work)
    if o.missing:
        observed = 0
        for c in range(o.columns):
            x = s.work[np.uintp(at(s, o.target, c // P, r) + c % P)]
            if x == x:
                observed += 1
        scale = s.work.dtype.type(o.columns / max(observed, 1))
        for c in range(o.columns):
            i = c // P * o.capacity * P + r * P + c % P
            x = s.work[np.uintp(o.target + i)]
            s.work[np.uintp(o.x + i)] = x * scale if x == x else s.work.dtype.type(0)
    list_row(s, r)


@internal
def data_row(s: Workspace, t: int, step: int, source: int, name: int, noise_row: int, r: int) -> None:
    """Row `source` of the data, whose name is `name`, as row r of the target."""
    o, P, lanes = s.options, panel_of(s.work), lane_count(s.work)
    u, drawn = t * o.word_room, o.binarise_purpose != 0
    if drawn:
        address = (o.seed, o.binarise_purpose, 0 if o.by_source else step, name if o.by_source else noise_row)
        words(s.words, u, address, (o.columns + 3) // 4, s.work)
    whole = o.columns - o.columns % lanes
    for c in range(0, whole, lanes):
        i = source * o.columns + c
        x = load(s.numbers, i) if s.numbers.size else load_as(s.data, i, s.work) / o.divisor
        if drawn:
            uniform = unsigned_to_float(load_words(s.words, u + c, s.work) >> 8, x) * 2.0**-24
            x = kept(x, where(uniform < x, x * 0.0 + 1.0, x * 0.0))
        elif o.threshold:
            x = kept(x, where(x > 0.5, x * 0.0 + 1.0, x * 0.0))
        store(s.work, at(s, o.target, c // P, r) + c % P, x)
    for c in range(whole, o.columns):
        s.work[np.uintp(at(s, o.target, c // P, r) + c % P)] = data_value(s, source * o.columns + c, c, u)
    if o.hidden_share > 0.0:
        hide(s, u, name, r)


@internal
def kept(x: Any, bits: Any) -> Any:
    """Bits; a NaN stays."""
    return where(x == x, bits, x)


@internal
def data_value(s: Workspace, i: int, c: int, u: int) -> Any:
    """The same for one value: columns beyond the last whole vector."""
    real, o = s.work.dtype.type, s.options
    x = s.numbers[i] if s.numbers.size else real(s.data[i]) / real(o.divisor)
    if x != x:
        return x
    if o.binarise_purpose != 0:
        return real(1) if real(s.words[u + c] >> np.uint32(8)) * real(2.0**-24) < x else real(0)
    if o.threshold:
        return real(1) if x > real(0.5) else real(0)
    return x


@internal
def hide(s: Workspace, u: int, name: int, r: int) -> None:
    """NaN where "random:P" hides a value of the row with that name, the same in every epoch (`training.missing`)."""
    o, P, real = s.options, panel_of(s.work), s.work.dtype.type
    words(s.words, u, (o.seed, o.mask_purpose, 1, name), (o.columns + 3) // 4, s.work)
    for c in range(o.columns):
        if (s.words[np.uintp(u + c)] >> np.uint32(8)) * 2.0**-24 < o.hidden_share:
            s.work[np.uintp(at(s, o.target, c // P, r) + c % P)] = real(np.nan)
