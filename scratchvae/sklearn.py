"""§7.3 The VAE as scikit-learn's estimators: a transformer, a detector of outliers, a filler of gaps.

Thin over `scratchvae.VAE`, in scikit-learn's words: n_components is K, max_iter counts epochs. What is None is the
library's: its length, with its stop by held-out rows. Real columns are standardised inside; scores are nats of the raw
columns, and a row's score hangs on that row alone.
"""

import math
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from .conditional import mean_of
from .data import UNIT
from .noise import Purpose
from .tasks.missing import FillPlan
from .training.stopping import hold_out
from .types import Array
from .vae import VAE

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
    from sklearn.impute import MissingIndicator
    from sklearn.utils import check_array, check_random_state
    from sklearn.utils._param_validation import Interval, StrOptions
    from sklearn.utils.validation import _check_feature_names_in, _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(f"pip install 'scratchvae[sklearn]', scikit-learn 1.6 or later ({error})") from None

ROWS = 1000  # scored at a time
DRAWS = {"elbo": 16, "iwae": 100}  # a row
FENCE = 1.5  # interquartile ranges below the lower quartile: Tukey 1977
ROUNDS = 5
COUNT = Interval(Integral, 1, None, closed="left")


@dataclass(eq=False, repr=False)
class BaseVAE(BaseEstimator):
    """What the three share. After fit: model_ (the `VAE`), history_ (one dict an epoch, or look), n_iter_ (epochs so
    far), seed_, n_features_in_, feature_names_in_. Raises ValueError for rows that the likelihood cannot take."""

    n_components: int = 10  # 2 are too few for thirty columns, and what is superfluous stays unused
    _: KW_ONLY
    hidden: tuple[int, ...] = (100,)
    likelihood: str = "gaussian"
    standardise: bool = True
    max_iter: int | None = None
    batch_size: int = 100
    learning_rate: float = 3e-3
    validation_fraction: float | None = None
    warm_start: bool = False
    random_state: Any = None
    n_jobs: int | None = None  # threads of training
    verbose: bool = False
    dtype: str = "float64"  # in float32, rounding lets a score see its neighbours in the seventh digit
    kernels: str = "numba"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [COUNT],
        "hidden": [tuple, list],
        "likelihood": [str],
        "standardise": [bool],
        "max_iter": [None, COUNT],
        "batch_size": [COUNT],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [None, Interval(Real, 0, 1, closed="left")],
        "warm_start": [bool],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
        "dtype": [StrOptions({"float32", "float64"})],
        "kernels": [StrOptions({"numpy", "numba"})],
    }
    _missing: ClassVar[str] = ""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "BaseVAE":
        """Train on rows X (N, D). With `warm_start` the last fit goes on, with its settings but for max_iter and
        validation_fraction. A weight counts in the bound, and a row that weighs 0 not at all."""
        return self._learn(X, sample_weight, self.warm_start, self.max_iter, self.validation_fraction)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "BaseVAE":
        """Train on, for one epoch of rows X alone; none is held out. The first rows seen say how columns are scaled."""
        return self._learn(X, sample_weight, True, 1, 0, partial=True)

    def score_samples(self, X: Any, kind: str = "elbo", n_samples: int | None = None) -> Array:
        """A lower bound on log p(x) of each row, (N,) nats: "elbo" by 16 draws from q, or the tighter "iwae" by 100."""
        return self._nats(self._columns(self._validated(X)), kind, n_samples)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The mean of `score_samples`, nats per row."""
        return float(np.average(self.score_samples(X), weights=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.likelihood in UNIT
        tags.input_tags.allow_nan = bool(self._missing)
        return tags

    def _learn(
        self,
        X: Any,
        weights: Any,
        again: bool,
        epochs: int | None,
        validation: float | None,
        partial: bool = False,
    ) -> "BaseVAE":
        self._validate_params()
        again = again and hasattr(self, "model_")
        X = self._validated(X, first=not again)
        if weights is not None:
            weights = _check_sample_weight(weights, X, ensure_non_negative=True)
            X, weights = X[weights > 0], weights[weights > 0]
        if not again:
            self._meet(X)
            self.seed_ = seed_of(self.random_state)
        model = self.model_ if again else self._model(epochs, validation)
        model.threads = self.n_jobs if (self.n_jobs or 0) > 0 else None
        x = self._columns(X)
        if again:
            fresh = self._model(epochs, validation)  # what is None now is the library's, whatever was asked before
            model._asked, model._given = fresh._asked, fresh._given
            model.fit_more(x, weights=weights)
        else:
            self.model_: VAE = model.fit(x, weights=weights)
            self.n_iter_ = 0
        self.history_: list[dict[str, Any]] = []
        self._count()
        self._finish(x, weights, partial)
        return self

    def _count(self) -> None:
        """Put the model's history behind ours, its epochs behind those so far."""
        new = self.model_.history
        self.history_ += [line | {"epoch": self.n_iter_ + line["epoch"]} for line in new]
        self.n_iter_ += math.ceil(new[-1]["epoch"])

    def _model(self, epochs: int | None, validation: float | None) -> VAE:
        given = {"epochs": epochs, "validation": validation}
        lengths: dict[str, Any] = {name: float(value) for name, value in given.items() if value is not None}
        return VAE(
            self.n_components, tuple(self.hidden), self.likelihood, learning_rate=self.learning_rate,
            verbose=bool(self.verbose), standardise=self.standardise, batch=self.batch_size, missing=self._missing,
            seed=self.seed_, dtype=self.dtype, kernels=self.kernels,
            **lengths,
        )  # fmt: skip

    def _meet(self, X: Array) -> None:
        """Look at the first rows, before they are learned."""

    def _finish(self, x: Array, weights: Array | None, partial: bool) -> None:
        """Look at the rows once they are learned."""

    def _columns(self, X: Array) -> Array:
        """Those that the model is given."""
        return X

    def _validated(self, X: Any, first: bool = False) -> Array:
        if not first:
            check_is_fitted(self)
        kinds = [np.float64, np.float32] if self._missing else [np.float64, np.float32, np.uint8, np.bool_]
        finite = "allow-nan" if self._missing else True
        least = 2 if first else 1
        found = validate_data(
            self, X, reset=first, dtype=kinds, order="C", ensure_all_finite=finite, ensure_min_samples=least
        )
        return np.asarray(found)

    def _nats(self, x: Array, kind: str = "elbo", draws: int | None = None) -> Array:
        if kind not in DRAWS:
            raise ValueError(f"kind={kind!r}: expected 'elbo' or 'iwae'")
        draws = DRAWS[kind] if draws is None else draws
        of_rows = self.model_.elbo if kind == "elbo" else self.model_.log_likelihood
        blocks = (x[i : i + ROWS] for i in range(0, len(x), ROWS))
        return np.concatenate([of_rows(block, samples=draws) for block in blocks]).astype(np.float64)


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseVAE):
    """Rows as their codes: transform gives the mean of q(z | x).

    >>> X = np.random.default_rng(0).normal(size=(60, 4))
    >>> VAETransformer(2, max_iter=3, kernels="numpy", random_state=0).fit_transform(X).shape
    (60, 2)
    """

    def transform(self, X: Any) -> Array:
        """E[z | x] of each row, (N, K)."""
        return mean_of(self.model_.encode(self._validated(X)))

    def inverse_transform(self, X: Any) -> Array:
        """E[x | z] of codes X (N, K), (N, D) in raw units."""
        check_is_fitted(self)
        return self.model_.decode(check_array(X))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """New rows x ~ p(x), (n_samples, D) in raw units."""
        check_is_fitted(self)
        return self.model_.sample(n_samples, seed_of(random_state), draw=True)

    @property
    def _n_features_out(self) -> int:
        return self.model_.config.latent_size


@dataclass(eq=False, repr=False, kw_only=True)
class VAEOutlier(OutlierMixin, BaseVAE):
    """Rows that the VAE finds unlikely: score_samples below `offset_`, which is the quantile `contamination` of the
    training rows' scores or, by "auto", Tukey's fence below those of the rows held out, for what was trained on is
    likelier than what is new. `partial_fit`, too, goes by all rows so far (of a `fit`, those that it went by), or a
    sample of 1000, which is kept."""

    contamination: float | str = "auto"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseVAE._parameter_constraints,
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
    }

    def decision_function(self, X: Any) -> Array:
        """score_samples − offset_, (N,) nats: below 0 is odd."""
        return np.asarray(self.score_samples(X) - self.offset_)

    def predict(self, X: Any) -> Array:
        """−1 for what is odd, 1 for the others, (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _finish(self, x: Array, weights: Array | None, partial: bool) -> None:
        state, auto = self.model_._fitted(), self.contamination == "auto"
        draws = state.noise.uniforms(Purpose.VALIDATION, state.step, len(x), 1, np.float64)[:, 0]
        parts = [x, np.ones(len(x)) if weights is None else weights, draws]
        before: tuple[Array, ...] | None = getattr(self, "kept_", None)
        if partial and before:
            parts = sampled([np.concatenate(pair) for pair in zip(before, parts, strict=True)])
        elif auto and len(held := hold_out(state.noise, len(x), state.config.validation)):
            parts = [part[held] for part in parts]
        rows, w, _ = parts
        share: Any = [0.25, 0.75] if auto else [self.contamination] * 2
        how: dict[str, Any] = {} if (w == w[0]).all() else {"weights": w, "method": "inverted_cdf"}
        low, high = np.quantile(self._nats(rows), share, **how)
        self.offset_ = float(low - FENCE * (high - low))
        self.kept_ = tuple(sampled(parts))


@dataclass(eq=False, repr=False, kw_only=True)
class VAEImputer(TransformerMixin, BaseVAE):
    """Rows with NaN filled in, by Metropolis within Gibbs: transform gives E[x_mis | x_obs], `sample` draws.

    fit maximises the bound of what is seen; then, together as long again, come rounds of Monte Carlo EM (§7.1.2): gaps
    are drawn given what is seen, and training goes on with the whole rows, for with many gaps q(z | x) is poor.
    A mean shows no spread: what is computed from filled rows, other than means, wants several draws (Rubin 1987).
    Columns that fit sees empty are left out or, with keep_empty_features, filled with 0.
    """

    add_indicator: bool = False
    keep_empty_features: bool = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseVAE._parameter_constraints,
        "add_indicator": [bool],
        "keep_empty_features": [bool],
    }
    _missing: ClassVar[str] = "nan"

    def transform(self, X: Any) -> Array:
        """X (N, D) with the mean of what is missing given the rest, and the indicators of gaps behind it."""
        return self._made(self._validated(X), self.seed_, None)[0]

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None) -> Array:
        """X filled in n_samples times over, each from a chain of its own: (n_samples, N, columns of `transform`)."""
        if n_samples < 1:
            raise ValueError(f"n_samples={n_samples}: give 1 or more; the mean is transform's")
        return self._made(self._validated(X), seed_of(random_state), n_samples)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the columns of `transform`."""
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        kept = names if self.keep_empty_features else names[self.seen_]
        return np.concatenate([kept, self.indicator_.get_feature_names_out(names)]) if self.add_indicator else kept

    def _meet(self, X: Array) -> None:
        self.seen_ = ~np.isnan(X).all(axis=0)
        if self.add_indicator:
            self.indicator_ = MissingIndicator(error_on_new=False).fit(X)

    def _finish(self, x: Array, weights: Array | None, partial: bool) -> None:
        if partial or not np.isnan(x).any():
            return
        epochs = math.ceil(self.history_[-1]["epoch"] / ROUNDS)
        low, high = np.fmin.reduce(x), np.fmax.reduce(x)  # beyond, a wild draw once learned breeds wilder ones
        for i in range(ROUNDS):
            filled = np.clip(self._filled(x, self.seed_ + i, 1)[0], low, high)
            self.model_.fit_more(filled, epochs, self.validation_fraction, weights=weights)
            self._count()

    def _columns(self, X: Array) -> Array:
        return X[:, self.seen_]

    def _made(self, X: Array, seed: int, draws: int | None) -> Array:
        filled = self._filled(self._columns(X), seed, draws)
        if self.keep_empty_features:
            narrow, filled = filled, np.repeat(np.nan_to_num(X)[None], len(filled), axis=0)
            filled[..., self.seen_] = narrow
        if self.add_indicator:
            gaps = self.indicator_.transform(X)
            filled = np.concatenate([filled, np.repeat(gaps[None], len(filled), axis=0)], axis=-1)
        return filled

    def _filled(self, x: Array, seed: int, draws: int | None) -> Array:
        """Rows x (N, D) filled with their mean, (1, N, D), or by draws, (draws, N, D)."""
        model, reading = self.model_, self.model_._fitted().reading
        gaps, made = np.isnan(reading.narrow(x)), np.repeat(x[None], draws or 1, axis=0)
        if reading.constants is not None:
            made[...] = np.where(np.isnan(x), reading.constants, x)
        whole = gaps.all(axis=1)
        if (some := gaps.any(axis=1) & ~whole).any():
            place = np.flatnonzero(some).astype(np.uint32)  # rows that are alike are not to be filled alike
            plan = FillPlan(draws=1, chains=draws, first_row=place) if draws else None
            found = model.impute(x[some], plan, seed)
            made[:, some] = found.draws[0] if draws else found.mean
        if whole.any():  # nothing to go by
            new = model.sample(int(whole.sum()) * draws if draws else ROWS, seed, draw=True)
            made[:, whole] = new.reshape(draws, -1, x.shape[1]) if draws else new.mean(axis=0)
        return np.asarray(np.where(np.isnan(x), made, x))


def sampled(parts: list[Array]) -> list[Array]:
    """Of rows, and what goes with them, at most ROWS: those of the least draws, which come last. So the sample is fair
    of all that came, however it was cut into batches."""
    least = np.argsort(parts[-1])[:ROWS]
    return [part[least] for part in parts]


def seed_of(random_state: Any) -> int:
    """A seed for the library's noise: a whole number is one."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
