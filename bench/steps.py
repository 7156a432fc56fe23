"""§7.2.5 Whole training steps: which cells are timed."""

from bench.work import StepWork

QUICK = [("784-500-20", 100, 2), ("784-500-20", 100, 1), ("784-200-200-50", 20, 2), ("784-500-20", 1, 2)]
BATCHES = (100, 20, 1, 512, 4096)
THREADS = (2, 1)


def cells(full: bool) -> list[StepWork]:
    """Quick: the four that decide. Full: both networks, all batches, and float64 at three of them."""
    if not full:
        return [StepWork(n, b, "float32", t) for n, b, t in QUICK]
    single = [StepWork(n, b, "float32", t) for t in THREADS for n in ("784-500-20", "784-200-200-50") for b in BATCHES]
    double = [StepWork("784-500-20", b, "float64", t) for t in THREADS for b in (100, 20, 512)]
    return single + double + [StepWork("784-200-200-50", 20, "float64", t) for t in THREADS]
