"""§7.3 The command line, one file a group: `add(commands)` registers it with its `run(args) -> exit code`.

Data go to stdout, words to stderr. Exit codes: 0 fine, 1 a check failed, 2 usage, 3 bad data or checkpoint, 130 Ctrl-C.
0 is for all that was asked for. A place that cannot be used or written, be it a file or a full or closed stdout, is 2;
what had been done by then is kept. A reader that goes away (`| head`) and a lost stderr stop nothing and change no
code. SIGTERM and SIGHUP are as Ctrl-C.
"""

import argparse
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from .. import __version__
from ..errors import CheckFailed, DataError, UsageError, did_you_mean
from .streams import Stream, stops, streams

TASKS = ("evidence", "posterior", "fill")  # §7.1.1
PICTURES = ("pictures", "picture", "page", "arithmetic")  # §7.3.1
MACHINE = ("warmup", "bench", "plan")
PROOFS = ("gradcheck", "estimators", "exercise")  # §7.2
LEARN = ("train", "evaluate", "classify", "score", "compare")
GROUPS = (*LEARN, *TASKS, *PICTURES, "info", "convert", "export", *MACHINE, *PROOFS)
TOO_LARGE = ("Maximum allowed ", "array is too big")  # how NumPy begins, of sizes that no memory has
ABOUT = """The variational autoencoder from scratch: train it, look at it, and prove its gradients.

example:  scratchvae train mnist --out runs/mnist
          scratchvae evaluate runs/mnist --samples 100
          scratchvae gradcheck

exit codes: 0 fine, 1 a check failed, 2 usage, 3 bad data or checkpoint, 130 interrupted (Ctrl-C). An output that cannot
            be written is 2: what had been done by then is kept.
"""


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong call is answered with one line instead of the whole usage: what was wrong, what may have
    been meant, and the help of the command that it went to."""

    commands: dict[str, "Parser"]  # of the whole parser alone

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """argparse's; an option that nobody knows is its command's affair."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = self.commands[found.command]
            near = "".join(did_you_mean(word.partition("=")[0], command._option_string_actions) for word in unknown[:1])
            command.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return found

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        if choice := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            message += did_you_mean(choice[1], re.findall(r"[^\s',]+", choice[2]))
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv

    def work() -> int:
        args = parser().parse_args(words)
        if odd := next((word for word in words if "\0" in word), None):
            raise UsageError(f"{odd!r} holds a NUL byte, which no path and no option has")
        return int(args.run(args))

    return answered(" ".join(["scratchvae", *words[:1]]), work)


def answered(name: str, work: Callable[[], int]) -> int:
    """The exit code of `work`; what goes wrong in it is one line that begins with the name."""
    if isinstance(sys.stdout, Stream):  # called by a program that is itself answered for
        return outcome(name, work)
    with streams() as (out, _), stops() as asked:
        try:
            code = outcome(name, work)
        except Exception:
            if not asked.is_set():
                raise
            code = interrupted(name)
        out.flush()
        if out.lost and not isinstance(out.lost, BrokenPipeError):
            reason = getattr(out.lost, "strerror", None) or out.lost
            print(f"{name}: stdout cannot be written: {reason}; what was to be said there is lost", file=sys.stderr)
            code = code or 2
    return code


def outcome(name: str, work: Callable[[], int]) -> int:
    """The exit code of `work`, and the one line."""
    try:
        return work()
    except SystemExit as stop:  # argparse has said all
        return stop.code if isinstance(stop.code, int) else 0
    except (UsageError, DataError, CheckFailed) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 3 if isinstance(error, DataError) else 1
    except KeyboardInterrupt as stop:
        return interrupted(name, str(stop))
    except OSError as error:  # a path that may not be looked at, a disk that fails
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {where}{error.strerror or error}; name another place", file=sys.stderr)
        return 2
    except (MemoryError, ValueError) as error:
        if not isinstance(error, MemoryError) and not str(error).startswith(TOO_LARGE):
            raise
        print(f"{name}: not enough memory: {error}; ask for less at a time", file=sys.stderr)
        return 2


def interrupted(name: str, words: str = "") -> int:
    """The exit code of a command that was broken off, and its line."""
    print(f"{name}: {words or 'interrupted'}", file=sys.stderr)
    return 130


def parser() -> Parser:
    """The whole parser; every command's help ends with an example."""
    top = Parser("scratchvae", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version=f"scratchvae {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in GROUPS:
        import_module(f"{__name__}.{group}").add(commands)
    top.commands = commands.choices
    return top
