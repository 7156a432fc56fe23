"""Engine. The first run on a machine: two processes compile what otherwise one would, and somebody says so."""

import contextlib
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from .jit import cache_folder
from .processors import processors

PATIENCE = 5.0  # seconds


@contextlib.contextmanager
def patience(cold: bool = True) -> Iterator[None]:
    """Around work that may have to compile: if it takes longer than PATIENCE, words on stderr on what takes so long."""
    timer = threading.Timer(PATIENCE, explain)
    timer.daemon = True
    if cold:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@functools.cache
def explain() -> None:
    """Said once."""
    kept = "the next run finds them compiled" if cache_folder() else "there is no folder to keep them in"
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr full, closed, or none at all
        print(f"scratchvae: compiling the kernels; {kept}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def assistant(call: str, module: str) -> Iterator[None]:
    """Meanwhile another process does `call`, of a function in `module`, and leaves what it compiles in the cache.

    It ends before this does. If it fails nobody minds: what is not in the cache is compiled here.
    """
    process = start(call, module)
    if process is None:
        yield
        return
    with process:  # closes its stdin, in the end
        try:
            yield
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise


def start(call: str, module: str) -> subprocess.Popen[bytes] | None:
    """The process; None without a cache or a second processor, and where Python is part of another program."""
    python = Path(sys.executable or "")
    if cache_folder() is None or processors() < 2 or not python.name.lower().startswith("python"):
        return None
    command = [str(python), "-P", "-c", f"import {__name__} as c, {module} as m; c.follow(); m.{call}"]
    path = os.pathsep.join(os.path.abspath(place) for place in sys.path if isinstance(place, str))
    environment, nowhere = {**os.environ, "PYTHONPATH": path}, subprocess.DEVNULL
    try:
        return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere)
    except OSError:
        return None


def follow() -> None:
    """End this process, the assistant, as soon as the one that started it has ended and closed its end of stdin."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
