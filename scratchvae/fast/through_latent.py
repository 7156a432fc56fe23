"""§7.2.4 The way back through z = μ + σ ε: from every share of dz, and from the score, to the cotangents of q's heads.

With a = theta · path, what r's slopes are multiplied with, and c the score's weight, for each sample (`models.ladder`):

    dz       = path (∂ log p: as parent, as value, and −z of the top prior) + (as what q's next net reads)
    − log q along the path adds a ε/σ to dz, and c ∂ log q/∂φ stands beside:  ∂/∂μ = ε/σ,  ∂/∂log σ² = ½ (ε² − 1)

    dμ       = Σ dz + (a + c) ε/σ
    dlog σ²  = ½ Σ [σ ε dz + (a + c) ε² − c]          the total derivative is c = −a: then ½ Σ [σ ε dz + a]

With −KL in closed form a is 0, and −kw μ, −½ kw (σ² − 1) are added, kw = Σ theta.
"""

import math
from typing import Any

from scratchvae.engine.jit import internal
from scratchvae.engine.products import tile_at, tile_count
from scratchvae.engine.threads import out_of_line, static_share
from scratchvae.engine.tiles import panel_of, unsigned_divmod
from scratchvae.engine.vector_math import exp
from scratchvae.engine.vectors import columns, lane_count, load, store, where, zeros
from scratchvae.fast.forward import pack_heads
from scratchvae.fast.rules import CONSTANT, NO_SCORE
from scratchvae.fast.workspace import FEW_ROWS, Now, Workspace, at, rows_of
from scratchvae.kernels.normal import kl_slopes


@internal
def through_latent(s: Workspace, t: int, threads: int, job: Any, now: Now) -> None:
    """dμ and dlog σ² of one latent layer, packed; its shadow has those of the total derivative, for the z below."""
    out_of_line()
    z = s.latents[job.latent]
    mu, log_var, rows = s.layers[z.mu], s.layers[z.log_var], rows_of(job.rows, now)
    tiles = tile_count(rows)
    begin, end = static_share(mu.panels * tiles, t, threads)
    for unit in range(begin, end):
        p, i = unsigned_divmod(unit, tiles)
        r, height = tile_at(i, rows)
        for b in range(r, min(r + height, rows)):
            for j in range(0, panel_of(s.work), lane_count(s.work)):
                if job.silent:
                    break  # `collect` or `control` has found them
                slopes(s, z, p, b, j, now.samples if z.fan else 1)
        if rows >= FEW_ROWS:
            pack_heads(s, mu, log_var, p, r)
            if z.shadow_mu >= 0:
                pack_heads(s, s.layers[z.shadow_mu], s.layers[z.shadow_log_var], p, r)


@internal
def slopes(s: Workspace, z: Any, p: int, b: int, j: int, S: int) -> None:
    """One vector of row b. `twice` is 2 dlog σ²: the formulas above without their ½."""
    here = at(s, 0, p, b) + j
    mu, log_var = load(s.work, s.layers[z.mu].y + here), load(s.work, s.layers[z.log_var].y + here)
    sigma, kw, total = exp(log_var * 0.5), 0.0, 0.0
    dmu, twice = zeros(s.work), zeros(s.work)  # the path's …
    score_mu, score_twice = zeros(s.work), zeros(s.work)  # … and what the score adds to it
    for n in range(b * S, (b + 1) * S):
        there = at(s, 0, p, n) + j
        eps, dz = load(s.work, z.eps + there), path_of(s, z, n, there)
        a = 0.0 if z.analytic else s.theta[n] * s.path[n]
        c = s.score[n] if s.rule.score >= CONSTANT or (s.rule.score != NO_SCORE and not z.analytic) else 0.0
        dmu, twice, total, kw = dmu + dz, twice + dz * sigma * eps, total + a, kw + s.theta[n]
        if a + c != 0.0:
            score_mu, score_twice = score_mu + eps * (a + c), score_twice + eps * eps * (a + c)
        score_twice -= zeros(s.work) + (a + c)
    if z.analytic:
        to_mu, to_log_var = kl_slopes(mu, log_var)
        dmu, twice = dmu - to_mu * kw, twice - to_log_var * (2.0 * kw)
    twice += zeros(s.work) + total
    real = columns(s.work, p * panel_of(s.work) + j) < z.columns
    if z.shadow_mu >= 0:
        keep(s, s.layers[z.shadow_mu].dy + here, s.layers[z.shadow_log_var].dy + here, dmu, twice, real)
    dmu, twice = dmu + score_mu * exp(log_var * -0.5), twice + score_twice
    keep(s, s.layers[z.mu].dy + here, s.layers[z.log_var].dy + here, dmu, twice, real)


@internal
def keep(s: Workspace, to_mu: int, to_log_var: int, dmu: Any, twice: Any, real: Any) -> None:
    """dμ, and dlog σ² from twice of it, zero in the padding."""
    store(s.work, to_mu, where(real, dmu, 0.0))
    store(s.work, to_log_var, where(real, twice * 0.5, 0.0))


@internal
def path_of(s: Workspace, z: Any, n: int, there: int) -> Any:
    """One vector of dz of sample n."""
    dz = zeros(s.work)
    if z.dparent >= 0:
        dz += load(s.work, z.dparent + there)
        if z.dvalue >= 0:
            weight = s.theta[n] if s.options.weighed else 1.0
            dz += load(s.work, z.dvalue + there) * weight
        if z.top and not z.analytic:
            dz -= load(s.work, z.z + there) * s.theta[n]
        dz *= zeros(s.work) + s.path[n]
    if z.dbelow >= 0:
        dz += load(s.work, z.dbelow + there)
    return dz


@internal
def control(s: Workspace, t: int, threads: int, job: Any, now: Now) -> None:
    """The score with a baseline for each parameter (`estimators.control_variate`): with h its score,
    Σ_s (r_s − Σ r h² / Σ h²) h_s / S, the sums over the row's other samples."""
    z = s.latents[job.latent]
    begin, end = static_share(now.rows * s.layers[z.mu].panels, t, threads)
    for unit in range(begin, end):
        p, b = unsigned_divmod(unit, now.rows)
        for j in range(0, panel_of(s.work), lane_count(s.work)):
            control_row(s, z, p, b, j, now)


@internal
def control_row(s: Workspace, z: Any, p: int, b: int, j: int, now: Now) -> None:
    """One vector of row b; `twice` is 2 dlog σ², h = ε/σ and ½ (ε² − 1)."""
    S, w, here = now.samples, 1.0 / now.batch, at(s, 0, p, b) + j
    log_var = load(s.work, s.layers[z.log_var].y + here)
    inverse, dmu, twice = exp(log_var * -0.5), zeros(s.work), zeros(s.work)
    for n in range(b * S, (b + 1) * S):
        top_mu, bottom_mu, top, bottom = zeros(s.work), zeros(s.work), zeros(s.work), zeros(s.work)
        for other in range(b * S, (b + 1) * S):
            if other != n:
                e = load(s.work, z.eps + at(s, 0, p, other) + j)
                square = (e * e - 1.0) * (e * e - 1.0)
                top_mu, bottom_mu = top_mu + e * e * s.signal[other], bottom_mu + e * e
                top, bottom = top + square * s.signal[other], bottom + square
        e = load(s.work, z.eps + at(s, 0, p, n) + j)
        best_mu, best = where(bottom_mu != 0.0, top_mu / bottom_mu, 0.0), where(bottom != 0.0, top / bottom, 0.0)
        dmu += (-best_mu + s.signal[n]) * e * inverse * (w / S)
        twice += (-best + s.signal[n]) * (e * e - 1.0) * (w / S)
    real = columns(s.work, p * panel_of(s.work) + j) < z.columns
    keep(s, s.layers[z.mu].dy + here, s.layers[z.log_var].dy + here, dmu, twice, real)


@internal
def collect(s: Workspace, t: int, threads: int, job: Any, now: Now) -> None:
    """Of the measure-valued estimator, latent k = job.column: dμ = Σ (r₊ − r₋) / (S σ √2π), dlog σ² = ½ Σ (r_M − r)
    / S; r of each moved sample is the sum of its parts."""
    out_of_line()
    z, S, P, k = s.latents[job.latent], now.samples, panel_of(s.work), job.column
    begin, end = static_share(now.rows, t, threads)
    for b in range(begin, end):
        dmu, dlog_var = 0.0, 0.0
        for n in range(b * S, (b + 1) * S):
            for which in range(3):
                r = 0.0
                for p in range(job.parts, job.parts + s.rule.parts):
                    r += s.parts[p, 3 * n + which]
                if which == 2:
                    dlog_var += r - s.value[n]
                else:
                    dmu += r if which == 0 else -r
        here = at(s, 0, k // P, b) + k % P
        log_var = s.work[s.layers[z.log_var].y + here]
        w = 1.0 / (now.batch * S)
        s.work[s.layers[z.mu].dy + here] = w * dmu * math.exp(-0.5 * log_var) / math.sqrt(2.0 * math.pi)
        s.work[s.layers[z.log_var].dy + here] = 0.5 * w * dlog_var
