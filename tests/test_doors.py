"""§7.2.4 Gradients, J u, H v, arguments on a set, a test's assertion: each slip is found, and what is right passes."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_der, rosen_hess_prod

from scratchvae.errors import UsageError
from scratchvae.gradcheck import assert_vjp, check, check_gradient, check_hvp, check_jvp
from scratchvae.gradcheck.strategies import arguments, arrays_like, mixed, positive, positive_definite, probabilities
from scratchvae.types import Array

rng = np.random.default_rng(5)
X, A = rng.normal(size=5), rng.normal(size=(5, 5))
SLIP = 1 + 1e-4
slipped = pytest.mark.parametrize("slip", [1.0, SLIP])


def wrong(report: Any) -> list[str]:
    """The blocks that are wrong."""
    return [row.block for row in report.rows if row.verdict == "wrong"]


def quadratic(x: Array, A: Array) -> Any:
    return x @ A @ x


def table_jac(x: Array) -> Array:
    return np.stack([np.eye(x.size), np.diag(2 * x)])[:, 1:]


GRADIENTS: dict[str, tuple[Callable[..., Any], Any, Any, tuple[Any, ...]]] = {
    "minimize": (quadratic, lambda x, A: (A + A.T) @ x, X, (A,)),
    "jac=True": (lambda x, A: (quadratic(x, A), (A + A.T) @ x), True, X, (A,)),
    "a number": (np.sin, np.cos, 0.7, ()),
    "a matrix": (lambda W: np.sum(W**3), lambda W: 3 * W**2, A, ()),
    "an array of one": (lambda x: np.sum(x**2, keepdims=True), lambda x: 2 * x, X, ()),
    "least squares": (lambda x, A: A[:3] @ np.sin(x), lambda x, A: A[:3] * np.cos(x), X, (A,)),
    "rosen": (rosen, rosen_der, X, ()),
    "a Jacobian of one row": (lambda x: np.sum(x**2, keepdims=True), lambda x: 2 * x[None], X, ()),
    "a table of outputs": (lambda x: np.stack([x, x**2])[:, 1:], table_jac, X, ()),
}


@slipped
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_as_scipy_has_them(name: str, slip: float) -> None:
    """Catches a door that transposes a Jacobian, takes (value, gradient) for the value, or loses args."""
    fun, jac, x, args = GRADIENTS[name]

    def off(*at: Any) -> Any:
        return (fun(*at)[0], slip * fun(*at)[1]) if jac is True else slip * jac(*at)

    report = check_gradient(off, True, x, args=args) if jac is True else check_gradient(fun, off, x, args=args)
    assert report.ok == (slip == 1), report
    assert (len(report.rows), len(wrong(report))) == (1, int(slip != 1))


def test_a_gradient_s_contract() -> None:
    """A shape that is not x's, and a fun that writes into its argument, are said."""
    assert (
        "jac returned shape (5, 1), expected (5,)"
        in check_gradient(rosen, lambda x: rosen_der(x)[:, None], X).problems[0]
    )

    fun, jac, x, args = GRADIENTS["least squares"]
    assert "shape (5, 3), expected (3, 5)" in check_gradient(fun, lambda *a: jac(*a).T, x, args=args).problems[0]

    def writes(x: Array, scale: Array) -> Any:
        scale *= 2
        return np.sum(x**2)

    assert (
        "f changed its argument scale" in check_gradient(writes, lambda x, _: 2 * x, X, args=(np.ones(1),)).problems[0]
    )


class Out(NamedTuple):
    """Outputs by name."""

    total: Any
    parts: Any


def several(x: Array, net: dict[str, Any], rows: Array) -> Any:
    return Out(net["scale"] * np.sum(x), {"rows": net["W"][rows] @ x, "count": 3, "list": [np.sin(x), None]})


def several_jvp(args: Any, tangents: Any, slip: float = 1.0) -> Any:
    (x, net, rows), (dx, dnet, drows) = args, tangents
    assert drows is None
    total = dnet["scale"] * np.sum(x) + net["scale"] * np.sum(dx)
    moved = slip * dnet["W"][rows] @ x + net["W"][rows] @ dx
    return Out(total, {"rows": moved, "count": None, "list": [np.cos(x) * dx, None]})


def several_vjp(dy: Any, x: Array, net: dict[str, Any], rows: Array, slip: float = 1.0) -> Any:
    dW = np.zeros_like(net["W"])
    np.add.at(dW, rows, np.outer(dy.parts["rows"], x))
    dx = net["scale"] * dy.total + net["W"][rows].T @ dy.parts["rows"] + slip * np.cos(x) * dy.parts["list"][0]
    return dx, {"scale": dy.total * np.sum(x), "W": dW}, None


POINT = (X, {"scale": 0.7, "W": A}, np.array([1, 3, 3]))


@slipped
def test_several_outputs_and_structures(slip: float) -> None:
    """A NamedTuple of a number and a dict of arrays, integers and lists; catches a slip in the last output alone."""
    assert wrong(check(several, functools.partial(several_vjp, slip=slip), POINT)) == ["x"] * (slip != 1)


@slipped
@pytest.mark.parametrize("limit", [4096, 4])
def test_jvp(slip: float, limit: int) -> None:
    """J u, element by element and along directions; tangents have the kinds of args. Catches a slip in one block."""
    report = check_jvp(several, lambda args, u: several_jvp(args, u, slip), POINT, limit=limit)
    assert wrong(report) == ["net.W"] * (slip != 1), report
    assert report.ok == (slip == 1)
    assert ("x was moved along 8 directions: it is over limit=4" in report.notes) == (limit == 4)
    assert [row.size for row in report.rows] == ([5, 1, 25] if limit == 4096 else [8, 1, 8])


def test_a_jvp_that_is_not_linear() -> None:
    """Catches one that is right for a one at each element, and wrong for two at once."""

    def product(args: Any, u: Any) -> Any:
        return args[1] * u[0] + args[0] * u[1] + u[0] * u[1]

    assert "not linear in the tangents" in check_jvp(lambda x, y: x * y, product, (X, A[0])).problems[0]

    def for_one(args: Any, u: Any) -> Any:
        return args[1] * u[0] + args[0] * u[1] + (0 if np.count_nonzero(u) == 1 else np.nan)

    assert "differ by nan" in check_jvp(lambda x, y: x * y, for_one, (X, A[0])).problems[0]


def test_what_has_no_answer_is_not_asked_whether_it_is_linear() -> None:
    """Catches a second line about an answer whose shape is wrong already."""
    assert len(check_jvp(np.square, lambda args, u: (u[0] ** 2)[:, None], (X,)).problems) == 1


@pytest.mark.parametrize(
    ("said", "jvp"),
    [
        ("returned shape (5, 1), expected J u of shape (5,)", lambda args, u: (2 * args[0] * u[0])[:, None]),
        ("returned nothing, expected", lambda args, u: None),
    ],
)
def test_a_jvp_s_contract(said: str, jvp: Any) -> None:
    """Catches an answer that NumPy would broadcast, or that is not there."""
    assert said in check_jvp(np.square, jvp, (X,)).problems[0]
    assert "returned nothing" in check_jvp(np.sum, lambda args, u: None, (X,)).problems[0]


def test_constants_of_a_jvp() -> None:
    """A constant's tangent is zero, whatever f_jvp makes of it, and it costs no call."""
    seen = []

    def jvp(args: Any, u: Any) -> Any:
        seen.append(np.any(u[1]))
        return args[1] * u[0]

    assert check_jvp(lambda x, c: c * x, jvp, (X, A[0]), constants=("c",))
    assert not any(seen)
    assert "None for c" not in str(check_jvp(lambda x, c: c * x, jvp, (X, A[0])))
    assert wrong(check_jvp(lambda x, c: c * x, jvp, (X, A[0]))) == ["c"]


def test_the_limit_is_the_last_size_that_is_looked_at_one_by_one() -> None:
    """Catches a block of `limit` elements that goes by directions, and a constant over it that is said to be moved."""
    report = check_jvp(
        lambda x, c: np.sum(c) * x, lambda at, u: np.sum(at[1]) * u[0], (X, A), limit=5, constants=("c",)
    )
    assert report, report
    assert not any("moved" in note for note in report.notes)
    assert check(np.square, lambda dy, x: 2 * dy * x, (X,), limit=5).worst("complex") is not None


def net_grad(W: Array, x: Array) -> tuple[Array, Array]:
    s = 1 / np.cosh(W @ x) ** 2
    return np.outer(s, x), W.T @ s


def net_hvp(v: tuple[Array, Array], W: Array, x: Array) -> tuple[Array, Array]:
    a, da = W @ x, v[0] @ x + W @ v[1]
    s = 1 / np.cosh(a) ** 2
    ds = -2 * s * np.tanh(a) * da
    return np.outer(ds, x) + np.outer(s, v[1]), W.T @ ds + v[0].T @ s


def test_second_order() -> None:
    """Two arguments, and SciPy's own; a slip in either order, and an hvp that forgets the other argument."""

    def f(W: Array, x: Array) -> Any:
        return np.sum(np.tanh(W @ x))

    report = check_hvp(f, net_grad, net_hvp, (A[:2], X))
    assert report, report
    assert [row.block for row in report.rows] == ["grad W", "grad x", "hvp W", "hvp x"]
    alone = check_hvp(f, net_grad, lambda v, W, x: net_hvp((v[0], 0 * x), W, x), (A[:2], X))
    assert wrong(alone) == ["hvp W", "hvp x"]
    assert check_hvp(rosen, rosen_der, lambda v, x: rosen_hess_prod(x, v), (X,))
    assert (
        wrong(check_hvp(rosen, lambda x: SLIP * rosen_der(x), lambda v, x: rosen_hess_prod(x, v), (X,)))[0] == "grad x"
    )
    assert wrong(check_hvp(rosen, rosen_der, lambda v, x: SLIP * rosen_hess_prod(x, v), (X,))) == ["hvp x"]
    assert "grad: f returned shape (5,)" in check_hvp(np.sin, np.cos, lambda v, x: -v * np.sin(x), (X,)).problems[0]


SIMPLEX = {"p": lambda p, v: p * np.exp(v) / np.sum(p * np.exp(v))}
SYMMETRIC = {"S": lambda S, v: S + (v + v.T) / 2}
SPHERE = {"x": lambda x, v: (x + v) / np.sqrt(np.sum((x + v) ** 2))}
P, S, UNIT = np.exp(X) / np.exp(X).sum(), A @ A.T + np.eye(5), X / np.linalg.norm(X)


def entropy(p: Array) -> Any:
    """Of a distribution: anything else is refused."""
    if abs(np.sum(p).real - 1) > 1e-12:
        raise ValueError("p does not sum to 1")
    return -np.sum(p * np.log(p))


def log_det(S: Array) -> Any:
    return 2 * np.sum(np.log(np.diag(np.linalg.cholesky(S))))  # which reads the lower triangle alone


def on_sphere(x: Array) -> Any:
    if abs(np.sum(x**2).real - 1) > 1e-12:
        raise ValueError("x is not on the sphere")
    return x[0] * x[1] ** 2


def on_sphere_vjp(dy: Any, x: Array) -> Array:
    return np.asarray(dy * np.array([x[1] ** 2, 2 * x[0] * x[1], 0, 0, 0]))


MOVES: dict[str, tuple[Any, Any, Any, Any]] = {
    "simplex": (entropy, lambda dy, p: -dy * np.log(p), P, SIMPLEX),  # the constant of log p + 1 is normal to it
    "flat simplex": (entropy, lambda dy, p: -dy * (np.log(p) + 1), P, {"p": lambda p, v: p + v - np.mean(v)}),
    "symmetric": (log_det, lambda dy, S: dy * np.linalg.inv(S), S, SYMMETRIC),
    "sphere": (on_sphere, on_sphere_vjp, UNIT, SPHERE),
    "sphere, normal part": (on_sphere, lambda dy, x: on_sphere_vjp(dy, x) + 9 * x, UNIT, SPHERE),
    "sphere, not analytic": (on_sphere, on_sphere_vjp, UNIT, {"x": lambda x, v: (x + v) / np.linalg.norm(x + v)}),
}


@slipped
@pytest.mark.parametrize("name", MOVES)
def test_arguments_on_a_set(name: str, slip: float) -> None:
    """Slopes along the set alone: f may refuse anything else, and a normal part is as good as none."""
    f, f_vjp, x, move = MOVES[name]
    report = check(f, lambda dy, x: slip * f_vjp(dy, x), (x,), move=move)
    assert report.ok == (slip == 1), report
    assert wrong(report) == [next(iter(move))] * (slip != 1)
    if "not analytic" not in name and name != "symmetric":
        assert report.worst("complex") is not None


def test_one_element_on_a_set() -> None:
    """Catches directions that miss an element, and those of a triangle: without `move`, log det is condemned."""
    assert not check(log_det, lambda dy, S: dy * np.linalg.inv(S), (S,))
    for i in range(5):
        one = SLIP ** (np.arange(5) == i)
        assert not check(entropy, lambda dy, p, one=one: -dy * np.log(p) * one, (P,), move=SIMPLEX)


def test_a_set_within_a_structure() -> None:
    """Other blocks stay as they are; the first and the second order know `move` as well."""

    def f(x: Array, theta: dict[str, Array]) -> Any:
        return x @ np.log(theta["p"]) + np.sum(theta["b"] ** 2)

    def f_vjp(dy: Any, x: Array, theta: dict[str, Array]) -> Any:
        return dy * np.log(theta["p"]), {"p": dy * x / theta["p"], "b": 2 * dy * theta["b"]}

    args, move = (X, {"p": P, "b": A[0]}), {"theta.p": SIMPLEX["p"]}
    report = check(f, f_vjp, args, move=move)
    assert [(row.block, row.size, row.ok) for row in report.rows] == [
        ("x", 5, True),
        ("theta.p", 8, True),
        ("theta.b", 5, True),
    ]
    assert check_gradient(entropy, lambda p: -np.log(p), P, move=SIMPLEX)
    half = check_gradient(np.sum, np.ones_like, np.array([0.6, 0.8], np.float32), move={"a": SPHERE["x"]})
    assert half, half
    assert "a came as float32 and was checked in float64" in half.notes
    assert check_jvp(entropy, lambda args, u: -np.sum(np.log(args[0]) * u[0]), (P,), move=SIMPLEX)


@pytest.mark.parametrize(
    ("said", "move"),
    [
        ("give one of the arrays of floats, p", {"q": SIMPLEX["p"]}),
        ("is not x", {"p": lambda p, v: v - np.mean(v)}),
        ("is not x", {"p": lambda p, v: (1 + 1e-5) * SIMPLEX["p"](p, v)}),
        ("no slope", {"p": lambda p, v: p}),
        ("no slope", {"p": lambda p, v: (p + np.abs(v)) / np.sum(p + np.abs(v))}),
    ],
)
def test_a_move_that_proves_nothing_is_refused(said: str, move: Any) -> None:
    """Catches a name that is nowhere, a tangent for a point, and a curve along which anything would pass."""
    with pytest.raises(UsageError, match=said):
        check(entropy, lambda dy, p: 5 * p, (P,), move=move)


def test_what_is_moved_must_be_left_alone() -> None:
    """f and f_vjp get new points from us, but may not write into them."""

    def writes(p: Array) -> Any:
        p[0] = 0.5
        return np.sum(p)

    def writes_vjp(dy: Any, p: Array) -> Array:
        p *= 2
        return -dy * np.log(p)

    assert "f changed its argument p" in check(writes, writes_vjp, (P,), move=SIMPLEX).problems[0]
    assert "f_vjp changed its argument p" in check(entropy, writes_vjp, (P,), move=SIMPLEX).problems[0]
    assert "no cotangent" in check(entropy, lambda dy, p: None, (P,), move=SIMPLEX).problems[0]
    assert "shape (4,)" in check(entropy, lambda dy, p: p[:4], (P,), move=SIMPLEX).problems[0]


def test_assertions() -> None:
    """The table is in the message; a control that nobody sees fails, be it for a tolerance or for want of a slope."""
    assert assert_vjp(several, several_vjp, POINT, control=True).ok
    assert assert_vjp(entropy, lambda dy, p: -dy * np.log(p), (P,), move=SIMPLEX, control=True).ok
    with pytest.raises(AssertionError, match=r"(?s)several: FAIL.*block.*\n  x .*FAIL"):
        assert_vjp(several, functools.partial(several_vjp, slip=SLIP), POINT, name="several")
    loose = {"complex": 1e-2, "central": 1e-2, "direction": 1e-2}
    with pytest.raises(AssertionError, match="control was not seen in block x"):
        assert_vjp(np.square, lambda dy, x: 2 * dy * x, (X,), control=True, tolerance=loose)
    with pytest.raises(AssertionError, match="control was not seen in block x1"):
        assert_vjp(lambda x0, x1: x0 + 0 * x1, lambda dy, x0, x1: (dy, 0 * dy), (X, X), control=True)
    assert assert_vjp(lambda x: x**2, lambda dy, x: 2 * dy * x, (np.zeros(5),), control=True)  # seen at a point near by


@settings(max_examples=25)
@given(arguments((3, 4), positive((4,)), "relu", mixed((2,), 1e-3, 10.0), 3))
def test_arguments_by_a_spec(args: tuple[Any, ...]) -> None:
    """Arrays in general position: a relu at them is on no kink, and its right pair passes."""
    x, scale, name, v, n = args
    assert (x.shape, name, v.shape, n) == ((3, 4), "relu", (2,), 3)
    assert np.all(scale > 0)
    assert np.unique(np.abs(x)).size == 12
    assert np.all((np.abs(v) >= 1e-3) & (np.abs(v) < 10))
    assert check(lambda x: np.maximum(x, 0) * scale, lambda dy, x: dy * (x > 0) * scale, (x,))


@settings(max_examples=25)
@given(probabilities((3, 4)), positive_definite(4, (1e-6, 1.0)), arrays_like((2, 2), (1e3,)), st.integers(1, 9))
def test_points_of_sets(p: Array, S: Array, x: Array, n: int) -> None:
    """Each is in its set, and well inside."""
    assert np.allclose(p.sum(-1), 1)
    assert np.all(p > 0.01)
    assert np.array_equal(S, S.T)
    assert np.linalg.eigvalsh(S)[0] >= 0.49e-6
    assert np.all((np.abs(x) >= 500) & (np.abs(x) < 1500))
