"""§7.1.2 Mean field: gaps in closed form, numbers by hand, bounds that never fall, below enumeration."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from scratchvae.classical import mean_field as mf
from scratchvae.classical.mean_field import Factor
from scratchvae.errors import DataError, UsageError
from scratchvae.models import linear_gaussian
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.models.sigmoid_belief import SigmoidBelief, Theta
from scratchvae.networks import Dense
from scratchvae.tasks import exact
from scratchvae.types import Array

B, D, K = 3, 5, 4
seeds = given(seed=st.integers(0, 10_000))
few = settings(max_examples=15, deadline=None)


def network(seed: int, strength: float = 2.0) -> tuple[Array, Theta, Array]:
    """Rows of bits, a sigmoid belief network, and a q to start from."""
    rng = np.random.default_rng(seed)
    theta = Theta(rng.normal(size=K), Dense(strength * rng.normal(size=(K, D)), rng.normal(size=D)))
    return (rng.random((B, D)) < 0.5) * 1.0, theta, rng.uniform(0.05, 0.95, (B, K))


def log_joint_of(theta: Theta) -> exact.LogJoint:
    return lambda x, z: SigmoidBelief().log_joint(x, z, theta)


def spins(seed: int, strength: float = 1.0, latents: int = 5) -> tuple[Array, Array, Array]:
    """Fields, couplings and means of an Ising model."""
    rng = np.random.default_rng(seed)
    J = strength * np.triu(rng.normal(size=(latents, latents)), 1)
    return rng.normal(size=(B, latents)), J + J.T, rng.uniform(-0.9, 0.9, (B, latents))


# --- Gaussian posteriors ----------------------------------------------------------------------------


def test_a_gaussian_posterior_has_its_means_and_the_gap_of_its_precision() -> None:
    """Catches a sweep that solves another system, and a gap that is not log p(x) less the bound, both of which the
    linear-Gaussian model has in closed form."""
    rng = np.random.default_rng(0)
    theta = LinearGaussian(rng.normal(size=(K, D)), rng.normal(size=D), np.array([0.4]))
    x = rng.normal(size=(B, D))
    mean, cov = theta.posterior(x)
    precision = np.linalg.inv(cov)
    h, m = mean @ precision, rng.normal(size=(B, K))
    bounds = []
    for _ in range(400):
        bounds.append(linear_gaussian.elbo_diag(x, m, np.tile(-np.log(np.diag(precision)), (B, 1)), theta))
        m = mf.sweep(mf.gaussian, m, h, precision)
    np.testing.assert_allclose(m, mean, atol=1e-12)
    assert (np.diff(bounds, axis=0) > -1e-12).all()
    gap = theta.log_marginal(x) - bounds[-1]
    np.testing.assert_allclose(gap, mf.gaussian_gap(precision), rtol=0, atol=1e-12)
    assert mf.gaussian_gap(precision) > 0.1
    assert mf.gaussian_gap(np.diag([1.0, 4.0])) == 0
    np.testing.assert_array_equal(mf.sweep(mf.gaussian, m, h, precision, order=())[0], m[0])


def test_a_sweep_takes_the_newest_of_the_others_and_leaves_its_argument() -> None:
    """Catches Jacobi's way under Gauss and Seidel's name, another order than the one asked for, a q written over."""
    h, precision = np.array([[1.0, 0.0]]), np.array([[1.0, 0.5], [0.5, 1.0]])
    m = np.zeros((1, 2))
    np.testing.assert_array_equal(mf.sweep(mf.gaussian, m, h, precision), [[1.0, -0.5]])
    np.testing.assert_array_equal(mf.sweep(mf.gaussian, m, h, precision, order=(1, 0)), [[1.0, 0.0]])
    np.testing.assert_array_equal(mf.parallel(mf.gaussian, m, h, precision), [[1.0, 0.0]])
    np.testing.assert_array_equal(m, 0)


# --- bits by factors --------------------------------------------------------------------------------


OR = [
    Factor((0,), np.log([[0.9], [0.1]])),
    Factor((1,), np.log([[0.9], [0.1]])),
    Factor((0, 1), np.array([[[-np.inf], [0.0]], [[0.0], [0.0]]])),  # x = z₀ or z₁, and x = 1 was seen
]


def test_explaining_away_in_three_numbers() -> None:
    """Catches 0 · log 0 as NaN, and another end: log p = ln 0.19, and the bound ends at ln 0.1 from either side,
    ln 1.9 below, with one cause sure and the other as it was before x was seen."""
    log_p = np.log(1 - 0.9 * 0.9)
    for order, end in (((0, 1), [1, 0.1]), ((1, 0), [0.1, 1])):
        q = mf.sweep(mf.bit, np.full((1, 2), 0.5), OR, order=order)
        for _ in range(3):
            np.testing.assert_allclose(q, [end], rtol=0, atol=1e-15)
            L = mf.bound(q, OR)
            np.testing.assert_allclose(L, np.log(0.1), rtol=0, atol=1e-15)
            np.testing.assert_allclose(log_p - L, np.log(1.9), rtol=0, atol=1e-14)
            q = mf.sweep(mf.bit, q, OR, order=order)
    assert mf.bound(np.full((1, 2), 0.5), OR) == -np.inf


@few
@seeds
def test_the_exact_update_is_the_best_and_stays_below_log_p(seed: int) -> None:
    """Catches an axis that is another latent's, an expectation under the wrong q, a bound that falls or is too high."""
    x, theta, q = network(seed)
    factors, points = mf.belief(x, theta), exact.bits(K, B)
    log_p = exact.posterior(log_joint_of(theta), x, points).log_marginal
    found = [mf.bound(q, factors)]
    for i in (2, 0, 3, 1):
        q = mf.sweep(mf.bit, q, factors, order=(i,))
        found.append(mf.bound(q, factors))
        for other in (0.9 * q[:, i], 0.1 + 0.9 * q[:, i]):
            assert (mf.bound(np.where(np.arange(K) == i, other[:, None], q), factors) < found[-1]).all()
    assert (np.diff(found, axis=0) > -1e-12).all()
    assert (found[-1] <= log_p + 1e-12).all()


def test_factors_are_the_network_and_the_bound_is_its_definition() -> None:
    """Catches states in another order than the axes: Σ_z q(z) (log p(x, z) − log q(z)) by enumeration."""
    x, theta, q = network(1)
    points = exact.bits(K, B)
    z = points.z()
    log_p = SigmoidBelief().log_joint(x, z, theta)
    weight = np.prod(np.where(z == 1, q, 1 - q), axis=-1)
    expected = (weight * (log_p - np.log(weight))).sum(axis=0)
    np.testing.assert_allclose(mf.bound(q, mf.belief(x, theta)), expected, rtol=1e-12)
    i, others = 2, np.prod(np.delete(np.where(z == 1, q, 1 - q), 2, axis=-1), axis=-1)
    logit = (np.where(z[..., i] == 1, 1, -1) * others * log_p).sum(axis=0)
    np.testing.assert_allclose(mf.bit(q, i, mf.belief(x, theta)), special.expit(logit), rtol=1e-12)
    with pytest.raises(UsageError, match="1 to 16"):
        mf.belief(x, Theta(np.zeros(17), Dense(np.zeros((17, D)), np.zeros(D))))


def test_only_the_blanket_counts() -> None:
    """Catches an update that reads a factor which does not hold the latent, or forgets one that does."""
    rng = np.random.default_rng(3)
    chain = [Factor((i, i + 1), rng.normal(size=(2, 2, 1))) for i in range(3)]
    q = rng.uniform(0.1, 0.9, (B, 4))
    before = mf.bit(q, 0, chain)
    moved = q.copy()
    moved[:, 2:] = 0.5
    np.testing.assert_array_equal(mf.bit(moved, 0, chain), before)
    moved[:, 1] = 0.5
    assert (mf.bit(moved, 0, chain) != before).all()
    f, g = chain[0].log_value[..., 0], chain[1].log_value[..., 0]
    by_hand = (f[:, 1] - f[:, 0]) @ [1 - q[0, 0], q[0, 0]] + (g[1] - g[0]) @ [1 - q[0, 2], q[0, 2]]
    np.testing.assert_allclose(mf.bit(q, 1, chain)[0], special.expit(by_hand), rtol=1e-14)


def test_what_is_impossible_is_no_nan() -> None:
    """Catches ∞ − ∞: states that are impossible either way do not count, and a contradiction is told in one line."""
    both = [Factor((0, 1), np.array([[[-np.inf], [-np.inf]], [[-np.inf], [0.0]]]))]  # z₀ and z₁
    np.testing.assert_array_equal(mf.sweep(mf.bit, np.full((1, 2), 0.5), both), 1)
    some = [Factor((0, 1), np.array([[[-np.inf], [0.0]], [[-np.inf], [np.log(4)]]]))]  # z₁, and then z₀ or not
    np.testing.assert_allclose(mf.bit(np.full((1, 2), 0.5), 0, some), 2 / 3)  # half of ln 4, from z₁ = 1 alone
    either = [Factor((0, 1), np.array([[[-np.inf], [0.0]], [[0.0], [-np.inf]]]))]  # one of the two, not both
    with pytest.raises(DataError, match="z_0 must be both 0 and 1"):
        mf.bit(np.full((1, 2), 0.5), 0, either)
    np.testing.assert_array_equal(mf.sweep(mf.bit, np.array([[0.5, 0.0]]), either), [[1, 0]])


# --- pairs ------------------------------------------------------------------------------------------


@few
@seeds
def test_ising_is_the_general_update_of_its_pairs(seed: int) -> None:
    """Catches a factor 2 between bits and spins, and a bound that is not below log Z by enumeration or that falls."""
    h, J, m = spins(seed)
    n = h.shape[1]
    s = 2 * exact.bits(n, 1).unit - 1
    log_z = special.logsumexp(h @ s.T + 0.5 * np.einsum("mi,ij,mj->m", s, J, s), axis=1)
    ends = np.array([-1.0, 1.0])
    pairs = [Factor((i,), np.multiply.outer(ends, h[:, i])) for i in range(n)]
    pairs += [Factor((i, j), J[i, j] * np.multiply.outer(ends, ends)[..., None]) for i in range(n) for j in range(i)]
    found = [mf.ising_bound(m, h, J)]
    np.testing.assert_allclose(found[0], mf.bound(0.5 * (1 + m), pairs), rtol=1e-12, atol=1e-12)
    for _ in range(4):
        for i in range(n):
            np.testing.assert_allclose(mf.ising(m, i, h, J), 2 * mf.bit(0.5 * (1 + m), i, pairs) - 1, atol=1e-13)
            m = mf.sweep(mf.ising, m, h, J, order=(i,))
            found.append(mf.ising_bound(m, h, J))
    assert (np.diff(found, axis=0) > -1e-12).all()
    assert (found[-1] <= log_z + 1e-12).all()


def test_all_at_once_swings_for_strong_couplings() -> None:
    """Catches a parallel sweep that is taken for ascent: two spins coupled by J = 2 change sides for ever and the bound
    falls; one after the other they settle, in a step or two; at J = ½ both ways end alike."""
    h, m = np.zeros((1, 2)), np.array([[0.9, -0.5]])
    J = np.array([[0.0, 2.0], [2.0, 0.0]])
    path = [m]
    for _ in range(60):
        path.append(mf.parallel(mf.ising, path[-1], h, J))
    assert (path[-1] * path[-2] < -0.9).all()  # each spin has changed its sign
    np.testing.assert_allclose(path[-1], path[-3], atol=1e-12)  # a cycle of two
    assert mf.ising_bound(path[-1], h, J) < mf.ising_bound(m, h, J)
    settled = m
    for _ in range(60):
        settled = mf.sweep(mf.ising, settled, h, J)
    np.testing.assert_allclose(mf.sweep(mf.ising, settled, h, J), settled, atol=1e-14)
    assert abs(settled).min() > 0.9
    assert mf.ising_bound(settled, h, J) > mf.ising_bound(m, h, J) + 1
    weak = m
    for _ in range(100):
        weak = mf.parallel(mf.ising, weak, h, J / 4)
    np.testing.assert_allclose(weak, 0, atol=1e-12)


# --- Saul, Jaakkola & Jordan ------------------------------------------------------------------------


@few
@seeds
def test_saul_s_bound_never_falls_and_stands_below_the_exact_one(seed: int) -> None:
    """Catches a ξ or a q that makes it worse, a term on the wrong side of Jensen, a prior that is left out: below the
    mean-field bound at the same q, which is below log p(x) by enumeration."""
    x, theta, q = network(seed)
    factors = mf.belief(x, theta)
    log_p = exact.posterior(log_joint_of(theta), x, exact.bits(K, B)).log_marginal
    xi = np.full((B, D), 0.5)
    found = [mf.saul_bound(q, xi, x, theta)]
    for _ in range(3):
        for i in range(K):
            q = mf.sweep(mf.saul, q, xi, x, theta, order=(i,))
            found.append(mf.saul_bound(q, xi, x, theta))
        xi = mf.saul_xi(q, theta)
        found.append(mf.saul_bound(q, xi, x, theta))
        assert (found[-1] <= mf.bound(q, factors) + 1e-12).all()
    assert (np.diff(found, axis=0) > -1e-12).all()
    assert (mf.bound(q, factors) <= log_p + 1e-12).all()


def test_saul_s_terms_are_their_expectations_and_their_slopes() -> None:
    """Catches a product over parents that is another expectation: E e^(ta) by enumeration, its slope by complex step;
    and at a q that is sure of every latent the bound is log p(x, z) itself, whatever ξ."""
    x, theta, q = network(5)
    xi = np.random.default_rng(6).uniform(size=(B, D))
    z = exact.bits(K, B).z()
    weight = np.prod(np.where(z == 1, q, 1 - q), axis=-1)[..., None]
    a = z @ theta.decoder.W + theta.decoder.b
    for t in (-xi, 1 - xi):
        np.testing.assert_allclose(
            mf.log_mean_exp(t, q, theta), np.log((weight * np.exp(t * a)).sum(axis=0)), rtol=1e-12
        )
        slope = mf.log_mean_exp(t + 1e-30j, q, theta).imag / 1e-30
        np.testing.assert_allclose(mf.tilted_mean(t, q, theta), slope, rtol=1e-12)
    sure = (q > 0.5) * 1.0
    expected = SigmoidBelief().log_joint(x, sure[None], theta)[0]
    np.testing.assert_allclose(mf.saul_bound(sure, xi, x, theta), expected, rtol=1e-12)
    strong = theta._replace(decoder=Dense(60 * theta.decoder.W, theta.decoder.b))
    expected = SigmoidBelief().log_joint(x, sure[None], strong)[0]
    np.testing.assert_allclose(mf.saul_bound(sure, xi, x, strong), expected, rtol=1e-12)


def test_xi_is_the_best_one() -> None:
    """Catches halving towards the wrong side: SciPy's own search over [0, 1] for each pixel finds the same ξ."""
    x, theta, q = network(7)
    xi = mf.saul_xi(q, theta)
    assert ((xi > 0) & (xi < 1)).all()
    for b, d in np.ndindex(2, D):

        def less(value: float, b: int = b, d: int = d) -> float:
            moved = xi.copy()
            moved[b, d] = value
            return -float(mf.saul_bound(q, moved, x, theta)[b])

        best = optimize.minimize_scalar(less, bounds=(0, 1), method="bounded", options={"xatol": 1e-9})
        assert abs(best.x - xi[b, d]) < 1e-6
    other: Any = mf.saul_xi(q, theta._replace(prior=theta.prior + 1))
    np.testing.assert_array_equal(other, xi)


def test_saul_s_step_is_the_slope_at_the_old_q() -> None:
    """Catches a tangent taken elsewhere: logit q_i is the slope of the bound without its entropy, at the old q."""
    x, theta, q = network(8)
    xi = mf.saul_xi(q, theta)
    for i in range(K):
        np.testing.assert_array_equal(mf.saul(q, i, xi, x.astype(np.uint8), theta), mf.saul(q, i, xi, x, theta))
        moved = [q.copy(), q.copy()]
        for part, sign in zip(moved, (1, -1), strict=True):
            part[:, i] += sign * 1e-6
        up, down = (mf.saul_bound(part, xi, x, theta) - mf.entropy(part) for part in moved)
        np.testing.assert_allclose(special.logit(mf.saul(q, i, xi, x, theta)), (up - down) / 2e-6, rtol=1e-6, atol=1e-6)
