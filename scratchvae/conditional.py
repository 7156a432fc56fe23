"""§7.2.5 What it means to parametrise a distribution with a neural network: p(y | x) = family(heads(mlp(x))).

The encoder q(z | x), the decoder p(x | z) and every layer of a deeper model are such a `Net`.
"""

from typing import Any, NamedTuple

import numpy as np

from .distributions import Bernoulli, Normal
from .errors import unknown
from .kernels import NUMPY, Kernels
from .networks import Dense, activate, activate_vjp, dense, dense_vjp, dense_vjp_params, mlp, mlp_vjp
from .types import Array


# x = m + s x' by column:   log p(x) = log p(x') − Σ_d log s_d, and a constant has no slope: the way back is Normal's
class Standardised(Normal):
    """N(x'; μ, diag σ²) of standardised columns x', whose densities are those of the raw columns, nats."""

    log_scale: Array  # log s, (D,)

    def __new__(cls, mu: Array, log_var: Array, log_scale: Array) -> "Standardised":
        """mu and log_var (..., D) are in units of s."""
        made = super().__new__(cls, mu, log_var)
        made.log_scale = log_scale
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        """For copy and pickle: what `__new__` takes."""
        return (*self, self.log_scale)

    def _replace(self, **changed: Any) -> "Standardised":
        """As of any named tuple; the unit of the columns stays."""
        parts = {**self._asdict(), **changed}
        return Standardised(parts["mu"], parts["log_var"], self.log_scale)

    def log_prob(self, z: Array, k: Kernels = NUMPY) -> Array:
        """log p of the raw columns at their standardised values."""
        return super().log_prob(z, k) - float(self.log_scale.sum())

    def log_prob_observed(self, z: Array, m: Array, k: Kernels = NUMPY) -> Array:
        """log p of the raw columns with m = 1: each counts its own scale alone."""
        return super().log_prob_observed(z, m, k) - m @ self.log_scale.astype(m.dtype)


Distribution = Normal | Bernoulli


def mean_of(p: Distribution) -> Array:
    """E[y]."""
    return p.mean if isinstance(p, Bernoulli) else p.mu


HEADS = {
    "normal": ("mu", "log_var"),  # unconstrained: for q(z | x) and inner layers
    "bernoulli": ("logits",),
    "gaussian": ("mu", "log_var"),  # learned σ(z), with a floor
    "gaussian-sigmoid": ("mu", "log_var"),  # the same with means in (0, 1): Kingma & Welling 2014 for Frey Face
    "gaussian-fixed": ("mu",),  # σ² given
}


class Family(NamedTuple):
    """Which distribution the heads describe. `variance` is the floor of σ² (gaussian, gaussian-sigmoid) or σ² itself
    (gaussian-fixed), one for all columns or one each. Without a floor the likelihood of a learned σ(z) is unbounded
    (Mattei & Frellsen 2018). With `log_scale` the columns are standardised ones, and densities those of the raw."""

    name: str
    variance: float | Array = (1 / 255) ** 2  # σ of one grey level
    log_scale: Array | None = None  # (D,), of gaussian and gaussian-fixed

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of the linear heads."""
        if self.name not in HEADS:
            raise unknown("family", self.name, HEADS)
        return HEADS[self.name]


class Net(NamedTuple):
    """The parameters of a conditional distribution, or their cotangents: an mlp, then one dense layer for each head."""

    hidden: tuple[Dense, ...]
    heads: tuple[Dense, ...]
    activation: str
    family: Family


# σ² = e^a + floor, smooth: no clamp, so the slope never dies before the floor is really there
#   log σ² = log(e^a + c) = log c + softplus(a − log c)    so    ∂log σ²/∂a = sigmoid(a − log c)


def floored(a: Array, variance: float | Array, k: Kernels = NUMPY) -> Array:
    """log σ² of a head's output a, with σ² > variance."""
    log_c = log_floor(variance, a)
    return log_c + activate(a - log_c, "softplus", k)


def floored_vjp(dlog_var: Array, log_var: Array, variance: float | Array, k: Kernels = NUMPY) -> Array:
    """da, from the output log σ² alone."""
    return activate_vjp(dlog_var, log_var - log_floor(variance, log_var), "softplus", k)


def log_floor(variance: float | Array, like: Array) -> Array:
    """log c, () or (D,), in the precision of `like`."""
    return np.log(variance).astype(like.real.dtype)


def of_columns(mu: Array, log_var: Array, family: Family) -> Normal:
    """p(x | z) of columns as they are, or of standardised ones."""
    return Normal(mu, log_var) if family.log_scale is None else Standardised(mu, log_var, family.log_scale)


def from_heads(outs: list[Array], family: Family, k: Kernels = NUMPY) -> Distribution:
    """The distribution that the heads' outputs describe."""
    if family.name == "bernoulli":
        return Bernoulli(outs[0])
    if family.name == "gaussian-fixed":
        return of_columns(outs[0], np.full_like(outs[0], log_floor(family.variance, outs[0])), family)
    if family.name == "gaussian":
        return of_columns(outs[0], floored(outs[1], family.variance, k), family)
    if family.name == "gaussian-sigmoid":
        return Normal(activate(outs[0], "sigmoid", k), floored(outs[1], family.variance, k))
    return Normal(outs[0], outs[1])


def from_heads_vjp(dp: Distribution, p: Distribution, family: Family, k: Kernels = NUMPY) -> tuple[Array, ...]:
    """Cotangents of the heads' outputs, for dp that of the distribution p which `from_heads` gave."""
    if isinstance(p, Bernoulli) or isinstance(dp, Bernoulli):
        return tuple(dp)
    if family.name == "gaussian-fixed":
        return (dp.mu,)
    if family.name == "gaussian":
        return dp.mu, floored_vjp(dp.log_var, p.log_var, family.variance, k)
    if family.name == "gaussian-sigmoid":
        return activate_vjp(dp.mu, p.mu, "sigmoid", k), floored_vjp(dp.log_var, p.log_var, family.variance, k)
    return dp.mu, dp.log_var


def net(x: Array, p: Net, k: Kernels = NUMPY) -> tuple[Distribution, list[Array]]:
    """The distribution of y given x (..., in), and the mlp's layers for the way back."""
    hs = mlp(x, p.hidden, p.activation, k)
    return from_heads([dense(hs[-1], head, k) for head in p.heads], p.family, k), hs


def net_vjp(
    ddist: Distribution,
    dist: Distribution,
    hs: list[Array],
    p: Net,
    dp: Net | None,
    k: Kernels = NUMPY,
    need_dx: bool = True,
) -> Array | None:
    """Of `net`: adds into dp's arrays, returns dx.

    dp=None spares the parameters' cotangents; need_dx=False returns None and spares the first layer's product.
    """
    douts = from_heads_vjp(ddist, dist, p.family, k)
    dheads, dhidden = ((None,) * len(p.heads), (None,) * len(p.hidden)) if dp is None else (dp.heads, dp.hidden)
    heads = zip(douts, p.heads, dheads, strict=True)
    parts = [dense_vjp(dout, hs[-1], head, dhead, k) for dout, head, dhead in heads]
    dh = parts[0] if len(parts) == 1 else parts[0] + parts[1]  # h feeds every head
    if need_dx:
        return mlp_vjp(dh, hs, p.hidden, dhidden, p.activation, k)
    if dp is not None and p.hidden:
        dh = mlp_vjp(dh, hs[1:], p.hidden[1:], dhidden[1:], p.activation, k)
        dense_vjp_params(activate_vjp(dh, hs[1], p.activation, k), hs[0], dp.hidden[0], k)
    return None
