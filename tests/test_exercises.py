"""§7 The exercises: every stub fails, every solution passes, every published slip is named, and nothing is lost."""

import json
from pathlib import Path

import pytest

from scratchvae.cli import main
from scratchvae.exercises import COURSE, Exercise
from scratchvae.exercises.course import find
from scratchvae.exercises.record import edited, executed
from scratchvae.exercises.sandbox import judged
from scratchvae.exercises.verdict import judge_source
from scratchvae.mutants.gallery import GALLERY

each = pytest.mark.parametrize("exercise", COURSE, ids=lambda one: one.name)
SLIPS = [(one, name) for one in COURSE for name in one.slips]


def file_of(tmp_path: Path, source: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(source, encoding="utf-8")
    return str(path)


@each
def test_the_stub_fails_and_the_solution_passes(exercise: Exercise) -> None:
    """Bugs: a stub that gives the answer away, or passes; a solution that does not pass."""
    stub = judge_source(exercise, exercise.stub)
    assert not stub.passed
    assert stub.lines[0].startswith("not written yet: ")
    assert exercise.stub.count("# your turn") == len(exercise.writes)
    verdict = judge_source(exercise, exercise.solution)
    assert verdict.passed, verdict.lines
    assert verdict.lines  # the laws, with their numbers
    assert len({*exercise.hints}) == 2


@pytest.mark.parametrize(("exercise", "name"), SLIPS, ids=lambda x: getattr(x, "name", x))
def test_every_published_slip_is_named_by_its_kind(exercise: Exercise, name: str) -> None:
    """Bugs: a slip that passes, that is called something else, or whose line gives the repair away."""
    verdict = judge_source(exercise, exercise.slipped(name))
    assert not verdict.passed
    assert any(exercise.slips[name].kind in line for line in verdict.lines), verdict.lines
    said = "\n".join(verdict.lines)
    assert not any(new.strip() in said or old.strip() in said for old, new in exercise.slips[name].edits)


# Laws that no slip of the exercise breaks, each with an edit of the solution that does.
UNBROKEN = [
    ("vjp", 0, ("return dy @ W.T", "return 2 * dy @ W.T")),
    ("score", 0, ("None, w @ by_mu", "None, 2 * w @ by_mu")),
    ("score", 3, (", w @ by_log_var", ", 2 * w @ by_log_var")),
    ("baseline", 1, ("return (f - others) / S", "return f / S")),
    ("sample", 0, ("return mu + np", "return mu + 0.03 + np")),
    ("heads", 0, ("return sigmoid(h @ W_mu + b_mu)", "return h @ W_mu + b_mu")),
    ("elbo", 5, ("- kl(mu, log_var)", "- kl(mu, log_var) + 1")),
]


@pytest.mark.parametrize(("exercise", "number", "edit"), UNBROKEN, ids=lambda x: str(x)[:12])
def test_every_law_can_be_broken(exercise: str, number: int, edit: tuple[str, str]) -> None:
    """Bug: a law that always holds. The others are those of slips: `test_every_published_slip_is_named_by_its_kind`."""
    one = next(one for one in COURSE if one.name == exercise)
    laws = [*one.laws(executed(edited(one.solution, (edit,), "law")))]
    assert not laws[number].holds, laws


def test_the_second_pair_is_judged_too_and_the_numbers_are_in_their_places() -> None:
    """Bugs: a file that passes by its first pair; "yours" in front of the number that is not the learner's."""
    one = next(one for one in COURSE if one.name == "log_normal")
    source = edited(one.solution, (("return 0.5 * w[:, None] * np", "return w[:, None] * np"),), "entropy")
    line = judge_source(one, source).lines[0]
    assert line.startswith("entropy: log_var: wrong at ["), line
    yours, numerically = (float(line.partition(word)[2].split(",")[0]) for word in ("yours ", "numerically "))
    assert yours == pytest.approx(2 * numerically, rel=1e-3)


def test_what_is_not_one_number_a_row_is_blamed_itself() -> None:
    """Bug: a sum over the whole batch, for which the way back hears of an index that is invalid."""
    kl = next(one for one in COURSE if one.name == "kl")
    verdict = judge_source(kl, kl.solution.replace(".sum(axis=-1)", ".sum()"))
    assert verdict.lines == ("e02_kl.py: ValueError: kl of (3, 2) gave shape (), and one number a row is expected",)


SAMPLE = """import numpy as np
def sample(mu, log_var, eps):
    z = mu + np.exp(log_var / 2) * eps
    return z
def sample_vjp(dz, mu, log_var, eps):
    return dz, dz * np.exp(log_var / 2) * eps / 2, None
"""


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("eps / 2, None", "eps / 2", "sample: sample_vjp returned 2 cotangents for 3 arguments"),
        ("return dz, dz *", "return 0 * dz + 1, dz *", "  perhaps: does not depend on dz"),
        ("    z =", "    eps *= 2\n    z =", "sample: sample changed its argument eps"),
        ("    return z\n", "", "e07_sample.py: TypeError: sample returned nothing: an array is asked for"),
        (
            "return z\n",
            "return z.tolist()\n",
            "e07_sample.py: TypeError: sample returned a list: an array is asked for",
        ),
        ("eps / 2, None", "eps / 2, None  # right", "sample: every slope of its way back is right"),
    ],
)
def test_a_verdict_speaks_in_the_learner_s_names(old: str, new: str, line: str) -> None:
    """Bugs: f_vjp and dy, which stand nowhere in the file; a forward that returns nothing, for which the way back is
    blamed; a pass that does not say that the slopes were proved."""
    found = judge_source(find("sample"), SAMPLE.replace(old, new)).lines
    assert any(said.startswith(line) for said in found), found


def test_an_argument_called_f_keeps_its_name() -> None:
    """Bug: the name of the function put where an argument has the name f."""
    baseline = find("baseline")
    source = baseline.solution + "\n\ndef estimate_vjp(w, f, z, mu, log_var):\n    return None\n"
    assert "for 4 arguments (f, z, mu, log_var)" in judge_source(baseline, source).lines[0]


@pytest.mark.parametrize(
    ("name", "body", "got"),
    [
        ("score", "return z - mu", "[(1,), (1,), (1,)]"),
        (
            "gradient",
            "z = mu + eps; a, b = score(z, mu, log_var); return (f(z) * a).mean(axis=0), b[0]",
            "[(3,), (1,)]",
        ),
        ("gradient", "pass", "NoneType"),
    ],
)
def test_shapes_of_the_score_are_asked_at_few_draws(name: str, body: str, got: str) -> None:
    """Bugs: a line with a hundred thousand shapes; (S,) times (S, 1) at all draws, which is 75 GB; a traceback's words
    where nothing is returned."""
    score = find("score")
    arguments = {"score": "z, mu, log_var", "gradient": "f, mu, log_var, eps"}[name]
    own = score.solution.replace("by_mu, by_log_var = score(", "by_mu, by_log_var = first(").replace(
        "= first", "= ours"
    )
    source = own + f"\n\nours = score\n\n\ndef {name}({arguments}):\n    {body}\n"
    assert f"{name} of 3 draws returned {got}: " in judge_source(score, source).lines[1]


def test_what_is_missing_is_called_by_its_name() -> None:
    """Bugs: a second function that nobody wrote, of which the first is blamed, or that is a traceback."""
    sample = next(one for one in COURSE if one.name == "sample")
    first = sample.solution.partition("def sample_vjp")[0]
    for rest, line in [
        ("", "there is no sample_vjp: the file must define it"),
        ("def sample_vjp(*args):\n    raise NotImplementedError\n", "not written yet: sample_vjp"),
    ]:
        assert judge_source(sample, first + rest).lines == (line,)


def test_a_slip_of_learners_has_no_source() -> None:
    """Bug: "(published: )" behind a slip that nobody published."""
    vjp = next(one for one in COURSE if one.name == "vjp")
    for name, published in (("= for +=", True), ("the buffers are left as they were", False)):
        said = "\n".join(judge_source(vjp, vjp.slipped(name)).lines)
        assert ("(published: " in said) is published, said


def test_every_error_of_the_gallery_has_its_exercise() -> None:
    """Bug: one that people published, and that no exercise would show."""
    assert not set(GALLERY) - {name for one in COURSE for name in one.slips}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("def sample(", "line 1: SyntaxError"),
        ("import numpy as np\n", "there is no sample"),
        ("def sample(m, l, e): return 1 / 0\ndef sample_vjp(*a): pass\n", "line 1: ZeroDivisionError"),
        ("def sample(m, l, e): return m\ndef sample_vjp(d, m, l, e): return d\n", "returned ndarray for 3 arguments"),
        ("while True: pass\n", "a loop without an end"),
        ("import os\nos._exit(3)\n", "ended with 3"),
    ],
)
def test_whatever_a_file_does_is_one_verdict(source: str, line: str, tmp_path: Path) -> None:
    """Bugs: a traceback of ours, an endless loop that hangs the checker, a file that ends the process."""
    sample = next(one for one in COURSE if one.name == "sample")
    verdict = judged(sample, file_of(tmp_path, source), limit=2 if "while" in source else 60)
    assert not verdict.passed
    assert line in "\n".join(verdict.lines)


def test_a_learner_s_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bugs: a stub over a learner's work, a solution before its time, a pass that outlives the file it was given for,
    a reset that loses what was written."""
    folder = tmp_path / "mine"

    def call(*words: str) -> tuple[int, str]:
        code = main(["exercise", "--folder", str(folder), *words])
        out, err = capsys.readouterr()
        return code, out + err

    sample = next(one for one in COURSE if one.name == "sample")
    path = folder / sample.file
    assert call("7")[0] == 0
    path.write_text(sample.stub + "# mine\n", encoding="utf-8")
    assert "which is there" in call("7")[1]
    assert path.read_text(encoding="utf-8").endswith("# mine\n")
    assert call("7", "--check")[0] == 1
    assert call("7", "--solution")[0] == 2
    assert sample.hints[0] in call("7", "--hint")[1]
    assert sample.hints[1] in call("sample", "--hint")[1]
    assert sample.hints[1] in call("7", "--hint")[1]
    path.write_text(sample.solution, encoding="utf-8")
    assert call("7", "--check")[0] == 0
    assert "passed" in next(line for line in call()[1].splitlines() if " sample " in line)
    assert call("7", "--solution")[1] == sample.solution
    path.write_text(sample.solution + "\n", encoding="utf-8")
    assert "changed since it passed" in call()[1]
    assert call("7", "--reset")[0] == 0
    assert path.read_text(encoding="utf-8") == sample.stub
    assert [kept.read_text(encoding="utf-8") for kept in folder.glob("*.txt")] == [sample.solution + "\n"]
    code, out = call("--json")
    assert code == 1
    assert {one["name"]: one["passed"] for one in json.loads(out)["exercises"]}["sample"] is False


def test_refusals_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bugs: a number that nobody has, a check of a file that is not there, progress that somebody broke, and a reset
    that takes the file away before it says so."""
    folder = str(tmp_path)
    for words, line in [
        (("99",), "no exercise 99"),
        (("7", "--check"), f"scratchvae exercise 7 --folder {folder} writes it"),
        (("--hint",), "of which exercise"),
    ]:
        assert main(["exercise", "--folder", folder, *words]) == 2
        assert line in capsys.readouterr().err
    assert main(["exercise", "--folder", folder, "7"]) == 0
    for broken in ("[]", "{", '{"sample": {"hints": "many"}}', '{"sample": {"passed": 3}}'):
        (tmp_path / "progress.json").write_text(broken, encoding="utf-8")
        for asked in ("--hint", "--reset"):
            assert main(["exercise", "--folder", folder, "7", asked]) == 2
            assert "remove it" in capsys.readouterr().err
    assert (tmp_path / "e07_sample.py").exists()  # a reset that is refused has moved nothing
