"""§7.2.5 What any q and any p change in nets and models: how x and z enter, which heads they have, what is drawn."""

from typing import Any

import numpy as np
import pytest
from oracles import close, nets_at, slopes, small_vae
from scipy import stats

from scratchvae.conditional import (
    HEADS,
    Family,
    entered,
    entered_vjp,
    from_heads,
    from_heads_vjp,
    kind,
    net,
    net_vjp,
    sample_of,
)
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.distributions.kinds import posterior
from scratchvae.distributions.quantiles import draw
from scratchvae.errors import UsageError
from scratchvae.models.decoded import Decoded, Generative, standard
from scratchvae.models.vae import LIKELIHOODS, Architecture, check_columns, encode
from scratchvae.tree import zeros_like
from scratchvae.types import Array

RNG = np.random.default_rng(77)
Z, W = RNG.standard_normal((2, 3, 2)), RNG.standard_normal((2, 3))
LEVELS = np.array([[0, 2, 1, 0], [1, 1, 0, 2], [2, 0, 2, 1.0]])


def test_an_angle_enters_as_a_point_on_the_circle() -> None:
    """Catches cosines and sines in each other's place, a lost minus, and an axis that samples would shift."""
    h, dh = entered(Z, "circle"), RNG.standard_normal((2, 3, 4))
    np.testing.assert_array_equal(h, np.concatenate([np.cos(Z), np.sin(Z)], axis=2))
    close(entered_vjp(dh, h, "circle"), slopes(lambda z: entered(z, "circle"), Z, dh))
    assert entered(Z, "") is Z
    assert entered_vjp(dh, h, "") is dh


def test_a_decoder_of_angles() -> None:
    """A full turn changes nothing: catches a decoder that sees the angle itself, and a slope of the points."""
    arch, arena = small_vae(columns=3, posterior="von-mises")
    theta = arch.nets(arena.views)[1]
    assert theta.hidden[0].W.shape == (4, 4)
    p, layers = net(Z, theta)
    close(net(Z + 2 * np.pi, theta)[0].logits, p.logits)
    dp = Bernoulli(RNG.standard_normal(p.logits.shape))
    dz = net_vjp(dp, p, layers, theta, None)
    assert dz is not None
    close(dz, slopes(lambda z: net(z, theta)[0].logits, Z, dp.logits))


def test_data_enter_by_their_kind() -> None:
    """Classes enter as one-hots, hidden ones as zeros: catches an encoder that reads a class as a number, that sees
    what is hidden, or that turns its features into features once more."""
    arch, arena = small_vae(columns=4, likelihood="categorical:3")
    phi = arch.nets(arena.views)[0]
    one_hots, plain, m = np.eye(3)[LEVELS.astype(int)].reshape(3, 12), phi._replace(enter=""), np.ones((3, 4))
    assert (phi.enter, phi.hidden[0].W.shape) == ("categorical:3", (12, 4))
    for got in (encode(LEVELS, phi)[0], encode(LEVELS, phi, m=m)[0], net(LEVELS, phi)[0]):
        close(got.mu, net(one_hots, plain)[0].mu)
    m[:, 1] = 0
    other = np.where(m == 1, LEVELS, 2 - LEVELS)
    seen, _ = encode(LEVELS, phi, m=m)
    close(seen.mu, encode(other, phi, m=m)[0].mu)
    hidden = (one_hots.reshape(3, 4, 3) * m[:, :, None] * (4 / 3)).reshape(3, 12)
    close(seen.mu, net(hidden, plain)[0].mu)


@pytest.mark.parametrize("x", [LEVELS[0], LEVELS[:, :3], np.zeros((3, 12)), np.zeros((1, 3, 4))])
def test_rows_that_do_not_fit_such_an_encoder_are_refused(x: Array) -> None:
    """Catches rows with as many columns as there are one-hots, which would pass for rows."""
    arch, arena = small_vae(columns=4, likelihood="categorical:3")
    phi = arch.nets(arena.views)[0]
    check_columns(LEVELS, phi)
    with pytest.raises(UsageError, match="12 numbers as categorical:3 enters"):
        check_columns(x, phi)


def test_heads_by_name() -> None:
    """Catches widths of one family for another's."""
    for name in HEADS:
        assert Family(name).widths(3) == dict.fromkeys(HEADS[name], 3)
    assert Family("categorical:3").widths(2) == {"logits": 6}
    mixed = Family("0=gaussian,1=categorical:4")
    assert mixed.widths(2) == kind(mixed.name).widths(2)
    assert sum(mixed.widths(2).values()) == 6


def test_cotangents_of_mixed_heads() -> None:
    """Through the floor of a Gaussian column's σ²: catches the distribution's cotangents taken for the heads'."""
    family = Family("0=gaussian,1=poisson", variance=0.3)
    outs, x = [RNG.standard_normal((3, n)) for n in family.widths(2).values()], np.array([[0.4, 2], [-1, 0], [2, 5.0]])
    p, w = from_heads(outs, family), RNG.standard_normal(3)
    douts = from_heads_vjp(p.log_prob_vjp(w, x)[1], p, family)
    for i, out in enumerate(outs):
        f = lambda o, i=i: from_heads([*outs[:i], o, *outs[i + 1 :]], family).log_prob(x)  # noqa: E731
        close(douts[i], slopes(f, out, w))


def test_which_models_are_compiled() -> None:
    """Catches a step compiled for a model that it does not know, or composed for one that it does."""
    assert all(Architecture(3, likelihood=name).scheduled for name in LIKELIHOODS)
    assert not Architecture(3, likelihood="poisson").scheduled
    assert not Architecture(3, posterior="gamma").scheduled
    assert not Architecture(3, prior="mixture:3").scheduled
    assert (Architecture(3).q, Architecture(3, posterior="gamma").q) == ("normal", "q:gamma")
    with pytest.raises(UsageError):
        Architecture(3, posterior="gama")


def test_draws_of_every_kind() -> None:
    """Catches normals where uniforms are meant, and the other way round."""
    u, eps = RNG.random((3, 4)), RNG.standard_normal((3, 4))
    q, bits = Normal(eps + 1, eps / 2), Bernoulli(eps)
    np.testing.assert_array_equal(sample_of(q, u), q.sample(u))
    np.testing.assert_array_equal(sample_of(bits, u), bits.sample(u))
    rate = RNG.standard_normal((3, 4))
    counts = from_heads([rate], Family("poisson"))
    np.testing.assert_array_equal(sample_of(counts, u), stats.poisson.ppf(u, np.exp(rate)))
    np.testing.assert_array_equal(sample_of(counts, u), draw(counts, u))


def test_the_standard_member() -> None:
    """Catches a prior that is not N(0, I), and heads of one another's shape."""
    for found in Normal(Z.astype(np.float32) + 1, np.ones((2, 3, 2))).standard():
        np.testing.assert_array_equal(found, np.zeros(Z.shape))
    assert [h.dtype for h in Normal(np.zeros(2, np.float32), np.ones(2)).standard()] == ["float32", "float64"]


# --- a decoder as a model


def small() -> tuple[Any, Any, Any, Array]:
    arch, arena = small_vae(columns=3)
    x = (RNG.random((3, 3)) < 0.5) * 1.0
    return arch, arena, arch.nets(arena.views)[1], x


def test_a_power_and_gaps() -> None:
    """Catches a power that tempers the prior too, or one of value and slope alone; and m left out of either."""
    arch, arena, theta, x = small()
    m = np.array([[1, 0, 1], [1, 1, 1], [0, 0, 1.0]])
    model = Decoded(m=m, power=0.3)
    p = net(Z, theta)[0]
    close(model.log_likelihood(x, Z, theta), 0.3 * p.log_prob_observed(x, m))
    prior = standard(Z).log_prob(Z)
    close(model.log_joint(x, Z, theta), model.log_likelihood(x, Z, theta) + prior)
    gradient = arena.like()
    dz = model.log_joint_vjp(W, x, Z, theta, arch.nets(gradient.views)[1])
    close(dz, slopes(lambda z: model.log_joint(x, z, theta), Z, W))
    close(gradient.flat, slopes(lambda flat: model.log_joint(x, Z, nets_at(arch, flat)[1]), arena.flat, W))
    np.testing.assert_array_equal(model.log_joint_vjp(W, x, Z, theta, None), dz)


def test_a_prior_of_another_kind_or_of_its_own() -> None:
    """Catches −z of a normal prior for any, a prior's cotangent that replaces what was there, and one that is taken
    for the decoder's."""
    arch, arena, theta, x = small()
    laplace = Decoded(kind=posterior("laplace").prior)
    close(laplace.log_joint(x, Z, theta) - laplace.log_likelihood(x, Z, theta), stats.laplace.logpdf(Z).sum(axis=2))
    away = np.abs(Z) + 0.1
    gradient = arena.like()
    dz = laplace.log_joint_vjp(W, x, away, theta, arch.nets(gradient.views)[1])
    close(dz, slopes(lambda z: laplace.log_joint(x, z, theta), away, W))
    close(gradient.flat, slopes(lambda flat: laplace.log_joint(x, away, nets_at(arch, flat)[1]), arena.flat, W))
    prior = Normal(np.array([0.3, -1.0]), np.array([0.5, -0.4]))
    both, model = Generative(theta, prior), Decoded()

    def of(prior: Normal) -> Array:
        found: Array = model.log_joint(x, Z, Generative(theta, prior))
        return found

    dboth = Generative(arch.nets(arena.like().views)[1], zeros_like(prior))
    for times in (1, 2):
        dz = model.log_joint_vjp(W, x, Z, both, dboth)
        close(dz, slopes(lambda z: model.log_joint(x, z, both), Z, W))
        close(dboth.prior.mu, times * slopes(lambda h: of(prior._replace(mu=h)), prior.mu, W))
        close(dboth.prior.log_var, times * slopes(lambda h: of(prior._replace(log_var=h)), prior.log_var, W))
    np.testing.assert_array_equal(model.log_joint_vjp(W, x, Z, both, None), dz)
