"""§7 What an exercise is made of."""

import ast
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

from ..noise import Noise, Purpose
from ..tasks.quadrature import posterior
from ..types import Array

Draw = Callable[..., Array]  # standard normals of a shape
Names = Mapping[str, Any]  # what a file defines
Edits = tuple[tuple[str, str], ...]  # (old, new), old standing there once


def drawing(seed: int) -> Draw:
    """normals(3, 2): fresh draws at every call, in float64; the same sequence for the same seed."""
    noise, steps = Noise(seed), itertools.count()

    def normals(*shape: int) -> Array:
        return noise.normals(Purpose.DATA, next(steps), 1, math.prod(shape), np.float64).reshape(shape)

    return normals


class Pair(NamedTuple):
    """A pair of the learner's at a point, arguments by the names that the lesson has for them; options are those of
    `gradcheck.check`: constants, terms, tolerance, name."""

    f: Callable[..., Any]
    f_vjp: Callable[..., Any]
    args: Mapping[str, Any]
    options: Mapping[str, Any] = {}


def shipped(file: str) -> str:
    """The text of a file among the solutions."""
    return files(f"{__package__}.solutions").joinpath(file).read_text(encoding="utf-8")


def executed(source: str, name: str = "exercise") -> dict[str, Any]:
    """The names that a source defines; `name` is what its errors call it."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile(source, name, "exec"), names)
    return names


def returned(name: str, y: Any) -> Any:
    """What a learner's function returned. Raises TypeError where it is nothing or a list, before its way back is blamed
    for that."""
    if y is None or isinstance(y, list):
        raise TypeError(f"{name} returned {'nothing' if y is None else 'a list'}: an array is asked for")
    return y


def one_a_row(names: Names, name: str) -> Callable[..., Array]:
    """A function of a file that owes one number for each row of its first argument. Raises ValueError where it gives
    another shape, before its way back is blamed for that."""
    f = names[name]

    @functools.wraps(f)
    def rows(z: Array, *args: Array) -> Array:
        y: Array = returned(name, f(z, *args))
        if np.shape(y) != z.shape[:-1]:
            raise ValueError(f"{name} of {z.shape} gave shape {np.shape(y)}, and one number a row is expected")
        return y

    return rows


def log_evidence(vae: Any, x: Array, *parameters: Any) -> Array:
    """log p(x) (B,) nats of rows of bits (B, D) by quadrature over one latent; `vae` has `log_prob(x, logits)` and
    `decode(z, …)`, which returns logits first."""

    def log_joint(x: Array, z: Array) -> Array:
        logits, _ = vae.decode(z.reshape(-1, 1), *parameters)
        likelihood = vae.log_prob(np.tile(x, (len(z), 1)), logits).reshape(z.shape[:2])
        return np.asarray(likelihood - 0.5 * (z[..., 0] ** 2 + np.log(2 * np.pi)))

    return posterior(log_joint, x, 1).log_marginal


class Law(NamedTuple):
    """What must hold and no slope sees: in words, with the numbers."""

    holds: bool
    words: str


class Slip(NamedTuple):
    """An error in this exercise's place: in the solution, `old` becomes `new`. `kind` is what the verdict says of it;
    it names the slip, never the repair. `seen_in` is where it was published, "" for one that learners make."""

    kind: str
    seen_in: str
    edits: Edits

    @property
    def line(self) -> str:
        """What the verdict says."""
        return f"  perhaps: {self.kind}" + f" (published: {self.seen_in})" * bool(self.seen_in)


class Exercise(NamedTuple):
    """One exercise: `pairs` of a file's functions at points that are drawn, and its `laws`.

    writes    the functions that the learner writes, or the name of a table of answers; the stub has the others
    hints     the second is the stronger one
    slips     by the name that `mutants.gallery` gives them, where it has them
    extras    files to read that come with the stub: path in the folder, text
    broken    what the verdict says above laws that do not hold
    """

    number: int
    name: str
    title: str
    section: str
    writes: tuple[str, ...]
    hints: tuple[str, str]
    pairs: Callable[[Names, Draw], Iterable[Pair]]
    laws: Callable[[Names], Iterable[Law]]
    slips: Mapping[str, Slip] = {}
    extras: Mapping[str, str] = {}
    broken: str = "the slopes are right, and the function is not:"

    @property
    def file(self) -> str:
        """e07_sample.py."""
        return f"e{self.number:02}_{self.name}.py"

    @property
    def solution(self) -> str:
        """Its source."""
        return shipped(self.file)

    @property
    def stub(self) -> str:
        """The solution without the bodies of what is to be written; a table keeps its rows, "?" for each answer."""
        lines = self.solution.splitlines()
        for node in reversed(ast.parse(self.solution).body):
            if isinstance(node, ast.FunctionDef) and node.name in self.writes:
                first = node.body[0]  # its docstring
                lines[first.end_lineno or 0 : node.end_lineno] = ["    raise NotImplementedError  # your turn"]
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in self.writes:
                rows = slice(node.lineno - 1, node.end_lineno)
                lines[rows] = [re.sub(r'(\(|, )"\w+"(?=[,)])', r'\1"?"', line) for line in lines[rows]]
        return "\n".join(lines) + "\n"

    def slipped(self, name: str) -> str:
        """The solution with one of the slips."""
        return edited(self.solution, self.slips[name].edits, name)


def edited(source: str, edits: Edits, name: str) -> str:
    """The source with the slip of this name. Raises ValueError where an edit has not its one place."""
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"{name}: {old!r} stands there {source.count(old)} times")
        source = source.replace(old, new)
    return source
