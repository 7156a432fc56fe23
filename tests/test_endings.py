"""§7.3 How commands end where the world fails: a lost, full or closed stdout or stderr, a full disk, signals; and paths
and sizes that cannot be. One line, the right code, no traceback, the weights safe."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import QUIET, TINY, Call, files

from scratchvae import cli
from scratchvae.training import checkpoint, loop
from scratchvae.training.run import Run

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
posix = pytest.mark.skipif(os.name != "posix", reason="signals and descriptors as POSIX has them")


def steps_of(run: str) -> int:
    """The step of a whole checkpoint."""
    return int(checkpoint.load(f"{run}/checkpoint.safetensors")[1]["step"])


def without_a_reader() -> io.TextIOWrapper:
    """A pipe whose reader has gone, as `| head` leaves it."""
    reader, writer = os.pipe()
    os.close(reader)
    return io.TextIOWrapper(io.FileIO(writer, "w"), line_buffering=True)


# ---------------------------------------------------------------- words and data that nobody takes


@posix
def test_lost_words_never_stop_training(call: Call) -> None:
    """`train … 2>&1 | head -1` ended with exit 0 at the first line after the reader had gone."""
    command = [sys.executable, "-m", "scratchvae", "train", "rows.npy", "--out", "run", *QUIET]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.wait(), steps_of("run")) == (0, 6)


@posix
def test_closed_descriptors(call: Call) -> None:
    """Without stderr nothing is said, on stdout neither; without stdout a report is lost, which is no success."""
    script = """
    python="$1"; shift
    "$python" -m scratchvae info rows.npy --json 2>&- >found
    "$python" -m scratchvae info rows.npy --json >&- 2>words; echo $? >code
    """
    subprocess.run(["sh", "-c", script, "sh", sys.executable], check=True)
    assert json.loads(Path("found").read_text())["rows"] == 108
    assert Path("code").read_text() == "2\n"
    assert Path("words").read_text().startswith("scratchvae info: stdout cannot be written: Bad file descriptor; ")


def test_training_without_stdout_and_stderr(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a service may be started. It trains; that its report was lost is no success."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", None)
        assert cli.main(["train", "rows.npy", "--out", "run", *QUIET]) == 2
    assert steps_of("run") == 6


@full
@pytest.mark.parametrize(
    "words", [f"train rows.npy --out run {' '.join(QUIET)}", "--help", "train --help", "info old", "encode old"]
)
def test_a_full_stdout(call: Call, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """It is one line and 2, and all else has been done."""
    assert call("train", "rows.npy", "--out", "old", *QUIET).code == 0
    with open("/dev/full", "w") as device, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", device)
        done = call(*words.split())
    assert done.code == 2
    assert "stdout cannot be written: No space left on device; " in done.words.splitlines()[-1]
    assert "Traceback" not in done.words
    if "run" in words:
        assert steps_of("run") == 6


@posix
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_check_that_failed_is_known_without_a_reader(name: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gradcheck | head -1` ended with exit 0 when the first table could not be written, its checks not made."""
    from scratchvae.cli import gradcheck

    made: list[str] = []

    class Report:
        ok = False
        name = "wrong"

        def __str__(self) -> str:
            return "a table"

    def reports(_: Any) -> Iterator[Any]:
        for i in range(3):
            made.append(str(i))
            yield Report()

    monkeypatch.setattr(gradcheck, "all_reports", reports)
    monkeypatch.setattr(gradcheck, "summary", lambda found, _: {"checks": 3, "failed": len(found), "failures": []})
    monkeypatch.setattr(gradcheck, "words", lambda *_: "3 of 3")
    with monkeypatch.context() as patch, without_a_reader() as pipe:
        patch.setattr(sys, name, pipe)
        assert (cli.main(["gradcheck"]), len(made)) == (1, 3)


def test_text_that_stdout_cannot_encode(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greek in a help, and in the name of a run, is escaped: it was a UnicodeEncodeError, after the training."""
    raw = io.BytesIO()
    with monkeypatch.context() as patch, io.TextIOWrapper(raw, "ascii") as stdout:
        patch.setattr(sys, "stdout", stdout)
        assert call("train", "--help").code == 0
        assert call("train", "rows.npy", "--out", "λ", *QUIET).code == 0
        stdout.flush()
        assert raw.getvalue().decode("ascii").splitlines()[-1].split() == ["run", "\\u03bb"]


# ---------------------------------------------------------------- a full disk


def no_room(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """The disk is full when a file with that ending is to be synced."""
    sync, writing = os.fsync, checkpoint.replacing

    def fsync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replacing(path: Any) -> Any:
        monkeypatch.setattr(os, "fsync", fsync if str(path).endswith(suffix) else sync)
        return writing(path)

    for module in ("plots", "cli.common", "training.checkpoint"):
        monkeypatch.setattr(f"scratchvae.{module}.replacing", replacing)


@pytest.mark.parametrize("picture", ["bound", "samples"])
def test_no_room_for_a_picture(call: Call, monkeypatch: pytest.MonkeyPatch, picture: str) -> None:
    """One line, 2, the report and the weights there, no half picture; it was a traceback in place of the report."""
    pytest.importorskip("matplotlib")
    no_room(monkeypatch, f"{picture}.png")
    done = call("train", "rows.npy", "--out", "run", *TINY, "--json")
    assert done.code == 2
    line = f"scratchvae train: {Path('run', picture)}.png cannot be written: No space left on device; free the disk"
    assert done.words.splitlines()[-1].startswith(line)
    assert (json.loads(done.out)["step"], steps_of("run")) == (6, 6)
    assert f"{picture}.png" not in files("run")
    assert not list(Path("run").glob(".*"))


@pytest.mark.parametrize("out", ["x.npy", "x.csv", "x.png"])
def test_no_room_for_numbers(trained: Call, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    """What was there before is left as it was."""
    pytest.importorskip("matplotlib")
    Path(out).write_text("old")
    no_room(monkeypatch, out)
    done = trained("sample", "run", "--out", out)
    assert (done.code, Path(out).read_text()) == (2, "old")
    assert f"{out} cannot be written: No space left on device" in done.line
    assert not list(Path().glob(".*"))


# ---------------------------------------------------------------- signals


@posix
@pytest.mark.parametrize("said", [KeyboardInterrupt, ImportError])
def test_ctrl_c_while_the_commands_are_imported(
    call: Call, monkeypatch: pytest.MonkeyPatch, said: type[BaseException]
) -> None:
    """The first half second of a command is imports, and NumPy says that it is badly installed: one line, as later."""

    def stop(_: str) -> Any:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise said from None

    monkeypatch.setattr(cli, "import_module", stop)
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    try:
        done = call("train", "rows.npy")
    finally:
        signal.signal(signal.SIGINT, heard)
    assert (done.code, done.line) == (130, "scratchvae train: interrupted")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_an_object_is_taken_down(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    """Catches a stop that is lost, with "Exception ignored in" and a traceback: Python lets nothing out of __del__."""

    class Last:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def work() -> int:
        Last()
        time.sleep(5)
        return 0

    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    try:
        assert cli.answered("scratchvae train", work) == 130
    finally:
        signal.signal(signal.SIGINT, heard)
    assert capfd.readouterr().err == "scratchvae train: interrupted\n"


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_pictures_are_drawn(call: Call, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """Nothing half done is left, and signals are as they were."""
    pytest.importorskip("matplotlib")
    save = checkpoint.replacing

    def replacing(path: Any) -> Any:
        if str(path).endswith("samples.png"):
            signal.raise_signal(number)
        return save(path)

    monkeypatch.setattr("scratchvae.plots.replacing", replacing)
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    try:
        done = call("train", "rows.npy", "--out", "run", *TINY)
    finally:
        signal.signal(signal.SIGINT, heard)
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before
    assert (done.code, steps_of("run")) == (130, 6)
    assert done.words.splitlines()[-1] == "scratchvae train: interrupted"
    assert not list(Path("run").glob(".*"))


@posix
def test_a_terminal_that_hangs_up(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGHUP saves as SIGTERM does; under nohup, which ignores it, it goes on being ignored."""

    once = [signal.SIGHUP]

    def hang_up(*_: Any) -> None:
        while once:
            signal.raise_signal(once.pop())

    monkeypatch.setattr("scratchvae.cli.train.Progress.line", hang_up)
    done = call("train", "rows.npy", "--out", "run", *QUIET)
    assert done.code == 130
    assert f"stopped at step {steps_of('run')}; everything up to there is saved" in done.words
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with loop.stop_requests(lambda: None) as stopped:
            signal.raise_signal(signal.SIGHUP)
            assert not stopped.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


# ---------------------------------------------------------------- two processes, one folder


def test_a_folder_that_is_trained_into_is_in_use(trained: Call) -> None:
    """Two at a time wrote one another's checkpoint; what a third, killed, has left is cleared away."""
    pytest.importorskip("fcntl")
    Path("run/.scratchvae-7.tmp").write_bytes(bytes(9))
    with Run(Path("run")).lock():
        held = files("run")
        for words in (("rows.npy", "--out", "run", *QUIET), ("--out", "run", "--resume", "--epochs", "3")):
            done = trained("train", *words)
            assert done.code == 2
            assert "run is in use: another process is training into it; wait for its end" in done.line
        assert trained("evaluate", "run", "--samples", "0").code == 0
    assert files("run") == held
    assert sorted(held) == ["checkpoint.safetensors", "config.json", "metrics.jsonl"]
    assert trained("train", "--out", "run", "--resume", "--epochs", "3", "--no-pictures").code == 0


# ---------------------------------------------------------------- paths that cannot be, sizes that cannot be

LONG, UNDER, NUL, LOOP = "x" * 300, "rows.npy/x", "a\0b", "loop/x"
COMMANDS = {
    "train": "train {} --out new --epochs 1",
    "train --test": "train rows.npy --test {} --out new",
    "train --out": "train rows.npy --out {} --kernels numpy --no-pictures --epochs 1 --hidden 3",
    "train --resume": "train --out {} --resume",
    "train --config": "train rows.npy --config {} --out new",
    "train --data-folder": "train freyfaces --data-folder {} --out new",
    "evaluate": "evaluate {}",
    "evaluate --data": "evaluate run --data {}",
    "evaluate --data-folder": "evaluate run --data freyfaces --data-folder {}",
    "compare": "compare run {}",
    "evidence": "evidence {}",
    "evidence --out": "evidence run --out {}.npy --samples 2 --rows 2",
    "posterior": "posterior {}",
    "posterior --out": "posterior run --out {}.csv --draws 4 --warm-up 4 --steps 2",
    "fill": "fill {} --mask left-half",
    "fill --mask": "fill run --mask {}",
    "fill --out": "fill run --mask left-half --rows 0 --out {}.npy",
    "sample": "sample {}",
    "sample --out": "sample run --out {}.png",
    "encode --out": "encode run --out {}.csv",
    "arithmetic": "arithmetic {} --minus 0 --plus 1",
    "info": "info {}",
    "estimators --data": "estimators --data {} --out new",
    "estimators --out": "estimators --data rows.npy --out {}",
}


@pytest.fixture
def odd(trained: Call) -> Call:
    """With a link that points to itself."""
    Path("loop").symlink_to("loop")
    return trained


@pytest.mark.parametrize("path", [LONG, UNDER, NUL, LOOP], ids=["long", "under a file", "nul", "loop"])
def test_paths_that_may_not_be_looked_at(odd: Call, path: str) -> None:
    """Every command, every option that names a path: a name too long was a traceback on each of them."""
    for what, words in COMMANDS.items():
        done = odd(*(word.format(path) for word in words.split()))
        assert done.code in (2, 3), (what, done)
        assert done.words.splitlines()[-1].startswith(f"scratchvae {what.split()[0]}: "), (what, done)
        assert "Traceback" not in done.words
    assert not Path("new").exists()


@pytest.mark.parametrize("folder", [LONG, UNDER, LOOP])
def test_data_folders_of_the_environment(odd: Call, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("SCRATCHVAE_DATA", folder)
    done = odd("info", "freyfaces")
    assert done.code in (2, 3)
    assert done.line


SIZES = """
    train rows.npy --out new --epochs 1e308
    train rows.npy --out new --samples-seen 1e308
    train rows.npy --out new --batch 1000000000000000000000
    train rows.npy --out new --samples 1000000000000000000000
    train rows.npy --out new --latent 1000000000000000000000
    train rows.npy --out new --latent 16000000 --hidden 16000000
    train rows.npy --out new --hidden 16000000,16000000,16000000
    evaluate run --samples 1000000000000000000000
    evidence run --samples 1000000000000000000000
    evidence run --simulate --rows 1000000000000000000000
    posterior run --draws 1000000000000000000000
    posterior run --chains 1000000000000000000000
    fill run --mask left-half --chains 1000000000000000000000
    sample run --count 1000000000000000000000 --out -
    sample run --count 1000000000000 --out -
    manifold run --grid 1000000000000 --out -
    interpolate run --rows 0,1 --steps 1000000000000000000000 --out -
    encode run --rows 1000000000000000000000
    reconstruct run --rows 0:1000000000000000000000:2
    interpolate run --rows 0,1 --steps 4000000000000 --out -
    estimators --data rows.npy --out new --draws 1000000000000000000000
    estimators --data rows.npy --out new --hidden 1000000000000000000000
"""


@pytest.mark.parametrize("words", SIZES.strip().splitlines(), ids=str.strip)
def test_sizes_that_cannot_be(trained: Call, words: str) -> None:
    done = trained(*words.split())
    assert done.code in (2, 3), done
    assert done.line
    assert not Path("new").exists()


@pytest.mark.parametrize("shape", [(2**40, 2**40), (2**70,)])
def test_sizes_that_numpy_has_no_number_for(capsys: pytest.CaptureFixture[str], shape: tuple[int, ...]) -> None:
    """NumPy says ValueError of them, which was a traceback; other ValueErrors stay errors of ours."""
    assert cli.outcome("me", lambda: len(np.empty(shape))) == 2
    assert capsys.readouterr().err.startswith("me: not enough memory: ")
    with pytest.raises(ValueError, match="odd"):
        cli.outcome("me", lambda: int("odd"))
