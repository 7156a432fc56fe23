"""§7.2.4 The pairs of somebody's file: NAME and NAME_vjp, or NAME and NAME_grad, checked at the point NAME_args."""

import ast
import contextlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import UsageError
from .check import check
from .contract import one_line
from .report import Report

MODULE = "gradcheck_file"  # what the file is called while it runs: not __main__, and no name that others import
ENDINGS = ("_vjp", "_grad")


def reports(path: str, pattern: str = "*") -> Iterator[Report]:
    """Check every pair of a file whose name fits the pattern (a glob, or a part of the name).

    NAME_vjp(dy, *args) is checked against NAME(*args), and NAME_grad(x, *more), a gradient as SciPy has it, against
    the scalar NAME(x, *more), at the point NAME_args: a tuple, or a function that returns one. NAME_constants names
    arguments without a cotangent. A NAME_vjp without NAME, and a pair without a point, is "cannot tell". What the file
    imports counts where it has a point here. Whatever the file prints goes to stderr.

    Raises UsageError, in one line, where the file cannot be run, has no pair, or none that fits.
    """
    with running(path) as (known, own):
        found = list(pairs(known, own))
        if not found:
            raise UsageError(f"{path} has no pair: define NAME, NAME_vjp and a point, NAME_args = (…,)")
        fitting = [(stem, ending) for stem, ending in found if fits(stem, pattern)]
        if not fitting:
            raise UsageError(f"no pair of {path} is called {pattern!r}: it has {', '.join(s for s, _ in found)}")
        for stem, ending in fitting:
            with contextlib.redirect_stdout(sys.stderr):
                report = checked(path, known, stem, ending)
            yield report


def fits(name: str, pattern: str) -> bool:
    """Whether the pattern is a part of the name, or fits all of it as a glob."""
    return fnmatch(name, pattern if any(c in pattern for c in "*?[") else f"*{pattern}*")


@contextlib.contextmanager
def running(path: str) -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Within: the file's names, and which of them it defines itself; its own folder is the first to import from."""
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: give a Python file with pairs") from error
    module, before = ModuleType(MODULE), sys.path[:]
    module.__file__, module.__package__, sys.modules[MODULE] = path, "", module
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        tree = ast.parse(source, path)
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(tree, path, "exec"), module.__dict__)
    except SystemExit as stop:
        what = f"the file called sys.exit({stop.code!r}): put it under if __name__ == '__main__':"
        raise UsageError(f"{place(path, stop)}: {what}") from stop
    except Exception as error:
        said = one_line(error).replace(f" ({Path(path).name}, line {getattr(error, 'lineno', None)})", "")
        raise UsageError(f"{place(path, error)}: {said}") from error
    else:
        yield module.__dict__, defined(tree)
    finally:
        sys.path[:] = before
        del sys.modules[MODULE]


def place(path: str, error: BaseException) -> str:
    """The file, and the line of it in which the error arose."""
    if isinstance(error, SyntaxError) and error.filename == path:
        line = error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == path), None)
    return f"{path}, line {line}" if line else path


def defined(tree: ast.Module) -> set[str]:
    """Names that the file gives to something itself, and does not import."""
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return found | {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def pairs(known: Mapping[str, Any], own: set[str]) -> Iterator[tuple[str, str]]:
    """(NAME, ending) in the file's order; a NAME_vjp alone is one too, while a NAME_grad alone may be anything."""
    for name, value in known.items():
        for ending in ENDINGS:
            stem = name.removesuffix(ending)
            if stem in ("", name) or not callable(value):
                continue
            if (name in own or f"{stem}_args" in known) and (ending == "_vjp" or callable(known.get(stem))):
                yield stem, ending


def checked(path: str, known: Mapping[str, Any], stem: str, ending: str) -> Report:
    """The report on one pair; code that raises is a failed check, and what cannot be checked a doubt."""
    f, derivative, title = known.get(stem), known[stem + ending], stem if ending == "_vjp" else stem + ending
    if not callable(f):
        return Report(title, doubts=(f"there is no function {stem} for {stem}{ending}: define it, or import it",))
    if f"{stem}_args" not in known:
        return Report(title, doubts=(f"no point: give {stem}_args = ({parameters(f)})",))
    try:
        point = known[f"{stem}_args"]
        args = point() if callable(point) else point
        if type(args) not in (tuple, list) or not len(args):
            raise UsageError(f"{stem}_args is {type(args).__name__}: give a tuple, {stem}_args = ({parameters(f)})")
        if ending == "_grad":
            x, *more = args
            return check(lambda x: f(x, *more), lambda dy, x: dy * derivative(x, *more), (x,), name=title)
        constants = known.get(f"{stem}_constants", ())
        return check(f, derivative, args, name=title, constants=(constants,) if type(constants) is str else constants)
    except UsageError as error:
        return Report(title, doubts=(str(error),))
    except (Exception, SystemExit) as error:
        raised = f"{type(error).__name__}: {error}".splitlines()[0]
        return Report(title, problems=(f"{place(path, error)} raised {raised}",))


def parameters(f: Callable[..., Any]) -> str:
    """What a tuple of f's arguments looks like."""
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = ["…"]
    return ", ".join(names) + "," * (len(names) == 1)
