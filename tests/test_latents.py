"""§7.2.4, §7.2.5 Every family of q: SciPy's densities and quantiles, integrals, gradients by two ways."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from families_of_q import EDGES, FAMILIES, UNIT, each, mean_of, member, nodes, noise, scipys, uniforms
from oracles import close
from scipy import special

from scratchvae.distributions.exponential import ExponentialFamily
from scratchvae.distributions.simplex import Dirichlet
from scratchvae.types import Array

ALONE = [name for name in FAMILIES if name != "dirichlet"]
WITH_KL = [name for name in ALONE if hasattr(FAMILIES[name], "kl")]
WITH_ENTROPY = [name for name in ALONE if hasattr(FAMILIES[name], "entropy")]
every = pytest.mark.parametrize("name", FAMILIES)
alone = pytest.mark.parametrize("name", ALONE)

# --- densities --------------------------------------------------------------------------------------------------------


@alone
def test_log_prob_is_scipys(name: str) -> None:
    """Catches a rate taken for a scale, a lost Jacobian, and a constant."""
    q = member(name, 200)
    z = q.sample(noise(type(q), 200, 3))
    z = np.minimum(z, 0.99) if name == "kumaraswamy" else z  # above, the transform rounds
    close(q.log_prob(z), scipys(name, q).logpdf(z).sum(axis=-1))


@alone
def test_it_integrates_to_one(name: str) -> None:
    """Catches any wrong constant, without a formula to copy it from."""
    np.testing.assert_allclose(mean_of(name, member(name, low=-0.5)), 1, rtol=1e-9)


@pytest.mark.parametrize("name", [n for n in WITH_ENTROPY if n not in EDGES])
def test_entropy_by_quadrature(name: str) -> None:
    """Catches an entropy of another parametrisation: ln s for −ln s, ν for ν/2."""
    q = member(name, low=0.2 if name in UNIT else -0.5)
    z, _ = nodes(name, q)
    np.testing.assert_allclose(q.entropy(), mean_of(name, q, -each(q, z)).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", WITH_KL)
def test_kl_to_the_standard_member_by_quadrature(name: str) -> None:
    """E[log q − log p]: catches KL the other way round, and one to another prior than `standard()`."""
    q = member(name, low=0.2 if name in UNIT else -0.5, size=0.8)
    z, _ = nodes(name, q)
    with np.errstate(invalid="ignore"):
        difference = each(q, z) - each(q.standard(), z)
    np.testing.assert_allclose(q.kl(), mean_of(name, q, difference).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [n for n in WITH_KL if not issubclass(FAMILIES[n], ExponentialFamily)])
def test_kl_is_never_negative_and_of_second_order(name: str) -> None:
    """10⁴ members, half of them 1e-8 from the standard one: catches a difference that has lost its digits there."""
    kind = FAMILIES[name]
    assert (member(name, 5_000, size=2.0).kl() >= 0).all()
    near, nearer = (kind(*(size * h for h in member(name, 5_000))) for size in (1e-5, 1e-8))
    assert (nearer.kl() >= 0).all()
    np.testing.assert_allclose(nearer.kl() * 1e6, near.kl(), rtol=1e-3)


@every
def test_the_standard_member_is_the_prior(name: str) -> None:
    """All heads 0, of its own shapes and dtype, KL 0: catches a standard() that forgets a head."""
    q = member(name, 4)
    q = type(q)(*(h.astype("float32") for h in q))
    p = q.standard()
    assert type(p) is type(q)
    assert all(h.dtype == np.float32 and h.shape == (4, 3) and not h.any() for h in p)
    assert not hasattr(p, "kl") or not p.kl().any()


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in ALONE if n != "von-mises"])
def test_samples_are_scipys_quantiles(name: str) -> None:
    """Catches a mirrored tail, 1 − u for u, and a scale for a rate."""
    q, u = member(name, 100), uniforms(100, 3)
    z = q.sample(special.ndtri(u) if q.noise == "normals" else u)
    np.testing.assert_allclose(z, scipys(name, q).ppf(u), rtol=1e-9, atol=1e-13)


def test_von_mises_samples_are_its_quantiles_from_minus_pi() -> None:
    """Catches a turn the wrong way round the circle, and mass that is lost at the cut."""
    q = member("von-mises", 40, size=2.0)
    u = uniforms(40, 3)
    z = q.sample(u)
    x, w = np.polynomial.legendre.leggauss(80)
    half = (z + np.pi) / 2
    t = -np.pi + half[..., None] * (x + 1)
    peak = 2 * np.pi * special.i0(np.hypot(q.a, q.b))
    density = np.exp(q.a[..., None] * np.cos(t) + q.b[..., None] * np.sin(t)) / peak[..., None]
    np.testing.assert_allclose((density * w).sum(axis=-1) * half, u, rtol=1e-10, atol=1e-12)


def test_dirichlet_samples_lie_on_the_simplex() -> None:
    """Catches 0/0 at tiny α: NaN, or (⅓, ⅓, ⅓)."""
    q = Dirichlet(np.log(np.geomspace(1e-30, 1e30, 61))[:, None] * np.ones(3))
    z = q.sample(uniforms(61, 3))
    np.testing.assert_allclose(z.sum(axis=-1), 1, rtol=1e-15)
    assert (z[:15].max(axis=-1) == 1).all()
    mean = Dirichlet(np.log([0.3, 1.0, 4.0])).sample(uniforms(20_000, 3)).mean(axis=0)
    np.testing.assert_allclose(mean, np.array([0.3, 1.0, 4.0]) / 5.3, atol=6e-3)


def along(name: str, q: Any, z: Any, step: float, v: list[Array]) -> Array:
    """Samples of the member that stands `step` further along v."""
    return np.asarray(type(q)(*(h + step * d for h, d in zip(q, v, strict=True))).sample(z))


@every
@pytest.mark.parametrize("size", [0.02, 1.0, 1.5])
def test_sample_vjp_is_the_samplers_own_slope(name: str, size: float) -> None:
    """Against differences of `sample` at fixed noise: catches a slope of another map, e^head forgotten, and a formula
    that breaks down near the standard member."""
    q = member(name, 60, size=size, seed=3)
    eps, w = noise(type(q), 60, 3), np.random.default_rng(4).standard_normal((60, 3))
    v = [np.random.default_rng(5 + i).standard_normal(h.shape) for i, h in enumerate(q)]
    h = 2e-4
    f = partial(along, name, q, eps)
    slope = w * (8 * (f(h, v) - f(-h, v)) - (f(2 * h, v) - f(-2 * h, v))) / (12 * h)
    got = sum(d * b for d, b in zip(q.sample_vjp(w, eps), v, strict=True))
    if name == "dirichlet":
        slope, got = slope.sum(axis=-1), got.sum(axis=-1)
    seen = np.abs(slope) < 1e6
    np.testing.assert_allclose(got[seen], slope[seen], rtol=3e-7, atol=3e-8)


@every
def test_samples_broadcast(name: str) -> None:
    """(S, B, K) of noise under (B, K) of heads: catches a cotangent that is not summed over the samples."""
    q = member(name, 4)
    eps, w = noise(type(q), 5, 4, 3), np.random.default_rng(6).standard_normal((5, 4, 3))
    assert q.sample(eps).shape == (5, 4, 3)
    got = q.sample_vjp(w, eps)
    single = [q.sample_vjp(w[s], eps[s]) for s in range(5)]
    for i, d in enumerate(got):
        np.testing.assert_allclose(d, sum(one[i] for one in single), rtol=1e-12, atol=1e-14)
    shared = type(q)(*(h[0] for h in q))
    whole = type(q)(*(np.repeat(h[:1], 4, axis=0) for h in q))
    for d, e in zip(shared.sample_vjp(w, eps), whole.sample_vjp(w, eps), strict=True):
        np.testing.assert_allclose(d, e.sum(axis=0), rtol=1e-12, atol=1e-13)
    wide, d = q.log_prob_vjp(w[..., 0], q.sample(eps))
    assert wide.shape == (5, 4, 3)
    assert all(a.shape == h.shape for a, h in zip(d, q, strict=True))


# --- slopes of densities ----------------------------------------------------------------------------------------------


@every
def test_slopes_of_density_kl_and_entropy(name: str) -> None:
    """Against differences, with a weight a row: catches a sign, a factor, a cotangent at the wrong head, a lost w, and
    constants of a score, which no expectation of it sees."""
    q, w = member(name, 5, size=0.6, seed=9), np.array([0.5, -1.0, 2.0, 0.7, -0.3])
    z = q.sample(noise(type(q), 5, 3, seed=10))
    parts = {"log_prob": (z,), **{part: () for part in ("kl", "entropy") if hasattr(q, part)}}
    for part, args in parts.items():
        got = getattr(q, f"{part}_vjp")(w, *args)
        dz, d = got if args else (w, got)
        for i, h in enumerate(q):
            f = partial(moved_head, q, i, part, args)
            np.testing.assert_allclose(d[i], w[:, None] * slope_of(f, h), rtol=2e-7, atol=2e-7, err_msg=part)
        if args and name != "dirichlet":  # off the simplex there is no density
            np.testing.assert_allclose(dz, w[:, None] * slope_of(q.log_prob, z), rtol=2e-6, atol=2e-6)


def moved_head(q: Any, i: int, part: str, args: tuple[Array, ...], head: Array) -> Array:
    """A result of the member with another head i."""
    return np.asarray(getattr(type(q)(*(head if j == i else h for j, h in enumerate(q))), part)(*args))


def slope_of(f: Any, x: Array) -> Array:
    """∂f_row/∂x (B, K) by differences of fourth order, 1e-4 of x's size apart."""
    out = np.empty(x.shape)
    for k in range(x.shape[-1]):
        h = np.zeros(x.shape)
        h[:, k] = 1e-4 * np.maximum(np.minimum(np.abs(x[:, k]), 1), 1e-3)
        step = 12 * h[:, k]
        out[:, k] = (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / step
    return out
