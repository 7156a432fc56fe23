"""§7.1.1 Exercise 11: six VAEs, one error each.

Which check finds which (a test holds it true); only one of them is seen by slopes:

                                        slopes  adding  moments  bound  extremes  steps
    A KL averaged over the batch          .       .        .       x       .        .
    B Adam counts parameters as steps     .       .        .       .       .        x
    C backward draws another eps          x       .        .       .       .        .
    D log(1 + exp) overflows              .       .        .       .       x        .
    E = for +=                            .       x        .       .       .        .
    F softplus shown as a probability     .       .        x       .       .        .
"""

import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from .hunt import CHECKS, loaded
from .record import Edits, Exercise, Law, Names, edited, shipped

HINTS = (
    "Run all six checks on each file. What a check printed says where to look: the blocks that are wrong share a path, "
    "and those that are right rule others out.",
    "Walk from the wrong blocks to the first function that all of them pass and the right ones do not. Where no slope "
    "is wrong, read the function whose number the check measured, and what it calls.",
)


class Error(NamedTuple):
    """An error of `mutants.gallery`, the check that finds it, the functions that have it, and how it is made."""

    name: str
    check: str
    functions: tuple[str, ...]
    edits: Edits


ERRORS = {
    "A": Error(
        "KL averaged over the batch",
        "bound",
        ("kl", "kl_vjp"),
        (
            ("- 1 - log_var).sum(1) / 2", "- 1 - log_var).sum(1) / (2 * len(mu))"),
            (
                "return w[:, None] * mu, w[:, None] * (np.exp(log_var) - 1) / 2",
                "w = w[:, None] / len(mu)\n    return w * mu, w * (np.exp(log_var) - 1) / 2",
            ),
        ),
    ),
    "B": Error(
        "Adam counts parameters as steps",
        "steps",
        ("adam",),
        (('    state["t"] += 1\n    for name in p:\n', '    for name in p:\n        state["t"] += 1\n'),),
    ),
    "C": Error(
        "backward draws another eps",
        "slopes",
        ("elbo_vjp",),
        (("dlog_var = sample_vjp(dz, log_var, eps)", "dlog_var = sample_vjp(dz, log_var, eps[::-1])"),),
    ),
    "D": Error(
        "log(1 + exp) overflows",
        "extremes",
        ("softplus",),
        (("np.maximum(a, 0) + np.log1p(np.exp(-abs(a)))", "np.log(1 + np.exp(a))"),),
    ),
    "E": Error("= for +=", "adding", ("dense_vjp",), (('d[name + ".W"] += x.T @ dy', 'd[name + ".W"] = x.T @ dy'),)),
    "F": Error(
        "softplus shown as a probability", "moments", ("generate",), (("u < sigmoid(logits)", "u < softplus(logits)"),)
    ),
}


RIGHT = shipped("vae.py")  # the VAE without an error
SOURCES = {letter: edited(RIGHT, error.edits, error.name) for letter, error in ERRORS.items()}


def laws(names: Names) -> Iterator[Law]:
    """One a VAE."""
    answers = names["ANSWERS"]
    rows = {letter: answers.get(letter) if isinstance(answers, dict) else None for letter in ERRORS}
    if all(row == ("?", "?") for row in rows.values()):
        raise NotImplementedError
    yield from (Law(*answered(letter, row)) for letter, row in rows.items())


def answered(letter: str, row: Any) -> tuple[bool, str]:
    """Whether a row is right, and what is to be said of it: never the right one."""
    if (
        not (isinstance(row, tuple | list) and len(row) == 2 and all(isinstance(word, str) for word in row))
        or "?" in row
    ):
        return False, f'{letter}: no answer yet: ("the check", "the function")'
    check, function = row
    if check not in CHECKS:
        return False, f"{letter}: there is no check {check}: {', '.join(CHECKS)}"
    vae = loaded(SOURCES[letter], f"vae_{letter.lower()}.py")
    if not isinstance(getattr(vae, function, None), FunctionType):
        own = [name for name, value in vars(vae).items() if inspect.isfunction(value)]
        return False, f"{letter}: there is no function {function}: {', '.join(own)}"
    with np.errstate(all="ignore"):
        found = CHECKS[check](vae)
    if found.holds:
        verb = "hold" if check.endswith("s") else "holds"
        return False, f"{letter}: no, the {check} of {letter} {verb}: {found.words}"
    if function not in ERRORS[letter].functions:
        return False, f"{letter}: the check is the one, and {function} is as it should be: {found.words}"
    return True, f"{letter}: yes, {ERRORS[letter].name}: {found.words}"


EXERCISE = Exercise(
    11,
    "hunt",
    "Is it good, and is it right",
    "§7.1.1",
    ("ANSWERS",),
    HINTS,
    lambda names, normals: (),
    laws,
    extras={f"hunt/vae_{letter.lower()}.py": source for letter, source in SOURCES.items()},
    broken="not all of them:",
)
