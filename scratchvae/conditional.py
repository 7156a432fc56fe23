"""§7.2.5 What it means to parametrise a distribution with a neural network: p(y | x) = family(heads(mlp(x))).

The encoder q(z | x), the decoder p(x | z) and every layer of a deeper model are such a `Net`.
"""

from typing import Any, NamedTuple

import numpy as np

from .distributions import Bernoulli, Normal
from .kernels import NUMPY, Kernels
from .networks import Layer, activate, activate_vjp, affine, affine_vjp, affine_vjp_params, mlp, mlp_vjp
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


Distribution = Any  # a family of `distributions`, or a mixture or flow of them; Normal and Bernoulli for the most part


# A kind says what a network's linear heads are and what they mean, in pairs like everything else:
#     heads, widths(columns)  names of the heads, and with widths
#     of(outs, family), of_vjp(dp, p, family)  the distribution of the heads' outputs, and cotangents back to them
#     features(x, m), seen(columns)  of a decoder: data as an encoder sees them, and how many numbers that is
def kind(name: str) -> Any:
    """By name ("poisson", "binomial:16", "q:planar:10"). Raises UsageError for one that is not known."""
    from .distributions.kinds import kind as found  # SciPy is for those who want more than HEADS

    return found(name)


def sample_of(p: Distribution, noise: Array, k: Kernels = NUMPY) -> Array:
    """y, by normals of a Gaussian, of others by uniforms, one for each value."""
    if isinstance(p, Normal | Bernoulli):
        return p.sample(noise, k)
    from .distributions.quantiles import draw

    return draw(p, noise)


def mean_of(p: Distribution) -> Array:
    """E[y]; where that is no formula or does not exist, a middle that the family names: median, direction, class."""
    found: Array = p.mean
    return found


HEADS = {
    "normal": ("mu", "log_var"),  # unconstrained: for q(z | x) and inner layers
    "bernoulli": ("logits",),
    "gaussian": ("mu", "log_var"),  # learned σ(z), with a floor
    "gaussian-sigmoid": ("mu", "log_var"),  # the same with means in (0, 1): Kingma & Welling 2014 for Frey Face
    "gaussian-fixed": ("mu",),  # σ² given
}


class Family(NamedTuple):
    """Which distribution the heads describe. `variance` is the floor of σ² (gaussian, also among mixed columns, and
    gaussian-sigmoid) or σ² itself (gaussian-fixed), one for all columns or one each. Without a floor the likelihood of
    a learned σ(z) is unbounded (Mattei & Frellsen 2018). With `log_scale` the columns are standardised ones, and
    densities those of the raw."""

    name: str
    variance: float | Array = (1 / 255) ** 2  # σ of one grey level
    log_scale: Array | None = None  # (D,), of gaussian and gaussian-fixed, and of mixed columns

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of the linear heads."""
        return HEADS[self.name] if self.name in HEADS else kind(self.name).heads

    def widths(self, columns: int) -> dict[str, int]:
        """Names and widths of the linear heads, for that many values."""
        return dict.fromkeys(HEADS[self.name], columns) if self.name in HEADS else kind(self.name).widths(columns)


class Net(NamedTuple):
    """The parameters of a conditional distribution, or their cotangents: an mlp, then one layer for each head."""

    hidden: tuple[Layer, ...]
    heads: tuple[Layer, ...]
    activation: str
    family: Family
    enter: str = ""  # how x enters, if not as it is: "circle", or the kind of data that a decoder has


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
    if family.name not in HEADS:
        return kind(family.name).of(outs, family)
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
    if family.name not in HEADS:
        return kind(family.name).of_vjp(dp, p, family)
    if family.name == "bernoulli":
        return tuple(dp)
    if family.name == "gaussian-fixed":
        return (dp.mu,)
    if family.name == "gaussian":
        return dp.mu, floored_vjp(dp.log_var, p.log_var, family.variance, k)
    if family.name == "gaussian-sigmoid":
        return activate_vjp(dp.mu, p.mu, "sigmoid", k), floored_vjp(dp.log_var, p.log_var, family.variance, k)
    return dp.mu, dp.log_var


# An angle has no beginning: a network sees it as a point on the circle, (cos x, sin x)
#   ∂/∂x = −sin x d_cos + cos x d_sin
def entered(x: Array, enter: str) -> Array:
    """x (..., in) as the first layer sees it."""
    if enter == "circle":
        return np.concatenate([np.cos(x), np.sin(x)], axis=-1)
    return kind(enter).features(x) if enter else x


def entered_vjp(dh: Array, h: Array, enter: str) -> Array:
    """dx, from what `entered` gave; data that enter by their kind have none."""
    if enter == "circle":
        K = h.shape[-1] // 2
        return h[..., :K] * dh[..., K:] - h[..., K:] * dh[..., :K]
    return dh


def net(x: Array, p: Net, k: Kernels = NUMPY) -> tuple[Distribution, list[Array]]:
    """The distribution of y given x (..., in), and the mlp's layers for the way back."""
    hs = mlp(entered(x, p.enter), p.hidden, p.activation, k)
    return from_heads([affine(hs[-1], head, k) for head in p.heads], p.family, k), hs


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
    parts = [affine_vjp(dout, hs[-1], head, dhead, k) for dout, head, dhead in heads]
    dh = sum(parts[1:], parts[0])  # h feeds every head
    if need_dx:
        return entered_vjp(mlp_vjp(dh, hs, p.hidden, dhidden, p.activation, k), hs[0], p.enter)
    if dp is not None and p.hidden:
        dh = mlp_vjp(dh, hs[1:], p.hidden[1:], dhidden[1:], p.activation, k)
        affine_vjp_params(activate_vjp(dh, hs[1], p.activation, k), hs[0], dp.hidden[0], k)
    return None
