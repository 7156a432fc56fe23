"""§7.3.1 Sheets of a run with classes: a style a column and a class a line; a row's style in every class."""

import argparse
from typing import Any

import numpy as np

from ..conditional import mean_of
from ..noise import Purpose
from ..training.objective import drawn, encode, prior
from ..training.semi_supervised import decode_given
from ..training.state import State
from ..types import Array

STYLES = "E[x | z, y]: a class a line, a z a column"
ANALOGIES = "test rows, then E[x | z, y] in every class, z of the row"


def styles(args: argparse.Namespace, state: State) -> tuple[Array, int]:
    """`args.count` rows, a class after the other with the same z, (C n, D), and n: Figure 1 of Kingma et al. 2014."""
    C = len(state.reading.classes)
    n = max(1, args.count // C)
    noise = state.noise._replace(seed=args.seed)
    p = decode_given(state, np.tile(prior(state, noise, Purpose.SAMPLE, n), (C, 1)), np.repeat(np.arange(C), n))
    return (drawn(state, p, noise, Purpose.SAMPLE) if args.draw else mean_of(p)), n


def analogies(state: State, x: Array) -> tuple[Array, Array]:
    """E[x | z, y] at z = E[z | x, ŷ] of rows x (B, D) in every class, (B C, D); and the same after each row."""
    C = len(state.reading.classes)
    z = np.repeat(mean_of(encode(state, x)), C, axis=0)
    made: Array = mean_of(decode_given(state, z, np.tile(np.arange(C), len(x))))
    beside: Any = np.concatenate([x[:, None], made.reshape(len(x), C, -1)], axis=1)
    return made, beside.reshape(-1, x.shape[1])
