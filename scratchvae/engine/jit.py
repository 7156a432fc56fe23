"""Engine. The one jit wrapper: Numba is imported at the first call, and compiled code is kept.

`@jit` turns a function into a lazy one. Its first call imports Numba, makes the dispatcher, and does the same for each
lazy function that it refers to, so kernels call one another freely, also across modules (`from … import other_nb`,
not `module.other_nb`). Every option of Numba's is chosen here, once, for every kernel.

Environment: SCRATCHVAE_VECTOR_WIDTH (16, 8, 4 float32 lanes, or 1 for plain loops), SCRATCHVAE_CACHE (folder for
compiled code; `off` for none), SCRATCHVAE_PLAIN_NUMBA (`engine.numba_patches`).
"""

import contextlib
import functools
import hashlib
import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from scratchvae.engine.cache import forget_old, usable
from scratchvae.engine.numba_patches import (
    can,
    cpu_features,
    keep,
    options,
    skip_object_code,
    skip_scipy_import,
    unliteral_arguments,
)
from scratchvae.engine.numba_patches import memoised_typing as memoised_typing
from scratchvae.engine.processors import processors as processors
from scratchvae.engine.processors import threads as threads
from scratchvae.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

# No fastmath but contraction: a NaN stays a NaN and sums keep their order. The NumPy error model returns inf for 1/0.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "boundscheck": False}

LOCK = threading.RLock()
# whose code, or whose constants, compiled code is made of
SOURCES = ("engine/*.py", "kernels/*.py", "fast/*.py", "networks.py", "models/vae.py", "estimators/baselines.py")


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
    """As `jit`, for work that allocates nothing: it and what it calls count no references to their arrays.

    A count is an atomic operation on a line that all threads share: without this they spend more time on handing that
    line to and fro than on a short loop.
    """
    return cast(F, LazyDispatcher(fn, functools.partial(dispatcher, patches=("no_refcounts",))))


def internal(fn: F) -> F:
    """A function for compiled callers only: no door for Python and no cache of its own, which compiles faster."""
    return cast(F, LazyDispatcher(fn, inner))


def inline(fn: F) -> F:
    """A small function that exists only inside compiled callers: Numba pastes it in, which costs no compilation."""
    return cast(F, LazyDispatcher(fn, functools.partial(inner, patches=(), inline="always")))


def dispatcher(fn: Callable[..., Any], patches: tuple[str, ...] = ()) -> Any:
    """Numba's dispatcher for `fn`, with the cache in our folder (or none, where no folder can be written)."""
    from numba import njit

    made, folder = njit(**OPTIONS, **options(*patches))(fn), cache_folder()
    if folder is None or not keep(made, folder):
        skip_scipy_import()
    return made


def inner(fn: Callable[..., Any], patches: tuple[str, ...] = ("no_wrappers",), **more: Any) -> Any:
    """Numba's dispatcher for `fn`, which only compiled functions call: without a cache."""
    from numba import njit

    made = njit(**OPTIONS, **options(*patches), **more)(fn)
    skip_object_code(made)
    unliteral_arguments(made)
    return made


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
    return f"+{feature}" in cpu_features().split(",")


@functools.cache
def cache_key() -> str:
    """Hash of every kernel source, the vector width and the versions: Numba's own key sees none of the first two."""
    import llvmlite
    import numba

    digest = hashlib.sha256(f"{vector_width()} {numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for pattern in SOURCES:
        for source in sorted(Path(__file__).parent.parent.glob(pattern)):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> str | None:
    """The first folder that we can write, and nobody else: SCRATCHVAE_CACHE (no other, if it is set), beside the
    kernels, the user's cache, a temporary one. None too where Numba keeps code in a way of its own."""
    chosen = os.environ.get("SCRATCHVAE_CACHE", "")
    if chosen == "off" or not can("keep"):
        return None
    for base in [Path(os.path.realpath(chosen))] if chosen else candidates():
        folder = base / f"numba-{cache_key()}"
        if usable(base, folder):
            with contextlib.suppress(OSError):
                os.utime(folder)
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
