"""Engine. Compiled code on disk. It is a pickle, so it is read only if we wrote it, and whole.

    NAME.KEY.nbc      32 bytes, SHA-256 of the file's name and of all that follows; then a pickle of what Numba knows
                      the code by and of the code, one file for each signature

Its folder, the one above it and the file are ours, no symbolic links, and nobody else may write them: who can write
there can run what he likes in our name. The file is looked at as it was opened, not by its name.
"""

import contextlib
import hashlib
import os
import pickle
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

KEPT = 30  # days that compiled code is kept unused; each version of the kernels has a cache of its own
DIGEST = 32  # bytes


def private(found: os.stat_result) -> bool:
    """Whether what was looked at is ours, and neither its group nor others may write it; so it is to a system that
    knows no owners."""
    return not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)


def usable(base: Path, folder: Path) -> bool:
    """True if both folders, `folder` in `base`, exist or can be made, are folders of ours alone, and take a file."""
    if not base.is_absolute():  # "~/.cache" itself, where there is no home: another folder wherever one stands
        return False
    try:
        for place, mode in ((base, 0o755), (folder, 0o700)):
            place.mkdir(mode, parents=True, exist_ok=True)
            found = place.lstat()
            if not (stat.S_ISDIR(found.st_mode) and private(found)):
                return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def forget_old(base: Path, ours: Path) -> None:
    """Delete the caches in `base`, save ours, that no process has asked for in the last KEPT days."""
    for folder in base.glob(f"numba-{'[0-9a-f]' * 16}"):
        with contextlib.suppress(OSError):
            if folder != ours and time.time() - folder.stat().st_mtime > KEPT * 86_400:
                shutil.rmtree(folder)


class Sealed:
    """The code of one function, for each signature a file; stands for Numba's IndexDataCacheFile.

    Numba's own has an index, which two processes may write at a time, and believes what it finds.
    """

    def __init__(self, folder: str, name: str, stamp: Any) -> None:
        self.folder, self.name, self.stamp = folder, name, stamp

    def path(self, key: Any) -> str:
        """Where the code for a signature lies; `key` is what Numba knows it by."""
        return os.path.join(self.folder, f"{self.name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc")

    def load(self, key: Any) -> Any:
        """What `save` was given under that key; None where it is damaged, stale or not ours, OSError where there is
        none."""
        path = self.path(key)
        with open(path, "rb", opener=no_link) as file:
            raw = file.read() if private(os.fstat(file.fileno())) else b""
        code = memoryview(raw)[DIGEST:]
        if raw[:DIGEST] != digest(path, code):
            return None
        stamp, held, data = pickle.loads(code)
        return data if (stamp, held) == (self.stamp, key) else None

    def save(self, key: Any, data: Any) -> None:
        """Write the code of a signature in place of what was there: all of it or, where the disk fails, OSError."""
        from numba.core.serialize import dumps

        path, code = self.path(key), dumps((self.stamp, key, data))
        descriptor, temporary = tempfile.mkstemp(dir=self.folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(digest(path, code) + code)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def no_link(path: str, flags: int) -> int:
    """Open a file, but not what a symbolic link points to."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def digest(path: str, code: bytes | memoryview) -> bytes:
    """SHA-256 of a file's name and its code: a file under another's name is damaged."""
    sha = hashlib.sha256(os.path.basename(path).encode() + b"\0")
    sha.update(code)
    return sha.digest()
