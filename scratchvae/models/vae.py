"""§7.3 The variational autoencoder: p(x | z) and q(z | x) by networks, p(z) = N(0, I), and its bound (eq. 10).

    L(x) = log p_θ(x | z) − KL(q_φ(z | x) ‖ p(z)),    z = μ_φ(x) + σ_φ(x) ⊙ ε        Kingma & Welling 2014, eq. 10

`elbo` and `elbo_vjp` are the whole of hand-written AEVB; x (B, D), eps (B, K) or (S, B, K), L (B,) in nats. They hold
for any q that has `sample` and a `kl` to its standard member: p(z) is that, and ε what its `sample` takes.
"""

import dataclasses
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..conditional import Distribution, Family, Net, kind, net, net_vjp
from ..errors import UsageError, unknown
from ..kernels import NUMPY, Kernels
from ..networks import ACTIVATIONS, Dense, inputs
from ..types import Array
from . import convolutional

LIKELIHOODS = ("bernoulli", "gaussian", "gaussian-sigmoid", "gaussian-fixed")  # those with a compiled step


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The shape of a VAE: `hidden` is read from x inwards; the decoder mirrors it.

    (500,) is one layer each way, as in Kingma & Welling 2014 on MNIST; the chapter's "two dense hidden layers" are
    these two, or else (500, 500).
    """

    columns: int
    latent: int = 20
    hidden: tuple[int, ...] = (500,)
    activation: str = "tanh"
    likelihood: str = "bernoulli"
    variance: float | Array = (1 / 255) ** 2  # Gaussian decoders: the floor of σ², or σ² itself for gaussian-fixed
    log_scale: Array | None = None  # (D,), where rows come standardised: densities are those of the raw columns
    posterior: str = "normal"  # q(z | x): "gamma", "planar:10", …; p(z) is its standard member, or else …
    prior: str = "standard"  # … "mixture:10" or "vamp:500", which are learned
    network: str = "mlp"  # or "conv:32,64": convolutions between the image and `hidden` (models.convolutional)
    image: tuple[int, ...] | None = None  # (H, W) or (H, W, C) of a row, for these

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.likelihood not in LIKELIHOODS:
            kind(self.likelihood)
        if self.q != "normal":
            kind(self.q)
        if self.activation not in ACTIVATIONS:
            raise unknown("activation", self.activation, ACTIVATIONS)
        if min(self.columns, self.latent, *self.hidden) < 1:
            sizes = f"columns={self.columns}, latent={self.latent}, hidden={self.hidden}"
            raise UsageError(f"sizes must be at least 1, but {sizes}")
        if not np.all(np.asarray(self.variance) > 0):
            raise UsageError(f"variance={self.variance} must be above 0")
        if convolutional.channels(self.network):
            convolutional.as_image(self.image, self.columns)

    @property
    def encoder(self) -> tuple[tuple[int, ...], Family, int]:
        """(input and hidden sizes, family, output size) of q(z | x)."""
        seen = kind(self.likelihood).seen(self.columns) if self.enter else self.columns
        return (seen, *self.hidden), Family(self.q), self.latent

    @property
    def q(self) -> str:
        """The kind of q(z | x)."""
        return "normal" if self.posterior == "normal" else f"q:{self.posterior}"

    @property
    def scheduled(self) -> bool:
        """Whether whole steps of it can be compiled (`fast.schedule`); what else there is, is composed."""
        plain = (self.posterior, self.prior, self.network) == ("normal", "standard", "mlp")
        return self.likelihood in LIKELIHOODS and plain

    @property
    def enter(self) -> str:
        """How x enters the encoder: by its kind, where a decoder has one."""
        return "" if self.likelihood in LIKELIHOODS else self.likelihood

    @property
    def circle(self) -> str:
        """How z enters the decoder: as a point on the circle, where it is an angle."""
        return "circle" if self.posterior == "von-mises" else ""

    @property
    def likelihood_family(self) -> Family:
        """The family of p(x | z)."""
        return self.decoder[1]

    @property
    def decoder(self) -> tuple[tuple[int, ...], Family, int]:
        """(input and hidden sizes, family, output size) of p(x | z)."""
        sizes = (self.latent * (2 if self.circle else 1), *self.hidden[::-1])
        return sizes, Family(self.likelihood, self.variance, self.log_scale), self.columns

    @property
    def output_bias(self) -> str:
        """The name of the bias that follows the data's mean."""
        return f"p.{self.decoder[1].heads[0]}.b"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name and shape, in the order of the arena: "q.hidden.0.W" … "p.logits.b"."""
        if self.network != "mlp":
            return {**convolutional.shapes(self), **prior_shapes(self)}
        return {**net_shapes("q", *self.encoder), **net_shapes("p", *self.decoder), **prior_shapes(self)}

    def nets(self, views: dict[str, Array]) -> tuple[Net, Net]:
        """(phi, theta): the encoder and the decoder over named arrays (parameters or their cotangents)."""
        if self.network != "mlp":
            return convolutional.nets(self, views)
        phi = view_net("q", *self.encoder[:2], self.activation, views, self.enter)
        return phi, view_net("p", *self.decoder[:2], self.activation, views, self.circle)


def net_shapes(prefix: str, sizes: tuple[int, ...], family: Family, out: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a net's arrays: `sizes` are its input and hidden widths, `out` that of each head."""
    layers = {f"{prefix}.hidden.{l}": pair for l, pair in enumerate(pairwise(sizes))}
    layers |= {f"{prefix}.{head}": (sizes[-1], width) for head, width in family.widths(out).items()}
    return {f"{name}.{part}": shape for name, (i, o) in layers.items() for part, shape in (("W", (i, o)), ("b", (o,)))}


def prior_shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    """Of a learned prior's arrays: a VampPrior's pseudo-inputs, as the encoder sees rows, or a mixture's components."""
    name, _, count = a.prior.partition(":")
    if name == "standard":
        return {}
    if name == "vamp":
        return {"prior.u": (int(count), a.encoder[0][0])}
    return {"prior.mu": (int(count), a.latent), "prior.log_var": (int(count), a.latent), "prior.logits": (int(count),)}


def view_net(
    prefix: str, sizes: tuple[int, ...], family: Family, activation: str, views: dict[str, Array], enter: str = ""
) -> Net:
    """A `Net` over named arrays."""

    def layer(name: str) -> Dense:
        return Dense(views[f"{prefix}.{name}.W"], views[f"{prefix}.{name}.b"])

    hidden = tuple(layer(f"hidden.{l}") for l in range(len(sizes) - 1))
    return Net(hidden, tuple(layer(head) for head in family.heads), activation, family, enter)


def encode(x: Array, phi: Net, k: Kernels = NUMPY, m: Array | None = None) -> tuple[Distribution, list[Array]]:
    """q(z | x) for rows x (B, D), and the layers for the way back; m (B, D) as in `elbo`."""
    if m is None:
        return net(x, phi, k)
    if phi.enter:
        return net(kind(phi.enter).features(x, m), phi._replace(enter=""), k)
    return net(rescaled(x, m), phi, k)


def decode(z: Array, theta: Net, k: Kernels = NUMPY) -> tuple[Distribution, list[Array]]:
    """p(x | z) for codes z (..., K), and the layers for the way back."""
    return net(z, theta, k)


# With a share of x at 0, the first layer's sums are short of terms by that share; made up for, a whole row and one with
# gaps look alike on average to an encoder that has only ever seen gaps.
def rescaled(x: Array, m: Array) -> Array:
    """What the encoder sees of rows with gaps, where x is 0: x · D / (number observed), so x itself without gaps."""
    count = m.sum(axis=1, keepdims=True)
    seen: Array = x * (m.shape[1] / np.where(count == 0, 1, count)).astype(x.dtype)
    return seen


class Cache(NamedTuple):
    """What `elbo` computed on the way forward and `elbo_vjp` needs."""

    q: Distribution
    q_layers: list[Array]
    z: Array
    p: Distribution
    p_layers: list[Array]
    reconstruction: Array  # log p(x | z), (B,) or (S, B)
    kl: Array  # (B,)


def elbo(x: Array, eps: Array, phi: Net, theta: Net, k: Kernels = NUMPY, m: Array | None = None) -> tuple[Array, Cache]:
    """The SGVB estimate of the bound, row by row (Kingma & Welling 2014, eq. 10).

    x (B, D); eps (B, K), or (S, B, K) for the mean over S samples. Returns L (B,) in nats and the cache.
    m (B, D) is 1 where x was observed and 0 where it is missing, and there x must be 0: then this bounds log p(x_obs).
    """
    check_columns(x, phi)
    check_noise(eps, x, phi)
    q, q_layers = encode(x, phi, k, m)
    z = q.sample(eps, k)
    p, p_layers = decode(z, theta, k)
    reconstruction, kl = p.log_prob(x, k) if m is None else p.log_prob_observed(x, m, k), q.kl(k)
    L = (reconstruction if eps.ndim == 2 else reconstruction.mean(axis=0)) - kl
    return L, Cache(q, q_layers, z, p, p_layers, reconstruction, kl)


def elbo_vjp(
    w: Array,
    cache: Cache,
    x: Array,
    eps: Array,
    phi: Net,
    theta: Net,
    dphi: Net,
    dtheta: Net,
    k: Kernels = NUMPY,
    m: Array | None = None,
    beta: float = 1.0,
) -> None:
    """Of `elbo`: adds ∂(Σ_b w_b L_b) into dphi and dtheta; w (B,). The forward, walked in reverse.

    beta weights the KL's share alone (Higgins et al. 2017; Sønderby et al. 2016 let it rise to 1): L stays the bound.
    """
    w_sample = w if eps.ndim == 2 else np.broadcast_to(w / eps.shape[0], eps.shape[:2])  # L = mean over S of … − kl
    p = cache.p
    _, dp = p.log_prob_vjp(w_sample, x, k) if m is None else p.log_prob_observed_vjp(w_sample, x, m, k)  # log p(x | z)
    dz = net_vjp(dp, cache.p, cache.p_layers, theta, dtheta, k)  # p = decode(z)
    assert dz is not None
    through_z = cache.q.sample_vjp(dz, eps, k)  # z = μ + σ ε
    through_kl = cache.q.kl_vjp(-beta * w, k)  # − KL(q ‖ p)
    dq = type(through_z)(*(a + b for a, b in zip(through_z, through_kl, strict=True)))
    net_vjp(dq, cache.q, cache.q_layers, phi, dphi, k, need_dx=False)  # q = encode(x)


def check_columns(x: Array, phi: Net) -> None:
    """One clear line where x does not fit the encoder."""
    D = inputs((phi.hidden or phi.heads)[0])
    if x.ndim != 2 or (kind(phi.enter).seen(x.shape[1]) if phi.enter else x.shape[1]) != D:
        columns = f"{D} numbers as {phi.enter} enters" if phi.enter else f"D={D} columns"
        raise UsageError(f"x has shape {x.shape} but phi was built for rows of {columns}")


def check_noise(eps: Array, x: Array, phi: Net) -> None:
    """One clear line where ε is not one draw for each row and latent: broadcasting would share draws in silence."""
    B, K = len(x), phi.heads[0].W.shape[1]
    if eps.ndim not in (2, 3) or eps.shape[-2:] != (B, K) or eps.shape[:-2] == (0,):
        raise UsageError(f"eps has shape {eps.shape}, expected ({B}, {K}), or (S, {B}, {K}) for S samples a row")
