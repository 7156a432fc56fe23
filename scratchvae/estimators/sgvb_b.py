"""§7.2.3 SGVB B: the KL in closed form, only the likelihood sampled (Kingma & Welling 2014, eq. 7 and 10).

    E_q[log p(x, z) − log q(z)]
        = E_q[log p(x | z)] + E_q[log p(z) − log q(z)]           log p(x, z) = log p(x | z) + log p(z)
        = E_q[log p(x | z)] − KL(q(z) ‖ p(z))                    the rewriting of §7.2.3

    L̃ᴮ = (1/S) Σ_s log p(x | z_s; θ) − KL(q ‖ N(0, I))

The sampled KL of A has the same mean. Test: test_in_expectation, and test_sgvb_b_is_the_vae's_own_pair.
"""

import numpy as np

from .frame import Cotangents, Draw, Estimator


def rule(d: Draw) -> Cotangents:
    """log p(x | z) holds no φ but in z, so there is one way only; the frame adds −KL."""
    return Cotangents(d.r.mean(axis=0), theta=np.full_like(d.r, 1 / d.r.shape[0]), path=np.ones_like(d.r))


sgvb_b = Estimator("sgvb_b", rule, pathwise=True, analytic_kl=True)
