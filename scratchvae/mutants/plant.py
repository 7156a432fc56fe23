"""§7.2 Planting an error: the code object of a function is exchanged, and put back at the end of the block.

The function object stays the same, so kernel tables, `from … import` and bound methods all run the mutant.
"""

import ast
import contextlib
import importlib
import inspect
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError

FunctionDef = ast.FunctionDef


class Edit(NamedTuple):
    """In `function` ("Normal.kl" for a method) of `module` ("distributions"), the text `old` becomes `new`."""

    module: str
    function: str
    old: str
    new: str


class Target(NamedTuple):
    """A function that can be mutated: where it is, the object itself, and its syntax tree."""

    module: types.ModuleType
    name: str
    function: Any  # a types.FunctionType, which a type checker takes for a method here
    tree: FunctionDef

    @property
    def label(self) -> str:
        """ "kernels.normal.normal_kl_np"."""
        return f"{self.module.__name__.removeprefix('scratchvae.')}.{self.name}"


def targets(module_name: str) -> Iterator[Target]:
    """Every plain function and method that a module defines; compiled twins (`_nb`) are the statement's copies."""
    yield from targets_in(importlib.import_module(module_name))


def targets_in(module: types.ModuleType) -> Iterator[Target]:
    """The same of a module at hand."""
    for node in ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8")).body:
        found = [(node, "")] if isinstance(node, FunctionDef) else []
        if isinstance(node, ast.ClassDef):
            found = [(item, f"{node.name}.") for item in node.body if isinstance(item, FunctionDef)]
        for item, prefix in found:
            function = plain(module, prefix + item.name)
            if function is not None and not item.name.endswith("_nb"):
                yield Target(module, prefix + item.name, function, item)


def plain(module: types.ModuleType, name: str) -> types.FunctionType | None:
    """The Python function behind a dotted name, also of a property; None for anything else."""
    found: Any = module
    for part in name.split("."):
        found = inspect.getattr_static(found, part, None)
    found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    return inspect.unwrap(found) if isinstance(found, types.FunctionType) else None  # beneath a decorator


def code_of(tree: FunctionDef, target: Target) -> types.CodeType:
    """The code object of a changed syntax tree, compiled where the original stood: a method in its class."""
    owner, free = target.name.rpartition(".")[0], target.function.__code__.co_freevars  # __class__, of super()
    body = [*([ast.Expr(ast.Name("__class__", ast.Load()))] if free else []), *tree.body]
    made: ast.stmt = ast.FunctionDef(**{**dict(ast.iter_fields(tree)), "decorator_list": [], "body": body})
    if owner:
        made = ast.ClassDef(owner, [], [], [made], [])
    scope = dict(vars(target.module))
    module = ast.fix_missing_locations(ast.Module([ast.copy_location(made, tree)], []))
    exec(compile(module, target.module.__file__ or "?", "exec"), scope)
    found = vars(scope[owner])[tree.name] if owner else scope[tree.name]
    code: types.CodeType = getattr(found, "__func__", found).__code__
    return code


@contextlib.contextmanager
def swapped(function: types.FunctionType, code: types.CodeType) -> Iterator[None]:
    """`function` runs `code` inside the block."""
    before, function.__code__ = function.__code__, code
    try:
        yield
    finally:
        function.__code__ = before


@contextlib.contextmanager
def planted(edits: Iterable[Edit]) -> Iterator[None]:
    """All edits in force inside the block. Raises UsageError where a text to be replaced is not there exactly once."""
    with contextlib.ExitStack() as stack:
        for (module, name), group in grouped(edits).items():
            found = {t.name: t for t in targets(f"scratchvae.{module}")}
            if name not in found:
                raise UsageError(f"scratchvae.{module} has no function {name!r} to plant an error in")
            target = found[name]
            source = inspect.cleandoc("\n" + inspect.getsource(target.function))
            for old, new in group:
                if source.count(old) != 1:
                    raise UsageError(f"{target.label} holds {source.count(old)} times {old!r}; expected once")
                source = source.replace(old, new)
            tree = ast.parse(source).body[0]
            assert isinstance(tree, FunctionDef)
            stack.enter_context(swapped(target.function, code_of(tree, target)))
        yield


def grouped(edits: Iterable[Edit]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The edits of each function together: a function is compiled once."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for edit in edits:
        groups.setdefault((edit.module, edit.function), []).append((edit.old, edit.new))
    return groups
