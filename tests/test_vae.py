"""§7.3 The bound: against its own definition written with scipy, against exact log p(x), and its gradient."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from oracles import close, data, gauss_hermite, nets_at, slopes, small_vae
from scipy import special, stats

from scratchvae.conditional import Net
from scratchvae.errors import UsageError
from scratchvae.initial import output_bias
from scratchvae.kernels import table
from scratchvae.models.vae import LIKELIHOODS, Architecture, decode, elbo, elbo_vjp, encode, rescaled
from scratchvae.types import Array

RNG = np.random.default_rng(21)
LATENT = 2
VARIANCE = 0.05


def by_hand(x: Array, p: Net) -> list[Array]:
    """A net's head outputs, written with einsum and numpy alone."""
    for layer in p.hidden:
        x = np.tanh(np.einsum("...i,io->...o", x, layer.W) + layer.b)
    return [np.einsum("...i,io->...o", x, head.W) + head.b for head in p.heads]


def log_likelihood(x: Array, z: Array, theta: Net) -> Array:
    """log p(x | z) by scipy."""
    outs, name = by_hand(z, theta), theta.family.name
    if name == "bernoulli":
        return np.asarray(stats.bernoulli.logpmf(x, special.expit(outs[0]))).sum(axis=-1)
    mean = special.expit(outs[0]) if name == "gaussian-sigmoid" else outs[0]
    variance = VARIANCE if name == "gaussian-fixed" else np.exp(outs[1]) + VARIANCE
    return np.asarray(stats.norm.logpdf(x, mean, np.sqrt(variance))).sum(axis=-1)


def definition(x: Array, eps: Array, phi: Net, theta: Net) -> Array:
    """E_q[log p(x | z)] by the given noise, minus the KL: eq. 10, term by term."""
    mu, log_var = by_hand(x, phi)
    eps = eps if eps.ndim == 3 else eps[None]
    reconstruction = np.mean([log_likelihood(x, mu + np.exp(log_var / 2) * e, theta) for e in eps], axis=0)
    kl: Array = 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).sum(axis=-1)
    return reconstruction - kl


def bound_of(arch: Architecture, x: Array, eps: Array, flat: Array) -> Array:
    """The bound as a function of all parameters in one vector."""
    return elbo(x, eps, *nets_at(arch, flat))[0]


CASES = [(likelihood, hidden) for likelihood in LIKELIHOODS for hidden in ((), (4,), (4, 3))]


@pytest.mark.parametrize("samples", [None, 1, 3], ids=["one draw", "S=1", "S=3"])
@pytest.mark.parametrize(("likelihood", "hidden"), CASES)
def test_elbo_is_its_definition(likelihood: str, hidden: tuple[int, ...], samples: int | None) -> None:
    """Nats per datapoint: catches a KL divided by the batch or by 784, a mean over columns, samples that are summed."""
    arch, arena = small_vae(likelihood=likelihood, hidden=hidden, variance=VARIANCE)
    phi, theta = arch.nets(arena.views)
    x = data(3, 5, likelihood)
    eps = RNG.standard_normal((3, LATENT) if samples is None else (samples, 3, LATENT))
    L, cache = elbo(x, eps, phi, theta)
    close(L, definition(x, eps, phi, theta))
    close(cache.reconstruction if samples is None else cache.reconstruction.mean(axis=0), L + cache.kl)


@pytest.mark.parametrize("samples", [None, 3], ids=["one draw", "S=3"])
@pytest.mark.parametrize(("likelihood", "hidden"), CASES)
def test_elbo_vjp(likelihood: str, hidden: tuple[int, ...], samples: int | None) -> None:
    """Catches every one of y0ast's ten wrong tensors: each element of each by complex step, noise replayed."""
    arch, arena = small_vae(likelihood=likelihood, hidden=hidden, variance=VARIANCE)
    gradient = arena.like()
    (phi, theta), (dphi, dtheta) = arch.nets(arena.views), arch.nets(gradient.views)
    x, w = data(3, 5, likelihood), RNG.standard_normal(3)
    eps = RNG.standard_normal((3, LATENT) if samples is None else (samples, 3, LATENT))
    _, cache = elbo(x, eps, phi, theta)
    elbo_vjp(w, cache, x, eps, phi, theta, dphi, dtheta)
    exact = slopes(partial(bound_of, arch, x, eps), arena.flat, w)
    close(gradient.flat, exact)
    elbo_vjp(w, cache, x, eps, phi, theta, dphi, dtheta)  # and added, not assigned
    close(gradient.flat, 2 * exact)


def test_samples_are_averaged_rows_are_independent() -> None:
    """Catches noise or weights of one row that reach another, and S samples that are not their mean."""
    arch, arena = small_vae()
    phi, theta = arch.nets(arena.views)
    x, eps = data(4, 5), RNG.standard_normal((3, 4, LATENT))
    L, _ = elbo(x, eps, phi, theta)
    close(L, np.mean([elbo(x, e, phi, theta)[0] for e in eps], axis=0))
    for b in range(4):
        close(elbo(x[b : b + 1], eps[:, b : b + 1], phi, theta)[0], L[b : b + 1])
    close(elbo(x[:0], eps[0, :0], phi, theta)[0], np.zeros(0))


def test_the_same_noise_gives_the_same_bits() -> None:
    """Catches kwj2104's error, another ε on the way back, and any state kept between two calls."""
    arch, arena = small_vae()
    phi, theta = arch.nets(arena.views)
    x, eps, first, second = data(4, 5), RNG.standard_normal((4, LATENT)), arena.like(), arena.like()
    kept = x.copy(), eps.copy(), arena.flat.copy()
    for gradient in (first, second):
        L, cache = elbo(x, eps, phi, theta)
        elbo(x, eps + 1, phi, theta)  # in between, another call
        elbo_vjp(np.ones(4), cache, x, eps, phi, theta, *arch.nets(gradient.views))
    assert np.array_equal(first.flat, second.flat)
    assert np.array_equal(L, elbo(x, eps, phi, theta)[0])
    assert all(np.array_equal(a, b) for a, b in zip(kept, (x, eps, arena.flat), strict=True))


def kl_inside(x: Array, eps: Array, phi: Net, theta: Net) -> Array:
    """What the bound itself subtracts, whatever the cache says."""
    L, cache = elbo(x, eps, phi, theta)
    return cache.reconstruction - L


# --- against exact log p(x) -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("latent", [1, 2])
def test_elbo_is_below_log_p_by_the_kl_to_the_posterior(latent: int, likelihood: str) -> None:
    """log p(x) − E[L] = KL(q ‖ p(z | x)) ≥ 0, by quadrature: catches bounds above log p(x) (numpy-ml) and gaps
    of any other size (a KL that is scaled, averaged or has the wrong sign)."""
    arch, arena = small_vae(latent=latent, likelihood=likelihood, variance=0.5, columns=3)
    arena.flat *= 0.6  # smooth enough for the nodes
    phi, theta = arch.nets(arena.views)
    x = data(4, 3, likelihood)
    nodes, weights = gauss_hermite(40, latent)
    p, _ = decode(nodes[:, None, :], theta)  # z ~ N(0, I)
    log_p = special.logsumexp(np.log(weights)[:, None] + p.log_prob(x), axis=0)
    eps = np.broadcast_to(nodes[:, None, :], (len(nodes), 4, latent))
    _, cache = elbo(x, eps, phi, theta)
    bound = weights @ cache.reconstruction - kl_inside(x, eps[0], phi, theta)
    q, _ = encode(x, phi)
    log_joint = cache.reconstruction + np.sum(stats.norm.logpdf(cache.z), axis=-1)
    log_q = np.sum(stats.norm.logpdf(cache.z, q.mu, np.exp(q.log_var / 2)), axis=-1)
    gap = weights @ (log_q - (log_joint - log_p))
    assert (gap > 1e-6).all()
    assert (bound <= log_p).all()
    close(log_p - bound, gap, 1e-8)


def test_elbo_is_log_p_at_the_exact_posterior() -> None:
    """A linear decoder with fixed σ² has a Gaussian posterior; q set to it makes the bound tight: to 1e-10."""
    arch, arena = small_vae(hidden=(), likelihood="gaussian-fixed", variance=VARIANCE)
    W, b = arena.views["p.mu.W"], arena.views["p.mu.b"]
    _, _, rotation = np.linalg.svd(W.T, full_matrices=False)
    W[...] = rotation @ W  # W Wᵀ, and with it the posterior covariance, becomes diagonal
    covariance = np.linalg.inv(np.eye(LATENT) + W @ W.T / VARIANCE)
    assert abs(covariance[0, 1]) < 1e-12
    arena.views["q.mu.W"][...] = W.T @ covariance / VARIANCE
    arena.views["q.mu.b"][...] = -b @ arena.views["q.mu.W"]
    arena.views["q.log_var.W"][...] = 0
    arena.views["q.log_var.b"][...] = np.log(np.diag(covariance))
    phi, theta = arch.nets(arena.views)
    x = RNG.standard_normal((4, 5))
    nodes, weights = gauss_hermite(3, LATENT)
    _, cache = elbo(x, np.broadcast_to(nodes[:, None, :], (9, 4, LATENT)), phi, theta)
    exact = np.asarray(stats.multivariate_normal(b, W.T @ W + VARIANCE * np.eye(5)).logpdf(x))
    close(weights @ cache.reconstruction - kl_inside(x, np.zeros((4, LATENT)), phi, theta), exact, 1e-10)


# --- types, tables, errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("samples", [None, 2], ids=["one draw", "S=2"])
def test_numba_is_numpy(likelihood: str, samples: int | None) -> None:
    """The bound and its gradient, by both tables: catches a kernel that is right alone and wrong in company."""
    arch, arena = small_vae(likelihood=likelihood, variance=VARIANCE)
    phi, theta = arch.nets(arena.views)
    x, w = data(3, 5, likelihood), RNG.standard_normal(3)
    eps = RNG.standard_normal((3, LATENT) if samples is None else (samples, 3, LATENT))
    results: list[tuple[Array, Array]] = []
    for name in ("numpy", "numba"):
        k, gradient = table(name), arena.like()
        L, cache = elbo(x, eps, phi, theta, k)
        elbo_vjp(w, cache, x, eps, phi, theta, *arch.nets(gradient.views), k)
        results.append((L, gradient.flat))
    close(results[1][0], results[0][0])
    close(results[1][1], results[0][1])


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_float32_stays_float32(likelihood: str, kernels: str) -> None:
    """Catches one float64 scalar on the way: from there on everything is twice as large."""
    arch, arena = small_vae(likelihood=likelihood, variance=VARIANCE, dtype="float32")
    phi, theta = arch.nets(arena.views)
    x, k = data(3, 5, likelihood).astype(np.float32), table(kernels)
    for shape in ((3, LATENT), (2, 3, LATENT)):
        eps = RNG.standard_normal(shape).astype(np.float32)
        L, cache = elbo(x, eps, phi, theta, k)
        arrays: list[Any] = [L, *cache.q, *cache.q_layers, cache.z, *cache.p, *cache.p_layers, cache.reconstruction]
        assert {a.dtype for a in (*arrays, cache.kl)} == {np.dtype("float32")}
        gradient = arena.like()
        elbo_vjp(np.ones(3, np.float32), cache, x, eps, phi, theta, *arch.nets(gradient.views), k)
        close(gradient.flat, slopes(partial(bound_of, arch, x, eps), arena.flat.astype(float)), 1e-5)


def test_nobody_asks_for_dx_of_the_data() -> None:
    """Catches the backward product of the layer that reads x, computed for nothing: all numbers would be right."""
    calls: list[str] = []

    def counted(dy: Array, W: Array) -> Array:
        calls.append("dense_vjp_x")
        return table("numpy").dense_vjp_x(dy, W)

    arch, arena = small_vae()
    k, x, eps = table("numpy")._replace(dense_vjp_x=counted), data(3, 5), RNG.standard_normal((3, LATENT))
    phi, theta = arch.nets(arena.views)
    _, cache = elbo(x, eps, phi, theta, k)
    elbo_vjp(np.ones(3), cache, x, eps, phi, theta, *arch.nets(arena.like().views), k)
    assert len(calls) == 4  # the decoder's head and hidden layer, the encoder's two heads


def test_names_and_shapes() -> None:
    """Weights are (in, out) and the decoder mirrors the encoder: catches a checkpoint that nobody else can read."""
    shapes = Architecture(784, latent=20, hidden=(500, 200), likelihood="gaussian").shapes()
    assert list(shapes) == [f"{name}.{part}" for name in (
        "q.hidden.0", "q.hidden.1", "q.mu", "q.log_var", "p.hidden.0", "p.hidden.1", "p.mu", "p.log_var"
    ) for part in "Wb"]  # fmt: skip
    weights = [shapes[name] for name in shapes if name.endswith(".W")]
    assert weights == [(784, 500), (500, 200), (200, 20), (200, 20), (20, 200), (200, 500), (500, 784), (500, 784)]
    assert all(shapes[name[:-1] + "b"] == shape[1:] for name, shape in shapes.items() if name.endswith(".W"))


@pytest.mark.parametrize("x", [np.zeros((3, 4)), np.zeros(5), np.zeros((1, 3, 5))])
def test_x_that_does_not_fit_is_refused(x: Array) -> None:
    """Catches a matmul's own message, and broadcasting that makes sense of nonsense."""
    arch, arena = small_vae()
    with pytest.raises(UsageError, match=r"x has shape .* but phi was built for rows of D=5 columns"):
        elbo(x, np.zeros((3, LATENT)), *arch.nets(arena.views))


def test_the_first_output_bias_for_means_beyond_a_sigmoid() -> None:
    """No sigmoid reaches −2 or 7: the nearest, where NaN once was the start of every run."""
    found = output_bias(np.array([-2.0, 0.0, 0.5, 1.0, 7.0]), "gaussian-sigmoid")
    np.testing.assert_array_equal(found[[0, 4]], found[[1, 3]])
    np.testing.assert_allclose(1 / (1 + np.exp(-found[[1, 2, 3]])), [0.0005, 0.5, 0.9995], atol=1e-6)


def test_output_bias_is_the_heads_that_names_the_mean() -> None:
    """Catches a data mean written into a log-variance."""
    assert Architecture(5).output_bias == "p.logits.b"
    assert Architecture(5, likelihood="gaussian").output_bias == "p.mu.b"
    assert Architecture(5, likelihood="gaussian").likelihood_family.name == "gaussian"


def test_architecture_is_a_value() -> None:
    """Catches a list for `hidden` that makes two equal architectures differ and cannot be hashed."""
    assert Architecture(5, hidden=[4, 3]) == Architecture(5, hidden=(4, 3))  # type: ignore[arg-type]
    assert hash(Architecture(5, hidden=[4])) == hash(Architecture(5, hidden=(4,)))  # type: ignore[arg-type]


WRONG = [(1, LATENT), (3, 1), (3,), (2, 1, LATENT), (2, 3, 1), (0, 3, LATENT), (1, 1, 3, LATENT)]


@pytest.mark.parametrize("shape", WRONG, ids=str)
def test_noise_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    """Catches broadcasting that shares one draw among rows or latents, and a mean over no samples."""
    arch, arena = small_vae()
    with pytest.raises(UsageError, match=r"eps has shape .*, expected \(3, 2\), or \(S, 3, 2\)"):
        elbo(np.zeros((3, 5)), np.zeros(shape), *arch.nets(arena.views))


@pytest.mark.parametrize(("options", "words"), [
    ({"likelihood": "poison"}, "likelihood 'poison' is unknown"),
    ({"activation": "swish"}, "activation 'swish' is unknown"),
    ({"hidden": (4, 0)}, "sizes must be at least 1"),
    ({"latent": 0}, "sizes must be at least 1"),
    ({"variance": 0.0}, "variance=0.0 must be above 0"),
])  # fmt: skip
def test_architecture_refuses(options: dict[str, Any], words: str) -> None:
    """Catches nonsense where it is written, before anything is allocated."""
    with pytest.raises(UsageError, match=words):
        Architecture(5, **options)


# --- missing entries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [None, 3], ids=["one draw", "S=3"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_missing_entries_add_nothing(likelihood: str, samples: int | None) -> None:
    """The bound on log p(x_obs): catches a missing entry in the likelihood, and one that pulls at a parameter."""
    arch, arena = small_vae(likelihood=likelihood, variance=VARIANCE)
    gradient = arena.like()
    phi, theta = arch.nets(arena.views)
    seen = (np.arange(15).reshape(3, 5) % 4 != 2).astype(float)
    x, w = seen * data(3, 5, likelihood), RNG.standard_normal(3)
    eps = RNG.standard_normal((3, LATENT) if samples is None else (samples, 3, LATENT))
    L, cache = elbo(x, eps, phi, theta, m=seen)
    p: Any = decode(cache.z, theta)[0]
    one = [type(p)(*(f[..., d : d + 1] for f in p)).log_prob(x[:, d : d + 1]) for d in range(5)]
    expected = sum(seen[:, d] * one[d] for d in range(5))
    close(L, (expected if samples is None else np.mean(expected, axis=0)) - cache.kl)
    close(elbo(x, eps, phi, theta, m=np.ones((3, 5)))[0], elbo(x, eps, phi, theta)[0])
    elbo_vjp(w, cache, x, eps, phi, theta, *arch.nets(gradient.views), m=seen)
    close(gradient.flat, slopes(lambda flat: elbo(x, eps, *nets_at(arch, flat), m=seen)[0], arena.flat, w))


def test_the_encoder_sees_a_row_with_gaps_on_the_scale_of_a_whole_one() -> None:
    """x · D / (number observed), in x's type; a row that was not observed at all stays at zero. Catches the bound
    that encodes x as it is."""
    m = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], bool)
    x = np.arange(1, 21, dtype=np.float32).reshape(4, 5) * m
    seen = rescaled(x, m)
    assert seen.dtype == np.float32
    close(seen, x * np.array([[1], [5 / 2], [5], [0]]), 1e-6)
    arch, arena = small_vae(likelihood="gaussian", variance=VARIANCE)
    phi, theta = arch.nets(arena.views)
    _, cache = elbo(x.astype(float), np.zeros((4, LATENT)), phi, theta, m=m)
    close(cache.q.mu, by_hand(rescaled(x.astype(float), m), phi)[0])


def test_a_learned_prior_has_its_own_arrays() -> None:
    """Catches axes exchanged, and pseudo-inputs as wide as the codes."""
    names = {"prior.mu": (3, 2), "prior.log_var": (3, 2), "prior.logits": (3,)}
    assert {k: v for k, v in Architecture(5, 2, prior="mixture:3").shapes().items() if "prior" in k} == names
    assert Architecture(5, 2, prior="vamp:3").shapes()["prior.u"] == (3, 5)
    assert not any("prior" in name for name in Architecture(5, 2).shapes())
