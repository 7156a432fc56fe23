"""§7.3 A model that trains on: `fit_more`, and what scikit-learn's face makes of it, by batches and by rounds."""

from typing import Any

import numpy as np
import pytest

from scratchvae.training import stopping
from scratchvae.training.optim import Optimizer
from scratchvae.types import Array
from scratchvae.vae import VAE

X = np.random.default_rng(0).normal(size=(200, 3)) @ [[1, 2, 0], [0, 1, 1], [0, 0, 0.3]]
GAPS = np.where(np.random.default_rng(1).random(X.shape) < 0.3, np.nan, X)
GAPS[:2] = np.nan
QUICK: dict[str, Any] = {"hidden": (6,), "kernels": "numpy", "random_state": 0}


def face() -> Any:
    pytest.importorskip("sklearn", minversion="1.6", reason="pip install '.[sklearn]' brings it")
    from scratchvae import sklearn

    return sklearn


def test_fit_more_has_a_schedule_of_its_own() -> None:
    """Catches a cosine that has ended, and with it a rate of 0; epochs and rows counted by another table's."""
    optimizer = Optimizer(schedule="cosine")
    model = VAE(2, (4,), "gaussian", optimizer, epochs=4, validation=0, batch=20, kernels="numpy").fit(X)
    before = model._fitted().arena.flat.copy()
    model.fit_more(X[:50], 2)
    assert not np.array_equal(model._fitted().arena.flat, before)
    assert (model.history[-1]["epoch"], model.history[-1]["samples_seen"]) == (2, 100)
    assert model._fitted().step == 4 * 10 + 2 * 3


def test_epochs_are_of_the_rows_that_come() -> None:
    """Catches steps divided by the last batch's, which made 11 epochs of a large batch and a small one."""
    model = face().VAETransformer(2, **QUICK, batch_size=20)
    for rows, epochs in ((200, 1), (20, 2), (200, 3)):
        assert model.partial_fit(X[:rows]).n_iter_ == epochs
        assert model.history_[-1]["epoch"] == epochs


def test_none_is_the_library_s_after_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a warm start that takes partial_fit's one epoch, or the last fit's length, for its own, and holds no row
    out."""
    monkeypatch.setattr(stopping, "STEPS", 60)
    kind = face().VAETransformer
    wanted = kind(2, **QUICK).fit(X)
    begun = (kind(2, **QUICK).partial_fit(X), kind(2, **QUICK, max_iter=1, validation_fraction=0).fit(X))
    for model in begun:
        start = model.model_._fitted().step
        model.set_params(warm_start=True, max_iter=None, validation_fraction=None).fit(X)
        assert model.model_._fitted().step - start == wanted.model_._fitted().step
        assert "validation_elbo" in model.history_[-1]


def test_weights_reach_what_goes_on_and_the_score() -> None:
    """Catches weights that the first batch alone has, and a mean that counts rows alike."""
    w = np.linspace(0.1, 2, len(X))
    one, other = (face().VAETransformer(2, **QUICK).partial_fit(X) for _ in range(2))
    scores = one.partial_fit(X, sample_weight=w).score_samples(X)
    assert not np.allclose(scores, other.partial_fit(X).score_samples(X), rtol=1e-6)
    assert one.score(X, sample_weight=w) == pytest.approx((w * scores).sum() / w.sum())


def test_scores_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a row between two blocks that is left out, or twice there."""
    model = face().VAETransformer(2, **QUICK, max_iter=1).fit(X)
    scores = model.score_samples(X)
    monkeypatch.setattr(face(), "ROWS", 7)
    np.testing.assert_allclose(model.score_samples(X), scores, rtol=1e-12)
    with pytest.raises(ValueError, match="samples=0"):
        model.score_samples(X, n_samples=0)


@pytest.mark.parametrize("contamination", [0.1, "auto"])
def test_the_threshold_is_of_what_is_kept(monkeypatch: pytest.MonkeyPatch, contamination: Any) -> None:
    """Catches a new batch that counts whole beside a sample of the rows before it, a weight that is another row's, and
    draws that name rows by their places in each batch."""
    monkeypatch.setattr(face(), "ROWS", 50)
    monkeypatch.setattr(stopping, "LEAST", 60)
    how = {"validation_fraction": 0.3, "max_iter": 1, "contamination": contamination}
    model = face().VAEOutlier(2, **QUICK, **how).fit(X, sample_weight=np.exp(X[:, 0]))
    for batch in (X + 1, 3 * X):
        model.partial_fit(batch, sample_weight=np.exp(batch[:, 0]))
        rows, w, draws = model.kept_
        assert (len(rows), len(np.unique(draws))) == (50, 50)
        np.testing.assert_allclose(w, np.exp(rows[:, 0]))
        share = [0.25, 0.75] if contamination == "auto" else [0.1, 0.1]
        low, high = np.quantile(model.score_samples(rows), share, weights=w, method="inverted_cdf")
        assert model.offset_ == pytest.approx(low - 1.5 * (high - low))


def test_rows_are_kept_by_their_own_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches draws that are the same in each batch: then the same places of all batches are kept; and a sample by
    anything else, which is not fair."""
    kept = []
    for most in (1000, 50):
        monkeypatch.setattr(face(), "ROWS", most)
        model = face().VAEOutlier(2, **QUICK, contamination=0.1)
        for _ in range(2):
            model.partial_fit(X)
        kept.append(model.kept_)
    (rows, _, draws), (some, _, least) = kept
    assert len(np.unique(draws)) == 2 * len(X)
    np.testing.assert_array_equal(least, np.sort(draws)[:50])
    np.testing.assert_array_equal(some, rows[np.argsort(draws)[:50]])


def test_rounds_of_the_imputer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches rounds without weights or held-out rows, all with the same draws, and rounds in
    partial_fit, which sees a batch alone."""
    given: list[tuple[Array, float, float, Array]] = []

    def watched(self: VAE, x: Array, epochs: float, validation: float, weights: Array) -> VAE:
        given.append((x, epochs, validation, weights))
        return self

    monkeypatch.setattr(VAE, "fit_more", watched)
    w = np.linspace(1, 2, len(X))
    how = {"max_iter": 15, "validation_fraction": 0.25}
    face().VAEImputer(2, **QUICK, **how).fit(GAPS, sample_weight=w)
    assert [line[2] for line in given] == [0.25] * 5
    assert all(np.array_equal(line[3], w) for line in given)
    first, second = (line[0][np.isnan(GAPS)] for line in given[:2])
    assert (first != second).mean() > 0.9
    face().VAEImputer(2, **QUICK).partial_fit(GAPS)
    assert len(given) == 5


def test_rows_that_are_all_gaps_and_columns_that_come_empty() -> None:
    """Catches rows without a number that are all drawn alike, one draw for all, and a column that is empty in a later
    fit, with a warning."""
    model = face().VAEImputer(2, **QUICK, max_iter=5, warm_start=True).fit(GAPS)
    draws = model.sample(GAPS, 3, random_state=0)
    assert len(np.unique(draws[:, :2].reshape(6, 3), axis=0)) == 6
    assert np.array_equal(*model.transform(GAPS)[:2])
    later = GAPS.copy()
    later[:, 1] = np.nan
    assert np.isfinite(model.fit(later).transform(later)).all()
    with pytest.raises(ValueError, match="n_samples=0"):
        model.sample(GAPS, 0)
