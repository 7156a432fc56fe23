"""§7.3 The decoder as a model of the protocol: log p(x, z) by scipy, slopes by complex step, factors by their sum."""

from typing import Any

import numpy as np
import pytest
from oracles import close, data, nets_at, slopes, small_vae
from scipy import special, stats

from scratchvae.conditional import Net
from scratchvae.kernels import table
from scratchvae.models.decoded import Decoded, standard
from scratchvae.types import Array

RNG = np.random.default_rng(41)
ARCH, ARENA = small_vae(columns=3, hidden=(4,))
THETA = ARCH.nets(ARENA.views)[1]
X, Z = data(3, 3), RNG.standard_normal((2, 3, 2))
W = RNG.standard_normal((2, 3))
MODEL: Any = Decoded()


def by_hand(z: Array, theta: Net) -> Array:
    """log p(x | z) of bits, without a line of ours."""
    h = np.tanh(z @ theta.hidden[0].W + theta.hidden[0].b)
    p = special.expit(h @ theta.heads[0].W + theta.heads[0].b)
    return np.asarray(stats.bernoulli.logpmf(X, p)).sum(axis=-1)


def log_prior(z: Array) -> Array:
    return np.asarray(stats.norm.logpdf(z))


def test_densities() -> None:
    """Catches a prior that is lost or counted twice, and x and z exchanged."""
    close(MODEL.log_likelihood(X, Z, THETA), by_hand(Z, THETA))
    close(MODEL.log_joint(X, Z, THETA), by_hand(Z, THETA) + log_prior(Z).sum(axis=-1))
    close(standard(Z).log_prob(Z), log_prior(Z).sum(axis=-1))
    assert standard(Z).mu.shape == standard(Z).log_var.shape == (2,)
    single = standard(Z[0].astype(np.float32))
    assert (single.mu.shape, single.mu.dtype) == ((2,), np.dtype("float32"))


@pytest.mark.parametrize("name", ["log_likelihood", "log_joint"])
def test_vjps(name: str) -> None:
    """Catches −z of the prior with the wrong sign or without its weight, and a θ that is not added to."""
    f, vjp, gradient = getattr(MODEL, name), getattr(MODEL, name + "_vjp"), ARENA.like()
    dtheta = ARCH.nets(gradient.views)[1]
    dz = vjp(W, X, Z, THETA, dtheta)
    close(dz, slopes(lambda z: f(X, z, THETA), Z, W))
    exact = slopes(lambda flat: f(X, Z, nets_at(ARCH, flat)[1]), ARENA.flat, W)
    close(gradient.flat, exact)
    vjp(W, X, Z, THETA, dtheta)
    close(gradient.flat, 2 * exact)
    np.testing.assert_array_equal(vjp(W, X, Z, THETA, None), dz)  # a θ that is not learned costs nothing


def test_factors() -> None:
    """Catches a factor left out or in the wrong place: they sum to log p(x, z), and a blanket sees what moves."""
    factors = MODEL.log_factors(X, Z, THETA)
    close(factors[..., 0], by_hand(Z, THETA))
    close(factors[..., 1:], log_prior(Z))
    for k, blanket in enumerate(MODEL.blankets(2)):
        moved = Z.copy()
        moved[..., k] += 1
        change = MODEL.log_factors(X, moved, THETA) - factors
        assert ((np.abs(change) > 1e-9).all(axis=(0, 1)) == blanket).all()
    assert MODEL.blankets(2).dtype == bool


def test_the_table_is_passed_down() -> None:
    """Catches a model that takes kernels and does not use them."""
    calls: list[str] = []

    def spied(name: str) -> Any:
        def kernel(*args: Array) -> Any:
            calls.append(name)
            return getattr(table("numpy"), name)(*args)

        return kernel

    names = ("dense", "tanh", "bernoulli_log_prob", "normal_log_prob", "bernoulli_log_prob_vjp", "dense_vjp_x")
    model: Any = Decoded(table("numpy")._replace(**{name: spied(name) for name in names}))
    model.log_joint(X, Z, THETA)
    assert calls == ["normal_log_prob", "dense", "tanh", "dense", "bernoulli_log_prob"]
    calls.clear()
    model.log_joint_vjp(W, X, Z, THETA, ARCH.nets(ARENA.like().views)[1])
    assert calls == ["dense", "tanh", "dense", "bernoulli_log_prob_vjp", "dense_vjp_x", "dense_vjp_x"]
