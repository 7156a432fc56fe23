"""§7.3 Sparse rows (CSR, of scipy.sparse), such as counts of words: dense where they are read, some rows at a time.

They are used as a memory map is: `x[a:b]` are sparse rows still, x[index] are dense ones, values are checked when they
are read. Whatever would need all of them dense is refused, with the size that this would have.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..types import Array

ROOM = 1 << 26  # bytes of dense rows that are looked at together


class Sparse:
    """Rows (N, D) numbers of a CSR matrix; `first` is the number of the first among those that came."""

    ndim = 2

    def __init__(self, csr: Any, name: str, first: int = 0) -> None:
        self.csr, self.name, self.first = csr, name, first
        self.shape, self.dtype = csr.shape, csr.dtype
        self.room = max(1, ROOM // (8 * csr.shape[1]))  # rows that are dense at the same time

    @classmethod
    def of(cls, x: Any, name: str) -> "Sparse":
        """Of any sparse matrix, its numbers as floats: counts in bytes are no grey levels. Raises DataError for one
        without rows or columns, or complex."""
        if 0 in x.shape or len(x.shape) != 2 or x.dtype.kind not in "biuf":
            raise DataError(f"{name} is sparse, with shape {x.shape} of {x.dtype}; give real numbers, (N, D)")
        small = x.dtype.itemsize <= 2 or x.dtype == np.float32
        return cls(x.tocsr().astype(np.float32 if small else np.float64), name)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return Sparse(self.csr[key], self.name, self.first + key.indices(len(self))[0])
        dense: Array = self.csr[np.atleast_1d(key)].toarray()
        return dense[0] if np.ndim(key) == 0 else dense

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        size = self.shape[0] * self.shape[1] * self.dtype.itemsize / 1e9
        raise DataError(
            f"{self.name} is sparse, and here all rows are wanted: give x.toarray(), which takes {size:.2g} GB"
        )


def is_sparse(x: Any) -> bool:
    """Whether x is a sparse matrix of scipy's."""
    return hasattr(x, "tocsr")


def on_demand(x: Any) -> bool:
    """Whether rows are read, and their values checked, when they are wanted: of a memory map and of sparse rows."""
    return isinstance(x, np.memmap | Sparse)


def from_parts(parts: dict[str, Array], path: Path) -> Any:
    """The matrix that scipy.sparse.save_npz wrote, from its arrays. Raises DataError for another format than CSR."""
    from scipy.sparse import csr_array

    kind = parts["format"].item()
    kind = kind.decode("latin-1") if isinstance(kind, bytes) else kind
    if kind != "csr":
        raise DataError(f"{path} holds a sparse matrix of the format {kind!r}; save x.tocsr()")
    made = csr_array((parts["data"], parts["indices"], parts["indptr"]), tuple(map(int, parts["shape"])))
    made.check_format(full_check=True)
    return made
