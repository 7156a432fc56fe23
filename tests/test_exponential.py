"""§7.2.5 Laws of the exponential families: SciPy's densities, sums and integrals to one, KL and entropy by quadrature.

The one pair is right for a family if T, A, ∇A, ∇²A and h belong together: E[score] = 0 and Cov[T] = ∇²A say so.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from oracles import close, slopes
from scipy import special, stats

from scratchvae.distributions import Bernoulli, as_rows, curves, exponential
from scratchvae.distributions.continuous import Beta, ContinuousBernoulli, Dirichlet, Exponential, Gamma, VonMises
from scratchvae.distributions.discrete import Categorical, Poisson, one_hots
from scratchvae.errors import UsageError
from scratchvae.types import Array

Groups = one_hots(3, 2)
RNG = np.random.default_rng(11)
HEADS: dict[Any, int] = {Gamma: 2, Beta: 2, VonMises: 2}
FAMILIES = (
    Bernoulli, Categorical, Groups, Poisson, Exponential, Gamma, Beta, Dirichlet, ContinuousBernoulli, VonMises,
)  # fmt: skip
DISCRETE = (Bernoulli, Categorical, Groups, Poisson)
each_family = pytest.mark.parametrize("kind", FAMILIES, ids=lambda f: f.__name__)


def columns(kind: Any) -> int:
    """Of one row."""
    return 5 if kind is Groups else 3


def some(kind: Any, *lead: int, size: float = 1.0, rng: Any = RNG) -> Any:
    """A family with random heads."""
    return kind(*(size * rng.standard_normal((*lead, columns(kind))) for _ in range(HEADS.get(kind, 1))))


def values(kind: Any, *lead: int, rng: Any = RNG) -> Array:
    """Rows x that the family can have made."""
    shape = (*lead, columns(kind))
    if kind in (Categorical, Groups):
        sizes = (3, 2) if kind is Groups else (3,)
        return np.concatenate([np.eye(n)[rng.integers(n, size=lead)] for n in sizes], axis=-1)
    if kind is Dirichlet:
        return rng.dirichlet(np.ones(3), size=lead)
    u = rng.random(shape)
    return {Bernoulli: (u < 0.5) * 1.0, Poisson: np.floor(9 * u), VonMises: 2 * np.pi * u - np.pi,
            Beta: u, ContinuousBernoulli: u}.get(kind, 4 * u)  # fmt: skip


# --- against scipy --------------------------------------------------------------------------------------------------


def scipys(p: Any, x: Array) -> Array:
    """log p by scipy.stats, term by term."""
    h = [np.asarray(b) for b in p]
    match type(p).__name__:
        case "Bernoulli":
            return stats.bernoulli.logpmf(x, special.expit(h[0]))
        case "Categorical":
            return x * special.log_softmax(h[0], axis=-1)
        case "OneHots":
            return x * np.concatenate(
                [special.log_softmax(g, axis=-1) for g in (h[0][..., :3], h[0][..., 3:])], axis=-1
            )
        case "Poisson":
            return stats.poisson.logpmf(x, np.exp(h[0]))
        case "Exponential":
            return stats.expon.logpdf(x, scale=np.exp(-h[0]))
        case "Gamma":
            return stats.gamma.logpdf(x, np.exp(h[0]), scale=np.exp(-h[1]))
        case "Beta":
            return stats.beta.logpdf(x, *np.exp(h))
        case "Dirichlet":
            rows = [stats.dirichlet.logpdf(v / v.sum(), a) for v, a in zip(x, np.exp(h[0]), strict=True)]
            return np.array(rows)[:, None]
        case "ContinuousBernoulli":
            return stats.truncexpon.logpdf(np.where(h[0] < 0, x, 1 - x), np.abs(h[0]), scale=1 / np.abs(h[0]))
    return stats.vonmises.logpdf(x, np.hypot(*h), loc=np.arctan2(h[1], h[0]))


@each_family
def test_log_prob_is_scipys(kind: Any) -> None:
    """Catches a wrong A or h, a rate taken for a scale, a lost ln 2π, and a sum over the wrong axis."""
    p, x = some(kind, 50), values(kind, 50)
    close(p.log_prob(x), scipys(p, x).sum(axis=-1))


def means(p: Any, f: Callable[[Array], Array]) -> Array:
    """E[f(x)] for a family of one row: a sum over all x, or an integral of each component; f (N, K) → (N, …)."""
    if type(p) in (Categorical, Groups):
        parts = [np.eye(3)] if type(p) is Categorical else [np.eye(3), np.eye(2)]
        x = parts[0] if len(parts) == 1 else np.array([[*a, *b] for a in parts[0] for b in parts[1]])
        return np.tensordot(np.exp(p.log_prob(x)), f(x), axes=(0, 0))
    if type(p) is Dirichlet:
        return simplex(p, f)
    x, weights = grid(type(p))
    density = np.exp(each(p, x))
    return np.einsum("n,nk,nk...->k...", weights, density, f(x))


def each(p: Any, x: Array) -> Array:
    """log p of every component on its own, (N, K), for x (N, K)."""
    return type(p)(*(h[..., None] for h in p)).log_prob(x[..., None])


def grid(kind: Any) -> tuple[Array, Array]:
    """Nodes (N, 3), alike in all columns, and weights: Gauss–Legendre after x = e^(…) or a logistic where there is an
    edge at which the density may be infinite; counts; a circle."""
    if kind in (Bernoulli, Poisson):
        x = np.arange(2.0 if kind is Bernoulli else 400.0)
        weights = np.ones_like(x)
    elif kind is VonMises:
        x = np.linspace(-np.pi, np.pi, 400, endpoint=False)
        weights = np.full(400, 2 * np.pi / 400)
    elif kind is ContinuousBernoulli:
        t, weights = np.polynomial.legendre.leggauss(100)
        x, weights = (t + 1) / 2, weights / 2
    else:  # trapezia in t, for a smooth integrand that falls off at both ends
        t = np.linspace(-200, 200, 40_001) if kind is Beta else np.linspace(-250, 7.5, 40_001)
        x = special.expit(t) if kind is Beta else np.exp(t)
        weights = (t[1] - t[0]) * (x * special.expit(-t) if kind is Beta else x)
        keep = (x < 1) & (weights > 0) if kind is Beta else weights > 0
        x, weights = x[keep], weights[keep]
    return np.repeat(x[:, None], 3, axis=1), weights


def simplex(p: Any, f: Callable[[Array], Array]) -> Array:
    """Over the triangle, by x₁ = s, x₂ = (1 − s) r and Gauss–Legendre: smooth, for α are integers here."""
    t, weights = np.polynomial.legendre.leggauss(60)
    t, weights = (t + 1) / 2, weights / 2
    s, r = (v.ravel() for v in np.meshgrid(t, t))
    x = np.stack([s, (1 - s) * r, (1 - s) * (1 - r)], axis=-1)
    return np.tensordot(np.outer(weights, weights).ravel() * (1 - s) * np.exp(p.log_prob(x)), f(x), axes=(0, 0))


def fixed(kind: Any, seed: int) -> Any:
    """One row of heads at which the quadrature has its digits."""
    rng = np.random.default_rng(seed)
    if kind is Dirichlet:
        return Dirichlet(np.log(rng.integers(2, 6, 3)))
    if kind in (Gamma, Beta):
        return kind(*rng.uniform(0.0, 1.5, (2, 3)))
    return some(kind, rng=rng)


TOLERANCE = {Dirichlet: 1e-6}  # ln x at the edge of a triangle costs the rule its digits


@each_family
def test_it_sums_to_one(kind: Any) -> None:
    """Catches any wrong constant, without a formula to copy it from."""
    p = fixed(kind, 3)
    total = means(p, lambda x: np.ones(len(x)) if kind in (Categorical, Groups, Dirichlet) else np.ones_like(x))
    close(total, np.ones_like(total), 1e-9)


@each_family
def test_kl_and_entropy_by_quadrature(kind: Any) -> None:
    """E[log p − log q] and −E[log p]: catches KL the other way round, a lost shift, a Poisson's E[ln x!]."""
    p, q = fixed(kind, 4), fixed(kind, 5)
    joint = kind in (Categorical, Groups, Dirichlet)
    of = (lambda d, x: d.log_prob(x)) if joint else each
    tolerance = TOLERANCE.get(kind, 1e-10)
    close(p.kl_to(q), np.sum(means(p, lambda x: of(p, x) - of(q, x))), tolerance)
    close(p.entropy(), np.sum(means(p, lambda x: -of(p, x))), tolerance)
    close(p.kl_to(p), np.zeros(()), 0)


@each_family
def test_scores_have_mean_zero_and_the_covariance_of_t(kind: Any) -> None:
    """E[T] = ∇A and Cov[T] v = ∇²A v: catches T and A of two families, and a transposed or halved Hessian."""
    p = fixed(kind, 6)
    eta, joint = p.eta(), kind in (Categorical, Groups, Dirichlet)
    v = tuple(np.random.default_rng(7).standard_normal(e.shape) for e in eta)
    tolerance = TOLERANCE.get(kind, 1e-10)
    along: Any = lambda x: sum(a * (t - m) for a, t, m in zip(v, p.T(x), p.dA(eta), strict=True))  # noqa: E731
    for i, (mean, bent) in enumerate(zip(p.dA(eta), p.ddA(eta, v), strict=True)):
        off: Any = lambda x, i=i, mean=mean: p.T(x)[i] - mean  # noqa: E731
        close(means(p, off), np.zeros_like(mean), tolerance)
        spread = (lambda x, off=off: off(x) * along(x).sum(axis=-1, keepdims=True)) if joint else (
            lambda x, off=off: off(x) * along(x))  # fmt: skip
        close(means(p, spread), bent, tolerance)
    close(p.curvature(eta, v).sum(), np.sum(exponential.inner(v, p.ddA(eta, v))))


# --- nearly equal, and far apart ------------------------------------------------------------------------------------


@each_family
def test_kl_is_never_negative(kind: Any, request: pytest.FixtureRequest) -> None:
    """10⁴ pairs (--long: 10⁵), half of them 1e-8 apart: catches the plain difference, negative in a third of them."""
    rng, half = np.random.default_rng(8), 50_000 if request.config.getoption("--long") else 5_000
    p = some(kind, 2 * half, size=2.0, rng=rng)
    far = some(kind, half, size=2.0, rng=rng)
    q = kind(*(np.concatenate((h[:half] + 1e-8 * rng.standard_normal(h[:half].shape), f))
               for h, f in zip(p, far, strict=True)))  # fmt: skip
    kl = p.kl_to(q)
    assert (kl >= 0).all()
    # to second order KL is half the squared distance: 1e-8 apart the rest is 1e-8 of it
    delta = p.difference(q)
    wanted = 0.5 * p.curvature(p.eta(), delta).sum(axis=-1)[:half]
    np.testing.assert_allclose(kl[:half], wanted, rtol=1e-6)


@each_family
def test_kl_is_smooth_where_it_changes_over(kind: Any) -> None:
    """Catches a switch moved to where its formula has no digits: both sides agree across the whole range."""
    p, step = fixed(kind, 9), fixed(kind, 10)
    for distance in np.geomspace(1e-3, 1.0, 25):
        q = kind(*(a + distance * b for a, b in zip(p, step, strict=True)))
        n, parts = len(p), as_rows(*p.eta(), *q.eta(), *p.difference(q))[1]
        one, two, delta = tuple(parts[:n]), tuple(parts[n : 2 * n]), tuple(parts[2 * n :])
        plain = q.A(two) - p.A(one) - p.per_group(exponential.inner(delta, p.dA(one)))
        np.testing.assert_allclose(exponential.integral(p, one, two, delta), plain, rtol=1e-9, atol=1e-14)


ROWS_KL = [
    (-0.1343, -0.0340, 4.1894558184234693e-4),
    (-500.0, 20.0, 22.178875822807047),
    (1e-6, 0.0, 4.1666666666665625e-14),
]


@pytest.mark.parametrize(("l1", "l2", "right"), ROWS_KL)
def test_kl_of_continuous_bernoullis(l1: float, l2: float, right: float) -> None:
    """Catches what TFP and torch return here: −0.000837 and −16.7."""
    p, q = (ContinuousBernoulli(np.array([l])) for l in (l1, l2))
    assert float(p.kl_to(q)) == pytest.approx(right, rel=1e-13, abs=0)


def test_continuous_bernoulli_at_nasty_logits() -> None:
    """Catches probabilities formed on the way, and a Taylor polynomial used too far out."""
    l = np.array([1e-8, -0.1343, 20, -500, 800])
    right = [5.0000000041666667e-9, -0.066398592507592863, 17.004267724384855, -6.2146080984221917, 793.31538827233207]
    np.testing.assert_allclose(curves.box(l), right, rtol=1e-13)
    mean = ContinuousBernoulli(np.array([1e-8, 1e-3, -0.1343, 800])).mean
    right = [0.50000000083333333, 0.50008333333194444, 0.48881169619561457, 0.99875]
    np.testing.assert_allclose(mean, right, rtol=1e-13)


def test_beta_at_the_edges() -> None:
    """Catches 0 · ∞: NaN at x = 0 and 1 in torch, numpyro and pyro."""
    a, b, x = np.array([[1, 8, 0], [1, 1, 0], [1, 1, 1], [2, 2, 0], [0.5, 1, 0]]).T[..., None]
    got = Beta(np.log(a), np.log(b)).log_prob(x)
    close(got, np.array([2.0794415416798359, 0, 0, -np.inf, np.inf]), 1e-13)


def test_von_mises_at_nasty_concentrations() -> None:
    """Catches log(I₀) that rounds to 0 at small κ, and an overflow at large."""
    k = np.array([1e-8, 700, 1e5])
    np.testing.assert_allclose(curves.log_i0(k), [2.5e-17, 695.80569999844345, 99993.324599984316], rtol=1e-13)
    a = k * curves.bessel_ratio(k)[0]
    np.testing.assert_allclose(a, [5e-9, 0.99928545881842609, 0.99999499998749987], rtol=1e-13)


# --- slopes ---------------------------------------------------------------------------------------------------------

SHAPES = {"rows": ((4,), (4,)), "samples": ((2, 4), (4,)), "one parameter for all": ((4,), ()), "one x": ((), (4,))}


def by_head(f: Callable[[Any], Array], p: Any, i: int, h: Array) -> Array:
    """f of p with another head."""
    return f(type(p)(*(h if j == i else b for j, b in enumerate(p))))


@each_family
@pytest.mark.parametrize("lead", SHAPES.values(), ids=SHAPES.keys())
def test_log_prob_vjp(kind: Any, lead: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Catches heads that are not undone (dη for d ln α), and a cotangent not summed over what was repeated."""
    x, p = values(kind, *lead[0]), some(kind, *lead[1])
    w = RNG.standard_normal(p.log_prob(x).shape)
    dx, d = p.log_prob_vjp(w, x)
    assert type(d) is kind
    for i, h in enumerate(p):
        close(d[i], slopes(partial(by_head, lambda r: r.log_prob(x), p, i), h, w), 1e-11)
    if kind in DISCRETE:
        assert dx is None
    else:
        close(dx, slopes(p.log_prob, x, w), 1e-11)


@each_family
@pytest.mark.parametrize("lead", [(4,), (2, 4), ()])
def test_entropy_and_kl_vjp(kind: Any, lead: tuple[int, ...]) -> None:
    """Catches the two cotangents of KL exchanged, and a lost ∇²A."""
    p, q = some(kind, *lead), some(kind, *lead[1:])
    w = RNG.standard_normal(lead)
    d = p.entropy_vjp(w)
    first, second = p.kl_to_vjp(w, q)
    for i, h in enumerate(p):
        close(d[i], slopes(partial(by_head, lambda r: r.entropy(), p, i), h, w), 1e-11)
        close(first[i], slopes(partial(by_head, lambda r: r.kl_to(q), p, i), h, w), 1e-10)
        close(second[i], slopes(partial(by_head, p.kl_to, q, i), q[i], w), 1e-10)


@each_family
def test_kl_vjp_where_they_nearly_meet(kind: Any) -> None:
    """∂KL/∂η₂ = ∇²A Δ to 1e-6 at a distance of 1e-8: catches the plain difference, with 8 digits gone."""
    p = fixed(kind, 12)
    q = kind(*(h + 1e-8 * RNG.standard_normal(h.shape) for h in p))
    second = p.kl_to_vjp(np.ones(()), q)[1]
    bent = q.eta_vjp(p.ddA(p.eta(), p.difference(q)))
    for got, right in zip(second, bent, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-6)


# --- whole ranges ---------------------------------------------------------------------------------------------------


def wild(kind: Any, n: int, dtype: str, rng: Any) -> tuple[Any, Array]:
    """Heads and values over float32's range; η = e^head stays inside it."""
    size = (n, columns(kind))
    free: Any = lambda: (rng.choice([-1, 1], size) * 10 ** rng.uniform(-38, 38, size)).astype(dtype)  # noqa: E731
    heads = [rng.uniform(-87, 88, size).astype(dtype) if kind.log_heads or kind is Poisson else free()
             for _ in range(HEADS.get(kind, 1))]  # fmt: skip
    x = values(kind, n, rng=rng)
    if kind in (Exponential, Gamma):
        x = 10 ** rng.uniform(-38, 38, size)
    if kind is Poisson:
        x = np.floor(10 ** rng.uniform(0, 38, size))
    return kind(*heads), x.astype(dtype)


@each_family
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_nan(kind: Any, dtype: str) -> None:
    """Catches ∞ − ∞ and 0 · ∞ anywhere between 1e-38 and 3e38."""
    rng = np.random.default_rng(13)
    p, x = wild(kind, 400, dtype, rng)
    q, _ = wild(kind, 400, dtype, rng)
    w = np.ones(400, dtype)
    with np.errstate(all="ignore"):
        dx, d = p.log_prob_vjp(w, x)
        results = [
            p.log_prob(x),
            p.entropy(),
            p.kl_to(q),
            *d,
            *p.entropy_vjp(w),
            *p.kl_to_vjp(w, q)[0],
            *p.kl_to_vjp(w, q)[1],
        ]
    results += [] if dx is None else [dx]
    for i, r in enumerate(results):
        assert not np.isnan(r).any(), (i, np.isnan(r).sum())
        assert r.dtype == np.dtype(dtype)
    assert (p.kl_to(q) >= 0).all()


def test_refusals_and_means() -> None:
    """Catches groups that do not fit the logits, and a w that is not one number a row."""
    with pytest.raises(UsageError, match="logits have 4 columns"):
        Groups(np.zeros((2, 4))).log_prob(np.zeros((2, 4)))
    with pytest.raises(UsageError, match="at least one size"):
        one_hots()
    for kind in FAMILIES:
        p, x = some(kind, 4), values(kind, 4)
        with pytest.raises(UsageError, match=r"w has shape \(3,\), expected \(4,\)"):
            p.log_prob_vjp(np.ones(3), x)
        if kind is not VonMises:
            assert p.mean.shape == x.shape
        assert kind(*(h.astype("float32") for h in p)).mean.dtype == np.float32


def test_poisson_of_large_means() -> None:
    """Where x log λ − λ − log x! has lost five digits: 40-digit arithmetic."""
    for rate, x, right in [(1e12, 1e12, -14.73444909116903), (1e12, 1e12 + 2e6, -16.73444875783603),
                           (2.5, 3, -1.5428872736055898), (1e-300, 2, -1382.2442029769874), (5, 0, -5.0)]:  # fmt: skip
        log_p = Poisson(np.log([rate])).log_prob(np.array([float(x)]))
        rounding = 2.0**-53 * abs(np.log(rate) * (x - rate))  # of log λ
        np.testing.assert_allclose(log_p, right, rtol=1e-13, atol=2 * rounding)
