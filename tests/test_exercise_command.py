"""§7 `scratchvae exercise` as it is used: a file that is saved while it is watched, and a class of many folders."""

import contextlib
import io
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
from scratchvae.exercises import folder as folders
from scratchvae.exercises.course import find
from scratchvae.exercises.folder import Folder
from scratchvae.exercises.record import Exercise
from scratchvae.exercises.sandbox import judged
from scratchvae.exercises.verdict import Verdict, judge_source

START = Path(__file__).parent.parent / "docs/start.md"
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
    assert f"scratchvae exercise 7 --folder {tmp_path} writes it" in capsys.readouterr().err


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


def test_what_is_said_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bugs: a command that forgets the folder, and fails when it is typed as it stands; "a and b and c"."""
    monkeypatch.chdir(tmp_path)
    for folder, words in ("exercises", ""), ("my files", " --folder 'my files'"):
        assert main(["exercise", "4", "--folder", folder]) == 0
        out = capsys.readouterr().out
        assert "write score, log_q_vjp and gradient in" in out
        assert f"then: scratchvae exercise 4 --check{words}\n" in out
        (tmp_path / folder / "e04_score.py").write_text(find("score").solution, encoding="utf-8")
        assert main(["exercise", "score", "--folder", folder, "--check"]) == 0
        assert f"passed; scratchvae exercise 4 --solution{words} shows ours" in capsys.readouterr().out
        assert main(["exercise", "--folder", folder]) == 0
        assert f"next: scratchvae exercise 0{words}\n" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["7", "07", "sample", "e07_sample", "e07_sample.py", "exercises/e07_sample.py"])
def test_an_exercise_has_many_names(word: str) -> None:
    """Bug: the name of the file that is open in the editor, unknown to the command."""
    assert find(word).name == "sample"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--folder", "file"), "file is a file: --folder takes a folder"),
        (("--folder", "nowhere", "--json"), "there is no folder nowhere"),
        (("7", "--json", "--hint"), "ask for --hint without it"),
        (("7", "--json", "--reset"), "ask for --reset without it"),
        (("7.5",), "no exercise 7.5; there are 0 vjp"),
        (("sampel",), "16 through_time; did you mean 'sample'?"),
    ],
)
def test_what_cannot_be_done_is_refused(
    words: tuple[str, ...],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bugs: a class's table of nothing for a folder that was misspelt; an option that is passed over in silence."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(["exercise", *words]) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("words", [("A",), ("a", "b")])
def test_the_hunt_runs_what_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    """Bugs: a letter as the table has it, large, for which no file is found."""
    assert main(["exercise", "hunt", "--folder", str(tmp_path)]) == 0
    path = os.pathsep.join([str(PAGE.parent.parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "e11_hunt.py"), *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6 * len(words)


def test_a_folder_that_cannot_be_written_gets_its_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: a class's files on a read-only disk, for which the verdict is lost because it cannot be remembered."""
    sample = find("sample")
    (tmp_path / sample.file).write_text(sample.solution, encoding="utf-8")
    (tmp_path / "progress.json.new").mkdir()  # for root, no folder is read-only
    assert main(["exercise", "7", "--folder", str(tmp_path), "--check"]) == 0
    out = capsys.readouterr().out
    assert "passed; " in out
    assert "not remembered: " in out
    assert main(["exercise", "7", "--folder", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] == 1


def test_the_start_shows_the_verdict_and_not_the_answer() -> None:
    """Bugs: ten minutes that end in other words than the command's; the exercise solved further up on the same page; an
    example there that is not proved."""
    text = START.read_text(encoding="utf-8")
    shown = re.findall(
        r"^    (.*)$", text.partition("Once you read")[2].partition("your `sample_vjp`")[0], re.MULTILINE
    )
    assert tuple(shown) == judge_source(find("sample"), find("sample").solution).lines
    assert not re.search(r"log_var / 2|0\.5 \* log_var", text)
    proof = next(
        cell for cell in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "check(" in cell
    )
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(proof, {})
    assert ": ok\n" in out.getvalue()


def test_what_a_file_prints_is_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Bugs: a learner's `print` that nobody sees, one that is taken for the verdict."""
    sample = find("sample")
    source = sample.solution + '\nprint("so far")\nimport os\nos.write(1, b"by the back door\\n")\n'
    (path := tmp_path / sample.file).write_text(source, encoding="utf-8")
    assert judged(sample, str(path)).passed
    assert "so far" in capfd.readouterr().err


def test_ctrl_c_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: a learner who stops a check, and hears that the file has failed."""
    stopped = subprocess.CompletedProcess([], -2, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: stopped)
    with pytest.raises(KeyboardInterrupt):
        judged(find("sample"), "mine.py")


def test_no_reset_takes_what_another_kept(tmp_path: Path) -> None:
    """Bugs: the second file that is kept in the place of the first; hints that were asked of the one before."""
    folder, sample = Folder(str(tmp_path)), find("sample")
    for words in ("first", "second"):
        folder.file(sample).write_text(words, encoding="utf-8")
        assert folder.hint(sample)[0] == 1
        folder.reset(sample)
    assert {path.read_text(encoding="utf-8") for path in tmp_path.glob("*.txt")} == {"first", "second"}
    assert folder.file(sample).read_text(encoding="utf-8") == sample.stub


@pytest.fixture
def obedient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge in no time: a file passes that says so; one that says "save" is saved anew while it is judged."""

    def judge(exercise: Exercise, path: str) -> Verdict:
        text = Path(path).read_text(encoding="utf-8")
        if text == "save":
            Path(path).write_text("anew", encoding="utf-8")
        return Verdict(exercise.number, text in ("pass", "save"), (text,))

    monkeypatch.setattr(folders, "judged", judge)


@pytest.mark.usefixtures("obedient")
def test_a_pass_is_that_of_the_file_that_was_judged(tmp_path: Path) -> None:
    """Bugs: a save during the check that passes with it; a pass that outlives a check that failed."""
    folder, sample = Folder(str(tmp_path)), find("sample")
    states = []
    for words in ("save", "pass", "fail", "pass"):
        folder.file(sample).write_text(words, encoding="utf-8")
        folder.check(sample)
        states.append(folder.state(sample))
    assert states == ["changed since it passed", "passed", "begun", "passed"]
    assert [folder.hint(sample)[0], folder.state(sample), folder.check(sample).passed] == [1, "passed", True]
    assert folder.hint(sample)[0] == 2  # a check forgets no hint, a hint no pass
    folder.file(sample).write_text("fail", encoding="utf-8")
    folder.check(sample)
    folder.file(sample).write_text("pass", encoding="utf-8")
    assert folder.state(sample) == "begun"  # nobody judged it since
    folder.file(sample).unlink()
    assert folder.state(sample) == ""
    folder.file(sample).write_text("pass", encoding="utf-8")
    folder.check(sample)
    folder.reset(sample)
    assert folder.state(sample) == "begun"


@pytest.mark.usefixtures("obedient")
def test_the_list_and_the_json_count_what_passed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bugs: a next exercise that has passed; a class in which one pass is all, or a failure none; another's verdict; a
    solution for a file that has changed."""
    for name, words in (("vjp", "pass"), ("kl", "fail"), ("heads", "fail")):
        (tmp_path / find(name).file).write_text(words, encoding="utf-8")

    def call(*words: str) -> tuple[int, str]:
        code = main(["exercise", "--folder", str(tmp_path), *words])
        out, err = capsys.readouterr()
        return code, out + err

    code, out = call("--json")
    found = json.loads(out)
    assert (code, found["passed"], len(found["exercises"])) == (1, 1, 16)
    assert [one["lines"] for one in found["exercises"]] == [["pass"], [], ["fail"], *[[]] * 6, ["fail"], *[[]] * 6]
    code, out = call("vjp", "--json")
    assert (code, [one["name"] for one in json.loads(out)["exercises"]]) == (0, ["vjp"])
    assert call("2", "--json")[0] == 1
    out = call()[1]
    assert "1 of 16 passed" in out
    assert out.endswith(f"next: scratchvae exercise 1 --folder {tmp_path}\n")
    assert call("e00_vjp.py", "--solution")[0] == call("00", "--solution")[0] == 0
    (tmp_path / find("vjp").file).write_text("other", encoding="utf-8")
    assert call("vjp", "--solution")[0] == 2
    assert "hint 1 of 2: " in call("vjp", "--hint")[1]
    assert "what you had is in " in call("vjp", "--reset")[1]
    assert "what you had" not in call("log_normal", "--reset")[1]
    (tmp_path / "progress.json").write_text("{", encoding="utf-8")
    code, said = call("vjp", "--hint")
    assert (code, "is not JSON: remove it" in said) == (2, True)
