"""§7.1.1 The hunt: each check finds its own error and no other, and a wrong answer is not told the right one."""

import re
from pathlib import Path

import numpy as np
import pytest

from scratchvae.cli import main
from scratchvae.exercises import e11_hunt, hunt
from scratchvae.exercises.course import find
from scratchvae.exercises.record import edited
from scratchvae.exercises.verdict import judge_source
from scratchvae.mutants.gallery import GALLERY

HUNT = find("hunt")


def test_each_check_finds_its_own_error_alone() -> None:
    """Bugs: a check that fails on the right VAE, one that sees nothing, two that see the same; a docstring that is not
    what is measured."""
    found = {}
    with np.errstate(all="ignore"):
        for letter, source in {"": e11_hunt.RIGHT, **e11_hunt.SOURCES}.items():
            vae = hunt.loaded(source, letter)
            found[letter] = [name for name, measure in hunt.CHECKS.items() if not measure(vae).holds]
    assert found == {"": [], **{letter: [error.check] for letter, error in e11_hunt.ERRORS.items()}}
    assert {error.check for error in e11_hunt.ERRORS.values()} == set(hunt.CHECKS)
    heads = re.search(r"^ +(slopes .*)$", e11_hunt.__doc__ or "", re.MULTILINE)
    assert heads is not None
    assert heads[1].split() == list(hunt.CHECKS)
    for letter, name, marks in re.findall(r"^    ([A-F]) (.*?)  +((?:[x.] *)+)$", e11_hunt.__doc__ or "", re.MULTILINE):
        error = e11_hunt.ERRORS[letter]
        assert (name, marks.split()) == (error.name, ["x" if c == error.check else "." for c in hunt.CHECKS])


@pytest.mark.parametrize(
    ("check", "old", "new"),
    [
        ("moments", "mu + np.exp(log_var / 2) * eps", "mu + np.exp(log_var) * eps"),
        ("steps", "beta1=0.9,", "beta1=0.8,"),
        ("extremes", "np.exp(log_var) - 1 - log_var", "np.exp(log_var) - 1 - np.maximum(log_var, -9)"),
        ("extremes", "(x * logits - softplus(logits))", "np.maximum(x * logits - softplus(logits), -99)"),
        ("extremes", "(x * logits - softplus(logits))", "(x * logits - softplus(logits) - (x * logits > 99))"),
    ],
)
def test_each_number_of_a_check_counts(check: str, old: str, new: str) -> None:
    """Bug: a check that prints a number, and holds whatever it is: errors that are not among the six."""
    vae = hunt.loaded(edited(e11_hunt.RIGHT, ((old, new),), check), check)
    assert not hunt.CHECKS[check](vae).holds


def test_the_errors_are_published_ones_and_the_files_can_be_read() -> None:
    """Bugs: an error that the gallery does not have; a VAE that no longer fits a page; a name that gives it away."""
    assert {error.name for error in e11_hunt.ERRORS.values()} <= set(GALLERY)
    assert len({*e11_hunt.SOURCES.values(), e11_hunt.RIGHT}) == 7
    assert len([line for line in e11_hunt.RIGHT.splitlines() if line.strip()]) <= 80
    for source in e11_hunt.SOURCES.values():
        assert "bug" not in source.lower()
        assert max(map(len, source.splitlines())) <= 120


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ('("slopes", "elbo_vjp")', "A: no, the slopes of A hold: right in 10 blocks"),
        ('("bound", "elbo")', "A: the check is the one, and elbo is as it should be"),
        ('("bounds", "kl")', "A: there is no check bounds: slopes, adding"),
        ('("bound", "KL")', "A: there is no function KL: dense, dense_vjp"),
        ('("bound",)', "A: no answer yet"),
        ("None", "A: no answer yet"),
    ],
)
def test_a_wrong_answer_hears_what_was_measured(row: str, line: str) -> None:
    """Bugs: a verdict with the right answer in it, a traceback for half an answer."""
    verdict = judge_source(HUNT, HUNT.solution.replace('("bound", "kl")', row))
    assert not verdict.passed
    said = verdict.lines[1]
    assert said.startswith(line)
    assert "kl_vjp" not in said.partition(":")[2] or "there is no function" in said
    assert len(verdict.lines) == 2  # the other five are right


def test_either_name_of_a_pair_will_do() -> None:
    """Bug: an error in a function and its vjp, of which one name alone counts."""
    assert judge_source(HUNT, HUNT.solution.replace('("bound", "kl")', '("bound", "kl_vjp")')).passed


def test_the_files_come_with_the_stub(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bugs: a VAE of the learner's, with lines to look inside, that is written over; one that does not come back."""
    words = ["exercise", "hunt", "--folder", str(tmp_path)]
    assert main(words) == 0
    assert "hunt/vae_a.py" in capsys.readouterr().out
    assert len(list((tmp_path / "hunt").iterdir())) == 6
    (tmp_path / "hunt/vae_a.py").write_text("# mine\n", encoding="utf-8")
    (tmp_path / "hunt/vae_b.py").unlink()
    assert main(words) == 0
    assert (tmp_path / "hunt/vae_a.py").read_text(encoding="utf-8") == "# mine\n"
    assert (tmp_path / "hunt/vae_b.py").read_text(encoding="utf-8") == e11_hunt.SOURCES["B"]


def test_a_check_prints_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: a check that is silent, or that says the same for right and wrong."""
    path = tmp_path / "vae_e.py"
    path.write_text(e11_hunt.SOURCES["E"], encoding="utf-8")
    assert hunt.extremes(path).holds
    assert not hunt.adding(path).holds
    assert re.search(
        r"vae_e.py  extremes  hold .*\nvae_e.py  adding    BROKEN .*1.00 in q.hidden.W", capsys.readouterr().out
    )
