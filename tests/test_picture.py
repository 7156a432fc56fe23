"""§7.2-7.3 `picture`: its numbers obey laws that know nothing of how they were made, and its letters can be read."""

import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call

from scratchvae import plots
from scratchvae.cli import picture
from scratchvae.distributions import Bernoulli
from scratchvae.estimators import estimate
from scratchvae.models import vae
from scratchvae.models.walk import BOUND, KL, LIKELIHOOD, Edge, norms, walk
from scratchvae.noise import Noise, Purpose
from scratchvae.training import lecture
from scratchvae.training.optim import Optimizer
from scratchvae.training.state import Steps
from scratchvae.types import Array

pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)

# ---------------------------------------------------------------- the walk


def made(likelihood: str, hidden: tuple[int, ...]) -> tuple[Any, ...]:
    """x, eps, phi, theta and zero cotangents of a VAE 6-hidden-2, all drawn."""
    shape = vae.Architecture(6, 2, hidden, likelihood=likelihood, variance=0.1)
    views = {name: RNG.normal(size=size) for name, size in shape.shapes().items()}
    nets = shape.nets(views), shape.nets({name: np.zeros_like(view) for name, view in views.items()})
    x = (RNG.random((4, 6)) < 0.5).astype(float)
    return x, RNG.normal(size=(4, 2)), *nets[0], *nets[1]


def back(edge: Edge) -> Array:
    """The cotangent of an edge that has one."""
    assert edge.cotangent is not None
    return edge.cotangent


def coming_back(edges: list[Edge], name: str) -> Array:
    """The cotangent of a node: the sum over its edges."""
    return np.asarray(np.sum([back(e) for e in edges if e.source == name], axis=0))


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
@pytest.mark.parametrize("likelihood", vae.LIKELIHOODS)
def test_the_walk_is_elbo_vjp(likelihood: str, hidden: tuple[int, ...]) -> None:
    """Every parameter's cotangent of `elbo_vjp` is made again of what the edges say: dW = sourceᵀ da, da = dh f'(h).
    Catches an edge that is missing, counted twice, or carries another's slope."""
    x, eps, phi, theta, dphi, dtheta = made(likelihood, hidden)
    L, cache = vae.elbo(x, eps, phi, theta)
    vae.elbo_vjp(np.ones(4), cache, x, eps, phi, theta, dphi, dtheta)
    found, edges = walk(x, eps, phi, theta)
    np.testing.assert_array_equal(found, L)
    values = {e.source: e.value for e in edges}
    for start, heads, dnet in (("x", ("μ", "log σ²"), dphi), ("z", ("logits", "μ(z)", "log σ²(z)"), dtheta)):
        source, wanted = start, list(dnet.hidden)
        while wanted:
            target = next(e.target for e in edges if e.source == source and e.target not in ("z", LIKELIHOOD, KL))
            da = coming_back(edges, target) * (1 - values[target] ** 2)
            layer = wanted.pop(0)
            np.testing.assert_allclose(layer.W, values[source].T @ da, atol=1e-12)
            np.testing.assert_allclose(layer.b, da.sum(axis=0), atol=1e-12)
            source = target
        there = [name for name in heads if name in values]
        for name, head in zip(there, dnet.heads, strict=True):
            np.testing.assert_allclose(head.W, values[source].T @ coming_back(edges, name), atol=1e-12)


def test_slopes_part_at_the_latent() -> None:
    """∂(−KL)/∂μ = −μ, ∂(−KL)/∂log σ² = −½ (σ² − 1), the rest comes through z; what is given asks for none. Catches
    slopes that were summed before they were shown."""
    x, eps, phi, theta, *_ = made("bernoulli", (5,))
    L, edges = walk(x, eps, phi, theta)
    by = {(e.source, e.target): e for e in edges}
    mu, log_var = by["μ", KL].value, by["log σ²", KL].value
    np.testing.assert_allclose(back(by["μ", KL]), -mu)
    np.testing.assert_allclose(back(by["log σ²", KL]), -0.5 * (np.exp(log_var) - 1))
    np.testing.assert_allclose(back(by["μ", "z"]), coming_back(edges, "z"))
    np.testing.assert_allclose(back(by["log σ²", "z"]), coming_back(edges, "z") * eps * np.exp(log_var / 2) / 2)
    np.testing.assert_allclose(L, by[LIKELIHOOD, BOUND].value - by[KL, BOUND].value)
    assert {e.source for e in edges if e.cotangent is None} == {"x", "ε"}
    assert [*back(by[LIKELIHOOD, BOUND]), *back(by[KL, BOUND])] == [1] * 4 + [-1] * 4
    np.testing.assert_array_equal(by["ε", "z"].value, eps)
    deep = walk(*made("bernoulli", (5, 4))[:4])[1]
    assert {e.source for e in deep} >= {"h1", "h2", "h′1", "h′2"}
    np.testing.assert_allclose(norms(by["μ", KL]), np.sqrt(np.mean(np.sum(mu**2, axis=1))))


# ---------------------------------------------------------------- the numbers


def test_waves_are_what_integration_gives(call: Call) -> None:
    """E cos 2ωz = cos 2ω e^{−2ω²} under N(1, 1) gives both variances in closed form. Catches curves that have changed
    places, and measured points whose bars are not theirs: |z| ≤ 4.5."""
    done = call("picture", "frequency", "--out", "f.csv")
    assert done.code == 0
    w, score, path, *measured = np.loadtxt("f.csv", delimiter=",").T
    mean, wave = -w * np.sin(w) * np.exp(-(w**2) / 2), np.cos(2 * w) * np.exp(-2 * w**2)
    closed = 0.5 + 0.5 * wave * (1 - 4 * w**2) - mean**2, w**2 * (0.5 - 0.5 * wave) - mean**2
    np.testing.assert_allclose([score, path], closed, rtol=1e-6)
    assert path[0] < score[0]
    assert path[-1] > score[-1]
    assert f"from ω = {w[path > score][0]:g} on the score" in done.out
    at = ~np.isnan(measured[0])
    assert at.sum() == len(picture.MEASURED)
    for variance, error, true in zip(measured[::2], measured[1::2], closed, strict=True):
        assert (np.abs(variance - true)[at] < 4.5 * error[at]).all()
        assert (error[at] < 0.05 * true[at]).all()


def test_few_draws_have_the_variance_and_the_error_of_a_sample() -> None:
    """Catches a variance over n, and an error without its s⁴ or of moments about zero."""
    found = lecture.measured("sgvb_b", [1.5], 40, 2)[0]
    eps = Noise(2).normals(Purpose.EVALUATE, 0, 40, 1, np.float64)[:, 0]
    g = -1.5 * np.sin(1.5 * (1 + eps))
    variance, fourth = ((g - g.mean()) ** 2).sum() / 39, ((g - g.mean()) ** 4).mean()
    np.testing.assert_allclose(found, [variance, np.sqrt((fourth - variance**2) / 40)])


def test_spots_are_anywhere_on_the_plane() -> None:
    """Catches a place of one number, and an image that is dark where its spot is."""
    x = lecture.spots(2000, 0, "float64").reshape(-1, 8, 8)
    line = np.arange(8)
    down, right = ((x.sum(axis=axis) * line).sum(axis=1) / x.sum(axis=(1, 2)) for axis in (2, 1))
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.1
    assert min(down.std(), right.std()) > 1
    assert 0.1 < x.mean() < 0.4


def test_the_race_is_run_below_log_p(call: Call) -> None:
    """All start at the prior, whose bound is E log p(x|z) in closed form, and stay below log N(x; m, WᵀW + σ² I).
    Catches a ceiling of other rows, an estimator with another start, and a racer that goes down."""
    done = call("picture", "race", "--steps", "40", "--seed", "3", "--out", "r.npy")
    assert done.code == 0
    step, log_p, *bounds = np.load("r.npy").T
    (W, m, log_var), x = lecture.pca(3)
    C, r, D, var = W.T @ W + np.exp(log_var) * np.eye(x.shape[1]), x - m, x.shape[1], np.exp(log_var[0])
    constant = D * np.log(2 * np.pi)
    dense = -0.5 * (constant + np.linalg.slogdet(C)[1] + (r * np.linalg.solve(C, r.T).T).sum(axis=1))
    np.testing.assert_allclose(log_p, dense.mean())
    start = -0.5 * (constant + D * np.log(var) + ((r**2).sum(axis=1) + (W**2).sum()) / var)
    np.testing.assert_allclose([b[0] for b in bounds], start.mean())
    assert list(step) == list(range(41))
    assert (np.array(bounds) < log_p).all()
    assert all(b[-1] > b[0] for b in bounds)
    assert (
        "below it at the end: "
        + ", ".join(f"{name} {log_p[0] - b[-1]:.2g}" for name, b in zip(picture.RACERS, bounds, strict=True))
        in done.out
    )
    ends = dict(zip(picture.RACERS, (b[-1] for b in bounds), strict=True))
    assert ends["score"] < ends["score_loo"] < min(ends["sgvb_a"], ends["sgvb_b"], ends["stl"])


def test_sticking_lands_and_sgvb_does_not() -> None:
    """W's rows are orthogonal, so q can be the posterior: there stl has no variance left. Catches a problem that no q
    solves, which would hide what the picture is for."""
    theta, x = lecture.pca(0)
    log_p = theta.log_marginal(x).mean()
    cov = theta.posterior(x)[1]
    np.testing.assert_allclose(cov, np.diag(np.diag(cov)), atol=1e-12)
    gap = {lap.estimator: log_p - lap.bound for lap in lecture.race(("stl", "sgvb_b"), 250, 250, 0, rate=0.05)}
    assert 0 <= gap["stl"] < 0.2 * gap["sgvb_b"]


def test_all_racers_hear_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an estimator that wins by its draws, one that draws more, noise that is the same at every step."""
    heard: list[Array] = []
    steps: list[int] = []
    update = Optimizer.update

    def listen(e: Any, oracle: Any, q: Any, x: Array, eps: Array, theta: Any) -> Any:
        heard.append(eps)
        return estimate(e, oracle, q, x, eps, theta)

    def count(optimizer: Optimizer, theta: Array, g: Array, slots: Array, t: int, *rest: Any) -> None:
        steps.append(t)
        update(optimizer, theta, g, slots, t, *rest)

    monkeypatch.setattr(lecture, "estimate", listen)
    monkeypatch.setattr(Optimizer, "update", count)
    for _ in lecture.race(("stl", "sgvb_b"), 2, 2, 0, samples=3):
        pass
    stl, sgvb = np.array(heard).reshape(2, 3, *heard[0].shape)
    assert stl.shape == (3, 3, 50, 8)
    np.testing.assert_array_equal(stl, sgvb)
    assert not np.isclose(stl[0], stl[1]).any()
    assert steps == [1, 2, 3] * 2  # Adam's own count begins anew


def test_the_gap_is_the_divergence() -> None:
    """log p(x) − L against Σ q (log q − log p(z|x)) h² on a plain grid of another kind. Catches a bound with samples in
    it, and a log p(x) of other rows."""
    state = lecture.fresh(0, width=8)
    Steps(state, lecture.spots(200, 0)).advance(30)
    x = lecture.spots(2, 1, "float64")
    log_p, bound = lecture.log_p_and_bound(state, x)
    line = np.linspace(-7, 7, 281)
    z = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 1, 2)
    p = vae.decode(z, state.theta)[0]
    assert isinstance(p, Bernoulli)
    logits = p.logits
    joint = (x * logits - np.logaddexp(0, logits)).sum(axis=-1) - 0.5 * (z**2).sum(axis=-1) - np.log(2 * np.pi)
    q = vae.encode(x, state.phi)[0]
    log_q = -0.5 * ((z - q.mu) ** 2 / np.exp(q.log_var) + q.log_var + np.log(2 * np.pi)).sum(axis=-1)
    area = (line[1] - line[0]) ** 2
    np.testing.assert_allclose(log_p, np.log((np.exp(joint) * area).sum(axis=0)), atol=1e-5)
    kl = (np.exp(log_q) * (log_q - joint + log_p) * area).sum(axis=0)
    np.testing.assert_allclose(log_p - bound, kl, atol=1e-5)
    assert (kl > 0).all()


def test_a_course_goes_from_start_to_end() -> None:
    """Catches a training that stops short of its last step, a bound above log p(x), and rows that are all one."""
    moments = list(lecture.course(12, 3, 0, 2))
    assert (moments[0].step, moments[-1].step) == (0, 12)
    assert all((m.bound < m.log_p).all() for m in moments)
    assert np.ptp(moments[0].log_p) > 0


# ---------------------------------------------------------------- the pictures


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that is looked at twice."""
    monkeypatch.setattr(picture, "POINTS", 2)
    monkeypatch.setattr(picture, "ROWS", 3)


DRAWN = ("race --steps 8", "frequency", "training --steps 3", "walk", "walk run")


@pytest.mark.parametrize("words", DRAWN)
@pytest.mark.usefixtures("small")
def test_every_picture_can_be_read(trained: Call, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """A PNG as wide as a slide wants it, with letters of 11 points or more, no two texts over one another. Catches a
    label that grew into its neighbour."""
    from matplotlib import image, text

    kept: list[Any] = []
    save = plots.save

    def keep(ax: Any, file: Any) -> None:
        kept.append(ax.figure)
        save(ax, file)

    monkeypatch.setattr(plots, "save", keep)
    done = trained("picture", *words.split(), "--out", "p.png")
    assert (done.code, done.words.splitlines()[-1]) == (0, "wrote p.png")
    height, width, _ = image.imread("p.png").shape
    assert (1000 < width < 2000, 550 < height < 1000) == (True, True)
    kept[0].draw_without_rendering()
    texts = [t for ax in kept[0].axes for t in (ax.findobj(text.Text) if ax.axison else [*ax.texts, ax.title])]
    shown = [t for t in texts if t.get_text() and t.get_visible()]
    assert min(t.get_fontsize() for t in shown) >= 11
    boxes = [(t.get_text(), t.get_window_extent()) for ax in kept[0].axes for t in ax.texts if t.get_text()]
    clash = [(a, b) for (a, p), (b, q) in combinations(boxes, 2) if p.overlaps(q)]
    assert not clash


@pytest.mark.usefixtures("small")
def test_the_table_is_the_picture(trained: Call) -> None:
    """Catches a row of numbers that stands for another edge; words leave stdout to the numbers where --out is -."""
    table = trained("picture", "walk", "run", "--out", "w.csv").out.splitlines()
    numbers = np.loadtxt("w.csv", delimiter=",")
    found = [float(line.split()[-2]) for line in table[1:-1]]
    assert len(numbers) == len(found) == 14
    np.testing.assert_allclose(numbers[:, 0], found, rtol=1e-3)
    assert "→" in trained("picture", "walk", "run", "--out", "-").words


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("tace", "did you mean 'race'?"),
        ("race run", "picture race takes no RUN; walk would"),
        ("walk --steps 3", "picture walk takes no --steps; race and training would"),
        ("walk --data rows.npy", "--data goes with a RUN"),
        ("race --out race.gif", "--out race.gif has an unknown ending"),
        ("walk nowhere", "nowhere"),
    ],
)
def test_refusals(call: Call, words: str, line: str) -> None:
    """Catches an option that is accepted and ignored, and work done before a refusal."""
    done = call("picture", *words.split())
    assert done.code == (3 if words == "walk nowhere" else 2)
    assert line in done.line
    assert not list(Path().glob("*.png"))


def test_without_matplotlib_nothing_is_computed(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches half a minute of work whose result cannot be drawn; numbers need no matplotlib."""
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'scratchvae[plot]'" in call("picture", "race").line
    assert call("picture", "walk", "--out", "w.npy").code == 0
