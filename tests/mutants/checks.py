"""§7.2 Eight checks of different kinds, each a function that fails loudly: what the gallery's bugs are shown to.

slopes     every gradient of the bound against complex steps, noise replayed, for each decoder; a recurrent unit's
adding     a second call doubles the cotangents
moments    what is sampled has the mean and variance that are named; means are probabilities
entropy    entropies against −E[log q] by quadrature
bound      log p(x) − E[ELBO] = KL(q ‖ posterior) in a linear-Gaussian model, row by row
evidence   importance sampling against exact log p(x)
extremes   log p at logits ±1e4, the KL where log σ² is −50
steps      Adam's first steps against a table worked by hand
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from scratchvae.arena import Arena
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.errors import CheckFailed
from scratchvae.gradcheck import check, library
from scratchvae.gradcheck.numeric import spread
from scratchvae.kernels import NUMPY
from scratchvae.models.linear_gaussian import LinearGaussian
from scratchvae.models.vae import LIKELIHOODS, Architecture, elbo, elbo_vjp
from scratchvae.training.config import Config
from scratchvae.training.evaluate import log_likelihood
from scratchvae.training.optim import Optimizer
from scratchvae.training.state import State
from scratchvae.types import Array

B, D, K = 3, 4, 2


def verdict(check: Callable[[], None]) -> str:
    """Why the check fails, "" if it passes; a warning or any exception is a failure too."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check()
        except Exception as error:  # a planted bug may break anything
            return str(error) or type(error).__name__
    return ""


def same(what: str, got: Any, expected: Any, tolerance: float = 1e-9) -> None:
    """Both within `tolerance` of the largest number, or CheckFailed."""
    got, expected = np.asarray(got), np.asarray(expected)
    error = np.max(np.abs(got - expected)) / max(1.0, float(np.max(np.abs(expected))))
    if not error <= tolerance:  # a NaN fails too
        raise CheckFailed(f"{what}: got {got.ravel()[:3]}, expected {expected.ravel()[:3]} (off by {error:.2g})")


def gauss_hermite(n: int) -> tuple[Array, Array]:
    """Nodes (n², K = 2) and weights of E[f(ε)], ε ~ N(0, I)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    grid = np.array([(a, b) for a in nodes for b in nodes])
    return grid, np.outer(weights, weights).ravel() / (2 * np.pi)


def model(likelihood: str) -> tuple[Architecture, Arena]:
    """A small VAE with every parameter away from zero."""
    arch = Architecture(D, K, (3,), likelihood=likelihood, variance=0.5)
    arena = Arena(arch.shapes(), "float64")
    arena.flat[...] = 0.7 * spread(1, arena.flat.shape)
    return arch, arena


def no_floor(d: Any) -> Any:
    """Cotangents of a net's parameters alone: the variance floor is a constant."""
    return d._replace(family=None)


def slopes() -> None:
    """∂L/∂φ, ∂L/∂θ of each decoder by complex step."""
    x, eps = (spread(2, (B, D)) > 0) * 1.0, spread(3, (B, K))

    def bound(phi: Any, theta: Any) -> Array:
        return elbo(x, eps, phi, theta)[0]

    def bound_vjp(arch: Architecture, w: Array, phi: Any, theta: Any) -> Any:
        zeros = Arena(arch.shapes(), "float64")  # fresh buffers: `adding` looks at the +=
        dphi, dtheta = arch.nets(zeros.views)
        elbo_vjp(w, elbo(x, eps, phi, theta)[1], x, eps, phi, theta, dphi, dtheta)
        return no_floor(dphi), no_floor(dtheta)

    for likelihood in LIKELIHOODS:
        arch, arena = model(likelihood)
        nets, floors = arch.nets(arena.views), ("phi.family", "theta.family")
        report = check(bound, partial(bound_vjp, arch), nets, methods=("complex",), constants=floors)
        if not report:
            raise CheckFailed(f"{likelihood}: {report}")
    for case in library.cases("recurrent.gru"):
        if not (report := case.run()):
            raise CheckFailed(str(report))


def adding() -> None:
    """Two calls give twice the cotangent."""
    arch, arena = model("bernoulli")
    x, eps, gradient = np.ones((B, D)), spread(3, (B, K)), arena.like()
    once = gradient.flat
    for _ in range(2):
        once = gradient.flat.copy()
        phi, theta = arch.nets(arena.views)
        elbo_vjp(np.ones(B), elbo(x, eps, phi, theta)[1], x, eps, phi, theta, *arch.nets(gradient.views))
    same("cotangents after two calls", gradient.flat, 2 * once)


def moments() -> None:
    """E[z] = μ, Var z = σ² by quadrature; P(x = 1) = the mean of samples at evenly spread uniforms."""
    q, (eps, weights) = Normal(spread(4, (1, K)), spread(5, (1, K))), gauss_hermite(6)
    z = q.sample(eps[:, None, :])[:, 0]
    mean = weights @ z
    same("E[z]", mean, q.mu[0])
    same("Var z", weights @ (z - mean) ** 2, np.exp(q.log_var[0]))
    p, u = Bernoulli(3 * spread(6, (D,))), (np.arange(1000)[:, None] + 0.5) / 1000
    same("P(x = 1)", p.mean, p.sample(np.broadcast_to(u, (1000, D))).mean(axis=0), 1e-3)


def entropy() -> None:
    """−E[log q] by quadrature, and over both bits."""
    q, (eps, weights) = Normal(spread(4, (1, K)), spread(5, (1, K))), gauss_hermite(6)
    z = q.mu + np.exp(0.5 * q.log_var) * eps  # not q.sample: that is `moments`' business
    log_q = -0.5 * (np.log(2 * np.pi) + q.log_var + (z - q.mu) ** 2 / np.exp(q.log_var)).sum(axis=-1)
    same("entropy of a Normal", q.entropy(), -(weights @ log_q))
    p = 1 / (1 + np.exp(-spread(6, (D,))))
    same("entropy of bits", Bernoulli(spread(6, (1, D))).entropy(), -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum())


def linear_vae() -> tuple[Architecture, Arena, LinearGaussian, Array]:
    """A VAE with a linear Gaussian decoder, the same model in closed form, and rows x."""
    arch = Architecture(D, K, (), likelihood="gaussian-fixed", variance=0.5)
    arena = Arena(arch.shapes(), "float64")
    arena.flat[...] = 0.4 * spread(7, arena.flat.shape)
    arena.views["q.log_var.b"][...] -= 1
    exact = LinearGaussian(arena.views["p.mu.W"], arena.views["p.mu.b"], np.log([0.5]))
    return arch, arena, exact, spread(8, (B, D))


def bound() -> None:
    """log p(x) − E[L] is the KL of q to the exact posterior, so never below zero."""
    arch, arena, exact, x = linear_vae()
    phi, theta = arch.nets(arena.views)
    eps, weights = gauss_hermite(6)
    _, cache = elbo(x, np.broadcast_to(eps[:, None, :], (len(eps), B, K)), phi, theta)
    L = weights @ np.array([elbo(x, np.broadcast_to(e, (B, K)), phi, theta)[0] for e in eps])
    mean, cov = exact.posterior(x)
    s, d = np.exp(cache.q.log_var), cache.q.mu - mean
    precision, log_det = np.linalg.inv(cov), np.linalg.slogdet(cov)[1]
    mahalanobis = np.einsum("bk,...kl,bl->b", d, precision, d)
    trace = np.einsum("...kk,bk->b", precision, s)
    gap = 0.5 * (trace + mahalanobis - K + log_det - cache.q.log_var.sum(axis=-1))
    same("log p(x) − ELBO", exact.log_marginal(x) - L, gap)


def evidence() -> None:
    """Importance sampling with 2000 draws lands on exact log p(x), within 0.02 nat here."""
    _, arena, exact, x = linear_vae()
    config = Config(latent=K, hidden=(), likelihood="gaussian-fixed", variance=0.5)
    state = State(dataclasses.replace(config, dtype="float64", binarisation="none", kernels="numpy"), D)
    state.arena.fill(arena.views)
    same("log p(x) by importance sampling", log_likelihood(state, x, 2000), exact.log_marginal(x), 0.02)


def extremes() -> None:
    """log p(x) = −|l| for a wrong bit at l = ±1e4, and the KL at log σ² = −50: finite, and the number that it is."""
    p = Bernoulli(np.array([[1e4, -1e4, 1e4]]))
    same("log p of bits", p.log_prob(np.array([[1.0, 0.0, 0.0]])), [-1e4])
    arch, arena = model("bernoulli")
    arena.views["q.log_var.W"][...], arena.views["q.log_var.b"][...] = 0, -50.0
    phi, theta = arch.nets(arena.views)
    _, cache = elbo(np.ones((B, D)), np.zeros((B, K)), phi, theta)
    kl = 0.5 * (cache.q.mu**2 + np.exp(-50.0) - 1 + 50).sum(axis=-1)
    same("KL at log_var = -50", cache.kl, kl)


# g = (1, −2), then (3, 0); β₁ = ¼ (with ½ the wrong convention would be the right one), β₂ = ¾, ε = ¼, α = 0.1.
#   m̂ = (1, −2),  v̂ = (1, 4);    m̂ = (2.4375, −0.375)/(15/16),  v̂ = (2.4375, 0.75)/(7/16)
def steps() -> None:
    """Two steps of Adam for two parameters."""
    optimizer = Optimizer("adam", beta1=0.25, beta2=0.75, epsilon=0.25)
    theta, slots = np.zeros(2), np.zeros((2, 2))
    optimizer.update(theta, np.array([1.0, -2.0]), slots, 1, 0.1, NUMPY)
    same("Adam's first step", theta, [0.1 / 1.25, -0.2 / 2.25])
    before = theta.copy()
    optimizer.update(theta, np.array([3.0, 0.0]), slots, 2, 0.1, NUMPY)
    second = 0.1 * np.array([2.6, -0.4]) / (np.sqrt([39 / 7, 12 / 7]) + 0.25)
    same("Adam's second step", theta - before, second)


CHECKS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (slopes, adding, moments, entropy, bound, evidence, extremes, steps)
}
