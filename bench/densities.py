"""§7.2.5 Log densities and masses where others lose them: everybody from the same heads of a network, in one type."""

from importlib import import_module
from typing import Any

import numpy as np
from scipy import special, stats

from scratchvae.distributions.continuous import Beta, ContinuousBernoulli
from scratchvae.distributions.counts import NegativeBinomial
from scratchvae.distributions.levels import DiscretisedLogistic
from scratchvae.types import Array

Found = dict[str, Any]
Logistic: Any = DiscretisedLogistic
N = 500
EDGES = [(1, 8, 0, 3 * np.log(2)), (1, 1, 0, 0), (1, 1, 1, 0), (2, 2, 0, -np.inf), (2, 2, 1, -np.inf),
         (0.5, 1, 0, np.inf), (8, 1, 1, 3 * np.log(2))]  # fmt: skip


def measured(seed: int, versions: dict[str, str]) -> dict[str, Found]:
    """Everybody's worst errors, by what is asked."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        return {
            "negative binomial, θ 1e4 … 1e8, float32": negative_binomial(rng, versions),
            "continuous Bernoulli, |logit| 1e-8 … 1, float32": continuous_bernoulli(rng, "float32", versions),
            "continuous Bernoulli, |logit| 1e-8 … 1, float64": continuous_bernoulli(rng, "float64", versions),
            "beta at exact 0 and 1, float64": edges(versions),
            "discretised logistic, float32": discretised_logistic(rng, "float32"),
            "discretised logistic, float64": discretised_logistic(rng, "float64"),
        }


def errors(got: Any, right: Array) -> Found:
    """The worst, relative or (below 1) absolute; and how many are no number though the truth is one, or differ at ∞."""
    got = np.asarray(got, float).reshape(right.shape)
    off = np.where(got == right, 0, np.abs(got - right) / np.maximum(1, np.abs(right)))
    lost = ~np.isfinite(off)
    return {"worst": float(off[~lost].max(initial=0)), "not finite": int(lost.sum())}


def exactly(f: Any, digits: int, *at: Array) -> Array:
    """f(mp, …) at each point."""
    mp: Any = import_module("mpmath").mp
    with mp.workdps(digits):
        return np.array([float(f(mp, *(mp.mpf(float(v)) for v in row))) for row in zip(*at, strict=True)])


def log_nb(mp: Any, x: Any, log_mean: Any, log_theta: Any) -> Any:
    """By the textbook."""
    t, m = mp.exp(log_theta), mp.exp(log_mean)
    return mp.loggamma(x + t) - mp.loggamma(t) - mp.loggamma(x + 1) + t * mp.log(t / (t + m)) + x * mp.log(m / (t + m))


def negative_binomial(rng: np.random.Generator, versions: dict[str, str]) -> Found:
    """Counts of a mean up to 20, from heads in float32."""
    log_mean, log_theta = rng.uniform(-1, 3, N).astype("float32"), np.log(10 ** rng.uniform(4, 8, N)).astype("float32")
    x = rng.poisson(np.exp(log_mean)).astype("float32")
    right = exactly(log_nb, 60, x, log_mean, log_theta)
    found: Found = {"points": N}
    found["ours"] = errors(NegativeBinomial(log_mean[:, None], log_theta[:, None]).log_prob(x[:, None]), right)
    if "torch" in versions:
        import torch

        theta, logits, value = (torch.tensor(v) for v in (np.exp(log_theta), log_mean - log_theta, x))
        found["torch"] = errors(torch.distributions.NegativeBinomial(theta, logits=logits).log_prob(value), right)
    if "jax" in versions:
        import jax

        p = 1 / (1 + np.exp(log_mean - log_theta))
        found["jax"] = errors(
            jax.scipy.stats.nbinom.logpmf(*(jax.numpy.array(v) for v in (x, np.exp(log_theta), p))), right
        )
    p = special.expit(log_theta - log_mean)
    found["scipy"] = errors(stats.nbinom.logpmf(x, np.exp(log_theta), p), right)
    return found


def continuous_bernoulli(rng: np.random.Generator, dtype: str, versions: dict[str, str]) -> Found:
    """By logits next to 0, where the probability is next to ½."""
    l = (10 ** rng.uniform(-8, 0, N) * rng.choice([-1, 1], N)).astype(dtype)
    x = rng.random(N).astype(dtype)
    right = exactly(lambda mp, x, l: l * x - mp.log(mp.expm1(l) / l), 60, x, l)
    found: Found = {"points": N, "ours": errors(ContinuousBernoulli(l[:, None]).log_prob(x[:, None]), right)}
    if "torch" in versions:
        import torch

        q = torch.distributions.ContinuousBernoulli(logits=torch.tensor(l))
        found["torch"] = errors(q.log_prob(torch.tensor(x)), right)
    size = np.abs(l)
    found["scipy"] = errors(stats.truncexpon.logpdf(np.where(l < 0, x, 1 - x), size, scale=1 / size), right)
    return found


def edges(versions: dict[str, str]) -> Found:
    """At x = 0 and 1, where the density is 0, ∞ or, by a = 1 or b = 1, finite."""
    a, b, x, right = np.array(EDGES).T
    found: Found = {"points": len(right)}
    found["ours"] = errors(Beta(np.log(a)[:, None], np.log(b)[:, None]).log_prob(x[:, None]), right)
    if "torch" in versions:
        import torch

        q = torch.distributions.Beta(torch.tensor(a), torch.tensor(b), validate_args=False)
        found["torch"] = errors(q.log_prob(torch.tensor(x)), right)
    if "jax" in versions:
        import jax

        found["jax"] = errors(jax.scipy.stats.beta.logpdf(*(jax.numpy.array(v) for v in (x, a, b))), right)
    found["scipy"] = errors(stats.beta.logpdf(x, a, b), right)
    return found


def discretised_logistic(rng: np.random.Generator, dtype: str) -> Found:
    """Inner levels of 256; the difference of two CDFs by SciPy's expit."""
    x, mu, log_s = (v.astype(dtype) for v in (rng.integers(1, 255, N), rng.uniform(0, 255, N), rng.uniform(-1, 3, N)))

    def mass(mp: Any, x: Any, mu: Any, log_s: Any) -> Any:
        s, half = mp.exp(log_s), mp.mpf(1) / 2
        a, b = (1 / (1 + mp.exp(-(x + h - mu) / s)) for h in (half, -half))
        return mp.log(a - b)

    right = exactly(mass, 800, x, mu, log_s)
    got = Logistic(mu[:, None], log_s[:, None]).log_prob(x[:, None])
    half, s = x.dtype.type(0.5), np.exp(log_s)
    plain = np.log(special.expit((x + half - mu) / s) - special.expit((x - half - mu) / s))
    return {"points": N, "ours": errors(got, right), "scipy": errors(plain, right)}
