"""§7.1 Few labels: p(y) p(z) p(x | z, y) with y one of C classes that most rows do not tell (M2, Kingma et al. 2014).

    −L(x, y) = E_q(z | x, y)[log p(x | z, y)] + log p(y) − KL(q(z | x, y) ‖ N(0, I)),    log p(y) = −log C      (eq. 6)
    −U(x)    = Σ_y q(y | x) (−L(x, y) − log q(y | x))                                                          (eq. 7)

The first is the bound of a conditional VAE: by itself a model of rows whose class is given. The second bounds log p(x),
and its sum over y is exact: no draw, no score function. x (B, D); y the codes of classes, (B,) of rows that tell, or
`every(C)` (C, 1) for all; eps (B, K) or (C, B, K), a draw for each class; bounds (B,) or (C, B) in nats.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from ..conditional import Distribution, Family, Net, net, net_vjp
from ..distributions.shared import log_softmax
from ..errors import UsageError, unknown
from ..kernels import NUMPY, Kernels
from ..networks import (
    Dense,
    Layer,
    activate,
    activate_vjp,
    affine,
    affine_vjp,
    affine_vjp_params,
    dense,
    dense_vjp,
    dense_vjp_params,
    mlp,
    mlp_vjp,
)
from ..types import Array
from .vae import LIKELIHOODS, Architecture, check_columns, net_shapes, view_net


class Recognition(NamedTuple):
    """φ, or its cotangent: the classifier q(y | x), and q(z | x, y)."""

    y: tuple[Layer, ...]  # the last of them gives the logits
    z: Net


@dataclasses.dataclass(frozen=True)
class SemiSupervised:
    """The shape of M2: the widths of `hidden` are the classifier's, the encoder's, and mirrored the decoder's."""

    columns: int
    classes: int
    latent: int = 50
    hidden: tuple[int, ...] = (500,)
    activation: str = "softplus"
    likelihood: str = "bernoulli"
    variance: float | Array = (1 / 255) ** 2
    log_scale: Array | None = None

    scheduled = False  # steps of it are composed

    def __post_init__(self) -> None:
        if self.likelihood not in LIKELIHOODS:
            raise unknown("likelihood of a model with classes", self.likelihood, LIKELIHOODS)
        if self.classes < 2 or not self.hidden:
            raise UsageError(f"classes={self.classes}, hidden={self.hidden}: expected two classes and a hidden layer")
        Architecture(self.columns, self.latent, self.hidden, self.activation, self.likelihood, self.variance)

    def arrows(self) -> dict[str, tuple[tuple[int, ...], Family, int]]:
        """(input and hidden widths, family, output size) of q(y | x), q(z | x, y) and p(x | z, y), by prefix."""
        D, C, H = self.columns, self.classes, tuple(self.hidden)
        return {
            "q.y": ((D, *H), Family("bernoulli"), C),  # one head, logits
            "q.z": ((D + C, *H), Family("normal"), self.latent),
            "p": ((self.latent + C, *H[::-1]), self.likelihood_family, D),
        }

    @property
    def likelihood_family(self) -> Family:
        """The family of p(x | z, y)."""
        return Family(self.likelihood, self.variance, self.log_scale)

    @property
    def output_bias(self) -> str:
        """The name of the bias that follows the data's mean."""
        return f"p.{self.likelihood_family.heads[0]}.b"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name and shape, in the order of the arena."""
        return {name: s for prefix, arrow in self.arrows().items() for name, s in net_shapes(prefix, *arrow).items()}

    def nets(self, views: dict[str, Array]) -> tuple[Recognition, Net]:
        """(phi, theta) over named arrays."""
        nets = (view_net(prefix, *a[:2], self.activation, views) for prefix, a in self.arrows().items())
        classifier, encoder, theta = nets
        return Recognition(classifier.hidden + classifier.heads, encoder), theta


def every(C: int) -> Array:
    """All classes, for all rows: (C, 1)."""
    return np.arange(C)[:, None]


# ── a net that is given a class: its first layer has a row of W for each, below those of x ────────────────────────────

# h = f(x W_x + b + W_y[y])      the one-hot of y times W_y is a row of it: no product
#   so    da = f'(h) dh,  dW_y[c] = Σ_{y = c} da,  and where y is every class x W_x is one product, dx W_x one of Σ_y da


def net_given(x: Array, y: Array, p: Net, k: Kernels = NUMPY) -> tuple[Distribution, list[Array]]:
    """The distribution given x (B, in) or (C, B, in) and y (B,) or (C, 1), and the layers for the way back."""
    first, D = p.hidden[0], x.shape[-1]
    a = dense(x, Dense(first.W[:D], first.b), k) + first.W[D + y]
    found, hs = net(activate(a, p.activation, k), p._replace(hidden=p.hidden[1:]), k)
    return found, [x, *hs]


def net_given_vjp(
    ddist: Distribution, dist: Distribution, hs: list[Array], y: Array, p: Net, dp: Net, k: Kernels, need_dx: bool
) -> Array | None:
    """Of `net_given`: adds into dp's arrays, returns dx (None where it is not needed)."""
    rest, drest = p._replace(hidden=p.hidden[1:]), dp._replace(hidden=dp.hidden[1:])
    dh = net_vjp(ddist, dist, hs[1:], rest, drest, k)
    assert dh is not None
    da, x, D = activate_vjp(dh, hs[1], p.activation, k), hs[0], hs[0].shape[-1]
    W, b, dW, db = p.hidden[0].W, p.hidden[0].b, dp.hidden[0].W, dp.hidden[0].b
    if y.ndim == 2:
        dW[D:] += da.sum(axis=1)
    else:
        np.add.at(dW, D + y, da)
    da = da.sum(axis=0) if da.ndim > x.ndim else da  # x was one for all classes
    if need_dx:
        return dense_vjp(da, x, Dense(W[:D], b), Dense(dW[:D], db), k)
    dense_vjp_params(da, x, Dense(dW[:D], db), k)
    return None


# ── −L(x, y): the conditional VAE ─────────────────────────────────────────────────────────────────────────────────────


class Cache(NamedTuple):
    """What `elbo` computed and `elbo_vjp` needs."""

    q: Distribution
    q_layers: list[Array]
    p: Distribution
    p_layers: list[Array]
    reconstruction: Array  # log p(x | z, y), (B,) or (C, B)


def elbo(x: Array, y: Array, eps: Array, phi: Recognition, theta: Net, k: Kernels = NUMPY) -> tuple[Array, Cache]:
    """−L(x, y), with log p(y) in it: bounds log p(x, y); (B,), or (C, B) for every class. Raises UsageError for noise
    that is not one draw for each."""
    C, K = len(phi.y[-1].b), phi.z.heads[0].W.shape[1]
    rows = (C, len(x)) if y.ndim == 2 else (len(x),)
    if eps.shape != (*rows, K):
        raise UsageError(f"eps has shape {eps.shape}, expected {(*rows, K)}: a draw for each row and class")
    q, q_layers = net_given(x, y, phi.z, k)
    p, p_layers = net_given(q.sample(eps, k), y, theta, k)
    reconstruction = p.log_prob(x, k)
    return reconstruction - q.kl(k) - math.log(C), Cache(q, q_layers, p, p_layers, reconstruction)


def elbo_vjp(
    w: Array,
    cache: Cache,
    x: Array,
    y: Array,
    eps: Array,
    phi: Recognition,
    theta: Net,
    dphi: Recognition,
    dtheta: Net,
    k: Kernels = NUMPY,
) -> None:
    """Of `elbo`: adds ∂(Σ w L) into dphi.z and dtheta; w has the bounds' shape."""
    q, p = cache.q, cache.p
    _, dp = p.log_prob_vjp(w, x, k)
    dz = net_given_vjp(dp, p, cache.p_layers, y, theta, dtheta, k, need_dx=True)
    assert dz is not None
    dq = [a + b for a, b in zip(q.sample_vjp(dz, eps, k), q.kl_vjp(-w, k), strict=True)]
    net_given_vjp(type(q)(*dq), q, cache.q_layers, y, phi.z, dphi.z, k, need_dx=False)


# ── q(y | x) ──────────────────────────────────────────────────────────────────────────────────────────────────────────

# log q_c = l_c − log Σ_j e^{l_j}      so      ∂log q_y / ∂l_c = [c = y] − q_c


def classify(x: Array, phi: Recognition, k: Kernels = NUMPY) -> tuple[Array, list[Array]]:
    """log q(y | x) (B, C), and the layers for the way back."""
    hs = mlp(x, phi.y[:-1], phi.z.activation, k)
    return log_softmax(affine(hs[-1], phi.y[-1], k))[0], hs


def classify_vjp(
    dlog_q: Array, log_q: Array, hs: list[Array], phi: Recognition, dphi: Recognition, k: Kernels = NUMPY
) -> None:
    """Of `classify`: adds into dphi.y; dlog_q (B, C)."""
    dl = dlog_q - np.exp(log_q) * dlog_q.sum(axis=-1, keepdims=True)
    dh = affine_vjp(dl, hs[-1], phi.y[-1], dphi.y[-1], k)
    dh = mlp_vjp(dh, hs[1:], phi.y[1:-1], dphi.y[1:-1], phi.z.activation, k)
    affine_vjp_params(activate_vjp(dh, hs[1], phi.z.activation, k), hs[0], dphi.y[0], k)


# ── −U(x): every class, weighed by q(y | x) ───────────────────────────────────────────────────────────────────────────

# −U = Σ_c q_c r_c,  r_c = L_c − log q_c,  L_c = −L(x, c),  q = softmax(l)
#   ∂(−U)/∂L_c = q_c      so the rows of class c go back through `elbo_vjp` with weight q_c
#   ∂(−U)/∂log q_c = q_c r_c − q_c      (q_c = e^{log q_c}), and through `classify_vjp`, where Σ_c q_c = 1:
#   ∂(−U)/∂l_c = q_c r_c − q_c − q_c (Σ_j q_j r_j − 1) = q_c (r_c − Σ_j q_j r_j)
# The score function's estimate, r_y ∂log q_y / ∂l_c at y ~ q(y | x), has this for its mean.


class MarginalCache(NamedTuple):
    """What `marginal` computed and `marginal_vjp` needs."""

    log_q: Array  # (B, C)
    layers: list[Array]
    L: Array  # −L(x, c), (C, B)
    given: Cache


def marginal(x: Array, eps: Array, phi: Recognition, theta: Net, k: Kernels = NUMPY) -> tuple[Array, MarginalCache]:
    """−U(x) (B,), which bounds log p(x); eps (C, B, K)."""
    check_columns(x, phi.z._replace(hidden=phi.y[:1]))
    log_q, layers = classify(x, phi, k)
    L, given = elbo(x, every(log_q.shape[1]), eps, phi, theta, k)
    return (np.exp(log_q) * (L.T - log_q)).sum(axis=-1), MarginalCache(log_q, layers, L, given)


def marginal_vjp(
    w: Array,
    cache: MarginalCache,
    x: Array,
    eps: Array,
    phi: Recognition,
    theta: Net,
    dphi: Recognition,
    dtheta: Net,
    k: Kernels = NUMPY,
) -> None:
    """Of `marginal`: adds ∂(Σ_b w_b (−U_b)) into dphi and dtheta; w (B,)."""
    q = np.exp(cache.log_q)
    y = every(q.shape[1])
    elbo_vjp(np.ascontiguousarray((w[:, None] * q).T), cache.given, x, y, eps, phi, theta, dphi, dtheta, k)
    dlog_q = w[:, None] * q * (cache.L.T - cache.log_q - 1)
    classify_vjp(dlog_q, cache.log_q, cache.layers, phi, dphi, k)


def log_weights(x: Array, eps: Array, phi: Recognition, theta: Net, k: Kernels = NUMPY) -> Array:
    """log Σ_y p(x, y, z_y) / q(z_y | x, y) (B,): its exponential has p(x) for its mean; eps (C, B, K)."""
    C = len(phi.y[-1].b)
    q = net_given(x, every(C), phi.z, k)[0]
    z = q.sample(eps, k)
    ratio = -0.5 * (z * z - eps * eps - q.log_var).sum(axis=-1)  # log p(z) − log q(z | x, y)
    log_joint = net_given(z, every(C), theta, k)[0].log_prob(x, k) + ratio - math.log(C)
    found: Array = np.logaddexp.reduce(log_joint, axis=0)
    return found
