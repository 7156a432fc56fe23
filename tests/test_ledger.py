"""§7.2 The ledger: parts add up to the bound, idle latents are named, unlike figures are not compared."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scratchvae.data import Dataset, load
from scratchvae.errors import UsageError
from scratchvae.training import bound_report as ledger
from scratchvae.training.bound_report import Figure, Ledger, Meaning
from scratchvae.training.config import Config
from scratchvae.training.evaluate import elbo_over
from scratchvae.training.state import State

COLUMNS = 12


def make(**options: Any) -> tuple[State, Dataset]:
    """An untrained run on grey rows, its first parameters wide enough for latents to differ."""
    rng = np.random.default_rng(0)
    found = load((rng.random((60, COLUMNS)) * 255).astype(np.uint8))
    state = State(Config(latent=3, hidden=(5,), kernels="numpy", **options), COLUMNS)
    state.initialise(np.full(COLUMNS, 0.5))
    state.arena.flat *= 2
    return state, found


def test_the_parts_add_up() -> None:
    """Catches a KL by latent that misses a term, rows cut off at a block's edge, noise that is not the row's own."""
    state, found = make()
    held, whole = ledger.measure(state, found, block=4), elbo_over(state, found.test)
    np.testing.assert_allclose(held.elbo, held.reconstruction - held.kl, rtol=1e-6)
    assert held.kl_by_latent.sum() == pytest.approx(held.kl.mean(), rel=1e-6)
    report = held.report()
    assert report["elbo"] == pytest.approx(whole.elbo, rel=1e-6)
    assert report["rate"] + report["distortion"] == pytest.approx(-report["elbo"], rel=1e-6)
    assert len(held.elbo) == held.meaning.rows == len(found.test)


def test_idle_latents_are_named() -> None:
    """Catches a collapse that is not seen, and one that is seen where there is none."""
    state, found = make()
    assert ledger.measure(state, found).report()["diagnosis"] == "all 3 latents in use"
    for head in ("mu", "log_var"):
        state.arena.views[f"q.{head}.W"][:, 1] = 0
        state.arena.views[f"q.{head}.b"][1] = 0
    held = ledger.measure(state, found)
    assert held.active == 2
    assert held.report()["diagnosis"] == "2 of 3 latents in use; idle: 1, which cost 0 nats of KL"
    state.arena.flat[...] = 0
    assert "posterior collapse" in ledger.measure(state, found).report()["diagnosis"]


def test_a_ladder_has_a_ledger_too() -> None:
    rng = np.random.default_rng(0)
    found = load((rng.random((40, COLUMNS)) * 255).astype(np.uint8))
    state = State(Config(latent=(3, 2), hidden=((5,), (4,)), kernels="numpy"), COLUMNS)
    state.initialise(np.full(COLUMNS, 0.5))
    held = ledger.measure(state, found)
    np.testing.assert_allclose(held.elbo, held.reconstruction - held.kl, rtol=1e-5)
    assert held.report()["kl_by_latent"] == [None] * 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"binarisation": "threshold"}, "binarisation: dynamic against threshold"),
        ({"rows": 5}, "rows: 6 against 5"),
        ({"samples": 50}, "samples: 1 against 50"),
        ({"quantity": "log p(x)"}, r"quantity: ELBO against log p\(x\)"),
        ({"measure": "density"}, "measure: probability of bits against density"),
        ({"split": "last tenth of the rows"}, "split: own test rows against last tenth"),
    ],
)
def test_unlike_figures_are_refused(change: dict[str, Any], words: str) -> None:
    meaning = Meaning("ELBO", "draws", 1, "probability of bits", "dynamic", "mnist", "own test rows", 6)
    one, other = Figure(meaning, np.zeros(6)), Figure(replace(meaning, **change), np.ones(6))
    with pytest.raises(UsageError, match=f"cannot be compared: {words}"):
        ledger.difference(one, other)


def test_differences_are_paired() -> None:
    """A constant gain on rows that vary has no error at all: catches the error of two independent means."""
    meaning = Meaning("ELBO", "draws", 1, "probability of bits", "dynamic", "mnist", "own test rows", 6)
    rows = np.arange(6.0)
    gain = ledger.difference(Figure(meaning, rows), Figure(meaning, rows + 2))
    assert (gain.value, gain.error) == (2.0, 0.0)


def test_what_is_measured_is_said() -> None:
    """Grey levels under a Bernoulli decoder are a cross-entropy, and a Gaussian's figure is a density."""
    kinds = {}
    for likelihood, binarisation in (("bernoulli", "dynamic"), ("bernoulli", "none"), ("gaussian", "none")):
        state, found = make(likelihood=likelihood, binarisation=binarisation)
        kinds[likelihood, binarisation] = ledger.measure(state, found).meaning.measure
    assert list(kinds.values()) == ["probability of bits", "cross-entropy of grey levels, no likelihood", "density"]


def test_evidence_is_above_the_bound() -> None:
    state, found = make()
    log_p, held = ledger.evidence(state, found, 200), ledger.measure(state, found, samples=50)
    assert log_p.value > Figure(held.meaning, held.elbo).value
    assert log_p.meaning.unlike(held.meaning)


def test_no_samples_are_refused() -> None:
    state, found = make()
    with pytest.raises(UsageError, match="samples=0"):
        ledger.measure(state, found, samples=0)
    assert isinstance(ledger.measure(state, found), Ledger)
