"""§7.2.4 Exercise 8: the two ways by which φ reaches log p(x, z) − log q(z), one of which may be dropped."""

from collections.abc import Iterator

import numpy as np

from ..types import Array
from .record import Draw, Exercise, Law, Names, Pair, Slip, drawing

X, MU, LOG_VAR = 3.0, 1.0, -1.0  # a row, and a q that is not its posterior
SLOPE, NOISE = 2.0, 1.0  # x ~ N(2z, 1)
DRAWS, SURE = 20_000, 5

HINTS = (
    "r is a function of z, μ and λ, and z is one of μ, λ and ε. by_sample moves z alone (exercise 7), by_density "
    "moves μ and λ alone (exercise 4, with a minus).",
    "∂(−log q)/∂z = (z − μ)/σ² = ε/σ. An importance weight is a ratio of two densities at one z: no expectation in it.",
)
LOG_Q = "log_q = -0.5 * (LOG_2PI + log_var + (z - mu) ** 2 * np.exp(-log_var))"
KL = "a closed KL, which is a mean over q, in the weight of one draw", "nips14-ssl, anglepy, VRbound"
BY_KL = LOG_Q, "log_q = 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var) - 0.5 * (LOG_2PI + z**2)"
SLIPS = {
    "analytic KL in importance weights": Slip(
        *KL,
        (
            BY_KL,
            ("mu + sigma * eps) + eps / sigma)", "mu + sigma * eps) + mu + sigma * eps)"),
            (
                "return (-w * eps / np.exp(0.5 * log_var)).sum(axis=0), (-0.5 * w * (eps**2 - 1)).sum(axis=0)",
                "return (-w * mu).sum(axis=0), (-0.5 * w * (np.exp(log_var) - 1)).sum(axis=0)",
            ),
        ),
    ),
    "analytic KL under slopes without it": Slip(*KL, (BY_KL,)),
    "log q does not move with z": Slip(
        "on the way through the sample log q stands still",
        "",
        (("(log_joint_slope(x, mu + sigma * eps) + eps / sigma)", "log_joint_slope(x, mu + sigma * eps)"),),
    ),
    "the density is forgotten": Slip(
        "no path through the density of q",
        "",
        (
            (
                "(-w * eps / np.exp(0.5 * log_var)).sum(axis=0), (-0.5 * w * (eps**2 - 1)).sum(axis=0)",
                "0 * mu, 0 * log_var",
            ),
        ),
    ),
    "the density with the sign of the score": Slip(
        "log q has the sign of the score, and in r it is taken off",
        "",
        (("(-w * eps", "(w * eps"), ("(-0.5 * w * (eps**2", "(0.5 * w * (eps**2")),
    ),
    "log q is added": Slip(
        "log q comes in with the sign of log p",
        "",
        (("log_joint(x, z) - log_q", "log_joint(x, z) + log_q"),),
    ),
    "a quarter for a half": Slip(
        "half of the slope by log σ²: the half was taken twice",
        "VAE-Torch#5",
        (("(0.5 * dz * sigma", "(0.25 * dz * sigma"),),
    ),
}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """Three draws of two rows."""
    args = {"x": normals(2), "eps": normals(3, 2), "mu": normals(2), "log_var": normals(2)}

    def by_density(w: Array, x: Array, z: Array, mu: Array, log_var: Array) -> tuple[Array | None, ...]:
        return None, None, *names["by_density"](w, (z - mu) * np.exp(-log_var / 2), mu, log_var)

    held = {"x": args["x"], "z": args["eps"], "mu": args["mu"], "log_var": args["log_var"]}
    yield Pair(names["log_weight"], by_density, held, {"constants": ("x", "z"), "name": "by_density of log_weight"})
    yield Pair(names["bound"], names["bound_vjp"], args, {"constants": ("x", "eps"), "name": "by_sample of log_weight"})


def laws(names: Names) -> Iterator[Law]:
    """The mean weight is p(x); at the posterior the way through the sample is zero for every draw."""
    variance = SLOPE**2 + NOISE
    line, p = np.polynomial.hermite_e.hermegauss(60)
    x, mu, log_var = (np.full(1, v) for v in (X, MU, LOG_VAR))
    log_w = names["log_weight"](x, mu + np.exp(log_var / 2) * line[:, None], mu, log_var)[:, 0]
    found, evidence = float(p @ np.exp(log_w) / p.sum()), float(np.exp(-(X**2) / variance / 2))
    evidence /= (2 * np.pi * variance) ** 0.5
    yield Law(abs(found - evidence) < 1e-6, f"the mean of e^r over q is {found:.4f}, and p(x) is {evidence:.4f}")
    eps = drawing(8)(1, DRAWS)
    at = np.full(DRAWS, X), eps, np.full(DRAWS, SLOPE * X / variance), np.full(DRAWS, -np.log(variance))
    one = np.ones((1, DRAWS))
    for name, landed, held in zip("μλ", names["by_sample"](one, *at), names["by_density"](one, *at[1:]), strict=True):
        yield from landing(name, np.asarray(landed), np.asarray(held))


def landing(name: str, landed: Array, held: Array) -> Iterator[Law]:
    """At the posterior, draw by draw."""
    most = float(np.abs(landed).max())
    yield Law(most < 1e-9, f"at the posterior r is constant; by_sample says up to {most:.3f} by {name}")
    mean, spread = float(held.mean()), float(held.std())
    error = spread / DRAWS**0.5
    fine = abs(mean) < SURE * error
    yield Law(
        fine, f"by_density says {mean:.3f} ± {error:.3f} by {name} in the mean, and a draw spreads by {spread:.2f}"
    )


EXERCISE = Exercise(
    8,
    "two_ways",
    "The two ways, and when which wins",
    "§7.2.4",
    ("log_weight", "by_sample", "by_density"),
    HINTS,
    pairs,
    laws,
    SLIPS,
)
