"""§7.1.2 The rivals' pairs."""

from collections.abc import Iterator

from ...classical.wake_sleep import log_q, log_q_vjp
from ...models.vae import Architecture
from .. import accumulating
from . import Case, at
from .vae import parameters


def cases() -> Iterator[Case]:
    """log q(z | x) in φ alone, z Gaussian and binary, one draw a row and two."""
    x = abs(at(501, 3, 4)) - 0.5
    normal, _ = parameters(Architecture(4, 2, (3,), "tanh"), 510)
    head = normal.heads[0]
    binary = normal._replace(heads=(head,), family=normal.family._replace(name="bernoulli"))
    for name, phi in (("normal", normal), ("bernoulli", binary)):
        for samples in ((), (2,)):
            z = at(502, *samples, 3, 2) if name == "normal" else (at(502, *samples, 3, 2) > 0) * 1.0
            pair = log_q, accumulating(log_q_vjp, into=(2,))
            title = f"wake_sleep.log_q[{name}{', 2 draws' * bool(samples)}]"
            yield Case(title, *pair, (x, z, phi), constants=("x", "z", "phi.family"))
