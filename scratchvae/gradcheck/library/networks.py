"""§7.2.5 Networks: dense layers, activations by name, mlps of any depth, over (B, D) and (S, B, D)."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ...networks import (
    ACTIVATIONS,
    Dense,
    activate,
    activate_vjp,
    dense,
    dense_vjp,
    dense_vjp_params,
    mlp,
    mlp_vjp,
)
from ...types import Array
from .. import accumulating
from . import Case, at

X = {"(B, D)": at(11, 3, 4), "(S, B, D)": at(12, 2, 3, 4)}


def layers(*sizes: int) -> tuple[Dense, ...]:
    """Dense layers from size to size, of weights around one half."""
    return tuple(Dense(at(20 + i, *pair) / 2, at(30 + i, pair[1]) / 2) for i, pair in enumerate(pairwise(sizes)))


def params_only(dy: Array, x: Array, p: Dense, dp: Dense) -> None:
    """The half of `dense_vjp` that the first layer uses: x gets no cotangent."""
    dense_vjp_params(dy, x, dp)


def mlp_case(depth: int, activation: str) -> Case:
    """The mlp's result as a function of its input and layers."""

    def f(x: Array, layers: tuple[Dense, ...]) -> Array:
        return mlp(x, layers, activation)[-1]

    def f_vjp(dy: Array, x: Array, layers: tuple[Dense, ...], dlayers: tuple[Dense, ...]) -> Any:
        return mlp_vjp(dy, mlp(x, layers, activation), layers, dlayers, activation)

    sizes = (4, 3, 2, 3)[: depth + 1]
    return Case(
        f"networks.mlp[{depth}, {activation}]", f, accumulating(f_vjp, into=(1,)), (X["(B, D)"], layers(*sizes))
    )


def cases() -> Iterator[Case]:
    """Layers, activations, and mlps; relu and its kin have their kinks looked after in the whole bounds."""
    for shape, x in X.items():
        (layer,) = layers(4, 2)
        yield Case(f"networks.dense[{shape}]", dense, accumulating(dense_vjp, into=(1,)), (x, layer))
        alone = accumulating(params_only, into=(1,))
        yield Case(f"networks.dense[{shape}, params]", dense, alone, (x, layer), constants=("x",))
    for name in ACTIVATIONS:
        vjp = lambda dy, a, name: (activate_vjp(dy, activate(a, name), name), None)  # noqa: E731
        yield Case(f"networks.activate[{name}]", activate, vjp, (2 * at(13, 3, 4), name))
    for depth in (0, 1, 3):
        yield mlp_case(depth, "tanh")
