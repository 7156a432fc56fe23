"""Engine. How many threads are worth having: processors that this process may use, and what a container grants."""

import contextlib
import functools
import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


@functools.cache
def threads() -> int:
    """Threads to use unless told: OMP_NUM_THREADS if set, else one for each of `processors`."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else processors()


def processors() -> int:
    """Cores that this process may run on, or those that a container's quota of time keeps busy, rounded up: more
    threads, which spin while they wait, would use the time up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota())))


def quota() -> float:
    """Cores' worth of time that Linux grants a container, by control groups of version 2 or 1; infinity where it says
    nothing in CGROUP itself (groups below it are not looked at)."""
    for names in ("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            granted, period = (int(n) for name in names for n in (CGROUP / name).read_text().split())
            if granted > 0:
                return granted / period
    return math.inf
