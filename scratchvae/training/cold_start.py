"""§7.2.5 The first run on a machine: two processes compile what otherwise one would."""

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from ..kernels.jit import cache_folder, processors


@contextlib.contextmanager
def assistant(call: str, module: str) -> Iterator[None]:
    """Meanwhile another process does `call`, of a function in `module`, and leaves what it compiles in the cache.

    It ends before this does. If it fails nobody minds: what is not in the cache is compiled here. There is none without
    a cache or a second processor, nor in a program that is no Python interpreter.
    """
    command = [sys.executable, "-P", "-c", f"import {module} as m; m.{call}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    process = None
    if cache_folder() is not None and processors() > 1 and not getattr(sys, "frozen", False):
        with contextlib.suppress(OSError):
            process = subprocess.Popen(command, env=environment, **quiet)
    try:
        yield
    except BaseException:
        if process:
            process.kill()
        raise
    finally:
        if process:
            process.wait()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Meanwhile Python collects no garbage: a twentieth of the time that compiling takes."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
