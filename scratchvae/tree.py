"""§7.2.4 Arguments as named blocks: nested tuples, NamedTuples, lists and dicts of arrays, in one order."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from .types import Array

Path = tuple[str, ...]  # shown with dots: theta.hidden.0.W
DEEP = 8  # names in a path: a limit for objects that point at one another
KINDS = {"f": "float", "c": "float", "i": "integer", "u": "integer", "b": "integer", "O": "object", "V": "object"}


def children(tree: Any) -> list[tuple[str, Any]] | None:
    """The named branches of a node, or None for a leaf."""
    if isinstance(tree, dict):
        return [(str(key), branch) for key, branch in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return list(zip(tree._fields, tree, strict=True))
    if isinstance(tree, tuple | list):
        return [(str(i), branch) for i, branch in enumerate(tree)]
    return None


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Each leaf with its path: (("theta", "hidden", "0", "W"), array)."""
    branches = children(tree)
    if branches is None:
        yield path, tree
        return
    for key, branch in branches:
        yield from leaves(branch, (*path, key))


def rebuilt(tree: Any, branches: list[Any]) -> Any:
    """A node of tree's kind with other branches."""
    if isinstance(tree, dict):
        return dict(zip(tree, branches, strict=True))
    if hasattr(tree, "_fields"):  # by name, for it may carry more than its fields (`conditional.Standardised`)
        return tree._replace(**dict(zip(tree._fields, branches, strict=True)))
    return type(tree)(branches)


def transform(fn: Callable[[Path, Any], Any], tree: Any, path: Path = ()) -> Any:
    """The same structure with fn(path, leaf) in place of each leaf."""
    branches = children(tree)
    if branches is None:
        return fn(path, tree)
    return rebuilt(tree, [transform(fn, branch, (*path, key)) for key, branch in branches])


def replaced(tree: Any, path: Path, leaf: Any) -> Any:
    """The same structure with another leaf at a path; all other branches are shared."""
    if not path:
        return leaf
    key, rest = path[0], path[1:]
    if hasattr(tree, "_fields"):
        return tree._replace(**{key: replaced(getattr(tree, key), rest, leaf)})
    return rebuilt(tree, [replaced(b, rest, leaf) if k == key else b for k, b in children(tree) or []])


def kind(leaf: Any) -> str:
    """What a leaf holds: "float", "integer" (bool among them), "object" for numbers that nobody can move from outside
    (a sparse matrix, an array of objects, a tensor), or "" for none (a string, a function)."""
    if isinstance(leaf, np.ndarray | np.generic | bool | int | float | complex):
        return KINDS.get(np.asarray(leaf).dtype.kind, "")
    return "object" if hasattr(leaf, "shape") and not isinstance(leaf, type | np.dtype) else ""


def is_float(leaf: Any) -> bool:
    """True for what can be differentiated: a float or complex array, NumPy scalar or Python number."""
    return kind(leaf) == "float"


def like(leaf: Any, value: Array) -> Any:
    """value in the kind of leaf: a Python number where leaf is a scalar, else the array."""
    return value if isinstance(leaf, np.ndarray) else value.item()


def flat(tree: Any) -> Array:
    """All float leaves in one vector; leaves that are not floats are constants and left out."""
    parts = [np.ravel(leaf) for _, leaf in leaves(tree) if is_float(leaf)]
    return np.concatenate(parts) if parts else np.zeros(0)


def numbers(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Array]]:
    """Every number and array of numbers, also those that objects hold as attributes (a sparse matrix, say)."""
    for at, leaf in leaves(tree, path):
        if kind(leaf) in ("float", "integer"):
            yield at, np.asarray(leaf)
        elif hasattr(leaf, "__array__") and not isinstance(leaf, type | np.ndarray):
            with contextlib.suppress(Exception):  # a tensor far away, say
                yield from ((at, a) for a in [np.asarray(leaf)] if kind(a) in ("float", "integer"))
        elif len(at) < DEEP and not callable(leaf) and not isinstance(leaf, ModuleType):
            yield from numbers(dict(getattr(leaf, "__dict__", {})), at)


def changes(tree: Any, other: Any) -> Iterator[Path]:
    """Where the numbers differ, or are in one alone; a NaN equals a NaN."""
    one, two = dict(numbers(tree)), dict(numbers(other))
    for path in one | two:
        a, b = one.get(path), two.get(path)
        if a is None or b is None or not np.array_equal(a, b, equal_nan=is_float(a)):
            yield path


def unchanged(tree: Any, other: Any) -> bool:
    """Whether all numbers are bit for bit the same (a NaN equals a NaN)."""
    return next(changes(tree, other), None) is None


def copied(tree: Any) -> Any:
    """The same structure with every array copied."""
    return transform(lambda _, leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, tree)


def zeros_like(tree: Any) -> Any:
    """A tree of the same structure and types, all arrays zero: to add cotangents into."""
    return transform(lambda _, leaf: np.zeros_like(leaf) if isinstance(leaf, np.ndarray) else leaf, tree)


def spare(tree: Any) -> Any:
    """A copy to write into, the insides of objects as well; what cannot be copied is shared."""

    def one(_: Path, leaf: Any) -> Any:
        try:
            return copy.deepcopy(leaf)
        except Exception:  # a lock, an open file, a graph's tensor
            return leaf

    return transform(one, tree)
