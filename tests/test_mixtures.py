"""§7.2.5 Mixture of normals and VampPrior as priors: SciPy's densities, both forms of the squares, φ used twice."""

from typing import Any

import numpy as np
import pytest
from oracles import close, small_vae
from scipy import special, stats

from scratchvae.conditional import Net, net_vjp
from scratchvae.distributions import Normal, mixtures
from scratchvae.distributions.mixtures import MixtureNormal
from scratchvae.errors import UsageError
from scratchvae.gradcheck.library import at
from scratchvae.models.prior import vamp, vamp_vjp
from scratchvae.models.vae import elbo, elbo_vjp
from scratchvae.types import Array


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def mixture(seed: int, C: int = 5, K: int = 3, size: float = 1.0) -> MixtureNormal:
    g = rng(seed)
    return MixtureNormal(g.standard_normal((C, K)), size * g.standard_normal((C, K)), g.standard_normal(C))


def test_density_is_scipys() -> None:
    """Any leading axes; catches a weight left out, and a sum over K after logsumexp."""
    p, z = mixture(0), at(1, 2, 4, 3)
    parts = stats.norm(p.mu, np.exp(0.5 * p.log_var)).logpdf(z[..., None, :]).sum(axis=-1)
    close(p.log_prob(z), special.logsumexp(parts + special.log_softmax(p.logits), axis=-1))
    one = MixtureNormal(p.mu[:1], p.log_var[:1], p.logits[:1])
    close(one.log_prob(z), Normal(p.mu[0], p.log_var[0]).log_prob(z))
    close(p._replace(logits=p.logits + 1000).log_prob(z), p.log_prob(z), 1e-11)
    assert p.log_prob(z[:0]).shape == (0, 4)


def test_far_from_every_component() -> None:
    """log p where each e^l underflows, and the nearest takes all the responsibility: catches log of a sum of zeros."""
    p, z = mixture(2), np.full((1, 3), 1e6)
    assert np.isfinite(p.log_prob(z)).all()
    assert all(np.isfinite(d).all() for d in (p.log_prob_vjp(np.ones(1), z)[0], *p.log_prob_vjp(np.ones(1), z)[1]))


@pytest.mark.parametrize("shift", [0, 1e4])
def test_matrix_products_are_used_only_where_exact(shift: float) -> None:
    """Against differences, 1e-8 nats: with means of 10⁴ and σ = 1e-3, products would be off by 1e-2 and more. Catches a
    switch that is not there, or looks at one of the two alone."""
    p = mixture(3, C=20)
    p = p._replace(mu=p.mu + shift, log_var=p.log_var - (14 if shift else 0))
    z = p.mu[:8] + 1e-3 * rng(4).standard_normal((8, 3))
    parts = stats.norm(p.mu, np.exp(0.5 * p.log_var)).logpdf(z[:, None]).sum(axis=-1) + special.log_softmax(p.logits)
    np.testing.assert_allclose(p.log_prob(z), special.logsumexp(parts, axis=-1), rtol=1e-13, atol=1e-8)
    off = [mixtures.squares(z, p.mu, np.exp(-p.log_var), expanded) for expanded in (True, False)]
    assert (np.abs(off[0] - off[1]).max() > 1e-3) == (shift > 0)


@pytest.mark.parametrize("narrow", [0, 40])
def test_pieces_are_the_whole(monkeypatch: pytest.MonkeyPatch, narrow: float) -> None:
    """One row at a time and all at once, in both forms: catches rows lost at an edge, and slopes that are assigned."""
    p = mixture(5)
    p, z, w = p._replace(log_var=p.log_var - narrow), p.mu[:, None] + 1e-9 * at(6, 5, 7, 3), at(7, 5, 7)
    whole = p.log_prob(z), *p.log_prob_vjp(w, z)
    monkeypatch.setattr(mixtures, "NUMBERS", 4 * 15)
    pieces = p.log_prob(z), *p.log_prob_vjp(w, z)
    close(pieces[0], whole[0])
    close(pieces[1], whole[1], 1e-11)
    for got, wanted in zip(pieces[2], whole[2], strict=True):
        close(got, wanted, 1e-11)


def test_memory_is_bounded() -> None:
    """500 components under 20 000 rows: differences of all pairs at once would be 3.2 GB, the pairs alone 80 MB."""
    import tracemalloc

    p, z = mixture(8, C=500, K=40), rng(9).standard_normal((20_000, 40))
    tracemalloc.start()
    p.log_prob_vjp(np.ones(20_000), z)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6


def test_draws_are_the_mixtures() -> None:
    """Shares, means and squares of 200 000 draws within 4.5 standard errors, and E[score] = 0; u at either end picks
    the first and last component: catches a pick by logits, σ² for σ, and a column of noise used twice."""
    p, n, g = mixture(10, K=2), 200_000, rng(11)
    noise = np.concatenate([g.random((n, 1)), g.standard_normal((n, 2))], axis=-1)
    z = p.sample(noise)
    pi = special.softmax(p.logits)
    second = pi @ (p.mu**2 + np.exp(p.log_var))
    for got, wanted in ((z, pi @ p.mu), (z**2, second)):
        assert (np.abs(got.mean(axis=0) - wanted) < 4.5 * got.std(axis=0) / np.sqrt(n)).all()
    close(p.mean, pi @ p.mu)
    spread = p._replace(mu=1000 * np.arange(5.0)[:, None] + p.mu)
    share = np.bincount(np.rint(spread.sample(noise)[:, 0] / 1000).astype(int), minlength=5) / n
    assert (np.abs(share - pi) < 4.5 * np.sqrt(pi / n)).all()
    h = p.log_prob_vjp(np.full(n, 1 / n), z)[1]
    assert max(float(np.abs(part).max()) for part in h) < 4.5 * 3 / np.sqrt(n)
    ends = p.sample(np.array([[2.0**-25, 0, 0], [1 - 2.0**-25, 0, 0]]))
    close(ends, p.mu[[0, -1]])
    assert p.sample(noise[:6].reshape(2, 3, 3)).shape == (2, 3, 2)


def test_nothing_is_nan() -> None:
    """Values and parameters of every magnitude of float32: catches 0 · ∞ where a responsibility is 0."""
    g = rng(18)
    mu, z = (np.asarray(10.0 ** g.uniform(-37, 37, s) * g.choice([-1, 1], s), "float32") for s in ((500, 3), (2000, 3)))
    p = MixtureNormal(mu, g.uniform(-80, 80, (500, 3)).astype("float32"), mu[:, 0])
    dz, dp = p.log_prob_vjp(np.ones(2000, "float32"), z)
    assert not any(np.isnan(a).any() for a in (p.log_prob(z), dz, *dp))


def test_types_and_refusals() -> None:
    """float32 stays, of float64's digits; w is one number a row."""
    p, z = mixture(12), at(13, 4, 3)
    small = MixtureNormal(*(h.astype("float32") for h in p))
    dz, dp = small.log_prob_vjp(np.ones(4, "float32"), z.astype("float32"))
    found = small.log_prob(z.astype("float32")), dz, *dp, small.mean, small.sample(np.full((2, 4), 0.5, "float32"))
    assert {a.dtype for a in found} == {np.dtype("float32")}
    close(found[0], p.log_prob(z).astype("float32"), 1e-6)
    with pytest.raises(UsageError, match="w has shape"):
        p.log_prob_vjp(np.ones(3), z)


# --- the prior that the encoder makes ----------------------------------------------------------------------------


def test_vamp_is_the_mixture_of_posteriors() -> None:
    """Equal weights, and q(z | u_c) as the encoder gives it: catches pseudo-inputs that are not mapped into [0, 1]."""
    arch, arena = small_vae()
    phi, pseudo = arch.nets(arena.views)[0], at(14, 6, 5)
    for inputs, u in (("sigmoid", special.expit(pseudo)), ("identity", pseudo)):
        prior, _ = vamp(pseudo, phi, inputs=inputs)
        h = np.tanh(u @ phi.hidden[0].W + phi.hidden[0].b)
        close(prior.mu, h @ phi.heads[0].W + phi.heads[0].b)
        close(prior.log_var, h @ phi.heads[1].W + phi.heads[1].b)
        close(prior.logits, np.zeros(6))


def bound(x: Array, eps: Array, pseudo: Array, phi: Net, theta: Net) -> Any:
    """log p(x | z) + log p(z) − log q(z | x) with the encoder in q and in the prior, row by row."""
    prior, cache = vamp(pseudo, phi)
    L, forward = elbo(x, eps, phi, theta)
    q, z = forward.q, forward.z
    return L + q.kl() + prior.log_prob(z) - q.log_prob(z), (prior, cache, forward)


def test_phi_is_the_sum_of_both_uses() -> None:
    """The whole VAE under a VampPrior: φ's cotangent of data and pseudo-inputs in one buffer, θ's and the
    pseudo-inputs' own, by central differences; catches `=` for `+=`, and an encoder whose second use gives no slope."""
    arch, arena = small_vae(3)
    phi, theta = arch.nets(arena.views)
    grads = type(arena)(arch.shapes(), "float64")
    dphi, dtheta = arch.nets(grads.views)
    g = rng(15)
    x, eps, pseudo, w = g.random((3, 5)).round(), g.standard_normal((3, 2)), at(16, 4, 5), at(17, 3)
    dpseudo = np.zeros_like(pseudo)

    _, (prior, cache, forward) = bound(x, eps, pseudo, phi, theta)
    elbo_vjp(w, forward, x, eps, phi, theta, dphi, dtheta)  # first use, with −KL to N(0, I)
    q, z = forward.q, forward.z
    dz, dprior = prior.log_prob_vjp(w, z)
    dz_q, dq = q.log_prob_vjp(-w, z)
    ways = [q.kl_vjp(w), q.sample_vjp(dz + dz_q, eps), dq]
    net_vjp(Normal(*(sum(parts) for parts in zip(*ways, strict=True))), q, forward.q_layers, phi, dphi, need_dx=False)
    vamp_vjp(dprior, cache, pseudo, phi, dphi, dpseudo)  # second use

    for params, slopes in ((arena.flat, grads.flat), (pseudo.reshape(-1), dpseudo.reshape(-1))):
        for i in range(params.size):
            kept, values = params[i], []
            for step in (1e-5, -1e-5):
                params[i] = kept + step
                values.append(float(w @ bound(x, eps, pseudo, phi, theta)[0]))
            params[i] = kept
            assert abs((values[0] - values[1]) / 2e-5 - slopes[i]) < 1e-7 * max(1, abs(slopes[i]))


def test_vamp_vjp_adds() -> None:
    """Twice is double, φ and pseudo-inputs alike: catches `=` for `+=`."""
    arch, arena = small_vae()
    phi, pseudo = arch.nets(arena.views)[0], at(18, 4, 5)
    prior, cache = vamp(pseudo, phi)
    grads = [type(arena)(arch.shapes(), "float64") for _ in range(2)]
    slopes = [np.zeros_like(pseudo) for _ in range(2)]
    for times, (into, d) in enumerate(zip(grads, slopes, strict=True), 1):
        for _ in range(times):
            vamp_vjp(prior, cache, pseudo, phi, arch.nets(into.views)[0], d)
    close(grads[1].flat, 2 * grads[0].flat)
    close(slopes[1], 2 * slopes[0])
