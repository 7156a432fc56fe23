"""§7.2 Small runs of the schedule, by `plain_schedule` and by the composition of the pairs, which must agree to 1e-11.

Between them they reach every line of `fast`: each model, estimator, likelihood, optimizer and kind of data, widths that
straddle panels of eight, and rows below and above the numbers from which cotangents are packed and lists are taken.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from scratchvae.gradcheck.numeric import spread
from scratchvae.noise import Purpose
from scratchvae.training import objective
from scratchvae.training.compiled import in_numpy
from scratchvae.training.config import Config
from scratchvae.training.reading import Reading
from scratchvae.training.state import State, Steps, latent_noise
from scratchvae.types import Array

from .plain_schedule import SMALL, PlainSchedule

TOLERANCE = 1e-11
D = 19  # columns, unless said: two panels of eight and three more
Numbers = list[Array]


class Case(NamedTuple):
    """A run: `plain` gives what the schedule makes of it, `expected` what the composition does."""

    name: str
    plain: Callable[[PlainSchedule], Numbers]
    expected: Callable[[], Numbers]

    def fails(self, schedule: PlainSchedule) -> str:
        """Why the two differ, "" if they agree."""
        try:
            with np.errstate(all="ignore"):  # as compiled code has it
                expected, found = self.expected(), self.plain(schedule)
        except Exception as error:  # whatever a mutant breaks
            return type(error).__name__
        return "" if all(close(*pair) for pair in zip(found, expected, strict=True)) else "AssertionError"


def close(a: Array, b: Array) -> bool:
    """Equal to rounding, by the largest number; what is no number is so in both."""
    same = np.isfinite(a) == np.isfinite(b)
    a, b = np.where(np.isfinite(a), a, 0), np.where(np.isfinite(b), b, 0)
    return bool(same.all() and np.abs(a - b).max(initial=0) <= TOLERANCE * np.abs(b).max(initial=0))


# ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def grey(rows: int, columns: int = D) -> Array:
    """Grey levels of which no row is blank enough for lists."""
    return (170 * np.abs(spread(1, (rows, columns)))).astype(np.uint8)


def blank(rows: int, columns: int = D) -> Array:
    """Three pixels in four are zero; a row and a column are so altogether."""
    x = np.where(np.abs(spread(2, (rows, columns))) > 1.25, grey(rows, columns), 0).astype(np.uint8)
    x[1], x[:, 3] = 0, 0
    return x


def numbers(rows: int) -> Array:
    return spread(3, (rows, D))


def gaps(rows: int) -> Array:
    """Shares of one, some of them missing, one row altogether."""
    x = np.abs(spread(4, (rows, D))) - 0.5
    x[::2, ::3], x[1], x[3, 1:] = np.nan, np.nan, np.nan
    return x


# ── training ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def begun(
    columns: int = D,
    scale: Array | None = None,
    size: float = 0.3,
    broken: tuple[str, float] | None = None,
    **options: Any,
) -> State:
    """A state at step 2 whose parameters are all some way from zero, save those `broken`, and whose baseline, if it
    learns, has learned something."""
    options = {"latent": 3, "hidden": (9,), "dtype": "float64", "optimizer": {"epsilon": 1e-2}, **options}
    reading = (
        Reading(columns) if scale is None else Reading(columns, "reals", scale=scale, shift=scale - 1, grain=scale / 9)
    )
    state = State(Config(**options), columns, reading)
    state.step, state.arena.flat[...] = 2, size * spread(5, state.arena.flat.shape)
    for name, array in state.memory.items():
        some = 0.2 * spread(6, array.shape)
        array[...] = {"mean": -9, "variance": 7, "steps": 0}.get(name, np.abs(some) if name.endswith(".v") else some)
    if broken:
        state.arena.views[broken[0]][...] = broken[1]
    in_numpy(state)
    return state


def training(
    name: str,
    x: Array,
    batch: int = 5,
    micro: int = 99,
    steps: int = 2,
    threads: int = 2,
    most: float = 0.4,
    **options: Any,
) -> Case:
    """Some steps; parameters, and whatever is remembered, are compared. `most` ink may be listed."""
    turned, options = threads > 1, {"batch": batch, "columns": x.shape[1], **options}

    def plain(schedule: PlainSchedule) -> Numbers:
        state = begun(**options)
        vars(schedule.modules["fast.sparse"])["MOST"] = most
        return [*schedule.train(state, x, min(micro, batch), steps, threads, turned), *remembered(state)]

    @functools.cache
    def expected() -> Numbers:
        state = begun(**options)
        try:
            means = Steps(state, x).advance(steps)
        except objective.Diverged:
            means = np.full(steps, np.nan)
        return [means, np.full(threads, state.step - 2), *remembered(state)]

    return Case(name, plain, expected)


def remembered(state: State) -> Numbers:
    return [state.arena.flat, *state.slots, *state.memory.values()]


# ── evaluation ────────────────────────────────────────────────────────────────────────────────────────────────────────


def evaluation(name: str, x: Array, samples: int, micro: int, chunk: int = 3, **options: Any) -> Case:
    """The bound with samples of one name, `micro` rows at once; log p(x) by `chunk` samples, noise by three of them."""
    names, draw = np.arange(7, 7 + len(x), dtype=np.uint32), SMALL["training.workspaces"]["SAMPLES_PER_NAME"]
    rows = np.arange(len(x)), names.astype(np.int64)

    def plain(schedule: PlainSchedule) -> Numbers:
        state, found, log_p = begun(**options), np.zeros((2, len(x))), np.zeros(len(x))
        vars(schedule.modules["fast.sparse"])["MOST"] = 0.4

        def work(t: int) -> None:
            s = schedule.evaluator(state, "sgvb_b", micro, samples, x)
            schedule.step.evaluate(s, *rows, 2, found)
            s = schedule.evaluator(state, "iw", 1, chunk, x)
            schedule.step.log_likelihood(s, *rows, samples, log_p)

        schedule.turns.run(1, work)
        return [*found, log_p]

    @functools.cache
    def expected() -> Numbers:
        state, total = begun(**options), np.full(len(x), -np.inf)
        L, log_p, _ = objective.bound(state, x, latent_noise(state, Purpose.EVALUATE, 2, len(x), samples, names))
        for s in range(0, samples, draw):
            eps = latent_noise(state, Purpose.EVALUATE, 1 + s, len(x), min(draw, samples - s), names)
            total = np.logaddexp(total, np.logaddexp.reduce(objective.log_weights(state, x, eps), axis=0))
        return [L, log_p, total - np.log(samples)]

    return Case(name, plain, expected)


# ── the cases ─────────────────────────────────────────────────────────────────────────────────────────────────────────

TWO: dict[str, Any] = {"latent": (8, 2), "hidden": ((5,), (3, 4))}
THREE: dict[str, Any] = {"latent": (9, 3, 2), "hidden": ((5,), (), (3,))}
FORGETFUL: dict[str, Any] = {"name": "adamw", "learning_rate": 1.0, "decay": 1.0, "epsilon": 1e-2}
HUGE = "q.log_var.b", 710.0  # some z are too large to be squared
SURE: dict[str, Any] = {"likelihood": "gaussian-fixed", "binarisation": "none", "variance": 1e-30}
REAL: dict[str, Any] = {"binarisation": "none", "variance": 0.1}


def cases() -> list[Case]:
    """All of them."""
    far = ("iw", "vr:0.5", "vr:3")
    deep = ("score_loo", "stl", "dreg", "iw", "vr:0.5", "vr:1", "vr_max", "sgvb_a", "sgvb_b", "score_constant:-20")
    found = [
        training("dense, 16 columns", grey(12, 16)),
        training("lists", blank(12, 17), binarisation="none", hidden=(17,), batch=7, most=99.0),
        training("lists, 16 columns", blank(6, 16), binarisation="none", most=99.0),
        training("lists, 24 columns", blank(6, 24), binarisation="none", most=99.0, hidden=(5, 4)),
        training("some listed, 23 columns", np.append(grey(8, 23), blank(8, 23), 0), batch=4, steps=4, most=0.42),
        training("lists, many panels", blank(4), binarisation="none", most=99.0, hidden=(257,), threads=1, steps=1),
        training("rows as they are wanted", (grey(9) / 255).astype(">f8"), missing="random:0.3", binarisation="fixed"),
        training("lists of bits, one thread", blank(12), binarisation="fixed", threads=1, hidden=(25,)),
        training("lists, three rows of many samples", blank(6), batch=3, samples=5, most=99.0),
        training("lists, few rows", blank(7), binarisation="threshold", batch=3, activation="relu"),
        training("many rows", grey(17), batch=13, hidden=(8, 7), activation="softplus"),
        training("micro-batches", blank(11), batch=11, micro=4, binarisation="none", samples=2, activation="elu"),
        training("three threads", blank(12), most=99.0, threads=3, samples=2, hidden=(), optimizer=FORGETFUL),
        training("one row of data", grey(1), batch=1, optimizer={"name": "sgd"}, prior=True),
        training("no steps", grey(5), steps=0),
        training("broken", grey(9), batch=4, broken=("p.logits.b", np.inf)),
        training("broken baseline", grey(9), batch=4, broken=("p.logits.b", np.inf), estimator="nvil"),
        training("broken samples", grey(9), batch=2, broken=HUGE, estimator="vr_max", samples=4, latent=1, steps=1),
        training("adagrad", grey(12), optimizer={"name": "adagrad", "epsilon": 1e-2}, prior=True, hidden=(8,)),
        training("one row", grey(3), batch=1, samples=8, activation="identity"),
        training("seven rows", grey(7), batch=7, samples=8, hidden=(), steps=1),
        training("momentum", blank(9), optimizer={"name": "sgd"}, prior=True, micro=3, activation="leaky_relu"),
        training("adamw", grey(12), optimizer={"name": "adamw", "epsilon": 1e-2}, prior=True, epochs=1.0),
        training("bits", blank(9) > 0, binarisation="none", latent=9),
        training("hidden values", grey(9), missing="random:0.4", samples=2, latent=5),
        training("gaps", gaps(15), missing="nan", batch=13, likelihood="gaussian", **REAL),
        training("gaps in bits", gaps(9), missing="nan", binarisation="threshold"),
        training("gaussian", numbers(9), likelihood="gaussian", scale=np.abs(numbers(1)[0]), **REAL),
        training("gaussian-sigmoid", grey(9), likelihood="gaussian-sigmoid", **REAL),
        training("gaussian-fixed", grey(9), likelihood="gaussian-fixed", activation="sigmoid", **REAL),
        training("ladder, many rows", grey(9), estimator="dreg", samples=3, **TWO),
        training("ladder of three", numbers(9), estimator="stl", samples=2, likelihood="gaussian", **REAL, **THREE),
        evaluation("evaluation", blank(5) / 255, 2, 3),
        evaluation("evaluation of broken samples", blank(5) / 255, 4, 4, broken=HUGE, latent=1),
        evaluation("evaluation of gaps", gaps(4), 7, 7, 6, missing="nan", likelihood="gaussian", **REAL),
        evaluation("evaluation of a ladder", grey(3) / 255, 5, 6, 6, **THREE),
    ]
    found += [training(f"ladder by {name}", grey(5), estimator=name, batch=3, samples=3, **TWO) for name in deep]
    found += [training(f"far apart by {name}", grey(2), estimator=name, size=9.0, samples=3, batch=2) for name in far]
    alone = ("score", "score_kl", "score_mean", "score_input", "nvil")
    found += [training(name, grey(8), estimator=name, samples=3, batch=4, latent=2) for name in alone]
    found += [
        training("iw, whole panels", grey(4), estimator="iw", batch=2, samples=3, hidden=(8,)),
        training("great densities by vr:3", np.zeros((2, D)), estimator="vr:3", samples=3, batch=2, size=0.0, **SURE),
        training("dreg, one row", grey(2), estimator="dreg", batch=1, samples=3),
        training("stl, one row and sample", grey(2), estimator="stl", batch=1),
        training("score_loo, two samples", grey(4), estimator="score_loo", samples=2),
        training("score_mean, two rows", grey(4), estimator="score_mean", batch=2, threads=1),
        training("nvil, one row", grey(2), estimator="nvil", batch=1),
        training("nvil, many rows", blank(13), estimator="nvil", batch=13, most=99.0),
        training("score_cv, three rows", grey(3), estimator="score_cv", samples=2, batch=3),
        training("score_cv", grey(4), estimator="score_cv", samples=3, batch=2, latent=9, hidden=(5,)),
        training("measure", numbers(3), estimator="measure", samples=2, batch=3, likelihood="gaussian", **REAL),
    ]
    many: dict[str, Any] = {"estimator": "measure", "samples": 2, "batch": 2, "hidden": (5, 4)}
    return found + [training(f"measure, {latent} latents", grey(3), latent=latent, **many) for latent in (5, 8, 9)]
