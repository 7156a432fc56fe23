"""§7.2.5 Gaussians whose latents depend on each other: dense matrices, Monte Carlo, estimators that agree."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import close
from scipy import stats

from scratchvae.distributions import Normal
from scratchvae.distributions.gaussians import FullNormal, RankOne, full_normal, full_normal_vjp
from scratchvae.distributions.planar import Planar
from scratchvae.errors import UsageError
from scratchvae.estimators import estimate, get
from scratchvae.gradcheck.library import at
from scratchvae.models.protocol import Functions
from scratchvae.types import Array

B, K, F = 3, 4, 2


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def rank_one(seed: int, *lead: int, size: float = 1.0, latents: int = K) -> RankOne:
    return RankOne(*(size * rng(seed).standard_normal((3, *lead, latents))))


def full(seed: int, *lead: int, latents: int = K) -> FullNormal:
    g = rng(seed)
    return FullNormal(g.standard_normal((*lead, latents)), 0.5 * g.standard_normal((*lead, latents, latents)))


def planar(seed: int, *lead: int, latents: int = K, layers: int = F) -> Planar:
    g = rng(seed)
    shapes = ((*lead, latents),) * 2 + ((*lead, layers, latents),) * 2 + ((*lead, layers),)
    return Planar(*(0.7 * g.standard_normal(shape) for shape in shapes))


MADE = (full, rank_one, planar)
each_family = pytest.mark.parametrize("made", MADE, ids=lambda f: f.__name__)


def covariance(q: Any) -> Array:
    """(K, K) of one row, by dense inverse or product."""
    return q.L @ q.L.T if isinstance(q, FullNormal) else np.linalg.inv(np.diag(np.exp(q.log_d)) + np.outer(q.u, q.u))


# --- rank one against the dense inverse --------------------------------------------------------------------------


def factor(q: RankOne) -> Array:
    """R of z = μ + R ε, column by column from the sampler."""
    return (q.sample(np.eye(len(q.mu))) - q.mu).T


@given(st.integers(0, 10**6), st.sampled_from([0, 1e-200, 1e-9, 1e-3, 1, 30]))
def test_rank_one_is_the_dense_inverse(seed: int, size: float) -> None:
    """R Rᵀ = (D + u uᵀ)⁻¹, from u = 0 to large u: catches a limit that is taken as 0/0, (1 − η) for (1 − √η), and u on
    the covariance's side. Density, KL and entropy are those of that covariance."""
    q = rank_one(seed)
    q = q._replace(u=size * q.u)
    C = covariance(q)
    close(factor(q) @ factor(q).T, C, 1e-10)
    z, (sign, log_det) = at(1, 5, K), np.linalg.slogdet(C)
    close(q.log_prob(z), stats.multivariate_normal(q.mu, (C + C.T) / 2).logpdf(z), 1e-9)
    close(q.kl(), 0.5 * (q.mu @ q.mu + np.trace(C) - K - log_det), 1e-10)
    close(q.entropy(), 0.5 * (K * (1 + np.log(2 * np.pi)) + log_det), 1e-10)
    assert sign == 1


def test_rank_one_without_u_is_normal() -> None:
    """At u = 0 every value and slope is Normal's of −log_d, and no slope pulls u: catches a NaN at the start."""
    q = rank_one(1, B)._replace(u=np.zeros((B, K)))
    plain, eps, w = Normal(q.mu, -q.log_d), at(2, 5, B, K), at(3, 5, B)
    close(q.sample(eps), plain.sample(eps))
    close(q.log_prob(eps), plain.log_prob(eps))
    close(q.kl(), plain.kl())
    for mine, theirs in (
        (q.sample_vjp(eps, eps), plain.sample_vjp(eps, eps)),
        (q.log_prob_vjp(w, eps)[1], plain.log_prob_vjp(w, eps)[1]),
        (q.kl_vjp(w[0]), plain.kl_vjp(w[0])),
        (q.entropy_vjp(w[0]), plain.entropy_vjp(w[0])),
    ):
        close(mine.mu, theirs.mu)
        close(mine.log_d, -theirs.log_var)
        close(mine.u, np.zeros((B, K)), 0)


def test_full_normal_entropy() -> None:
    """Against SciPy's, and H = −E[log q] under a standard prior: −H = KL + E[log p]; catches a lost ½ or constant."""
    q = full(2, B)
    for b in range(B):
        C = covariance(FullNormal(*(h[b] for h in q)))
        close(q.entropy()[b], stats.multivariate_normal(q.mu[b], C).entropy(), 1e-10)


@pytest.mark.parametrize("made", [full, rank_one], ids=lambda f: f.__name__)
def test_kl_and_entropy_are_their_expectations(made: Any) -> None:
    """By Monte Carlo, within 4 standard errors: catches a closed form of another distribution than the sampler's."""
    q, n = made(4, latents=3), 200_000
    z = q.sample(rng(5).standard_normal((n, 3)))
    log_q, log_p = q.log_prob(z), Normal(np.zeros(3), np.zeros(3)).log_prob(z)
    for wanted, terms in ((q.kl(), log_q - log_p), (q.entropy(), -log_q)):
        assert abs(terms.mean() - wanted) < 4 * terms.std() / np.sqrt(n)
    np.testing.assert_allclose(np.cov(z.T), covariance(q), atol=0.02 * np.abs(covariance(q)).max())


@pytest.mark.parametrize("made", [full, rank_one], ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [1e-8, 1.0])
def test_kl_is_never_negative(made: Any, size: float) -> None:
    """Half of the pairs almost standard: catches ½ (σ² − 1 − log σ²) by differences, negative in a third of cases."""
    q = type(made(0))(*(size * h for h in made(6, 20_000)))
    assert (q.kl() >= 0).all()
    assert (type(q)(*(h[:1] for h in q)).standard().kl() == 0).all()


def test_near_the_standard_member_kl_keeps_its_digits() -> None:
    """½ (μ² + Σ …) of heads of 1e-8, where second order is exact: catches the difference form, off by 100 %."""
    q = rank_one(7, 100, size=1e-8)
    close(q.kl() * 1e16, 0.5e16 * (q.mu**2 + 0.5 * q.log_d**2).sum(axis=-1), 1e-6)
    f = FullNormal(q.mu, q.log_d[..., None] * np.eye(K))
    close(f.kl() * 1e16, 0.5e16 * (q.mu**2 + 2 * q.log_d**2).sum(axis=-1), 1e-6)


# --- what every family of q keeps to -----------------------------------------------------------------------------


@each_family
def test_float32_heads_give_float32_of_float64s_digits(made: Any) -> None:
    """Work is in float64 and comes back as float32: catches a result of another type, and digits lost on the way."""
    q, eps, w = made(8, B), at(9, 5, B, K), at(10, 5, B)
    small = type(q)(*(h.astype("float32") for h in q))
    wide = type(q)(*(h.astype("float64") for h in small))
    few, many = eps.astype("float32"), eps.astype("float32").astype("float64")
    pairs = [(small.sample(few), wide.sample(many)), (small.log_prob(few), wide.log_prob(many))]
    pairs += zip(small.sample_vjp(few, few), wide.sample_vjp(many, many), strict=True)
    w32 = w.astype("float32")
    dz, dq = small.log_prob_vjp(w32, few)
    dz64, dq64 = wide.log_prob_vjp(w32.astype("float64"), many)
    pairs += [(dz, dz64), *zip(dq, dq64, strict=True)]
    if hasattr(q, "kl"):
        pairs += [(small.kl(), wide.kl()), (small.entropy(), wide.entropy())]
        pairs += [*zip(small.kl_vjp(w32[0]), wide.kl_vjp(w32[0].astype("float64")), strict=True)]
    for got, wanted in pairs:
        assert (got.dtype, wanted.dtype) == (np.float32, np.float64)
        close(got, wanted.astype("float32"), 1e-7)


def wild(g: np.random.Generator, *shape: int, log: bool = False) -> Array:
    """Either sign, every magnitude of float32; logs within ±80, so that e^log is a float32 too."""
    return np.asarray(10.0 ** g.uniform(-37, 1.9 if log else 37, shape) * g.choice([-1, 1], shape), "float32")


def test_nothing_is_nan() -> None:
    """Values and slopes over float32's whole range are finite or infinite, and SciPy-free loops raise nothing: catches
    ∞ − ∞ in a density, and a triangular matrix that a general solver calls singular."""
    g, n, K = rng(23), 4000, 3
    z, eps, ones = wild(g, n, K), g.standard_normal((n, K)).astype("float32"), np.ones(n, "float32")
    raw = np.where(np.eye(K, dtype=bool), wild(g, n, K, K, log=True), wild(g, n, K, K))
    logs = wild(g, 2, n, K, log=True)
    layers = wild(g, n, 2, K), wild(g, n, 2, K), wild(g, n, 2)
    for q in (FullNormal(z[::-1], raw), RankOne(z[::-1], logs[0], wild(g, n, K)), Planar(z[::-1], logs[1], *layers)):
        with np.errstate(all="ignore"):
            dz, dq = q.log_prob_vjp(ones, z)
            found = [q.sample(eps), q.log_prob(z), dz, *dq, *q.sample_vjp(eps, eps)]
            if not isinstance(q, Planar):
                found += [q.kl(), q.entropy(), *q.kl_vjp(ones), *q.entropy_vjp(ones)]
        assert not any(np.isnan(a).any() for a in found)


@each_family
def test_one_row_of_heads_serves_all(made: Any) -> None:
    """Heads of one row under many rows and samples: cotangents are the sums; catches a mean, and a lost axis."""
    q, eps, w = made(11, 1), at(12, 5, B, K), at(13, 5, B)
    many = type(q)(*(np.repeat(h, B, axis=0) for h in q))
    close(q.log_prob(eps), many.log_prob(eps))
    close(q.log_prob_vjp(w, eps)[0], many.log_prob_vjp(w, eps)[0])
    bare = type(q)(*(h[0] for h in q))
    for alone, one, rows in (
        (bare.sample_vjp(eps, eps), q.sample_vjp(eps, eps), many.sample_vjp(eps, eps)),
        (bare.log_prob_vjp(w, eps)[1], q.log_prob_vjp(w, eps)[1], many.log_prob_vjp(w, eps)[1]),
    ):
        for a, b, c in zip(alone, one, rows, strict=True):
            close(a, c.sum(axis=0))
            close(b, c.sum(axis=0, keepdims=True))


@each_family
def test_weights_are_one_a_row(made: Any) -> None:
    """Catches a weight that is broadcast in silence."""
    with pytest.raises(UsageError, match="w has shape"):
        made(14, B).log_prob_vjp(np.ones(B), at(15, 5, B, K))


@each_family
def test_score_has_mean_zero(made: Any) -> None:
    """E[∂ log q/∂φ] = 0 for the sampler's own z, |mean| ≤ 4.5 standard errors: catches a density of another q."""
    q, n = made(16, latents=2), 100_000
    many = type(q)(*(np.broadcast_to(h, (n, *h.shape)) for h in q))
    h = many.log_prob_vjp(np.ones(n), many.sample(rng(17).standard_normal((n, 2))))[1]
    for part in h:
        assert (np.abs(part.mean(axis=0)) <= 4.5 * part.std(axis=0) / np.sqrt(n) + 1e-12).all()


def log_joint(x: Any, z: Array, theta: Any) -> Array:
    """Crooked, so that no estimator is exact by luck."""
    return np.asarray((np.sin(z) - 0.3 * z * z).sum(axis=-1) + 0.5 * np.tanh(z[..., 0] * z[..., 1]))


def log_joint_vjp(w: Array, x: Any, z: Array, theta: Any, dtheta: Any) -> Array:
    bend = 0.5 * (1 - np.tanh(z[..., 0] * z[..., 1]) ** 2)
    return np.asarray(w[..., None] * (np.cos(z) - 0.6 * z + bend[..., None] * z[..., 1::-1]))


@each_family
@pytest.mark.parametrize(("names", "samples"), [(("score", "sgvb_a", "stl"), 1), (("iw", "dreg"), 3)])
def test_estimators_agree(made: Any, names: tuple[str, ...], samples: int) -> None:
    """Score function and pathwise have one mean, and so have the importance-weighted ones, |z| ≤ 4.5 over 40 000 draws
    a parameter: catches a sampler, a density or a slope that does not belong to the others."""
    n, model = 40_000, Functions(log_joint, log_joint_vjp)
    q = made(18, 1, latents=2)
    many = type(q)(*(np.repeat(h, n, axis=0) for h in q))
    means = []
    for i, name in enumerate(names):
        g = estimate(get(name), model, many, None, rng(19 + i).standard_normal((samples, n, 2)))[1]
        means.append([(part.mean(axis=0), part.var(axis=0) / n) for part in g])
    for other in means[1:]:
        for (a, va), (b, vb) in zip(means[0], other, strict=True):
            assert (np.abs(a - b) <= 4.5 * np.sqrt(va + vb) + 1e-12).all()


def test_flat_heads_of_a_full_normal() -> None:
    """Row by row, the lower triangle and nothing else: catches a transposed order, and heads of a wrong width."""
    mu, lower = at(20, B, 3), at(21, B, 6)
    q = full_normal(mu, lower)
    close(q.raw[:, [0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]], lower, 0)
    close(np.triu(q.raw, 1), np.zeros((B, 3, 3)), 0)
    for got, wanted in zip(full_normal_vjp(q), (mu, lower), strict=True):
        close(got, wanted, 0)
    with pytest.raises(UsageError, match=r"lower has 9 columns, expected K \(K \+ 1\) / 2 = 6 for K = 3"):
        full_normal(mu, at(22, B, 9))
