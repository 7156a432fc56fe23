"""Engine. The machine: what it is, and the most it can do: FMA from registers, reading and updating each cache.

The kernels are emitted as LLVM vectors of the host's full width, so that no vectoriser's taste (256 bits on machines
with AVX-512) comes between. Peaks: the best of several short tries.
"""

import platform
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .processors import processors

PACKAGES = ("numpy", "numba", "llvmlite", "torch", "jax", "scipy")
CHAINS = 12  # independent accumulators: more than latency x ports (4 x 2), and they fit 16 registers
FALLBACK = {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20}
TRY = 0.004  # seconds of one try
TRIES = 8


def describe() -> dict[str, Any]:
    """Model, processors that this process may use, caches in bytes, vector width, versions."""
    return {
        "cpu": _model(),
        "processors": processors(),
        "caches": caches(),
        "vector_bits": 32 * width(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": {name: v for name in PACKAGES if (v := _version(name))},
    }


def _model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def caches() -> dict[str, int]:
    """Bytes of L1 (data), L2 and L3 as the kernel of the system tells; common sizes where it does not."""
    found = dict(FALLBACK)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found[f"L{level}"] = int(size[:-1]) << {"K": 10, "M": 20}[size[-1]]
    return found


@cache
def width() -> int:
    """float32 lanes of the widest vectors of this host."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


def limits(counts: Iterable[int] = (1, 2)) -> dict[str, Any]:
    """By thread count: GFLOP/s of FMA from registers, GB/s of reading, and of updating (counting what is read)."""
    found: dict[str, Any] = {}
    sizes = {name: size // 2 for name, size in caches().items()}
    sizes["DRAM"] = min(256 << 20, 4 * caches()["L3"])
    for n in counts:
        one: dict[str, Any] = {f"fma_{32 * w}": fma_peak(w, n) for w in (4, 8, 16) if w <= width()}
        for level, size in sizes.items():
            each = size // n if level in ("L3", "DRAM") else size
            one[level] = {"read": bandwidth(each, n, False), "update": bandwidth(each, n, True)}
        found[str(n)] = one
    return found


def fma_peak(lanes: int, threads: int) -> float:
    """GFLOP/s of independent chains a <- a * b + c that stay in registers."""
    kernel = _kernels(lanes)[0]
    return _best(lambda n: kernel(n), 2.0 * CHAINS * lanes, threads, [()] * threads)


def bandwidth(size: int, threads: int, update: bool) -> float:
    """GB/s over a buffer of that many bytes a thread, read (or read, changed and written back) again and again."""
    kernel = _kernels(width())[2 if update else 1]
    step = 4 * width() * 8
    blocks = max(1, size // step)
    buffers = [np.zeros(blocks * step + 64, np.uint8) for _ in range(threads)]
    starts = [((b.ctypes.data + 63) // 64 * 64,) for b in buffers]
    return _best(lambda n, at: kernel(at, blocks, n), float(blocks * step), threads, starts)


def _best(call: Callable[..., Any], work: float, threads: int, given: list[tuple[Any, ...]]) -> float:
    """Billions of units of work a second, all threads at once, the best of several tries."""
    call(1, *given[0])
    n = 1
    while _seconds(lambda n=n: call(n, *given[0])) < TRY:  # type: ignore[misc]
        n *= 2
    with ThreadPoolExecutor(threads) as pool:

        def together() -> None:
            for future in [pool.submit(call, n, *g) for g in given]:
                future.result()

        together()
        return round(work * n * threads / min(_seconds(together) for _ in range(TRIES)) / 1e9, 1)


def _seconds(f: Callable[[], Any]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


@cache
def _kernels(lanes: int) -> tuple[Any, Any, Any]:
    """(fma(n), read(address, blocks, n), update(address, blocks, n)), compiled for vectors of that many float32."""
    import numba
    from numba.core import types
    from numba.extending import intrinsic

    @intrinsic  # type: ignore[untyped-decorator]
    def chain(typing: Any, n: Any) -> Any:
        return types.float32(types.int64), lambda _c, b, _s, args: _emit_fma(b, args[0], lanes)

    @intrinsic  # type: ignore[untyped-decorator]
    def reading(typing: Any, at: Any, blocks: Any) -> Any:
        return types.int32(types.int64, types.int64), lambda _c, b, _s, a: _emit_sweep(b, a[0], a[1], lanes, False)

    @intrinsic  # type: ignore[untyped-decorator]
    def updating(typing: Any, at: Any, blocks: Any) -> Any:
        return types.int32(types.int64, types.int64), lambda _c, b, _s, a: _emit_sweep(b, a[0], a[1], lanes, True)

    def fma(n):  # type: ignore[no-untyped-def]
        return chain(n)

    def read(at, blocks, n):  # type: ignore[no-untyped-def]
        found = 0
        for _ in range(n):
            found ^= reading(at, blocks)
        return found

    def update(at, blocks, n):  # type: ignore[no-untyped-def]
        found = 0
        for _ in range(n):
            found ^= updating(at, blocks)
        return found

    jit = numba.njit(nogil=True)
    return jit(fma), jit(read), jit(update)


def _loop(b: Any, count: Any, states: list[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """for i in range(count): states = body(i, states); count >= 1. Returns the last states."""
    from llvmlite import ir

    before, inside = b.block, b.append_basic_block("inside")
    after = b.append_basic_block("after")
    b.branch(inside)
    b.position_at_end(inside)
    i = b.phi(ir.IntType(64))
    phis = [b.phi(s.type) for s in states]
    new = body(i, phis)
    following = b.add(i, ir.Constant(i.type, 1))
    for phi, first, then in zip([i, *phis], [ir.Constant(i.type, 0), *states], [following, *new], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(then, inside)
    b.cbranch(b.icmp_signed("<", following, count), inside, after)
    b.position_at_end(after)
    return new


def _emit_fma(b: Any, n: Any, lanes: int) -> Any:
    """CHAINS accumulators, a <- fma(a, 0.999, 1e-3): never denormal, never infinite."""
    from llvmlite import ir

    vector = ir.VectorType(ir.FloatType(), lanes)
    name = f"llvm.fma.v{lanes}f32"  # declared once a module
    fma = b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(vector, [vector] * 3), name)
    factor, add = (ir.Constant(vector, [c] * lanes) for c in (0.999, 1e-3))
    start = [ir.Constant(vector, [float(k)] * lanes) for k in range(CHAINS)]
    last = _loop(b, n, start, lambda _i, states: [b.call(fma, [s, factor, add]) for s in states])
    total = last[0]
    for s in last[1:]:
        total = b.fadd(total, s)
    return b.extract_element(total, ir.Constant(ir.IntType(32), 0))


def _emit_sweep(b: Any, at: Any, blocks: Any, lanes: int, write: bool) -> Any:
    """Eight vectors a round: or-ed into eight accumulators (one cycle each), or changed and stored back."""
    from llvmlite import ir

    vector = ir.VectorType(ir.IntType(32), lanes)
    start = b.inttoptr(at, vector.as_pointer())
    flip = ir.Constant(vector, [1] * lanes)

    def body(i: Any, states: list[Any]) -> list[Any]:
        first = b.mul(i, ir.Constant(i.type, 8))
        new = []
        for k, s in enumerate(states):
            pointer = b.gep(start, [b.add(first, ir.Constant(i.type, k))])
            loaded = b.load(pointer, align=4)
            if write:
                b.store(b.xor(loaded, flip), pointer, align=4)
            new.append(s if write else b.or_(s, loaded))
        return new

    last = _loop(b, blocks, [ir.Constant(vector, [0] * lanes)] * 8, body)
    total = last[0]
    for s in last[1:]:
        total = b.or_(total, s)
    return b.extract_element(total, ir.Constant(ir.IntType(32), 0))
