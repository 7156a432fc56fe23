"""§7.2.4 The families of q(z | x): samples, densities, KL and entropy of each, (S, B, K) under (B, K) of heads.

Where SciPy's inverse CDFs, digammas or a slope by hand take no complex numbers, differences stand in.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import special

from ...distributions.concrete import GumbelSoftmax
from ...distributions.edges import Pareto, Reciprocal, Triangular, Uniform
from ...distributions.latent import POSTERIORS
from ...types import Array
from . import Case, at

EDGES: dict[str, type[Any]] = {
    "uniform": Uniform,
    "triangular": Triangular,
    "reciprocal": Reciprocal,
    "pareto": Pareto,
}
ELSEWHERE = {"normal"}  # `distributions`
QUANTILES = "quantiles come from SciPy, which takes no complex numbers"
SCIPYS = {"student-t", "gamma", "inverse-gamma", "chi-square", "f", "beta", "logit-normal", "dirichlet", "von-mises"}
PAIRED = {"beta", "continuous-bernoulli", "dirichlet", "exponential", "gamma", "von-mises"}  # `exponential`


def cases() -> Iterator[Case]:
    """All of them, by name."""
    u = special.expit(0.9 * at(951, 2, 3, 4))
    for i, (name, kind) in enumerate({**POSTERIORS, **EDGES}.items()):
        if name in ELSEWHERE:
            continue
        q = kind(*(0.7 * at(960 + 10 * i + j, 3, 4) for j in range(len(kind._fields))))
        yield Case(
            f"latents.{name}.sample",
            lambda q, u: q.sample(u),
            lambda dz, q, u: (q.sample_vjp(dz, u), None),
            (q, u),
            real=QUANTILES if name in SCIPYS else "",
            constants=("u",),
        )
        if hasattr(q, "kl"):
            yield Case(f"latents.{name}.kl", lambda q: q.kl(), lambda w, q: q.kl_vjp(w), (q,))
        if name in PAIRED:
            continue
        z = np.asarray(q.sample(u[::-1]))
        yield Case(f"latents.{name}.log_prob", lambda z, q: q.log_prob(z), lambda w, z, q: q.log_prob_vjp(w, z), (z, q))
        if hasattr(q, "entropy"):
            yield Case(f"latents.{name}.entropy", lambda q: q.entropy(), lambda w, q: q.entropy_vjp(w), (q,))
    yield from concrete(u)


def concrete(u: Array) -> Iterator[Case]:
    """Its classes are the last axis."""
    q, z = GumbelSoftmax(at(1190, 3, 4)), GumbelSoftmax(at(1191, 3, 4)).sample(u)
    yield Case(
        "latents.concrete.sample",
        lambda q, u: q.sample(u),
        lambda dz, q, u: (q.sample_vjp(dz, u), None),
        (q, u),
        constants=("u",),
    )
    yield Case("latents.concrete.log_prob", lambda z, q: q.log_prob(z), lambda w, z, q: q.log_prob_vjp(w, z), (z, q))
