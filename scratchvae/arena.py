"""§7.3 One flat block of memory for all parameters, with named views, so that the optimizer is one loop."""

import math

import numpy as np

from .errors import UsageError
from .types import Array


class Arena:
    """`flat` (P,) holds every parameter; `views` maps names to arrays inside it, in order."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], dtype: str = "float32") -> None:
        self.shapes = dict(shapes)
        self.flat: Array = np.zeros(sum(math.prod(s) for s in shapes.values()), dtype)
        self.views: dict[str, Array] = {}
        start = 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            self.views[name] = self.flat[start:stop].reshape(shape)
            start = stop

    def like(self) -> "Arena":
        """A second arena of the same shapes, filled with zeros: for cotangents."""
        return Arena(self.shapes, self.flat.dtype.name)

    def fill(self, arrays: dict[str, Array]) -> None:
        """Copy named arrays in; every name must be there with its shape."""
        if set(arrays) != set(self.views):
            odd = sorted(set(arrays) ^ set(self.views))
            raise UsageError(f"parameters do not match: {odd[0]!r} is on one side only ({len(odd)} such names)")
        for name, array in arrays.items():
            if array.shape != self.shapes[name]:
                raise UsageError(f"{name} has shape {array.shape}, expected {self.shapes[name]}")
            self.views[name][...] = array
