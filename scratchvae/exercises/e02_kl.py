"""§7.2 Exercise 2: KL(q ‖ N(0, I)) and its way back."""

from collections.abc import Iterator

import numpy as np

from .record import Draw, Exercise, Law, Names, Pair, Slip, one_a_row

HINTS = (
    "Per latent: the mean of log q is −½ (log 2π + λ + 1), the mean of the log prior is −½ (log 2π + E_q[z²]). What is "
    "the mean of z² under q, by μ and σ² = e^λ?",
    "KL = ½ Σ (μ² + e^λ − 1 − λ), summed over the latents of a row. Its slope by μ loses the ½, that by λ keeps it.",
)
SLIPS = {
    "a lost half": Slip(
        "the half is lost on λ's way back",
        "y0ast, VRbound",
        (("0.5 * w * (np.exp(log_var) - 1)", "w * (np.exp(log_var) - 1)"),),
    ),
    "KL averaged over the batch": Slip(
        "each row's KL is divided by the number of rows: a mean over the batch, taken too early",
        "pytorch/examples#290",
        ((".sum(axis=-1)", ".sum(axis=-1) / len(mu)"), ("w = w[:, None]", "w = w[:, None] / len(mu)")),
    ),
    "KL divided by the columns": Slip(
        "a mean over the latents where their sum belongs: KL is divided by the columns",
        "keras#6015, AntixK#11",
        ((".sum(axis=-1)", ".mean(axis=-1)"), ("w = w[:, None]", "w = w[:, None] / mu.shape[1]")),
    ),
    "the 1 is dropped": Slip(
        "a constant is dropped: it is not 0 where q is the prior",
        "",
        (("np.exp(log_var) - 1 - log_var", "np.exp(log_var) - log_var"),),
    ),
    "the term of the bound": Slip(
        "the sign of the term in the bound, where KL enters with a minus",
        "",
        (("return 0.5 * (mu**2", "return -0.5 * (mu**2"), ("w = w[:, None]", "w = -w[:, None]")),
    ),
    "a half lost on both ways": Slip(
        "the half is lost, forward and back alike",
        "",
        (("return 0.5 * (mu**2", "return (mu**2"), ("w = w[:, None]", "w = 2 * w[:, None]")),
    ),
    "log_var taken for log sigma": Slip(
        "λ is taken for log σ, and is log σ²",
        "",
        (
            ("np.exp(log_var) - 1 - log_var", "np.exp(2 * log_var) - 1 - 2 * log_var"),
            ("0.5 * w * (np.exp(log_var) - 1)", "w * (np.exp(2 * log_var) - 1)"),
        ),
    ),
}
MU = np.array([[0.7, -0.4], [0.0, 1.5], [-1.1, 0.2]])  # where the laws are asked
LOG_VAR = np.array([[-1.2, 0.5], [0.3, -2.0], [0.0, 0.8]])


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Three rows of two latents."""
    yield Pair(one_a_row(names, "kl"), names["kl_vjp"], {"mu": normals(3, 2), "log_var": normals(3, 2)})


# The trapezoid rule over ± 10 σ with h = σ/8: its error is far below rounding (`tasks.quadrature`).
def by_quadrature() -> list[float]:
    """∫ q log(q / prior) dz of each row: over independent latents it is a sum of integrals on a line."""
    unit = np.linspace(-10, 10, 161)
    log_q = -0.5 * (np.log(2 * np.pi) + LOG_VAR[..., None] + unit**2)
    z = MU[..., None] + np.exp(LOG_VAR[..., None] / 2) * unit
    log_prior = -0.5 * (np.log(2 * np.pi) + z**2)
    q = np.exp(-0.5 * unit**2) / np.exp(-0.5 * unit**2).sum()
    found: list[float] = (q * (log_q - log_prior)).sum(axis=(1, 2)).tolist()
    return found


def laws(names: Names) -> Iterator[Law]:
    """Each row's is the integral; 0 at the prior."""
    yours, integrals = names["kl"](MU, LOG_VAR).tolist(), by_quadrature()
    at_prior = round(float(names["kl"](np.zeros((1, 2)), np.zeros((1, 2)))[0]), 9) + 0.0  # no "-0.0000"
    said = ", ".join(f"{value:.4f}" for value in yours)
    means = ", ".join(f"{value:.4f}" for value in integrals)
    yield Law(np.allclose(yours, integrals, 1e-6, 1e-6), f"KL of three rows is {said}, and ∫ q log(q/p) dz is {means}")
    yield Law(abs(at_prior) < 1e-9, f"KL of the prior itself is {at_prior:.4f}, and must be 0")


EXERCISE = Exercise(2, "kl", "The gap under log p(x)", "§7.2", ("kl", "kl_vjp"), HINTS, pairs, laws, SLIPS)
