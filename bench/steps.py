"""§7.2.5 Whole training steps: which cells are timed."""

from bench.work import NETWORKS, StepWork

WIDE, DEEP, LADDER = NETWORKS
QUICK = [
    StepWork(WIDE, 100),
    StepWork(WIDE, 100, threads=1),
    StepWork(DEEP, 20),
    StepWork(WIDE, 1),
    StepWork(DEEP, 20, estimator="dreg", samples=5),
    StepWork(LADDER, 20, estimator="iw", samples=5),
]
OTHERS = [  # models, estimators and optimizers beside the VAE by SGVB B and Adam
    StepWork(DEEP, 20, estimator="stl"),
    *(StepWork(DEEP, 20, estimator=e, samples=k) for e, k in (("iw", 5), ("dreg", 5), ("iw", 50))),
    *(StepWork(LADDER, 20, estimator="iw", samples=k) for k in (1, 5, 50)),
    StepWork(WIDE, 100, missing="random:0.5"),
    StepWork(WIDE, 100, optimizer="adagrad"),
    StepWork(WIDE, 100, likelihood="gaussian"),
    StepWork(WIDE, 100, estimator="score_loo", samples=4),
]
BATCHES = (100, 20, 1, 512, 4096)
THREADS = (2, 1)


def cells(full: bool) -> list[StepWork]:
    """Quick: some that decide. Full: the VAE at all batches, float64 at three of them, and all others."""
    if not full:
        return QUICK
    single = [StepWork(n, b, "float32", t) for t in THREADS for n in (WIDE, DEEP) for b in BATCHES]
    double = [StepWork(WIDE, b, "float64", t) for t in THREADS for b in (100, 20, 512)]
    return single + double + [StepWork(DEEP, 20, "float64", t) for t in THREADS] + OTHERS
