"""Several latent layers: every cotangent by complex step; one layer is the VAE; the estimators share one mean."""

from typing import Any

import numpy as np
import pytest

from scratchvae.arena import Arena
from scratchvae.conditional import Family, Net
from scratchvae.estimators import deep, get
from scratchvae.estimators.amortised import gradient
from scratchvae.models import ladder, vae
from scratchvae.models.decoded import Decoded
from scratchvae.models.vae import net_shapes, view_net
from scratchvae.types import Array

D, B = 7, 5
RNG = np.random.default_rng(5)
LIKELIHOODS = ("bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-fixed")


class Tower:
    """A ladder's nets over one arena: latent sizes from x upwards, the same hidden layers in each arrow."""

    def __init__(self, latent: tuple[int, ...], likelihood: str = "bernoulli", hidden: tuple[int, ...] = (4,)) -> None:
        self.parts: list[tuple[str, tuple[int, ...], Family, int]] = []
        sizes = (D, *latent)
        for l, (below, above) in enumerate(zip(sizes, latent, strict=False)):
            self.parts.append((f"q{l}", (below, *hidden), Family("normal"), above))
            self.parts.append(
                (f"p{l}", (above, *hidden), Family(likelihood, 0.1) if l == 0 else Family("normal"), below)
            )
        self.shapes = {name: shape for part in self.parts for name, shape in net_shapes(*part).items()}

    def nets(self, views: dict[str, Array]) -> tuple[list[Net], list[Net]]:
        nets = [view_net(name, sizes, family, "tanh", views) for name, sizes, family, _ in self.parts]
        return nets[0::2], nets[1::2]

    def arena(self) -> Arena:
        arena = Arena(self.shapes, "float64")
        arena.flat[:] = 0.5 * RNG.normal(size=arena.flat.size)
        return arena


def noise(latent: tuple[int, ...], samples: int | None = None) -> list[Array]:
    return [RNG.normal(size=(B, K) if samples is None else (samples, B, K)) for K in latent]


def complex_step(tower: Tower, arena: Arena, f: Any) -> Array:
    """The slope of the real scalar f(phi, theta) in every parameter."""
    moved, slope = Arena(tower.shapes, "complex128"), np.empty(arena.flat.size)
    for i in range(slope.size):
        moved.flat[:] = arena.flat
        moved.flat[i] += 1e-150j
        slope[i] = f(*tower.nets(moved.views)).imag / 1e-150
    return slope


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("samples", [None, 3])
@pytest.mark.parametrize("latent", [(2,), (3, 2), (3, 2, 2)])
def test_elbo_vjp_is_the_slope(latent: tuple[int, ...], samples: int | None, likelihood: str) -> None:
    """A share of dz[l] that is forgotten (parent in p, parent in q, value under p, value under q) shows here."""
    tower = Tower(latent, likelihood)
    arena, gradient_ = tower.arena(), Arena(tower.shapes, "float64")
    x, eps, w = RNG.random((B, D)), noise(latent, samples), RNG.normal(size=B)
    nets, dnets = tower.nets(arena.views), tower.nets(gradient_.views)
    _, f = ladder.elbo(x, eps, *nets)
    ladder.elbo_vjp(w, f, *nets, *dnets)
    slope = complex_step(tower, arena, lambda phi, theta: (w * ladder.elbo(x, eps, phi, theta)[0]).sum())
    assert np.abs(gradient_.flat - slope).max() <= 1e-12 * np.abs(slope).max()


@pytest.mark.parametrize("samples", [None, 1, 4])
def test_one_layer_is_the_vae(samples: int | None) -> None:
    """Bit for bit: bound and every cotangent."""
    tower = Tower((3,))
    arena, a, b = tower.arena(), Arena(tower.shapes, "float64"), Arena(tower.shapes, "float64")
    x, eps, w = RNG.random((B, D)), noise((3,), samples), RNG.normal(size=B)
    (phi, theta), (da, db) = tower.nets(arena.views), (tower.nets(a.views), tower.nets(b.views))
    L, f = ladder.elbo(x, eps, phi, theta)
    ladder.elbo_vjp(w, f, phi, theta, *da)
    expected, cache = vae.elbo(x, eps[0], phi[0], theta[0])
    vae.elbo_vjp(w, cache, x, eps[0], phi[0], theta[0], db[0][0], db[1][0])
    np.testing.assert_array_equal(L, expected)
    np.testing.assert_array_equal(a.flat, b.flat)


@pytest.mark.parametrize("name", ["score", "score_loo", "sgvb_a", "stl", "iw", "dreg", "vr:0.5", "vr_max"])
def test_one_layer_has_the_estimators_of_the_vae(name: str) -> None:
    """The ladder's walk by weights against the frame's, on the same draws."""
    tower, e = Tower((3,)), get(name)
    arena, a, b = tower.arena(), Arena(tower.shapes, "float64"), Arena(tower.shapes, "float64")
    x, eps = RNG.random((B, D)), noise((3,), 4)
    (phi, theta), (da, db) = tower.nets(arena.views), (tower.nets(a.views), tower.nets(b.views))
    L = deep.gradient(e, x, eps, phi, theta, *da)
    expected = gradient(e, Decoded(), x, eps[0], phi[0], theta[0], db[0][0], db[1][0])
    np.testing.assert_allclose(L, expected, rtol=1e-12)
    np.testing.assert_allclose(a.flat, b.flat, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("hidden", [(4,), ()])
@pytest.mark.parametrize("name", ["sgvb_a", "iw"])
def test_total_derivatives_are_slopes(name: str, hidden: tuple[int, ...]) -> None:
    """Replayed noise: these two estimators are the slope of their own sampled bound, at every depth, also where an
    arrow has heads alone."""
    latent, e = (3, 2, 2), get(name)
    tower = Tower(latent, hidden=hidden)
    arena, grad = tower.arena(), Arena(tower.shapes, "float64")
    x, eps = RNG.random((B, D)), noise(latent, 4)
    deep.gradient(e, x, eps, *tower.nets(arena.views), *tower.nets(grad.views))

    def bound(phi: Any, theta: Any) -> Any:
        r = ladder.log_ratio(ladder.forward(x, eps, phi, theta))
        return (r.mean(axis=0) if name == "sgvb_a" else log_mean(r)).mean()

    slope = complex_step(tower, arena, bound)
    assert np.abs(grad.flat - slope).max() <= 1e-12 * np.abs(slope).max()


def log_mean(r: Array) -> Array:
    shift = r.real.max(axis=0)
    return shift + np.log(np.exp(r - shift).mean(axis=0))


@pytest.mark.parametrize(("name", "reference"), [("stl", "sgvb_a"), ("dreg", "iw"), ("score_loo", "sgvb_a")])
def test_estimators_share_one_mean_on_two_layers(name: str, reference: str) -> None:
    """Paired draws: the difference of two estimators has mean zero in every parameter, |t| <= 4.8 over all of them."""
    latent = (2, 2)
    tower = Tower(latent)
    arena = tower.arena()
    x, found = RNG.random((2, D)), []
    for _ in range(150):
        eps = [np.repeat(RNG.normal(size=(2, 1, 200, K)), 2, axis=1).reshape(2, 400, K) for K in latent]
        pair = []
        for which in (name, reference):
            grad = Arena(tower.shapes, "float64")
            nets = tower.nets(arena.views)
            deep.gradient(get(which), np.repeat(x, 200, axis=0), eps, *nets, *tower.nets(grad.views))
            pair.append(grad.flat)
        found.append(pair[0] - pair[1])
    difference = np.array(found)
    t = difference.mean(axis=0) / (difference.std(axis=0, ddof=1) / np.sqrt(len(found)) + 1e-300)
    assert np.abs(t).max() < 4.8


@pytest.mark.parametrize("layer", [0, 1])
def test_noise_that_does_not_fit_is_refused(layer: int) -> None:
    """Catches one draw shared by the rows or the latents of a layer."""
    tower = Tower((3, 2))
    for shape in ((1, 3 - layer), (B, 1), (4, B, 5)):
        eps = noise((3, 2))
        eps[layer] = np.zeros(shape)
        with pytest.raises(ValueError, match=rf"eps has shape .*, expected \({B}, {3 - layer}\)"):
            ladder.forward(RNG.random((B, D)), eps, *tower.nets(tower.arena().views))


def test_a_rule_that_needs_more_than_r_is_refused() -> None:
    """One clear line, not a wrong gradient."""
    tower = Tower((2, 2))
    nets, dnets = tower.nets(tower.arena().views), tower.nets(Arena(tower.shapes, "float64").views)
    with pytest.raises(ValueError, match="'measure' is not defined on several latent layers"):
        deep.gradient(get("measure"), RNG.random((B, D)), noise((2, 2), 2), *nets, *dnets)


def test_the_likelihood_is_the_lowest_family() -> None:
    """Catches p(x | z) taken for the density of a layer above."""
    a = ladder.LadderArchitecture(3, (2, 2), ((4,), ()), likelihood="gaussian")
    assert a.likelihood_family.name == "gaussian"
