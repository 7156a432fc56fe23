"""§7.2.5 What happens to a tile while it is still in the first-level cache: activations, likelihoods, latents, Adam.

Each formula is that of the pair in `kernels.activations`, `normal`, `bernoulli` or `optimizers`, for one vector; the
derivations stand there, of the floor of σ² in `conditional`, of the samples' shares in `estimators.importance`. A test
holds the compiled step against the composition of those.
"""

from typing import Any

from scratchvae.engine.jit import inline, internal
from scratchvae.engine.shuffles import total
from scratchvae.engine.tiles import multiply_rows, sum_rows
from scratchvae.engine.vector_math import (
    exp,
    exp_below,
    expm1,
    expm1_below,
    log_normal,
    sigmoid,
    softplus,
    tanh,
)
from scratchvae.engine.vectors import absolute, columns, lane_count, load, sqrt, store, store_lanes, where, zeros
from scratchvae.kernels.activations import SLOPE
from scratchvae.kernels.normal import LOG_2PI
from scratchvae.types import Array

# codes: indices of layout.ACTIVATIONS and training.compiled.FAMILIES
TANH, RELU, LEAKY_RELU, ELU, SOFTPLUS, SIGMOID, IDENTITY = range(7)
BERNOULLI, GAUSSIAN, GAUSSIAN_SIGMOID, GAUSSIAN_FIXED = range(4)


@internal
def activate(a: Any, code: int) -> Any:
    """y = f(a), for the codes that have no loop of their own in `activate_tile`."""
    if code == LEAKY_RELU:
        return where(a > 0.0, a, a * SLOPE)
    if code == ELU:
        return where(a > 0.0, a, expm1_below(where(a > 0.0, a * 0.0, a)))
    if code == SOFTPLUS:
        return softplus(a)
    if code == SIGMOID:
        return sigmoid(a)
    return a


@internal
def activate_vjp(dy: Any, y: Any, code: int) -> Any:
    """da = f'(a) dy, from the output y."""
    if code == TANH:
        return dy * (1.0 - y * y)
    if code == RELU:
        return where(y > 0.0, dy, dy * 0.0)
    if code == LEAKY_RELU:
        return where(y > 0.0, dy, dy * SLOPE)
    if code == ELU:
        return where(y > 0.0, dy, dy * (y + 1.0))
    if code == SOFTPLUS:
        return -dy * expm1_below(-y)
    if code == SIGMOID:
        return dy * (y * (1.0 - y))
    return dy


@internal
def activate_tile(C: Array, c: int, work: Array, y: int, size: int, code: int) -> None:
    """y = f(a) for `size` numbers from C[c] on, to work[y]: tanh in a loop of its own, where its constants stay."""
    if code == TANH:
        for j in range(0, size, lane_count(C)):
            store(work, y + j, tanh(load(C, c + j)))
    elif code == RELU:
        for j in range(0, size, lane_count(C)):
            a = load(C, c + j)
            store(work, y + j, where(a <= 0.0, a * 0.0, a))
    else:
        for j in range(0, size, lane_count(C)):
            store(work, y + j, activate(load(C, c + j), code))


@internal
def with_ones(y: Any, array: Array, column: int, width: int) -> Any:
    """y in columns below `width`, one in column `width` (it meets the bias), zero beyond."""
    at = columns(array, column)
    return where(at < width, y, where(at == width, y * 0.0 + 1.0, y * 0.0))


# ── p(x | z): a panel of each row of a tile; stores the heads' cotangents, leaves in the tile what its rows add up ────


@internal
def bernoulli_row(work: Array, x: int, C: Array, c: int, dy: int, column: int, width: int, w: float) -> None:
    """Σ x l − log(1 + e^l) over a panel; dl = w (x − sigmoid l), or none for w = 0 (evaluation).

    log(1 + e^l) = max(l, 0) + log u with u = 1 + e^−|l|. The tile's row l is followed by Σ x l − max(l, 0) and Π u,
    both by lanes: one log of the product of all u is enough, since 32 numbers of at most 2 do not overflow.
    """
    lanes = lane_count(work)
    value = zeros(C)
    product = value + 1.0
    for n in range(0, 2 * lanes, lanes):
        l, xs, real = load(C, c + n), load(work, x + n), columns(work, column + n) < width
        e = exp_below(-absolute(l))
        u = e + 1.0
        value += where(real, xs * l - where(l > 0.0, l, e * 0.0), 0.0)
        product *= where(real, u, 1.0)
        if w != 0.0:
            p = where(l < 0.0, e, e * 0.0 + 1.0) / u
            store(work, dy + n, where(real, (xs - p) * w, 0.0))
    store(C, c, value)
    store(C, c + lanes, product)


@internal
def total_rows(parts: Array, at: int, C: Array, c: int, logs: bool) -> None:
    """Into parts[at:], for each row of a tall tile: Σ of its first vector, less log Π of its second if asked."""
    value = sum_rows(C, c)
    if logs:
        value -= log_normal(multiply_rows(C, c + lane_count(C)))
    store_lanes(parts, at, value)


@internal
def gaussian_row(
    work: Array, x: int, C: Array, c: int, other: int, dys: Any, column: int, width: int, w: float, shape: Any
) -> None:
    """Σ log N(x; μ, σ²) over a panel, by lanes; shape = (family, log floors by column); heads at c and c + other."""
    lanes = lane_count(work)
    value = zeros(C)
    family, floors = shape
    for n in range(0, 2 * lanes, lanes):
        mu, xs, real = load(C, c + n), load(work, x + n), columns(work, column + n) < width
        slope, dlog = mu * 0.0 + 1.0, mu * 0.0
        log_floor = load(floors, column + n)
        log_var = log_floor
        if family == GAUSSIAN_SIGMOID:
            mu = sigmoid(mu)
            slope = mu * (1.0 - mu)
        if family != GAUSSIAN_FIXED:
            a = load(C, c + other + n) - log_floor
            log_var, dlog = softplus(a) + log_floor, sigmoid(a)
        d = xs - mu
        r = d * exp(-log_var)
        value += where(real, (log_var + d * r + LOG_2PI) * -0.5, 0.0)
        store(work, dys[0] + n, where(real, r * slope * w, 0.0))
        if family != GAUSSIAN_FIXED:
            store(work, dys[1] + n, where(real, (r * d - 1.0) * dlog * (0.5 * w), 0.0))
    store(C, c, value)


# ── q(z | x) ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@internal
def latent_row(work: Array, C: Array, c: int, other: int, at: Any, column: int, width: int) -> Any:
    """Keeps μ and log σ² from the tiles at c and c + other; returns KL(q ‖ p). at = (μ, log σ²) in the workspace."""
    lanes = lane_count(work)
    mu_at, log_var_at = at
    kl = zeros(C)
    for n in range(0, 2 * lanes, lanes):
        mu, log_var, real = load(C, c + n), load(C, c + other + n), columns(work, column + n) < width
        kl += where(real, (mu * mu + expm1(log_var) - log_var) * 0.5, 0.0)
        store(work, mu_at + n, mu)
        store(work, log_var_at + n, log_var)
    return total(kl)


@internal
def sample_row(work: Array, at: Any, column: int, width: int) -> Any:
    """z = μ + σ ε and its column of ones; returns log p(z) − log q(z) = ½ Σ (ε² − z² + log σ²).

    at = (μ, log σ², ε, z) in the workspace.
    """
    lanes = lane_count(work)
    mu_at, log_var_at, eps_at, z_at = at
    ratio = zeros(work)
    for n in range(0, 2 * lanes, lanes):
        mu, log_var, eps = load(work, mu_at + n), load(work, log_var_at + n), load(work, eps_at + n)
        z = mu + exp(log_var * 0.5) * eps
        ratio += where(columns(work, column + n) < width, (eps * eps - z * z + log_var) * 0.5, 0.0)
        store(work, z_at + n, with_ones(z, work, column + n, width))
    return total(ratio)


@internal
def sample_row_vjp(work: Array, share: Array, at: Any, samples: Any, real: Any, w: float, weighted: bool) -> None:
    """One vector of dμ and dlog σ² from the dz of a row's samples; at = (μ, log σ², dμ, dlog σ²).

    ELBO:      dμ = Σ dz − w μ                   dlog σ² = ½ (σ Σ dz ε − w (σ² − 1))
    weighted:  dμ = Σ (dz − w w̃ z)               dlog σ² = ½ (σ Σ (dz − w w̃ z) ε + w),  since log p(z) − log q(z)
    is ½ Σ (ε² − z² + log σ²). samples = (first, last + 1, step, where ε, z and dz of sample 0 lie).
    """
    mu_at, log_var_at, dmu_at, dlog_var_at = at
    first, last, step, eps_at, z_at, dz_at = samples
    mu, log_var = load(work, mu_at), load(work, log_var_at)
    dmu, deps = zeros(work), zeros(work)
    for n in range(first, last):
        dz = load(work, dz_at + n * step)
        if weighted:
            dz -= load(work, z_at + n * step) * (w * share[n])
        dmu, deps = dmu + dz, deps + dz * load(work, eps_at + n * step)
    dlog_var = exp(log_var * 0.5) * deps
    dmu, dlog_var = (dmu, dlog_var + w) if weighted else (dmu - mu * w, dlog_var - expm1(log_var) * w)
    store(work, dmu_at, where(real, dmu, 0.0))
    store(work, dlog_var_at, where(real, dlog_var * 0.5, 0.0))


# ── the optimizer ─────────────────────────────────────────────────────────────────────────────────────────────────────


@inline
def adam(w: Array, m: Array, v: Array, at: int, W: Any, g: Any, k: Any) -> None:
    """Adam on one vector of weights W, g their cotangents; k = (1 − β₁, 1 − β₂, α, ε), corrected (`adam_constants`).

    m ← m + (1 − β₁)(g − m), likewise v, are the fewest operations; where memory is near, this loop is bound by them.
    """
    c1, c2, a, epsilon = k
    M, V = load(m, at), load(v, at)
    M += (g - M) * c1
    V += (g * g - V) * c2
    store(m, at, M)
    store(v, at, V)
    store(w, at, W + M / (sqrt(V) + epsilon) * a)


@internal
def adam_tile(w: Array, m: Array, v: Array, at: int, C: Array, c: int, size: int, k: Any) -> None:
    """Adam on `size` weights from `at`, their cotangents in C."""
    for j in range(0, size, lane_count(w)):
        adam(w, m, v, at + j, load(w, at + j), load(C, c + j), k)


@internal
def shrink_tile(w: Array, at: int, C: Array, c: int, size: int, pull: float, shrink: float) -> None:
    """What comes before Adam with a prior on the weights, g ← g − w / N, and with AdamW, w ← w − α λ w."""
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
            store(g, at + j, load(C, c + j) + load(g, at + j))
