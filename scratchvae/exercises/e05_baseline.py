"""§7.2.2 Exercise 5: the leave-one-out baseline, whose mean is summed over every outcome of three bits."""

from collections.abc import Iterator
from itertools import product

import numpy as np

from .record import Draw, Exercise, Law, Names, Pair, Slip

P, OFF, ON = 0.3, 10.0, 12.0  # a bit z, its probability, and f at 0 and at 1
DRAWS = 3

HINTS = (
    "For each draw, add up the row's other values: the sum over all draws, less the draw's own. How many are left?",
    "estimate_vjp is the way back of a sum over draws: the cotangent of log q(z_s) is w times its weight, and log q "
    "has the slopes of exercise 4. A row's μ goes into every draw of the row, so on the way back the draws are summed.",
)
SLIPS = {
    "the draw's own value is in its baseline": Slip(
        "the baseline of a draw knows the draw itself",
        "GRPO's group mean",
        (("others = (f.sum(axis=0) - f) / (S - 1)", "others = f.mean(axis=0)"),),
    ),
    "one value too few, divided by all": Slip(
        "the mean of the others is taken over one more than there are",
        "",
        (("(f.sum(axis=0) - f) / (S - 1)", "(f.sum(axis=0) - f) / S"),),
    ),
    "the baseline of all rows": Slip(
        "a row's baseline knows the other rows",
        "",
        (("(f.sum(axis=0) - f) / (S - 1)", "(f.sum() - f) / (f.size - 1)"),),
    ),
    "a sum over the draws": Slip(
        "the draws are summed where their mean belongs",
        "",
        (("return (f - others) / S", "return f - others"),),
    ),
    "a lost half": Slip(
        "twice the slope by log σ²: a lost half",
        "y0ast, VRbound",
        (("(weights * 0.5 * (d", "(weights * (d"),),
    ),
}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Three draws of two rows, two latents."""
    args = {"f": normals(3, 2), "z": normals(3, 2, 2), "mu": normals(2, 2), "log_var": normals(2, 2)}
    yield Pair(names["estimate"], names["estimate_vjp"], args, {"constants": ("f", "z")})


def laws(names: Names) -> Iterator[Law]:
    """Over all 2³ outcomes the mean is the gradient and the variance less than without; what all share cancels."""
    z = np.array([*product((0.0, 1.0), repeat=DRAWS)]).T  # (S, outcomes), each a row
    chance = np.prod(np.where(z > 0, P, 1 - P), axis=0)
    f = OFF + (ON - OFF) * z

    def moments(weights: np.ndarray) -> tuple[float, float]:
        g = (weights * (z - P)).sum(axis=0)  # the score of a bit by its logit is z − p
        return float(chance @ g), float(chance @ (g - chance @ g) ** 2)

    yours = np.concatenate([names["leave_one_out"](f[:, [i]]) for i in range(f.shape[1])], axis=1)
    (mean, variance), (_, raw), exact = moments(yours), moments(f / DRAWS), P * (1 - P) * (ON - OFF)
    yield Law(
        abs(mean - exact) < 1e-9,
        f"over all outcomes of {DRAWS} bits the mean estimate is {mean:.4f}, {mean / exact:.3f} of the gradient "
        f"{exact:.4f}",
    )
    yield Law(variance < raw, f"the variance of an estimate is {variance:.4f}, and {raw:.2f} without a baseline")
    shift = float(np.abs(names["leave_one_out"](f[:, :1] + 100) - yours[:, :1]).max())
    yield Law(shift < 1e-9, f"weights move by {shift:.4f} when 100 is added to every value")
    apart = float(np.abs(names["leave_one_out"](f) - yours).max())
    yield Law(apart < 1e-9, f"weights of a row move by {apart:.4f} when other rows stand beside it")


EXERCISE = Exercise(
    5,
    "baseline",
    "A baseline costs no bias",
    "§7.2.2",
    ("leave_one_out", "estimate_vjp"),
    HINTS,
    pairs,
    laws,
    SLIPS,
)
