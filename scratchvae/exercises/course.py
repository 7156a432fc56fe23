"""§7 The course: every exercise in order."""

from importlib import import_module
from pathlib import Path

from ..errors import UsageError, did_you_mean
from .record import Exercise

MODULES = (
    "e00_vjp",
    "e01_log_normal",
    "e02_kl",
    "e03_log_joint",
    "e04_score",
    "e05_baseline",
    "e06_bernoulli",
    "e07_sample",
    "e08_two_ways",
    "e09_heads",
    "e10_elbo",
    "e11_hunt",
    "e12_use_it",
    "e13_any_q",
    "e14_classical",
    "e16_through_time",
)
COURSE: tuple[Exercise, ...] = tuple(import_module(f"{__package__}.{name}").EXERCISE for name in MODULES)


def find(word: str) -> Exercise:
    """The exercise by its number, its name or its file. Raises UsageError."""
    stem = Path(word).name.removesuffix(".py")
    for exercise in COURSE:
        if word in (exercise.name, str(exercise.number), f"{exercise.number:02}") or f"{stem}.py" == exercise.file:
            return exercise
    known = ", ".join(f"{one.number} {one.name}" for one in COURSE)
    raise UsageError(f"no exercise {word}; there are {known}{did_you_mean(word, [one.name for one in COURSE])}")
