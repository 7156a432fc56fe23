"""§7.3 The way forward of the compiled step: minibatch, hidden layers, z = μ + σ ε and KL, log p(x | z), the bound."""

import math
from typing import Any

import numpy as np

from scratchvae.engine.jit import inline, internal
from scratchvae.engine.linkable import separate
from scratchvae.engine.products import tile_at, tile_count
from scratchvae.engine.threads import barrier, out_of_line, static_share, steal
from scratchvae.engine.tiles import MR, panel_of, unsigned_divmod
from scratchvae.engine.vector_words import load_words
from scratchvae.engine.vectors import lane_count, load, load_as, store, unsigned_to_float, where
from scratchvae.fast.epilogues import (
    BERNOULLI,
    activate_tile,
    bernoulli_row,
    gaussian_row,
    latent_row,
    sample_row,
    total_rows,
    with_ones,
)
from scratchvae.fast.workspace import (
    DYNAMIC,
    FEW_ROWS,
    FIXED,
    THRESHOLD,
    Program,
    affine,
    scratch_of,
    strip_row,
    strip_tile,
)
from scratchvae.kernels.noise_vectors import normals, words
from scratchvae.types import Array


@internal
def minibatch(s: Program, t: int, threads: int, step: int, index: Array, start: int, first: int, rows: int) -> None:
    """x: rows index[start …] of the data, binarised; ε. Noise is named by the row of the minibatch."""
    out_of_line()
    begin, end = static_share(rows, t, threads)
    for r in range(begin, end):
        data_row(s, t, step, index[start + r], first + r, r)
    S, latent, P = s.options.samples, s.options.latent, panel_of(s.work)
    blocks, buffer = (S * latent + 3) // 4, t * s.layout.noise_room
    address = (s.options.seed, s.options.latent_purpose, step, first + begin)
    normals(s.noise, buffer, address, end - begin, blocks)
    for r in range(begin, end):
        for sample in range(S):
            for k in range(latent):
                at = s.layout.eps + (k // P * s.layout.capacity + r * S + sample) * P + k % P
                s.work[at] = s.noise[buffer + (r - begin) * 4 * blocks + sample * latent + k]


@inline
def data_row(s: Program, t: int, step: int, source: int, noise_row: int, r: int) -> None:
    """One row of the data into row r of the panels of x."""
    o, P, lanes = s.options, panel_of(s.work), lane_count(s.work)
    u = t * s.layout.word_room
    if o.binarise == FIXED:  # the same in every epoch: named by the row of the data set, not of the minibatch
        step, noise_row = 0, source
    if o.binarise == DYNAMIC or o.binarise == FIXED:
        words(s.words, u, (o.seed, o.binarise_purpose, step, noise_row), (o.data_columns + 3) // 4, s.work)
    whole = o.data_columns - o.data_columns % lanes
    for c in range(0, whole, lanes):
        at = source * o.data_columns + c
        x = load(s.numbers, at) if s.numbers.size else load_as(s.data, at, s.work) / o.divisor
        if o.binarise == DYNAMIC or o.binarise == FIXED:
            uniform = unsigned_to_float(load_words(s.words, u + c, s.work) >> 8, x) * 2.0**-24
            x = where(uniform < x, x * 0.0 + 1.0, x * 0.0)
        elif o.binarise == THRESHOLD:
            x = where(x > 0.5, x * 0.0 + 1.0, x * 0.0)
        store(s.work, s.layout.x + (c // P * s.layout.capacity + r) * P + c % P, x)
    for c in range(whole, o.data_columns):
        s.work[s.layout.x + (c // P * s.layout.capacity + r) * P + c % P] = data_value(s, source, c, u)


@inline
def data_value(s: Program, source: int, c: int, u: int) -> Any:
    """The same for one value: columns beyond the last whole vector."""
    real, o = s.work.dtype.type, s.options
    at = source * o.data_columns + c
    x = s.numbers[at] if s.numbers.size else real(s.data[at]) / real(o.divisor)
    if o.binarise == DYNAMIC or o.binarise == FIXED:
        return real(1) if real(s.words[u + c] >> np.uint32(8)) * real(2.0**-24) < x else real(0)
    if o.binarise == THRESHOLD:
        return real(1) if x > real(0.5) else real(0)
    return x


@internal
def strip_data(s: Program, t: int, threads: int, rows: int) -> None:
    """x into strips, for dense products."""
    layer, tiles = s.layout.layers[0], tile_count(rows)
    begin, end = static_share((layer.inputs // panel_of(s.work) + 1) * tiles, t, threads)
    for unit in range(begin, end):
        p, i = unsigned_divmod(unit, tiles)
        strip_tile(s.work, s.layout.capacity, layer.x, layer.x_strips, layer.inputs, p, tile_at(i, rows)[0])


@internal
def hidden(s: Program, t: int, threads: int, layer: Any, rows: int) -> None:
    """y = f(x W + b)."""
    out_of_line()
    tiles, c = tile_count(rows), scratch_of(s, t)
    while True:
        begin, end = steal(s.counters, 0, layer.panels * tiles, 1, t, threads)
        if begin == end:
            return
        for unit in range(begin, end):
            p, i = unsigned_divmod(unit, tiles)
            r, height = tile_at(i, rows)
            affine(s, c, layer, p, r, height)
            hidden_tile(s, c, layer, p, r, height)


@inline
def hidden_tile(s: Program, c: int, layer: Any, p: int, r: int, height: int) -> None:
    """y = f(a) for the tile a of x W + b in the scratch at c, into panels and strips."""
    P = panel_of(s.work)
    at = layer.y + (p * s.layout.capacity + r) * P
    activate_tile(s.scratch, c, s.work, at, height * P, layer.activation)
    if (p + 1) * P > layer.outputs:
        for j in range(0, height * P, lane_count(s.work)):
            store(s.work, at + j, with_ones(load(s.work, at + j), s.work, p * P + j % P, layer.outputs))
    strip_tile(s.work, s.layout.capacity, layer.y, layer.y_strips, layer.outputs, p, r)


@internal
def latent(s: Program, t: int, threads: int, mu: Any, log_var: Any, rows: int) -> None:
    """q = N(μ, σ²) from the encoder's heads, z = μ + σ ε for each sample, and what the bound says of z."""
    out_of_line()
    P, capacity, tiles, c = panel_of(s.work), s.layout.capacity, tile_count(rows), scratch_of(s, t)
    S, strips = s.options.samples, s.layout.layers[s.layout.decoder].x_strips
    begin, end = static_share(mu.panels * tiles, t, threads)
    for unit in range(begin, end):
        p, i = unsigned_divmod(unit, tiles)
        r, height = tile_at(i, rows)
        affine(s, c, mu, p, r, height)
        affine(s, c + MR * P, log_var, p, r, height)
        for q in range(min(height, rows - r)):
            at = (p * capacity + r + q) * P
            kl = latent_row(s.work, s.scratch, c + q * P, MR * P, (mu.y + at, log_var.y + at), p * P, mu.outputs)
            for n in range((r + q) * S, (r + q + 1) * S):
                on = (p * capacity + n) * P
                ats = (mu.y + at, log_var.y + at, s.layout.eps + on, s.layout.z + on)
                ratio = sample_row(s.work, ats, p * P, mu.outputs)
                strip_row(s.work, s.layout.capacity, s.layout.z, strips, mu.outputs, p, n)
                s.parts[(s.layout.parts - mu.panels + p) * capacity + n] = ratio if s.options.weighted else -kl


@internal
def likelihood(s: Program, t: int, threads: int, heads: Any, rows: int, w: float, samples: int) -> None:
    """log p(x | z) by panel and row of z, and the cotangents of the decoder's heads for the cotangent w of each.

    Rows b · samples … of z are the samples of row b of x.
    """
    out_of_line()
    one, two = heads
    P, capacity, tiles, c = panel_of(s.work), s.layout.capacity, tile_count(rows), scratch_of(s, t)
    shape = (s.options.family, s.log_floor)
    while True:
        begin, end = steal(s.counters, 0, one.panels * tiles, 1, t, threads)
        if begin == end:
            return
        for unit in range(begin, end):
            p, i = unsigned_divmod(unit, tiles)
            r, height = tile_at(i, rows)
            affine(s, c, one, p, r, height)
            if two.weights != one.weights:
                affine(s, c + MR * P, two, p, r, height)
            row, sample = unsigned_divmod(r, samples)
            for q in range(height):
                at, C = (p * capacity + r + q) * P, c + q * P
                x = s.layout.x + (p * capacity + row) * P
                row, sample = (row + 1, 0) if sample + 1 == samples else (row, sample + 1)
                if s.options.family == BERNOULLI:
                    bernoulli_row(s.work, x, s.scratch, C, one.dy + at, p * P, one.outputs, w)
                else:
                    dys = (one.dy + at, two.dy + at)
                    gaussian_row(s.work, x, s.scratch, C, MR * P, dys, p * P, one.outputs, w, shape)
            total_rows(s.parts, p * capacity + r, s.scratch, c, s.options.family == BERNOULLI)
            if w != 0.0 and samples == 1 and rows >= FEW_ROWS:
                strip_heads(s, heads, p, r)


@inline
def heads_of(s: Program) -> Any:
    """The decoder's two heads; with one the same twice."""
    layers = s.layout.layers
    return layers[s.layout.heads], layers[layers.size - 1]


@separate
def decode(s: Program, t: int, threads: int, rows: int, w: float, samples: int) -> None:
    """`rows` samples z through the decoder, and `likelihood` of them. The counts in s.counters are zero before."""
    for l in range(s.layout.decoder, s.layout.heads):
        hidden(s, t, threads, s.layout.layers[l], rows)
        barrier(s.counters, t, threads)
    likelihood(s, t, threads, heads_of(s), rows, w, samples)
    barrier(s.counters, t, threads)


@internal
def bound_rows(s: Program, t: int, threads: int, rows: int) -> None:
    """Thread t's rows: each sample's value, its panels summed in order, and the row's bound and shares.

    The ELBO is the mean over samples; the importance-weighted bound log mean e^value, with shares w̃ = softmax.
    """
    begin, end = static_share(rows, t, threads)
    S = s.options.samples
    for n in range(begin * S, end * S):
        s.value[n], s.share[n] = 0.0, 1.0 / S
        for p in range(s.layout.parts):
            s.value[n] += s.parts[p * s.layout.capacity + n]
    for b in range(begin, end):
        if s.options.weighted:
            s.bound[b] = log_mean_exp(s.value, s.share, b * S, S)
        else:
            s.bound[b] = 0.0
            for n in range(b * S, (b + 1) * S):
                s.bound[b] += s.value[n] / S


@inline
def log_mean_exp(values: Array, shares: Array, first: int, count: int) -> float:
    """log mean e^values over `count` values, and shares = softmax of them."""
    most, total = values[first], 0.0
    for n in range(first, first + count):
        most = max(most, values[n])
    for n in range(first, first + count):
        total += math.exp(values[n] - most)
    for n in range(first, first + count):
        shares[n] = math.exp(values[n] - most) / total
    return most + math.log(total / count)


@inline
def strip_heads(s: Program, heads: Any, p: int, r: int) -> None:
    """The tile of the cotangents of the decoder's heads into strips."""
    one, two = heads
    strip_tile(s.work, s.layout.capacity, one.dy, one.dy_strips, one.outputs, p, r)
    if two.weights != one.weights:
        strip_tile(s.work, s.layout.capacity, two.dy, two.dy_strips, two.outputs, p, r)


@internal
def weigh(s: Program, t: int, threads: int, heads: Any, rows: int) -> None:
    """The cotangents of the decoder's heads times each sample's share."""
    out_of_line()
    one, two = heads
    P, samples = panel_of(s.work), rows * s.options.samples
    tiles = tile_count(samples)
    begin, end = static_share(one.panels * tiles, t, threads)
    for unit in range(begin, end):
        p, i = unsigned_divmod(unit, tiles)
        r, height = tile_at(i, samples)
        for n in range(r, min(r + height, samples)):
            for j in range(0, P, lane_count(s.work)):
                at = (p * s.layout.capacity + n) * P + j
                store(s.work, one.dy + at, load(s.work, one.dy + at) * s.share[n])
                if two.weights != one.weights:
                    store(s.work, two.dy + at, load(s.work, two.dy + at) * s.share[n])
        if samples >= FEW_ROWS:
            strip_heads(s, heads, p, r)
