"""§7.2.5 scratchvae itself: the compiled training step where the library has one, and the composed pairs beside it."""

from bench.work import Contestant, StepWork
from scratchvae import __version__

STEPS = ("ours",)
PRODUCTS: tuple[str, ...] = ()


def version() -> str:
    return f"scratchvae {__version__}"


def step(what: str, work: StepWork) -> Contestant:
    raise NotImplementedError("scratchvae's compiled step is not built yet")
