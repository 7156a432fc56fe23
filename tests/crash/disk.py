"""§7.3 A disk on which one call fails: Python's calls are counted, and the one of a number raises, or is short."""

import builtins
import errno
import io
import mmap
import os
from collections.abc import Callable
from typing import Any

SHORT = 0  # no error: a read or a write of half the bytes, which POSIX allows
TORN = -1  # half the bytes are written, and then the disk is full
NAMES = {SHORT: "short", TORN: "torn"}
CALLS = ("open", "stat", "lstat", "fsync", "replace", "rename", "unlink", "mkdir", "listdir", "scandir", "utime")
ANY = (errno.EIO, errno.EACCES, errno.ENOSPC, errno.EMFILE)
FAULTS = {"write": (*ANY, errno.EINTR, SHORT, TORN), "read": (*ANY, errno.EINTR, SHORT), "open": (*ANY, errno.EINTR)}


class Disk:
    """The calls that reach files in the working folder, by their Python names, counted; number `at` fails."""

    def __init__(self, at: int = -1, error: int = SHORT) -> None:
        self.at, self.error, self.calls = at, error, list[str]()
        self.folder = os.getcwd()

    def gate(self, name: str) -> bool:
        """Whether this call is to be short; raises OSError if it is to fail."""
        self.calls.append(name)
        if len(self.calls) - 1 != self.at:
            return False
        if self.error > 0:
            raise OSError(self.error, os.strerror(self.error))
        if self.error == TORN:  # the buffer tries again at once, for the rest
            self.at, self.error = self.at + 1, errno.ENOSPC
        return True

    def ours(self, file: Any) -> bool:
        """Whether a path, or a number, is of a file that a run may meet; modules and fonts are not."""
        return isinstance(file, int) or os.path.abspath(os.fspath(file)).startswith(self.folder)

    def install(self) -> None:
        """From now on, in this process."""
        for module, names in ((os, CALLS), (mmap, ("mmap",))):
            for name in names:
                setattr(module, name, self.gated(name, getattr(module, name)))
        gate, real = self.gate, open

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                half = max(1, len(data) // 2)
                return super().write(memoryview(data)[:half] if gate("write") else data) or 0

            def readinto(self, data: Any) -> int:
                half = max(1, len(data) // 2)
                return super().readinto(memoryview(data)[:half] if gate("read") else data) or 0

            def readall(self) -> bytes:
                gate("readall")
                return super().readall()

        def opened(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
            if not self.ours(file):
                return real(file, mode, buffering, *rest, **options)
            gate("open")
            raw = Raw(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            kind: Any = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
            return kind(raw) if "b" in mode else io.TextIOWrapper(kind(raw), *rest, **options)

        builtins.open = io.open = opened

    def gated(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not args or self.ours(args[0]):
                self.gate(name)
            return real(*args, **options)

        return call
