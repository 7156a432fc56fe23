"""§7.3 The jobs of the way forward: hidden layers, z = μ + σ ε, log p(x | z), the densities between latents."""

from typing import Any

from scratchvae.engine.jit import internal
from scratchvae.engine.products import tile_at, tile_count
from scratchvae.engine.threads import out_of_line, static_share, steal
from scratchvae.engine.tiles import MR, panel_of, unsigned_divmod
from scratchvae.engine.vectors import lane_count, load, store
from scratchvae.fast.epilogues import (
    BERNOULLI,
    NORMAL,
    activate_tile,
    bernoulli_row,
    gaussian_row,
    latent_row,
    moved_row,
    sample_row,
    total_rows,
    with_ones,
)
from scratchvae.fast.workspace import (
    FEW_ROWS,
    MOVED,
    Now,
    Workspace,
    affine,
    at,
    pack_row,
    pack_tile,
    rows_of,
    scratch_of,
)


@internal
def pack_data(s: Workspace, t: int, threads: int, layer: Any, rows: int) -> None:
    """x packed, for dense products."""
    tiles = tile_count(rows)
    begin, end = static_share((layer.inputs // panel_of(s.work) + 1) * tiles, t, threads)
    for unit in range(begin, end):
        p, i = unsigned_divmod(unit, tiles)
        pack_tile(s, layer.x, layer.packed_x, layer.inputs, p, tile_at(i, rows)[0])


@internal
def hidden(s: Workspace, t: int, threads: int, layer: Any, loop: int, rows: int) -> None:
    """y = f(x W + b)."""
    out_of_line()
    tiles, c = tile_count(rows), scratch_of(s, t)
    while True:
        begin, end = steal(s.counters, loop, layer.panels * tiles, 1, t, threads)
        if begin == end:
            return
        for unit in range(begin, end):
            p, i = unsigned_divmod(unit, tiles)
            r, height = tile_at(i, rows)
            affine(s, c, layer, p, r, height)
            hidden_tile(s, c, layer, p, r, height)


@internal
def hidden_tile(s: Workspace, c: int, layer: Any, p: int, r: int, height: int) -> None:
    """y = f(a) for the tile a of x W + b in the scratch at c, kept and packed."""
    P, y = panel_of(s.work), at(s, layer.y, p, r)
    activate_tile(s.scratch, c, s.work, y, height * P, layer.activation)
    if (p + 1) * P > layer.outputs:
        for j in range(0, height * P, lane_count(s.work)):
            store(s.work, y + j, with_ones(load(s.work, y + j), s.work, p * P + j % P, layer.outputs))
    pack_tile(s, layer.y, layer.packed_y, layer.outputs, p, r)


@internal
def latent(s: Workspace, t: int, threads: int, job: Any, now: Now) -> None:
    """q = N(μ, σ²) from its heads, z = μ + σ ε for each sample, and what z adds to r: −KL where that is in closed form,
    else log p(z) − log q(z), without log p(z) where that hangs on what lies above."""
    out_of_line()
    z = s.latents[job.latent]
    mu, log_var, P = s.layers[z.mu], s.layers[z.log_var], panel_of(s.work)
    rows, c = rows_of(job.rows, now), scratch_of(s, t)
    tiles, S = tile_count(rows), now.samples if z.fan else 1
    begin, end = static_share(mu.panels * tiles, t, threads)
    for unit in range(begin, end):
        p, i = unsigned_divmod(unit, tiles)
        r, height = tile_at(i, rows)
        affine(s, c, mu, p, r, height)
        affine(s, c + MR * P, log_var, p, r, height)
        for q in range(min(height, rows - r)):
            heads = at(s, mu.y, p, r + q), at(s, log_var.y, p, r + q)
            kl = latent_row(s.work, s.scratch, c + q * P, MR * P, heads, p * P, z.columns)
            for n in range((r + q) * S, (r + q + 1) * S):
                places = at(s, z.eps, p, n), at(s, z.z, p, n)
                ratio = sample_row(s.work, heads, places, p * P, z.columns, z.top)
                pack_row(s, z.z, z.packed_z, z.columns, p, n)
                s.parts[z.parts + p, n] = -kl if z.analytic else ratio


@internal
def density(s: Workspace, t: int, threads: int, job: Any, now: Now, w: float) -> None:
    """log p(x | z), or log p(z | what lies above), by micropanel and sample, and the cotangents of the heads for the
    cotangent w of each."""
    out_of_line()
    one, two, P = s.layers[job.layer], s.layers[job.layer + job.count - 1], panel_of(s.work)
    rows, c, family = rows_of(job.rows, now), scratch_of(s, t), job.family
    tiles, S, logs = tile_count(rows), 1, 1.0 if family == BERNOULLI else 0.5  # 1 or ½ log Π u
    if family != NORMAL:
        S = now.samples * 3 if job.rows == MOVED else now.samples
    while True:
        begin, end = steal(s.counters, job.loop, one.panels * tiles, 1, t, threads)
        if begin == end:
            return
        for unit in range(begin, end):
            p, i = unsigned_divmod(unit, tiles)
            r, height = tile_at(i, rows)
            affine(s, c, one, p, r, height)
            if job.count == 2:
                affine(s, c + MR * P, two, p, r, height)
            density_tile(s, c, job, p, r, height, S, w)
            total_rows(s.parts, (job.parts + p) * s.options.capacity + r, s.scratch, c, logs)
            if w != 0.0 and rows >= FEW_ROWS:
                pack_heads(s, one, two, p, r)


@internal
def density_tile(s: Workspace, c: int, job: Any, p: int, r: int, height: int, S: int, w: float) -> None:
    """The rows of one tile of heads; rows b · S … are the samples of row b of the target."""
    one, two, P = s.layers[job.layer], s.layers[job.layer + job.count - 1], panel_of(s.work)
    row, sample = unsigned_divmod(r, S)
    for q in range(height):
        target, C = at(s, job.target, p, row), c + q * P
        row, sample = (row + 1, 0) if sample + 1 == S else (row, sample + 1)
        dys = at(s, one.dy, p, r + q), at(s, two.dy, p, r + q)
        if job.family == BERNOULLI:
            bernoulli_row(s.work, target, s.scratch, C, dys[0], p * P, one.outputs, w, s.options.missing)
        else:
            missing = s.options.missing and job.family != NORMAL
            gaussian_row(s.work, target, s.scratch, C, dys, p * P, one.outputs, w, job.family, missing, s.by_column)
            if job.family == NORMAL and w != 0.0:
                z = s.latents[job.latent]
                negative_row(s, at(s, one.dy, p, r + q), at(s, z.dvalue, p, r + q))


@internal
def negative_row(s: Workspace, a: int, to: int) -> None:
    """dz = −dμ, for log N(z; μ, σ²) hangs on z − μ."""
    for j in range(0, panel_of(s.work), lane_count(s.work)):
        store(s.work, to + j, -load(s.work, a + j))


@internal
def pack_heads(s: Workspace, one: Any, two: Any, p: int, r: int) -> None:
    """The tile of the cotangents of a net's heads, packed."""
    pack_tile(s, one.dy, one.packed_dy, one.outputs, p, r)
    if two.weights != one.weights:
        pack_tile(s, two.dy, two.packed_dy, two.outputs, p, r)


@internal
def move(s: Workspace, t: int, threads: int, job: Any, now: Now) -> None:
    """Of the measure-valued estimator (`estimators.measure`): for each sample three, where latent k = job.column is
    μ + σ R, μ − σ R or μ + σ M, the others as sampled; and what each adds to r."""
    out_of_line()
    z, moved = s.latents[job.latent], s.latents[job.latent + 1]
    mu, log_var, P = s.layers[z.mu], s.layers[z.log_var], panel_of(s.work)
    begin, end = static_share(now.rows * now.samples, t, threads)
    for n in range(begin, end):
        b = unsigned_divmod(n, now.samples)[0]
        for p in range(mu.panels):
            heads = at(s, mu.y, p, b), at(s, log_var.y, p, b)
            for which in range(3):
                noise = at(s, s.draws[0].eps, p, n), at(s, s.draws[1].eps, p, n), at(s, s.draws[2].eps, p, n)
                places = noise[0], noise[1], noise[2], at(s, z.z, p, n), at(s, moved.z, p, 3 * n + which)
                ratio = moved_row(s.work, heads, places, p * P, (z.columns, job.column, which))
                pack_row(s, moved.z, moved.packed_z, z.columns, p, 3 * n + which)
                s.parts[moved.parts + p, 3 * n + which] = ratio
