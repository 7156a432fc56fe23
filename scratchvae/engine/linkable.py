"""Engine. Functions that are compiled each by itself, so that two processes can compile a step between them.

A `jit.internal` function is pasted into its callers before they are compiled, so whoever compiles the step compiles all
of it. A linkable function is machine code of its own, in its own file of the cache; its callers jump to where it lies.
They find that in `jump_table`, a field of their first argument (int64, 0 for what is not there); `link` puts it there.

    LINKED = ("decode", "encode")       # the names that have places in the table, in their order

    @linkable(LINKED)
    def decode(s: Workspace, rows: int) -> None: ...

Where Numba lacks what that takes (`numba_patches.NAMES["link"]`) a linkable function is an internal one: same bits.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from scratchvae.engine.jit import LazyDispatcher, dispatcher, inner
from scratchvae.engine.numba_patches import can
from scratchvae.types import Array

F = TypeVar("F", bound=Callable[..., Any])


class Linkable(LazyDispatcher):
    """A function (s: a NamedTuple or Shared, …) → None; its other arguments are int, float, bool, or an Array of int64.

    `link` it before anything that calls it runs: a zero in the table is a jump to nowhere.
    """

    def __init__(self, fn: Callable[..., Any], place: int) -> None:
        super().__init__(fn, lambda fn: self.jump(fn) if self.jumps() else inner(fn))
        self.place = place
        patches = ("no_refcounts", "no_wrappers")
        self.own = LazyDispatcher(fn, functools.partial(dispatcher, patches=patches))

    def jumps(self) -> bool:
        """Whether it is compiled by itself; else it is pasted into its callers."""
        return can("link", self.own.realise())

    def kinds(self, s: Any) -> tuple[Any, ...]:
        """Numba's types of the arguments, for a first one of that type."""
        from numba import types

        known = {int: types.int64, float: types.float64, bool: types.boolean, Array: types.int64[::1]}
        return (s, *(known[p.annotation] for p in list(inspect.signature(self.fn).parameters.values())[1:]))

    def load(self, s: Any) -> bool:
        """Whether the code for arguments like s is here; if not, it is taken from the cache, where it is there."""
        from numba import typeof

        if not self.jumps():
            return True  # nothing to wait for
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
        """Compile for arguments like s, or load, and note in s where the code lies (1 where nobody asks)."""
        from numba import typeof

        address = 1
        if self.jumps():
            made, kinds = self.own.realise(), self.kinds(typeof(s))
            made.compile(kinds)
            found = made.overloads[kinds]
            address = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
        assert address, f"no machine code of {self.fn.__name__}"
        s.jump_table[self.place] = address

    def jump(self, fn: Callable[..., Any]) -> Any:
        """What compiled callers find under the name of `fn`: an intrinsic with its arguments."""
        from llvmlite import ir
        from numba import types
        from numba.core import cgutils
        from numba.extending import intrinsic

        def typing(typingctx: Any, s: Any, *others: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                field = context.get_getattr(s, "jump_table")(context, builder, s, args[0], "jump_table")
                table = context.make_array(types.int64[::1])(context, builder, field)
                address = builder.load(builder.gep(table.data, [ir.Constant(ir.IntType(64), self.place)]))
                ty = context.call_conv.get_function_type(types.none, sig.args)
                code = builder.inttoptr(address, ty.as_pointer())
                status, _ = context.call_conv.call_function(builder, code, types.none, sig.args, args)
                with cgutils.if_unlikely(builder, status.is_error):
                    context.call_conv.return_status_propagate(builder, status)
                return context.get_dummy_value()

            return types.none(*self.kinds(s)), codegen

        # Numba reads off the signature which arguments there are: those of `fn`, after its own first one
        shown = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        typing.__signature__ = inspect.Signature([shown, *inspect.signature(fn).parameters.values()])  # type: ignore
        typing.__name__ = fn.__name__
        return intrinsic(typing)


def linkable(table: tuple[str, ...]) -> Callable[[F], F]:
    """A function compiled by itself, whose name is in the table; callers, compiled too, call it by that name.

    The table is whole before the first of them is compiled: a place is part of the callers' machine code.
    """

    def made(fn: F) -> F:
        return cast(F, Linkable(fn, table.index(fn.__name__)))

    return made
