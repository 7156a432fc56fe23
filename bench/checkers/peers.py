"""§7.2.4 Five gradient checkers, each asked about the same NumPy f and f_vjp, at the defaults that its manual names.

torch      autograd.Function that calls NumPy, `torch.autograd.gradcheck`
jax        custom_vjp over pure_callback with x64, `jax.test_util.check_grads(order=1, modes=("rev",))`: what a
           callback allows
scipy      `scipy.optimize.check_grad` of ⟨dy, f⟩ as a function of one vector of float64. It returns the error's norm
           and names no bound; ours for it is 1e-5 max(1, ‖gradient‖)
autograd   primitive and defvjp, `autograd.test_util.check_grads(modes=["rev"], order=1)`: NumPy takes no second order
"""

import importlib
import importlib.metadata
import logging
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

import scratchvae
from scratchvae.gradcheck import check
from scratchvae.gradcheck.contract import argument_names, by_argument, pairs
from scratchvae.gradcheck.numeric import spread
from scratchvae.tree import is_float, kind, leaves, like, transform
from scratchvae.types import Array

from .family import Case

SCIPY_BOUND = 1e-5
DENSE_JACOBIAN = 2000  # elements: above, torch's Jacobian has no place in memory, and its fast_mode is asked
Said = tuple[str, str]  # a verdict, and why


class Flat(NamedTuple):
    """A case as functions of lists of arrays: `x` are the leaves that are no constants."""

    f: Callable[[list[Any]], list[Array]]
    vjp: Callable[[list[Any], list[Any]], list[Array]]
    x: list[Array]


class CannotRun(Exception):
    """What a checker cannot be asked, in words."""


def flattened(case: Case) -> Flat:
    """Any structure as lists."""
    args = dict(zip(argument_names(case.f, len(case.args)), case.args, strict=True))
    fixed = [f"{name}." for name in case.constants]
    moved = {path: leaf for path, leaf in leaves(args) if not any(f"{'.'.join(path)}.".startswith(n) for n in fixed)}
    moved = {path: leaf for path, leaf in moved.items() if is_float(leaf) or kind(leaf) == "integer"}
    if any(kind(leaf) == "integer" for leaf in moved.values()):
        raise CannotRun("integers have no cotangent there")
    if "adds into buffers" in case.name or "for +=" in case.name:
        raise CannotRun("adds into buffers of its own")
    skeleton = case.f(*case.args)

    def put(xs: list[Any]) -> dict[str, Any]:
        values = dict(zip(moved, xs, strict=True))
        return transform(lambda path, leaf: like(leaf, values[path]) if path in values else leaf, args)

    def f(xs: list[Any]) -> list[Array]:
        return [np.array(leaf) for _, leaf in leaves(case.f(*put(xs).values())) if is_float(leaf)]

    def vjp(dys: list[Any], xs: list[Any]) -> list[Array]:
        rest, at = iter(dys), put(xs)
        dy = transform(lambda _, leaf: like(leaf, next(rest)) if is_float(leaf) else None, skeleton)
        found = {path: grad for path, _, grad in pairs(at, by_argument(case.f_vjp(dy, *at.values()), at))}
        grads = [np.zeros(np.shape(leaf)) if found[path] is None else found[path] for path, leaf in moved.items()]
        return [np.array(grad, dtype=np.result_type(x)) for grad, x in zip(grads, xs, strict=True)]

    return Flat(f, vjp, [np.array(x, dtype=np.asarray(x).dtype.newbyteorder("=")) for x in moved.values()])


def ours(case: Case) -> Said:
    """`scratchvae.gradcheck.check`."""
    report = check(case.f, case.f_vjp, case.args, constants=case.constants)
    said = [*report.problems, *report.doubts, *(f"{m}" for row in report.failed() for m in row.measures if not m.ok)]
    return report.verdict, said[0] if said else ""


def torch(case: Case) -> Said:
    """`torch.autograd.gradcheck`."""
    lib, grads_of = importlib.import_module("torch"), importlib.import_module("torch.autograd.gradcheck")
    flat = flattened(case)

    def forward(ctx: Any, *xs: Any) -> Any:
        ctx.save_for_backward(*xs)
        return tuple(lib.from_numpy(y) for y in flat.f([x.detach().numpy() for x in xs]))

    def backward(ctx: Any, *dys: Any) -> Any:
        grads = flat.vjp([dy.numpy() for dy in dys], [x.detach().numpy() for x in ctx.saved_tensors])
        return tuple(map(lib.from_numpy, grads))

    passes = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    pair = cast(Any, type("Pair", (lib.autograd.Function,), passes))
    xs = [lib.from_numpy(x).requires_grad_() for x in flat.x]
    try:
        grads_of.gradcheck(pair.apply, xs, fast_mode=sum(x.size for x in flat.x) > DENSE_JACOBIAN)
    except grads_of.GradcheckError as error:
        return "wrong", str(error)
    return "ok", ""


def jax(case: Case) -> Said:
    """`jax.test_util.check_grads`."""
    lib: Any = importlib.import_module("jax")
    lib.config.update("jax_enable_x64", True)
    logging.getLogger("jax").setLevel(logging.CRITICAL)  # it prints what a callback raises
    flat = flattened(case)
    shapes = tuple(lib.ShapeDtypeStruct(y.shape, y.dtype) for y in flat.f(flat.x))

    def value(*xs: Any) -> Any:
        return lib.pure_callback(lambda *xs: tuple(flat.f([*map(np.asarray, xs)])), shapes, *xs)

    def backward(xs: Any, dys: Any) -> Any:
        like_x = tuple(lib.ShapeDtypeStruct(x.shape, x.dtype) for x in xs)
        return lib.pure_callback(lambda dys, xs: tuple(flat.vjp([*map(np.asarray, dys)], [*map(np.asarray, xs)])),
                                 like_x, dys, xs)  # fmt: skip

    pair = lib.custom_vjp(value)
    pair.defvjp(lambda *xs: (value(*xs), xs), backward)
    try:
        importlib.import_module("jax.test_util").check_grads(pair, flat.x, order=1, modes=("rev",))
    except AssertionError as error:
        return "wrong", str(error)
    return "ok", ""


def scipy(case: Case) -> Said:
    """`scipy.optimize.check_grad`."""
    flat = flattened(case)
    ends = np.cumsum([x.size for x in flat.x])[:-1]
    dys = [np.asarray(spread(i, y.shape)) for i, y in enumerate(flat.f(flat.x))]

    def split(v: Array) -> list[Array]:
        return [part.reshape(x.shape) for part, x in zip(np.split(v, ends), flat.x, strict=True)]

    def value(v: Array) -> float:
        return float(sum(np.vdot(dy, y) for dy, y in zip(dys, flat.f(split(v)), strict=True)))

    def gradient(v: Array) -> Array:
        return np.concatenate([np.ravel(g) for g in flat.vjp([dy.copy() for dy in dys], split(v))])

    v = np.concatenate([np.ravel(x).astype(float) for x in flat.x])
    error = float(importlib.import_module("scipy.optimize").check_grad(value, gradient, v))
    bound = SCIPY_BOUND * max(1.0, float(np.linalg.norm(gradient(v))))
    return ("ok", "") if error <= bound else ("wrong", f"error {error:.1e}, {bound:.1e} allowed")


def autograd(case: Case) -> Said:
    """`autograd.test_util.check_grads`."""
    extend: Any = importlib.import_module("autograd.extend")
    flat = flattened(case)
    several = len(flat.f(flat.x)) > 1

    def value(*xs: Any) -> Any:
        out = flat.f(list(xs))
        return tuple(out) if several else out[0]

    def back(i: int) -> Callable[..., Any]:
        return lambda _, *xs: lambda dy: flat.vjp(list(dy) if several else [dy], list(xs))[i]

    pair = extend.primitive(value)
    extend.defvjp(pair, *map(back, range(len(flat.x))))
    np.random.seed(0)  # noqa: NPY002  # its directions come from there
    try:
        check_grads: Any = importlib.import_module("autograd.test_util").check_grads
        check_grads(pair, tuple(range(len(flat.x))), modes=["rev"], order=1)(*flat.x)
    except AssertionError as error:
        return "wrong", str(error)
    return "ok", ""


CHECKERS: dict[str, Callable[[Case], Said]] = {f.__name__: f for f in (ours, torch, jax, scipy, autograd)}


def version(name: str) -> str:
    """Of a checker's package; ImportError where it is missing."""
    return scratchvae.__version__ if name == "ours" else importlib.metadata.version(name)


def asked(name: str, case: Case) -> Said:
    """What this checker says of this case; "cannot run" where it raised something that is no verdict."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return CHECKERS[name](case)
        except CannotRun as error:
            return "cannot run", str(error)
        except Exception as error:
            return "cannot run", f"raised {type(error).__name__}: {(str(error).splitlines() or [''])[-1][:100]}"
