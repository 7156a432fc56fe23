"""Data files made by the formats' definitions, independently of the readers, for test_data and test_files."""

import gzip
import io
import lzma
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scratchvae.data import load
from scratchvae.errors import DataError
from scratchvae.types import Array

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
PACK: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 4, 3)).astype(np.uint8)


def as_idx(x: Array) -> bytes:
    """An IDX file by its definition, written independently of the reader."""
    head = struct.pack(f">BBBB{x.ndim}I", 0, 0, CODES[x.dtype.str[1:]], x.ndim, *x.shape)
    return head + x.astype(x.dtype.newbyteorder(">")).tobytes()


def npy(x: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, x, **options)
    return file.getvalue()


def refused(words: str, source: Any, **options: Any) -> None:
    with pytest.raises(DataError, match=words) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()
