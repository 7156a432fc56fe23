"""§7.3 What a run on sequences maximises: the bound of `models.sequence`, and the ways to keep z in use.

A decoder that sees the tokens before can do without z, and then KL is 0 (Bowman et al. 2016, §3.1). Three ways change
what is maximised, and no figure: the KL's weight rises from 0 (--warm-up), the decoder is shown UNKNOWN for a share of
the tokens (--word-dropout), or no latent is asked for less than λ nats, means over the minibatch (--free-bits; Kingma
et al. 2016, §4).
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.tokens import END, PAD, UNKNOWN
from ..distributions import Normal
from ..errors import UsageError
from ..models import sequence
from ..noise import Noise, Purpose
from ..types import Array

if TYPE_CHECKING:
    from .state import State


class SequenceObjective(NamedTuple):
    """Of rows of tokens; x (B, T) in the run's type, eps (S, B, K)."""

    state: "State"

    def gradient(self, x: Array, eps: Array) -> Array:
        """By SGVB B. L is the bound of x itself, also where the decoder was shown less."""
        s, config = self.state, self.state.config
        shown = self.shown(x) if config.word_dropout else None
        L, cache = sequence.elbo(x, eps[0], s.phi, s.theta, s.k, shown)
        w = np.full(len(x), 1 / len(x), L.dtype)
        nets = s.phi, s.theta, s.dphi, s.dtheta
        sequence.elbo_vjp(w, cache, eps[0], *nets, s.k, self.weight_of_kl(cache.q))
        if shown is None:
            return L
        z = cache.q.sample(eps[0], s.k) if cache.q else eps[0]
        return np.asarray(sequence.log_likelihood(x, z, s.theta, s.k)[0] - cache.kl)

    def shown(self, x: Array) -> Array:
        """The tokens before, a share of them UNKNOWN by the noise of the step; that which begins a row never is."""
        s, found = self.state, sequence.before(x)
        u = s.noise.uniforms(Purpose.WORDS, s.step, len(x), x.shape[1], s.config.dtype)
        return np.where((u < s.config.word_dropout) & (found != PAD) & (found != END), UNKNOWN, found)

    # Σ_k max(λ, mean_b KL_bk):     a latent below λ has no slope from the KL
    def weight_of_kl(self, q: Normal | None) -> Array | float:
        """β, and 0 for latents that have their free bits."""
        s, least = self.state, self.state.config.free_bits
        if not least or q is None:
            return s.beta
        mean = Normal(q.mu[..., None], q.log_var[..., None]).kl(s.k).mean(axis=0)
        return (s.beta * (mean > least)).astype(mean.dtype)

    def bound(self, x: Array, eps: Array) -> tuple[Array, Array, Array]:
        """L, log p(x | z) and KL, means over the samples."""
        s = self.state
        parts = [sequence.elbo(x, one, s.phi, s.theta, s.k)[1] for one in eps]
        reconstruction = np.mean([part.reconstruction for part in parts], axis=0)
        return reconstruction - parts[0].kl, reconstruction, parts[0].kl

    def log_weights(self, x: Array, eps: Array) -> Array:
        """log p(x, z) − log q(z | x) at z ~ q; without latents log p(x)."""
        s = self.state
        q = self.encode(x)
        found = []
        for one in eps:
            z = q.sample(one, s.k) if s.phi else one
            ratio = -0.5 * (z * z - one * one - q.log_var).sum(axis=-1)
            found.append(sequence.log_likelihood(x, z, s.theta, s.k)[0] + ratio)
        return np.stack(found)

    def encode(self, x: Array) -> Normal:
        """q(z | x), of a language model with no latent in it."""
        s = self.state
        if not s.phi:
            return Normal(*np.zeros((2, len(x), 0), s.config.dtype))
        return sequence.encode(x, s.phi, s.k)[0]

    def decode(self, z: Array) -> Any:
        """Refused: p(x | z) of a sequence is a distribution a token, each given the tokens before."""
        raise UsageError("a run on sequences has no E[x | z]: use sample, interpolate or evaluate")

    def prior(self, noise: Noise, purpose: Purpose, count: int) -> Array:
        """z ~ N(0, I)."""
        return noise.normals(purpose, 0, count, self.state.config.latent_size, self.state.config.dtype)
