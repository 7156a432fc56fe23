"""§7.1 Several latent layers: the bound, and the sampled log ratio, through two and three of them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from ...conditional import HEADS, Family, Net
from ...models.ladder import Weights, backward, elbo, elbo_vjp, forward, log_ratio
from ...types import Array
from .. import accumulating
from . import Case, at
from .networks import layers

SIZES = (4, 3, 2, 2)  # x, z_1, z_2, z_3
ROWS = 3

Nets = Sequence[Net]


def bound(x: Array, eps: Sequence[Array], phi: Nets, theta: Nets) -> Array:
    """L (B,), the top KL in closed form."""
    return elbo(x, eps, phi, theta)[0]


def bound_vjp(w: Array, x: Array, eps: Sequence[Array], phi: Nets, theta: Nets, dphi: Nets, dtheta: Nets) -> None:
    """Adds into dphi and dtheta."""
    elbo_vjp(w, elbo(x, eps, phi, theta)[1], phi, theta, dphi, dtheta)


def ratio(x: Array, eps: Sequence[Array], phi: Nets, theta: Nets) -> Array:
    """r (B,) or (S, B), all of it at the samples."""
    return log_ratio(forward(x, eps, phi, theta))


def ratio_vjp(w: Array, x: Array, eps: Sequence[Array], phi: Nets, theta: Nets, dphi: Nets, dtheta: Nets) -> None:
    """Its total derivative."""
    backward(Weights(w), forward(x, eps, phi, theta), phi, theta, dphi, dtheta)


def arrow(seed: int, inputs: int, out: int, family: str) -> Net:
    """A net with a hidden layer of three; its weights differ by seed."""
    (hidden,) = layers(inputs, 3)
    head = layers(3, out)[0]
    heads = tuple(head._replace(W=at(seed + i, 3, out) / 2) for i in range(len(HEADS[family])))
    return Net((hidden._replace(W=at(seed + 9, inputs, 3) / 2),), heads, "tanh", Family(family, 0.3))


def cases() -> Iterator[Case]:
    """Two and three layers, with one and with several samples; x and the noise are constants."""
    x = (at(110, ROWS, SIZES[0]) > 0) * 1.0
    for depth, bottom, samples in ((1, "bernoulli", 0), (2, "gaussian", 0), (3, "bernoulli", 0), (2, "bernoulli", 2)):
        steps = list(pairwise(SIZES[: depth + 1]))
        phi = tuple(arrow(120 + 10 * l, low, high, "normal") for l, (low, high) in enumerate(steps))
        theta = tuple(arrow(160 + 10 * l, high, low, "normal" if l else bottom) for l, (low, high) in enumerate(steps))
        eps = tuple(at(111 + l, *((samples,) * bool(samples)), ROWS, high) for l, (_, high) in enumerate(steps))
        label = f"{bottom}, {depth} layers{f', {samples} samples' * bool(samples)}"
        args = x, eps, phi, theta
        data = ("x", "eps", *(f"{nets}.{l}.family" for nets in ("phi", "theta") for l in range(depth)))
        yield Case(f"ladder.elbo[{label}]", bound, accumulating(bound_vjp, into=(2, 3)), args, constants=data)
        yield Case(f"ladder.log_ratio[{label}]", ratio, accumulating(ratio_vjp, into=(2, 3)), args, constants=data)
