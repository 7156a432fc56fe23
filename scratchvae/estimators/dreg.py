"""§7.2.4 The doubly reparametrised gradient of the importance-weighted bound (Tucker et al. 2019, DReG).

The plain gradient of `importance` leaves a score term, −Σ_s w̃_s ∂ log q(z_s; φ)/∂φ|_z. Unlike in the ELBO its mean is
not zero, for w̃_s depends on z_s. Reparametrise it a second time: for any f, with z = g(ε; φ), the two estimators of
§7.2.2 and §7.2.4 have one mean,

    E_q[f(z) ∂ log q(z; φ)/∂φ |_z] = E_ε[(∂f/∂z)(∂z/∂φ)]                                                      (1)

Take f = w̃_s as a function of z_s alone. ∂w̃_s/∂z_s = w̃_s (1 − w̃_s) ∂r_s/∂z_s, so

    −E[w̃_s ∂ log q/∂φ] = −E[(w̃_s − w̃_s²)(∂r_s/∂z_s)(∂z_s/∂φ)]

and added to the path's w̃_s (∂r/∂z)(∂z/∂φ) only  Σ_s w̃_s² (∂r_s/∂z_s)(∂z_s/∂φ)  is left. With S = 1 it is sticking the
landing. θ keeps w̃. Test: test_in_expectation (one mean with `iw`), test_signal_to_noise_against_samples.
"""

from .frame import Cotangents, Draw, Estimator
from .importance import log_mean_exp


def rule(d: Draw) -> Cotangents:
    """θ's weight w̃, times the path's factor w̃, is w̃²."""
    L, weights = log_mean_exp(d.r)
    return Cotangents(L, theta=weights, path=weights)


dreg = Estimator("dreg", rule, pathwise=True)
