"""§7.1.1 Learning θ from rows with missing values: NaN marks them from the data to the bound, where they fall out.

    L(x_obs) = E_q[ Σ_observed log p(x_d | z) ] − KL(q(z | x) ‖ p(z)),     q sees x · D / (number observed), 0 for a gap

which is a bound on log p(x_obs): an entry that was not seen is integrated out, since p(x | z) has independent entries.
"Missing" must not depend on the values missed (missing at random), as with any likelihood of what was observed.
"""

import numpy as np

from ..errors import UsageError
from ..noise import Noise, Purpose
from ..types import Array

CHOICES = "'nan' (NaN in the data), or 'random:0.5' (that fraction, drawn once for each row)"


def fraction(missing: str) -> float:
    """P of "random:P", 0 for "" and "nan". Raises UsageError for anything else."""
    if missing in ("", "nan"):
        return 0.0
    head, _, tail = missing.partition(":")
    try:
        value = float(tail)
    except ValueError:
        value = -1.0
    if head != "random" or not 0 < value < 1:
        raise UsageError(f"missing={missing!r} is unknown: give {CHOICES}")
    return value


def hide(x: Array, index: Array, missing: str, noise: Noise) -> Array:
    """Rows x (B, D), number `index` (B,) of the data, with NaN where "random:P" hides a value: the same in every epoch,
    so that what is hidden is never learned from."""
    p = fraction(missing)
    if not p or not len(x):
        return x
    consecutive = len(index) == int(index[-1]) - int(index[0]) + 1 and (np.diff(index) == 1).all()
    starts = [int(index[0])] if consecutive else [int(i) for i in index]
    count = len(index) if consecutive else 1
    u = [noise.uniforms(Purpose.MASK, 1, count, x.shape[1], np.float32, start) for start in starts]
    return np.where(np.concatenate(u).astype(np.float64) < p, np.nan, x).astype(x.dtype)


def masked(x: Array) -> tuple[Array, Array]:
    """x with 0 for NaN, and the mask m of its dtype: 1 where a value was observed."""
    gone = np.isnan(x)
    return np.where(gone, 0, x).astype(x.dtype), (~gone).astype(x.dtype)
