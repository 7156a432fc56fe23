"""§7.2.4 z = g_φ(ε) beyond the Gaussian: location and scale, the inverse CDF, composition, and implicit derivatives.

Values and parameters have one shape (or broadcast); each number has its own uniform u, strictly between 0 and 1. Take
u = (k + ½)/2ⁿ, n ≤ 52: then u and 1 − u are exact, and neither tail is favoured. All of it is worked in float64.

With F(z; φ) = u held fixed, 0 = ∂F/∂φ + f(z) ∂z/∂φ, so that no inverse need be differentiated, nor any sampler:

    ∂z/∂φ = −(∂F/∂φ) / f(z)                          Figurnov, Mohamed & Mnih 2018, "Implicit reparameterization"
"""

from . import beta as beta
from . import gamma as gamma
from . import student_t as student_t
from . import von_mises as von_mises
