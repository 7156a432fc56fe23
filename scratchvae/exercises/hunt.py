"""§7.1.1 Six checks of a VAE in one file, one line each: `slopes("hunt/vae_a.py")`.

Each takes the path of a file like `solutions.vae`, prints what it measured, and returns it. The VAE has four columns,
one latent, a layer of three units each way, and parameters that are drawn.
"""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..gradcheck.check import TOLERANCE, Settings, judged
from ..tree import zeros_like
from ..types import Array
from .record import Law, drawing, executed, log_evidence

SHAPES = {"q.hidden": (4, 3), "q.mu": (3, 1), "q.log_var": (3, 1), "p.hidden": (1, 3), "p.logits": (3, 4)}
ROWS, RATE = 20, 1e-3
DRAWS = 10_000

Measure = Callable[[Any], Law]
CHECKS: dict[str, Measure] = {}


class Place(NamedTuple):
    """Where a VAE is looked at: rows x (B, D), noise eps (B, K), parameters p by name."""

    x: Array
    eps: Array
    p: dict[str, Array]


def place() -> Place:
    """The same for all checks; pixels that go together, so that the latent has something to say."""
    normals = drawing(5)
    p = {f"{name}.W": 1.5 * normals(*shape) for name, shape in SHAPES.items()}
    p |= {f"{name}.b": 0.3 * normals(shape[1]) for name, shape in SHAPES.items()}
    x = (normals(ROWS, 1) + normals(ROWS, 4) / 2 > 0).astype(float)
    return Place(x, normals(ROWS, 1), p)


def loaded(source: str, name: str) -> Any:
    """What a VAE's source defines, by attribute."""
    return SimpleNamespace(**executed(source, name))


def said(measure: Measure) -> Callable[[str | Path], Law]:
    """A check of a file, that prints what it measured; the measure itself goes into CHECKS."""
    name = measure.__name__
    CHECKS[name] = measure

    @functools.wraps(measure)
    def check(path: str | Path) -> Law:
        with np.errstate(all="ignore"):
            found = measure(loaded(Path(path).read_text(encoding="utf-8"), str(path)))
        print(f"{Path(path).name}  {name:<9} {'hold  ' if found.holds else 'BROKEN'}  {found.words}")
        return found

    return check


@said
def slopes(vae: Any) -> Law:
    """`elbo_vjp` against numerical slopes of `elbo`, block by block."""
    x, eps, p = place()

    def f_vjp(w: Array, p: Any) -> Any:
        d = zeros_like(p)
        vae.elbo_vjp(w, x, eps, p, d)
        return d

    how = Settings(("central",), 0, 1e-3, 4096, TOLERANCE)
    report, _ = judged(lambda p: vae.elbo(x, eps, p), f_vjp, (p,), "elbo", how, (), {})  # and no diagnosis: seconds
    wrong = ", ".join(row.block.removeprefix("p.") for row in report.failed())
    return Law(bool(report), f"wrong in {wrong}" if wrong else report.first_failure or f"right in {len(p)} blocks")


@said
def adding(vae: Any) -> Law:
    """A backward adds into d: two calls give twice of what one gives."""
    x, eps, p = place()
    once, twice = zeros_like(p), zeros_like(p)
    for d in (once, twice, twice):
        vae.elbo_vjp(np.ones(len(x)), x, eps, p, d)
    factors = {name: float(np.vdot(once[name], twice[name]) / np.vdot(once[name], once[name])) for name in p}
    return Law(*each(factors, 2, "after two calls d is that of one call times"))


@said
def moments(vae: Any) -> Law:
    """Draws have the moments of what they are drawn from: z of N(μ, e^λ), x of p(x | z)."""
    normals = drawing(6)
    mu, log_var, eps = np.full((DRAWS, 1), 0.5), np.full((DRAWS, 1), -1.0), normals(DRAWS, 1)
    spread = float(((vae.sample(mu, log_var, eps) - mu) ** 2).mean())
    _, _, p = place()
    z = np.full((DRAWS, 1), 0.3)
    u = np.argsort(np.argsort(normals(DRAWS, 4), axis=0), axis=0) / DRAWS  # every rank once: evenly spread in [0, 1)
    drawn = vae.generate(z, u, p).mean(0)
    due = 1 / (1 + np.exp(-vae.decode(z[:1], p)[0][0]))
    words = f"the mean of (z − μ)² is {spread:.3f}, e^λ is {np.exp(-1):.3f}; "
    words += f"x is 1 in {rounded(drawn)} of the draws, and p(x = 1 | z) is {rounded(due)}"
    return Law(abs(spread / np.exp(-1) - 1) < 0.06 and bool(np.all(abs(drawn - due) < 0.01)), words)


@said
def bound(vae: Any) -> Law:
    """The bound, averaged over draws, is at most log p(x) of its row, which quadrature gives."""
    x, _, p = place()
    draws = 400
    L = np.array([vae.elbo(x, eps, p) for eps in drawing(7)(draws, len(x), 1)])
    exact = log_evidence(vae, x, p)
    mean, error = L.mean(0), L.std(0) / draws**0.5
    worst = int(np.argmax((mean - exact) / error))
    words = f"the bound of row {worst} is {mean[worst]:.3f} ± {error[worst]:.3f}, log p(x) is {exact[worst]:.3f}"
    return Law(mean[worst] < exact[worst] + 5 * error[worst], words)


@said
def extremes(vae: Any) -> Law:
    """Numbers far out: log p of bits at logits of ±800, and KL at log σ² = −800."""
    right, wrong = (float(vae.log_prob(np.array([bits]), np.array([[800.0, -800.0]]))[0]) for bits in ([1, 0], [0, 1]))
    far = float(vae.kl(np.ones((1, 1)), np.full((1, 1), -800.0))[0])
    words = (
        f"log p at logits of ±800 is {right:.1f} and {wrong:.1f} (0 and −1600 are due), KL at log σ² = −800 {far:.1f}"
    )
    return Law((right, wrong, far) == (0.0, -1600.0, 400.0), f"{words} (400 is due)")


@said
def steps(vae: Any) -> Law:
    """Adam's first step is one rate along the gradient's sign, in every parameter; m forgets a tenth a step."""
    _, _, p = place()
    start, g = copy.deepcopy(p), {name: np.full_like(value, 0.01) for name, value in p.items()}
    state = {"t": 0, "m": zeros_like(p), "v": zeros_like(p)}
    vae.adam(p, g, state, RATE)
    before = state["m"]["p.logits.b"].copy()
    vae.adam(p, zeros_like(p), state, 0.0)
    kept = float((state["m"]["p.logits.b"] / before)[0])
    first = {name: float(np.mean(p[name] - start[name])) / RATE for name in p}
    holds, words = each(first, 1, "the first step, in rates:")
    return Law(holds and abs(kept - 0.9) < 1e-6, f"{words}; of m stays {kept:.3f}, β₁ is 0.900")


def each(factors: dict[str, float], due: float, words: str) -> tuple[bool, str]:
    """Whether every block has the number that is due, and those that have not."""
    wrong = {name: value for name, value in factors.items() if not abs(value - due) < 1e-3}
    if not wrong:
        return True, f"{words} {due:.2f} in all blocks"
    return False, f"{words} {', '.join(f'{value:.2f} in {name}' for name, value in wrong.items())} ({due} is due)"


def rounded(values: Array) -> str:
    """A few numbers."""
    return ", ".join(f"{value:.2f}" for value in values)
