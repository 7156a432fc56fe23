"""§7.1 M2: the bound of a conditional VAE, the exact sum over classes, and its gradient."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchvae.arena import Arena
from scratchvae.conditional import net
from scratchvae.distributions import Normal
from scratchvae.errors import UsageError
from scratchvae.gradcheck.library import cases
from scratchvae.kernels import NUMPY, table
from scratchvae.models.semi_supervised import (
    SemiSupervised,
    classify,
    classify_vjp,
    elbo,
    elbo_vjp,
    every,
    log_weights,
    marginal,
    marginal_vjp,
)
from scratchvae.types import Array


def made(seed: int = 0, dtype: str = "float64", **sizes: Any) -> tuple[SemiSupervised, Arena, Arena]:
    """A small model with weights that are no small ones."""
    a = SemiSupervised(**{"columns": 5, "classes": 3, "latent": 1, "hidden": (4,), **sizes})
    arena = Arena(a.shapes(), dtype)
    arena.flat[...] = 0.8 * np.random.default_rng(seed).normal(size=arena.flat.size)
    return a, arena, arena.like()


def data(a: SemiSupervised, rows: int = 4, seed: int = 1, dtype: str = "float64") -> tuple[Array, Array]:
    """Bits (B, D) and ε (C, B, K)."""
    draw = np.random.default_rng(seed)
    x = (draw.random((rows, a.columns)) < 0.5).astype(dtype)
    return x, draw.normal(size=(a.classes, rows, a.latent)).astype(dtype)


def slopes(a: SemiSupervised, arena: Arena, work: Any) -> Array:
    """What work(phi, theta, dphi, dtheta) adds, flat."""
    gradient = arena.like()
    work(*a.nets(arena.views), *a.nets(gradient.views))
    return gradient.flat


@pytest.mark.parametrize("case", [*cases("semi_supervised")], ids=lambda case: case.name)
def test_every_slope_is_the_slope(case: Any) -> None:
    """Catches any slip in a derivative: complex steps, 1e-12."""
    report = case.run()
    assert report.ok, str(report)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(2, 5), st.integers(1, 3), st.integers(0, 9))
def test_a_class_is_a_one_hot(rows: int, classes: int, latent: int, seed: int) -> None:
    """Catches the wrong row of W, or classes in another order: nets of (x, one-hot) and (z, one-hot), as they are
    drawn in the paper."""
    a, arena, _ = made(seed, classes=classes, latent=latent)
    (x, eps), (phi, theta) = data(a, rows, seed), a.nets(arena.views)
    L = elbo(x, every(classes), eps, phi, theta)[0]
    for c in range(classes):
        hot = np.tile(np.eye(classes)[c], (rows, 1))
        q = net(np.hstack([x, hot]), phi.z)[0]
        p = net(np.hstack([q.sample(eps[c]), hot]), theta)[0]
        np.testing.assert_allclose(L[c], p.log_prob(x) - q.kl() - np.log(classes), rtol=1e-12)
        codes = np.full(rows, c)
        np.testing.assert_allclose(elbo(x, codes, eps[c], phi, theta)[0], L[c], rtol=1e-12)


def test_marginal_is_the_sum() -> None:
    """Catches a lost entropy or log p(y): eq. 7 of the paper, class by class."""
    a, arena, _ = made()
    (x, eps), (phi, theta) = data(a), a.nets(arena.views)
    log_q = classify(x, phi)[0]
    np.testing.assert_allclose(np.exp(log_q).sum(axis=1), 1, rtol=1e-14)
    each = [np.exp(log_q[:, c]) * elbo(x, np.full(4, c), eps[c], phi, theta)[0] for c in range(3)]
    entropy = -(np.exp(log_q) * log_q).sum(axis=1)
    np.testing.assert_allclose(marginal(x, eps, phi, theta)[0], sum(each) + entropy, rtol=1e-12)


def log_p(a: SemiSupervised, arena: Arena, x: Array) -> Array:
    """log Σ_y p(y) ∫ p(z) p(x | z, y) dz by the trapezoid rule, for one latent: (B,)."""
    theta = a.nets(arena.views)[1]
    z = np.linspace(-9, 9, 1801)[:, None]
    parts = []
    for c in range(a.classes):
        p = net(np.hstack([z, np.tile(np.eye(a.classes)[c], (len(z), 1))]), theta)[0]
        each = np.stack([p.log_prob(np.broadcast_to(row, (len(z), len(row)))) for row in x])
        parts.append(np.logaddexp.reduce(each - 0.5 * z[:, 0] ** 2 - 0.5 * np.log(2 * np.pi), axis=1))
    found: Array = np.logaddexp.reduce(parts, axis=0) + np.log(z[1, 0] - z[0, 0]) - np.log(a.classes)
    return found


def test_the_bound_is_below_log_p() -> None:
    """Catches a bound that bounds nothing, and importance weights of another mean: both beside quadrature."""
    a, arena, _ = made(3)
    x, _ = data(a)
    phi, theta = a.nets(arena.views)
    many = np.random.default_rng(0).normal(size=(4000, 3, len(x), 1))
    bound = np.mean([marginal(x, eps, phi, theta)[0] for eps in many], axis=0)
    truth = log_p(a, arena, x)
    assert (bound < truth - 0.01).all()
    weights = np.exp(np.array([log_weights(x, eps, phi, theta) for eps in many]) - truth)
    error = weights.std(axis=0) / len(many) ** 0.5
    assert (np.abs(weights.mean(axis=0) - 1) < 4.5 * error).all()
    assert (error < 0.1).all()


def test_the_score_function_has_it_for_its_mean() -> None:
    """Catches a sum over classes whose slope in φ is not that of the expectation: the estimator by draws of y is right
    in the mean (z-scores), and the sum is what has no variance. Its rows: r_y ∂log q_y + ∂L_y at y ~ q(y | x)."""
    a, arena, _ = made(5)
    x, eps = data(a, rows=1)
    phi, theta = a.nets(arena.views)
    log_q, layers = classify(x, phi)
    L = elbo(x, every(3), eps, phi, theta)[0][:, 0]
    q = np.exp(log_q[0])

    def of(y: int) -> Array:
        def work(phi: Any, theta: Any, dphi: Any, dtheta: Any) -> None:
            score = np.eye(3)[[y]] * (L[y] - log_q[0, y])
            classify_vjp(score, log_q, layers, phi, dphi)
            one = np.array([y])
            elbo_vjp(np.ones(1), elbo(x, one, eps[y], phi, theta)[1], x, one, eps[y], phi, theta, dphi, dtheta)

        return slopes(a, arena, work)

    rows = np.array([of(y) for y in range(3)])

    def exact(phi: Any, theta: Any, dphi: Any, dtheta: Any) -> None:
        marginal_vjp(np.ones(1), marginal(x, eps, phi, theta)[1], x, eps, phi, theta, dphi, dtheta)

    enumerated = slopes(a, arena, exact)
    np.testing.assert_allclose(q @ rows, enumerated, rtol=1e-10, atol=1e-12)  # its mean, with no draw
    drawn = rows[np.random.default_rng(7).choice(3, size=20_000, p=q)]
    spread = drawn.std(axis=0)
    z = (drawn.mean(axis=0) - enumerated)[spread > 1e-9] / (spread[spread > 1e-9] / 20_000**0.5)
    assert np.abs(z).max() < 5
    assert spread.max() > 0.1  # and the draws do vary


@pytest.mark.parametrize("rows", [1, 7])
def test_both_tables_agree(rows: int) -> None:
    """Catches a compiled kernel that is handed arrays of (C, B, K) in the wrong order."""
    a, arena, _ = made(2, columns=9, hidden=(6,))
    x, eps = data(a, rows)
    found = []
    for k in (NUMPY, table("numba")):
        L, cache = marginal(x, eps, *a.nets(arena.views), k)
        w = np.linspace(1, 2, rows)

        def work(phi: Any, theta: Any, dphi: Any, dtheta: Any, cache: Any = cache, w: Array = w, k: Any = k) -> None:
            marginal_vjp(w, cache, x, eps, phi, theta, dphi, dtheta, k)

        found.append((L, slopes(a, arena, work)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-11)


def test_torch_has_the_same_slopes() -> None:
    """Catches a hand-written slope that autograd does not share: both bounds and the classifier's term, 1e-9."""
    torch = pytest.importorskip("torch")
    a, arena, _ = made(4, hidden=(4, 3))
    x, eps = data(a)
    codes, n = np.array([1, 0]), 2

    def work(phi: Any, theta: Any, dphi: Any, dtheta: Any) -> None:
        own, rest = eps[codes, np.arange(n)], np.ascontiguousarray(eps[:, n:])
        elbo_vjp(np.ones(n), elbo(x[:n], codes, own, phi, theta)[1], x[:n], codes, own, phi, theta, dphi, dtheta)
        log_q, layers = classify(x[:n], phi)
        classify_vjp(np.eye(3)[codes], log_q, layers, phi, dphi)
        marginal_vjp(np.ones(2), marginal(x[n:], rest, phi, theta)[1], x[n:], rest, phi, theta, dphi, dtheta)

    P = {name: torch.tensor(view, requires_grad=True) for name, view in arena.views.items()}
    softplus, X, E = torch.nn.functional.softplus, torch.tensor(x), torch.tensor(eps)

    def mlp(prefix: str, h: Any) -> Any:
        for l in range(2):
            h = softplus(h @ P[f"{prefix}.hidden.{l}.W"] + P[f"{prefix}.hidden.{l}.b"])
        return h

    def head(prefix: str, name: str, h: Any) -> Any:
        return h @ P[f"{prefix}.{name}.W"] + P[f"{prefix}.{name}.b"]

    def minus_l(x: Any, c: int, eps: Any) -> Any:
        hot = torch.eye(3, dtype=x.dtype)[c].expand(len(x), 3)
        h = mlp("q.z", torch.cat([x, hot], 1))
        mu, log_var = head("q.z", "mu", h), head("q.z", "log_var", h)
        logits = head("p", "logits", mlp("p", torch.cat([mu + (log_var / 2).exp() * eps, hot], 1)))
        kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1)
        return (x * logits - softplus(logits)).sum(1) - kl - np.log(3)

    log_q = torch.log_softmax(head("q.y", "logits", mlp("q.y", X)), 1)
    L = torch.stack([minus_l(X, c, E[c]) for c in range(3)], 1)
    first = torch.tensor(codes), torch.arange(n)
    total = (log_q.exp() * (L - log_q)).sum(1)[n:].sum() + (L + log_q)[first[1], first[0]].sum()
    total.backward()
    expected = np.concatenate([P[name].grad.numpy().reshape(-1) for name in arena.views])
    np.testing.assert_allclose(slopes(a, arena, work), expected, rtol=1e-9, atol=1e-11)


def test_importance_weights_are_of_the_densities() -> None:
    """Catches a latent that is left out, a mean for a sum, and classes that do not count as 1/C each: p(x, z, y)/q by
    `Normal.log_prob`, of nets of (x, one-hot), with two latents and two hidden layers, which the decoder mirrors."""
    a, arena, _ = made(3, latent=2, hidden=(4, 3))
    assert {name: a.shapes()[f"p.hidden.{name}.W"] for name in (0, 1)} == {0: (2 + 3, 3), 1: (3, 4)}
    (x, eps), (phi, theta) = data(a), a.nets(arena.views)
    found = []
    for c, own in enumerate(eps):
        hot = np.tile(np.eye(3)[c], (len(x), 1))
        q = net(np.hstack([x, hot]), phi.z)[0]
        z = q.sample(own)
        prior = Normal(np.zeros(2), np.zeros(2)).log_prob(z)
        found.append(net(np.hstack([z, hot]), theta)[0].log_prob(x) + prior - q.log_prob(z) - np.log(3))
    np.testing.assert_allclose(log_weights(x, eps, phi, theta), np.logaddexp.reduce(found, axis=0), rtol=1e-12)


def test_the_likelihood_has_the_variance_that_is_given() -> None:
    """Catches the grey level's variance for the one that was asked for."""
    a, arena, _ = made(likelihood="gaussian", variance=0.3)
    assert a.nets(arena.views)[1].family.variance == 0.3


def test_sizes_that_do_not_fit_are_refused() -> None:
    """Catches rows of other columns, taken apart as if classes stood in them, and sizes that no net has."""
    a, arena, _ = made()
    x, eps = data(a)
    with pytest.raises(UsageError, match=r"x has shape \(4, 6\) but phi was built for rows of D=5 columns"):
        marginal(np.hstack([x, x[:, :1]]), eps, *a.nets(arena.views))
    with pytest.raises(UsageError, match="sizes must be at least 1"):
        made(latent=0)


def test_noise_of_another_shape_is_refused() -> None:
    """Catches draws that are shared by broadcasting: one for all classes would pass in silence."""
    a, arena, _ = made()
    x, eps = data(a)
    with pytest.raises(UsageError, match="a draw for each row and class"):
        marginal(x, eps[:1], *a.nets(arena.views))
    with pytest.raises(UsageError, match="two classes and a hidden layer"):
        SemiSupervised(5, 1)
