"""§7.3 Sequences: words, verses and molecules by the VAE of `models.sequence`, beside language models.

    python -m bench.papers.sequences --out runs/sequences --molecules train.csv.gz --verses verses.txt --do all
    python -m bench.papers.sequences --table

Each run is `scratchvae train`, continued where it stopped, and `scratchvae evaluate`; its figures are a line in
sequences.jsonl. Words are the repository's. Molecules: moses/dataset/data/train.csv.gz of molsets 0.3.1 (MIT),
of whose rows a fixed draw is taken; verses: a text, one a line, mixed by the same kind of draw. The last rows of a draw
are its test rows. Without --do it says what is left.
"""

import argparse
import contextlib
import datetime
import io
import json
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

from bench.papers.runs import lines
from scratchvae.cli import answered
from scratchvae.cli import main as scratchvae
from scratchvae.cli.common import say, whole
from scratchvae.data.texts import read_lines
from scratchvae.errors import UsageError
from scratchvae.noise import Noise

HERE = Path(__file__).with_suffix(".jsonl")
LANGUAGE = ("--latent", "0")
FREE = ("--free-bits", "0.1")  # of 64 latents: 6.4 nats
DROPPED = ("--word-dropout", "0.3", "--warm-up", "5")
SMILES, WORDS = ("--tokens", "smiles"), ("--tokens", "words")
TESTED = 2000  # rows that are evaluated


class Task(NamedTuple):
    """One run: its data, how many training rows of them (0: all), epochs, options."""

    data: str
    kind: str
    rows: int
    epochs: int
    options: tuple[str, ...]
    hours: float  # or so, on one core

    @property
    def name(self) -> str:
        """As the command line has it."""
        return f"{self.data}-{self.rows // 1000}k-{self.kind}" if self.rows else f"{self.data}-{self.kind}"


KINDS = {"language": LANGUAGE, "free-bits": FREE, "dropped": DROPPED}
TASKS = [
    *(Task("words", kind, 0, 25, options, 0.4) for kind, options in KINDS.items()),
    *(Task("molecules", kind, 30_000, 20, (*SMILES, *options), 0.6) for kind, options in KINDS.items()),
    *(Task("verses", kind, 0, 15, (*WORDS, *options), 1.2) for kind, options in KINDS.items()),
    *(Task("molecules", kind, 250_000, 3, (*SMILES, *options), 1.0) for kind, options in KINDS.items()),
]


def prepared(task: Task, args: argparse.Namespace) -> list[str]:
    """The data of a run, as `train` takes them: of a file a draw, in two parts."""
    if task.data == "words":
        return ["words"]
    source = getattr(args, task.data)
    if source is None:
        raise UsageError(f"{task.name} wants --{task.data} FILE")
    parts = [Path(args.out) / f"{task.data}-{task.rows}{end}.txt" for end in ("", "-test")]
    if not all(path.exists() for path in parts):
        texts = read_lines(Path(source)).texts
        order = Noise(0).order(0, len(texts))[: task.rows + TESTED if task.rows else None]
        drawn = [texts[i] for i in order]
        for path, part in zip(parts, (drawn[:-TESTED], drawn[-TESTED:]), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(part) + "\n", "utf-8")
    return [str(parts[0]), "--test", str(parts[1])]


def line(task: Task, args: argparse.Namespace) -> dict[str, Any]:
    """Train, or go on with it, and evaluate."""
    folder, epochs = str(Path(args.out) / task.name), str(args.epochs or task.epochs)
    begin = ["--resume"] if Path(folder).exists() else [*prepared(task, args), "--model", "sequence", *task.options]
    trained = said(
        "train", *begin, "--epochs", epochs, "--out", folder, "--threads", str(args.threads), "--no-pictures"
    )
    found = said("evaluate", folder, "--rows", f"0:{TESTED}", "--samples", str(args.samples), "--draws", "5000")
    keep = ("elbo", "elbo_error", "kl", "log_likelihood", "standard_error", "mutual_information", "active_units",
            "reconstruction_greedy", "reconstruction_sampled", "valid", "judge", "unique", "novel")  # fmt: skip
    return {
        **{"name": task.name, "data": task.data, "kind": task.kind, "epochs": float(epochs)},
        **{key: found.get(key) for key in keep},
        **{"samples": args.samples, "tested": found["rows"], "seconds": trained["seconds"]},
        **{"options": " ".join(task.options), "machine": f"{platform.machine()} {platform.system()}"},
        "date": datetime.date.today().isoformat(),
    }


def said(*words: str) -> dict[str, Any]:
    """The JSON of a command, which must go well."""
    say(f"scratchvae {' '.join(words)}")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = scratchvae([*words, "--json"])
    if code:
        raise UsageError(f"scratchvae {words[0]} ended with {code}")
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


COLUMNS = {"NLL": "log_likelihood", "bound": "elbo", "KL": "kl", "MI": "mutual_information", "AU": "active_units",
           "greedy": "reconstruction_greedy", "sampled": "reconstruction_sampled", "valid": "valid", "unique": "unique",
           "novel": "novel", "s": "seconds"}  # fmt: skip


def cell(title: str, value: float | None) -> str:
    """A figure of the table."""
    if value is None:
        return "–"
    if title in ("AU", "s"):
        return f"{value:.0f}"
    share = title in ("greedy", "sampled", "valid", "unique", "novel")
    return f"{100 * value:.1f}" if share else f"{value:.2f}"


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown: nats a row, shares in per cent."""
    rows = [f"| run | epochs | {' | '.join(COLUMNS)} |", f"|{'---|' * (len(COLUMNS) + 2)}"]
    for name, one in found.items():
        cells = [cell(title, one.get(key)) for title, key in COLUMNS.items()]
        rows.append(f"| {name} | {one['epochs']:g} | {' | '.join(cells)} |")
    return "\n".join(rows)


def options() -> argparse.ArgumentParser:
    """The command."""
    p = argparse.ArgumentParser("bench.papers.sequences", description=__doc__)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    p.add_argument("--out", default="runs/sequences", help="folder of the runs; unfinished ones there are continued")
    p.add_argument("--molecules", help="file of SMILES, train.csv.gz of molsets")
    p.add_argument("--verses", help="a text, one verse a line")
    p.add_argument("--do", nargs="+", metavar="RUN", help="runs by name, or all; without it, say what is left")
    p.add_argument("--epochs", type=whole(1), help="of every run, instead of the list's")
    p.add_argument("--samples", type=whole(1), default=100, help="draws of z a row for log p(x)")
    p.add_argument("--threads", type=whole(1), default=1)
    p.add_argument("--lines", type=Path, default=HERE, help="the file of results (default: the committed one)")
    p.add_argument("--table", action="store_true", help="print what is there")
    return p


def main(argv: list[str] | None = None) -> int:
    """What is asked for and missing, or the table."""
    args = options().parse_args(argv)
    there, names = lines(args.lines), [task.name for task in TASKS]
    if odd := [name for name in args.do or [] if name not in (*names, "all")]:
        raise UsageError(f"{odd[0]!r} is no run of this study: known are all, {', '.join(names)}")
    for task in [] if args.table else TASKS:
        wanted = args.do is None or "all" in args.do or task.name in args.do
        if not wanted or there.get(task.name, {}).get("epochs", 0) >= (args.epochs or task.epochs):
            continue
        if args.do is None:
            print(f"left: {task.name}, {task.epochs} epochs, {task.hours:g} hours or so")
            continue
        found = line(task, args)
        with open(args.lines, "a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
    print(table(lines(args.lines)))
    return 0


if __name__ == "__main__":
    sys.exit(answered("bench.papers.sequences", main))
