"""Engine. Vectors of 32-bit words for the counter-based noise: long products, loads by lane, blocks of four."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchvae.engine.vectors import Vector, element, lanes, spread, vector_pointer


@intrinsic  # type: ignore[untyped-decorator]
def long_product(typingctx: Any, a: Any, b: Any) -> Any:
    """(upper, lower) 32 bits of the 64-bit products of uint32 vectors (b may be one number).

    A machine multiplies every second lane to 64 bits in one instruction: even lanes, then odd ones, and the halves of
    both are put together again.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, y = (spread(context, builder, v, ty, a) for v, ty in zip(args, sig.args, strict=True))
        both = halves_by_pairs(builder, x, y) if a.lanes > 1 else halves(builder, x, y)
        return context.make_tuple(builder, sig.return_type, both)

    return types.UniTuple(a, 2)(a, b), codegen


def halves(builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """For vectors of any length, lane by lane."""
    wide = ir.VectorType(ir.IntType(64), x.type.count)
    product = builder.mul(builder.zext(x, wide), builder.zext(y, wide))
    upper = builder.lshr(product, ir.Constant(wide, [32] * wide.count))
    return builder.trunc(upper, x.type), builder.trunc(product, x.type)


def halves_by_pairs(builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """For an even number of lanes on a little-endian machine: a pair of lanes is one 64-bit number, odd lane on top."""
    pairs = ir.VectorType(ir.IntType(64), x.type.count // 2)
    low, high, up = (ir.Constant(pairs, [n] * pairs.count) for n in (0xFFFFFFFF, 0xFFFFFFFF00000000, 32))
    a, b = builder.bitcast(x, pairs), builder.bitcast(y, pairs)
    even = builder.mul(builder.and_(a, low), builder.and_(b, low))
    odd = builder.mul(builder.lshr(a, up), builder.lshr(b, up))
    upper = builder.or_(builder.lshr(even, up), builder.and_(odd, high))
    return builder.bitcast(upper, x.type), builder.mul(x, y)


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


@intrinsic  # type: ignore[untyped-decorator]
def block_numbers(typingctx: Any, like: Any) -> Any:
    """0, 1, 2 … in two vectors' worth of words of the array `like`: a machine works on both at once."""
    ty = Vector(types.uint32, 2 * lanes(like.dtype))
    return ty(like), lambda context, builder, sig, args: ir.Constant(ty.llvm, list(range(ty.lanes)))
