"""§7.2.5 Heads and families: which distribution a network's outputs describe, and the way back to them."""

import copy
import math
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from oracles import close, slopes
from scipy import special

from scratchvae.conditional import (
    HEADS,
    Family,
    Net,
    Standardised,
    floored,
    floored_vjp,
    from_heads,
    from_heads_vjp,
    mean_of,
    net,
    net_vjp,
)
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.errors import UsageError
from scratchvae.networks import Dense, Layer
from scratchvae.tree import transform
from scratchvae.types import Array

RNG = np.random.default_rng(3)
A, B = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))
VARIANCE = 0.3
X, X3 = RNG.standard_normal((3, 4)), RNG.standard_normal((2, 3, 4))


def draw_net(family: str, depth: int, zero: bool = False) -> Net:
    """4 -> 5 … 5 -> two outputs a head."""
    rng, sizes = np.random.default_rng(9), [4, *[5] * depth]
    scale = 0.0 if zero else 0.5

    def layer(i: int, o: int) -> Dense:
        return Dense(scale * rng.standard_normal((i, o)), scale * rng.standard_normal(o))

    hidden = tuple(layer(i, o) for i, o in pairwise(sizes))
    return Net(hidden, tuple(layer(sizes[-1], 2) for _ in HEADS[family]), "tanh", Family(family, VARIANCE))


def parameters(p: Net) -> list[Array]:
    return [array for layer in (*p.hidden, *p.heads) for array in (layer.W, layer.b)]


def numbers(dist: Normal | Bernoulli) -> Array:
    """Everything that the distribution is, in one array, so that no part can be lost on the way back."""
    return np.stack(tuple(dist))


def test_what_the_heads_mean() -> None:
    """Catches a floor that is added to the standard deviation, a mean that skipped its sigmoid, swapped heads."""
    logits = from_heads([A], Family("bernoulli"))
    assert isinstance(logits, Bernoulli)
    close(logits.logits, A, 0)
    cases: dict[str, tuple[Array, Array]] = {
        "normal": (A, B),
        "gaussian": (A, np.log(np.exp(B) + VARIANCE)),
        "gaussian-sigmoid": (special.expit(A), np.log(np.exp(B) + VARIANCE)),
        "gaussian-fixed": (A, np.full((4, 3), np.log(VARIANCE))),
    }
    for name, (mu, log_var) in cases.items():
        p = from_heads([A, B][: len(HEADS[name])], Family(name, VARIANCE))
        assert isinstance(p, Normal)
        close(p.mu, mu)
        close(p.log_var, log_var)


def test_the_floor_is_a_floor() -> None:
    """Catches a clamp and an overflow: σ² ≥ floor at any output, σ² = e^a far above it, and a slope in between."""
    log_var = floored(np.array([-1e4, -10.0, 0.0, 50.0, 1e4]), VARIANCE)
    close(log_var[[0, 4]], np.array([math.log(VARIANCE), 1e4]), 1e-15)
    assert log_var[3] == pytest.approx(50)
    slope = floored_vjp(np.ones(5), log_var, VARIANCE)
    assert 0 < slope[1] < slope[2] < slope[3] <= 1
    close(floored_vjp(A, floored(B, VARIANCE), VARIANCE), slopes(lambda v: floored(v, VARIANCE), B, A))


@pytest.mark.parametrize("family", HEADS)
def test_from_heads_vjp(family: str) -> None:
    """Catches the stray y (1 − y) that y0ast put on the log-variance, and a cotangent given to the wrong head."""
    outs, f = [A, B][: len(HEADS[family])], Family(family, VARIANCE)
    dist = from_heads(outs, f)
    weights = RNG.standard_normal((len(dist), 4, 3))
    douts = from_heads_vjp(type(dist)(*weights), dist, f)
    assert len(douts) == len(outs)
    for i, dout in enumerate(douts):

        def of_head(v: Array, i: int = i) -> Array:
            return numbers(from_heads([*outs[:i], v, *outs[i + 1 :]], f))

        close(dout, slopes(of_head, outs[i], weights))


@pytest.mark.parametrize("x", [X, X3], ids=["rows", "samples"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("family", HEADS)
def test_net_vjp(family: str, depth: int, x: Array) -> None:
    """Catches the path from the variance head to the hidden layer forgotten (y0ast), and = where += was meant."""
    p, dp = draw_net(family, depth), draw_net(family, depth, zero=True)
    dist, hs = net(x, p)
    weights: Any = RNG.standard_normal((len(dist), *dist[0].shape))
    dx = net_vjp(type(dist)(*weights), dist, hs, p, dp)
    assert dx is not None
    close(dx, slopes(lambda v: numbers(net(v, p)[0]), x, weights))
    arrays = parameters(p)
    for array, got in zip(arrays, parameters(dp), strict=True):

        def of_array(v: Array, array: Array = array) -> Array:
            return numbers(net(x, swapped(p, array, v))[0])

        close(got, slopes(of_array, array, weights))
    once = [d.copy() for d in parameters(dp)]
    net_vjp(type(dist)(*weights), dist, hs, p, dp, need_dx=False)  # adds the same again, whatever it returns
    for got, first in zip(parameters(dp), once, strict=True):
        close(got, 2 * first)


def swapped(p: Net, old: Array, new: Array) -> Net:
    """The net with one array replaced."""

    def layers(ps: tuple[Layer, ...]) -> tuple[Layer, ...]:
        return tuple(Dense(*(new if array is old else array for array in (p.W, p.b))) for p in ps)

    return p._replace(hidden=layers(p.hidden), heads=layers(p.heads))


def test_dx_of_the_data_is_spared() -> None:
    """Catches the product of the first layer computed for nobody: a tenth of the step."""
    for depth in (0, 2):
        p, dp = draw_net("normal", depth), draw_net("normal", depth, zero=True)
        dist, hs = net(X, p)
        assert net_vjp(dist, dist, hs, p, dp, need_dx=False) is None
        assert net_vjp(dist, dist, hs, p, None, need_dx=False) is None  # nothing is asked for
        np.testing.assert_array_equal(net_vjp(dist, dist, hs, p, None), net_vjp(dist, dist, hs, p, dp))


def test_densities_of_standardised_columns() -> None:
    """log p(x) = log p(x') − Σ log s, with gaps Σ over what is seen. Catches a unit lost, or counted otherwise."""
    unit, z, seen = np.array([0.3, -1.0, 2.0]), A + 0.2, np.array([[1.0, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    p, plain = from_heads([A, B], Family("gaussian", VARIANCE, unit)), from_heads([A, B], Family("gaussian", VARIANCE))
    close(p.log_prob(z), plain.log_prob(z) - 1.3)
    close(p.log_prob_observed(z, seen), plain.log_prob_observed(z, seen) - np.array([2.3, 2.0, 1.3, 0]))
    single = Standardised(A.astype("float32"), B.astype("float32"), unit)
    assert single.log_prob_observed(z.astype("float32"), seen.astype("float32")).dtype == np.float32


def test_the_mean_of_either_kind() -> None:
    """Catches logits, or a row of log σ², for a mean."""
    assert mean_of(Normal(A, B)) is A
    np.testing.assert_array_equal(mean_of(Bernoulli(A)), Bernoulli(A).mean)


def test_unknown_family_is_refused() -> None:
    """Catches a typing error that gets any further than the first use."""
    with pytest.raises(UsageError, match="likelihood 'poison' is unknown: give one of bernoulli, gaussian"):
        _ = Family("poison").heads


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda p: pickle.loads(pickle.dumps(p)),
    "transform": lambda p: transform(lambda _, leaf: leaf.copy(), p),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_keeps_the_unit_of_its_columns(name: str) -> None:
    """Catches a TypeError for whoever copies, sends or checks the gradient of a decoder's p(x | z)."""
    p = Standardised(A, B, np.array([1.0, -2.0, 0.5]))
    same = COPIES[name](p)
    assert isinstance(same, Standardised)
    np.testing.assert_array_equal(same.log_prob(A - B), p.log_prob(A - B))


def test_a_family_by_its_name() -> None:
    """Catches heads that are taken for the distribution, and cotangents that do not come back to them."""
    outs = [np.log([[2.0, 3.0]])]
    p = from_heads(outs, Family("poisson"))
    np.testing.assert_allclose(p.mean, [[2, 3]])
    _, dp = p.log_prob_vjp(np.ones(1), np.array([[5.0, 1.0]]))
    np.testing.assert_allclose(from_heads_vjp(dp, p, Family("poisson"))[0], [[3, -2]])
