"""§7.2.5 Where one formula hands over to another: both must hold at the switch, to the digits that they promise.

A switch moved far enough to lose digits on either side is seen here, and by few tests of distributions.
"""

import math

import numpy as np
import pytest
from scipy import special

from scratchvae.distributions import curves, levels, saddle
from scratchvae.distributions.counts import step
from scratchvae.distributions.gaussians import RankOne
from scratchvae.reparam import beta, gamma, student_t, von_mises
from scratchvae.types import Array


def near(got: Array, wanted: Array, tolerance: float) -> None:
    """Relative."""
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=0)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_gamma_far_from_its_mode(side: float) -> None:
    """The expansion in 1/α as far out as it is used, by the series below α and the fraction above."""
    alpha = np.array([1.001, 3, 30]) * gamma.LARGE
    log_z = np.log(alpha) + side * gamma.NEAR
    other = gamma._series if side < 0 else gamma._fraction
    with np.errstate(all="ignore"):
        near(gamma._near_mode(alpha, log_z), other(alpha, log_z), 1e-11)


def test_beta_of_large_shapes() -> None:
    """Two terms of the expansion at the least shapes for which they are used, by the fraction."""
    a, b = beta.LARGE * np.array([1.01, 1.01, 30.0]), beta.LARGE * np.array([1.01, 3.0, 1.01])
    logit = np.log(a / b) - 2 / np.sqrt(b)
    near(beta._large(a, b, logit), beta._lower(a, b, logit)[0], 1e-10)


def test_von_mises_spread() -> None:
    """1 − A(κ) by its series, 1/2κ + 1/8κ² + …: catches a difference of what is nearly 1."""
    for kappa in (1e3, 5e3, 9e4):
        wanted = (
            1 / (2 * kappa) + 1 / (8 * kappa**2) + 1 / (8 * kappa**3) + 25 / (128 * kappa**4) + 13 / (32 * kappa**5)
        )
        near(von_mises.spread(np.array(kappa)), np.array(wanted), 2e-15)


def test_von_mises_at_pi() -> None:
    """A few floats below π the slope is −(1 + A)(π − z), with the true π: its float is 1.2e-16 too small."""
    kappa, gap = np.array([0.1, 1.0, 3.0]), np.array([1.0, 2.0, 4.0]) * 2.0**-51
    a = special.i1e(kappa) / special.i0e(kappa)
    near(von_mises.slope(kappa, np.pi - gap), -(1 + a) * (gap + 1.2246467991473532e-16), 1e-6)


def test_student_t_of_many_degrees() -> None:
    """∂z/∂ν by Cornish and Fisher's expansion in 1/ν: catches a difference that loses what it is to give."""
    x, nu = np.array([0.1, 1.0, 2.0]), 6000.0
    order = [(x**3 + x) / 4, (5 * x**5 + 16 * x**3 + 3 * x) / 96, (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384]
    z = x + sum(g / nu**n for n, g in enumerate(order, 1))
    near(student_t.slope(np.full(3, nu), z), -sum(n * g / nu ** (n + 1) for n, g in enumerate(order, 1)), 2e-10)


def test_student_t_of_six_degrees() -> None:
    """Both forms at the switch."""
    nu, z = np.full(4, student_t.SMALL), np.array([0.1, 0.7, 2.0, 20.0])
    near(student_t.slope(nu, z), student_t._slope_by_integral(nu, z), 1e-11)


def test_stirlings_series() -> None:
    """Its three curves at the least argument that they are used for."""
    a = np.array(curves.FAR)
    near(curves.rest(a), special.gammaln(a) - a * np.log(a) + a, 2e-14)
    near(curves.rest_slope(a), special.psi(a) - np.log(a), 2e-13)
    near(curves.rest_bend(a), special.zeta(2.0, a) - 1 / a, 2e-12)


def test_bessels_series() -> None:
    """ρ of large κ, and its slope by Riccati, at the least κ that they are used for."""
    kappa = np.array(curves.LARGE)
    r, bend = curves.bessel_ratio(kappa)
    rho = special.i1e(kappa) / special.i0e(kappa)
    near(r * kappa, rho, 2e-15)
    near(bend, 1 - rho / kappa - rho * rho, 2e-12)


def test_a_bin_between_narrow_and_wide() -> None:
    """P of a centred bin is tanh(δ/4): catches log(1 − e^−δ) by the form that rounds."""
    delta = np.array([1e-9, 1e-5, 1e-3, 0.5, 0.9, 5, 20, 36.0])
    got = levels.logistic(np.ones(8), np.ones(8), -np.log(delta), 3)
    tanh = np.where(delta < 1, np.log(np.tanh(delta / 4)), np.log1p(-2 / (np.exp(delta / 2) + 1)))
    near(got, tanh, 1e-14)


def test_excess_of_little() -> None:
    """e^y − 1 − y by its own series: catches a difference from |y| = 1e-3 on."""
    y = np.geomspace(1e-4, 0.99, 9)
    y = np.concatenate([y, -y])
    wanted = [math.fsum(float(v) ** n / math.factorial(n) for n in range(2, 30)) for v in y]
    near(saddle.excess(np.zeros_like(y), y), np.array(wanted), 1e-15)


def test_step_of_a_count() -> None:
    """θ (ψ(1 + θ) − ψ(θ) − log(1 + 1/θ)) = 1/2θ − 1/3θ² + …: catches its two parts taken apart."""
    theta = np.array([11.0, 100.0, 9000.0])
    wanted = [math.fsum((-1) ** n / (n * t ** (n - 1)) for n in range(2, 30)) for t in theta]
    near(step(np.ones(3), np.log(theta), np.log1p(theta)), np.array(wanted), 1e-13)


def test_the_entropy_of_a_rank_one_precision() -> None:
    """Its slopes by differences: catches −η v for its negative, or log D without its half."""
    g = np.random.default_rng(2)
    q, w = RankOne(*g.standard_normal((3, 4, 3))), np.array([1.0, -2.0, 0.5, 0.3])
    slopes = q.entropy_vjp(w)
    for i, h in enumerate(q):
        v = g.standard_normal(h.shape)
        up, down = (q._replace(**{q._fields[i]: h + s * v}).entropy() for s in (1e-5, -1e-5))
        assert abs((slopes[i] * v).sum() - w @ (up - down) / 2e-5) < 1e-8
