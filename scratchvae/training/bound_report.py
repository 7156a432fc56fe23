"""§7.2 A ledger for bounds: every figure says what it is, the bound in its parts, and unlike figures are not compared.

    L = reconstruction − KL         rate R = KL, distortion D = −reconstruction: −L = R + D      Alemi et al. 2018
    KL = Σ_k KL_k                   a latent whose E[z_k | x] is the same for all rows is not in use: posterior collapse

All figures are nats per datapoint, sums over dimensions, means over rows, constants kept.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from ..conditional import Distribution, mean_of
from ..data import Dataset
from ..errors import UsageError
from ..noise import Purpose
from ..types import Array
from .evaluate import bound_of_rows, evaluation_rows, log_likelihood_over, over
from .likelihood import measure_of
from .missing import masked
from .objective import decode, encode
from .state import State, latent_noise

ACTIVE = 0.01  # variance of E[z_k | x] over rows: Burda et al. 2015, §5.2
PAID = 0.1  # nats of KL a latent, beyond which q is not the prior


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a figure means. Two figures can be compared only if all of it is the same."""

    quantity: str  # "ELBO", "log p(x)"
    estimator: str
    samples: int
    measure: str  # of p(x): a probability, a density, of mixed columns both, or a cross-entropy of grey levels
    binarisation: str
    data: str
    split: str
    rows: int
    unit: str = "nats per datapoint"
    constants: str = "kept"

    def unlike(self, other: "Meaning") -> str:
        """What differs, as "rows: 100 against 200", or "" where the figures are alike."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return "; ".join(f"{key}: {mine[key]} against {theirs[key]}" for key in mine if mine[key] != theirs[key])


class Figure(NamedTuple):
    """A figure with its meaning, and its value for each row, (N,) float64."""

    meaning: Meaning
    rows: Array

    @property
    def value(self) -> float:
        """The mean over rows."""
        return float(self.rows.mean())

    @property
    def error(self) -> float | None:
        """Its standard error over rows; None for a single row."""
        return float(self.rows.std(ddof=1) / len(self.rows) ** 0.5) if len(self.rows) > 1 else None


class Ledger(NamedTuple):
    """The bound of each row in its parts, (N,) float64 nats; kl_by_latent (K,) and variances of E[z_k | x] (K,); of a
    ladder those of z_1, its kl_by_latent against N(0, I) being no part of the bound and therefore NaN."""

    meaning: Meaning
    elbo: Array
    reconstruction: Array
    kl: Array
    kl_by_latent: Array
    variances: Array

    @property
    def figure(self) -> Figure:
        """The bound."""
        return Figure(self.meaning, self.elbo)

    @property
    def active(self) -> int | None:
        """Latents in use; None where a single row does not tell."""
        return int((self.variances > ACTIVE).sum()) if len(self.elbo) > 1 else None

    def report(self) -> dict[str, Any]:
        """Plain JSON values."""
        by_latent = [float(kl) if math.isfinite(kl) else None for kl in self.kl_by_latent]
        return {
            "elbo": float(self.elbo.mean()),
            "elbo_error": self.figure.error,
            "reconstruction": float(self.reconstruction.mean()),
            "kl": float(self.kl.mean()),
            "rate": float(self.kl.mean()),
            "distortion": float(-self.reconstruction.mean()),
            "kl_by_latent": by_latent,
            "active_units": self.active,
            "diagnosis": diagnosis(self),
        }


def measure(state: State, found: Dataset, samples: int = 1, block: int = 500) -> Ledger:
    """The ledger of a run on its test rows, with `samples` draws from q a row, named as `State.numbers` says."""
    if samples < 1:
        raise UsageError(f"samples={samples}: a bound needs at least 1")
    x = found.test
    of_rows = bound_of_rows(state)

    def part(first: int, count: int) -> tuple[Array, ...]:
        """L, reconstruction, kl (B,), KL by latent (B, K) and E[z | x] (B, K) of a block of rows."""
        batch = evaluation_rows(state, x, first, count)
        L, reconstruction = of_rows(batch, samples, state.numbers(batch, first))
        q = encode(state, batch)
        return L, reconstruction, reconstruction - L, kl_by_latent(state, q), mean_of(q)

    parts = [*over(state, len(x), block, part)]
    columns = [np.concatenate([one[i] for one in parts]).astype(np.float64) for i in range(5)]
    L, reconstruction, kl, by_latent, means = columns
    meaning = meaning_of(state, found, "ELBO", "draws from q", samples, len(x))
    if state.config.deep or state.config.model == "m2":
        by_latent = by_latent * np.nan
    return Ledger(meaning, L, reconstruction, kl, by_latent.mean(axis=0), means.var(axis=0))


def by_unit(state: State, found: Dataset, block: int = 500) -> dict[str, float]:
    """log p(x | z) of mixed columns, means over rows and one draw of z: that of masses and that of densities apart, for
    they are different units. {} where all columns are of one kind."""
    likelihood, totals = state.config.likelihood, np.zeros(2)
    if "=" not in likelihood:
        return {}

    def part(first: int, count: int) -> Array:
        batch = evaluation_rows(state, found.test, first, count)
        eps = latent_noise(state, Purpose.EVALUATE, 0, len(batch), 1, state.numbers(batch, first))
        z = encode(state, batch).sample(eps[0])
        x, m = masked(batch) if state.config.missing else (batch, None)
        p = decode(state, z)
        sums = np.zeros(2)
        for one, term in zip(p.spec.parts, p.terms(x, m), strict=True):
            sums[int(one.kind.mass)] += term.sum(dtype=np.float64)
        return sums

    for sums in over(state, len(found.test), block, part):
        totals += sums
    density, mass = (float(total) for total in totals / len(found.test))
    return {"reconstruction_density": density, "reconstruction_mass": mass}


def kl_by_latent(state: State, q: Distribution) -> Array:
    """KL(q ‖ p) of each latent by itself, (B, K) nats; NaN where latents hang together, or where KL is not closed."""
    if state.config.prior != "standard" or not hasattr(q, "kl") or not getattr(q, "separate", True):
        return np.full_like(mean_of(q), np.nan)
    each: Array = type(q)(*(head[..., None] for head in q)).kl()
    return each


def meaning_of(state: State, found: Dataset, quantity: str, estimator: str, samples: int, rows: int) -> Meaning:
    """What a figure of this run on these rows means."""
    config = state.config
    grey = config.binarisation == "none" and found.test.dtype != np.bool_
    kind = "probability of tokens" if config.model == "sequence" else measure_of(config.likelihood, grey)
    return Meaning(quantity, estimator, samples, kind, config.binarisation, found.name, found.split, rows)


def diagnosis(found: Ledger) -> str:
    """One line on posterior collapse."""
    if not (K := len(found.variances)):
        return "no latents: a language model"
    if len(found.elbo) < 2:
        return "which latents are in use cannot be told from one row"
    idle = [int(k) for k in np.flatnonzero(found.variances <= ACTIVE)]
    if len(idle) == K and (paid := float(found.kl.mean())) > PAID * K:
        return (
            f"no latent differs from row to row, yet KL costs {paid:.3g} nats: q is far from the prior alike for all "
            "rows, so it has not been learned: train longer, and see that columns of unlike scale are standardised"
        )
    if len(idle) == K:
        return "posterior collapse: no latent is in use, the decoder ignores z"
    if not idle:
        return f"all {K} latents in use"
    paid = float(found.kl_by_latent[idle].sum())
    cost = f", which cost {paid:.2g} nats of KL" if math.isfinite(paid) else ""
    return f"{found.active} of {K} latents in use; idle: {', '.join(map(str, idle))}{cost}"


# Rows are paired: where both runs see the same bits, the error of the difference is far below that of either mean.
def difference(a: Figure, b: Figure) -> Figure:
    """b − a row by row. Raises UsageError where their meanings differ: nothing could be learned from it."""
    if words := a.meaning.unlike(b.meaning):
        raise UsageError(f"these figures cannot be compared: {words}")
    return Figure(a.meaning, b.rows - a.rows)


def evidence(state: State, found: Dataset, samples: int) -> Figure:
    """log p(x) of the test rows by importance sampling with `samples` draws from q a row."""
    meaning = meaning_of(state, found, "log p(x)", "importance sampling from q", samples, len(found.test))
    return Figure(meaning, log_likelihood_over(state, found.test, samples))
