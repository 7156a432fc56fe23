"""§7.3 The command line, one file a group: `add(commands)` registers it with its `run(args) -> exit code`.

Data go to stdout, words to stderr. Exit codes: 0 fine, 1 a check failed, 2 usage, 3 bad data or checkpoint, 130 Ctrl-C.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NoReturn

from .. import __version__
from ..errors import CheckFailed, DataError, UsageError, did_you_mean

TASKS = ("evidence", "posterior", "fill")  # §7.1.1
GROUPS = ("train", "evaluate", "compare", *TASKS, "pictures", "arithmetic", "info", "warmup", "gradcheck", "estimators")
ABOUT = """The variational autoencoder from scratch: train it, look at it, and prove its gradients.

example:  scratchvae train mnist --out runs/mnist
          scratchvae evaluate runs/mnist --samples 100
          scratchvae gradcheck

exit codes: 0 fine, 1 a check failed, 2 usage, 3 bad data or checkpoint, 130 interrupted (Ctrl-C).
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
    args = parser().parse_args(argv)
    return answered(f"scratchvae {args.command}", lambda: args.run(args))


def answered(name: str, work: Callable[[], int]) -> int:
    """The exit code of `work`; what goes wrong in it is one line that begins with the name."""
    try:
        code = work()
        sys.stdout.flush()
        return code
    except (UsageError, DataError, CheckFailed) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 3 if isinstance(error, DataError) else 1
    except KeyboardInterrupt as stop:
        print(f"{name}: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has gone, e.g. `| head`: not an error, but stdout can no longer be flushed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        print(f"{name}: not enough memory: {error}; ask for less at a time", file=sys.stderr)
        return 2


def parser() -> Parser:
    """The whole parser; every command's help ends with an example."""
    top = Parser("scratchvae", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--version", action="version", version=f"scratchvae {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in GROUPS:
        import_module(f"{__name__}.{group}").add(commands)
    top.commands = commands.choices
    return top
