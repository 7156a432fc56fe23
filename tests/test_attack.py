"""§7.3 The attacks on runs and readers, short: nothing lost, nothing wrong, no traceback; long ones are commands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def attacked(name: str, report: Path, *options: str) -> list[str]:
    """What an attack found, with an example each; in a process of its own, which forks while it has one thread."""
    command = [sys.executable, "-m", f"tests.{name}", *options, "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert report.exists(), done.stderr
    found = json.loads(report.read_text("utf-8"))
    kinds = found["findings"] if name == "crash" else [kind for one in found for kind in one["findings"]]
    return [json.dumps(kind)[:1000] for kind in kinds]


def test_runs_survive(tmp_path: Path) -> None:
    """Kills, single faults of the disk, two processes in one folder, loads beside saves, a damaged cache.

    Catches a checkpoint that is read while it is replaced, a call of the disk whose failure is a traceback, two
    processes that write one run, compiled code that is run though a bit of it has changed."""
    options = "--kills", "4", "--faults", "5", "--pairs", "1", "--loads", "100", "--cache-flips", "2"
    assert attacked("crash", tmp_path / "report.json", *options) == []


def test_readers_refuse_or_read(tmp_path: Path) -> None:
    """Catches a mutant of a data file, a checkpoint, a config or the cache that is read as something else."""
    assert attacked("fuzz", tmp_path / "report.json", "--mutants", "200", "--no-bombs") == []


@pytest.mark.parametrize("name", ["crash", "fuzz"])
def test_the_commands_explain_themselves(name: str) -> None:
    """Catches a command that cannot be started by hand."""
    done = subprocess.run([sys.executable, "-m", f"tests.{name}", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert f"python -m tests.{name}" in done.stdout
