"""§7.2.5 Every decoder p(x | z) by its name: which heads a network needs, what x it takes, whether p is a mass.

heads        name -> numbers a column of x
of, of_vjp   the heads' outputs, each (..., D · numbers), to the distribution, and back
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..kernels.activations import softplus_np
from ..types import Array
from .bernoulli import Bernoulli
from .continuous import Beta, ContinuousBernoulli, Exponential, Gamma, VonMises
from .counts import Binomial, Multinomial, NegativeBinomial, ZeroInflated
from .discrete import Classes, Poisson
from .inflated import InflatedBeta
from .levels import DiscretisedLogistic, LogisticMixture, Ordinal
from .normal import Normal
from .positive import LogNormal
from .shared import fitted, wide
from .student import StudentT

Outs = tuple[Array, ...]


class Settings(NamedTuple):
    """What a decoder must be told; each kind uses its own (`Kind.settings`)."""

    levels: int = 256
    trials: int = 1
    classes: int = 2
    components: int = 5
    variance: float | Array = (1 / 255) ** 2  # gaussian: the floor of σ², in the units of x
    total: int = 1  # multinomial: of mean and samples


class Support(NamedTuple):
    """The x that have a density or a mass: low … high, whole numbers alone, or without the ends."""

    low: float = -np.inf
    high: float = np.inf
    whole: bool = False
    open: bool = False

    def holds(self, x: Array) -> Array:
        """Which of x belong to it."""
        above, below = (x > self.low, x < self.high) if self.open else (x >= self.low, x <= self.high)
        return above & below & np.isfinite(x) & ((np.floor(x) == x) if self.whole else True)

    def __str__(self) -> str:
        kind = "whole numbers" if self.whole else "numbers"
        if np.isinf(self.high):
            return kind + ("" if np.isinf(self.low) else f" {'>' if self.open else '≥'} {self.low:g}")
        if self.whole:
            return f"{kind} {self.low:g} … {self.high:g}"
        return f"{kind} in " + (f"({self.low:g}, {self.high:g})" if self.open else f"[{self.low:g}, {self.high:g}]")


REAL, COUNTS, POSITIVE = Support(), Support(0, whole=True), Support(0, open=True)
UNIT, FRACTION = Support(0, 1), Support(0, 1, open=True)


class Kind(NamedTuple):
    """A decoder. `vectors` are heads of (..., D, n), n of them a column; all others are (..., D)."""

    heads: Callable[[Settings], dict[str, int]]
    make: Callable[..., Any]  # settings, the heads -> the distribution
    back: Callable[..., Outs]  # its cotangent, settings, the distribution -> theirs
    support: Callable[[Settings], Support]
    mass: bool
    start: Callable[[Array, Settings], dict[str, Array]]  # biases of heads, (D · n,), from the columns' means
    settings: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()

    def of(self, outs: Outs, s: Settings) -> Any:
        """The distribution that the heads' outputs describe."""
        return self.make(s, *self.shaped(outs, s))

    def of_vjp(self, dp: Any, p: Any, s: Settings) -> Outs:
        """Cotangents of the outputs, for dp that of the distribution p which `of` gave."""
        named = zip(self.heads(s), self.back(dp, s, p), strict=True)
        return tuple(d.reshape(*d.shape[:-2], -1) if name in self.vectors else d for name, d in named)

    def shaped(self, outs: Outs, s: Settings) -> Outs:
        """The outputs as the distribution has them."""
        named = zip(self.heads(s).items(), outs, strict=True)
        return tuple(o.reshape(*o.shape[:-1], -1, n) if name in self.vectors else o for (name, n), o in named)


def plain(family: Any, support: Support, mass: bool, start: Callable[..., Any]) -> Kind:
    """A family whose fields are its heads, one number a column."""
    names = family._fields
    return Kind(
        lambda s: dict.fromkeys(names, 1), lambda s, *outs: family(*outs), lambda dp, s, p: tuple(dp),
        lambda s: support, mass, start,
    )  # fmt: skip


# Where a column's mean is outside of what a head can say (log 0, logit 1), the nearest that it can say well
LEAST = 1e-3


def log_mean(mean: Array, s: Settings) -> dict[str, Array]:
    """log of the mean."""
    return {"log_mean": np.log(np.maximum(mean, LEAST))}


def logit_of(fraction: Array) -> Array:
    """log f / (1 − f), f at least 1e-3 from either end."""
    f = np.clip(fraction, LEAST, 1 - LEAST)
    return np.log(f) - np.log1p(-f)


def nothing(mean: Array, s: Settings) -> dict[str, Array]:
    """A mean says nothing of these heads."""
    return {}


# log σ² = log(e^a + c) = log c + softplus(a − log c)     so     ∂log σ²/∂a = sigmoid(a − log c)


def gaussian(s: Settings, mu: Array, a: Array) -> Normal:
    """Learned σ² with the floor c."""
    log_c = np.log(s.variance).astype(a.real.dtype)
    return Normal(mu, log_c + softplus_np(a - log_c))


def gaussian_vjp(dp: Normal, s: Settings, p: Normal) -> Outs:
    """(dμ, da): with σ² = e^a + c, sigmoid(a − log c) = 1 − c/σ²."""
    return dp.mu, fitted(-dp.log_var * np.expm1(np.log(s.variance) - wide(p.log_var)[0]), p.log_var)


def gamma(s: Settings, log_mean: Array, log_shape: Array) -> Gamma:
    """By mean and shape: rate = shape / mean."""
    return Gamma(log_shape, log_shape - log_mean)


def gamma_vjp(dp: Gamma, s: Settings, p: Gamma) -> Outs:
    """(dlog m, dlog α) = (−dlog β, dlog α + dlog β)."""
    return -dp.log_rate, dp.log_shape + dp.log_rate


def levels(s: Settings) -> Support:
    """0 … levels − 1."""
    return Support(0, s.levels - 1, whole=True)


def classes(s: Settings) -> Support:
    """0 … classes − 1."""
    return Support(0, s.classes - 1, whole=True)


def components(mean: Array, s: Settings) -> dict[str, Array]:
    """Locations spread over the levels, and scales that reach from one to the next: else all would learn the same."""
    at = (np.arange(s.components) + 0.5) * (s.levels / s.components) - 0.5
    mu = np.tile(at, mean.size).astype(mean.dtype)
    return {"mu": mu, "log_s": np.full_like(mu, np.log(s.levels / (4 * s.components)))}


LIKELIHOODS: dict[str, Kind] = {
    "bernoulli": plain(Bernoulli, Support(0, 1, whole=True), True, lambda m, s: {"logits": logit_of(m)}),
    "gaussian": Kind(
        lambda s: {"mu": 1, "log_var": 1}, gaussian, gaussian_vjp, lambda s: REAL, False,
        lambda m, s: {"mu": m}, ("variance",),
    ),
    "categorical": Kind(
        lambda s: {"logits": s.classes}, lambda s, l: Classes(l), lambda dp, s, p: tuple(dp), classes, True,
        nothing, ("classes",), ("logits",),
    ),
    "ordinal": Kind(
        lambda s: {"eta": 1, "cuts": s.classes - 1}, lambda s, eta, cuts: Ordinal(eta, cuts),
        lambda dp, s, p: tuple(dp), classes, True, nothing, ("classes",), ("cuts",),
    ),
    "poisson": plain(Poisson, COUNTS, True, lambda m, s: {"log_rate": log_mean(m, s)["log_mean"]}),
    "negative-binomial": plain(NegativeBinomial, COUNTS, True, log_mean),
    "zero-inflated": plain(ZeroInflated, COUNTS, True, lambda m, s: log_mean(2 * m, s)),  # half are structural
    "binomial": Kind(
        lambda s: {"logit": 1}, lambda s, l: Binomial(l, s.trials), lambda dp, s, p: (dp.logit,),
        lambda s: Support(0, s.trials, whole=True), True, lambda m, s: {"logit": logit_of(m / s.trials)}, ("trials",),
    ),
    "multinomial": Kind(
        lambda s: {"logits": 1}, lambda s, l: Multinomial(l, s.total), lambda dp, s, p: (dp.logits,),
        lambda s: COUNTS, True, lambda m, s: {"logits": log_mean(m, s)["log_mean"]}, ("total",),
    ),
    "beta": plain(Beta, FRACTION, False, lambda m, s: {"log_a": logit_of(m)}),
    "zero-one-inflated-beta": Kind(
        lambda s: {"gate": 3, "log_a": 1, "log_b": 1}, lambda s, *outs: InflatedBeta(*outs),
        lambda dp, s, p: tuple(dp), lambda s: UNIT, False, nothing, (), ("gate",),
    ),
    "gamma": Kind(
        lambda s: {"log_mean": 1, "log_shape": 1}, gamma, gamma_vjp, lambda s: POSITIVE, False, log_mean,
    ),
    "log-normal": plain(LogNormal, POSITIVE, False, lambda m, s: {"mu": log_mean(m, s)["log_mean"] - 0.5}),
    "exponential": plain(Exponential, Support(0), False, lambda m, s: {"log_rate": -log_mean(m, s)["log_mean"]}),
    "student-t": plain(StudentT, REAL, False, lambda m, s: {"mu": m}),
    "continuous-bernoulli": plain(ContinuousBernoulli, UNIT, False, nothing),
    "von-mises": plain(VonMises, REAL, False, nothing),
    "discretised-logistic": Kind(
        lambda s: {"mu": 1, "log_s": 1}, lambda s, mu, log_s: DiscretisedLogistic(mu, log_s, s.levels),
        lambda dp, s, p: (dp.mu, dp.log_s), levels, True,
        lambda m, s: {"mu": m, "log_s": np.full_like(m, np.log(s.levels / 8))}, ("levels",),
    ),
    "logistic-mixture": Kind(
        lambda s: dict.fromkeys(("logits", "mu", "log_s"), s.components),
        lambda s, logits, mu, log_s: LogisticMixture(logits, mu, log_s, s.levels),
        lambda dp, s, p: (dp.logits, dp.mu, dp.log_s), levels, True,
        components, ("levels", "components"), ("logits", "mu", "log_s"),
    ),
}  # fmt: skip
