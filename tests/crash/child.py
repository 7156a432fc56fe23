"""§7.3 A command in a forked child, and what is wrong with how it ended."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from scratchvae import cli

from .disk import Disk

PACKAGE = str(Path(cli.__file__).parents[1])
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PATIENCE = 60  # seconds after which a child hangs


def start(work: Callable[[], int], words: str) -> int:
    """A forked child that does `work`, its stdout and stderr in the file `words`; returns its id."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # else one breaks the child off where it is still the parent's
    if child := os.fork():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return child
    code = 98
    try:
        sys.stdout = sys.stderr = open(words, "w", buffering=1, encoding="utf-8")  # noqa: SIM115 (till the end)
        signal.alarm(PATIENCE)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = work()
    except SystemExit as stop:  # argparse's way
        code = stop.code if isinstance(stop.code, int) else 99
    except KeyboardInterrupt as stop:  # before the command has asked for signals, and after it, it is ours
        code, frames = 130, traceback.extract_tb(stop.__traceback__)
        if any(frame.filename.startswith(PACKAGE) and frame.name == "outcome" for frame in frames):
            traceback.print_exc()
        print("scratchvae was about to begin, or at its end")
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def end(child: int) -> int:
    """The exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def called(argv: Sequence[str], disk: Disk | None = None) -> int:
    """The exit code of a command, on that disk; a disk without a fault leaves the names of its calls in "calls"."""

    def work() -> int:
        if disk is None:
            return cli.main(list(argv))
        disk.install()
        code = cli.main(list(argv))
        if disk.at < 0:
            Path("calls").write_text(" ".join(disk.calls), "utf-8")
        return code

    return end(start(work, "words"))


def complaint(code: int, words: str = "words", fine: Sequence[int] = (0, 1, 2, 3, 130)) -> str:
    """What is wrong with how a command ended, or "": a traceback, a death, an error without its one line."""
    lines = Path(words).read_text("utf-8").splitlines()
    if any(line.startswith(("Traceback", "Exception ignored", "Fatal Python")) for line in lines):
        places = [line.split(PACKAGE)[1] for line in lines if f'File "{PACKAGE}' in line]
        return f"traceback: {lines[-1].split(':')[0]} at {places[-1] if places else '?'}"
    if code not in fine:
        return f"exit {code}: {''.join(lines[-1:])[:200]}"
    if code > 0 and not (lines and lines[-1].startswith("scratchvae ")):
        return f"exit {code} without a line that says why"
    return ""


def last_line(words: str = "words") -> str:
    return "".join(Path(words).read_text("utf-8").splitlines()[-1:])[:200]
