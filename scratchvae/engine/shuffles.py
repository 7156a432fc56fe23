"""Engine. Lanes on the move: sums over lanes, transposes, and the lanes of a mask squeezed together.

A machine moves lanes cheaply within chunks of 128 bits, and whole chunks; anything else costs several times as much, so
all but `compress` is made of these two moves alone.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from scratchvae.engine.jit import has


def shuffled(builder: Any, x: Any, y: Any, order: list[int]) -> Any:
    """The lanes of x, then y, that `order` names."""
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order))


def chunk_of(vector: Any) -> int:
    """Lanes of 128 bits."""
    return min(vector.type.count, 2 if isinstance(vector.type.element, ir.DoubleType) else 4)


def zipped(builder: Any, x: Any, y: Any, width: int) -> tuple[Any, Any]:
    """Runs of `width` lanes of x and y in turn: those of the lower halves of all chunks, those of the upper halves."""
    n, chunk = x.type.count, chunk_of(x)

    def order(half: int) -> list[int]:
        starts = [b + half * chunk // 2 + i for b in range(0, n, chunk) for i in range(0, chunk // 2, width)]
        return [of + start + j for start in starts for of in (0, n) for j in range(width)]

    return shuffled(builder, x, y, order(0)), shuffled(builder, x, y, order(1))


def dealt(builder: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The even chunks of x, then of y; the odd ones."""
    n, chunk = x.type.count, chunk_of(x)
    orders = [[b + j for b in range(first * chunk, 2 * n, 2 * chunk) for j in range(chunk)] for first in (0, 1)]
    return shuffled(builder, x, y, orders[0]), shuffled(builder, x, y, orders[1])


def fold(builder: Any, vectors: list[Any], op: str = "fadd") -> list[Any]:
    """The lanes of each vector joined by `op` to one: m vectors (m a power of two) give m lanes, in as few vectors."""
    join, m, n, chunk, width = getattr(builder, op), len(vectors), vectors[0].type.count, chunk_of(vectors[0]), 1
    while len(vectors) > 1 and width < n:
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        mix = [zipped(builder, x, y, width) if width < chunk else dealt(builder, x, y) for x, y in pairs]
        vectors, width = [join(x, y) for x, y in mix], 2 * width
    while vectors[0].type.count > m:
        v = vectors[0]
        half, run = v.type.count // 2, min(chunk, v.type.count // 2)  # neighbouring chunks, then halves of one
        left, right = ([b + j for b in range(first, 2 * half, 2 * run) for j in range(run)] for first in (0, run))
        vectors = [join(shuffled(builder, v, v, left), shuffled(builder, v, v, right))]
    return vectors


@intrinsic  # type: ignore[untyped-decorator]
def total(typingctx: Any, a: Any) -> Any:
    """Sum over the lanes as one number, in a fixed order."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.extract_element(fold(builder, [args[0]])[0], ir.Constant(ir.IntType(32), 0))

    return a.dtype(a), codegen


@intrinsic  # type: ignore[untyped-decorator]
def compress(typingctx: Any, mask: Any, a: Any) -> Any:
    """The lanes of `a` whose mask is set, moved together from lane 0 on; what lies beyond them is undefined."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if has("avx512f") and has("avx512vl") and a.lanes * a.dtype.bitwidth >= 128:
            return compress_avx512(builder, a, *args)
        if has("avx2") and a.lanes * a.dtype.bitwidth == 256 and a.lanes == 8:
            return compress_avx2(builder, a, *args)
        return lane_by_lane(builder, a, *args)

    return a(mask, a), codegen


def compress_avx512(builder: Any, ty: Any, mask: Any, a: Any) -> Any:
    """`compress` in one instruction of AVX-512."""
    kind = f"v{ty.lanes}{'f' if ty.dtype in types.real_domain else 'i'}{ty.dtype.bitwidth}"
    signature = ir.FunctionType(ty.llvm, [ty.llvm, ty.llvm, mask.type])
    fn = cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.avx512.mask.compress.{kind}")
    return builder.call(fn, [a, ir.Constant(ty.llvm, ir.Undefined), mask])


def compress_avx2(builder: Any, ty: Any, mask: Any, a: Any) -> Any:
    """`compress` for AVX2: the order of the eight lanes from a table of all 256 masks, one byte for each lane."""
    sets = [[lane for lane in range(8) if m >> lane & 1] for m in range(256)]
    orders = [lanes + [lane for lane in range(8) if lane not in lanes] for lanes in sets]
    packed = [sum(lane << 8 * j for j, lane in enumerate(order)) for order in orders]
    i32, i64 = ir.IntType(32), ir.IntType(64)
    table = cgutils.global_constant(builder.module, "squeezed", ir.Constant(ir.ArrayType(i64, 256), packed))
    row = builder.zext(builder.bitcast(mask, ir.IntType(8)), i64)
    bytes_ = builder.bitcast(builder.load(builder.gep(table, [i64(0), row])), ir.VectorType(ir.IntType(8), 8))
    order = builder.zext(bytes_, ir.VectorType(i32, 8))
    name = "permps" if ty.dtype in types.real_domain else "permd"
    signature = ir.FunctionType(ty.llvm, [ty.llvm, order.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.avx2.{name}"), [a, order])


def lane_by_lane(builder: Any, ty: Any, mask: Any, a: Any) -> Any:
    """`compress` anywhere: a lane goes to where the set lanes before it end; unset ones are written over."""
    i32, to, at = ir.IntType(32), ir.Constant(ty.llvm, ir.Undefined), ir.Constant(ir.IntType(32), 0)
    for j in range(ty.lanes):
        lane = ir.Constant(i32, j)
        to = builder.insert_element(to, builder.extract_element(a, lane), at)
        at = builder.add(at, builder.zext(builder.extract_element(mask, lane), i32))
    return to
