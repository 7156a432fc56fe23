"""§7.2.5 What the tests of the families of q share: members at random, SciPy's laws, and quadrature over a support."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from scratchvae.distributions.edges import Pareto, Reciprocal, Triangular, Uniform
from scratchvae.distributions.latent import POSTERIORS
from scratchvae.types import Array

EDGES: dict[str, Any] = {"uniform": Uniform, "triangular": Triangular, "reciprocal": Reciprocal, "pareto": Pareto}
FAMILIES: dict[str, Any] = {**POSTERIORS, **EDGES}
REAL = ("normal", "laplace", "logistic", "student-t", "gumbel", "cauchy")
UNIT = ("beta", "kumaraswamy", "logit-normal", "continuous-bernoulli")
K = 3


def member(name: str, *lead: int, size: float = 1.0, seed: int = 0, low: float | None = None) -> Any:
    """A family with random heads (*lead, 3), or heads between `low` and `size`."""
    rng = np.random.default_rng(seed)
    shape = (*lead, K)
    draws = (rng.standard_normal(shape) if low is None else rng.uniform(low, 1, shape) for _ in FAMILIES[name]._fields)
    return FAMILIES[name](*(size * d for d in draws))


def uniforms(*shape: int, seed: int = 1) -> Array:
    """u as Noise gives them."""
    return (np.random.default_rng(seed).integers(2**24, size=shape) + 0.5) / 2**24


def noise(kind: Any, *shape: int, seed: int = 1) -> Array:
    """What its sample takes."""
    u = uniforms(*shape, seed=seed)
    return special.ndtri(u) if kind.noise == "normals" else u


class Law(NamedTuple):
    """log density and quantiles."""

    logpdf: Callable[[Array], Array]
    ppf: Callable[[Array], Array]


def moved(law: Any, back: Any, log_slope: Any, forth: Any) -> Law:
    """The law of forth(y): log p(back(z)) + log |dy/dz|."""
    return Law(lambda z: law.logpdf(back(z)) + log_slope(z), lambda u: forth(law.ppf(u)))


def scipys(name: str, q: Any) -> Any:
    """SciPy's law of each number."""
    h = [np.asarray(a) for a in q]
    e = [np.exp(a) for a in h]
    match name:
        case "normal":
            return stats.norm(h[0], np.exp(h[1] / 2))
        case "laplace" | "logistic" | "cauchy":
            return getattr(stats, name)(h[0], e[1])
        case "gumbel":
            return stats.gumbel_r(h[0], e[1])
        case "student-t":
            return stats.t(e[2], h[0], e[1])
        case "log-normal":
            return stats.lognorm(np.exp(h[1] / 2), scale=e[0])
        case "gamma":
            return stats.gamma(e[0], scale=1 / e[1])
        case "inverse-gamma":
            return stats.invgamma(e[0], scale=e[1])
        case "weibull":
            return stats.weibull_min(e[0], scale=e[1])
        case "exponential":
            return stats.expon(scale=1 / e[0])
        case "rayleigh":
            return stats.rayleigh(scale=e[0])
        case "gompertz":
            return stats.gompertz(e[0], scale=1 / e[1])
        case "chi-square":
            return stats.chi2(e[0])
        case "f" | "beta":
            return getattr(stats, name)(*e)
        case _:
            return rarer(name, h, e)


def rarer(name: str, h: list[Array], e: list[Array]) -> Any:
    """Those that SciPy has by another parametrisation, or as a transform."""
    match name:
        case "kumaraswamy":
            a = e[0]
            return moved(
                stats.beta(1, e[1]), lambda z: z**a, lambda z: h[0] + (a - 1) * np.log(z), lambda y: y ** (1 / a)
            )
        case "logit-normal":
            law = stats.norm(h[0], np.exp(h[1] / 2))
            return moved(law, special.logit, lambda z: -np.log(z) - np.log1p(-z), special.expit)
        case "continuous-bernoulli":
            law, up = stats.truncexpon(np.abs(h[0]), scale=1 / np.abs(h[0])), h[0] > 0
            return Law(
                lambda z: law.logpdf(np.where(up, 1 - z, z)),
                lambda u: np.where(up, 1 - law.ppf(np.where(up, 1 - u, u)), law.ppf(u)),
            )
        case "von-mises":
            return stats.vonmises(np.hypot(*h), np.arctan2(h[1], h[0]))
        case "uniform":
            return stats.uniform(h[0], e[1])
        case "triangular":
            return stats.triang(e[1] / (e[1] + e[2]), h[0], e[1] + e[2])
        case "reciprocal":
            return stats.loguniform(e[0], np.exp(h[0] + e[1]))
    return stats.pareto(e[1], scale=e[0])


def nodes(name: str, q: Any) -> tuple[Array, Array]:
    """Nodes (N, 3) and weights (N, 3) over each number's support: trapezia where the integrand falls off both ways."""
    t = np.linspace(-250, 250, 50_001)[:, None] + np.zeros(K)
    step = t[1] - t[0]
    if name in REAL:  # outwards from μ and from 0, where a Laplace has its kink
        far, step = np.exp(t[19_000:]), t[1] - t[0]
        x, w = (a[:, None] for a in np.polynomial.legendre.leggauss(60))
        low, half = np.minimum(q[0], 0), np.abs(q[0]) / 2
        z = np.concatenate([low - far, low + half * (x + 1), low + 2 * half + far])
        return z, np.concatenate([step * far, half * w, step * far])
    if name == "von-mises":
        x = np.linspace(-np.pi, np.pi, 400, endpoint=False)[:, None] + np.zeros(K)
        return x, np.full(x.shape, 2 * np.pi / 400)
    if name in UNIT:
        z = special.expit(t)
        keep = (z[:, 0] < 1) & (z[:, 0] > 0)
        return z[keep], (step * z * special.expit(-t))[keep]
    if name in EDGES:
        return between(*scipys(name, q).ppf(np.array([[0.0], [1.0]]))) if name != "pareto" else tail(np.exp(q[0]))
    return np.exp(t), step * np.exp(t)


def between(a: Array, b: Array) -> tuple[Array, Array]:
    """Fine enough for a kink, 1e-9."""
    x = (np.arange(200_000) + 0.5)[:, None] / 200_000
    return a + (b - a) * x, np.broadcast_to((b - a) / 200_000, (200_000, K))


def tail(m: Array) -> tuple[Array, Array]:
    """z = m e^t, t ≥ 0, by Gauss and Legendre in panels."""
    x, w = np.polynomial.legendre.leggauss(40)
    t = (np.arange(60)[:, None] + (x + 1) / 2).ravel()[:, None]
    return m * np.exp(t), np.tile(w / 2, 60)[:, None] * m * np.exp(t)


def each(q: Any, z: Array) -> Array:
    """log q of every number by itself, (N, 3)."""
    return np.asarray(type(q)(*(h[..., None] for h in q)).log_prob(z[..., None]))


def mean_of(name: str, q: Any, f: Array | None = None) -> Array:
    """∫ q f of every number, f (N, 3) at `nodes`; of 1 without f."""
    z, weights = nodes(name, q)
    with np.errstate(all="ignore"):
        p = np.exp(each(q, z))
        return np.where(p > 0, p * (1.0 if f is None else f) * weights, 0).sum(axis=0)
