"""§7.1 Several latent layers: p(x | z_1) p(z_1 | z_2) … p(z_m), with q(z_1 | x) q(z_2 | z_1) … bottom-up.

    r = log p(x | z_1) + Σ_{l<m} [log p(z_l | z_{l+1}) − log q(z_l | z_{l−1})] + log p(z_m) − log q(z_m | z_{m−1})

with z_0 = x, a net for each arrow (Burda et al. 2016, §2; not the ladder VAE of Sønderby et al. 2016, whose q comes
back down). The VAE is the ladder with one layer, bit for bit (test_one_layer_is_the_vae). phi[l] is q(z_{l+1} | z_l),
theta[l] is p(z_l | z_{l+1}); eps[l] is (B, K_l), or (S, B, K_l) for S samples; bounds and log ratios are (B,) or
(S, B), in nats.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..conditional import Distribution, Family, Net, net, net_vjp
from ..distributions import Normal
from ..errors import UsageError, unknown
from ..kernels import NUMPY, Kernels
from ..types import Array
from .decoded import standard
from .vae import LIKELIHOODS, Architecture, check_columns, check_noise, net_shapes, view_net

Nets = Sequence[Net]


@dataclasses.dataclass(frozen=True)
class LadderArchitecture:
    """The shape of a ladder: latent sizes from x upwards; hidden widths of each arrow, read upwards, mirrored down."""

    columns: int
    latent: tuple[int, ...]
    hidden: tuple[tuple[int, ...], ...]
    activation: str = "tanh"
    likelihood: str = "bernoulli"
    variance: float | Array = (1 / 255) ** 2
    log_scale: Array | None = None

    def __post_init__(self) -> None:
        if len(self.hidden) != len(self.latent) or not all(isinstance(h, tuple) for h in self.hidden):
            need = f"hidden widths for each of its {len(self.latent)} arrows, e.g. 200,200/100,100"
            raise UsageError(f"a ladder with latent sizes {self.latent} needs {need}, but got {self.hidden}")
        if self.likelihood not in LIKELIHOODS:
            raise unknown("likelihood of a ladder", self.likelihood, LIKELIHOODS)
        for size, hidden in zip(self.latent, self.hidden, strict=True):
            Architecture(self.columns, size, hidden, self.activation, self.likelihood, self.variance)

    def arrows(self) -> list[tuple[str, tuple[int, ...], Family, int]]:
        """(name, input and hidden widths, family, output size) of each q(z_{l+1} | z_l), then p(z_l | z_{l+1})."""
        below = (self.columns, *self.latent)
        q = [(f"q.{l}", (below[l], *self.hidden[l]), Family("normal"), self.latent[l]) for l in range(len(self.latent))]
        p = [
            (f"p.{l}", (self.latent[l], *self.hidden[l][::-1]), self.family(l), below[l])
            for l in range(len(self.latent))
        ]
        return q + p

    def family(self, l: int) -> Family:
        """The family of p(z_l | z_{l+1}), with z_0 = x."""
        return Family(self.likelihood, self.variance, self.log_scale) if l == 0 else Family("normal")

    @property
    def likelihood_family(self) -> Family:
        """The family of p(x | z_1)."""
        return self.family(0)

    @property
    def scheduled(self) -> bool:
        """Whether whole steps of it can be compiled."""
        return True

    @property
    def output_bias(self) -> str:
        """The name of the bias that follows the data's mean."""
        return f"p.0.{self.family(0).heads[0]}.b"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name and shape, in the order of the arena: all of q, then all of p."""
        return {name: shape for arrow in self.arrows() for name, shape in net_shapes(*arrow).items()}

    def nets(self, views: dict[str, Array]) -> tuple[list[Net], list[Net]]:
        """(phi, theta) over named arrays."""
        nets = [view_net(name, sizes, family, self.activation, views) for name, sizes, family, _ in self.arrows()]
        return nets[: len(self.latent)], nets[len(self.latent) :]


class Pass(NamedTuple):
    """Every layer on the way forward: q[l] of z_{l+1}, its net's layers, the sample; p[l] of z_l, its net's layers."""

    x: Array
    eps: Sequence[Array]
    q: list[Normal]
    q_layers: list[list[Array]]
    z: list[Array]
    p: list[Distribution]
    p_layers: list[list[Array]]


class Weights(NamedTuple):
    """What each way by which r is differentiated is multiplied with, (B,) or (S, B): see the table in
    `estimators.frame`. path is a factor on top of theta (None: 1); score None says −theta · path, the total derivative;
    kl, the weight of −KL(q(z_m | ·) ‖ N(0, I)), is given where the top layer's terms are that closed form."""

    theta: Array
    path: Array | None = None
    score: Array | None = None
    kl: Array | None = None


def forward(x: Array, eps: Sequence[Array], phi: Nets, theta: Nets, k: Kernels = NUMPY) -> Pass:
    """Up through the inference nets, sampling; then every generative net at the samples."""
    check_columns(x, phi[0])
    q, q_layers, z, below = [], [], [], x
    for arrow, noise in zip(phi, eps, strict=True):
        check_noise(noise, x, arrow)
        up, layers = net(below, arrow, k)
        assert isinstance(up, Normal)
        below = up.sample(noise, k)
        q.append(up)
        q_layers.append(layers)
        z.append(below)
    down = [net(above, arrow, k) for above, arrow in zip(z, theta, strict=True)]
    return Pass(x, eps, q, q_layers, z, [p for p, _ in down], [layers for _, layers in down])


def below_top(f: Pass, k: Kernels = NUMPY) -> Array:
    """r without the top layer's two terms."""
    r = f.p[0].log_prob(f.x, k)
    for l in range(1, len(f.z)):
        r = r + f.p[l].log_prob(f.z[l - 1], k) - f.q[l - 1].log_prob(f.z[l - 1], k)
    return r


def log_ratio(f: Pass, k: Kernels = NUMPY) -> Array:
    """r, all of it at the samples."""
    return below_top(f, k) + standard(f.z[-1]).log_prob(f.z[-1], k) - f.q[-1].log_prob(f.z[-1], k)


# dz[l] collects a share from each use of z_l: as a value under p and under q, and as a parent in p and in q.
def backward(w: Weights, f: Pass, phi: Nets, theta: Nets, dphi: Nets, dtheta: Nets, k: Kernels = NUMPY) -> None:
    """Of `log_ratio`, or of `elbo` where w.kl is given: adds into dphi and dtheta the cotangents that w asks for."""
    slope = w.theta if w.path is None else w.theta * w.path
    dz = down_arrows(w, f, theta, dtheta, k)
    for l in reversed(range(len(f.z))):
        top = l == len(f.z) - 1
        dq: list[Normal] = []
        if not (top and w.kl is not None):  # − log q(z_l | z_{l−1}): the value's share, then the parameters'
            dvalue, explicit = f.q[l].log_prob_vjp(-slope, f.z[l], k)
            dz[l] = dz[l] + dvalue
            dq.append(explicit)
        through_z = f.q[l].sample_vjp(dz[l], f.eps[l], k)  # z_l = μ + σ ε
        if top and w.kl is not None:
            dq.append(f.q[l].kl_vjp(-w.kl, k))
        below = up_arrow(l, through_z, dq, w, f, phi, dphi, k)
        if below is not None:
            dz[l - 1] = dz[l - 1] + below


def down_arrows(w: Weights, f: Pass, theta: Nets, dtheta: Nets, k: Kernels) -> list[Array]:
    """The generative half: adds into dtheta, returns ∂/∂z_l of Σ log p, (S, B, K_l), weighted with theta · path."""
    dz: list[Array] = []
    for l in range(len(f.z)):
        dvalue, dp = f.p[l].log_prob_vjp(broadcast(w.theta, f.z[l]), f.x if l == 0 else f.z[l - 1], k)
        parent = net_vjp(dp, f.p[l], f.p_layers[l], theta[l], dtheta[l], k)  # p(z_l | z_{l+1})
        assert parent is not None
        dz.append(parent)
        if l > 0:
            assert dvalue is not None
            dz[l - 1] = dz[l - 1] + dvalue
    if w.kl is None:
        dz[-1] = dz[-1] - w.theta[..., None] * f.z[-1]  # ∂ log N(z_m; 0, I)/∂z_m = −z_m
    return dz if w.path is None else [w.path[..., None] * d for d in dz]


def up_arrow(
    l: int, through_z: Normal, dq: list[Normal], w: Weights, f: Pass, phi: Nets, dphi: Nets, k: Kernels
) -> Array | None:
    """One inference net on the way back: adds into dphi[l], returns the cotangent of its input (None at x)."""
    args = f.q[l], f.q_layers[l], phi[l]
    total = add(through_z, *dq)
    if w.score is None or (l == len(f.z) - 1 and w.kl is not None):
        return net_vjp(total, *args, dphi[l], k, need_dx=l > 0)
    _, explicit = f.q[l].log_prob_vjp(w.score, f.z[l], k)  # φ's own share has its own weight …
    net_vjp(add(through_z, explicit), *args, dphi[l], k, need_dx=False)
    return net_vjp(total, *args, None, k) if l > 0 else None  # … and z_{l−1} has the path's


def add(*parts: Normal) -> Normal:
    """The sum of cotangents."""
    return Normal(sum(p.mu for p in parts[1:]) + parts[0].mu, sum(p.log_var for p in parts[1:]) + parts[0].log_var)


def broadcast(w: Array, z: Array) -> Array:
    """w for every sample of z (…, K)."""
    return np.broadcast_to(w, z.shape[:-1])


def elbo(x: Array, eps: Sequence[Array], phi: Nets, theta: Nets, k: Kernels = NUMPY) -> tuple[Array, Pass]:
    """The bound, with the top layer's KL in closed form: only there are both Gaussians known before z_m is drawn.

    L (B,) nats, the mean over S samples where eps has them, and the pass for `elbo_vjp`.
    """
    f = forward(x, eps, phi, theta, k)
    r, kl = below_top(f, k), f.q[-1].kl(k)
    return (r if r.ndim == 1 else r.mean(axis=0)) - (kl if kl.ndim == 1 else kl.mean(axis=0)), f


def elbo_vjp(w: Array, f: Pass, phi: Nets, theta: Nets, dphi: Nets, dtheta: Nets, k: Kernels = NUMPY) -> None:
    """Of `elbo`: adds ∂(Σ_b w_b L_b) into dphi and dtheta; w (B,)."""
    samples = f.eps[0].shape[:-1]
    each = w if len(samples) == 1 else np.broadcast_to(w / samples[0], samples)
    kl = each if len(f.z) > 1 else w  # with one layer the KL knows nothing of the samples
    backward(Weights(each, kl=kl), f, phi, theta, dphi, dtheta, k)


def ancestors(eps: Sequence[Array], theta: Nets, k: Kernels = NUMPY) -> Array:
    """z_1 (..., K_1) from the prior: z_m = ε_m, then down through p(z_l | z_{l+1})."""
    z = eps[-1]
    for l in reversed(range(1, len(theta))):
        p, _ = net(z, theta[l], k)
        assert isinstance(p, Normal)
        z = p.sample(eps[l - 1], k)
    return z
