"""Engine. Vectors at the edge: loads and stores that stop where an array or a row of it ends.

A loop over vectors, `for i in range(0, n, lane_count(y)): write(y, i, n, tanh(read(x, i, n, y)))`, is then one text for
whole vectors and for what is left over: the last vector's missing lanes are read as zeros and never written. Both need
C-contiguous arrays, seen flat, and refuse others when they are compiled.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from scratchvae.engine.vectors import Vector, broadcast, element, lanes, spread, vector_pointer

I64 = ir.IntType(64)


def masked_call(builder: Any, name: str, ty: Vector, result: Any, args: list[Any]) -> Any:
    """LLVM's masked load or store."""
    kind = f"v{ty.lanes}{'f' if ty.dtype in types.real_domain else 'i'}{ty.dtype.bitwidth}"
    signature = ir.FunctionType(result, [a.type for a in args])
    fn = cgutils.get_or_insert_function(builder.module, signature, f"llvm.masked.{name}.{kind}.p0")
    return builder.call(fn, args)


def below(builder: Any, room: Any, count: int) -> Any:
    """The mask of the first `room` lanes."""
    ty = ir.VectorType(I64, count)
    return builder.icmp_signed("<", ir.Constant(ty, list(range(count))), broadcast(builder, room, ty))


def whole_or_masked(
    builder: Any, room: Any, ty: Vector, whole: Callable[[], Any], masked: Callable[[Any], Any]
) -> list[tuple[Any, Any]]:
    """whole() if there is room for a vector, else masked(mask): (value, block) of both.

    The branch goes one way until the last round, and spares machines that have no cheap masks.
    """
    with builder.if_else(builder.icmp_signed(">=", room, ir.Constant(I64, ty.lanes))) as (most, last):
        with most:
            full = whole(), builder.block
        with last:
            part = masked(below(builder, room, ty.lanes)), builder.block
    return [full, part]


def pointer_of(context: Any, builder: Any, sig: Any, args: Any, ty: Vector) -> Any:
    return vector_pointer(builder, element(context, builder, sig.args[0], args[0], args[1]), ty)


def converted(builder: Any, value: Any, ty: Vector, to: Vector) -> Any:
    """A vector of reals or of unsigned integers in another element type."""
    if ty.dtype in types.integer_domain:
        return builder.uitofp(value, to.llvm)
    if ty.dtype == to.dtype:
        return value
    return (builder.fpext if ty.dtype.bitwidth < to.dtype.bitwidth else builder.fptrunc)(value, to.llvm)


def contiguous(array: Any) -> None:
    """Refuse an array with gaps, which its first address alone would misread."""
    if array.layout != "C":
        raise TypingError("vectors read a C-contiguous array: use np.ascontiguousarray")


@intrinsic  # type: ignore[untyped-decorator]
def read(typingctx: Any, array: Any, index: Any, stop: Any, like: Any) -> Any:
    """The vector array[index:stop], zeros beyond, of any real type, converted to that of the array `like`."""
    contiguous(array)
    to, size = Vector(like.dtype, lanes(like.dtype)), array.dtype.bitwidth // 8
    ty = Vector(array.dtype, to.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_of(context, builder, sig, args, ty)
        align, zeros = ir.Constant(ir.IntType(32), size), ir.Constant(ty.llvm, None)
        both = whole_or_masked(
            builder,
            builder.sub(args[2], args[1]),
            ty,
            lambda: builder.load(pointer, align=size),
            lambda mask: masked_call(builder, "load", ty, ty.llvm, [pointer, align, mask, zeros]),
        )
        value = builder.phi(ty.llvm)
        for found, block in both:
            value.add_incoming(found, block)
        return converted(builder, value, ty, to)

    return to(array, types.intp, types.intp, like), codegen


@intrinsic  # type: ignore[untyped-decorator]
def write(typingctx: Any, array: Any, index: Any, stop: Any, value: Any) -> Any:
    """array[index:stop] = value, as far as the vector goes."""
    contiguous(array)
    ty, size = Vector(array.dtype, lanes(array.dtype)), array.dtype.bitwidth // 8

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = pointer_of(context, builder, sig, args, ty)
        vector = spread(context, builder, args[3], sig.args[3], ty)
        align = ir.Constant(ir.IntType(32), size)
        whole_or_masked(
            builder,
            builder.sub(args[2], args[1]),
            ty,
            lambda: builder.store(vector, pointer, align=size),
            lambda mask: masked_call(builder, "store", ty, ir.VoidType(), [vector, pointer, align, mask]),
        )
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), codegen
