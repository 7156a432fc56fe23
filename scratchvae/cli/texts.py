"""§7.3.1 Runs on sequences: `train`'s text, and what `sample`, `interpolate` and `evaluate` say of such a run."""

import argparse
import sys
from typing import Any

import numpy as np

from .. import data, plots
from ..data.smiles import judge
from ..data.texts import load_text
from ..data.tokens import Lines, length
from ..errors import DataError, UsageError
from ..noise import Purpose
from ..tasks import writing
from ..tasks.diagnostics import mutual_information
from ..training.config import Config
from ..training.evaluate import evaluation_rows
from ..training.objective import encode, prior
from ..training.reading import Reading, digest
from ..training.state import State, latent_noise
from ..types import Array
from .common import of_run, rows_of, say, vocabulary, write

ROWS = 1000  # test rows that are written again, and rows of the mutual information
TEXT = (".txt",)


def of_config(config: Config, folder: str | None) -> tuple[data.Dataset, Reading]:
    """The text of a new run, and how it reads it."""
    found, vocabulary = load_text(config.data, config.test, folder, config.tokens)
    return found, Reading(found.train.shape[1], "tokens", digest=digest(found.train), vocabulary=vocabulary.texts)


def check_same(state: State, reading: Reading | None) -> None:
    """Raises DataError where a resumed run's text has other tokens: the codes would be others' too."""
    if reading and (state.reading.vocabulary != reading.vocabulary or state.reading.columns != reading.columns):
        raise DataError("the text has other tokens, or a longer row, than the run was trained on: restore it")


def written(args: argparse.Namespace, state: State, z: Array) -> list[str]:
    """Texts by z (B, K), as the options say: greedy, by a beam, or drawn."""
    limit = state.reading.columns
    if args.beam:
        x = writing.beam(z, state.theta, limit, args.beam)
    elif args.temperature:
        u = state.noise._replace(seed=args.seed).uniforms(Purpose.SAMPLE, 1, len(z), limit, np.float64)
        x = writing.write(z, state.theta, limit, u, args.temperature)
    else:
        x = writing.write(z, state.theta, limit)
    return vocabulary(state).decode(x)


def sample(args: argparse.Namespace, state: State) -> list[str]:
    """Texts by z from the prior."""
    if args.beam is None and args.temperature is None:
        args.temperature = 1.0
    return written(args, state, prior(state, state.noise._replace(seed=args.seed), Purpose.SAMPLE, args.count))


def interpolate(args: argparse.Namespace, state: State) -> list[str]:
    """Texts between two, along the line or the sphere between their means."""
    if not state.config.latent:
        raise UsageError("a run with latent=0 is a language model: it has no z to go along")
    if args.texts:
        if len(args.texts) != 2:
            raise UsageError(f'give two texts to go between, as "first" "second", and not {len(args.texts)}')
        given = Lines("the command line", args.texts, [1, 2])
        x = vocabulary(state).encode(given, state.reading.columns).astype(state.config.dtype)
    else:
        found = of_run(args, state)
        index = rows_of(args.rows, len(found.test))
        if len(index) != 2:
            raise UsageError(f"give two rows to go between: --rows {args.rows} names {len(index)}")
        x = np.concatenate([evaluation_rows(state, found.test, int(i), 1) for i in index])
    args.seed, ends = 0, encode(state, x).mu
    path = plots.line if args.path == "line" else plots.sphere
    return written(args, state, path(ends[0], ends[1], args.steps).astype(state.config.dtype))


def tell(lines: list[str], out: str | None) -> None:
    """To stdout, or to FILE.txt."""
    if out in (None, "-"):
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    elif not str(out).endswith(TEXT):
        raise UsageError(f"--out {out} has an unknown ending: of a run on sequences give {TEXT[0]}, or - for stdout")
    else:
        write(str(out), lambda file: file.write("".join(f"{line}\n" for line in lines).encode("utf-8")))


def figures(state: State, found: data.Dataset, draws: int) -> dict[str, Any]:
    """Beside the bound: mutual information, rows written again, and what is drawn from the prior."""
    x = evaluation_rows(state, found.test, 0, min(ROWS, len(found.test)))
    report: dict[str, Any] = {"rows_written": len(x), "draws": draws}
    limit, k = x.shape[1], state.k
    if state.config.latent:
        eps = latent_noise(state, Purpose.EVALUATE, 0, len(x), 1, state.numbers(x, 0))[0]
        q = encode(state, x)
        u = state.noise.uniforms(Purpose.SAMPLE, 2, len(x), limit, np.float64)
        greedy = writing.write(q.mu, state.theta, limit, k=k)
        sampled = writing.write(q.sample(eps), state.theta, limit, u, k=k)
        report["mutual_information"] = mutual_information(q, eps)
        report["reconstruction_greedy"] = float(same(greedy, x).mean())  # z = E[z | x], the likeliest token each time
        report["reconstruction_sampled"] = float(same(sampled, x).mean())  # one z ~ q, one x ~ p(x | z)
    if draws:
        report |= of_draws(state, found, draws)
    return report


def same(x: Array, y: Array) -> Array:
    """Whether two rows have the same tokens, (B,)."""
    ends = [(length(a), length(b)) for a, b in zip(x, y, strict=True)]
    return np.array([i == j and bool((a[:i] == b[:i]).all()) for (i, j), a, b in zip(ends, x, y, strict=True)])


def of_draws(state: State, found: data.Dataset, draws: int) -> dict[str, Any]:
    """Of so many texts by z ~ p(z), x ~ p(x | z): which share is valid, if they are SMILES; of the valid ones which
    share differ from one another, and of those how many are not among the training rows."""
    words = vocabulary(state)
    u = state.noise.uniforms(Purpose.SAMPLE, 1, draws, state.reading.columns, np.float64)
    z = prior(state, state.noise, Purpose.SAMPLE, draws)
    texts = words.decode(writing.write(z, state.theta, state.reading.columns, u, k=state.k))
    report: dict[str, Any] = {}
    if state.config.tokens == "smiles":
        name, valid = judge()
        texts = [text for text in texts if valid(text)]
        report["valid"], report["judge"] = len(texts) / draws, name
        if name == "syntactic":
            say("validity is syntactic alone: pip install rdkit judges the molecule")
    different = set(texts)
    new = different - set(words.decode(found.train))
    report["unique"] = len(different) / max(1, len(texts))
    report["novel"] = len(new) / max(1, len(different))
    return report
