"""§7.2.5 Vectors of 32-bit words for the counter-based noise: high products, loads by lane, blocks of four."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchvae.kernels.vectors import Vector, element, lanes, spread, vector_pointer


@intrinsic  # type: ignore[untyped-decorator]
def high_product(typingctx: Any, a: Any, b: Any) -> Any:
    """The upper 32 bits of the 64-bit products of uint32 vectors (b may be one number)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = ir.VectorType(ir.IntType(64), a.lanes)
        x, y = (builder.zext(spread(context, builder, v, ty, a), wide) for v, ty in zip(args, sig.args, strict=True))
        return builder.trunc(builder.lshr(builder.mul(x, y), ir.Constant(wide, [32] * a.lanes)), a.llvm)

    return a(a, b), codegen


@intrinsic  # type: ignore[untyped-decorator]
def load_words(typingctx: Any, array: Any, index: Any, like: Any) -> Any:
    """uint32 array[index:], as many as a vector of the array `like` has lanes."""
    ty = Vector(types.uint32, lanes(like.dtype))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        return builder.load(vector_pointer(builder, pointer, ty), align=4)

    return ty(array, types.intp, like), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store_four(typingctx: Any, array: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """a[0] b[0] c[0] d[0] a[1] b[1] … into array[index:], four vectors interleaved."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n = a.lanes
        pairs = ir.Constant(ir.VectorType(ir.IntType(32), 2 * n), list(range(2 * n)))
        order = [j * n + i for i in range(n) for j in range(4)]
        both = [builder.shuffle_vector(*args[i : i + 2], pairs) for i in (2, 4)]
        mixed = builder.shuffle_vector(*both, ir.Constant(ir.VectorType(ir.IntType(32), 4 * n), order))
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        builder.store(mixed, builder.bitcast(pointer, mixed.type.as_pointer()), align=a.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, a, b, c, d), codegen
