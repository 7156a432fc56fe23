"""A table of unlike columns, in the guises that tests want."""

from typing import Any

import numpy as np

from scratchvae import VAE
from scratchvae.types import Array

NAMES = ("age", "income", "height", "flat", "sex")
GAUSSIAN: dict[str, Any] = {"likelihood": "gaussian", "latent": 2, "hidden": (6,), "kernels": "numpy", "batch": 16}


class Frame:
    """As much of a data frame as is asked for."""

    def __init__(self, x: Array, columns: tuple[str, ...]) -> None:
        self.x, self.columns, self.shape = x, columns, x.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.x


def table(rows: int = 60, seed: int = 0) -> Array:
    """Columns of unlike scale, in eighths so that float32 holds them; one is constant, one is of bits."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((rows, 2))
    age, income, height = 40 + 12 * z[:, 0], 5e4 + 2e4 * (z[:, 0] + z[:, 1]), 1.7 + 0.25 * z[:, 1]
    columns = (age, income, height, np.full(rows, 3.5), rng.random(rows) < 0.5)
    return np.round(np.stack(columns, axis=1) * 8) / 8


def trained() -> VAE:
    """Trained on a frame with names."""
    return VAE(**GAUSSIAN, epochs=5).fit(Frame(table(), NAMES))


def csv(x: Array, names: tuple[str, ...]) -> str:
    return "\n".join([",".join(names), *(",".join(map(repr, row)) for row in x.tolist())]) + "\n"


def scores(model: VAE, x: Any) -> Array:
    return np.stack([model.elbo(x), model.log_likelihood(x, 20)])
