"""§7.1 Exercise 1: log N(z; μ, σ²), its way back, and the entropy."""

from collections.abc import Iterator

import numpy as np

from .record import Draw, Exercise, Law, Names, Pair, Slip, one_a_row

HINTS = (
    "log N = −½ (log 2π + λ + (z − μ)² / σ²), one such term a component, with 1/σ² = e^(−λ). For the entropy take the "
    "mean of −log N: what is the mean of (z − μ)² / σ²?",
    "Call r = (z − μ) / σ². The slopes by z and by μ are r with opposite signs. λ stands in the bracket twice, so its "
    "slope has two terms, and the ½ stays. w is (B,): give it a second axis before you multiply.",
)
SLIPS = {
    "a lost half": Slip(
        "the half in front of the bracket is lost on λ's way back",
        "y0ast, VRbound",
        (("dlog_var = 0.5 * w", "dlog_var = w"),),
    ),
    "log 2 pi pi in the entropy": Slip(
        "the entropy's constant is log 2ππ",
        "anglepy",
        (("LOG_2PI + 1 + log_var", "LOG_2PI + np.log(np.pi) + log_var"),),
    ),
    "the constant is dropped": Slip(
        "the density is not normalised: its constant is dropped",
        "",
        (("(LOG_2PI + log_var + (z", "(log_var + (z"),),
    ),
    "log_var for log sigma": Slip(
        "λ is taken for log σ: the variance is squared",
        "",
        (
            ("log_var + (z - mu) ** 2 * np.exp(-log_var)", "2 * log_var + (z - mu) ** 2 * np.exp(-2 * log_var)"),
            ("r = (z - mu) * np.exp(-log_var)", "r = (z - mu) * np.exp(-2 * log_var)"),
            ("dlog_var = 0.5 * w", "dlog_var = w"),
        ),
    ),
}
MU, LOG_VAR = np.array([0.7, -0.4]), np.array([-1.2, 0.5])  # where the laws are asked


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Three rows of two components."""
    args = {name: normals(3, 2) for name in ("z", "mu", "log_var")}
    yield Pair(one_a_row(names, "log_normal"), names["log_normal_vjp"], args)
    yield Pair(one_a_row(names, "entropy"), names["entropy_vjp"], {"log_var": normals(3, 2)})


# The trapezoid rule over ± 10 σ with h = σ/8: for a Gaussian its error is far below rounding (`tasks.quadrature`).
def laws(names: Names) -> Iterator[Law]:
    """The density integrates to one, and has the variance e^λ; the entropy is −∫ p log p."""
    line = np.linspace(-10, 10, 161)
    unit = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    sigma = np.exp(LOG_VAR / 2)
    z = MU + sigma * unit
    volume = float(sigma.prod()) * (line[1] - line[0]) ** 2

    log_p = names["log_normal"](z, np.tile(MU, (len(z), 1)), np.tile(LOG_VAR, (len(z), 1)))
    p = np.exp(log_p) * volume
    total, expected = float(p.sum()), float(np.exp(LOG_VAR[0]))
    variance, minus_log = float(p @ (z[:, 0] - MU[0]) ** 2), float(-p @ log_p)
    entropy = float(names["entropy"](LOG_VAR[None])[0])
    yield Law(abs(total - 1) < 1e-6, f"the integral of N over z is {total:.4f}, and must be 1")
    yield Law(abs(variance / expected - 1) < 1e-6, f"∫ (z − μ)² N dz is {variance:.4f}, and e^λ is {expected:.4f}")
    yield Law(abs(entropy - minus_log) < 1e-6, f"the entropy is {entropy:.4f}, and −∫ N log N dz is {minus_log:.4f}")


EXERCISE = Exercise(
    1,
    "log_normal",
    "A density is a number",
    "§7.1",
    ("log_normal", "log_normal_vjp", "entropy"),
    HINTS,
    pairs,
    laws,
    SLIPS,
)
