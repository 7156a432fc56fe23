"""§7.1, §7.2.4 The rules on two latent layers, exactly: each by complex step of its surrogate on replayed noise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracles import close, slopes

from scratchvae.conditional import net
from scratchvae.errors import UsageError
from scratchvae.estimators import Cotangents, Draw, Estimator, deep, get
from scratchvae.gradcheck.library import at
from scratchvae.gradcheck.library.estimators import renyi, softmax
from scratchvae.gradcheck.library.ladder import arrow
from scratchvae.kernels import NUMPY
from scratchvae.models import ladder
from scratchvae.models.decoded import standard
from scratchvae.tree import flat, leaves, replaced, zeros_like
from scratchvae.types import Array

S, B = 3, 2
X, EPS = at(1, B, 4), (at(2, S, B, 3), at(3, S, B, 2))
PHI = (arrow(120, 4, 3, "normal"), arrow(130, 3, 2, "normal"))
THETA = (arrow(160, 3, 4, "gaussian"), arrow(170, 2, 3, "normal"))
Z = ladder.forward(X, EPS, PHI, THETA).z


def ratio(phi: Any, theta: Any) -> Array:
    """r by both ways."""
    return ladder.log_ratio(ladder.forward(X, EPS, phi, theta))


def log_q(phi: Any, z: Any) -> Array:
    """log q(z_1 | x) + log q(z_2 | z_1)."""
    return np.asarray(net(X, phi[0])[0].log_prob(z[0]) + net(z[0], phi[1])[0].log_prob(z[1]))


def log_p(theta: Any, z: Any) -> Array:
    """log p(x | z_1) + log p(z_1 | z_2) + log p(z_2)."""
    below = net(z[0], theta[0])[0].log_prob(X) + net(z[1], theta[1])[0].log_prob(z[0])
    return np.asarray(below + standard(z[1]).log_prob(z[1]))


def along(phi: Any) -> Array:
    """r as z moves with φ while the densities are held fast."""
    z = ladder.forward(X, EPS, phi, THETA).z
    return log_p(THETA, z) - log_q(PHI, z)


R = ratio(PHI, THETA)
STATE = {"mean": np.array([-2.5]), "variance": np.array([0.5]), "steps": np.array([3.0])}


def scored(signal: Array) -> Callable[[Any, Any], Array]:
    """stop(signal) log q for φ, log p for θ."""
    return lambda phi, theta: (signal * log_q(phi, Z) + log_p(theta, Z)).mean(axis=0)


SURROGATES: dict[str, Callable[[Any, Any], Array]] = {
    "sgvb_a": lambda phi, theta: ratio(phi, theta).mean(axis=0),
    "sgvb_b": lambda phi, theta: ladder.elbo(X, EPS, phi, theta)[0],
    "iw": lambda phi, theta: renyi(ratio(phi, theta), 0),
    "vr:0.5": lambda phi, theta: renyi(ratio(phi, theta), 0.5),
    "vr_max": lambda phi, theta: np.take_along_axis(ratio(phi, theta), R.argmax(axis=0)[None], axis=0)[0],
    "stl": lambda phi, theta: along(phi).mean(axis=0) + log_p(theta, Z).mean(axis=0),
    "dreg": lambda phi, theta: (softmax(R) ** 2 * along(phi)).sum(axis=0) + renyi(ratio(PHI, theta), 0),
    "score": scored(R),
    "score_constant:-3": scored(R + 3),
    "score_mean": scored(R + 2.5),
    "score_loo": scored(R - (R.sum(axis=0) - R) / (S - 1)),
}


def run(e: Estimator, state: Any = None) -> tuple[Array, Array]:
    """L, and all cotangents flat."""
    dphi, dtheta = zeros_like((PHI, THETA))
    L = deep.gradient(e, X, EPS, PHI, THETA, dphi, dtheta, state)
    return L, flat((dphi, dtheta))


def slope(f: Callable[[Any, Any], Array]) -> Array:
    """Of the mean over rows, in every parameter."""
    point, found = (PHI, THETA), []
    for path, leaf in leaves(point):

        def moved(a: Array, path: Any = path) -> Array:
            return f(*replaced(point, path, a)) / B

        if isinstance(leaf, np.ndarray):
            found.append(slopes(moved, leaf).ravel())
        elif isinstance(leaf, float):
            found.append(np.array([leaf]))  # a variance floor is a constant, and stays where it is
    return np.concatenate(found)


@pytest.mark.parametrize("name", SURROGATES)
def test_two_layers(name: str) -> None:
    """Cotangents of every arrow, and the bound."""
    L, found = run(get(name), {k: v.copy() for k, v in STATE.items()} if name == "score_mean" else None)
    close(found, slope(SURROGATES[name]), 1e-11)
    mean = {"iw": renyi(R, 0), "dreg": renyi(R, 0), "vr:0.5": renyi(R, 0.5), "vr_max": R.max(axis=0)}
    close(L, SURROGATES[name](PHI, THETA) if name == "sgvb_b" else mean.get(name, R.mean(axis=0)))


@pytest.mark.parametrize(("path", "score"), [(2.0, -1 / S), (1.0, 1.0), (1.0, 1 / S), (0.5, -0.5 / S)])
def test_any_weights(path: float, score: float) -> None:
    """A rule is free: path · (sticking the landing) − S · score · (what SGVB A has beyond it)."""

    def rule(d: Draw) -> Cotangents:
        one = np.ones_like(d.r)
        return Cotangents(d.r.mean(axis=0), one / S, path * one, score * one)

    both = slope(SURROGATES["sgvb_a"]), slope(SURROGATES["stl"])
    n = flat(PHI).size
    a, stl = (g[:n] for g in both)
    floats = np.concatenate([np.full(np.size(leaf), isinstance(leaf, float)) for _, leaf in leaves(PHI)
                             if isinstance(leaf, float | np.ndarray)])  # fmt: skip
    expected = np.where(floats, a, path * stl - S * score * (a - stl))
    close(run(Estimator("stl", rule, pathwise=True))[1][:n], expected, 1e-11)


def test_what_a_rule_sees() -> None:
    """The signal, the lowest z, x and θ; its own state, or an empty one; afterwards it may learn from the same draw."""
    seen: list[Draw] = []
    learned: list[Draw] = []

    def rule(d: Draw) -> Cotangents:
        seen.append(d)
        return get("score").rule(d)

    state = {"steps": np.zeros(1)}
    run(Estimator("score", rule, update=learned.append))
    assert learned == []
    run(Estimator("score", rule))
    run(Estimator("score", rule), state)
    run(Estimator("score", rule, update=learned.append), state)
    assert len(seen) == 4
    assert len(learned) == 1
    assert learned[0] is seen[3]
    for d, s in zip(seen, ({}, {}, state, state), strict=True):
        assert d.state == s
        assert d.x is X
        assert d.theta is THETA
        assert d.k is NUMPY
        assert d.noise.size == 0
        close(d.r, R)
        close(d.signal(d.z), R)
        close(d.z, Z[0])
    assert seen[3].state is state


def test_refusals() -> None:
    """One clear line for a rule that needs more than r, and for a baseline without its past."""
    with pytest.raises(UsageError, match="'measure' is not defined on several latent layers: score, score_loo"):
        run(get("measure"))
    with pytest.raises(UsageError, match="'score_kl' is not defined on several latent layers"):
        run(get("score_kl"))
    with pytest.raises(UsageError, match=r"x has shape \(2, 3\) but phi was built for rows of D=4 columns"):
        ladder.forward(X[:, :3], EPS, PHI, THETA)
    with pytest.raises(UsageError, match=r"'score_mean' remembers its baseline: pass state=estimator\.state"):
        run(get("score_mean"))
