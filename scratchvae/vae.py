"""§7.3 The VAE as one object: fit, encode, decode, reconstruct, sample, bound, log-likelihood, save, load.

Nothing here is mathematics: every method calls the pure functions of `models.vae` on the arena of a `State`.
"""

import contextlib
import copy
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import models
from .conditional import Distribution, mean_of
from .data import check, matrix
from .data.arrays import Origin, names_of
from .data.words import check_left, coded, judged, without
from .errors import UsageError
from .noise import Purpose
from .tasks.missing import FillPlan, Imputations, chain, check_gaps
from .training import compiled, objective, rivals, stopping
from .training.config import Config, from_dict
from .training.evaluate import evaluation_rows, log_likelihood
from .training.likelihood import resolved
from .training.loop import Interrupted, Plan, Report, train
from .training.optim import Optimizer
from .training.reading import learn
from .training.run import Run
from .training.state import State, Steps, latent_noise, load_state, save_state
from .training.weights import scaled
from .types import Array

SCORED = 16  # draws from q for the bound of a single row: with one, its sd was some 3 nats on MNIST


class VAE:
    """A variational autoencoder (Kingma & Welling 2014) with hand-written gradients.

    latent: K; hidden: widths from x inwards, mirrored in the decoder; likelihood: bernoulli, gaussian (σ(z) learned, σ²
    above `variance`), gaussian-sigmoid (the same, means in (0, 1)), gaussian-fixed (σ² = `variance`). Every other field
    of `training.config.Config` may be given by name; `optimizer` and `learning_rate` set the optimizer's.
    `binarisation` ("none" unless given) holds for every method that takes rows, as in `scratchvae evaluate`.
    With `verbose`, fit tells on stderr how far it is: the bounds of each epoch, and the time left every ten seconds.

    >>> x = (np.arange(640).reshape(80, 8) % 7 < 3).astype("float32")
    >>> model = VAE(latent=2, hidden=(16,), epochs=3, batch=20, kernels="numpy").fit(x)
    >>> model.encode(x[:5]).mu.shape
    (5, 2)
    """

    def __init__(
        self,
        latent: int = 20,
        hidden: tuple[int, ...] = (500,),
        likelihood: str = "bernoulli",
        optimizer: str | Optimizer = "adam",
        learning_rate: float | None = None,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        chosen = Optimizer(optimizer) if isinstance(optimizer, str) else optimizer
        chosen = chosen if learning_rate is None else replace(chosen, learning_rate=learning_rate)
        options.setdefault("binarisation", "none")
        options.setdefault("data", "array")
        values = {"latent": latent, "hidden": hidden, "likelihood": likelihood, "optimizer": chosen, **options}
        self.config, self._given = from_dict(values), set(values)
        if self.config.deep:
            raise UsageError(f"latent={latent}: VAE has one latent layer; ladders are trained by training.state.State")
        if self.config.model != "vae":
            raise UsageError(f"VAE takes rows of numbers alone: model={self.config.model!r} is for scratchvae train")
        self.verbose = verbose
        self.threads: int | None = None  # of training; None: as many as `engine.processors` says
        self.state: State | None = None
        self.history: list[dict[str, Any]] = []

    @property
    def config(self) -> Config:
        """What was asked; of a fitted model with what the data said: how many classes there are, how long to train."""
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        self._config = self._asked = config

    def __repr__(self) -> str:
        c, state = self.config, self.state
        fitted = f"fitted to {state.architecture.columns} columns, {state.step} steps" if state else "not fitted"
        return f"VAE(latent={c.latent}, hidden={c.hidden}, likelihood={c.likelihood!r}): {fitted}"

    def fit(self, x: Any, test: Any = None, report: Report = lambda _: None, weights: Any = None) -> "VAE":
        """Train on rows x (N, ...) for `epochs`; uint8 is read as grey levels / 255. Calling it again starts afresh.

        Real-valued tables: a tenth of the rows is held out, and ends the training (`training.stopping`; `validation=0`
        holds out none). `history` then holds one dict an epoch, or a look: train_elbo, validation_elbo where rows were
        held out, and test_elbo where `test` rows were given, in nats per datapoint, of the parameters at that step:
        where rows are held out, the model ends with those of the best validation_elbo. `weights` (N,), above 0, are the
        rows' in the bounds of training and of the held-out rows: a whole number w is that row w times.

        Raises DataError for values that the likelihood cannot take, Diverged for a bound that is no number: the model
        is then as it was. Ctrl-C keeps what was learned so far.
        """
        x, left = without(x, self.config.beside)
        missing, origin = self.config.missing == "nan", Origin("x", names=names_of(x))
        check_left(self.config.leave_out, left, origin)
        x, levels = coded(x)
        found, image = matrix(x, origin, missing)
        found, (names, levels, _), _ = judged(found, levels, origin)
        config = resolved(self._asked, found, names, levels)
        config, origin = stopping.at_length(config, found, self._given), origin._replace(names=names)
        learned = learn(found, config, names, image, levels)
        train_rows = learned.see(found)
        check(train_rows, config.likelihood, origin, None, missing, config.dtype)
        state = State.begun(config, learned, train_rows)
        test_rows = None if test is None else self._rows(test, state, "test")
        steps = compiled.steps(state, train_rows, self.threads, self._weights(weights, len(found)))
        return self._train(steps, test_rows, report)

    def fit_more(
        self,
        x: Any,
        epochs: float | None = None,
        validation: float | None = None,
        report: Report = lambda _: None,
        weights: Any = None,
    ) -> "VAE":
        """Train on, for `epochs` over rows x, which are read as `fit` learned to read them: parameters, optimizer and
        noise go on from where they are; a share of `validation` is held out. None: as `fit` would. History, and the
        schedule of the learning rate, begin anew.
        """
        state = copy.deepcopy(self._fitted())
        found = self._rows(x, state)
        asked = replace(self._asked, likelihood=state.config.likelihood, columns=state.config.columns)
        usual = stopping.at_length(asked, found, self._given)
        epochs = usual.epochs if epochs is None else float(epochs)
        validation = usual.validation if validation is None else validation
        state.config = replace(state.config, epochs=epochs, validation=validation)
        state.stopping = stopping.memory(state.arena.flat) if validation else {}
        state.kept = rivals.kept(state, len(found))
        steps = compiled.steps(state, found, self.threads, self._weights(weights, len(found)))
        steps.first = state.step
        return self._train(steps, None, report)

    def _train(self, steps: Steps, test: Array | None, report: Report) -> "VAE":
        state, plan = steps.state, Plan.of(steps)
        plan = plan._replace(total=steps.first + plan.total)
        try:
            self.history = train(steps, test, plan, report=self._report(report))
        except Interrupted as stop:
            self._config, self.state, self.history = state.config, state, []
            raise KeyboardInterrupt(f"stopped at step {stop.step}: the model holds what was learned so far") from None
        self._config, self.state = state.config, state
        return self

    def encode(self, x: Any) -> Distribution:
        """q(z | x), of the posterior's family: mu and log_var (B, K) of a Gaussian."""
        return objective.encode(self._fitted(), self._batch(x))

    def decode(self, z: Any) -> Array:
        """E[x | z], (B, D), for codes z (B, K), in units of the data."""
        state = self._fitted()
        z = np.asarray(z, self.config.dtype)
        if z.ndim != 2 or z.shape[1] != self.config.latent:
            raise UsageError(f"z has shape {z.shape}, expected (B, {self.config.latent})")
        return state.reading.undo(mean_of(models.vae.decode(z, state.theta, state.k)[0]))

    def reconstruct(self, x: Any) -> Array:
        """E[x | z] at z = E_q[z | x], (B, D)."""
        return self.decode(mean_of(self.encode(x)))

    def sample(self, count: int = 64, seed: int = 0, draw: bool = False) -> Array:
        """E[x | z] for z from the prior, (count, D); with `draw` x from p(x | z) itself, such as bits."""
        state = self._fitted()
        noise = state.noise._replace(seed=seed)
        z = objective.prior(state, noise, Purpose.SAMPLE, count)
        if not draw:
            return self.decode(z)
        p = objective.decode(state, z)
        return state.reading.undo(objective.drawn(state, p, noise, Purpose.SAMPLE))

    def elbo(self, x: Any, eps: Array | None = None, samples: int | None = None) -> Array:
        """The bound of every row (eq. 10), (B,) nats: a mean over `samples` draws from q (16), which are named by what
        the row holds: one row, one score (1 draw, by the row's place, for a model saved before rows were named so).
        Or give eps (B, K) or (S, B, K)."""
        state, batch = self._fitted(), self._batch(x)
        if eps is None:
            samples = (1 if state.reading.by_place else SCORED) if samples is None else samples
            if samples < 1:
                raise UsageError(f"samples={samples}: a bound needs at least one draw a row")
            eps = latent_noise(state, Purpose.EVALUATE, 0, len(batch), samples, state.numbers(batch, 0))
        uniform = state.posterior_kind.noise == "uniforms"  # which float32 might round to 0 or 1
        eps = np.asarray(eps, np.float64 if uniform else self.config.dtype)
        return objective.bound(state, batch, eps if eps.ndim == 3 else eps[None])[0]

    def log_likelihood(self, x: Any, samples: int = 100) -> Array:
        """log p(x) of every row by importance sampling from q with `samples` draws, (B,) nats: below the truth on
        average, and rising to it with `samples`."""
        return log_likelihood(self._fitted(), self._batch(x), samples)

    def impute(self, x: Any, plan: FillPlan | None = None, seed: int = 0) -> Imputations:
        """§7.1.1 Rows x (B, D) with NaN where they are missing, filled in by Metropolis within Gibbs (`tasks.missing`):
        draws (T, C, B, D), their codes, and mean (B, D), which is E[x_mis | x_obs]. Noise is named by what a row holds,
        unless the plan's `first_row` is an array."""
        state = self._fitted()
        found = self._rows(x, state, gaps=True)
        batch = evaluation_rows(state, found, 0, len(found), gaps=True)
        check_gaps(~np.isnan(batch))
        guess, noise = objective.middle(state), state.noise._replace(seed=seed)
        coder = objective.coder(state)
        named = plan or FillPlan()
        if not isinstance(named.first_row, np.ndarray):
            named = named._replace(first_row=state.numbers(batch, 0))
        made = chain(coder, batch, ~np.isnan(batch), guess, noise, named)
        if state.reading.scale is None:
            return made
        raw = (state.reading.undo(part) for part in (made.draws, made.mean))  # what was given comes back to the bit
        draws, mean = (np.where(np.isnan(found), part, found).astype(part.dtype) for part in raw)
        return made._replace(draws=draws, mean=mean)

    def save(self, path: str | Path) -> None:
        """Write a checkpoint: config and plain (in, out) arrays in the safetensors layout."""
        save_state(path, self._fitted(), {"history": self.history})

    @classmethod
    def load(cls, path: str | Path, kernels: str | None = None) -> "VAE":
        """Read what `save` wrote, or a training run: its folder, or the checkpoint in it. Raises DataError for a
        damaged or a foreign file, UsageError for a ladder's."""
        folder = Run(Path(path)) if Path(path).is_dir() else None
        state, meta = folder.load(kernels) if folder else load_state(path, kernels)
        if state.config.deep or state.config.model != "vae":
            kind = "a ladder of latent layers" if state.config.deep else f"a run of model={state.config.model!r}"
            raise UsageError(f"{path} holds {kind}: read it with training.state.load_state")
        model = cls.__new__(cls)
        model.config, model.state, model.verbose, model.threads = state.config, state, False, None
        model._given = set(state.config.as_dict())
        model.history = folder.read_metrics() if folder else meta.get("history", [])
        return model

    def _report(self, report: Report) -> Report:
        return Words(report) if self.verbose else report

    def _weights(self, weights: Any, rows: int) -> Array | None:
        if weights is None and self.config.weights:
            raise UsageError(f"config has weights={self.config.weights!r}: in Python give them, fit(x, weights=…)")
        return None if weights is None else scaled(weights, rows)

    def _fitted(self) -> State:
        if self.state is None:
            raise UsageError("this VAE has no parameters yet: call fit(x) first, or VAE.load(path)")
        return self.state

    def _rows(self, x: Any, state: State, name: str = "x", gaps: bool = False) -> Array:
        x, _ = without(x, state.reading.left_out)
        missing, names = gaps or state.config.missing == "nan", names_of(x)
        origin = Origin(name, names=state.reading.names if names else None)
        x, levels = coded(x)
        found, _ = matrix(state.reading.unmasked(x), Origin(name, names=names), missing)
        found = state.reading.see(found, names, name, levels)
        check(found, state.config.likelihood, origin, None, missing, state.config.dtype)
        return found

    def _batch(self, x: Any) -> Array:
        """x as evaluation sees it: binarised as the config says, each row by noise that its content names."""
        state = self._fitted()
        found = self._rows(x, state)
        return evaluation_rows(state, found, 0, len(found))


class Words:
    """A report of `fit` as words on stderr, then as the caller wants it."""

    def __init__(self, report: Callable[[dict[str, Any]], None]) -> None:
        self.report, self.shown = report, time.monotonic()

    def __call__(self, now: dict[str, Any]) -> None:
        """Bounds as they are measured; between them, not too often, the time left."""
        if "train_elbo" in now:
            test = f"  test {now['test_elbo']:.2f}" if "test_elbo" in now else ""
            self.say(f"epoch {now['epoch']:g}  train {now['train_elbo']:.2f}{test} nats  {now['seconds']:.1f} s")
        elif time.monotonic() - self.shown > 10:
            self.say(f"step {now['step']}  bound {now['bound']:.2f} nats  {now['left']:.0f} s left")
        self.report(now)

    def say(self, text: str) -> None:
        """A line; training does not end because nobody can read it."""
        self.shown = time.monotonic()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(text, file=sys.stderr, flush=True)
