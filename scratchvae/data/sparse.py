"""§7.3 Sparse rows (CSR), such as counts of words or genes: dense where they are read, some rows at a time.

Row i has the values data[indptr[i] : indptr[i + 1]] in the columns indices[same]. The three arrays are those of a
matrix of scipy.sparse, or memory maps: a folder with data.npy, indices.npy, indptr.npy and, so that the last columns
may be empty, shape.npy. Rows are used as a memory map's: `x[a:b]` are sparse still, x[index] are dense, and values are
checked when they are read. Whatever would need all of them dense is refused, with the size that this would have.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from ..types import Array

ROOM = 1 << 26  # bytes of dense rows that are looked at together
FILES = ("data", "indices", "indptr")


class Csr(NamedTuple):
    """The arrays of CSR."""

    data: Array  # (nonzeros,)
    indices: Array  # (nonzeros,) the columns
    indptr: Array  # (N + 1,)


class Sparse:
    """Rows (N, D) numbers of a CSR matrix; `first` is the number of the first among those that came."""

    ndim = 2

    def __init__(self, csr: Csr, columns: int, name: str, first: int = 0) -> None:
        self.csr, self.name, self.first = csr, name, first
        self.shape = len(csr.indptr) - 1, columns
        small = csr.data.dtype.itemsize <= 2 or csr.data.dtype == np.float32
        self.dtype = np.dtype(np.float32 if small else np.float64)

    @classmethod
    def of(cls, x: Any, name: str) -> "Sparse":
        """Of any sparse matrix, its numbers as floats: counts in bytes are no grey levels. Raises DataError for one
        without rows or columns, or complex."""
        if 0 in x.shape or len(x.shape) != 2 or x.dtype.kind not in "biuf":
            raise DataError(f"{name} is sparse, with shape {x.shape} of {x.dtype}; give real numbers, (N, D)")
        csr = x.tocsr()
        return cls(Csr(csr.data, csr.indices, csr.indptr), csr.shape[1], name)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.step in (None, 1):
            begin, end, _ = key.indices(len(self))
            part = self.csr._replace(indptr=self.csr.indptr[begin : max(begin, end) + 1])
            return Sparse(part, self.shape[1], self.name, self.first + begin)
        return self.dense(np.arange(len(self))[key]) if isinstance(key, slice) else self.dense(np.asarray(key))

    def dense(self, key: Array) -> Array:
        """The rows with these numbers, or of a mask, (…, D). Raises DataError for a column beyond the last."""
        from scipy.sparse import csr_array

        index = np.flatnonzero(key) if key.dtype == np.bool_ else np.atleast_1d(key)
        index = np.where(index < 0, index + len(self), index)
        begin, end = self.csr.indptr[index].astype(np.int64), self.csr.indptr[index + 1].astype(np.int64)
        ends = np.cumsum(end - begin)
        places = np.repeat(end - ends, end - begin) + np.arange(ends[-1] if len(ends) else 0)
        columns = np.asarray(self.csr.indices[places], np.int64)
        if ((columns < 0) | (columns >= self.shape[1])).any():
            raise DataError(f"{self.name} has an index of a column beyond the {self.shape[1]} that there are")
        values = np.asarray(self.csr.data[places]).astype(self.dtype)
        made = csr_array((values, columns, np.append(0, ends)), (len(index), self.shape[1])).toarray()
        return np.asarray(made[0] if key.ndim == 0 else made)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        size = self.shape[0] * self.shape[1] * self.dtype.itemsize / 1e9
        raise DataError(
            f"{self.name} is sparse, and here all rows are wanted: give x.toarray(), which takes {size:.2g} GB"
        )


def is_sparse(x: Any) -> bool:
    """Whether x is a sparse matrix of scipy's."""
    return hasattr(x, "tocsr")


def from_parts(parts: dict[str, Array], path: Path) -> Any:
    """The matrix that scipy.sparse.save_npz wrote, from its arrays. Raises DataError for another format than CSR
    or COO."""
    from scipy.sparse import coo_array, csr_array

    kind = parts["format"].item()
    kind = kind.decode("latin-1") if isinstance(kind, bytes) else kind
    shape = tuple(map(int, parts["shape"]))
    if kind not in ("csr", "coo") or len(shape) != 2:
        raise DataError(f"{path} holds a sparse matrix of the format {kind!r}, shape {shape}; save x.tocsr()")
    if kind == "coo":
        made = coo_array((parts["data"], (parts["row"], parts["col"])), shape).tocsr()
    else:
        made = csr_array((parts["data"], parts["indices"], parts["indptr"]), shape)
    made.check_format(full_check=True)
    return made


def from_maps(parts: dict[str, Array], folder: Path) -> Sparse:
    """Rows of the mapped arrays in a folder. Raises DataError where they cannot be those of one matrix; a column that
    there is not is found when its row is read."""
    csr = Csr(*(parts[name] for name in FILES))
    for name, array, kinds in zip(FILES, csr, ("biuf", "iu", "iu"), strict=True):
        if array.ndim != 1 or array.dtype.kind not in kinds:
            raise DataError(f"{folder / name}.npy has shape {array.shape} of {array.dtype}: no part of a CSR matrix")
    many = len(csr.data)
    rising = len(csr.indptr) > 1 and bool((np.diff(csr.indptr.astype(np.int64)) >= 0).all())
    if not rising or csr.indptr[0] != 0 or csr.indptr[-1] != many or len(csr.indices) != many:
        raise DataError(f"{folder} holds no CSR matrix: indptr must rise from 0 to the {many} values of data.npy, "
                        f"and indices.npy has {len(csr.indices)}")  # fmt: skip
    if "shape" in parts and (parts["shape"].shape != (2,) or parts["shape"][0] != len(csr.indptr) - 1):
        raise DataError(f"{folder} says in shape.npy {parts['shape']}, and has {len(csr.indptr) - 1} rows")
    columns = parts["shape"][1] if "shape" in parts else csr.indices.max(initial=0) + 1
    return Sparse(csr, int(columns), folder.name)
