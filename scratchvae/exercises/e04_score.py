"""§7.2.2 Exercise 4: the score, and the gradient of a mean without a slope of f."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..types import Array
from .record import Draw, Exercise, Law, Names, Pair, Slip, drawing

MU, LOG_VAR, TARGET = 0.5, -0.4, 2.0
DRAWS, SURE = 100_000, 5  # draws of a law, and how many standard errors a mean may be off
FEW = 3  # draws at which shapes are asked: (S, S) of all of them is no memory's size

HINTS = (
    "Write log q of one draw: −½ (log 2π + λ + (z − μ)² e^−λ). z is a number. Differentiate by μ, then by λ.",
    "By λ there are two places: λ itself, and e^−λ, whose slope is −e^−λ. The estimate is log_q_vjp with f(z_s)/S as "
    "the weight of draw s, at the very draws that f was asked for.",
)
SLIPS = {
    "a lost half": Slip(
        "twice the slope by log σ²: a lost half",
        "y0ast, VRbound",
        (("0.5 * (d * d * precision - 1)", "d * d * precision - 1"),),
    ),
    "backward draws another eps": Slip(
        "the values of f are of other draws than their scores",
        "kwj2104",
        (("len(values), z, mu", "len(values), z[::-1], mu"),),
    ),
    "the draw moves with its parameters": Slip(
        "the slope of log q along a draw that moves with μ and λ; in the score it is held",
        "",
        (("return d * precision, 0.5 * (d * d * precision - 1)", "return 0 * d, 0 * d - 0.5"),),
    ),
    "divided by sigma": Slip(
        "the distance from μ in standard deviations, where a slope is asked for",
        "",
        (("return d * precision, ", "return d * np.exp(-0.5 * log_var), "),),
    ),
    "sampler takes exp(log_var) for sigma": Slip(
        "the sampler takes a variance for a standard deviation",
        "numpy-ml",
        (("mu + np.exp(0.5 * log_var)", "mu + np.exp(log_var)"),),
    ),
    "a sum over the draws": Slip(
        "the draws are summed where their mean belongs",
        "",
        (("values / len(values)", "values"),),
    ),
    "the mean of f times the mean score": Slip(
        "all draws have one weight: f of a draw does not meet the score of that draw",
        "",
        (("values = f(z)", "values = np.full(len(z), f(z).mean())"),),
    ),
}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Four draws of two latents."""
    args = {"z": normals(4, 2), "mu": normals(2), "log_var": normals(2)}
    yield Pair(names["log_q"], names["log_q_vjp"], args, {"constants": ("z",)})


def f(z: Array) -> Array:
    """(z − 2)², whose mean has the slopes 2 (μ − 2) and e^λ."""
    return np.asarray(((z - TARGET) ** 2)[:, 0])


def shapes(pair: Any) -> Any:
    """Those of its arrays; of what has none, its type."""
    return [np.shape(one) for one in pair] if isinstance(pair, tuple | list | np.ndarray) else type(pair).__name__


def laws(names: Names) -> Iterator[Law]:
    """The scores are those of the vjp, their mean is zero, and the mean of f · score is the gradient of E[f]."""
    eps = drawing(4)(DRAWS, 1)
    mu, log_var = np.full(1, MU), np.full(1, LOG_VAR)
    z = mu + np.exp(log_var / 2) * eps
    few = names["score"](z[:FEW], mu, log_var), names["gradient"](f, mu, log_var, eps[:FEW])
    for name, pair, shape in zip(("score", "gradient"), few, ((FEW, 1), (1,)), strict=True):
        if (got := shapes(pair)) != [shape, shape]:
            yield Law(False, f"{name} of {FEW} draws returned {got}: the shapes [{shape}, {shape}] are asked for")
            return
    by_vjp = names["log_q_vjp"](np.ones(FEW), z[:FEW], mu, log_var)[1:]
    scores, estimate = names["score"](z, mu, log_var), names["gradient"](f, mu, log_var, eps)
    exact = 2 * (MU - TARGET), float(np.exp(LOG_VAR))
    for name, h, other, g, truth in zip(("μ", "λ"), scores, by_vjp, estimate, exact, strict=True):
        total, said = float(h[:FEW].sum()), float(other[0])
        yield Law(abs(total - said) < 1e-9, f"three scores by {name} sum to {total:.4f}, log_q_vjp says {said:.4f}")
        mean, error = float(h.mean()), float(h.std() / DRAWS**0.5)
        yield Law(abs(mean) < SURE * error, f"the mean score by {name} is {mean:.4f} ± {error:.4f}, and must be 0")
        error = float((f(z)[:, None] * h).std() / DRAWS**0.5)
        found, close = float(g[0]), abs(float(g[0]) - truth) < SURE * error
        yield Law(
            close, f"the mean of f · score by {name} is {found:.3f} ± {error:.3f}, and ∂E[f]/∂{name} is {truth:.3f}"
        )


EXERCISE = Exercise(
    4,
    "score",
    "A gradient without a slope",
    "§7.2.2",
    ("score", "log_q_vjp", "gradient"),
    HINTS,
    pairs,
    laws,
    SLIPS,
)
