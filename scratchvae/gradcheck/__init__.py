"""§7.2.4 Proof of a hand-written gradient, for every pair in this library and for yours.

A pair is a pure function f and its vector-Jacobian product f_vjp(dy, *args) -> one cotangent per argument. Noise is
an argument, so every evaluation replays the same draw, and the derivative of a sampled bound is an ordinary one:

>>> import numpy as np
>>> from scratchvae.gradcheck import check
>>> def sample(mu, log_var, eps):                       # z = mu + sigma eps
...     return mu + np.exp(log_var / 2) * eps
>>> def sample_vjp(dz, mu, log_var, eps):
...     return dz, dz * np.exp(log_var / 2) * eps / 2, None
>>> point = np.array([[0.3, -1.2]]), np.array([[-0.4, 0.7]]), np.array([[1.1, -0.6]])
>>> check(sample, sample_vjp, point, constants=("eps",)).ok
True

Forget the one half, as others have, and the report names the element and both numbers:

>>> def forgetful_vjp(dz, mu, log_var, eps):
...     return dz, dz * np.exp(log_var / 2) * eps, None
>>> check(sample, forgetful_vjp, point, methods=("complex",), constants=("eps",))
sample: FAIL
  block    size       by  worst at     analytic       numeric  complex  central  direction  verdict
  mu          2  complex       0,0  -1.4...        -1.4...         ...        -          -       ok
  log_var     2  complex       0,0  -1.31101243  -0.655506216  1.0e+00        -          -     FAIL
  log_var: perhaps: 2 times the derivative

A gradient that is drawn at random is checked in its mean, by `check_expectation`. `scratchvae gradcheck FILE.py` runs
every pair of a file of yours, `scratchvae gradcheck` every pair of the library and whole bounds.
"""

from .adapters import of_autograd, of_jax, of_numba, of_pytensor, of_torch, parameters_of
from .check import TOLERANCE, check
from .contract import accumulating
from .doors import assert_vjp, check_gradient, check_hvp, check_jvp
from .expectation import check_expectation, singly
from .integral import expectation_gradient
from .report import Measure, Report, Row

__all__ = [
    "TOLERANCE",
    "Measure",
    "Report",
    "Row",
    "accumulating",
    "assert_vjp",
    "check",
    "check_expectation",
    "check_gradient",
    "check_hvp",
    "check_jvp",
    "expectation_gradient",
    "of_autograd",
    "of_jax",
    "of_numba",
    "of_pytensor",
    "of_torch",
    "parameters_of",
    "singly",
]
