"""§7.2.4 A stochastic gradient in expectation: the mean of many draws against the exact gradient, by z-scores.

On replayed noise `check` proves that an estimator differentiates what it says. It cannot see that what it says has the
right mean; that takes an exact gradient and

    z = (mean of the draws − exact) / standard error        per component, |z| ≤ 4 where the estimator is unbiased

Of one component |z| exceeds 4 by chance in 6e-5 of all runs; of a thousand right ones in 6 %. Hence a component above
the limit is drawn again with as many fresh seeds, and is wrong where all draws together are above the limit too: by
chance in some 5e-6, while a bias that stood at 4 now stands at 5.7. With 10⁵ components and more, raise the limit.

A standard error is trusted where enough draws carry it: (Σ d²)² / Σ d⁴ of the deviations d, the number of draws N for
d = ±1, N/3 for a normal d, near 1 where the variance is infinite. Where few do, the verdict is "cannot tell".
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import CheckFailed, UsageError
from ..tree import Path, kind, leaves, transform
from ..types import Array
from .contract import is_masked, one_line, want_positive, want_whole
from .report import OK, UNKNOWN, WRONG, Measure, Report, Row

LIMIT = 4.0  # standard errors
FEWEST = 100  # draws in all, or a standard error would be a guess, and z as wide as Student's t
CARRIERS = 20  # draws that must carry a standard error
ROUNDING = 1e-13  # of max(1, |exact|): the least standard error, for a mean that is exact but for rounding
NOTHING = 1e6  # times rounding: a gradient that is zero but for the errors of a quadrature

Sampler = Callable[[int, int], Any]  # (seed, draws) -> a tree with a leading axis of draws


def check_expectation(
    sample_gradient: Sampler,
    exact: Any,
    *,
    draws: int = 10_000,
    seeds: int = 20,
    limit: float = LIMIT,
    rounding: float = ROUNDING,
    name: str | None = None,
) -> Report:
    """Compare the mean of sample_gradient's draws with the exact gradient.

    sample_gradient(seed, draws) -> independent draws: a tree (an array, or nested tuples, lists and dicts of them) with
                      exact's structure, each leaf with a leading axis of `draws`; other seeds, other draws. For a
                      function that makes one draw at a time see `singly`. Draws that depend on each other are a draw
                      together: return their mean, as one.
    exact             the gradient: a tree of numbers, or a function of nothing that returns it. `expectation_gradient`
                      integrates it from log q. A biased estimator is checked against its own target: that of the
                      importance-weighted bound of S samples is the gradient of E[log 1/S Σ w], not the ELBO's.
    draws, seeds      draws a call, and calls: seeds 0, 1, …; with draws × seeds = N the standard error is σ / √N.
                      A baseline that is the mean of all draws, their own included, shrinks the gradient by 1 − 1/draws:
                      ask with draws=2, seeds=2000 too, where that is a half.
    limit             standard errors that are allowed (the module says what chance does).
    rounding          a difference below limit × rounding × max(1, |exact|) is rounding: sticking the landing has no
                      variance at the posterior. Give less where all gradients are far below 1.

    A row shows the worst component of a block; its error is |z|. "cannot tell": too few draws, draws that are not
    finite, a variance that few draws carry, seeds that disagree more than their draws allow, a block where twice the
    gradient would have looked the same. The note says which relative bias of a block would have been seen: a smaller
    one "ok" does not exclude.

    >>> import numpy as np
    >>> def score(seed, draws):                       # of E[z²], z ~ N(mu, 1): z² (z − mu)
    ...     z = 0.5 + np.random.default_rng(seed).standard_normal(draws)
    ...     return {"mu": z**2 * (z - 0.5)}
    >>> check_expectation(score, {"mu": 2 * 0.5}).verdict
    'ok'
    >>> check_expectation(score, {"mu": 0.5}).verdict
    'wrong'
    """
    title = name or str(getattr(sample_gradient, "__name__", "gradient"))
    if not callable(sample_gradient):
        raise UsageError(f"sample_gradient is {type(sample_gradient).__name__}: give a function of (seed, draws)")
    want_whole(1, draws=draws, seeds=seeds)
    want_positive(limit=limit, rounding=rounding)
    blocks = numbers_of(exact() if callable(exact) else exact)
    wanted = np.concatenate([leaf.ravel() for leaf in blocks.values()])
    if draws * seeds < FEWEST:
        few = f"{draws * seeds} draws are too few for a standard error: draws × seeds must be {FEWEST} at least"
        return Report(title, doubts=(few,))
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            first = moments(sample_gradient, blocks, draws, range(seeds))
            found = judged(first, wanted, limit, rounding)
            if (again := found.error > limit).any():
                more = moments(sample_gradient, blocks, draws, range(seeds, 2 * seeds), first)
                found = confirmed(found, judged(more, wanted, limit, rounding), again)
    except CheckFailed as problem:
        return Report(title, problems=(str(problem),))
    notes = f"{seeds} seeds of {draws} draws", power(found, blocks, wanted, limit)
    return Report(title, tuple(rows(found, blocks, wanted, limit, rounding)), tuple(filter(None, notes)))


def singly(draw: Callable[[int], Any]) -> Sampler:
    """A sampler of draw(seed) -> one draw (a tree): called with another seed for each draw, and stacked."""

    def sample(seed: int, draws: int) -> Any:
        found = [draw(seed * draws + i) for i in range(draws)]
        parts = [dict(leaves(one)) for one in found]
        return transform(lambda path, _: np.array([part[path] for part in parts]), found[0])

    sample.__name__ = getattr(draw, "__name__", "gradient")
    return sample


def numbers_of(exact: Any) -> dict[Path, Array]:
    """The exact gradient's blocks in float64."""
    for path, leaf in leaves(exact):
        if kind(leaf) not in ("float", "integer") or np.iscomplexobj(leaf) or not np.all(np.isfinite(leaf)):
            raise UsageError(f"exact has {leaf!r:.60} in {block_name(path)}: give finite real numbers")
    found = {path: np.asarray(leaf, dtype=np.float64) for path, leaf in leaves(exact) if np.size(leaf)}
    if not found:
        raise UsageError("exact is empty: there is nothing to compare")
    return found


def block_name(path: Path) -> str:
    """Its path with dots; a gradient that is one array has none."""
    return ".".join(path) or "gradient"


# --- moments and what they say ----------------------------------------------------------------------


class Moments(NamedTuple):
    """Means of d, d², d³, d⁴ for every seed, d = (draw − origin) / scale: near the mean nothing cancels."""

    origin: Array  # (P,)
    scale: Array  # (P,)
    powers: Array  # (seeds, 4, P)
    draws: int  # a seed


class Findings(NamedTuple):
    """What the draws say of each component, arrays (P,); `doubt` is why nobody can tell, or ""."""

    mean: Array
    deviation: Array  # the standard error, at least rounding
    error: Array  # |z|
    doubt: list[str]
    why: list[str]


def moments(
    sample: Sampler, blocks: dict[Path, Array], draws: int, seeds: Sequence[int], before: Moments | None = None
) -> Moments:
    """Draw, and keep four numbers a seed and component; with what was found before, if anything was."""
    origin, scale, powers = (before.origin, before.scale, [*before.powers]) if before else (None, None, [])
    for seed in seeds:
        g = drawn(sample, blocks, draws, seed)
        if origin is None or scale is None:
            origin = g.mean(axis=0)
            scale = np.max(np.abs(g - origin), axis=0)
            scale[scale == 0] = 1.0
        d = (g - origin) / scale
        powers.append(np.array([np.mean(d**k, axis=0) for k in (1, 2, 3, 4)]))
    assert origin is not None
    assert scale is not None
    return Moments(origin, scale, np.array(powers), draws)


def drawn(sample: Sampler, blocks: dict[Path, Array], draws: int, seed: int) -> Array:
    """The draws of one seed, (draws, P). Raises CheckFailed for another structure or shape than the exact gradient's,
    or if sample_gradient raises."""
    try:
        found = dict(leaves(sample(seed, draws)))
    except Exception as error:
        raise CheckFailed(f"sample_gradient({seed}, {draws}) raised {one_line(error)}") from error
    for path in blocks.keys() ^ {path for path, leaf in found.items() if np.size(leaf)}:
        what = "returned no" if path in blocks else "returned more than exact has:"
        raise CheckFailed(f"sample_gradient {what} {block_name(path)}")
    parts = []
    for path, leaf in blocks.items():
        g, shape = np.asarray(found[path]), (draws, *leaf.shape)
        if is_masked(found[path]) or g.dtype.kind not in "fiub":
            raise CheckFailed(f"sample_gradient's {block_name(path)} is no plain array of real numbers")
        if g.shape != shape:
            raise CheckFailed(
                f"sample_gradient's {block_name(path)} has shape {g.shape}, expected {shape}: draws first"
            )
        parts.append(g.reshape(draws, -1).astype(np.float64))
    return np.concatenate(parts, axis=1)


def judged(m: Moments, exact: Array, limit: float, rounding: float) -> Findings:
    """z-scores, and where they cannot be trusted."""
    seeds, N = len(m.powers), len(m.powers) * m.draws
    a, b, c, d = m.powers.mean(axis=0)
    variance = np.maximum(b - a * a, 0) * N / (N - 1)
    fourth = d - 4 * a * c + 6 * a * a * b - 3 * a**4
    mean, least = m.origin + m.scale * a, rounding * np.maximum(1, np.abs(exact))
    deviation = m.scale * np.sqrt(variance / N)
    settled = deviation <= least  # no variance to speak of: nobody asks how well it is known
    carriers = N * variance**2 / np.where(fourth > 0, fourth, 1.0)
    between = m.draws * np.sum((m.powers[:, 0] - a) ** 2, axis=0) / np.where(variance > 0, variance, 1.0)
    same = seeds > 1 and np.array_equal(m.powers[0], m.powers[1]) and not settled.all()
    doubt = [""] * exact.size
    for i in range(exact.size):
        if not np.isfinite(deviation[i] + mean[i]):
            doubt[i] = "draws, or their squares, are not finite"
        elif same:
            doubt[i] = "two seeds gave the same draws: make the generator from the seed"
        elif not settled[i] and carriers[i] < CARRIERS:
            doubt[i] = (
                f"{max(1, round(float(carriers[i])))} of {N} draws carry the standard error, {CARRIERS} must: "
                "tails are heavy, or the variance is infinite; take more draws"
            )
        elif not settled[i] and seeds > 1 and between[i] > unlikely(seeds - 1):
            doubt[i] = "the seeds disagree more than their draws allow: draws of one call depend on each other"
    deviation = np.maximum(deviation, least)
    z = np.abs(mean - exact) / deviation
    why = [f"all {N} draws agree" if s and z_i > limit else "" for s, z_i in zip(settled, z, strict=True)]
    return Findings(mean, deviation, z, doubt, why)


def unlikely(k: int) -> float:
    """What χ² with k degrees of freedom exceeds once in 3e6 (Wilson and Hilferty 1931, at 5 standard deviations)."""
    return k * (1 - 2 / (9 * k) + 5 * math.sqrt(2 / (9 * k))) ** 3


def confirmed(first: Findings, more: Findings, again: Array) -> Findings:
    """What all draws say, and of those that were drawn again what the first said."""
    why = [
        old or (f"|z| {z:.1f} at first, {now:.1f} with as many fresh seeds" if repeat else "")
        for old, z, now, repeat in zip(more.why, first.error, more.error, again, strict=True)
    ]
    return more._replace(why=why)


# --- the report -------------------------------------------------------------------------------------


def cuts(blocks: dict[Path, Array]) -> Iterator[tuple[Path, Array, slice]]:
    """Where each block lies in the flat vector."""
    start = 0
    for path, leaf in blocks.items():
        yield path, leaf, slice(start, start + leaf.size)
        start += leaf.size


def rows(found: Findings, blocks: dict[Path, Array], exact: Array, limit: float, rounding: float) -> Iterator[Row]:
    """The worst component of each block: a wrong one, else one that nobody can judge, else that of the largest |z|."""
    rank, nothing = {WRONG: 2, UNKNOWN: 1, OK: 0}, NOTHING * rounding * max(1.0, float(np.max(np.abs(exact))))
    verdicts = [UNKNOWN if d else OK if z <= limit else WRONG for d, z in zip(found.doubt, found.error, strict=True)]
    for path, leaf, cut in cuts(blocks):
        worst = max(range(cut.start, cut.stop), key=lambda i: (rank[verdicts[i]], found.error[i]))
        at = tuple(int(i) for i in np.unravel_index(worst - cut.start, leaf.shape))
        mean, target, z = (float(a[worst]) for a in (found.mean, exact, found.error))
        given, why = (UNKNOWN, found.doubt[worst]) if found.doubt[worst] else ("", found.why[worst])
        bias = visible(found, exact, cut, limit)
        if verdicts[worst] == OK and bias > 1 and np.max(np.abs(leaf)) > nothing:
            given, why = UNKNOWN, f"twice the gradient would look the same: take {math.ceil(bias**2)} times the draws"
        yield Row(block_name(path), leaf.size, (Measure("z-score", at, mean, target, z, limit, given, why),))


def visible(found: Findings, exact: Array, cut: slice, limit: float) -> float:
    """The relative bias of a block that would have been seen: `limit` standard errors over |exact|, where that is
    least; infinite for a block that is zero."""
    with np.errstate(divide="ignore", over="ignore"):
        return float(np.min(limit * found.deviation[cut] / np.abs(exact[cut])))


def power(found: Findings, blocks: dict[Path, Array], exact: Array, limit: float) -> str:
    """What an "ok" excludes, in words; nothing where all is zero."""
    least = {block_name(path): visible(found, exact, cut, limit) for path, _, cut in cuts(blocks)}
    shown = [f"{name} {100 * bias:.2g} %" for name, bias in least.items() if math.isfinite(bias)]
    return f"a bias would have been seen from: {', '.join(shown)}" if shown else ""
