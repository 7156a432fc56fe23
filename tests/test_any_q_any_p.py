"""§7.2, §7.3 Training with any q, p and prior: gradients are the bounds' own, bounds are log p(x)'s, runs resume."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import close
from scipy import special, stats

from scratchvae import data
from scratchvae.conditional import Family, net
from scratchvae.data import Origin, check_support
from scratchvae.distributions.kinds import FEW, decoder, posterior
from scratchvae.errors import DataError
from scratchvae.models.decoded import Decoded
from scratchvae.noise import Noise, Purpose
from scratchvae.training import likelihood
from scratchvae.training.config import Config, from_dict
from scratchvae.training.evaluate import log_likelihood
from scratchvae.training.objective import bound, encode, gradient, learned, log_weights, prior
from scratchvae.training.state import State, Steps, latent_noise, load_state, save_state
from scratchvae.types import Array
from scratchvae.vae import VAE

MIXED = "0=gaussian,1=categorical:3,2=poisson,3=beta"
RNG = np.random.default_rng(21)
TABLE = np.stack([RNG.standard_normal(60), RNG.integers(3, size=60), RNG.poisson(2, 60), RNG.random(60)], axis=-1)
BITS = (RNG.random((60, 4)) < 0.5) * 1.0
ROWS: dict[str, Array] = {
    "bernoulli": BITS,
    "gaussian": RNG.standard_normal((60, 4)),
    "poisson": TABLE[:, [2, 2, 2, 2]],
}
GAPS = np.where(RNG.random((60, 4)) < 0.3, np.nan, TABLE)
GAPS[0] = [np.nan, 2, np.nan, np.nan]


def state(size: float = 0.4, columns: int = 4, **options: Any) -> State:
    """A small run in float64 with every parameter drawn."""
    given = {"latent": 2, "hidden": (3,), "data": "array", "binarisation": "none", "dtype": "float64", "batch": 20}
    made = State(Config(**{**given, "kernels": "numpy", "standardise": False, "variance": 0.1, **options}), columns)
    made.arena.flat[...] = size * np.random.default_rng(5).standard_normal(made.arena.flat.size)
    return made


def rows_of(s: State) -> Array:
    """Data that its likelihood may have made."""
    return GAPS if s.config.missing else ROWS.get(s.config.likelihood, TABLE)


PAIRS: list[dict[str, Any]] = [
    {},
    {"posterior": "gamma", "likelihood": "poisson"},
    {"posterior": "beta", "estimator": "stl"},
    {"posterior": "von-mises", "likelihood": MIXED},
    {"posterior": "full-normal"},
    {"posterior": "rank-one", "likelihood": "gaussian"},
    {"posterior": "planar:2", "estimator": "sgvb_a"},
    {"posterior": "gumbel", "likelihood": MIXED, "missing": "nan"},
    {"posterior": "logistic", "estimator": "sgvb_a", "likelihood": MIXED, "missing": "nan"},
    {"prior": "vamp:3", "estimator": "sgvb_a"},
    {"prior": "vamp:3", "estimator": "sgvb_a", "likelihood": "gaussian"},
    {"prior": "vamp:3", "estimator": "sgvb_a", "likelihood": MIXED},
    {"prior": "mixture:3", "estimator": "sgvb_a", "posterior": "planar:1"},
]
names = ["/".join([*map(str, p.values())]) or "plain" for p in PAIRS]
every = pytest.mark.parametrize("options", PAIRS, ids=names)


@every
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_the_gradient_is_that_of_the_bound(options: dict[str, Any], beta: float) -> None:
    """Of E[log p(x | z)] − β KL by differences at the same noise, while the bound reported has β = 1. Catches 1/β or β
    lost in a part, a prior whose slopes go nowhere, a mask that one way forgets, and a prior of another family."""
    s = state(**options, beta=beta)
    x, eps = rows_of(s)[:5], latent_noise(s, Purpose.LATENT, 3, 5, 2)
    if s.config.estimator == "stl":  # the score, left out, has mean 0 alone
        s.estimator = state(**{**options, "estimator": "sgvb_a"}).estimator
    sampled = s.config.estimator != "sgvb_b"
    L = gradient(s, x, eps)
    close(L, log_weights(s, x, eps).mean(axis=0) if sampled and beta == 1 else bound(s, x, eps)[0])
    if s.config.prior != "standard" or not hasattr(s.posterior_kind, "kl"):  # then the bound's KL is sampled too
        close(bound(s, x, eps)[0], log_weights(s, x, eps).mean(axis=0))
    for name, view in s.arena.views.items():
        kept, v, found = view.copy(), RNG.standard_normal(view.shape), []
        for step in (1e-5, -1e-5):
            view[...] = kept + step * v
            found.append(value(s, x, eps, beta, sampled))
        view[...] = kept
        along = float((s.gradient.views[name] * v).sum())
        assert abs((found[0] - found[1]) / 2e-5 - along) < 1e-7 * max(1, abs(along)), name


def value(s: State, x: Array, eps: Array, beta: float, sampled: bool) -> float:
    """The mean of what is maximised, its KL as the estimator has it."""
    _, reconstruction, kl = bound(s, x, eps)
    if sampled:
        kl = reconstruction - log_weights(s, x, eps).mean(axis=0)
    return float((reconstruction - beta * kl).mean())


# --- log p(x) ---------------------------------------------------------------------------------------------------------

QS = ("normal", "gamma", "beta", "planar:2", "von-mises", "full-normal", "logit-normal")
ONE: list[dict[str, Any]] = [{"posterior": q, "estimator": "stl"} for q in QS]
ONE += [{"prior": p, "estimator": "stl"} for p in ("vamp:3", "mixture:3")]
ONE += [{"prior": "mixture:3", "posterior": "rank-one", "estimator": "stl"}]


@pytest.mark.parametrize("options", ONE, ids=["/".join(map(str, o.values())) for o in ONE])
def test_log_p_of_x_is_the_integral(options: dict[str, Any]) -> None:
    """With one latent, against E[p(x | z)] over quantiles of the prior: catches a prior left out of the weights, of
    another family, or a density of q that is not its sampler's."""
    s = state(0.25, latent=1, **options)
    if s.config.prior != "standard":  # away from N(0, 1)
        for name in {"q.mu.b", "prior.mu"} & {*s.arena.views}:
            s.arena.views[name][...] += 1.5
    x = BITS[:6]
    u = (np.arange(4000)[:, None, None] + 0.5) / 4000
    theta = learned(s)[0]
    if s.config.prior == "standard":
        kind, width = s.prior_kind, np.zeros((1, 1))
        p = kind(*(width for _ in kind._fields))
        z, log_p = p.sample(special.ndtri(u) if kind.noise == "normals" else u), -np.log(4000) * np.ones((4000, 1))
    else:
        z = 40 * u - 20
        log_p = theta.prior.log_prob(z) + np.log(40 / 4000)
    exact = special.logsumexp(log_p + Decoded().log_likelihood(x, np.broadcast_to(z, (4000, 6, 1)), theta), axis=0)
    np.testing.assert_allclose(log_likelihood(s, x, 4000), exact, atol=0.03)
    again = bound(s, x, latent_noise(s, Purpose.EVALUATE, 0, 6, 400))[0]
    assert (again < exact + 0.05).all()


@pytest.mark.parametrize(
    "options",
    [{"posterior": "gamma"}, {"posterior": "logistic", "estimator": "stl"}, {"prior": "mixture:3", "estimator": "stl"}],
)
def test_draws_are_the_priors(options: dict[str, Any]) -> None:
    """E[z], E[z²] and, of two latents, E[z z′] of 20 000 draws within 5 standard errors: catches normals taken for
    uniforms, and one component for all."""
    s, n = state(size=1.0, **options), 20_000
    z = prior(s, Noise(4), Purpose.EVALUATE, n)
    if s.config.prior == "standard":
        law = stats.expon() if options["posterior"] == "gamma" else stats.logistic()
        wanted = [law.mean(), law.moment(2), law.mean() ** 2]
    else:
        p = learned(s)[0].prior
        pi, mu, var = special.softmax(p.logits), p.mu, np.exp(p.log_var)
        wanted = [pi @ mu, pi @ (mu**2 + var), pi @ (mu[:, 0] * mu[:, 1])]
    for got, right in zip((z, z * z, z[:, 0] * z[:, 1]), wanted, strict=True):
        assert (np.abs(got.mean(axis=0) - right) < 5 * got.std(axis=0) / np.sqrt(n)).all()


# --- runs -------------------------------------------------------------------------------------------------------------

RUNS = [{"posterior": "gamma"}, {"posterior": "planar:2", "estimator": "stl"}, {"prior": "vamp:5", "estimator": "stl"},
        {"prior": "mixture:3", "estimator": "stl"}, {"likelihood": MIXED}]  # fmt: skip


@pytest.mark.parametrize("options", RUNS, ids=[next(iter(o.values())) for o in RUNS])
def test_a_run_is_saved_and_resumed_to_the_bit(options: dict[str, Any], tmp_path: Path) -> None:
    """Catches a prior's parameters, or a name of q, that the checkpoint forgets."""
    x = TABLE if "likelihood" in options else BITS.astype("float32")
    given: dict[str, Any] = {
        "latent": 2,
        "hidden": (4,),
        "epochs": 2,
        "batch": 20,
        "kernels": "numpy",
        "validation": 0.0,
    }
    model = VAE(**given, **options).fit(x)
    model.save(tmp_path / "whole")
    again = VAE.load(tmp_path / "whole")
    np.testing.assert_array_equal(again.elbo(x), model.elbo(x))
    np.testing.assert_array_equal(again.log_likelihood(x[:5], 20), model.log_likelihood(x[:5], 20))
    np.testing.assert_array_equal(again.sample(5, draw=True), model.sample(5, draw=True))
    assert model.state
    begun = State.begun(model.config, model.state.reading, model.state.reading.see(x))
    Steps(begun, x).advance(2)
    save_state(tmp_path / "half", begun, {})
    resumed = load_state(tmp_path / "half")[0]
    Steps(resumed, x).advance(4)
    np.testing.assert_array_equal(resumed.arena.flat, model.state.arena.flat)


def test_the_kl_warms_up_to_its_weight() -> None:
    """Three steps an epoch: catches a rise in steps for epochs, from 0, beyond β, and one that the gradient ignores."""
    s = state(beta=0.5, warm_up=2.0)
    steps, found = Steps(s, BITS), []
    for _ in range(8):
        steps.advance(1)
        found.append(s.beta)
    close(np.array(found), 0.5 * np.array([1, 2, 3, 4, 5, 6, 6, 6]) / 6)
    moved, still = state(beta=0.5, warm_up=2.0), state(beta=0.5 / 6)
    for one in (moved, still):
        Steps(one, BITS).advance(1)
    np.testing.assert_array_equal(moved.arena.flat, still.arena.flat)


@pytest.mark.parametrize("held", [{"prior": True}, {"prior": False}, {"prior": False, "weight_prior": True}])
def test_a_config_of_before_is_read(held: dict[str, Any]) -> None:
    """`prior` was a bool that said what weight_prior says: catches one that is lost, or stays a bool."""
    config = from_dict(held)
    assert (config.prior, config.weight_prior) == ("standard", any(held.values()))
    assert from_dict(config.as_dict()) == config


@pytest.mark.parametrize("kind", ["mixture:4", "vamp:4"])
def test_components_begin_apart(kind: str) -> None:
    """About the mean row, no two alike: catches components that would stay equal for ever."""
    for name, x in (("bernoulli", (RNG.random((500, 4)) < 0.9) * 1.0), (MIXED, TABLE)):
        config = Config(
            latent=2, hidden=(3,), prior=kind, estimator="stl", likelihood=name, kernels="numpy", variance=0.1
        )
        s = State(config, 4)
        s.initialise(x.mean(axis=0))
        found = s.arena.views["prior.mu" if kind[0] == "m" else "prior.u"]
        assert len(np.unique(found, axis=0)) == 4
        if kind[0] == "v" and name == "bernoulli":
            assert found.mean() > 1.2  # logit 0.9 is 2.2


def test_pseudo_inputs_of_small_positive_columns_begin_where_the_data_are() -> None:
    """A gamma column of mean 0.3: its pseudo-inputs begin about ln 0.3."""
    config = Config(
        latent=2, hidden=(3,), prior="vamp:40", estimator="stl", likelihood="gamma", kernels="numpy", variance=0.1
    )
    s = State(config, 1)
    s.initialise(np.array([0.3]))
    assert abs(s.arena.views["prior.u"].mean() - np.log(0.3)) < 1


@pytest.mark.parametrize(
    ("name", "into"), [("bernoulli", special.expit), ("gaussian", np.asarray), (MIXED, np.asarray)]
)
def test_pseudo_inputs_enter_like_rows(name: str, into: Any) -> None:
    """By their sigmoid where rows are in [0, 1], else as they are: catches one map for all, which no gradient sees."""
    s = state(prior="vamp:3", estimator="stl", likelihood=name)
    q = net(into(s.arena.views["prior.u"]), s.phi._replace(enter=""))[0]
    close(learned(s)[0].prior.mu, q.mu)
    close(learned(s)[0].prior.log_var, q.log_var)


def test_rows_with_gaps_enter_without_them() -> None:
    """The mask reaches the features: catches a gap that enters as class 0, which no gradient sees."""
    s, m = state(likelihood=MIXED, missing="nan"), ~np.isnan(GAPS)
    seen = decoder(MIXED).features(np.where(m, GAPS, 0), m * 1.0)
    close(encode(s, GAPS).mu, net(seen, s.phi._replace(enter=""))[0].mu)


@pytest.mark.parametrize("q", ["normal", "gamma"])
def test_noise_has_the_names_of_step_and_row(q: str) -> None:
    """Uniforms as normals: catches one draw for all steps, and rows that draw by their place in the minibatch."""
    s = state(posterior=q)
    both = latent_noise(s, Purpose.LATENT, 3, 2, 1)
    np.testing.assert_array_equal(latent_noise(s, Purpose.LATENT, 3, 1, 1, 1), both[:, 1:])
    assert not np.isin(latent_noise(s, Purpose.LATENT, 4, 2, 1), both).any()


# --- how data enter, and what is read from them -----------------------------------------------------------------------


def test_features_of_mixed_columns() -> None:
    """By hand, with and without gaps: catches classes off by one, counts without their log, and a gap that is seen."""
    x, m = np.array([[-0.5, 2, 3, 0.25], [1.5, 0, 0, 0.75]]), np.array([[1, 0, 1, 1], [0, 1, 1, 0]])
    seen = np.array([[-0.5, 0, 0, 1, np.log(4), 0.25], [1.5, 1, 0, 0, 0, 0.75]])
    kind = decoder(MIXED)
    close(kind.features(x), seen)
    assert kind.seen(4) == 6
    wide = np.array([[1, 0, 0, 0, 1, 1], [0, 1, 1, 1, 1, 0]])
    for gap in (0.0, np.nan):
        close(kind.features(np.where(m == 1, x, gap), m), seen * wide)
    two = decoder("0=gaussian,1=gaussian,2=categorical:3")
    close(two.features(np.array([[2.0, 0, 1]]), np.array([[1, 0, 1]])), np.array([[4.0, 0, 0, 1, 0]]))
    many = decoder(f"categorical:{FEW + 1}")
    close(many.features(np.array([[8.0, FEW]])), np.array([[8 / FEW, 1]]))
    assert [decoder(f"categorical:{FEW}").seen(2), many.seen(2)] == [2 * FEW, 2]
    close(decoder("gamma").features(np.array([[2.0]])), np.log([[2.0]]))
    close(decoder("binomial:4").features(np.array([[3.0]])), np.array([[0.75]]))


def test_units_and_floors_of_mixed_columns() -> None:
    """Standardised columns 0 and 3 of their own floors: catches one that stays at the default, and densities of x′."""
    name, rng = "0=gaussian,1=categorical:2,2=poisson,3=gaussian", np.random.default_rng(3)
    kind, family = decoder(name), Family(name, np.array([0.3, 9, 9, 0.7]), np.array([0.5, 8, 8, -1.0]))
    outs = [rng.standard_normal((5, n)) for n in kind.widths(4).values()]
    x = np.array([0.2, 1, 3, -0.4]) * np.ones((5, 1))
    p = kind.of(outs, family)
    mu, a = outs[0], outs[1]
    scale = np.sqrt(np.exp(a) + np.array([0.3, 0.7]))
    real = stats.norm(mu, scale).logpdf(x[:, [0, 3]]).sum(axis=-1) - (0.5 - 1.0)
    classes = special.log_softmax(outs[2], axis=-1)[:, 1]
    counts = stats.poisson.logpmf(3, np.exp(outs[3][:, 0]))
    close(p.log_prob(x), real + classes + counts)
    d = kind.of_vjp(p.log_prob_vjp(np.ones(5), x)[1], p, family)
    for i, out in enumerate(outs):
        step = np.zeros_like(out)
        step[:, 0] = 1e-5
        up, down = (kind.of([o + s * step if j == i else o for j, o in enumerate(outs)], family) for s in (1, -1))
        np.testing.assert_allclose(d[i][:, 0], (up.log_prob(x) - down.log_prob(x)) / 2e-5, atol=1e-8)


def test_first_biases_and_widths() -> None:
    """Catches heads in another order than their widths, and families with too wide a head."""
    kind = decoder(MIXED)
    biases = kind.start(np.array([0.5, 1.0, 3.0, 0.25]))
    assert {name: b.size for name, b in biases.items()} == kind.widths(4)
    assert biases["0.gaussian.mu"] == 0.5
    close(biases["2.poisson.log_rate"], np.log([3.0]))
    assert decoder(name := "1=poisson,0=gaussian").widths(2) == {
        "0.poisson.log_rate": 1,
        "1.gaussian.mu": 1,
        "1.gaussian.log_var": 1,
    }
    assert [part.columns for part in decoder(name).whole(2).parts] == [(1,), (0,)]
    assert posterior("full-normal").widths(3) == {"mu": 3, "lower": 6}
    assert posterior("planar:2").widths(3) == {"mu": 3, "log_var": 3, "u": 6, "w": 6, "b": 2}
    assert [decoder(n).mass for n in ("poisson", "gamma", MIXED)] == [True, False, None]


def test_what_a_likelihood_is_told_of_the_data() -> None:
    """Catches classes off by one, a column counted for another, and a gap taken for the largest."""
    x = np.array([[0.5, 2, 7], [np.nan, 4, 3], [1, 0, np.nan]])
    config = Config(columns="c=binomial, a=gaussian, 1=categorical")
    assert likelihood.resolved(config, x, ("a", "b", "c")).likelihood == "0=gaussian,1=categorical:5,2=binomial:7"
    for family, right in (("categorical", 8), ("ordinal", 8), ("binomial", 7), ("discretised-logistic", 8)):
        assert likelihood.resolved(Config(likelihood=family), x, None).likelihood == f"{family}:{right}"
    assert likelihood.counted("categorical", np.zeros(3)) == "categorical:2"
    assert likelihood.resolved(Config(likelihood="poisson"), x, None).likelihood == "poisson"
    mixed = "0=gaussian,1=student-t,2=gamma,3=poisson"
    assert [likelihood.standardised(n, 4).tolist() for n in ("gaussian", "poisson", mixed)] == [
        [True] * 4, [False] * 4, [True, True, False, False]]  # fmt: skip
    assert [likelihood.in_unit(n) for n in ("bernoulli", "beta", "poisson", "0=beta")] == [True, True, False, False]
    said = [likelihood.measure_of(n, False) for n in ("bernoulli", "poisson", "gamma", MIXED)]
    assert said == ["probability of bits", "probability", "density", "probability, of columns 0, 3 density"]


def test_what_a_likelihood_cannot_take_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of one row: catches a count, or a place, of one block alone, bytes that are no grey levels, and a gap."""
    monkeypatch.setattr(data, "BLOCK", 1)

    def said(x: Any, name: str, where: Any = None, missing: bool = False) -> str:
        try:
            check_support(np.asarray(x), name, Origin("rows"), where, missing)
        except DataError as error:
            return str(error)
        return ""

    grey = np.array([[9, 200], [255, 0], [0, 7]], np.uint8)
    assert "3 of 6 cells that a beta likelihood" in said(grey, "beta")
    assert "255 at row 1, column 0" in said(grey, "beta")
    assert "at row 8, column 0" in said(grey, "beta", where=np.array([5, 8, 9]))
    assert not said(grey, "continuous-bernoulli")
    gaps = [[1.0, np.nan], [2.0, 0.0]]
    assert not said(gaps, "poisson", missing=True)
    assert "a cell that a poisson" in said(gaps, "poisson")
    assert "2 of 4 cells" in said([[1.5, 2], [3, -1]], "poisson")
    assert said([[1, -1.0]], "0=gaussian,1=gamma").endswith(said([[-1.0, 1]], "0=gamma,1=gaussian").split("takes ")[-1])


def test_an_exact_zero_of_a_rate_is_no_extreme_for_the_encoder() -> None:
    """Catches the log of a value that its support includes: -69 of the encoder's input for every 0."""
    np.testing.assert_array_equal(decoder("exponential").features(np.array([[0.0, 1.0]])), [[0, np.log(2)]])
    np.testing.assert_array_equal(decoder("gamma").features(np.array([[1.0, np.e]])), [[0, 1]])


def test_another_fit_asks_the_data_again() -> None:
    """Catches classes, or a length, that a first fit leaves behind."""
    model = VAE(latent=1, hidden=(3,), epochs=1, likelihood="categorical", kernels="numpy")
    x = np.arange(24.0).reshape(8, 3)
    assert model.fit(x % 3).config.likelihood == "categorical:3"
    assert model.fit(x % 7).config.likelihood == "categorical:7"
