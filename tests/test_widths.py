"""The compiled code at every width of vectors, and what it emits where Numba compiles for less than the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scratchvae.engine.jit import vector_width


@pytest.mark.parametrize("width", ["16", "8", "4", "1"])
def test_forced_widths(width: str, request: pytest.FixtureRequest) -> None:
    """One test of each kind again at every other width, each with a cache of its own; 4 and 1, a minute each, with
    --long. Catches lanes counted for one width alone."""
    if int(width) == vector_width():
        pytest.skip("the machine's own: all tests are at it")
    if int(width) < 8 and not request.config.getoption("--long"):
        pytest.skip("compiles for a minute: run with --long")
    chosen = "hidden1-bernoulli-float32 or hidden2-gaussian-sigmoid-float32 or odd_sizes or any_number_of_threads"
    chosen += " or by_lists and float32 or single_precision or products or compress or vector_noise or packed"
    names = ("compiled_step", "schedules", "kernels_vectors", "sync")
    files = [str(Path(__file__).with_name(f"test_{name}.py")) for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files, "-k", chosen]
    environment = {**os.environ, "SCRATCHVAE_VECTOR_WIDTH": width}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_what_numba_does_not_compile_for_is_not_emitted(tmp_path: Path) -> None:
    """On any x86 machine NUMBA_CPU_NAME=generic leaves SSE alone: an instruction beyond it would end the process."""
    tests = str(Path(__file__).with_name("test_kernels_vectors.py"))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests, "-k", "squeeze"]
    for width in ("", "8", "16"):
        environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "SCRATCHVAE_CACHE": str(tmp_path)}
        environment |= {"SCRATCHVAE_VECTOR_WIDTH": width}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
