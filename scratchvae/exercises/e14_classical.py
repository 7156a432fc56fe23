"""§7.1.2 Exercise 14: EM for a mixture of clouds, and mean field for spins, held to what must rise."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..types import Array
from .record import Exercise, Law, Names, Slip, drawing

HINTS = (
    "The posterior of a class is its joint over the sum of all joints: only differences of t matter, so take the "
    "largest off first. The M-step counts rows, each for as much as the E-step gave it.",
    "Σ n log p is largest where its slopes are 0: a share is a mean of n, a μ a mean of rows weighed by n, a σ² a mean "
    "of squares over rows and columns. Spin i feels h_i + Σ_j J_ij m_j; its mean is the tanh of that, of the newest m.",
)
SLIPS = {
    "the nearest class takes all": Slip(
        "each row is given to one class, whole: that is k-means, and the bound is no longer log p(x)",
        "",
        (("return n / n.sum(axis=1, keepdims=True)", "return (n == 1) * 1.0"),),
    ),
    "exp of what is far below 0": Slip(
        "exp of −1000 is 0, and 0 over 0 is no number",
        "",
        (("np.exp(t - t.max(axis=1, keepdims=True))", "np.exp(t)"),),
    ),
    "columns are not counted": Slip(
        "a variance that grows with the number of columns: squares were summed over them, and not averaged",
        "",
        (("(x.shape[1] * count)", "count"),),
    ),
    "every class has all rows": Slip(
        "a mean over all rows, where the class has only its share of them",
        "",
        (("n.T @ x / count[:, None]", "n.T @ x / len(x)"),),
    ),
    "all spins at once": Slip(
        "every spin was moved by the old means of the others: each is best for what is no longer there",
        "",
        (("m = m.copy()", "old, m = m, m.copy()"), ("J[i] @ m", "J[i] @ old")),
    ),
    "m is written over": Slip("the caller's m was changed", "", (("m = m.copy()", "m = m[:]"),)),
}
CLOSE = 1e-9
SWEEPS = 30


def log_p_of(t: Array) -> Array:
    """log Σ_c exp t, (B,)."""
    peak = t.max(axis=1)
    return np.asarray(peak + np.log(np.exp(t - peak[:, None]).sum(axis=1)))


def clouds() -> tuple[Array, Any]:
    """Rows of three clouds, and (a, mu, log_var) to start from."""
    normals = drawing(14)
    x = np.concatenate([2 * normals(1, 3) + s * normals(20, 3) for s in (0.3, 0.6, 1.0)])
    return x, (np.log(np.array([0.2, 0.3, 0.5])), x[[5, 25, 45]], np.zeros(3))


def bound_of_spins(m: Array, h: Array, J: Array) -> float:
    """h·m + ½ mJm + H(m)."""
    p = np.stack([1 + m, 1 - m]) / 2
    return float(h @ m + 0.5 * m @ J @ m - (p * np.log(np.where(p > 0, p, 1))).sum())


def laws(names: Names) -> Iterator[Law]:
    """What a step of EM is, what it does to log p(x), and a sweep that climbs."""
    x, theta = clouds()
    t = names["log_joint"](x, *theta)
    n = names["e_step"](t)
    L, log_p = float(((n * t).sum(axis=1) - (n * np.log(np.where(n > 0, n, 1))).sum(axis=1)).mean()), log_p_of(t).mean()
    yield Law(abs(L - log_p) < CLOSE, f"after the E-step the bound is {L:.6f}, and log p(x) is {log_p:.6f}")
    low = names["e_step"](t[:2] - 1000)
    said = f"of log joints 1000 lower the posterior is {low[0, 0]:.4f}, and {n[0, 0]:.4f} is due"
    yield Law(bool(np.abs(low - n[:2]).max() < CLOSE), said)
    yield best(names, x, n)
    found = []
    for _ in range(SWEEPS):
        theta = names["m_step"](x, names["e_step"](names["log_joint"](x, *theta)))
        found.append(log_p_of(names["log_joint"](x, *theta)).mean())
    least = float(np.diff(found).min())
    yield Law(least > -CLOSE, f"log p(x) may not fall, and the worst of {SWEEPS} steps added {least:.1e} nats")
    yield from climbing(names)


def best(names: Names, x: Array, n: Array) -> Law:
    """Whether a small move of any of the M-step's numbers raises Σ n log p(x, z); shares keep their sum of 1."""
    a, mu, log_var = names["m_step"](x, n)

    def expected(a: Array, mu: Array, log_var: Array) -> float:
        return float((n * names["log_joint"](x, a - np.log(np.exp(a).sum()), mu, log_var)).sum())

    here, better = expected(a, mu, log_var), dict[str, set[bool]]()
    for name, i, value in (("a", 0, a), ("mu", 1, mu), ("log_var", 2, log_var)):
        for place in np.ndindex(value.shape):
            for step in (1e-3, -1e-3):
                moved = [a, mu, log_var]
                moved[i] = value.copy()
                moved[i][place] += step
                if expected(*moved) > here + CLOSE:
                    better.setdefault(name, set()).add(step > 0)
    how = {name: "off" if len(up) > 1 else "too low" if True in up else "too high" for name, up in better.items()}
    off = ", ".join(f"{name} is {where}" for name, where in how.items())
    return Law(not better, f"the M-step's {off}: moved by 0.001 it gives a larger Σ n log p(x, z)")


def climbing(names: Names) -> Iterator[Law]:
    """Two pairs of spins that pull at each other, J = 2, and a field too weak to settle it."""
    h, J = np.array([0.1, 0.0, 0.0, -0.1]), np.kron(np.eye(2), np.array([[0.0, 2.0], [2.0, 0.0]]))
    m = np.array([0.9, -0.5, 0.2, -0.4])
    kept, bounds = m.copy(), [bound_of_spins(m, h, J)]
    after = names["mean_field"](m, h, J)
    yield Law(bool((m == kept).all()), "m is as it was" if (m == kept).all() else "the m that was given has changed")
    for _ in range(SWEEPS):
        bounds.append(bound_of_spins(after, h, J))
        after = names["mean_field"](after, h, J)
    worst = float(np.diff(bounds).min())
    said = f"the bound of the spins may not fall, and the worst of {SWEEPS} sweeps added {worst:.1e} nats"
    yield Law(worst > -CLOSE, said)
    off = float(np.abs(after - np.tanh(h + J @ after)).max())
    yield Law(off < 1e-6, f"after {SWEEPS} sweeps a spin's mean is still {off:.1e} away from the best for the others")


EXERCISE = Exercise(
    14,
    "classical",
    "The classical way: EM, mean field",
    "§7.1.2",
    ("e_step", "m_step", "mean_field"),
    HINTS,
    lambda names, normals: (),
    laws,
    SLIPS,
    broken="what must hold does not:",
)
