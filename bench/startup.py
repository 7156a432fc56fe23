"""§7.2.5 From the start of the process to the first training step done, with the compilers' caches empty and filled."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import work
from bench.contest import Plan
from bench.peers import FIELD, load
from bench.work import StepWork
from bench.worker import limit, realtime

JOB = StepWork("784-500-20", 100, "float32", 2)
NOT = ("ours, composed in NumPy", "ours, inverted images", "JAX scan")  # they start as their neighbours do


def measure(full: bool, plan: Plan) -> list[dict[str, Any]]:
    """One row a contestant: seconds with cold and with warm caches, and the peak of resident memory (warm), MB."""
    say = plan.say
    rows = []
    for what, module in FIELD["step"].items():
        if what in NOT or any(skip in what for skip in plan.leave_out) or (not full and what == "torch eager"):
            continue
        with tempfile.TemporaryDirectory() as folder:
            tries = [once(module, what, folder)]  # cold; not at real-time priority: a compiler may take its minute
            with realtime(plan.realtime):
                tries += [once(module, what, folder) for _ in range(3 if full else 1)]
        if any(t is None for t in tries):
            say(f"startup: {what} left out: it cannot run here")
            continue
        (cold, _), *warm = (t for t in tries if t)
        seconds, peak = min(warm)
        times = {"cold_seconds": round(cold, 2), "warm_seconds": round(seconds, 2)}
        rows.append({"what": what, **times, "peak_mb": round(peak)})
        say(f"startup: {what}: cold {cold:.2f} s, warm {seconds:.2f} s, {peak:.0f} MB")
    return rows


def once(module: str, what: str, folder: str) -> tuple[float, float] | None:
    """(seconds, MB) of one fresh process; None where it fails. Every compiler's cache lives in `folder`."""
    names = ("SCRATCHVAE_CACHE", "NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")
    env = limit(JOB.threads) | {name: str(Path(folder) / name) for name in names}
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    start = time.perf_counter()
    command = [sys.executable, "-m", "bench.startup", module, what]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
    return (seconds, float(line)) if line.strip() else None


def peak_memory() -> float:
    """MB resident at most in this program; not ru_maxrss, which a child inherits from the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def child(module: str, what: str) -> None:
    """The first step of one contestant, then one line: the peak of memory. Unpacking MNIST's files is left out."""
    work.images = lambda: np.tile((np.arange(work.PIXELS) % 5 * 20).astype(np.uint8), (work.ROWS, 1))  # type: ignore
    contestant = load(module).step(what, JOB)
    contestant.run(1)
    os.write(1, f"{peak_memory():.1f}\n".encode())


if __name__ == "__main__":
    child(*sys.argv[1:3])
