"""§7.3.1 What the tests of the page share: a model that nobody trained, and its weights as the page has them."""

from typing import Any

import numpy as np
from command_line import D

from scratchvae.conditional import Net
from scratchvae.training.config import Config
from scratchvae.training.state import State
from scratchvae.types import Array


def state_of(columns: int = D, hidden: tuple[int, ...] = (6,), activation: str = "tanh", **options: Any) -> State:
    """A model whose biases are no zeros, trained by nobody."""
    options = {"data": "array", "latent": 2, "kernels": "numpy", **options}
    state = State(Config(hidden=hidden, activation=activation, **options), columns)
    state.initialise(np.full(columns, 0.5))
    state.arena.flat += np.random.default_rng(0).normal(0, 0.1, state.arena.flat.size).astype("f4")
    return state


def rounded(state: State) -> tuple[dict[str, Array], Net, Net]:
    """The weights as the page has them, in float64: by name, and as the two nets."""
    views = {name: view.astype(np.float16).astype(np.float64) for name, view in state.arena.views.items()}
    return views, *state.architecture.nets(views)
