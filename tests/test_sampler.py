"""log p(x) by the compiled sampler against the composed importance weights: the same noise, the same number."""

from typing import Any

import numpy as np
import pytest

from scratchvae.training import evaluate
from scratchvae.training.config import Config
from scratchvae.training.sampler import sampler
from scratchvae.training.state import State
from scratchvae.types import Array


def model(columns: int, **options: Any) -> State:
    state = State(Config(**options), columns)
    state.initialise(np.full(columns, 0.3))
    state.arena.flat[...] *= 3
    return state


def both(monkeypatch: pytest.MonkeyPatch, state: State, x: Array, samples: int) -> tuple[Array, Array]:
    found = []
    for worth in (0, 10**9):
        monkeypatch.setattr(evaluate, "WORTH_COMPILING", worth)
        found.append(evaluate.log_likelihood(state, x, samples, block=6, first_row=5))
    return found[0], found[1]


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-fixed"])
def test_equals_the_composition(monkeypatch: pytest.MonkeyPatch, likelihood: str) -> None:
    how = "dynamic" if likelihood == "bernoulli" else "none"
    for hidden, rows in (((), 1), ((9,), 13), ((11, 20), 7)):
        options: dict[str, Any] = {"likelihood": likelihood, "hidden": hidden, "variance": 0.1, "binarisation": how}
        state = model(37, latent=3, dtype="float64", **options)
        x = (np.random.default_rng(0).random((rows, 37)) < 0.4).astype(np.float64)
        compiled, composed = both(monkeypatch, state, x, 1003)
        np.testing.assert_allclose(compiled, composed, rtol=1e-11)


def test_samples_of_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pixel that the decoder calls impossible and that is inked: every weight is 0 and log p(x) −∞, not NaN."""
    state = model(12, latent=2, hidden=(5,), dtype="float64")
    state.arena.views["p.logits.b"][3] = -np.inf
    x = np.zeros((2, 12))
    x[:, 3] = 1
    compiled, composed = both(monkeypatch, state, x, 103)
    assert (compiled == -np.inf).all()
    assert (composed == -np.inf).all()


def test_threads_share_rows_and_give_the_same_bits() -> None:
    state = model(50, latent=4, hidden=(30,))
    x = (np.random.default_rng(1).random((11, 50)) < 0.4).astype(np.float32)
    results = set()
    for threads in (1, 2, 3):
        sample = sampler(state, threads)
        assert sample is not None
        results.add(sample(x, 450, 100, 0).tobytes())
    assert len(results) == 1


def test_a_ladder_is_not_covered() -> None:
    assert sampler(model(10, latent=(4, 2), hidden=((5,), (3,)))) is None
