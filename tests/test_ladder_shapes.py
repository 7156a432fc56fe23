"""§7.1 What a ladder is made of, and samples from the top down: names, shapes, refusals, and a pass written by hand."""

from typing import Any

import numpy as np
import pytest
from oracles import close

from scratchvae.arena import Arena
from scratchvae.errors import UsageError
from scratchvae.models.decoded import standard
from scratchvae.models.ladder import LadderArchitecture, Weights, ancestors, backward, forward
from scratchvae.models.vae import Architecture
from scratchvae.types import Array

TOWER = LadderArchitecture(9, (4, 3, 2), ((8, 7), (6,), (5,)), likelihood="gaussian", variance=0.1)


def test_names_and_shapes() -> None:
    """q upwards, p mirrored: catches an arrow between the wrong layers, and a checkpoint that nobody else can read."""
    weights = {name: shape for name, shape in TOWER.shapes().items() if name.endswith(".W")}
    assert weights == {
        "q.0.hidden.0.W": (9, 8), "q.0.hidden.1.W": (8, 7), "q.0.mu.W": (7, 4), "q.0.log_var.W": (7, 4),
        "q.1.hidden.0.W": (4, 6), "q.1.mu.W": (6, 3), "q.1.log_var.W": (6, 3),
        "q.2.hidden.0.W": (3, 5), "q.2.mu.W": (5, 2), "q.2.log_var.W": (5, 2),
        "p.0.hidden.0.W": (4, 7), "p.0.hidden.1.W": (7, 8), "p.0.mu.W": (8, 9), "p.0.log_var.W": (8, 9),
        "p.1.hidden.0.W": (3, 6), "p.1.mu.W": (6, 4), "p.1.log_var.W": (6, 4),
        "p.2.hidden.0.W": (2, 5), "p.2.mu.W": (5, 3), "p.2.log_var.W": (5, 3),
    }  # fmt: skip
    assert list(dict.fromkeys(name[:3] for name in TOWER.shapes())) == ["q.0", "q.1", "q.2", "p.0", "p.1", "p.2"]
    assert TOWER.output_bias == "p.0.mu.b"
    assert LadderArchitecture(9, (4,), ((8,),)).output_bias == "p.0.logits.b"


def test_nets_are_views_with_their_families() -> None:
    """Catches phi and theta exchanged, a likelihood given to an inner layer, and copies in place of views."""
    arena = Arena(TOWER.shapes(), "float64")
    phi, theta = TOWER.nets(arena.views)
    assert [net.family.name for net in phi] == ["normal"] * 3
    assert [net.family.name for net in theta] == ["gaussian", "normal", "normal"]
    assert theta[0].family.variance == 0.1
    assert {net.activation for net in (*phi, *theta)} == {"tanh"}
    for side, nets in (("q", phi), ("p", theta)):
        for l, net in enumerate(nets):
            assert net.hidden[0].W.base is arena.views[f"{side}.{l}.hidden.0.W"].base
            assert np.shares_memory(net.heads[0].b, arena.views[f"{side}.{l}.mu.b"])


def by_hand(z: Array, l: int, views: dict[str, Array], eps: Array) -> Array:
    """z_l given z_{l+1}, with einsum alone."""
    h = np.tanh(np.einsum("...i,io->...o", z, views[f"p.{l}.hidden.0.W"]) + views[f"p.{l}.hidden.0.b"])
    heads = (f"p.{l}.mu", f"p.{l}.log_var")
    mu, log_var = (np.einsum("...i,io->...o", h, views[f"{head}.W"]) + views[f"{head}.b"] for head in heads)
    return np.asarray(mu + np.exp(log_var / 2) * eps)


@pytest.mark.parametrize("shape", [(5,), (2, 5)])
def test_ancestors_come_from_the_top(shape: tuple[int, ...]) -> None:
    """z_m ~ N(0, I), then downwards by every arrow but the last: catches layers walked upwards, and another's noise."""
    rng, arena = np.random.default_rng(3), Arena(TOWER.shapes(), "float64")
    arena.flat[...] = 0.5 * rng.standard_normal(arena.flat.size)
    eps = [rng.standard_normal((*shape, k)) for k in TOWER.latent]
    expected = by_hand(by_hand(eps[2], 2, arena.views, eps[1]), 1, arena.views, eps[0])
    close(ancestors(eps, TOWER.nets(arena.views)[1]), expected)


def test_a_score_of_minus_theta_is_the_total_derivative() -> None:
    """score=None is short for −theta: catches an arrow that hands the score's weight on to the layer below."""
    rng, arena = np.random.default_rng(4), Arena(TOWER.shapes(), "float64")
    arena.flat[...] = 0.3 * rng.standard_normal(arena.flat.size)
    phi, theta = TOWER.nets(arena.views)
    f = forward(rng.random((5, 9)), [rng.standard_normal((3, 5, k)) for k in TOWER.latent], phi, theta)
    w, gradients = rng.standard_normal((3, 5)), []
    for score in (None, -w):
        gradients.append(arena.like())
        weights = Weights(w, score=score)
        backward(weights, f, phi, theta, *TOWER.nets(gradients[-1].views))
    close(gradients[1].flat, gradients[0].flat)


def test_standard_is_over_the_last_axis() -> None:
    """Catches parameters of more axes than they need, or of another type."""
    p = standard(np.ones((7, 5, 3), np.float32))
    assert p.mu.shape == p.log_var.shape == (3,)
    assert p.mu.dtype == np.float32


def test_a_ladder_refuses() -> None:
    """Catches widths that do not fit the layers, before anything is allocated; one is checked as the VAE's are."""
    LadderArchitecture(9, (4, 3), ((), (6, 5)))
    wrong: list[Any] = [((8,),), ((8,), 6), ((8,), (6,), (5,))]
    for hidden in wrong:
        with pytest.raises(UsageError, match="needs hidden widths for each of its 2 arrows"):
            LadderArchitecture(9, (4, 3), hidden)
    for options in ({"likelihood": "poisson"}, {"activation": "swish"}, {"variance": 0.0}):
        with pytest.raises(UsageError, match=r"is unknown|must be above 0"):
            LadderArchitecture(9, (4,), ((8,),), **options)
    with pytest.raises(UsageError, match="columns=0, latent=4"):
        LadderArchitecture(0, (4,), ((8,),))
    assert Architecture(9, 4, (8,)).output_bias == "p.logits.b"
