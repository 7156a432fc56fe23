"""§7.1.1 Masks by name, by fraction or from a file: which entries of x count as observed."""

from pathlib import Path

import numpy as np

from ..data import files
from ..errors import DataError, UsageError
from ..noise import Noise, Purpose
from ..training.missing import fraction
from ..types import Array

HALVES = ("left-half", "right-half", "top-half", "bottom-half")
MASKS = (
    f"what is missing: {', '.join(HALVES)}, random:0.5 (that fraction), nan (NaN in the rows), "
    "or a file of 1 (observed) and 0 (missing)"
)


def mask_of(text: str, x: Array, shape: tuple[int, ...], noise: Noise) -> Array:
    """observed (N, D) bool, from a name, a fraction, or a file of (D,), `shape` or (N, D) zeros and ones."""
    N, D = x.shape
    if text in HALVES:
        first = int(len(shape) == 3 and shape[2] != 3)  # colours first, or last, or none
        height, width = shape[first : first + 2]
        row, column = np.indices(shape)[first : first + 2].reshape(2, D)
        hidden = {"left": column < width // 2, "right": column >= (width + 1) // 2,
                  "top": row < height // 2, "bottom": row >= (height + 1) // 2}[text.split("-")[0]]  # fmt: skip
        return np.tile(~hidden, (N, 1))
    if text.startswith("random:"):
        return noise.uniforms(Purpose.MASK, 0, N, D) >= fraction(text)
    if text == "nan":
        return ~np.isnan(x)
    if not Path(text).is_file():
        raise UsageError(f"--mask {text!r} is neither a file nor one of {', '.join(HALVES)}, random:0.5, nan")
    mask = np.asarray(files.read(Path(text)).parts["train"])
    if not np.isin(mask, (0, 1)).all():
        raise DataError(f"{text} holds other numbers than 1 (observed) and 0 (missing)")
    if mask.shape == x.shape or mask.size == D:
        return np.ascontiguousarray(np.broadcast_to(mask.reshape(-1, D) == 1, x.shape))
    raise DataError(
        f"{text} has shape {mask.shape}: a mask is ({D},), {shape} or {x.shape}, one row for each of --rows"
    )
