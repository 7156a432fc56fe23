"""§7.3 stdout and stderr of a command, which may be closed, full, without a reader, or unable to write Greek."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


class Stream:
    """stdout or stderr. What can no longer be written is lost: that is noted in `lost`, and stops nothing.

    A character that the encoding does not have is written as its escape. `stream` is None where it was closed before
    Python began.
    """

    def __init__(self, stream: Any) -> None:
        self.closed_before = stream is None
        self.stream = io.StringIO() if stream is None else stream
        self.lost: Exception | None = None

    def write(self, text: str) -> int:
        """Write, or lose."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.attempt("write", text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush, or lose."""
        self.attempt("flush")

    def attempt(self, what: str, *args: str) -> None:
        """stream.what(*args), unless something has been lost already."""
        if self.lost is None:
            try:
                if self.closed_before and args:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                getattr(self.stream, what)(*args)
            except (OSError, ValueError) as error:  # ValueError: closed since
                self.lost = error

    def close_up(self) -> None:
        """Nothing more is written: Python, which flushes once more when it ends, shall not fail of it."""
        self.flush()
        if self.lost is not None:
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def streams() -> Iterator[tuple[Stream, Stream]]:
    """Within: stdout and stderr are Streams."""
    if sys.stdout is None or sys.stderr is None:  # else a file of ours gets the number of stderr, which libraries use
        while os.open(os.devnull, os.O_RDONLY) < 2:
            pass
    out, words = Stream(sys.stdout), Stream(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(words):
        try:
            yield out, words
        finally:
            out.close_up()
            words.close_up()


@contextlib.contextmanager
def stops() -> Iterator[threading.Event]:
    """Within: SIGTERM and SIGHUP, where they would have killed, are as Ctrl-C, so that what is half done is put away.

    Each sets the event: what it breaks off may well say something else than KeyboardInterrupt (of an import NumPy says
    that it is badly installed). What Python passes over, because it was raised while an object was taken down, comes
    again a moment later.
    """
    asked, again, said = threading.Event(), list[threading.Timer](), sys.unraisablehook

    def stop(*_: Any) -> None:
        asked.set()
        raise KeyboardInterrupt

    def passed_over(found: Any) -> None:
        if not (asked.is_set() and issubclass(found.exc_type, KeyboardInterrupt)):
            said(found)
            return
        again.append(threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)))
        again[-1].start()

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        every = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
        before = {number: signal.getsignal(number) for number in every}
    usual = {n: old for n, old in before.items() if old in (signal.SIG_DFL, signal.default_int_handler)}
    for number in usual:
        signal.signal(number, stop)
    sys.unraisablehook = passed_over
    try:
        yield asked
    finally:
        sys.unraisablehook = said
        for timer in again:
            timer.cancel()
            timer.join()
        for number, old in usual.items():
            signal.signal(number, old)
