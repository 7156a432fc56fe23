"""§7 The one array type: C order, float32 to train, float64 to check, complex to differentiate by complex step."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
