"""§7.3 What is released is what was tested: wheel and sdist are whole."""

import configparser
from pathlib import Path

import pytest
from dist import ROOT, build, tried


def test_every_file_of_the_package_is_packed() -> None:
    """Catches a file beside the modules that setup.cfg does not name, and a folder of modules that is no package: seen
    without building anything."""
    setup, package = configparser.ConfigParser(), ROOT / "scratchvae"
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = [word.strip() for word in setup["options.package_data"]["scratchvae"].split(",")]
    packed = {path for word in named for path in package.glob(word)}
    there = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in there if path.suffix != ".py"} == packed
    assert len(packed) == len(named)
    assert all((path.parent / "__init__.py").is_file() for path in there if path.suffix == ".py")
    assert setup["options.packages.find"]["include"] == "scratchvae*"


def test_wheel_and_sdist_in_clean_environments(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Catches a package that is built otherwise than setup.cfg says, a dependency that only the developer has, and a
    traceback where data are missing."""
    if not request.config.getoption("--long"):
        pytest.skip("builds, and installs from the package index: --long")
    made = build(tmp_path)
    assert [path.suffix for path in made] == [".whl", ".gz"]
    for one in made:
        tried(one)
