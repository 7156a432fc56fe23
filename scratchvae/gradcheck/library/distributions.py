"""§7.2.5 Normal and Bernoulli with their vjps, rows (B, K), and (S, B, K) of values under (B, K) of parameters."""

from collections.abc import Iterator
from typing import Any

from ...distributions import Bernoulli, Normal
from ...types import Array
from . import Case, at

MASK = (at(48, 3, 4) > 0) * 1.0
VALUES = {"(B, K)": at(41, 3, 4), "(S, B, K)": at(42, 2, 3, 4)}


def normal() -> Iterator[Case]:
    """Everything a Normal can do."""
    q = Normal(at(43, 3, 4), at(44, 3, 4))
    for shape, value in VALUES.items():
        yield Case(
            f"distributions.Normal.sample[{shape}]",
            lambda q, eps: q.sample(eps),
            lambda dz, q, eps: (q.sample_vjp(dz, eps), None),
            (q, value),
            constants=("eps",),
        )
        yield Case(
            f"distributions.Normal.log_prob[{shape}]",
            lambda z, q: q.log_prob(z),
            lambda w, z, q: q.log_prob_vjp(w, z),
            (value, q),
        )
        yield Case(
            f"distributions.Normal.log_prob_observed[{shape}]",
            lambda z, m, q: q.log_prob_observed(z, m),
            lambda w, z, m, q: ((d := q.log_prob_observed_vjp(w, z, m))[0], None, d[1]),
            (value, MASK, q),
            constants=("m",),
        )
    yield Case("distributions.Normal.kl", lambda q: q.kl(), lambda w, q: q.kl_vjp(w), (q,))
    yield Case("distributions.Normal.entropy", lambda q: q.entropy(), lambda w, q: q.entropy_vjp(w), (q,))


def bernoulli() -> Iterator[Case]:
    """Bits by logits; x is data. Samples are a step in the logits and have no slope."""

    def log_prob_vjp(w: Array, x: Array, p: Bernoulli) -> Any:
        return p.log_prob_vjp(w, x)

    def observed_vjp(w: Array, x: Array, m: Array, p: Bernoulli) -> Any:
        return None, *p.log_prob_observed_vjp(w, x, m)

    p, x = Bernoulli(2 * at(45, 3, 4)), (at(46, 3, 4) > 0) * 1.0
    many = Bernoulli(2 * at(47, 2, 3, 4))  # one x under S decoded samples
    for shape, logits in (("(B, D)", p), ("(S, B, D)", many)):
        name, observed = f"distributions.Bernoulli.log_prob[{shape}]", (x, MASK, logits)
        yield Case(name, lambda x, p: p.log_prob(x), log_prob_vjp, (x, logits), constants=("x",))
        name = f"distributions.Bernoulli.log_prob_observed[{shape}]"
        yield Case(name, lambda x, m, p: p.log_prob_observed(x, m), observed_vjp, observed, constants=("x", "m"))
    yield Case("distributions.Bernoulli.entropy", lambda p: p.entropy(), lambda w, p: p.entropy_vjp(w), (p,))


def cases() -> Iterator[Case]:
    """Both families."""
    yield from normal()
    yield from bernoulli()
