"""§7.2.4 What a pair owes before its numbers matter: purity, repeatability, cotangents shaped like arguments."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import CheckFailed, UsageError
from ..types import Array
from . import numeric
from .tree import Path, children, copied, flat, is_float, leaves, like, transform, unchanged


def argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """The blocks' names: f's own parameter names where Python knows them, else arg0, arg1, …"""
    try:
        parameters = [p.name for p in inspect.signature(f).parameters.values() if p.kind in (0, 1)]
    except (TypeError, ValueError):
        parameters = []
    return (parameters + [f"arg{i}" for i in range(len(parameters), count)])[:count]


def promote(args: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Own copies, floats in float64; says so where that changes the type."""

    def one(path: Path, leaf: Any) -> Any:
        name = ".".join(path)
        if not is_float(leaf):
            return leaf.copy() if isinstance(leaf, np.ndarray) else leaf
        if np.iscomplexobj(leaf):
            raise UsageError(f"{name} is complex; check real functions (the complex step needs the imaginary part)")
        if np.asarray(leaf).dtype != np.float64:
            notes.append(f"{name} came as {np.asarray(leaf).dtype} and was checked in float64")
        return like(leaf, np.array(leaf, dtype=np.float64))

    blocks: dict[str, Any] = transform(one, args)
    return blocks


def cotangent(f: Callable[..., Any], args: dict[str, Any], seed: int) -> Any:
    """A fixed cotangent dy for f's output; f must be finite, repeatable, and leave its arguments alone."""
    before = copied(args)
    out = f(*args.values())
    if changed := first_change(before, args):
        raise CheckFailed(f"f changed its argument {changed}: a pure function leaves arguments alone")
    if not flat(out).size:
        raise CheckFailed(f"f returned no floats ({type(out).__name__}): there is nothing to differentiate")
    if not np.all(np.isfinite(flat(out))):
        raise CheckFailed("f(*args) is not finite: choose arguments inside its domain")
    out = copied(out)  # f may return a buffer that it reuses
    if not unchanged(out, f(*args.values())):
        raise CheckFailed("f drew fresh noise between two calls with the same arguments: make the noise an argument")
    weights = iter(range(seed, seed + 10**6))
    return transform(
        lambda _, leaf: like(leaf, numeric.spread(next(weights), np.shape(leaf))) if is_float(leaf) else None, out
    )


def pull_back(f_vjp: Callable[..., Any], dy: Any, args: dict[str, Any]) -> Any:
    """f_vjp's answer, which must be the same twice and leave dy and args as they were."""
    before = copied({"dy": dy, **args})
    grads = copied(f_vjp(dy, *args.values()))
    if changed := first_change(before, {"dy": dy, **args}):
        raise CheckFailed(f"f_vjp changed its argument {changed}: a pure function leaves arguments alone")
    again = f_vjp(dy, *args.values())
    if flat(again).shape == flat(grads).shape and not unchanged(grads, again):
        raise CheckFailed("f_vjp gave other cotangents when called again: it draws fresh noise or keeps state")
    return grads


def first_change(before: Any, after: Any) -> str:
    """The path of the first leaf that differs."""
    pairs = zip(leaves(before), leaves(after), strict=True)
    return next((".".join(path) for (path, a), (_, b) in pairs if not unchanged(a, b)), "")


def matched(grads: Any, args: dict[str, Any]) -> dict[Path, Array]:
    """{path: cotangent} for every float leaf of args that f_vjp differentiates."""
    if len(args) == 1 and not (type(grads) is tuple and len(grads) == 1):
        grads = (grads,)
    if type(grads) not in (tuple, list) or len(grads) != len(args):
        got = f"{len(grads)} cotangents" if type(grads) in (tuple, list) else type(grads).__name__
        raise CheckFailed(
            f"f_vjp returned {got} for {len(args)} arguments ({', '.join(args)}): return one for each, "
            "None for what is not differentiated"
        )
    found: dict[Path, Array] = {}
    for (name, arg), grad in zip(args.items(), grads, strict=True):
        for path, leaf in leaves(arg, (name,)):
            value = follow(grad, path[1:])
            if value is None or not is_float(leaf):
                continue
            if np.shape(value) != np.shape(leaf):
                shapes = f"has shape {np.shape(value)}, expected {np.shape(leaf)}"
                raise CheckFailed(f"f_vjp's cotangent of {'.'.join(path)} {shapes}")
            found[path] = np.asarray(value, dtype=np.float64)
    if not found:
        raise CheckFailed("f_vjp returned no cotangent of a float argument: nothing was checked")
    return found


def follow(grad: Any, path: Path) -> Any:
    """The cotangent at a path; None as soon as a branch is None."""
    for i, key in enumerate(path):
        if grad is None:
            return None
        branches = dict(children(grad) or [])
        if key not in branches:
            raise CheckFailed(f"f_vjp's cotangent has no {'.'.join(path[: i + 1])}: expected the structure of args")
        grad = branches[key]
    return grad


def zeros_like(tree: Any) -> Any:
    """The same structure with zeros in place of float arrays; nothing else can be added into."""
    return transform(lambda _, leaf: np.zeros(leaf.shape) if is_array(leaf) else leaf, tree)


def is_array(leaf: Any) -> bool:
    """A leaf that can be added into."""
    return isinstance(leaf, np.ndarray) and is_float(leaf)


def doubled(first: Array, second: Array) -> bool:
    """Whether second is 2 first, but for rounding where terms cancel; a NaN passes here and fails by its number."""
    return np.allclose(second, 2 * first, rtol=1e-12, atol=1e-10 * np.max(np.abs(first), initial=0), equal_nan=True)


def accumulating(f_vjp: Callable[..., Any], into: Sequence[int]) -> Callable[..., Any]:
    """For a pair that adds parameter cotangents into buffers: the f_vjp that `check` expects, which also proves the +=.

    f_vjp is called as f_vjp(dy, *args, *buffers), one buffer of zeros with the structure of args[i] for each i in
    `into`, in that order (numbers outside arrays stay constants). What it returns belongs to the remaining args: one
    value, a tuple, or None. It is called twice on the same buffers: the second call must double them, or the check
    fails with a line that says which was assigned. For example, ``accumulating(dense_vjp, into=(1, 2))`` fits
    ``dense_vjp(dy, x, W, b, dW, db) -> dx``.
    """

    def vjp(dy: Any, *args: Any) -> tuple[Any, ...]:
        buffers = {i: zeros_like(args[i]) for i in into}
        returned = f_vjp(dy, *args, *buffers.values())
        once = transform(lambda _, leaf: leaf.copy() if is_array(leaf) else None, buffers)
        f_vjp(dy, *args, *buffers.values())
        for (path, first), (_, second) in zip(leaves(once), leaves(buffers), strict=True):
            if first is not None and not doubled(first, second):
                raise CheckFailed(
                    f"f_vjp did not add into the buffer for argument {'.'.join(path)}: a second call must double "
                    "the cotangent (+=, never =)"
                )
        rest = [i for i in range(len(args)) if i not in buffers]
        values = returned if type(returned) is tuple and len(rest) != 1 else (returned,)
        if returned is None:
            values = (None,) * len(rest)
        if len(values) != len(rest):
            raise CheckFailed(f"f_vjp returned {len(values)} cotangents for {len(rest)} arguments without a buffer")
        grads = once | dict(zip(rest, values, strict=True))
        return tuple(grads[i] for i in range(len(args)))

    return vjp
