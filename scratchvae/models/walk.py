"""§7.3 One step of AEVB as a graph: what flows forwards and backwards along every edge, for those who want to see it.

    x → h → μ, log σ² → z → h′ → logits → log p(x|z) → L        ε → z        μ, log σ² → KL → L

`elbo_vjp` adds the same cotangents up as it goes, and keeps none. Test: test_the_walk_is_elbo_vjp.
"""

from typing import NamedTuple

import numpy as np

from ..conditional import Distribution, Net, from_heads_vjp
from ..distributions import Normal
from ..kernels import NUMPY, Kernels
from ..networks import activate_vjp, affine, affine_vjp
from ..types import Array
from .vae import elbo

MU, LOG_VAR, LIKELIHOOD, KL, BOUND = "μ", "log σ²", "log p(x|z)", "KL", "L"
HEADS = {"logits": "logits", "mu": "μ(z)", "log_var": "log σ²(z)"}  # of p(x | z)


class Edge(NamedTuple):
    """From one node to another: what the source's value is (B, …), and what comes back along this edge alone, of the
    same shape; None where the source is data or noise, for which no slope is asked."""

    source: str
    target: str
    value: Array
    cotangent: Array | None


def norms(edge: Edge) -> tuple[float, float]:
    """The value's norm and the cotangent's (NaN for none), each a row's, as the root mean square over rows."""
    forward, back = (
        np.nan if a is None else float(np.sqrt((np.asarray(a, np.float64) ** 2).sum() / len(a)))
        for a in (edge.value, edge.cotangent)
    )
    return forward, back


def walk(x: Array, eps: Array, phi: Net, theta: Net, k: Kernels = NUMPY) -> tuple[Array, list[Edge]]:
    """L (B,) nats of rows x (B, D) under eps (B, K), and every edge of its graph in the order of the forward pass;
    cotangents are those of Σ_b L_b, so each row's are its own."""
    L, c = elbo(x, eps, phi, theta, k)
    w = np.ones_like(L)
    _, dp = c.p.log_prob_vjp(w, x, k)
    names = [HEADS[head] for head in theta.family.heads]
    decoder, outs, dz = through(dp, c.p, c.p_layers, theta, ["z", *hidden("h′", theta)], names, k)
    path, kl = c.q.sample_vjp(dz, eps, k), c.q.kl_vjp(-w, k)
    dq = Normal(path.mu + kl.mu, path.log_var + kl.log_var)
    encoder, _, _ = through(dq, c.q, c.q_layers, phi, ["x", *hidden("h", phi)], [MU, LOG_VAR], k)
    edges = [
        *(e._replace(cotangent=None) if e.source == "x" else e for e in encoder),
        Edge(MU, "z", c.q.mu, path.mu),
        Edge(LOG_VAR, "z", c.q.log_var, path.log_var),
        Edge("ε", "z", eps, None),
        *decoder,
        *(Edge(name, LIKELIHOOD, out, dout) for name, (out, dout) in zip(names, outs, strict=True)),
        Edge("x", LIKELIHOOD, x, None),
        Edge(MU, KL, c.q.mu, kl.mu),
        Edge(LOG_VAR, KL, c.q.log_var, kl.log_var),
        Edge(LIKELIHOOD, BOUND, c.reconstruction, w),
        Edge(KL, BOUND, c.kl, -w),
    ]
    return L, edges


def hidden(name: str, p: Net) -> list[str]:
    """h, or h1, h2, … of several hidden layers."""
    return [name] if len(p.hidden) == 1 else [f"{name}{l + 1}" for l in range(len(p.hidden))]


def through(
    ddist: Distribution, dist: Distribution, hs: list[Array], p: Net, inner: list[str], heads: list[str], k: Kernels
) -> tuple[list[Edge], list[tuple[Array, Array]], Array]:
    """`net_vjp`, an edge at a time: the net's edges, the heads' outputs with their cotangents, and that of its input.
    `inner` names the input and the hidden layers."""
    douts = from_heads_vjp(ddist, dist, p.family, k)
    outs = [affine(hs[-1], head, k) for head in p.heads]
    parts = [affine_vjp(dout, hs[-1], head, None, k) for dout, head in zip(douts, p.heads, strict=True)]
    edges = [Edge(inner[-1], head, hs[-1], part) for head, part in zip(heads, parts, strict=True)][::-1]
    dh: Array = np.sum(parts, axis=0)
    for l in reversed(range(len(p.hidden))):
        da = activate_vjp(dh, hs[l + 1], p.activation, k)
        dh = affine_vjp(da, hs[l], p.hidden[l], None, k)
        edges.append(Edge(inner[l], inner[l + 1], hs[l], dh))
    return edges[::-1], list(zip(outs, douts, strict=True)), dh
