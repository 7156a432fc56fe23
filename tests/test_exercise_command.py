"""§7 `scratchvae exercise` as it is used: a file that is saved while it is watched, and a class of many folders."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scratchvae.cli import exercise as command
from scratchvae.cli import main
from scratchvae.exercises.course import find

PAGE = Path(__file__).parent.parent / "docs/lessons/teaching-with-it.md"


def test_a_file_that_is_watched_is_judged_at_each_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bugs: a save that is not seen, one that is judged twice, an end where an editor takes the file away and writes it
    anew, a watch that goes on after the pass."""
    sample = find("sample")
    path = tmp_path / sample.file
    looks: list[float] = []

    def look(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        if seconds != command.LOOK:  # a wait for the process that judges
            sleep(seconds)
            return
        looks.append(seconds)
        if len(looks) == 2:
            path.unlink()
        if len(looks) in (3, 5):
            path.write_text(sample.slipped("a lost half") if len(looks) == 3 else sample.solution, encoding="utf-8")
            os.utime(path, ns=(0, len(looks)))

    monkeypatch.setattr(time, "sleep", look)
    assert main(["exercise", "7", "--folder", str(tmp_path)]) == 0
    assert main(["exercise", "7", "--folder", str(tmp_path), "--watch"]) == 0
    out = capsys.readouterr().out
    assert len(looks) == 5
    assert out.count("── ") == 3
    assert [out.count(word) for word in ("not written yet", sample.slips["a lost half"].kind, "passed; ")] == [1, 1, 1]


def test_a_watch_of_no_file_says_what_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: a watch that waits for ever for a file that nobody wrote."""
    assert main(["exercise", "7", "--folder", str(tmp_path), "--watch"]) == 2
    assert "scratchvae exercise 7 writes it" in capsys.readouterr().err


def test_the_teacher_s_loop_makes_the_table(tmp_path: Path) -> None:
    """Bug: a page for teachers whose script no longer fits the command's JSON."""
    script = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert script is not None
    sample = find("sample")
    for name, source in {"anna": sample.solution, "bo": sample.slipped("a lost half")}.items():
        (tmp_path / "handed-in" / name).mkdir(parents=True)
        (tmp_path / "handed-in" / name / sample.file).write_text(source, encoding="utf-8")
    path = os.pathsep.join([str(PAGE.parent.parent.parent), os.environ.get("PYTHONPATH", "")])
    code = script[1].replace('"scratchvae"', json.dumps(sys.executable) + ', "-m", "scratchvae"')
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": path})
    rows = (tmp_path / "class.csv").read_text(encoding="utf-8").splitlines()
    assert "sample" in rows[0].split(",")
    at = rows[0].split(",").index("sample")
    assert [(row.split(",")[0], row.split(",")[at]) for row in rows[1:]] == [("anna", "1"), ("bo", "0")]
