"""§7.3 .amat, text of numbers between blanks, an image a line, as binarised MNIST's: bits, or grey levels in [0, 1].

A line of h² numbers is an image of h × h; one more is its label, a whole number. Bits are read ten times as fast as a
table is: a digit each, they need no parser.
"""

import io
import math

import numpy as np

from ..errors import DataError
from ..types import Array
from .idx import BLOCK

DIGITS, ENDS, BLANKS = b"0123456789", b"\n", b" \t\r"
SIDE = 4  # of an image, at least


def digits(stream: io.BufferedReader) -> Array | None:
    """The lines as (N, D) uint8, if there is nothing but single digits, the same number in each line."""
    blocks, width = list[Array](), 0
    while lines := stream.readlines(BLOCK):
        b = np.frombuffer(b"".join(lines), np.uint8)
        digit, end = np.isin(b, [*DIGITS]), np.isin(b, [*ENDS])
        if (digit[1:] & digit[:-1]).any() or not (digit | end | np.isin(b, [*BLANKS])).all():
            return None
        many = np.diff(np.append(np.cumsum(digit)[end], digit.sum()), prepend=0)
        width = width or int(many[0])
        if width == 0 or not np.isin(many, (0, width)).all():
            return None
        blocks.append((b[digit] - DIGITS[0]).reshape(-1, width))
    return np.concatenate(blocks) if blocks else None


def images(x: Array, path: object) -> tuple[Array, Array | None]:
    """Lines x (N, D) as images (N, h, h), and their labels (N,), if there are any. Raises DataError for other lines."""
    side, labelled = math.isqrt(x.shape[1]), math.isqrt(x.shape[1] - 1) if x.shape[1] else 0
    labels = None
    if side**2 != x.shape[1] and labelled**2 == x.shape[1] - 1:
        side, x, labels = labelled, x[:, :-1], x[:, -1]
    if side < SIDE or side**2 != x.shape[1]:
        raise DataError(f"{path} has {x.shape[1]} numbers a line, and no square image; call it .txt if it is a table")
    if labels is not None and (labels != np.rint(labels)).any():
        raise DataError(
            f"{path} has {side}² + 1 numbers a line, and the last is no label: call it .txt if it is a table"
        )
    if x.dtype == np.uint8 and x.max(initial=0) > 1:
        x = x.astype(np.float64)  # numbers, and no grey levels / 255
    elif x.dtype != np.uint8 and np.isin(x, (0, 1)).all():
        x = x.astype(np.uint8)
    return x.reshape(len(x), side, side), None if labels is None else labels.astype(np.int64)
