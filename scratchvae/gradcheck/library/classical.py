"""§7.1.2 The rivals' pairs."""

from collections.abc import Iterator

from ...classical import full_vb
from ...classical.wake_sleep import log_q, log_q_vjp
from ...distributions import Normal
from ...models.vae import Architecture
from ...types import Array
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
    yield from full()


def full() -> Iterator[Case]:
    """θ = μ + σ ζ with its price, local activations, and the exact bound of linear regression."""
    q, zeta, X, y = Normal(at(503, 3), at(504, 3)), at(505, 3), at(506, 4, 3), at(507, 4)

    def weights_vjp(w: tuple[Array, Array], q: Normal, zeta: Array, dq: Normal) -> None:
        full_vb.weights_vjp(w[0], w[1], q, zeta, 7, dq)  # type: ignore[arg-type]

    f = lambda q, zeta: full_vb.weights(q, zeta, 7)  # noqa: E731
    yield Case("full_vb.weights", f, accumulating(weights_vjp, into=(0,)), (q, zeta), constants=("zeta",))
    pair = full_vb.local, accumulating(full_vb.local_vjp, into=(0,))
    yield Case("full_vb.local", *pair, (q, X, at(508, 4)), constants=("X", "zeta"))
    model = full_vb.LinearRegression(X, y, -0.7)
    yield Case("full_vb.bound", model.bound, accumulating(model.bound_vjp, into=(0,)), (q,))
