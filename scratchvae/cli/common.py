"""§7.3 What several commands share: opening a run, JSON on stdout, words on stderr, arrays in and out of files."""

import argparse
import contextlib
import csv
import io
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, plots
from ..data.texts import load_text
from ..data.tokens import NAMES as TEXTS
from ..data.tokens import Vocabulary
from ..engine import jit
from ..errors import DataError, UsageError
from ..noise import LIMIT
from ..training.checkpoint import replacing
from ..training.run import Run
from ..training.state import State, load_state
from ..types import Array

SEEDS = 2**64 - 1  # the largest: two words of Philox's key
ALL_ROWS = "all rows of the file"  # for training and for the test
NEIGHBOURS = 60_000  # training rows at most that are searched for the nearest
ROWS = "which test rows, counted from 0: 0,5,7 or 0:10"
TAKEN = {  # by runs of other models than a VAE of rows: by whom
    "sequence": ("evaluate", "sample", "interpolate", "compare", "encode"),
    "m2": ("evaluate", "score", "compare", "classify", "sample", "reconstruct", "encode"),
}
Commands = Any  # argparse's subparsers object has no public name


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, ()) else super()._get_help_string(action)


def command(commands: Commands, name: str, about: str, example: str, description: str = "") -> argparse.ArgumentParser:
    """A command whose help says what it does and ends with an example, or several, which begin with "examples:". A
    description that is given beside `about` keeps its lines."""
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about.split(". ")[0].rstrip("."),
        description=description or about,
        epilog=example if example.startswith("examples:") else f"example:  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter if description else Help,
    )
    return made


def add_run(parser: argparse.ArgumentParser) -> None:
    """The RUN argument, and which kernels read it."""
    parser.add_argument("checkpoint", metavar="RUN", help="folder of a training run, or a checkpoint file")
    parser.add_argument("--kernels", choices=("numpy", "numba"), help="kernel table; by default the run's own")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Where rows come from, when they are not the run's own."""
    parser.add_argument("--data", help="instead of the run's test rows: those of a named set, or all of a file")
    parser.add_argument("--data-folder", help="folder with the files of named data sets (or set SCRATCHVAE_DATA)")


def threads_for(asked: int | None = None) -> int:
    """Threads of a command: those asked for by --threads, else by OMP_NUM_THREADS, else one a processor, and never more
    than that: they would wait for one another."""
    wanted, most = asked or jit.threads(), jit.processors()
    if wanted > most:
        say(f"{wanted} threads were asked for, and {most} are taken: there are no more processors")
        os.environ["OMP_NUM_THREADS"] = str(most)  # for whatever asks jit.threads
        jit.threads.cache_clear()
    return min(wanted, most)


def open_run(args: argparse.Namespace) -> State:
    """The state in a run's folder or in a checkpoint file."""
    threads_for()
    path = Path(args.checkpoint)
    state = Run(path).load(args.kernels)[0] if path.is_dir() else load_state(path, args.kernels)[0]
    able = TAKEN.get(state.config.model, ())
    if able and args.command not in able:
        raise UsageError(f"{args.command} takes no run of model={state.config.model}: {', '.join(able)} do")
    keep_what_is_read(args, state)
    return state


def keep_what_is_read(args: argparse.Namespace, state: State) -> None:
    """Refuse an --out that is one of the files that the command reads: the run's data, its checkpoint, a mask."""
    out = getattr(args, "out", None)
    read: list[Any] = [from_run(state, path) for path in (state.config.data, state.config.test)]
    read += [value for name, value in vars(args).items() if name != "out" and isinstance(value, str)]
    for path in read if out and os.path.exists(out) else []:
        if path and os.path.exists(path) and os.path.samefile(path, str(out)):
            raise UsageError(f"--out {out} is a file that this command reads: name another one")


def open_data(args: argparse.Namespace, state: State, gaps: bool = False, every: bool = False) -> data.Dataset:
    """The rows that the command is about, with the columns and the values that the model takes; with NaN among them
    if the model was trained on such, or with `gaps`. With `every`, a file without test rows of its own counts whole."""
    if state.config.model == "sequence":
        return of_run(args, state)
    missing, known = gaps or state.config.missing == "nan", state.reading.known
    if args.data is None:
        source, test = (from_run(state, path) for path in (state.config.data, state.config.test))
        found = data.load(source, test, args.data_folder, missing, False, known)._replace(name=state.config.data)
    elif data.in_parts(args.data):
        found = data.load(args.data, None, args.data_folder, missing, False, known)
    whole = args.data is not None and not data.in_parts(args.data)
    if whole or (every and args.data not in (None, *data.NAMES) and found.split == data.LAST_TENTH):
        found = data.load(args.data, args.data, None, missing, False, known)._replace(split=ALL_ROWS)
    found = state.reading.adopt(found)
    for part, origin in ((found.train, found.origin), (found.test, found.test_origin)):
        data.check(part, state.config.likelihood, origin, None, missing, state.config.dtype)
    return found


def of_run(args: argparse.Namespace, state: State) -> data.Dataset:
    """The text that a command is about, by the run's vocabulary."""
    known = {"known": vocabulary(state), "width": state.reading.columns, "folder": args.data_folder}
    if args.data is not None:
        return load_text(args.data, args.data, **known)[0]._replace(split=ALL_ROWS)
    source, test = (from_run(state, path) for path in (state.config.data, state.config.test))
    return load_text(source, test, **known)[0]._replace(name=state.config.data)


def vocabulary(state: State) -> Vocabulary:
    """Of a run on sequences."""
    return Vocabulary(state.config.tokens, state.reading.vocabulary)


def from_run(state: State, path: Any) -> Any:
    """The path of a run's data: as it was given, or, from another folder, as it lies from the run's."""
    if path in (None, *data.NAMES, *TEXTS) or Path(path).exists() or not state.reading.where or state.home is None:
        return path
    there = state.home / state.reading.where / str(path)
    return str(there.resolve()) if there.exists() else path


def mean_of_data(state: State, train: Array) -> Array:
    """The mean of what is seen in each column, (D,), as the model sees it."""
    return state.mean_row(train, state.config.missing or ("nan" if train.dtype.kind == "f" else ""))


def neighbours(state: State, train: Array, mean: Array, block: int = 4096) -> Iterator[Array]:
    """Blocks (n, D) of the training rows, as the model sees them, that are searched for the nearest, their gaps filled
    with the mean."""
    many = min(len(train), NEIGHBOURS)
    for first in range(0, many, block):
        t = state.rows(train, slice(first, min(first + block, many)), gaps=True)
        yield np.where(np.isnan(t), mean, t).astype(t.dtype)


def add_image(parser: argparse.ArgumentParser) -> None:
    """The shape of a row, where it is no matter of course."""
    usual = "default: as the data have it, else the most nearly square"
    parser.add_argument("--image", type=image, metavar="H,W", help=f"a row as a picture; H,W,3 in colour ({usual})")


def image(text: str) -> tuple[int, ...]:
    """ "28,20" → (28, 20), and "32,32,3" → (32, 32, 3)."""
    shape = tuple(whole(1)(part) for part in text.split(","))
    if plots.image_of(shape, math.prod(shape)) is None:
        raise argparse.ArgumentTypeError(f"expected H,W, in colour H,W,3 or 3,H,W, got {text!r}")
    return shape


def shape_of_run(
    state: State, found: data.Dataset | None = None, given: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """The shape of a row as a picture, (h, w), (h, w, 3) or (3, h, w): what --image gave, else what the run has kept,
    else what the data say, which are opened for it if they can be, else the most nearly square."""
    columns, kept = state.reading.columns, state.reading.image
    if given:
        if shape := plots.image_of(given, columns):
            return shape
        raise UsageError(f"--image {','.join(map(str, given))} does not fit rows of {columns} columns")
    if kept is None and found is None:
        with contextlib.suppress(DataError, UsageError):
            found = data.load(from_run(state, state.config.data), missing=True)
    return image_shape(columns, kept or (found and found.shape))


def image_shape(columns: int, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """That of a row as a picture: what the data say, else the most nearly square portrait."""
    if shape is not None and (known := plots.image_of(shape, columns)):
        return known
    width = next(w for w in range(int(columns**0.5), 0, -1) if columns % w == 0)
    return columns // width, width


def say(text: str) -> None:
    """Words, on stderr."""
    print(text, file=sys.stderr, flush=True)


def countdown(what: str, rows: int) -> Callable[[int], None]:
    """To be told how many rows are done: says every ten seconds their share, and the time left."""
    start = shown = time.monotonic()

    def report(done: int) -> None:
        nonlocal shown
        if done < rows and time.monotonic() - shown > 10:
            shown, share = time.monotonic(), done / rows
            say(f"{what}: {100 * share:.0f} %, {(shown - start) * (1 / share - 1):.0f} s left")

    return report


def report_to(out: str | None) -> contextlib.AbstractContextManager[Any]:
    """Where a report goes: to stdout, but to stderr where --out - sends numbers there."""
    return contextlib.redirect_stdout(sys.stderr) if out == "-" else contextlib.nullcontext()


def emit(values: dict[str, Any], as_json: bool) -> None:
    """One JSON object, or one line a value, on stdout."""
    if as_json:
        print(json.dumps(finite(values), allow_nan=False))
        return
    lines = flat(values)
    width = max(map(len, lines))
    for key, value in lines.items():
        print(f"{key:<{width}}  {value:.6g}" if isinstance(value, float) else f"{key:<{width}}  {value}")


def finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """{"optimizer": {"name": "adam"}} → {"optimizer.name": "adam"}."""
    lines: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value) if isinstance(value, dict) else {}
        lines |= {f"{key}.{name}": item for name, item in inner.items()} or {key: value}
    return lines


def check_out(out: str | None, *endings: str) -> None:
    """Refuse, before any work is done, an --out that could not be written after it."""
    if out is None or out == "-":
        return
    if not out.endswith(endings):
        raise UsageError(f"--out {out} has an unknown ending: give {', '.join(endings)}, or - for CSV on stdout")
    if not Path(out).absolute().parent.exists():
        raise UsageError(f"--out {out}: there is no folder {Path(out).parent}; make it first")
    with contextlib.suppress(FileNotFoundError):
        os.stat(out)  # a name that cannot be, one that is too long, is an OSError now


def open_task(args: argparse.Namespace, *endings: str) -> State:
    """The run of a command of §7.1.1: --out is judged before it is opened, and a ladder is refused."""
    check_out(args.out, *endings)
    state = open_run(args)
    if state.config.deep:
        raise UsageError(f"{args.command} takes a run with one latent layer, and this one has latent="
                         f"{state.config.latent}: use evaluate")  # fmt: skip
    return state


def check_whole(x: Array, command: str, index: Array) -> None:
    """Refuse missing entries: log p(x) and p(z|x) as these commands have them are of whole rows. x (B, D) are the test
    rows number `index` (B,)."""
    if (gaps := np.isnan(x).any(axis=1)).any():
        row = index[np.argmax(gaps)]
        raise UsageError(f"{command} takes whole rows, and test row {row} has missing entries: "
                         "evaluate bounds what was observed, fill draws the rest")  # fmt: skip


def choose_rows(args: argparse.Namespace, state: State, found: data.Dataset) -> data.Dataset:
    """The data with those of their test rows alone that --rows names; a range of a memory map stays a map."""
    if args.rows is None:
        return found
    index = rows_of(args.rows, len(found.test), alone=False)
    first, last = int(index[0]), int(index[-1])
    if np.array_equal(index, np.arange(first, last + 1)):
        return found._replace(test=found.test[first : last + 1])
    test, missing = np.asarray(found.test[index]), state.config.missing == "nan"
    data.check(test, state.config.likelihood, found.test_origin, index, missing, state.config.dtype)
    return found._replace(test=test)


def write_rows(array: Array, out: str) -> None:
    """(N, D) numbers to FILE.npy or FILE.csv, or as CSV to stdout for "-"."""
    if out == "-":
        np.savetxt(sys.stdout, array, fmt="%.9g", delimiter=",")
    elif out.endswith(".npy"):
        write(out, lambda file: np.save(file, array))
    elif out.endswith(".csv"):
        write(out, lambda file: np.savetxt(file, array, fmt="%.9g", delimiter=","))
    else:
        raise UsageError(f"--out {out} has an unknown ending: give .png, .npy, .csv, or - for CSV on stdout")


def write_table(cells: list[list[str]], names: tuple[str, ...] | None, out: str) -> None:
    """Cells of text as CSV under their names, to FILE.csv, or to stdout for "-"."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*([names] if names else []), *cells])
    if out == "-":
        sys.stdout.write(text.getvalue())
    else:
        write(out, lambda file: file.write(text.getvalue().encode("utf-8")))


def write(out: str | Path, save: Callable[[Any], object]) -> None:
    """Call save(file), and say so: the file is whole or not there. Raises UsageError where it cannot be written."""
    with replacing(out) as file:
        save(file)
    say(f"wrote {out}")


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number from `least` to `most`, or to what noise can count."""

    def read(text: str) -> int:
        value = int(text) if re.fullmatch(r"-?[0-9]{1,100}", text) else None
        if value is None or value < least or value > (most or LIMIT):
            open_end = most is None and (value is None or value < least)
            limits = f"{least} or more" if open_end else f"{least} to {most or LIMIT}"
            raise argparse.ArgumentTypeError(f"expected a whole number, {limits}, got {text!r}")
        return value

    return read


def names(text: str) -> tuple[str, ...]:
    """The type of an option that is names, with commas between them; in quotes a name may have one."""
    return tuple(next(csv.reader([text], skipinitialspace=True), []))


def amount(text: str) -> float:
    """The type of an option that is a finite number above 0."""
    return bounded(text, "a finite number above 0", lambda value: 0 < value < math.inf)


def fraction(text: str) -> float:
    """The type of an option that is a number in [0, 1)."""
    return bounded(text, "a number from 0 to below 1", lambda value: 0 <= value < 1)


def bounded(text: str, expected: str, fits: Callable[[float], bool]) -> float:
    """The number in `text`; ArgumentTypeError unless it fits."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value


def rows_of(text: str, n: int, alone: bool = True) -> Array:
    """Row numbers from "0,5,7" or "0:10", checked against n rows; a number by itself is that row, if it may be `alone`:
    where it once meant the first so many it is refused."""
    if text.isdecimal() and not alone:
        one = f"{text}:{int(text) + 1}"
        raise UsageError(f"--rows {text} chooses rows: write 0:{text} for the first {text}, {one} for that row alone")
    try:
        if ":" in text:
            start, stop = (int(part) if part else None for part in text.split(":", 1))
            index = np.arange(n)[start:stop]
        else:
            index = np.array([int(part) for part in text.split(",")])
    except ValueError:
        raise UsageError(f"--rows {text!r}: give numbers as 0,5,7 or a range as 0:10") from None
    if index.size == 0 or index.min() < 0 or index.max() >= n:
        raise UsageError(f"--rows {text!r}: the data have rows 0 to {n - 1}")
    return index
