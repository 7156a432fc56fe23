"""§7.2.5 Arguments as named blocks: nested tuples, NamedTuples, lists and dicts of arrays, in one order."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..types import Array

Path = tuple[str, ...]  # shown with dots: theta.hidden.0.W


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
    return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)


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
    key, *rest = path
    return rebuilt(tree, [replaced(b, tuple(rest), leaf) if k == key else b for k, b in children(tree) or []])


def is_float(leaf: Any) -> bool:
    """True for what can be differentiated: a float or complex array, NumPy scalar or Python number."""
    return isinstance(leaf, np.ndarray | np.generic | float | complex) and np.asarray(leaf).dtype.kind in "fc"


def like(leaf: Any, value: Array) -> Any:
    """value in the kind of leaf: a Python number where leaf is a scalar, else the array."""
    return value if isinstance(leaf, np.ndarray) else value.item()


def flat(tree: Any) -> Array:
    """All float leaves in one vector; leaves that are not floats are constants and left out."""
    parts = [np.ravel(leaf) for _, leaf in leaves(tree) if is_float(leaf)]
    return np.concatenate(parts) if parts else np.zeros(0)


def unchanged(tree: Any, other: Any) -> bool:
    """Whether all float leaves are bit for bit the same (a NaN equals a NaN)."""
    return np.array_equal(flat(tree), flat(other), equal_nan=True)


def copied(tree: Any) -> Any:
    """The same structure with every array copied."""
    return transform(lambda _, leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, tree)
