"""§7.2.4 Gumbel-softmax: mass one, the logistic of two classes, its slopes, and the bias that the relaxation has."""

from typing import Any

import numpy as np
import pytest
from oracles import close, slopes
from scipy import special, stats

from scratchvae.distributions.concrete import GumbelSoftmax, gumbel_softmax
from scratchvae.errors import UsageError
from scratchvae.types import Array

RNG = np.random.default_rng(31)
TEMPERATURES = pytest.mark.parametrize("temperature", [0.3, 2 / 3, 1.0, 2.5])


def uniforms(*shape: int) -> Array:
    return (np.random.default_rng(4).integers(2**24, size=shape) + 0.5) / 2**24


@TEMPERATURES
def test_two_classes_are_a_logistic(temperature: float) -> None:
    """λ logit z − (l₁ − l₂) is logistic, and the mass is one: catches a power of λ, (C − 1)!, and a lost Jacobian."""
    q = gumbel_softmax(temperature)(np.array([0.7, -0.4]))
    t = np.linspace(-60, 60, 20_001)
    z = np.stack([special.expit(t), special.expit(-t)], axis=-1)
    p, inside = q.log_prob(z), np.abs(t) < 20
    law = stats.logistic.logpdf(temperature * t - 1.1) + np.log(temperature) - np.log(z).sum(axis=-1)
    np.testing.assert_allclose(p[inside], law[inside], rtol=1e-11, atol=1e-11)
    assert abs((np.exp(p + np.log(z).sum(axis=-1))).sum() * (t[1] - t[0]) - 1) < 1e-6
    u = uniforms(5000, 2)
    drawn = special.logit(q.sample(u)[:, 0]) * temperature - 1.1
    assert stats.kstest(drawn[np.isfinite(drawn)], "logistic").pvalue > 1e-3


def test_three_classes_have_mass_one() -> None:
    """On a grid of the triangle: catches C for C − 1, right with two classes by chance."""
    q, n = gumbel_softmax(1.5)(np.array([0.5, -0.2, 0.1])), 400
    a, b = np.meshgrid(*(2 * [(np.arange(n) + 0.5) / n]))
    z = np.stack([a, (1 - a) * b, (1 - a) * (1 - b)], axis=-1)
    assert abs((np.exp(q.log_prob(z)) * (1 - a)).mean() - 1) < 1e-4


@TEMPERATURES
def test_slopes(temperature: float) -> None:
    """By complex step, (S, B, C) under (B, C): catches 1/λ, a weight, and samples that are not summed."""
    q: Any = gumbel_softmax(temperature)(RNG.standard_normal((3, 4)))
    u, w, dz = uniforms(2, 3, 4), RNG.standard_normal((2, 3)), RNG.standard_normal((2, 3, 4))
    z = q.sample(u)
    kind = type(q)
    close(q.sample_vjp(dz, u).logits, slopes(lambda l: kind(l).sample(u), q.logits, dz), 1e-10)
    by_z, by_l = q.log_prob_vjp(w, z)
    close(by_l.logits, slopes(lambda l: kind(l).log_prob(z), q.logits, w), 1e-10)
    np.testing.assert_allclose(by_z, slopes(q.log_prob, z, w), rtol=1e-9, atol=1e-9)
    with pytest.raises(UsageError, match="w has shape"):
        q.log_prob_vjp(np.ones(5), z)


def test_the_relaxation_is_biased_and_the_score_function_is_not() -> None:
    """∇E[(aᵀx)²] of a one-hot x: the score function's is within 5 standard errors of the exact one, the relaxed one is
    beyond 20 at λ = 1, and nearer and wider at 0.1."""
    logits, a, n = np.array([0.4, -0.3, 0.1]), np.array([1.0, -1.0, 3.0]), 40_000
    p, f = special.softmax(logits), a**2
    exact = p * (f - p @ f)
    x = np.random.default_rng(6).choice(3, size=n, p=p)
    score = f[x, None] * (np.eye(3)[x] - p)
    off, spread = {}, {}
    for temperature in (1.0, 0.1):
        q = gumbel_softmax(temperature)(np.broadcast_to(logits, (n, 3)))
        u = uniforms(n, 3)
        z = q.sample(u)
        path = q.sample_vjp(2 * (z @ a)[:, None] * a, u).logits
        off[temperature], spread[temperature] = path.mean(axis=0) - exact, path.std(axis=0) / np.sqrt(n)
    assert (np.abs(score.mean(axis=0) - exact) < 5 * score.std(axis=0) / np.sqrt(n)).all()
    assert np.abs(off[1.0] / spread[1.0]).max() > 20
    assert np.abs(off[0.1]).max() < np.abs(off[1.0]).max() / 3
    assert (spread[0.1] > spread[1.0]).all()


def test_it_is_a_family() -> None:
    """float32 stays, corners are finite, the standard member keeps λ: catches ∞ − ∞ where z is 0."""
    q = gumbel_softmax(0.05)(np.array([[90.0, 0, -90]], "float32"))
    z = q.sample(uniforms(50, 3).astype("float32"))
    dz, d = q.log_prob_vjp(np.ones(50, "float32"), z)
    assert {b.dtype for b in (z, dz, *d, q.log_prob(z), q.mean)} == {np.dtype("float32")}
    assert not any(np.isnan(b).any() for b in (z, dz, *d, q.log_prob(z)))
    close(z.sum(axis=-1), np.ones(50), 1e-6)
    assert type(q.standard()).temperature == 0.05
    assert not q.standard().logits.any()
    assert GumbelSoftmax.temperature == 2 / 3
    with pytest.raises(UsageError, match="above 0"):
        gumbel_softmax(0)
