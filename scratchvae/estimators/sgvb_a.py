"""§7.2.4 SGVB A: the whole bound sampled, and differentiated along the path (Kingma & Welling 2014, eq. 6).

    L̃ᴬ = (1/S) Σ_s log p(x, z_s; θ) − log q(z_s; φ),      z_s = g(ε_s; φ),   ε_s ~ p(ε)

p(ε) does not depend on φ (the chapter's text lost the "not"), so the gradient moves inside:

    ∇_φ E_ε[f(g(ε; φ))] = E_ε[∇_φ f(g(ε; φ))]

Its total derivative goes both ways, through z and through the φ in log q. Test: test_replayed_noise.
"""

import numpy as np

from .frame import Cotangents, Draw, Estimator


def rule(d: Draw) -> Cotangents:
    """dL̃ᴬ, term by term as it stands."""
    each = np.full_like(d.r, 1 / d.r.shape[0])
    return Cotangents(d.r.mean(axis=0), theta=each, path=np.ones_like(d.r), score=-each)


sgvb_a = Estimator("sgvb_a", rule, pathwise=True)
