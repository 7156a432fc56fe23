"""§7.3 Tables of other programs, Parquet and Excel: pandas reads them (extra `frames`), and frames are read as ever."""

import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .idx import allowed, limit
from .layout import UNNAMED


def read_frame(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The frame in a file, without an index that was written as a column, and notes. Of a workbook the first sheet.
    Raises DataError where pandas is missing, or a workbook unpacks to more than `idx.limit`."""
    excel = path.suffix.lower() == ".xlsx"
    try:
        import pandas

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a workbook has that we do not want
            frame, notes = sheet(path, pandas) if excel else (pandas.read_parquet(path), [])
    except ImportError:
        needs = "pandas and openpyxl" if excel else "pandas and pyarrow"
        raise DataError(f"{path} needs {needs}: pip install 'scratchvae[frames]'") from None
    first = frame.iloc[:, 0] if frame.shape[1] > 1 else None
    if first is not None and str(frame.columns[0]) in UNNAMED and first.dtype.kind in "iu" and first.is_unique:
        frame, notes = frame.iloc[:, 1:], [*notes, "column 0, without a name, is an index of the rows: dropped"]
    return frame, tuple(notes)


def sheet(path: Path, pandas: Any) -> tuple[Any, list[str]]:
    """The first sheet of a workbook."""
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        allowed(path, sum(member.file_size for member in archive.infolist()), limit(file))
    with pandas.ExcelFile(path, engine="openpyxl") as book:
        names: Sequence[str] = book.sheet_names
        note = f"the first of {len(names)} sheets is taken, {names[0]!r}: save another as a file of its own"
        return book.parse(names[0]), [note] if len(names) > 1 else []


LINES = np.array([[0, 2]])  # of a sheet: row 0 stands in line 2
