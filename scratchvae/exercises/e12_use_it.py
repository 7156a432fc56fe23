"""§7.1.1 Exercise 12: rows with gaps, in units of their own, and the step that fills them in."""

from collections.abc import Iterator

import numpy as np

from .record import Draw, Exercise, Law, Names, Pair, Slip, one_a_row

HINTS = (
    "Given z the columns are independent: p(seen) is the product of the seen columns' densities, for the others "
    "integrate to one. And of x = unit · x' the density is that of x' divided by the unit.",
    "A missing cell adds 0, and gets the slope 0; np.where chooses, a product with the mask does not (NaN · 0 is NaN). "
    "Metropolis and Hastings take z* with probability min(1, e^(log_new − log_old)): that often a uniform is below it.",
)
SLIPS = {
    "the unit left out": Slip(
        "the density of the standardised column, given for that of the raw one: a unit has no slope, and it has a size",
        "",
        (("r**2 * np.exp(-log_var)) - np.log(unit)", "r**2 * np.exp(-log_var))"),),
    ),
    "what is missing is counted": Slip(
        "a missing cell is counted as one that hit its mean",
        "",
        (
            ("np.where(seen, log_p, 0).sum", "log_p.sum"),
            ("np.where(seen, 0.5 * (r**2 * precision - 1), 0)", "0.5 * (r**2 * precision - 1)"),
        ),
    ),
    "the mask multiplies": Slip(
        "NaN times 0 is NaN: a mask has to choose, not to multiply",
        "",
        (("return np.where(seen, x / unit - mu, 0)", "return seen * (x / unit - mu)"),),
    ),
    "the mean over what was seen": Slip(
        "the seen columns are averaged where they are summed: a row with more gaps would weigh as much as a whole one",
        "",
        (("np.where(seen, log_p, 0).sum(axis=-1)", "np.where(seen, log_p, 0).sum(axis=-1) / seen.sum(axis=-1)"),),
    ),
    "the ratio turned over": Slip(
        "the chain prefers what is less likely: new and old are exchanged",
        "",
        (("log_new - log_old", "log_old - log_new"),),
    ),
    "every proposal is taken": Slip(
        "every proposal is taken: draws of q, where those of the posterior are asked for",
        "",
        (("np.log(u) < log_new - log_old", "np.full(np.shape(u), True)"),),
    ),
}
P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])  # three states: the posterior, and what proposes
U = (np.arange(10_000) + 0.5) / 10_000
CLOSE = 1e-3


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Three rows of three columns, some of them unseen."""
    seen = np.array([[True, False, True], [True, True, True], [False, True, False]])
    args = {"x": 3 * normals(3, 3), "seen": seen, "mu": normals(3, 3), "log_var": normals(3, 3) / 2}
    args["unit"] = np.exp(normals(3) / 2)
    yield Pair(one_a_row(names, "log_prob_seen"), names["log_prob_seen_vjp"], args,
               {"constants": ("x", "seen", "unit")})  # fmt: skip


def laws(names: Names) -> Iterator[Law]:
    """A density of the raw column; gaps that count for nothing; a chain that stays where the posterior is."""
    log_prob, vjp = names["log_prob_seen"], names["log_prob_seen_vjp"]
    x = np.linspace(-60, 60, 4001)[:, None]
    one, yes = np.ones_like(x), np.ones(x.shape, bool)
    total = float(np.trapezoid(np.exp(log_prob(x, yes, 0.5 * one, 0.3 * one, np.array([3.0]))), x[:, 0]))
    yield Law(abs(total - 1) < CLOSE, f"the density of a column in units of 3 integrates to {total:.4f}")
    row, mu, log_var, unit = np.array([[2.0, np.nan]]), np.zeros((1, 2)), np.ones((1, 2)), np.array([2.0, 5.0])
    seen = np.array([[True, False]])
    alone = float(log_prob(row[:, :1], seen[:, :1], mu[:, :1], log_var[:, :1], unit[:1])[0])
    beside = float(log_prob(row, seen, mu, log_var, unit)[0])
    yield Law(abs(beside - alone) < CLOSE, f"a cell has log p {alone:.4f} alone, and {beside:.4f} beside a missing one")
    slope = np.concatenate(vjp(np.ones(1), row, seen, mu, log_var, unit)[2:4])[:, 1]
    said = f"the slopes of a missing cell are {slope[0]:g} and {slope[1]:g}, and 0 is due"
    yield Law(bool((slope == 0).all()), said)
    yield balance(names)


# Reversible:  p_a P(a → b) = p_b P(b → a),  P(a → b) = q_b · (the share of u that accepts).  Sums over a: p stays p.
def balance(names: Names) -> Law:
    """How far from the posterior one step takes a chain that is there."""
    log_w = np.log(P) - np.log(Q)
    taken = np.array([[names["accept"](np.full(len(U), new), np.full(len(U), old), U).mean() for new in log_w]
                      for old in log_w])  # fmt: skip
    step = Q * taken
    after = P @ (step + np.diag(1 - step.sum(axis=1)))
    said = ", ".join(f"{p:.3f}" for p in after)
    return Law(
        bool(np.abs(after - P).max() < CLOSE), f"a chain with shares 0.500, 0.300, 0.200 has {said} a step later"
    )


EXERCISE = Exercise(
    12,
    "use_it",
    "Use it: gaps, odd rows, units",
    "§7.1.1",
    ("log_prob_seen", "log_prob_seen_vjp", "accept"),
    HINTS,
    pairs,
    laws,
    SLIPS,
)
