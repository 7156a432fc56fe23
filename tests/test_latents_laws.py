"""§7.2.4 Laws of the families of q: moments move as they must, two estimators agree, and nothing is ever NaN.

With `--long` at full size, about an hour: 10⁵ draws × 20 seeds, 10⁵ pairs under one KL, 10⁶ members of float32's range.
"""

from typing import Any

import numpy as np
import pytest
from families_of_q import FAMILIES, REAL, UNIT, K, member, noise, scipys
from scipy import special

from scratchvae.distributions.exponential import ExponentialFamily
from scratchvae.distributions.latent import POSTERIORS
from scratchvae.types import Array

GRID = (np.arange(20_000) + 0.5) / 20_000

# --- moments ----------------------------------------------------------------------------------------------------------

MEANS = [n for n in FAMILIES if n not in ("cauchy", "student-t", "logit-normal", "gompertz", "von-mises", "dirichlet")]
SHIFT = {"inverse-gamma": 2.5, "f": 3.0, "pareto": 2.5}  # of the heads: where there is a variance


@pytest.mark.parametrize("name", MEANS)
def test_means_move_as_they_must(name: str) -> None:
    """∂E[z]/∂φ on a grid of u, against the mean's own formula: catches a slope that is off by a factor everywhere."""
    q = member(name, size=0.5, seed=8)
    q = type(q)(*(h + SHIFT.get(name, 0.0) for h in q))
    u = np.repeat(GRID[:, None], K, axis=1)
    eps = special.ndtri(u) if q.noise == "normals" else u
    np.testing.assert_allclose(q.sample(eps).mean(axis=0), q.mean, rtol=4e-3, atol=1e-4)
    got = q.sample_vjp(np.full(u.shape, 1 / len(u)), eps)
    for i, h in enumerate(q):
        step = 1e-4
        up, down = (type(q)(*(b + t * (j == i) for j, b in enumerate(q))).mean for t in (step, -step))
        np.testing.assert_allclose(got[i], (up - down) / (2 * step) * np.ones_like(h), rtol=2e-2, atol=2e-3)


LIGHT = ("normal", "laplace", "logistic", "gumbel", "gamma", "weibull", "exponential", "rayleigh", "chi-square", "beta",
         "uniform", "triangular")  # fmt: skip


@pytest.mark.parametrize("name", LIGHT)
def test_variances_move_as_they_must(name: str) -> None:
    """∂Var[z]/∂φ = E[2 (z − E[z]) ∂z/∂φ] on a grid of u, against differences of SciPy's variance: catches a slope whose
    mean is right, and that is wrong in the tails."""
    q = member(name, size=0.4, seed=8)
    u = np.repeat(GRID[:, None], K, axis=1)
    eps = special.ndtri(u) if q.noise == "normals" else u
    z = q.sample(eps)
    got = q.sample_vjp(2 * (z - z.mean(axis=0)) / len(u), eps)
    for i, d in enumerate(got):
        step = 1e-4
        up, down = (type(q)(*(b + t * (j == i) for j, b in enumerate(q))) for t in (step, -step))
        wanted = (scipys(name, up).var() - scipys(name, down).var()) / (2 * step)
        np.testing.assert_allclose(d, wanted * np.ones(K), rtol=3e-2, atol=1e-3)


@pytest.mark.parametrize("kappa", [0.0, 1e-9, 0.7, 5.0, 300.0])
def test_von_mises_means_move_as_they_must(kappa: float) -> None:
    """∇E[(cos z, sin z)] = ∇²A, at κ = 0 too: catches a slope that blows up there, 1/κ of a mean direction."""
    q = FAMILIES["von-mises"](np.full(1, kappa * np.cos(0.4)), np.full(1, kappa * np.sin(0.4)))
    u = GRID[:, None]
    z = q.sample(u)
    for i, slope in enumerate((-np.sin(z), np.cos(z))):
        right = q.ddA(q.eta(), tuple(np.eye(2)[i][:, None]))
        for got, r in zip(q.sample_vjp(slope / len(u), u), right, strict=True):
            np.testing.assert_allclose(got, r, rtol=3e-3, atol=1e-5)


def test_dirichlet_means_move_as_they_must() -> None:
    """∂E[z]/∂ln α = m (δ − m) α by draws: catches a softmax's slope that forgets the others."""
    q = FAMILIES["dirichlet"](np.array([0.5, -0.3, 0.8]))
    eps = noise(type(q), 4_000, 3, seed=2)
    for i in range(3):
        got = q.sample_vjp(np.eye(3)[i] / 4_000 * np.ones((4_000, 1)), eps)[0]
        m = np.exp(q.log_alpha) / np.exp(q.log_alpha).sum()
        right = m[i] * (np.eye(3)[i] - m)
        np.testing.assert_allclose(got, right, atol=1e-2)


def test_the_cut_of_a_narrow_circle_has_a_slope() -> None:
    """∂z/∂(a, b) → (−sin μ, cos μ)/κ where rounding times κ is beyond e's range: catches ∞ · 0 at the cut."""
    q = POSTERIORS["von-mises"](np.array([-5e29]), np.array([4.5e28]))
    da, db = q.sample_vjp(np.ones(1), np.array([0.81]))
    np.testing.assert_allclose(np.concatenate([da, db]) * 5e29, [-0.0893, -0.9920], rtol=5e-3)


# --- two estimators ---------------------------------------------------------------------------------------------------


def disagreement(name: str, draws: int, seed: int) -> Array:
    """z-scores of pathwise less score-function estimates of ∂E[Σ arctan z]/∂φ, one a head and number."""
    q = member(name, size=0.5, seed=seed)
    eps = noise(type(q), draws, K, seed=seed + 100)
    z, weight = q.sample(eps), np.array([1.0, -0.5, 0.7])
    many = type(q)(*(np.broadcast_to(h, z.shape) for h in q))
    path = many.sample_vjp(weight / (1 + z * z), eps)
    f = (weight * (np.arctan(z) - np.arctan(z).mean(axis=0))).sum(axis=-1)  # a baseline: 1/draws of bias
    score = many.log_prob_vjp(f, z)[1]
    off = np.stack([p - s for p, s in zip(path, score, strict=True)])
    there = inside(name, z, off)
    kept = [a[there[:, i], i] for a in off for i in range(K)]
    return np.array([a.mean() / (a.std() / np.sqrt(draws)) for a in kept])


def inside(name: str, z: Array, off: Array) -> Array:
    """Which draws (draws, K) are inside the support: of a million of a (0, 1) with a pole at 1 a few are rounded to 1,
    where the density is ∞, and so is its slope; nothing else may be infinite."""
    edge = (z == 0) | (z == 1) if name in UNIT else np.zeros(z.shape, bool)
    assert edge.mean() < 1e-3
    assert np.isfinite(off[:, ~edge]).all()
    return ~edge


@pytest.mark.parametrize("name", POSTERIORS)
def test_pathwise_and_score_agree(name: str) -> None:
    """|z| ≤ 4 at 4000 draws: catches a density and a sampler of two laws, and mass that crosses the cut of a circle."""
    assert np.abs(disagreement(name, 4000, seed=1)).max() <= 4


SLOW = ("beta", "f", "von-mises")  # their inverse CDFs are iterations

# --- whole ranges -----------------------------------------------------------------------------------------------------


def wild(name: str, n: int, rng: Any) -> tuple[Any, Array, Array]:
    """Members, values and noise over float32's range; e^head stays inside it."""
    kind, size = FAMILIES[name], (n, K)

    def free() -> Array:
        return (rng.choice([-1, 1], size) * 10 ** rng.uniform(-38, 38, size)).astype("float32")

    logs = {f for f in kind._fields if f.startswith("log_")}
    heads = [rng.uniform(-87, 88, size).astype("float32") if f in logs else free() for f in kind._fields]
    u = (rng.integers(2**24, size=size) + 0.5) / 2**24
    z = free() if name in (*REAL, "uniform", "triangular") else np.abs(free())
    z = rng.random(size).astype("float32") if name in (*UNIT, "dirichlet") else z
    z = z / z.sum(axis=-1, keepdims=True) if name == "dirichlet" else z
    return kind(*heads), z, special.ndtri(u).astype("float32") if kind.noise == "normals" else u


def nans(name: str, n: int, seed: int) -> dict[str, int]:
    """How many of each result are NaN; all are float32."""
    q, z, eps = wild(name, n, np.random.default_rng(seed))
    w, one = np.ones(n, "float32"), np.ones((n, K), "float32")
    with np.errstate(all="ignore"):
        dz, d = q.log_prob_vjp(w, z)
        found = {"sample": [q.sample(eps)], "sample_vjp": q.sample_vjp(one, eps), "log_prob": [q.log_prob(z)]}
        found |= {"log_prob_vjp": [dz, *d]}
        for part in ("kl", "entropy"):
            if hasattr(q, part):
                found |= {part: [getattr(q, part)()], f"{part}_vjp": getattr(q, f"{part}_vjp")(w)}
    assert {a.dtype for parts in found.values() for a in parts} == {np.dtype("float32")}
    return {part: int(sum(np.isnan(a).sum() for a in arrays)) for part, arrays in found.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_nan(name: str) -> None:
    """float32 in, float32 out, and no NaN between 1e-38 and 3e38: catches ∞ − ∞, 0 · ∞ and 0/0."""
    assert not any(nans(name, 500 if name in SLOW else 2_000, seed=14).values())


# --- at full size -----------------------------------------------------------------------------------------------------

WITH_KL = [name for name in POSTERIORS if hasattr(POSTERIORS[name], "kl")]


@pytest.mark.parametrize("name", WITH_KL)
def test_kl_of_pairs_is_never_negative(name: str, pytestconfig: pytest.Config) -> None:
    """10⁵ members against the standard one, and of an exponential family against each other, a third of them 1e-9
    apart: catches a difference that rounds below 0. A hundredth of them without --long."""
    n, rng = 100_000 if pytestconfig.getoption("long") else 1_000, np.random.default_rng(21)
    kind = POSTERIORS[name]
    heads = [rng.standard_normal((n, K)) * 10 ** rng.uniform(-6, 1, (n, 1)) for _ in kind._fields]
    q = kind(*heads)
    assert (q.kl() >= 0).all()
    if issubclass(kind, ExponentialFamily):
        apart = 10 ** rng.choice([-9.0, -3.0, 0.0], (n, 1))
        assert (q.kl_to(kind(*(h + apart * rng.standard_normal((n, K)) for h in heads))) >= 0).all()


@pytest.fixture
def long(pytestconfig: pytest.Config) -> None:
    """Only where it is asked for."""
    if not pytestconfig.getoption("long"):
        pytest.skip("an hour: with --long")


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("name", POSTERIORS)
def test_pathwise_and_score_agree_at_many_draws(name: str) -> None:
    """z-scores as a normal has them, 10⁵ draws × 20 seeds: catches a bias that 4000 draws hide."""
    z = np.concatenate([disagreement(name, 100_000, seed).ravel() for seed in range(20)])
    assert np.abs(z).max() <= 4.5
    assert abs(np.mean(z * z) - 1) < 0.5


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_nan_of_a_million(name: str) -> None:
    """The same as 2000 of them."""
    assert not any(any(nans(name, 10_000, seed).values()) for seed in range(100))
