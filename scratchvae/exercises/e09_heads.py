"""§7.2.5 Exercise 9: a trunk, two heads, and the way back through both."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from .record import Draw, Exercise, Law, Names, Pair, Slip, drawing

right: Any = import_module(f"{__package__}.solutions.e09_heads")

HINTS = (
    "Walk backwards. Each head hands a cotangent to h. h feeds both heads: what does a value that is used twice get?",
    "For a dense layer y = h W + b: dW = hᵀ dy, db = the sum of dy over the rows, and h gets dy Wᵀ. Where a function "
    "follows it, dy goes through that function's slope first; tanh has 1 − h².",
)
SLIPS = {
    "variance head's path forgotten": Slip(
        "only one head hands something to the trunk",
        "y0ast, VRbound",
        (("da_mu @ W_mu.T + dlog_var @ W_log_var.T", "da_mu @ W_mu.T"),),
    ),
    "y(1 - y) on the log-variance": Slip(
        "the slope of the means' sigmoid on the head of log_var too",
        "y0ast, VRbound",
        (("    da_mu = dmu", "    dlog_var = dlog_var * mu * (1 - mu)\n    da_mu = dmu"),),
    ),
    "log_var clamped": Slip(
        "log_var is clamped, and the slope behind the clamp is dead",
        "breze PR#84",
        (
            ("b_mu), h @ W_log_var + b_log_var", "b_mu), np.maximum(h @ W_log_var + b_log_var, -1)"),
            ("    da_mu = dmu", "    dlog_var = dlog_var * (h @ W_log_var + b_log_var > -1)\n    da_mu = dmu"),
        ),
    ),
    "the slope of tanh forgotten": Slip(
        "the trunk's activation has no slope on the way back", "", (("da = dh * (1 - h * h)", "da = dh"),)
    ),
}
FAR = np.array([-40.0, 40.0])  # of the head of log σ²: beyond the clamps that people use


def point(normals: Draw) -> dict[str, Any]:
    """Four rows of three columns, a trunk of five units, two columns out; log_var on both sides of −1."""
    shapes = {"x": (4, 3), "W": (3, 5), "b": (5,), "W_mu": (5, 2), "b_mu": (2,), "W_log_var": (5, 2), "b_log_var": (2,)}
    return {name: normals(*shape) for name, shape in shapes.items()}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """The whole network."""
    terms = {
        "through mu": lambda dy, *args: right.heads_vjp(dy[0], 0 * dy[1], *args),
        "through log_var": lambda dy, *args: right.heads_vjp(0 * dy[0], dy[1], *args),
    }
    yield Pair(names["heads"], lambda dy, *args: names["heads_vjp"](*dy, *args), point(normals), {"terms": terms})


def laws(names: Names) -> Iterator[Law]:
    """What the heads say is what comes out: every mean in (0, 1), and any real number as log σ², with a slope of 1."""
    args = {**point(drawing(2)), "W_mu": np.zeros((5, 2)), "W_log_var": np.zeros((5, 2))}
    args |= {"b_mu": np.array([-5.0, 5.0]), "b_log_var": FAR}
    mu, log_var = names["heads"](*args.values())
    inside = bool(np.all((mu > 0) & (mu < 1)))
    yield Law(inside, f"heads of ±5 give the means {mu[0, 0]:.4f} and {mu[0, 1]:.4f}, and a pixel is in (0, 1)")
    words = f"heads of ±40 give log σ² = {log_var[0, 0]:.2f} and {log_var[0, 1]:.2f}"
    yield Law(bool(np.allclose(log_var, FAR)), f"{words}, and any real number is a legal one")
    dy = np.zeros_like(mu), np.ones_like(log_var)
    slope = names["heads_vjp"](*dy, *args.values())[-1] / len(mu)
    words = f"the slopes of log σ² there are {slope[0]:.2f} and {slope[1]:.2f} a row"
    yield Law(bool(np.allclose(slope, 1)), f"{words}, and 1.00 is due")


EXERCISE = Exercise(
    9, "heads", "Networks that speak distributions", "§7.2.5", ("heads", "heads_vjp"), HINTS, pairs, laws, SLIPS
)
