"""§7.3 Fixtures for the command line: a call in a folder of its own, and the same with a small trained run."""

import os
from pathlib import Path

# Before NumPy is loaded, here and in what tests start: where each of several workers has BLAS threads for all
# processors they mostly wait for one another (the linear VAE of test_bbvi.py: 24 s of processor, with one thread 4).
os.environ["OPENBLAS_NUM_THREADS"] = os.environ.get("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from command_line import QUIET, Call, Done, bits, make_run
from hypothesis import HealthCheck, settings

from scratchvae import cli


def pytest_addoption(parser: pytest.Parser) -> None:
    """Before any test is collected."""
    parser.addoption(
        "--long", action="store_true", help="sweeps at all their points, laws at all their draws: hours, not seconds"
    )


settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # a machine at work on other things finds no fault by being slow


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command in a folder of its own, with rows.npy in it."""
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", bits())

    def run(*args: object) -> Done:
        capsys.readouterr()
        try:
            code = cli.main([str(arg) for arg in args])
        except SystemExit as stop:  # argparse's way
            code = stop.code if isinstance(stop.code, int) else 99
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def trained(call: Call) -> Call:
    """The same, with a run in the folder "run"."""
    assert call("train", "rows.npy", "--out", "run", *QUIET).code == 0
    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a module's tests share."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    """A run in it, trained by nobody."""
    return make_run(folder)
