"""Engine. Explicit vectors for Numba: a type `Vector(dtype, lanes)` with operators, loads, stores and bit tricks.

LLVM's own vectoriser stops at 256 bits and gives up on anything irregular, so hot loops say what they mean:
`store(h, i, tanh(load(c, i)))` moves one vector register. One text serves every width: a float32 vector has
`jit.vector_width()` lanes, a float64 vector half of them, and one lane is the plain loop. Scalars in an expression are
converted to the vector's type and spread over its lanes.

This module imports Numba at once; only modules that are themselves imported late may import it.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from scratchvae.engine.jit import vector_width

I32 = ir.IntType(32)


def lanes(dtype: Any) -> int:
    """Lanes of a vector of `dtype` (a Numba number type or a NumPy dtype): four bytes make one lane of float32."""
    size = int(dtype.bitwidth) // 8 if hasattr(dtype, "bitwidth") else dtype.itemsize
    return max(1, vector_width() * 4 // size)


class Vector(types.Type):  # type: ignore[misc]
    """`lanes` numbers of `dtype` in one register; a mask is a Vector of types.boolean."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")

    @property
    def llvm(self) -> Any:
        return ir.VectorType(llvm_scalar(self.dtype), self.lanes)


def llvm_scalar(dtype: Any) -> Any:
    """The LLVM type of one lane."""
    if dtype == types.boolean:
        return ir.IntType(1)
    if dtype in types.integer_domain:
        return ir.IntType(dtype.bitwidth)
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """A Vector is an LLVM vector wherever it lives: register, argument or stack."""

    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


def common(a: Any, b: Any) -> Vector | None:
    """The vector type of `a op b`: both the same vector, or a vector and a number."""
    if isinstance(a, Vector) and (a == b or isinstance(b, types.Number)):
        return a
    return b if isinstance(b, Vector) and isinstance(a, types.Number) else None


def spread(context: Any, builder: Any, value: Any, ty: Any, to: Vector) -> Any:
    """`value` as a vector `to`: itself, or a number converted to the element type and repeated."""
    if isinstance(ty, Vector):
        return value
    return broadcast(builder, context.cast(builder, value, ty, to.dtype), to.llvm)


def broadcast(builder: Any, scalar: Any, ty: Any) -> Any:
    """The scalar in every lane of LLVM's vector type `ty`."""
    one = builder.insert_element(ir.Constant(ty, ir.Undefined), scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, ty.count), [0] * ty.count))


def llvm_math(builder: Any, name: str, ty: Vector, count: int) -> Any:
    """LLVM's function `name` of `count` vectors `ty`; "fmuladd" is a b + c, rounded once where the machine can."""
    signature = ir.FunctionType(ty.llvm, [ty.llvm] * count)
    return cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.v{ty.lanes}f{ty.dtype.bitwidth}")


def binary(op: Any, on_float: str, on_int: str, masks: bool = False) -> None:
    """Teach Numba `vector op vector` and `vector op number`; comparisons give a mask."""

    class Typing(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            to = common(*args) if len(args) == 2 else None
            return to and signature(Vector(types.boolean, to.lanes) if masks else to, *args)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to = common(*sig.args)
        assert to is not None
        a, b = (spread(context, builder, v, ty, to) for v, ty in zip(args, sig.args, strict=True))
        floating = to.dtype in types.real_domain
        if masks and floating:
            return builder.fcmp_ordered(on_float, a, b) if on_float != "!=" else builder.fcmp_unordered("!=", a, b)
        if masks:
            return builder.icmp_unsigned(on_int, a, b)
        return getattr(builder, on_float if floating else on_int)(a, b)

    infer_global(op)(Typing)
    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *kinds)(lower)


for _op, _float, _int in (
    (operator.add, "fadd", "add"), (operator.sub, "fsub", "sub"), (operator.mul, "fmul", "mul"),
    (operator.truediv, "fdiv", "udiv"), (operator.and_, "and_", "and_"), (operator.or_, "or_", "or_"),
    (operator.iadd, "fadd", "add"), (operator.isub, "fsub", "sub"), (operator.imul, "fmul", "mul"),
    (operator.xor, "xor", "xor"), (operator.lshift, "shl", "shl"), (operator.rshift, "lshr", "lshr"),
):  # fmt: skip
    binary(_op, _float, _int)
for _op, _sign in ((operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"), (operator.ge, ">="),
                   (operator.eq, "=="), (operator.ne, "!=")):  # fmt: skip
    binary(_op, _sign, _sign, masks=True)


@infer_global(operator.neg)
class NegTyping(AbstractTemplate):  # type: ignore[misc]
    """−v has the type of v."""

    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], args[0]) if isinstance(args[0], Vector) else None


@lower_builtin(operator.neg, Vector)  # type: ignore[untyped-decorator]
def lower_neg(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    return builder.fneg(args[0])


def element(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Pointer to `array[index]` of a contiguous array seen flat, without bounds or wrap-around checks."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def vector_pointer(builder: Any, pointer: Any, ty: Vector) -> Any:
    return builder.bitcast(pointer, ty.llvm.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """The vector array[index : index + lanes], unaligned."""
    ty = Vector(array.dtype, lanes(array.dtype))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        return builder.load(vector_pointer(builder, pointer, ty), align=array.dtype.bitwidth // 8)

    return ty(array, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index : index + lanes] = value, unaligned."""
    ty = Vector(array.dtype, lanes(array.dtype))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        vector = spread(context, builder, args[2], sig.args[2], ty)
        builder.store(vector, vector_pointer(builder, pointer, ty), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic  # type: ignore[untyped-decorator]
def store_lanes(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index:] = value, as many lanes as it has: floats in the array's type, integers of the array's size."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to, vector = Vector(array.dtype, value.lanes), args[2]
        if array.dtype.bitwidth != value.dtype.bitwidth:
            resize = builder.fpext if array.dtype.bitwidth > value.dtype.bitwidth else builder.fptrunc
            vector = resize(vector, to.llvm)
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        builder.store(vector, vector_pointer(builder, pointer, to), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic  # type: ignore[untyped-decorator]
def zeros(typingctx: Any, array: Any) -> Any:
    """A vector of zeros of `array`'s type."""
    ty = Vector(array.dtype, lanes(array.dtype))
    return ty(array), lambda context, builder, sig, args: ir.Constant(ty.llvm, None)


def math_call(name: str, count: int) -> Any:
    """The LLVM intrinsic `name` on `count` vectors of one type (numbers among them are spread)."""

    def typing(args: Any) -> tuple[Any, Any]:
        to = next(a for a in args if isinstance(a, Vector))

        def codegen(context: Any, builder: Any, sig: Any, values: Any) -> Any:
            vectors = [spread(context, builder, v, ty, to) for v, ty in zip(values, sig.args, strict=True)]
            return builder.call(llvm_math(builder, name, to, count), vectors)

        return to(*args), codegen

    return typing


@intrinsic  # type: ignore[untyped-decorator]
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once where the machine can."""
    return math_call("fmuladd", 3)((a, b, c))


@intrinsic  # type: ignore[untyped-decorator]
def rint(typingctx: Any, a: Any) -> Any:
    """Nearest integer, halves to even."""
    return math_call("rint", 1)((a,))


@intrinsic  # type: ignore[untyped-decorator]
def sqrt(typingctx: Any, a: Any) -> Any:
    """Square root, correctly rounded."""
    return math_call("sqrt", 1)((a,))


@intrinsic  # type: ignore[untyped-decorator]
def absolute(typingctx: Any, a: Any) -> Any:
    """|a|; a NaN stays."""
    return math_call("fabs", 1)((a,))


@intrinsic  # type: ignore[untyped-decorator]
def copysign(typingctx: Any, a: Any, b: Any) -> Any:
    """|a| with the sign of b."""
    return math_call("copysign", 2)((a, b))


@intrinsic  # type: ignore[untyped-decorator]
def where(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """a where the mask is set, else b; lane by lane."""
    to = a if isinstance(a, Vector) else b

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, y = (spread(context, builder, v, ty, to) for v, ty in zip(args[1:], sig.args[1:], strict=True))
        return builder.select(args[0], x, y)

    return to(mask, a, b), codegen


@intrinsic  # type: ignore[untyped-decorator]
def movemask(typingctx: Any, mask: Any) -> Any:
    """A mask as the bits of an unsigned number, lane 0 the lowest."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(mask.lanes)), ir.IntType(64))

    return types.uint64(mask), codegen


@intrinsic  # type: ignore[untyped-decorator]
def popcount(typingctx: Any, bits: Any) -> Any:
    """How many bits are set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.intp(types.uint64), codegen


def integer_of(dtype: Any) -> Any:
    """The unsigned integer as wide as a float."""
    pairs = {types.float32: types.uint32, types.float64: types.uint64}
    return pairs[dtype]


@intrinsic  # type: ignore[untyped-decorator]
def float_to_bits(typingctx: Any, a: Any) -> Any:
    """The bits of each float as an unsigned integer of its size."""
    to = Vector(integer_of(a.dtype), a.lanes)
    return to(a), lambda context, builder, sig, args: builder.bitcast(args[0], to.llvm)


@intrinsic  # type: ignore[untyped-decorator]
def bits_to_float(typingctx: Any, a: Any) -> Any:
    """The float whose bits these are; inverse of `float_to_bits`."""
    to = Vector({types.uint32: types.float32, types.uint64: types.float64}[a.dtype], a.lanes)
    return to(a), lambda context, builder, sig, args: builder.bitcast(args[0], to.llvm)


@intrinsic  # type: ignore[untyped-decorator]
def signed_to_float(typingctx: Any, a: Any, like: Any) -> Any:
    """Integers, read as signed, converted to the floats of `like`'s element type (rounded to nearest)."""
    to = Vector(like.dtype, a.lanes)
    return to(a, like), lambda context, builder, sig, args: builder.sitofp(args[0], to.llvm)


@intrinsic  # type: ignore[untyped-decorator]
def unsigned_to_float(typingctx: Any, a: Any, like: Any) -> Any:
    """The same, read as unsigned."""
    to = Vector(like.dtype, a.lanes)
    return to(a, like), lambda context, builder, sig, args: builder.uitofp(args[0], to.llvm)


@intrinsic  # type: ignore[untyped-decorator]
def columns(typingctx: Any, array: Any, first: Any) -> Any:
    """(first, first + 1, …) as unsigned integers, a lane for each lane of a vector of `array`."""
    ty = Vector(types.uint32, lanes(array.dtype))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        start = spread(context, builder, args[1], sig.args[1], ty)
        return builder.add(start, ir.Constant(ty.llvm, list(range(ty.lanes))))

    return ty(array, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def constant(typingctx: Any, like: Any, key: Any) -> Any:
    """A vector of the number that `engine.series.CONSTANTS` holds for `key` and the element type of `like`."""
    from scratchvae.engine.series import CONSTANTS

    if not isinstance(key, types.StringLiteral):
        return None
    value = CONSTANTS[key.literal_value][str(like.dtype)]
    return like(like, key), lambda context, builder, sig, args: ir.Constant(like.llvm, [value] * like.lanes)


@intrinsic  # type: ignore[untyped-decorator]
def polynomial(typingctx: Any, x: Any, key: Any) -> Any:
    """c₀ + c₁ x + c₂ x² + … by Horner's rule, with `engine.series.SERIES[key]` for x's element type."""
    from scratchvae.engine.series import SERIES

    if not isinstance(key, types.StringLiteral):
        return None
    coefficients = SERIES[key.literal_value][str(x.dtype)]

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        fn = llvm_math(builder, "fmuladd", x, 3)
        terms = [ir.Constant(x.llvm, [float(c)] * x.lanes) for c in coefficients]
        y = terms[-1]
        for c in reversed(terms[:-1]):
            y = builder.call(fn, [y, args[0], c])
        return y

    return x(x, key), codegen


@intrinsic  # type: ignore[untyped-decorator]
def mantissa(typingctx: Any, like: Any) -> Any:
    """Stored bits of the mantissa of `like`'s floats: 23 or 52."""
    size = 23 if like.dtype == types.float32 else 52
    return types.intp(like), lambda context, builder, sig, args: ir.Constant(ir.IntType(64), size)


@intrinsic  # type: ignore[untyped-decorator]
def lane_count(typingctx: Any, array: Any) -> Any:
    """Lanes of a vector of `array`, a constant."""
    count = lanes(array.dtype)
    return types.intp(array), lambda context, builder, sig, args: ir.Constant(ir.IntType(64), count)


@intrinsic  # type: ignore[untyped-decorator]
def load_as(typingctx: Any, array: Any, index: Any, like: Any) -> Any:
    """array[index:] of any real type converted to a vector of the array `like`'s type."""
    to = Vector(like.dtype, lanes(like.dtype))
    ty = Vector(array.dtype, to.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        value = builder.load(vector_pointer(builder, pointer, ty), align=array.dtype.bitwidth // 8)
        if array.dtype in types.integer_domain:
            return builder.uitofp(value, to.llvm)
        if array.dtype == like.dtype:
            return value
        return (builder.fpext if array.dtype.bitwidth < like.dtype.bitwidth else builder.fptrunc)(value, to.llvm)

    return to(array, types.intp, like), codegen
