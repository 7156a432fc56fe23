"""§7 The verdict on a learner's file: it runs, its slopes hold, its laws hold; else what kind of slip it is.

The ladder, first line that applies: the file runs; everything is written; the contract and the slopes, by
`gradcheck.check`; a known slip, by its numbers at two points; what `gradcheck.diagnosis` says; the laws, and a known
slip of which they say the same. It says where, both numbers and the kind of slip, never the repair.
"""

import contextlib
import functools
import inspect
import re
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError
from ..gradcheck import Report, check
from ..gradcheck.file import place, running
from ..tree import flat
from .course import find
from .record import Exercise, Law, Names, Pair, drawing, executed, returned

SEEDS = (0, 1)  # of the points
PERHAPS = 2  # lines of the diagnosis that are said


class Verdict(NamedTuple):
    """Whether a file passes, and the lines that say why."""

    number: int
    passed: bool
    lines: tuple[str, ...]


def judge(exercise: Exercise, path: str) -> Verdict:
    """The verdict on the file at `path`; whatever its code does is a line of it."""

    def verdict(*lines: str, passed: bool = False) -> Verdict:
        return Verdict(exercise.number, passed, lines)

    try:
        with running(path) as (names, _), np.errstate(all="ignore"):
            if missing := [name for name in exercise.writes if name not in names]:
                return verdict(f"there is no {missing[0]}: the file must define it")
            try:
                if wrong := list(slopes(exercise, names)):
                    return verdict(*wrong)
                laws = list(exercise.laws(names))
            except NotImplementedError as error:
                return verdict(f"not written yet: {unwritten(exercise, error)}")
            except Exception as error:
                return verdict(f"{place(path, error)}: {type(error).__name__}: {error}")
    except UsageError as error:
        return verdict(str(error))
    broken = [law.words for law in laws if not law.holds]
    if broken:
        slip = named(exercise, names) or heard(exercise, laws)
        return verdict(exercise.broken, *broken, *slip)
    return verdict(*proved(exercise, names), *(law.words for law in laws), passed=True)


def judge_source(exercise: Exercise, source: str) -> Verdict:
    """The verdict on a file with this text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / exercise.file
        path.write_text(source, encoding="utf-8")
        found = judge(exercise, str(path))
    return found._replace(lines=tuple(line.replace(str(path), exercise.file) for line in found.lines))


def show(word: str | int, slip: str) -> None:
    """Print what a learner hears who makes this slip."""
    exercise = find(str(word))
    print("\n".join(judge_source(exercise, exercise.slipped(slip)).lines))


def unwritten(exercise: Exercise, error: Exception) -> str:
    """The function that raised NotImplementedError."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.name for frame in reversed(frames) if frame.name in exercise.writes), exercise.writes[0])


def slopes(exercise: Exercise, names: Names) -> Iterator[str]:
    """The first pair whose slopes are wrong: where, and the kind of slip."""
    for pair in exercise.pairs(names, drawing(SEEDS[0])):
        called(pair)
        report = check(as_taught(pair), pair.f_vjp, tuple(pair.args.values()), **pair.options)
        if not report:
            yield f"{report.name}: {in_words_of(names, pair, where(report))}"
            guesses = [f"  perhaps: {in_words_of(names, pair, line)}" for line in diagnosed(report)]
            lines = named(exercise, names) or guesses
            yield from lines[:PERHAPS]
            return


def called(pair: Pair) -> None:
    """Call both once, so that what they raise is theirs, with its line."""
    y = returned(pair.f.__name__, pair.f(*pair.args.values()))
    pair.f_vjp(y, *pair.args.values())


def proved(exercise: Exercise, names: Names) -> list[str]:
    """What a learner is told whose slopes hold."""
    titles = [pair.options.get("name", pair.f.__name__) for pair in exercise.pairs(names, drawing(SEEDS[0]))]
    return [f"{title}: every slope of its way back is right" for title in titles if title != "<lambda>"]


def in_words_of(names: Names, pair: Pair, line: str) -> str:
    """A line of the checker, which speaks of f, f_vjp and dy, in the names that the learner reads in the file."""
    f, f_vjp = pair.f.__name__, pair.f_vjp.__name__
    dy = next(iter(inspect.signature(pair.f_vjp).parameters), "dy")
    spoken = {"f": f, "f_vjp": f_vjp if f_vjp in names else f"{f}_vjp", "dy": dy}
    return re.sub(r"\b(f_vjp|dy|f(?= [a-z]|'s))\b", lambda word: spoken[word[0]], line)  # an argument may be "f" too


def as_taught(pair: Pair) -> Any:
    """f, whose arguments have the lesson's names, whatever the learner calls them."""

    @functools.wraps(pair.f)
    def f(*args: Any) -> Any:
        return pair.f(*args)

    named = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in pair.args]
    f.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    return f


def diagnosed(report: Report) -> list[str]:
    """What the checker says of the first wrong block."""
    return [line for row in report.failed()[:1] for line in row.perhaps]


def where(report: Report) -> str:
    """The element, and both numbers; or what is wrong beside them."""
    found = [(row, m) for row in report.failed()[:1] for m in row.measures if m.at is not None and not m.ok]
    if report.problems or report.doubts or not found:
        return report.first_failure
    row, m = found[0]
    at = f"wrong at [{', '.join(map(str, m.at))}]" if m.at else "wrong"
    return f"{row.block}: {at}: yours {m.analytic:.6g}, numerically {m.numeric:.6g}"


def named(exercise: Exercise, names: Names) -> list[str]:
    """The slip whose numbers are the learner's, at every point."""
    yours, right = numbers(exercise, names), numbers(exercise, executed(exercise.solution))
    if yours is None or same(yours, right):
        return []
    for name, slip in exercise.slips.items():
        if same(yours, numbers(exercise, executed(exercise.slipped(name)))):
            return [slip.line]
    return []


def heard(exercise: Exercise, laws: list[Law]) -> list[str]:
    """The slip of which the laws say the same, number by number, where the pairs do not reach it."""
    for name, slip in exercise.slips.items():
        with contextlib.suppress(Exception), np.errstate(all="ignore"):
            if [*exercise.laws(executed(exercise.slipped(name)))] == laws:
                return [slip.line]
    return []


def numbers(exercise: Exercise, names: Names) -> list[Any] | None:
    """All that the pairs return at all points; None where one fails."""
    found = []
    try:
        for seed in SEEDS:
            for f, f_vjp, args, _ in exercise.pairs(names, drawing(seed)):
                y = f(*args.values())
                found += [flat(y), flat(f_vjp(y, *args.values()))]
    except Exception:
        return None
    return found


def same(a: list[Any] | None, b: list[Any] | None) -> bool:
    """Whether all numbers agree but for rounding."""
    if a is None or b is None or len(a) != len(b):
        return False
    return all(x.shape == y.shape and np.allclose(x, y, 1e-9, 1e-12, True) for x, y in zip(a, b, strict=True))
