"""§7.2.4 `scratchvae gradcheck FILE.py`: every pair of a file is found and judged, and 0 is for all of them ok."""

import contextlib
import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from command_line import Call, Done
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchvae.cli import gradcheck, main

RIGHT = """
def square(x):
    return x**2

def square_vjp(dy, x):
    return 2 * x * dy

square_args = (np.array([0.3, -1.2]),)
"""
WRONG = "def cube(x): return x**3\ndef cube_vjp(dy, x): return 2 * x**2 * dy\ncube_args = (np.ones(2),)\n"
UNKNOWN = "def same(x): return x\ndef same_vjp(dy, x): return dy\n"


@pytest.fixture
def of_file(call: Call) -> Call:
    """Run the command on a file with this text."""

    def run(text: str, *options: object) -> Done:
        Path("pairs.py").write_text("import numpy as np\n" + textwrap.dedent(text), encoding="utf-8")
        return call("gradcheck", "pairs.py", *options)

    return run


def test_the_example_of_the_help_is_ok(call: Call) -> None:
    """Catches a help that teaches what does not work."""
    lines = [
        line.removeprefix("  ") for line in gradcheck.DESCRIPTION.splitlines() if line.startswith("  ") or not line
    ]
    Path("layer.py").write_text("\n".join(lines), encoding="utf-8")
    done = call("gradcheck", "layer.py")
    assert (done.code, done.out.splitlines()[0]) == (0, "dense: ok"), done
    assert "1 check in " in done.words
    assert "every gradient holds (1 ok)" in done.words


def test_exit_codes_count_the_verdicts(of_file: Call) -> None:
    """Catches a 0 over a pair that is wrong or unjudged; --allow-unknown that lets a wrong one pass too."""
    for text, codes, counts in (
        (RIGHT, (0, 0), "(1 ok)"),
        (RIGHT + UNKNOWN, (1, 0), "(1 ok, 1 cannot tell)"),
        (RIGHT + WRONG, (1, 1), "(1 ok, 1 wrong)"),
        (UNKNOWN + WRONG + RIGHT, (1, 1), "(1 ok, 1 wrong, 1 cannot tell)"),
    ):
        for code, option in zip(codes, ([], ["--allow-unknown"]), strict=True):
            done = of_file(text, *option)
            assert (done.code, counts in done.words) == (code, True), done
    assert done.words.splitlines()[-2:] == ["cannot tell: same", "wrong: cube"]
    assert "2 of 3 checks FAILED" in of_file(UNKNOWN + WRONG + RIGHT).words
    assert "nothing is wrong" in of_file(RIGHT + UNKNOWN, "--allow-unknown").words


def test_json_is_one_object_whatever_the_file_prints(of_file: Call) -> None:
    """Catches a print at import or inside f that lands in the JSON."""
    text = "print('hello')\n" + RIGHT.replace("return x**2", "print('again'); return x**2") + WRONG + UNKNOWN
    done = of_file(text, "--json")
    found = json.loads(done.out)
    assert (done.code, found["checks"], found["failures"]) == (1, 3, ["cube", "same"])
    assert found["verdicts"] == {"ok": 1, "wrong": 1, "cannot tell": 1}
    assert [one["verdict"] for one in found["details"]] == ["ok", "wrong", "cannot tell"]
    assert "hello" in done.words
    assert "again" in done.words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (UNKNOWN, "cannot tell: no point: give same_args = (x,)"),
        ("def two(x, W): return x @ W\ndef two_vjp(dy, x, W): return None", "no point: give two_args = (x, W)"),
        (
            "def lost_vjp(dy, x): return dy\n",
            "cannot tell: there is no function lost for lost_vjp: define it, or import",
        ),
        (UNKNOWN + "same_args = np.ones(2)\n", "same_args is ndarray: give a tuple, same_args = (x,)"),
        (UNKNOWN + "same_args = ()\n", "same_args is tuple: give a tuple, same_args = (x,)"),
        (UNKNOWN + "same_args = (np.ma.masked_array([1.0]),)\n", "cannot tell: x is a MaskedArray"),
        (UNKNOWN + "same_args = (np.ones(1),)\nsame_constants = 'z'\n", "cannot tell: constants names 'z'"),
        (UNKNOWN + "def same_args():\n    return 1 / 0\n", "wrong: pairs.py, line 5 raised ZeroDivisionError"),
        (
            "def f(x):\n    return x[9]\ndef f_vjp(dy, x): return x\nf_args = (np.ones(2),)",
            "line 3 raised IndexError: ",
        ),
        (  # the line that raised, not the one that called it
            "def inner(x):\n    return x[9]\ndef f(x):\n    return inner(x)\ndef f_vjp(dy, x): return x\n"
            "f_args = (np.ones(2),)",
            "line 3 raised IndexError: ",
        ),
        (
            "def f(x): raise SystemExit(0)\ndef f_vjp(dy, x): return x\nf_args = (np.ones(2),)",
            "line 2 raised SystemExit",
        ),
    ],
)
def test_what_was_not_checked_is_named_and_not_ok(of_file: Call, text: str, words: str) -> None:
    """Catches silence over a pair without a point, a missing comma, a point that fails, an f that leaves with 0."""
    done = of_file(text)
    assert done.code == 1
    assert words in done.out


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\ny = z\n", "pairs.py, line 3: NameError: name 'z' is not defined"),
        ("def f(:\n", "pairs.py, line 2: SyntaxError: invalid syntax"),
        (
            "import nowhere_to_be_found\n",
            "pairs.py, line 2: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        (
            "from . import sibling\n",
            "pairs.py, line 2: ImportError: attempted relative import with no known parent pack",
        ),
        ("import sys\nsys.exit(0)\n", "pairs.py, line 3: the file called sys.exit(0): put it under if __name__ == "),
        ("def f(x): return x\n", "pairs.py has no pair: define NAME, NAME_vjp and a point, NAME_args = (…,)"),
        ("\0", "pairs.py"),
        (RIGHT, "no pair of pairs.py is called 'cube': it has square"),
    ],
)
def test_a_file_that_does_not_run_is_one_line(of_file: Call, text: str, line: str) -> None:
    """Catches a traceback, an error without its place, and a sys.exit(0) that makes 0 of nothing checked."""
    done = of_file(text, *(["--pattern", "cube"] if text is RIGHT else []))
    assert (done.code, done.out) == (2, "")
    assert done.line.startswith(f"scratchvae gradcheck: {line}")


def test_a_file_that_is_not_there(call: Call) -> None:
    """Catches a traceback for a wrong path, and options that do not go together."""
    assert call("gradcheck", "nothing.py").line.endswith(
        "nothing.py: No such file or directory: give a Python file with pairs"
    )
    assert call("gradcheck", ".").code == 2
    assert "leave FILE.py out" in call("gradcheck", "nothing.py", "--estimators").line


def test_names_points_and_imports(of_file: Call) -> None:
    """Its own folder is on the path, for later imports too; a guard is a guard; a point may be a function, constants a
    name. Catches a pair that was imported and given a point and passed over, and a helper imported for use, judged."""
    Path("neighbour_of_pairs.py").write_text(RIGHT.replace("\ndef", "import numpy as np\ndef", 1), encoding="utf-8")
    before = [*sys.path]
    done = of_file(
        """
        from dataclasses import dataclass
        from neighbour_of_pairs import square as quad, square_vjp as quad_vjp, square_vjp as helper_vjp

        @dataclass
        class Settings:
            slope: "float" = 2.0

        def scaled(x, eps):
            import neighbour_of_pairs
            return Settings().slope * neighbour_of_pairs.square(x) * eps

        def scaled_vjp(dy, x, eps):
            return 4 * x * eps * dy, None

        def scaled_args():
            return np.array([0.4, -0.2]), np.array([1.5, 0.7])

        scaled_constants = "eps"
        quad_args = [np.array([0.4, -0.2])]

        def valley(x, a):
            return (a - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2

        def valley_grad(x, a):
            return np.array([2 * (x[0] - a) - 400 * x[0] * (x[1] - x[0] ** 2), 200 * (x[1] - x[0] ** 2)])

        valley_args = np.array([0.3, 0.5]), 1.0

        def zero_grad(): pass

        if __name__ == "__main__":
            raise SystemExit(1)
        """
    )
    assert done.code == 0, done
    assert [line for line in done.out.splitlines() if ":" in line] == ["quad: ok", "scaled: ok", "valley_grad: ok"]
    assert sys.path == before
    assert "gradcheck_file" not in sys.modules
    assert not list(Path().glob("__pycache__/pairs*"))
    wrong = of_file("def f(x): return x @ x\ndef f_grad(x): return x\nf_args = (np.ones(2),)")
    assert (wrong.code, wrong.out.splitlines()[0]) == (1, "f_grad: FAIL")


def test_pattern_chooses_pairs_of_the_file(of_file: Call) -> None:
    """Catches a pattern that is left to the library."""
    for pattern, names in (
        ("squ", ["square"]),
        ("uar", ["square"]),
        ("*e", ["square", "cube", "same"]),
        ("c?be", ["cube"]),
    ):
        found = json.loads(of_file(RIGHT + WRONG + UNKNOWN, "--json", "--pattern", pattern).out)
        assert [one["name"] for one in found["details"]] == names


def test_python_m_scratchvae_gradcheck(tmp_path: Path) -> None:
    """Catches a second name of the command that does another thing."""
    (tmp_path / "pairs.py").write_text("import numpy as np\n" + WRONG, encoding="utf-8")
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "scratchvae.gradcheck", "pairs.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "cube: FAIL")
    assert "wrong: cube" in done.stderr


@settings(max_examples=8)
@given(st.lists(st.sampled_from(["right", "wrong", "unknown"]), min_size=1, max_size=5))
def test_zero_is_for_all_of_them_ok(tmp_path_factory: pytest.TempPathFactory, kinds: list[str]) -> None:
    """Catches a verdict of the last pair, or of the first, that stands for the file's."""
    slopes = {"right": ("2 * x * dy", True), "wrong": ("x * dy", True), "unknown": ("2 * x * dy", False)}
    lines = ["import numpy as np"]
    for i, kind in enumerate(kinds):
        slope, point = slopes[kind]
        lines += [f"def f{i}(x): return x**2", f"def f{i}_vjp(dy, x): return {slope}"]
        lines += [f"f{i}_args = (np.array([0.3, -{i + 1}.0]),)"] * point
    path = tmp_path_factory.mktemp("pairs") / "pairs.py"
    path.write_text("\n".join(lines), encoding="utf-8")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main(["gradcheck", str(path), "--json"])
    verdicts = json.loads(out.getvalue())["verdicts"]
    assert code == int(set(kinds) != {"right"})
    assert [*verdicts.values()] == [kinds.count(kind) for kind in slopes]
    assert np.sum([*verdicts.values()]) == len(kinds)


@pytest.mark.parametrize("option", ["--seeds", "--draws"])
def test_what_only_estimators_have_is_not_ignored(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches --seeds 5 that is taken without a word, and changes nothing."""
    assert main(["gradcheck", option, "5"]) == 2
    assert "--seeds and --draws go with --estimators" in capsys.readouterr().err
