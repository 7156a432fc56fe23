"""§7.3 One step of AEVB (Algorithm 1 of Kingma & Welling 2014), and all that a run remembers between two steps.

The noise and the order of rows are named by (seed, purpose, step, row), so the state is only the parameters, the
optimizer's slots, a learned baseline and the step counter: a resumed run sees what an unstopped one would have seen.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from .. import conditional
from ..arena import Arena
from ..classical import full_vb
from ..data import binarise, rows
from ..distributions import Normal
from ..engine.jit import threads as default_threads
from ..engine.jit import vector_width
from ..errors import DataError, UsageError
from ..estimators import get
from ..initial import initialise, output_bias
from ..kernels import NUMPY, Kernels, table
from ..models.vae import LIKELIHOODS
from ..noise import LIMIT, Noise, Purpose, Rows, named, numbers
from ..types import Array
from . import checkpoint, rivals, stopping
from .config import Config, from_dict
from .missing import hide
from .objective import check_pair, gradient
from .optim import log_prior_vjp
from .orders import Order, kept
from .reading import Reading, seen
from .semi_supervised import restored as told


class State:
    """Parameters, optimizer slots and step counter of one run on data of which the model sees (N, D) columns."""

    def __init__(self, config: Config, columns: int, reading: Reading | None = None) -> None:
        self.config, self.step = config, 0
        self.home: Path | None = None  # the folder of the checkpoint that it came from
        self.reading = reading or Reading(columns)
        self.architecture: Any = config.architecture(self.reading)
        self.arena = Arena(rivals.shapes(config, self.architecture), config.dtype)
        self.gradient = self.arena.like()
        self.slots: Array = np.zeros((len(config.optimizer.slots), self.arena.flat.size), config.dtype)
        # a Net each; of a ladder a list of Nets each
        self.phi, self.theta = cast(tuple[Any, Any], self.architecture.nets(self.arena.views))
        self.dphi, self.dtheta = cast(tuple[Any, Any], self.architecture.nets(self.gradient.views))
        self.beta = config.beta  # the KL's weight at the step at hand
        self.weights: Array | None = None  # of its rows, (B,)
        self.index = np.zeros(0, np.int64)  # their numbers
        self.codes = np.zeros(0, np.int64)  # classes of the first of them, where some tell
        self.posterior_kind, self.prior_kind = kinds(config)
        self.k: Kernels = table(config.kernels)
        self.noise = Noise(config.seed, self.k)
        self.rule = rivals.rule(config)
        self.estimator = get(config.estimator)
        self.memory = self.estimator.state(columns, self.draw_memory)  # a learned baseline's arrays; {} for most
        self.stopping = stopping.memory(self.arena.flat) if config.validation else {}
        self.kept: dict[str, Array] = {}  # what another algorithm remembers
        check_pair(self)

    @classmethod
    def begun(cls, config: Config, reading: Reading, x: Array) -> "State":
        """A run with its first parameters, on training rows x (N, columns) that `reading` has adopted."""
        made = cls(config, reading.width, reading)
        made.initialise(np.zeros(0) if reading.vocabulary else made.mean_row(x, config.missing))
        made.kept = rivals.kept(made, len(x))
        return made

    def rows(self, x: Array, index: Array | slice, gaps: bool | None = None) -> Array:
        """Rows x[index] of the data as the model sees them, (B, D), before they are binarised; NaN may be among them
        with `gaps`, by default where the config says so."""
        config = self.config
        missing = config.missing == "nan" if gaps is None else gaps
        dtype = config.dtype if self.reading.scale is None else "float64"  # x − m is taken before x is rounded
        raw = rows(x, index, dtype, config.likelihood, missing, config.dtype)
        return self.reading.take(raw, config.dtype)

    def mean_row(self, x: Array, missing: str) -> Array:
        """The mean of what the run sees of its training rows, (D,) float64, as the model sees it; `missing` as in the
        config, for which values are not to be seen."""
        names = self.reading.names
        mean = mean_row(x, self.config.likelihood, missing, self.noise, limit=self.config.dtype, names=names)
        return self.reading.take(mean[None], "float64")[0]

    @property
    def noise_size(self) -> int:
        """Columns of noise for one sample of all that is latent in a row."""
        return self.config.latent_size * max(1, len(self.reading.classes))

    def numbers(self, x: Array, first_row: int) -> Array:
        """What evaluation's noise calls rows x (B, D), as the model sees them, uint32 (B,): by what they hold, so that
        a row has one score wherever it stands, or by their places from first_row on."""
        return numbers(first_row, len(x)) if self.reading.by_place else named(x)

    def __getstate__(self) -> dict[str, Any]:
        """Plain values and arrays: a copy's views are views of its own arena, and compiled kernels go by their name."""
        tensors = {name: array.copy() for name, array in self.tensors().items()}
        return {"config": self.config, "reading": self.reading, "tensors": tensors, "step": self.step}

    def __setstate__(self, held: dict[str, Any]) -> None:
        """What `__getstate__` gave."""
        State.__init__(self, held["config"], held["reading"].width, held["reading"])
        self.restore(held["tensors"], held["step"])

    def initialise(self, mean: Array) -> None:
        """Draw the first parameters; `mean` (D,) of the training data sets the output bias."""
        views, config = self.arena.views, self.config
        noise = self.noise._replace(k=NUMPY)  # drawn once: nothing is to be compiled for it
        normals = {
            name: noise.normals(Purpose.INITIAL, i, 1, view.size, config.dtype).reshape(view.shape)
            for i, (name, view) in enumerate(views.items())
        }
        initialise(views, config.initial, normals)
        if config.initial != "paper" and config.model != "sequence":
            if config.likelihood in LIKELIHOODS:
                views[self.architecture.output_bias][...] = output_bias(mean, config.likelihood)
            else:
                for head, bias in conditional.kind(self.architecture.likelihood_family.name).start(mean).items():
                    views[f"p.{head}.b"][...] = bias
        if rivals.LOG_VAR in views:
            views[rivals.LOG_VAR][...] = full_vb.FIRST
        if "prior.mu" in views:  # components that are alike would stay so
            views["prior.mu"][...], views["prior.log_var"][...] = normals["prior.mu"], 0
        if "prior.u" in views:  # about the mean row
            middle = output_bias(mean, config.likelihood)
            if self.phi.enter:
                middle = conditional.kind(self.phi.enter).features_of(mean)
            views["prior.u"][...] = middle + normals["prior.u"]

    def draw_memory(self, rows: int, columns: int) -> Array:
        """Noise for the first weights of a learned baseline."""
        return self.noise._replace(k=NUMPY).normals(Purpose.INITIAL, 1_000_000, rows, columns, self.config.dtype)

    def tensors(self) -> dict[str, Array]:
        """Named arrays for a checkpoint: plain (in, out) weights, and one flat array for each optimizer slot."""
        slots = {f"optimizer.{name}": slot for name, slot in zip(self.config.optimizer.slots, self.slots, strict=True)}
        memory = {f"estimator.{name}": array for name, array in self.memory.items()}
        held = {f"stopping.{name}": array for name, array in self.stopping.items()}
        kept = {f"algorithm.{name}": array for name, array in self.kept.items()}
        return {**self.arena.views, **slots, **memory, **held, **kept, **self.reading.tensors()}

    def restore(self, tensors: dict[str, Array], step: int) -> None:
        """Take back what `tensors` gave."""
        slots = {name: tensors[f"optimizer.{name}"] for name in self.config.optimizer.slots}
        memory = {name: tensors[f"estimator.{name}"] for name in self.memory}
        held = {name: tensors[f"stopping.{name}"] for name in self.stopping}
        beside = ("optimizer.", "estimator.", "stopping.", "algorithm.", "data.")
        self.arena.fill({name: array for name, array in tensors.items() if not name.startswith(beside)})
        for name, array in (*slots.items(), *memory.items(), *held.items()):
            expected = self.arena.flat.shape if name in slots else (self.memory | self.stopping)[name].shape
            if array.shape != expected:
                raise UsageError(f"{name} has shape {array.shape}, expected {expected}")
        self.slots[...] = list(slots.values())
        self.memory, self.stopping, self.step = memory, held, step
        self.kept = told(tensors) if self.config.model == "m2" else rivals.restored(self, tensors)


class Steps:
    """Minibatch steps of a state over data x (N, columns) that its reading has adopted, possibly a memory map; rows may
    have `weights` (N,), whose mean is 1."""

    def __init__(self, state: State, x: Array, threads: int | None = None, weights: Array | None = None) -> None:
        self.state, self.x, self.threads, self.weights = state, x, threads or default_threads(), weights
        if "z" in state.kept and len(state.kept["z"]) != len(x):
            raise UsageError(f"the run has chains of {len(state.kept['z'])} rows, and there are {len(x)}")
        self.first = 0  # the step with which the first epoch begins
        self.held = stopping.hold_out(state.noise, x.shape[0], state.config.validation, state.config.order)
        self.rows = x.shape[0] - len(self.held)  # that are trained on; the held-out ones are x[held]
        self.per_epoch = math.ceil(self.rows / state.config.batch)
        self.order = Order(state.config.order, state.noise, self.rows)

    def index(self, step: int) -> Array:
        """The rows of minibatch number `step`; an epoch's last one may be smaller."""
        epoch, i = divmod(step - self.first, self.per_epoch)
        start = i * self.state.config.batch
        places = np.arange(start, min(start + self.state.config.batch, self.rows))
        return kept(self.held, self.order.rows(self.first + epoch, places))

    def rate(self, step: int) -> float:
        """The optimizer's rate at that step."""
        config = self.state.config
        return config.optimizer.rate((step - self.first) / self.per_epoch, config.epochs)

    def minibatch(self, step: int) -> tuple[Array, Array]:
        """x (B, D), binarised, NaN where it is missing, and ε (L, B, columns)."""
        config, noise = self.state.config, self.state.noise
        index = self.index(step)
        x = self.state.rows(self.x, index)
        if config.binarisation == "dynamic":
            x = binarise(x, "dynamic", noise.uniforms(Purpose.BINARISE, step, len(x), x.shape[1], config.dtype))
        elif config.binarisation == "fixed":
            x = binarise(x, "fixed", fixed_uniforms(noise, index, x.shape[1], config.dtype))
        elif config.binarisation == "threshold":
            x = binarise(x, "threshold")
        x = hide(x, index, config.missing, noise)
        return x, latent_noise(self.state, Purpose.LATENT, step, len(index), config.samples)

    def advance(self, count: int) -> Array:
        """Take `count` steps; returns each step's mean bound, (count,) float64 nats per datapoint.

        Raises Diverged, with the state as it was before the step that broke.
        """
        return np.array([self.one() for _ in range(count)])

    def one(self) -> float:
        """One minibatch: bound, cotangents, update."""
        state, config = self.state, self.state.config
        x, eps = self.minibatch(state.step)
        state.index = self.index(state.step)
        self.expect(state.index)
        state.beta = config.beta * min(1.0, (state.step + 1) / max(1.0, config.warm_up * self.per_epoch))
        if state.rule is None:
            L = self.update(x, eps, state.step)
        else:
            rule = state.rule(state)
            with rule.whole():
                rule.expect(x)
                for i in range(rule.updates):
                    L = self.update(x, eps, rule.updates * state.step + i)
        state.step += 1
        return float(np.mean(L if state.weights is None else state.weights * L, dtype=np.float64))

    def expect(self, index: Array) -> None:
        """What the state is to know of a minibatch's rows."""
        self.state.weights = None if self.weights is None else self.weights[index]

    def update(self, x: Array, eps: Array, number: int) -> Array:
        """The optimizer's update of that number, counted from 0; returns the bounds (B,) before it."""
        state, config = self.state, self.state.config
        state.gradient.flat[...] = 0
        L = gradient(state, x, eps)
        if config.weight_prior:
            generative = slice(*self.generative())
            rows = len(self.x) - len(self.held)  # that the objective is a mean over
            log_prior_vjp(1.0, state.arena.flat[generative], rows, state.gradient.flat[generative])
        flats, rate = (state.arena.flat, state.gradient.flat, state.slots), self.rate(state.step)
        config.optimizer.update(*flats, number + 1, rate, state.k)
        return L

    def generative(self) -> tuple[int, int]:
        """Where θ lies in the arena, a learned p(z) with it: it follows φ."""
        sizes = {name: view.size for name, view in self.state.arena.views.items()}
        return sum(n for name, n in sizes.items() if name.startswith("q")), sum(sizes.values())


def kinds(config: Config) -> tuple[Any, Any]:
    """The family of q, and the one whose standard member is p(z)."""
    if config.posterior == "normal":
        return Normal, Normal
    from ..distributions.kinds import posterior

    found = posterior(config.posterior)
    return found.family, found.prior


def latent_noise(state: State, purpose: int, step: int, B: int, S: int, first_row: Rows = 0) -> Array:
    """ε (S, B, columns), named by the rows' numbers: fewer samples are a prefix of more. Normals, or uniforms if q asks
    for them.

    columns is K, or Σ K_l of a ladder, or K for each class, and in training times what the estimator asks for.
    """
    each = state.noise_size * (state.estimator.noise if purpose == Purpose.LATENT else 1)
    if state.posterior_kind.noise == "uniforms":
        eps = state.noise.inner_uniforms(purpose, step, B, S * each, first_row)
    else:
        eps = state.noise.normals(purpose, step, B, S * each, state.config.dtype, first_row)
    return np.ascontiguousarray(eps.reshape(B, S, -1).transpose(1, 0, 2))


def fixed_uniforms(noise: Noise, index: Array, columns: int, dtype: str) -> Array:
    """Uniforms named by the row of the data set, the same in every epoch: fixed binarisation."""
    u = [noise.uniforms(Purpose.FIXED_BINARISATION, 0, 1, columns, dtype, int(i)) for i in index]
    return np.concatenate(u) if u else np.zeros((0, columns), dtype)


def mean_row(
    x: Array,
    likelihood: str = "",
    missing: str = "",
    noise: Noise | None = None,
    block: int = 4096,
    limit: DTypeLike = "float64",
    names: tuple[str, ...] | None = None,
) -> Array:
    """The mean of what a run sees of its training rows, (D,) float64, by blocks as `reading.seen` gives them: what
    cannot be used, or is beyond the range of `limit`, the run's type, is refused before the first step. Bytes are
    counted as they are: none of them can be refused, and a float64 holds their sum exactly, mapped or in memory."""
    if x.dtype == np.uint8 and len(x) and not missing:
        parts = (np.asarray(x[i : i + block]) for i in range(0, len(x), block))
        return np.asarray(sum(part.sum(axis=0, dtype=np.uint32).astype(float) for part in parts) / len(x) / 255)
    total, count = np.zeros((2, x.shape[1]))
    for part in seen(x, likelihood, missing, noise or Noise(0), limit, block):
        there = ~np.isnan(part)
        total += np.where(there, part, 0).sum(axis=0) if missing else part.sum(axis=0)
        count += there.sum(axis=0)
    if not count.all():
        at = int(np.argmin(count))
        called = f" {names[at]!r}" if names else ""
        raise DataError(f"column {at}{called} (from 0) is missing in every row of the training data: leave it out")
    return np.asarray(total / count)


KIND = "vae"  # of a checkpoint: other models say other words
BEFORE = {"standardise": False}  # what a run did whose checkpoint does not say


def save_state(path: str | Path, state: State, extra: dict[str, Any]) -> None:
    """A checkpoint of a state: config, step, parameters and optimizer slots; equal states give equal bytes."""
    meta = {"kind": KIND, "config": state.config.as_dict(), "columns": state.architecture.columns, "step": state.step}
    meta |= {"reading": state.reading.as_dict(), "vector_width": width(state)}
    checkpoint.save(path, state.tensors(), {**meta, **extra})


def width(state: State) -> int | None:
    """float32 lanes of the compiled kernels, on which a run's bits hang; None for the NumPy ones."""
    return vector_width() if state.config.kernels == "numba" else None


def load_state(path: str | Path, kernels: str | None = None) -> tuple[State, dict[str, Any]]:
    """The state that `save_state` wrote, and the other metadata. Raises DataError where they are of another kind."""
    tensors, meta = checkpoint.load(path, KIND)
    try:
        config, columns, step = described(meta)
        held = meta.get("reading")
        reading = Reading(columns, by_place=True) if held is None else Reading.restored(held, tensors)
        if reading.width != columns:
            raise UsageError(f"rows are read as {reading.width} columns, and the model has {columns}")
        there = {name: tensors[name].shape for name in tensors}
        wanted = config.architecture(reading, 1.0).shapes()
        if odd := next((name for name, shape in wanted.items() if there.get(name) != shape), None):
            raise UsageError(f"{odd} has shape {there.get(odd)}, expected {wanted[odd]}")  # before it is allocated
        state = State(replace(config, kernels=kernels or config.kernels), columns, reading)
        state.restore(tensors, step)
        state.home = Path(path).parent
    except (UsageError, DataError, KeyError) as error:
        raise DataError(f"{path} holds no state that this version can use: {error}") from None
    return state, meta


def described(meta: dict[str, Any]) -> tuple[Config, int, int]:
    """Config, columns and step of a checkpoint's metadata; a hand may have written them. Raises UsageError."""
    for name, kind in (("config", dict), ("columns", int), ("step", int)):
        if type(meta.get(name)) is not kind:
            raise UsageError(f"{name}={meta.get(name)!r:.80}, expected a value of type {kind.__name__}")
    if not (0 < meta["columns"] < LIMIT and 0 <= meta["step"] <= LIMIT):
        raise UsageError(f"columns={meta['columns']!r:.80}, step={meta['step']!r:.80}: expected numbers up to {LIMIT}")
    before = {} if "reading" in meta else BEFORE
    return from_dict({**before, **meta["config"]}), meta["columns"], meta["step"]
