"""Engine. Functions that are compiled each by itself, so that two processes can compile a step between them.

A `jit.part` is pasted into its callers before they are compiled, so whoever compiles the step compiles all of it. A
separate function is machine code of its own, in its own file of the cache; its callers jump to where it lies. They
find that in `Program.entries`, where `link` has put it.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from scratchvae.engine.jit import LazyDispatcher, dispatcher
from scratchvae.types import Array

F = TypeVar("F", bound=Callable[..., Any])

NAMES = ("gather", "backward", "bounds", "rare")  # their places in Program.entries


class Separate(LazyDispatcher):
    """A function (s: Program, …) → None, whose other arguments are int, float, bool, or an Array of int64.

    `link` it before anything that calls it runs: an entry of zero is a jump to nowhere.
    """

    def __init__(self, fn: Callable[..., Any], name: str) -> None:
        super().__init__(fn, self.jump)
        self.place = NAMES.index(name)
        self.own = LazyDispatcher(
            fn, functools.partial(dispatcher, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
        )

    def kinds(self, program: Any) -> tuple[Any, ...]:
        """Numba's types of the arguments, for programs of that type."""
        from numba import types

        known = {int: types.int64, float: types.float64, bool: types.boolean, Array: types.int64[::1]}
        return (program, *(known[p.annotation] for p in list(inspect.signature(self.fn).parameters.values())[1:]))

    def load(self, s: Any) -> bool:
        """Whether the code for programs like s is here; if not, it is taken from the cache, where it is there."""
        from numba import typeof
        from numba.core.compiler_lock import global_compiler_lock

        made, kinds = self.own.realise(), self.kinds(typeof(s))
        if kinds in made.overloads:
            return True
        with global_compiler_lock:
            found = made._cache.load_overload(kinds, made.targetctx)
            if found is not None:
                made.add_overload(found)
        return found is not None

    def link(self, s: Any) -> None:
        """Compile for programs like s, or load, and note in s where the code lies."""
        from numba import typeof

        made, kinds = self.own.realise(), self.kinds(typeof(s))
        made.compile(kinds)
        found = made.overloads[kinds]
        s.entries[self.place] = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
        assert s.entries[self.place], f"no machine code of {self.fn.__name__}"

    def jump(self, fn: Callable[..., Any]) -> Any:
        """What compiled callers find under the name of `fn`: an intrinsic with its arguments."""
        from llvmlite import ir
        from numba import types
        from numba.core import cgutils
        from numba.extending import intrinsic

        def typing(typingctx: Any, program: Any, *others: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                kind = program.field("entries")[1]
                field = context.get_getattr(program, "entries")(context, builder, program, args[0], "entries")
                entries = context.make_array(kind)(context, builder, field)
                address = builder.load(builder.gep(entries.data, [ir.Constant(ir.IntType(64), self.place)]))
                ty = context.call_conv.get_function_type(types.none, sig.args)
                code = builder.inttoptr(address, ty.as_pointer())
                status, _ = context.call_conv.call_function(builder, code, types.none, sig.args, args)
                with cgutils.if_unlikely(builder, status.is_error):
                    context.call_conv.return_status_propagate(builder, status)
                return context.get_dummy_value()

            return types.none(*self.kinds(program)), codegen

        # Numba reads off the signature which arguments there are: those of `fn`, after its own first one
        shown = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typing.__signature__ = inspect.Signature([shown, *inspect.signature(fn).parameters.values()])  # type: ignore
        typing.__name__ = fn.__name__
        return intrinsic(typing)


def separate(fn: F) -> F:
    """`fn` compiled by itself; callers, compiled too, call it by its name."""
    return cast(F, Separate(fn, fn.__name__))


def in_place_of(other: F) -> Callable[[F], F]:
    """A separate function with the arguments of `other`; where it is the one linked, callers of `other` call it."""
    return lambda fn: cast(F, Separate(fn, other.__name__))
