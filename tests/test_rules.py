"""§7.2.2-7.2.4 The rule of each estimator, exactly: complex steps on replayed noise, means by enumeration.

No draw is made here: each check takes milliseconds, knows one answer, and a slip of the hand in a rule changes it.
"""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from oracles import close, slopes
from scipy import special

from scratchvae.conditional import Family, Net
from scratchvae.distributions import Bernoulli, Normal
from scratchvae.estimators import baselines, control_variate, estimate, get, gradient
from scratchvae.estimators import integrands as f_of
from scratchvae.estimators.frame import Draw, scores, widened
from scratchvae.estimators.importance import log_mean_exp
from scratchvae.estimators.measure import couplings, moved
from scratchvae.gradcheck.library import at
from scratchvae.gradcheck.library.estimators import NAMES, SURROGATES, point, renyi, replayed
from scratchvae.kernels import NUMPY
from scratchvae.models import sigmoid_belief
from scratchvae.models.protocol import Functions
from scratchvae.models.sigmoid_belief import SigmoidBelief
from scratchvae.networks import Dense
from scratchvae.types import Array

B, D, K = 2, 3, 2
SCORES = ("score", "score_constant:-3", "score_mean", "score_input", "nvil", "score_loo", "score_cv", "score_rb")

# --- replayed noise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_cotangents_are_the_slopes_of_the_surrogate(name: str, samples: int) -> None:
    """Every element of q and of θ by complex step, with what is under a stop-gradient held at the point."""
    case = replayed(name, "gaussian", max(samples, get(name).samples))
    report = case._replace(options={"methods": ("complex",)}).run()
    assert report.ok, str(report)


def wanted(name: str, p: Any) -> Array:
    """The bound that an estimator says it estimates, at these samples."""
    if name in ("sgvb_b", "score_kl"):
        return SURROGATES["sgvb_b"](p, p.q, p.theta)
    kind = {"iw": 0.0, "dreg": 0.0, "vr:0.5": 0.5, "vr:-1": -1.0}
    return p.r.max(axis=0) if name == "vr_max" else renyi(p.r, kind.get(name, 1))


@pytest.mark.parametrize("name", NAMES)
def test_the_bound_that_is_returned(name: str) -> None:
    """L itself, in nats; catches a sum over samples, a lost KL, a lost log S."""
    p = point(get(name), "bernoulli", 3)
    L, _ = estimate(get(name), p.model, p.q, p.x, p.noise, p.theta, state={k: v.copy() for k, v in p.state.items()})
    close(L, wanted(name, p))


def test_log_mean_exp() -> None:
    """Far from zero too, and along a complex step."""
    r = np.array([[-1000.0, 3.0], [-1001.0, 5.0], [-1002.0, 4.0]])
    L, w = log_mean_exp(r)
    close(L, special.logsumexp(r, axis=0) - math.log(3))
    close(w, special.softmax(r, axis=0))
    close(w, slopes(lambda r: log_mean_exp(r)[0], r))


# --- exact means: every sample of a Bernoulli q, with its probability -------------------------------


def network() -> tuple[Array, Bernoulli, sigmoid_belief.Theta]:
    """One row, two latents, three pixels."""
    theta = sigmoid_belief.Theta(at(1, K), Dense(at(2, K, D), at(3, D)))
    return (at(4, 1, D) > 0) * 1.0, Bernoulli(0.7 * at(5, 1, K)), theta


STATES = np.array(list(itertools.product((0.0, 1.0), repeat=K)))


def elbo(logits: Array, theta: sigmoid_belief.Theta, x: Array) -> Array:
    """Σ_z q (log p − log q), by hand; complex arguments pass."""
    total = np.zeros(1, complex)
    for z in STATES:
        log_q = (z * logits[0] - np.log1p(np.exp(logits[0]))).sum()
        a = z @ theta.decoder.W + theta.decoder.b
        log_p = (z * theta.prior - np.log1p(np.exp(theta.prior))).sum() + (x[0] * a - np.log1p(np.exp(a))).sum()
        total = total + np.exp(log_q) * (log_p - log_q)
    return total


def remembered(name: str) -> Any:
    """A past with a baseline that is wrong, but does not know z."""
    state = get(name).state(D, lambda *shape: at(6, *shape))
    if state:
        state["mean"][:], state["variance"][:], state["steps"][:] = -2.5, 0.5, 3
    if "out.W" in state:
        state["out.W"][:], state["out.b"][:] = 0.1 * at(7, *state["out.W"].shape), 0.3
    return state


@pytest.mark.parametrize("name", SCORES)
def test_unbiased_by_enumeration(name: str) -> None:
    """The mean over all 4^S samples is the gradient of the exact bound: no estimator of a discrete q gets by."""
    x, q, theta = network()
    S = max(2, get(name).samples + (name == "score_cv"))
    z = np.array(list(itertools.product(STATES, repeat=S))).swapaxes(0, 1)  # (S, 4^S, K)
    p = special.expit(q.logits)
    weight = np.where(z == 1, p, 1 - p).prod(axis=(0, 2))
    n, dtheta = len(weight), sigmoid_belief.Theta(np.zeros(K), Dense(np.zeros((K, D)), np.zeros(D)))
    many, rows = Bernoulli(np.repeat(q.logits, n, axis=0)), np.repeat(x, n, axis=0)
    L, dq = estimate(get(name), SigmoidBelief(), many, rows, 1 - z, theta, dtheta, weight, remembered(name))
    close(many.sample(1 - z), z, 0)
    close(weight @ L, elbo(q.logits, theta, x).real[0])
    close(dq.logits.sum(axis=0), slopes(lambda a: elbo(a, theta, x), q.logits)[0])
    close(dtheta.prior, slopes(lambda a: elbo(q.logits, theta._replace(prior=a), x), theta.prior))
    W = slopes(lambda a: elbo(q.logits, theta._replace(decoder=Dense(a, theta.decoder.b)), x), theta.decoder.W)
    close(dtheta.decoder.W, W)


def test_the_score_is_centred() -> None:
    """E[∂ log q] = 0 exactly, sample by sample and not summed over them."""
    _, q, _ = network()
    h = scores(q, STATES[:, None, :]).logits
    close(h[:, 0], STATES - special.expit(q.logits))
    assert widened(np.ones(2), np.ones((2, 3, 4))).shape == (2, 1, 1)


# --- control variate and baselines ------------------------------------------------------------------


def test_control_variate_by_hand() -> None:
    """a_s = Σ_{t≠s} r h² / Σ_{t≠s} h²; where the others' score is zero there is no baseline; the best of many rows."""
    r, h = at(10, 4, B), at(11, 4, B, K)
    h[:, 0, 1] = 0
    h[2, 0, 1] = 1
    a = control_variate.coefficient(r, h)
    for s, b, k in np.ndindex(4, B, K):
        rest = [t for t in range(4) if t != s]
        bottom = sum(h[t, b, k] ** 2 for t in rest)
        close(a[s, b, k], sum(r[t, b] * h[t, b, k] ** 2 for t in rest) / bottom if bottom else np.zeros(()))
        close(control_variate.of_others(h)[s, b, k], sum(h[t, b, k] for t in rest))
    close(control_variate.best(r[:, 0], h[:, 1]), (r[:, :1] * h[:, 1] ** 2).sum(axis=0) / (h[:, 1] ** 2).sum(axis=0))


def drawn(name: str, steps: int, B: int = 3) -> Draw:
    """Signals of B rows, and a state after so many steps."""
    state = remembered(name)
    state["steps"][:] = steps
    r = at(12, 2, B) - 4
    return Draw(None, None, at(13, B, D), r, r, None, lambda z: z, r, state, NUMPY)


def prediction(x: Array, s: Any) -> Array:
    """C_ψ(x)."""
    return np.asarray((np.tanh(x @ s["hidden.W"] + s["hidden.b"]) @ s["out.W"] + s["out.b"])[:, 0])


@pytest.mark.parametrize("name", ["score_mean", "score_input", "nvil"])
def test_what_is_expected(name: str) -> None:
    """The other rows in the first step, c + C_ψ(x) later; one row alone in its first step expects nothing."""
    first, later = drawn(name, 0), drawn(name, 3)
    means = first.r.mean(axis=0)
    close(baselines.expected(first), np.array([np.delete(means, b).mean() for b in range(3)]))
    close(baselines.expected(drawn(name, 0, B=1)), np.zeros(1))
    two = drawn(name, 0, B=2)
    close(baselines.expected(two), two.r.mean(axis=0)[::-1])
    learned = 0 if name == "score_mean" else prediction(later.x, later.state)
    close(baselines.expected(later), learned + np.full(3, -2.5))


@pytest.mark.parametrize("name", ["score_mean", "score_input", "nvil"])
@pytest.mark.parametrize("steps", [0, 3])
def test_what_a_baseline_learns(name: str, steps: int) -> None:
    """c and σ² as running means (set by the first step), ψ's cotangent as Adam's first moment, by complex step."""
    d = drawn(name, steps)
    old, left = {k: v.copy() for k, v in d.state.items()}, d.r - baselines.expected(d)
    baselines.update(d)
    share = 0.1 if steps else 1.0
    close(d.state["steps"], np.array([steps + 1.0]), 0)
    close(d.state["variance"][0], old["variance"][0] + share * (left.var() - old["variance"][0]))
    moved = left.mean() if steps else d.r.mean()
    close(d.state["mean"][0], old["mean"][0] + share * moved)
    for n in baselines.NET if "out.W" in d.state else ():
        target = left + prediction(d.x, old)

        def loss(a: Array, n: str = n, target: Array = target) -> Any:
            return -0.5 * np.asarray((target - prediction(d.x, old | {n: a})) ** 2).mean()

        g = slopes(loss, old[n])
        m, v = 0.1 * g, 0.001 * g * g
        close(d.state[n + ".m"], m)
        close(d.state[n + ".v"], v)
        step = 1e-3 * m / (1 - 0.9 ** (steps + 1)) / (np.sqrt(v / (1 - 0.999 ** (steps + 1))) + 1e-8)
        close(d.state[n], old[n] + step, 1e-9)  # Adam steps by rounding where there is no slope


def test_a_new_baseline() -> None:
    """It starts at nothing: C_ψ(x) = 0, with hidden units of size 1 for x of size 1, and floats of the given type."""
    state = get("nvil").state(4, lambda *s: np.ones(s, np.float32))
    close(state["hidden.W"], np.full((4, baselines.UNITS), 0.5, np.float32))
    assert {v.dtype.name for k, v in state.items() if "." in k} == {"float32"}
    others = {k: v.shape for k, v in state.items() if k != "hidden.W"}
    hidden = {"hidden.b": (100,), "out.W": (100, 1), "out.b": (1,), "hidden.W.m": (4, 100), "hidden.W.v": (4, 100)}
    slots = {f"{n}.{s}": hidden[n] for n in ("hidden.b", "out.W", "out.b") for s in "mv"}
    assert others == {"mean": (1,), "variance": (1,), "steps": (1,)} | hidden | slots
    assert all((v == 0).all() for k, v in state.items() if k != "hidden.W")
    assert get("score").state(4, np.ones) == {}
    assert get("nvil").state(1, lambda *s: np.ones(s))["hidden.b"].shape == (100,)


# --- measure-valued: quadrature that is exact for polynomials ---------------------------------------


def cubic(x: None, z: Array, theta: None) -> Array:
    """f(z) = z₁³ + 2 z₁² z₂ − z₂² + 3 z₁ z₂."""
    a, b = z[..., 0], z[..., 1]
    return np.asarray(a**3 + 2 * a * a * b - b * b + 3 * a * b)


class Polynomial(Normal):
    """q whose own density is left out of the signal, so that f alone is differentiated."""

    __slots__ = ()

    def log_prob(self, z: Array, k: Any = NUMPY) -> Array:
        """Nothing."""
        return np.zeros(z.shape[:-1])


def test_measure_valued_by_quadrature() -> None:
    """∂E[f]/∂(μ, log σ²) of a cubic, exactly. A Rayleigh R for μ; ε = M u, R = |M| √(1 − u²) for σ.

    E over R of an odd polynomial is half a Gauss-Hermite sum of R f(R); M has the density M² N(M), u is uniform.
    """
    mu, log_var = np.array([0.4, -0.7]), np.array([0.3, -0.5])
    v, line, weight = np.exp(log_var), *np.polynomial.hermite_e.hermegauss(12)
    u, wu = np.polynomial.legendre.leggauss(8)
    square = mu[0] ** 2 + v[0]
    wanted_mu = [3 * square + 4 * mu[0] * mu[1] + 3 * mu[1], 2 * square - 2 * mu[1] + 3 * mu[0]]
    wanted_log_var = [v[0] * (3 * mu[0] + 2 * mu[1]), -v[1]]  # σ² ∂/∂σ², E[z₁³] = μ³ + 3 μ σ²
    for j in range(K):
        other, wo = line[None, :], weight / weight.sum()
        # the latent that moves: (ε, n₁, n₂) columns j, K + j, 2K + j; the other one as sampled
        for n1, n2, eps, w, expected, field in (
            (0.6 * line[line > 0], 0.8 * line[line > 0], 0 * line[line > 0],
             (weight * line)[line > 0] * math.sqrt(2 * math.pi) / weight.sum(), wanted_mu, 0),
            *(((0.6 * s, 0.8 * s, (line[:, None] * (u + 1) / 2).ravel(),
              (weight[:, None] * line[:, None] ** 2 * wu / 2).ravel() / weight.sum(), wanted_log_var, 1))
              for s in [(np.abs(line[:, None]) * np.sqrt(1 - ((u + 1) / 2) ** 2)).ravel()]),
        ):  # fmt: skip
            noise = np.zeros((1, len(n1), len(line), 3 * K))
            noise[..., j], noise[..., K + j], noise[..., 2 * K + j] = eps[:, None], n1[:, None], n2[:, None]
            noise[..., 1 - j] = other
            rows = noise.reshape(1, -1, 3 * K)
            q = Polynomial(np.tile(mu, (rows.shape[1], 1)), np.tile(log_var, (rows.shape[1], 1)))
            _, dq = estimate(get("measure"), Functions(cubic), q, None, rows)
            close((w[:, None] * wo).ravel() @ dq[field][:, j], expected[j], 1e-10)


def test_couplings_and_moves() -> None:
    """R = |(n₁, n₂)|, M with the sign of ε; copy j moves latent j alone."""
    R, M = couplings(np.array([[[-2.0, 1.0, 3.0, 2.0, 4.0, 2.0]]]))  # K = 2: ε, n₁, n₂
    close(R, np.array([[[5.0, math.sqrt(8)]]]))
    close(M, np.array([[[-math.sqrt(29), 3.0]]]))
    z, new = at(14, 3, B, K), at(15, 3, B, K)
    for j in range(K):
        expected = z.copy()
        expected[..., j] = new[..., j]
        close(moved(z, new)[j], expected, 0)


# --- integrands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "k", "mean"), [
    (f_of.square, 3.0, lambda m, s2: (m - 3) ** 2 + s2),
    (f_of.square, 0.0, lambda m, s2: m * m + s2),
    (f_of.bump, 0.5, lambda m, s2: np.exp(-0.5 * m * m / (1 + s2)) / np.sqrt(1 + s2)),
    (f_of.wave, 2.0, lambda m, s2: np.cos(2 * m) * np.exp(-2 * s2)),
])  # fmt: skip
@pytest.mark.parametrize("name", ["score", "sgvb_b"])
def test_integrands(make: Any, k: float, mean: Any, name: str) -> None:
    """Means of score and path against the slope of E[f] in closed form; f' against f by complex step."""
    f = make(k)
    at_point = np.array([0.7, 2 * math.log(0.8)])
    exact = slopes(lambda a: mean(a[0], np.exp(a[1])), at_point)
    close(f_of.exact(get(name), f, 0.7, 0.8)[0], exact, 1e-9)
    z, w = at(16, 3, 2, 1), at(17, 3, 2)
    close(f.log_likelihood_vjp(w, None, z, None, None), slopes(lambda z: f.log_likelihood(None, z, None), z, w))


def test_integrands_by_name() -> None:
    """What a plot's legend says, and the variances of z² by hand: θ⁴ + 14 θ² + 15, and 4."""
    assert (f_of.square(3).name, f_of.bump(2).name, f_of.wave(0.5).name) == ("(z - 3)^2", "exp(-2 z^2)", "cos 0.5z")
    values = [f.log_likelihood(None, np.array([[0.5]]), None)[0] for f in (f_of.square(3), f_of.bump(2), f_of.wave(2))]
    close(np.array(values), np.array([6.25, math.exp(-0.5), math.cos(1)]))  # no estimator sees a constant too much
    close(f_of.exact(get("score"), f_of.square(), 2.0, 1.0)[1][:1], np.array([87.0]))
    close(f_of.exact(get("sgvb_b"), f_of.square(), 2.0, 1.0)[1][:1], np.array([4.0]))
    q = f_of.Free(np.ones((3, 1)), np.ones((3, 1)))
    assert q.kl().tolist() == [0, 0, 0]
    assert [f.tolist() for f in q.kl_vjp(np.ones(3))] == [[[0]] * 3] * 2


# --- AEVB: the encoder too --------------------------------------------------------------------------


def test_through_the_encoder() -> None:
    """φ by complex step of the whole, for given weights and for the minibatch mean; θ too; w is a weight a row."""
    p = point(get("sgvb_b"), "bernoulli", 3)
    sizes = ((D, K), (K,), (D, K), (K,))
    flat = [0.5 * at(20 + i, *s) for i, s in enumerate(sizes)]

    def encoder(arrays: Any) -> Net:
        return Net((), (Dense(*arrays[:2]), Dense(*arrays[2:])), "tanh", Family("normal"))

    for w in (None, np.array([2.0, -1.0])):
        dflat = [np.ones(s) for s in sizes]
        L = gradient(get("sgvb_b"), p.model, p.x, p.noise, encoder(flat), p.theta, encoder(dflat), None, w)
        each = np.full(B, 1 / B) if w is None else w

        def bound(arrays: Any) -> Array:
            q = Normal(p.x @ arrays[0] + arrays[1], p.x @ arrays[2] + arrays[3])
            return SURROGATES["sgvb_b"](p, q, p.theta)

        def moved_bound(i: int, a: Array) -> Array:
            return bound([*flat[:i], a, *flat[i + 1 :]])

        close(L, bound(flat))
        for i in range(4):
            found = slopes(partial(moved_bound, i), flat[i], each)
            close(dflat[i] - 1, found, 1e-10)
