"""Engine. Whatever leans on names that Numba calls its own, so as to compile or to start faster.

Numba may rename them in any version. A patch is applied where all its NAMES are there; without it a kernel gives the
same bits, later. SCRATCHVAE_PLAIN_NUMBA=1 applies none. The versions that were tried are those that setup.cfg allows.
"""

import contextlib
import gc
import importlib
import operator
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scratchvae.engine.cache import Sealed

# numba.module:name, or :name of the object that the patch is for (a dispatcher; of `seal`, its cache)
NAMES: dict[str, tuple[str, ...]] = {
    "no_refcounts": ("core.cpu:CPUTargetOptions._nrt",),
    "no_wrappers": ("core.cpu:CPUTargetOptions.no_cpython_wrapper", "core.cpu:CPUTargetOptions.no_cfunc_wrapper"),
    "cpu_features": ("core.registry:cpu_target.target_context", "core.codegen:JITCPUCodegen.magic_tuple"),
    "skip_scipy_import": ("np.linalg:ensure_blas",),
    "memoised_typing": (
        "core.types.functions:BaseFunction.get_call_type",
        "core.compiler:Flags.options",
        "core.targetconfig:ConfigStack.top_or_none",
        "core.compiler_lock:global_compiler_lock",
        "core.registry:cpu_target.target_context",
    ),
    "unliteral_arguments": (":get_call_template",),
    "skip_object_code": (
        ":_compiler._compile_core",
        ":_compiler._customize_flags",
        ":targetctx.insert_user_function",
        "core.compiler:Flags.no_compile",
        "core.compiler:CompileResult.entry_point",
        "core.compiler:CompileResult.fndesc",
        "core.compiler:CompileResult.library",
        "core.codegen:CPUCodeLibrary._optimize_final_module",
        "core.codegen:CPUCodeLibrary._finalize_final_module",
        "core.codegen:CPUCodeLibrary._finalize_dynamic_globals",
        "core.codegen:CPUCodeLibrary._finalized",
    ),
    "keep": (
        ":_cache",
        "core.caching:FunctionCache.load_overload",
        "core.caching:FunctionCache.save_overload",
        "core.caching:FunctionCache.cache_path",
        "core.config:CACHE_DIR",
        "core.serialize:dumps",
    ),
    "seal": (":_cache_file", ":_impl.filename_base", ":_impl.locator.get_source_stamp"),
    "load_without_registries": ("core.base:BaseContext.refresh", "core.runtime:rtsys.initialize"),
    "link": (  # see `engine.linkable`
        ":overloads",
        ":add_overload",
        ":_cache.load_overload",
        "core.compiler:CompileResult.fndesc",
        "core.compiler:CompileResult.library",
        "core.compiler_lock:global_compiler_lock",
        "core.callconv:CPUCallConv.get_function_type",
        "core.callconv:CPUCallConv.call_function",
        "core.callconv:CPUCallConv.return_status_propagate",
        "core.codegen:JITCodeLibrary.get_pointer_to_function",
        "core.funcdesc:FunctionDescriptor.llvm_func_name",
    ),
}
# Options of a compilation in the versions that were tried: of these, typing depends on nrt and error_model alone.
FLAGS = {
    "enable_looplift", "enable_pyobject", "enable_pyobject_looplift", "enable_ssa", "force_pyobject", "release_gil",
    "no_compile", "debuginfo", "boundscheck", "forceinline", "no_cpython_wrapper", "no_cfunc_wrapper", "auto_parallel",
    "nrt", "no_rewrites", "error_model", "fastmath", "noalias", "inline", "dbg_extend_lifetimes", "dbg_optnone",
    "dbg_directives_only",
}  # fmt: skip


def plain() -> bool:
    """Whether to do without all of this."""
    return os.environ.get("SCRATCHVAE_PLAIN_NUMBA", "") not in ("", "0")


def can(patch: str, of: Any = None) -> bool:
    """Whether Numba has all that the patch needs, and we want it."""
    return not plain() and all(found(name, of) for name in NAMES[patch])


def found(name: str, of: Any) -> bool:
    """Whether there is that name of NAMES; those of the object `of` are taken for granted where there is none yet."""
    module, _, path = name.partition(":")
    if not module and of is None:
        return True
    try:
        operator.attrgetter(path)(importlib.import_module(f"numba.{module}") if module else of)
    except (ImportError, AttributeError):
        return False
    return True


def options(*patches: str) -> dict[str, Any]:
    """Arguments of `njit`. no_refcounts: arrays are not counted; no_wrappers: no door for Python, none for C."""
    wanted: dict[str, Any] = {
        "no_refcounts": {"_nrt": False},
        "no_wrappers": {"no_cpython_wrapper": True, "no_cfunc_wrapper": True},
    }
    return {name: value for patch in patches if can(patch) for name, value in wanted[patch].items()}


def cpu_features() -> str:
    """The sets of instructions that Numba compiles for, "+avx2,-avx512f,…": its own word, else what the host has."""
    if can("cpu_features"):
        from numba.core.registry import cpu_target

        return str(cpu_target.target_context.codegen().magic_tuple()[2])
    from llvmlite import binding
    from numba import config

    if getattr(config, "CPU_FEATURES", None) is not None:  # of NUMBA_CPU_FEATURES, NUMBA_CPU_NAME
        return str(config.CPU_FEATURES)
    with contextlib.suppress(RuntimeError):  # a host that LLVM does not know
        host = binding.get_host_cpu_features()
        avx = getattr(config, "ENABLE_AVX", True)
        return ",".join(f"+{name}" for name, there in host.items() if there and (avx or not name.startswith("avx")))
    return ""


def skip_scipy_import() -> None:
    """Import what Numba compiles with, but not scipy.linalg, which is a quarter second of the start.

    Numba imports it merely to ask whether there is a BLAS. There is (SciPy is a dependency of ours), so only the
    question is put off: Numba asks again wherever compiled code really calls BLAS.
    """
    if "numba.np.arraymath" in sys.modules or not can("skip_scipy_import"):
        return
    import numba.np.linalg as linalg

    asked = linalg.ensure_blas
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
    if not can("memoised_typing"):
        yield
        return
    from numba.core.compiler import Flags
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
            if FLAGS.issuperset(Flags.options):  # with one that we do not know, a type might depend on it
                kind.get_call_type = get_call_type
            yield
        finally:
            kind.get_call_type = ask
            if collecting:
                gc.enable()


def unliteral_arguments(made: Any) -> None:
    """Let one copy of an internal function serve f(x, 0) and f(x, 1): to Numba each constant has a type of its own."""
    if not can("unliteral_arguments", made):
        return
    from numba import types

    def get_call_template(args: Any, kws: Any) -> Any:
        return typed(tuple(map(types.unliteral, args)), {name: types.unliteral(kind) for name, kind in kws.items()})

    typed, made.get_call_template = made.get_call_template, get_call_template


def skip_object_code(made: Any) -> None:
    """Let LLVM optimise and translate internal functions once, inside their caller, and not each by itself as well.

    Numba makes machine code of every function that it compiles, to be called from Python; nobody calls these.
    """
    if not can("skip_object_code", made):
        return
    core, context = made._compiler._compile_core, made.targetctx

    def customize_flags(flags: Any) -> Any:
        flags.no_compile = True
        return flags

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

    made._compiler._customize_flags = customize_flags
    made._compiler._compile_core = compile_core


def keep(made: Any, folder: str) -> bool:
    """Let a dispatcher find its compiled code in `folder`, and leave it there, in Sealed files. A file that cannot be
    read is compiled and written anew; one that cannot be written is not kept.

    False where Numba has another way to keep code, or another folder: then nothing is read, and nothing kept.
    """
    if not can("keep", made):
        return False
    from numba.core import caching, config

    before, config.CACHE_DIR = config.CACHE_DIR, folder
    try:
        cache = caching.FunctionCache(made.py_func)
    finally:
        config.CACHE_DIR = before
    if not can("seal", cache) or not Path(cache.cache_path).is_relative_to(folder):
        return False
    cache._cache_file = Sealed(cache.cache_path, cache._impl.filename_base, cache._impl.locator.get_source_stamp())
    load, save = cache.load_overload, cache.save_overload

    def load_overload(sig: Any, context: Any) -> Any:
        code = None
        with contextlib.suppress(Exception), load_without_registries(context):  # another version's data: compile again
            code = load(sig, context)
        if code is None:
            skip_scipy_import()
        return code

    def save_overload(*args: Any) -> None:
        with contextlib.suppress(OSError):  # a failing disk costs only the cache
            save(*args)

    cache.load_overload, cache.save_overload, made._cache = load_overload, save_overload, cache
    return True


@contextlib.contextmanager
def load_without_registries(context: Any) -> Iterator[None]:
    """Load compiled code without all that Numba could compile, whose import is a fifth of a warm start.

    Machine code asks for Numba's runtime and for nothing else; to compile, Numba refreshes the context again.
    """
    if not can("load_without_registries"):
        yield
        return
    from numba.core.runtime import rtsys

    try:
        context.refresh = lambda: rtsys.initialize(context)
        yield
    finally:
        vars(context).pop("refresh", None)
