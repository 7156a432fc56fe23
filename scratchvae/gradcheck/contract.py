"""§7.2.4 What a pair owes before its numbers matter: purity, repeatability, cotangents shaped like arguments."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckFailed, UsageError
from ..tree import (
    Path,
    changes,
    children,
    copied,
    flat,
    is_float,
    kind,
    leaves,
    like,
    replaced,
    spare,
    transform,
    unchanged,
)
from ..types import Array
from . import numeric


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
        if is_masked(leaf) or isinstance(leaf, np.matrix):
            way = "filled, and the mask as an argument" if is_masked(leaf) else "np.asarray of it"
            raise UsageError(f"{name} is a {type(leaf).__name__}: pass a plain array ({way})")
        if not is_float(leaf):
            return spare(leaf)
        if np.iscomplexobj(leaf):
            raise UsageError(f"{name} is complex; check real functions (the complex step needs the imaginary part)")
        if np.asarray(leaf).dtype != np.float64:
            notes.append(f"{name} came as {np.asarray(leaf).dtype} and was checked in float64")
        return like(leaf, np.array(leaf, dtype=np.float64))

    blocks: dict[str, Any] = transform(one, args)
    return blocks


def cotangent(f: Callable[..., Any], args: dict[str, Any], seed: int) -> Any:
    """A fixed cotangent dy for f's output; f must be finite, repeatable, and leave its arguments alone."""
    before = spare(args)
    out = f(*args.values())
    if changed := first_change(before, args):
        raise CheckFailed(f"f changed its argument {changed}: a pure function leaves arguments alone")
    if hidden := [type(leaf).__name__ for _, leaf in leaves(out) if kind(leaf) == "object" or is_masked(leaf)]:
        raise CheckFailed(f"f returned a {hidden[0]}: return plain arrays, in which everything can be seen")
    if not flat(out).size:
        raise CheckFailed(f"f returned no floats ({type(out).__name__}): there is nothing to differentiate")
    if np.iscomplexobj(flat(out)):
        raise CheckFailed("f returned complex numbers: check real functions, say the real and the imaginary part")
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
    before = spare({"dy": dy, **args})
    grads = copied(f_vjp(dy, *args.values()))
    if changed := first_change(before, {"dy": dy, **args}):
        raise CheckFailed(f"f_vjp changed its argument {changed}: a pure function leaves arguments alone")
    again = f_vjp(dy, *args.values())
    if not unchanged(grads, again):
        raise CheckFailed("f_vjp gave other cotangents when called again: it draws fresh noise or keeps state")
    return grads


def block_of(f: Callable[..., Any], args: dict[str, Any], path: Path) -> numeric.Function:
    """All of f's outputs as a function of one leaf, the others held where they are."""
    leaf = dict(leaves(args))[path]
    return lambda value: flat(f(*replaced(args, path, like(leaf, value)).values()))


def first_change(before: Any, after: Any) -> str:
    """The path of the first leaf that differs."""
    return next((".".join(path) for path in changes(before, after)), "")


def untouched(name: str, f: Callable[..., Any], **args: Any) -> Any:
    """f(*args) of somebody's f, called `name`, on copies. Raises UsageError if it wrote into one: each later call, and
    the caller, would find other numbers there."""
    spares = spare(args)
    out = f(*spares.values())
    if changed := first_change(args, spares):
        raise UsageError(f"{name} changed its argument {changed}: it must leave arguments alone, and write into copies")
    return out


def in_floats(f: Callable[..., Any]) -> Callable[..., Any]:
    """f of integers, its integers as floats: 3² is 9, and has a slope. Where f returns a float it is f itself."""

    def one(_: Path, leaf: Any) -> Any:
        return like(leaf, np.asarray(leaf, dtype=np.float64)) if np.asarray(leaf).dtype.kind in "iu" else leaf

    def g(*args: Any) -> Any:
        out = f(*args)
        return out if has_floats(out) else transform(one, out)

    return g


def has_floats(tree: Any) -> bool:
    """Whether there is a float in it."""
    return any(is_float(leaf) for _, leaf in leaves(tree))


def is_masked(leaf: Any) -> bool:
    """An array with a mask, which NumPy's functions lose on the way."""
    return isinstance(leaf, np.ma.MaskedArray)


class Claims(NamedTuple):
    """What f_vjp says of each leaf of the arguments: `grads` can be checked, `silent` are numbers that got None; what
    is wrong, and what nobody can tell."""

    grads: dict[Path, Array]
    silent: list[Path]
    notes: list[str]
    problems: list[str]
    doubts: list[str]


def claims(grads: Any, args: dict[str, Any], constants: Sequence[str]) -> Claims:
    """Every cotangent and every None, sorted: nothing is left out without a word."""
    found = Claims({}, [], [], [], [])
    integers: list[Path] = []
    for path, leaf, value in pairs(args, by_argument(grads, args)):
        name = ".".join(path)
        if value is not None and kind(leaf) in ("float", "integer"):
            found.grads[path] = as_cotangent(name, leaf, value)
        elif value is not None and not isinstance(leaf, str):  # no number, so no cotangent: a name within a structure
            what = f"{name} is {type(leaf).__name__}: the cotangent that f_vjp returned for it was not checked"
            found.doubts.append(f"{what}; let f take plain arrays and build it inside")
        elif kind(leaf) and not any(f"{name}.".startswith(f"{one}.") for one in constants):
            (integers if kind(leaf) == "integer" else found.silent).append(path)
    if integers:
        shown = ", ".join(".".join(path) for path in integers[:4]) + ", …" * (len(integers) > 4)
        found.notes.append(f"integers without a cotangent are constants: {shown}")
    return found


def by_argument(grads: Any, args: dict[str, Any]) -> dict[str, Any]:
    """{argument: what f_vjp returned for it}."""
    if len(args) == 1 and not (type(grads) is tuple and len(grads) == 1):
        grads = (grads,)
    if type(grads) not in (tuple, list) or len(grads) != len(args):
        got = f"{len(grads)} cotangents" if type(grads) in (tuple, list) else type(grads).__name__
        raise CheckFailed(
            f"f_vjp returned {got} for {len(args)} arguments ({', '.join(args)}): return one for each, "
            "None for what is not differentiated"
        )
    return dict(zip(args, grads, strict=True))


def pairs(arg: Any, grad: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """(path, leaf, cotangent) for every leaf of the arguments; None for a whole branch is None for its leaves."""
    branches = children(arg)
    if branches is None:
        yield path, arg, grad
        return
    wanted = dict(branches)
    given = dict.fromkeys(wanted) if grad is None else dict(children(grad) or [])
    for wrong, keys in (("no", wanted.keys() - given.keys()), ("an extra", given.keys() - wanted.keys())):
        for key in sorted(keys):
            at = ".".join((*path, key))
            raise CheckFailed(f"f_vjp's cotangent has {wrong} {at}: expected the structure of args")
    for key, branch in branches:
        yield from pairs(branch, given[key], (*path, key))


def as_cotangent(name: str, leaf: Any, value: Any) -> Array:
    """A cotangent in float64, of its leaf's shape; a sparse one (SciPy's) is written out."""
    try:
        plain = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    except ValueError:  # a ragged list
        plain = np.asarray(None)
    if is_masked(value) or plain.dtype.kind not in "fiub":
        what = f"{type(value).__name__} of {plain.dtype}"
        raise CheckFailed(f"f_vjp's cotangent of {name} is {what}: return a plain array of real numbers")
    if plain.shape != np.shape(leaf):
        raise CheckFailed(f"f_vjp's cotangent of {name} has shape {plain.shape}, expected {np.shape(leaf)}")
    return plain.astype(np.float64)


def promoted(f: Callable[..., Any], args: dict[str, Any], said: Claims) -> dict[str, Any]:
    """args with integers that got a cotangent as floats; a problem where f is not the same function of floats."""
    for path, leaf in [(path, leaf) for path, leaf in leaves(args) if path in said.grads and kind(leaf) == "integer"]:
        name, moved = ".".join(path), replaced(args, path, like(leaf, np.asarray(leaf, dtype=np.float64)))
        if reason := otherwise(f, args, moved):
            del said.grads[path]
            what = f"{name} is {np.asarray(leaf).dtype}, and {reason}: its cotangent was not checked"
            said.doubts.append(f"{what}; return None for a constant")
        else:
            args = moved
            said.notes.append(f"{name} came as {np.asarray(leaf).dtype} and was checked in float64")
    return args


def otherwise(f: Callable[..., Any], args: dict[str, Any], moved: dict[str, Any]) -> str:
    """Why f of `moved` is not f of args, or ""."""
    out = flat(f(*args.values()))
    try:
        found = flat(f(*moved.values()))
    except Exception as error:  # an index, say
        return f"f refuses floats there ({one_line(error)})"
    same = found.shape == out.shape and np.allclose(found, out, rtol=1e-6, atol=1e-6 * np.max(np.abs(out)))
    return "" if same else "f gives other numbers for floats there"


def want_whole(least: int, **given: Any) -> None:
    """Refuse what is no whole number, or is less."""
    for name, value in given.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise UsageError(f"{name} is {value!r}; expected a whole number, {least} or more")


def want_positive(what: str = "", **given: Any) -> None:
    """Refuse what is no number above zero."""
    for name, value in given.items():
        if not isinstance(value, Real) or not float(value) > 0:
            raise UsageError(f"{name} is {value!r}; expected a positive number{what}")


def one_line(error: Exception) -> str:
    """What somebody's code said, cut to a line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:90]}"


def buffers_like(tree: Any) -> Any:
    """The same structure with zeros in place of float arrays; nothing else can be added into."""
    return transform(lambda _, leaf: np.zeros(leaf.shape) if is_array(leaf) else leaf, tree)


def is_array(leaf: Any) -> bool:
    """A leaf whose cotangents can be added into a buffer: an array of floats, or of integers that stand for floats."""
    return isinstance(leaf, np.ndarray) and kind(leaf) in ("float", "integer")


def said_of(leaf: Any, buffer: Any) -> Any:
    """What a buffer says: nothing where it is none, or where nothing was added for an array of integers."""
    return buffer.copy() if is_array(leaf) and (is_float(leaf) or buffer.any()) else None


def doubled(first: Array, second: Array) -> bool:
    """Whether second is 2 first, but for rounding where terms cancel; a NaN passes here and fails by its number."""
    largest = np.max(np.abs(first), initial=0, where=np.isfinite(first))
    return np.allclose(second, 2 * first, rtol=1e-12, atol=1e-10 * largest, equal_nan=True)


def accumulating(f_vjp: Callable[..., Any], into: Sequence[int]) -> Callable[..., Any]:
    """For a pair that adds parameter cotangents into buffers: the f_vjp that `check` expects, which also proves the +=.

    f_vjp is called as f_vjp(dy, *args, *buffers), one buffer of zeros with the structure of args[i] for each i in
    `into`, in that order (numbers outside arrays have none: name them in check's `constants`). What it returns belongs
    to the remaining args: one value, a tuple, or None. It is called twice on the same buffers: the second call must
    double them, or the check fails with a line that says which was assigned. For example,
    ``accumulating(dense_vjp, into=(1, 2))`` fits ``dense_vjp(dy, x, W, b, dW, db) -> dx``.
    """

    if isinstance(into, str) or not all(isinstance(i, int) for i in into):
        raise UsageError(f"into is {into!r}; expected places among args, as (1, 2) for the second and the third")

    def vjp(dy: Any, *args: Any) -> tuple[Any, ...]:
        buffers = {i: buffers_like(args[i]) for i in into}
        returned = f_vjp(dy, *args, *buffers.values())
        given = dict(leaves({i: args[i] for i in into}))
        once = transform(lambda path, buffer: said_of(given[path], buffer), buffers)
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
