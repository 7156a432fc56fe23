"""§7.3 What is released is what was tested: wheel and sdist are whole."""

from pathlib import Path

import pytest
from dist import build, tried


def test_wheel_and_sdist_in_clean_environments(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Catches a file that setup.cfg forgets to pack, a dependency that only the developer has, and a traceback where
    data are missing."""
    if not request.config.getoption("--long"):
        pytest.skip("builds, and installs from the package index: --long")
    made = build(tmp_path)
    assert [path.suffix for path in made] == [".whl", ".gz"]
    for one in made:
        tried(one)
