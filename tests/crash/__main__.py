"""§7.3 The attacks on runs, and their report."""

import argparse
import contextlib
import errno
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from scratchvae import cli
from scratchvae.errors import DataError
from scratchvae.training.run import Run

from . import __doc__ as about
from .cache import compute, damage
from .child import called, complaint, end, last_line, start
from .disk import ANY, FAULTS, NAMES, SHORT, Disk

TINY = ("--kernels", "numpy", "--hidden", "6", "--latent", "2", "--batch", "12", "--epochs", "6", "--no-pictures")
OFTEN = ("--save-every", "0.2", "--evaluate-every", "0.3", "--seed", "3")
SIGNALS = [signal.SIGKILL] * 5 + [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def train(run: str) -> list[str]:
    return ["train", "rows.npy", *TINY, *OFTEN, "--out", run]


def resume(run: str) -> list[str]:
    return [*train(run), "--resume"]


def output() -> list[bytes]:
    """All that a command said and made."""
    return [path.read_bytes() for path in (Path("words"), *sorted(Path().glob("*made*")))]


class Attack:
    """One scratch folder, a reference run that nobody disturbs, and what was found."""

    def __init__(self, seed: int) -> None:
        self.rng, self.findings, self.counts = random.Random(seed), dict[str, dict[str, Any]](), dict[str, int]()
        often = np.random.default_rng(0).random((60, 8)) < np.linspace(0.1, 0.9, 8)
        np.save("rows.npy", often.astype(np.uint8))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            cli.main(train("warm"))  # here, so that all modules are there when a child is forked
            cli.main(["sample", "warm"])
        began = time.monotonic()
        assert called(train("whole")) == 0, last_line()
        self.seconds = time.monotonic() - began
        self.whole, self.total = self.held("whole"), self.step("whole")

    def found(self, what: str, example: str) -> None:
        if what not in self.findings:
            print(f"{what}    [{example}]", flush=True)
        kind = self.findings.setdefault(what, {"what": what, "count": 0, "example": example})
        kind["count"] += 1

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    @staticmethod
    def held(run: str) -> tuple[Any, ...]:
        """All that a finished run must leave: config and checkpoint in bytes, metrics without the seconds."""
        folder = Run(Path(run))
        text = folder.metrics.read_text("utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        metrics = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
        litter = [name for name in os.listdir(run) if name.endswith(".tmp")]
        return folder.config.read_bytes(), folder.checkpoint.read_bytes(), metrics, text[-1:], litter

    @staticmethod
    def step(run: str) -> int:
        """The checkpoint's step, −1 where there is none; one that is there must load."""
        folder = Run(Path(run))
        return folder.load()[0].step if folder.checkpoint.exists() else -1

    def look(self, run: str, before: int, what: str, example: str) -> int:
        """The step after a disturbance: what was saved before is not lost."""
        try:
            now = self.step(run)
        except DataError as error:
            self.found(f"{what}: checkpoint does not load", f"{example}: {error}")
            return before
        if now < before:
            self.found(f"{what}: checkpoint lost or older", f"{example}: step {before}, then {now}")
        return now

    def go_on(self, run: str, what: str, example: str) -> None:
        """Resume, or train where nothing was begun: to the end, with the bits of the run that nobody disturbed."""
        for argv in (resume(run), train(run)):
            code = called(argv)
            if bad := complaint(code):
                self.found(f"{what}: afterwards {bad}", example)
            if code == 0:
                names = ("config.json", "checkpoint", "metrics", "last line of metrics", "temporary files")
                for name, got, right in zip(names, self.held(run), self.whole, strict=True):
                    if got != right:
                        self.found(f"{what}: {name} differs from an undisturbed run's", example)
                break
        else:
            self.found(f"{what}: can neither be resumed nor begun", f"{example}: {last_line()}")
        shutil.rmtree(run, ignore_errors=True)

    def kills(self, count: int) -> None:
        """Signals at random moments, up to three in one run."""
        while self.counts.get("kills", 0) < count:
            step, example = -1, ""
            for _ in range(self.rng.choice((1, 1, 2, 3))):
                argv = resume("run") if step >= 0 or Path("run/config.json").exists() else train("run")
                number, pause = self.rng.choice(SIGNALS), self.rng.uniform(0, 1.1 * self.seconds)
                child = start(lambda argv=argv: cli.main(argv), "words")  # type: ignore[misc]
                time.sleep(pause)
                os.kill(child, number)
                code = end(child)
                example += f"{'resume' if '--resume' in argv else 'train'}, {number.name} after {pause:.3f} s; "
                if bad := complaint(code, fine=(0, 130, -number)):
                    self.found(f"{number.name}: {bad}", example)
                step = self.look("run", step, number.name, example)
                running = "epoch" in Path("words").read_text("utf-8") and 0 <= step < self.total
                if code == -number != -signal.SIGKILL and running:
                    self.found(f"{number.name} ends training without a save", example)
                if code:
                    self.count("kills")
            self.go_on("run", "kill", example)

    def faults(self, count: int) -> None:
        """Each call of the disk fails once: in a new run, in a resumed one, and in commands that read one."""
        reads = [[*words, "--json"] for words in (["info", "run"], ["evaluate", "run", "--samples", "2"])]
        todo = list[tuple[list[str], int, str, int, list[bytes]]]()
        makes = [["sample", "run", "--count", "4", "--out", "made.png"], ["encode", "run", "--out", "made.npy"]]
        for argv in (train("run"), resume("run"), *reads, *makes) if count else ():
            self.prepare(argv)
            assert called(argv, Disk()) == 0, last_line()
            calls, right = Path("calls").read_text("utf-8").split(), output()
            todo += [(argv, at, name, error, right) for at, name in enumerate(calls) for error in FAULTS.get(name, ANY)]
        for one in self.rng.sample(todo, min(count, len(todo))):
            self.fault(*one)

    def half(self) -> int:
        """Make the folder "half", a run that was stopped on its way; returns its step."""
        child = start(lambda: cli.main(train("half")), "words")
        time.sleep(self.rng.uniform(0, self.seconds))
        os.kill(child, signal.SIGTERM)
        end(child)
        return self.step("half")

    def prepare(self, argv: list[str]) -> None:
        """The folder "run" as the command wants it, and nothing made."""
        while not Path("half").exists() and not 0 < self.half() < self.total:
            shutil.rmtree("half", ignore_errors=True)
        for path in Path().glob("made.*"):
            path.unlink()
        shutil.rmtree("run", ignore_errors=True)
        if argv != train("run"):
            shutil.copytree("half" if argv[0] == "train" else "whole", "run")

    def fault(self, argv: list[str], at: int, name: str, error: int, right: list[bytes]) -> None:
        """One of them."""
        self.prepare(argv)
        self.count("faults")
        command = "resume" if "--resume" in argv else argv[0]
        what = f"{command}, one call of the disk fails"
        step, example = self.step("run"), f"{NAMES.get(error) or errno.errorcode[error]} in {name}, call {at}"
        code = called(argv, Disk(at, error))
        if bad := complaint(code):
            self.found(f"{what}: {bad}", example)
        if error == SHORT and code:
            self.found(f"{what}: refused, {last_line()}", example)
        self.look("run", step, what, example)
        if argv[0] == "train":
            if code == 0 and self.held("run")[1:3] != self.whole[1:3]:
                self.found(f"{what}: exit 0 with other results", example)
            self.go_on("run", what, example)
            return
        if code == 0 and output() != right:
            self.found(f"{what}: exit 0 with another output", f"{example}: {last_line()}")
        if code and any(path.read_bytes() not in right for path in Path().glob("*made*")):
            self.found(f"{what}: half a file is left", example)
        if self.held("run") != self.whole:
            self.found(f"{what}: a command that reads has changed the run", example)

    def pairs(self, count: int) -> None:
        """Two processes in one folder at once: one wins, the other says one line and exits with 2."""
        for i in range(count):
            self.count("pairs")
            self.prepare(argv := (train, resume)[i % 2]("run"))
            what, pause = f"two at once ({'resume' if i % 2 else 'new'})", self.rng.uniform(0, 0.3 * self.seconds)
            first = start(lambda argv=argv: cli.main(argv), "words")  # type: ignore[misc]
            time.sleep(pause)
            second = start(lambda argv=argv: cli.main(argv), "other")  # type: ignore[misc]
            over = os.waitid(os.P_PID, first, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            codes, example = (end(first), end(second)), f"the second {pause:.3f} s after the first"
            for code, words in zip(codes, ("words", "other"), strict=True):
                if bad := complaint(code, words, (0, 2)):
                    self.found(f"{what}: {bad}", example)
            if sorted(codes) != [0, 2] and not over:
                self.found(f"{what}: exit codes {sorted(codes)}", example)
            self.go_on("run", what, example)

    def loads(self, count: int) -> None:
        """Load a checkpoint again and again while it is written."""
        argv = [*TINY, "--save-every", "0.01", "--evaluate-every", "50", "--epochs", "200", "--out", "run"]
        while self.counts.get("loads", 0) < count:
            shutil.rmtree("run", ignore_errors=True)
            child, step = start(lambda: cli.main(["train", "rows.npy", *argv]), "words"), -1
            while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                step = self.look("run", step, "load while a run saves", f"at step {step}")
                self.counts["loads"] = self.counts.get("loads", 0) + (step >= 0)
                if self.counts["loads"] >= count:
                    os.kill(child, signal.SIGKILL)
            end(child)

    def cache_flips(self, count: int) -> None:
        """Damage one file of the compiled code: the right numbers all the same."""
        import numba

        numba.njit(lambda x: x + 1)(1.0)  # Numba and LLVM are there when a child is forked
        if code := end(start(lambda: compute("cache"), "words")):
            raise AssertionError(f"no numbers from a fresh cache: exit {code}, {last_line()}")
        for _ in range(count):
            self.count("cache_flips")
            shutil.rmtree("damaged", ignore_errors=True)
            shutil.copytree("cache", "damaged")
            done = damage(sorted(p for p in Path("damaged").rglob("*") if p.is_file()), self.rng)
            code = end(start(lambda: compute("damaged"), "words"))
            if bad := "wrong numbers" if code == 1 else complaint(code, fine=(0,)):
                self.found(f"cache, {done.split(' of ')[0]}: {bad}", done)


def main(argv: list[str] | None = None) -> int:
    p = argparse.ArgumentParser("tests.crash", description=about, formatter_class=argparse.RawTextHelpFormatter)
    for name in (names := ("kills", "faults", "pairs", "loads", "cache-flips")):
        p.add_argument(f"--{name}", type=int, default=0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--json", help="file of the report")
    args = p.parse_args(argv)
    out, began = os.path.abspath(args.json) if args.json else None, time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        os.chdir(folder)
        attack = Attack(args.seed)
        for name in names:
            method = name.replace("-", "_")
            getattr(attack, method)(getattr(args, method))
        os.chdir("/")
    findings = sorted(attack.findings.values(), key=lambda kind: -kind["count"])
    report = {**attack.counts, "seconds": round(time.monotonic() - began, 1), "findings": findings}
    print({key: value for key, value in report.items() if key != "findings"}, len(findings), "kinds of findings")
    if out:
        Path(out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
