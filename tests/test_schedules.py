"""Every schedule against the composition of the pairs: model × estimator × likelihood × optimizer × missing values."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_steps import blank, grey, same_steps, start
from mutants.plain_schedule import backwards

from scratchvae.training import compiled
from scratchvae.training.compiled import Compiled

VAE: dict[str, Any] = {"latent": 5, "hidden": (33,)}
LADDERS: list[dict[str, Any]] = [
    {"latent": (5, 3), "hidden": ((9,), (7, 6))},
    {"latent": (35, 4, 3), "hidden": ((9,), (), (6,))},
]
SEES_R_ALONE = [
    "score",
    "score_constant:-20",
    "score_loo",
    "score_mean",
    "sgvb_a",
    "stl",
    "iw",
    "dreg",
    "vr:0.5",
    "vr:2",
]
EVERYWHERE = [*SEES_R_ALONE, "vr:1", "vr_max", "sgvb_b"]


@pytest.mark.parametrize("model", [VAE, *LADDERS], ids=["vae", "two", "three"])
@pytest.mark.parametrize("estimator", EVERYWHERE)
def test_schedules_of_every_estimator(model: dict[str, Any], estimator: str) -> None:
    """A few rows, and so many that cotangents are packed; one sample where that will do."""
    for samples, batch in ((4, 13), (2, 29), (1, 7)):
        if samples > 1 or "loo" not in estimator:
            same_steps(grey(50, 37), dtype="float64", estimator=estimator, samples=samples, batch=batch, **model)


@pytest.mark.parametrize("estimator", ["score_kl", "score_cv", "measure"])
@pytest.mark.parametrize("batch", [13, 50])
def test_schedules_of_what_knows_the_vae_alone(estimator: str, batch: int) -> None:
    same_steps(grey(70, 37), dtype="float64", estimator=estimator, samples=3, batch=batch, **VAE)


@pytest.mark.parametrize("estimator", ["score_input", "nvil"])
@pytest.mark.parametrize("batch", [13, 50, 190])
def test_schedules_of_learned_baselines(estimator: str, batch: int) -> None:
    """The last would be micro-batches, of which the baseline does not see all rows; a listed x is packed for it."""
    for images in (grey, blank):
        same_steps(images(200, 37), dtype="float64", estimator=estimator, samples=3, batch=batch, **VAE)


@pytest.mark.parametrize("estimator", ["dreg", "stl", "score_mean", "sgvb_b", "iw"])
def test_schedules_in_single_precision(estimator: str) -> None:
    for model in (VAE, LADDERS[0]):
        same_steps(grey(50, 37), estimator=estimator, samples=3, batch=20, **model)


@pytest.mark.parametrize("model", [VAE, LADDERS[0]], ids=["vae", "ladder"])
@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian-sigmoid", "gaussian-fixed"])
def test_schedules_of_every_likelihood(model: dict[str, Any], likelihood: str) -> None:
    options: dict[str, Any] = {"binarisation": "none", "likelihood": likelihood, "variance": 0.01, "dtype": "float64"}
    same_steps(grey(50, 37), estimator="dreg", samples=3, batch=20, **options, **model)


@pytest.mark.parametrize("optimizer", [{"name": "adagrad", "epsilon": 1e-2}, {"name": "sgd"}, {"beta2": 0.01}])
def test_schedules_of_every_optimizer(optimizer: dict[str, Any]) -> None:
    for model in (VAE, LADDERS[0]):
        how = {"epsilon": 1e-2, **optimizer}
        same_steps(grey(50, 37), dtype="float64", batch=13, optimizer=how, prior=True, **model)
    same_steps(blank(700, 37), dtype="float64", batch=600, optimizer={"epsilon": 1e-2, **optimizer}, **VAE)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-fixed"])
@pytest.mark.parametrize(("samples", "batch"), [(1, 13), (3, 49)])
def test_schedules_with_missing_values(likelihood: str, samples: int, batch: int) -> None:
    """Hidden by the run, and NaN in the data; a row without any value is among them."""
    how = "dynamic" if likelihood == "bernoulli" else "none"
    x = grey(60, 37) / 255.0
    options: dict[str, Any] = {"dtype": "float64", "likelihood": likelihood, "binarisation": how, "samples": samples}
    same_steps(grey(60, 37), missing="random:0.4", batch=batch, **options, **VAE)
    x[::3, ::2], x[7] = np.nan, np.nan
    same_steps(x, missing="nan", batch=batch, **options, **VAE)


def test_schedules_with_a_learned_baseline_and_another_optimizer() -> None:
    """The baseline has an Adam of its own, in the arrays that the run's optimizer may leave empty."""
    for name in ("sgd", "adagrad", "adamw"):
        how = {"name": name, "epsilon": 1e-2}
        options: dict[str, Any] = {"estimator": "nvil", "samples": 2, "batch": 13, "optimizer": how}
        same_steps(grey(50, 37), dtype="float64", **options, **VAE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_clipped_schedules_are_the_clipped_composition(name: str, dtype: str) -> None:
    """A norm that is clipped at every step, at some, at none; micro-batches, a prior, a ladder, a learned baseline's
    own optimizer: catches a bias or a micropanel left out of the norm, a pull or a decay that comes late."""
    for clip in (1e-3, 0.6, 1e3):
        how: dict[str, Any] = {"optimizer": {"name": name, "epsilon": 1e-2, "clip": clip}, "dtype": dtype}
        same_steps(blank(700, 37), count=5, batch=600, prior=True, **how, **VAE)
        same_steps(grey(50, 70), count=5, batch=13, estimator="nvil", samples=2, **how, **VAE)
        same_steps(grey(50, 37), count=5, batch=13, activation="sigmoid", **how, **LADDERS[0])


def test_clipped_steps_have_the_same_bits_for_any_number_of_threads() -> None:
    """Catches a norm that is summed in the order in which threads come."""
    x, found = grey(200, 150), set()
    for threads in (1, 2, 3, 4):
        state = start(x, latent=7, hidden=(70, 40), batch=20, optimizer={"clip": 0.05})
        Compiled(state, x, threads).advance(6)
        found.add((state.arena.flat.tobytes(), state.slots.tobytes()))
    assert len(found) == 1


OF_ANY = [(model, name) for model in (VAE, *LADDERS) for name in ("sgvb_b", "stl", "dreg", "iw")]
OF_VAE = [(VAE, name) for name in ("nvil", "score_cv", "measure")]


@pytest.mark.parametrize(("model", "estimator"), OF_ANY + OF_VAE)
def test_jobs_of_a_phase_may_come_in_any_order(model: dict[str, Any], estimator: str) -> None:
    """The same bits: catches what a job reads or writes and does not say, which threads would show now and then."""
    x, found = grey(60, 37), []
    for order in (lambda jobs: jobs, backwards):
        state = start(x, dtype="float64", estimator=estimator, samples=2, batch=20, prior=True, **model)
        take = Compiled(state, x, 1)
        for jobs in (take.workspace.forward, take.workspace.backward):
            jobs[...] = order(jobs)
        found.append((take.advance(3).tobytes(), state.arena.flat.tobytes(), state.slots.tobytes()))
    assert found[0] == found[1]


def test_rows_that_are_read_as_they_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of numbers, gaps between rows, another byte order: some steps' rows at a time, the noise by their names;
    of all, of three, of one that is more than was to be read at once."""
    x = grey(60, 19) / 255.0
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    kinds = np.load(tmp_path / "x.npy", mmap_mode="r"), np.asfortranarray(x), x.astype(">f8")
    options: dict[str, Any] = {"latent": 4, "hidden": (11,), "batch": 8, "binarisation": "fixed", "dtype": "float64"}
    for data, read in zip(kinds, (20_000, 24, 5), strict=True):
        monkeypatch.setattr(compiled, "ROWS_READ", read)
        same_steps(data, count=9, missing="random:0.3", **options)
    assert compiled.resident(start(x, **options), kinds[0]) is None  # or a map larger than memory would not train
