"""§7.2.5 Planar flows: dense Jacobians, layers undone, mass one, and the published slip that no log det shows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import close, gauss_hermite

from scratchvae.distributions import Normal
from scratchvae.distributions.planar import Planar, constrained, fold, planar, planar_vjp, root, undo
from scratchvae.estimators import estimate, get
from scratchvae.gradcheck.library import at
from scratchvae.models.protocol import Functions
from scratchvae.types import Array

seeds = st.integers(0, 10**6)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def layer(seed: int, K: int, size: float = 1.0) -> tuple[Array, Array, Array]:
    g = rng(seed)
    return size * g.standard_normal(K), size * g.standard_normal(K), g.standard_normal(1)


def flow(seed: int, *lead: int, K: int = 2, F: int = 3, size: float = 0.8) -> Planar:
    g = rng(seed)
    return Planar(*(size * g.standard_normal((*lead, *s)) for s in ((K,), (K,), (F, K), (F, K), (F,))))


@given(seeds, st.integers(1, 6), st.sampled_from([0.1, 1.0, 4.0]))
def test_log_det_is_the_dense_jacobians(seed: int, K: int, size: float) -> None:
    """log |det ∂z'/∂z| by columns of complex steps and LU: catches u for û, a lost wᵀû, and h for h'."""
    u, w, b = layer(seed, K, size)
    z = rng(seed + 1).standard_normal(K)
    jacobian = np.stack([np.imag(fold(z + 1e-100j * e, u, w, b)) / 1e-100 for e in np.eye(K)], axis=-1)
    sign, log_det = np.linalg.slogdet(jacobian)
    assert sign == 1
    got = undo(fold(z, u, w, b), u, w, b)[1][0]
    assert abs(np.exp(got - log_det) - 1) < 1e-9 * max(1, np.exp(-2 * log_det))  # a det near 0 costs its own digits


@given(seeds, st.integers(1, 6))
def test_a_layer_is_undone(seed: int, K: int) -> None:
    """undo(fold(z)) = z and fold(undo(z)) = z to 1e-12, or to that over det where the layer is nearly flat: catches a
    Newton that stops early, and a layer folded over itself."""
    u, w, b = layer(seed, K)
    z = 2 * rng(seed + 1).standard_normal((50, K))
    back, log_det = undo(fold(z, u, w, b), u, w, b)
    size = 1 + np.abs(z).max() + np.abs(constrained(u, w)[0]).max()
    assert (np.abs(back - z) <= 1e-12 * size * np.maximum(1, np.exp(-log_det))).all()
    close(fold(undo(z, u, w, b)[0], u, w, b) / size, z / size)


@example(a=1.366364637092069e-26, n=1e-12)
@given(st.floats(-300, 300), st.floats(1e-12, 1e12))
def test_the_root_is_one(a: float, n: float) -> None:
    """s + (n − 1) tanh s = a for every n > 0, in float64's own digits: catches a step from the wrong side, which jumps
    for n near 0 and for large n."""
    s = root(np.array([a]), np.array([n]))
    h = np.tanh(s)
    assert abs(float((s + (n - 1) * h - a)[0])) <= 1e-14 * max(abs(a), abs(float(s[0])), n)


def test_the_root_of_many_scales() -> None:
    """No pair takes more than the steps there are, none is NaN: n from 1e-300 to 1e300."""
    a, n = np.meshgrid(np.concatenate([[0], np.logspace(-300, 300, 121)]), np.logspace(-300, 300, 121))
    s = root(a, n)
    off = np.abs(s + (n - 1) * np.tanh(s) - a) / np.maximum(np.maximum(a, n), s)
    assert off.max() < 1e-14
    close(root(-a, n), -s, 0)


def test_w_u_stays_above_minus_one() -> None:
    """1 + wᵀû = n > 0 for whatever heads, û bounded as w goes to 0, and u = 0 the identity: catches ‖w‖ for ‖w‖², and
    the paper's c = 0, whose û grows as 1/‖w‖."""
    g = rng(0)
    for size in (1e-150, 1e-30, 1e-8, 1.0, 30.0):
        u, w = g.standard_normal((1000, 3)), size * g.standard_normal((1000, 3))
        u_hat, n = constrained(u, w)
        assert (n > 0).all()
        close((w * u_hat).sum(axis=-1, keepdims=True), n - 1, 1e-12)
        if size < 1:
            assert (np.abs(u_hat) <= 2 * np.linalg.norm(u, axis=-1, keepdims=True)).all()
    close(constrained(0 * u, w)[0], 0 * u, 0)
    close(constrained(u, 0 * w)[0], u, 0)
    assert constrained(np.array([-800.0]), np.array([1.0]))[1][0] >= 0


def test_the_published_slip() -> None:
    """‖w‖ for ‖w‖², as flows were published: wᵀû falls to −1 and below, two z have one z', and what undoes a layer does
    not come back. log det agrees with the Jacobian all the while, so no check of slopes shows it."""
    u, w, b = np.array([-3.0, 0.0]), np.array([0.5, 0.0]), np.zeros(1)
    right, n = constrained(u, w)
    slip = u + (right - u) * np.linalg.norm(w)  # e w / ‖w‖
    assert w @ right > -1 > w @ slip
    z = np.stack([np.linspace(-4, 4, 801), np.zeros(801)], axis=-1)
    good, bad = (z + h * np.tanh((z @ w)[:, None] + b) for h in (right, slip))
    assert (np.diff(good[:, 0]) > 0).all()
    assert (np.diff(bad[:, 0]) < 0).any()  # folded over itself
    close(undo(good, u, w, b)[0], z)
    s = root(bad @ w, np.full(801, n[0]))
    assert np.abs(bad - slip * np.tanh(s)[:, None] - z).max() > 0.5
    slope = 1 + (w @ slip) * (1 - np.tanh(z @ w) ** 2)  # the slip's own det is that of its Jacobian
    numeric = np.gradient(bad[:, 0], z[:, 0])
    np.testing.assert_allclose(slope[1:-1], numeric[1:-1], atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_density_has_mass_one(seed: int) -> None:
    """∫ q dz over the plane by a fine grid: catches log det with a wrong sign, or of the wrong layer's z."""
    q = flow(seed, size=0.6)
    axis = np.linspace(-16, 16, 401)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    assert abs(np.exp(q.log_prob(grid)).sum() * (axis[1] - axis[0]) ** 2 - 1) < 1e-6


@given(seeds)
def test_density_of_a_sample_is_that_of_its_noise(seed: int) -> None:
    """log q(g(ε)) = log N(z_0) − log |det ∂g/∂z_0|, the Jacobian of all layers dense: catches layers undone in their
    own order."""
    q, eps = flow(seed, K=3), rng(seed + 1).standard_normal(3)
    jacobian = np.stack([
        np.imag(q._replace(mu=q.mu + 1e-100j * e).sample(eps)) / 1e-100 for e in np.eye(3)
    ], axis=-1)  # fmt: skip
    base = Normal(q.mu, q.log_var)
    wanted = base.log_prob(base.sample(eps)) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(q.log_prob(q.sample(eps)), wanted, rtol=1e-9, atol=1e-9)


def test_pathwise_is_the_slope_with_noise_replayed() -> None:
    """Of E[log p(z) − log q(z)] over fixed noise, every head by central differences of the whole: catches a lost path,
    through z or through the density."""
    q, eps = flow(5, 1), rng(6).standard_normal((7, 1, 2))
    model = Functions(lambda x, z, t: np.asarray(-0.5 * (z**2).sum(axis=-1) + np.sin(z[..., 0])),
                      lambda w, x, z, t, dt: w[..., None] * (-z + np.cos(z) * [1, 0]))  # fmt: skip

    def value(q: Planar) -> float:
        return float(estimate(get("sgvb_a"), model, q, None, eps)[0].sum())

    got, step = estimate(get("sgvb_a"), model, q, None, eps)[1], 1e-5
    for name, head in q._asdict().items():
        for i in np.ndindex(head.shape):
            moved = np.zeros(head.shape)
            moved[i] = step
            rise = value(q._replace(**{name: head + moved})) - value(q._replace(**{name: head - moved}))
            assert abs(rise / (2 * step) - getattr(got, name)[i]) < 1e-8


def test_without_layers_it_is_normal() -> None:
    """F = 0, and heads of 0: catches a layer that is not the identity at u = 0, so that `standard` is not N(0, I)."""
    q, eps, w = flow(7, 3, F=0), at(8, 5, 3, 2), at(9, 5, 3)
    plain = Normal(q.mu, q.log_var)
    close(q.sample(eps), plain.sample(eps))
    close(q.log_prob(eps), plain.log_prob(eps))
    for got, wanted in zip(q.log_prob_vjp(w, eps)[1], plain.log_prob_vjp(w, eps)[1], strict=False):
        close(got, wanted)
    for got, wanted in zip(q.sample_vjp(eps, eps), plain.sample_vjp(eps, eps), strict=False):
        close(got, wanted)
    start = flow(7, 3).standard()
    close(start.sample(eps), eps)
    close(start.log_prob(eps), Normal(0 * eps, 0 * eps).log_prob(eps))
    assert all(np.isfinite(part).all() for part in (*start.log_prob_vjp(w, eps)[1], *start.sample_vjp(eps, eps)))


def test_moments_of_one_layer() -> None:
    """E[z'] = μ + û E[tanh(wᵀz + b)], by quadrature over the noise, and by the density: catches a density of another
    map than the sampler's."""
    q = flow(10, F=1, size=0.6)
    eps, weights = gauss_hermite(40, 2)
    by_noise = weights @ q.sample(eps)
    axis = np.linspace(-15, 15, 401)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    by_density = np.exp(q.log_prob(grid)) @ grid * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(by_density, by_noise, atol=1e-6)


def test_flat_heads() -> None:
    """Layer by layer, each K wide: catches K and F exchanged."""
    heads: tuple[Any, ...] = at(11, 4, 3), at(12, 4, 3), at(13, 4, 6), at(14, 4, 6), at(15, 4, 2)
    q = planar(*heads)
    close(q.u[:, 1], heads[2][:, 3:], 0)
    close(q.w[:, 0], heads[3][:, :3], 0)
    for got, wanted in zip(planar_vjp(q), heads, strict=True):
        close(got, wanted, 0)


def test_far_along_w() -> None:
    """wᵀu = ±1000: û stays finite, e → ln(1 − 1/e) above and −wᵀu + that below; catches e^1000 in a branch that is
    taken."""
    w = np.array([[1.0, 0.0]])
    for x, e in ((1000.0, np.log1p(-np.exp(-1))), (-1000.0, 1000 + np.log(np.exp(-1)))):
        close(constrained(np.array([[x, 0.3]]), w)[0], np.array([[x + e, 0.3]]))
