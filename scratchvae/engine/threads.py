"""Engine. What threads need inside one compiled call: a barrier of spinning, and flush-to-zero set and restored.

Fork and join cost 100 to 200 microseconds a region in Python or Numba's work queue; a spin costs a tenth of one. A step
has about ten places where threads wait for each other, so many steps run in one call and the threads meet by spinning.

The work between two barriers is a range of units, cut into equal shares, one a thread. Cores are seldom equally fast
(others use the machine, too), so a thread that is through with its own share helps with those of others (`steal`).

    counters = [arrivals, …][phases, even and odd][threads][loops]    int64, cache lines for each of the brackets

counts how far each share has been claimed, for each loop over units that a phase has (a job of the schedule is one). A
thread sets its counts for the next phase to zero before it arrives at the barrier: the last phase that used them is
over for all.
"""

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from scratchvae.engine.jit import internal
from scratchvae.engine.vectors import element
from scratchvae.types import Array

X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
FLUSH = 0x8040  # MXCSR: results (bit 15) and operands (bit 6) that are subnormal count as zero
LINE = 16  # int64 of a cache line and of its neighbour, which processors fetch in pairs
SPINS = 1_000  # some ten microseconds, before the core is offered: more threads than cores must not hang


@intrinsic  # type: ignore[untyped-decorator]
def atomic_add(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """array[index] += value as one event that all threads see in one order; returns the old value."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", element(context, builder, sig.args[0], args[0], args[1]), args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def atomic_load(typingctx: Any, array: Any, index: Any) -> Any:
    """array[index], never kept in a register."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(element(context, builder, sig.args[0], args[0], args[1]), "acquire", 8)

    return types.int64(array, types.intp), codegen


def call_void(builder: Any, name: str, kinds: list[Any], args: list[Any]) -> None:
    """Call an LLVM function that returns nothing."""
    fn = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
    builder.call(fn, args)


@intrinsic  # type: ignore[untyped-decorator]
def pause(typingctx: Any) -> Any:
    """Tell the core that this is a spin."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if X86:
            call_void(builder, "llvm.x86.sse2.pause", [], [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def give_way(typingctx: Any) -> Any:
    """sched_yield: let another thread have the core."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if platform.system() != "Windows":
            ty = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, ty, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic  # type: ignore[untyped-decorator]
def out_of_line(typingctx: Any) -> Any:
    """Said inside a function: LLVM shall not paste it into its callers (one copy compiles faster than three)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


def counters_size(threads: int, loops: int) -> int:
    """Length of `counters` for so many threads and, in a phase, loops."""
    return LINE + 2 * threads * (-(-loops // LINE) * LINE)


@internal
def counts_of(counters: Array, phase: int, t: int, threads: int) -> Any:
    """Where the counts of thread t's share lie in that phase, and how many there is room for."""
    room = (counters.size - LINE) // (2 * threads)
    return LINE + (phase % 2 * threads + t) * room, room


@internal
def barrier(counters: Array, t: int, threads: int) -> None:
    """Thread t waits until all threads have come, and all shares are unclaimed again."""
    phase = atomic_load(counters, 0) // threads
    if threads == 1:
        phase -= 1  # it is always phase 0
    first, room = counts_of(counters, phase + 1, t, threads)
    for i in range(first, first + room):
        counters[i] = 0
    if threads == 1:
        return
    atomic_add(counters, 0, 1)
    goal, spins = (phase + 1) * threads, 0
    while atomic_load(counters, 0) < goal:
        spins += 1
        if spins > SPINS:
            give_way()
        else:
            pause()


@internal
def static_share(units: int, t: int, threads: int) -> Any:
    """First and last + 1 of thread t's units."""
    return units * t // threads, units * (t + 1) // threads


@internal
def steal(counters: Array, loop: int, units: int, least: int, t: int, threads: int) -> Any:
    """First and last + 1 of units that thread t is to do next, the same twice when none is left: an eighth of a share,
    a multiple of `least`, from its own share while that lasts."""
    out_of_line()
    phase, many = atomic_load(counters, 0) // threads, max(1, units // threads // 8 // least) * least
    for other in range(t, t + threads):
        owner = other % threads
        (begin, end), at = static_share(units, owner, threads), counts_of(counters, phase, owner, threads)[0] + loop
        if begin + atomic_load(counters, at) < end:
            first = begin + atomic_add(counters, at, many)
            if first < end:
                return first, min(first + many, end)
    return units, units


@intrinsic  # type: ignore[untyped-decorator]
def exchange_control(typingctx: Any, value: Any) -> Any:
    """Set this thread's floating-point control register; returns the old one (elsewhere than on x86: nothing)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if not X86:
            return args[0]
        i32, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        old, new = cgutils.alloca_once(builder, i32), cgutils.alloca_once_value(builder, args[0])
        call_void(builder, "llvm.x86.sse.stmxcsr", [byte], [builder.bitcast(old, byte)])
        call_void(builder, "llvm.x86.sse.ldmxcsr", [byte], [builder.bitcast(new, byte)])
        return builder.load(old)

    return types.uint32(types.uint32), codegen


@internal
def flush_to_zero() -> Any:
    """Subnormals become zero on this thread (dW is full of them, and they cost a trap each); returns what was set."""
    old = exchange_control(0x1F80 | FLUSH)
    exchange_control(old | FLUSH)
    return old


@internal
def restore(old: Any) -> None:
    """Undo `flush_to_zero`."""
    exchange_control(old)
