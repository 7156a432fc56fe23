"""§7.1.2 A posterior over the weights: against the evidence of linear regression, and in a run of the VAE."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Call, bits
from oracles import gauss_hermite
from scipy.stats import multivariate_normal, norm

from scratchvae.classical.full_vb import FIRST, LinearRegression, local, local_vjp, weights, weights_vjp
from scratchvae.distributions import Normal
from scratchvae.gradcheck.library import cases
from scratchvae.noise import Purpose
from scratchvae.training import rivals
from scratchvae.training.config import from_dict
from scratchvae.training.objective import VAEObjective
from scratchvae.training.optim import log_prior_vjp
from scratchvae.training.reading import Reading
from scratchvae.training.rivals import FullVB
from scratchvae.training.state import State, Steps, latent_noise, load_state
from scratchvae.types import Array

RNG = np.random.default_rng(11)
N, P = 12, 3
REGRESSION = LinearRegression(RNG.normal(size=(N, P)), RNG.normal(size=N), np.log(0.4))
Q = Normal(RNG.normal(size=P), 0.5 * RNG.normal(size=P) - 1)


def zeros() -> Normal:
    return Normal(np.zeros(P), np.zeros(P))


def whole(zeta: Array, q: Normal = Q, rows: slice = slice(None), M: int = N) -> tuple[float, Normal]:
    """The bound of eq. 24 for the whole data, by one ζ and M rows, and its slope in q."""
    model, dq = REGRESSION, zeros()
    theta, price = weights(q, zeta, N)
    a = model.X[rows] @ theta
    bound = N * (model.log_likelihood(a, rows).mean() - price)
    da = model.log_likelihood_vjp(np.full(M, N / M), a, rows)
    weights_vjp(da @ model.X[rows], -N, q, zeta, N, dq)
    return float(bound), dq


def test_pairs() -> None:
    """Catches a wrong slope of θ, of its price, of local activations, and of the exact bound."""
    found = [case.run() for case in cases("full_vb.*")]
    assert len(found) == 3
    assert all(report.ok for report in found), [str(r) for r in found if not r.ok]


def test_evidence_is_what_bayes_rule_leaves() -> None:
    """Catches a prior, a constant or a determinant left out, and Λ for Λ⁻¹: at every θ log p(y) =
    log p(y | θ) + log p(θ) − log p(θ | y)."""
    mean, precision = REGRESSION.posterior()
    posterior = multivariate_normal(mean, np.linalg.inv(precision))
    for theta in RNG.normal(size=(3, P)):
        joint = REGRESSION.log_likelihood(REGRESSION.X @ theta).sum() + norm.logpdf(theta).sum()
        assert REGRESSION.log_evidence() == pytest.approx(joint - posterior.logpdf(theta), abs=1e-10)


def test_the_bound_is_below_the_evidence_and_its_optimum_is_mean_field() -> None:
    """Catches a data term N times too often or too seldom, KL's missing half, and 1/Λ for Λ⁻¹: at mean m, variances
    1/Λᵢᵢ the slope is zero to 1e-12, and the gap is ½(Σ ln Λᵢᵢ − ln|Λ|) exactly."""
    best, (mean, precision), dq = REGRESSION.mean_field(), REGRESSION.posterior(), zeros()
    REGRESSION.bound_vjp(1.0, best, dq)
    np.testing.assert_allclose(np.concatenate(dq), 0, atol=1e-12)
    gap = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    assert REGRESSION.log_evidence() - REGRESSION.bound(best) == pytest.approx(gap, abs=1e-11)
    for scale in (0.1, 1.0):
        other = Normal(mean + scale * RNG.normal(size=P), best.log_var + scale * RNG.normal(size=P))
        assert REGRESSION.bound(other) < REGRESSION.bound(best)


def test_eq_24_is_the_exact_bound_on_average() -> None:
    """Catches a ζ that is not θ's, N at KL, KL's sign: mean and slope over ζ by Gauss-Hermite are the exact ones."""
    nodes, mass = gauss_hermite(3, P)
    found = [whole(zeta) for zeta in nodes]
    assert mass @ [bound for bound, _ in found] == pytest.approx(REGRESSION.bound(Q), abs=1e-11)
    exact = zeros()
    REGRESSION.bound_vjp(1.0, Q, exact)
    for i in range(2):
        np.testing.assert_allclose(mass @ [dq[i] for _, dq in found], exact[i], atol=1e-10)


def test_minibatches_are_unbiased() -> None:
    """Catches a minibatch that counts as itself and not as N rows."""
    zeta = RNG.normal(size=P)
    parts = [whole(zeta, rows=slice(i, i + 4), M=4) for i in range(0, N, 4)]
    assert np.mean([bound for bound, _ in parts]) == pytest.approx(whole(zeta)[0])
    np.testing.assert_allclose(np.mean([dq.mu for _, dq in parts], axis=0), whole(zeta)[1].mu)


def test_local_noise_has_the_same_mean_and_a_variance_that_falls_with_the_rows() -> None:
    """Catches activations of another law, and shows the trap: of four rows, 64 times over, a slope by one ζ varies as
    that of the four, by a ζ for each row 64 times less."""
    rng, draws, M = np.random.default_rng(12), 1500, 256
    X, y = np.tile(rng.normal(size=(4, P)), (M // 4, 1)), np.tile(rng.normal(size=4), M // 4)
    model = LinearRegression(X, y, 0.0)

    def slopes_of(rows: int, own: bool) -> Array:
        found = np.empty((draws, P))
        for i in range(draws):
            zeta, dq, part = rng.normal(size=rows if own else P), zeros(), slice(0, rows)
            if own:
                a = local(Q, X[part], zeta)
                local_vjp(model.log_likelihood_vjp(np.full(rows, 1 / rows), a, part), Q, X[part], zeta, dq)
            else:
                theta, _ = weights(Q, zeta, N)
                da = model.log_likelihood_vjp(np.full(rows, 1 / rows), X[part] @ theta, part)
                weights_vjp(da @ X[part], 0.0, Q, zeta, N, dq)
            found[i] = dq.mu
        return found

    one, together, few, own = slopes_of(4, False), slopes_of(M, False), slopes_of(4, True), slopes_of(M, True)
    assert (abs(own.mean(0) - together.mean(0)) <= 4 * together.std(0) / np.sqrt(draws / 2)).all()
    np.testing.assert_allclose(together.var(axis=0).sum() / one.var(axis=0).sum(), 1, atol=0.25)
    np.testing.assert_allclose(few.var(axis=0).sum() / own.var(axis=0).sum(), 64, rtol=0.25)


# --- in a run --------------------------------------------------------------------------------------


def run(x: Array, **options: object) -> State:
    """A small run by full variational Bayes, not yet begun."""
    small = {"latent": 2, "hidden": (4,), "batch": 20, "kernels": "numpy", "binarisation": "none", "dtype": "float64"}
    return State.begun(from_dict({**small, "algorithm": "full-vb", **options}), Reading(x.shape[1]), x)


def test_with_sigma_to_zero_the_step_is_map_s() -> None:
    """Catches N at the data, the minibatch's rows for N, a draw that does not use μ, and slopes that miss φ: eq. 8's
    direction."""
    rows, eps = bits(60).astype(np.float64), RNG.standard_normal((1, 20, 2))
    state, other, x = run(rows), run(rows), rows[:20]
    state.arena.views[rivals.LOG_VAR][...] = -60
    L = FullVB(state).gradient(x, eps)
    np.testing.assert_allclose(L, VAEObjective(other).gradient(x, eps), rtol=1e-9)
    theta = slice(*Steps(other, rows).generative())
    log_prior_vjp(1.0, other.arena.flat[theta], 60, other.gradient.flat[theta])
    for name in other.architecture.shapes():
        np.testing.assert_allclose(state.gradient.views[name], other.gradient.views[name], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(state.gradient.views[rivals.LOG_VAR], 0.5 / 60, rtol=1e-6)  # −½(σ² − 1)/N: it wants 1


def test_a_run_s_direction_is_the_slope_of_eq_24() -> None:
    """Catches noise that the step does not name or z's draws have too, and a slope of log σ² that is not: central
    differences of the step's own bound less its price, at one step's draw."""
    rows, eps = bits(60).astype(np.float64), RNG.standard_normal((1, 20, 2))
    state, other, x = run(rows), run(rows), rows[:20]
    state.arena.views[rivals.LOG_VAR][...] = RNG.normal(size=state.arena.views[rivals.LOG_VAR].size) - 3

    def value() -> float:
        return float(FullVB(state).gradient(x, eps).mean() - FullVB(state).kl())

    value()
    slopes, at = state.gradient.flat.copy(), state.arena.flat.copy()
    for direction in RNG.standard_normal((3, at.size)):
        ends = []
        for h in (1e-5, -1e-5):
            state.arena.flat[...] = at + h * direction
            ends.append(value())
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slopes @ direction, rel=1e-6)
    state.arena.flat[...] = at
    first, q = FullVB(state).gradient(x, eps), FullVB(state).weights(state.arena)
    zeta = state.noise.normals(Purpose.WEIGHTS, state.step, 1, len(q.mu), "float64")[0]
    FullVB(other).weights(other.arena).mu[...] = q.mu + np.exp(0.5 * q.log_var) * zeta
    np.testing.assert_allclose(first, VAEObjective(other).bound(x, eps)[0], rtol=1e-12)
    assert not np.isin(zeta, latent_noise(state, Purpose.LATENT, state.step, 60, 1)).any()
    state.step += 1
    assert (FullVB(state).gradient(x, eps) != first).all()  # another ζ


def test_rows_held_out_are_none_of_n() -> None:
    """Catches an N that counts rows which nobody learns from; and a start at which a net is noise."""
    state = run(bits(100).astype(np.float64), validation=0.2)
    assert state.kept["rows"] == 80
    assert (state.arena.views[rivals.LOG_VAR] == FIRST).all()
    assert np.exp(FIRST) == pytest.approx(1e-4)  # a net whose weights are noise learns nothing
    q = FullVB(state).weights(state.arena)
    assert FullVB(state).kl() == pytest.approx(float(q.kl()) / 80)
    assert np.shares_memory(q.mu, state.arena.views["p.logits.W"])
    assert len(q.mu) == sum(v.size for name, v in state.arena.views.items() if name.startswith("p."))


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_the_price_is_a_column_of_its_own(call: Call, kernels: str) -> None:
    """Catches a KL(θ)/N that is lost in the bound, in metrics, in evaluate, or where kernels are compiled."""
    options = f"--algorithm full-vb --kernels {kernels} --latent 2 --hidden 6 --batch 20 --epochs 3 --no-pictures"
    done = call("train", "rows.npy", "--out", "run", "--binarisation", "none", "--json", *options.split())
    assert done.code == 0, done.words
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    state = load_state("run/checkpoint.safetensors")[0]
    price = FullVB(state).kl()
    assert [line["weights_kl"] for line in lines][-1] == pytest.approx(price)
    report = json.loads(call("evaluate", "run", "--samples", "10", "--json").out)
    assert (report["weights_kl"], json.loads(done.out)["weights_kl"]) == (pytest.approx(price), pytest.approx(price))
    assert report["elbo"] == pytest.approx(lines[-1]["test_elbo"], abs=1e-5)
