"""§7.1.2 Exercise 3: ∂ log p(x, z)/∂z of a decoder in miniature."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..types import Array
from .record import Draw, Exercise, Law, Names, Pair, Slip, drawing

HINTS = (
    "Go through log_joint from its end: ∂ log p(x|z)/∂mean first (lesson 1), then through V, through tanh (lesson 0), "
    "and through W. z stands in the prior too.",
    "Four lines: the cotangent of the mean, (S, D); that of h by V turned; that of z W + b by the slope of tanh; that "
    "of z by W turned. Then add the slope of log N(z; 0, I). Each term has w in it once.",
)
SLIPS = {
    "the prior is forgotten": Slip(
        "the slope of the likelihood alone: nothing of the prior is in it",
        "",
        (("da @ W.T - w * z", "da @ W.T"),),
    ),
    "the prior is not weighted": Slip(
        "the prior's slope is added as if every cotangent w were 1",
        "",
        (("da @ W.T - w * z", "da @ W.T - z"),),
    ),
    "the residual is turned round": Slip(
        "the decoder's part has its sign flipped: it pushes z away from where the decoder gives x",
        "",
        (("(x - h @ V - c)", "(h @ V + c - x)"),),
    ),
    "the slope of tanh is forgotten": Slip(
        "the way back goes past tanh as if it were the identity",
        "",
        (("(dmean @ V.T) * (1 - h * h)", "dmean @ V.T"),),
    ),
    "the variance is forgotten": Slip(
        "the residual is taken for the slope, as if x had the variance 1",
        "",
        (("- c) / VARIANCE\n    da", "- c)\n    da"),),
    ),
    "a standard deviation for the variance": Slip(
        "the residual is divided by the standard deviation of x",
        "",
        (("- c) / VARIANCE\n    da", "- c) / VARIANCE**0.5\n    da"),),
    ),
}
HELD = ("x", "W", "b", "V", "c")


def model(normals: Draw) -> dict[str, Array]:
    """A row of three columns, and a decoder of two latents and four hidden units."""
    return {"x": normals(3), "W": normals(2, 4), "b": normals(4), "V": 0.5 * normals(4, 3), "c": normals(3)}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Three points; x and the parameters are held."""

    def dz_alone(w: Array, *args: Any) -> tuple[Any, ...]:
        return names["log_joint_vjp"](w, *args), *(None for _ in HELD)

    yield Pair(names["log_joint"], dz_alone, {"z": normals(3, 2), **model(normals)}, {"constants": HELD})


# ∫ p(z|x) ∂ log p(x, z)/∂z dz = ∫ ∂p(z|x)/∂z dz = 0, for p vanishes far out. On a grid the trapezoid rule has it to
# more digits than are asked: the posterior is no narrower than some 0.1, and the step is 0.05.
def laws(names: Names) -> Iterator[Law]:
    """The slope of log p(x, z) has the mean 0 under the posterior; and a spread that is not 0."""
    line = np.linspace(-6, 6, 241)
    z = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    args = model(drawing(2)).values()
    log_p = names["log_joint"](z, *args)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    slope = names["log_joint_vjp"](np.ones(len(z)), z, *args)
    mean, spread = (p @ slope).round(9) + 0.0, np.sqrt(p @ slope**2)  # no "-0.0000"
    said = f"({mean[0]:.4f}, {mean[1]:.4f}), and must be 0; the spread is ({spread[0]:.2f}, {spread[1]:.2f})"
    yield Law(bool((abs(mean) < 1e-3 * spread).all()), f"the mean of ∂ log p(x, z)/∂z under p(z|x) is {said}")


EXERCISE = Exercise(
    3, "log_joint", "What the classical way costs", "§7.1.2", ("log_joint_vjp",), HINTS, pairs, laws, SLIPS
)
