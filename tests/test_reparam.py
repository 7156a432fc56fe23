"""§7.2.4 Samples of gamma, beta, von Mises and Student-t, and their slopes by the shapes: figures, mpmath, and laws.

The figures are of 50-digit arithmetic, and know nothing of the formulas under test.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special, stats

from scratchvae.reparam import beta, gamma, student_t, von_mises
from scratchvae.types import Array

Function = Callable[..., Any]
GRID = (np.arange(20_000) + 0.5) / 20_000  # u by its quantiles


def gamma_slope(alpha: Any, z: Any) -> Array:
    """dz/dα."""
    return np.asarray(z) * gamma.log_slope(np.asarray(alpha), np.log(z))


def beta_slopes(a: Any, b: Any, x: Any) -> Array:
    """(dx/da, dx/db) along the first axis."""
    x = np.asarray(x)
    return np.stack([s * x * (1 - x) for s in beta.logit_slopes(np.asarray(a), np.asarray(b), special.logit(x))])


def off(got: Any, right: Any) -> float:
    """The worst relative error."""
    return float(np.max(np.abs(np.asarray(got) / np.asarray(right) - 1)))


# --- figures ----------------------------------------------------------------------------------------------------------

GAMMA = [
    (0.001, 1e-300, 6.901999559664034e-295), (0.001, 13.5, 938.08959329379121), (0.01, 1e-30, 6.8516667331952696e-27),
    (0.5, 3, 2.9129424164403646), (5, 40, 2.4480486867429159), (3, 0.79999, 0.50586574940281739),
    (3, 0.80001, 0.50587349187192629), (8, 8, 1.021074394151715), (8.0001, 8, 1.0210677445929761),
    (9, 8.1, 0.96596952671658565), (1000, 1100, 1.0485866785616168), (1e4, 1e4, 1.0000166668333238),
    (1e6, 1001000, 1.0005000001666001),
]  # fmt: skip
BETA = [
    (2, 3, 0.4, 0.13939200005066932, -0.090477046535647438),
    (0.01, 0.01, 1e-30, 1.1906145664240888e-26, -5.0016096147412495e-27),
    (0.5, 0.5, 0.999, 0.0027709974227853679, -0.015037461059376413),
    (1000, 1000, 0.51, 0.00024751652655435473, -0.00025251677608743018),
    (0.1, 20, 0.2, 0.41502648595050958, -0.0091214327660074361),
    (50, 80, 0.3, 0.004770635995257352, -0.0024712040414025428),
]
VON_MISES = [
    (1e-8, 1, -0.84147098253465293), (1, 2, -0.95981686978119323), (10, 0.5, -0.026300725085726475),
    (1000, 0.05, -2.5011471114795041e-5), (5, 3.1, -0.078512231778167206),
]  # fmt: skip
STUDENT = [
    (0.5, 10, -51.785771974198607), (3, -2, 0.22597479198727924), (30, 1.5, -0.0013412061385668592),
    (1000, 4, -1.692063076003539e-5),
]  # fmt: skip


@pytest.mark.parametrize(("alpha", "z", "right"), GAMMA)
def test_gamma_slope_at_nasty_points(alpha: float, z: float, right: float) -> None:
    """Catches torch's jumps at z = 0.8 and α = 8 and its 6 % at (0.001, 13.5); the fraction where the series belongs."""
    assert off(gamma_slope(alpha, z), right) <= 1e-13


@pytest.mark.parametrize(("a", "b", "x", "by_a", "by_b"), BETA)
def test_beta_slopes_at_nasty_points(a: float, b: float, x: float, by_a: float, by_b: float) -> None:
    """Catches a and b exchanged without the sign, and a sum hₙ that is one term off."""
    assert off(beta_slopes(a, b, x), [by_a, by_b]) <= 1e-13


@pytest.mark.parametrize(("kappa", "z", "right"), VON_MISES)
def test_von_mises_slope_at_nasty_points(kappa: float, z: float, right: float) -> None:
    """Catches the tail's integral taken with the middle's sign, and 1 − A(κ) by subtraction."""
    assert off(von_mises.slope(np.array(kappa), np.array(z)), right) <= 1e-13


@pytest.mark.parametrize(("nu", "z", "right"), STUDENT)
def test_student_slope_at_nasty_points(nu: float, z: float, right: float) -> None:
    """Catches a slope that cancels for large ν, and one that is even in z."""
    assert off(student_t.slope(np.array(nu), np.array(z)), right) <= 1e-13
