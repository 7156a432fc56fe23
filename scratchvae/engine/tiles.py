"""Engine. The matrix product's innermost loops: a tile of C in vector registers, emitted as LLVM by hand.

Every operand lies in *micropanels*: a matrix (R, N) is stored as [N / P][R][P], P = two vectors wide, so that one row
of a micropanel is two registers, and the rows of a tile lie at constant distances. What y = x W reads of x, a number of
each row of a tile at a time, is *packed* as well: MR rows column by column, [R / MR][N][MR], since numbers one below
the other in a micropanel lie in one bank of the first-level cache, which gives one of them at a time. Three tiles do
y = x W and both of its cotangents:

    y  = x W     C[b, o] = Σᵢ x[b, i] W[i, o]    `product`: x packed and broadcast, W by vectors along o
    dW = xᵀ dy   C[i, o] = Σ_b x[b, i] dy[b, o]  `product_t`: x broadcast along a row of a micropanel, dy by vectors
    dx = dy Wᵀ   C[b, i] = Σₒ dy[b, o] W[i, o]   `dots`: both by vectors along o, the lanes added at the end; with many
                                                 rows `product` on a micropanel of Wᵀ, made by `transpose`

The contraction is never unrolled: with 12 × 2 accumulators, two vectors of B and a broadcast, 27 of 32 registers are
taken, and unrolling by two makes LLVM spill (with 16 registers 6 × 2, two and one: 15 are taken).
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from scratchvae.engine.jit import inline, vector_width
from scratchvae.engine.shuffles import chunk_of, dealt, fold, shuffled, zipped
from scratchvae.engine.vectors import Vector, broadcast, element, lanes, llvm_math, vector_pointer
from scratchvae.types import Array

MR = 12 if vector_width() == 16 else 6  # rows of the big tile: 2 MR accumulators, of 32 (or 16) registers
MR_SHORT = MR // 3  # rows of the small one: every row count is padded to a multiple of MR_SHORT
MR_MIDDLE = 2 * MR_SHORT  # and of one between: what is left below the tall tiles is a single tile
DOT_ROWS = MR_SHORT  # tile of `dots` …
DOT_COLS = 4 if vector_width() > 1 else 2  # … whose columns stay within a micropanel


def panel(dtype: Any) -> int:
    """P, the columns of a micropanel: two vectors."""
    return 2 * lanes(dtype)


@intrinsic  # type: ignore[untyped-decorator]
def panel_of(typingctx: Any, array: Any) -> Any:
    """P for `array`'s type, a constant."""
    width = panel(array.dtype)
    return types.intp(array), lambda context, builder, sig, args: ir.Constant(ir.IntType(64), width)


@intrinsic  # type: ignore[untyped-decorator]
def unsigned_divmod(typingctx: Any, a: Any, b: Any) -> Any:
    """(a // b, a % b) for a ≥ 0, b > 0, without the branches that Python's rules for signs and zero need."""
    n = types.intp

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return context.make_tuple(builder, sig.return_type, (builder.udiv(*args), builder.urem(*args)))

    return types.UniTuple(n, 2)(n, n), codegen


class Loop:
    """A counted loop, values carried in registers: `with Loop(builder, n, values) as loop`, then `loop.carry(new)`."""

    def __init__(self, builder: Any, count: Any, values: list[Any]) -> None:
        self.builder, self.count, self.start = builder, count, values

    def __enter__(self) -> "Loop":
        b, before = self.builder, self.builder.block
        self.body, self.end = b.append_basic_block("loop"), b.append_basic_block("end")
        zero = ir.Constant(self.count.type, 0)
        b.cbranch(b.icmp_signed(">", self.count, zero), self.body, self.end)
        b.position_at_end(self.body)
        self.before = before
        self.index = b.phi(self.count.type)
        self.index.add_incoming(zero, before)
        self.values = [b.phi(v.type) for v in self.start]
        for phi, v in zip(self.values, self.start, strict=True):
            phi.add_incoming(v, before)
        return self

    def carry(self, new: list[Any]) -> None:
        self.new = new

    def __exit__(self, *exc: Any) -> None:
        b, last = self.builder, self.builder.block
        index = b.add(self.index, ir.Constant(self.count.type, 1))
        self.index.add_incoming(index, last)
        for phi, v in zip(self.values, self.new, strict=True):
            phi.add_incoming(v, last)
        b.cbranch(b.icmp_signed("<", index, self.count), self.body, self.end)
        b.position_at_end(self.end)
        self.results = [b.phi(v.type) for v in self.start]
        for phi, first, v in zip(self.results, self.start, self.new, strict=True):
            phi.add_incoming(first, self.before)
            phi.add_incoming(v, last)


def offset(builder: Any, pointer: Any, step: int) -> Any:
    return builder.gep(pointer, [ir.Constant(ir.IntType(64), step)])


def vector_at(builder: Any, pointer: Any, step: int, ty: Vector) -> Any:
    """The vector that starts `step` elements after the pointer."""
    size = ty.dtype.bitwidth // 8
    return builder.load(vector_pointer(builder, offset(builder, pointer, step), ty), align=size)


def store_at(builder: Any, value: Any, pointer: Any, step: int, ty: Vector) -> None:
    """Put the vector where `vector_at` finds it."""
    size = ty.dtype.bitwidth // 8
    builder.store(value, builder.bitcast(offset(builder, pointer, step), value.type.as_pointer()), align=size)


def emit_product(builder: Any, ty: Vector, rows: int, pitch: int, ptrs: Any, depth: Any) -> None:
    """C[r, :] = Σ over k < depth of A[r + k · pitch] · B[k, :]."""
    (c, a, b), fma, width = ptrs, llvm_math(builder, "fmuladd", ty, 3), 2 * ty.lanes
    with Loop(builder, depth, [a, b, *[ir.Constant(ty.llvm, None)] * (2 * rows)]) as loop:
        pa, pb, *acc = loop.values
        B = [vector_at(builder, pb, n * ty.lanes, ty) for n in (0, 1)]
        for r in range(rows):
            x = broadcast(builder, builder.load(offset(builder, pa, r)), ty.llvm)
            for n in (0, 1):
                acc[2 * r + n] = builder.call(fma, [x, B[n], acc[2 * r + n]])
        loop.carry([offset(builder, pa, pitch), offset(builder, pb, width), *acc])
    for j, value in enumerate(loop.results[2:]):
        store_at(builder, value, c, j * ty.lanes, ty)


def make_product(rows: int, packed: bool) -> Any:
    """The tile of `rows` rows: intrinsic (C, c, A, a, B, b, depth) → C[c:] as [rows][P]; A packed or in micropanels."""

    def typing(typingctx: Any, C: Any, c: Any, A: Any, a: Any, B: Any, b: Any, depth: Any) -> Any:
        ty = Vector(C.dtype, lanes(C.dtype))

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            ptrs = [element(context, builder, sig.args[i], args[i], args[i + 1]) for i in (0, 2, 4)]
            emit_product(builder, ty, rows, MR if packed else 2 * ty.lanes, ptrs, args[6])
            return context.get_dummy_value()

        n = types.intp
        return types.void(C, n, A, n, B, n, n), codegen

    typing.__name__ = f"product{'' if packed else '_t'}_{rows}"
    return intrinsic(typing)


product_tall, product_middle, product_short = (make_product(rows, True) for rows in (MR, MR_MIDDLE, MR_SHORT))
product_t_tall, product_t_middle, product_t_short = (make_product(rows, False) for rows in (MR, MR_MIDDLE, MR_SHORT))


@inline
def product(C: Array, c: int, A: Array, a: int, B: Array, b: int, depth: int, height: int) -> None:
    """The tile of that height: C[c:] = A B, A packed."""
    if height == MR:
        product_tall(C, c, A, a, B, b, depth)
    elif height == MR_MIDDLE:
        product_middle(C, c, A, a, B, b, depth)
    else:
        product_short(C, c, A, a, B, b, depth)


@inline
def product_t(C: Array, c: int, A: Array, a: int, B: Array, b: int, depth: int, height: int) -> None:
    """The tile of that height: C[c:] = Aᵀ B, A in micropanels."""
    if height == MR:
        product_t_tall(C, c, A, a, B, b, depth)
    elif height == MR_MIDDLE:
        product_t_middle(C, c, A, a, B, b, depth)
    else:
        product_t_short(C, c, A, a, B, b, depth)


def make_listed(panels: int) -> Any:
    """Sums along a list for `panels` micropanels of A at once: a list is short, and its end a branch guessed wrong.

    Intrinsic (C, c, step, A, a, hop, at, x, first, count) → C[c + g · step :][:P] = Σ over the list's entries n of
    x[n] A[a + g · hop + at[n] :][:P] for each micropanel g.
    """

    def typing(
        typingctx: Any, C: Any, c: Any, step: Any, A: Any, a: Any, hop: Any, at: Any, x: Any, first: Any, count: Any
    ) -> Any:
        ty, i64 = Vector(C.dtype, lanes(C.dtype)), ir.IntType(64)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            cp, ap = (element(context, builder, sig.args[i], args[i], args[i + 1]) for i in (0, 3))
            where, value = (element(context, builder, sig.args[i], args[i], args[8]) for i in (6, 7))
            fma, zero = llvm_math(builder, "fmuladd", ty, 3), ir.Constant(ty.llvm, None)
            hops, steps = ([builder.mul(args[i], ir.Constant(i64, g)) for g in range(panels)] for i in (5, 2))
            with Loop(builder, args[9], [where, value, *[zero] * (2 * panels)]) as loop:
                pw, px, *acc = loop.values
                row = builder.gep(ap, [builder.sext(builder.load(pw), i64)])
                entry = broadcast(builder, builder.load(px), ty.llvm)
                for g in range(panels):
                    for n in (0, 1):
                        A_row = vector_at(builder, builder.gep(row, [hops[g]]), n * ty.lanes, ty)
                        acc[2 * g + n] = builder.call(fma, [A_row, entry, acc[2 * g + n]])
                loop.carry([offset(builder, pw, 1), offset(builder, px, 1), *acc])
            for j, total in enumerate(loop.results[2:]):
                store_at(builder, total, builder.gep(cp, [steps[j // 2]]), j % 2 * ty.lanes, ty)
            return context.get_dummy_value()

        n = types.intp
        return types.void(C, n, n, A, n, n, at, x, n, n), codegen

    typing.__name__ = f"listed_{panels}"
    return intrinsic(typing)


listed_1, listed_2 = (make_listed(panels) for panels in (1, 2))


@intrinsic  # type: ignore[untyped-decorator]
def dots(typingctx: Any, C: Any, c: Any, A: Any, a: Any, B: Any, b: Any, panels: Any, hop_a: Any, hop_b: Any) -> Any:
    """C[c + r P + j] = Σ over micropanels of A[a + r P :][:P] · B[b + j P :][:P] for r < DOT_ROWS, j < DOT_COLS."""
    ty = Vector(C.dtype, lanes(C.dtype))
    width = 2 * ty.lanes

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        cp, ap, bp = (element(context, builder, sig.args[i], args[i], args[i + 1]) for i in (0, 2, 4))
        fma, zero = llvm_math(builder, "fmuladd", ty, 3), ir.Constant(ty.llvm, None)
        with Loop(builder, args[6], [ap, bp, *[zero] * (DOT_ROWS * DOT_COLS)]) as loop:
            pa, pb, *acc = loop.values
            for n in (0, ty.lanes):
                B = [vector_at(builder, pb, j * width + n, ty) for j in range(DOT_COLS)]
                for r in range(DOT_ROWS):
                    x = vector_at(builder, pa, r * width + n, ty)
                    for j in range(DOT_COLS):
                        acc[r * DOT_COLS + j] = builder.call(fma, [x, B[j], acc[r * DOT_COLS + j]])
            loop.carry([builder.gep(pa, [args[7]]), builder.gep(pb, [args[8]]), *acc])
        found = concatenate(builder, fold(builder, loop.results[2:]))
        for r in range(DOT_ROWS):
            sums = shuffled(builder, found, found, list(range(r * DOT_COLS, (r + 1) * DOT_COLS)))
            store_at(builder, sums, cp, r * width, ty)
        return context.get_dummy_value()

    n = types.intp
    return types.void(C, n, A, n, B, n, n, n, n), codegen


def concatenate(builder: Any, vectors: list[Any]) -> Any:
    """Vectors, a power of two of them, end to end as one long one (LLVM splits it into registers again)."""
    while len(vectors) > 1:
        order = list(range(2 * vectors[0].type.count))
        vectors = [shuffled(builder, x, y, order) for x, y in pairs(vectors)]
    return vectors[0]


@intrinsic  # type: ignore[untyped-decorator]
def transpose(typingctx: Any, A: Any, a: Any, B: Any, b: Any) -> Any:
    """B[b + j P + i] = A[a + i P + j] for a block of lanes × lanes; P is the width of a micropanel on both sides."""
    ty = Vector(A.dtype, lanes(A.dtype))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, to = (element(context, builder, sig.args[i], args[i], args[i + 1]) for i in (0, 2))
        rows = [vector_at(builder, source, 2 * ty.lanes * i, ty) for i in range(ty.lanes)]
        for j, column in enumerate(columns_of(builder, rows)):
            store_at(builder, column, to, 2 * ty.lanes * j, ty)
        return context.get_dummy_value()

    return types.void(A, types.intp, B, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def pack_rows(typingctx: Any, A: Any, a: Any, B: Any, b: Any) -> Any:
    """B[b + j MR + i] = A[a + i P + j] for i < MR, j < P: a tall tile of a micropanel, packed."""
    ty = Vector(A.dtype, lanes(A.dtype))

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, to = (element(context, builder, sig.args[i], args[i], args[i + 1]) for i in (0, 2))
        for first in range(0, MR, ty.lanes):
            count = min(ty.lanes, MR - first)
            for n in (0, ty.lanes):
                rows = [vector_at(builder, source, 2 * ty.lanes * (first + i) + n, ty) for i in range(count)]
                rows += [ir.Constant(ty.llvm, ir.Undefined)] * (ty.lanes - count)
                for j, column in enumerate(columns_of(builder, rows)):
                    store_first(builder, column, count, to, (n + j) * MR + first, ty)
        return context.get_dummy_value()

    return types.void(A, types.intp, B, types.intp), codegen


def store_first(builder: Any, vector: Any, count: int, pointer: Any, step: int, ty: Vector) -> None:
    """Store the first `count` lanes and no others, as few powers of two."""
    done = 0
    while done < count:
        size = 1 << ((count - done).bit_length() - 1)
        part = shuffled(builder, vector, vector, list(range(done, done + size)))
        store_at(builder, part, pointer, step + done, ty)
        done += size


def columns_of(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of a square block, from its rows."""
    chunk = chunk_of(rows[0])
    groups = [columns_in_chunks(builder, rows[i : i + chunk], 1) for i in range(0, len(rows), chunk)]
    by_place = [columns_of_chunks(builder, [group[k] for group in groups]) for k in range(chunk)]
    return [by_place[k][i] for i in range(len(rows) // chunk) for k in range(chunk)]


def columns_in_chunks(builder: Any, rows: list[Any], width: int) -> list[Any]:
    """Of as many rows as a chunk has lanes: vector k has in every chunk the k-th lane of that chunk of each row."""
    if len(rows) == 1:
        return rows
    lower, upper = zip(*(zipped(builder, x, y, width) for x, y in pairs(rows)), strict=True)
    return columns_in_chunks(builder, [*lower], 2 * width) + columns_in_chunks(builder, [*upper], 2 * width)


def columns_of_chunks(builder: Any, rows: list[Any]) -> list[Any]:
    """The same for whole chunks: vector i has the i-th chunk of each row."""
    if len(rows) == 1:
        return rows
    halves = zip(*(dealt(builder, x, y) for x, y in pairs(rows)), strict=True)
    even, odd = (columns_of_chunks(builder, [*half]) for half in halves)
    return [chunk for both in zip(even, odd, strict=True) for chunk in both]


def pairs(items: list[Any]) -> Any:
    """Neighbours, two by two."""
    return zip(items[::2], items[1::2], strict=True)


def make_fold_rows(op: str) -> Any:
    """Intrinsic (C, c) → for each row of a tall tile one lane: the sum or product over the lanes of C[c + row P :]."""

    def typing(typingctx: Any, C: Any, c: Any) -> Any:
        ty = Vector(C.dtype, lanes(C.dtype))

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = element(context, builder, C, args[0], args[1])
            rows = [vector_at(builder, pointer, 2 * ty.lanes * r, ty) for r in range(MR)]
            rows += [ir.Constant(ty.llvm, ir.Undefined)] * (-MR % (MR + MR_SHORT))  # to a power of two
            found = concatenate(builder, fold(builder, rows, op))
            return shuffled(builder, found, found, list(range(MR)))

        return Vector(C.dtype, MR)(C, types.intp), codegen

    typing.__name__ = f"fold_rows_{op}"
    return intrinsic(typing)


sum_rows, multiply_rows = make_fold_rows("fadd"), make_fold_rows("fmul")
