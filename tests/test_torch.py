"""§7.3 The whole bound and its gradient against torch.autograd, which shares no line with us."""

from typing import Any

import numpy as np
import pytest
from oracles import close, data, small_vae

from scratchvae.kernels import table
from scratchvae.models.vae import LIKELIHOODS, elbo, elbo_vjp
from scratchvae.networks import ACTIVATIONS

torch = pytest.importorskip("torch")
VARIANCE = 0.05
RNG = np.random.default_rng(31)


def heads(x: Any, prefix: str, depth: int, names: tuple[str, ...], activation: str, views: dict[str, Any]) -> list[Any]:
    """A network in torch's own words."""
    f: Any = torch.nn.Identity() if activation == "identity" else getattr(torch.nn.functional, activation)
    for l in range(depth):
        x = f(x @ views[f"{prefix}.hidden.{l}.W"] + views[f"{prefix}.hidden.{l}.b"])
    return [x @ views[f"{prefix}.{name}.W"] + views[f"{prefix}.{name}.b"] for name in names]


def torch_elbo(x: Any, eps: Any, views: dict[str, Any], depth: int, likelihood: str, activation: str) -> Any:
    """Eq. 10 with torch.distributions."""
    D = torch.distributions
    mu, log_var = heads(x, "q", depth, ("mu", "log_var"), activation, views)
    q = D.Normal(mu, (log_var / 2).exp())
    z = mu + q.scale * eps
    names = {"bernoulli": ("logits",), "gaussian-fixed": ("mu",)}.get(likelihood, ("mu", "log_var"))
    outs = heads(z, "p", depth, names, activation, views)
    if likelihood == "bernoulli":
        p: Any = D.Bernoulli(logits=outs[0], validate_args=False)
    else:
        mean = outs[0].sigmoid() if likelihood == "gaussian-sigmoid" else outs[0]
        variance = outs[1].exp() + VARIANCE if len(outs) == 2 else torch.full_like(mean, VARIANCE)
        p = D.Normal(mean, variance.sqrt())
    reconstruction = p.log_prob(x.expand(*eps.shape[:-1], -1)).sum(-1)
    return reconstruction.reshape(-1, len(x)).mean(0) - D.kl_divergence(q, D.Normal(0.0, 1.0)).sum(-1)


CASES = [(likelihood, hidden, "tanh") for likelihood in LIKELIHOODS for hidden in ((7,), (7, 6))]
CASES += [("bernoulli", (7, 6), activation) for activation in ACTIVATIONS]


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
@pytest.mark.parametrize("samples", [None, 3], ids=["one draw", "S=3"])
@pytest.mark.parametrize(("likelihood", "hidden", "activation"), CASES)
def test_autograd_agrees(
    likelihood: str, hidden: tuple[int, ...], activation: str, samples: int | None, kernels: str
) -> None:
    """The same weights, x and ε: catches whatever our own derivations and checks could share as an error."""
    arch, arena = small_vae(
        columns=11, latent=3, hidden=hidden, likelihood=likelihood, variance=VARIANCE, activation=activation
    )
    gradient, k = arena.like(), table(kernels)
    x, w = data(6, 11, likelihood), RNG.standard_normal(6)
    eps = RNG.standard_normal((6, 3) if samples is None else (samples, 6, 3))
    L, cache = elbo(x, eps, *arch.nets(arena.views), k)
    elbo_vjp(w, cache, x, eps, *arch.nets(arena.views), *arch.nets(gradient.views), k)

    views = {name: torch.tensor(view, requires_grad=True) for name, view in arena.views.items()}
    theirs = torch_elbo(torch.tensor(x), torch.tensor(eps), views, len(hidden), likelihood, activation)
    close(L, theirs.detach().numpy(), 1e-9)
    (theirs @ torch.tensor(w)).backward()
    for name, view in gradient.views.items():
        close(view, views[name].grad.numpy(), 1e-9)
