"""§7.2.5 Richer posteriors and priors: full covariance, rank-1 precision, planar flow, mixtures, and the VampPrior."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...conditional import Family, Net
from ...distributions.gaussians import FullNormal, RankOne, full_normal, full_normal_vjp
from ...distributions.mixtures import MixtureNormal, squares, squares_vjp
from ...distributions.planar import (
    Planar,
    constrained,
    constrained_vjp,
    fold,
    fold_vjp,
    planar,
    planar_vjp,
    undo,
    undo_vjp,
)
from ...models.prior import vamp, vamp_vjp
from ...types import Array
from .. import accumulating
from . import Case, at
from .networks import layers


def family(name: str, q: Any, noise: Array) -> Iterator[Case]:
    """All that a family of q can do, (S, B, K) of values under (B, …) of heads."""
    yield Case(f"{name}.sample", lambda q, eps: q.sample(eps), lambda dz, q, eps: (q.sample_vjp(dz, eps), None),
               (q, noise), constants=("eps",))  # fmt: skip
    yield Case(f"{name}.log_prob", lambda z, q: q.log_prob(z), lambda w, z, q: q.log_prob_vjp(w, z), (noise, q))
    if hasattr(q, "kl"):
        yield Case(f"{name}.kl", lambda q: q.kl(), lambda w, q: q.kl_vjp(w), (q,))
        yield Case(f"{name}.entropy", lambda q: q.entropy(), lambda w, q: q.entropy_vjp(w), (q,))


def flow() -> Iterator[Case]:
    """The parts of a planar layer; the planar family's heads."""
    z, u, w, b = at(611, 2, 3, 4), at(612, 3, 4), at(613, 3, 4), at(614, 3, 1)

    def shared(dz: Array, *slopes: Array) -> tuple[Array, ...]:
        return dz, *(d.sum(axis=0) for d in slopes)

    yield Case("planar.constrained", constrained, lambda d, u, w: constrained_vjp(d[0], d[1], u, w), (u, w))
    yield Case("planar.fold", fold, lambda dz, *a: shared(*fold_vjp(dz, *a)), (z, u, w, b))
    yield Case("planar.undo", undo, lambda d, *a: shared(*undo_vjp(d[0], d[1], *a)), (z, u, w, b))
    flat = at(615, 3, 2), at(616, 3, 2), at(617, 3, 6), at(618, 3, 6), at(619, 3, 3)
    yield Case("planar.planar", planar, lambda dq, *heads: planar_vjp(dq), flat)


def mixtures() -> Iterator[Case]:
    """Squared distances in both forms, and the mixture."""
    z, mu, precision = at(621, 5, 3), at(622, 4, 3), np.abs(at(623, 4, 3))
    for expanded in (True, False):
        yield Case(f"mixtures.squares[{'products' if expanded else 'differences'}]", squares,
                   lambda dr, *a: (*squares_vjp(dr, *a), None), (z, mu, precision, expanded),
                   constants=("expanded",))  # fmt: skip
    for title, log_var in (("", at(624, 4, 3)), (", narrow", at(624, 4, 3) - 25)):
        p, values = MixtureNormal(mu, log_var, at(625, 4)), z.reshape(5, 1, 3)
        if title:  # differences of log p are differences of millions: the values stand close to the means
            values = mu[:3, None] + 3e-6 * z[:3, None]
        yield Case(f"mixtures.MixtureNormal.log_prob{title}", lambda z, p: p.log_prob(z),
                   lambda w, z, p: p.log_prob_vjp(w, z), (values, p))  # fmt: skip


def vamps() -> Iterator[Case]:
    """The prior that the encoder makes, by its parameters and by the pseudo-inputs; the weights stay 1/C."""
    *hidden, last = layers(4, 3, 2)
    phi = Net(tuple(hidden), (last, last), "tanh", Family("normal"))
    for inputs in ("sigmoid", "identity"):

        def f(pseudo: Array, phi: Net, inputs: str = inputs) -> tuple[Array, Array]:
            return vamp(pseudo, phi, inputs=inputs)[0][:2]

        def f_vjp(
            d: tuple[Array, Array], pseudo: Array, phi: Net, dpseudo: Array, dphi: Net, inputs: str = inputs
        ) -> None:
            prior, cache = vamp(pseudo, phi, inputs=inputs)
            vamp_vjp(MixtureNormal(*d, np.zeros_like(prior.logits)), cache, pseudo, phi, dphi, dpseudo)

        yield Case(f"prior.vamp[{inputs}]", f, accumulating(f_vjp, into=(0, 1)), (at(631, 5, 4), phi),
                   constants=("phi.family",))  # fmt: skip


def cases() -> Iterator[Case]:
    """Every pair of these rooms."""
    noise = at(601, 4, 2, 3)
    yield from family("gaussians.FullNormal", FullNormal(at(602, 2, 3), at(603, 2, 3, 3)), noise)
    yield from family("gaussians.RankOne", RankOne(at(604, 2, 3), at(605, 2, 3), at(606, 2, 3)), noise)
    yield Case(
        "gaussians.full_normal", full_normal, lambda dq, *heads: full_normal_vjp(dq), (at(607, 2, 3), at(608, 2, 6))
    )
    heads = at(631, 2, 3), at(632, 2, 3), at(633, 2, 2, 3), at(634, 2, 2, 3), at(635, 2, 2)
    yield from family("planar.Planar", Planar(*heads), noise)
    yield from flow()
    yield from mixtures()
    yield from vamps()
