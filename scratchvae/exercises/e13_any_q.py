"""§7.2.4 Exercise 13: a gamma latent by implicit slopes, and the one pair of the exponential families."""

from collections.abc import Iterator

import numpy as np

from ..types import Array
from .record import Draw, Exercise, Law, Names, Pair, Slip

HINTS = (
    "u is held, and F(y; α) = u for every α. Differentiate both sides by α: y moves too. For the other pair: T and h "
    "do not know η, so only two parts of log p have a slope in it.",
    "0 = ∂F/∂α + f ∂y/∂α, and z = y/β. In log p the slope of η T is T, and that of A is the mean of T, which is given.",
)
SLIPS = {
    "the sign of the drop": Slip(
        "the slope by the shape has its sign turned: a CDF that falls moves its quantile up",
        "",
        (("dalpha = -dy *", "dalpha = dy *"),),
    ),
    "not divided by the density": Slip(
        "how far the CDF drops, where it is asked how far the quantile moves",
        "",
        (("cdf_by_alpha(alpha, y) / density(alpha, y)", "cdf_by_alpha(alpha, y)"),),
    ),
    "the draw has no slope in the shape": Slip(
        "the draw is taken for a number that does not depend on the shape",
        "",
        (("dalpha = -dy * cdf_by_alpha(alpha, y) / density(alpha, y)", "dalpha = 0 * dy"),),
    ),
    "the density of z in the place of y's": Slip(
        "CDF and density are asked at z, and belong to rate 1",
        "",
        (("cdf_by_alpha(alpha, y) / density(alpha, y)", "cdf_by_alpha(alpha, y / beta) / density(alpha, y / beta)"),),
    ),
    "a rate taken for a scale": Slip(
        "the sampler takes a rate for a scale",
        "scvi-tools#1644, its documentation",
        (
            ("return quantile(alpha, u) / beta", "return quantile(alpha, u) * beta"),
            ("dy = dz / beta", "dy = dz * beta"),
            ("-dy * y / beta, None", "dz * y, None"),
        ),
    ),
    "T without its mean": Slip(
        "what normalises is held, and it depends on the parameters too",
        "",
        (("(t - mean) for", "t for"),),
    ),
    "log h left out": Slip(
        "a density without log h: it does not integrate to one",
        "",
        ((" + family.log_h(x)).sum", ").sum"),),
    ),
}
GRID = (np.arange(20_000) + 0.5)[:, None] / 20_000  # u, one a row
SHAPE, RATE = 1.7, 2.5
TOTAL, CLOSE = np.arange(60.0)[:, None], 1e-3


def unit(normals: Draw, *shape: int) -> Array:
    """Numbers in (0, 1)."""
    return 1 / (1 + np.exp(-normals(*shape)))


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """The sampler, and log p of a gamma and of a Poisson by the same two functions."""
    alpha, beta = 0.5 + 2 * unit(normals, 3, 2), 0.5 + unit(normals, 3, 2)
    args = {"alpha": alpha, "beta": beta, "u": unit(normals, 3, 2)}
    yield Pair(names["sample"], names["sample_vjp"], args, {"constants": ("u",)})
    held = {"gamma": (unit(normals, 3, 2) * 3, (alpha, beta)), "poisson": (np.arange(6.0).reshape(3, 2), (alpha,))}
    for name, (x, eta) in held.items():
        family = names[name.upper()]

        def log_prob(x: Array, eta: tuple[Array, ...], family: object = family) -> Array:
            return np.asarray(names["log_prob"](x, eta, family))

        def log_prob_vjp(w: Array, x: Array, eta: tuple[Array, ...], family: object = family) -> object:
            return names["log_prob_vjp"](w, x, eta, family)

        yield Pair(log_prob, log_prob_vjp, {"x": x, "eta": eta}, {"constants": ("x",), "name": f"log_prob of {name}"})


def laws(names: Names) -> Iterator[Law]:
    """Means of draws, and of their slopes; and densities that sum to one."""
    alpha, beta = np.full((1, 1), SHAPE), np.full((1, 1), RATE)
    mean = float(names["sample"](alpha, beta, GRID).mean())
    said = f"the mean of z is {mean:.4f}, and α/β is {SHAPE / RATE:.4f}"
    yield Law(abs(mean * RATE / SHAPE - 1) < CLOSE, said)
    slope = float(names["sample_vjp"](np.ones_like(GRID), alpha, beta, GRID)[0].mean())
    said = f"the mean slope of z by α is {slope:.4f}, and the slope of α/β is {1 / RATE:.4f}"
    yield Law(abs(slope * RATE - 1) < CLOSE, said)
    z = np.exp(np.linspace(-30, 4, 4001))[:, None]
    log_p = names["log_prob"](z, (alpha, beta), names["GAMMA"])
    total = float(np.trapezoid(np.exp(log_p) * z[:, 0], np.log(z[:, 0])))
    yield Law(abs(total - 1) < CLOSE, f"the gamma's density integrates to {total:.4f}, and 1.0000 is due")
    total = float(np.exp(names["log_prob"](TOTAL, (alpha,), names["POISSON"])).sum())
    yield Law(abs(total - 1) < CLOSE, f"the Poisson's masses sum to {total:.4g}, and 1 is due")


EXERCISE = Exercise(
    13,
    "any_q",
    "Any q: a slope without an inverse",
    "§7.2.4",
    ("sample", "sample_vjp", "log_prob", "log_prob_vjp"),
    HINTS,
    pairs,
    laws,
    SLIPS,
)
