"""§7 The lessons: every cell runs, in the fixed order of a lesson, and no number in them is typed."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from scratchvae.exercises import COURSE

LESSONS = sorted((Path(__file__).parent.parent / "docs" / "lessons").glob("[0-9]*.md"))
PARTS = ("The picture", "The algebra", "Five lines", "Your turn", "What the check cannot see", "Ask yourself")
CELL = re.compile(r"^```\{code-cell\} python\n(?::[^\n]*\n)*(.*?)^```", re.MULTILINE | re.DOTALL)
each = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@each
def test_every_cell_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: a lesson that shows what the library no longer does, in a place where nobody builds the documentation."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict[str, Any] = {"__name__": path.stem}
    cells = CELL.findall(path.read_text(encoding="utf-8"))
    assert len(cells) >= 3
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for cell in cells:
            exec(compile(cell, f"{path.name}: {cell[:60]}", "exec"), names)
    assert out.getvalue()


@each
def test_the_parts_stand_in_their_order(path: Path) -> None:
    """Bug: a lesson without its picture, its exercise, or what the check cannot see."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(PARTS)
    assert re.search(r"^# \d+ · ", text, re.MULTILINE)
    assert text.count("textcolor") >= 1  # the term that matters
    folded = re.findall(
        r"^<details>\n<summary>[^\n]+</summary>\n\n(.*?)\n\n</details>\n", text, re.MULTILINE | re.DOTALL
    )
    assert len(folded) == text.count("<details>") == 1  # as HTML: in a notebook too
    assert "```" not in folded[0]
    number = int(path.stem[:2])
    assert f"scratchvae exercise {number} --check" in text
    exercise = next(one for one in COURSE if one.number == number)
    assert any(f'show({number}, "{slip}")' in text for slip in exercise.slips) or not exercise.slips
