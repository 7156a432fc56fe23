"""§7.2.5 Gaussians, flows and mixtures under heads of any shapes and types, and which form a mixture's squares take."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from oracles import close
from test_gaussians import MADE, each_family, full, planar, rank_one

from scratchvae.distributions import Normal, mixtures
from scratchvae.distributions.gaussians import FullNormal, full_normal, full_normal_vjp, solve_lower
from scratchvae.distributions.mixtures import MixtureNormal, squares
from scratchvae.distributions.planar import Planar, planar_vjp, root
from scratchvae.distributions.planar import planar as flat_planar
from scratchvae.gradcheck.library import at
from scratchvae.types import Array

S, B, K = 5, 3, 4


def without_layers(seed: int, *lead: int) -> Planar:
    return planar(seed, *lead, layers=0)


def summed(d: Array, like: Array) -> Array:
    """d, of B rows, in the shape of a head of B rows or one."""
    return d if like.shape == d.shape else d.sum(axis=0).reshape(like.shape)


@pytest.mark.parametrize("flat", [False, True], ids=["one row", "no axis"])
@pytest.mark.parametrize("made", [*MADE, without_layers], ids=lambda f: f.__name__)
def test_heads_broadcast_against_each_other(made: Any, flat: bool) -> None:
    """Each head by itself of B rows or of one, values of one, as if all had B: the same numbers, and cotangents are the
    sums. Catches a shape that is read from one head, and a weight a row that is refused."""
    q, z, w = made(1, B), at(2, S, B, K), at(3, S, B)
    for whole in product([False, True], repeat=len(q)):
        if not any(h.size for h, all_rows in zip(q, whole, strict=True) if all_rows):
            continue  # nothing of B rows
        mixed = type(q)(*(h if all_rows else h[0] if flat else h[:1] for h, all_rows in zip(q, whole, strict=True)))
        many = type(q)(*(np.broadcast_to(h, d.shape) for h, d in zip(mixed, q, strict=True)))
        close(mixed.sample(z[:, :1]), many.sample(z[:, :1]))
        close(mixed.log_prob(z[:, :1]), many.log_prob(z[:, :1]))
        (dz, dq), (dz_many, dq_many) = (each.log_prob_vjp(w, z[:, :1]) for each in (mixed, many))
        close(dz, dz_many)
        pairs = [(mixed.sample_vjp(z, z), many.sample_vjp(z, z)), (dq, dq_many)]
        if not isinstance(q, Planar):
            close(mixed.kl(), many.kl())
            close(mixed.entropy(), many.entropy())
            pairs += [(mixed.kl_vjp(w[0]), many.kl_vjp(w[0])), (mixed.entropy_vjp(w[0]), many.entropy_vjp(w[0]))]
        for got, wanted in pairs:
            for g, d, h in zip(got, wanted, mixed, strict=True):
                close(g, summed(d, h))


@each_family
def test_rows_do_not_meet(made: Any) -> None:
    """Every row as if it were alone: catches a sum over rows."""
    q, z = made(4, B), at(5, S, B, K)
    for b in range(B):
        alone = type(q)(*(h[b] for h in q))
        close(q.log_prob(z)[:, b], alone.log_prob(z[:, b]))
        if not isinstance(q, Planar):
            close(q.kl()[b], alone.kl())
            close(q.entropy()[b], alone.entropy())


def test_means() -> None:
    """Half-way between a sample and that of −ε, the other heads aside; a flow takes q₀'s mean through its layers, here
    undone again. Catches a mean that is another head, or the base's."""
    eps = at(6, B, K)
    for q in (full(7, B), rank_one(8, B)):
        close(q.mean, (q.sample(eps) + q.sample(-eps)) / 2)
    flow = planar(9, B)
    back = flow._replace(log_var=flow.log_var - 60).log_prob(flow.mean)  # only at μ is the density that high
    close(flow.mean, flow._replace(log_var=flow.log_var - 1000).sample(eps))
    assert (back > 60).all()


@each_family
def test_standard_has_the_heads_shapes(made: Any) -> None:
    """Catches two heads exchanged."""
    q = made(10, B)
    assert [h.shape for h in q.standard()] == [h.shape for h in q]
    close(q.standard().mean, np.zeros((B, K)), 0)


@pytest.mark.parametrize("parts", [(1, 0), (0, 1), (1, 1)])
def test_back_substitution_of_complex_numbers(parts: tuple[int, int]) -> None:
    """L y = d whichever of the two is complex: catches imaginary parts that are cut off."""
    L, d = (a + 1j * b if c else a for c, a, b in zip(parts, (np.tril(at(11, K, K)), at(12, S, K)),
                                                      (np.tril(at(13, K, K)), at(14, S, K)), strict=True))  # fmt: skip
    close((L @ solve_lower(L, d)[..., None])[..., 0], d)


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_flat_heads_of_any_rows(lead: tuple[int, ...]) -> None:
    """Any leading axes, lower's own where mu has others, types kept: catches an axis that is counted from the front."""
    mu, lower = at(15, *lead, 3), at(16, *lead, 6)
    for m in (mu, at(15, 3), mu.astype("float32")):
        q = full_normal(m, lower)
        assert q.raw.dtype == lower.dtype
        close(q.raw[..., [0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]], lower, 0)
        close(full_normal_vjp(FullNormal(m, q.raw))[1], lower, 0)
    heads: tuple[Any, ...] = mu, at(17, *lead, 3), at(18, *lead, 12), at(19, *lead, 12), at(20, *lead, 4)
    flow = flat_planar(*heads)
    close(flow.u, heads[2].reshape(*lead, 4, 3), 0)
    for got, wanted in zip(planar_vjp(flow), heads, strict=True):
        close(got, wanted, 0)


@pytest.mark.parametrize("size", [1e-6, 0.3, 2.0, 50.0])
def test_the_roots_slopes(size: float) -> None:
    """A complex step of a or of n moves the root by 1/g and −tanh s/g, g = 1 + (n − 1)(1 − tanh²), for |a| as given:
    catches a root that drops imaginary parts, and a step in complex numbers that is no Newton's."""
    a, n = size * at(21, 40), np.abs(at(22, 40)) ** 8
    s, step = root(a, n), 1e-100
    h = np.tanh(s)
    g = 1 + (n - 1) / np.cosh(s) ** 2
    for moved, slope in ((root(a + 1j * step, n), 1 / g), (root(a, n + 1j * step), -h / g),
                         (root(a + 1j * step, n + 1j * step), (1 - h) / g)):  # fmt: skip
        np.testing.assert_allclose(moved.real, s, rtol=1e-12)
        np.testing.assert_allclose(moved.imag / step, slope, rtol=1e-9, atol=1e-15)


# --- mixtures ----------------------------------------------------------------------------------------------------


def mixture(seed: int, C: int = 6, latents: int = 3) -> MixtureNormal:
    return MixtureNormal(at(seed, C, latents), at(seed + 1, C, latents), at(seed + 2, C))


def test_a_draw_rises_with_its_noise() -> None:
    """One component is Normal's sample, and a uniform on the edge of two belongs to the second: catches −σ ε, which has
    the same law, and a component that no number may be drawn from."""
    one, noise = mixture(31, C=1), np.concatenate([np.full((S, 1), 0.5), at(34, S, 3)], axis=-1)
    close(one.sample(noise), Normal(one.mu[0], one.log_var[0]).sample(noise[:, 1:]))
    two = mixture(35, C=2)._replace(logits=np.zeros(2))
    close(two.sample(np.array([0.5, 0, 0, 0])), two.mu[1])


@pytest.mark.parametrize("wide", ["mu", "log_var"])
def test_types_of_mixed_parameters(wide: str) -> None:
    """A mean is of mu's type, a draw of the wider one of mu and log_var: catches a type that is read from one."""
    p = MixtureNormal(
        *(h.astype("float64" if name == wide else "float32") for name, h in mixture(38)._asdict().items())
    )
    assert p.mean.dtype == p.mu.dtype
    assert p.sample(np.full((2, 4), 0.5, "float32")).dtype == np.float64


@pytest.mark.parametrize("near", [1.0, 1e-4], ids=["rows far", "rows near"])
@pytest.mark.parametrize("shift", [-18.0, 0.0, 6.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_which_form_the_squares_take(near: float, shift: float, sign: int) -> None:
    """Products if and only if rounding, 2⁻⁵² of the largest Σ (z² + μ²)/σ², is less than 1e-9 nats; there they are that
    exact, against differences. Catches a switch that forgets means, rows, their sign, precisions, or a component."""
    p = mixture(41)
    p = p._replace(log_var=p.log_var + shift)
    rows = np.concatenate([near * sign * np.abs(at(44, S, 3)), np.zeros((1, 3))])
    precision = np.exp(-p.log_var)
    limit = max(float(P @ (np.abs(rows).max() ** 2 + m**2)) for P, m in zip(precision, p.mu, strict=True)) * 2.0**-52
    for share, products in ((0.98, True), (1.02, False)):
        size = np.sqrt(share * 1e-9 / limit)
        q, z = p._replace(mu=size * p.mu), size * rows
        assert {expanded for _, expanded in q._parts(z)} == {products}
        if products:
            off = squares(z, q.mu, precision, True) - squares(z, q.mu, precision, False)
            assert np.abs(off).max() < 1e-8
    far = p._replace(mu=np.sqrt(1.02e-9 / limit) * p.mu)
    for parts in (far._parts(np.sqrt(1.02e-9 / limit) * rows), p._parts(0 * rows[:0])):
        assert all(expanded is False for _, expanded in parts)


@pytest.mark.parametrize("size", [1.0, 1e9], ids=["products", "differences"])
@pytest.mark.parametrize("numbers", [1, 60, 600])
def test_pieces_are_as_long_as_memory_allows(monkeypatch: pytest.MonkeyPatch, size: float, numbers: int) -> None:
    """Rows x C by products, rows x C x K by differences: no piece holds more numbers (but for one row), none could be
    longer. Catches pieces cut by the other form's size."""
    monkeypatch.setattr(mixtures, "NUMBERS", numbers)
    p, rows = mixture(45), size * at(48, 70, 3)
    parts = list(p._parts(rows))
    per = p.mu.size if size > 1 else len(p.mu)
    steps = {part.stop - part.start for part, _ in parts}
    assert steps == {max(1, numbers // per)}
    assert np.concatenate([rows[part] for part, _ in parts]).shape == rows.shape
