"""§7.2.5 What happens to a tile while it is still in the first-level cache: activations, densities, latents.

The formulas are those of `kernels`, called for one vector; the derivations stand there, of the floor of σ² in
`conditional`. A test holds every schedule against the composition of the pairs.
"""

from typing import Any, NamedTuple

from scratchvae.engine.jit import internal
from scratchvae.engine.shuffles import total
from scratchvae.engine.tiles import MR, multiply_rows, sum_rows
from scratchvae.engine.vector_math import exp, log_normal, sigmoid, softplus, softplus_parts, tanh
from scratchvae.engine.vectors import columns, copysign, lane_count, load, sqrt, store, store_lanes, where, zeros
from scratchvae.kernels.activations import (
    elu,
    elu_vjp,
    leaky_relu,
    leaky_relu_vjp,
    relu,
    relu_vjp,
    sigmoid_vjp,
    softplus_vjp,
    tanh_vjp,
)
from scratchvae.kernels.bernoulli import bernoulli_parts
from scratchvae.kernels.normal import LOG_2PI, kl_term, normal_terms, sample
from scratchvae.models.vae import LIKELIHOODS
from scratchvae.networks import ACTIVATIONS
from scratchvae.types import Array

TANH, RELU, LEAKY_RELU, ELU, SOFTPLUS, SIGMOID = (
    ACTIVATIONS.index(name) for name in ("tanh", "relu", "leaky_relu", "elu", "softplus", "sigmoid")
)
BERNOULLI, GAUSSIAN_SIGMOID, GAUSSIAN_FIXED = (
    LIKELIHOODS.index(name) for name in ("bernoulli", "gaussian-sigmoid", "gaussian-fixed")
)
NORMAL = len(LIKELIHOODS)  # between latent layers: log σ² as it comes, without a floor


@internal
def activate(a: Any, code: int) -> Any:
    """y = f(a), for the codes that have no loop of their own in `activate_tile`."""
    if code == LEAKY_RELU:
        return leaky_relu(a)
    if code == ELU:
        return elu(a)
    if code == SOFTPLUS:
        return softplus(a)
    if code == SIGMOID:
        return sigmoid(a)
    return a


@internal
def activate_vjp(dy: Any, y: Any, code: int) -> Any:
    """da = f'(a) dy, from the output y."""
    if code == TANH:
        return tanh_vjp(dy, y)
    if code == RELU:
        return relu_vjp(dy, y)
    if code == LEAKY_RELU:
        return leaky_relu_vjp(dy, y)
    if code == ELU:
        return elu_vjp(dy, y)
    if code == SOFTPLUS:
        return softplus_vjp(dy, y)
    if code == SIGMOID:
        return sigmoid_vjp(dy, y)
    return dy


@internal
def activate_tile(C: Array, c: int, work: Array, y: int, size: int, code: int) -> None:
    """y = f(a) for `size` numbers from C[c] on, to work[y]: tanh in a loop of its own, where its constants stay."""
    if code == TANH:
        for j in range(0, size, lane_count(C)):
            store(work, y + j, tanh(load(C, c + j)))
    elif code == RELU:
        for j in range(0, size, lane_count(C)):
            store(work, y + j, relu(load(C, c + j)))
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
def bernoulli_row(
    work: Array, x: int, C: Array, c: int, dy: int, column: int, width: int, w: float, missing: bool
) -> None:
    """Σ x l − log(1 + e^l) over a panel; dl = w (x − sigmoid l), or none for w = 0 (evaluation).

    The tile's row l is followed by Σ x l − max(l, 0) and Π u, u = 1 + e^−|l|, both by lanes: one log of the product of
    all u is enough, since 32 numbers of at most 2 do not overflow.
    """
    lanes = lane_count(work)
    value = zeros(C)
    product = value + 1.0
    for n in range(0, 2 * lanes, lanes):
        l, xs, real = load(C, c + n), load(work, x + n), columns(work, column + n) < width
        if missing:
            real = real & (xs == xs)
        linear, _, u, p = bernoulli_parts(xs, l)
        value += where(real, linear, 0.0)
        product *= where(real, u, 1.0)
        if w != 0.0:
            store(work, dy + n, where(real, (xs - p) * w, 0.0))
    store(C, c, value)
    store(C, c + lanes, product)


@internal
def total_rows(parts: Array, at: int, C: Array, c: int, logs: float) -> None:
    """Into parts[at:], for each row of a tall tile: Σ of its first vector, less `logs` times log Π of its second."""
    store_lanes(parts, at, sum_rows(C, c) - log_normal(multiply_rows(C, c + lane_count(C))) * logs)


class Columns(NamedTuple):
    """What a Gaussian p(x | z) knows of the columns, padded to whole micropanels."""

    log_floor: Array  # log c, the floor of σ² (or log σ², where that is fixed) …
    precision: Array  # … and 1 / c
    log_scale: Array  # of the columns' unit: densities are those of the raw columns


@internal
def gaussian_row(
    work: Array,
    x: int,
    C: Array,
    c: int,
    dys: Any,
    column: int,
    width: int,
    w: float,
    family: int,
    missing: bool,
    known: Columns,
) -> None:
    """Σ log N(x; μ, σ²) over a panel, in units of the raw columns; the row's μ at c, its other head a tile beyond.

    Left as `bernoulli_row` leaves it, with ½ log Π u still to go: of one exponential, u = 1 + e^−|a|, come log σ² =
    log c + max(a, 0) + log u, 1 / σ² = sigmoid(−a) / c and the slope sigmoid(a) (`conditional`, a less its log c).
    """
    lanes = lane_count(work)
    other = c + MR * 2 * lanes
    value = zeros(C)
    product = value + 1.0
    for n in range(0, 2 * lanes, lanes):
        mu, xs, real = load(C, c + n), load(work, x + n), columns(work, column + n) < width
        if missing:
            real = real & (xs == xs)
        slope, dlog, unit = mu * 0.0 + 1.0, mu * 0.0 + 1.0, mu * 0.0
        if family == GAUSSIAN_SIGMOID:
            _, _, mu, _ = softplus_parts(mu)
            slope = sigmoid_vjp(slope, mu)
        if family == NORMAL:
            log_var = load(C, other + n)
            precision = exp(-log_var)
        else:
            log_var, precision = load(known.log_floor, column + n), load(known.precision, column + n)
            unit = load(known.log_scale, column + n)
            if family != GAUSSIAN_FIXED:
                linear, u, dlog, rest = softplus_parts(load(C, other + n) - log_var)
                log_var, precision = log_var + linear, precision * rest
                product *= where(real, u, 1.0)
        term, r, half = normal_terms(xs - mu, log_var, precision)
        value += where(real, term - unit, 0.0)
        if w != 0.0:
            store(work, dys[0] + n, where(real, r * slope * w, 0.0))
            if family != GAUSSIAN_FIXED:
                store(work, dys[1] + n, where(real, half * dlog * w, 0.0))
    store(C, c, value)
    store(C, c + lanes, product)


# ── q(z | x) ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@internal
def latent_row(work: Array, C: Array, c: int, other: int, heads: Any, column: int, width: int) -> Any:
    """Keeps μ and log σ² from the tiles at c and c + other; returns KL(q ‖ N(0, I)) of the panel."""
    lanes = lane_count(work)
    kl = zeros(C)
    for n in range(0, 2 * lanes, lanes):
        mu, log_var, real = load(C, c + n), load(C, c + other + n), columns(work, column + n) < width
        kl += where(real, kl_term(mu, log_var), 0.0)
        store(work, heads[0] + n, mu)
        store(work, heads[1] + n, log_var)
    return total(kl)


@internal
def sample_row(work: Array, heads: Any, places: Any, column: int, width: int, top: bool) -> Any:
    """z = μ + σ ε and its column of ones; returns −log q(z) = ½ Σ (ε² + log σ² + log 2π), and with log p(z) of the top
    layer ½ Σ (ε² − z² + log σ²). places = (ε, z)."""
    lanes = lane_count(work)
    ratio = zeros(work)
    for n in range(0, 2 * lanes, lanes):
        mu, log_var, eps = load(work, heads[0] + n), load(work, heads[1] + n), load(work, places[0] + n)
        z = sample(mu, log_var, eps)
        term = eps * eps + log_var
        term = term - z * z if top else term + LOG_2PI
        ratio += where(columns(work, column + n) < width, term * 0.5, 0.0)
        store(work, places[1] + n, with_ones(z, work, column + n, width))
    return total(ratio)


@internal
def moved_row(work: Array, heads: Any, places: Any, column: int, how: Any) -> Any:
    """z with one latent moved (`estimators.measure`): to μ ± σ R, R = |(n₁, n₂)|, or to μ + σ M, M = ±|(ε, n₁, n₂)|.

    Returns log p(z) − log q(z). places = (ε, n₁, n₂, z, moved z); how = (columns, the latent, which of the three).
    """
    lanes = lane_count(work)
    width, chosen, which = how
    ratio = zeros(work)
    for n in range(0, 2 * lanes, lanes):
        mu, log_var, z = load(work, heads[0] + n), load(work, heads[1] + n), load(work, places[3] + n)
        eps, n1, n2 = load(work, places[0] + n), load(work, places[1] + n), load(work, places[2] + n)
        square = n1 * n1 + n2 * n2
        step = sqrt(square)
        if which == 1:
            step = -step
        if which == 2:
            step = copysign(sqrt(eps * eps + square), eps)
        here = columns(work, column + n)
        step = where(here == chosen, step, eps)
        z = where(here == chosen, sample(mu, log_var, step), z)
        ratio += where(here < width, (step * step - z * z + log_var) * 0.5, 0.0)
        store(work, places[4] + n, with_ones(z, work, column + n, width))
    return total(ratio)
