"""§7.2.4 z = g(u; φ) and its slopes by hand, elementwise: inverse CDFs, and those that have no formula.

An inverse CDF of SciPy's takes no complex numbers: central differences stand in.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import special

from ...reparam import beta, gamma, inverse_cdf, student_t, von_mises
from ...types import Array
from . import Case, at
from .latents import QUANTILES

U = special.expit(1.5 * at(1201, 3, 4))
WIDE = tuple(at(1202 + i, 3, 4) for i in range(3))
ONE, TWO = (np.exp(w) for w in WIDE[:2])


def case(name: str, g: Callable[..., Any], g_vjp: Callable[..., Any], *phi: Array) -> Case:
    """z = g(*phi, u) at fixed u."""

    def vjp(dz: Array, *args: Array) -> tuple[Any, ...]:
        found = g_vjp(dz, *args)
        return (*(found if isinstance(found, tuple) else (found,)), None)

    real = QUANTILES if name in ("gamma", "beta", "student_t", "von_mises") else ""
    return Case(f"reparam.{name}", g, vjp, (*phi, U), real=real, constants=("u",))


def formulas() -> Iterator[Case]:
    """Whose slopes are of u alone, or of u and φ."""
    c = inverse_cdf
    yield case("location_scale", lambda loc, scale, u: c.location_scale_sample(loc, scale, u),
               lambda dz, loc, scale, u: c.location_scale_sample_vjp(dz, u), WIDE[0], ONE)  # fmt: skip
    yield case("uniform", lambda a, b, u: c.uniform_sample(a, b, u),
               lambda dz, a, b, u: c.uniform_sample_vjp(dz, u), *WIDE[:2])  # fmt: skip
    yield case("triangular", lambda a, b, c_, u: c.triangular_sample(a, b, c_, u),
               lambda dz, a, b, c_, u: c.triangular_sample_vjp(dz, a, b, c_, u),
               WIDE[0] - 3, WIDE[1] + 3, WIDE[2])  # fmt: skip
    yield case("rayleigh", lambda scale, u: c.rayleigh_sample(scale, u),
               lambda dz, scale, u: c.rayleigh_sample_vjp(dz, u), ONE)  # fmt: skip
    yield case("exponential", lambda rate, u: c.exponential_sample(rate, u), c.exponential_sample_vjp, ONE)
    yield case("reciprocal", lambda a, b, u: c.reciprocal_sample(a, b, u), c.reciprocal_sample_vjp, ONE, ONE + TWO)
    for name in ("weibull", "pareto", "gompertz", "kumaraswamy_log"):
        g, g_vjp = getattr(c, f"{name}_sample"), getattr(c, f"{name}_sample_vjp")
        yield case(name, lambda one, two, u, g=g: g(one, two, u), g_vjp, ONE, TWO)


def implicit() -> Iterator[Case]:
    """Whose slopes are taken at z, not at u."""
    yield case("gamma", lambda alpha, u: gamma.log_sample(alpha, u),
               lambda dz, alpha, u: gamma.log_sample_vjp(dz, alpha, gamma.log_sample(alpha, u)), ONE)  # fmt: skip
    yield case("beta", lambda a, b, u: beta.logit_sample(a, b, u),
               lambda dz, a, b, u: beta.logit_sample_vjp(dz, a, b, beta.logit_sample(a, b, u)), ONE, TWO)  # fmt: skip
    yield case("student_t", lambda nu, u: student_t.sample(nu, u),
               lambda dz, nu, u: student_t.sample_vjp(dz, nu, student_t.sample(nu, u)), 3 * ONE)  # fmt: skip
    yield case("von_mises", lambda kappa, u: von_mises.sample(kappa, u),
               lambda dz, kappa, u: von_mises.sample_vjp(dz, kappa, von_mises.sample(kappa, u)), ONE)  # fmt: skip


def cases() -> Iterator[Case]:
    """All of them."""
    yield from formulas()
    yield from implicit()
