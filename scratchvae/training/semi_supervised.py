"""§7.3 What a run with few labels maximises: both bounds, and the classifier's own term on the rows that tell.

    J = 1/N [Σ_labelled −L(x, y) + Σ_others −U(x)] + α mean_labelled log q(y | x)     Kingma et al. 2014, eq. 8–9

whose α is 0.1 · N there, of the sum; here J is per row. A minibatch holds some of both kinds, each of which stands for
all of its kind: the rows' weights say so. With every row labelled it is a conditional VAE with a classifier beside it.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..conditional import Distribution
from ..errors import UsageError
from ..models import semi_supervised as m2
from ..noise import Noise, Purpose
from ..types import Array

if TYPE_CHECKING:
    from .state import State


class SemiSupervisedObjective(NamedTuple):
    """Of M2. In a step the first rows tell their classes, `state.codes`; noise is (S, B, C K), a draw for each class.

    encode is q(z | x, ŷ) at the most probable class; what has no class cannot be decoded.
    """

    state: "State"

    def gradient(self, x: Array, eps: Array) -> Array:
        """Adds the direction of J; returns −L of the rows that tell, −U of the others."""
        s, each, n = self.state, self.by_class(eps)[0], len(self.state.codes)
        nets, slopes = (s.phi, s.theta), (s.dphi, s.dtheta)
        assert s.weights is not None
        w = (s.weights / len(x)).astype(x.dtype)
        L = np.zeros(len(x), x.dtype)
        if n:
            own = each[s.codes, np.arange(n)]
            L[:n], cache = m2.elbo(x[:n], s.codes, own, *nets, s.k)
            m2.elbo_vjp(w[:n], cache, x[:n], s.codes, own, *nets, *slopes, s.k)
            log_q, layers = m2.classify(x[:n], s.phi, s.k)
            term = np.zeros_like(log_q)
            term[np.arange(n), s.codes] = s.config.alpha / n
            m2.classify_vjp(term, log_q, layers, s.phi, s.dphi, s.k)
        if n < len(x):
            others = np.ascontiguousarray(each[:, n:])
            L[n:], found = m2.marginal(x[n:], others, *nets, s.k)
            m2.marginal_vjp(w[n:], found, x[n:], others, *nets, *slopes, s.k)
        return L

    def bound(self, x: Array, eps: Array) -> tuple[Array, Array, Array]:
        """−U(x); what is not Σ_y q(y | x) log p(x | z, y) counts as KL."""
        s = self.state
        parts = []
        for each in self.by_class(eps):
            U, cache = m2.marginal(x, each, s.phi, s.theta, s.k)
            parts.append((U, (np.exp(cache.log_q).T * cache.given.reconstruction).sum(axis=0)))
        L, reconstruction = np.mean(parts, axis=0)
        return L, reconstruction, reconstruction - L

    def log_weights(self, x: Array, eps: Array) -> Array:
        """Summed over the classes, (S, B)."""
        s = self.state
        return np.stack([m2.log_weights(x, each, s.phi, s.theta, s.k) for each in self.by_class(eps)])

    def encode(self, x: Array) -> Distribution:
        """q(z | x, ŷ)."""
        return m2.net_given(x, m2.classify(x, self.state.phi)[0].argmax(axis=1), self.state.phi.z)[0]

    def decode(self, z: Array) -> Distribution:
        """Of no class there is no p(x | z)."""
        raise UsageError("p(x | z, y) wants a class: such a run is drawn by sample and reconstruct")

    def prior(self, noise: Noise, purpose: Purpose, count: int) -> Array:
        """z of N(0, I)."""
        return noise.normals(purpose, 0, count, self.state.config.latent_size, self.state.config.dtype)

    def by_class(self, eps: Array) -> Array:
        """ε (S, B, C K), or (B, C K), as (S, C, B, K)."""
        C = len(self.state.phi.y[-1].b)
        return np.ascontiguousarray(np.moveaxis(eps.reshape(-1, eps.shape[-2], C, eps.shape[-1] // C), 2, 1))


def restored(tensors: dict[str, Array]) -> dict[str, Array]:
    """Which rows tell and their classes, from a checkpoint's tensors. Raises UsageError for what is none, KeyError
    where it is gone."""
    found = {name: tensors[f"algorithm.{name}"] for name in ("labelled", "codes")}
    if found["labelled"].shape != found["codes"].shape or found["codes"].ndim != 1:
        raise UsageError("algorithm.labelled and algorithm.codes are not a class for each row that tells")
    return found


def decode_given(state: "State", z: Array, y: Array) -> Distribution:
    """p(x | z, y) for z (B, K) and codes y (B,), by the NumPy kernels."""
    return m2.net_given(z, y, state.theta)[0]


def probabilities(state: "State", x: Array) -> Array:
    """q(y | x), (B, C)."""
    return np.exp(m2.classify(x, state.phi)[0])
