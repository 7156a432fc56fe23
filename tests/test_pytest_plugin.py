"""§7.2.4 The pytest plugin: a fixture by entry point, which costs nothing until it is used."""

import configparser
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = """
import sys
import pytest

def test_unused():
    assert not {"numpy", "scratchvae.gradcheck"} & set(sys.modules)

def test_right(gradcheck):
    import numpy as np
    gradcheck(np.sin, lambda dy, x: dy * np.cos(x), (np.arange(1.0, 4.0),), control=True)

def test_wrong(gradcheck):
    import numpy as np
    gradcheck(np.sin, lambda dy, x: -dy * np.cos(x), (np.arange(1.0, 4.0),))
"""
PLAIN = """
import numpy as np
from scratchvae.gradcheck import check

def test_plain():
    assert check(np.sin, lambda dy, x: -dy * np.cos(x), (np.arange(1.0, 4.0),))

def test_named():
    report = check(np.sin, lambda dy, x: -dy * np.cos(x), (np.arange(1.0, 4.0),))
    assert report.ok
"""


def pytest_says(folder: Path, *options: str) -> str:
    """What a pytest of its own prints, with this plugin and no other."""
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    for name in ("CI", "BUILD_NUMBER"):  # where pytest's summary repeats the whole message
        env.pop(name, None)
    call = [sys.executable, "-m", "pytest", "-p", "scratchvae.pytest_plugin", "-p", "no:cacheprovider", *options]
    return subprocess.run(call, cwd=folder, env=env, capture_output=True, text=True, check=False).stdout


def test_the_fixture_in_a_project_of_its_own(tmp_path: Path) -> None:
    """Catches a plugin that imports NumPy for everybody, a table that is not in the failure, a trace into our code."""
    (tmp_path / "test_mine.py").write_text(TESTS, encoding="utf-8")
    said = pytest_says(tmp_path, "-q")
    assert "1 failed, 2 passed" in said, said
    assert said.count("sin: FAIL") == 1
    assert "worst at" in said
    assert "doors.py" not in said
    assert "gradcheck" in pytest_says(tmp_path, "--fixtures", "-q")


def test_a_plain_assertion_shows_the_whole_table(tmp_path: Path) -> None:
    """Bug: pytest showed the table on one line, its ends escaped and its middle cut."""
    (tmp_path / "test_mine.py").write_text(PLAIN, encoding="utf-8")
    said = pytest_says(tmp_path, "-q").splitlines()
    assert said.count("sin: FAIL") == said.count("  x: perhaps: minus the derivative: a flipped sign") == 2, said


def test_the_entry_point_names_the_plugin() -> None:
    """Catches a plugin that was moved without its entry point."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    name, module = config["options.entry_points"]["pytest11"].strip().split(" = ")
    assert name == "scratchvae-gradcheck"
    assert hasattr(import_module(module), "gradcheck")


def test_a_failure_is_an_assertion(gradcheck_in_place: object) -> None:
    """The fixture is `assert_vjp` itself."""
    from scratchvae.gradcheck import assert_vjp

    assert gradcheck_in_place is assert_vjp


@pytest.fixture
def gradcheck_in_place() -> object:
    """The fixture's own function, for the plugin need not be installed where this runs."""
    return import_module("scratchvae.pytest_plugin").gradcheck.__wrapped__()
