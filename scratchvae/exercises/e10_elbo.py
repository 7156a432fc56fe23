"""§7.3 Exercise 10: the backward of the bound out of the pairs of the lessons before, and Adam."""

import functools
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from .. import models
from ..models.vae import Architecture
from ..tree import zeros_like
from ..types import Array
from .record import Draw, Exercise, Law, Names, Pair, Slip, drawing, log_evidence

right: Any = import_module(f"{__package__}.solutions.e10_elbo")

HINTS = (
    "Walk `elbo` forwards and keep what you need; then take its lines in reverse, each by its own vjp. L has two "
    "terms, and μ and log σ² stand in both: what does a value that is used twice get? For `adam`: m and v start at 0, "
    "so after one step they are far too small; what makes up for it?",
    "The order is log_prob_vjp, decode_vjp, sample_vjp, kl_vjp, encode_vjp; L holds −KL. For `adam`: two running "
    "means, each divided by one minus its β to the power t, then a step of rate · m̂ / (√v̂ + ε).",
)
SLIPS = {
    "KL's path forgotten": Slip(
        "the encoder hears log p(x | z) alone: one term of the bound hands nothing back",
        "",
        (("dmu + dmu_kl, dlog_var + dlog_var_kl", "dmu, dlog_var"),),
    ),
    "KL pulls the wrong way": Slip("KL counts as a gain on the way back", "", (("kl_vjp(-w", "kl_vjp(w"),)),
    "Adam without its bias correction": Slip(
        "moments that start at zero are taken as they are",
        "y0ast",
        (("m_hat / (np.sqrt(v_hat)", "m / (np.sqrt(v)"),),
    ),
    "Adam's decay in the wrong convention": Slip(
        "a β where its complement belongs: m forgets almost at once",
        "nips14-ssl",
        (("beta1 * m + (1 - beta1) * g", "(1 - beta1) * m + beta1 * g"), ("(1 - beta1**t)", "(1 - (1 - beta1) ** t)")),
    ),
    "Adam's second moment starts at one": Slip(
        "the second moment does not start at zero",
        "IWAE",
        (("v = beta2 * v", "v = beta2 * (v + (t == 1))"),),
    ),
    "Adam counts parameters as steps": Slip(
        "the steps are counted anew for each parameter",
        "tinygrad's first week",
        (("m / (1 - beta1**t)", "m / (1 - beta1 ** ((t - 1) * m.size + 1 + np.arange(m.size).reshape(m.shape)))"),),
    ),
}
SHAPE = Architecture(columns=4, latent=1, hidden=(3,))
TERMS = ("through z to mu", "through z to log_var", "through KL to mu", "through KL to log_var", "in the decoder")
STEPS = 60
RATE = 0.05


def point(normals: Draw, rows: int = 3) -> dict[str, Any]:
    """Rows of bits that go together, noise, and a VAE of one latent."""
    D, K, H = SHAPE.columns, SHAPE.latent, SHAPE.hidden[0]
    x, eps = (normals(rows, 1) + normals(rows, D) / 2 > 0).astype(float), normals(rows, K)
    phi = {"W": normals(D, H), "b": normals(H), "W_mu": normals(H, K), "b_mu": normals(K)}
    phi |= {"W_log_var": normals(H, K), "b_log_var": normals(K)}
    theta = {"W": normals(K, H), "b": normals(H), "W_logits": normals(H, D), "b_logits": normals(D)}
    return {"x": x, "eps": eps, "phi": phi, "theta": theta}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """The bound; and Adam's way times c, whose slope is right by itself: so that its numbers are known as well."""
    terms = {name: functools.partial(term, name) for name in TERMS}
    options = {"constants": ("x", "eps"), "terms": terms}
    yield Pair(names["elbo"], names["elbo_vjp"], point(normals), options)
    way = np.nan_to_num(walked(names["adam"], [normals(4) for _ in range(4)]))
    yield Pair(lambda c: c * way, lambda dy, c: (np.sum(dy * way),), {"c": 1.0})


def term(name: str, w: Array, x: Array, eps: Array, phi: Any, theta: Any) -> Any:
    """The part of the right way back that has this name."""
    mu, log_var, h = right.encode(x, phi)
    z = right.sample(mu, log_var, eps)
    logits, g = right.decode(z, theta)
    dz, dtheta = right.decode_vjp(right.log_prob_vjp(w, x, logits), z, g, theta)
    parts = dict(zip(TERMS, (*right.sample_vjp(dz, log_var, eps), *right.kl_vjp(-w, mu, log_var)), strict=False))
    dheads = [parts[name] if name in parts and name.endswith(head) else 0 * mu for head in (" mu", "log_var")]
    dphi = right.encode_vjp(*dheads, x, h, phi)
    return None, None, dphi, zeros_like(theta) if name in parts else dtheta


def walked(adam: Any, slopes: list[Array]) -> Array:
    """Where Adam was after each of these gradients, from 0."""
    theta = m = v = np.zeros_like(slopes[0])
    way = []
    for t, g in enumerate(slopes, 1):
        found = adam(theta.copy(), g.copy(), m.copy(), v.copy(), t)
        if not (isinstance(found, tuple) and len(found) == 3):
            raise TypeError(f"adam returned {type(found).__name__}: expected (theta, m, v)")
        theta, m, v = found
        way.append(theta)
    return np.array(way)


def laws(names: Names) -> Iterator[Law]:
    """The library's own gradient, Adam's first steps, and a bound that rises and stays below log p(x)."""
    args = point(drawing(2), rows=20)
    yield agreement(names, args)
    yield from steps(names["adam"])
    yield from climb(names, args)


def agreement(names: Names, args: dict[str, Any]) -> Law:
    """The same parameters in the library."""
    x, eps, phi, theta = args.values()
    views = {f"q.{library}": phi[mine] for mine, library in named(phi)}
    views |= {f"p.{library}": theta[mine] for mine, library in named(theta)}
    nets, dnets = SHAPE.nets(views), SHAPE.nets({name: np.zeros_like(value) for name, value in views.items()})
    w = np.ones(len(x))
    _, cache = models.vae.elbo(x, eps, *nets)
    models.vae.elbo_vjp(w, cache, x, eps, *nets, *dnets)
    yours = names["elbo_vjp"](w, x, eps, phi, theta)
    both = [(yours[2][mine], theirs) for (mine, _), theirs in zip(named(phi), arrays(dnets[0]), strict=True)]
    both += [(yours[3][mine], theirs) for (mine, _), theirs in zip(named(theta), arrays(dnets[1]), strict=True)]
    furthest = max(float(np.max(abs(a - b))) for a, b in both)
    return Law(furthest < 1e-12, f"the furthest of all slopes from scratchvae's own elbo_vjp: {furthest:.0e}")


def named(net: dict[str, Array]) -> list[tuple[str, str]]:
    """The lesson's names of a net's arrays, and the library's: W_mu is mu.W."""
    return [(name, f"{name[2:] or 'hidden.0'}.{name[0]}") for name in net]


def arrays(net: Any) -> Iterator[Array]:
    """Those of a `Net`, in the lesson's order."""
    for layer in (*net.hidden, *net.heads):
        yield from layer


def steps(adam: Any) -> Iterator[Law]:
    """What Algorithm 1 of Kingma & Ba 2015 promises of its first steps."""
    g = np.array([3.0, -0.02, 1e-4])
    first = walked(adam, [g])[0] / 1e-3
    words = ", ".join(f"{step:.3f}" for step in first)
    yield Law(np.allclose(first, np.sign(g), atol=1e-3), f"the first step is α · ({words}), and α · sign(g) is due")
    near, far = (walked(adam, [c * g, c * g[::-1]])[1] / 1e-3 for c in (1, 1000))
    words = f"with gradients a thousand times as large the second step ends at {far[0]:.3f} α, else at {near[0]:.3f} α"
    yield Law(np.allclose(near, far, atol=1e-3), words)
    m, v = (float(moment[0]) for moment in adam(np.zeros(1), np.zeros(1), np.ones(1), np.ones(1), 2)[1:])
    words = f"where the gradient is 0, m keeps {m:.3f} of itself and v {v:.3f}; β₁ = 0.900, β₂ = 0.999"
    yield Law(abs(m - 0.9) + abs(v - 0.999) < 1e-9, words)


def climb(names: Names, args: dict[str, Any]) -> Iterator[Law]:
    """A few steps of the learner's own, with fresh noise in each."""
    normals = drawing(3)
    x, _, phi, theta = args.values()
    nets, moments = {"phi": phi, "theta": theta}, {"phi": zeros_like(phi), "theta": zeros_like(theta)}
    second = zeros_like(moments)
    before = bound(names, x, phi, theta)
    for t in range(1, STEPS + 1):
        slopes = names["elbo_vjp"](np.full(len(x), 1 / len(x)), x, normals(len(x), 1), *nets.values())[2:]
        for net, slope in zip(nets, slopes, strict=True):
            for name, g in slope.items():
                state = nets[net][name], g, moments[net][name], second[net][name]
                nets[net][name], moments[net][name], second[net][name] = names["adam"](*state, t, rate=RATE)
    after = bound(names, x, *nets.values())
    yield Law(
        after > before + 0.1, f"{STEPS} steps of Adam raise the bound from {before:.3f} to {after:.3f} nats a row"
    )
    exact = float(log_evidence(right, x, nets["theta"]).mean())
    yield Law(after < exact, f"it is below log p(x), which is {exact:.3f} by quadrature")


def bound(names: Names, x: Array, phi: Any, theta: Any) -> float:
    """The mean bound, over 200 draws a row."""
    many = np.repeat(x, 200, axis=0)
    return float(names["elbo"](many, drawing(4)(len(many), 1), phi, theta).mean())


EXERCISE = Exercise(
    10, "elbo", "The whole: the bound and its slopes", "§7.3", ("elbo_vjp", "adam"), HINTS, pairs, laws, SLIPS
)
