"""§7.3 The types of those options of `train` that are lists of sizes."""

import argparse
import math
from typing import Any


def hidden(text: str) -> tuple[Any, ...]:
    """ "200,100" → (200, 100), and "200,200/100,100" → ((200, 200), (100, 100))."""
    try:
        arrows = [tuple(int(part) for part in arrow.split(",")) for arrow in text.split("/")]
    except ValueError:
        expected = "widths as 500 or 200,100, of a ladder as 200,200/100,100"
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None
    return arrows[0] if len(arrows) == 1 else tuple(arrows)


def latent(text: str) -> int | tuple[int, ...]:
    """ "20" → 20, and "100,50" → (100, 50)."""
    try:
        return tuple(int(part) for part in text.split(",")) if "," in text else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a size as 20, of a ladder as 100,50, got {text!r}") from None


def milestones(text: str) -> tuple[tuple[float, float], ...]:
    """ "10:0.1,20:0.01" → ((10, 0.1), (20, 0.01))."""
    try:
        pairs = [(float(epoch), float(factor)) for epoch, factor in (part.split(":") for part in text.split(","))]
        if all(math.isfinite(part) for pair in pairs for part in pair):
            return tuple(pairs)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected EPOCH:FACTOR, as 10:0.1,20:0.01, got {text!r}")
