"""§7.2.4 Kingma & Welling's list of §2.4: every z = g(u) is scipy's quantile, every slope that of g.

A map that is not the inverse CDF has slopes that agree with it: only the first test sees it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracles import close, slopes
from scipy import stats

from scratchvae.reparam import inverse_cdf as g
from scratchvae.types import Array

Function = Callable[..., Any]
U = (np.arange(24) + 0.5) / 24
ENDS = np.array([2.0**-40, 1e-9, 0.25, 0.5, 0.75, 1 - 2.0**-40])
A, B = np.linspace(0.3, 2.9, 24), np.linspace(4.5, 3.1, 24)
C = A + (B - A) * np.linspace(0.05, 0.95, 24)

STANDARD: dict[str, tuple[Function, Any]] = {
    "cauchy": (g.standard_cauchy, stats.cauchy),
    "logistic": (g.standard_logistic, stats.logistic),
    "gumbel": (g.standard_gumbel, stats.gumbel_r),
    "laplace": (g.standard_laplace, stats.laplace),
}
# name: sample, the way back as (dz, parameters, u), scipy's quantiles, parameters
PAIRS: dict[str, tuple[Function, Function, Function, tuple[Array, ...]]] = {
    "uniform": (g.uniform_sample, lambda dz, a, b, u: g.uniform_sample_vjp(dz, u),
                lambda a, b, u: stats.uniform.ppf(u, a, b - a), (A, B)),
    "triangular": (g.triangular_sample, g.triangular_sample_vjp,
                   lambda a, b, c, u: stats.triang.ppf(u, (c - a) / (b - a), a, b - a), (A, B, C)),
    "exponential": (g.exponential_sample, g.exponential_sample_vjp, lambda r, u: stats.expon.ppf(u, 0, 1 / r), (A,)),
    "rayleigh": (g.rayleigh_sample, lambda dz, s, u: g.rayleigh_sample_vjp(dz, u),
                 lambda s, u: stats.rayleigh.ppf(u, 0, s), (A,)),
    "weibull": (g.weibull_sample, g.weibull_sample_vjp, lambda k, s, u: stats.weibull_min.ppf(u, k, 0, s), (A, B)),
    "pareto": (g.pareto_sample, g.pareto_sample_vjp, lambda m, a, u: stats.pareto.ppf(u, a, 0, m), (A, B)),
    "reciprocal": (g.reciprocal_sample, g.reciprocal_sample_vjp, lambda a, b, u: stats.reciprocal.ppf(u, a, b), (A, B)),
    "gompertz": (g.gompertz_sample, g.gompertz_sample_vjp, lambda h, r, u: stats.gompertz.ppf(u, h, 0, 1 / r), (A, B)),
    "kumaraswamy": (g.kumaraswamy_log_sample, g.kumaraswamy_log_sample_vjp,
                    lambda a, b, u: np.log1p(-((1 - u) ** (1 / b))) / a, (A, B)),
}  # fmt: skip


@pytest.mark.parametrize("name", STANDARD)
def test_standard_variates_are_scipys(name: str) -> None:
    """Catches a mirrored Gumbel, and a tail that is lost near 0 or 1."""
    f, law = STANDARD[name]
    for u in (U, ENDS):
        np.testing.assert_allclose(f(u), law.ppf(u), rtol=1e-12, atol=1e-14)
    if name != "gumbel":
        np.testing.assert_allclose(f(ENDS[-1:]), -f(ENDS[:1]), rtol=1e-13)


@pytest.mark.parametrize("name", PAIRS)
def test_samples_are_scipys_quantiles(name: str) -> None:
    """Catches a rate taken for a scale, and 1 − u for u."""
    sample, _, quantile, parameters = PAIRS[name]
    np.testing.assert_allclose(sample(*parameters, U), quantile(*parameters, U), rtol=1e-11)


@pytest.mark.parametrize("name", PAIRS)
def test_slopes_are_the_samples_own(name: str) -> None:
    """Complex step: catches a lost square, a lost sign, and the cotangents of two parameters exchanged."""
    sample, vjp, _, parameters = PAIRS[name]
    dz = np.linspace(-1, 2, 24)
    got = vjp(dz, *parameters, U)
    for i, d in enumerate(got if isinstance(got, tuple) else (got,)):

        def moved(v: Array, i: int = i) -> Array:
            return np.asarray(sample(*parameters[:i], v, *parameters[i + 1 :], U))

        close(d, slopes(moved, parameters[i], dz))


def test_kumaraswamy_is_its_distribution() -> None:
    """1 − (1 − z^a)^b = u: catches a and b exchanged; and ln z where z underflows."""
    z = np.exp(g.kumaraswamy_log_sample(A, B, U))
    np.testing.assert_allclose(1 - (1 - z**A) ** B, U, rtol=1e-12)
    log_z = g.kumaraswamy_log_sample(np.array(1e-3), np.array(2.0), np.array(0.3))
    assert log_z == pytest.approx(1e3 * np.log(1 - 0.7**0.5), rel=1e-14)


def test_location_and_scale() -> None:
    """Catches a scale that multiplies the location, and a dz that is shared with the caller."""
    dz = np.linspace(-1, 2, 24)
    G = g.standard_laplace(U)
    dloc, dscale = g.location_scale_sample_vjp(dz, G)
    close(dloc, slopes(lambda v: g.location_scale_sample(v, B, G), A, dz))
    close(dscale, slopes(lambda v: g.location_scale_sample(A, v, G), B, dz))
    dloc += 1
    close(dz, np.linspace(-1, 2, 24), 0)


def test_triangular_with_its_mode_at_an_end() -> None:
    """Catches 0/0 where the side that is not taken has no length."""
    zero, one = np.zeros(24), np.ones(24)
    for mode in (zero, one):
        z = g.triangular_sample(zero, one, mode, U)
        np.testing.assert_allclose(z, stats.triang.ppf(U, mode[0]), rtol=1e-12)
        assert np.isfinite(g.triangular_sample_vjp(one, zero, one, mode, U)).all()
