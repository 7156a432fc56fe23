"""§7.2.4 Functions of other frameworks as pairs in NumPy: `check` judges the backward that somebody wrote there.

`f` runs their forward and `f_vjp` their backward, both in float64: what is compared is their own rule and the numerical
derivative of their own function. Each framework is imported when its adapter is called. SciPy's objectives need none:
`check_gradient`.

    check(*of_torch(Swish.apply), (x,))            torch.autograd.Function, a function of tensors
    check(*of_torch(net), (parameters_of(net), x))    torch.nn.Module
    check(*of_jax(swish), (x,))                    jax.custom_vjp, or any function that JAX differentiates
    check(*of_autograd(swish), (x,))               an autograd primitive with its defvjp
    check(*of_numba(swish, swish_vjp), (x,))       two compiled functions
    check(*of_pytensor(Swish()), (x,))             a PyTensor Op, or a function of variables
"""

import copy
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import UsageError
from ..tree import Path, is_float, leaves, transform
from ..types import Array

Function = Callable[..., Any]
Pair = tuple[Function, Function]
CLOSED = "parameters that f closes over are not checked: pass them as arguments"


def floats(args: Any) -> dict[Path, Any]:
    """The float leaves by path."""
    return {path: leaf for path, leaf in leaves(args) if is_float(leaf)}


def filled(args: Any, found: dict[Path, Any]) -> Any:
    """The same structure with other leaves at some paths."""
    return transform(lambda path, leaf: found.get(path, leaf), args)


def grads(args: Any, paths: Iterable[Path], values: Iterable[Any]) -> Any:
    """A cotangent in NumPy for each of paths, None for every other leaf."""
    found = dict(zip(paths, values, strict=True))
    return transform(lambda path, _: None if found.get(path) is None else np.asarray(found[path]), args)


def weights(dy: Any) -> list[Array]:
    """The cotangents of the float outputs, in order."""
    return [leaf for _, leaf in leaves(dy) if leaf is not None]


def want(adapter: str, function: Any, what: str) -> None:
    """Refuse what cannot be called, and a class that only makes what can."""
    if not callable(function) or isinstance(function, type):
        got = f"the class {function.__name__}" if isinstance(function, type) else type(function).__name__
        raise UsageError(f"{adapter} got {got}: give {what}")


def named(f: Function, source: Any, parameters: Function | None = None, drop: int = 0, first: str = "") -> Function:
    """f under the name of source, its arguments under those of `parameters`, without the first `drop` of them."""
    f.__name__ = str(getattr(source, "__name__", type(source).__name__))
    try:
        own = list(inspect.signature(parameters or source).parameters.values())[drop:]
    except (TypeError, ValueError):
        return f
    front = [inspect.Parameter(first, inspect.Parameter.POSITIONAL_ONLY)] if first else []
    f.__signature__ = inspect.Signature([*front, *own])  # type: ignore[attr-defined]
    return f


def of_torch(function: Any) -> Pair:
    """A `torch.autograd.Function`, a module, or a function of tensors.

    A module's pair is f(parameters, *inputs), and `parameters_of(module)` are the first, by name; f works on a copy of
    the module in float64, with fresh copies of its buffers in every call. Where backward returns None, so does f_vjp.
    A function that closes over parameters is checked without them, and the report says so.
    """
    import torch

    is_rule = isinstance(function, type) and issubclass(function, torch.autograd.Function)
    if not is_rule:
        want("of_torch", function, "an autograd.Function, a module or a function")
    is_module = isinstance(function, torch.nn.Module)
    run = of_module(function) if is_module else function.apply if is_rule else function

    def f(*args: Any) -> Any:
        with torch.no_grad():
            out = run(*tensors(args, False))
        return transform(lambda _, leaf: leaf.numpy(force=True) if torch.is_tensor(leaf) else leaf, out)

    def f_vjp(dy: Any, *args: Any) -> Any:
        inputs = tensors(args, True)
        at = {path: dict(leaves(inputs))[path] for path in floats(args)}
        outs = [leaf for _, leaf in leaves(run(*inputs)) if torch.is_tensor(leaf) and leaf.is_floating_point()]
        given = [(y, torch.tensor(w).to(y)) for y, w in zip(outs, weights(dy), strict=True) if y.requires_grad]
        f_vjp.notes = [CLOSED] * closes_over(outs, at.values())  # type: ignore[attr-defined]
        if not given:
            return grads(args, (), ())
        ys, ws = zip(*given, strict=True)
        return grads(args, at, torch.autograd.grad(ys, list(at.values()), ws, allow_unused=True))

    ctx = is_rule and function.setup_context is torch.autograd.Function.setup_context  # forward(ctx, x), the old style
    forward = function.forward if is_rule or is_module else None
    return named(f, function, forward, int(ctx), "parameters" * is_module), f_vjp


def tensors(args: Any, grad: bool) -> Any:
    """Arrays as tensors, floats in float64, or all in complex128 where one is complex."""
    import torch

    wide = np.complex128 if any(map(np.iscomplexobj, floats(args).values())) else np.float64

    def one(_: Path, leaf: Any) -> Any:
        if is_float(leaf):
            return torch.tensor(np.array(leaf, wide, order="C"), requires_grad=grad)
        return torch.tensor(np.array(leaf, order="C")) if isinstance(leaf, np.ndarray) else leaf

    return transform(one, args)


def closes_over(outs: Iterable[Any], own: Iterable[Any]) -> bool:
    """Whether torch would add gradients into tensors other than `own`."""
    todo, seen, known = [y.grad_fn for y in outs], set[Any](), {id(x) for x in own}  # == of tensors is by element
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if type(node).__name__ == "AccumulateGrad" and id(node.variable) not in known:
                return True
            todo += [before for before, _ in node.next_functions]
    return False


def of_module(module: Any) -> Function:
    """(parameters, *inputs) -> what a copy of the module in float64 says; a call leaves no trace in it."""
    import torch

    own = copy.deepcopy(module).double()

    def run(parameters: Any, *inputs: Any) -> Any:
        if not isinstance(parameters, dict):
            raise UsageError("a module's args are (parameters_of(module), *inputs)")
        buffers = {name: buffer.clone() for name, buffer in own.named_buffers()}
        return torch.func.functional_call(own, {**buffers, **parameters}, inputs)

    return run


def parameters_of(module: Any) -> dict[str, Array]:
    """A torch module's parameters by name, in NumPy and float64."""
    return {name: value.detach().double().numpy(force=True) for name, value in module.named_parameters()}


def of_jax(function: Function) -> Pair:
    """A `jax.custom_vjp` or `custom_jvp`, or any function of arrays that JAX differentiates, with x64 on."""
    want("of_jax", function, "a custom_vjp or a function")
    import jax

    x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

    def f(*args: Any) -> Any:
        with x64(True):
            at = {path: jax.numpy.asarray(leaf) for path, leaf in floats(args).items()}
            return transform(lambda _, leaf: as_numpy(leaf), function(*filled(args, at)))

    def f_vjp(dy: Any, *args: Any) -> Any:
        paths = list(floats(args))

        def run(*values: Any) -> Any:
            out = function(*filled(args, dict(zip(paths, values, strict=True))))
            return [y for _, y in leaves(out) if jax.numpy.issubdtype(jax.numpy.result_type(y), jax.numpy.floating)]

        with x64(True):
            outs, pull = jax.vjp(run, *map(jax.numpy.asarray, floats(args).values()))
            dys = [jax.numpy.asarray(w, y.dtype) for y, w in zip(outs, weights(dy), strict=True)]
            return grads(args, paths, pull(dys))

    return named(f, function), f_vjp


def as_numpy(leaf: Any) -> Any:
    """An array of NumPy's in place of a framework's."""
    return np.asarray(leaf) if hasattr(leaf, "__array__") else leaf


def of_autograd(function: Function) -> Pair:
    """An autograd primitive with its defvjp, or a function of them. An argument that defvjp left out gets None."""
    want("of_autograd", function, "a primitive or a function")
    import autograd

    def f_vjp(dy: Any, *args: Any) -> Any:
        def slope(path: Path, x: Any) -> Any:
            def total(value: Any) -> Any:
                found = leaves(function(*filled(args, {path: value})))
                outs = [y for _, y in found if autograd.tracer.isbox(y) or is_float(y)]
                return sum(autograd.numpy.sum(w * y) for y, w in zip(outs, weights(dy), strict=True))

            try:
                return autograd.make_vjp(total)(x)[0](1.0)
            except NotImplementedError:
                return None

        found = {path: slope(path, x) for path, x in floats(args).items()}
        return grads(args, found, found.values())

    def f(*args: Any) -> Any:
        return function(*args)

    return named(f, function, getattr(function, "fun", None)), f_vjp


def of_numba(function: Any, function_vjp: Function) -> Pair:
    """Two compiled functions: as they are for floats, `function.py_func` for the complex step (no compilation then).

    The complex step is taken only where the two agree, by central differences of the compiled one.
    """
    if not hasattr(function, "py_func"):
        raise UsageError(
            f"{function!r} has no py_func: give what numba.njit returned, or check the functions as they are"
        )

    @functools.wraps(function.py_func)
    def f(*args: Any) -> Any:
        run = function.py_func if any(map(np.iscomplexobj, floats(args).values())) else function
        return run(*args)

    return f, function_vjp


def of_pytensor(function: Any) -> Pair:
    """A PyTensor Op or a function of variables: perform, and pullback (or L_op, grad), in Python and without rewrites.

    Where the rule says that a gradient is undefined or disconnected, f_vjp says None. A graph is made once for each
    set of types, so that what is no array in args is that of the first call.
    """
    want("of_pytensor", function, "an Op, as in Swish(), or a function of variables")
    made: dict[Any, tuple[Function, Any, list[Path]]] = {}

    def call(args: Any, *dys: Array, pull: bool) -> tuple[list[Any], Any, list[Path]]:
        arrays = {path: np.asarray(x) for path, x in leaves(args) if is_float(x) or isinstance(x, np.ndarray)}
        key = (pull, *((path, x.dtype, x.ndim) for path, x in arrays.items()))
        if key not in made:
            made[key] = graph_of(function, args, arrays, pull)
        run, out, paths = made[key]
        return run(*arrays.values(), *dys), out, paths

    def f(*args: Any) -> Any:
        values, out, _ = call(args, pull=False)
        found = dict(zip((path for path, _ in leaves(out)), values, strict=True))
        return filled(out, found)

    def f_vjp(dy: Any, *args: Any) -> Any:
        values, _, paths = call(args, *map(np.asarray, weights(dy)), pull=True)
        return grads(args, paths, values)

    return named(f, function), f_vjp


def graph_of(function: Function, args: Any, arrays: dict[Path, Array], pull: bool) -> tuple[Function, Any, list[Path]]:
    """A compiled PyTensor function of arrays, function's symbolic output, and the paths of what it returns: the outputs
    or, where `pull`, of arrays and cotangents, the gradients that there are."""
    import pytensor
    from pytensor.compile.mode import Mode

    at = {path: pytensor.tensor.tensor(dtype=x.dtype, shape=(None,) * x.ndim) for path, x in arrays.items()}
    out = function(*filled(args, at))
    ys, ws, paths = [y for _, y in leaves(out)], [], list(floats(args))
    if pull:
        outs = [y for y in ys if y.dtype.startswith("float")]
        ws = [y.type() for y in outs]
        known, wrt = dict(zip(outs, ws, strict=True)), [at[path] for path in paths]
        way = {"disconnected_inputs": "ignore", "return_disconnected": "none", "null_gradients": "return"}
        found = zip(paths, pytensor.grad(None, wrt, known_grads=known, **way), strict=True)
        said = {path: g for path, g in found if hasattr(g, "dtype")}  # a null has none
        ys, paths = list(said.values()), list(said)
    mode = Mode(linker="py", optimizer=None)
    return pytensor.function([*at.values(), *ws], ys, mode=mode, on_unused_input="ignore"), out, paths
