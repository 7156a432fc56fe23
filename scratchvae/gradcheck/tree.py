"""§7.2.5 Arguments as named blocks: nested tuples, NamedTuples, lists and dicts of arrays, in one order."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..types import Array


def children(tree: Any) -> list[tuple[str, Any]] | None:
    """The named branches of a node, or None for a leaf."""
    if isinstance(tree, dict):
        return [(str(key), branch) for key, branch in tree.items()]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return list(zip(tree._fields, tree, strict=True))
    if isinstance(tree, tuple | list):
        return [(str(i), branch) for i, branch in enumerate(tree)]
    return None


def leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf with its dotted path: ("theta.hidden.0.W", array)."""
    branches = children(tree)
    if branches is None:
        yield name, tree
        return
    for key, branch in branches:
        yield from leaves(branch, f"{name}.{key}" if name else key)


def transform(fn: Callable[[str, Any], Any], tree: Any, name: str = "") -> Any:
    """The same structure with fn(path, leaf) in place of each leaf."""
    branches = children(tree)
    if branches is None:
        return fn(name, tree)
    values = [transform(fn, branch, f"{name}.{key}" if name else key) for key, branch in branches]
    if isinstance(tree, dict):
        return dict(zip(tree, values, strict=True))
    return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)


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
