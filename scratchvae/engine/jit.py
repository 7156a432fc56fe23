"""Engine. The one jit wrapper: Numba is imported at the first call, compiled code is cached, a bad cache heals itself.

`@jit` turns a function into a lazy one. Its first call imports Numba, makes the dispatcher, and does the same for each
lazy function that it refers to, so kernels call one another freely, also across modules (`from … import other_nb`,
not `module.other_nb`). Every option of Numba's is chosen here, once, for every kernel.

Environment: SCRATCHVAE_VECTOR_WIDTH (16, 8, 4 float32 lanes, or 1 for plain loops), SCRATCHVAE_CACHE (folder for
compiled code; `off` for none), OMP_NUM_THREADS.
"""

import contextlib
import functools
import gc
import hashlib
import importlib
import math
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from scratchvae.engine.cache import forget_old, seal, usable
from scratchvae.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

# No fastmath but contraction: a NaN stays a NaN and sums keep their order. The NumPy error model returns inf for 1/0.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "boundscheck": False}

CGROUP = Path("/sys/fs/cgroup")
LOCK = threading.RLock()
ROOMS = ("engine", "kernels", "fast")  # whose sources compiled code is made of


class LazyDispatcher:
    """A function that becomes a Numba object (a dispatcher or an intrinsic) at its first use."""

    def __init__(self, fn: Callable[..., Any], make: Callable[[Callable[..., Any]], Any]) -> None:
        functools.update_wrapper(self, fn)
        self.fn, self.make, self.made = fn, make, None
        self.ready = None  # the same as `made`, once its globals are too

    def realise(self) -> Any:
        """The Numba object; every lazy global that the function names is replaced by its own."""
        with LOCK:  # two threads may meet here, and half a job is none
            if self.made is None:
                self.made = self.make(self.fn)
                seen = self.fn.__globals__
                for name in names(self.fn.__code__):
                    if isinstance(seen.get(name), LazyDispatcher):
                        seen[name] = seen[name].realise()
                self.ready = self.made
            return self.made

    def __call__(self, *args: Any) -> Any:
        return (self.ready or self.realise())(*args)


class LazyImport(LazyDispatcher):
    """A function of a kernel module that imports Numba at once, named in a module that must not."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def realise(self) -> Any:
        """The Numba object, from its module."""
        found = getattr(importlib.import_module(f"scratchvae.{self.module}"), self.name)
        return found.realise() if isinstance(found, LazyDispatcher) else found


def lazy_import(module: str, *names: str) -> tuple[Any, ...]:
    """`names` of `scratchvae.module`, for compiled functions: imported when the first of those is compiled."""
    return tuple(LazyImport(module, name) for name in names)


def skip_scipy_import() -> None:
    """Import what Numba compiles with, but not scipy.linalg, which is a quarter second of the start.

    Numba imports it merely to ask whether there is a BLAS. There is (SciPy is a dependency of ours), so only the
    question is put off: Numba asks again wherever compiled code really calls BLAS.
    """
    if "numba.np.arraymath" in sys.modules:
        return
    import numba.np.linalg as linalg

    asked = getattr(linalg, "ensure_blas", None)
    linalg.ensure_blas = lambda: None
    try:
        import numba.np.arraymath as arraymath
    finally:
        linalg.ensure_blas = asked
    arraymath.ensure_blas = asked


@contextlib.contextmanager
def memoised_typing() -> Iterator[None]:
    """Meanwhile Numba compiles faster: Python collects no garbage, a twentieth of the time, and a call is typed once.

    Numba asks each time what an operator or an intrinsic makes of its arguments, and tries candidates until one fits;
    nine in ten of a step's five thousand calls it has had before. That is a seventh of the time. Other threads cannot
    compile meanwhile.
    """
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target
    from numba.core.targetconfig import ConfigStack
    from numba.core.types import functions

    kind: Any = functions.BaseFunction
    known: dict[Any, Any] = {}
    # Numba makes this at its first use, under another lock, and then wants the compiler's: a thread that took them in
    # the other order could wait for ever.
    _ = cpu_target.target_context

    def get_call_type(function: Any, context: Any, args: Any, kws: Any) -> Any:
        flags = ConfigStack.top_or_none()  # an overload is compiled with those of its caller
        key = flags and (flags.nrt, flags.error_model), function, tuple(args), tuple(kws.items())
        if key not in known:
            known[key] = ask(function, context, args, kws)
        return known[key]

    with global_compiler_lock:  # so that what is put back is what was there
        ask, collecting = kind.get_call_type, gc.isenabled()
        try:
            gc.disable()
            kind.get_call_type = get_call_type
            yield
        finally:
            kind.get_call_type = ask
            if collecting:
                gc.enable()


@contextlib.contextmanager
def load_without_registries(context: Any) -> Iterator[None]:
    """Load compiled code without all that Numba could compile, whose import is a fifth of a warm start.

    Machine code asks for Numba's runtime and for nothing else; to compile, Numba refreshes the context again.
    """
    from numba.core.runtime import rtsys

    try:
        context.refresh = lambda: rtsys.initialize(context)
        yield
    finally:
        vars(context).pop("refresh", None)


def names(code: Any) -> Iterator[str]:
    """Every global name in a code object and in the functions nested in it."""
    yield from code.co_names
    for const in code.co_consts:
        if hasattr(const, "co_names"):
            yield from names(const)


def jit(fn: F) -> F:
    """Compile `fn` with Numba at its first call; the same function, the same arguments."""
    return cast(F, LazyDispatcher(fn, dispatcher))


def without_refcounts(fn: F) -> F:
    """As `jit`, for work that allocates nothing: it and its parts count no references to their arrays.

    A count is an atomic operation on a line that all threads share: without this they spend more time on handing that
    line to and fro than on a short loop.
    """
    return cast(F, LazyDispatcher(fn, functools.partial(dispatcher, _nrt=False)))


def internal(fn: F) -> F:
    """A function for compiled callers only: no door for Python and no cache of its own, which compiles faster."""
    return cast(F, LazyDispatcher(fn, functools.partial(inner, no_cpython_wrapper=True, no_cfunc_wrapper=True)))


def inline(fn: F) -> F:
    """A small function that exists only inside compiled callers: Numba pastes it in, which costs no compilation."""
    return cast(F, LazyDispatcher(fn, functools.partial(inner, inline="always")))


def inner(fn: Callable[..., Any], **options: Any) -> Any:
    """Numba's dispatcher for `fn`, without a cache."""
    from numba import njit

    made = njit(**OPTIONS, **options)(fn)
    skip_object_code(made)
    unliteral_arguments(made)
    return made


def unliteral_arguments(made: Any) -> None:
    """Let one copy of a part serve f(x, 0) and f(x, 1): to Numba each constant has a type of its own."""
    from numba import types

    def plain(args: Any, kws: Any) -> Any:
        return typed(tuple(map(types.unliteral, args)), {name: types.unliteral(kind) for name, kind in kws.items()})

    typed, made.get_call_template = made.get_call_template, plain


def skip_object_code(made: Any) -> None:
    """Let LLVM optimise and translate the parts once, inside their caller, and not each by itself as well.

    Numba makes machine code of every function that it compiles, to be called from Python; nobody calls a part.
    """
    core, context = getattr(made._compiler, "_compile_core", None), made.targetctx
    if core is None:
        return  # another Numba, and a slower start

    def flags(found: Any) -> Any:
        found.no_compile = True
        return found

    def compile_core(*args: Any) -> Any:
        cres = core(*args)
        entry: Any = [].append  # stands for the function that there is not: Numba wants a built-in, each its own
        context.insert_user_function(entry, cres.fndesc, [cres.library])
        library = cres.library
        library._optimize_final_module = lambda: None

        def finalize_final_module() -> None:
            library._finalize_dynamic_globals()
            library._finalized = True

        library._finalize_final_module = finalize_final_module
        return cres._replace(entry_point=entry)

    made._compiler._customize_flags = flags
    made._compiler._compile_core = compile_core


def intrinsic(fn: F) -> F:
    """`numba.extending.intrinsic`, made at first use: `fn(typingctx, *types)` returns (signature, codegen)."""

    def make(fn: Callable[..., Any]) -> Any:
        from numba.extending import intrinsic as numba_intrinsic

        return numba_intrinsic(fn)

    return cast(F, LazyDispatcher(fn, make))


def dispatcher(fn: Callable[..., Any], **options: Any) -> Any:
    """Numba's dispatcher for `fn`, with the cache in our folder (or none, where no folder can be written)."""
    from numba import config, njit

    made = njit(**OPTIONS, **options)(fn)
    folder = cache_folder()
    if folder is None:
        skip_scipy_import()
    else:
        before, config.CACHE_DIR = config.CACHE_DIR, folder
        try:
            made.enable_caching()
            heal(made._cache, folder)
        finally:
            config.CACHE_DIR = before
    return made


def heal(cache: Any, folder: str) -> None:
    """A cache file that cannot be read is compiled and written anew; one that cannot be written is not kept."""
    load, save, sealed = cache.load_overload, cache.save_overload, seal(cache, folder)

    def load_overload(sig: Any, context: Any) -> Any:
        found = None
        with contextlib.suppress(Exception):  # another version's data: it means "compile again"
            if sealed:
                with load_without_registries(context):
                    found = load(sig, context)
        if found is None:
            skip_scipy_import()
        return found

    cache.load_overload = load_overload
    cache.save_overload = lambda *args: attempt(save, *args) if sealed else None


def attempt(f: Callable[..., Any], *args: Any) -> None:
    """Call f; a failing disk costs only the cache."""
    with contextlib.suppress(OSError):
        f(*args)


@functools.cache
def vector_width() -> int:
    """float32 lanes of a vector register: 16 (AVX-512), 8 (AVX2), 4 (SSE, NEON); 1 stands for plain loops."""
    forced = os.environ.get("SCRATCHVAE_VECTOR_WIDTH", "")
    if forced:
        if forced not in ("16", "8", "4", "1"):
            raise UsageError(f"SCRATCHVAE_VECTOR_WIDTH is {forced!r}; expected 16, 8, 4 or 1 (plain loops), or unset")
        return int(forced)
    if has("avx512f") and has("avx512vl"):
        return 16
    if has("avx2") and has("fma"):
        return 8
    return 4


@functools.cache
def has(feature: str) -> bool:
    """Whether Numba compiles for the named set of instructions: the host's, unless NUMBA_CPU_NAME or others say less.

    A forced width may be wider than the registers: what is asked here is whether an instruction may be emitted.
    """
    from numba.core.registry import cpu_target

    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return f"+{feature}" in features.split(",")


@functools.cache
def cache_key() -> str:
    """Hash of every kernel source, the vector width and the versions: Numba's own key sees none of the first two."""
    import llvmlite
    import numba

    digest = hashlib.sha256(f"{vector_width()} {numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for room in ROOMS:
        for source in sorted((Path(__file__).parent.parent / room).glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> str | None:
    """The first folder that we can write, and nobody else: SCRATCHVAE_CACHE (no other, if it is set), beside the
    kernels, the user's cache, a temporary one."""
    chosen = os.environ.get("SCRATCHVAE_CACHE", "")
    if chosen == "off":
        return None
    for base in [Path(os.path.realpath(chosen))] if chosen else candidates():
        folder = base / f"numba-{cache_key()}"
        if usable(base, folder):
            attempt(os.utime, folder)
            forget_old(base, folder)
            return str(folder)
    return None


def candidates() -> Iterator[Path]:
    """Folders for the cache of whoever has not chosen one."""
    yield Path(__file__).parent / "__pycache__"
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    yield Path(chosen if os.path.isabs(chosen) else os.path.expanduser("~/.cache")) / "scratchvae"
    with contextlib.suppress(OSError):  # no temporary folder either
        yield Path(tempfile.gettempdir()) / f"scratchvae-{os.geteuid() if hasattr(os, 'geteuid') else 'user'}"


@functools.cache
def threads() -> int:
    """Threads to use unless told: OMP_NUM_THREADS if set, else one for each of `processors`."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else processors()


def processors() -> int:
    """Cores that this process may run on, or those that a container's quota of time keeps busy, rounded up: more
    threads, which spin while they wait, would use the time up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota())))


def quota() -> float:
    """Cores' worth of time that Linux grants a container, by control groups of version 2 or 1; infinity where it says
    nothing in CGROUP itself (groups below it are not looked at)."""
    for names in ("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            granted, period = (int(n) for name in names for n in (CGROUP / name).read_text().split())
            if granted > 0:
                return granted / period
    return math.inf
