"""§7.2.3 log p(x) by importance sampling, 5000 samples a row, as in Burda et al. 2016: which cells are timed."""

from bench.steps import LADDER, WIDE
from bench.work import LOG_P, StepWork

ROWS, SAMPLES = 20, 5000


def cells(full: bool) -> list[StepWork]:
    """Full: the VAE and the ladder. Quick: none, for a second goes by with each piece of work."""
    return [StepWork(n, ROWS, estimator=LOG_P, samples=SAMPLES) for n in (WIDE, LADDER)] if full else []
