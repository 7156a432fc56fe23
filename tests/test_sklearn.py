"""§7.3 scikit-learn's face: its own checks, and the laws that they do not know."""

import copy
import io
import multiprocessing
import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scratchvae.noise import Purpose
from scratchvae.training.compiled import steps
from scratchvae.training.config import Config
from scratchvae.training.evaluate import elbo_over
from scratchvae.training.objective import gradient
from scratchvae.training.reading import Reading
from scratchvae.training.state import State, Steps, latent_noise
from scratchvae.training.watch import Watch
from scratchvae.types import Array
from scratchvae.vae import VAE

pytest.importorskip("sklearn", minversion="1.6", reason="pip install '.[sklearn]' brings it")

import joblib
import sklearn
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from scratchvae.sklearn import VAEImputer, VAEOutlier, VAETransformer

LEAST: dict[str, Any] = {"max_iter": 1, "hidden": (4,), "kernels": "numpy"}
QUICK: dict[str, Any] = {"n_components": 2, "max_iter": 10, "hidden": (8,), "kernels": "numpy", "random_state": 0}
ESTIMATORS = (VAETransformer, VAEOutlier, VAEImputer)
SKIPPED = {"check_array_api_input", "check_sample_weights_pandas_series", "check_classifier_data_not_an_array"}
NOISY = {"check_sample_weight_equivalence_on_dense_data": "a repeated row has noise of its own, a heavy one has not"}
REFUSED = """
    dict_unchanged dont_overwrite_parameters estimators_dtypes estimators_fit_returns_self estimators_overwrite_params
    estimators_pickle f_contiguous_array_estimator fit2d_1feature fit2d_predict1d fit_check_is_fitted fit_idempotent
    methods_sample_order_invariance methods_subset_invariance n_features_in n_features_in_after_fitting
    pipeline_consistency positive_only_tag_during_fit readonly_memmap_input sample_weight_equivalence_on_dense_data
    sample_weights_not_an_array sample_weights_not_overwritten sample_weights_pandas_series sample_weights_shape
    transformer_data_not_an_array transformer_general transformer_n_iter transformer_preserve_dtypes
"""  # their data are not in [0, 1], which no tag can say


def table(rows: int = 120, seed: int = 0) -> Array:
    """Four columns of unlike scales that hang together, (rows, 4)."""
    z, e = np.split(np.random.default_rng(seed).normal(size=(rows, 6)), [2], axis=1)
    return (z @ [[1, 2, 0, -1], [0, 1, 1, 1]] + 0.3 * e) * [1, 1000, 0.01, 1] + [0, 1e4, 0, 5]


def with_gaps(x: Array, share: float = 0.3) -> Array:
    return np.where(np.random.default_rng(1).random(x.shape) < share, np.nan, x)


def checked(estimator: Any, expected: dict[str, str]) -> dict[str, set[str]]:
    """The names of scikit-learn's checks by what became of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(estimator, expected_failed_checks=expected, on_fail=None, on_skip=None)
    names: dict[str, set[str]] = {}
    for check in found:
        names.setdefault(check["status"], set()).add(check["check_name"])
    return names


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_scikit_learns_own_checks(kind: Any) -> None:
    """Catches whatever breaks scikit-learn's contract; skips and expected failures are those named here."""
    found = checked(kind(**LEAST), {} if kind is VAEImputer else NOISY)
    assert not found.get("failed")
    assert found.get("skipped", set()) <= SKIPPED
    assert found.get("xfail", set()) == (set() if kind is VAEImputer else set(NOISY))


def test_bernoulli_refuses_what_is_no_probability() -> None:
    """The honest list: catches a Bernoulli that fails elsewhere, or for another reason than rows beyond [0, 1]."""
    expected = {f"check_{name}": "its data are not in [0, 1]" for name in REFUSED.split()}
    found = checked(VAETransformer(**LEAST, likelihood="bernoulli"), expected)
    assert not found.get("failed")
    assert found["xfail"] >= set(expected) - SKIPPED - set(NOISY)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        VAETransformer(**LEAST, likelihood="bernoulli").fit(table())


@pytest.mark.parametrize("estimator", ["sgvb_b", "sgvb_a", "score", "stl", "iw", "dreg", "vr:0.5"])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_a_weight_is_a_repeated_row(estimator: str, beta: float) -> None:
    """Catches a weight that does not reach a term of the gradient, reaches it twice, or changes its scale."""
    config = Config(latent=2, hidden=(3,), likelihood="gaussian", samples=2, estimator=estimator, beta=beta,
                    dtype="float64", kernels="numpy")  # fmt: skip
    state, times = State(config, 4, Reading(4)), np.array([3, 1, 2, 1, 5])
    x = np.random.default_rng(0).normal(size=(5, 4))
    state.initialise(np.zeros(4))
    eps = latent_noise(state, Purpose.LATENT, 0, 5, 2)
    found = []
    for index, weights in ((np.arange(5), times / times.mean()), (np.repeat(np.arange(5), times), None)):
        state.gradient.flat[...], state.weights = 0, weights
        gradient(state, x[index], np.ascontiguousarray(eps[:, index]))
        found.append(state.gradient.flat.copy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12, atol=1e-12)


def test_weights_reach_the_run() -> None:
    """Catches weights that are dropped on the way, or given to other rows than theirs:
    rows that weigh 0 are as if they were not there, the scale of weights is nothing, and what is heavy is learned."""
    x, few = table(200), {**QUICK, "max_iter": 30}
    even, odd = x[:100], x[100:] * 3
    both, light = np.concatenate([even, odd]), np.repeat([1.0, 1e-3], 100)
    alone = VAETransformer(**few).fit(even)
    none = VAETransformer(**few).fit(both, sample_weight=np.repeat([2.0, 0], 100))
    np.testing.assert_allclose(none.score_samples(x), alone.score_samples(x), rtol=1e-9)
    first, second = (VAETransformer(**few).fit(both, sample_weight=w) for w in (light, light[::-1]))
    assert first.score(even) > second.score(even)
    assert first.score(odd) < second.score(odd)


def test_weights_are_composed_and_reach_the_held_out_rows() -> None:
    """Catches a compiled step that takes a weighted run and drops its weights, and a stop that looks without them."""
    x, w = table(60), np.linspace(0.5, 1.5, 60)
    state = VAE(2, (4,), "gaussian", epochs=1, validation=0.5, kernels="numpy").fit(x)._fitted()
    watch = Watch(taken := steps(state, x, 1, w), 50)
    rows = [elbo_over(state, x[i : i + 1]).elbo for i in taken.held]
    assert watch.bound() == pytest.approx(np.average(rows, weights=w[taken.held]), rel=1e-5)
    state.config = replace(state.config, kernels="numba")
    assert type(steps(state, x, 1, w)) is Steps


@pytest.mark.parametrize("kind", ["elbo", "iwae"])
def test_a_rows_score_hangs_on_that_row_alone(kind: str) -> None:
    """Catches noise that is named by a row's place, and draws that neighbours share a sum with."""
    x = table()
    model = VAETransformer(**QUICK).fit(x)
    scores, order = model.score_samples(x, kind), np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(model.score_samples(x[order], kind), scores[order], rtol=0, atol=1e-9)
    single = [model.score_samples(x[i : i + 1], kind)[0] for i in range(5)]
    np.testing.assert_allclose(single, scores[:5], rtol=0, atol=1e-9)
    assert model.score(x) == pytest.approx(model.score_samples(x).mean())
    assert model.score_samples(x, "iwae").mean() > model.score(x)


def test_scores_are_nats_of_the_raw_columns() -> None:
    """Catches a forgotten Jacobian: scaled by hand, the score is lower by Σ log s, and else the same."""
    x, s = table(), np.array([2.0, 1e3, 1e-2, 1.0])
    raw, scaled = VAETransformer(**QUICK).fit(x), VAETransformer(**QUICK).fit(x / s)
    np.testing.assert_allclose(raw.score(x) + np.log(s).sum(), scaled.score(x / s), atol=0.1)


def test_copies_answer_alike() -> None:
    """Catches a fitted model that cannot be pickled, dumped or copied, and a copy that is another model."""
    x, file = table(), io.BytesIO()
    model = VAEOutlier(**{**QUICK, "kernels": "numba"}).fit(x)
    joblib.dump(model, file)
    file.seek(0)
    scores = model.score_samples(x)
    for other in (pickle.loads(pickle.dumps(model)), joblib.load(file), copy.deepcopy(model)):
        assert np.array_equal(other.score_samples(x), scores)
        assert other.offset_ == model.offset_
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert np.array_equal(pool.apply(model.score_samples, [x]), scores)


def test_partial_fit_goes_on() -> None:
    """Catches a partial fit that starts afresh, holds rows out, or takes a row twice in an epoch; and a warm start that
    loses what was learned."""
    x = table(100)
    model = VAETransformer(**QUICK, batch_size=30)
    for epoch in range(1, 31):
        model.partial_fit(x)
        assert model.n_iter_ == epoch
    assert model.model_._fitted().step == 30 * 4
    after, more = model.score(x), copy.deepcopy(model).set_params(warm_start=True)
    assert after > VAETransformer(**QUICK).fit(x).score(x)
    assert more.fit(x).score(x) > after - 0.5
    assert more.model_._fitted().step > 30 * 4


def test_each_row_once_a_partial_epoch() -> None:
    """Catches minibatches counted from the first step of all: then an epoch of other rows misses some of its own."""
    x = table(70)
    model = VAE(2, (4,), "gaussian", epochs=1, validation=0, batch=30, kernels="numpy").fit(table(100))
    assert model.state is not None
    taken = steps(model.state, x)
    taken.first = model.state.step
    rows = np.concatenate([taken.index(model.state.step + i) for i in range(3)])
    assert np.array_equal(np.sort(rows), np.arange(70))


def test_the_imputer_fills_gaps_alone() -> None:
    """Catches a value that was given and is changed, a gap that stays, draws that do not have the mean, and alike rows
    that are filled alike."""
    x = table()
    gaps = with_gaps(x)
    gaps[0], gaps[2] = np.nan, gaps[1]
    gaps[1:3, 0] = np.nan
    model = VAEImputer(**{**QUICK, "max_iter": 100, "learning_rate": 0.01}).fit(gaps)
    mean, draws = model.transform(gaps), model.sample(gaps, 60, random_state=0)
    missing = np.isnan(gaps)
    assert np.array_equal(mean[~missing], gaps[~missing])
    assert all(np.array_equal(draw[~missing], gaps[~missing]) for draw in draws)
    assert np.isfinite(mean).all()
    assert np.isfinite(draws).all()
    z = (draws.mean(axis=0) - mean)[missing] / (draws.std(axis=0)[missing] / np.sqrt(60))
    assert abs(z.mean()) < 0.4
    assert z.std() < 1.6
    assert not np.isclose(draws[:, 1, 0], draws[:, 2, 0]).any()
    guess = np.where(missing, np.nanmean(gaps, axis=0), gaps)
    scale = x.std(axis=0)
    assert (((mean - x) / scale) ** 2).mean() < 0.9 * (((guess - x) / scale) ** 2).mean()


def test_empty_and_constant_columns_and_indicators() -> None:
    """Catches a column that moves under its neighbour's name."""
    x = np.column_stack([np.full(60, np.nan), table(60), np.full(60, 7.0)])
    x[3, 1] = x[4, 5] = np.nan
    for keep, width in ((False, 5), (True, 6)):
        model = VAEImputer(**QUICK, add_indicator=True, keep_empty_features=keep)
        found = model.fit_transform(x)
        names = list(model.get_feature_names_out())
        assert names[-3:] == ["missingindicator_x0", "missingindicator_x1", "missingindicator_x5"]
        assert found.shape == (60, width + 3) == (60, len(names))
        assert found[4, names.index("x5")] == 7
        assert np.array_equal(found[:, names.index("x2")], x[:, 2])
        assert np.array_equal(found[:, -2], np.arange(60) == 3)
        assert not keep or not found[:, 0].any()


def test_outliers_are_found() -> None:
    """Catches a score of the wrong sign, and a threshold that flags another share than was asked."""
    x, strange = table(300), table(300, 1)
    strange[:, 0] = -strange[:, 0] + 3
    model = VAEOutlier(**{**QUICK, "max_iter": 100}, contamination=0.1).fit(x)
    label = np.repeat([0, 1], 300)
    assert roc_auc_score(label, -model.score_samples(np.concatenate([table(300, 2), strange]))) > 0.8
    assert (model.predict(x) == -1).sum() == 30


def wide(rows: int, seed: int) -> Array:
    """Twenty columns by four factors, (rows, 20)."""
    z, e = np.split(np.random.default_rng(seed).normal(size=(rows, 24)), [4], axis=1)
    return z @ np.random.default_rng(99).normal(size=(4, 20)) + 0.5 * e


def test_what_is_new_is_not_odd_for_being_new() -> None:
    """Catches an "auto" that takes its fence from rows that were trained on: of new ones, twice as many are below."""
    new, shares = wide(2000, 9), []
    for seed in range(3):
        x, how = wide(160, seed), {"max_iter": 100, "validation_fraction": 0.5, "learning_rate": 0.01, "batch_size": 40}
        model = VAEOutlier(**{**QUICK, **how, "n_components": 8, "hidden": (60,), "random_state": seed}).fit(x)
        scores, trained = model.score_samples(new), model.score_samples(x)
        low, high = np.quantile(trained, [0.25, 0.75])
        shares.append([(scores < model.offset_).mean(), (scores < low - 1.5 * (high - low)).mean()])
    ours, by_all = np.mean(shares, axis=0)
    assert ours < 0.1
    assert by_all > ours + 0.02


def test_partial_fit_s_threshold_is_of_all_rows_so_far() -> None:
    """Catches a threshold of the last batch, or of the first thousand rows, and weights that stay behind."""
    x, weights = table(300), np.repeat([1.0, 0.1, 1.0], 100)
    x[100:200, 0] *= 30  # odd, and light
    model = VAEOutlier(**QUICK, contamination=0.1)
    for part, w in zip(np.split(x, 3), np.split(weights, 3), strict=True):
        model.partial_fit(part, sample_weight=w)
    assert weights[model.predict(x) == -1].sum() == pytest.approx(21, abs=2)
    begun = VAEOutlier(**QUICK, contamination=0.1).fit(x).partial_fit(x[:5])
    assert (begun.predict(x) == -1).sum() == pytest.approx(30, abs=2)
    for block in np.split(table(3000, 1), 3):
        model.partial_fit(block)
    assert len(model.kept_[0]) == 1000
    assert np.isin(model.kept_[0][:, 0], x[:, 0]).sum() == pytest.approx(91, abs=35)


def test_the_imputer_learns_from_what_it_fills() -> None:
    """Monte Carlo EM: catches rounds that are left out, and those that fill with means and lose the spread."""
    many, x, seen = wide(20_000, 5), wide(200, 20), with_gaps(wide(300, 0), 0.5)
    rows = with_gaps(x, 0.5)
    gone, mean, cov = np.isnan(rows), many.mean(axis=0), np.cov(many.T)
    best = np.array([of_gaussian(row, mean, cov) for row in rows])
    few: dict[str, Any] = {"hidden": (30,), "learning_rate": 0.01, "kernels": "numpy", "dtype": "float64"}
    model = VAEImputer(6, **few, max_iter=80, random_state=0).fit(seen)
    alone = VAE(6, likelihood="gaussian", missing="nan", **few, epochs=160).fit(seen)
    found = (model.transform(rows), alone.impute(rows).mean)
    excess = [(((filled - best) / many.std(axis=0))[gone] ** 2).mean() for filled in found]
    assert excess[0] < 0.85 * excess[1]
    draws = model.sample(rows, 19, random_state=0)
    inside = (draws.min(axis=0) <= x) & (x <= draws.max(axis=0))
    assert inside[gone].mean() == pytest.approx(0.9, abs=0.04)
    assert model.n_iter_ > 80


def test_wild_draws_are_not_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches draws that training takes for rows though they are beyond all that was seen: they breed wilder ones."""
    x, learned, more = with_gaps(table(200)), [], VAE.fit_more
    x[0, 0] = 100  # twenty standard deviations

    def watched(self: VAE, rows: Array, *args: Any, **options: Any) -> VAE:
        learned.append(rows)
        return more(self, rows, *args, **options)

    monkeypatch.setattr(VAE, "fit_more", watched)
    VAEImputer(**{**QUICK, "max_iter": 40, "learning_rate": 0.03}).fit(x)
    assert len(learned) == 5
    for rows in learned:
        assert (rows >= np.nanmin(x, axis=0)).all()
        assert (rows <= np.nanmax(x, axis=0)).all()
        assert np.array_equal(rows[~np.isnan(x)], x[~np.isnan(x)])


def of_gaussian(row: Array, mean: Array, cov: Array) -> Array:
    """E[x | what is seen of it], (D,)."""
    gone, found = np.isnan(row), row.copy()
    gain = cov[np.ix_(gone, ~gone)] @ np.linalg.pinv(cov[np.ix_(~gone, ~gone)], hermitian=True)
    found[gone] = mean[gone] + gain @ (row - mean)[~gone]
    return found


def test_pipeline_grid_search_and_names() -> None:
    """Catches a parameter that does not survive a clone or a worker, lost names, and codes that decode amiss."""
    search = GridSearchCV(VAETransformer(**QUICK), {"n_components": [1, 2]}, cv=2, n_jobs=2).fit(table())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    pipe = make_pipeline(StandardScaler(), VAETransformer(**QUICK)).fit(table())
    assert list(pipe.get_feature_names_out()) == ["vaetransformer0", "vaetransformer1"]
    model = pipe[-1]
    x = pipe[0].transform(table())
    np.testing.assert_array_equal(model.inverse_transform(model.transform(x)), model.model_.reconstruct(x))
    assert model.sample(7, random_state=1).shape == (7, 4)
    assert model.n_iter_ == 10
    assert len(model.history_) > 0


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_in_frames_out(library: str) -> None:
    """Catches lost column names, and columns in another order that go unnoticed."""
    frames = pytest.importorskip(library)
    frame = frames.DataFrame(dict(zip("abcd", table().T, strict=True)))
    coded = VAETransformer(**QUICK).set_output(transform=library).fit_transform(frame)
    assert isinstance(coded, frames.DataFrame)
    assert list(coded.columns) == ["vaetransformer0", "vaetransformer1"]
    model = VAEImputer(**QUICK).set_output(transform=library).fit(frame)
    if library == "polars" and sklearn.__version__ < "1.9":
        pytest.skip("scikit-learn takes names from pandas alone before 1.9, for polars has dropped __dataframe__")
    assert list(model.transform(frame).columns) == list("abcd") == list(model.feature_names_in_)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[["b", "a", "c", "d"]])


def test_what_is_wrong_is_said() -> None:
    """Catches a parameter that is taken though it means nothing."""
    x = table()
    for wrong in ({"n_components": 0}, {"max_iter": 0.5}, {"validation_fraction": 1.0}, {"dtype": "int8"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            VAETransformer(**{**QUICK, **wrong}).fit(x)
    with pytest.raises(ValueError, match="contamination"):
        VAEOutlier(**QUICK, contamination=0.7).fit(x)
    with pytest.raises(ValueError, match="kind='loss'"):
        VAETransformer(**QUICK).fit(x).score_samples(x, "loss")
    with pytest.raises(ValueError, match="weights: give"):
        VAE(2, (4,), "gaussian", kernels="numpy").fit(x, weights=np.zeros(len(x)))
