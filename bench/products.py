"""§7.2.5 Single matrix products, in the shapes of the step: which cells are timed."""

from bench.work import Product

SHAPES = ((784, 500), (500, 784), (200, 200))
QUICK = (("forward", 784, 500, 100), ("dW", 784, 500, 100), ("dx", 784, 500, 100))


def cells(full: bool) -> list[Product]:
    """Forward, dW and dx at batch 100; the large forward at batch 512 too."""
    if not full:
        return [Product(kind, i, o, b, "float32", 2) for kind, i, o, b in QUICK]
    shapes = [(kind, i, o, 100) for i, o in SHAPES for kind in ("forward", "dW", "dx")] + [("forward", 784, 500, 512)]
    return [Product(kind, i, o, b, d, t) for t in (2, 1) for d in ("float32", "float64") for kind, i, o, b in shapes]
