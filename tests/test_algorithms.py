"""§7.1.2 Runs by another algorithm than AEVB: they learn, resume, repeat, and say what they have no place for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUIET, Call
from command_line import bits as lit
from oracles import gauss_hermite

from scratchvae import VAE
from scratchvae.classical.wake_sleep import log_q_vjp
from scratchvae.errors import UsageError
from scratchvae.estimators import get, gradient
from scratchvae.models.decoded import Decoded
from scratchvae.models.vae import decode
from scratchvae.noise import Purpose
from scratchvae.training import compiled
from scratchvae.training.config import Config, from_dict
from scratchvae.training.reading import Reading
from scratchvae.training.rivals import WakeSleep
from scratchvae.training.state import State, Steps, latent_noise, load_state, save_state
from scratchvae.types import Array

RIVALS = ("wake-sleep", "wake-sleep:means", "reweighted-wake-sleep:3", "reweighted-wake-sleep:3:1", "mcem", "full-vb")
TINY: dict[str, Any] = {"latent": 2, "hidden": (6,), "batch": 20, "kernels": "numpy"}
SMALL = TINY | {"epochs": 2, "learning_rate": 0.01}


def bits(n: int = 120, seed: int = 0) -> Array:
    """The rows of a file, as numbers: bytes would be grey levels / 255, next to nothing."""
    return lit(n, seed=seed).astype(np.float32)


def halves(seed: int = 0) -> Array:
    """Rows of which one half or the other is lit, and a tenth of the bits wrong: there is something to learn."""
    rng = np.random.default_rng(seed)
    side = rng.random((120, 1)) < 0.5
    return ((np.arange(12) < 6) ^ side ^ (rng.random((120, 12)) < 0.1)).astype(np.float32)


def state_of(algorithm: str, **options: Any) -> State:
    """A run that is about to begin."""
    config = Config(**TINY | {"binarisation": "none", "algorithm": algorithm, **options})
    return State.begun(config, Reading(12), bits())


@pytest.mark.parametrize("algorithm", RIVALS)
def test_it_learns(algorithm: str) -> None:
    """Catches a direction that goes down, and a rival that is AEVB under another name."""
    first, last = (VAE(**SMALL | {"epochs": n}, algorithm=algorithm).fit(halves(), halves(1)).history for n in (1, 60))
    gain = last[-1]["test_elbo"] - first[-1]["test_elbo"]
    assert gain > (0.3 if algorithm.endswith("means") else 1)  # of bits means are the worse dreams
    assert first[-1]["test_elbo"] != VAE(**SMALL | {"epochs": 1}).fit(halves(), halves(1)).history[-1]["test_elbo"]


@pytest.mark.parametrize("algorithm", RIVALS)
def test_a_resumed_run_is_the_unbroken_one(algorithm: str, tmp_path: Path) -> None:
    """Catches what a rival remembers and the checkpoint does not: parameters are equal to the bit."""
    x, state = bits(), state_of(algorithm)
    Steps(state, x).advance(4)
    save_state(tmp_path / "half", state, {})
    resumed = load_state(tmp_path / "half")[0]
    for one in (state, resumed):
        Steps(one, x).advance(5)
    for name, tensor in state.tensors().items():
        np.testing.assert_array_equal(resumed.tensors()[name], tensor)


@pytest.mark.parametrize("algorithm", RIVALS)
def test_threads_and_kernels_change_nothing(algorithm: str) -> None:
    """Catches draws by a thread's own hand: the same bits for any number of them."""
    flats = []
    for threads in (1, 2):
        model = VAE(**SMALL, algorithm=algorithm)
        model.threads = threads
        flats.append(model.fit(bits()).encode(bits(seed=2)).mu)
    np.testing.assert_array_equal(flats[0], flats[1])


def test_rows_weigh_in_a_run() -> None:
    """Catches weights that do not reach a rival's steps."""
    weights = np.where(np.arange(120) < 60, 1.9, 0.1)
    codes = [VAE(**SMALL, algorithm="wake-sleep").fit(bits(), weights=w).encode(bits()).mu for w in (None, weights)]
    assert abs(codes[0] - codes[1]).max() > 1e-4


@pytest.mark.parametrize("algorithm", RIVALS)
def test_a_row_that_has_all_the_weight_is_the_row_alone(algorithm: str) -> None:
    """Catches weights that θ, or φ where it learns from data, does not see; and dreams that take the rows' weights."""
    state, x = state_of(algorithm, dtype="float64"), bits(20).astype("float64")
    eps = np.random.default_rng(0).standard_normal((3, 20, 2))
    assert state.rule is not None

    def direction(rows: slice, weights: Array | None) -> dict[str, Array]:
        assert state.rule is not None
        state.gradient.flat[...], state.weights, state.index = 0, weights, np.arange(20)[rows]
        state.rule(state).gradient(x[rows], eps[:, rows])
        return {name: view.copy() for name, view in state.gradient.views.items()}

    heavy = direction(slice(None), 20.0 * (np.arange(20) == 7))
    alone, even = direction(slice(7, 8), None), direction(slice(None), None)
    asleep = algorithm.startswith("wake-sleep")
    for name in (name for name in heavy if name[0] != "q" or algorithm != "reweighted-wake-sleep:3"):
        expected = even if asleep and name[0] == "q" else alone
        np.testing.assert_allclose(heavy[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)
        assert abs(even["p.logits.W"] - alone["p.logits.W"]).max() > 1e-3


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "poisson"])
def test_dreams_are_the_model_s(likelihood: str) -> None:
    """Catches dreams of q's draws, of the minibatch's ε, and means for draws: moments of x, of z and of both together
    by quadrature, |t| ≤ 4."""
    state, n = state_of("wake-sleep", likelihood=likelihood, dtype="float64"), 20_000
    state.arena.flat[...] = 0.7 * np.random.default_rng(3).standard_normal(state.arena.flat.size)
    x, z = WakeSleep(state).dreamt(n)
    nodes, weights = gauss_hermite(40, 2)
    means = decode(nodes, state.theta)[0].mean
    for found, expected in ((x, weights @ means), (z, np.zeros(2)), (z * x[:, :2], weights @ (nodes * means[:, :2]))):
        assert (abs(found.mean(axis=0) - expected) <= 4 * found.std(axis=0) / np.sqrt(n)).all()
    smooth = WakeSleep(state).dreamt(n, means=True)
    np.testing.assert_array_equal(smooth.z, z)
    np.testing.assert_allclose(smooth.x, decode(z, state.theta)[0].mean)
    assert x.var() > smooth.x.var()
    assert not np.isin(z, latent_noise(state, Purpose.LATENT, 0, n, 1)).any()
    state.step += 1
    other = WakeSleep(state).dreamt(n)
    assert (other.z != z).all()
    both = (x - smooth.x) * (other.x - decode(other.z, state.theta)[0].mean)  # two steps have nothing in common
    assert (abs(both.mean(axis=0)) <= 4 * both.std(axis=0) / np.sqrt(n)).all()


def test_a_step_s_theta_is_aevb_s() -> None:
    """Catches a wake phase with draws of its own, and sums for means: in a run, too, θ's direction is SGVB A's."""
    state, x = state_of("wake-sleep", samples=2), bits(20)
    eps = np.random.default_rng(0).standard_normal((2, 20, 2)).astype("float32")
    assert state.rule is not None
    L = state.rule(state).gradient(x, eps)
    other = state.arena.like()
    nets = state.architecture.nets(other.views)
    expected = gradient(get("sgvb_a"), Decoded(), x, eps, state.phi, state.theta, *nets)
    np.testing.assert_allclose(L, expected, rtol=1e-6)
    for name in (name for name in other.views if name.startswith("p")):
        np.testing.assert_allclose(state.gradient.views[name], other.views[name], rtol=1e-5, atol=1e-6)


def test_a_run_mixes_and_dreams_as_its_algorithm_says() -> None:
    """Catches a SHARE, or means, that the name has and the step has not; one dream for all rows."""
    x, eps = bits(20).astype("float64"), np.random.default_rng(0).standard_normal((3, 20, 2))
    slopes = {}
    for name in ("wake-sleep", "wake-sleep:means", *(f"reweighted-wake-sleep:3:{share}" for share in (0, 0.25, 1))):
        state = state_of(name, dtype="float64")
        WakeSleep(state).gradient(x, eps)
        slopes[name] = state.gradient.views["q.mu.W"]
    mixed = 0.25 * slopes["reweighted-wake-sleep:3:1"] + 0.75 * slopes["reweighted-wake-sleep:3:0"]
    np.testing.assert_allclose(slopes["reweighted-wake-sleep:3:0.25"], mixed, atol=1e-12)
    np.testing.assert_allclose(slopes["wake-sleep"], slopes["reweighted-wake-sleep:3:0"], atol=1e-12)
    state = state_of("wake-sleep", dtype="float64")  # a dream for each row
    log_q_vjp(np.full(20, 1 / 20), *WakeSleep(state).dreamt(20), state.phi, state.dphi)
    np.testing.assert_allclose(slopes["wake-sleep"], state.gradient.views["q.mu.W"], atol=1e-12)
    assert abs(slopes["wake-sleep:means"] - slopes["wake-sleep"]).max() > 1e-3


def test_kernels_are_left_to_the_composition() -> None:
    """Catches a schedule that takes AEVB's steps in a rival's name."""
    for algorithm, expected in (("aevb", compiled.Compiled), *((rival, Steps) for rival in RIVALS)):
        assert type(compiled.steps(state_of(algorithm, kernels="numba"), bits())) is expected


def test_chains_begin_anew_on_other_rows() -> None:
    """Catches chains of rows that are there no longer."""
    model = VAE(**SMALL, algorithm="mcem").fit(bits()).fit_more(bits(60), epochs=1)
    assert model.state is not None
    assert model.state.kept["z"].shape == (60, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"algorithm": "sleep"}, "algorithm 'sleep' is unknown: give one of aevb, wake-sleep"),
        ({"algorithm": "aevb:means"}, "algorithm 'aevb:means' is unknown"),
        ({"algorithm": "reweighted-wake-sleep:many"}, "algorithm 'reweighted-wake-sleep:many' is unknown"),
        ({"algorithm": "reweighted-wake-sleep:5:0.5:1"}, "algorithm 'reweighted-wake-sleep:5:0.5:1' is unknown"),
        ({"algorithm": "em"}, "algorithm='em' wants all rows and a linear decoder: it is Python's classical.em"),
        ({"algorithm": "reweighted-wake-sleep:1"}, "wake-φ weighs draws against one another, and with K=1"),
        ({"algorithm": "reweighted-wake-sleep:5", "samples": 3}, "has K=5, and samples is 3: leave that out"),
        ({"latent": (3, 2), "hidden": ((4,), (4,))}, "has one latent layer, and latent has several"),
        ({"missing": "nan"}, "has whole rows, and missing is 'nan'"),
        ({"posterior": "laplace"}, "has a Gaussian q, and posterior is 'laplace'"),
        ({"prior": "mixture:3"}, r"has p\(z\) = N\(0, I\), and prior is 'mixture:3'"),
        ({"estimator": "stl"}, "has directions of its own, and estimator is 'stl'"),
        ({"beta": 2.0}, "has KL as it is, or none, and beta or warm_up weigh it"),
        ({"algorithm": "mcem", "samples": 2}, "has K=1, and samples is 2"),
        ({"algorithm": "full-vb", "weight_prior": True}, r"has p\(θ\) = N\(0, I\) already, which weight_prior is"),
        ({"warm_up": 2.0}, "has KL as it is, or none, and beta or warm_up weigh it"),
    ],
)
def test_what_a_rival_has_no_place_for(options: dict[str, Any], words: str) -> None:
    """Catches an option that is taken and then ignored."""
    with pytest.raises(UsageError, match=words) as caught:
        Config(**{"algorithm": "wake-sleep", **options})
    assert "\n" not in str(caught.value)


def test_k_is_samples() -> None:
    """Catches a K that the noise does not know; and a config that does not come back from its file."""
    config = Config(algorithm="reweighted-wake-sleep:7:0.25")
    assert (config.samples, from_dict(config.as_dict())) == (7, config)
    assert Config(algorithm="reweighted-wake-sleep").samples == 5


def test_from_the_command_line(call: Call) -> None:
    """Catches an option that does not reach the run, a folder made for what is refused, and a resume that differs."""
    refused = call("train", "rows.npy", "--out", "none", *QUIET, "--algorithm", "em")
    assert (refused.code, Path("none").exists()) == (2, False)
    assert "classical.em" in refused.line
    rival = ("--algorithm", "wake-sleep", "--binarisation", "none")
    whole, half = (("train", "rows.npy", "--out", out, *QUIET, *rival) for out in ("whole", "half"))
    assert call(*whole, "--epochs", "4").code == 0
    assert call(*half).code == 0
    assert call("train", "--out", "half", "--resume", "--no-pictures", "--epochs", "4").code == 0
    made = [load_state(f"{out}/checkpoint.safetensors")[0].arena.flat for out in ("whole", "half")]
    np.testing.assert_array_equal(made[0], made[1])
