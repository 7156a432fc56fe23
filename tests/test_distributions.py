"""§7.2.5 Laws of the distributions: densities that integrate to one, scores of mean zero, KL as its integral.

A wrong formula with a matching derivative passes every gradient check; it does not pass these.
"""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from oracles import close, gauss_hermite, slopes
from scipy import integrate, special, stats

from scratchvae.distributions import Bernoulli, Normal, as_rows, unbroadcast
from scratchvae.errors import UsageError
from scratchvae.types import Array

RNG = np.random.default_rng(5)
MU, LOG_VAR = RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))
Q, SD = Normal(MU, LOG_VAR), np.exp(LOG_VAR / 2)
LOGITS = 2 * RNG.standard_normal((4, 3))
Z, Z3, W = RNG.standard_normal((4, 3)), RNG.standard_normal((2, 4, 3)), RNG.standard_normal(4)


# --- Normal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("z", [Z, Z3, Z[:1]], ids=["rows", "samples", "one value for all rows"])
def test_normal_log_prob_is_scipys(z: Array) -> None:
    """Catches log_var taken for σ or σ², a lost log 2π, a lost ½, and a sum over the wrong axis."""
    close(Q.log_prob(z), np.sum(stats.norm.logpdf(z, MU, SD), axis=-1))


@pytest.mark.parametrize(("mu", "log_var"), [(0.0, 0.0), (-1.5, 1.3), (2.0, -2.0)])
def test_normal_density_integrates_to_one(mu: float, log_var: float) -> None:
    """Catches any wrong constant, without a formula to copy it from."""
    p = Normal(np.array([mu]), np.array([log_var]))
    total, _ = integrate.quad(lambda z: float(np.exp(p.log_prob(np.array([z])))), mu - 30, mu + 30, points=[mu])
    assert total == pytest.approx(1, abs=1e-8)


def test_normal_kl_is_its_expectation() -> None:
    """Catches numpy-ml's error (log_var as σ in one place, as σ² in another), a lost −1, a flipped sign.

    E_q[log q − log p] by Gauss–Hermite with scipy's densities: exact, since the integrand is a square.
    """
    eps, weights = gauss_hermite(8)
    z = MU + SD * eps[:, :, None]  # (8, 4, 3): each component has its own integral
    ratio = stats.norm.logpdf(z, MU, SD) - stats.norm.logpdf(z)
    close(Q.kl(), np.einsum("s,sbk->b", weights, ratio))
    assert (Q.kl() > 0).all()
    close(Normal(np.zeros((2, 3)), np.zeros((2, 3))).kl(), np.zeros(2), 0)


def test_normal_kl_against_monte_carlo() -> None:
    """The same law through the library's own sampler and densities: sample, log_prob and kl must mean one σ."""
    z = Q.sample(np.random.default_rng(1).standard_normal((100_000, 4, 3)))
    draws = Q.log_prob(z) - Normal(np.zeros(3), np.zeros(3)).log_prob(z)
    error = draws.std(axis=0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0) - Q.kl()) < 4 * error).all()


def test_normal_entropy() -> None:
    """Catches anglepy's log 2ππ for log 2πe: +0.072 nats a component."""
    close(Q.entropy(), np.sum(stats.norm.entropy(MU, SD), axis=-1))
    close(Normal(np.zeros(1), np.zeros(1)).entropy(), np.array(0.5 * np.log(2 * np.pi * np.e)))


def test_normal_score_has_mean_zero_and_fishers_variance() -> None:
    """E[∇ log q] = 0 and E[score²] = 1/σ² for μ, ½ for log σ²: catches a scaled score, which a slope alone may not."""
    eps, weights = gauss_hermite(8)
    z = MU + SD * eps[:, :, None]
    _, score = Q.log_prob_vjp(np.ones(4), z[0])
    assert score.mu.shape == MU.shape
    scores = [Q.log_prob_vjp(np.ones(4), z_s)[1] for z_s in z]
    for part, fisher in [(0, np.exp(-LOG_VAR)), (1, np.full((4, 3), 0.5))]:
        s = np.stack([score[part] for score in scores])
        close(np.einsum("s,sbk->bk", weights, s), np.zeros((4, 3)))
        close(np.einsum("s,sbk->bk", weights, s * s), fisher)


def test_normal_sample_has_the_mean_and_variance_it_names() -> None:
    """Catches exp(log_var) taken for σ: the sampler of numpy-ml."""
    eps, weights = gauss_hermite(4)
    z = Q.sample(np.broadcast_to(eps[:, :, None], (4, 4, 3)))
    mean = np.einsum("s,sbk->bk", weights, z)
    close(mean, MU)
    close(np.einsum("s,sbk->bk", weights, (z - mean) ** 2), np.exp(LOG_VAR))


@pytest.mark.parametrize("log_var", [-1e4, -1000.0, 80.0])
def test_normal_at_extreme_variances(log_var: float) -> None:
    """Catches a clamp: KL is ½ (σ² − 1 − log σ²) at any log σ², and only a true overflow is infinite."""
    p = Normal(np.zeros((1, 1)), np.array([[log_var]]))
    close(p.kl(), np.array([0.5 * (np.exp(log_var) - 1 - log_var)]))
    close(p.entropy(), np.array([0.5 * (np.log(2 * np.pi * np.e) + log_var)]))
    with np.errstate(over="ignore"):
        assert Normal(np.zeros((1, 1)), np.array([[1e4]])).kl() == np.inf


# --- Bernoulli ------------------------------------------------------------------------------------------------------

BITS = np.array(list(product([0.0, 1.0], repeat=3)))  # (8, 3): every x of three bits


def test_bernoulli_log_prob_is_scipys() -> None:
    """Catches 0 and 1 exchanged, and logits taken for probabilities."""
    p, x = Bernoulli(LOGITS), BITS[:4]
    close(p.log_prob(x), np.sum(stats.bernoulli.logpmf(x, special.expit(LOGITS)), axis=-1))
    close(p.log_prob(x), np.sum(special.log_expit(np.where(x == 1, LOGITS, -LOGITS)), axis=-1))


def test_bernoulli_laws_by_enumeration() -> None:
    """Over all eight x: Σ p = 1, E[x] = mean, −E[log p] = H, E[score] = 0, E[score²] = p (1 − p)."""
    for logits in LOGITS:
        p = Bernoulli(logits)
        log_p = p.log_prob(BITS)
        weight = np.exp(log_p)
        assert weight.sum() == pytest.approx(1)
        close(weight @ BITS, p.mean)
        close(-weight @ log_p, p.entropy())
        score = np.stack([p.log_prob_vjp(np.ones(1), x[None])[1].logits for x in BITS])
        close(weight @ score, np.zeros(3))
        close(weight @ score**2, p.mean * (1 - p.mean))


def test_bernoulli_mean_is_that_of_its_samples() -> None:
    """Catches jax's example, which shows a softplus for a probability."""
    p = Bernoulli(LOGITS)
    u = (np.arange(1000) + 0.5) / 1000  # the uniforms by their quantiles: frequencies are exact to 1/1000
    x = p.sample(np.broadcast_to(u[:, None, None], (1000, 4, 3)))
    assert set(np.unique(x)) <= {0.0, 1.0}
    close(x.mean(axis=0), special.expit(LOGITS), 1e-3)
    close(p.mean, special.expit(LOGITS))


def test_bernoulli_at_extreme_logits() -> None:
    """Catches log of a probability that was rounded to 0 or 1: the right bit costs nothing, the wrong one |l| nats."""
    for dtype in (np.float32, np.float64):
        p, x = Bernoulli(np.array([[1e4, -1e4, -1e4, 1e4]], dtype)), np.array([[1, 0, 1, 0]], dtype)
        close(p.log_prob(x), np.array([-2e4]), 0)
        close(p.log_prob_vjp(np.ones(1, dtype), x)[1].logits, np.array([[0, 0, 1, -1]]), 0)
        close(p.entropy(), np.zeros(1), 0)
        close(p.entropy_vjp(np.ones(1, dtype)).logits, np.zeros((1, 4)), 0)


def test_grey_x_are_a_cross_entropy() -> None:
    """x log p + (1 − x) log(1 − p) for x between the bits: catches a branch on x == 1."""
    x, mean = RNG.random((4, 3)), special.expit(LOGITS)
    close(Bernoulli(LOGITS).log_prob(x), (x * np.log(mean) + (1 - x) * np.log1p(-mean)).sum(axis=-1))


# --- slopes of all of them ------------------------------------------------------------------------------------------

SHAPES = {
    "rows": ((4, 3), (4, 3), (4, 3)),
    "samples": ((2, 4, 3), (4, 3), (4, 3)),
    "one mu for all rows": ((4, 3), (3,), (4, 3)),
    "one log_var for all": ((4, 3), (4, 3), (1, 3)),
    "one z for all rows": ((3,), (4, 3), (4, 3)),
    "one component": ((4, 1), (4, 1), (4, 1)),
    "one sample": ((1, 4, 3), (4, 3), (4, 3)),
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_normal_log_prob_vjp(shapes: tuple[tuple[int, ...], ...]) -> None:
    """Catches a lost path (log_var appears twice), and a cotangent that is not summed over what was repeated."""
    z, mu, log_var = (RNG.standard_normal(s) for s in shapes)
    w = RNG.standard_normal(Normal(mu, log_var).log_prob(z).shape)
    dz, d = Normal(mu, log_var).log_prob_vjp(w, z)
    close(dz, slopes(lambda v: Normal(mu, log_var).log_prob(v), z, w))
    close(d.mu, slopes(lambda v: Normal(v, log_var).log_prob(z), mu, w))
    close(d.log_var, slopes(lambda v: Normal(mu, v).log_prob(z), log_var, w))


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES.keys())
def test_normal_sample_vjp(shapes: tuple[tuple[int, ...], ...]) -> None:
    """Catches the ½ of σ = exp(½ log σ²) lost, and samples that are not summed."""
    eps, mu, log_var = (RNG.standard_normal(s) for s in shapes)
    dz = RNG.standard_normal(Normal(mu, log_var).sample(eps).shape)
    d = Normal(mu, log_var).sample_vjp(dz, eps)
    close(d.mu, slopes(lambda v: Normal(v, log_var).sample(eps), mu, dz))
    close(d.log_var, slopes(lambda v: Normal(mu, v).sample(eps), log_var, dz))


PER_ROW: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array, Array], Normal]]] = {
    "kl": (lambda m, s: Normal(m, s).kl(), lambda w, m, s: Normal(m, s).kl_vjp(w)),
    "entropy": (lambda m, s: Normal(m, s).entropy() + 0 * m.sum(), lambda w, m, s: Normal(m, s).entropy_vjp(w)),
}


@pytest.mark.parametrize("name", PER_ROW)
@pytest.mark.parametrize("leading", [(4,), (2, 4), ()])
def test_normal_kl_and_entropy_vjp(name: str, leading: tuple[int, ...]) -> None:
    """Catches a lost ½ or −1 in ∂KL/∂log σ², and w applied to the wrong rows."""
    f, vjp = PER_ROW[name]
    mu, log_var = RNG.standard_normal((2, *leading, 3))
    w = RNG.standard_normal(leading)
    d = vjp(w, mu, log_var)
    close(d.mu, slopes(lambda v: f(v, log_var), mu, w))
    close(d.log_var, slopes(lambda v: f(mu, v), log_var, w))


@pytest.mark.parametrize("shapes", [((4, 3), (4, 3)), ((2, 4, 3), (4, 3)), ((4, 3), (3,)), ((4, 3), (2, 4, 3))])
def test_bernoulli_vjps(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Catches x − p with the wrong sign, and logits that are shared by rows or samples."""
    x, logits = (RNG.random(shapes[0]) < 0.5).astype(float), RNG.standard_normal(shapes[1])
    w = RNG.standard_normal(Bernoulli(logits).log_prob(x).shape)
    dx, d = Bernoulli(logits).log_prob_vjp(w, x)
    assert dx is None
    close(d.logits, slopes(lambda v: Bernoulli(v).log_prob(x), logits, w))
    v = RNG.standard_normal(shapes[1][:-1])
    close(Bernoulli(logits).entropy_vjp(v).logits, slopes(lambda l: Bernoulli(l).entropy(), logits, v))


def test_entropy_vjp_of_a_shared_mu() -> None:
    """Catches a cotangent with the shape of the other parameter."""
    d = Normal(MU[0], LOG_VAR).entropy_vjp(W)
    close(d.mu, np.zeros(3), 0)
    close(d.log_var, slopes(lambda v: Normal(MU[0], v).entropy(), LOG_VAR, W))


@pytest.mark.parametrize("name", ["kl_vjp", "entropy_vjp", "log_prob_vjp", "log_prob_observed_vjp"])
@pytest.mark.parametrize("p", [Normal(np.ones((4, 3)), np.ones((4, 3))), Bernoulli(np.ones((4, 3)))])
def test_w_is_one_number_a_row(p: Any, name: str) -> None:
    """Catches a compiled kernel that reads past the end of w."""
    if not hasattr(p, name):
        return
    for shape in ((1,), (3,), (2, 4)):
        with pytest.raises(UsageError, match=r"w has shape .*, expected \(4,\)"):
            getattr(p, name)(np.ones(shape), *(np.ones((4, 3)),) * (name.startswith("log_prob") + ("observed" in name)))


def test_arguments_survive() -> None:
    """Catches a cotangent that is a view of its argument, so that `+=` on one spoils the other."""
    dz = Z.copy()
    for d in Q.sample_vjp(dz, Z):
        d += 1
    for d in (*Q.kl_vjp(W), *Q.entropy_vjp(W)):
        d += 1
    close(dz, Z, 0)
    close(Q.mu, MU, 0)


def test_as_rows_and_unbroadcast() -> None:
    """Catches rows in another order, and a repeated axis that is summed when it was really there."""
    shape, (a, b) = as_rows(Z3, MU[:1])
    assert shape == (2, 4, 3)
    close(a, Z3.reshape(8, 3), 0)
    close(b, np.tile(MU[:1], (8, 1)), 0)
    assert as_rows(np.asfortranarray(Z))[1][0].flags.c_contiguous, "kernels walk rows in C order"
    close(unbroadcast(Z3, (4, 3)), Z3.sum(axis=0))
    close(unbroadcast(Z[:2], (1, 3)), Z[:2].sum(axis=0, keepdims=True))
    close(unbroadcast(Z3, (1, 3)), Z3.sum(axis=(0, 1))[None])
    close(unbroadcast(Z3, (2, 1, 3)), Z3.sum(axis=1, keepdims=True))
    close(unbroadcast(Z[:1], (1, 3)), Z[:1], 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype: str) -> None:
    """Catches a float64 scalar that promotes float32: twice the memory and half the speed, silently."""
    mu, log_var, z, w = MU.astype(dtype), LOG_VAR.astype(dtype), Z.astype(dtype), W.astype(dtype)
    p, b = Normal(mu, log_var), Bernoulli(mu)
    results = [p.sample(z), p.log_prob(z), p.kl(), p.entropy(), *p.sample_vjp(z, z), *p.kl_vjp(w), *p.entropy_vjp(w)]
    results += [p.log_prob_vjp(w, z)[0], *p.log_prob_vjp(w, z)[1], b.mean, b.sample(z), b.log_prob(z), b.entropy()]
    results += [b.log_prob_vjp(w, z)[1].logits, b.entropy_vjp(w).logits]
    assert {r.dtype for r in results} == {np.dtype(dtype)}
    assert b.sample(Z).dtype == np.dtype(dtype), "a sample has the type of its logits, not of its uniforms"


# --- missing entries --------------------------------------------------------------------------------------------------

SEEN = (np.arange(12).reshape(4, 3) % 5 != 1).astype(float)  # every row misses something else


@pytest.mark.parametrize("shapes", [((4, 3), (4, 3)), ((2, 4, 3), (4, 3)), ((4, 3), (3,))])
def test_observed_entries_alone_count(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """log p of what was seen, by scipy: catches a missing entry that adds its constant, or moves a parameter."""
    rng = np.random.default_rng(6)
    z, mu, log_var = rng.standard_normal(shapes[0]), rng.standard_normal(shapes[1]), rng.standard_normal((4, 3))
    q, w = Normal(mu, log_var), rng.standard_normal((*shapes[0][:-1],))
    close(q.log_prob_observed(z, SEEN), (SEEN * stats.norm.logpdf(z, mu, np.exp(log_var / 2))).sum(axis=-1))
    close(q.log_prob_observed(z, np.ones((4, 3))), q.log_prob(z))
    dz, d = q.log_prob_observed_vjp(w, z, SEEN)
    close(dz, slopes(lambda v: q.log_prob_observed(v, SEEN), z, w))
    close(d.mu, slopes(lambda v: Normal(v, log_var).log_prob_observed(z, SEEN), mu, w))
    close(d.log_var, slopes(lambda v: Normal(mu, v).log_prob_observed(z, SEEN), log_var, w))

    x, logits = (z > 0) * 1.0, mu
    close(Bernoulli(logits).log_prob_observed(x, SEEN),
          (SEEN * stats.bernoulli.logpmf(x, special.expit(logits))).sum(axis=-1))  # fmt: skip
    dx, b = Bernoulli(logits).log_prob_observed_vjp(w, x, SEEN)
    assert dx is None
    close(b.logits, slopes(lambda v: Bernoulli(v).log_prob_observed(x, SEEN), logits, w))


def test_one_value_for_all_rows_of_observed_entries() -> None:
    """Catches a cotangent of z that is not summed where z was shared."""
    dz, _ = Q.log_prob_observed_vjp(W, Z[0], SEEN)
    close(dz, slopes(lambda v: Q.log_prob_observed(v, SEEN), Z[0], W))
