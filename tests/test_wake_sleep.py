"""§7.1.2 Wake-sleep: which optimum each half has, exactly; what reweighting weighs; what has no direction."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from oracles import data, slopes, small_vae
from scipy.optimize import minimize

from scratchvae.arena import Arena
from scratchvae.classical.wake_sleep import Dream, log_q, log_q_vjp, reweighted, wake_sleep
from scratchvae.conditional import Family, Net
from scratchvae.errors import UsageError
from scratchvae.estimators import get, gradient
from scratchvae.gradcheck.library import cases
from scratchvae.models.decoded import Decoded
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.models.sigmoid_belief import SigmoidBelief, Theta
from scratchvae.models.vae import Architecture, encode
from scratchvae.networks import Dense
from scratchvae.tasks import exact
from scratchvae.tree import flat, zeros_like
from scratchvae.types import Array

RNG = np.random.default_rng(5)
MODEL = SigmoidBelief()
THETA = Theta(RNG.normal(size=2), Dense(RNG.normal(size=(2, 3)), RNG.normal(size=3)))
PHI = Net((), (Dense(RNG.normal(size=(3, 2)), RNG.normal(size=2)),), "tanh", Family("bernoulli"))
X = np.array([[1.0, 0, 1], [0, 0, 1]])
STATES = exact.bits(2, 1).unit  # (4, 2)
W = np.array([0.7, -0.4])


def signs(dims: int) -> Array:
    """Every corner of the cube: means over them are Gaussian means, of polynomials up to the third degree."""
    return np.array(list(product((-1.0, 1.0), repeat=dims)))


def uniforms(z: Array, phi: Net) -> Array:
    """Noise by which q draws the bits z (S, B, K)."""
    p = encode(X, phi)[0].mean
    return np.where(z == 1, p / 2, (1 + p) / 2)


def both_ways(draw: Array, dreamt: Any = None, share: float | None = None, phi: Net = PHI) -> tuple[Array, Net, Theta]:
    """The bound and both directions, from zero, of the small belief net whose q draws `draw`."""
    dphi, dtheta = zeros_like(PHI), zeros_like(THETA)
    noise, nets = uniforms(draw, phi), (phi, THETA, dphi, dtheta)
    if share is None:
        return wake_sleep(MODEL, X, noise, dreamt, *nets, W), dphi, dtheta
    return reweighted(MODEL, X, noise, dreamt, *nets, share, W), dphi, dtheta


def test_pairs() -> None:
    """Catches a wrong slope of log q(z | x), for Gaussian and binary z, one sample and several."""
    found = [case.run() for case in cases("wake_sleep.*")]
    assert len(found) == 4
    assert all(report.ok for report in found), [str(r) for r in found if not r.ok]


@pytest.mark.parametrize("samples", [1, 3])
def test_wake_is_sgvb_s_theta(samples: int) -> None:
    """Catches draws that are weighted, samples that are summed, and a wake phase that moves φ."""
    arch, arena = small_vae()
    phi, theta = arch.nets(arena.views)
    x, eps, dreamt = data(4, 5), RNG.standard_normal((samples, 4, 2)), Dream(data(3, 5), RNG.standard_normal((3, 2)))
    made, expected, asleep = arena.like(), arena.like(), arena.like()
    L = wake_sleep(Decoded(), x, eps, dreamt, phi, theta, *arch.nets(made.views))
    log_q_vjp(np.full(3, 1 / 3), *dreamt, phi, arch.nets(asleep.views)[0])
    expected_L = gradient(get("sgvb_a"), Decoded(), x, eps, phi, theta, *arch.nets(expected.views))
    np.testing.assert_allclose(L, expected_L, rtol=1e-12)
    for name, view in made.views.items():
        right = expected if name[0] == "p" else asleep
        np.testing.assert_allclose(view, right.views[name], rtol=1e-10, atol=1e-14)


def linear() -> tuple[Architecture, LinearGaussian, Array]:
    """A linear VAE whose posterior is correlated, as a model in closed form, and its parameters, flat: φ first."""
    arch, arena = small_vae(3, columns=3, hidden=(), likelihood="gaussian-fixed", variance=0.5)
    theta = LinearGaussian(arena.views["p.mu.W"], arena.views["p.mu.b"], np.log([0.5]))
    theta.W[...] = [[1.0, 0.8, 0.3], [0.9, -0.1, 0.7]]
    return arch, theta, arena.flat


def optimum(way: str, arch: Architecture, theta: LinearGaussian, flat: Array) -> tuple[Array, Array]:
    """(variances, KL(q ‖ p) of each dream) where φ's expected direction vanishes: of "bound" or of "sleep"."""
    K, D = theta.W.shape
    corners = signs(K + D)
    x, z = theta.sample(corners[:, :K], corners[:, K:])
    free = sum(size for name, size in sizes(arch).items() if name[0] == "q")

    def f(phi_flat: Array) -> tuple[float, Array]:
        arena = arch_arena(arch, np.concatenate([phi_flat, flat[free:]]))
        made = arena.like()
        phi, decoder = arch.nets(arena.views)
        args = phi, decoder, *arch.nets(made.views)
        if way == "bound":
            L = gradient(get("sgvb_b"), Decoded(), x, np.repeat(signs(K)[:, None], len(x), 1), *args)
        else:
            wake_sleep(Decoded(), x, np.zeros((1, len(x), K)), Dream(x, z), *args)
            L = log_q(x, z, phi)
        return -float(L.mean()), -made.flat[:free]

    found = minimize(f, flat[:free], jac=True, method="BFGS", options={"gtol": 1e-7})
    q = encode(x, arch.nets(arch_arena(arch, np.concatenate([found.x, flat[free:]])).views)[0])[0]
    mean, cov = theta.posterior(x)
    np.testing.assert_allclose(q.mu, mean, atol=1e-4)  # both halves agree on it
    precision, var = np.linalg.inv(cov), np.exp(q.log_var)
    kl = 0.5 * ((np.diag(precision) * var).sum(1) - 2 - np.log(var).sum(1) - np.linalg.slogdet(precision)[1])
    return var, kl


def sizes(arch: Architecture) -> dict[str, int]:
    return {name: int(np.prod(shape)) for name, shape in arch.shapes().items()}


def arch_arena(arch: Architecture, flat: Array) -> Arena:
    arena = Arena(arch.shapes(), "float64")
    arena.flat[...] = flat
    return arena


def test_the_two_optima_of_a_diagonal_q() -> None:
    """Catches a sleep phase that learns on data or on its own draws, and a wake phase that teaches φ: the bound's
    variances are 1/Λᵢᵢ, sleep's (Λ⁻¹)ᵢᵢ, and only the first are the nearest in KL(q ‖ p)."""
    arch, theta, flat = linear()
    cov = theta.posterior(np.zeros((1, 3)))[1]
    (bound, its_kl), (sleep, other_kl) = (optimum(way, arch, theta, flat.copy()) for way in ("bound", "sleep"))
    np.testing.assert_allclose(bound, np.broadcast_to(1 / np.diag(np.linalg.inv(cov)), bound.shape), rtol=1e-3)
    np.testing.assert_allclose(sleep, np.broadcast_to(np.diag(cov), sleep.shape), rtol=1e-3)
    assert its_kl.mean() < other_kl.mean() - 0.01


def test_sleep_s_mean_is_the_slope_of_the_models_own_log_q() -> None:
    """Catches dreams that count otherwise than as p(x, z) has them: ∇φ E_p[log q(z | x)], over all 32 pairs (x, z)."""
    xs = exact.bits(3, 1).unit
    pairs = Dream(np.repeat(xs, 4, 0), np.tile(STATES, (8, 1)))
    p = np.exp(MODEL.log_joint(pairs.x, pairs.z[None], THETA)[0])
    assert p.sum() == pytest.approx(1)
    total = sum(
        weight * flat(both_ways(np.zeros((1, 2, 2)), Dream(x[None], z[None]))[1])
        for weight, x, z in zip(p, *pairs, strict=True)
    )

    def expected(W: Array) -> Array:
        return p @ log_q(pairs.x, pairs.z, PHI._replace(heads=(Dense(W, PHI.heads[0].b),)))

    np.testing.assert_allclose(total[:6], slopes(expected, PHI.heads[0].W).ravel(), atol=1e-12)


def tables(K: int) -> list[tuple[Array, Array]]:
    """All (4²)^K ways in which q draws K bit vectors for both rows, with log q (K, 2) of each."""
    rows = list(product(range(4), repeat=2 * K))
    draws = [STATES[np.array(row).reshape(K, 2)] for row in rows]
    return [(z, log_q(X, z, PHI)) for z in draws]


def test_reweighted_in_expectation_by_enumeration() -> None:
    """Catches weights over rows and not over draws, of p alone or of 1/q, and w left out: K = 2, all 256 draws; wake-θ
    is the slope of the importance-weighted bound, wake-φ of Σ w̃ log q at weights held fast."""
    every = tables(2)
    found_theta, found_phi = np.zeros(11), np.zeros(8)
    for z, lq in every:
        _, dphi, dtheta = both_ways(z, share=1.0)
        mass = np.exp(lq.sum())
        found_theta, found_phi = found_theta + mass * flat(dtheta), found_phi + mass * flat(dphi.heads)

    def bound(prior: Array) -> Array:
        theta = THETA._replace(prior=prior)
        each = [np.exp(lq.sum()) * W @ np.log(np.exp(MODEL.log_joint(X, z, theta) - lq).mean(0)) for z, lq in every]
        return np.array(each)

    def fixed(b: Array) -> Array:
        phi = PHI._replace(heads=(Dense(PHI.heads[0].W, b),))
        ratios = [np.exp(MODEL.log_joint(X, z, THETA) - lq) for z, lq in every]
        terms = [np.exp(lq.sum()) * (W * r / r.sum(0) * log_q(X, z, phi)).sum()
                 for (z, lq), r in zip(every, ratios, strict=True)]  # fmt: skip
        return np.array(terms)

    np.testing.assert_allclose(found_theta[:2], slopes(bound, THETA.prior), atol=1e-12)
    np.testing.assert_allclose(found_phi[6:], slopes(fixed, PHI.heads[0].b), atol=1e-12)


def test_with_every_state_drawn_once_by_a_flat_q_the_weights_are_the_posterior() -> None:
    """Catches weights that are not p(z | x): wake-θ is then ∇ log p(x), wake-φ is Σ p(z | x) ∇ log q, both exact."""
    z = np.repeat(STATES[:, None], 2, 1)
    L, dphi, dtheta = both_ways(z, share=1.0, phi=zeros_like(PHI))
    points = exact.bits(2, 2)
    log_p = exact.table(lambda x, z: MODEL.log_joint(x, z, THETA), X, points)
    posterior = np.exp(exact.summarise(log_p, points).log_posterior)
    np.testing.assert_allclose(L, log_p.mean(0) + 2 * np.log(2), rtol=1e-12)  # the ELBO, not the bound of four draws

    def log_marginal(prior: Array) -> Array:
        log_joint = MODEL.log_joint(X, z, THETA._replace(prior=prior))
        return W * np.log(np.exp(log_joint).sum(0))

    np.testing.assert_allclose(dtheta.prior, slopes(log_marginal, THETA.prior), atol=1e-12)
    means = (posterior[..., None] * z).sum(0)  # E[z | x]; the score of a flat Bernoulli is z − ½
    np.testing.assert_allclose(dphi.heads[0].b, W @ (means - 0.5), atol=1e-12)


def test_reweighted_theta_is_iwae_s() -> None:
    """Catches another bound's weights: wake-θ equals, draw for draw, the θ of Burda et al.'s bound."""
    arch, arena = small_vae()
    phi, theta = arch.nets(arena.views)
    x, eps = data(4, 5), RNG.standard_normal((3, 4, 2))
    made, expected = arena.like(), arena.like()
    reweighted(Decoded(), x, eps, None, phi, theta, *arch.nets(made.views), share=1.0)
    gradient(get("iw"), Decoded(), x, eps, phi, theta, *arch.nets(expected.views))
    for name in (n for n in made.views if n[0] == "p"):
        np.testing.assert_allclose(made.views[name], expected.views[name], rtol=1e-10, atol=1e-14)


def test_shares_mix_and_a_lone_draw_sleeps_alone() -> None:
    """Catches a mixture whose parts do not make up one, and K = 1 that is not wake-sleep."""
    z, dreamt = STATES[[[0, 3], [1, 2], [1, 1]]], Dream(X[::-1], STATES[:2])
    wake, sleep, mixed = (flat(both_ways(z, dreamt, share)[1].heads) for share in (1.0, 0.0, 0.3))
    np.testing.assert_allclose(mixed, 0.3 * wake + 0.7 * sleep, atol=1e-14)
    for a, b in zip(both_ways(z[:1], dreamt, 0.0), both_ways(z[:1], dreamt), strict=True):
        np.testing.assert_allclose(flat(a), flat(b), rtol=1e-12)
    np.testing.assert_allclose(both_ways(z, dreamt, 0.3)[0], both_ways(z, dreamt)[0])  # one bound, the ELBO


@pytest.mark.parametrize(
    ("samples", "share", "words"),
    [
        (1, 0.5, "wake-φ weighs draws against one another, and with K=1 .* φ would wander; take K=5"),
        (0, 0.0, "K=0: a posterior of no draws"),
        (2, 1.5, "share=1.5: expected wake-φ's part"),
        (2, 0.5, "leaves 0.5 of φ's direction to sleep: give a dream"),
    ],
)
def test_what_has_no_direction(samples: int, share: float, words: str) -> None:
    """Catches a K of 1 that trains φ on noise, and a sleep without a dream."""
    with pytest.raises(UsageError, match=words):
        both_ways(np.zeros((samples, 2, 2)), None, share)
