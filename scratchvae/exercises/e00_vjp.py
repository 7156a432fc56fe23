"""§7.2.4 Exercise 0: the backward of tanh and of a dense layer, whose weights are used twice."""

from collections.abc import Iterator

import numpy as np

from ..types import Array
from .record import Draw, Exercise, Law, Names, Pair, Slip, drawing

HINTS = (
    "One element first: y_bo = Σ_i x_bi W_io + b_o. L changes by dy_bo with y_bo. By how much with W_io?",
    "Shapes decide: dx has x's shape, dW has W's, and each is a product of two of (dy, x, W), one of them turned. The "
    "sum over whatever index is missing on the left. For tanh: write its slope by y alone.",
)
OVERWRITTEN = "the buffer is overwritten: what another use of the same weights had put there is lost"
SLIPS = {
    "= for +=": Slip(OVERWRITTEN, "many", (("dW += x.T", "dW[...] = x.T"), ("db += dy", "db[...] = dy"))),
    "= for += in W alone": Slip(OVERWRITTEN, "many", (("dW += x.T", "dW[...] = x.T"),)),
    "the buffers are left as they were": Slip(
        "the sum goes into a new array of the same name, and the caller's buffer stays as it was",
        "",
        (("dW += x.T", "dW = dW + x.T"), ("db += dy", "db = db + dy")),
    ),
    "the slope of tanh by its input": Slip(
        "the slope of tanh has the input in it where the output belongs",
        "",
        (("dy * (1 - y * y)", "dy * (1 - x * x)"),),
    ),
    "1/cosh for its square": Slip(
        "a lost square in the slope of tanh",
        "",
        (("dy * (1 - y * y)", "dy / np.cosh(x)"),),
    ),
}


def pairs(names: Names, normals: Draw) -> Iterator[Pair]:
    """tanh; a dense layer; two layers with the same weights, whose ways back add into the same buffers."""
    tanh, tanh_vjp, dense, dense_vjp = (names[name] for name in ("tanh", "tanh_vjp", "dense", "dense_vjp"))

    def once(dy: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
        dW, db = np.zeros(W.shape), np.zeros(b.shape)
        return dense_vjp(dy, x, W, b, dW, db), dW, db

    def used_twice(x: Array, W: Array, b: Array) -> Array:
        y: Array = dense(tanh(dense(x, W, b)), W, b)
        return y

    def used_twice_vjp(dy: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
        dW, db = np.zeros(W.shape), np.zeros(b.shape)
        a = dense(x, W, b)
        da = tanh_vjp(dense_vjp(dy, tanh(a), W, b, dW, db), a)
        return dense_vjp(da, x, W, b, dW, db), dW, db

    yield Pair(tanh, tanh_vjp, {"x": normals(3, 2)})
    yield Pair(dense, once, {"x": normals(3, 2), "W": normals(2, 4), "b": normals(4)})
    yield Pair(used_twice, used_twice_vjp, {"x": normals(3, 2), "W": normals(2, 2), "b": normals(2)})


def laws(names: Names) -> Iterator[Law]:
    """⟨dy, J u⟩ = ⟨Jᵀ dy, u⟩, the definition of a backward; and a second call doubles."""
    normals = drawing(2)
    dy, x, W, b, u = normals(3, 4), normals(3, 2), normals(2, 4), normals(4), normals(3, 2)
    dW, db = np.zeros(W.shape), np.zeros(b.shape)
    ahead = float((dy * (names["dense"](x + u, W, b) - names["dense"](x, W, b))).sum())
    back = float((names["dense_vjp"](dy, x, W, b, dW, db) * u).sum())
    first = dW.copy()
    names["dense_vjp"](dy, x, W, b, dW, db)
    ratio = float((dW / first).mean())
    yield Law(abs(ahead - back) < 1e-9 * abs(ahead), f"dense: ⟨dy, J u⟩ is {ahead:.4f}, and ⟨Jᵀ dy, u⟩ is {back:.4f}")
    yield Law(abs(ratio - 2) < 1e-9, f"dense: after two calls dW is {ratio:.4f} times what one call leaves")


EXERCISE = Exercise(0, "vjp", "What a backward pass is", "§7.2.4", ("tanh_vjp", "dense_vjp"), HINTS, pairs, laws, SLIPS)
