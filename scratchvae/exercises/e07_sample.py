"""§7.2.4 Exercise 7: z = μ + σ ε and its way back."""

from collections.abc import Iterator

import numpy as np

from .record import Draw, Exercise, Law, Names, Pair, Slip, drawing

HINTS = (
    "Hold ε fixed. Then z is an ordinary function of μ and λ: what is ∂z/∂μ, and what is ∂z/∂λ of e^(λ/2) ε?",
    "σ = e^(λ/2) is the root of the variance, so ∂σ/∂λ has a factor in front. Each cotangent is dz times its slope, "
    "element by element.",
)
SLIPS = {
    "a lost half": Slip(
        "the slope of σ² where that of σ belongs: a lost half",
        "y0ast, VRbound",
        (("dlog_var = 0.5 * dz", "dlog_var = dz"),),
    ),
    "a quarter for a half": Slip(
        "half of the slope: the half was taken twice",
        "VAE-Torch#5",
        (("dlog_var = 0.5 * dz", "dlog_var = 0.25 * dz"),),
    ),
    "sampler takes exp(log_var) for sigma": Slip(
        "the sampler takes a variance for a standard deviation",
        "numpy-ml",
        (("mu + np.exp(0.5 * log_var)", "mu + np.exp(log_var)"), ("0.5 * dz * np.exp(0.5 * ", "dz * np.exp(1.0 * ")),
    ),
    "backward draws another eps": Slip(
        "the way back uses other noise than the way forward",
        "kwj2104",
        (("log_var) * eps\n    return", "log_var) * eps[::-1]\n    return"),),
    ),
}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """One point of three rows and two latents."""
    args = {name: normals(3, 2) for name in ("mu", "log_var", "eps")}
    yield Pair(names["sample"], names["sample_vjp"], args, {"constants": ("eps",)})


def laws(names: Names) -> Iterator[Law]:
    """The draws have the mean μ and the variance e^λ: a wrong forward with a backward that agrees passes all slopes."""
    eps = drawing(2)(100_000, 1)
    mu, log_var = np.full((1, 1), 0.7), np.full((1, 1), -1.2)
    z = names["sample"](mu, log_var, eps)
    mean, variance, expected = float(z.mean()), float(((z - mu) ** 2).mean()), float(np.exp(log_var[0, 0]))
    yield Law(abs(mean - 0.7) < 0.01, f"the mean of z is {mean:.3f}, and μ is 0.700")
    yield Law(abs(variance / expected - 1) < 0.02, f"the mean of (z − μ)² is {variance:.4f}, and e^λ is {expected:.4f}")


EXERCISE = Exercise(
    7, "sample", "How a slope passes a sample", "§7.2.4", ("sample", "sample_vjp"), HINTS, pairs, laws, SLIPS
)
